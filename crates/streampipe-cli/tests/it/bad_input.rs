use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::support::has_program;
use crate::trial::{Trial, join, shells, streampipe};

/// No text in any encoding that a terminal knows.
fn not_utf8() -> OsString {
    OsString::from_vec(vec![b'a', 0xff, 0x80, 0xc3, b'z'])
}

#[test]
fn arguments_that_are_not_text_reach_the_program_whole() {
    if !has_program("od", "arguments that are not text") {
        return;
    }
    let shows = "printf %s \"$1\"; exec 1>&-; cat >&2";
    let words = ["--", "sh", "-c", shows, "sh"].map(OsString::from);
    let right = ["::", "od", "-An", "-tx1"].map(OsString::from);
    let ended = join(words.into_iter().chain([not_utf8()]).chain(right)).ends();
    assert_eq!((ended.code(), ended.stderr.trim()), (0, "61 ff 80 c3 7a"));
}

#[test]
fn a_program_whose_name_is_not_text_is_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(not_utf8());
    std::os::unix::fs::symlink("/bin/sh", &path).expect("a link");
    for (option, code) in [("--report", 3), ("--json", 3)] {
        let left = [OsString::from(option), "--".into(), path.clone().into()];
        let rest = ["-c", "exit 3", "::", "true"].map(OsString::from);
        let ended = join(left.into_iter().chain(rest)).ends();
        assert_eq!(ended.code(), code);
        assert!(ended.stderr.contains("a\u{fffd}\u{fffd}\u{fffd}z"), "{ended:#?}");
    }
    let missing = [not_utf8(), "::".into(), "true".into()];
    let ended = join(missing).ends();
    assert_eq!(ended.code(), 127, "{ended:#?}");
}

#[test]
fn options_that_are_not_text_are_refused() {
    for option in ["--fd", "--timeout", "--exit"] {
        let words = [option.into(), not_utf8(), "--".into()];
        let rest = ["true", "::", "true"].map(OsString::from);
        let ended = join(words.into_iter().chain(rest)).ends();
        assert_eq!(ended.code(), 125, "{ended:#?}");
    }
    assert_eq!(streampipe([not_utf8()]).ends().code(), 125);
}

#[test]
fn colons_in_a_word_separate_nothing() {
    let counts = "test $# -eq 4";
    let words = ["sh", "-c", counts, "sh", "a::b", ":::", ":", "", "::", "true"];
    let ended = join(words).ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
}

#[test]
fn a_thousand_long_arguments_reach_the_program() {
    let long = "x".repeat(1000);
    let mut words = vec!["sh", "-c", "test $# -eq 1000 && test ${#1000} -eq 1000", "sh"];
    words.extend(std::iter::repeat_n(long.as_str(), 1000));
    words.extend(["::", "true"]);
    let ended = join(words).ends();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

#[test]
fn too_few_descriptors_are_a_refusal_and_never_a_hang() {
    let mut worked = false;
    for options in [&["--quiet"] as &[&str], &["--socket"], &["--fd", "3"]] {
        for limit in 4..=16 {
            let words = options.iter().copied().chain(["--", "cat", "::", "true"]);
            // The end of standard error, which is waited for, is the end of all.
            let running = join(words).after_shell(&format!("ulimit -n {limit}")).start();
            let ended = running.ends();
            let code = ended.code();
            assert!(code == 0 || code == 125, "{options:?}, {limit} descriptors: {ended:#?}");
            let told = ended.stderr.contains("os error 24");
            assert_eq!(told, code == 125, "{limit} descriptors: {ended:#?}");
            worked |= code == 0;
        }
    }
    assert!(worked, "16 descriptors are enough");
}

#[test]
fn shells_that_kill_each_other_are_reported_as_they_ended() {
    // Each has the other's number; who is faster is not known, but one of them kills.
    let script = "echo $$; read other; kill -9 $other; read nothing";
    let ended = shells(&["--json"], script, script).ends();
    assert!(ended.signals().contains(&Some(9)), "{ended:#?}");
    assert_eq!(ended.code(), 137);
}

#[test]
fn interrupted_calls_change_nothing() {
    if !has_program("strace", "interrupted calls of the command") {
        return;
    }
    let trial = || shells(&["--json"], "echo question; exec 1>&-; cat >&2; exit 3", "cat; exit 5");
    let loaders = reads_of_the_loader(trial());
    for call in ["epoll_pwait", "epoll_pwait2", "waitid", "read"] {
        let first = if call == "read" { loaders + 1 } else { 1 };
        let inject = format!("inject={call}:error=EINTR:when={first}..{}", first + 2);
        let strace = ["strace", "-qq", "-o", "/dev/null", "-e", inject.as_str()];
        let ended = trial().behind(strace).ends();
        assert_eq!(ended.exits(), [Some(3), Some(5)], "{call}: {ended:#?}");
        assert!(ended.stderr.contains("question"), "{call}: {ended:#?}");
    }
}

/// How many reads come first that are of libraries: the loader does not expect them to be interrupted.
fn reads_of_the_loader(trial: Trial) -> usize {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let to = log.path().to_str().expect("a plain name");
    let ended = trial.behind(["strace", "-qq", "-o", to, "-e", "trace=read"]).ends();
    assert_eq!(ended.exits(), [Some(3), Some(5)], "the control: {ended:#?}");
    let log = std::fs::read_to_string(log.path()).expect("strace wrote it");
    let reads = log.lines().filter(|line| line.starts_with("read("));
    let is_library = |line: &str| line.contains("\\177ELF");
    reads.zip(1..).filter(|(line, _)| is_library(line)).map(|(_, count)| count).last().unwrap_or(0)
}
