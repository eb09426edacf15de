use std::io::Write;
use std::os::fd::AsFd;

use streampipe::{Builder, Engine};

use crate::support::{file_with, tests_alone};

tests_alone! {
    /// A socket stops behind the bytes that the descriptors were sent with.
    fn bytes_behind_descriptors_come_with_them_up_to_the_next_ones() {
        let (mut ours, theirs) = Builder::new().engine(Engine::Ring).pair().expect("a pair");
        let file = file_with(b"content");
        ours.write_all(b"before").expect("room");
        ours.send_fds(b"x", &[file.as_fd()]).expect("room");
        ours.write_all(b"y").expect("room");
        ours.send_fds(b"z", &[file.as_fd(), file.as_fd()]).expect("room");
        let mut buffer = [0; 64];
        for (bytes, fds) in [("before", 0), ("xy", 1), ("z", 2)] {
            let (len, came) = theirs.recv_fds(&mut buffer).expect("there");
            assert_eq!((&buffer[..len], came.len()), (bytes.as_bytes(), fds));
        }
    }
}
