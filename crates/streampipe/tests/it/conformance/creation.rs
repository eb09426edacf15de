//! R1: what a fresh pair is.
//!
//! The errors of the raw call are tested in `call.rs`.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, sockopt};

use super::{
    Datagram, NOTHING, SeqPacket, SocketStream, Stream, datagram, hear, hears, hears_no_more, say,
    seqpacket, stream, tests_of_types,
};
use crate::support::{FreeDescriptors, identity, tests_alone};

/// One end of each type, the other dropped at once, and what the kernel should call it.
fn one_end_of_each_type() -> [(OwnedFd, SocketType); 3] {
    [
        (stream().0.into(), SocketType::STREAM),
        (seqpacket().0.into(), SocketType::SEQPACKET),
        (datagram().0.into(), SocketType::DGRAM),
    ]
}

tests_of_types! {
    fn both_ends_are_connected_at_once<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        assert_ne!(a.as_raw_fd(), b.as_raw_fd());
        say(&a, b"ping");
        hears(&b, &[Ok(b"ping")]);
        say(&b, b"pong");
        hears(&a, &[Ok(b"pong")]);
    }

    fn one_free_descriptor_makes_no_pair_and_stays_free<E: Stream | SeqPacket | Datagram>() {
        let free = FreeDescriptors::exactly(1);
        let error = E::try_pair().expect_err("two are needed");
        assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        let one = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).expect("it is still free");
        drop((one, free));
        drop(E::pair());
    }

    fn two_free_descriptors_are_enough<E: Stream | SeqPacket | Datagram>() {
        let free = FreeDescriptors::exactly(2);
        let (a, b) = E::pair();
        let error = a.try_clone().expect_err("none is left");
        assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        say(&a, b"x");
        hears(&b, &[Ok(b"x")]);
        drop(free);
    }

    /// Engine probe: descriptor numbers. Never 0, 1 or 2, where the kernel would take those, too.
    fn a_pair_takes_the_two_lowest_free_numbers_in_order<E: Stream | SeqPacket | Datagram>() {
        let mut taken: Vec<OwnedFd> = (0..6)
            .map(|_| rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).expect("room"))
            .collect();
        let numbers = (taken[1].as_raw_fd(), taken[4].as_raw_fd());
        drop((taken.remove(4), taken.remove(1)));
        let (a, b) = E::pair();
        assert_eq!((a.as_raw_fd(), b.as_raw_fd()), numbers);
        assert!(numbers.0 > 2);
    }

    /// Engine probe: flags of descriptors and of open file descriptions.
    fn an_end_is_close_on_exec_and_not_nonblocking<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let again = a.try_clone().expect("room");
        for end in [&a, &b, &again] {
            assert!(rustix::io::fcntl_getfd(end).unwrap().contains(FdFlags::CLOEXEC));
            assert!(!rustix::fs::fcntl_getfl(end).unwrap().contains(OFlags::NONBLOCK));
        }
    }

    /// Engine probe: names.
    fn an_end_has_no_name<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        for end in [&a, &b] {
            let own = rustix::net::getsockname(end).expect("a socket");
            assert_eq!((own.address_family(), own.addr_len()), (AddressFamily::UNIX, 2));
            let peer = rustix::net::getpeername(end).expect("it is connected");
            if let Some(peer) = peer {
                assert_eq!((peer.address_family(), peer.addr_len()), (AddressFamily::UNIX, 2));
            }
        }
    }

    /// Engine probe: names.
    fn a_name_bound_later_shows_at_the_peer<E: SocketStream | SeqPacket | Datagram>() {
        let directory = tempfile::tempdir().expect("a directory");
        let name = SocketAddrUnix::new(directory.path().join("name")).expect("a short path");
        let lost = SocketAddrUnix::new(directory.path().join("no/name")).expect("a short path");
        let (a, b) = E::pair();
        assert_eq!(rustix::net::bind(&a, &lost), Err(Errno::NOENT));
        let inet = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
        assert_eq!(rustix::net::bind(&a, &inet), Err(Errno::INVAL));
        rustix::net::bind(&a, &name).expect("an end can be named");
        let other = SocketAddrUnix::new(directory.path().join("other")).expect("a short path");
        assert_eq!(rustix::net::bind(&a, &other), Err(Errno::INVAL));
        assert_eq!(rustix::net::bind(&a, &SocketAddrUnix::new_unnamed()), Ok(()));
        let seen = || {
            let peer = rustix::net::getpeername(&b).expect("connected").expect("a name");
            SocketAddrUnix::try_from(peer).expect("a name of the family")
        };
        assert_eq!(seen(), name);
        drop(a);
        assert_eq!(seen(), name);
    }

    /// Engine probe: the file system's view.
    fn an_end_is_a_socket_that_no_path_opens<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let again = a.try_clone().expect("room");
        assert_eq!(identity(&a), identity(&again));
        assert_ne!(identity(&a), identity(&b));
        let mode = rustix::fs::fstat(&a).expect("open").st_mode;
        assert_eq!(FileType::from_raw_mode(mode), FileType::Socket);
        let path = format!("/proc/self/fd/{}", a.as_raw_fd());
        let opened = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        assert_eq!(opened.expect_err("a socket"), Errno::NXIO);
    }
}

tests_alone! {
    /// Engine probe: socket options.
    fn an_end_says_what_it_is() {
        for (end, kind) in one_end_of_each_type() {
            assert_eq!(sockopt::socket_type(&end), Ok(kind));
            assert_eq!(sockopt::socket_domain(&end), Ok(AddressFamily::UNIX));
            assert_eq!(sockopt::socket_protocol(&end), Ok(None), "0 is no protocol");
            assert_eq!(sockopt::socket_acceptconn(&end), Ok(false));
        }
    }

    /// Engine probe: a pair is no listener.
    fn an_end_neither_listens_nor_accepts() {
        for (end, kind) in one_end_of_each_type() {
            let expected =
                if kind == SocketType::DGRAM { Errno::OPNOTSUPP } else { Errno::INVAL };
            assert_eq!(rustix::net::listen(&end, 1), Err(expected));
            assert_eq!(rustix::net::accept(&end).expect_err("no listener"), expected);
        }
    }

    /// Engine probe: the other way out of a pair. A datagram has one, which is a trap of its type.
    fn a_stream_and_a_seqpacket_stay_connected_to_their_peer() {
        let directory = tempfile::tempdir().expect("a directory");
        let (stream, _peer) = stream();
        let (packets, peer) = seqpacket();
        let (loose, old_peer) = datagram();
        let listen = |end: &dyn AsFd, kind, name: &str| {
            let address = SocketAddrUnix::new(directory.path().join(name)).expect("short");
            let there = rustix::net::socket(AddressFamily::UNIX, kind, None).expect("a socket");
            rustix::net::bind(&there, &address).expect("a free name");
            if kind != SocketType::DGRAM {
                rustix::net::listen(&there, 1).expect("a listener");
            }
            let flags = SendFlags::NOSIGNAL;
            let sent = rustix::net::sendto(end.as_fd(), b"elsewhere", flags, &address);
            (there, sent, rustix::net::connect(end.as_fd(), &address))
        };

        let (_there, sent, connected) = listen(&stream, SocketType::STREAM, "s");
        assert_eq!((sent, connected), (Err(Errno::ISCONN), Err(Errno::ISCONN)));

        let (_there, sent, connected) = listen(&packets, SocketType::SEQPACKET, "q");
        assert_eq!((sent, connected), (Ok(9), Err(Errno::ISCONN)));
        hears(&peer, &[Ok(b"elsewhere")]);

        let (there, sent, connected) = listen(&loose, SocketType::DGRAM, "d");
        assert_eq!((sent, connected), (Ok(9), Ok(())));
        hears_no_more(&old_peer);
        let there = Datagram::try_from(there).expect("a datagram socket");
        hears(&there, &[Ok(b"elsewhere")]);
    }

    fn an_end_given_up_as_a_descriptor_is_the_same_end_again() {
        let (a, b) = seqpacket();
        let a = SeqPacket::try_from(OwnedFd::from(a)).expect("it was one");
        say(&a, b"x");
        drop(a);
        hears(&b, &[Ok(b"x"), NOTHING]);
        assert_eq!(hear(&b), Ok(Vec::new()));
        let refused = Stream::try_from(OwnedFd::from(b)).expect_err("another type");
        assert_eq!(std::io::Error::from(refused).kind(), ErrorKind::InvalidInput);
    }
}
