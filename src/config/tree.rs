//! The TOML tree with lines: looks keys up, tells wrong types and unknown keys.
//!
//! It knows the shapes of TOML, and nothing of what the values mean.

use core::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::finding::{At, Findings, Place};
use super::read::Wrong;
use super::vocabulary::{self, Words};

/// A table of the file; one that is missing is like an empty one.
pub(super) struct Section<'t> {
    lines: &'t Lines,
    /// Where its header is.
    pub(super) place: Place,
    table: Option<&'t DeTable<'t>>,
}

/// A value that may be of several types.
pub(super) enum Scalar {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Flag(bool),
}

/// Parses `text` and has `read` look at it. Nothing if it is not TOML: then the tree is not to be
/// trusted, and only the syntax is told about.
pub(super) fn parse<T>(
    text: &str,
    findings: &mut Findings,
    read: impl FnOnce(&Section<'_>, &mut Findings) -> T,
) -> Option<T> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    for error in &errors {
        let line = error.span().map_or(0, |span| lines.line(span.start));
        let place = Place { line, key: String::new() };
        findings.error(&place, format!("not TOML: {}", error.message()), syntax_remedy(error));
    }
    if !errors.is_empty() {
        return None;
    }
    let root = Section { lines: &lines, place: Place::default(), table: Some(root.get_ref()) };
    Some(read(&root, findings))
}

fn syntax_remedy(error: &toml::de::Error) -> &'static str {
    let message = error.message();
    if message.contains("duplicate key") {
        "write it once; of the two, delete one"
    } else if message.contains("must be quoted") {
        "put the text in double quotes: \"...\""
    } else if message.contains("unclosed table") {
        "write the line as [NAME] or [[NAME]]"
    } else {
        "write KEY = VALUE on a line of its own, texts in quotes, tables as [NAME] or [[NAME]]"
    }
}

impl<'t> Section<'t> {
    /// Whether the file has it.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Tells about every key that is not among `words`.
    pub(super) fn refuse_unknown(&self, words: &Words, findings: &mut Findings) {
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref().as_ref();
            if !words.keys.contains(&name) {
                let place = self.place.child(name).on_line(self.lines.line(key.span().start));
                let wrong = format!("unknown key {}", words.place());
                findings.error(&place, wrong, vocabulary::remedy(name, words));
            }
        }
    }

    /// Where `key` is, or would be.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.find(key).map_or_else(|| self.place.child(key), |(place, _)| place)
    }

    /// Tells that `key` is missing if the file does not have it. A wrong value and a wrong spelling
    /// were told about already.
    pub(super) fn require(&self, key: &str, instead: &str, findings: &mut Findings) {
        let misspelt = || self.names().iter().any(|name| vocabulary::same(name, key));
        if self.find(key).is_none() && !misspelt() {
            findings.error(&self.place.child(key), "missing", instead);
        }
    }

    /// The text at `key`, as `parse` understands it.
    pub(super) fn text<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
        example: &str,
        findings: &mut Findings,
    ) -> Option<At<T>> {
        let (place, value) = self.find(key)?;
        let remedy = || format!("write such as {key} = {example:?}");
        let text = expect(value.as_str(), value, "a text in quotes", remedy, &place, findings)?;
        parsed(text, place, parse, findings)
    }

    /// The duration at `key`.
    pub(super) fn duration(
        &self,
        key: &str,
        example: &str,
        findings: &mut Findings,
    ) -> Option<At<Duration>> {
        let (place, value) = self.find(key)?;
        let remedy = || match value.as_integer() {
            Some(n) => format!("add quotes and the unit: {key} = \"{n}ms\" or \"{n}s\""),
            None => format!("write such as {key} = {example:?}"),
        };
        let text = expect(value.as_str(), value, "a duration in quotes", remedy, &place, findings)?;
        parsed(text, place, duration::parse, findings)
    }

    /// The whole number at `key`, if it is in the range.
    pub(super) fn number(
        &self,
        key: &str,
        least: i64,
        most: i64,
        findings: &mut Findings,
    ) -> Option<At<i64>> {
        let (place, value) = self.find(key)?;
        let remedy = || format!("write a number from {least} to {most}, without quotes");
        let number = expect(value.as_integer(), value, "a whole number", remedy, &place, findings)?;
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if (least..=most).contains(&value) => Some(At { place, value }),
            Ok(_) | Err(_) => {
                let wrong = format!("{number} is out of range");
                findings.error(&place, wrong, format!("write a number from {least} to {most}"));
                None
            }
        }
    }

    /// True or false at `key`.
    pub(super) fn flag(&self, key: &str, findings: &mut Findings) -> Option<At<bool>> {
        let (place, value) = self.find(key)?;
        let remedy = || "write true or false, without quotes".to_owned();
        let value = expect(value.as_bool(), value, "true or false", remedy, &place, findings)?;
        Some(At { place, value })
    }

    /// The text, number or flag at `key`.
    pub(super) fn scalar(&self, key: &str, findings: &mut Findings) -> Option<At<Scalar>> {
        let (place, value) = self.find(key)?;
        let scalar = match value {
            DeValue::String(text) => Some(Scalar::Text(text.as_ref().to_owned())),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Scalar::Number)
            }
            DeValue::Boolean(flag) => Some(Scalar::Flag(*flag)),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        };
        let remedy = || "write a whole number without a point, or a text in quotes".to_owned();
        let value =
            expect(scalar, value, "a text, a number, true or false", remedy, &place, findings)?;
        Some(At { place, value })
    }

    /// The texts of the array at `key`, as `parse` understands each.
    pub(super) fn texts<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
        example: &str,
        findings: &mut Findings,
    ) -> Option<At<Vec<At<T>>>> {
        let (place, value) = self.find(key)?;
        let remedy = || format!("write such as {key} = [{example:?}]");
        let array = expect(value.as_array(), value, "a list", remedy, &place, findings)?;
        let mut list = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let place = self.element_place(&place, index, item);
            let value = item.get_ref();
            let text = expect(value.as_str(), value, "a text in quotes", remedy, &place, findings);
            list.extend(text.and_then(|text| parsed(text, place, &parse, findings)));
        }
        Some(At { place, value: list })
    }

    /// The table at `key`, `header` as people write it.
    pub(super) fn section(&self, key: &str, header: &str, findings: &mut Findings) -> Self {
        let absent = Section { lines: self.lines, place: self.place.child(key), table: None };
        let Some((place, value)) = self.find(key) else { return absent };
        let remedy = || format!("write the keys of {key} under a line {header}");
        let table = expect(value.as_table(), value, "a table", remedy, &place, findings);
        Section { table, place, ..absent }
    }

    /// The tables in the table at `key`, by name, `header` as people write one.
    pub(super) fn named_sections(
        &self,
        key: &str,
        header: &str,
        findings: &mut Findings,
    ) -> Vec<(At<String>, Self)> {
        let outer = self.section(key, header, findings);
        let mut sections = Vec::new();
        for name in outer.names() {
            let inner = outer.section(&name, header, findings);
            if inner.is_present() {
                let place = inner.place.clone();
                sections.push((At { place, value: name }, inner));
            }
        }
        sections
    }

    /// The tables of the array at `key`, `header` as people write one.
    pub(super) fn sections(&self, key: &str, header: &str, findings: &mut Findings) -> Vec<Self> {
        let Some((place, value)) = self.find(key) else { return Vec::new() };
        let remedy = || format!("begin each with a line {header}, its keys below");
        let found = expect(value.as_array(), value, "a list of tables", remedy, &place, findings);
        let mut sections = Vec::new();
        for (index, item) in found.into_iter().flat_map(|array| array.iter()).enumerate() {
            let place = self.element_place(&place, index, item);
            let value = item.get_ref();
            let table = expect(value.as_table(), value, "a table", remedy, &place, findings);
            if table.is_some() {
                sections.push(Section { lines: self.lines, place, table });
            }
        }
        sections
    }

    /// The keys of the table.
    pub(super) fn names(&self) -> Vec<String> {
        let keys = self.table.into_iter().flat_map(DeTable::keys);
        keys.map(|key| key.get_ref().as_ref().to_owned()).collect()
    }

    fn find(&self, key: &str) -> Option<(Place, &'t DeValue<'t>)> {
        let (name, value) = self.table?.get_key_value(key)?;
        let line = self.lines.line(name.span().start);
        Some((self.place.child(key).on_line(line), value.get_ref()))
    }

    fn element_place(&self, array: &Place, index: usize, item: &Spanned<DeValue<'_>>) -> Place {
        array.element(index).on_line(self.lines.line(item.span().start))
    }
}

fn parsed<T>(
    text: &str,
    place: Place,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
    findings: &mut Findings,
) -> Option<At<T>> {
    match parse(text) {
        Ok(value) => Some(At { place, value }),
        Err(wrong) => {
            findings.error(&place, wrong.wrong, wrong.instead);
            None
        }
    }
}

/// What was `found`, or a finding that `value` is of another type.
fn expect<T>(
    found: Option<T>,
    value: &DeValue<'_>,
    expected: &str,
    remedy: impl Fn() -> String,
    place: &Place,
    findings: &mut Findings,
) -> Option<T> {
    if found.is_none() {
        findings.error(place, format!("{} where {expected} belongs", kind(value)), remedy());
    }
    found
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {:?}", text.as_ref()),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => format!("{flag}"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Where each line ends.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(breaks.map(|(offset, _)| offset).collect())
    }

    /// The line of the byte at `offset`, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset).saturating_add(1)
    }
}
