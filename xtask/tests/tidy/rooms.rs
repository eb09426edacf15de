//! Which room may hold what: `unsafe`, system calls, atomics.

use crate::workspace::{File, Finding, bites, each, files, hold, spares};

/// The room for system calls and `unsafe`.
const CELLAR: &str = "crates/streampipe-sys/";

/// The room for words that two processes share.
const RING: &str = "crates/streampipe-ring/src/";

/// Files that may use atomics, and why no shared memory depends on them.
const ATOMICS: &[(&str, &str)] = &[
    ("crates/streampipe/src/end/modes.rs", "the settings of one handle, each for itself"),
    ("crates/streampipe/src/end/shared.rs", "the flags of one socket, which publish nothing"),
    (
        "crates/streampipe-sys/src/spawn/clone/child_process.rs",
        "the word that the kernel clears for a child",
    ),
    (
        "crates/streampipe-sys/src/spawn/clone/support.rs",
        "the word that shows whether memory is shared, and what is known of the system",
    ),
    (
        "crates/streampipe/src/ring/ring.rs",
        "flags of one process; shared words are borrowed here, and loaded and stored in streampipe-ring alone",
    ),
    (
        "crates/streampipe-sys/src/futex.rs",
        "the address of a shared word, for the kernel to compare",
    ),
    (
        "crates/streampipe-sys/src/generation.rs",
        "a word of one process, which a fork finds cleared",
    ),
    (
        "crates/streampipe-sys/src/region/control.rs",
        "where the shared words are; none is used here",
    ),
    ("crates/streampipe-sys/src/region/copy.rs", "bytes of a ring, where there is no assembly"),
    (
        "crates/streampipe-sys/src/region/map.rs",
        "what a region is, written before anybody else has it",
    ),
];

/// `unsafe` is code of the cellar's alone.
fn unsafe_elsewhere(file: &File) -> Vec<Finding> {
    let allowed =
        ["src/", "tests/"].iter().any(|it| file.path.starts_with(&format!("{CELLAR}{it}")));
    if allowed || file.is_outside() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let found = tokens.iter().filter(|token| token.text == "unsafe");
    found.map(|token| file.finding(token.at, format!("move the `unsafe` to {CELLAR}src"))).collect()
}

/// Every other crate says so to the compiler.
fn root_that_does_not_forbid(file: &File) -> Vec<Finding> {
    if !is_crate_root(&file.path) || file.path.starts_with(CELLAR) {
        return Vec::new();
    }
    let code: String = file.code.split_whitespace().collect();
    let mut forbidden = code.split("#![forbid(").skip(1).filter_map(|it| it.split(")]").next());
    if forbidden.any(|lints| lints.split(',').any(|lint| lint == "unsafe_code")) {
        return Vec::new();
    }
    vec![file.finding_on(1, "add `#![forbid(unsafe_code)]`")]
}

fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let inside = match parts.as_slice() {
        ["crates", _, "src", inside @ ..] | ["xtask", "src", inside @ ..] => inside,
        _ => return false,
    };
    matches!(inside, ["lib.rs" | "main.rs"] | ["bin", _] | ["bin", _, "main.rs"])
}

/// System calls are made by the cellar alone; tests and chores may look from outside.
fn system_call_elsewhere(file: &File) -> Vec<Finding> {
    if file.source_of_crate().is_none() || file.path.starts_with(CELLAR) {
        return Vec::new();
    }
    let tokens = file.tokens();
    let found = tokens.iter().filter(|token| matches!(token.text, "libc" | "rustix"));
    let advice = |name| format!("`{name}` is for {CELLAR}src: put the operation there and call it");
    found.map(|token| file.finding(token.at, advice(token.text))).collect()
}

/// Atomics are in the ring, and in the files that have a reason.
fn atomic_elsewhere(file: &File) -> Vec<Finding> {
    let allowed = ATOMICS.iter().any(|(path, _)| *path == file.path);
    if allowed || file.path.starts_with(RING) || file.source_of_crate().is_none() {
        return Vec::new();
    }
    let advice = "shared words live in streampipe-ring; for flags of one process, put this file \
                  and the reason into `ATOMICS` in xtask/tests/tidy/rooms.rs";
    atomics(file).into_iter().map(|at| file.finding(at, advice)).collect()
}

/// The offsets of what is atomic.
fn atomics(file: &File) -> Vec<usize> {
    let is_atomic = |word: &str| {
        let kind = word.strip_prefix("Atomic");
        word == "atomic" || kind.is_some_and(|it| it.starts_with(['U', 'I', 'B', 'P']))
    };
    let tokens = file.tokens();
    tokens.iter().filter(|token| is_atomic(token.text)).map(|token| token.at).collect()
}

/// An allowance that nobody uses waits for somebody to misuse it.
fn unused_allowances(files: &[File]) -> Vec<Finding> {
    let is_used = |path: &str| files.iter().any(|it| it.path == path && !atomics(it).is_empty());
    let unused = ATOMICS.iter().filter(|(path, _)| !is_used(path));
    let finding = |(path, reason): &(&str, &str)| Finding {
        path: (*path).to_owned(),
        line: 1,
        advice: format!("no atomics here: strike it, with \"{reason}\", from `ATOMICS`"),
    };
    unused.map(finding).collect()
}

#[test]
fn unsafe_is_written_in_sys_alone() {
    hold("unsafe-only-in-sys", each(unsafe_elsewhere));
}

#[test]
fn unsafe_outside_sys_is_noticed() {
    let sample = "// unsafe\nfn f() {\n    unsafe { g() }\n}\n";
    bites(unsafe_elsewhere, "crates/streampipe/src/end/core.rs", &[3], sample);
    bites(unsafe_elsewhere, "xtask/src/main.rs", &[3], sample);
    bites(unsafe_elsewhere, "crates/streampipe-sys/build.rs", &[1], "unsafe fn f() {}");
    spares(unsafe_elsewhere, "crates/streampipe-sys/src/fork.rs", sample);
    spares(unsafe_elsewhere, "crates/streampipe-sys/tests/it/fork.rs", sample);
    spares(unsafe_elsewhere, "compare/src/bin/spawn.rs", sample);
    let good = "#![forbid(unsafe_code)]\n/// Is not unsafe.\nconst WHY: &str = \"unsafe\";";
    spares(unsafe_elsewhere, "crates/streampipe/src/lib.rs", good);
}

#[test]
fn every_crate_but_sys_forbids_unsafe() {
    hold("roots-forbid-unsafe", each(root_that_does_not_forbid));
}

#[test]
fn a_crate_root_that_does_not_forbid_unsafe_is_noticed() {
    let bad =
        "//! `#![forbid(unsafe_code)]` in a comment counts for nothing.\n#![deny(unsafe_code)]\n";
    for root in ["crates/a/src/lib.rs", "crates/a/src/bin/b.rs", "xtask/src/main.rs"] {
        bites(root_that_does_not_forbid, root, &[1], bad);
        spares(root_that_does_not_forbid, root, "//! Docs.\n\n#![forbid(unsafe_code)]\n");
        spares(root_that_does_not_forbid, root, "#![forbid(unused, unsafe_code)]\n");
    }
    spares(root_that_does_not_forbid, "crates/a/src/other.rs", bad);
    spares(root_that_does_not_forbid, "crates/streampipe-sys/src/lib.rs", bad);
}

#[test]
fn only_sys_makes_system_calls() {
    hold("system-calls-only-in-sys", each(system_call_elsewhere));
}

#[test]
fn a_system_call_outside_sys_is_noticed() {
    let sample = "use rustix::io;\nfn f() -> i32 { libc::EINVAL }\n";
    bites(system_call_elsewhere, "crates/streampipe/src/end/core.rs", &[1, 2], sample);
    bites(system_call_elsewhere, "crates/streampipe-cli/src/main.rs", &[1, 2], sample);
    for path in
        ["crates/streampipe-sys/src/a.rs", "crates/streampipe/tests/it/a.rs", "xtask/src/a.rs"]
    {
        spares(system_call_elsewhere, path, sample);
    }
    spares(
        system_call_elsewhere,
        "crates/streampipe/src/a.rs",
        "// As rustix does.\nfn libc_like() {}",
    );
}

#[test]
fn atomics_are_where_a_reason_says_so() {
    let mut findings = each(atomic_elsewhere);
    findings.extend(unused_allowances(files()));
    hold("atomics-have-a-reason", findings);
}

#[test]
fn atomics_without_a_reason_are_noticed() {
    let imports =
        "use std::sync::{\n    Arc,\n    atomic::Ordering,\n};\nuse core::sync::atomic;\n";
    bites(atomic_elsewhere, "crates/streampipe/src/relay/flow.rs", &[3, 5], imports);
    let types = "struct S {\n    a: AtomicBool,\n    b: AtomicU64,\n    c: AtomicPtr<u8>,\n}\n";
    bites(atomic_elsewhere, "crates/streampipe-sys/src/wait.rs", &[2, 3, 4], types);
    spares(atomic_elsewhere, ATOMICS[0].0, types);
    spares(atomic_elsewhere, "crates/streampipe-ring/src/head.rs", types);
    spares(atomic_elsewhere, "crates/streampipe/tests/it/stream.rs", types);
    let good = "/// Not an AtomicBool.\nstruct Atomicity;\n";
    spares(atomic_elsewhere, "crates/streampipe/src/relay/flow.rs", good);
    assert_eq!(unused_allowances(&[File::new(ATOMICS[0].0, types)]).len(), ATOMICS.len() - 1);
}
