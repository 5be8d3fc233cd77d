//! The list of mutants, as data: `list.toml` beside this file.

use std::fs;
use std::path::Path;

/// One mistake.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What it is called.
    pub name: String,
    /// What mistake it is, in one sentence.
    pub mistake: String,
    /// Which other rule keeps it from having any consequence, if one does.
    pub covered_by: Option<String>,
    changes: Vec<Change>,
}

/// A text that is replaced by another one, in one file.
#[derive(Clone, Debug)]
struct Change {
    file: String,
    find: String,
    replace: String,
}

impl Mutant {
    /// No mistake at all.
    #[allow(dead_code, reason = "only those who run mutants run the engine as it is")]
    pub fn none() -> Self {
        Self { name: String::new(), mistake: String::new(), covered_by: None, changes: Vec::new() }
    }

    /// The text of the file `path` with the mistake in it.
    pub fn apply(&self, path: &Path, text: &str) -> String {
        let own = self.changes.iter().filter(|change| Path::new(&change.file) == path);
        own.fold(text.to_owned(), |text, change| text.replacen(&change.find, &change.replace, 1))
    }
}

/// All mutants, or what is wrong with the list: each text that is to be replaced must be there
/// exactly once, and each mutant must differ from what is there.
pub fn read(root: &Path) -> Result<Vec<Mutant>, String> {
    let path = root.join("tests/mutants/list.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let entries = table.get("mutant").and_then(toml::Value::as_array);
    let entries = entries.ok_or("no [[mutant]] in the list")?;
    let mutants: Vec<Mutant> = entries.iter().map(parse).collect::<Result<_, _>>()?;
    let mut complaints: Vec<String> = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        if mutants.iter().take(index).any(|other| other.name == mutant.name) {
            complaints.push(format!("{}: named twice", mutant.name));
        }
        for change in &mutant.changes {
            let source = fs::read_to_string(root.join(&change.file)).unwrap_or_default();
            let times = source.matches(&change.find).count();
            if times != 1 || change.find == change.replace {
                let find = &change.find;
                let file = &change.file;
                complaints.push(format!("{}: {times} times in {file}:\n{find}", mutant.name));
            }
        }
    }
    if complaints.is_empty() { Ok(mutants) } else { Err(complaints.join("\n")) }
}

fn parse(entry: &toml::Value) -> Result<Mutant, String> {
    let name = word(entry, "name")?;
    let changes = entry.get("change").and_then(toml::Value::as_array);
    let changes = match changes {
        Some(list) => list.iter().map(parse_change).collect::<Result<_, _>>(),
        None => parse_change(entry).map(|change| vec![change]),
    };
    let changes = changes.map_err(|error: String| format!("{name}: {error}"))?;
    let covered_by = entry.get("covered_by").and_then(toml::Value::as_str).map(str::to_owned);
    Ok(Mutant { mistake: word(entry, "mistake")?, name, covered_by, changes })
}

fn parse_change(entry: &toml::Value) -> Result<Change, String> {
    Ok(Change {
        file: word(entry, "file")?,
        find: word(entry, "find")?,
        replace: word(entry, "replace")?,
    })
}

fn word(entry: &toml::Value, key: &str) -> Result<String, String> {
    let found = entry.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    found.ok_or_else(|| format!("no {key:?} in {entry}"))
}
