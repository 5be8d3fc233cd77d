//! The house rules that the compiler does not know: which layer may import which, sizes, docs.
//!
//! `docs/ARCHITECTURE.md` draws the layers; [`LAYERS`] is the drawing as a table.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, with the layers that it may import. Whatever is not here is an arrow too many.
const LAYERS: [(&str, &[&str]); 8] = [
    ("types", &[]),
    ("engine", &["types"]),
    ("wire", &["types"]),
    ("config", &["engine", "types"]),
    ("sys", &["types"]),
    ("io", &["config", "engine", "sys", "types", "wire"]),
    ("daemon", &["config", "engine", "io", "sys", "types", "wire"]),
    ("cli", &["config", "daemon", "io", "types", "wire"]),
];

/// The layers that may neither block nor know the time.
const PURE: [&str; 4] = ["types", "engine", "wire", "config"];
const PURE_ATTRIBUTE: &str =
    "#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]";
const FILE_LINES_MAX: usize = 600;
const LINE_COLUMNS_MAX: usize = 100;
/// Words that promise to come back later. (Split, so that this file does not hold them.)
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimple", "mented!"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder of the project, with their texts.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let files = rust_files("src");
    assert!(files.len() > 50, "the sources are found");
    files
}

fn everything() -> Vec<(PathBuf, String)> {
    ["src", "tests", "benches"].into_iter().flat_map(rust_files).collect()
}

/// The layer a source file belongs to: its folder below `src`, or its own name.
fn layer_of(path: &Path) -> String {
    let below = path.strip_prefix("src").unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The text without comments and without what is compiled for tests only.
fn product_code(text: &str) -> String {
    let before_tests = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines = before_tests.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn imports(code: &str) -> BTreeSet<String> {
    let starts = code.match_indices("crate::").map(|(at, word)| at + word.len());
    let names = starts.filter_map(|at| code.get(at..)).map(|rest| {
        rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>()
    });
    names.filter(|name| LAYERS.iter().any(|(layer, _)| layer == name)).collect()
}

fn fail_if_any(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn no_layer_imports_what_it_may_not() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let layer = layer_of(&path);
        if layer == "lib" || layer == "main" || path.ends_with("tests.rs") {
            continue;
        }
        let allowed = LAYERS.iter().find(|(name, _)| *name == layer);
        let Some((_, allowed)) = allowed else {
            complaints.push(format!("{}: `{layer}` is not in LAYERS", path.display()));
            continue;
        };
        for import in imports(&product_code(&text)) {
            if import != layer && !allowed.contains(&import.as_str()) {
                complaints.push(format!("{}: {layer} may not import {import}", path.display()));
            }
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn pure_layers_forbid_clocks_threads_and_unsafe_code() {
    for layer in PURE {
        let text = fs::read_to_string(root().join("src").join(layer).join("mod.rs")).unwrap();
        assert!(text.contains(PURE_ATTRIBUTE), "src/{layer}/mod.rs lacks {PURE_ATTRIBUTE}");
    }
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let layer = layer_of(&path);
        let code = product_code(&text);
        for word in ["log::", "std::net::Udp", "std::net::Tcp", "getrandom::"] {
            let is_pure = PURE.contains(&layer.as_str());
            if is_pure && code.contains(word) {
                complaints.push(format!("{}: {layer} uses {word}", path.display()));
            }
        }
        if layer != "sys" && code.contains("unsafe {") {
            complaints.push(format!("{}: unsafe belongs into sys", path.display()));
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn files_and_lines_stay_readable() {
    let mut complaints = Vec::new();
    for (path, text) in everything() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines", path.display()));
        }
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                complaints.push(format!("{}:{}: {columns} columns", path.display(), number + 1));
            }
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn every_file_says_what_it_is_and_nothing_is_left_for_later() {
    let mut complaints = Vec::new();
    for (path, text) in everything() {
        if !text.starts_with("//!") {
            complaints.push(format!("{}: does not begin with `//!`", path.display()));
        }
        for word in UNFINISHED {
            if text.contains(word) {
                complaints.push(format!("{}: contains {word}", path.display()));
            }
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let reasons = fs::read_to_string(root().join("docs/DEPENDENCIES.md")).unwrap();
    let mut section = String::new();
    let mut complaints = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            line.clone_into(&mut section);
        }
        let is_dependency = section == "[dependencies]" || section == "[dev-dependencies]";
        let name = line.split('=').next().unwrap_or_default().trim();
        if is_dependency && line.contains('=') && !reasons.contains(&format!("| `{name}` |")) {
            complaints.push(format!("docs/DEPENDENCIES.md has no line for {name}"));
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn the_arrows_are_seen() {
    let code = product_code(
        "use crate::engine::Node; // crate::io\nfn f() { crate::wire::x() }\n#[cfg(test)]\n\
         use crate::cli;",
    );
    let seen: Vec<String> = imports(&code).into_iter().collect();
    assert_eq!(seen, ["engine", "wire"]);
}
