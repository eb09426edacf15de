use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel as signal};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::{Deserialize, Serialize, Serializer};
use streampipe::{Channel, Fd, RawChannel};

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
fn being_sent() -> (Fd, Channel<(), Received>, thread::JoinHandle<()>) {
    let (ours, theirs) = RawChannel::pair().expect("a pair");
    let (ours, theirs) = (Channel::<Shared, ()>::from(ours), Channel::from(theirs));
    let (is_beside, seen): (_, Receiver<()>) = signal();
    let fd = Fd::from(file_with(b"taken"));
    let job = Arc::new(Job { fd: Mutex::new(Some(fd)), is_beside });
    let sent = Shared(Arc::clone(&job));
    let sending = thread::spawn(move || ours.send(&sent).expect("room, in the end"));
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
        sending.join().expect("no panic");
    }

    /// There is no number for a duplicate: whoever takes it out waits for one, or until the send is over.
    fn a_descriptor_that_is_being_sent_is_waited_for_if_none_is_free() {
        let (fd, theirs, sending) = being_sent();
        let (file, number) = (identity(&fd), fd.as_raw_fd());
        let (begins, begun) = signal();
        let none_free = FreeDescriptors::exactly(0);
        let own = thread::scope(|scope| {
            let taking = scope.spawn(move || {
                begins.send(()).expect("somebody waits");
                OwnedFd::from(fd)
            });
            begun.recv().expect("it begins");
            // The receive needs a descriptor itself: nothing goes on, until some are free.
            for _ in 0..1000 {
                thread::yield_now();
            }
            let had_to_wait = !taking.is_finished();
            drop(none_free);
            let Received(received, bytes) = theirs.recv().expect("it comes");
            assert_eq!((identity(received.expect("it came")), bytes.len()), (file, MUCH));
            sending.join().expect("no panic");
            assert!(had_to_wait, "there was a descriptor");
            taking.join().expect("no panic")
        });
        assert_eq!(identity(&own), file);
        assert!(own.as_raw_fd() > 2 && number > 2);
    }
}
