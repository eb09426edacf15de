use crate::trial::{join, shells};

/// Every way in which standard descriptors can be missing.
const CLOSED: [&str; 7] = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"];

#[test]
fn two_programs_talk_whatever_is_closed() {
    for redirections in CLOSED {
        let directory = tempfile::tempdir().expect("a directory");
        let left = "printf abc; exec 1>&-; cat >answer; exit 3";
        let right = "cat >question; printf def; exit 5";
        let trial = shells(&["--report"], left, right).within(directory.path());
        let ended = trial.redirected(redirections).ends();
        assert_eq!(ended.code(), 5, "{redirections}: {ended:#?}");
        // Nothing but the words of the programs came into the pipes.
        let word = |name| std::fs::read_to_string(directory.path().join(name)).expect("written");
        assert_eq!([word("question"), word("answer")], ["abc", "def"], "{redirections}");
        assert_eq!(ended.stdout, "");
        let reported = ended.stderr.contains("left (sh) ended");
        assert_eq!(reported, !redirections.contains("2>&-"), "{redirections}: {ended:#?}");
    }
}

#[test]
fn a_stream_arrives_whatever_is_closed() {
    for redirections in CLOSED {
        for (option, out, back) in
            [("--fd=3", ">&3", "<&3"), ("--fd=9", ">&9", "<&9"), ("--socket", "", "")]
        {
            let directory = tempfile::tempdir().expect("a directory");
            let left = format!("echo ping {out}; read answer {back}; echo $answer >answer; exit 3");
            let right = format!("read word {back}; echo answer to $word {out}; exit 5");
            let trial = shells(&[option], &left, &right).within(directory.path());
            let ended = trial.redirected(redirections).ends();
            assert_eq!(ended.code(), 5, "{option} {redirections}: {ended:#?}");
            let answer = std::fs::read_to_string(directory.path().join("answer"));
            assert_eq!(answer.expect("written"), "answer to ping\n", "{option} {redirections}");
        }
    }
}

#[test]
fn programs_find_their_standard_descriptors_open_whatever_is_closed() {
    let script = "for number in 0 1 2; do test -e /proc/$$/fd/$number || exit 9; done";
    for redirections in CLOSED {
        for option in ["--quiet", "--socket", "--fd=3"] {
            let ended = shells(&[option], script, script).redirected(redirections).ends();
            assert_eq!(ended.code(), 0, "{option} {redirections}: {ended:#?}");
        }
    }
}

#[test]
fn failures_keep_their_codes_whatever_is_closed() {
    for redirections in CLOSED {
        let code = |words: [&str; 3]| join(words).redirected(redirections).ends().code();
        assert_eq!(code(["true", "::", "no-such-program-anywhere"]), 127, "{redirections}");
        assert_eq!(code(["true", "::", "/"]), 126, "{redirections}");
        assert_eq!(code(["true", "::", "::"]), 125, "{redirections}");
        assert_eq!(code(["--fd", "2", "::"]), 125, "{redirections}");
        assert_eq!(code(["--help", "::", "::"]), 0, "{redirections}");
    }
}

#[test]
fn a_full_or_broken_standard_error_changes_no_code() {
    let full = shells(&["--report"], "exit 3", "exit 5").redirected("2>/dev/full").ends();
    assert_eq!(full.code(), 5);
    let nobody_reads = "exec 3>&2; { \"$0\" \"$@\" 2>&1; echo $? >&3; } | true";
    // The reader may end before or after: the code is the same, and there is no panic.
    for _ in 0..5 {
        let trial = shells(&["--report"], "exit 3", "exit 5").behind(["sh", "-c", nobody_reads]);
        assert_eq!(trial.ends().stderr, "5\n");
    }
}
