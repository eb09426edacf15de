//! The size and form of functions, files and directories.

use std::collections::BTreeMap;

use crate::rust::{Token, close, functions, item_end};
use crate::workspace::{File, Finding, bites, each, files, hold, spares};

/// A function longer than this does not fit on a screen.
const MOST_LINES: usize = 60;

/// A directory with more sources than this is no map any more.
const MOST_FILES: usize = 12;

/// Directories with a limit of their own: which, and why.
const LARGER: &[(&str, usize, &str)] = &[
    ("crates/streampipe/src/end", 16, "each shape of an end, its errors, and the core they share"),
    ("crates/streampipe-sys/src", 19, "one file for each family of system calls"),
];

/// `lib.rs` and `mod.rs` are tables of contents.
fn index_with_code(file: &File) -> Vec<Finding> {
    let (_, name) = file.place();
    if !matches!(name, "lib.rs" | "mod.rs") || file.is_tests() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let strangers = items(&tokens).into_iter().filter(|item| !item.belongs_in(name));
    let advice = |keyword| format!("`{keyword}` in {name}: give it a file named after it");
    strangers.map(|item| file.finding(item.head[0].at, advice(item.head[0].text))).collect()
}

/// An item of a file, as tokens.
struct Item<'tokens, 'code> {
    attributes: &'tokens [Token<'code>],
    /// From the keyword to the end, visibility left out.
    head: &'tokens [Token<'code>],
}

impl Item<'_, '_> {
    fn belongs_in(&self, name: &str) -> bool {
        let word = |at: usize| self.head.get(at).map_or("", |token| token.text);
        match word(0) {
            "use" => true,
            "mod" => word(2) == ";",
            "extern" => word(1) == "crate",
            // Refuses a platform, beside the docs that say so.
            "compile_error" => true,
            "struct" => name == "lib.rs" && self.attributes.iter().any(|it| it.text == "doctest"),
            _ => false,
        }
    }
}

fn items<'tokens, 'code>(tokens: &'tokens [Token<'code>]) -> Vec<Item<'tokens, 'code>> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = skip_attributes(tokens, at);
        let attributes = &tokens[at..start];
        let keyword = skip_visibility(tokens, start);
        if keyword >= tokens.len() {
            break;
        }
        let end = match tokens[keyword].text {
            "use" => tokens[keyword..].iter().position(|it| it.text == ";").map(|it| keyword + it),
            _ => Some(item_end(tokens, keyword)),
        };
        let end = end.unwrap_or(tokens.len() - 1);
        items.push(Item { attributes, head: &tokens[keyword..=end] });
        at = end + 1;
    }
    items
}

fn skip_attributes(tokens: &[Token<'_>], from: usize) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut at = from;
    while text(at) == "#" {
        let open = if text(at + 1) == "!" { at + 2 } else { at + 1 };
        at = close(tokens, open) + 1;
    }
    at
}

fn skip_visibility(tokens: &[Token<'_>], from: usize) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    match (text(from), text(from + 1)) {
        ("pub", "(") => close(tokens, from + 1) + 1,
        ("pub", _) => from + 1,
        _ => from,
    }
}

/// A listing of a directory is a map.
fn crowded_directories(files: &[File]) -> Vec<Finding> {
    let mut counts: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in files.iter().filter(|file| is_source(file)) {
        counts.entry(file.place().0).or_default().push(file);
    }
    let limit = |directory: &str| {
        LARGER
            .iter()
            .find(|it| it.0 == directory)
            .map_or((MOST_FILES, "a dozen"), |it| (it.1, it.2))
    };
    let crowded = counts.iter().filter(|(directory, inside)| inside.len() > limit(directory).0);
    let finding = |(directory, inside): (&&str, &Vec<&File>)| {
        let (most, why) = limit(directory);
        let count = inside.len();
        let advice =
            format!("{count} sources in {directory}, at most {most} ({why}): split the directory");
        inside[0].finding_on(1, advice)
    };
    crowded.map(finding).collect()
}

fn is_source(file: &File) -> bool {
    let of_xtask = file.path.starts_with("xtask/") && file.path.ends_with(".rs");
    file.source_of_crate().is_some() || of_xtask
}

/// A function fits on a screen.
fn long_functions(file: &File) -> Vec<Finding> {
    if !is_source(file) {
        return Vec::new();
    }
    let tokens = file.tokens();
    let line = |index: usize| file.line(tokens[index].at);
    let measured = functions(&tokens).into_iter().map(|function| {
        let first = line(*function.tokens.start());
        (function.name, first, line(*function.tokens.end()) - first + 1)
    });
    let long = measured.filter(|(.., lines)| *lines > MOST_LINES);
    let advice =
        |name, lines| format!("`{name}` has {lines} lines, at most {MOST_LINES}: split it");
    long.map(|(name, first, lines)| file.finding_on(first, advice(name, lines))).collect()
}

#[test]
fn index_files_hold_no_code() {
    hold("index-files-are-contents", each(index_with_code));
}

#[test]
fn code_in_an_index_file_is_noticed() {
    let bad = "mod a;\n\n\
               pub(crate) fn f() {}\n\n\
               impl A {}\n\n\
               #[derive(Debug)]\n\
               struct B;\n\n\
               mod c {\n\
               }\n\n\
               macro_rules! m { () => {} }\n";
    let lines = [3, 5, 8, 10, 13];
    bites(index_with_code, "crates/streampipe/src/end/mod.rs", &lines, bad);
    bites(index_with_code, "crates/streampipe/src/lib.rs", &lines, bad);
    spares(index_with_code, "crates/streampipe/src/end/stream.rs", bad);
    spares(index_with_code, "crates/streampipe/tests/it/mod.rs", bad);
    let readme = "#[cfg(doctest)]\n#[doc = include_str!(\"../README.md\")]\nstruct Readme;\n";
    spares(index_with_code, "crates/streampipe/src/lib.rs", readme);
    bites(index_with_code, "crates/streampipe/src/end/mod.rs", &[3], readme);
}

#[test]
fn contents_in_an_index_file_are_not_noticed() {
    let good = "//! Docs, with `fn f() {}`.\n\n\
               #![no_std]\n\n\
               extern crate alloc;\n\n\
               #[cfg(not(unix))]\n\
               compile_error!(\"no\");\n\n\
               #[macro_use]\n\
               pub(crate) mod a;\n\
               pub mod b;\n\n\
               pub use a::{A, b::{B, fn_like}};\n\
               use std::io;\n";
    spares(index_with_code, "crates/streampipe/src/lib.rs", good);
    spares(index_with_code, "crates/streampipe/src/lib.rs", "//! Docs alone.\n\n#![no_std]\n");
}

#[test]
fn directories_hold_a_dozen_sources_at_most() {
    hold("a-listing-is-a-map", crowded_directories(files()));
}

#[test]
fn a_crowded_directory_is_noticed() {
    let sources = |directory: &str, count: usize| -> Vec<File> {
        (0..count).map(|it| File::new(&format!("{directory}/f{it}.rs"), "")).collect()
    };
    assert_eq!(crowded_directories(&sources("crates/a/src/b", 13)).len(), 1);
    assert_eq!(crowded_directories(&sources("crates/a/src/b", 12)), []);
    assert_eq!(crowded_directories(&sources("crates/a/tests/it", 40)), []);
    let (directory, limit, _) = LARGER[0];
    assert_eq!(crowded_directories(&sources(directory, limit)), []);
    assert_eq!(crowded_directories(&sources(directory, limit + 1)).len(), 1);
}

#[test]
fn functions_fit_on_a_screen() {
    hold("one-screen", each(long_functions));
}

#[test]
fn a_long_function_is_noticed() {
    let function =
        |lines: usize| format!("struct S;\nfn f() {{\n{}}}\n", "g('}');\n".repeat(lines - 2));
    bites(long_functions, "crates/a/src/b.rs", &[2], &function(MOST_LINES + 1));
    bites(long_functions, "xtask/tests/tidy/b.rs", &[2], &function(MOST_LINES + 1));
    spares(long_functions, "crates/a/src/b.rs", &function(MOST_LINES));
    spares(long_functions, "crates/a/tests/it/b.rs", &function(MOST_LINES + 1));
    let flat = "fn f() {}\n".repeat(2 * MOST_LINES);
    spares(long_functions, "crates/a/src/b.rs", &flat);
}
