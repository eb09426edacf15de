use crate::trial::shells;

/// Writes, closes its output, and keeps reading.
const ASKS: &str = "printf abc; exec 1>&-; cat >&2; exit 3";

/// Reads to the end, and only then answers.
const ANSWERS: &str = "question=$(cat); echo \"answer to $question\"; exit 5";

/// Sends words to be sorted, and shows what comes back.
const WANTS_SORTED: &str = "printf 'pear\\napple\\nfig\\n'; exec 1>&-; cat >&2; exit 3";

const SORTED: &str = "apple\nfig\npear\n";

#[test]
fn a_program_that_closes_its_output_still_reads_the_answer() {
    let ended = shells(&["--json"], ASKS, ANSWERS).ends();
    assert!(ended.has_line("answer to abc"), "{ended:#?}");
    assert_eq!(ended.exits(), [Some(3), Some(5)]);
    assert_eq!(ended.code(), 5);
}

#[test]
fn the_mirror_image_works_too() {
    let ended = shells(&["--json"], ANSWERS, ASKS).ends();
    assert!(ended.has_line("answer to abc"), "{ended:#?}");
    assert_eq!(ended.exits(), [Some(5), Some(3)]);
    assert_eq!(ended.code(), 5);
}

#[test]
fn the_half_close_arrives_50_times_out_of_50() {
    for round in 0..50 {
        let mirrored = round % 2 == 1;
        let (left, right) = if mirrored { (ANSWERS, ASKS) } else { (ASKS, ANSWERS) };
        let ended = shells(&["--json"], left, right).ends();
        assert!(ended.has_line("answer to abc"), "round {round}: {ended:#?}");
        let expected = if mirrored { [Some(5), Some(3)] } else { [Some(3), Some(5)] };
        assert_eq!(ended.exits(), expected, "round {round}");
    }
}

#[test]
fn sort_answers_at_the_end_of_its_input() {
    let ended = shells(&["--json"], WANTS_SORTED, "exec sort").ends();
    assert!(ended.stderr.starts_with(SORTED), "{ended:#?}");
    assert_eq!(ended.exits(), [Some(3), Some(0)]);
}

#[test]
fn sort_on_the_left_answers_too() {
    let ended = shells(&["--json"], "exec sort", WANTS_SORTED).ends();
    assert!(ended.stderr.starts_with(SORTED), "{ended:#?}");
    assert_eq!(ended.exits(), [Some(0), Some(3)]);
}

#[test]
fn two_that_close_their_outputs_read_each_other_to_the_end() {
    let script = "printf abc; exec 1>&-; test \"$(cat)\" = abc";
    let ended = shells(&["--report"], script, script).ends();
    assert_eq!(ended.code(), 0, "{ended:#?}");
}

#[test]
fn a_program_that_closes_its_input_gives_the_other_a_broken_pipe() {
    // The right one outlives the left one: the pipe breaks by the close alone.
    let reader = "read left; exec 0<&-; echo closed; while kill -0 $left 2>&-; do :; done";
    let ended = shells(&["--json"], "echo $$; read closed; exec yes", reader).ends();
    assert_eq!(ended.signals(), [Some(13), None], "{ended:#?}");
}

#[test]
fn a_program_that_ends_without_a_word_is_an_end_of_input() {
    let ended = shells(&["--json"], "exit 3", "cat; exit 5").ends();
    assert_eq!(ended.exits(), [Some(3), Some(5)], "{ended:#?}");
}
