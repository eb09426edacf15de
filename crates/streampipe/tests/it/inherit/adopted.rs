use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use streampipe::{Command, NotInherited, Stdio};

use super::{ARGUMENTS, PART, answer, answer_of, binary, worker};
use crate::support::{self, tests_alone};

/// Says a line to the child, hears it back, and returns the child's answer.
pub(super) fn talk(command: &mut Command) -> String {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    child.stream().write_all(b"job\n").expect("it listens");
    let mut heard = String::new();
    child.stream().read_to_string(&mut heard).expect("its words, then the end");
    let output = child.wait_with_output().expect("our child");
    // As standard output, the end carries the words of the test harness, too.
    assert!(
        heard.contains("heard: job\n"),
        "{heard:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    answer(&output)
}

/// A worker behind a shell: `"$0"` and `"$@"` are its words.
fn behind_a_shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()).args(ARGUMENTS).env(PART, "adopt");
    command
}

/// A copy of this binary that other users may start, with this mode.
fn copy(mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let all_may_look = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), all_may_look).expect("our own");
    let path = directory.path().join("copy");
    std::fs::copy(binary(), &path).expect("room");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("our own");
    (directory, path)
}

/// Nobody, which is enough of another user.
const OTHER_USER: u32 = 65534;

/// Starts the copy as another user.
fn rights_and_answer(mode: u32) -> String {
    let (_directory, path) = copy(mode);
    let mut command = Command::new(path);
    command.args(ARGUMENTS).env(PART, "say which rights it has");
    answer_of(command.uid(OTHER_USER).gid(OTHER_USER))
}

tests_alone! {
    fn the_end_is_adopted_under_whatever_number_it_has() {
        for number in [3, 4, 7, 63, 1000] {
            let told = talk(worker("adopt").fd(number));
            assert_eq!(told, format!("adopted as {number}"));
        }
    }

    /// Else the next file that the child opens would be its standard input or output.
    fn a_standard_number_is_left_to_dev_null() {
        for number in [0, 1] {
            let told = talk(worker("adopt").fd(number));
            assert_eq!(told, format!("adopted as 3 or more, with /dev/null as {number}"));
        }
    }

    /// After an error nothing has changed, so the call can be made again.
    fn what_there_was_no_room_to_adopt_can_be_adopted_later() {
        let told = talk(worker("adopt without room").fd(0));
        assert_eq!(told, "at last adopted as 3 or more, with /dev/null as 0");
    }

    fn nothing_but_the_end_changes() {
        let file = support::file_with(b"content");
        let (pipe, _writer) = rustix::pipe::pipe().expect("a pipe");
        let mut command = worker("adopt and see what else changes");
        assert_eq!(answer_of(command.inherit(&file, 9).inherit(&pipe, 5)), "nothing else");
        assert_eq!(answer_of(command.fd(64)), "nothing else");
    }

    fn it_is_adopted_once() {
        assert_eq!(answer_of(&mut worker("adopt again and again")), "once");
    }

    fn of_threads_that_race_for_it_one_adopts_it() {
        for _ in 0..5 {
            assert_eq!(answer_of(&mut worker("adopt in eight threads")), "by one");
        }
    }

    fn a_shell_that_becomes_the_worker_hands_the_end_on() {
        assert_eq!(talk(&mut behind_a_shell(r#"exec "$0" "$@""#)), "adopted as 3");
        assert_eq!(talk(behind_a_shell(r#"exec "$0" "$@""#).fd(8)), "adopted as 8");
    }

    fn a_shell_that_starts_the_worker_hands_the_end_on() {
        assert_eq!(talk(&mut behind_a_shell(r#""$0" "$@"; exit $?"#)), "adopted as 3");
    }

    fn a_worker_in_an_empty_environment_finds_its_end() {
        assert_eq!(talk(worker("unknown").env_clear().env(PART, "adopt")), "adopted as 3");
    }

    fn a_grandchild_gets_an_end_of_its_own() {
        for part in ["start a child with an end", "start a child with an end, its own left lying"] {
            assert_eq!(answer_of(&mut worker(part)), "adopted as 3");
            assert_eq!(answer_of(worker(part).fd(5)), "adopted as 3");
        }
    }

    fn a_grandchild_without_an_end_never_gets_its_ancestors_variable() {
        let told = answer_of(&mut worker("start a child without an end"));
        assert_eq!(told, format!("{:?}", NotInherited::NoVariable));
    }

    /// The environment of a set-uid program is its caller's, who has fewer rights.
    fn a_set_uid_program_adopts_nothing() {
        if !rustix::process::geteuid().is_root() {
            return support::skip("adopting in a set-uid program", "only root can make one");
        }
        let plain = format!("Uid: {OTHER_USER} {OTHER_USER} {OTHER_USER} {OTHER_USER}; adopted as 3");
        assert_eq!(rights_and_answer(0o755), plain);
        let secure = rights_and_answer(0o4755);
        if secure == plain {
            return support::skip("adopting in a set-uid program", "the bit is without effect here");
        }
        let (rights, told) = secure.split_once("; ").expect("rights and an answer");
        assert_eq!(rights, format!("Uid: {OTHER_USER} 0 0 0"));
        assert_eq!(told, format!("{:?}", NotInherited::Secure));
    }
}
