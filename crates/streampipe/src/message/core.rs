use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use streampipe_sys::wait::pause;
use streampipe_wire::Kind;

use super::carrier::Carrier;
use super::incoming::{Effort, Incoming, Inlet, STEPS};
use super::mail::{Mail, ReaderState};
use super::outgoing::Outgoing;
use super::payload::Pool;
use super::{Budget, RecvError};
use crate::FdPolicy;
use crate::end::{End, Waiting};
use crate::turn::Turn;

pub(crate) use super::assembly::Arrived;
pub(crate) use super::carrier::Carries;
use super::mail::Want;

/// Room for several frames on their way, in bytes: with the default of Linux a sender of many fills it and sleeps until
/// three quarters are read, so that the two sides take turns (measured: half as fast).
const SEND_ROOM: usize = 256 << 10;

/// How often it is looked whether there is room in the descriptor table now.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long a receive that does not wait looks at a time what another thread does that reads for all, and how long at
/// most: one that is awake comes out with what it has.
const GLANCE: Duration = Duration::from_millis(1);
const BESIDE: Duration = Duration::from_secs(1);

/// How long somebody who wants something else waits for others to take what fills the queues.
const UNCLAIMED: Duration = Duration::from_secs(1);

/// How long a receive sleeps while there are callers to be told that there is no answer, before it tries again.
const TELL_AGAIN: Duration = Duration::from_millis(20);

/// How long it does while others have requests, which they may drop: the longest that a caller is not told.
const LOOK_FOR_REGRETS: Duration = Duration::from_secs(1);

/// A channel for whole messages, of which every method takes `&self`.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) carrier: Carrier,
    pub(super) outgoing: Turn<Outgoing>,
    /// More than this is never sent without waiting, in bytes.
    pub(super) send_room: usize,
    mail: Mutex<Mail>,
    pool: Arc<Pool>,
    /// Buffers that values are encoded into.
    encodings: Arc<Pool>,
    /// Requests that were dropped without an answer, while there was no room or no turn to say so.
    pub(super) regrets: Mutex<Vec<u64>>,
    settings: Mutex<Settings>,
}

/// What the owner of this end has decided.
#[derive(Debug, Default)]
struct Settings {
    budget: Budget,
    policy: Arc<FdPolicy>,
    /// How long a receive asks again and again before it sleeps.
    busy_poll: Duration,
}

impl Settings {
    /// What this end starts with: careful if its peer is not trusted.
    fn of(end: &End) -> Self {
        let policy = end.accepted_fds().cloned().unwrap_or_default();
        if end.is_wary() {
            let policy = Arc::new(policy.untrusted_peer());
            return Self { budget: Budget::small(), policy, ..Self::default() };
        }
        Self { policy: Arc::new(policy), ..Self::default() }
    }
}

impl Core {
    pub(crate) fn new(end: End, carries: Carries) -> Self {
        end.stop_attesting();
        // As much as there is will do.
        let _ = end.make_room(SEND_ROOM);
        let settings = Settings::of(&end);
        let send_room = end.send_room();
        Self {
            carrier: Carrier { end, carries },
            outgoing: Turn::new(Outgoing::default()),
            send_room,
            mail: Mutex::new(Mail::new()),
            pool: Arc::default(),
            encodings: Arc::default(),
            regrets: Mutex::default(),
            settings: Mutex::new(settings),
        }
    }

    pub(crate) fn end(&self) -> &End {
        &self.carrier.end
    }

    pub(crate) fn set_budget(&self, budget: Budget) {
        self.settings().budget = budget;
        #[cfg(feature = "tokio")]
        self.wake_stalled();
    }

    pub(crate) fn budget(&self) -> Budget {
        self.settings().budget
    }

    pub(crate) fn set_policy(&self, policy: FdPolicy) {
        let policy = Arc::new(policy);
        self.settings().policy = policy;
    }

    pub(crate) fn policy(&self) -> Arc<FdPolicy> {
        Arc::clone(&self.settings().policy)
    }

    pub(crate) fn set_busy_poll(&self, time: Duration) {
        self.settings().busy_poll = time;
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an empty buffer to encode into.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        let mut buffer = self.encodings.take_again();
        buffer.clear();
        buffer
    }

    /// Gives it back with what was encoded, to be used again.
    pub(crate) fn give_buffer(&self, buffer: Vec<u8>) {
        let len = buffer.len();
        self.encodings.give(buffer, len);
    }

    // --- receiving ---

    /// Receives a whole message of the kind that is wanted.
    ///
    /// If several threads wait, one of them reads for all.
    pub(crate) fn receive(&self, want: Want, waiting: Waiting) -> Result<Arrived, RecvError> {
        match self.receive_any(want, waiting) {
            Ok(arrived) => self.hand_over(arrived),
            // It took as many steps as a call that does not wait may.
            Err(RecvError::TimedOut) if waiting == Waiting::Never => Err(RecvError::Empty),
            Err(error) => Err(error),
        }
    }

    /// Hands over what was received, if nothing is wrong with it; else the caller of a request is told.
    pub(super) fn hand_over(&self, mut arrived: Arrived) -> Result<Arrived, RecvError> {
        match self.judge(&mut arrived) {
            Ok(()) => Ok(arrived),
            Err(why) => {
                if arrived.kind == Kind::Request {
                    self.regret(arrived.id);
                }
                Err(why)
            }
        }
    }

    /// Says why the message is not handed over, if it is not.
    fn judge(&self, arrived: &mut Arrived) -> Result<(), RecvError> {
        if let Some(why) = arrived.spoiled.take() {
            return Err(*why);
        }
        if arrived.fds.is_empty() {
            return Ok(());
        }
        self.policy().check_incoming(&mut arrived.fds).map_err(RecvError::WrongFd)
    }

    fn receive_any(&self, want: Want, waiting: Waiting) -> Result<Arrived, RecvError> {
        let mut mail = self.lock();
        let (mut stall, mut effort) = (Stall::default(), Effort::default());
        let mut beside = BesideReader::default();
        loop {
            if !self.regrets().is_empty() {
                drop(mail);
                self.tell_regrets();
                mail = self.lock();
            }
            let there = mail.take(want).map(Ok).or_else(|| mail.unreported.take().map(Err));
            if let Some(there) = there {
                mail.wake_a_reader();
                return there;
            }
            let budget = self.budget();
            let is_full = mail.is_full(&budget);
            if is_full && stall.is_over(&mail) {
                return Err(unclaimed(&mail));
            }
            let incoming = if is_full { None } else { mail.incoming.take() };
            let patience = self.patience(&mail, waiting);
            let Some(incoming) = incoming else {
                mail = match is_full || !waiting.is_hurried() {
                    true => self.wait(mail, want, waiting, patience, is_full)?,
                    false => beside.look(self, mail, want, waiting)?,
                };
                continue;
            };
            let step;
            (mail, step) = self.read(mail, incoming, budget, patience, &mut effort);
            match step {
                Ok(arrived) if want.is_met_by(arrived.kind, arrived.id) => {
                    mail.hand_over(&arrived);
                    mail.wake_a_reader();
                    return Ok(arrived);
                }
                Ok(arrived) => {
                    mail = self.sort(mail, arrived);
                    if let Err(error) = effort.spend(waiting) {
                        mail.wake_a_reader();
                        return Err(error);
                    }
                }
                Err(RecvError::NoRoom { .. })
                    if waiting.deadline().is_some() && !waiting.is_over() =>
                {
                    drop(mail);
                    pause(LOOK_AGAIN, waiting.deadline()).map_err(RecvError::Io)?;
                    mail = self.lock();
                }
                // Only the time until the next look at the regrets is up.
                Err(RecvError::TimedOut) if patience != waiting && !waiting.is_over() => {}
                Err(error) => {
                    mail.wake_a_reader();
                    return Err(error);
                }
            }
        }
    }

    /// Reads for all until a message is whole.
    fn read<'core>(
        &'core self,
        mut mail: MutexGuard<'core, Mail>,
        incoming: Box<Incoming>,
        budget: Budget,
        waiting: Waiting,
        effort: &mut Effort,
    ) -> (MutexGuard<'core, Mail>, Result<Arrived, RecvError>) {
        let is_observed = mail.is_observed;
        mail.set_reader(if is_observed { ReaderState::Works } else { ReaderState::Unknown });
        drop(mail);
        let mut reading = Reading { core: self, incoming: Some(incoming) };
        let step = match is_observed && !waiting.is_hurried() {
            true => reading.advance_observed(budget, waiting, effort),
            false => reading.advance(budget, waiting, effort),
        };
        (reading.stop(), step)
    }

    /// How long to sleep at once: not for ever while there is, or may be, a caller to be told that there is no answer.
    fn patience(&self, mail: &Mail, waiting: Waiting) -> Waiting {
        let look_again = match self.regrets().is_empty() {
            false => TELL_AGAIN,
            true if mail.has_duties() => LOOK_FOR_REGRETS,
            true => return waiting,
        };
        let look_again = Instant::now() + look_again;
        match waiting {
            Waiting::Never => Waiting::Never,
            Waiting::Forever => Waiting::Until(look_again),
            Waiting::Until(deadline) => Waiting::Until(deadline.min(look_again)),
        }
    }

    /// Waits until somebody says that there is something to do.
    fn wait<'core>(
        &'core self,
        mut mail: MutexGuard<'core, Mail>,
        want: Want,
        waiting: Waiting,
        patience: Waiting,
        is_full: bool,
    ) -> Result<MutexGuard<'core, Mail>, RecvError> {
        if waiting == Waiting::Never {
            return Err(RecvError::Empty);
        }
        let left = patience.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        let left =
            if is_full { Some(left.map_or(UNCLAIMED, |it| it.min(UNCLAIMED))) } else { left };
        if waiting.is_over() {
            // What another thread has in hand is still waited for.
            return if is_full { Err(RecvError::TimedOut) } else { Ok(mail) };
        }
        let waiter = mail.add_waiter(want);
        mail = match left {
            None => waiter.woken.wait(mail).unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                let woken = waiter.woken.wait_timeout(mail, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        mail.remove_waiter(&waiter);
        if waiting.is_over() {
            // It may have been told to read.
            mail.wake_a_reader();
        }
        Ok(mail)
    }

    /// Puts a message where it is looked for. What nobody waits for is dropped, and tasks are woken, while nothing is
    /// locked: closing a descriptor can take time, and a waker may do anything.
    pub(super) fn sort<'core>(
        &'core self,
        mut mail: MutexGuard<'core, Mail>,
        arrived: Arrived,
    ) -> MutexGuard<'core, Mail> {
        #[cfg(feature = "tokio")]
        let (kind, id) = (arrived.kind, arrived.id);
        let late = mail.sort(arrived);
        #[cfg(feature = "tokio")]
        if late.is_none() {
            let told = mail.listeners.who_wants(kind, id);
            if told.is_empty() {
                return mail;
            }
            drop(mail);
            told.into_iter().for_each(std::task::Waker::wake);
            return self.lock();
        }
        match late {
            None => mail,
            Some(late) => {
                drop(mail);
                drop(late);
                self.lock()
            }
        }
    }

    // --- calls ---

    /// Opens a place for an answer.
    pub(crate) fn open_call(&self) -> OpenCall<'_> {
        OpenCall { core: self, id: self.lock().open_call(), was_sent: true }
    }

    /// How many answers came that nobody waited for any more.
    pub(crate) fn late_answers(&self) -> u64 {
        self.lock().late
    }

    /// Whether nothing has been received that nobody has taken, and nothing is owed to the peer, nor expected from it:
    /// who has this end next counts its requests from 1 again, and takes a late answer for its own.
    pub(crate) fn is_untouched(&self) -> bool {
        let Ok(outgoing) = self.outgoing.take(Waiting::Never) else { return false };
        if !outgoing.is_between_messages() || !self.regrets().is_empty() {
            return false;
        }
        let mail = self.lock();
        let is_between = mail.incoming.as_ref().is_some_and(|it| it.is_between_messages());
        is_between && mail.is_empty()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to read for all who wait, until it is dropped.
pub(super) struct Reading<'core> {
    pub(super) core: &'core Core,
    /// `Some` until it is given back.
    pub(super) incoming: Option<Box<Incoming>>,
}

impl<'core> Reading<'core> {
    pub(super) fn advance(
        &mut self,
        budget: Budget,
        waiting: Waiting,
        effort: &mut Effort,
    ) -> Result<Arrived, RecvError> {
        let (carrier, pool) = (&self.core.carrier, &self.core.pool);
        let budget = if carrier.end.refuses_fds() { budget.message_fds(0) } else { budget };
        let Some(incoming) = &mut self.incoming else { return Err(RecvError::Empty) };
        let inlet = Inlet { carrier, pool, budget };
        let busy_poll = self.core.settings().busy_poll;
        if busy_poll > Duration::ZERO && waiting != Waiting::Never {
            let start = Instant::now();
            while start.elapsed() < busy_poll && !waiting.is_over() {
                match incoming.advance(&inlet, Waiting::Never, &mut Effort::default()) {
                    Err(RecvError::Empty | RecvError::TimedOut) => std::hint::spin_loop(),
                    done => return done,
                }
            }
        }
        incoming.advance(&inlet, waiting, effort)
    }

    /// The same, while others can see whether this thread is asleep: it sleeps with nothing in hand.
    fn advance_observed(
        &mut self,
        budget: Budget,
        waiting: Waiting,
        effort: &mut Effort,
    ) -> Result<Arrived, RecvError> {
        loop {
            match self.advance(budget, Waiting::Never, &mut Effort::default()) {
                Err(RecvError::Empty) => {}
                // It was much, and not whole.
                Err(RecvError::TimedOut) => {
                    effort.spend(waiting)?;
                    continue;
                }
                done => return done,
            }
            self.core.lock().set_reader(ReaderState::Sleeps);
            let woken = self.core.end().wait_readable(waiting);
            self.core.lock().set_reader(ReaderState::Works);
            woken.map_err(RecvError::from_end)?;
        }
    }

    pub(super) fn stop(mut self) -> MutexGuard<'core, Mail> {
        let mut mail = self.core.lock();
        mail.incoming = self.incoming.take();
        mail.set_reader(ReaderState::Unknown);
        mail
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            let mut mail = self.core.lock();
            mail.incoming = Some(incoming);
            mail.wake_a_reader();
            #[cfg(feature = "tokio")]
            {
                let contended = mail.listeners.take_contended();
                drop(mail);
                contended.into_iter().for_each(std::task::Waker::wake);
            }
        }
    }
}

/// A receive that does not wait, while another thread reads for all: what that one has in hand, or is about to receive,
/// has come.
#[derive(Debug, Default)]
struct BesideReader {
    /// Since when, and how often the reader had changed what it does.
    since: Option<(Instant, u64)>,
    /// How often it had when it was last seen in a state that says nothing.
    unknown: Option<u64>,
}

impl BesideReader {
    /// Waits a moment for the reader, if there is something for it to do; an error says that there is not.
    fn look<'core>(
        &mut self,
        core: &'core Core,
        mut mail: MutexGuard<'core, Mail>,
        want: Want,
        waiting: Waiting,
    ) -> Result<MutexGuard<'core, Mail>, RecvError> {
        mail.is_observed = true;
        let (state, changes) = (mail.reader, mail.changes);
        let (since, first) = *self.since.get_or_insert_with(|| (Instant::now(), changes));
        let is_over = since.elapsed() > BESIDE || changes.wrapping_sub(first) > u64::from(STEPS);
        drop(mail);
        // In this order: what is not readable now was not, either, when the reader was seen to sleep.
        let is_readable = core.end().is_readable();
        mail = core.lock();
        if mail.incoming.is_some() || mail.has(want) {
            return Ok(mail);
        }
        let is_same = mail.changes == changes && !is_readable;
        let is_idle = match state {
            ReaderState::Sleeps => is_same,
            // It has slept since before anybody asked, or it has had time to come out with what it has.
            ReaderState::Unknown => is_same && self.unknown == Some(changes),
            ReaderState::Works => false,
        };
        if is_idle || is_over {
            mail.wake_a_reader();
            let nothing = RecvError::Empty;
            return Err(if waiting == Waiting::Never { nothing } else { RecvError::TimedOut });
        }
        self.unknown = (is_same && state == ReaderState::Unknown).then_some(changes);
        let waiter = mail.add_waiter(want);
        let woken = waiter.woken.wait_timeout(mail, GLANCE);
        mail = woken.unwrap_or_else(PoisonError::into_inner).0;
        mail.remove_waiter(&waiter);
        Ok(mail)
    }
}

pub(super) fn unclaimed(mail: &Mail) -> RecvError {
    let (messages, requests) = mail.counts();
    RecvError::Unclaimed { messages, requests }
}

/// Since when nothing was taken out of full queues.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    seen: Option<(u64, Instant)>,
}

impl Stall {
    pub(super) fn is_over(&mut self, mail: &Mail) -> bool {
        match self.seen {
            Some((taken, since)) if taken == mail.taken => since.elapsed() >= UNCLAIMED,
            _ => {
                self.seen = Some((mail.taken, Instant::now()));
                false
            }
        }
    }
}

#[cfg(feature = "tokio")]
impl Stall {
    /// After what time it is over at the earliest.
    pub(crate) fn left(&self) -> Duration {
        self.seen.map_or(UNCLAIMED, |(_, since)| UNCLAIMED.saturating_sub(since.elapsed()))
    }
}

/// A place for the answer to a request, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenCall<'core> {
    core: &'core Core,
    pub(crate) id: u64,
    was_sent: bool,
}

impl OpenCall<'_> {
    /// Closes the place: there will be no answer, for the request was not sent.
    pub(crate) fn cancel(mut self) {
        self.was_sent = false;
    }
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        let late = self.core.lock().close_call(self.id, self.was_sent);
        drop(late);
    }
}

/// Borrows a channel's descriptor.
impl Core {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.carrier.end.as_fd()
    }
}
