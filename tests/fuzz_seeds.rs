//! What the fuzzers begin with, and what they once found: every seed through its way into tandem.
//!
//! The fuzzers themselves run by `scripts/dev fuzz TARGET SECONDS`; whatever they find is kept in
//! `fuzz/seeds/TARGET` and stays a test.
#![allow(clippy::panic, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::as_conversions, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/runs/mod.rs"]
mod runs;

#[test]
fn no_seed_does_what_must_never_happen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, run) in runs::ALL {
        let mut count = 0;
        for entry in fs::read_dir(folder.join(name)).expect("each target has seeds") {
            let path = entry.expect("it can be listed").path();
            let data = fs::read(&path).expect("a seed can be read");
            let told = std::panic::catch_unwind(|| run(&data));
            assert!(told.is_ok(), "{} fails", path.display());
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
    }
}

/// Each target has a program of its own, and each program is one of the targets.
#[test]
fn each_way_in_has_its_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it can be listed").path());
    let mut names: Vec<String> =
        names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    let listed: Vec<&str> = runs::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed);
}
