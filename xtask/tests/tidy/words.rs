//! Words that do not belong here: unfinished work, other people's names, one machine's paths.

use crate::rust::is_word;
use crate::workspace::{File, Finding, bites, each, hold, spares};

/// Work that was left for later, in these letters.
const MARKS: &[&str] = &["todo!", "unimplemented!", "TODO", "FIXME", "XXX"];

/// Work that was left for later, in any letters.
const PROMISES: &[&str] = &["for now", "placeholder"];

/// What the glossary calls otherwise, and how.
const OTHER_NAMES: &[(&str, &str)] =
    &[("backend", "engine"), ("transport", "engine"), ("remote", "peer")];

/// Where one machine keeps things; in pieces, for this file is looked at, too.
const MACHINE_PATHS: &[&str] =
    &[concat!("/", "work", "/"), concat!("/", "home", "/"), concat!("/", "root", "/")];

/// What is here is finished.
fn unfinished(file: &File) -> Vec<Finding> {
    let is_prose = file.path.ends_with(".md");
    if file.is_tidy() || !(is_prose || file.path.ends_with(".rs")) {
        return Vec::new();
    }
    let finding = |(index, line): (usize, &str)| {
        // A document may name what is forbidden, in backticks.
        let line = if is_prose { without_code_spans(line) } else { line.to_owned() };
        let lower = line.to_lowercase();
        let mark = MARKS.iter().find(|mark| has_word(&line, mark));
        let found = mark.or_else(|| PROMISES.iter().find(|promise| has_word(&lower, promise)))?;
        Some(
            file.finding_on(
                index + 1,
                format!("\"{found}\": finish it, or say what is so and why"),
            ),
        )
    };
    file.text.lines().enumerate().filter_map(finding).collect()
}

fn without_code_spans(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ` ")
}

/// Whether these letters stand in the line as a word, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word)
    })
}

/// One word per idea, in the names of things.
fn other_names(file: &File) -> Vec<Finding> {
    if file.source_of_crate().is_none() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let finding = |token: &crate::rust::Token<'_>| {
        let parts = parts_of_name(token.text);
        let (word, ours) = OTHER_NAMES.iter().find(|(word, _)| {
            parts.iter().any(|part| part == word || part.strip_suffix('s') == Some(*word))
        })?;
        let advice = format!("`{}`: the glossary says {ours}, not {word}", token.text);
        Some(file.finding(token.at, advice))
    };
    tokens.iter().filter_map(finding).collect()
}

/// The words of `snake_case`, `CamelCase` and `SCREAMING_CASE`, in small letters.
fn parts_of_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for it in name.chars() {
        if it == '_' || (it.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        was_lower = it.is_lowercase();
        if it != '_' {
            let last = parts.len() - 1;
            parts[last].extend(it.to_lowercase());
        }
    }
    parts
}

/// What is here works on every machine.
fn machine_paths(file: &File) -> Vec<Finding> {
    // Behind any of these, the slash continues a path or an address.
    let continues = |it: char| is_word(it) || matches!(it, '.' | '-' | '~' | '}' | ')' | '*' | '>');
    let is_absolute = |line: &str, path: &str| {
        line.match_indices(path).any(|(at, _)| !line[..at].ends_with(continues))
    };
    let lines = file.text.lines().enumerate().filter_map(|(index, line)| {
        let path = MACHINE_PATHS.iter().find(|path| is_absolute(line, path))?;
        Some(file.finding_on(index + 1, format!("{path} is one machine's: make the path relative")))
    });
    lines.collect()
}

/// What is here was merged to the end.
fn merge_markers(file: &File) -> Vec<Finding> {
    let markers = ["<", "|", ">"].map(|it| it.repeat(7) + " ");
    let is_marker = |line: &str| markers.iter().any(|marker| line.starts_with(marker));
    let lines = file.text.lines().enumerate().filter(|(_, line)| is_marker(line));
    lines.map(|(index, _)| file.finding_on(index + 1, "finish the merge")).collect()
}

#[test]
fn nothing_is_left_for_later() {
    hold("nothing-unfinished", each(unfinished));
}

#[test]
fn unfinished_work_is_noticed() {
    let bad = "fn f() { todo!() }\n\
               fn g() { unimplemented!(\"x\") }\n\
               // FIXME\n\
               // XXX: why\n\
               // TODO later\n\
               // Good enough for now.\n\
               // A Placeholder.\n";
    bites(unfinished, "crates/a/src/b.rs", &[1, 2, 3, 4, 5, 6, 7], bad);
    bites(unfinished, "DESIGN.md", &[1, 3], "For now, this.\n\nNo `FIXME`, `XXX`; a FIXME.\n");
    spares(unfinished, "xtask/tests/tidy/words.rs", bad);
    spares(unfinished, "fuzz/notes.txt", bad);
    let good =
        "// For nowhere else.\nlet template = \"nameXXXXXX\";\nlet todos = \"methodology\";\n";
    spares(unfinished, "crates/a/src/b.rs", good);
    spares(
        unfinished,
        "CONTRIBUTING.md",
        "There is no `todo!`, no `FIXME` and no `placeholder`.\n",
    );
}

#[test]
fn names_come_from_the_glossary() {
    hold("glossary-is-law", each(other_names));
}

#[test]
fn a_name_from_elsewhere_is_noticed() {
    let bad = "struct Backend;\n\
               enum TransportKind {}\n\
               fn remote_pid() {}\n\
               const ALL_BACKENDS: u8 = 0;\n\
               struct S {\n\
               remote: u8,\n\
               }\n";
    bites(other_names, "crates/streampipe/src/a.rs", &[1, 2, 3, 4, 6], bad);
    spares(other_names, "crates/streampipe/tests/it/a.rs", bad);
    let good = "/// Not a backend, and no remote transport.\n\
               fn peer() { f(\"remote\") }\n\
               struct Remoteness;\n";
    spares(other_names, "crates/streampipe/src/a.rs", good);
}

#[test]
fn no_path_belongs_to_one_machine() {
    hold("no-machine-paths", each(machine_paths));
}

#[test]
fn a_path_of_one_machine_is_noticed() {
    for path in MACHINE_PATHS {
        bites(machine_paths, ".ci/run", &[2], &format!("set -e\ncd {path}x\n"));
        bites(machine_paths, "a.rs", &[1], &format!("const A: &str = \"{path}x\";"));
        bites(machine_paths, "README.md", &[1], &format!("[a](file://{path}x)"));
        spares(machine_paths, "README.md", &format!("https://example.org{path}x and ..{path}x"));
    }
}

#[test]
fn every_merge_is_finished() {
    hold("no-merge-markers", each(merge_markers));
}

#[test]
fn an_unfinished_merge_is_noticed() {
    let (ours, base, theirs) = ("<".repeat(7), "|".repeat(7), ">".repeat(7));
    let bad = format!("{ours} HEAD\na\n{base} base\nb\n=======\nc\n{theirs} branch\n");
    bites(merge_markers, "README.md", &[1, 3, 7], &bad);
    let good = format!("Title\n=======\n\n    {ours} indented\n{theirs}>\n");
    spares(merge_markers, "README.md", &good);
}
