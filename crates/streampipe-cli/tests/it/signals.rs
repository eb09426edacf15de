use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use crate::running::status_line;
use crate::support::{ends_within, has_program, skip};
use crate::trial::{LIMIT, Trial, eventually, python, shells};

const RELAYED: [(Signal, &str, i32); 4] = [
    (Signal::HUP, "HUP", 1),
    (Signal::INT, "INT", 2),
    (Signal::QUIT, "QUIT", 3),
    (Signal::TERM, "TERM", 15),
];

/// Whether this process ignores a signal, as under `nohup`; its programs cannot trap it then.
fn is_ignored_here(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("in hexadecimal");
    let ignored = mask & 1 << (number - 1) != 0;
    if ignored {
        skip(&format!("signal {number}"), "the tests were started with it ignored");
    }
    ignored
}

/// Says that it is ready; says what it gets and ends with 3. Not a `read` in the loop: the signal
/// could come just before it.
fn traps(side: &str, name: &str) -> String {
    format!(
        "trap 'echo {side} got {name} >&2; exit 3' {name}; echo {side} ready >&2; \
         while :; do :; done"
    )
}

fn two_traps(options: &[&str], name: &str) -> Trial {
    shells(options, &traps("left", name), &traps("right", name))
}

const LEFT_WAITS: &str = "echo left $$ >&2; exec sleep 1000";
const RIGHT_WAITS: &str = "echo right $$ >&2; exec sleep 1000";

#[test]
fn each_relayed_signal_reaches_both_programs() {
    for (signal, name, number) in RELAYED {
        if is_ignored_here(number) {
            continue;
        }
        let mut running = two_traps(&["--json"], name).start();
        assert_eq!(running.lines(2), ["left ready", "right ready"]);
        running.signal(signal);
        let expected = [format!("left got {name}"), format!("right got {name}")];
        assert_eq!(running.lines(2), expected);
        let ended = running.ends();
        assert_eq!((ended.code(), ended.exits()), (3, [Some(3), Some(3)]), "{ended:#?}");
    }
}

#[test]
fn programs_that_trap_nothing_die_of_the_relayed_signal() {
    for (signal, _, number) in RELAYED {
        if is_ignored_here(number) {
            continue;
        }
        let mut running = shells(&["--json"], LEFT_WAITS, RIGHT_WAITS).start();
        running.pids();
        running.signal(signal);
        let ended = running.ends();
        assert_eq!(ended.signals(), [Some(i64::from(number)); 2]);
        assert_eq!(ended.signal(), Some(number), "{ended:#?}");
        assert_eq!(ended.json()["exit_code"], 128 + number);
        assert_eq!(ended.json()["signal"], number);
    }
}

#[test]
fn a_signal_reaches_the_one_program_that_still_runs() {
    let right = "read left; while kill -0 $left 2>&-; do :; done; echo right $$ >&2; \
                 exec sleep 1000";
    let mut running = shells(&["--json"], "echo $$; exit 3", right).start();
    assert!(running.line().starts_with("right "));
    running.signal(Signal::TERM);
    let ended = running.ends();
    assert_eq!((ended.exits()[0], ended.signals()[1]), (Some(3), Some(15)), "{ended:#?}");
}

#[test]
fn a_signal_may_come_again_and_again() {
    let counts = |side: &str| {
        format!(
            "n=0; trap 'n=$((n+1)); echo {side} $n >&2' TERM; echo {side} ready >&2; \
             while test $n -lt 5; do :; done"
        )
    };
    let mut running = shells(&["--json"], &counts("left"), &counts("right")).start();
    running.lines(2);
    for count in 1..=5 {
        running.signal(Signal::TERM);
        assert_eq!(running.lines(2), [format!("left {count}"), format!("right {count}")]);
    }
    assert_eq!(running.ends().exits(), [Some(0), Some(0)]);
}

/// Says when it gets `SIGTERM`, and lives on.
fn stays(side: &str) -> String {
    format!("trap 'echo {side} stays >&2; exec cat' TERM; echo {side} $$ >&2; while :; do :; done")
}

#[test]
fn a_relayed_signal_is_not_a_timeout_and_needs_no_answer() {
    let mut running = shells(&["--json"], &stays("left"), &stays("right")).start();
    let pids = running.pids();
    running.signal(Signal::TERM);
    assert_eq!(running.lines(2), ["left stays", "right stays"]);
    // Both live on until one is killed, which is an end of input for the other.
    rustix::process::kill_process(pids[0], Signal::KILL).expect("it lives on");
    let ended = running.ends();
    assert_eq!((ended.signals()[0], ended.exits()[1]), (Some(9), Some(0)), "{ended:#?}");
    assert_eq!((ended.code(), &ended.json()["timed_out"]), (137, &false.into()));
}

#[test]
fn kill_after_counts_from_a_relayed_sigterm_too() {
    let options = ["--json", "--kill-after", "0.3"];
    let ignores = |side: &str| format!("trap '' TERM; echo {side} $$ >&2; while :; do :; done");
    let mut running = shells(&options, &ignores("left"), &ignores("right")).start();
    running.pids();
    running.signal(Signal::TERM);
    let ended = running.ends();
    assert_eq!(ended.signals(), [Some(9), Some(9)], "{ended:#?}");
    assert_eq!(ended.json()["timed_out"], false);
    // The signal that began it is the one that counts.
    assert_eq!(ended.signal(), Some(15), "{ended:#?}");
}

/// The programs are over before the command has watched the right one.
#[test]
fn a_signal_during_the_start_kills_the_command_if_both_programs_have_ended() {
    let what = "a signal during the start";
    if !has_program("strace", what) {
        return;
    }
    let delay = "inject=epoll_ctl:delay_enter=300000:when=3";
    let strace = ["strace", "-o", "/dev/null", "-e", "trace=epoll_ctl", "-e", delay];
    let kills = "kill -TERM $PPID; exit 3";
    let ended = shells(&["--json"], "read end; exit 5", kills).behind(strace).start().ends();
    if ended.stderr.contains("strace: ") {
        return skip(what, "strace does not work here");
    }
    assert_eq!(ended.exits(), [Some(5), Some(3)], "{ended:#?}");
    assert_eq!(ended.json()["signal"], 15, "{ended:#?}");
}

/// What a program has started before the command passes a signal on gets it, too, by their group.
#[test]
fn a_signal_during_the_start_reaches_the_whole_group() {
    let what = "a signal during the start, without a terminal";
    if !has_program("strace", what) || !has_program("setsid", what) {
        return;
    }
    let delay = "inject=epoll_ctl:delay_enter=300000:when=3";
    let before =
        ["setsid", "--wait", "strace", "-o", "/dev/null", "-e", "trace=epoll_ctl", "-e", delay];
    let sends = "kill -TERM $PPID; sleep 1000; echo over";
    let options = ["--json", "--timeout", "25"];
    // The end of standard error, which is waited for, is the end of all.
    let ended = shells(&options, "exec cat", sends).behind(before).start().ends();
    if ended.stderr.contains("strace: ") {
        return skip(what, "strace does not work here");
    }
    assert!(!ended.has_line_with("\"timed_out\":true"), "{ended:#?}");
}

/// The left program sends it before the command has watched either.
#[test]
fn kill_after_counts_from_a_sigterm_during_the_start_too() {
    let what = "a SIGTERM during the start";
    if !has_program("strace", what) {
        return;
    }
    let options = ["--json", "--kill-after", "0.3"];
    let (sends, ignores) = (
        "trap '' TERM; kill -TERM $PPID; while :; do :; done",
        "trap '' TERM; while :; do :; done",
    );
    let delay = "inject=epoll_ctl:delay_enter=300000:when=2";
    let strace = ["strace", "-o", "/dev/null", "-e", "trace=epoll_ctl", "-e", delay];
    let ended = shells(&options, sends, ignores).behind(strace).start().ends();
    if ended.stderr.contains("strace: ") {
        return skip(what, "strace does not work here");
    }
    let signals = ended.signals();
    // The right one may die of it before it ignores it.
    assert_eq!(signals[0], Some(9), "{ended:#?}");
    assert!([Some(9), Some(15)].contains(&signals[1]), "{ended:#?}");
}

#[test]
fn kill_after_does_not_count_from_another_signal() {
    if is_ignored_here(2) {
        return;
    }
    let says = |side: &str| {
        format!("trap 'echo {side} stays >&2' INT; echo {side} $$ >&2; while :; do :; done")
    };
    let options = ["--json", "--kill-after", "0"];
    let mut running = shells(&options, &says("left"), &says("right")).start();
    running.pids();
    for _ in 0..3 {
        running.signal(Signal::INT);
        assert_eq!(running.lines(2), ["left stays", "right stays"]);
    }
    running.signal(Signal::TERM);
    assert_eq!(running.ends().signal(), Some(15));
}

/// The programs are dead, and nobody has looked yet: the signal is for the command alone.
#[test]
fn a_signal_that_comes_when_both_programs_have_ended_kills_the_command_after_the_report() {
    let mut running = shells(&["--json"], LEFT_WAITS, RIGHT_WAITS).start();
    let pids = running.pids();
    running.signal(Signal::STOP);
    eventually("the command is stopped", || status_line(running.pid(), "State").starts_with('T'));
    for pid in pids {
        rustix::process::kill_process(pid, Signal::KILL).expect("it waits");
        let number = u32::try_from(pid.as_raw_nonzero().get()).expect("positive");
        assert!(ends_within(number, LIMIT));
    }
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    let ended = running.ends();
    assert_eq!(ended.signals(), [Some(9), Some(9)], "{ended:#?}");
    assert_eq!(ended.signal(), Some(15), "{ended:#?}");
}

#[test]
fn both_get_sigterm_if_the_command_is_killed() {
    let mut running = two_traps(&[], "TERM").start();
    assert_eq!(running.lines(2), ["left ready", "right ready"]);
    running.signal(Signal::KILL);
    assert_eq!(running.lines(2), ["left got TERM", "right got TERM"]);
    // The end of standard error, which is waited for, is the end of all.
    let ended = running.ends();
    assert_eq!(ended.status.signal(), Some(9));
    assert_eq!(ended.stderr, "");
}

#[test]
fn programs_that_wait_for_each_other_end_if_the_command_is_killed() {
    for options in [&[] as &[&str], &["--socket"], &["--fd", "3"]] {
        let from = if options == ["--fd", "3"] { "<&3" } else { "" };
        let waits = |side: &str| format!("echo {side} $$ >&2; exec cat {from}");
        let mut running = shells(options, &waits("left"), &waits("right")).start();
        running.pids();
        running.signal(Signal::KILL);
        assert_eq!(running.ends().stderr, "", "{options:?}");
    }
}

#[test]
fn another_deadly_signal_to_the_command_ends_the_programs_too() {
    let mut running = two_traps(&[], "TERM").start();
    running.lines(2);
    running.signal(Signal::USR1);
    assert_eq!(running.lines(2), ["left got TERM", "right got TERM"]);
    let ended = running.ends();
    assert_eq!(ended.status.signal(), Some(10));
}

/// Starts the command at a terminal of its own, and types Control-C five times.
const TERMINAL: &str = "
import os, pty, signal, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
def give_up(*_):
    os.killpg(pid, signal.SIGKILL)
    sys.exit('it took too long: %r' % text)
signal.signal(signal.SIGALRM, give_up)
signal.alarm(20)
text = b''
def until(*words):
    global text
    while not all(word in text for word in words):
        text += os.read(terminal, 4096)
until(b'left ready', b'right ready')
for count in range(1, 6):
    os.write(terminal, b'\\x03')
    until(b'left has %d.' % count, b'right has %d.' % count)
os.kill(pid, signal.SIGTERM)
until(b'left had', b'right had')
try:
    while more := os.read(terminal, 4096):
        text += more
except OSError:
    pass
sys.stderr.buffer.write(text.replace(b'\\r', b''))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn a_key_of_the_terminal_reaches_each_program_once() {
    let Some(python) = python("Control-C at a terminal") else { return };
    if is_ignored_here(2) {
        return;
    }
    let counts = |side: &str| {
        format!(
            "n=0; trap 'n=$((n+1)); echo {side} has $n. >&2' INT; \
             trap 'echo {side} had $n >&2; exit 0' TERM; \
             echo {side} ready >&2; while :; do :; done"
        )
    };
    let trial = shells(&["--json"], &counts("left"), &counts("right"));
    let python = python.to_str().expect("a plain path");
    let ended = trial.behind([python, "-I", "-S", "-c", TERMINAL]).ends();
    assert_eq!(ended.code(), 0, "{ended:#?}");
    assert!(ended.has_line("left had 5"), "{ended:#?}");
    assert!(ended.has_line("right had 5"), "{ended:#?}");
}

/// Starts the command as the leader of a terminal's session, and takes the terminal away.
const HANG_UP: &str = "
import os, pty, signal, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
def give_up(*_):
    os.killpg(pid, signal.SIGKILL)
    sys.exit('the programs were not told')
signal.signal(signal.SIGALRM, give_up)
signal.alarm(20)
text = b''
while b'left ready' not in text or b'right ready' not in text:
    text += os.read(terminal, 4096)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// The kernel tells only the leader of the session, unlike a key, which reaches the whole group.
#[test]
fn a_terminal_that_goes_away_is_told_to_both_programs() {
    let Some(python) = python("a terminal that goes away") else { return };
    if is_ignored_here(1) {
        return;
    }
    let told =
        |side: &str| format!("trap 'exit 3' HUP; echo {side} ready >&2; while :; do :; done");
    let trial = shells(&[], &told("left"), &told("right"));
    let python = python.to_str().expect("a plain path");
    let ended = trial.behind([python, "-I", "-S", "-c", HANG_UP]).ends();
    assert_eq!(ended.code(), 3, "{ended:#?}");
}
