use rustix::process::{Pid, Signal};

use crate::running::status_line;
use crate::support::{ends_within, has_program, skip};
use crate::trial::{LIMIT, eventually, shells};

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

/// The command is held up between the start of the right program and its first look at it.
#[test]
fn the_order_is_right_if_the_right_program_ends_before_it_is_watched() {
    let what = "a delay just after the start of the right program";
    if !has_program("strace", what) {
        return;
    }
    let delay = "inject=epoll_ctl:delay_enter=300000:when=3";
    let strace = ["strace", "-o", "/dev/null", "-e", "trace=epoll_ctl", "-e", delay];
    // The left program ends when the right one is dead. Its end of input would not do: that comes
    // when a program closes its descriptors, and its death only after that.
    let left = "read right; while grep -q '^State:.[^Z]' /proc/$right/status 2>&-; do :; done";
    let ended = shells(&["--json"], left, "echo $$").behind(strace).ends();
    if ended.stderr.contains("strace: ") {
        return skip(what, "strace does not work here");
    }
    assert_eq!(ended.json()["first"], "right", "{ended:#?}");
}

/// Kills one of the programs, and waits until it is dead; the command does not reap it yet.
fn end(pid: Pid, signal: Signal) {
    rustix::process::kill_process(pid, signal).expect("it waits");
    let ended = ends_within(u32::try_from(pid.as_raw_nonzero().get()).expect("positive"), LIMIT);
    assert!(ended, "{pid:?} did not die of {signal:?}");
}
