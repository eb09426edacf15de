use crate::ended::Ended;
use crate::support::has_program;
use crate::trial::{join, python, pythons, shells};

/// What the left shell printed of the right program's words.
fn heard(ended: &Ended) -> Vec<&str> {
    assert_eq!(ended.code(), 0, "{ended:#?}");
    ended.stderr.lines().collect()
}

#[test]
fn bc_calculates_in_a_conversation() {
    if !has_program("bc", "a conversation with bc") {
        return;
    }
    let asks = "for n in 2^64 6*7 1/3; do echo \"$n\"; read answer; echo \"$answer\" >&2; done";
    let ended = shells(&[], asks, "exec bc -q").ends();
    assert_eq!(heard(&ended), ["18446744073709551616", "42", "0"]);
}

#[test]
fn cat_gives_everything_back() {
    let says = "echo first; read back; echo \"$back\" >&2; echo second; exec 1>&-; cat >&2";
    assert_eq!(heard(&shells(&[], says, "exec cat").ends()), ["first", "second"]);
    assert_eq!(heard(&shells(&[], "exec cat", says).ends()), ["first", "second"]);
}

#[test]
fn wc_counts_to_the_end() {
    let says =
        "printf 'a b\\nc\\n'; exec 1>&-; read lines words bytes; echo $lines $words $bytes >&2";
    assert_eq!(heard(&shells(&[], says, "exec wc").ends()), ["2 3 6"]);
}

#[test]
fn head_takes_what_it_needs() {
    let says = "printf '1\\n2\\n3\\n'; exec 1>&-; cat >&2";
    assert_eq!(heard(&shells(&[], says, "exec head -n2").ends()), ["1", "2"]);
}

#[test]
fn true_and_false_read_nothing() {
    for words in [["true", "::", "false"], ["false", "::", "true"]] {
        let ended = join(["--json", "--"].iter().chain(&words).copied()).ends();
        assert_eq!(ended.code(), 1, "{ended:#?}");
    }
}

#[test]
fn a_file_goes_through_gzip() {
    if !has_program("gzip", "a file through gzip") {
        return;
    }
    let sends = "echo packed; exec 1>&-; gzip -dc >&2";
    assert_eq!(heard(&shells(&[], sends, "exec gzip -c").ends()), ["packed"]);
}

#[test]
fn python_reads_and_writes_with_its_own_buffers() {
    let Some(python) = python("a conversation with Python") else { return };
    let asks = "
import sys
for number in range(100):
    print(number, flush=True)
    assert int(input()) == number * number
";
    let answers = "
import sys
for line in sys.stdin:
    print(int(line) ** 2, flush=True)
";
    let ended = pythons(python, &["--json"], [asks, answers], &[]).ends();
    assert_eq!(ended.exits(), [Some(0), Some(0)], "{ended:#?}");
}

#[test]
fn a_judge_and_a_solver_take_200_turns() {
    let judge = "n=0; while test $n -lt 200; do n=$((n+1)); echo $n; read it; test $it = $n || exit 1; done";
    let solver = "while read it; do echo $it; done";
    let ended = shells(&["--json"], judge, solver).ends();
    assert_eq!(ended.exits(), [Some(0), Some(0)], "{ended:#?}");
}

#[test]
fn ssh_tells_its_version_and_its_settings() {
    if !has_program("ssh", "ssh") {
        return;
    }
    let ended = join(["--json", "--", "cat", "::", "ssh", "-V"]).ends();
    assert_eq!(ended.exits(), [Some(0), Some(0)], "{ended:#?}");
    // Its settings for a host come out of its standard output, without a connection.
    let counts = "grep -c '^hostname nowhere.example$' >&2";
    let words = ["ssh", "-F", "/dev/null", "-G", "nowhere.example", "::", "sh", "-c", counts];
    let ended = join(words).ends();
    assert_eq!(heard(&ended).last(), Some(&"1"), "it may have a warning of its own");
}
