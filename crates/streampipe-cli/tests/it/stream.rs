use crate::trial::{make_file, python, pythons, shells};

/// Checks what descriptors 0 and 1 are, and speaks both ways over one of them.
const ON_STDIN: &str = "
import os, socket, sys
me = sys.argv[1].encode()
for number in (0, 1):
    end = socket.socket(fileno=os.dup(number))
    assert end.family == socket.AF_UNIX and end.type == socket.SOCK_STREAM, end
    end.close()
end = socket.socket(fileno=0)
end.sendall(b'x' * 100_000)
end.shutdown(socket.SHUT_WR)
sys.exit(0 if b''.join(iter(lambda: end.recv(9999), b'')) == b'x' * 100_000 else 1)
";

/// Speaks both ways over the descriptor with the number in its argument.
const ON_NUMBER: &str = "
import socket, sys
end = socket.socket(fileno=int(sys.argv[1]))
assert end.family == socket.AF_UNIX and end.type == socket.SOCK_STREAM, end
end.sendall(b'word')
end.shutdown(socket.SHUT_WR)
sys.exit(0 if b''.join(iter(lambda: end.recv(9999), b'')) == b'word' else 1)
";

#[test]
fn a_socket_is_a_stream_and_works_both_ways() {
    let Some(python) = python("--socket between Pythons") else { return };
    let ended = pythons(python, &["--json", "--socket"], [ON_STDIN; 2], &["me"]).ends();
    assert_eq!(ended.exits(), [Some(0), Some(0)], "{ended:#?}");
}

#[test]
fn programs_that_know_nothing_of_sockets_talk_over_one() {
    let left = "echo ping; read answer; echo \"$answer\" >&2";
    let right = "read word; echo \"answer to $word\"";
    let ended = shells(&["--json", "--socket"], left, right).ends();
    assert!(ended.has_line("answer to ping"), "{ended:#?}");
    assert_eq!(ended.code(), 0);
}

#[test]
fn a_program_that_shuts_its_socket_down_reads_the_answer_of_sort() {
    let Some(python) = python("shutdown under --socket") else { return };
    let asks = "
import socket, sys
end = socket.socket(fileno=0)
end.sendall(b'pear\\napple\\n')
end.shutdown(socket.SHUT_WR)
sys.stderr.write(b''.join(iter(lambda: end.recv(9999), b'')).decode())
";
    let sorts = "import os; os.execvp('sort', ['sort'])";
    let ended = pythons(python, &["--socket"], [asks, sorts], &[]).ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, "apple\npear\n"));
}

#[test]
fn an_end_may_have_any_number_from_3() {
    let Some(python) = python("--fd between Pythons") else { return };
    // The command itself has descriptors from 3 on, which must not be in the way.
    for number in (3..=20).chain([63, 255, 1000]) {
        let number = number.to_string();
        let options = ["--json", "--fd", &number];
        let ended = pythons(python, &options, [ON_NUMBER; 2], &[&number]).ends();
        assert_eq!(ended.exits(), [Some(0), Some(0)], "--fd {number}: {ended:#?}");
    }
}

#[test]
fn shells_talk_over_a_number_while_standard_ones_pass_through() {
    for number in [3, 7] {
        let left =
            format!("read own; echo \"$own\" >&{number}; read answer <&{number}; echo $answer");
        let right = format!("read word <&{number}; echo \"answer to $word\" >&{number}");
        let number = number.to_string();
        let trial = shells(&["--fd", &number], &left, &right).input(b"from outside\n");
        let ended = trial.ends();
        assert_eq!(ended.code(), 0, "{ended:#?}");
        assert_eq!(ended.stdout, "answer to from outside\n", "{ended:#?}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_program_passes_an_open_file_to_the_other() {
    let Some(python) = python("a descriptor passed between Pythons") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    make_file(&path, "from an open file", "600");
    let sends = "
import os, socket, sys
file = os.open(sys.argv[1], os.O_RDONLY)
os.unlink(sys.argv[1])
socket.send_fds(socket.socket(fileno=3), [b'here'], [file])
";
    let receives = "
import os, socket
text, files, flags, address = socket.recv_fds(socket.socket(fileno=3), 100, 10)
assert text == b'here' and len(files) == 1, (text, files)
os.write(1, os.read(files[0], 100))
";
    let path = path.to_str().expect("a plain path");
    let ended = pythons(python, &["--json", "--fd", "3"], [sends, receives], &[path]).ends();
    assert_eq!(ended.exits(), [Some(0), Some(0)], "{ended:#?}");
    assert_eq!(ended.stdout, "from an open file");
}

#[test]
fn closing_one_descriptor_of_a_socket_is_no_half_close() {
    let asks = "printf abc; exec 1>&-; exec cat >&2";
    let options = ["--json", "--socket", "--timeout", "1"];
    let ended = shells(&options, asks, "exec sort").ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert!(!ended.has_line("abc"), "sort answered without an end of its input");
}
