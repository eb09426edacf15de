use std::net::Shutdown;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use streampipe::tokio::{Child, SeqPacket, Stream};
use streampipe::{Command, FdError, PeerGone, RecvError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{block_on, pair, raw_pairs, soon};
use crate::engines::tests_of_engines;
use crate::messages::{borrowed, files, number_in};
use crate::support::tests_alone;

tests_of_engines! {
    fn megabytes_go_both_ways_at_once() {
        block_on(async {
            let (ours, theirs) = pair().expect("a pair");
            let talk = |mut end: Stream, byte: u8| async move {
                let sent = vec![byte; 2_000_000];
                let mut heard = Vec::new();
                let (mut reader, mut writer) = tokio::io::split(&mut end);
                let writing = async {
                    writer.write_all(&sent).await.expect("room");
                    writer.shutdown().await.expect("ours");
                };
                let reading = async { reader.read_to_end(&mut heard).await.expect("bytes") };
                tokio::join!(writing, reading);
                heard
            };
            let (a, b) = tokio::join!(talk(ours, 1), talk(theirs, 2));
            assert!(a == vec![2; 2_000_000] && b == vec![1; 2_000_000]);
        });
    }

    fn descriptors_come_with_their_bytes() {
        block_on(async {
            let (ours, mut theirs) = pair().expect("a pair");
            let fds = files(3, 0);
            assert_eq!(ours.send_fds(b"three", &borrowed(&fds)).await.expect("room"), 5);
            let error = theirs.read(&mut [0; 64]).await.expect_err("descriptors came");
            let inside = error.get_ref().and_then(|it| it.downcast_ref());
            assert_eq!(inside, Some(&FdError::Waiting { count: 3, bytes: 5 }));
            let mut buffer = [0; 64];
            let (len, came) = theirs.recv_fds(&mut buffer).await.expect("they wait");
            assert_eq!(&buffer[..len], b"three");
            assert_eq!(came.into_iter().map(number_in).collect::<Vec<_>>(), [0, 1, 2]);

            let (ours, theirs) = SeqPacket::pair().expect("a pair");
            ours.send_fds(b"one", &borrowed(&fds[..1])).await.expect("room");
            ours.send(b"two").await.expect("room");
            let (len, came) = theirs.recv_fds(&mut buffer).await.expect("a packet");
            assert_eq!((len, came.len()), (3, 1));
            assert_eq!(theirs.recv(&mut buffer).await.expect("a packet"), 3);
            drop(ours);
            assert_eq!(theirs.recv(&mut buffer).await.expect("the end"), 0);
        });
    }

    fn the_description_stays_blocking() {
        block_on(async {
            let (ours, mut theirs) = pair().expect("a pair");
            assert!(tokio::time::timeout(std::time::Duration::from_millis(5), theirs.read_u8()).await.is_err());
            for end in [ours.as_fd(), theirs.as_fd()] {
                let flags = rustix::fs::fcntl_getfl(end).expect("flags");
                assert!(!flags.contains(OFlags::NONBLOCK));
            }
        });
    }

    fn a_task_that_receives_is_told_that_another_ended_its_direction() {
        for how in [Shutdown::Read, Shutdown::Both] {
            block_on(soon(async {
                let (ours, _theirs) = pair().expect("a pair");
                let mut buffer = [0; 8];
                let ending = async {
                    tokio::task::yield_now().await;
                    ours.end_direction(how).expect("ours");
                };
                let (received, ()) = tokio::join!(ours.recv_fds(&mut buffer), ending);
                let (len, fds) = received.expect("the end");
                assert_eq!((len, fds.len()), (0, 0));
            }));
        }
    }

    fn a_channel_that_receives_is_told_that_another_task_ended_its_direction() {
        for how in [Shutdown::Read, Shutdown::Both] {
            block_on(soon(async {
                for (ours, _theirs) in raw_pairs() {
                    let ending = async {
                        tokio::task::yield_now().await;
                        ours.shutdown(how).expect("ours");
                    };
                    let (received, ()) = tokio::join!(ours.recv(), ending);
                    let error = received.expect_err("the end");
                    assert!(matches!(error, RecvError::Closed), "{error}");
                }
            }));
        }
    }

    fn a_writer_notices_that_the_peer_reads_no_more() {
        block_on(async {
            let (mut ours, theirs) = pair().expect("a pair");
            let flood = vec![0; 5_000_000];
            let writing = ours.write_all(&flood);
            let leaving = async {
                tokio::task::yield_now().await;
                theirs.end_direction(Shutdown::Read).expect("theirs");
            };
            let (written, ()) = tokio::join!(writing, leaving);
            assert_eq!(written.expect_err("no more").kind(), std::io::ErrorKind::BrokenPipe);
            drop(theirs);
        });
    }
}

tests_alone! {
    fn a_child_is_waited_for_and_its_death_ends_a_read() {
        block_on(async {
            let child = Command::new("sh").args(["-c", "exec cat <&3 >&3"]).spawn().expect("sh");
            let mut child = Child::try_from(child).expect("registered");
            let mut stream = child.take_stream().expect("registered").expect("there");
            stream.write_all(b"hello").await.expect("room");
            stream.shutdown().await.expect("ours");
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.expect("an echo");
            assert_eq!((heard.as_str(), child.wait().await.expect("a status").code()), ("hello", Some(0)));

            let child = Command::new("sh").args(["-c", "sleep 5 & exit 3"]).spawn().expect("sh");
            let mut child = Child::try_from(child).expect("registered");
            let mut stream = child.take_stream().expect("registered").expect("there");
            let error = stream.read(&mut [0; 8]).await.expect_err("a copy is held");
            assert!(error.get_ref().is_some_and(|it| it.is::<PeerGone>()), "{error}");
            assert_eq!(child.wait().await.expect("a status").code(), Some(3));
        });
    }

    fn a_child_on_two_pipes_is_spoken_to_as_any_other() {
        block_on(async {
            let mut command = Command::new("sort");
            command.on_stdio();
            let child = command.spawn().expect("sort");
            let mut child = Child::try_from(child).expect("registered");
            let mut stream = child.take_stream().expect("registered").expect("there");
            let lines = "pear\napple\n".repeat(50_000);
            stream.write_all(lines.as_bytes()).await.expect("room");
            stream.shutdown().await.expect("ours");
            let mut sorted = String::new();
            stream.read_to_string(&mut sorted).await.expect("text");
            assert_eq!(sorted.lines().filter(|&it| it == "apple").count(), 50_000);
            assert!(child.wait().await.expect("a status").success());
        });
    }
}
