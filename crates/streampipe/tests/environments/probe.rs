//! The probe: makes all steps in one environment, and says of each how it went.
//!
//! What it says goes to a pipe with a number of its own, for standard descriptors may be closed. Behind each step, nothing
//! may be left: no child, no descriptor, no blocked signal.

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::confine::{self, Children};
use crate::steps::{LAST_PREPARED, Prepared, STEPS, Step};

/// Names this program to itself, and says that it is to be the probe.
pub(crate) const PROGRAM: &str = "STREAMPIPE_PROBE";

/// Says what the probe does to itself before the first step.
pub(crate) const INSIDE: &str = "STREAMPIPE_PROBE_INSIDE";

/// The number of the pipe that the probe's words go to.
pub(crate) const WORDS: i32 = 9;

/// What cannot be done to a process from outside, before it is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    Nothing,
    /// Closes this standard descriptor; at its start, a program of Rust's would open `/dev/null` there.
    Closes(i32),
    /// Lets nothing be opened any more beyond this number.
    LimitsDescriptors(u64),
    /// Is interrupted each millisecond.
    IsInterrupted,
}

impl Inside {
    /// As a word in the environment.
    pub(crate) fn word(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Closes(number) => format!("close {number}"),
            Self::LimitsDescriptors(count) => format!("limit {count}"),
            Self::IsInterrupted => "interrupt".to_owned(),
        }
    }

    fn from_word(word: &str) -> Self {
        match word.split_once(' ') {
            Some(("close", number)) => Self::Closes(number.parse().expect("a number")),
            Some(("limit", count)) => Self::LimitsDescriptors(count.parse().expect("a count")),
            None if word == "interrupt" => Self::IsInterrupted,
            _ => Self::Nothing,
        }
    }

    fn happen(self) {
        match self {
            Self::Nothing => {}
            Self::Closes(number) => confine::close(number),
            Self::LimitsDescriptors(count) => {
                let limit = Rlimit { current: Some(count), ..getrlimit(Resource::Nofile) };
                setrlimit(Resource::Nofile, limit).expect("a limit can be lowered");
            }
            Self::IsInterrupted => confine::interrupt_each_millisecond(),
        }
    }
}

pub(crate) fn run() {
    let mut words = confine::take(WORDS);
    let inside = Inside::from_word(&std::env::var(INSIDE).unwrap_or_default());
    // Its message goes to standard error, which may be closed; what counts goes to the pipe.
    std::panic::set_hook(Box::new(|_| {}));
    let mut prepared = Prepared::new().expect("two pairs");
    inside.happen();
    for (place, step) in (1..).zip(STEPS) {
        confine::streampipe_probe_marker(place);
        say(&mut words, &format!("{}: {}", step.0, made(step, &prepared)));
        if step.0 == LAST_PREPARED {
            prepared.close();
        }
    }
    say(&mut words, "all steps were made");
}

fn say(words: &mut File, line: &str) {
    let line = line.replace('\n', " ");
    let _ = words.write_all(format!("{line}\n").as_bytes());
}

/// Makes the step; `ok`, or what went wrong.
fn made((_, step): &Step, prepared: &Prepared) -> String {
    let blocked = confine::blocked_signals();
    let open = open_descriptors();
    let outcome = catch_unwind(AssertUnwindSafe(|| step(prepared)));
    let mut said = match outcome {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(error)) => format!("error: {error}"),
        Err(panic) => format!("PANICKED: {}", text_of(&*panic)),
    };
    let blocked_now = confine::blocked_signals();
    if blocked_now != blocked {
        said.push_str(&format!(" LEFT SIGNALS BLOCKED: {blocked_now:?}"));
    }
    match children_left() {
        Children::None => {}
        left => said.push_str(&format!(" LEFT A CHILD: {left:?}")),
    }
    let open_now = descriptors_left(&open);
    if open_now != open {
        said.push_str(&format!(" LEFT DESCRIPTORS: {open:?} before, {open_now:?} now"));
    }
    said
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

fn open_descriptors() -> Vec<i32> {
    (0..256).filter(|&number| confine::is_open(number)).collect()
}

/// How long the library's own thread may take to reap what was dropped, and to close what it kept of it.
const REAPING: Duration = Duration::from_secs(5);

/// What is left of children once those that were dropped have been reaped.
fn children_left() -> Children {
    settled(confine::children, |left| *left == Children::None)
}

/// What is open once nothing is kept of those that were dropped.
fn descriptors_left(before: &[i32]) -> Vec<i32> {
    settled(open_descriptors, |open| open == before)
}

/// The answer once it is as expected; at last, whatever it is.
fn settled<T>(ask: impl Fn() -> T, is_expected: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + REAPING;
    loop {
        let answer = ask();
        if is_expected(&answer) || Instant::now() >= deadline {
            return answer;
        }
        std::thread::yield_now();
    }
}
