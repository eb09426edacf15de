//! Control messages: arithmetic that no byte can break.

use std::io::IoSlice;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage};
use streampipe_sys::cmsg::{ControlMessage, ControlMessages, HEADER, MAX_FDS, space, write};

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;

fn header(claimed: usize, level: i32, kind: i32) -> Vec<u8> {
    let mut bytes = claimed.to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes
}

/// What the walk must never do, whatever the bytes are.
fn walk(bytes: &[u8]) -> usize {
    let mut seen = 0;
    let mut consumed = 0;
    for message in ControlMessages::new(bytes) {
        seen += 1;
        consumed += HEADER + message.data.len();
        assert!(consumed <= bytes.len(), "data outside of the buffer");
        assert!(message.numbers().all(|number| number >= 0));
        assert!(message.numbers().count() * 4 <= message.data.len());
    }
    assert!(seen <= bytes.len() / HEADER, "more messages than headers fit");
    seen
}

#[test]
fn what_is_written_is_read_back() {
    for count in 0..=MAX_FDS {
        let numbers: Vec<i32> = (0..).take(count).collect();
        let mut buffer = vec![0xff; space(4 * count)];
        let used = write(&mut buffer, SOL_SOCKET, SCM_RIGHTS, &numbers).expect("it fits exactly");
        assert_eq!(used, buffer.len());
        let messages: Vec<ControlMessage<'_>> = ControlMessages::new(&buffer).collect();
        let [message] = messages[..] else { panic!("one message, not {messages:?}") };
        assert_eq!((message.level, message.kind), (SOL_SOCKET, SCM_RIGHTS));
        assert!(message.complete);
        assert!(message.numbers().eq(numbers));
    }
}

#[test]
fn a_buffer_one_byte_short_is_refused_and_untouched() {
    for count in 0..=MAX_FDS {
        let numbers = vec![7; count];
        let mut buffer = vec![0xaa; space(4 * count) - 1];
        assert_eq!(write(&mut buffer, SOL_SOCKET, SCM_RIGHTS, &numbers), None);
        assert!(buffer.iter().all(|&byte| byte == 0xaa));
    }
}

#[test]
fn arbitrary_bytes_never_lead_outside_the_buffer() {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let mut seen = 0;
    for round in 0..400_000 {
        let mut bytes = vec![0; random.usize(0..200)];
        random.fill(&mut bytes);
        // Half of them with lengths that are nearly right, so that the walk gets far.
        if round % 2 == 0 {
            let mut at = 0;
            while at + HEADER <= bytes.len() {
                let claimed = random.usize(0..80);
                bytes[at..at + size_of::<usize>()].copy_from_slice(&claimed.to_ne_bytes());
                at += claimed.max(HEADER).next_multiple_of(size_of::<usize>());
            }
        }
        seen += walk(&bytes);
    }
    assert!(seen > 100_000, "the bytes were too wild to test much: {seen} messages");
}

#[test]
fn a_length_beyond_the_buffer_is_clamped_and_marked() {
    for claimed in [HEADER + 5, HEADER + 100, usize::MAX - 7, usize::MAX] {
        let mut bytes = header(claimed, SOL_SOCKET, SCM_RIGHTS);
        bytes.extend([1, 0, 0, 0]);
        let messages: Vec<_> = ControlMessages::new(&bytes).collect();
        let [message] = messages[..] else { panic!("one message for {claimed}") };
        assert!(!message.complete);
        assert_eq!(message.data, [1, 0, 0, 0]);
    }
}

#[test]
fn a_length_below_a_header_ends_the_walk() {
    for claimed in 0..HEADER {
        let mut bytes = header(claimed, SOL_SOCKET, SCM_RIGHTS);
        bytes.extend([0; 64]);
        assert_eq!(walk(&bytes), 0);
    }
}

#[test]
fn half_a_number_and_a_negative_one_are_no_descriptors() {
    let mut bytes = header(HEADER + 10, SOL_SOCKET, SCM_RIGHTS);
    bytes.extend((-1_i32).to_ne_bytes());
    bytes.extend(9_i32.to_ne_bytes());
    bytes.extend([3, 0]);
    let numbers: Vec<i32> = ControlMessages::new(&bytes).flat_map(|m| m.numbers()).collect();
    assert_eq!(numbers, [9]);
}

/// Our layout is the kernel's: what it wrote for us, rustix's reader finds, and the other way round.
#[test]
fn the_layout_is_the_one_another_implementation_uses() {
    let (a, b) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let file = tempfile::tempfile().unwrap();
    let fd = std::os::fd::AsFd::as_fd(&file);
    let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut room);
    let three = [fd, fd, fd];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&three)));
    let bytes = [IoSlice::new(b"x")];
    rustix::net::sendmsg(&a, &bytes, &mut ancillary, rustix::net::SendFlags::empty()).unwrap();
    let blocking = streampipe_sys::message::Blocking::AsIs;
    let fd_b = std::os::fd::AsFd::as_fd(&b);
    let received =
        streampipe_sys::message::recv(fd_b, &mut [std::io::IoSliceMut::new(&mut [0; 8])], blocking);
    assert_eq!(received.unwrap().fds.len(), 3);

    streampipe_sys::message::send_with_fds(fd_b, &bytes, &three, blocking).unwrap();
    let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0; 8];
    let into = &mut [std::io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(&a, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
    let fds: usize = ancillary
        .drain()
        .map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(fds) => fds.count(),
            _ => 0,
        })
        .sum();
    assert_eq!(fds, 3);
}
