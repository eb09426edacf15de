use rustix::process::Signal;

use crate::support::{has_program, skip};
use crate::trial::{Trial, python, shells};

/// The signals of which the command dies if a program did, with their numbers.
const DEADLY: [(Signal, i32); 4] =
    [(Signal::HUP, 1), (Signal::INT, 2), (Signal::QUIT, 3), (Signal::TERM, 15)];

const LEFT_WAITS: &str = "echo left $$ >&2; exec sleep 1000";
const RIGHT_WAITS: &str = "echo right $$ >&2; exec sleep 1000";

/// With the signals at their defaults, whatever the tests were started with.
fn with_defaults(trial: Trial) -> Option<Trial> {
    let python = python("signals at their defaults")?;
    let script = "
import os, signal, sys
for number in (1, 2, 3, 15):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
";
    Some(trial.behind([python.to_str().expect("a plain path"), "-I", "-S", "-c", script]))
}

#[test]
fn the_command_dies_of_the_signal_that_killed_its_programs_after_the_report() {
    for (signal, number) in DEADLY {
        let trial = shells(&[], LEFT_WAITS, RIGHT_WAITS);
        let Some(trial) = with_defaults(trial) else { return };
        let mut running = trial.start();
        running.pids();
        running.signal(signal);
        let ended = running.ends();
        assert_eq!(ended.signal(), Some(number), "{ended:#?}");
        for side in ["left (sh) ended ", "right (sh) ended "] {
            assert!(ended.has_line_with(side), "{ended:#?}");
        }
    }
}

#[test]
fn one_program_that_died_of_the_signal_is_enough_unless_the_status_is_a_success() {
    let handles = "trap 'exit 0' TERM; echo right $$ >&2; while :; do :; done";
    for (rule, signal, code) in [("worst", Some(15), None), ("right", None, Some(0))] {
        let mut running = shells(&["--exit", rule], LEFT_WAITS, handles).start();
        running.pids();
        running.signal(Signal::TERM);
        let ended = running.ends();
        assert_eq!((ended.signal(), ended.status.code()), (signal, code), "{rule}: {ended:#?}");
    }
}

#[test]
fn programs_that_handle_the_signal_decide_by_their_status() {
    for code in [0, 7] {
        let handles = |side: &str| {
            format!("trap 'exit {code}' TERM; echo {side} $$ >&2; while :; do :; done")
        };
        let mut running = shells(&[], &handles("left"), &handles("right")).start();
        running.pids();
        running.signal(Signal::TERM);
        let ended = running.ends();
        assert_eq!((ended.signal(), ended.status.code()), (None, Some(code)), "{ended:#?}");
    }
}

#[test]
fn a_core_dump_is_left_by_the_programs_alone() {
    use std::os::unix::process::ExitStatusExt;

    let directory = tempfile::tempdir().expect("a directory");
    let trial = shells(&["--json"], LEFT_WAITS, RIGHT_WAITS).within(directory.path());
    let Some(trial) = with_defaults(trial.after_shell("ulimit -c unlimited 2>&-; trap - QUIT"))
    else {
        return;
    };
    let mut running = trial.start();
    running.pids();
    running.signal(Signal::QUIT);
    let ended = running.ends();
    assert_eq!((ended.signal(), ended.status.core_dumped()), (Some(3), false), "{ended:#?}");
}

/// It cannot die of a signal there: it exits with the code that a shell would show.
#[test]
fn the_first_process_of_a_namespace_exits_with_the_code_of_the_signal() {
    let what = "the first process of a PID namespace";
    if !has_program("unshare", what) {
        return;
    }
    let before = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let sends = "test $PPID = 1 || exit 9; echo ready >&2; kill -TERM 1; exec sleep 1000";
    let ended = shells(&["--json"], sends, "exec sleep 1000").behind(before).ends();
    if !ended.has_line("ready") {
        return skip(what, &format!("not allowed here: {}", ended.stderr.trim()));
    }
    assert_eq!(ended.signals(), [Some(15), Some(15)], "{ended:#?}");
    assert_eq!((ended.code(), &ended.json()["signal"]), (143, &15.into()), "{ended:#?}");
}

#[test]
fn a_signal_that_was_ignored_is_neither_passed_on_nor_died_of() {
    let mut running =
        shells(&["--json"], LEFT_WAITS, RIGHT_WAITS).after_shell("trap '' INT").start();
    running.pids();
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let ended = running.ends();
    assert_eq!((ended.signal(), ended.signals()), (Some(15), [Some(15); 2]), "{ended:#?}");
}

/// Runs the command in an endless loop of a shell, at a terminal of its own; types a key whenever both
/// programs are ready, and says how often that was until the shell ended, and of what it ended.
const LOOP: &str = "
import os, pty, signal, sys
key, shell, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(shell, [shell, '-c', 'while :; do \"$@\"; echo round; done', shell] + rest)
def give_up(*_):
    os.killpg(pid, signal.SIGKILL)
    sys.exit('it took too long: %r' % text)
signal.signal(signal.SIGALRM, give_up)
signal.alarm(25)
text, rounds = b'', 0
try:
    while rounds < 5:
        while text.count(b'ready') < 2 * (rounds + 1):
            more = os.read(terminal, 4096)
            if not more:
                raise OSError
            text += more
        os.write(terminal, key.encode())
        rounds += 1
except OSError:
    pass
if rounds == 5:
    os.killpg(pid, signal.SIGKILL)
status = os.waitpid(pid, 0)[1]
sys.stderr.buffer.write(text.replace(b'\\r', b''))
print(rounds, os.waitstatus_to_exitcode(status))
";

fn in_a_loop(key: &str, left: &str, right: &str) -> Option<String> {
    let what = "a loop of bash at a terminal";
    let python = python(what).filter(|_| has_program("bash", what))?;
    let before = [python.to_str().expect("a plain path"), "-I", "-S", "-c", LOOP, key, "bash"];
    let ended = shells(&[], left, right).behind(before).ends();
    assert_eq!(ended.code(), 0, "{ended:#?}");
    Some(ended.stdout)
}

#[test]
fn a_loop_of_a_shell_stops_at_control_c() {
    let waits = "echo ready >&2; exec sleep 1000";
    let Some(said) = in_a_loop("\u{3}", waits, waits) else { return };
    assert_eq!(said, "1 -2\n", "the shell died of SIGINT in the first round");
}

#[test]
fn a_loop_goes_on_if_the_programs_use_control_c_themselves() {
    let uses = "trap 'exit 0' INT; echo ready >&2; while :; do :; done";
    let Some(said) = in_a_loop("\u{3}", uses, uses) else { return };
    assert_eq!(said, "5 -9\n", "it was killed by the test after five rounds");
}
