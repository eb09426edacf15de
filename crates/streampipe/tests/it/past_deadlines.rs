//! A call whose deadline is past does what one does that does not wait: it takes what is there, and hears of the end.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use streampipe::{Command, Datagram, PeerGone, SeqPacket, Stream};

use crate::engines::{engine, pair, tests_of_engines};
use crate::support::tests_alone;

/// Over before anything can be waited for.
const NO_TIME: Option<Duration> = Some(Duration::from_nanos(1));

/// An end, and its peer, whose deadlines are always past.
fn hasty() -> (Stream, Stream) {
    let (a, b) = pair().unwrap();
    for end in [&a, &b] {
        end.set_read_timeout(NO_TIME).unwrap();
        end.set_write_timeout(NO_TIME).unwrap();
    }
    (a, b)
}

fn kind<T: std::fmt::Debug>(done: std::io::Result<T>) -> ErrorKind {
    done.unwrap_err().kind()
}

/// Repeats a read that cannot wait until it says something else than that; says whether the process is gone.
fn says_at_last(stream: &Stream) -> std::io::Result<usize> {
    loop {
        match (&*stream).read(&mut [0; 8]) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            said => return said,
        }
    }
}

tests_of_engines! {
    fn what_is_there_is_taken() {
        let (a, b) = hasty();
        assert_eq!(kind((&b).read(&mut [0; 8])), ErrorKind::TimedOut);
        for _ in 0..3 {
            (&a).write_all(b"x").unwrap();
            assert_eq!((&b).read(&mut [0; 8]).unwrap(), 1);
            a.send_fds(b"yz", &[std::io::stderr().as_fd()]).unwrap();
            assert_eq!(kind((&b).read(&mut [0; 8])), ErrorKind::InvalidData);
            let (len, fds) = b.recv_fds(&mut [0; 8]).unwrap();
            assert_eq!((len, fds.len()), (2, 1));
            assert_eq!(kind(b.recv_fds(&mut [0; 8])), ErrorKind::TimedOut);
        }
    }

    fn the_end_is_heard_of() {
        let (a, b) = hasty();
        (&a).write_all(b"last").unwrap();
        drop(a);
        assert_eq!((&b).read(&mut [0; 8]).unwrap(), 4);
        assert_eq!((&b).read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(kind((&b).write(b"x")), ErrorKind::BrokenPipe);
        let (a, b) = hasty();
        a.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(b.recv_fds(&mut [0; 8]).unwrap().0, 0);
        let (a, b) = hasty();
        assert_eq!(kind((&b).read(&mut [0; 8])), ErrorKind::TimedOut);
        drop(a);
        assert_eq!((&b).read(&mut [0; 8]).unwrap(), 0);
    }

    fn room_is_used() {
        let (a, b) = hasty();
        let much = vec![0; 4 << 20];
        assert_eq!(kind((&a).write_all(&much)), ErrorKind::TimedOut);
        assert_ne!((&b).read(&mut vec![0; 4 << 20]).unwrap(), 0);
        assert_ne!((&a).write(&much).unwrap(), 0);
        while (&a).write(&much).is_ok() {}
        drop(b);
        assert!(matches!(kind((&a).write(&much)), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    }

    /// Also if somebody else holds its end: here a program that ends with what it reads.
    fn the_death_of_a_child_is_heard_of() {
        let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "cat <&4 >/dev/null & kill -9 $$"]).inherit(theirs, 4);
        let mut child = command.engine(engine()).spawn().unwrap();
        child.stream().set_read_timeout(NO_TIME).unwrap();
        let error = says_at_last(child.stream()).unwrap_err();
        assert!(error.get_ref().is_some_and(|inside| inside.is::<PeerGone>()), "{error}");
        child.wait().unwrap();
        drop(ours);
    }
}

tests_alone! {
    fn packets_are_taken_and_their_end_is_heard_of() {
        let (a, b) = SeqPacket::pair().unwrap();
        b.set_read_timeout(NO_TIME).unwrap();
        assert_eq!(kind(b.recv(&mut [0; 8])), ErrorKind::TimedOut);
        a.send(b"one").unwrap();
        a.send_fds(b"two", &[std::io::stderr().as_fd()]).unwrap();
        drop(a);
        assert_eq!(b.recv(&mut [0; 8]).unwrap(), 3);
        assert_eq!(b.recv_fds(&mut [0; 8]).unwrap().1.len(), 1);
        assert_eq!(b.recv(&mut [0; 8]).unwrap(), 0);
        let (a, b) = Datagram::pair().unwrap();
        b.set_read_timeout(NO_TIME).unwrap();
        assert_eq!(kind(b.recv(&mut [0; 8])), ErrorKind::TimedOut);
        a.send(b"one").unwrap();
        assert_eq!(b.recv(&mut [0; 8]).unwrap(), 3);
    }

    fn two_pipes_are_read_and_their_end_is_heard_of() {
        let mut child = Command::new("sh").args(["-c", "printf some"]).on_stdio().spawn().unwrap();
        child.stream().set_read_timeout(NO_TIME).unwrap();
        assert_eq!(says_at_last(child.stream()).unwrap(), 4);
        assert_eq!(says_at_last(child.stream()).unwrap(), 0);
        child.wait().unwrap();
    }
}
