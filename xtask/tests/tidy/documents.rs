//! What holds an invariant is named in `ARCHITECTURE.md` and exists.
//!
//! There, `test:name` in backticks is a test function, and `lint:name` a lint that is switched on;
//! `test:` and `lint:` alone are for explaining this.

use crate::rust::{functions, is_word, test_code};
use crate::workspace::{File, Finding, files, hold};

const DOCUMENT: &str = "ARCHITECTURE.md";

/// Reports names in the document behind which there is nothing.
fn promises_that_nothing_holds(files: &[File]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else {
        let advice = "write it; name what holds each invariant as `test:name` or `lint:name`";
        return vec![Finding { path: DOCUMENT.to_owned(), line: 1, advice: advice.to_owned() }];
    };
    let names = names(document);
    if !names.iter().any(|(_, name)| name.starts_with("test:")) {
        return vec![document.finding_on(1, "name what holds each invariant, as `test:name`")];
    }
    let finding =
        |(line, name): (usize, &str)| Some(document.finding_on(line, what_is_wrong(files, name)?));
    names.into_iter().filter_map(finding).collect()
}

/// What stands in backticks and starts with `test:` or `lint:`, each with its line.
fn names(document: &File) -> Vec<(usize, &str)> {
    let spans = document.text.lines().enumerate().flat_map(|(index, line)| {
        line.split('`').skip(1).step_by(2).map(move |span| (index + 1, span))
    });
    let is_name = |span: &str| {
        let name = span.strip_prefix("test:").or_else(|| span.strip_prefix("lint:"));
        name.is_some_and(|it| !it.is_empty())
    };
    spans.filter(|(_, span)| is_name(span)).collect()
}

fn what_is_wrong(files: &[File], name: &str) -> Option<String> {
    if let Some(lint) = name.strip_prefix("lint:") {
        let is_on = is_lint(files, lint);
        return (!is_on).then(|| format!("`{name}`: no such lint is switched on"));
    }
    let test = name.strip_prefix("test:")?;
    if !test.chars().all(is_word) {
        return Some(format!("`{name}`: write `test:` and the function's name alone"));
    }
    let exists = files.iter().any(|file| has_test(file, test));
    (!exists).then(|| format!("`{name}`: no test has this name; write the test or mend the name"))
}

fn has_test(file: &File, name: &str) -> bool {
    // The cheap look first: most files do not have it.
    if !file.code.contains(name) {
        return false;
    }
    let tokens = file.tokens();
    let tests = test_code(&tokens);
    let is_test = |at| file.is_tests() || tests.iter().any(|range| range.contains(at));
    functions(&tokens).iter().any(|it| it.name == name && is_test(it.tokens.start()))
}

/// Whether the workspace, `clippy.toml` or an attribute of a crate's root speaks of the lint.
fn is_lint(files: &[File], lint: &str) -> bool {
    let name = lint.rsplit("::").next().unwrap_or(lint);
    let starts_line = |text: &str, key: &str| {
        text.lines().any(|line| line.split('=').next().is_some_and(|it| it.trim() == key))
    };
    files.iter().any(|file| match file.path.as_str() {
        "Cargo.toml" => starts_line(&file.text, name),
        "clippy.toml" => starts_line(&file.text, &name.replace('_', "-")),
        _ => file.code.contains(&format!("#![forbid({name})]")),
    })
}

#[test]
fn what_the_architecture_names_exists() {
    hold("invariants-are-held", promises_that_nothing_holds(files()));
}

#[test]
fn a_promise_that_nothing_holds_is_noticed() {
    let held = "| invariant | held by |\n\
               |---|---|\n\
               | one | `test:a_holds`, `lint:clippy::b_c` |\n\
               | two | `test:d_holds`, `lint:unsafe_code`, `lint:e_f` |\n";
    let lines = |document: &str| -> Vec<usize> {
        let files = [
            File::new(DOCUMENT, document),
            File::new("Cargo.toml", "[workspace.lints.clippy]\nb_c = \"deny\"\n"),
            File::new("clippy.toml", "e-f = []\n"),
            File::new("crates/a/src/lib.rs", "#![forbid(unsafe_code)]\nfn in_the_code() {}\n"),
            File::new("crates/a/src/b.rs", "#[cfg(test)]\nmod tests { #[test] fn d_holds() {} }\n"),
            File::new(
                "crates/a/tests/it/b.rs",
                "tests_alone! { fn a_holds() {} }\n// fn only_said() {}\n",
            ),
        ];
        promises_that_nothing_holds(&files).iter().map(|finding| finding.line).collect()
    };
    assert_eq!(lines(held), []);
    for bad in
        ["test:missing", "test:only_said", "test:in_the_code", "test:b::a_holds", "lint:missing"]
    {
        assert_eq!(lines(&format!("{held}| three | `{bad}` |\n")), [5], "{bad}");
    }
    assert_eq!(lines("# No table\n\nWritten as `test:`.\n"), [1]);
    assert_eq!(promises_that_nothing_holds(&[]).len(), 1);
}
