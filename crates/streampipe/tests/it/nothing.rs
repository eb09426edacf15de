//! Calls that ask for nothing: no buffer to read into, no bytes to write. They wait for nothing, and say the same
//! whatever carries the bytes.

use std::fmt::Debug;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use streampipe::{Command, SeqPacket, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::engines::{pair, pair_with_room, tests_of_engines};
use crate::support::tests_alone;

/// What an end says to who writes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// It could go on.
    Open,
    /// `BrokenPipe`.
    Ended,
}

/// What a call said, as text that can be compared.
fn said<T: Debug>(done: std::io::Result<T>) -> String {
    match done {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Asks for nothing in every way, with tasks last: they take the end.
fn answers(end: Stream, writing: Writing) {
    let write = if writing == Writing::Open { "0" } else { "BrokenPipe" };
    for timeout in [None, Some(std::time::Duration::from_nanos(1))] {
        end.set_read_timeout(timeout).unwrap();
        end.set_write_timeout(timeout).unwrap();
        by_threads(&end, write);
    }
    end.set_nonblocking(true).unwrap();
    by_threads(&end, write);
    end.set_nonblocking(false).unwrap();
    let (mut reader, mut writer) = end.into_split();
    assert_eq!(said(reader.read(&mut [])), "0");
    assert_eq!(said(reader.read_vectored(&mut [])), "0");
    assert_eq!(said(reader.recv_fds(&mut [])), "InvalidInput");
    assert_eq!(said(writer.write(&[])), write);
    assert_eq!(said(writer.send_fds(&[], &[])), write);
    by_tasks(reader.reunite(writer).unwrap(), write);
}

fn by_threads(mut end: &Stream, write: &str) {
    assert_eq!(said(end.read(&mut [])), "0");
    assert_eq!(said(end.read_vectored(&mut [])), "0");
    let several = &mut [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
    assert_eq!(said(end.read_vectored(several)), "0");
    assert_eq!(said(end.read_exact(&mut [])), "()");
    assert_eq!(said(end.recv_fds(&mut [])), "InvalidInput");
    assert_eq!(said(end.write(&[])), write);
    assert_eq!(said(end.write_vectored(&[])), write);
    assert_eq!(said(end.write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[])])), write);
    assert_eq!(said(end.write_all(&[])), "()");
    assert_eq!(said(end.send_fds(&[], &[])), write);
}

/// What a future is told by its first poll.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits for something"),
    }
}

fn by_tasks(end: Stream, write: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut end = streampipe::tokio::Stream::try_from(end).unwrap();
        assert_eq!(said(at_once(end.read(&mut []))), "0");
        assert_eq!(said(at_once(end.read_exact(&mut []))), "0");
        assert_eq!(said(at_once(end.recv_fds(&mut []))), "InvalidInput");
        assert_eq!(said(at_once(end.write(&[]))), write);
        assert_eq!(said(at_once(end.write_vectored(&[]))), write);
        assert_eq!(said(at_once(end.write_all(&[]))), "()");
        assert_eq!(said(at_once(end.send_fds(&[], &[]))), write);
    });
}

tests_of_engines! {
    fn an_idle_end_says_nothing_at_once() {
        let (a, b) = pair().unwrap();
        answers(a, Writing::Open);
        drop(b);
    }

    fn an_end_with_something_to_read_says_nothing_and_keeps_it() {
        let (a, b) = pair().unwrap();
        let other = a.try_clone().unwrap();
        (&b).write_all(b"x").unwrap();
        answers(a, Writing::Open);
        assert_eq!((&other).read(&mut [0; 8]).unwrap(), 1);
        // Nothing is read, and so no descriptor is lost either.
        b.send_fds(b"y", &[std::io::stderr().as_fd()]).unwrap();
        answers(other.try_clone().unwrap(), Writing::Open);
        assert_eq!(other.recv_fds(&mut [0; 8]).unwrap().1.len(), 1);
    }

    fn a_full_end_has_room_for_nothing() {
        let (a, b) = pair_with_room(4096).unwrap();
        a.set_nonblocking(true).unwrap();
        while (&a).write(&[0; 100]).is_ok() {}
        answers(a, Writing::Open);
        drop(b);
    }

    fn an_end_that_cannot_be_written_to_says_so_of_nothing_too() {
        let (a, b) = pair().unwrap();
        a.shutdown(Shutdown::Write).unwrap();
        answers(a, Writing::Ended);
        drop(b);
        let (a, b) = pair().unwrap();
        b.shutdown(Shutdown::Read).unwrap();
        answers(a, Writing::Ended);
        drop(b);
        let (a, b) = pair().unwrap();
        drop(b);
        answers(a, Writing::Ended);
    }
}

tests_alone! {
    fn two_pipes_say_the_same() {
        let start = || Command::new("sleep").arg("1000").on_stdio().spawn().unwrap();
        let end = |mut child: streampipe::Child| {
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let mut child = start();
        answers(child.stream().try_clone().unwrap(), Writing::Open);
        child.stream().set_nonblocking(true).unwrap();
        while child.stream().write(&[0; 4096]).is_ok() {}
        answers(child.stream().try_clone().unwrap(), Writing::Open);
        let stream = child.stream().try_clone().unwrap();
        end(child);
        answers(stream, Writing::Ended);
        let mut child = start();
        let stream = child.stream().try_clone().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        answers(stream, Writing::Ended);
        end(child);
    }

    /// A packet is received whole, and one without bytes is none.
    fn packets_are_not_nothing() {
        let (a, b) = SeqPacket::pair().unwrap();
        assert_eq!(said(a.send(&[])), "InvalidInput");
        b.set_nonblocking(true).unwrap();
        assert_eq!(said(b.recv(&mut [])), "WouldBlock");
        a.send(b"x").unwrap();
        assert_eq!(said(b.recv(&mut [])), "InvalidData");
        drop(a);
        assert_eq!(said(b.recv(&mut [])), "0");
    }
}
