//! Both directions at once.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use streampipe::{CopyError, Stream, copy_both};

use crate::engines::{pair, pair_with_room, tests_of_engines};
use crate::support::{self};

/// A client and a server with a relay between them.
fn relayed<T>(body: impl FnOnce(Stream, Stream) -> T) -> (T, std::io::Result<(u64, u64)>) {
    let (client, left) = pair().expect("a pair");
    let (right, server) = pair().expect("a pair");
    std::thread::scope(|scope| {
        let relay = scope.spawn(move || copy_both(&left, &right));
        let said = body(client, server);
        (said, relay.join().expect("the relay does not panic"))
    })
}

fn inside(error: &std::io::Error) -> &CopyError {
    error.get_ref().and_then(|inside| inside.downcast_ref()).expect("our own kind inside")
}

tests_of_engines! {
    /// Both write all they have before they read anything: with two `io::copy` in turn, this hangs.
    fn two_sides_that_write_before_they_read_do_not_deadlock() {
        const SIZE: usize = 10 << 20;
        let ((), copied) = relayed(|client, server| {
            std::thread::scope(|scope| {
                for end in [client, server] {
                    let writer = end.try_clone().unwrap();
                    scope.spawn(move || {
                        (&writer).write_all(&vec![3; SIZE]).unwrap();
                        writer.shutdown(Shutdown::Write).unwrap();
                    });
                    scope.spawn(move || {
                        let mut all = Vec::new();
                        (&end).read_to_end(&mut all).unwrap();
                        assert_eq!(all.len(), SIZE);
                    });
                }
            });
        });
        assert_eq!(copied.unwrap(), (SIZE as u64, SIZE as u64));
    }

    fn a_direction_that_ends_leaves_the_other_open() {
        let ((), copied) = relayed(|client, server| {
            (&client).write_all(b"question").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            (&server).read_to_string(&mut text).unwrap();
            for _ in 0..100 {
                (&server).write_all(b"answer").unwrap();
            }
            drop(server);
            (&client).read_to_string(&mut text).unwrap();
            assert_eq!(text.len(), 8 + 600);
        });
        assert_eq!(copied.unwrap(), (8, 600));
    }

    fn a_side_that_stops_reading_does_not_stop_the_other_direction() {
        let ((), copied) = relayed(|client, server| {
            server.shutdown(Shutdown::Read).unwrap();
            // The relay notices when it writes, ends this direction, and the client is told.
            let error = (0..).find_map(|_| (&client).write_all(&[0; 4096]).err()).unwrap();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            (&server).write_all(b"still here").unwrap();
            drop(server);
            let mut text = String::new();
            (&client).read_to_string(&mut text).unwrap();
            assert_eq!(text, "still here");
        });
        let error = copied.unwrap_err();
        assert_eq!((inside(&error).left_to_right, inside(&error).right_to_left), (0, 10));
        assert!(inside(&error).dropped > 0);
    }

    fn descriptors_travel_with_their_bytes() {
        let file = support::file_with(b"passed on");
        let ((), copied) = relayed(|client, server| {
            for _ in 0..50 {
                (&client).write_all(b"plain").unwrap();
                assert_eq!(client.send_fds(b"with", &[file.as_fd(), file.as_fd()]).unwrap(), 4);
            }
            client.shutdown(Shutdown::Write).unwrap();
            let (mut bytes, mut count) = (0, 0);
            loop {
                let (n, fds) = server.recv_fds(&mut [0; 64]).unwrap();
                if n == 0 {
                    break;
                }
                assert!(fds.iter().all(|fd| support::identity(fd) == support::identity(&file)));
                (bytes, count) = (bytes + n, count + fds.len());
            }
            assert_eq!((bytes, count), (450, 100));
            drop(server);
        });
        assert_eq!(copied.unwrap(), (450, 0));
    }

    fn descriptors_that_cannot_be_delivered_are_counted_and_closed() {
        let file = support::file_with(b"");
        let ((), copied) = relayed(|client, server| {
            server.refuse_fds().unwrap();
            client.send_fds(b"no", &[file.as_fd()]).unwrap();
            drop(client);
            let mut rest = Vec::new();
            (&server).read_to_end(&mut rest).unwrap();
        });
        let error = copied.unwrap_err();
        assert_eq!((inside(&error).dropped, inside(&error).fds_dropped), (2, 1));
    }

    fn a_real_program_can_stand_on_one_side() {
        let (ours, left) = pair().unwrap();
        // What a program has by a number is a socket, whatever is on the other side of the relay.
        let (right, theirs) = Stream::pair().unwrap();
        let again = theirs.try_clone().unwrap();
        let mut sort = Command::new("sort")
            .stdin(Stdio::from(theirs)).stdout(Stdio::from(again)).spawn().unwrap();
        let relay = std::thread::spawn(move || copy_both(&left, &right));
        (&ours).write_all(b"pear\napple\n").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        (&ours).read_to_string(&mut text).unwrap();
        assert_eq!(text, "apple\npear\n");
        assert_eq!(relay.join().unwrap().unwrap(), (11, 11));
        assert!(sort.wait().unwrap().success());
    }

    fn a_copy_that_is_bounded_ends_both_directions_and_counts() {
        let (client, left) = pair().unwrap();
        let (right, server) = pair_with_room(4096).unwrap();
        // More than the far side's buffer takes, and nobody reads there.
        client.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(n) = (&client).write(&[1; 4096]) {
            sent += n as u64;
        }
        let limit = std::time::Duration::from_millis(30);
        let error = streampipe::copy_both_timeout(&left, &right, limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let inside = inside(&error);
        assert_eq!(inside.left_to_right + inside.dropped, sent);
        assert_eq!((&client).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut arrived = Vec::new();
        (&server).read_to_end(&mut arrived).unwrap();
        assert_eq!(arrived.len() as u64, inside.left_to_right);
    }
}
