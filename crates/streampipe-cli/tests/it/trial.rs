use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::ended::Ended;
use crate::running::Running;
use crate::support::{ends_within, file_with, has_program, skip};

/// How long the command may take; nothing here takes a tenth of it. A hang is a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A run of the command that is being prepared.
#[derive(Debug)]
pub(crate) struct Trial {
    before: Vec<OsString>,
    words: Vec<OsString>,
    directory: Option<PathBuf>,
    path: Option<OsString>,
    input: Vec<u8>,
}

/// `streampipe` with these words.
pub(crate) fn streampipe<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Trial {
    Trial {
        before: Vec::new(),
        words: words.into_iter().map(Into::into).collect(),
        directory: None,
        path: None,
        input: Vec::new(),
    }
}

/// `streampipe join` with these words.
pub(crate) fn join<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Trial {
    streampipe([OsString::from("join")].into_iter().chain(words.into_iter().map(Into::into)))
}

/// `streampipe join` of two scripts for `sh -c`.
pub(crate) fn shells(options: &[&str], left: &str, right: &str) -> Trial {
    let programs = ["--", "sh", "-c", left, "::", "sh", "-c", right];
    join(options.iter().copied().chain(programs))
}

/// `streampipe join` of two scripts for Python, each with the same arguments.
pub(crate) fn pythons(python: &Path, options: &[&str], scripts: [&str; 2], args: &[&str]) -> Trial {
    let side = |script: &str| {
        let mut words: Vec<OsString> = vec![python.into(), "-I".into(), "-S".into(), "-c".into()];
        words.push(script.into());
        words.extend(args.iter().map(OsString::from));
        words
    };
    let mut words: Vec<OsString> = options.iter().map(OsString::from).collect();
    words.push("--".into());
    words.extend(side(scripts[0]));
    words.push("::".into());
    words.extend(side(scripts[1]));
    join(words)
}

impl Trial {
    /// Starts the command through other words, which are to `exec` what follows them.
    pub(crate) fn behind<W: AsRef<OsStr>>(mut self, before: impl IntoIterator<Item = W>) -> Self {
        self.before = before.into_iter().map(|word| word.as_ref().to_os_string()).collect();
        self
    }

    /// Starts the command through a shell that first does something to itself.
    pub(crate) fn after_shell(self, script: &str) -> Self {
        let script = format!("{script}; exec \"$0\" \"$@\"");
        self.behind(["sh", "-c", script.as_str()])
    }

    /// Starts the command through a shell, with redirections such as `<&-`.
    pub(crate) fn redirected(self, redirections: &str) -> Self {
        let script = format!("exec \"$0\" \"$@\" {redirections}");
        self.behind(["sh", "-c", script.as_str()])
    }

    /// Runs in this directory.
    pub(crate) fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_path_buf());
        self
    }

    /// Looks for programs in this directory first.
    pub(crate) fn searching(mut self, directory: &Path) -> Self {
        let mut path = directory.as_os_str().to_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        self.path = Some(path);
        self
    }

    /// The command's own standard input; empty if not said.
    pub(crate) fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// Runs the command to its end.
    pub(crate) fn ends(self) -> Ended {
        let mut stdout = tempfile::tempfile().expect("a temporary file");
        let mut stderr = tempfile::tempfile().expect("a temporary file");
        let mut command = self.command();
        command.stdout(stdout.try_clone().expect("a duplicate"));
        command.stderr(stderr.try_clone().expect("a duplicate"));
        let mut child = command.spawn().expect("the command starts");
        let in_time = ends_within(child.id(), LIMIT);
        if !in_time {
            kill_all(&mut child);
        }
        let status = child.wait().expect("the command is ours");
        let ended = Ended { status, stdout: text_of(&mut stdout), stderr: text_of(&mut stderr) };
        assert!(in_time, "killed: it had not ended after {LIMIT:?}: {ended:#?}");
        ended
    }

    /// Starts the command, and looks on.
    pub(crate) fn start(self) -> Running {
        Running::new(self.command())
    }

    /// Not through a terminal and not in the test's process group, so that a hang can be ended.
    fn command(&self) -> Command {
        use std::os::unix::process::CommandExt;
        let binary = OsString::from(env!("CARGO_BIN_EXE_streampipe"));
        let mut words = self.before.iter().chain([&binary]).chain(&self.words);
        let mut command = Command::new(words.next().expect("the binary at least"));
        command.args(words).process_group(0).env("LC_ALL", "C").env_remove("COLUMNS");
        match self.input.as_slice() {
            [] => command.stdin(Stdio::null()),
            bytes => command.stdin(file_with(bytes)),
        };
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }
}

/// Kills the command, which is not waited for yet, and what it started.
pub(crate) fn kill_all(child: &mut Child) {
    let group = Pid::from_child(child);
    // Its group has its number, which is taken until it is waited for.
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    let _ = child.kill();
}

/// Looks again and again until it is so; fails after a while.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not after {LIMIT:?}: {what}");
        std::thread::yield_now();
    }
}

/// The Python interpreter itself, for a wrapper takes its time; if not there, says so.
pub(crate) fn python(what: &str) -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    const ASK: &str =
        "import sys; sys.version_info >= (3, 9) or sys.exit(1); print(sys.executable)";
    if !has_program("python3", what) {
        return None;
    }
    let found = PYTHON.get_or_init(|| {
        let asked = Command::new("python3").args(["-c", ASK]).output().ok()?;
        let path = String::from_utf8(asked.stdout).ok()?;
        asked.status.success().then(|| PathBuf::from(path.trim()))
    });
    if found.is_none() {
        skip(what, "python3 does not run, or is older than 3.9");
    }
    found.as_deref()
}

/// Makes a file in a process of its own: nobody inherits it while it is open for writing, which
/// would make it a busy one that cannot be executed.
pub(crate) fn make_file(path: &Path, content: &str, mode: &str) {
    let script = "printf %s \"$2\" >\"$1\" && chmod \"$3\" \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(path).args([content, mode]);
    assert!(command.status().expect("sh runs").success());
}

fn text_of(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("a file can seek");
    file.read_to_end(&mut bytes).expect("the file is there");
    String::from_utf8_lossy(&bytes).into_owned()
}
