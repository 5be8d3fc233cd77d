//! An event as the daemon tells it, with the lab's own time.

use serde_json::Value;

use super::clock::Stamp;
use super::log::Line;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// When the lab read it: the daemon's own time is the wall clock's, for display.
    pub at: Stamp,
    /// What kind, as in `role`, `peer-lost`, `proven`.
    pub kind: String,
    /// For people.
    pub text: String,
}

impl Happening {
    /// The event in a line of `tandem events --json`; nothing in any other line.
    pub fn parse(line: &Line) -> Option<Self> {
        let value: Value = serde_json::from_str(&line.text).ok()?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Some(Self { at: line.at, kind: text("event")?, text: text("text")? })
    }
}
