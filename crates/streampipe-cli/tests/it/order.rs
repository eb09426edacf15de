use rustix::process::{Pid, Signal};

use crate::ended::Ended;
use crate::running::status_line;
use crate::support::{ends_within, has_program, skip};
use crate::trial::{LIMIT, eventually, join, shells};

/// Says who it is at each `SIGTERM`, and lives on.
const LEFT_LIVES: &str = "trap 'echo left $$ >&2' TERM; echo left $$ >&2; while :; do :; done";
const RIGHT_LIVES: &str = "trap 'echo right $$ >&2' TERM; echo right $$ >&2; while :; do :; done";

#[test]
fn the_order_is_right_20_times_out_of_20() {
    let goes_first = "echo $$; exit 3";
    let goes_second = "read first; while kill -0 $first 2>&-; do :; done; exit 5";
    for round in 0..20 {
        let mirrored = round % 2 == 1;
        let (left, right) =
            if mirrored { (goes_second, goes_first) } else { (goes_first, goes_second) };
        let report = shells(&["--json"], left, right).ends().json();
        let (first, second) = if mirrored { ("right", "left") } else { ("left", "right") };
        assert_eq!(report["first"], first, "round {round}: {report}");
        assert_eq!(report[first]["ended"], "first");
        assert_eq!(report[second]["ended"], "second");
        assert_eq!((&report[first]["exit"], &report[second]["exit"]), (&3.into(), &5.into()));
    }
}

/// Both programs end while the command is stopped: it finds two dead, and says who died first.
#[test]
fn the_order_is_right_even_if_nobody_looked() {
    for (side, first) in [(0, "left"), (1, "right")].repeat(5) {
        let mut running = shells(&["--json"], LEFT_LIVES, RIGHT_LIVES).start();
        let pids = running.pids();
        // A command that passes signals on watches both.
        running.signal(Signal::TERM);
        assert_eq!(running.pids(), pids);
        running.signal(Signal::STOP);
        eventually("the command is stopped", || {
            status_line(running.pid(), "State").starts_with('T')
        });
        end(pids[side], Signal::USR1);
        end(pids[1 - side], Signal::KILL);
        running.signal(Signal::CONT);
        let ended = running.ends();
        assert_eq!(ended.json()["first"], first, "{ended:#?}");
        let signals = if side == 0 { [Some(10), Some(9)] } else { [Some(9), Some(10)] };
        assert_eq!(ended.signals(), signals);
    }
}

/// Joins two programs of which the right one is over before the left one ends, and both before the
/// command looks: it is held up between the start of the right program and its first look at it.
fn seen_late(what: &str, right: &str) -> Option<Ended> {
    if !has_program("strace", what) {
        return None;
    }
    let delay = "inject=epoll_ctl:delay_enter=300000:when=3";
    let strace = ["strace", "-o", "/dev/null", "-e", "trace=epoll_ctl", "-e", delay];
    // The left program ends when the right one is dead. Its end of input would not do: that comes
    // when a program closes its descriptors, and its death only after that.
    let left = "read right; while grep -q '^State:.[^Z]' /proc/$right/status 2>&-; do :; done";
    let ended = shells(&["--json"], left, right).behind(strace).ends();
    if ended.stderr.contains("strace: ") {
        skip(what, "strace does not work here");
        return None;
    }
    Some(ended)
}

#[test]
fn the_order_is_right_if_the_right_program_is_killed_before_it_is_watched() {
    let what = "a program that is killed before it is watched";
    let Some(ended) = seen_late(what, "echo $$; kill -9 $$") else { return };
    assert_eq!(ended.json()["first"], "right", "{ended:#?}");
}

/// Either could have ended because the other did.
#[test]
fn the_order_is_not_told_of_two_that_have_exited_before_anybody_looked() {
    let Some(ended) = seen_late("two that exit before they are watched", "echo $$") else { return };
    let report = ended.json();
    for field in [&report["first"], &report["left"]["ended"], &report["right"]["ended"]] {
        assert!(field.is_null(), "{ended:#?}");
    }
}

/// Both end while the command is stopped, by an exit or by a signal, and it looks at both at once.
fn seen_at_once(left: &str, right: &str) -> Ended {
    let go = |end: &str| format!("trap '{end}' USR1; echo side $$ >&2; while :; do :; done");
    let mut running = shells(&["--json"], &go(left), &go(right)).start();
    let pids: Vec<Pid> = running
        .lines(2)
        .iter()
        .map(|line| Pid::from_raw(line[5..].parse().expect("a number")).expect("positive"))
        .collect();
    running.signal(Signal::STOP);
    eventually("the command is stopped", || status_line(running.pid(), "State").starts_with('T'));
    pids.into_iter().for_each(|pid| end(pid, Signal::USR1));
    running.signal(Signal::CONT);
    running.ends()
}

#[test]
fn one_that_died_of_sigpipe_is_second_if_both_were_over_at_one_look() {
    let (breaks, exits) = ("trap - PIPE; kill -PIPE $$", "exit 3");
    let ended = seen_at_once(breaks, exits);
    assert_eq!(ended.json()["first"], "right", "{ended:#?}");
    let ended = seen_at_once(exits, breaks);
    assert_eq!(ended.json()["first"], "left", "{ended:#?}");
}

#[test]
fn what_cannot_be_told_is_null_and_words_and_counts_as_worst() {
    let ended = seen_at_once("exit 3", "exit 5");
    assert!(ended.json()["first"].is_null(), "{ended:#?}");
    let both_break = "trap - PIPE; kill -PIPE $$";
    let ended = seen_at_once(both_break, both_break);
    assert!(ended.json()["first"].is_null(), "{ended:#?}");
    // Whatever is told of these, the code is 3: of the one that ended first, or the worse of the two.
    for _ in 0..20 {
        let ended = shells(&["--exit", "first", "--report"], "exit 3", "exec cat").ends();
        assert_eq!(ended.code(), 3, "{ended:#?}");
        let told = ended.has_line_with("left (sh) ended first: exit 3");
        let not_told = ended.has_line_with("left (sh) ended first or second: exit 3");
        assert!(told || not_told, "{ended:#?}");
    }
}

/// `yes` may die of the answer of `head`, and `head` of writing to a `yes` that is gone; `yes` is first
/// in neither case.
fn assert_head_is_first(rounds: usize) {
    for round in 0..rounds {
        let ended = join(["--json", "--exit", "first", "--", "yes", "::", "head", "-n1"]).ends();
        let (first, signals) = (ended.json()["first"].clone(), ended.signals());
        match ended.exits()[1] {
            Some(0) => {
                assert_eq!((&first, ended.code()), (&"right".into(), 0), "{round}: {ended:#?}")
            }
            _ => {
                assert_eq!(signals, [Some(13), Some(13)], "{round}: {ended:#?}");
                assert!(first.is_null() && ended.code() == 141, "{round}: {ended:#?}");
            }
        }
        let takes =
            ["--json", "--exit", "last", "--", "sh", "-c", "exec head -n1 >&2", "::", "yes"];
        let ended = join(takes).ends();
        assert_eq!((ended.json()["first"].as_str(), ended.code()), (Some("left"), 141), "{round}");
    }
}

#[test]
fn who_writes_until_nobody_reads_is_second() {
    assert_head_is_first(20);
}

#[test]
#[ignore = "takes a minute"]
fn who_writes_until_nobody_reads_is_second_600_times() {
    assert_head_is_first(600);
}

#[test]
fn who_died_of_sigpipe_while_the_other_goes_on_for_long_was_first() {
    // The right one closes its input, and runs until the command has noticed the other's death, which
    // takes no time, and then for longer than such a death is an answer.
    let right = "exec 0<&-; sleep 1.5; exit 0";
    let ended = shells(&["--json"], "exec yes", right).ends();
    assert_eq!(ended.json()["first"], "left", "{ended:#?}");
}

/// Kills one of the programs, and waits until it is dead; the command does not reap it yet.
fn end(pid: Pid, signal: Signal) {
    rustix::process::kill_process(pid, signal).expect("it waits");
    let ended = ends_within(u32::try_from(pid.as_raw_nonzero().get()).expect("positive"), LIMIT);
    assert!(ended, "{pid:?} did not die of {signal:?}");
}
