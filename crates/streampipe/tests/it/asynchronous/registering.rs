use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use streampipe::tokio::{Channel, Child, RawChannel, RegisterError, SeqPacket, Stream};
use streampipe::{Command, channel};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;

use super::{block_on, soon};
use crate::support::{FreeDescriptors, tests_alone};

/// The program whose end is taken.
fn cat() -> streampipe::Child {
    Command::new("cat").on_stdio().spawn().expect("cat")
}

/// Has the runtime look after the number already, so that it refuses it (`EEXIST`).
#[allow(deprecated, reason = "the number is open for as long as this lives")]
fn taken(end: &impl AsRawFd) -> AsyncFd<RawFd> {
    AsyncFd::new(end.as_raw_fd()).expect("it was free")
}

/// What the error gives back.
fn given_back<A, B>(end: A) -> B
where
    A: AsRawFd,
    B: AsRawFd,
    RegisterError<B>: Into<std::io::Error>,
    A: TryIntoForTasks<B>,
{
    let number = end.as_raw_fd();
    let other = taken(&end);
    let error = end.try_into_for_tasks();
    drop(other);
    assert_eq!(error.cause().raw_os_error(), Some(17), "{error}");
    let back = error.into_inner();
    assert_eq!(back.as_raw_fd(), number, "it is the same descriptor, which was not closed");
    back
}

/// A conversion that fails.
trait TryIntoForTasks<B> {
    fn try_into_for_tasks(self) -> RegisterError<B>;
}

macro_rules! conversions {
    ($($from:ty, $into:ty => $back:ty;)*) => {
        $(impl TryIntoForTasks<$back> for $from {
            fn try_into_for_tasks(self) -> RegisterError<$back> {
                <$into>::try_from(self).expect_err("it is registered already")
            }
        })*
    };
}

type Numbers = streampipe::Channel<u32, u32>;

conversions! {
    streampipe::Stream, Stream => streampipe::Stream;
    streampipe::SeqPacket, SeqPacket => streampipe::SeqPacket;
    streampipe::RawChannel, RawChannel => streampipe::RawChannel;
    streampipe::Stream, RawChannel => streampipe::RawChannel;
    streampipe::SeqPacket, RawChannel => streampipe::RawChannel;
    Numbers, Channel<u32, u32> => Numbers;
    streampipe::Stream, Channel<u32, u32> => Numbers;
    streampipe::SeqPacket, Channel<u32, u32> => Numbers;
}

/// Both ends are channels still, and carry a value each way.
fn carries_values(ours: &Numbers, theirs: &Numbers) {
    ours.send(1).expect("room");
    assert_eq!(theirs.recv().expect("a value"), 1);
    theirs.send(2).expect("room");
    assert_eq!(ours.recv().expect("a value"), 2);
}

fn carries_messages(ours: &streampipe::RawChannel, theirs: &streampipe::RawChannel) {
    ours.send(b"there", &[]).expect("room");
    assert_eq!(theirs.recv().expect("a message").bytes, b"there");
    theirs.send(b"back", &[]).expect("room");
    assert_eq!(ours.recv().expect("a message").bytes, b"back");
}

tests_alone! {
    fn an_end_that_cannot_be_registered_comes_back_and_works() {
        block_on(async {
            let (ours, mut theirs) = streampipe::pair().expect("a pair");
            theirs.write_all(b"was there before").expect("room");
            let mut ours: streampipe::Stream = given_back(ours);
            let mut heard = [0; 16];
            ours.read_exact(&mut heard).expect("nothing was lost");
            assert_eq!(&heard, b"was there before");
            // The same once more, without the other registration.
            let mut ours = Stream::try_from(ours).expect("registered");
            soon(ours.write_all(b"for tasks")).await.expect("room");

            let (ours, theirs) = streampipe::SeqPacket::pair().expect("a pair");
            let ours: streampipe::SeqPacket = given_back(ours);
            ours.send(b"packet").expect("room");
            assert_eq!(theirs.recv(&mut [0; 8]).expect("a packet"), 6);
            let ours = SeqPacket::try_from(ours).expect("registered");
            soon(ours.send(b"x")).await.expect("room");
        });
    }

    fn a_channel_that_cannot_be_registered_comes_back_and_works() {
        block_on(async {
            let (ours, theirs) = streampipe::RawChannel::pair().expect("a pair");
            let ours: streampipe::RawChannel = given_back(ours);
            carries_messages(&ours, &theirs);
            let ours = RawChannel::try_from(ours).expect("registered");
            soon(ours.send(b"x", &[])).await.expect("room");

            let (ours, theirs) = channel::<u32, u32>().expect("a channel");
            let ours: Numbers = given_back(ours);
            carries_values(&ours, &theirs);
            let ours = Channel::try_from(ours).expect("registered");
            soon(ours.send(1)).await.expect("room");
        });
    }

    fn an_end_that_was_to_be_a_channel_comes_back_as_one() {
        block_on(async {
            let (ours, theirs) = streampipe::pair().expect("a pair");
            carries_messages(&given_back(ours), &theirs.into());
            let (ours, theirs) = streampipe::SeqPacket::pair().expect("a pair");
            carries_messages(&given_back(ours), &theirs.into());
            let (ours, theirs) = streampipe::pair().expect("a pair");
            carries_values(&given_back(ours), &theirs.into());
            let (ours, theirs) = streampipe::SeqPacket::pair().expect("a pair");
            carries_values(&given_back(ours), &theirs.into());
        });
    }

    fn what_a_child_has_comes_back_if_it_cannot_be_registered() {
        block_on(async {
            // The child itself.
            let child = cat();
            let none_free = FreeDescriptors::exactly(0);
            let error = Child::try_from(child).expect_err("no descriptor is free");
            drop(none_free);
            assert_eq!(error.cause().raw_os_error(), Some(24), "{error}");
            let child = error.into_inner();
            // The end of one that is registered.
            let mut child = Child::try_from(child).expect("registered");
            let none_free = FreeDescriptors::exactly(0);
            let error = child.take_stream().expect_err("no descriptor is free");
            drop(none_free);
            assert_eq!(error.cause().raw_os_error(), Some(24), "{error}");
            let mut stream = error.into_inner();
            stream.write_all(b"echo").expect("cat reads");
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).expect("cat writes");
            assert_eq!(&heard, b"echo");
            // From one type for tasks to another.
            let stream = Stream::try_from(stream).expect("registered");
            // Not by filling the table: the first type's own descriptors for the process become free.
            let none_free = FreeDescriptors::none_ever();
            let error = Channel::<u32, u32>::try_from(stream).expect_err("no descriptor is free");
            drop(none_free);
            assert_eq!(error.cause().raw_os_error(), Some(24), "{error}");
            let channel = error.into_inner();
            channel.send(7).expect("cat reads");
            assert_eq!(channel.recv().expect("cat writes"), 7);
            drop(channel);
            soon(child.wait()).await.expect("a status");

            let mut child = Child::try_from(cat()).expect("registered");
            let none_free = FreeDescriptors::exactly(0);
            let error = child.take_channel::<u32, u32>().expect_err("no descriptor is free");
            drop(none_free);
            assert_eq!(error.cause().raw_os_error(), Some(24), "{error}");
            let channel = error.into_inner();
            channel.send(7).expect("cat reads");
            assert_eq!(channel.recv().expect("cat writes"), 7);
            drop(channel);
            soon(child.wait()).await.expect("a status");
        });
    }
}
