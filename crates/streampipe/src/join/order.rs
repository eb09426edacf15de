//! Which of two programs ended first, where that can be told.
//!
//! A program closes its descriptors some time before the kernel reports its end: `head` closes its input
//! and then exits, and whoever exits is reported some microseconds after its files were closed. The
//! other one can end of that in between, and be reported first, although its end is the answer.

use std::time::Duration;

use streampipe_sys::open::numbers;

use super::{Ended, Ending, Side};

/// One that dies of `SIGPIPE` so shortly before the other exits was told to end by that one.
const CLOSE_TO_EXIT: Duration = Duration::from_secs(1);

/// What was known of the order when the first end was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Neither has ended.
    #[default]
    Open,
    /// This one had ended, and the other was not even exiting.
    Told(Side),
    /// Both were over, or on the way out. The kernel reported this one first.
    AtOnce(Side),
}

impl Order {
    /// Which was first, by how both ended; `None` if it cannot be told.
    pub(super) fn first(self, left: &Ended, right: &Ended) -> Option<Side> {
        let of = |side| if side == Side::Left { left } else { right };
        let broke = |side: Side| died_of_sigpipe(of(side).how);
        match self {
            Self::Open => None,
            Self::Told(side) => {
                let (this, other) = (of(side), of(side.other()));
                let soon = other.after.saturating_sub(this.after) < CLOSE_TO_EXIT;
                match other.how {
                    Ending::Exited(_) if broke(side) && soon => Some(side.other()),
                    _ if broke(side) && broke(side.other()) && soon => None,
                    _ => Some(side),
                }
            }
            Self::AtOnce(reported) => match (broke(Side::Left), broke(Side::Right)) {
                (true, false) => Some(Side::Right),
                (false, true) => Some(Side::Left),
                (true, true) => None,
                // An exit can be the answer to the other's; another signal is not.
                (false, false) => was_killed(of(reported).how).then_some(reported),
            },
        }
    }
}

/// Whether it wrote to somebody who had closed the reading end.
fn died_of_sigpipe(ending: Ending) -> bool {
    matches!(ending, Ending::Signaled { signal: numbers::SIGPIPE, .. })
}

fn was_killed(ending: Ending) -> bool {
    matches!(ending, Ending::Signaled { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT: Ending = Ending::Exited(0);
    const PIPE: Ending = Ending::Signaled { signal: numbers::SIGPIPE, core: false };
    const KILL: Ending = Ending::Signaled { signal: numbers::SIGKILL, core: false };

    fn ended(how: Ending, seconds: f64) -> Ended {
        let after = Duration::from_secs_f64(seconds);
        Ended { pid: 1, how, after, in_time: true, asleep_in: None, asleep_on: None }
    }

    fn at_once(reported: Side, left: Ending, right: Ending) -> Option<Side> {
        Order::AtOnce(reported).first(&ended(left, 0.0), &ended(right, 0.0))
    }

    #[test]
    fn who_died_of_sigpipe_is_second_if_both_were_over_at_once() {
        for reported in [Side::Left, Side::Right] {
            for other in [EXIT, KILL] {
                assert_eq!(at_once(reported, PIPE, other), Some(Side::Right));
                assert_eq!(at_once(reported, other, PIPE), Some(Side::Left));
            }
        }
    }

    #[test]
    fn a_signal_that_is_no_answer_to_an_end_keeps_the_order_of_the_kernel() {
        for (left, right) in [(KILL, KILL), (KILL, EXIT)] {
            assert_eq!(at_once(Side::Left, left, right), Some(Side::Left));
        }
        assert_eq!(at_once(Side::Right, EXIT, KILL), Some(Side::Right));
    }

    #[test]
    fn what_cannot_be_told_is_not_said() {
        for reported in [Side::Left, Side::Right] {
            assert_eq!(at_once(reported, EXIT, EXIT), None);
            assert_eq!(at_once(reported, PIPE, PIPE), None);
        }
        assert_eq!(at_once(Side::Left, EXIT, KILL), None);
    }

    #[test]
    fn who_died_of_sigpipe_is_second_if_the_other_exited_soon() {
        let told = |left, right: &Ended| Order::Told(Side::Left).first(&ended(left, 0.1), right);
        assert_eq!(told(PIPE, &ended(EXIT, 0.1)), Some(Side::Right));
        assert_eq!(told(PIPE, &ended(EXIT, 0.9)), Some(Side::Right));
        assert_eq!(told(PIPE, &ended(EXIT, 1.2)), Some(Side::Left), "it went on with something");
        assert_eq!(told(PIPE, &ended(KILL, 0.2)), Some(Side::Left), "it had not ended by itself");
        assert_eq!(told(PIPE, &ended(PIPE, 0.2)), None, "each wrote to one that read no more");
        assert_eq!(told(PIPE, &ended(PIPE, 1.2)), Some(Side::Left));
        assert_eq!(told(EXIT, &ended(EXIT, 0.1)), Some(Side::Left));
    }
}
