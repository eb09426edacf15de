use std::os::fd::{AsFd, BorrowedFd};

use streampipe::{RawChannel, SeqPacket, Stream};

use crate::support::{file_with, tests_alone};
use crate::{ALLOCATOR, allocations};

fn pairs() -> [(RawChannel, RawChannel); 2] {
    let (a, b) = SeqPacket::pair().expect("a pair");
    let (c, d) = Stream::pair().expect("a pair");
    [(a.into(), b.into()), (c.into(), d.into())]
}

/// Sends messages of these sizes to somebody who sends them back; returns after the last.
fn there_and_back(ours: &RawChannel, messages: usize, sizes: &[usize], bytes: &[u8]) {
    for len in sizes.iter().copied().cycle().take(messages) {
        ours.send(&bytes[..len], &[]).expect("room");
        let message = ours.recv().expect("it comes back");
        assert_eq!(message.bytes.len(), len);
    }
}

/// How often memory is asked for on both sides while messages of these sizes go there and back.
fn steady(messages: usize, sizes: &[usize]) -> [usize; 2] {
    let bytes = vec![7; 1 << 20];
    pairs().map(|(ours, theirs)| {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                ALLOCATOR.count_this_thread();
                while let Ok(message) = theirs.recv() {
                    theirs.send(&message.bytes, &[]).expect("room");
                }
            });
            let ours = ours;
            there_and_back(&ours, 4 * sizes.len(), sizes, &bytes);
            allocations(|| there_and_back(&ours, messages, sizes, &bytes))
        })
    })
}

/// How often memory is asked for by one message with descriptors there, without a thread.
fn with_descriptors(fds: &[BorrowedFd<'_>]) -> [usize; 2] {
    pairs().map(|(ours, theirs)| {
        let once = || {
            ours.send(b"with descriptors", fds).expect("room");
            assert_eq!(theirs.recv().expect("a message").fds.len(), fds.len());
        };
        (0..4).for_each(|_| once());
        let count = allocations(|| (0..100).for_each(|_| once()));
        assert_eq!(count % 100, 0, "each costs the same");
        count / 100
    })
}

tests_alone! {
    fn small_messages_allocate_nothing() {
        assert_eq!(steady(10_000, &[64]), [0, 0]);
        assert_eq!(steady(10_000, &[4096]), [0, 0]);
    }

    fn messages_of_64_kib_allocate_nothing() {
        assert_eq!(steady(10_000, &[64 << 10]), [0, 0]);
    }

    fn messages_of_a_mebibyte_allocate_nothing() {
        assert_eq!(steady(500, &[1 << 20]), [0, 0]);
    }

    fn messages_of_all_sizes_in_turn_allocate_nothing() {
        let sizes = [64, 64 << 10, 0, 4096, 1 << 20, 64, 18_432, 18_431, 300_000];
        assert_eq!(steady(1000, &sizes), [0, 0]);
    }

    fn many_large_messages_at_once_leave_room_for_small_ones() {
        for (ours, theirs) in pairs() {
            let once = |bytes: &[u8]| {
                ours.send(bytes, &[]).expect("room");
                theirs.recv().expect("a message")
            };
            let large: Vec<_> = (0..20).map(|_| once(&[7; 64 << 10])).collect();
            drop(large);
            (0..4).for_each(|_| drop(once(b"small")));
            assert_eq!(allocations(|| (0..1000).for_each(|_| drop(once(b"small")))), 0);
        }
    }

    /// And nothing else: the places that are tried for up to four of them take none, more are counted.
    fn a_message_with_descriptors_allocates_their_list() {
        let files: Vec<_> = (0..5).map(|_| file_with(b"")).collect();
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        assert_eq!(with_descriptors(&[]), [0, 0]);
        assert_eq!(with_descriptors(&fds[..1]), [1, 1]);
        assert_eq!(with_descriptors(&fds[..4]), [1, 1]);
        assert_eq!(with_descriptors(&fds), [1, 1]);
    }

    fn an_allocation_is_counted() {
        assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
    }
}
