use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use streampipe::{Channel, Fd, RecvError, SendError, SendReason, channel};

use super::by_hand::{MESSAGE, by_hand, frame};
use super::{HANG, pairs};
use crate::engines::{pair, tests_of_engines};
use crate::support::{FreeDescriptors, file_with, identity, tests_alone};

type Parcel = (String, Fd);
type Perhaps = (String, Option<Fd>);

fn parcel(len: usize) -> Parcel {
    ("a".repeat(len), file_with(b"inside").into())
}

/// Sends it in this way, which fails; the value must come back with its own descriptor.
fn fails(send: impl FnOnce(Parcel) -> Result<(), SendError<Parcel>>, len: usize) -> SendReason {
    let parcel = parcel(len);
    let fd = identity(&parcel.1);
    let (parcel, reason) = send(parcel).expect_err("it cannot be sent").into_parts();
    assert_eq!((parcel.0.len(), identity(&parcel.1)), (len, fd), "{reason:?}");
    reason
}

/// Does as it is told while it is serialized, or deserialized.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    Panic,
    Error,
}

struct Troubled(Trouble, Fd);

impl Serialize for Troubled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Trouble::None => (&self.1, 1_u8).serialize(serializer),
            // Each when the descriptor has been put beside the value.
            Trouble::Panic => (&self.1, Panics).serialize(serializer),
            Trouble::Error => (&self.1, Fails).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Troubled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fd, number) = <(Fd, u8)>::deserialize(deserializer)?;
        assert_eq!(number, 1, "a panic on purpose");
        Ok(Self(Trouble::None, fd))
    }
}

struct Panics;
struct Fails;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("on purpose");
    }
}

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

/// Talks over another channel while it is serialized or deserialized.
struct Talker<'channel>(&'channel Channel<Parcel, Parcel>, &'channel Channel<Parcel, Parcel>, Fd);

impl Serialize for Talker<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(ours, theirs, fd) = self;
        let first = fd.try_clone().expect("room");
        let inner = parcel(5000);
        let expected = identity(&inner.1);
        ours.send(inner).expect("room");
        let came = theirs.recv().expect("a parcel");
        assert_eq!((came.0.len(), identity(&came.1)), (5000, expected));
        ours.send((String::new(), came.1)).expect("room");
        (first, TalksOn(theirs), fd).serialize(serializer)
    }
}

struct TalksOn<'channel>(&'channel Channel<Parcel, Parcel>);

impl Serialize for TalksOn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Between two descriptors of the value.
        self.0.recv().expect("a parcel").1.serialize(serializer)
    }
}

/// Has the peer write single bytes now and then, until it is told to stop.
fn trickles(bytes: &[u8], peer: &super::by_hand::ByHand, over: &AtomicBool) {
    for byte in bytes {
        if over.load(Ordering::SeqCst) {
            return;
        }
        peer.write(&[*byte]);
        // So slowly that no frame is whole before a deadline.
        thread::park_timeout(Duration::from_micros(100));
    }
}

tests_of_engines! {
    fn what_is_not_sent_comes_back_with_its_descriptor_and_why() {
        for (ours, theirs) in pairs::<Parcel, Parcel>() {
            let reason = fails(|it| ours.try_send(it), 5_000_000);
            assert!(matches!(reason, SendReason::Full), "{reason:?}");
            let soon = || Instant::now() + Duration::from_millis(1);
            let reason = fails(|it| ours.send_deadline(it, soon()), 5_000_000);
            assert!(matches!(reason, SendReason::TimedOut), "{reason:?}");
            let reason = fails(|it| ours.send_timeout(it, Duration::ZERO), 5_000_000);
            assert!(matches!(reason, SendReason::TimedOut), "{reason:?}");
            // Nothing of the three is handed over; what was sent of them is in the way of the next.
            let came = thread::scope(|scope| {
                scope.spawn(|| ours.send(parcel(3)).expect("room"));
                theirs.recv().expect("a parcel")
            });
            assert_eq!(came.0, "aaa");
            drop(theirs);
            let reason = fails(|it| ours.send(it), 10);
            assert!(matches!(reason, SendReason::Closed), "{reason:?}");
        }
        let (ours, _theirs) = channel::<Parcel, Parcel>().expect("a pair");
        ours.shutdown(Shutdown::Write).expect("ours");
        assert!(matches!(fails(|it| ours.send(it), 10), SendReason::Closed));
    }

    fn a_peer_that_refuses_descriptors_gets_nothing_of_the_value() {
        for (ours, theirs) in pairs::<Perhaps, Perhaps>() {
            theirs.refuse_fds().expect("a socket");
            let value = ("with one".to_owned(), Some(file_with(b"x").into()));
            if let Err(error) = ours.send(&value) {
                // The kernel refuses them at the sender.
                assert!(matches!(error.reason(), SendReason::FdsRefused), "{error:?}");
            }
            ours.send(("without".to_owned(), None)).expect("room");
            // That there was one is told.
            let refused = theirs.recv().map(|it| it.0);
            let Err(RecvError::TooLarge(too_large)) = refused else { panic!("{refused:?}") };
            assert_eq!((too_large.fds, too_large.most_fds), (1, 0));
            assert_eq!(theirs.recv().expect("the next one").0, "without");
        }
    }

    fn why_nothing_is_received_is_told_apart() {
        let (ours, theirs) = channel::<u8, u8>().expect("a pair");
        assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
        let soon = Duration::from_millis(1);
        assert!(matches!(ours.recv_timeout(soon), Err(RecvError::TimedOut)));
        assert!(matches!(ours.recv_deadline(Instant::now()), Err(RecvError::TimedOut)));
        theirs.send(5).expect("room");
        ours.send(6).expect("room");
        drop(theirs);
        assert_eq!(ours.recv().expect("what was queued comes first"), 5);
        assert!(matches!(ours.recv(), Err(RecvError::Reset)));
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));

        let (ours, peer) = by_hand::<u8, u8>();
        peer.write(&frame(MESSAGE, 0, &[1])[..20]);
        peer.close();
        let torn = ours.recv();
        assert!(matches!(torn, Err(RecvError::Torn(_))), "{torn:?}");
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));

        let (ours, peer) = by_hand::<u8, u8>();
        peer.write(b"GET / HTTP/1.1\r\nHost: a-web-server\r\n");
        for _ in 0..2 {
            let malformed = ours.recv();
            assert!(matches!(malformed, Err(RecvError::Malformed(_))), "{malformed:?}");
        }
    }

    fn a_value_waits_until_there_is_room_for_its_descriptors() {
        for (ours, theirs) in pairs::<Parcel, Parcel>() {
            ours.send(parcel(3)).expect("room");
            let full = FreeDescriptors::exactly(0);
            assert!(matches!(theirs.recv(), Err(RecvError::NoRoom { needed: 1 })));
            drop(full);
            assert_eq!(theirs.recv().expect("it waited").0, "aaa");
        }
    }

    fn iteration_goes_on_behind_what_is_no_value_and_ends_with_the_channel() {
        let (ours, peer) = by_hand::<(), bool>();
        for byte in [1, 2, 0] {
            peer.send(MESSAGE, 0, &[byte]);
        }
        peer.close();
        let items: Vec<_> = ours.iter().map(|it| it.map_err(|error| error.is_final())).collect();
        assert_eq!(items, [Ok(true), Err(false), Ok(false)]);

        let (ours, peer) = by_hand::<(), bool>();
        peer.send(MESSAGE, 0, &[1]);
        peer.write(&[b'X'; 32]);
        let items: Vec<_> =
            (&ours).into_iter().map(|it| it.map_err(|error| error.is_final())).collect();
        assert_eq!(items, [Ok(true), Err(true)]);
    }

    fn a_peer_that_trickles_extends_no_deadline() {
        let (ours, peer) = by_hand::<u8, Vec<u8>>();
        let endless = [frame(MESSAGE, 0, &[5; 40_000]), frame(2, 9, &[5; 40_000])].concat();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| trickles(&endless.repeat(100), &peer, &over));
            let (started, soon) = (Instant::now(), Duration::from_millis(30));
            let received = ours.recv_timeout(soon);
            assert!(matches!(received, Err(RecvError::TimedOut)), "{received:?}");
            let called = ours.call_timeout(1, soon).expect_err("nobody answers");
            assert!(called.is_timeout(), "{called:?}");
            let request = ours.recv_request_timeout(soon);
            assert!(matches!(request, Err(RecvError::TimedOut)), "{request:?}");
            let took = started.elapsed();
            over.store(true, Ordering::SeqCst);
            assert!(took < Duration::from_secs(2), "{took:?}");
        });
    }

    fn a_value_that_panics_while_it_is_made_into_bytes_harms_nobody() {
        for (ours, theirs) in pairs::<Troubled, Troubled>() {
            for trouble in [Trouble::Panic, Trouble::Error, Trouble::None] {
                let value = Troubled(trouble, file_with(b"x").into());
                let sent = catch_unwind(AssertUnwindSafe(|| ours.try_send(&value)));
                match (trouble, sent) {
                    (Trouble::Panic, Err(_)) | (Trouble::None, Ok(Ok(()))) => {}
                    (Trouble::Error, Ok(Err(error))) => {
                        assert!(matches!(error.reason(), SendReason::Unencodable(_)));
                    }
                    (trouble, sent) => panic!("{trouble:?}: {sent:?}"),
                }
            }
            assert!(theirs.recv().is_ok(), "the descriptors of the others went with it");
            assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)));
        }
    }

    fn a_value_may_talk_over_another_channel_while_it_is_sent() {
        let (ours, theirs) = channel::<Parcel, Parcel>().expect("a pair");
        let (a, b) = pair().expect("a pair");
        let post = Channel::<Talker<'_>, ()>::from(a);
        let office = Channel::<(), (Fd, Fd, Fd)>::from(b);
        let fd = Fd::from(file_with(b"outer"));
        let outer = identity(&fd);
        post.send(Talker(&ours, &theirs, fd)).expect("room");
        let (first, second, third) = office.recv().expect("three");
        assert_eq!((identity(&first), identity(&third)), (outer, outer));
        assert_ne!(identity(&second), outer);
    }
}

tests_alone! {
    fn a_value_that_panics_while_it_is_made_from_bytes_harms_nobody() {
        let (a, b) = streampipe::SeqPacket::pair().expect("a pair");
        let post = Channel::<(Fd, u8), ()>::from(a);
        let office = Channel::<(), Troubled>::from(b);
        for number in [0, 1] {
            post.send((file_with(b"x").into(), number)).expect("room");
        }
        assert!(catch_unwind(AssertUnwindSafe(|| office.recv())).is_err());
        assert!(office.recv_timeout(HANG).is_ok(), "the next one");
    }
}
