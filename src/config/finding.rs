//! What is found wrong with a configuration, and where.
//!
//! It keeps and orders findings; it judges nothing itself.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::metadata::Misfit;

/// The most findings that are kept; more are only counted.
pub const FINDINGS_MAX: usize = 200;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken, but somebody should think again.
    Warning,
}

/// A line of the file and the key it is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    /// Counted from 1; zero if there is no such line (something that is missing).
    pub line: usize,
    /// The key with all tables around it, as in `vips[0].address`; empty for the whole file.
    pub key: String,
}

impl Place {
    /// The place of `key` in the table at this place.
    pub fn child(&self, key: &str) -> Self {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let quoted = if !key.is_empty() && key.chars().all(bare) {
            key.to_owned()
        } else {
            format!("{key:?}")
        };
        let dot = if self.key.is_empty() { "" } else { "." };
        Self { line: self.line, key: format!("{}{dot}{quoted}", self.key) }
    }

    /// The place of element `index` of the array at this place.
    pub fn element(&self, index: usize) -> Self {
        Self { line: self.line, key: format!("{}[{index}]", self.key) }
    }

    /// The same key, on another line.
    pub fn on_line(self, line: usize) -> Self {
        Self { line, ..self }
    }
}

/// A value and where it is written; for a default, where it would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At<T> {
    /// Where.
    pub place: Place,
    /// What.
    pub value: T,
}

impl<T> At<T> {
    /// The same place with what `change` makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { place: self.place, value: change(self.value) }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub wrong: String,
    /// What to write or do instead.
    pub instead: String,
}

/// All that was found in one file.
#[derive(Clone, Debug)]
pub struct Findings {
    file: String,
    list: Vec<Finding>,
    errors: usize,
    warnings: usize,
}

impl Findings {
    /// Nothing found yet in the file that people call `file`.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), list: Vec::new(), errors: 0, warnings: 0 }
    }

    /// Adds an error.
    pub fn error(&mut self, place: &Place, wrong: impl Into<String>, instead: impl Into<String>) {
        self.errors = self.errors.saturating_add(1);
        self.add(Severity::Error, place, wrong.into(), instead.into());
    }

    /// Adds a warning.
    pub fn warn(&mut self, place: &Place, wrong: impl Into<String>, instead: impl Into<String>) {
        self.warnings = self.warnings.saturating_add(1);
        self.add(Severity::Warning, place, wrong.into(), instead.into());
    }

    /// Adds what does not fit the fence agents, and puts it into its place.
    pub fn extend(&mut self, misfits: Vec<Misfit>) {
        for misfit in misfits {
            match misfit.severity() {
                Severity::Error => self.error(&misfit.place, misfit.wrong, misfit.instead),
                Severity::Warning => self.warn(&misfit.place, misfit.wrong, misfit.instead),
            }
        }
        self.sort();
    }

    fn add(&mut self, severity: Severity, place: &Place, wrong: String, instead: String) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(Finding { severity, place: place.clone(), wrong, instead });
        }
    }

    /// How many errors there are, those not kept included.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are, those not kept included.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Whether anything was told of the key at `place`, or of a key below it: then what follows
    /// from its absence is not worth telling.
    pub(super) fn tells_of(&self, place: &Place) -> bool {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        let mut keys = self.list.iter().map(|finding| &finding.place.key);
        keys.any(|key| key.strip_prefix(&place.key).is_some_and(is_below))
    }

    /// The findings that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter()
    }

    /// Orders them by line; those of one line stay as they were found.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|finding| finding.place.line);
    }
}

impl fmt::Display for Findings {
    /// One finding after the other, two lines each: `file:line: error: key: what is wrong`, then
    /// what to do, indented. Control characters of the file are shown escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.list {
            let mut head = self.file.clone();
            if finding.place.line > 0 {
                head.push_str(&format!(":{}", finding.place.line));
            }
            head.push_str(match finding.severity {
                Severity::Error => ": error: ",
                Severity::Warning => ": warning: ",
            });
            if !finding.place.key.is_empty() {
                head.push_str(&finding.place.key);
                head.push_str(": ");
            }
            writeln!(f, "{}", shown(&format!("{head}{}", finding.wrong)))?;
            writeln!(f, "    {}", shown(&finding.instead))?;
        }
        let kept = self.list.len();
        let all = self.errors.saturating_add(self.warnings);
        if all > kept {
            writeln!(f, "{}: {} more findings are not shown", self.file, all.saturating_sub(kept))?;
        }
        Ok(())
    }
}

/// `text` without characters that could steer a terminal.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_findings_than_the_bound_are_counted_but_not_kept() {
        let mut findings = Findings::new("f");
        for _ in 0..FINDINGS_MAX + 3 {
            findings.error(&Place::default(), "wrong", "instead");
        }
        assert_eq!(findings.errors(), FINDINGS_MAX + 3);
        assert_eq!(findings.iter().count(), FINDINGS_MAX);
        assert!(findings.to_string().ends_with("f: 3 more findings are not shown\n"));
    }

    #[test]
    fn text_of_the_file_cannot_steer_the_terminal() {
        let mut findings = Findings::new("f");
        findings.warn(&Place { line: 3, key: "a".into() }, "\u{1b}[2J", "none");
        assert_eq!(findings.to_string(), "f:3: warning: a: \\u{1b}[2J\n    none\n");
    }

    #[test]
    fn keys_that_are_not_bare_are_quoted() {
        let nodes = Place { line: 0, key: "nodes".into() };
        assert_eq!(nodes.child("smw1").key, "nodes.smw1");
        assert_eq!(nodes.child("smw1.example.com").key, "nodes.\"smw1.example.com\"");
        assert_eq!(Place::default().child("vips").element(2).child("nic").key, "vips[2].nic");
    }
}
