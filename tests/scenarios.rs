//! The golden scenarios: what the pair does and when, as texts in `tests/scenarios/`.
//!
//! Each is played in the simulated world and must go as it is written, to the microsecond.
//! `scripts/dev golden` rewrites the transcripts (read the diff), `scripts/dev scenario FILE` plays
//! one and shows it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a test that breaks its own assumptions may as well end"
)]

#[path = "scenarios_runner/mod.rs"]
mod runner;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use runner::difference::difference;
use runner::file::{NOT_BUILT, ROWS, Scenario, folder, rows, scenarios};
use runner::phrase::PLACES;
use runner::script::{PLAYED, patterns, play, used};

fn is_rewriting() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let all = scenarios();
    assert!(!all.is_empty(), "the scenarios are found");
    let wrong: Vec<String> =
        all.iter().filter_map(|scenario| scenario.check(is_rewriting()).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n\n{}\n", wrong.len(), all.len(), wrong.join("\n\n"));
}

#[test]
fn every_row_that_is_built_has_its_scenario() {
    let shown: BTreeSet<u8> =
        scenarios().iter().flat_map(|scenario| scenario.rows().unwrap_or_default()).collect();
    let missing = (1..=ROWS).filter(|row| !NOT_BUILT.iter().any(|(not, _)| not == row));
    let missing: Vec<u8> = missing.filter(|row| !shown.contains(row)).collect();
    assert!(missing.is_empty(), "no scenario shows row {missing:?}");
}

/// Words that no scenario uses are words that nobody knows to work.
#[test]
fn the_vocabulary_is_written_down_and_used() {
    let mut text = "What a line of a scenario can be. Commas count for nothing; # begins a \
                    comment.\nThis list is made by the tests.\n"
        .to_owned();
    for (title, patterns) in patterns() {
        text += &format!("\n{title}\n\n");
        for pattern in patterns {
            let meaning = PLAYED.iter().find(|(played, _)| *played == pattern);
            let meaning = meaning.map_or(String::new(), |(_, meaning)| format!(": {meaning}"));
            text += &format!("    {pattern}{meaning}\n");
        }
    }
    text += "\nPlaces\n\n";
    for (place, meaning) in PLACES {
        text += &format!("    {place}: {meaning}\n");
    }
    let path = folder().join("VOCABULARY.txt");
    if is_rewriting() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let different = difference(&written, &text);
    assert!(different.is_none(), "VOCABULARY.txt, UPDATE_GOLDEN=1 rewrites it: {different:?}");
    let used: BTreeSet<&str> =
        scenarios().iter().flat_map(|scenario| used(&scenario.script)).collect();
    let all = patterns().into_iter().flat_map(|(_, patterns)| patterns);
    let unused: Vec<&str> =
        all.filter(|pattern| !used.contains(pattern) && !pattern.contains("CONDITION")).collect();
    assert!(unused.is_empty(), "no scenario says {unused:#?}");
}

#[test]
fn a_line_that_is_not_understood_is_named_with_what_could_stand_there() {
    let complaint = play("# Row 1.\na settled pair\na loses power\n").unwrap_err();
    assert_eq!(
        complaint,
        "3: \"a loses power\" is not understood; there could stand\n    \
         NODE loses its power\n    NODE loses its feed\n    NODE panics\n    \
         NODE gets its power back\n  where NODE is one of a, b, c ...\n  \
         (everything that can: tests/scenarios/VOCABULARY.txt)"
    );
    for (line, suggestion) in [
        ("run 5", "    run TIME\n  where TIME is one of 200us, 300ms"),
        ("until b is active", "    until CONDITION, within TIME\n"),
        ("until b is activ within 3ms", "    NODE is STATE\n"),
        ("expect only b", "    only NODE holds\n"),
        ("bmc-a smokes", "    DEVICE works\n"),
    ] {
        let complaint = play(&format!("a settled pair\n{line}\n")).unwrap_err();
        assert!(complaint.starts_with("2: ") && complaint.contains(suggestion), "{complaint}");
    }
}

#[test]
fn a_script_that_does_not_come_true_fails_at_its_line() {
    for (script, complaint) in [
        ("a settled pair\nexpect b is active\n", "2: expect b is active: it is not so"),
        ("a settled pair\nuntil nobody holds, within 9ms\n", "2: until nobody holds, within 9ms"),
        ("run 3ms\n", "1: run 3ms: there is nothing yet"),
        ("a settled pair\nwith 3 links\n", "2: with 3 links: the plan is laid out before"),
        ("a settled pair\nlink2 is cut\n", "2: link2 is cut: it names a link that the plan"),
        ("a settled pair\nbmc-c hangs\n", "2: bmc-c hangs: there is no bmc-c; there are bmc-a, "),
        ("a settled pair\nsomebody adds vip0 at b\n", "the world ended: two hold"),
        ("# nothing\n", "1: nothing happens in it"),
    ] {
        let found = play(script).unwrap_err();
        assert!(found.contains(complaint), "{found}");
    }
}

#[test]
fn a_scenario_names_rows_that_there_are() {
    assert_eq!(
        rows("# Rows 3, 24 and 5. Why.").unwrap().into_iter().collect::<Vec<_>>(),
        [3, 5, 24]
    );
    assert!(rows("# Beside the rows. Why.").unwrap().is_empty());
    for wrong in ["# Row 0.", "# Row 33.", "# Row.", "# Row one.", "# Rows 3 and 24", "Row 3."] {
        assert!(rows(wrong).is_err(), "{wrong}");
    }
}

/// For `scripts/dev scenario`: plays the file that `SCENARIO` names.
#[test]
#[ignore = "plays the one scenario that is asked for"]
fn the_scenario_that_is_asked_for() {
    let name = std::env::var("SCENARIO").expect("SCENARIO names a file");
    let candidates = [PathBuf::from(&name), folder().join(&name), folder().join(name + ".txt")];
    let path = candidates.into_iter().find(|path| path.is_file()).expect("there is such a file");
    let scenario = Scenario::read(path);
    match play(&scenario.script) {
        Ok(transcript) => println!("{}---\n{transcript}", scenario.script),
        Err(wrong) => panic!("{}:{wrong}", scenario.path.display()),
    }
}
