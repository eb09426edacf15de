//! The house rules that no lint knows, held by `cargo test`.
//!
//! Each rule is a function over a file, or over all of them; beside it stand a test that applies it
//! to the workspace and a test that shows it a bad sample. What fails says `file:line: rule: what
//! to do`. Strings and comments are not code: a rule about code does not look into them.
//!
//! Where the rules are:
//!
//! 1. Which room may hold what, `unsafe`, system calls and atomics: [`rooms`].
//! 2. What is never called, or in few places only: [`calls`].
//! 3. The reasons of `unsafe` blocks: [`safety`].
//! 4. The size and form of functions, files and directories: [`shape`].
//! 5. Words that do not belong here: [`words`].
//! 6. What the manifests inherit and depend on: [`manifests`].
//! 7. What the documents promise: [`documents`].

/// Peeking, reading, sleeping, printing.
#[path = "tidy/calls.rs"]
mod calls;
/// References from documents to tests and lints.
#[path = "tidy/documents.rs"]
mod documents;
/// Fields and arrows in `Cargo.toml`.
#[path = "tidy/manifests.rs"]
mod manifests;
/// Who may hold `unsafe`, system calls and atomics.
#[path = "tidy/rooms.rs"]
mod rooms;
/// Rust source, split into code, comments and tokens.
#[path = "tidy/rust.rs"]
mod rust;
/// Reasons in `// SAFETY:` comments.
#[path = "tidy/safety.rs"]
mod safety;
/// Index files, directories, functions.
#[path = "tidy/shape.rs"]
mod shape;
/// Unfinished work, names, paths of one machine.
#[path = "tidy/words.rs"]
mod words;
/// The files, and how a rule fails.
#[path = "tidy/workspace.rs"]
mod workspace;
