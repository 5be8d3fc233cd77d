//! The key file: one heartbeat key, or two while the key is being changed.
//!
//! It decides what the text of the file means, and writes it anew for each step of a change. It
//! refuses to know where the file is and who may read it. No key ever gets into what it says.
//!
//! ```text
//! 2f6c...           the key that heartbeats are sent with
//! # added           or "# replaced": what the second one is, written by `tandem key`
//! 91d0...           the other key that is accepted
//! ```

use core::fmt;
use std::collections::BTreeSet;
use std::path::Path;

use zeroize::{Zeroize, Zeroizing};

/// The length of a heartbeat key in bytes.
pub const KEY_LEN: usize = 32;
/// The longest text of a key file in bytes.
pub const KEY_FILE_LEN_MAX: usize = 1024;
/// How many keys are accepted at a time.
const KEYS_MAX: usize = 2;
/// A random key of [`KEY_LEN`] bytes has fewer different ones once in 10^15 keys.
const KEY_BYTES_DIFFERENT_MIN: usize = 16;

const ADDED: &str = "# added";
const REPLACED: &str = "# replaced";

/// One heartbeat key; its `Debug` is redacted, and its bytes are overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct HeartbeatKey([u8; KEY_LEN]);

impl HeartbeatKey {
    /// The key of these bytes.
    pub const fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that computes the MAC.
    pub fn reveal(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// As it stands in the file, without a line break.
    pub fn to_text(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u8| DIGITS.get(usize::from(n & 0xf)).copied().map_or('0', char::from);
        // With room from the start: what grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(KEY_LEN * 2));
        for byte in &self.0 {
            text.push(digit(byte >> 4));
            text.push(digit(*byte));
        }
        text
    }

    /// The key that 64 hexadecimal digits say.
    fn parse(text: &str) -> Result<Self, WrongKey> {
        if !text.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(WrongKey::NotHexadecimal);
        }
        if text.len() != KEY_LEN.saturating_mul(2) {
            return Err(WrongKey::Digits(text.len()));
        }
        let mut key = Self([0u8; KEY_LEN]);
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        for (byte, pair) in key.0.iter_mut().zip(pairs) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
            *byte = pair.iter().fold(0, |byte, c| (byte << 4) | digit(*c).unwrap_or(0));
        }
        let different: BTreeSet<u8> = key.0.iter().copied().collect();
        if different.len() < KEY_BYTES_DIFFERENT_MIN {
            return Err(WrongKey::NotRandom);
        }
        Ok(key)
    }
}

impl Drop for HeartbeatKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for HeartbeatKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The heartbeat keys: what is sent is made with the first, what is heard may be made with either.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatKeys {
    /// To send with, and accepted.
    pub first: HeartbeatKey,
    /// Accepted too, while the key is being changed.
    pub second: Option<HeartbeatKey>,
}

/// What the file says the second key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Second {
    /// New: it was never sent with.
    Added,
    /// Old: the first one is sent with instead.
    Replaced,
    /// The file does not say: it was written by hand.
    Untold,
}

/// What a key file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFile {
    /// The key to send with.
    pub first: HeartbeatKey,
    /// The other one that is accepted, and what it is.
    pub second: Option<(HeartbeatKey, Second)>,
}

impl KeyFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let mut keys: Vec<(HeartbeatKey, Second)> = Vec::with_capacity(KEYS_MAX);
        let (mut faults, mut second, mut is_empty) = (Vec::new(), Second::Untold, true);
        for (index, line) in text.lines().enumerate() {
            let number = index.saturating_add(1);
            let line = line.trim();
            if line.starts_with('#') {
                second = second_of(line).unwrap_or(second);
                continue;
            }
            if line.is_empty() {
                continue;
            }
            is_empty = false;
            match HeartbeatKey::parse(line) {
                Ok(key) if keys.iter().any(|(known, _)| *known == key) => {
                    faults.push(Fault::Twice(number));
                }
                Ok(key) => keys.push((key, second)),
                Err(wrong) => faults.push(Fault::Line(number, wrong)),
            }
            second = Second::Untold;
        }
        if is_empty {
            faults.push(Fault::Empty);
        }
        if keys.len() > KEYS_MAX {
            faults.push(Fault::TooMany(keys.len()));
        }
        let mut keys = keys.into_iter();
        match keys.next() {
            Some((first, _)) if faults.is_empty() => Ok(Self { first, second: keys.next() }),
            Some(_) | None => Err(faults),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_LEN_MAX));
        text.push_str(&self.first.to_text());
        text.push('\n');
        if let Some((key, what)) = &self.second {
            match what {
                Second::Added => {
                    text.push_str(ADDED);
                    text.push_str(": accepted, not sent with yet; go on with: tandem key\n");
                }
                Second::Replaced => {
                    text.push_str(REPLACED);
                    text.push_str(": accepted, not sent with any more; go on with: tandem key\n");
                }
                Second::Untold => {}
            }
            text.push_str(&key.to_text());
            text.push('\n');
        }
        text
    }

    /// The keys alone.
    pub fn into_keys(self) -> HeartbeatKeys {
        HeartbeatKeys { first: self.first, second: self.second.map(|(key, _)| key) }
    }
}

fn second_of(comment: &str) -> Option<Second> {
    if comment.starts_with(ADDED) {
        Some(Second::Added)
    } else if comment.starts_with(REPLACED) {
        Some(Second::Replaced)
    } else {
        None
    }
}

/// What is wrong with a key file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// There is no key in it.
    Empty,
    /// There are more than two.
    TooMany(usize),
    /// The key on this line is in it already.
    Twice(usize),
    /// This line is no key.
    Line(usize, WrongKey),
}

/// Why a line is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrongKey {
    /// It is not hexadecimal digits alone.
    NotHexadecimal,
    /// It has so many digits.
    Digits(usize),
    /// Nobody draws that by chance.
    NotRandom,
}

impl Fault {
    /// What is wrong with the file at `path`, and what to do.
    pub fn explain(self, path: &Path) -> (String, String) {
        let path = path.display();
        match self {
            Self::Empty => (
                format!("{path} is empty"),
                format!("delete it, and make one with: tandem keygen {path}"),
            ),
            Self::TooMany(count) => (
                format!("{path} holds {count} keys"),
                "keep two: the first to send with, the second accepted too".to_owned(),
            ),
            Self::Twice(number) => (
                format!("{path} holds the same key twice, again on line {number}"),
                "delete one of them".to_owned(),
            ),
            Self::Line(number, wrong) => (
                format!("line {number} of {path} is no key: {wrong}"),
                "make one with: tandem keygen FILE (in a new file)".to_owned(),
            ),
        }
    }
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHexadecimal => f.write_str("not hexadecimal digits alone"),
            Self::Digits(digits) => write!(f, "{digits} hexadecimal digits, not 64"),
            Self::NotRandom => f.write_str("not random"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn key(from: u8) -> HeartbeatKey {
        HeartbeatKey::new(core::array::from_fn(|n| from.wrapping_add(u8::try_from(n).unwrap())))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let seconds = [Second::Added, Second::Replaced, Second::Untold].map(|s| Some((key(9), s)));
        for second in seconds.into_iter().chain([None]) {
            let file = KeyFile { first: key(1), second };
            let text = file.to_text();
            assert!(text.len() < KEY_FILE_LEN_MAX);
            assert_eq!(KeyFile::parse(&text), Ok(file));
        }
    }

    #[test]
    fn a_file_written_by_hand_is_understood() {
        let (one, two) = (key(1).to_text(), key(2).to_text());
        let text = format!("# ours\n\n  {}\r\n\n# the next\n{}\n", one.as_str(), two.as_str());
        let expected = KeyFile { first: key(1), second: Some((key(2), Second::Untold)) };
        assert_eq!(KeyFile::parse(&text), Ok(expected));
    }

    #[test]
    fn every_fault_is_told() {
        let one = key(1).to_text();
        assert_eq!(KeyFile::parse("# nothing\n"), Err(vec![Fault::Empty]));
        let text = format!("{0}\n{0}\nxyz\nabc\n{1}\n", one.as_str(), "07".repeat(32));
        let expected = vec![
            Fault::Twice(2),
            Fault::Line(3, WrongKey::NotHexadecimal),
            Fault::Line(4, WrongKey::Digits(3)),
            Fault::Line(5, WrongKey::NotRandom),
        ];
        assert_eq!(KeyFile::parse(&text), Err(expected));
        let three = [1, 2, 3].map(|n| key(n).to_text().to_string()).join("\n");
        assert_eq!(KeyFile::parse(&three), Err(vec![Fault::TooMany(3)]));
    }

    #[test]
    fn debug_shows_no_key() {
        let file = KeyFile { first: key(1), second: Some((key(2), Second::Added)) };
        let shown = format!("{file:?}");
        assert_eq!(shown, "KeyFile { first: <secret>, second: Some((<secret>, Added)) }");
    }
}
