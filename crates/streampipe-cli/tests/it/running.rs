use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal};

use crate::ended::Ended;
use crate::support::readable_within;
use crate::trial::{LIMIT, kill_all};

/// The command while it runs. Its standard error, which its programs share, is read by lines; its
/// end is the end of all three and of what they started.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stderr: ChildStderr,
    deadline: Instant,
    /// What was read and not yet taken.
    waiting: Vec<u8>,
    /// Whether the command was waited for, so that its number may be another's by now.
    over: bool,
}

impl Running {
    pub(crate) fn new(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stderr = child.stderr.take().expect("it is piped");
        Self { child, stderr, deadline: Instant::now() + LIMIT, waiting: Vec::new(), over: false }
    }

    /// The next line.
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.waiting.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.waiting.drain(..=at).collect();
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            assert!(self.read_more(), "no more lines: {:?}", self.text());
        }
    }

    /// The next lines, in alphabetical order: two programs take no turns.
    pub(crate) fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines: Vec<String> = (0..count).map(|_| self.line()).collect();
        lines.sort();
        lines
    }

    /// The next two lines: `left` and `right`, each with its process id.
    pub(crate) fn pids(&mut self) -> [Pid; 2] {
        let lines = self.lines(2);
        ["left ", "right "].map(|side| {
            let number = lines.iter().find_map(|line| line.strip_prefix(side)?.parse().ok());
            number.and_then(Pid::from_raw).unwrap_or_else(|| panic!("no pid of {side}: {lines:?}"))
        })
    }

    /// The command's own process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to the command alone.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it is not waited for yet");
    }

    /// Waits until all have ended.
    pub(crate) fn ends(mut self) -> Ended {
        while self.read_more() {}
        let stderr = self.text();
        let status = self.child.wait().expect("the command is ours");
        self.over = true;
        Ended { status, stdout: String::new(), stderr }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.waiting).into_owned()
    }

    /// Reads on; says whether there was something.
    fn read_more(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let ready = readable_within(self.stderr.as_fd(), left);
        assert!(ready, "neither more nor an end after {LIMIT:?}: {:?}", self.text());
        let mut buffer = [0; 4096];
        let count = self.stderr.read(&mut buffer).expect("a pipe can be read");
        self.waiting.extend_from_slice(&buffer[..count]);
        count > 0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            kill_all(&mut self.child);
            let _ = self.child.wait();
        }
    }
}

/// What each descriptor of a process refers to.
pub(crate) fn descriptors_of(pid: Pid) -> BTreeMap<i32, String> {
    let at = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let listing = std::fs::read_dir(&at).expect("the process runs and is ours");
    let target = |name: &str| std::fs::read_link(format!("{at}/{name}")).ok();
    listing
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some((name.parse().ok()?, target(&name)?.to_string_lossy().into_owned()))
        })
        .collect()
}

/// A line of `/proc/PID/status`, without its name.
pub(crate) fn status_line(pid: Pid, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))
        .expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}
