//! What channels keep to use it again, and when they give it back.

use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;
use streampipe::{Budget, Bytes, Channel, RawChannel, SeqPacket, Stream};

use crate::support::tests_alone;
use crate::{ALLOCATOR, allocations};

/// What an idle channel may keep: for each direction, what it keeps always; a frame; and what it is made of.
const LITTLE: usize = 2 * (512 << 10) + (64 << 10) + (16 << 10);

/// What all channels of a process keep of larger buffers.
const ALL: usize = 64 << 20;

const LARGE: usize = 50 << 20;
const MEDIUM: usize = 15 << 20;

/// The bytes that the body leaves in use.
fn left_by<T>(body: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.bytes();
    let done = body();
    (done, ALLOCATOR.bytes().saturating_sub(before))
}

fn pairs<A, B>() -> [(Channel<A, B>, Channel<B, A>); 2] {
    let (a, b) = SeqPacket::pair().expect("a pair");
    let (c, d) = Stream::pair().expect("a pair");
    [(a.into(), b.into()), (c.into(), d.into())]
}

/// Sends a value, which is received and dropped.
fn pass<A, B>(ours: &Channel<A, B>, theirs: &Channel<B, A>, value: &A)
where
    A: Serialize + DeserializeOwned + Sync,
    B: Serialize + DeserializeOwned,
{
    thread::scope(|scope| {
        scope.spawn(|| ours.send(value).expect("room"));
        drop(theirs.recv().expect("a value"));
    });
}

type Pair<A> = (Channel<A, ()>, Channel<(), A>);

/// Twenty idle channels, each pair of which has passed the value so often.
fn idle_pairs<A>(value: &A, times: usize) -> Vec<Pair<A>>
where
    A: Serialize + DeserializeOwned + Sync,
{
    let pairs: Vec<Pair<A>> = (0..5).flat_map(|_| pairs()).collect();
    for (ours, theirs) in &pairs {
        (0..times).for_each(|_| pass(ours, theirs, value));
    }
    pairs
}

tests_alone! {
    fn idle_channels_keep_nothing_of_one_large_value() {
        // Beside the value, and encoded with it: the buffers of both sides.
        let (bytes, text) = (Bytes::from(vec![7; LARGE]), "a".repeat(MEDIUM));
        let (pairs, left) = left_by(|| idle_pairs(&bytes, 1));
        assert!(left <= pairs.len() * 2 * LITTLE, "20 idle channels keep {left} bytes");
        drop(pairs);
        let (pairs, left) = left_by(|| idle_pairs(&text, 1));
        assert!(left <= pairs.len() * 2 * LITTLE, "20 idle channels keep {left} bytes");
    }

    fn idle_channels_keep_some_of_many_large_values_together() {
        let text = "a".repeat(MEDIUM);
        let (pairs, left) = left_by(|| idle_pairs(&text, 3));
        assert!(left > MEDIUM, "nothing is used again: {left} bytes");
        assert!(left <= ALL + pairs.len() * 2 * LITTLE, "20 idle channels keep {left} bytes");
        // With the channels it goes.
        let ((), left) = left_by(|| drop(pairs));
        assert_eq!(left, 0);
        let (pairs, left) = left_by(|| idle_pairs(&text, 3));
        assert!(left > MEDIUM, "what is gone counts: {left} bytes");
        assert!(left <= ALL + pairs.len() * 2 * LITTLE, "20 idle channels keep {left} bytes");
    }

    fn small_values_have_the_memory_of_large_ones_given_back() {
        let text = "a".repeat(MEDIUM);
        for (ours, theirs) in pairs::<String, ()>() {
            let ((), left) = left_by(|| (0..4).for_each(|_| pass(&ours, &theirs, &text)));
            assert!(left > MEDIUM, "nothing is used again: {left} bytes");
            let before = ALLOCATOR.bytes() - left;
            let small = "small".to_owned();
            for _ in 0..100 {
                ours.send(&small).expect("room");
                assert_eq!(theirs.recv().expect("a value"), small);
            }
            let left = ALLOCATOR.bytes().saturating_sub(before);
            assert!(left <= 2 * LITTLE, "100 small values later {left} bytes are kept");
        }
    }

    fn a_queue_that_was_long_gives_its_room_back() {
        const MANY: usize = 50_000;
        let (ours, theirs) = RawChannel::pair().expect("a pair");
        ours.set_budget(Budget::default().queued_messages(2 * MANY as u32));
        let ((), left) = left_by(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    (0..MANY).for_each(|_| theirs.send(b"", &[]).expect("room"));
                    let request = theirs.recv_request().expect("a request");
                    request.answer(b"", &[]).expect("room");
                });
                // What is no answer waits in the channel.
                ours.call(b"", &[]).expect("an answer");
            });
            (0..MANY).for_each(|_| drop(ours.try_recv().expect("one that waited")));
        });
        assert!(left <= 2 * LITTLE, "the queue keeps {left} bytes");
    }

    fn large_messages_in_steady_use_allocate_nothing() {
        let bytes = vec![7; MEDIUM];
        let (a, b) = SeqPacket::pair().expect("a pair");
        let (c, d) = Stream::pair().expect("a pair");
        let pairs: [(RawChannel, RawChannel); 2] = [(a.into(), b.into()), (c.into(), d.into())];
        for (ours, theirs) in pairs {
            thread::scope(|scope| {
                scope.spawn(|| while ours.send(&bytes, &[]).is_ok() {});
                let receive = || drop(theirs.recv().expect("a message"));
                (0..4).for_each(|_| receive());
                assert_eq!(allocations(|| (0..20).for_each(|_| receive())), 0);
                theirs.shutdown(std::net::Shutdown::Both).expect("ours");
            });
        }
    }

    fn large_values_in_steady_use_are_encoded_without_an_allocation() {
        let text = "a".repeat(MEDIUM);
        for (ours, theirs) in pairs::<String, ()>() {
            let theirs = theirs;
            thread::scope(|scope| {
                scope.spawn(|| while theirs.recv().is_ok() {});
                let ours = ours;
                let send = || ours.send(&text).expect("room");
                (0..4).for_each(|_| send());
                assert_eq!(allocations(|| (0..20).for_each(|_| send())), 0);
            });
        }
    }

    fn a_large_payload_of_a_value_is_taken_without_other_memory() {
        for (ours, theirs) in pairs::<(String, Bytes), ()>() {
            let bytes = Bytes::from(vec![7; MEDIUM]);
            for take_memory in [true, false] {
                let (_, bytes) = thread::scope(|scope| {
                    scope.spawn(|| ours.send(&("image".to_owned(), bytes.clone())).expect("room"));
                    theirs.recv().expect("a value")
                });
                let (at, end) = (bytes.as_ptr() as usize, bytes.as_ptr() as usize + MEDIUM);
                let mut place = 0;
                let count = allocations(|| {
                    if take_memory {
                        let (memory, range) = bytes.into_memory();
                        place = memory[range].as_ptr() as usize;
                        assert_eq!(place, at, "it was moved");
                    } else {
                        let vector = bytes.into_vec();
                        assert_eq!((vector.len(), vector[0], vector[MEDIUM - 1]), (MEDIUM, 7, 7));
                        place = vector.as_ptr() as usize;
                    }
                });
                assert_eq!(count, 0, "memory was taken");
                assert!(place <= at && place + MEDIUM <= end, "it is elsewhere");
            }
        }
    }

    fn a_payload_that_is_shared_is_copied() {
        let (ours, theirs) = streampipe::channel::<(Bytes, Bytes), ()>().expect("a pair");
        let bytes = Bytes::from(vec![7; 100 << 10]);
        ours.send((bytes.clone(), bytes)).expect("room");
        let (one, other) = theirs.recv().expect("a value");
        assert_eq!(allocations(|| assert_eq!(one.into_vec().len(), 100 << 10)), 1);
        // The other one is alone now.
        assert_eq!(allocations(|| assert_eq!(other.into_vec(), [7; 100 << 10])), 0);
    }
}
