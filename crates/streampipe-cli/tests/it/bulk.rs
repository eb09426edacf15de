use std::process::Command;

use crate::support::has_program;
use crate::trial::shells;

/// 64 MiB.
const COUNT: usize = 64 << 20;

/// The sum of that many bytes of this word, by the same programs without the command.
fn sum_of(word: &str) -> String {
    let script = format!("yes {word} | head -c {COUNT} | cksum");
    let sum = Command::new("sh").args(["-c", &script]).output().expect("sh runs").stdout;
    let sum = String::from_utf8(sum).expect("two numbers").trim().to_owned();
    assert!(sum.ends_with(&format!(" {COUNT}")), "{sum}");
    sum
}

#[test]
fn many_bytes_arrive_whole_in_both_directions_at_once() {
    if !has_program("cksum", "many bytes in both directions") {
        return;
    }
    let side = |own: &str| {
        format!("yes {own} | head -c {COUNT} & exec 1>&-; echo {own} got $(cksum) >&2; wait")
    };
    let ended = shells(&["--json"], &side("left"), &side("right")).ends();
    assert!(ended.has_line(&format!("left got {}", sum_of("right"))), "{ended:#?}");
    assert!(ended.has_line(&format!("right got {}", sum_of("left"))), "{ended:#?}");
    assert_eq!(ended.exits(), [Some(0), Some(0)]);
}

#[test]
fn many_bytes_arrive_whole_over_one_socket() {
    if !has_program("cksum", "many bytes over a socket") {
        return;
    }
    // Over a socket there is no end of input: each reads as much as the other sends.
    let side = |own: &str| {
        format!(
            "yes {own} | head -c {COUNT} & \
             echo {own} got $(head -c {COUNT} | cksum) >&2; wait"
        )
    };
    let ended = shells(&["--json", "--socket"], &side("left"), &side("right")).ends();
    assert!(ended.has_line(&format!("left got {}", sum_of("right"))), "{ended:#?}");
    assert!(ended.has_line(&format!("right got {}", sum_of("left"))), "{ended:#?}");
    assert_eq!(ended.exits(), [Some(0), Some(0)]);
}

#[test]
fn bytes_written_before_a_program_ends_are_not_lost() {
    // As much as a pipe holds, written before anybody reads, by a program that is gone by then.
    let left = "echo $$; head -c 60000 /dev/zero";
    let right = "read left; while kill -0 $left 2>&-; do :; done; wc -c >&2";
    let ended = shells(&["--json"], left, right).ends();
    let count = ended.stderr.lines().next().map(str::trim);
    assert_eq!(count, Some("60000"), "{ended:#?}");
}
