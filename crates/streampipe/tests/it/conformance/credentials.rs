//! R6: who the peer is. The library has no call for it yet; what it must not do is stumble over
//! credentials that somebody else asked for. All of it is an engine probe.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred, sockopt};

use super::{
    Canary, Datagram, SeqPacket, SocketStream, hand, hears, hears_no_more, say, take,
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
    fn the_peer_of_both_ends_is_who_made_the_pair<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        assert_eq!(sockopt::socket_peercred(&a), Ok(own()));
        assert_eq!(sockopt::socket_peercred(&b), Ok(own()));
        drop(b);
        assert_eq!(sockopt::socket_peercred(&a), Ok(own()));
    }

    fn the_peer_is_who_made_the_pair_and_not_who_holds_an_end<E: SocketStream | SeqPacket | Datagram>() {
        with_child(
            |end: E, child| {
                hears(&end, &[Ok(b"held by a child")]);
                assert_eq!(sockopt::socket_peercred(&end), Ok(own()));
                assert_ne!(child.id(), std::process::id());
            },
            |end: E| {
                let maker = sockopt::socket_peercred(&end).expect("a socket");
                assert_eq!(Some(maker.pid), rustix::process::getppid());
                say(&end, b"held by a child");
            },
        );
    }

    fn the_maker_is_remembered_after_its_end<E: SocketStream | SeqPacket | Datagram>() {
        with_child(
            |carrier: E, child| {
                assert!(child.wait().expect("our child").success());
                let made = take(&carrier).1;
                let maker = sockopt::socket_peercred(&made[0]).expect("a socket");
                assert_eq!(u32::try_from(maker.pid.as_raw_nonzero().get()), Ok(child.id()));
                assert_eq!((maker.uid, maker.gid), (own().uid, own().gid));
            },
            |carrier: E| {
                let (a, _b) = E::pair();
                hand(&carrier, b"x", &[a.as_fd()]);
            },
        );
    }

    fn credentials_that_somebody_asked_for_disturb_no_receive<E: SocketStream | SeqPacket | Datagram>() {
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
    fn credentials_take_no_room_from_descriptors<E: SocketStream | SeqPacket | Datagram>() {
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

    fn credentials_sent_along_with_a_descriptor_are_left_out<E: SocketStream | SeqPacket | Datagram>() {
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
