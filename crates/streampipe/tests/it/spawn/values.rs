//! A command and its child as values: how the one is shown, how the other is taken apart.

use std::io::Read;

use streampipe::{Command, Stdio};

use super::helpers::sh;
use crate::support::tests_alone;

/// Describes both commands in the same way, and compares what they show.
macro_rules! shown {
    ($program:expr, |$command:ident| $setup:expr) => {{
        let theirs = {
            let mut $command = std::process::Command::new($program);
            let _ = $setup;
            format!("{:?}", $command)
        };
        let ours = {
            let mut $command = Command::new($program);
            let _ = $setup;
            format!("{:?}", $command)
        };
        assert_eq!(ours, theirs);
        ours
    }};
}

#[test]
fn a_command_is_shown_as_std_shows_it() {
    use std::os::unix::process::CommandExt;

    assert_eq!(shown!("ls", |it| it.arg("-l").arg("a b\"\n")), r#""ls" "-l" "a b\"\n""#);
    shown!("", |it| it.args(["", "$HOME", "\u{e9}"]));
    shown!("ls", |it| it.arg0("dir"));
    shown!("ls", |it| it.arg0("ls").arg("x"));
    shown!("ls", |it| it.current_dir("/a b"));
    shown!("ls", |it| it.env("B", "1 2").env("A", ""));
    shown!("ls", |it| it.env_remove("B").env_remove("A").env("C", "3"));
    shown!("ls", |it| it.env("A", "1").env_clear());
    shown!("ls", |it| it.env_clear().env("A", "1").current_dir("/"));
    // What std does not show, either.
    shown!("ls", |it| it.process_group(0).uid(0).gid(0));
}

#[test]
fn an_alternate_command_shows_what_was_set() {
    let mut command = Command::new("ls");
    command.arg("-l").fd(7).process_group(0);
    let shown = format!("{command:#?}");
    for part in ["Command {", "\"ls\"", "\"-l\"", "7", "group"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

tests_alone! {
    fn a_pipe_is_moved_out_of_a_child() {
        let mut text = String::new();
        {
            let child = sh("echo out").stdout(Stdio::piped()).spawn().expect("it starts");
            child.stdout.unwrap().read_to_string(&mut text).expect("text");
        }
        assert_eq!(text, "out\n");
        // What was left of the child was dropped: a thread reaps it.
        assert!(crate::support::is_childless_within(super::helpers::HANG));
    }

    fn all_pipes_are_moved_out_and_the_child_is_dropped() {
        let piped = || Stdio::piped();
        let mut command = sh("cat; echo err >&2");
        let child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn();
        let streampipe::Child { stdin, stdout, stderr, .. } = child.expect("it starts");
        std::io::Write::write_all(&mut stdin.expect("a pipe"), b"in\n").expect("it reads");
        let [mut out, mut err] = [String::new(), String::new()];
        stdout.expect("a pipe").read_to_string(&mut out).expect("text");
        stderr.expect("a pipe").read_to_string(&mut err).expect("text");
        assert_eq!((out.as_str(), err.as_str()), ("in\n", "err\n"));
        assert!(crate::support::is_childless_within(super::helpers::HANG));
    }
}
