//! A caller's buffer that cannot be read or written: a mapping beyond the end of its file. PLATFORM.md says so of the ring.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use streampipe::{Builder, Engine, Stream};

use crate::child::forked;
use crate::support::file_with;
use crate::unbacked::Unbacked;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_buffer_that_cannot_be_had_is_an_error_of_a_socket", of_a_socket),
    ("a_buffer_that_cannot_be_had_is_a_signal_of_the_ring", of_a_ring),
];

fn pair(engine: Engine) -> (Stream, Stream) {
    Builder::new().engine(engine).pair().expect("a pair")
}

fn of_a_socket() {
    let empty = file_with(b"");
    let mut page = Unbacked::of(&empty);
    let (mut ours, mut theirs) = pair(Engine::Socket);
    let error = ours.write(page.bytes()).expect_err("nothing can be read there");
    assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    ours.write_all(b"x").expect("room");
    let error = theirs.read(page.bytes_mut()).expect_err("nothing can be written there");
    assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    let mut heard = [0; 8];
    assert_eq!(theirs.read(&mut heard).expect("it is still there"), 1);
}

fn of_a_ring() {
    let empty = file_with(b"");
    let calls: [fn(&mut Stream, &mut Unbacked); 2] = [
        |stream, page| drop(stream.write(page.bytes())),
        |stream, page| drop(stream.read(page.bytes_mut())),
    ];
    for call in calls {
        let (mut ours, mut theirs) = pair(Engine::Ring);
        theirs.write_all(b"x").expect("room");
        let (stream, mut child) = forked(|_| {
            // The death is the point; nobody wants its core.
            let none = Rlimit { current: Some(0), maximum: Some(0) };
            setrlimit(Resource::Core, none).expect("less");
            call(&mut ours, &mut Unbacked::of(&empty));
            0
        });
        drop(stream);
        let status = child.wait().expect("a status");
        assert_eq!(status.signal(), Some(Signal::BUS.as_raw()), "{status}");
        // Nothing of that was published, and the parent goes on.
        theirs.set_nonblocking(true).expect("a flag");
        theirs.read(&mut [0; 8]).expect_err("nothing was sent");
        assert_eq!(ours.read(&mut [0; 8]).expect("it is still there"), 1);
    }
}
