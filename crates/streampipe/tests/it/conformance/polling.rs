//! R4: what `poll` and `epoll` say of an end. All of it is an engine probe.

use std::net::Shutdown;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{
    Datagram, End, SeqPacket, SocketStream, datagram, fill, hear, hears, revents, say,
    tests_of_types,
};
use crate::support::tests_alone;

const IN: PollFlags = PollFlags::IN;
const OUT: PollFlags = PollFlags::OUT;
const RDHUP: PollFlags = PollFlags::RDHUP;
const HUP: PollFlags = PollFlags::HUP;

/// Waits without a limit for these events, and returns what came.
fn wait_for(end: &impl End, events: PollFlags) -> PollFlags {
    let mut watched = [PollFd::from_borrowed_fd(end.as_fd(), events)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, None)).expect("poll");
    watched[0].revents()
}

/// How many events wait in the set, which takes them out if they are edges.
fn events_of(set: impl AsFd) -> usize {
    let mut events = Vec::with_capacity(4);
    epoll::wait(set, spare_capacity(&mut events), Some(&Timespec::default())).expect("epoll")
}

tests_of_types! {
    fn an_idle_end_is_writable_and_one_with_data_readable<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        assert_eq!((revents(&a), revents(&b)), (OUT, OUT));
        say(&a, b"x");
        assert_eq!((revents(&a), revents(&b)), (OUT, IN | OUT));
        hears(&b, &[Ok(b"x")]);
        assert_eq!(revents(&b), OUT);
    }

    fn a_closed_peer_is_a_hang_up<E: SocketStream | SeqPacket>() {
        let (a, b) = E::pair();
        drop(b);
        assert_eq!(revents(&a), IN | OUT | RDHUP | HUP);
    }

    fn own_shutdown_of_reading_shows_here_and_not_there<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        a.shutdown(Shutdown::Read).unwrap();
        assert_eq!((revents(&a), revents(&b)), (IN | OUT | RDHUP, OUT));
    }

    fn own_shutdown_of_writing_shows_at_the_peer<E: SocketStream | SeqPacket>() {
        let (a, b) = E::pair();
        a.shutdown(Shutdown::Write).unwrap();
        assert_eq!((revents(&a), revents(&b)), (OUT, IN | OUT | RDHUP));
    }

    fn own_shutdown_of_both_is_a_hang_up_on_both_sides<E: SocketStream | SeqPacket>() {
        let (a, b) = E::pair();
        a.shutdown(Shutdown::Both).unwrap();
        let over = IN | OUT | RDHUP | HUP;
        assert_eq!((revents(&a), revents(&b)), (over, over));
    }

    fn a_full_end_is_not_writable_until_it_is_drained<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let queued = fill(&a, &[b'x'; 64]);
        assert_eq!((revents(&a), revents(&b)), (PollFlags::empty(), IN | OUT));
        let set = epoll::create(CreateFlags::CLOEXEC).expect("a set");
        epoll::add(&set, &a, EventData::new_u64(0), EventFlags::OUT).expect("room");
        assert_eq!(events_of(&set), 0);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_for(&a, OUT));
            for _ in 0..queued {
                assert_eq!(hear(&b).expect("it was queued").len(), 64);
            }
            assert_eq!(waiter.join().unwrap(), OUT);
        });
        assert_eq!(events_of(&set), 1);
    }

    /// Room is all that `OUT` tells: the write fails all the same.
    fn an_end_that_writes_no_more_is_still_writable<E: SocketStream | SeqPacket | Datagram>() {
        let (a, _b) = E::pair();
        a.shutdown(Shutdown::Write).unwrap();
        assert_eq!(revents(&a), OUT);
        assert!(a.send(b"x").is_err());
    }

    fn a_poll_for_nothing_wakes_on_a_hang_up<E: SocketStream | SeqPacket>() {
        let (a, b) = E::pair();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_for(&a, PollFlags::empty()));
            a.shutdown(Shutdown::Both).unwrap();
            assert_eq!(waiter.join().unwrap(), HUP);
        });
        drop(b);
    }

    fn a_poll_for_the_peers_end_wakes_on_its_shutdown<E: SocketStream | SeqPacket>() {
        let (a, b) = E::pair();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_for(&a, RDHUP));
            b.shutdown(Shutdown::Write).unwrap();
            assert_eq!(waiter.join().unwrap(), RDHUP);
        });
    }

    fn an_edge_comes_once_for_each_write<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let set = epoll::create(CreateFlags::CLOEXEC).expect("a set");
        epoll::add(&set, &b, EventData::new_u64(0), EventFlags::IN | EventFlags::ET).expect("room");
        assert_eq!(events_of(&set), 0);
        for _ in 0..3 {
            say(&a, b"never read");
            assert_eq!(events_of(&set), 1);
            assert_eq!(events_of(&set), 0, "still readable, but no new edge");
        }
    }
}

tests_alone! {
    fn a_datagram_end_shows_nothing_of_its_peer() {
        let (a, b) = datagram();
        a.shutdown(Shutdown::Write).unwrap();
        assert_eq!((revents(&a), revents(&b)), (OUT, OUT));
        a.shutdown(Shutdown::Read).unwrap();
        assert_eq!((revents(&a), revents(&b)), (IN | OUT | RDHUP | HUP, OUT));
        drop(a);
        assert_eq!(revents(&b), OUT);
    }
}
