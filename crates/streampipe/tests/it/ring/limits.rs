use std::io::{ErrorKind, Read, Write};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use streampipe::{Builder, Command, Engine, Stream};

use crate::support::tests_alone;

/// How large the memory of a ring with this capacity is: two rings, and a page of words for each.
const fn memory(capacity: u64) -> u64 {
    2 * (capacity + 4096)
}

fn pair(capacity: usize) -> std::io::Result<(Stream, Stream)> {
    Builder::new().engine(Engine::Ring).capacity(capacity).pair()
}

/// Runs a body in a process that may have files of so many bytes, and no larger ones.
fn with_files_up_to(bytes: u64, body: impl FnOnce()) {
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), ..before }).expect("a soft limit");
    body();
    // What the test prints goes into a file.
    setrlimit(Resource::Fsize, before).expect("back to what it was");
}

tests_alone! {
    /// `ftruncate` sends `SIGXFSZ`, too, of which a program without a handler dies.
    fn a_ring_that_is_larger_than_a_file_may_be_is_an_error() {
        let (mut ours, mut theirs) = pair(64 << 10).expect("a pair");
        for bytes in [0, 1, 4096, memory(4096) - 1] {
            with_files_up_to(bytes, || {
                for capacity in [4096, 1 << 20] {
                    let error = pair(capacity).expect_err("too large");
                    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{bytes}, {capacity}");
                    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
                }
                let started = Command::new("true").engine(Engine::Ring).capacity(4096).spawn();
                let error = std::io::Error::from(started.expect_err("no memory"));
                assert_eq!(error.kind(), ErrorKind::FileTooLarge, "{error}");
                // What is there goes on, and so do sockets.
                ours.write_all(b"still").expect("room");
                theirs.read_exact(&mut [0; 5]).expect("there");
                Stream::pair().expect("no file");
            });
        }
        with_files_up_to(memory(4096), || {
            pair(4096).expect("as large as it may be");
            assert_eq!(pair(8192).expect_err("larger").kind(), ErrorKind::FileTooLarge);
        });
        pair(1 << 20).expect("no limit");
    }
}
