use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use streampipe::{Bytes, CallError, Channel, Fd, RawChannel, RecvError, SendReason, channel};

use super::{HANG, pairs};
use crate::support::tests_alone;

type Words = Channel<String, String>;

/// Why a value does not travel.
fn unencodable(reason: &SendReason) -> String {
    let SendReason::Unencodable(why) = reason else { panic!("{reason:?}") };
    why.to_string()
}

// Over sockets: a channel over a ring does not travel, whatever it has received.
tests_alone! {
    fn a_channel_that_waits_for_an_answer_stays_here_until_it_has_come() {
        let (post, _office) = channel::<Words, ()>().expect("a pair");
        let (ours, theirs) = channel::<String, String>().expect("a pair");
        let answer = ours.call_timeout("first".to_owned(), Duration::from_millis(1));
        assert!(matches!(answer, Err(ref error) if error.is_timeout()), "{answer:?}");
        let error = post.send(ours).expect_err("a late answer would be taken for another's");
        assert!(unencodable(error.reason()).contains("without an answer"));
        let ours = error.into_inner();
        let request = theirs.recv_request().expect("it was sent");
        let error = post.send(theirs).expect_err("it has a request to answer");
        assert!(unencodable(error.reason()).contains("without an answer"));
        request.answer("late".to_owned()).expect("room");
        assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
        assert_eq!(ours.late_answers(), 1);
        post.send(ours).expect("nothing is expected any more");
        post.send(error.into_inner()).expect("nothing is owed any more");
    }

    fn a_channel_whose_request_was_not_sent_can_travel() {
        let (post, office) = channel::<Words, ()>().expect("a pair");
        let (ours, theirs) = channel::<String, String>().expect("a pair");
        let long = "a".repeat(5_000_000);
        let answer = ours.call_timeout(long, Duration::from_millis(1));
        let Err(CallError::NotSent(error)) = answer else { panic!("there is no room") };
        assert_eq!(error.into_inner().len(), 5_000_000);
        assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)));
        // What is owed of the message goes before the next one.
        ours.send_timeout("next".to_owned(), HANG).expect("room");
        post.send(ours).expect("nobody was asked anything");
        assert_eq!(theirs.recv().expect("a word"), "next");
        drop(office);
    }

    fn a_channel_with_something_received_stays_here() {
        for (ours, theirs) in pairs::<String, String>() {
            let (post, _office) = channel::<Words, ()>().expect("a pair");
            theirs.send("a word".to_owned()).expect("room");
            // The word is put aside.
            assert!(matches!(ours.try_recv_request(), Err(RecvError::Empty)));
            let error = post.send(ours).expect_err("it would be lost");
            let ours = error.into_inner();
            assert_eq!(ours.recv().expect("it is there"), "a word");
            post.send(ours).expect("nothing is left behind");
        }
    }

    fn what_is_queued_travels_with_the_channel() {
        let (post, office) = channel::<Words, ()>().expect("a pair");
        let (ours, theirs) = channel::<String, String>().expect("a pair");
        theirs.send("in the socket".to_owned()).expect("room");
        post.send(ours).expect("room");
        let came = office.recv().expect("a channel");
        assert_eq!(came.recv().expect("a word"), "in the socket");
        came.send("back".to_owned()).expect("room");
        assert_eq!(theirs.recv().expect("a word"), "back");
        drop(came);
        assert!(matches!(theirs.recv(), Err(RecvError::Closed)));
    }

    fn a_channel_travels_through_channels_through_channels() {
        type Inner = Channel<String, String>;
        type Middle = Channel<Inner, ()>;
        let (outer, outer_end) = channel::<Channel<Inner, ()>, ()>().expect("a pair");
        let (middle, middle_end) = channel::<Inner, ()>().expect("a pair");
        let (inner, inner_end) = channel::<String, String>().expect("a pair");
        middle.send(inner).expect("room");
        // With the inner channel in flight inside of it.
        outer.send(middle).expect("room");
        let middle: Middle = outer_end.recv().expect("a channel");
        let inner = middle_end.recv().expect("a channel");
        middle.send(inner).expect("room, again");
        let inner = middle_end.recv().expect("a channel");
        inner.send("through".to_owned()).expect("room");
        assert_eq!(inner_end.recv().expect("a word"), "through");
    }

    fn a_channel_does_not_travel_over_itself() {
        #[derive(serde::Serialize, serde::Deserialize)]
        enum Post {
            Word(String),
            Channel(Box<Channel<Post, Post>>),
        }
        for (ours, theirs) in pairs::<Post, Post>() {
            let (mut ours, theirs) = (ours, Box::new(theirs));
            let itself = Post::Channel(Box::new(ours));
            let Post::Channel(boxed) = &itself else { unreachable!() };
            let error = boxed.send(&itself).expect_err("over itself");
            assert!(matches!(error.reason(), SendReason::Fd(_)), "{error:?}");
            let Post::Channel(boxed) = itself else { unreachable!() };
            ours = *boxed;
            // Nor its other end; and nothing of either was sent.
            let error = ours.send(Post::Channel(theirs)).expect_err("its peer");
            assert!(matches!(error.reason(), SendReason::Fd(_)), "{error:?}");
            let Post::Channel(theirs) = error.into_inner() else { unreachable!() };
            ours.send(Post::Word("still works".to_owned())).expect("room");
            let Ok(Post::Word(word)) = theirs.recv() else { panic!("a word") };
            assert_eq!(word, "still works");
        }
    }

    fn a_channel_sent_by_reference_works_on_both_sides() {
        let (post, office) = channel::<Words, ()>().expect("a pair");
        let (ours, theirs) = channel::<String, String>().expect("a pair");
        post.send(&ours).expect("room");
        let copy = office.recv().expect("a channel");
        ours.send("one".to_owned()).expect("room");
        copy.send("two".to_owned()).expect("room");
        assert_eq!((theirs.recv().expect("one"), theirs.recv().expect("two")), ("one".into(), "two".into()));
        drop(ours);
        copy.send("three".to_owned()).expect("the copy keeps it open");
        assert_eq!(theirs.recv().expect("three"), "three");
        drop(copy);
        assert!(matches!(theirs.recv(), Err(RecvError::Closed)));
    }

    fn a_channel_waits_whatever_flag_its_sender_set() {
        let (post, office) = channel::<Fd, ()>().expect("a pair");
        let office = office.into_words();
        let (end, theirs) = UnixStream::pair().expect("a pair");
        end.set_nonblocking(true).expect("a flag of the socket");
        post.send(Fd::from(OwnedFd::from(end))).expect("room");
        let came = office.recv().expect("a channel");
        let error = came.recv_timeout(Duration::from_millis(1)).expect_err("nothing came");
        assert!(matches!(error, RecvError::TimedOut), "{error:?}");
        let theirs = Words::try_from(OwnedFd::from(theirs)).expect("a stream");
        std::thread::scope(|scope| {
            let heard = scope.spawn(|| came.recv());
            theirs.send("hello".to_owned()).expect("room");
            assert_eq!(heard.join().expect("no panic").expect("a word"), "hello");
        });
    }

    fn what_is_no_channel_does_not_arrive_as_one() {
        let (post, office) = channel::<Fd, ()>().expect("a pair");
        let office = office.into_words();
        let file = crate::support::file_with(b"no socket");
        let (datagram, _peer) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for fd in [Fd::from(file), datagram.into(), udp.into()] {
            post.send(fd).expect("room");
            let error = office.recv().expect_err("no channel");
            assert!(matches!(error, RecvError::Undecodable(_)), "{error:?}");
        }
    }

    fn a_small_payload_taken_over_leaves_the_large_memory_it_came_in() {
        let (ours, theirs) = channel::<Bytes, Bytes>().expect("a pair");
        std::thread::scope(|scope| {
            scope.spawn(|| ours.send(Bytes::from(vec![1; 8 << 20])).expect("room"));
            drop(theirs.recv().expect("a large one"));
        });
        ours.send(Bytes::from(vec![2; 5000])).expect("room");
        let kept = theirs.recv().expect("a small one").into_vec();
        assert!(kept.capacity() < 4 * 5004, "{} bytes are kept for 5000", kept.capacity());
        let (ours, theirs) = RawChannel::pair().expect("a pair");
        std::thread::scope(|scope| {
            scope.spawn(|| ours.send(&vec![1; 8 << 20], &[]).expect("room"));
            drop(theirs.recv().expect("a large one"));
        });
        ours.send(&[2; 5000], &[]).expect("room");
        let kept = theirs.recv().expect("a small one").bytes.into_vec();
        assert!(kept.capacity() < 4 * 5004, "{} bytes are kept for 5000", kept.capacity());
    }
}

/// The receiver's end under another type: what a peer that lies sends to.
trait IntoWords {
    fn into_words(self) -> Channel<(), Words>;
}

impl IntoWords for Channel<(), Fd> {
    fn into_words(self) -> Channel<(), Words> {
        let copy = std::os::fd::AsFd::as_fd(&self).try_clone_to_owned().expect("a duplicate");
        Channel::try_from(copy).expect("a socket")
    }
}
