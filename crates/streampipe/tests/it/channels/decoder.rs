//! A decoder that is not trusted, and returns what it decoded in sealed memory. The child is this binary again.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};
use streampipe::{
    Budget, Channel, Command, Fd, FdKind, FdRule, RecvError, Resource, Seals, SendReason, Stream,
    WrongFd, inherited,
};

use crate::engines::{engine, tests_of_engines};
use crate::support::{Descriptors, file_with};

const PART: &str = "STREAMPIPE_TEST_DECODER";

/// What the decoder sends.
#[derive(Debug, Serialize, Deserialize)]
enum Decoded {
    Pixels(Fd),
    /// Two at once, of which the second is none.
    Pair(Fd, Fd),
    Done,
}

fn decoder(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    let name = "channels::decoder::the_part_of_the_decoder";
    command.args([name, "--exact", "--include-ignored", "--test-threads=1"]).env(PART, part);
    command.untrusted().engine(engine());
    command
        .rlimit(Resource::Core, Some(0), Some(0))
        .rlimit(Resource::Processes, Some(0), Some(0))
        .rlimit(Resource::OpenFiles, Some(32), Some(32));
    command
}

/// What is accepted: memory that nobody can change any more.
fn pixels() -> FdRule {
    FdRule::memfd().sealed(Seals::SHRINK | Seals::GROW | Seals::WRITE).at_least(6)
}

fn memory(seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create(c"pixels", flags).expect("memory");
    rustix::io::write(&memory, b"pixels").expect("memory");
    rustix::fs::fcntl_add_seals(&memory, seals).expect("seals");
    memory
}

fn sealed() -> OwnedFd {
    memory(SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)
}

/// Memory that its sender can still change, a device, a directory.
fn refused() -> [OwnedFd; 3] {
    [
        memory(SealFlags::SHRINK),
        File::open("/dev/null").expect("a device").into(),
        File::open("/").expect("a directory").into(),
    ]
}

#[test]
#[ignore = "what a child does, which other tests start"]
fn the_part_of_the_decoder() {
    let Ok(part) = std::env::var(PART) else { return };
    let parent = inherited().expect("the parent prepared it");
    match &*part {
        "values" => decode_values(parent.into()),
        "bytes" => decode_bytes(parent),
        _ => panic!("no such part: {part}"),
    }
}

fn decode_values(parent: Channel<Decoded, Fd>) {
    let image = parent.recv().expect("an image");
    let mut bytes = [0; 6];
    File::from(image).read_exact_at(&mut bytes, 0).expect("it can be read");
    assert_eq!(&bytes, b"encode");
    parent.send(Decoded::Pixels(sealed().into())).expect("room");
    for wrong in refused() {
        // The parent's kernel takes it, its owner does not.
        parent.send(Decoded::Pixels(wrong.into())).expect("room");
    }
    let [unsealed, ..] = refused();
    parent.send(Decoded::Pair(sealed().into(), unsealed.into())).expect("room");
    parent.send(Decoded::Pixels(sealed().into())).expect("room");
    parent.send(Decoded::Done).expect("room");
    assert!(matches!(parent.recv(), Err(RecvError::Closed)));
}

fn decode_bytes(mut parent: Stream) {
    let one = |fds: &[OwnedFd]| {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        assert_eq!(parent.send_fds(b"+", &fds).expect("room"), 1);
    };
    one(&[sealed()]);
    (&mut &parent).read_exact(&mut [0]).expect("the next, please");
    for wrong in refused() {
        one(&[sealed(), wrong]);
        (&mut &parent).read_exact(&mut [0]).expect("the next, please");
    }
    parent.write_all(b"end").expect("room");
}

/// What a receive says of a descriptor that is not accepted.
fn wrong(error: &WrongFd) -> (Option<usize>, Option<FdKind>) {
    assert!(error.to_string().contains("expected a memfd with"), "{error}");
    (error.index(), error.found())
}

/// How many are open. (Not what is queued in them, which the child changes.)
fn open() -> usize {
    Descriptors::now().count()
}

/// The kinds of the refused ones.
fn kinds() -> [FdKind; 3] {
    refused().map(|fd| FdKind::of(&fd).expect("the kernel says"))
}

tests_of_engines! {
    fn an_untrusted_decoder_returns_sealed_memory_and_nothing_else() {
        let mut child = decoder("values").accept(pixels()).spawn().expect("it starts");
        let channel = child.take_channel::<Fd, Decoded>().expect("it is there");
        // All else is as without the exception.
        assert_eq!(channel.budget(), Budget::small());
        let directory = File::open("/").expect("a directory");
        let error = channel.send(Fd::from(directory)).expect_err("perilous");
        assert!(matches!(error.reason(), SendReason::RefusedFd(_)), "{error:?}");
        drop(error);
        channel.send(Fd::from(file_with(b"encode"))).expect("room");

        let Ok(Decoded::Pixels(fd)) = channel.recv() else { panic!("pixels") };
        let mut bytes = [0; 6];
        File::from(fd).read_exact_at(&mut bytes, 0).expect("it can be read");
        assert_eq!(&bytes, b"pixels");
        for kind in kinds() {
            let before = open();
            let Err(RecvError::WrongFd(error)) = channel.recv() else { panic!("{kind}") };
            assert_eq!(wrong(&error), (Some(0), Some(kind)));
            drop(error);
            assert_eq!(open(), before, "{kind} is open");
        }
        let before = open();
        let Err(RecvError::WrongFd(error)) = channel.recv() else { panic!("the second") };
        assert_eq!(wrong(&error), (Some(1), Some(kinds()[0])));
        drop(error);
        assert_eq!(open(), before, "one of the two is open");
        // The channel goes on.
        assert!(matches!(channel.recv(), Ok(Decoded::Pixels(_))));
        assert!(matches!(channel.recv(), Ok(Decoded::Done)));
        drop(channel);
        assert!(child.wait().expect("its status").success());
    }

    fn a_receive_from_an_untrusted_decoder_closes_what_is_not_accepted() {
        let mut child = decoder("bytes").accept(pixels()).spawn().expect("it starts");
        let mut stream = child.take_stream().expect("it is there");
        let mut buffer = [0; 8];
        // A plain read that meets one loses nothing, as ever.
        assert!(stream.read(&mut buffer).is_err());
        let (len, fds) = stream.recv_fds(&mut buffer).expect("sealed memory");
        assert_eq!((&buffer[..len], fds.len()), (&b"+"[..], 1));
        drop(fds);
        stream.write_all(b"n").expect("room");
        for (at, kind) in kinds().into_iter().enumerate() {
            let before = open();
            // Whether it is met by the receive itself, or by a read before it.
            if at > 0 {
                assert!(stream.read(&mut buffer).is_err());
            }
            let error = stream.recv_fds(&mut buffer).expect_err("it is not accepted");
            let inside = error.get_ref().and_then(|it| it.downcast_ref::<WrongFd>());
            assert_eq!(wrong(inside.expect("which, and why")), (Some(1), Some(kind)));
            drop(error);
            if engine() == streampipe::Engine::Socket {
                assert_eq!(open(), before, "{kind}, or what came with it, is open");
            }
            // The bytes that it came with are there.
            assert_eq!(stream.read(&mut buffer).expect("the byte"), 1);
            assert_eq!(buffer[0], b'+');
            assert_eq!(open(), before, "{kind}, or what came with it, is open");
            stream.write_all(b"n").expect("room");
        }
        stream.read_exact(&mut buffer[..3]).expect("the rest");
        assert_eq!(&buffer[..3], b"end");
        drop(stream);
        assert!(child.wait().expect("its status").success());
    }

    /// The control: without the word, not even sealed memory comes in.
    fn an_untrusted_decoder_returns_nothing_without_a_word() {
        let mut child = decoder("values").spawn().expect("it starts");
        let channel = child.take_channel::<Fd, Decoded>().expect("it is there");
        channel.send(Fd::from(file_with(b"encode"))).expect("room");
        let first = channel.recv();
        assert!(
            matches!(first, Err(RecvError::TooLarge(it)) if it.most_fds == 0)
                || first.as_ref().is_err_and(RecvError::is_disconnected),
            "{first:?}"
        );
        drop(channel);
        child.wait().expect("its status");
    }

    /// Rules are added, and hold for a child that is trusted, too.
    fn a_child_that_is_trusted_returns_what_the_rules_name() {
        let mut command = decoder("bytes");
        let mut trusted = Command::new(std::env::current_exe().expect("the test binary"));
        let name = "channels::decoder::the_part_of_the_decoder";
        trusted.args([name, "--exact", "--include-ignored", "--test-threads=1"]).env(PART, "bytes");
        trusted.engine(engine());
        for command in [&mut command, &mut trusted] {
            command.accept(pixels()).accept(FdRule::directory());
            let mut child = command.spawn().expect("it starts");
            let mut stream = child.take_stream().expect("it is there");
            let mut received = Vec::new();
            for _ in 0..4 {
                let came = stream.recv_fds(&mut [0; 8]).map(|(_, fds)| fds.len());
                if came.is_err() {
                    assert_eq!(stream.read(&mut [0; 8]).expect("the byte"), 1);
                }
                received.push(came.ok());
                stream.write_all(b"n").expect("room");
            }
            // Sealed memory; memory, a device, a directory, each with sealed memory.
            assert_eq!(received, [Some(1), None, None, Some(2)]);
            stream.read_exact(&mut [0; 3]).expect("the rest");
            drop(stream);
            assert!(child.wait().expect("its status").success());
        }
    }
}
