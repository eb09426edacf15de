use std::path::PathBuf;

use crate::ended::Ended;
use crate::trial::{join, streampipe};

/// Set to renew the files.
const UPDATE: &str = "UPDATE_HELP";

/// Compares the help with its file, or renews the file.
fn assert_is_in_file(ended: &Ended, name: &str) {
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../doc/help", name].iter().collect();
    if std::env::var_os(UPDATE).is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("doc/help")).expect("a directory");
        std::fs::write(&path, &ended.stdout).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        ended.stdout == expected,
        "doc/help/{name} is not the present help; if the help is right, renew the file with\n\
         {UPDATE}=1 cargo test -p streampipe-cli help\n\
         the file:\n{expected}\nthe help:\n{}",
        ended.stdout
    );
}

#[test]
fn the_short_help_is_as_in_its_file() {
    assert_is_in_file(&join(["-h"]).ends(), "join-short.txt");
}

#[test]
fn the_long_help_is_as_in_its_file() {
    assert_is_in_file(&join(["--help"]).ends(), "join-long.txt");
}

#[test]
fn the_long_help_names_every_exit_code() {
    let help = join(["--help"]).ends().stdout;
    let (_, codes) = help.split_once("Exit codes:").expect("a table");
    for code in ["0 ", "n ", "124 ", "125 ", "126 ", "127 "] {
        assert!(codes.lines().any(|line| line.trim_start().starts_with(code)), "{code}: {codes}");
    }
}

#[test]
fn help_of_the_whole_is_data_and_a_success() {
    for word in ["-h", "--help"] {
        let ended = streampipe([word]).ends();
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
        assert!(ended.stdout.contains("join"), "{ended:#?}");
    }
}

#[test]
fn the_version_is_data_and_a_success() {
    for word in ["-V", "--version"] {
        let ended = streampipe([word]).ends();
        let expected = format!("streampipe {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((ended.code(), ended.stdout, ended.stderr), (0, expected, String::new()));
    }
}

#[test]
fn help_is_a_success_even_if_nobody_can_read_it() {
    assert_eq!(join(["--help"]).redirected(">&-").ends().code(), 0);
    assert_eq!(join(["--help"]).redirected(">/dev/full").ends().code(), 0);
    let nobody_reads = "{ \"$0\" \"$@\"; echo $? >&2; } | true";
    let ended = join(["--help"]).behind(["sh", "-c", nobody_reads]).ends();
    assert_eq!(ended.stderr, "0\n");
}

#[test]
fn help_has_no_colour_and_fits_100_columns() {
    for words in [["join", "-h"], ["join", "--help"]] {
        let ended = streampipe(words).ends();
        assert!(ended.stdout.lines().all(|line| line.chars().count() <= 100), "{}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'));
    }
}

#[test]
fn words_after_the_programs_ask_for_no_help() {
    let takes = "test \"$1\" = --help";
    let ended = join(["sh", "-c", takes, "sh", "--help", "::", "true"]).ends();
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, ""));
}
