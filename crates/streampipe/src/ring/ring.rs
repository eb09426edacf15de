use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use streampipe_ring::{Capacity, Consumer, Half, Producer, Sleep, Sleepers, View, Words, sleepers};
use streampipe_sys::generation::Generation;
use streampipe_sys::region::{Control, Owner, Region};
use streampipe_sys::wait::glance;
use streampipe_sys::{futex, message, sockopt};

use super::in_place::{Lending, Lent, wait_until_back};
use super::lifeline::{Doorbell, Lifeline, ring_bell};
use super::spin::Spin;
use super::waiting::Direction;
use super::{Poisoned, Wait};
use crate::end::{Waiting, Watch};
use crate::turn::Turn;

/// One end of a ring, shared by all handles of it in this process.
///
/// Locks are held for a copy, never for a wait, and in this order: reader, lifeline; writer, lifeline.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(super) region: Arc<Region>,
    pub(super) owner: Owner,
    generation: Generation,
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    /// Told when what was lent is back.
    pub(super) reader_back: Condvar,
    pub(super) writer_back: Condvar,
    /// Whether something was ever lent: who never works in place does not pay for those who do.
    lends: AtomicBool,
    lifeline: Mutex<Lifeline>,
    /// Who of this process's threads waits to read, and to write; the others wait for their turn.
    pub(super) reading: Turn<Spin>,
    pub(super) writing: Turn<Spin>,
    /// A thread of this process sleeps at the lifeline, and hears what comes over it.
    ///
    has_listener: AtomicBool,
    /// All copies of the other end are closed: whoever sees that sees all that was written.
    gone: AtomicBool,
    /// How many notes were heard: who was waiting for one that another call took looks again.
    heard: AtomicU64,
    /// Descriptors came and were closed that belonged to no bytes, and nobody was told.
    has_orphans: AtomicBool,
    /// From where on bytes were published when the peer, as was seen then, had ended its reading.
    pub(super) late: OnceLock<u64>,
    /// Of which ends of a half, reading and writing, this process knows that the peer was woken for them.
    ends_told: [AtomicBool; 2],
    poisoned: OnceLock<Poisoned>,
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) consumer: Consumer,
    pub(super) told_of_reset: bool,
    pub(super) lending: Lending,
    generation: u64,
}

impl Lent for Reader {
    fn lending(&mut self) -> &mut Lending {
        &mut self.lending
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) producer: Producer,
    /// How often the peer had closed a handle when it was last looked whether that was the last.
    pub(super) closings: u64,
    /// How many writes since the peer was last seen to read.
    pub(super) unread: u32,
    pub(super) lending: Lending,
    generation: u64,
}

impl Lent for Writer {
    fn lending(&mut self) -> &mut Lending {
        &mut self.lending
    }
}

/// A word that the peer may write, or read.
pub(super) type SharedWord = AtomicU64;

/// What a handle brings along.
#[derive(Clone, Copy)]
pub(crate) struct Line<'end> {
    /// The lifeline.
    pub(crate) fd: BorrowedFd<'end>,
    pub(crate) watch: Option<&'end Watch>,
    pub(crate) wait: Wait,
    /// Whether descriptors that come are closed.
    pub(crate) refuses_fds: bool,
}

impl Ring {
    pub(crate) fn new(region: Arc<Region>, owner: Owner) -> io::Result<Self> {
        let generation = Generation::of_this_process()?;
        let capacity =
            Capacity::exactly(region.capacity() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let number = generation.number();
        let reader = Reader {
            consumer: Consumer::new(capacity),
            told_of_reset: false,
            lending: Lending::default(),
            generation: number,
        };
        let writer = Writer {
            producer: Producer::new(capacity),
            closings: 0,
            unread: 0,
            lending: Lending::default(),
            generation: number,
        };
        let ring = Self {
            region,
            owner,
            generation,
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            reader_back: Condvar::new(),
            writer_back: Condvar::new(),
            lends: AtomicBool::new(false),
            lifeline: Mutex::default(),
            reading: Turn::new(Spin::default()),
            writing: Turn::new(Spin::default()),
            has_listener: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            has_orphans: AtomicBool::new(false),
            late: OnceLock::new(),
            ends_told: Default::default(),
            poisoned: OnceLock::new(),
        };
        // Somebody may poll the end before it has read for the first time.
        ring.lock_reader().consumer.arm(Sleep::AtLifeline, &ring.view());
        Ok(ring)
    }

    /// How many bytes each direction holds.
    pub(crate) fn capacity(&self) -> usize {
        self.region.capacity()
    }

    #[inline]
    pub(super) fn own(&self) -> &Control {
        self.region.control(self.owner)
    }

    #[inline]
    pub(super) fn peer(&self) -> &Control {
        self.region.control(self.owner.other())
    }

    #[inline]
    pub(super) fn view(&self) -> View<'_, SharedWord> {
        View { own: words(self.own()), peer: words(self.peer()) }
    }

    // --- locks ---

    pub(super) fn lock_reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process knows of its reading direction.
    #[inline]
    pub(super) fn reader(&self, line: &Line<'_>) -> io::Result<MutexGuard<'_, Reader>> {
        self.check_poisoned()?;
        let mut reader = self.lock_reader();
        let number = self.generation.number();
        if reader.generation != number || reader.consumer.is_left_behind(&self.view()) {
            self.resume_reader(&mut reader, number, line)?;
        }
        Ok(reader)
    }

    /// What this process knows of its writing direction.
    #[inline]
    pub(super) fn writer(&self, line: &Line<'_>) -> io::Result<MutexGuard<'_, Writer>> {
        self.check_poisoned()?;
        let mut writer = self.lock_writer();
        let number = self.generation.number();
        if writer.generation != number || writer.producer.is_left_behind(&self.view()) {
            self.resume_writer(&mut writer, number, line)?;
        }
        Ok(writer)
    }

    pub(super) fn lifeline(&self) -> MutexGuard<'_, Lifeline> {
        self.lifeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another process used the end meanwhile: this is a fork of that one, or that was one of this.
    ///
    /// From here on our own words are believed, as far as they can be true. A peer that writes them harms the bytes that
    /// it sends, or reads bytes that it could read before.
    ///
    /// Not while somebody works in place: whoever gives back or commits then counts from where it began. They are told that
    /// another process was there, and the call behind that goes on from what it published.
    #[cold]
    fn resume_reader(&self, reader: &mut Reader, number: u64, line: &Line<'_>) -> io::Result<()> {
        if reader.generation != number {
            self.reading.replace(Spin::default());
            self.has_listener.store(false, Ordering::Relaxed);
            reader.lending.forget_others();
            reader.generation = number;
        }
        if reader.lending.is_lent() {
            return Ok(());
        }
        let resumed = reader.consumer.resume(&self.view());
        let woken = resumed.map_err(|corrupt| self.poison(line, corrupt.into()))?;
        self.wake_writer(woken, line.fd);
        self.lifeline().set_aside_before(reader.consumer.head());
        Ok(())
    }

    #[cold]
    fn resume_writer(&self, writer: &mut Writer, number: u64, line: &Line<'_>) -> io::Result<()> {
        if writer.generation != number {
            self.writing.replace(Spin::default());
            writer.lending.forget_others();
            writer.generation = number;
        }
        if writer.lending.is_lent() {
            return Ok(());
        }
        let resumed = writer.producer.resume(&self.view());
        let woken = resumed.map_err(|corrupt| self.poison(line, corrupt.into()))?;
        self.note_doorbell(self.wake_reader(woken, line.fd), line);
        Ok(())
    }

    /// Tells the peer what another process has published in this direction through a copy of this end, and was killed before
    /// it had told. Whoever uses the direction does so anyhow; this is for who goes to sleep in the other one.
    #[cold]
    pub(super) fn tell_what_was_left(&self, used: Direction, line: &Line<'_>) {
        // Whoever has the lock uses the direction.
        match used {
            Direction::Reading { .. } => {
                if self.writer.try_lock().is_ok() {
                    drop(self.writer(line));
                }
            }
            Direction::Writing { .. } => {
                if self.reader.try_lock().is_ok() {
                    drop(self.reader(line));
                }
            }
        }
        self.tell_ends(line.fd);
    }

    /// Wakes the peer for the ends of a half that another process has made, which may have been killed before it did.
    #[cold]
    pub(super) fn tell_ends(&self, fd: BorrowedFd<'_>) {
        let view = self.view();
        for (half, is_told) in [Half::Reading, Half::Writing].into_iter().zip(&self.ends_told) {
            if half.is_ended(&view.own) && !is_told.swap(true, Ordering::Relaxed) {
                self.wake_peer(sleepers(&view), fd);
            }
        }
    }

    // --- the end of it ---

    #[inline]
    fn check_poisoned(&self) -> io::Result<()> {
        self.poisoned.get().map_or(Ok(()), |&poisoned| Err(poisoned.into()))
    }

    /// Believes nothing any more. The peer hears that the lifeline is cut.
    #[cold]
    pub(super) fn poison(&self, line: &Line<'_>, poisoned: Poisoned) -> io::Error {
        let first = *self.poisoned.get_or_init(|| poisoned);
        let _ = sockopt::shutdown(line.fd, std::net::Shutdown::Both);
        self.wake_own();
        first.into()
    }

    pub(super) fn has_listener(&self) -> bool {
        self.has_listener.load(Ordering::Relaxed)
    }

    pub(super) fn set_listener(&self, listens: bool) {
        self.has_listener.store(listens, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Looks whether all copies of the other end are closed: the kernel knows, however it came about.
    #[cold]
    pub(super) fn look_whether_gone(&self, line: &Line<'_>) -> io::Result<bool> {
        if !self.is_gone() && message::is_cut(line.fd) && glance(line.fd)?.hung_up {
            self.note_gone();
        }
        Ok(self.is_gone())
    }

    pub(super) fn note_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.wake_own();
    }

    /// Notes that this process is about to take a note from the lifeline, and whether another one that has a copy of this end
    /// did: what is missing then was taken there.
    pub(super) fn note_listener(&self, lifeline: &mut Lifeline) {
        let (word, own) = (&self.own().read.listener, self.generation.number());
        let last = word.load(Ordering::Relaxed);
        if last != own {
            lifeline.others_listened |= last != 0;
            word.store(own, Ordering::Relaxed);
        }
    }

    /// Whether somebody has to be told of descriptors that were set aside.
    #[inline]
    pub(super) fn has_orphans(&self) -> bool {
        self.has_orphans.load(Ordering::Relaxed)
    }

    pub(super) fn note_orphans(&self, lifeline: &Lifeline) {
        self.has_orphans.store(lifeline.has_orphans(), Ordering::Relaxed);
    }

    pub(super) fn note_heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// How many notes were heard so far.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Somebody works in place.
    pub(super) fn note_lending(&self) {
        self.lends.store(true, Ordering::Relaxed);
    }

    /// Whether anybody has ever worked in place.
    pub(super) fn has_lent(&self) -> bool {
        self.lends.load(Ordering::Relaxed)
    }

    /// Waits until nobody works in place in this direction, or the deadline; says whether somebody did.
    ///
    /// Behind a call that has found that out, or not: what it saw under the lock is seen here.
    pub(super) fn wait_until_back(
        &self,
        direction: Direction,
        waiting: Waiting,
    ) -> io::Result<bool> {
        if !self.has_lent() {
            return Ok(false);
        }
        match direction {
            Direction::Reading { .. } => wait_until_back(&self.reader, &self.reader_back, waiting),
            Direction::Writing { .. } => wait_until_back(&self.writer, &self.writer_back, waiting),
        }
    }

    /// Ends a half, for all copies of this end.
    pub(crate) fn end(&self, half: Half, fd: BorrowedFd<'_>) -> io::Result<()> {
        let sleepers = streampipe_ring::end(half, &self.view());
        self.wake_peer(sleepers, fd);
        self.ends_told[usize::from(half == Half::Writing)].store(true, Ordering::Relaxed);
        self.wake_own();
        if half == Half::Reading && self.reading.is_taken() {
            // A thread of this process sleeps at the lifeline, and nobody else can wake it.
            sockopt::shutdown(fd, std::net::Shutdown::Read)?;
        }
        Ok(())
    }

    // --- waking ---

    /// Wakes the peer's reader behind a publication.
    #[inline]
    pub(super) fn wake_reader(&self, sleep: Option<Sleep>, fd: BorrowedFd<'_>) -> Doorbell {
        match sleep {
            None => {}
            Some(Sleep::OnFutex) => futex::wake(&self.own().written.tail),
            Some(Sleep::AtLifeline) => return ring_bell(fd),
        }
        Doorbell::Rings
    }

    /// Wakes the peer's writer behind a release.
    #[inline]
    pub(super) fn wake_writer(&self, sleep: Option<Sleep>, fd: BorrowedFd<'_>) {
        match sleep {
            None => {}
            Some(Sleep::OnFutex) => futex::wake(&self.own().read.head),
            // One that is gone reads the end itself.
            Some(Sleep::AtLifeline) => {
                let _ = ring_bell(fd);
            }
        }
    }

    /// Looks at once whether the peer is gone if nobody could hear a doorbell: the next call is told.
    #[inline]
    pub(super) fn note_doorbell(&self, doorbell: Doorbell, line: &Line<'_>) {
        if doorbell == Doorbell::IsGone {
            // What the system has against it, the next call meets as well.
            let _ = self.look_whether_gone(line);
        }
    }

    fn wake_peer(&self, sleepers: Sleepers, fd: BorrowedFd<'_>) {
        // One that is gone does not have to be told.
        let _ = self.wake_reader(sleepers.reader, fd);
        // One doorbell wakes both.
        if sleepers.reader != Some(Sleep::AtLifeline) || sleepers.writer == Some(Sleep::OnFutex) {
            self.wake_writer(sleepers.writer, fd);
        }
    }

    /// Wakes this end's own sleepers on a futex, in whatever process.
    fn wake_own(&self) {
        futex::wake(&self.peer().written.tail);
        futex::wake(&self.peer().read.head);
    }
}

impl Drop for Ring {
    /// The last handle of this process is closed. Whether it was the last of all, the lifeline says: the peer is told to
    /// look. (So a copy that a fork drops ends nothing.)
    fn drop(&mut self) {
        let view = self.view();
        let sleepers = streampipe_ring::note_closing(&view);
        if sleepers.reader == Some(Sleep::OnFutex) {
            futex::wake(&self.own().written.tail);
        }
        if sleepers.writer == Some(Sleep::OnFutex) {
            futex::wake(&self.own().read.head);
        }
    }
}

#[inline]
fn words(control: &Control) -> Words<'_, SharedWord> {
    Words {
        tail: &control.written.tail,
        batches: &control.written.batches,
        notes: &control.written.notes,
        head: &control.read.head,
        taken: &control.read.taken,
        handed: &control.read.handed,
        ended: &control.over.ended,
        closings: &control.over.closings,
        data_arm: &control.data_arm.0,
        space_arm: &control.space_arm.0,
        marks: &control.marks.0,
        processor: &control.processor.0,
    }
}
