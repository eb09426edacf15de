use std::hint::black_box;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::AsFd;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendFlags, recv, recvmsg, send};
use streampipe::Stream;

use super::Done;
use super::measure::compare;

/// Sizes that fit into the socket's buffer: one thread sends and receives.
const SIZES: [usize; 4] = [1, 64, 4 << 10, 64 << 10];

pub(super) fn run() -> Done {
    for size in SIZES {
        one_thread(size)?;
    }
    two_threads(1 << 20)
}

fn one_thread(size: usize) -> Done {
    let (a, b) = streampipe::pair()?;
    let (c, d) = streampipe::pair()?;
    d.refuse_fds()?;
    let bytes = vec![7; size];
    let (mut one, mut two) = (vec![0; size], vec![0; size]);
    let name = |what| format!("{size} B there, {what}");
    compare(
        &name("against send/recv"),
        || raw_trip(&a, &b, &bytes, &mut one),
        || trip(&a, &b, &bytes, &mut two),
    )?;
    compare(
        &name("against send/recv, descriptors refused"),
        || raw_trip(&c, &d, &bytes, &mut one),
        || trip(&c, &d, &bytes, &mut two),
    )?;
    compare(
        &name("against send/recvmsg"),
        || raw_trip_with_control(&a, &b, &bytes, &mut one),
        || trip(&a, &b, &bytes, &mut two),
    )?;
    Ok(())
}

fn raw_trip(a: &Stream, b: &Stream, bytes: &[u8], into: &mut [u8]) -> io::Result<()> {
    send(a, black_box(bytes), SendFlags::NOSIGNAL)?;
    recv(b, &mut *into, RecvFlags::empty())?;
    black_box(into);
    Ok(())
}

fn raw_trip_with_control(a: &Stream, b: &Stream, bytes: &[u8], into: &mut [u8]) -> io::Result<()> {
    let mut room = [std::mem::MaybeUninit::uninit(); 1088];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    send(a, black_box(bytes), SendFlags::NOSIGNAL)?;
    recvmsg(b, &mut [IoSliceMut::new(into)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    black_box(into);
    Ok(())
}

fn trip(mut a: &Stream, mut b: &Stream, bytes: &[u8], into: &mut [u8]) -> io::Result<()> {
    a.write_all(black_box(bytes))?;
    b.read_exact(into)?;
    black_box(into);
    Ok(())
}

/// More than the buffer holds: a thread echoes one byte for each block it has read.
fn two_threads(size: usize) -> Done {
    let (raw_a, raw_b) = streampipe::pair()?;
    let (a, b) = streampipe::pair()?;
    let bytes = vec![7; size];
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut into = vec![0; size];
            loop {
                let mut filled = 0;
                while filled < size {
                    match recv(raw_b.as_fd(), &mut into[filled..], RecvFlags::empty()) {
                        Ok((1.., n)) => filled += n,
                        _ => return,
                    }
                }
                let _ = send(raw_b.as_fd(), black_box(&into[..1]), SendFlags::NOSIGNAL);
            }
        });
        scope.spawn(move || {
            let mut into = vec![0; size];
            while (&b).read_exact(&mut into).is_ok()
                && (&b).write_all(black_box(&into[..1])).is_ok()
            {}
        });
        let (mut one, mut two) = ([0], [0]);
        let measured = compare(
            &format!("{size} B there and 1 B back, two threads"),
            || {
                let mut sent = 0;
                while sent < size {
                    sent += send(&raw_a, black_box(&bytes[sent..]), SendFlags::NOSIGNAL)?;
                }
                recv(&raw_a, &mut one, RecvFlags::empty())?;
                Ok(())
            },
            || {
                (&a).write_all(black_box(&bytes))?;
                (&a).read_exact(&mut two)
            },
        );
        // The threads read the end.
        drop((raw_a, a));
        measured
    })?;
    Ok(())
}
