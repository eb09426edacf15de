//! For how long it is worth staying awake.

use std::time::Duration;

/// What a sleep and a wake-up cost at most, on machines seen so far: to be awake for longer cannot pay.
const MOST: Duration = Duration::from_micros(50);

/// Less than this is not worth asking the clock.
const LEAST: Duration = Duration::from_micros(2);

/// After how many waits that did not stay awake it is tried again.
const AGAIN: u32 = 64;

/// After how many waits that went to sleep for long at once a short sleep is tried again.
const SHORT_AGAIN: u32 = 16;

/// After how many waits whose bytes came at once it is tried whether more come.
const LINGER_AGAIN: u32 = 16;

/// How many doorbells at most are there unheard, of the 278 that fit.
const BEDS: u32 = 32;

/// The longest a reader lingers, in units.
const LONGEST: u32 = 8;

/// What one direction of an end has learned of its peer's habits.
///
/// A wait that ended while awake doubles the time, one that did not halves it: five in vain, and it sleeps at once. So a
/// peer that is slow, or has no processor to be fast on, costs 100 us in all, and 50 us for every 64 waits from then on.
#[derive(Debug)]
pub(super) struct Spin {
    budget: Duration,
    /// How many waits since it fell to nothing.
    slept: u32,
    /// How many waits still go straight into the long sleep.
    long: u32,
    /// For how long a reader lingers where bytes come at once, in units of [`UNIT`](Self::UNIT).
    linger: u32,
    /// How often they came at once since it was last tried.
    at_once: u32,
    /// How often somebody was about to sleep at the lifeline since it was last tidied.
    beds: u32,
}

impl Default for Spin {
    fn default() -> Self {
        Self { budget: MOST, slept: 0, long: 0, linger: 0, at_once: 0, beds: 0 }
    }
}

impl Spin {
    /// A unit of lingering: so many looks at nothing, 10 ns each (Sapphire Rapids) or up to 45 (Skylake).
    pub(super) const UNIT: u32 = 32;

    /// For how many units to linger now, where bytes came as soon as they were waited for.
    ///
    /// A reader that is always right behind its writer takes each line from it while that is being written, and both wait
    /// for the line three times a message. If it comes later it takes many at once: 64 bytes a call 40 ns, where it was 150.
    /// For a peer that wrote once and now waits itself that would be time lost, so it is tried now and then, and kept up for
    /// as long as more has come each time.
    pub(super) fn lingers(&mut self) -> u32 {
        if self.linger == 0 {
            self.at_once += 1;
            if self.at_once < LINGER_AGAIN {
                return 0;
            }
            self.at_once = 0;
            return 1;
        }
        self.linger
    }

    /// More came while it lingered.
    pub(super) fn lingering_paid(&mut self) {
        self.linger = (self.linger.max(1) * 2).min(LONGEST);
    }

    /// Nothing did.
    pub(super) fn lingering_was_in_vain(&mut self) {
        self.linger = 0;
    }

    /// For how long to stay awake now.
    pub(super) fn budget(&mut self) -> Duration {
        if self.budget.is_zero() {
            self.slept += 1;
            if self.slept >= AGAIN {
                self.slept = 0;
                return MOST;
            }
        }
        self.budget
    }

    /// It was worth it.
    pub(super) fn was_worth_it(&mut self) {
        self.budget = (self.budget * 2).clamp(LEAST * 4, MOST);
    }

    /// It was not.
    pub(super) fn was_in_vain(&mut self) {
        self.budget /= 2;
        if self.budget < LEAST {
            self.budget = Duration::ZERO;
        }
    }

    /// Whether to sleep on the futex first: it wakes faster than the lifeline, and does not tell of death.
    pub(super) fn sleeps_short_first(&mut self) -> bool {
        self.long = self.long.saturating_sub(1);
        self.long == 0
    }

    /// Who woke us had us go to another processor, which takes ten times longer than to stay.
    pub(super) fn short_sleep_moved_us(&mut self) {
        self.long = AGAIN;
    }

    /// Whether to look for doorbells that rang for a sleep that was none, for the bytes came before it: now and then.
    pub(super) fn may_have_unheard_bells(&mut self) -> bool {
        self.beds += 1;
        let many = self.beds >= BEDS;
        if many {
            self.beds = 0;
        }
        many
    }

    /// The short sleep was too short.
    pub(super) fn short_was_too_short(&mut self) {
        self.long = SHORT_AGAIN;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AGAIN, LINGER_AGAIN, LONGEST, MOST, SHORT_AGAIN, Spin};

    #[test]
    fn five_waits_in_vain_end_it_and_each_64th_tries_again() {
        let mut spin = Spin::default();
        let mut awake = Duration::ZERO;
        let mut tries = 0;
        while !spin.budget.is_zero() {
            awake += spin.budget();
            spin.was_in_vain();
            tries += 1;
        }
        assert_eq!(tries, 5);
        assert!(awake < MOST * 2, "{awake:?}");
        for _ in 0..3 {
            for _ in 1..AGAIN {
                assert_eq!(spin.budget(), Duration::ZERO);
            }
            assert_eq!(spin.budget(), MOST);
            spin.was_in_vain();
        }
    }

    #[test]
    fn one_success_brings_back_a_little_and_more_bring_back_all() {
        let mut spin = Spin { budget: Duration::ZERO, ..Spin::default() };
        spin.was_worth_it();
        assert!(!spin.budget().is_zero() && spin.budget() < MOST);
        for _ in 0..8 {
            spin.was_worth_it();
        }
        assert_eq!(spin.budget(), MOST);
    }

    #[test]
    fn lingering_goes_on_only_for_as_long_as_it_brings_more() {
        let mut spin = Spin::default();
        for _ in 1..LINGER_AGAIN {
            assert_eq!(spin.lingers(), 0);
        }
        assert_eq!(spin.lingers(), 1);
        for longer in [2, 4, 8, 8] {
            spin.lingering_paid();
            assert_eq!(spin.lingers(), longer.min(LONGEST));
        }
        spin.lingering_was_in_vain();
        assert_eq!(spin.lingers(), 0);
    }

    #[test]
    fn a_short_sleep_that_was_wrong_is_not_tried_again_at_once() {
        let mut spin = Spin::default();
        assert!(spin.sleeps_short_first());
        spin.short_was_too_short();
        for _ in 1..SHORT_AGAIN {
            assert!(!spin.sleeps_short_first());
        }
        assert!(spin.sleeps_short_first());
        spin.short_sleep_moved_us();
        let long = std::iter::from_fn(|| (!spin.sleeps_short_first()).then_some(())).count();
        assert_eq!(long as u32, AGAIN - 1);
    }
}
