//! Calls about processes that a kernel is too old for, or that a filter refuses.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use streampipe::join::{Ending, Join};
use streampipe::{Stream, Zygote, fork};

use super::child::forked;
use crate::support;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_refused_pidfd_open_is_an_error_that_leaves_nothing", refused_pidfd_open),
    ("a_question_that_could_not_be_sent_costs_no_zygote", failed_question),
    ("joined_programs_get_a_passed_on_signal_without_pidfd_send_signal", passed_on),
    ("a_kernel_that_cannot_wait_by_pidfd_waits_by_number", waits_by_number),
];

const HANG: Duration = Duration::from_secs(60);

/// Runs the test again behind `strace` with these options; says whether this is that run.
fn is_behind_strace(name: &str, runs: &[&[&str]]) -> bool {
    const MARK: &str = "STREAMPIPE_TEST_BEHIND_STRACE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    if support::has_program("strace", name) {
        for options in runs {
            let mark = format!("{MARK}=1");
            let strace = ["env", mark.as_str(), "strace", "-f", "-qq", "-o", "/dev/null"];
            let ran = support::rerun(&format!("forks::{name}"), &[&strace[..], options].concat());
            assert!(ran.status.success(), "{options:?}: {}", ran.output);
        }
    }
    false
}

/// Reads one byte, or the end.
fn work(mut stream: Stream) -> i32 {
    let _ = stream.read(&mut [0]);
    7
}

/// What signals this thread has blocked.
fn blocked() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    status.lines().find(|line| line.starts_with("SigBlk")).expect("a line").to_owned()
}

fn refused_pidfd_open() {
    let runs: [&[&str]; 2] =
        [&["-e", "inject=pidfd_open:error=EPERM"], &["-e", "inject=pidfd_open:error=ENOSYS"]];
    if !is_behind_strace("a_refused_pidfd_open_is_an_error_that_leaves_nothing", &runs) {
        return;
    }
    // The harness shows that neither leaves a child or a descriptor.
    let before = blocked();
    let refused = |error: std::io::Error| {
        assert!(matches!(error.raw_os_error(), Some(1 | 38)), "{error}");
    };
    refused(fork().expect_err("a child is held by its pidfd"));
    refused(Zygote::start(work).expect_err("it watches its parent by a pidfd"));
    assert_eq!(blocked(), before, "signals were left blocked");
}

fn failed_question() {
    // The first send is the byte that lets the zygote go.
    let runs: [&[&str]; 2] = [
        &["-e", "inject=sendto:error=ENOBUFS:when=2"],
        &["-e", "inject=sendto:error=ENOMEM:when=2"],
    ];
    if !is_behind_strace("a_question_that_could_not_be_sent_costs_no_zygote", &runs) {
        return;
    }
    let zygote = Zygote::start(work).expect("a zygote");
    let error = zygote.fork().expect_err("it was not sent");
    assert!(matches!(error.raw_os_error(), Some(12 | 105)), "{error}");
    let mut worker = zygote.fork().expect("and again");
    assert_eq!(worker.wait().expect("a status").code(), Some(7));
}

fn passed_on() {
    let runs: [&[&str]; 2] = [
        &["-e", "inject=pidfd_send_signal:error=EPERM"],
        &["-e", "inject=pidfd_send_signal:error=ENOSYS"],
    ];
    if !is_behind_strace("joined_programs_get_a_passed_on_signal_without_pidfd_send_signal", &runs)
    {
        return;
    }
    let sh = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        command
    };
    let (left, right) = (sh("kill -TERM $PPID; exec sleep 100"), sh("exec sleep 100"));
    let outcome = Join::new(left, right).relay_signals().run().expect("both end");
    for ended in [outcome.left, outcome.right] {
        assert!(matches!(ended.how, Ending::Signaled { signal: 15, .. }), "{ended:?}");
    }
}

fn waits_by_number() {
    // Every second call fails: the one by a pidfd, and not the one by the number that comes after it.
    let runs: [&[&str]; 1] = [&["-e", "inject=waitid:error=EINVAL:when=1+2"]];
    if !is_behind_strace("a_kernel_that_cannot_wait_by_pidfd_waits_by_number", &runs) {
        return;
    }
    let (stream, mut child) = forked(work);
    assert_eq!(child.try_wait().expect("it can be asked"), None);
    drop(stream);
    assert_eq!(child.wait().expect("a status").code(), Some(7));
    assert_eq!(child.wait().expect("the same again").code(), Some(7));

    let (stream, mut child) = forked(work);
    child.kill().expect("it is there");
    let ended = child.wait_timeout(HANG).expect("a status").expect("in time");
    assert_eq!(ended.signal(), Some(9));
    drop(stream);
    // An odd one out, so that the harness's own look for children is not the one that fails.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let _ = waitid(WaitId::All, look);
}
