//! The flight recording: the inputs of an engine as lines of text, and what it made of them, told
//! again by the same engine.
//!
//! ```text
//!   daemon:  input, time ──► encode ──► a segment, ended and begun anew when it is long enough
//!   replay:  segments    ──► decode ──► replay (the engine) ──► story
//! ```
//!
//! A segment stands for itself: its second line is the engine's whole state, or the settings of one
//! that is just started. So the oldest can be thrown away, and none is needed to read another.
//!
//! ```text
//! tandem-flight 1 {"version":"0.1.0", ... "at":81234567890,"wall_unix_ms":1795310848000}*5e0c
//! start {"local":1, ... }*41d7             or: node {"settings":{ ... }, ... }*c0de
//! 99812345 t*0b1e                          a tick, so many nanoseconds after the line before
//! 1204512 h 2 0 31250 1 -1804 -522 310*77ab    a heartbeat that says nothing new
//! 0 i {"Carrier":{"nic":0,"up":false}}*9c01    any other input
//! ```
//!
//! The numbers behind `h` are sender, link, nanoseconds since it was received, and how `seq`,
//! `sent`, `echo_sent` and `echo_held` differ from what the last one on that link lets expect
//! ([`bases`]). Behind the `*` stands a checksum of everything up to there, the lines before
//! included: a line that is damaged, doubled or missing is noticed.
//!
//! Nothing secret is in it: the engine knows no key and no password.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

mod bases;
mod decode;
mod encode;
mod replay;
mod story;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::engine::{Node, Settings};
use crate::types::{BootId, Incarnation, Instant, Names, NodeId};

pub use crate::engine::transcript::Severity;
pub use decode::{Damage, Segment};
pub use encode::Encoder;
pub use replay::{Joint, Replay, Step};
pub use story::{Story, TimedEvent};

/// How a segment's first line begins; the number is the format's version.
const TITLE: &str = "tandem-flight 1 ";

/// What a segment is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The version of the daemon: another one may decide otherwise.
    pub version: String,
    /// The pair's name.
    pub cluster: String,
    /// The node.
    pub local: NodeId,
    /// What everything is called.
    pub names: Names,
    /// The boot.
    pub boot: BootId,
    /// The daemon's life.
    pub incarnation: Incarnation,
    /// The place of this segment in that life, counted from 0.
    pub part: u64,
    /// Whether it goes on where the part before ended. If not, what was between was not recorded.
    pub follows: bool,
    /// When it was begun; for a start, the moment at which the engine was made.
    pub at: Instant,
    /// The wall clock at that moment, for display: milliseconds since 1970.
    pub wall_unix_ms: u64,
}

impl Header {
    /// The wall clock at `moment`, as far as the two clocks have run alike since.
    pub fn wall_at(&self, moment: Instant) -> u64 {
        let millis = |nanos: u64| nanos / 1_000_000;
        let after = millis(moment.as_nanos().saturating_sub(self.at.as_nanos()));
        let before = millis(self.at.as_nanos().saturating_sub(moment.as_nanos()));
        self.wall_unix_ms.saturating_add(after).saturating_sub(before)
    }
}

/// From what the inputs of a segment go on.
#[derive(Clone, Copy, Debug)]
pub enum Opening<'a> {
    /// From an engine that is made with these settings at the segment's time.
    Start(&'a Settings),
    /// From this one. It must not have an unused proof ([`Node::has_unused_proof`]).
    Checkpoint(&'a Node),
}

/// The length of a line's end: `*`, and four digits.
const SEAL_LEN: usize = 5;

/// A checksum of all lines so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sum(u32);

impl Sum {
    /// Takes a line in, without its end: that.
    fn seal(&mut self, line: &[u8]) -> [u8; SEAL_LEN] {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(line);
        self.0 = hasher.finalize();
        let [a, b, c, d] = self.0.to_be_bytes();
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) };
        let (high, low) = (a ^ c, b ^ d);
        [b'*', digit(high >> 4), digit(high & 15), digit(low >> 4), digit(low & 15)]
    }
}
