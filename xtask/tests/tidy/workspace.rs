//! The files that git tracks or would track, and how a rule fails over them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::rust::{self, Token};

/// A text file of the workspace.
#[derive(Debug)]
pub(crate) struct File {
    /// From the workspace's root, with slashes.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// The text with comments and the insides of literals blanked; empty if it is not Rust.
    pub(crate) code: String,
    /// The text with all but comments blanked; empty if it is not Rust.
    pub(crate) comments: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, comments) =
            if path.ends_with(".rs") { rust::split(text) } else { (String::new(), String::new()) };
        Self { path: path.to_owned(), text: text.to_owned(), code, comments }
    }

    pub(crate) fn tokens(&self) -> Vec<Token<'_>> {
        rust::tokens(&self.code)
    }

    /// The directory and the name.
    pub(crate) fn place(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }

    /// `NAME` of `crates/NAME/src/...`.
    pub(crate) fn source_of_crate(&self) -> Option<&str> {
        let (name, inside) = self.path.strip_prefix("crates/")?.split_once('/')?;
        (inside.starts_with("src/") && self.path.ends_with(".rs")).then_some(name)
    }

    /// Whether it is outside of the workspace, where other people's ways are compared and fuzzed.
    pub(crate) fn is_outside(&self) -> bool {
        ["compare/", "fuzz/"].iter().any(|room| self.path.starts_with(room))
    }

    /// Whether all of the file is tests: in a directory `tests`, or a module of that name.
    pub(crate) fn is_tests(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// Whether the file is part of these rules, which must write what they forbid.
    pub(crate) fn is_tidy(&self) -> bool {
        self.path == "xtask/tests/tidy.rs" || self.path.starts_with("xtask/tests/tidy/")
    }

    /// The line, from 1, of an offset in the text, the code or the comments.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
    }

    /// Says what to do about an offset.
    pub(crate) fn finding(&self, at: usize, advice: impl Into<String>) -> Finding {
        self.finding_on(self.line(at), advice)
    }

    /// Says what to do about a line.
    pub(crate) fn finding_on(&self, line: usize, advice: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, advice: advice.into() }
    }
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) advice: String,
}

/// All files, read once.
pub(crate) fn files() -> &'static [File] {
    static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut files = Vec::new();
        walk(&root, "", &ignored, &mut files);
        files
    });
    &FILES
}

/// Reads what is below a directory: no links, nothing that git ignores, nothing but text.
fn walk(directory: &Path, below: &str, ignored: &str, files: &mut Vec<File>) {
    let Ok(listing) = std::fs::read_dir(directory) else { return };
    let mut entries: Vec<(String, PathBuf)> = listing
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    entries.sort();
    for (name, entry) in entries {
        let path = format!("{below}{name}");
        if name == ".git" || name == "target" || is_listed(ignored, &path) || entry.is_symlink() {
            continue;
        }
        if entry.is_dir() {
            walk(&entry, &format!("{path}/"), ignored, files);
        } else if let Ok(text) = std::fs::read_to_string(&entry) {
            files.push(File::new(&path, &text));
        }
    }
}

/// Whether `.gitignore` has this very path, anchored at the root.
fn is_listed(ignored: &str, path: &str) -> bool {
    ignored.lines().any(|line| line.trim_end_matches('/').strip_prefix('/') == Some(path))
}

/// Applies a rule to each file.
pub(crate) fn each(rule: impl Fn(&File) -> Vec<Finding>) -> Vec<Finding> {
    files().iter().flat_map(rule).collect()
}

/// Fails with all findings, a line each.
#[track_caller]
pub(crate) fn hold(rule: &str, findings: Vec<Finding>) {
    let lines: BTreeSet<Finding> = findings.into_iter().collect();
    let lines: Vec<String> =
        lines.iter().map(|it| format!("{}:{}: {rule}: {}", it.path, it.line, it.advice)).collect();
    assert!(lines.is_empty(), "{} to put right\n{}\n", lines.len(), lines.join("\n"));
}

/// Fails unless the rule reports this sample, on exactly these lines.
#[track_caller]
pub(crate) fn bites(
    rule: impl Fn(&File) -> Vec<Finding>,
    path: &str,
    lines: &[usize],
    sample: &str,
) {
    let found: BTreeSet<usize> =
        rule(&File::new(path, sample)).iter().map(|finding| finding.line).collect();
    let expected: BTreeSet<usize> = lines.iter().copied().collect();
    assert_eq!(found, expected, "in this sample of {path}:\n{sample}");
}

/// Fails if the rule reports this sample.
#[track_caller]
pub(crate) fn spares(rule: impl Fn(&File) -> Vec<Finding>, path: &str, sample: &str) {
    bites(rule, path, &[], sample);
}

#[test]
fn the_walk_sees_the_workspace_and_nothing_that_was_built() {
    let has = |path: &str| files().iter().any(|file| file.path == path);
    for path in ["Cargo.toml", "README.md", ".ci/run", "xtask/tests/tidy/workspace.rs"] {
        assert!(has(path), "{path} was not seen");
    }
    assert!(files().iter().any(|file| file.source_of_crate() == Some("streampipe-sys")));
    let built = files().iter().find(|file| file.path.split('/').any(|part| part == "target"));
    assert!(built.is_none(), "{:?}", built.map(|file| &file.path));
}

#[test]
fn a_failure_names_the_file_the_line_the_rule_and_what_to_do() {
    let findings = vec![File::new("a/b.rs", "one\ntwo\n").finding(5, "leave")];
    let failure = std::panic::catch_unwind(|| hold("some-rule", findings)).expect_err("it fails");
    let message = failure.downcast_ref::<String>().expect("a message");
    assert!(message.contains("\na/b.rs:2: some-rule: leave\n"), "{message}");
}

#[test]
fn gitignore_is_heeded_where_it_names_a_path_from_the_root() {
    assert!(is_listed("/target\n/fuzz/corpus/\n", "fuzz/corpus"));
    assert!(!is_listed("/target\n", "fuzz/corpus"));
}
