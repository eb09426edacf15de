use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;

use crate::running::{Running, descriptors_of, status_line};
use crate::trial::{eventually, shells};

/// Says who it is, from a process of its own, so that the shell's descriptors stay as they are;
/// then waits.
const LEFT_WAITS: &str = "(echo left $$ >&2); exec sleep 1000";
const RIGHT_WAITS: &str = "(echo right $$ >&2); exec sleep 1000";

/// The descriptors of a command and of the two programs it joined.
struct Seen {
    command: BTreeMap<i32, String>,
    programs: [BTreeMap<i32, String>; 2],
}

/// Looks at all three while both programs wait, connected by these numbers.
fn see(options: &[&str], wires: &[i32]) -> Seen {
    let mut running = shells(options, LEFT_WAITS, RIGHT_WAITS).start();
    let pids = running.pids();
    for pid in pids {
        // Before that, its loader may have a library open.
        eventually("the program sleeps", || {
            status_line(pid, "Name") == "sleep" && status_line(pid, "State").starts_with('S')
        });
    }
    let programs = pids.map(descriptors_of);
    for pid in pids {
        let parent = status_line(pid, "PPid");
        assert_eq!(parent, running.pid().to_string(), "the command is not the parent");
    }
    // It closes its copies just after a program's start, perhaps not before the program speaks.
    let wires: BTreeSet<&String> =
        programs.iter().flat_map(|it| wires.iter().map(|wire| &it[wire])).collect();
    eventually("the command keeps no copy", || {
        descriptors_of(running.pid()).values().all(|it| !wires.contains(it))
    });
    let command = descriptors_of(running.pid());
    end(running);
    Seen { command, programs }
}

fn end(running: Running) {
    running.signal(Signal::TERM);
    let ended = running.ends();
    assert_eq!(ended.signal(), Some(15), "{ended:#?}");
}

/// The numbers that any program started here inherits: 0, 1, 2, and what the tests themselves were
/// started with.
fn numbers_of_any(more: &[i32]) -> BTreeSet<i32> {
    let own = descriptors_of(rustix::process::getpid()).into_keys();
    let inherited = own.filter(|number| {
        let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
        let flags = facts.ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        });
        flags.is_some_and(|flags| flags & 0o2_000_000 == 0)
    });
    inherited.chain([0, 1, 2]).chain(more.iter().copied()).collect()
}

fn assert_numbers(seen: &Seen, more: &[i32]) {
    for program in &seen.programs {
        let numbers: BTreeSet<i32> = program.keys().copied().collect();
        assert_eq!(numbers, numbers_of_any(more), "{program:?}");
    }
}

#[test]
fn both_programs_can_open_their_input_and_output_by_name() {
    let left = "echo ping >/dev/stdout; read answer </dev/stdin; echo \"$answer\" >&2";
    let right = "read word </dev/stdin; echo \"answer to $word\" >/dev/stdout";
    let ended = shells(&["--json"], left, right).ends();
    assert!(ended.has_line("answer to ping"), "{ended:#?}");
    assert_eq!(ended.code(), 0);
}

#[test]
fn input_and_output_of_both_are_fifos() {
    let script = "test -p /dev/stdin && test -p /dev/stdout";
    let ended = shells(&["--json"], script, script).ends();
    assert_eq!(ended.exits(), [Some(0), Some(0)], "{ended:#?}");
}

#[test]
fn two_pipes_connect_the_programs_and_nobody_else() {
    let seen = see(&[], &[0, 1]);
    let [left, right] = &seen.programs;
    assert!(left[&0].starts_with("pipe:["), "{left:?}");
    assert!(left[&1].starts_with("pipe:["), "{left:?}");
    assert_eq!((&left[&0], &left[&1]), (&right[&1], &right[&0]));
    assert_ne!(left[&0], left[&1]);
    assert_eq!((&left[&2], &right[&2]), (&seen.command[&2], &seen.command[&2]));
    assert_numbers(&seen, &[]);
}

#[test]
fn a_socket_is_both_input_and_output_and_nobody_else_has_it() {
    let seen = see(&["--socket"], &[0, 1]);
    let [left, right] = &seen.programs;
    for program in [left, right] {
        assert!(program[&0].starts_with("socket:["), "{program:?}");
        assert_eq!(program[&0], program[&1]);
    }
    assert_ne!(left[&0], right[&0], "each has its own end");
    assert_numbers(&seen, &[]);
}

#[test]
fn an_end_on_a_number_leaves_the_standard_ones_alone() {
    for number in [3, 7, 63] {
        let seen = see(&["--fd", &number.to_string()], &[number]);
        let [left, right] = &seen.programs;
        for program in [left, right] {
            assert!(program[&number].starts_with("socket:["), "{program:?}");
            for standard in 0..=2 {
                assert_eq!(program[&standard], seen.command[&standard]);
            }
        }
        assert_ne!(left[&number], right[&number], "each has its own end");
        assert_numbers(&seen, &[number]);
    }
}

#[test]
fn the_programs_have_the_directory_and_the_variables_of_the_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = "pwd -P >&2; echo \"$GREETING\" >&2";
    let ended = shells(&[], script, script)
        .within(directory.path())
        .after_shell("GREETING='from outside'; export GREETING")
        .ends();
    let path = directory.path().canonicalize().expect("it is there");
    let lines = |text: &str| ended.stderr.lines().filter(|line| *line == text).count();
    assert_eq!(lines(path.to_str().expect("a plain path")), 2, "{ended:#?}");
    assert_eq!(lines("from outside"), 2, "{ended:#?}");
}
