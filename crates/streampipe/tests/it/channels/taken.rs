use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel as signal};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::{Deserialize, Serialize, Serializer};
use streampipe::{Channel, Fd, FdError, RawChannel, RecvError, SendReason};

use crate::support::{FreeDescriptors, file_with, identity, tests_alone};

/// More than there is room for, so that a send waits.
const MUCH: usize = 4 << 20;

/// A value whose descriptor can be taken out while it is being sent.
struct Job {
    fd: Mutex<Option<Fd>>,
    /// Told when the descriptor is beside the value.
    is_beside: Sender<()>,
}

struct Shared(Arc<Job>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut parts = serializer.serialize_tuple(2)?;
        parts.serialize_element(&*self.0.fd.lock().expect("no panic"))?;
        self.0.is_beside.send(()).expect("somebody waits");
        parts.serialize_element(&streampipe::Bytes::from(vec![7; MUCH]))?;
        parts.end()
    }
}

#[derive(Deserialize)]
struct Received(Option<Fd>, streampipe::Bytes);

/// A send of a descriptor that waits for room, and the descriptor.
fn being_sent() -> (Fd, Channel<(), Received>, thread::JoinHandle<Result<(), SendReason>>) {
    let (ours, theirs) = RawChannel::pair().expect("a pair");
    let (ours, theirs) = (Channel::<Shared, ()>::from(ours), Channel::from(theirs));
    let (is_beside, seen): (_, Receiver<()>) = signal();
    let fd = Fd::from(file_with(b"taken"));
    let job = Arc::new(Job { fd: Mutex::new(Some(fd)), is_beside });
    let sent = Shared(Arc::clone(&job));
    let sending = thread::spawn(move || {
        let sent = ours.send(&sent).map_err(|error| error.into_parts().1);
        drop(ours);
        sent
    });
    seen.recv().expect("it is being sent");
    let fd = job.fd.lock().expect("no panic").take().expect("it is there");
    (fd, theirs, sending)
}

tests_alone! {
    fn a_descriptor_that_is_being_sent_can_be_taken_out() {
        let (fd, theirs, sending) = being_sent();
        let file = identity(&fd);
        let own = OwnedFd::from(fd);
        assert_eq!(identity(&own), file);
        drop(own);
        let Received(received, bytes) = theirs.recv().expect("it comes");
        assert_eq!((identity(received.expect("it came")), bytes.len()), (file, MUCH));
        sending.join().expect("no panic").expect("room, in the end");
    }

    /// There is no number for a duplicate: the send, which may never end, loses the descriptor, and the peer gets nothing.
    fn a_descriptor_that_is_being_sent_is_taken_from_the_send_if_none_is_free() {
        let (fd, theirs, sending) = being_sent();
        let (file, number) = (identity(&fd), fd.as_raw_fd());
        let none_free = FreeDescriptors::exactly(0);
        let own = OwnedFd::from(fd);
        drop(none_free);
        assert_eq!((own.as_raw_fd(), identity(&own)), (number, file));
        // Room for the rest: it goes on, and finds that the descriptor is gone. Whether there is room to say so before it
        // closes is a matter of time.
        assert!(matches!(theirs.recv(), Err(RecvError::Closed | RecvError::Torn(_))));
        let reason = sending.join().expect("no panic").expect_err("not without the descriptor");
        assert!(matches!(reason, SendReason::Fd(FdError::TakenOut { index: 0 })), "{reason:?}");
    }

    /// The same with a peer that reads nothing, as long as it lives.
    fn a_descriptor_is_taken_from_a_send_that_never_ends() {
        let (fd, theirs, sending) = being_sent();
        let file = identity(&fd);
        let none_free = FreeDescriptors::exactly(0);
        let own = OwnedFd::from(fd);
        drop(none_free);
        assert_eq!(identity(&own), file);
        drop(theirs);
        sending.join().expect("no panic").expect_err("nobody reads");
    }
}
