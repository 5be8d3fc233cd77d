//! The files of the scenarios: prose and script above a line `---`, the transcript below it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::difference::difference;
use super::script::play;

/// How many rows the table of faults has.
pub const ROWS: u8 = 32;
/// Its rows that tandem does not do yet, so that nothing can show them.
pub const NOT_BUILT: [(u8, &str); 4] = [
    (9, "there are no resources but the VIPs"),
    (10, "an active that cannot release is not fenced for it"),
    (20, "there is no switchover"),
    (29, "no device is asked which machine it is; a false reading is distrusted"),
];
const RULER: &str = "---\n";

/// A scenario as its file has it.
pub struct Scenario {
    pub path: PathBuf,
    /// Prose and script.
    pub script: String,
    /// The transcript; empty if there is none yet.
    pub transcript: String,
}

/// Where the scenarios are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// All scenarios, by name.
pub fn scenarios() -> Vec<Scenario> {
    let entries = fs::read_dir(folder()).expect("tests/scenarios is there");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let is_scenario = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".txt") && name != "VOCABULARY.txt"
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_scenario).collect();
    paths.sort();
    paths.into_iter().map(Scenario::read).collect()
}

impl Scenario {
    /// The scenario in the file at `path`.
    pub fn read(path: PathBuf) -> Self {
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let ruler = text.find(&format!("\n{RULER}"));
        let (script, transcript) = match ruler {
            Some(at) => (&text[..=at], &text[at + 1 + RULER.len()..]),
            None => (text.as_str(), ""),
        };
        Self { path, script: script.to_owned(), transcript: transcript.to_owned() }
    }

    /// The name of its file, from the project's folder on.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("tests/scenarios/{name}")
    }

    /// Plays it and compares, or rewrites its file; what is wrong, with file and line.
    pub fn check(&self, rewrite: bool) -> Result<(), String> {
        self.rows()?;
        let transcript = play(&self.script).map_err(|wrong| format!("{}:{wrong}", self.name()))?;
        if rewrite && transcript != self.transcript {
            let text = format!("{}{RULER}{transcript}", self.script);
            fs::write(&self.path, text).map_err(|error| format!("{}: {error}", self.name()))?;
            return Ok(());
        }
        match difference(&self.transcript, &transcript) {
            None => Ok(()),
            Some((line, text)) => {
                let line = self.script.lines().count() + 1 + line;
                Err(format!(
                    "{}:{line}: it goes another way (`-` as written, `+` now; UPDATE_GOLDEN=1 \
                     rewrites it):\n{text}",
                    self.name()
                ))
            }
        }
    }

    /// The rows of the table of faults that it shows: its first line names them, as in
    /// `# Row 1.` or `# Rows 3 and 24.`, or says `# Beside the rows.`
    pub fn rows(&self) -> Result<BTreeSet<u8>, String> {
        let first = self.script.lines().next().unwrap_or_default();
        rows(first).map_err(|wrong| format!("{}:1: {wrong}", self.name()))
    }
}

/// The rows that a first line names.
pub fn rows(first: &str) -> Result<BTreeSet<u8>, String> {
    if first.starts_with("# Beside the rows.") {
        return Ok(BTreeSet::new());
    }
    let wrong = || {
        "the first line begins with `# Row 1.`, `# Rows 3 and 24.` or `# Beside the rows.`"
            .to_owned()
    };
    let rest = first.strip_prefix("# Rows ").or_else(|| first.strip_prefix("# Row "));
    let (list, _) = rest.and_then(|rest| rest.split_once('.')).ok_or_else(wrong)?;
    let words = list.split([' ', ',']).filter(|word| !word.is_empty() && *word != "and");
    let rows: Result<BTreeSet<u8>, _> = words.map(str::parse).collect();
    let rows = rows.ok().filter(|rows| !rows.is_empty()).ok_or_else(wrong)?;
    match rows.iter().find(|row| !(1..=ROWS).contains(*row)) {
        Some(row) => Err(format!("there is no row {row}: the table of faults has {ROWS}")),
        None => Ok(rows),
    }
}
