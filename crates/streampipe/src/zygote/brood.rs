use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;

use streampipe_sys::open::numbers;
use streampipe_sys::process;

use super::message::{self, SIZE};
use crate::SeqPacket;

/// The workers of a zygote: those that run, and those whose end somebody may still ask for.
#[derive(Debug)]
pub(super) struct Brood {
    running: BTreeMap<u64, (u32, OwnedFd)>,
    /// `None`: nobody can say how.
    ended: BTreeMap<u64, Option<ExitStatus>>,
    /// Workers that nobody will ask for.
    forgotten: Vec<u64>,
    /// Where deaths are reported, and those that are not yet.
    news: Option<SeqPacket>,
    untold: VecDeque<[u8; SIZE]>,
}

/// What became of a worker.
pub(super) enum Fate {
    Runs,
    Ended(Option<ExitStatus>),
}

impl Brood {
    pub(super) fn new(news: Option<SeqPacket>) -> Self {
        Self {
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
            forgotten: Vec::new(),
            news,
            untold: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, serial: u64, pid: u32, pidfd: OwnedFd) {
        self.running.insert(serial, (pid, pidfd));
    }

    pub(super) fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.running.values().map(|(_, pidfd)| pidfd.as_fd())
    }

    /// The news, if something could not be told yet.
    pub(super) fn blocked_news(&self) -> Option<BorrowedFd<'_>> {
        self.news.as_ref().filter(|_| !self.untold.is_empty()).map(AsFd::as_fd)
    }

    /// The news, if deaths are or will be to be told.
    pub(super) fn news_to_come(&self) -> Option<BorrowedFd<'_>> {
        let is_all_told = self.untold.is_empty() && self.running.is_empty();
        self.news.as_ref().filter(|_| !is_all_told).map(AsFd::as_fd)
    }

    /// Reaps those that have ended; returns how many.
    pub(super) fn reap(&mut self) -> usize {
        let before = self.running.len();
        let (ended, untold) = (&mut self.ended, &mut self.untold);
        let (forgotten, news) = (&mut self.forgotten, &self.news);
        self.running.retain(|serial, (pid, pidfd)| {
            let status = match process::try_wait(pidfd.as_fd()) {
                Ok(None) => return true,
                Ok(Some(status)) => Some(status),
                Err(_) => None,
            };
            match forgotten.iter().position(|it| it == serial) {
                Some(at) => drop(forgotten.swap_remove(at)),
                None => drop(ended.insert(*serial, status)),
            }
            if news.is_some() {
                untold.push_back(message::death(*pid, status));
            }
            false
        });
        before - self.running.len()
    }

    /// Reports deaths, as far as there is room.
    pub(super) fn tell(&mut self) {
        while let (Some(news), Some(record)) = (&self.news, self.untold.front()) {
            match news.send(record) {
                Ok(_) => drop(self.untold.pop_front()),
                Err(error) if is_about_a_reader_gone(&error) => {
                    self.news = None;
                    self.untold.clear();
                }
                // No room, or no memory: later.
                Err(_) => return,
            }
        }
    }

    /// Tells the fate of a worker, as often as it is asked, until it is forgotten: an answer may come too
    /// late for who asked.
    pub(super) fn fate(&mut self, serial: u64) -> Fate {
        self.reap();
        match self.ended.get(&serial) {
            Some(status) => Fate::Ended(*status),
            None if self.running.contains_key(&serial) => Fate::Runs,
            None => Fate::Ended(None),
        }
    }

    /// Sends a worker a signal. Only this process reaps it, and not meanwhile.
    pub(super) fn signal(&mut self, serial: u64, number: u32) -> io::Result<()> {
        self.reap();
        let Some((pid, pidfd)) = self.running.get(&serial) else {
            return Err(io::Error::from_raw_os_error(numbers::ESRCH));
        };
        // A number that is too large is no signal's, as one below 0.
        process::signal_child(*pid, pidfd.as_fd(), i32::try_from(number).unwrap_or(-1))
    }

    pub(super) fn forget(&mut self, serial: u64) {
        if self.ended.remove(&serial).is_none() && self.running.contains_key(&serial) {
            self.forgotten.push(serial);
        }
    }
}

fn is_about_a_reader_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
