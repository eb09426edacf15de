//! `read_exact` within a timeout that is shorter than what it waits for: each try keeps what has come.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use streampipe::os::linux::EndExt;
use streampipe::{Command, FdError, Stream};

use crate::engines::{pair, tests_of_engines};
use crate::support::tests_alone;

/// Over before anything can be waited for: a call does one step.
const NO_TIME: Duration = Duration::from_nanos(1);

/// Bytes of which each is told from those near it.
fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 256 + at) as u8).collect()
}

/// Writes until there is no more room, or no more bytes; returns how many.
fn fill(end: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match end.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("a write failed: {error}"),
        }
    }
    written
}

/// Writes a part and reads it by a try that cannot succeed, again and again, until all has come.
///
/// After each try, less is queued than before it.
fn reads_part_by_part(writer: &Stream, reader: &Stream, mut buffer: Vec<u8>, bytes: &[u8]) {
    writer.set_nonblocking(true).unwrap();
    reader.set_read_timeout(Some(NO_TIME)).unwrap();
    let mut written = 0;
    loop {
        written += fill(&mut &*writer, &bytes[written..]);
        let queued = reader.bytes_queued().unwrap();
        match (&*reader).read_exact(&mut buffer) {
            Ok(()) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
        let left = reader.bytes_queued().unwrap();
        assert!(queued == 0 || left < queued, "{queued} bytes were queued, and {left} still are");
    }
    assert!(buffer == bytes, "other bytes");
}

tests_of_engines! {
    fn each_try_keeps_what_has_come() {
        let (a, b) = pair().unwrap();
        let bytes = numbered(8 << 20);
        reads_part_by_part(&a, &b, vec![0; bytes.len()], &bytes);
        let (reader, writer) = b.into_split();
        let bytes = numbered(1 << 20);
        reads_part_by_part(&a, reader.as_ref(), vec![0; bytes.len()], &bytes);
        drop(writer);
    }

    /// The sizes with which it was found.
    fn a_timeout_shorter_than_a_copy_of_what_is_held_ends_no_progress() {
        let (mut a, mut b) = pair().unwrap();
        b.set_read_timeout(Some(Duration::from_micros(1000))).unwrap();
        let bytes = numbered(64 << 20);
        thread::scope(|scope| {
            scope.spawn(|| a.write_all(&bytes).unwrap());
            let mut buffer = vec![0; bytes.len()];
            while let Err(error) = b.read_exact(&mut buffer) {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            }
            assert!(buffer == bytes, "other bytes");
        });
    }

    fn what_is_held_comes_in_order_whatever_is_asked_for_next() {
        let (a, b) = pair().unwrap();
        b.set_read_timeout(Some(NO_TIME)).unwrap();
        let fails = |len: usize| {
            let error = (&b).read_exact(&mut vec![0; len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        };
        (&a).write_all(b"0123").unwrap();
        fails(100);
        fails(5);
        (&a).write_all(b"4567").unwrap();
        fails(200);
        let mut two = [0; 2];
        (&b).read_exact(&mut two).unwrap();
        assert_eq!(&two, b"01");
        // Of what is held, a part was read.
        fails(7);
        (&a).write_all(b"89").unwrap();
        fails(9);
        let mut three = [0; 3];
        assert_eq!((&b).read(&mut three).unwrap(), 3);
        assert_eq!(&three, b"234");
        let mut rest = [0; 5];
        (&b).read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"56789");
        fails(1);
        (&b).read_exact(&mut []).unwrap();
    }

    fn descriptors_behind_what_is_held_stay_where_they_belong() {
        let (a, b) = pair().unwrap();
        b.set_read_timeout(Some(NO_TIME)).unwrap();
        (&a).write_all(b"before").unwrap();
        (&b).read_exact(&mut [0; 10]).unwrap_err();
        a.send_fds(b"with", &[std::io::stderr().as_fd()]).unwrap();
        for _ in 0..3 {
            let error = (&b).read_exact(&mut [0; 10]).unwrap_err();
            let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<FdError>());
            assert!(matches!(inside, Some(FdError::Waiting { count: 1, .. })), "{error}");
        }
        let mut six = [0; 6];
        (&b).read_exact(&mut six).unwrap();
        assert_eq!(&six, b"before");
        let mut four = [0; 4];
        let (len, fds) = b.recv_fds(&mut four).unwrap();
        assert_eq!((len, fds.len(), &four), (4, 1, b"with"));
    }

    fn the_end_behind_what_is_held_leaves_it() {
        let (a, b) = pair().unwrap();
        b.set_read_timeout(Some(NO_TIME)).unwrap();
        (&a).write_all(b"some").unwrap();
        (&b).read_exact(&mut [0; 10]).unwrap_err();
        (&a).write_all(b"more").unwrap();
        drop(a);
        for _ in 0..3 {
            let error = (&b).read_exact(&mut [0; 10]).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::UnexpectedEof));
        }
        assert_eq!((&b).read_exact(&mut [0; 10]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let mut all = Vec::new();
        b.set_read_timeout(None).unwrap();
        (&b).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"somemore");
    }

    /// A character that is cut by the timeout is not lost.
    fn text_that_is_cut_by_the_timeout_is_read_on() {
        let (a, b) = pair().unwrap();
        b.set_read_timeout(Some(NO_TIME)).unwrap();
        let text = "äöü€ and 𝄞";
        let mut heard = String::new();
        for byte in text.bytes() {
            (&a).write_all(&[byte]).unwrap();
            let error = (&b).read_to_string(&mut heard).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        assert_eq!(heard, text);
        b.set_read_timeout(None).unwrap();
        (&a).write_all(b"not text: \xff, nor this: \xe2\x82").unwrap();
        drop(a);
        for _ in 0..2 {
            assert_eq!((&b).read_to_string(&mut heard).unwrap_err().kind(), ErrorKind::InvalidData);
        }
        assert_eq!(heard, text);
        let mut all = Vec::new();
        (&b).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"not text: \xff, nor this: \xe2\x82");
    }
}

tests_alone! {
    fn each_try_keeps_what_has_come_through_two_pipes() {
        let bytes = numbered(2 << 20);
        let file = crate::support::file_with(&bytes);
        let mut child = Command::new("sh").args(["-c", "cat <&3"]).inherit(file, 3).on_stdio().spawn().unwrap();
        let stream = child.stream();
        stream.set_read_timeout(Some(NO_TIME)).unwrap();
        let mut buffer = vec![0; bytes.len()];
        while let Err(error) = stream.read_exact(&mut buffer) {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        assert!(buffer == bytes, "other bytes");
        assert!(child.wait().unwrap().success());
    }
}
