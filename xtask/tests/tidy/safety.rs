//! Every `unsafe` block says which fact makes it right, and who guarantees it.

use crate::workspace::{File, Finding, bites, each, hold, spares};

/// Fewer words than this do not name a fact.
const FEWEST_WORDS: usize = 5;

/// What people write instead of a reason.
const EXCUSES: &[&str] = &["trivially", "this is safe", "todo", "obviously"];

/// Reports blocks and implementations without a comment, and comments without a reason.
fn unsafe_without_reason(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("crates/streampipe-sys/") {
        return Vec::new();
    }
    let tokens = file.tokens();
    let opens = tokens
        .windows(2)
        .filter(|pair| pair[0].text == "unsafe" && matches!(pair[1].text, "{" | "impl"));
    let lines = opens.map(|pair| file.line(pair[0].at));
    lines.filter_map(|line| Some(file.finding_on(line, what_is_wrong(file, line)?))).collect()
}

fn what_is_wrong(file: &File, line: usize) -> Option<String> {
    let Some(reason) = reason_above(file, line) else {
        return Some("say above it, after `// SAFETY:`, which fact makes it right".to_owned());
    };
    let lower = reason.to_lowercase();
    if let Some(excuse) = EXCUSES.iter().find(|excuse| lower.contains(**excuse)) {
        return Some(format!("\"{excuse}\" is no reason: name the fact and who guarantees it"));
    }
    let words = reason.split_whitespace().filter(|it| it.contains(char::is_alphanumeric)).count();
    (words < FEWEST_WORDS).then(|| {
        format!("{words} words (\"{reason}\") name no fact: write at least {FEWEST_WORDS}")
    })
}

/// What stands after `SAFETY:` in the comment above the statement around this line.
fn reason_above(file: &File, line: usize) -> Option<String> {
    let code: Vec<&str> = file.code.lines().collect();
    let comments: Vec<&str> = file.comments.lines().collect();
    let is_comment = |at: usize| code[at].trim().is_empty() && !comments[at].trim().is_empty();
    let mut at = line - 1;
    // Up to the first line of the statement. Another `unsafe` on the way has its own comment.
    while at > 0 && continues(code[at - 1]) {
        at -= 1;
    }
    let block: Vec<&str> =
        (0..at).rev().take_while(|&it| is_comment(it)).map(|it| comments[it]).collect();
    let lines = block.iter().rev().map(|it| it.trim().trim_start_matches(['/', '*', '!']).trim());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.rsplit_once("SAFETY:").map(|(_, reason)| reason.trim().to_owned())
}

/// Whether the line below this one belongs to the same statement.
fn continues(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.ends_with([';', '{', '}']) && !line.contains("unsafe")
}

#[test]
fn every_unsafe_block_names_the_fact_it_rests_on() {
    hold("safety-names-the-fact", each(unsafe_without_reason));
}

#[test]
fn an_unsafe_block_without_a_reason_is_noticed() {
    let path = "crates/streampipe-sys/src/open.rs";
    bites(unsafe_without_reason, path, &[2], "fn f() {\n    unsafe { g() }\n}\n");
    for excuse in [
        "it is fine.",
        "trivially safe, as anybody can see here.",
        "This is safe because it has always worked.",
        "TODO: think about why this may be done.",
        "obviously the pointer can never be null here.",
    ] {
        let sample = format!("// SAFETY: {excuse}\nlet a = unsafe {{ g() }};\n");
        bites(unsafe_without_reason, path, &[2], &sample);
    }
    let first_only = "// SAFETY: the descriptor is open and nobody owns it.\n\
               let a = unsafe { g() };\n\
               let b = unsafe { h() };\n\
               unsafe impl Send for S {}\n";
    bites(unsafe_without_reason, path, &[3, 4], first_only);
}

#[test]
fn a_reason_counts_above_the_block_and_above_its_statement() {
    let path = "crates/streampipe-sys/src/open.rs";
    let above = "/// # Safety\n\
               ///\n\
               /// Short.\n\
               unsafe fn f() {\n\
               // Not this line.\n\
               // SAFETY: the caller keeps\n\
               // the descriptor open.\n\
               unsafe { g() }\n\
               }\n";
    spares(unsafe_without_reason, path, above);
    let statement =
        "// SAFETY: the parent keeps the source open.\n*source =\n    check(unsafe { g() })?;\n";
    spares(unsafe_without_reason, path, statement);
    spares(unsafe_without_reason, path, "// unsafe { g() }\nlet a = \"unsafe { g() }\";\n");
}
