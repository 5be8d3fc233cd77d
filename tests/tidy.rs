//! The house rules that the compiler does not know: which layer may import which, sizes, docs.
//!
//! `docs/ARCHITECTURE.md` draws the layers; [`LAYERS`] is the drawing as a table.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "mutants/list.rs"]
mod mutants;

/// Each layer, with the layers that it may import. Whatever is not here is an arrow too many.
const LAYERS: [(&str, &[&str]); 10] = [
    ("types", &[]),
    ("engine", &["types"]),
    ("flight", &["engine", "types"]),
    ("wire", &["types"]),
    ("sim", &["engine", "types"]),
    ("config", &["engine", "types"]),
    ("sys", &["types"]),
    ("io", &["config", "engine", "flight", "sys", "types", "wire"]),
    ("daemon", &["config", "engine", "flight", "io", "sys", "types", "wire"]),
    ("cli", &["config", "daemon", "flight", "io", "types", "wire"]),
];

/// The layers that may neither block nor know the time.
const PURE: [&str; 6] = ["types", "engine", "flight", "wire", "config", "sim"];
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

/// What stands between back-quotes in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Names of tests are sentences: at least three words.
fn is_test_name(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    word.chars().all(is_plain) && word.matches('_').count() >= 2
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let table = fs::read_to_string(root().join("docs/FAULTS.md")).unwrap();
    let code: String = everything().into_iter().map(|(_, text)| text).collect();
    let mut complaints = Vec::new();
    for word in quoted(&table) {
        let is_known = if is_test_name(word) {
            code.contains(&format!("fn {word}("))
        } else {
            !(word.contains('/') || word.ends_with(".rs")) || root().join(word).exists()
        };
        if !is_known || word.contains('…') {
            complaints.push(format!("docs/FAULTS.md: there is no {word}"));
        }
    }
    let named = quoted(&table).filter(|word| is_test_name(word)).count();
    assert!(named > 50, "the names are found: {named}");
    fail_if_any(&complaints);
}

#[test]
fn the_table_of_faults_names_every_scenario() {
    let table = fs::read_to_string(root().join("docs/FAULTS.md")).unwrap();
    let folder = fs::read_dir(root().join("tests/scenarios")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let names = names.filter(|name| name != "VOCABULARY.txt");
    let known: BTreeSet<String> =
        names.filter_map(|name| name.strip_suffix(".txt").map(str::to_owned)).collect();
    let named: BTreeSet<String> = quoted(&table).map(str::to_owned).collect();
    let mut complaints = Vec::new();
    for name in known.difference(&named) {
        complaints.push(format!("docs/FAULTS.md does not name the scenario {name}"));
    }
    // A scenario of a row is called by its number.
    let is_numbered = |name: &str| name.starts_with(|c: char| c.is_ascii_digit());
    for name in named.difference(&known).filter(|name| is_numbered(name)) {
        complaints.push(format!("docs/FAULTS.md: there is no scenario {name}"));
    }
    assert!(known.len() > 40, "the scenarios are found: {}", known.len());
    fail_if_any(&complaints);
}

#[test]
fn the_manual_names_every_key_and_code() {
    let manual = |name: &str| {
        let text = fs::read_to_string(root().join("docs/man").join(name)).unwrap();
        text.replace("\\-", "-")
    };
    let words = |text: &str| -> BTreeSet<String> {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        text.split(|c| !is_inside(c)).map(str::to_owned).collect()
    };
    let mut complaints = Vec::new();
    let told = words(&manual("tandem.8"));
    let document = fs::read_to_string(root().join("src/wire/control/status.rs")).unwrap();
    let keys = document.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    let keys = keys.filter_map(|line| line.split_once(':')).map(|(key, _)| key.to_owned());
    let sources = ["src/daemon/status.rs", "src/daemon/keys.rs", "src/engine/event.rs"];
    let codes = sources.into_iter().flat_map(|path| {
        let text = product_code(&fs::read_to_string(root().join(path)).unwrap());
        let literals = text.lines().flat_map(|line| line.split('"').skip(1).step_by(2));
        literals.filter(|word| is_code(word)).map(str::to_owned).collect::<Vec<_>>()
    });
    for word in keys.chain(codes) {
        if !told.contains(&word) {
            complaints.push(format!("docs/man/tandem.8 does not name {word}"));
        }
    }
    let told = words(&manual("tandem.toml.5"));
    let vocabulary = fs::read_to_string(root().join("src/config/vocabulary.rs")).unwrap();
    let lists = vocabulary.split("keys: &[").skip(1).filter_map(|rest| rest.split(']').next());
    for key in lists.flat_map(|list| list.split('"').skip(1).step_by(2)) {
        if !told.contains(key) {
            complaints.push(format!("docs/man/tandem.toml.5 does not name {key}"));
        }
    }
    fail_if_any(&complaints);
}

/// Words for programs: lower case, with a dash.
fn is_code(word: &str) -> bool {
    word.contains('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// The list of deliberate mistakes (`tests/mutants.rs`) does not rot while the engine changes.
#[test]
fn every_mutant_finds_what_it_changes() {
    let mutants = mutants::read(root()).unwrap_or_else(|complaints| panic!("\n{complaints}\n"));
    let caught = mutants.iter().filter(|mutant| mutant.covered_by.is_none()).count();
    assert!(caught >= 100, "there are mutants: {caught}");
    for mutant in &mutants {
        let changed =
            sources().iter().filter(|(path, text)| mutant.apply(path, text) != *text).count();
        assert!(changed > 0, "{} changes nothing", mutant.name);
        for told in [Some(&mutant.mistake), mutant.covered_by.as_ref()].into_iter().flatten() {
            assert!(told.ends_with('.'), "{}: {told:?} is no sentence", mutant.name);
        }
    }
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
