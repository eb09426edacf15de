//! What is never called, or only where a reason says so.

use crate::rust::{find, functions, imports, test_code};
use crate::workspace::{File, Finding, bites, each, files, hold, spares};

/// A function that may read without room for control messages: file, name, and why it may.
const READERS: &[(&str, &str, &str)] = &[
    ("crates/streampipe-sys/src/signal.rs", "take", "a signalfd carries no descriptors"),
    ("crates/streampipe-sys/src/pipe.rs", "read", "a pipe carries no descriptors"),
    ("crates/streampipe-sys/src/bell.rs", "take", "an eventfd carries no descriptors"),
    (
        "crates/streampipe-sys/src/message.rs",
        "recv_bytes",
        "only for sockets that refuse descriptors, with none queued",
    ),
];

/// Calls that read from a socket and lose the descriptors that come with the bytes.
const READS: &[&str] = &["read", "readv", "recv", "recvfrom"];

/// Looking at data without taking it gives every descriptor among them twice.
fn peeking(file: &File) -> Vec<Finding> {
    if file.source_of_crate().is_none() {
        return Vec::new();
    }
    let tokens = file.tokens();
    // An iterator's `peek()` has no argument; a socket's has.
    let calls_with_argument = |at: usize| {
        let text = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text);
        at > 0 && matches!(tokens[at - 1].text, "." | "::") && text(1) == "(" && text(2) != ")"
    };
    let peeks = |at: usize| match tokens[at].text {
        "MSG_PEEK" | "SO_PEEK_OFF" | "PEEK" => true,
        "peek" | "peek_from" => calls_with_argument(at),
        _ => false,
    };
    let found = (0..tokens.len()).filter(|&at| peeks(at));
    found.map(|at| file.finding(tokens[at].at, "receive it and hold it; never peek")).collect()
}

/// Bytes are received with room for what travels with them.
fn reading_without_control_room(file: &File) -> Vec<Finding> {
    let is_allowed = |within: &str| READERS.iter().any(|it| it.0 == file.path && it.1 == within);
    let bare = bare_reads(file).into_iter().filter(|(_, within)| !is_allowed(within));
    let advice = "receive with `streampipe_sys::message::recv`; for what is no socket, put the \
                  function and the reason into `READERS` in xtask/tests/tidy/calls.rs";
    bare.map(|(at, _)| file.finding(at, advice)).collect()
}

/// The offsets of such calls, each with the name of the function it is in.
fn bare_reads(file: &File) -> Vec<(usize, &str)> {
    if file.source_of_crate().is_none() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let functions = functions(&tokens);
    let within = |index: usize| {
        functions.iter().rev().find(|it| it.tokens.contains(&index)).map_or("", |it| it.name)
    };
    let paths = READS.iter().flat_map(|read| {
        ["libc", "io", "net"].into_iter().flat_map(|module| find(&tokens, &[module, "::", read]))
    });
    let mut found: Vec<_> = paths.map(|index| (tokens[index].at, within(index))).collect();
    for import in imports(&tokens) {
        let foreign = import.iter().any(|it| matches!(it.text, "libc" | "rustix"));
        let names =
            import.iter().filter(|it| foreign && (it.text == "*" || READS.contains(&it.text)));
        found.extend(names.map(|it| (it.at, "")));
    }
    found
}

/// An allowance that nobody uses waits for somebody to misuse it.
fn unused_allowances(files: &[File]) -> Vec<Finding> {
    let is_used = |path: &str, name: &str| {
        let mut there = files.iter().filter(|file| file.path == path);
        there.any(|file| bare_reads(file).iter().any(|(_, within)| *within == name))
    };
    let unused = READERS.iter().filter(|(path, name, _)| !is_used(path, name));
    let finding = |(path, name, reason): &(&str, &str, &str)| Finding {
        path: (*path).to_owned(),
        line: 1,
        advice: format!("`{name}` does not read: strike it, with \"{reason}\", from `READERS`"),
    };
    unused.map(finding).collect()
}

/// A test waits for the event, not for the clock.
fn sleeping_in_tests(file: &File) -> Vec<Finding> {
    let tokens = file.tokens();
    let tests = test_code(&tokens);
    let is_test = |at: usize| file.is_tests() || tests.iter().any(|range| range.contains(&at));
    let imported: Vec<usize> =
        imports(&tokens).into_iter().flatten().map(|token| token.at).collect();
    let sleeps = |at: usize| match tokens[at].text {
        "sleep" => {
            let is_path = at > 0 && tokens[at - 1].text == "::";
            is_path || imported.contains(&tokens[at].at)
        }
        "sleep_ms" | "sleep_until" | "nanosleep" | "usleep" => true,
        _ => false,
    };
    let found = (0..tokens.len()).filter(|&at| sleeps(at) && is_test(at));
    found.map(|at| file.finding(tokens[at].at, "wait for the event itself")).collect()
}

/// `pre_exec` makes a child of a fork, which costs and can deadlock.
fn code_before_exec(file: &File) -> Vec<Finding> {
    if file.is_outside() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let found = find(&tokens, &["pre_exec"]).into_iter();
    found.map(|at| file.finding(tokens[at].at, "spawn with `streampipe_sys::spawn`")).collect()
}

/// rustix takes it for granted that there is an answer: where a filter refuses one, it panics, or returns what was in
/// memory.
fn asking_for_limits(file: &File) -> Vec<Finding> {
    if file.source_of_crate().is_none() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let found = find(&tokens, &["getrlimit"]).into_iter();
    found
        .map(|at| file.finding(tokens[at].at, "ask with `streampipe_sys::table`'s `limits`"))
        .collect()
}

/// The macros panic when nobody reads, and a library has nothing to say there.
fn printing(file: &File) -> Vec<Finding> {
    if file.source_of_crate().is_none() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let macros = ["print", "println", "eprint", "eprintln"];
    let found = macros.iter().flat_map(|name| find(&tokens, &[name, "!"]));
    let advice = "return it, or write with `writeln!` and look at the result";
    found.map(|at| file.finding(tokens[at].at, advice)).collect()
}

#[test]
fn nothing_peeks() {
    hold("no-peeking", each(peeking));
}

#[test]
fn peeking_is_noticed() {
    let path = "crates/streampipe-sys/src/message.rs";
    let flags =
        "use libc::MSG_PEEK;\nconst A: F = RecvFlags::PEEK;\nconst B: i32 = libc::SO_PEEK_OFF;\n";
    bites(peeking, path, &[1, 2, 3], flags);
    bites(
        peeking,
        path,
        &[1, 3],
        "socket.peek(&mut buffer);\nsocket\n    .peek_from(&mut buffer);\n",
    );
    bites(peeking, path, &[1], "UnixStream::peek(&socket, buffer);");
    spares(peeking, path, "// No MSG_PEEK.\nlet next = chars.peekable().peek();\n");
    spares(peeking, "crates/streampipe/tests/it/stream.rs", flags);
}

#[test]
fn whatever_reads_has_room_for_control_messages() {
    let mut findings = each(reading_without_control_room);
    findings.extend(unused_allowances(files()));
    hold("no-read-without-control-room", findings);
}

#[test]
fn reading_without_control_room_is_noticed() {
    let rule = reading_without_control_room;
    for call in [
        "rustix::io::read(fd, b)",
        "rustix::io::readv(fd, b)",
        "rustix::net::recv(fd, b, f)",
        "libc::read(fd, p, n)",
        "unsafe { libc::recv(fd, p, n, 0) }",
        "retry_on_intr(rustix::io::read)",
        "net::recvfrom(fd, b, f)",
    ] {
        let sample = format!("fn f() {{\n    {call};\n}}\n");
        bites(rule, "crates/streampipe-sys/src/open.rs", &[2], &sample);
        bites(rule, READERS[0].0, &[2], &sample);
        spares(rule, READERS[0].0, &sample.replace("fn f", "fn take"));
    }
    let hidden = "use rustix::{\n    io::{self, read},\n    net,\n};\nuse libc::recv as r;\n";
    bites(rule, "crates/streampipe-sys/src/open.rs", &[2, 5], hidden);
    bites(rule, "crates/streampipe-sys/src/open.rs", &[1], "use libc::*;\n");
    let good = "use std::io::{self, Read};\n\
               use super::*;\n\
               /// Not `libc::read(`.\n\
               fn f() {\n\
               message::recv(fd);\n\
               libc::recvmsg(fd);\n\
               libc::SYS_read;\n\
               file.read(b);\n\
               io::read_to_string(f);\n\
               }\n";
    spares(rule, "crates/streampipe-sys/src/open.rs", good);
    assert_eq!(unused_allowances(&[]).len(), READERS.len());
}

#[test]
fn limits_are_asked_for_where_no_answer_is_one() {
    hold("no-getrlimit", each(asking_for_limits));
}

#[test]
fn asking_for_limits_is_noticed() {
    let sample = "use rustix::process::{Resource, getrlimit};\n";
    bites(asking_for_limits, "crates/streampipe-sys/src/fd.rs", &[1], sample);
    spares(asking_for_limits, "crates/streampipe/tests/it/call.rs", sample);
    spares(asking_for_limits, "crates/streampipe-sys/src/fd.rs", "/// As `getrlimit(2)`.\n");
}

#[test]
fn no_test_sleeps() {
    hold("no-sleep", each(sleeping_in_tests));
}

#[test]
fn a_sleep_in_a_test_is_noticed() {
    let sample = "use std::thread::{self, sleep};\n\
               fn f() {\n\
               thread::sleep(T);\n\
               tokio::time::sleep(T);\n\
               }\n";
    bites(sleeping_in_tests, "crates/streampipe/tests/it/stream.rs", &[1, 3, 4], sample);
    bites(sleeping_in_tests, "crates/streampipe/src/end/tests.rs", &[1, 3, 4], sample);
    spares(sleeping_in_tests, "crates/streampipe/src/end/stream.rs", sample);
    let inside = "fn f() { thread::sleep(T) }\n\
               #[cfg(test)]\n\
               mod tests {\n\
               fn g() { std::thread::sleep(T) }\n\
               }\n";
    bites(sleeping_in_tests, "crates/streampipe/src/end/stream.rs", &[4], inside);
    let good = "// No thread::sleep.\nlet sleep = Command::new(\"sleep\");\ndrop(sleep);\n";
    spares(sleeping_in_tests, "crates/streampipe/tests/it/stream.rs", good);
}

#[test]
fn nothing_runs_code_between_fork_and_exec_by_pre_exec() {
    hold("no-pre-exec", each(code_before_exec));
}

#[test]
fn pre_exec_is_noticed() {
    let bad = "fn f() {\n    command.pre_exec(g);\n}\n";
    bites(code_before_exec, "crates/streampipe/tests/it/child.rs", &[2], bad);
    bites(code_before_exec, "xtask/src/bench/spawn.rs", &[2], bad);
    spares(code_before_exec, "compare/src/bin/spawn.rs", bad);
    spares(
        code_before_exec,
        "crates/streampipe/src/lib.rs",
        "//! Without `pre_exec`.\nfn f() { g(\"pre_exec\") }",
    );
}

#[test]
fn nothing_prints_by_macro() {
    hold("no-print-macros", each(printing));
}

#[test]
fn printing_by_macro_is_noticed() {
    let bad = "println!(\"a\");\neprintln!(\"a\");\nprint!(\"a\");\neprint!(\"a\");\n";
    bites(printing, "crates/streampipe-cli/src/join.rs", &[1, 2, 3, 4], bad);
    spares(printing, "xtask/src/main.rs", bad);
    let good = "/// `println!` is not used.\nfn print() { writeln!(out, \"println!\") }\n";
    spares(printing, "crates/streampipe-cli/src/join.rs", good);
}
