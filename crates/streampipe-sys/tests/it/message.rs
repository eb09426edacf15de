//! Receiving what was not asked for.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use streampipe_sys::message::{Blocking, Received, recv, recv_packet, send, send_with_fds};
use streampipe_sys::open;

use crate::support::tests_alone;

const SO_PASSPIDFD: i32 = 76;

fn pair(kind: i32) -> (OwnedFd, OwnedFd) {
    open::socketpair(libc::AF_UNIX, kind, 0).expect("a pair")
}

fn turn_on(fd: &OwnedFd, option: i32) -> bool {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: the pointer and the size describe `on`.
    unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, value, size) == 0 }
}

fn receive(fd: &OwnedFd, len: usize) -> Received {
    let mut bytes = vec![0; len];
    recv(fd.as_fd(), &mut [IoSliceMut::new(&mut bytes)], Blocking::AsIs).expect("something")
}

tests_alone! {
    fn a_pidfd_that_comes_with_credentials_is_not_leaked() {
        for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET, libc::SOCK_DGRAM] {
            let (a, b) = pair(kind);
            assert!(turn_on(&b, libc::SO_PASSCRED));
            if !turn_on(&b, SO_PASSPIDFD) {
                return crate::support::skip("SO_PASSPIDFD", "the kernel does not have it (6.5)");
            }
            let given = [a.as_fd(), b.as_fd()];
            send_with_fds(a.as_fd(), &[IoSlice::new(b"x")], &given, Blocking::AsIs).unwrap();
            let received = receive(&b, 8);
            assert_eq!((received.len, received.fds.len(), received.fds_lost), (1, 2, false));
            send(a.as_fd(), b"y", Blocking::AsIs).unwrap();
            assert_eq!(receive(&b, 8).fds.len(), 0);
        }
    }

    fn credentials_do_not_squeeze_the_descriptors_out() {
        let (a, b) = pair(libc::SOCK_STREAM);
        assert!(turn_on(&b, libc::SO_PASSCRED));
        let given = [a.as_fd(); 253];
        send_with_fds(a.as_fd(), &[IoSlice::new(b"x")], &given, Blocking::AsIs).unwrap();
        let received = receive(&b, 1);
        assert_eq!((received.fds.len(), received.fds_lost), (253, false));
    }

    fn a_send_of_more_than_253_is_refused_before_the_call() {
        let (a, _b) = pair(libc::SOCK_STREAM);
        let given = vec![a.as_fd(); 254];
        let sent = send_with_fds(a.as_fd(), &[IoSlice::new(b"x")], &given, Blocking::AsIs);
        assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    fn a_packet_says_its_full_length() {
        let (a, b) = pair(libc::SOCK_SEQPACKET);
        send(a.as_fd(), &[7; 100], Blocking::AsIs).unwrap();
        let mut ten = [0; 10];
        let into = &mut [IoSliceMut::new(&mut ten)];
        let received = recv_packet(b.as_fd(), into, Blocking::AsIs).unwrap();
        assert_eq!((received.len, received.full_len), (10, 100));
    }

    fn no_send_raises_sigpipe_even_where_it_kills() {
        // SAFETY: the default action runs no code of ours; this process runs one test.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
            let (a, b) = pair(kind);
            drop(b);
            for blocking in [Blocking::AsIs, Blocking::Never] {
                let sent = send(a.as_fd(), b"x", blocking);
                assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EPIPE));
                let stderr = std::io::stderr();
                let sent = send_with_fds(a.as_fd(), &[IoSlice::new(b"x")], &[stderr.as_fd()], blocking);
                assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EPIPE));
            }
        }
    }
}
