//! At the timeout, what the programs have started ends, too. Standard error, which all of them have, ends
//! when the last of them does; a sleep of 1000 seconds that was left behind fails the test.

use crate::support::has_program;
use crate::trial::{Trial, python, shells};

/// A program that starts another, and waits for it.
const WRAPPER: &str = "echo 'wrapper runs' >&2; sleep 1000; echo over";

/// Without a terminal, whatever the tests have.
fn without_terminal(trial: Trial) -> Option<Trial> {
    has_program("setsid", "a command without a terminal")
        .then(|| trial.behind(["setsid", "--wait"]))
}

#[test]
fn what_a_wrapper_started_ends_at_the_timeout() {
    let trial = || shells(&["--timeout", "0.5"], "exec cat", WRAPPER);
    let ended = trial().start().ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    let Some(trial) = without_terminal(trial()) else { return };
    assert_eq!(trial.start().ends().code(), 124);
}

#[test]
fn what_left_the_group_but_not_its_parents_ends_at_the_timeout() {
    if !has_program("timeout", "a program in a group of its own") {
        return;
    }
    // `timeout` makes a group for itself and what it starts.
    let wrapper = "echo 'wrapper runs' >&2; timeout 900 sleep 1000; echo over";
    let trial = || shells(&["--timeout", "0.5"], wrapper, "exec cat");
    assert_eq!(trial().start().ends().code(), 124);
    let Some(trial) = without_terminal(trial()) else { return };
    assert_eq!(trial.start().ends().code(), 124);
}

#[test]
fn an_orphan_ends_with_the_group_where_there_is_no_terminal() {
    let stays = "exec sleep 1000";
    // One that ends before the timeout leaves orphans behind, too.
    for orphan in ["(sleep 1000 & sleep 1000 & ); exec sleep 1000", "(sleep 1000 &); exit 0"] {
        for [left, right] in [[orphan, stays], [stays, orphan]] {
            let trial = shells(&["--timeout", "0.5"], left, right);
            let Some(trial) = without_terminal(trial) else { return };
            let ended = trial.start().ends();
            assert_eq!(ended.code(), 124, "{ended:#?}");
        }
    }
}

#[test]
fn what_was_started_has_as_long_as_the_programs_and_is_killed_then() {
    let wrapper = "sh -c 'trap \"echo still here >&2\" TERM; while :; do :; done'; echo over";
    let options = ["--json", "--timeout", "0.5", "--kill-after", "0.5"];
    let trial = || shells(&options, "exec cat", wrapper);
    for trial in [Some(trial()), without_terminal(trial())].into_iter().flatten() {
        let ended = trial.start().ends();
        assert_eq!(ended.code(), 124, "{ended:#?}");
        assert!(ended.has_line("still here"), "it got SIGTERM first: {ended:#?}");
        assert_eq!(ended.signals()[1], Some(15), "{ended:#?}");
    }
}

#[test]
fn what_was_started_ends_well_if_it_is_quick() {
    let wrapper = "sh -c 'trap \"echo tidied up >&2; exit 0\" TERM; echo runs >&2; \
                   while :; do :; done'; echo over";
    let trial = || shells(&["--timeout", "1", "--kill-after", "20"], "exec cat", wrapper);
    for trial in [Some(trial()), without_terminal(trial())].into_iter().flatten() {
        let ended = trial.start().ends();
        assert_eq!(ended.code(), 124, "{ended:#?}");
        assert!(ended.has_line("tidied up"), "{ended:#?}");
    }
}

#[test]
fn without_a_timeout_nothing_that_the_programs_leave_behind_is_ended() {
    let leaves = "(sleep 1000 2>&- >&- <&- & echo left $! >&2); exit 0";
    let trial = shells(&["--timeout", "25"], leaves, "echo right 1 >&2; exit 0");
    let Some(trial) = without_terminal(trial) else { return };
    let mut running = trial.start();
    let lines = running.lines(2);
    let pid: i32 = lines[0].strip_prefix("left ").and_then(|it| it.parse().ok()).expect("a pid");
    assert_eq!(running.ends().code(), 0);
    let pid = rustix::process::Pid::from_raw(pid).expect("positive");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs on");
}

#[test]
fn a_relayed_signal_reaches_the_whole_group_where_there_is_no_terminal() {
    use rustix::process::{Pid, Signal};

    let trial =
        shells(&["--timeout", "25"], "exec cat", "echo right $PPID >&2; sleep 1000; echo x");
    let Some(trial) = without_terminal(trial) else { return };
    let mut running = trial.start();
    let line = running.line();
    let command = line.strip_prefix("right ").and_then(|it| it.parse().ok()).expect("a pid");
    let command = Pid::from_raw(command).expect("positive");
    rustix::process::kill_process(command, Signal::TERM).expect("it runs");
    // `setsid` says what became of the command in its own way.
    running.ends();
}

/// The group of whoever started the command gets nothing.
#[test]
fn the_callers_own_group_is_left_alone() {
    let script = "trap 'echo caught >&2' TERM; \"$0\" \"$@\"; echo \"code $?\" >&2; exit 0";
    for before in [&["sh", "-c", script] as &[&str], &["setsid", "--wait", "sh", "-c", script]] {
        if !has_program(before[0], "a caller's group") {
            continue;
        }
        let trial = shells(&["--timeout", "0.3"], "exec cat", WRAPPER).behind(before);
        let ended = trial.start().ends();
        assert!(ended.has_line("code 124") && !ended.has_line("caught"), "{ended:#?}");
    }
}

/// Runs the command below a shell at a terminal; says whether what the wrapper started is over.
const AT_TERMINAL: &str = "
import os, pty, re, signal, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp('sh', ['sh', '-c', '\"$@\"; echo \"code $?\"; exec cat', 'sh'] + sys.argv[1:])
def give_up(*_):
    os.killpg(pid, signal.SIGKILL)
    sys.exit('it took too long: %r' % text)
signal.signal(signal.SIGALRM, give_up)
signal.alarm(25)
text = b''
while b'code 124' not in text:
    text += os.read(terminal, 4096)
started = int(re.search(rb'started (\\d+)', text)[1])
def state():
    try:
        return open('/proc/%d/stat' % started).read().rsplit(')', 1)[1].split()[0]
    except FileNotFoundError:
        return 'gone'
left = state()
os.killpg(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print(re.search(rb'read (\\w+)', text)[1].decode(), 'left' if left not in ('gone', 'Z', 'X') else 'over')
";

/// The programs can read the terminal, so they are in the foreground group, and the tree still ends.
#[test]
fn at_a_terminal_the_tree_ends_and_the_programs_stay_in_the_foreground() {
    let Some(python) = python("a timeout at a terminal") else { return };
    // A background group would be stopped at its first look at the terminal's settings or input.
    let wrapper = "stty -echo </dev/tty && echo 'read fine' >&2; \
                   sleep 1000 & echo started $! >&2; wait; echo over";
    let trial = shells(&["--timeout", "1"], "exec cat", wrapper);
    let python = python.to_str().expect("a plain path");
    let ended = trial.behind([python, "-I", "-S", "-c", AT_TERMINAL]).ends();
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "fine over\n"), "{ended:#?}");
}
