//! What a review of the layer found; each was so once.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use streampipe::{CallError, FdPolicy, RawChannel, RecvError, SendReason, channel};
use streampipe_wire::{Header, Kind};

use super::pairs;
use crate::engines::tests_of_engines;
use crate::support::tests_alone;

/// More than a pair of ours ever has room for.
const HOPELESS: usize = 1 << 20;

tests_of_engines! {
    fn a_message_that_never_fits_is_in_nobodys_way() {
        for (kind, ours, theirs) in pairs() {
            ours.try_send(b"before", &[]).expect("room");
            let full = ours.try_send(&vec![0; HOPELESS], &[]).expect_err("no room");
            assert!(matches!(full.reason(), SendReason::Full), "{kind}");
            ours.try_send(b"after", &[]).expect("room as before");
            drop(ours);
            assert_eq!(theirs.recv().expect("a message").bytes, b"before");
            assert_eq!(theirs.recv().expect("a message").bytes, b"after");
            assert!(matches!(theirs.recv(), Err(RecvError::Closed)), "{kind}");
        }
    }

    fn what_was_given_up_is_withdrawn_before_the_end() {
        for (kind, ours, theirs) in pairs() {
            let late = ours.send_timeout(&vec![0; HOPELESS], &[], Duration::from_millis(5));
            assert!(matches!(late.expect_err("no room").reason(), SendReason::TimedOut));
            // What has been sent of it is read, so that there is room for its withdrawal.
            assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)), "{kind}");
            ours.shutdown(std::net::Shutdown::Write).expect("ours");
            assert!(matches!(theirs.recv(), Err(RecvError::Closed)), "{kind}");
        }
    }
}

tests_alone! {
    fn a_message_with_more_descriptors_than_there_can_be_is_too_large() {
        let lower = Rlimit { current: Some(256), maximum: Some(256) };
        setrlimit(Resource::Nofile, lower).expect("lower");
        let (ours, theirs) = streampipe::SeqPacket::pair().expect("a pair");
        let ours = RawChannel::from(ours);
        let first = Header { rest_fds: 257, ..Header::new(Kind::Message, 0) };
        theirs.send(&first.to_bytes()).expect("room");
        match ours.recv() {
            Err(RecvError::TooLarge(too_large)) => {
                assert_eq!((too_large.fds, too_large.most_fds), (257, 256));
            }
            other => panic!("{other:?}"),
        }
        theirs.send(&Header::new(Kind::Withdrawal, 0).to_bytes()).expect("room");
        theirs.send(&Header::new(Kind::Message, 0).to_bytes()).expect("room");
        assert_eq!(ours.recv().expect("the next one").bytes, b"");
    }

    fn room_is_looked_for_when_descriptors_have_come_and_not_before() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let (ours, theirs) = streampipe::SeqPacket::pair().expect("a pair");
        let ours = RawChannel::from(ours);
        let first = Header { rest_fds: 200, ..Header::new(Kind::Message, 0) };
        theirs.send(&first.to_bytes()).expect("room");
        setrlimit(Resource::Nofile, Rlimit { current: Some(210), maximum: hard }).expect("lower");
        let mut kept = Vec::new();
        while let Ok(fd) = ours.as_fd().try_clone_to_owned() {
            kept.push(fd);
        }
        // The table is full, and no descriptor has come.
        assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
        drop(kept);
        assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
    }

    fn a_call_that_was_not_sent_leaves_nothing_behind() {
        let (ours, _theirs) = RawChannel::pair().expect("a pair");
        ours.set_policy(FdPolicy::new().untrusted_peer());
        let device = std::fs::File::open("/dev/null").expect("a device");
        let refused = ours.call(b"x", &[device.as_fd()]);
        assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
        let (carries, _other) = channel::<RawChannel, ()>().expect("a pair");
        carries.send(ours).expect("an idle channel travels");
    }

    fn a_call_after_its_deadline_is_not_sent() {
        let (ours, theirs) = channel::<u32, u32>().expect("a pair");
        let late = ours.call_deadline(7, Instant::now());
        match late {
            Err(CallError::NotSent(error)) => assert_eq!(error.into_inner(), 7),
            other => panic!("{other:?}"),
        }
        let (raw, other) = RawChannel::pair().expect("a pair");
        assert!(raw.call_timeout(b"x", &[], Duration::ZERO).expect_err("late").is_timeout());
        assert!(matches!(theirs.try_recv_request(), Err(RecvError::Empty)));
        assert!(matches!(other.try_recv_request(), Err(RecvError::Empty)));
    }
}
