//! Other kernels, emulators and C libraries, as far as one can pretend to be them: see `system.c`.

use std::io::Write;
use std::process::{Command, Stdio};

use tempfile::TempPath;

use crate::support;

/// A library to be loaded before all others, which changes what the system does.
pub(crate) struct System {
    library: TempPath,
}

impl System {
    /// Builds it; says that the test is skipped if there is no C compiler.
    pub(crate) fn build(what: &str) -> Option<Self> {
        if !support::has_program("cc", what) {
            return None;
        }
        let library = tempfile::NamedTempFile::new().expect("a temporary file").into_temp_path();
        let mut compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-o"])
            .args([library.as_os_str(), "-ldl".as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it is there");
        let mut source = compiler.stdin.take().expect("a pipe");
        source.write_all(include_bytes!("system.c")).expect("it reads");
        drop(source);
        assert!(compiler.wait().expect("a status").success(), "system.c does not compile");
        // Every user may load it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&library, mode).expect("our own");
        Some(Self { library })
    }

    /// What a program is started behind to run on it, with these variables of `system.c`.
    pub(crate) fn prefix(&self, variables: &[&str]) -> Vec<String> {
        let preload = format!("LD_PRELOAD={}", self.library.display());
        let own = ["env".to_owned(), preload];
        own.into_iter().chain(variables.iter().map(|it| (*it).to_owned())).collect()
    }
}

/// Runs a test of this binary behind the prefix, which must succeed and must exist.
pub(crate) fn rerun_behind(path: &str, prefix: &[impl AsRef<str>]) {
    let prefix: Vec<&str> = prefix.iter().map(AsRef::as_ref).collect();
    let ran = support::rerun(path, &prefix);
    assert!(ran.status.success(), "{path}, behind {prefix:?}: {}\n{}", ran.status, ran.output);
    assert!(ran.output.contains("1 passed"), "there is no test {path}: {}", ran.output);
    support::pass_on_skips(&ran.output);
}

/// Runs the body in a process of its own on a system with these variables.
pub(crate) fn on_system(path: &str, variables: &[&str], body: impl FnOnce()) {
    if support::is_alone(path) {
        return support::checked(body);
    }
    if let Some(system) = System::build(path) {
        rerun_behind(path, &system.prefix(variables));
    }
}
