//! How an end of a ring waits: awake, on a futex, at its lifeline.
//!
//! One thread of a process waits for each direction, the others for their turn. A reader ends up at the lifeline, where
//! doorbells, the end and the death of a known peer reach it. A writer sleeps on the futex of the peer's position, in slices
//! after which it looks whether somebody is there to read. So nobody takes another's doorbell.
//!
//! A call that does not wait hears what came over the lifeline, says that it is going to sleep there, and looks again: then
//! the caller may poll.

use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use streampipe_ring::{Half, Outlook, Sleep, Waitpoint};
use streampipe_sys::cmsg::MAX_FDS;
use streampipe_sys::process::processor;
use streampipe_sys::wait::{Interest, glance, wait, wait_beside};
use streampipe_sys::{futex, queue, table};
use streampipe_wire::NOTE_LEN;

use super::Wait;
use super::lifeline::{Heard, Lifeline, Trouble};
use super::ring::{Line, Ring, SharedWord};
use super::spin::Spin;
use crate::end::{Life, ROOM, Waiting, Watch};
use crate::turn::{Busy, Held};

/// How long a writer sleeps before it looks whether anybody reads.
pub(super) const SLICE: Duration = Duration::from_millis(50);

/// How long a reader sleeps where it wakes fastest before it goes where it hears everything.
///
/// Longer than two ticks of any kernel: a time-out that is the next thing to happen has the clock set for it, which took 16 us
/// of every third round trip (Linux 6.18, 250 ticks a second, a virtual machine: 1 ms 6.1 us on average, 3 ms 2.8, 5 ms 2.3,
/// none 1.9).
const SHORT: Duration = Duration::from_millis(20);

/// How often somebody who never sleeps looks at the lifeline.
const AWAKE: Duration = Duration::from_millis(1);

/// So many bytes are worth coming for: a reader does not linger for more.
const ENOUGH: u64 = 4096;

/// After how many looks at a word the clock is asked.
const LOOKS: u32 = 32;

/// When news came to somebody who was awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    AtOnce,
    Later,
    Nothing,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Something to read, and room in the table for so many descriptors that are to come with it.
    Reading { due: usize },
    /// Room for so many bytes, or for a quarter of the ring if that is more.
    Writing { wanted: u64 },
}

impl Direction {
    fn is_reading(self) -> bool {
        matches!(self, Self::Reading { .. })
    }

    fn index(self) -> usize {
        usize::from(!self.is_reading())
    }
}

impl Ring {
    /// Repeats a call until it does not have to wait (`None`), or may not wait any longer.
    #[inline]
    pub(super) fn patiently<T>(
        &self,
        line: &Line<'_>,
        direction: Direction,
        waiting: Waiting,
        mut call: impl FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        match call()? {
            Some(done) => Ok(done),
            None if waiting == Waiting::Never => self.once_more(line, direction, &mut call),
            // Past its deadline, a call still does what one does that does not wait.
            None if waiting.is_over() => {
                self.once_more(line, direction, &mut call).map_err(|error| match error.kind() {
                    io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                    _ => error,
                })
            }
            None => self.wait(line, direction, waiting, &mut call),
        }
    }

    /// The call again, when everything has been heard and whoever comes next will ring.
    #[cold]
    fn once_more<T>(
        &self,
        line: &Line<'_>,
        direction: Direction,
        call: &mut dyn FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        self.hear(line, direction, Listener::Passing)?;
        self.tell_what_was_left(direction, line);
        loop {
            self.arm(line, direction, Sleep::AtLifeline)?;
            if let Some(done) = call()? {
                return Ok(done);
            }
            // Nobody would ring for what somebody who worked in place has left.
            self.wait_until_back(direction, Waiting::Never)?;
            if !self.is_held_up(direction) {
                break;
            }
        }
        match line.watch {
            Some(watch) if watch.life()? == Life::Gone => self.last_time(line, watch, call),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    #[cold]
    fn wait<T>(
        &self,
        line: &Line<'_>,
        direction: Direction,
        waiting: Waiting,
        call: &mut dyn FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        // In front of the turn: it may be of one who waits for what this very thread has.
        self.wait_until_back(direction, waiting)?;
        let mut spin = self.take_turn(direction, waiting)?;
        self.view().show_processor(processor());
        let mut has_news = false;
        loop {
            if let Some(done) = call()? {
                return Ok(done);
            }
            if waiting.is_over() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.wait_until_back(direction, waiting)? {
                continue;
            }
            // News that were none keep nobody awake for ever: what is behind here has its turn.
            has_news = !has_news && self.stay_awake(line, direction, waiting, &mut spin)?;
            if has_news {
                continue;
            }
            self.tell_what_was_left(direction, line);
            if let Some(watch) = line.watch {
                if watch.life()? == Life::Gone {
                    return self.last_time(line, watch, call);
                }
            }
            if line.wait != Wait::Spin {
                if let Some(done) = self.sleep(line, direction, waiting, &mut spin, call)? {
                    return Ok(done);
                }
            }
        }
    }

    /// The call for the last time, for the process at the other end is gone: with what it left, and with the end if nobody
    /// else holds that open.
    fn last_time<T>(
        &self,
        line: &Line<'_>,
        watch: &Watch,
        call: &mut dyn FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        self.look_whether_gone(line)?;
        call()?.ok_or_else(|| watch.gone().into())
    }

    fn take_turn(&self, direction: Direction, waiting: Waiting) -> io::Result<Held<'_, Spin>> {
        let turn = match direction {
            Direction::Reading { .. } => &self.reading,
            Direction::Writing { .. } => &self.writing,
        };
        turn.take(waiting).map_err(|busy| match busy {
            Busy::Now => io::ErrorKind::WouldBlock.into(),
            Busy::TimedOut => io::ErrorKind::TimedOut.into(),
        })
    }

    // --- awake ---

    /// Looks for news without sleeping, for as long as that is worth it; says whether there are any.
    fn stay_awake(
        &self,
        line: &Line<'_>,
        direction: Direction,
        waiting: Waiting,
        spin: &mut Spin,
    ) -> io::Result<bool> {
        let budget = match line.wait {
            Wait::Block => return Ok(false),
            Wait::Spin => AWAKE,
            // There it could not say anything meanwhile.
            Wait::Adaptive if self.view().is_on_one_processor() => return Ok(false),
            Wait::Adaptive => spin.budget(),
        };
        if budget.is_zero() {
            return Ok(false);
        }
        let budget = match waiting.deadline() {
            Some(deadline) => budget.min(deadline.saturating_duration_since(Instant::now())),
            None => budget,
        };
        let point = self.waitpoint(line, direction)?;
        let came = self.look_out(line, direction, point, budget)?;
        match came {
            Came::AtOnce => {
                spin.was_worth_it();
                if direction.is_reading() {
                    self.linger(point, spin);
                }
            }
            Came::Later => spin.was_worth_it(),
            Came::Nothing => spin.was_in_vain(),
        }
        if came == Came::Nothing && line.wait == Wait::Spin {
            self.look_whether_gone(line)?;
        }
        Ok(came != Came::Nothing)
    }

    /// Lets a peer that is writing go on for a while, so that it is not disturbed at each line.
    fn linger(&self, point: Waitpoint, spin: &mut Spin) {
        let word = self.awaited(Direction::Reading { due: 0 });
        let before = point.passed_by(word);
        let mut there = before;
        for _ in 0..spin.lingers() {
            if there >= ENOUGH {
                return;
            }
            for _ in 0..Spin::UNIT {
                std::hint::spin_loop();
            }
            let now = point.passed_by(word);
            if now == there {
                return spin.lingering_was_in_vain();
            }
            there = now;
        }
        if there != before {
            spin.lingering_paid();
        }
    }

    fn look_out(
        &self,
        line: &Line<'_>,
        direction: Direction,
        point: Waitpoint,
        budget: Duration,
    ) -> io::Result<Came> {
        let word = self.awaited(direction);
        let view = self.view();
        let outlook = Outlook::of(&view);
        if point.is_reached(word) {
            return Ok(Came::AtOnce);
        }
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if point.is_reached(word) || outlook.has_ended_since(&view) {
                    return Ok(Came::Later);
                }
                if direction.is_reading() {
                    // What is read next comes at the same time as the word that tells of it.
                    self.region.fetch(self.owner.other(), point.position());
                }
                std::hint::spin_loop();
            }
            if outlook.has_closed_since(&view) {
                self.look_whether_gone(line)?;
                return Ok(Came::Later);
            }
            if start.elapsed() >= budget {
                return Ok(Came::Nothing);
            }
        }
    }

    fn waitpoint(&self, line: &Line<'_>, direction: Direction) -> io::Result<Waitpoint> {
        Ok(match direction {
            Direction::Reading { .. } => self.reader(line)?.consumer.waitpoint(),
            Direction::Writing { wanted } => self.writer(line)?.producer.waitpoint(wanted),
        })
    }

    /// The position that is waited for.
    fn awaited(&self, direction: Direction) -> &SharedWord {
        match direction {
            Direction::Reading { .. } => &self.peer().written.tail,
            Direction::Writing { .. } => &self.peer().read.head,
        }
    }

    // --- asleep ---

    /// Says where this thread is going to sleep; what it waits for from now on, whatever others read or write meanwhile.
    fn arm(&self, line: &Line<'_>, direction: Direction, sleep: Sleep) -> io::Result<Waitpoint> {
        match direction {
            Direction::Reading { .. } => self.arm_reader(sleep, line),
            Direction::Writing { wanted } => self.arm_writer(wanted, sleep, line),
        }
    }

    /// Sleeps once. What the call brought meanwhile, if it brought something.
    fn sleep<T>(
        &self,
        line: &Line<'_>,
        direction: Direction,
        waiting: Waiting,
        spin: &mut Spin,
        call: &mut dyn FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let is_writing = !direction.is_reading();
        if is_writing || self.sleeps_short_first(spin) {
            let point = self.arm(line, direction, Sleep::OnFutex)?;
            if let Some(done) = call()? {
                return Ok(Some(done));
            }
            let most = if is_writing { SLICE } else { SHORT };
            let most = line.watch.map_or(most, |watch| watch.until_next_look(most));
            let time = match waiting.deadline() {
                Some(deadline) => most.min(deadline.saturating_duration_since(Instant::now())),
                None => most,
            };
            if self.is_held_up(direction) {
                return Ok(None);
            }
            // Nobody wakes whoever goes to sleep here behind the end.
            if !self.look_whether_gone(line)? {
                let here = processor();
                futex::wait(self.awaited(direction), point.low_half(), time);
                if processor() != here {
                    spin.short_sleep_moved_us();
                }
            }
            if let Some(done) = call()? {
                return Ok(Some(done));
            }
            if is_writing {
                self.look_whether_gone(line)?;
                return Ok(None);
            }
            spin.short_was_too_short();
        }
        let _listening = Listening::start(self);
        if spin.may_have_unheard_bells() {
            self.hear(line, direction, Listener::Tidying)?;
        }
        self.arm(line, direction, Sleep::AtLifeline)?;
        if let Some(done) = call()? {
            return Ok(Some(done));
        }
        if self.is_held_up(direction) {
            return Ok(None);
        }
        self.sleep_at_lifeline(line, waiting)?;
        self.hear(line, direction, Listener::Sleeping)?;
        Ok(None)
    }

    /// Whether somebody works in place in this direction, or did and left something: what a call met that came to nothing.
    fn is_held_up(&self, direction: Direction) -> bool {
        if !self.has_lent() {
            return false;
        }
        match direction {
            Direction::Reading { .. } => {
                let reader = self.lock_reader();
                reader.lending.is_lent() || reader.consumer.known() > 0
            }
            Direction::Writing { .. } => self.lock_writer().lending.is_lent(),
        }
    }

    /// Whether a reader sleeps on the futex first.
    ///
    /// Not if the peer is on another processor. There a wake-up takes 60 us wherever one sleeps; but a kernel that is told
    /// by a socket that who wakes is about to sleep may put both on one processor, where it takes three.
    fn sleeps_short_first(&self, spin: &mut Spin) -> bool {
        !self.view().is_on_two_processors() && spin.sleeps_short_first()
    }

    /// Sleeps until something comes over the lifeline, the process at its other end is gone, or the deadline.
    fn sleep_at_lifeline(&self, line: &Line<'_>, waiting: Waiting) -> io::Result<()> {
        let deadline = waiting.deadline();
        let Some(watch) = line.watch else {
            wait(line.fd, Interest::Readable, deadline)?;
            return Ok(());
        };
        match watch.life()? {
            Life::Closing(until) => {
                let until = deadline.map_or(until, |deadline| deadline.min(until));
                wait(line.fd, Interest::Readable, Some(until))?;
            }
            Life::Lives | Life::Gone => {
                wait_beside(line.fd, Interest::Readable, watch.pidfd(), deadline)?;
            }
        }
        Ok(())
    }

    // --- hearing ---

    /// Takes the notes that have come, so that the lifeline is silent until the next one.
    ///
    /// But not the last of them, once, if somebody may be polling for the other direction and could go on: the lifeline goes
    /// on telling them.
    ///
    /// It stops where there is something to read: what comes over the lifeline behind that belongs to bytes further on.
    /// A call that passes by hears nothing while a thread listens: it would take that thread's doorbell.
    fn hear(&self, line: &Line<'_>, direction: Direction, who: Listener) -> io::Result<()> {
        let reader = self.read_so_far(line)?;
        let mut lifeline = self.lifeline();
        lifeline.left_a_note[direction.index()] = false;
        let notes = match who {
            // It polls again before it sleeps.
            Listener::Sleeping => Notes::AtMost(1),
            Listener::Tidying => Notes::AtMost(MOST_NOTES),
            Listener::Passing if self.has_listener() => return Ok(()),
            Listener::Passing if self.must_leave_one(direction, &lifeline) => {
                match self.count_notes(line)? {
                    0 => return Ok(()),
                    // Of so many, some stay.
                    MOST_NOTES.. => Notes::AtMost(MOST_NOTES - 1),
                    notes => Notes::AllBut(notes),
                }
            }
            Listener::Passing => Notes::AtMost(MOST_NOTES),
        };
        let reading = match (who, direction) {
            // A doorbell that was heard is taken, or they pile up; what else comes has its bytes first.
            (Listener::Sleeping | Listener::Tidying, _) => reader.is_batch_due,
            (Listener::Passing, direction) => direction.is_reading(),
        };
        let stops_at = reading.then_some(reader.head);
        let done = self.take_notes(line, direction, stops_at, &mut lifeline, notes);
        lifeline.orphan_behind(reader.head);
        self.note_orphans(&lifeline);
        let aside = lifeline.take_aside();
        drop(lifeline);
        drop(aside);
        done
    }

    fn read_so_far(&self, line: &Line<'_>) -> io::Result<ReadSoFar> {
        let reader = self.reader(line)?;
        let is_batch_due = reader.consumer.is_batch_due(&self.view());
        Ok(ReadSoFar { head: reader.consumer.head(), is_batch_due })
    }

    /// Takes the notes up to a hello, which comes before all others but doorbells.
    ///
    /// Not while a thread listens, which hears it, too, and whose doorbell this could be.
    pub(super) fn hear_hello(&self, line: &Line<'_>) -> io::Result<()> {
        if self.has_listener() {
            return Ok(());
        }
        let mut lifeline = self.lifeline();
        for _ in 0..MOST_NOTES {
            let comes_first = !lifeline.has_hello() && lifeline.next_batch().is_none();
            if !comes_first {
                break;
            }
            if !self.hear_one(line, Direction::Reading { due: 0 }, &mut lifeline)? {
                break;
            }
        }
        Ok(())
    }

    /// How many notes wait; at least one if the end does, or what is no whole note.
    fn count_notes(&self, line: &Line<'_>) -> io::Result<u64> {
        let seen = glance(line.fd)?;
        if seen.hung_up {
            self.note_gone();
        }
        // Where a filter refuses the question, they are taken one by one.
        let queued = || queue::bytes_queued(line.fd).unwrap_or(0);
        Ok(if seen.readable { (queued() / NOTE_LEN as u64).max(1) } else { 0 })
    }

    fn take_notes(
        &self,
        line: &Line<'_>,
        direction: Direction,
        stops_at: Option<u64>,
        lifeline: &mut Lifeline,
        notes: Notes,
    ) -> io::Result<()> {
        let (Notes::AtMost(most) | Notes::AllBut(most)) = notes;
        for left in (0..most).rev() {
            let has_something = stops_at.is_some_and(|head| self.view().has_written_beyond(head));
            if !lifeline.has_room() || has_something {
                // The end that is behind what is not taken is heard of all the same.
                self.look_whether_gone(line)?;
                break;
            }
            let is_last = left == 0 && notes == Notes::AllBut(most);
            if is_last && self.is_other_direction_due(direction) {
                lifeline.left_a_note[1 - direction.index()] = true;
                self.note_heard();
                break;
            }
            if !direction.is_reading() && !self.has_room_for_fds(line)? {
                // The reader has another way to say so; until then, whoever polls is told that there is something.
                break;
            }
            if !self.hear_one(line, direction, lifeline)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes the next note; says whether there was one.
    fn hear_one(
        &self,
        line: &Line<'_>,
        direction: Direction,
        lifeline: &mut Lifeline,
    ) -> io::Result<bool> {
        match self.take_note(line, direction, lifeline)? {
            Heard::Note => {
                self.note_heard();
                // Who floods us with them has no more than two open here.
                lifeline.orphan_unwritten(|at| self.view().has_written_beyond(at));
                return Ok(true);
            }
            Heard::Nothing => {}
            Heard::TheEnd => self.note_the_end(),
        }
        Ok(false)
    }

    /// The lifeline has ended: the peer has, or this end, if it was ended while somebody slept.
    fn note_the_end(&self) {
        if !Half::Reading.is_ended(&self.view().own) {
            self.note_gone();
        }
    }

    /// Whether the descriptors of a note, if one has come, could be taken by somebody who waits for something else.
    fn has_room_for_fds(&self, line: &Line<'_>) -> io::Result<bool> {
        if !glance(line.fd)?.readable {
            return Ok(true);
        }
        let _alone = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(table::look_for_room(MAX_FDS, line.fd).is_ok())
    }

    fn take_note(
        &self,
        line: &Line<'_>,
        direction: Direction,
        lifeline: &mut Lifeline,
    ) -> io::Result<Heard> {
        self.note_listener(lifeline);
        let heard = if let Direction::Reading { due: due @ 1.. } = direction {
            // Without room they would be lost, and the caller has another way to say so.
            if !glance(line.fd)?.readable {
                return Ok(Heard::Nothing);
            }
            let _alone = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
            table::look_for_room(due, line.fd)?;
            lifeline.listen(line.fd, MAX_FDS)
        } else {
            lifeline.listen(line.fd, MAX_FDS)
        };
        heard.map_err(|trouble| match trouble {
            Trouble::Poisoned(poisoned) => self.poison(line, poisoned),
            Trouble::System(error) => error,
        })
    }

    /// Whether somebody may be polling for the other direction who has not been left a note.
    fn must_leave_one(&self, direction: Direction, lifeline: &Lifeline) -> bool {
        let view = self.view();
        let polls = match direction {
            Direction::Reading { .. } => view.has_writer_at_lifeline(),
            Direction::Writing { .. } => view.has_reader_at_lifeline(),
        };
        polls && !lifeline.left_a_note[1 - direction.index()]
    }

    /// Whether who waits at the lifeline for the other direction could go on, as far as one can tell without a lock: who
    /// is told looks for themselves.
    fn is_other_direction_due(&self, direction: Direction) -> bool {
        match direction {
            Direction::Reading { .. } => self.view().is_writer_due(self.capacity() as u64),
            Direction::Writing { .. } => self.view().is_reader_due(),
        }
    }
}

/// More notes than the socket of an honest peer holds (278, of 768 bytes each in the kernel's count, of 212,992).
pub(super) const MOST_NOTES: u64 = 512;

/// What has been read when somebody begins to listen.
#[derive(Clone, Copy, Debug)]
struct ReadSoFar {
    /// Up to where; by our own number, which the peer cannot write.
    head: u64,
    is_batch_due: bool,
}

/// How many notes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notes {
    AtMost(u64),
    /// All of so many; the last one may be left.
    AllBut(u64),
}

/// Who hears what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    /// A thread that slept at the lifeline.
    Sleeping,
    /// One that is going to, and has been rung for before, perhaps, where it did not sleep in the end.
    Tidying,
    /// A call that does not wait.
    Passing,
}

/// While it lives, a thread of this process hears what comes over the lifeline, and nobody else.
struct Listening<'ring>(&'ring Ring);

impl<'ring> Listening<'ring> {
    fn start(ring: &'ring Ring) -> Self {
        // Behind whoever is hearing right now.
        let _lifeline = ring.lifeline();
        ring.set_listener(true);
        Self(ring)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.set_listener(false);
    }
}
