use rustix::process::Signal;

use crate::trial::{Trial, join, python, shells};

/// The signals with names; those above are the C library's own.
const STANDARD: u64 = 0x7fff_ffff;

/// The masks with this name that a program on the left has, and one on the right. Not a shell's: it
/// may change them.
fn masks(name: &str, prepared: impl Fn(Trial) -> Trial) -> [u64; 2] {
    let shows = ["grep", name, "/proc/self/status"];
    let listens = ["sh", "-c", "cat >&2"];
    [[shows, listens], [listens, shows]].map(|[left, right]| {
        let ended = prepared(join(left.iter().chain(&["::"]).chain(&right).copied())).ends();
        assert_eq!(ended.code(), 0, "{ended:#?}");
        mask(&ended.stderr, name)
    })
}

/// The mask with this name in a text such as `/proc/self/status`.
fn mask(text: &str, name: &str) -> u64 {
    let mask = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mask = mask.unwrap_or_else(|| panic!("no {name} in {text}"));
    u64::from_str_radix(mask.trim(), 16).expect("in hexadecimal")
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

#[test]
fn a_writer_whose_reader_ended_dies_of_sigpipe() {
    // What it took goes elsewhere: `yes` reads nothing, so that pipe might break too.
    let takes_one = "exec head -n1 >/dev/null";
    let ended = shells(&["--json"], "exec yes", takes_one).ends();
    assert_eq!((ended.signals()[0], ended.exits()[1]), (Some(13), Some(0)), "{ended:#?}");
    assert_eq!(ended.json()["left"]["signal_name"], "SIGPIPE");
    assert_eq!(ended.code(), 141);
    let ended = shells(&["--json"], takes_one, "exec yes").ends();
    assert_eq!((ended.exits()[0], ended.signals()[1]), (Some(0), Some(13)), "{ended:#?}");
    let ended = join(["--json", "--", "yes", "::", "head", "-n1"]).ends();
    assert_eq!((ended.signals()[0], ended.code()), (Some(13), 141), "{ended:#?}");
}

#[test]
fn a_sigpipe_that_the_parent_ignores_is_the_default_in_the_programs() {
    let ignored = masks("SigIgn", |trial| trial.after_shell("trap '' PIPE"));
    assert!(ignored.iter().all(|mask| mask & bit(13) == 0), "{ignored:x?}");
    let trial = join(["--json", "--", "yes", "::", "head", "-n1"]).after_shell("trap '' PIPE");
    assert_eq!(trial.ends().signals()[0], Some(13));
}

#[test]
fn nothing_is_blocked_in_the_programs() {
    assert_eq!(masks("SigBlk", |trial| trial), [0, 0]);
}

#[test]
fn a_signal_that_the_parent_blocks_stays_blocked_and_no_other() {
    let Some(python) = python("a blocked signal") else { return };
    let blocks = "
import os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1])
os.execv(sys.argv[1], sys.argv[1:])
";
    let python = python.to_str().expect("a plain path");
    let blocked = masks("SigBlk", |trial| trial.behind([python, "-I", "-S", "-c", blocks]));
    assert_eq!(blocked, [bit(10), bit(10)]);
}

#[test]
fn nothing_is_ignored_in_the_programs_that_the_command_was_not_told_to_ignore() {
    let own = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let own = mask(&own, "SigIgn") & STANDARD & !bit(13);
    assert_eq!(masks("SigIgn", |trial| trial).map(|mask| mask & STANDARD), [own, own]);
}

#[test]
fn signals_ignored_as_by_nohup_stay_ignored_in_the_programs() {
    let nohup = "trap '' INT HUP";
    for ignored in masks("SigIgn", |trial| trial.after_shell(nohup)) {
        assert_eq!(ignored & (bit(1) | bit(2)), bit(1) | bit(2), "{ignored:x}");
    }
    let waits = |side: &str| format!("echo {side} $$ >&2; exec sleep 1000");
    let trial = shells(&["--json"], &waits("left"), &waits("right"));
    let mut running = trial.after_shell(nohup).start();
    running.pids();
    // They outlive the first two, and the third one kills.
    running.signal(Signal::HUP);
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let ended = running.ends();
    assert_eq!(ended.signals(), [Some(15), Some(15)], "{ended:#?}");
}

#[test]
fn both_statuses_are_known_to_a_command_started_with_sigchld_ignored() {
    let Some(python) = python("SIGCHLD ignored by the parent") else { return };
    let ignores = "
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
";
    let python = python.to_str().expect("a plain path");
    let before = [python, "-I", "-S", "-c", ignores];
    let ended = shells(&["--json"], "exit 3", "kill -9 $$").behind(before).ends();
    assert_eq!((ended.exits(), ended.signals()), ([Some(3), None], [None, Some(9)]), "{ended:#?}");
    assert_eq!(ended.code(), 137);
    // Programs that wait for children of their own can.
    let ignored = masks("SigIgn", |trial| trial.behind(before));
    assert!(ignored.iter().all(|mask| mask & bit(17) == 0), "{ignored:x?}");
}

#[test]
fn a_child_that_the_command_did_not_start_does_not_confuse_it() {
    // A process that becomes the command keeps its children.
    for child in ["sh -c 'exit 9' &", "sh -c 'exit 9' & sh -c 'kill -9 $$' &"] {
        let script = format!("{child} exec \"$0\" \"$@\"");
        let trial = shells(&["--json"], "exit 3", "exit 5").behind(["sh", "-c", &script]);
        let ended = trial.ends();
        assert_eq!(ended.exits(), [Some(3), Some(5)], "{ended:#?}");
    }
}
