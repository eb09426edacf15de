//! R6: who the peer is. The library has no call for it yet; what it must not do is stumble over
//! credentials that somebody else asked for. All of it is an engine probe.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred, sockopt};

use super::{
    Canary, Datagram, NOTHING, SeqPacket, Stream, hand, hears, hears_no_more, say, take,
    tests_of_types, with_child,
};

/// This process.
fn own() -> UCred {
    UCred {
        pid: rustix::process::getpid(),
        uid: rustix::process::geteuid(),
        gid: rustix::process::getegid(),
    }
}

tests_of_types! {
    fn the_peer_of_both_ends_is_who_made_the_pair<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        assert_eq!(sockopt::socket_peercred(&a), Ok(own()));
        assert_eq!(sockopt::socket_peercred(&b), Ok(own()));
        drop(b);
        assert_eq!(sockopt::socket_peercred(&a), Ok(own()));
    }

    fn the_peer_is_not_who_holds_the_end_but_who_made_it<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let maker = own();
        with_child(
            move |_stream, _| hears(&a, &[Ok(b"held by a child")]),
            move |_stream| {
                assert_eq!(sockopt::socket_peercred(&b), Ok(maker));
                assert_ne!(own().pid, maker.pid);
                say(&b, b"held by a child");
            },
        );
    }

    fn the_maker_is_remembered_after_its_end<E: Stream | SeqPacket | Datagram>() {
        let (carrier, far) = E::pair();
        let mut arrived = None;
        let mut maker = None;
        with_child(
            |stream, child| {
                hears(&stream, &[NOTHING]);
                maker = Some(child.id());
                arrived = take(&far).1.pop();
            },
            |stream| {
                let (a, _b) = E::pair();
                hand(&carrier, b"x", &[a.as_fd()]);
                drop(stream);
            },
        );
        let arrived = arrived.expect("an end");
        let credentials = sockopt::socket_peercred(&arrived).expect("a socket");
        assert_eq!(Some(credentials.pid.as_raw_nonzero().get().cast_unsigned()), maker);
        assert_eq!((credentials.uid, credentials.gid), (own().uid, own().gid));
    }

    fn credentials_that_somebody_asked_for_disturb_no_receive<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"before");
        sockopt::set_socket_passcred(&b, true).expect("a socket");
        hears(&b, &[Ok(b"before")]);
        say(&a, b"after");
        hears(&b, &[Ok(b"after")]);
        say(&b, b"back");
        hears(&a, &[Ok(b"back")]);
        hears_no_more(&b);
    }

    /// They come first and take room, which the library has for both.
    fn credentials_take_no_room_from_descriptors<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        sockopt::set_socket_passcred(&b, true).expect("a socket");
        for count in [1, 2, 253] {
            let (canary, writer) = Canary::new();
            hand(&a, b"x", &vec![writer.as_fd(); count]);
            drop(writer);
            let arrived: Vec<OwnedFd> = take(&b).1;
            assert_eq!(arrived.len(), count);
            canary.hears(&arrived[count - 1]);
            drop(arrived);
            assert!(canary.is_gone());
        }
    }

    fn credentials_sent_along_with_a_descriptor_are_left_out<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        for asked in [false, true] {
            sockopt::set_socket_passcred(&b, asked).expect("a socket");
            let (canary, writer) = Canary::new();
            let rights = [writer.as_fd()];
            let mut space = [MaybeUninit::uninit(); 128];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmCredentials(own())));
            assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
            let flags = SendFlags::NOSIGNAL;
            let sent = rustix::net::sendmsg(&a, &[IoSlice::new(b"x")], &mut control, flags);
            assert_eq!(sent, Ok(1));
            drop(writer);
            let (bytes, arrived) = take(&b);
            assert_eq!((&bytes[..], arrived.len()), (&b"x"[..], 1));
            canary.hears(&arrived[0]);
        }
    }
}
