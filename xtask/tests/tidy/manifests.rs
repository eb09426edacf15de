//! What the manifests inherit from the workspace, and the arrows between rooms.

use crate::workspace::{File, Finding, bites, each, hold, spares};

/// What every member takes from the workspace: section and key.
const INHERITED: &[(&str, &str)] = &[
    ("package", "edition"),
    ("package", "rust-version"),
    ("package", "license"),
    ("lints", "workspace"),
];

/// All that the library is built on.
const UNDER_THE_LIBRARY: &[&str] =
    &["streampipe-sys", "streampipe-wire", "streampipe-ring", "serde", "postcard", "tokio"];

/// `key = value` in a section; a section's own line has an empty key.
struct Entry<'text> {
    line: usize,
    section: &'text str,
    key: &'text str,
    value: &'text str,
}

/// The entries of a manifest, one a line; what continues over lines is known by its first.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).trim();
            entries.push(Entry { line: number, section, key: "", value: "" });
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(Entry { line: number, section, key: key.trim(), value: value.trim() });
        }
    }
    entries
}

/// A line that makes this crate depend on another.
struct Dependency<'text> {
    line: usize,
    name: &'text str,
    only_for_tests: bool,
}

fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    entries(text).iter().filter_map(dependency).collect()
}

fn dependency<'text>(entry: &Entry<'text>) -> Option<Dependency<'text>> {
    // `[dependencies]`, `[target.'...'.dependencies]`: a line each. `[dependencies.name]`: its own.
    let (before, last) = entry.section.rsplit_once('.').unwrap_or(("", entry.section));
    let kind_before = before.rsplit('.').next().unwrap_or_default();
    let (kind, listed) = if last.ends_with("dependencies") && !entry.key.is_empty() {
        (last, entry.key.split('.').next()?)
    } else if kind_before.ends_with("dependencies") && matches!(entry.key, "" | "package") {
        (kind_before, last)
    } else {
        return None;
    };
    let name = real_name(entry).unwrap_or(listed);
    Some(Dependency { line: entry.line, name, only_for_tests: kind == "dev-dependencies" })
}

/// The package that the entry gives another name to.
fn real_name<'text>(entry: &Entry<'text>) -> Option<&'text str> {
    let package = match entry.key {
        "package" => entry.value,
        _ => entry.value.split_once("package")?.1.trim_start().strip_prefix('=')?,
    };
    package.split('"').nth(1)
}

/// A member says nothing that the workspace says for all.
fn not_inherited(file: &File) -> Vec<Finding> {
    if !is_member(file) {
        return Vec::new();
    }
    let entries = entries(&file.text);
    let says = |section: &str, key: &str, value: &str| {
        entries.iter().any(|it| it.section == section && it.key == key && it.value == value)
    };
    let is_inherited = |section: &str, key: &str| match section {
        "lints" => says("lints", "workspace", "true") || says("", "lints.workspace", "true"),
        _ => {
            says(section, &format!("{key}.workspace"), "true")
                || says(section, key, "{ workspace = true }")
        }
    };
    let missing = INHERITED.iter().filter(|(section, key)| !is_inherited(section, key));
    let advice = |section: &str, key: &str| match section {
        "lints" => "add `workspace = true` under `[lints]`".to_owned(),
        _ => format!("add `{key}.workspace = true` under `[{section}]`"),
    };
    missing.map(|(section, key)| file.finding_on(1, advice(section, key))).collect()
}

fn is_member(file: &File) -> bool {
    let parts: Vec<&str> = file.path.split('/').collect();
    matches!(parts.as_slice(), ["crates", _, "Cargo.toml"] | ["xtask", "Cargo.toml"])
}

/// cli → streampipe → {sys, wire, ring}, and no other arrow.
fn wrong_arrows(file: &File) -> Vec<Finding> {
    let parts: Vec<&str> = file.path.split('/').collect();
    let ["crates", room, "Cargo.toml"] = parts.as_slice() else { return Vec::new() };
    let wrong = dependencies(&file.text).into_iter().filter(|it| !is_arrow(room, it));
    let advice = |name: &str| {
        format!("{room} must not depend on {name}: change DESIGN.md and this rule first, if at all")
    };
    wrong.map(|it| file.finding_on(it.line, advice(it.name))).collect()
}

fn is_arrow(room: &str, to: &Dependency<'_>) -> bool {
    let is_ours = to.name == "streampipe" || to.name.starts_with("streampipe-");
    match room {
        "streampipe" => to.only_for_tests || UNDER_THE_LIBRARY.contains(&to.name),
        "streampipe-cli" => !is_ours || to.name == "streampipe",
        _ => !is_ours,
    }
}

#[test]
fn members_inherit_from_the_workspace() {
    hold("members-inherit", each(not_inherited));
}

#[test]
fn a_member_that_does_not_inherit_is_noticed() {
    let good = "[package]\n\
               edition.workspace = true\n\
               rust-version.workspace = true\n\
               license = { workspace = true }\n\n\
               [lints]\n\
               workspace = true\n";
    spares(not_inherited, "crates/a/Cargo.toml", good);
    for line in good.lines().filter(|line| line.contains("workspace")) {
        let bad = good.replacen(line, "# nothing", 1);
        bites(not_inherited, "crates/a/Cargo.toml", &[1], &bad);
        bites(not_inherited, "xtask/Cargo.toml", &[1], &bad);
        spares(not_inherited, "fuzz/Cargo.toml", &bad);
    }
    let own = good.replace("edition.workspace = true", "edition = \"2021\"");
    bites(not_inherited, "crates/a/Cargo.toml", &[1], &own);
}

#[test]
fn arrows_between_rooms_are_few() {
    hold("arrows-are-few", each(wrong_arrows));
}

#[test]
fn a_wrong_arrow_is_noticed() {
    let library = "crates/streampipe/Cargo.toml";
    let bad = "[dependencies]\n\
               streampipe-sys.workspace = true\n\
               libc = \"0.2\"\n\n\
               [dev-dependencies]\n\
               rustix.workspace = true\n\n\
               [target.'cfg(unix)'.dependencies]\n\
               nix = \"1\"\n\n\
               [build-dependencies.cc]\n\
               version = \"1\"\n";
    bites(wrong_arrows, library, &[3, 9, 11], bad);
    let good = "[dependencies]\n\
               serde = { workspace = true, optional = true }\n\
               tokio.workspace = true\n\n\
               [features]\n\
               serde = [\"dep:serde\"]\n";
    spares(wrong_arrows, library, good);

    let command = "crates/streampipe-cli/Cargo.toml";
    spares(
        wrong_arrows,
        command,
        "[dependencies]\nclap.workspace = true\nstreampipe.workspace = true\n",
    );
    bites(wrong_arrows, command, &[2], "[dependencies]\nstreampipe-sys.workspace = true\n");
    bites(
        wrong_arrows,
        command,
        &[2],
        "[dev-dependencies]\nsys = { package = \"streampipe-sys\" }\n",
    );

    let cellar = "crates/streampipe-sys/Cargo.toml";
    spares(wrong_arrows, cellar, "[dependencies]\nlibc.workspace = true\n");
    bites(wrong_arrows, cellar, &[2], "[dev-dependencies]\nstreampipe.workspace = true\n");
    bites(wrong_arrows, cellar, &[1], "[dependencies.streampipe-ring]\nversion = \"0.1\"\n");
}
