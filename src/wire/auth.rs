//! The shared key: tags a message, and tells whether a tag was made with a key that is accepted.
//!
//! It refuses to know what is in a message, and never shows a key. Two keys can be accepted at a
//! time, so that the key can be changed without an outage (`docs/PROTOCOL.md`, "Changing the key"):
//! first every node accepts both, then every node sends with the new one, then the old one goes.

use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The length of a tag in bytes: HMAC-SHA256 cut to its left half (RFC 2104 §5).
pub const TAG_LEN: usize = 16;
/// The shortest tag that is compared, in bytes: 80 bits (RFC 2104 §5).
pub const TAG_LEN_MIN: usize = 10;
/// The shortest key in bytes: as strong as the tag.
pub const KEY_LEN_MIN: usize = 16;
/// The longest key in bytes; more would only be hashed away.
pub const KEY_LEN_MAX: usize = 1024;

/// A tag over one message.
pub type Tag = [u8; TAG_LEN];

/// Which of the accepted keys a message was tagged with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum KeyUsed {
    /// The one that this node sends with.
    Sending,
    /// The other one: the sender has not changed its key yet, or has changed it already.
    Other,
}

/// The key to send with, and the other one that is accepted, if there is one.
#[derive(Clone, Debug)]
pub struct Keys {
    sending: Key,
    other: Option<Key>,
}

impl Keys {
    /// The keys made of these secrets.
    ///
    /// # Errors
    /// If a secret is shorter than [`KEY_LEN_MIN`] or longer than [`KEY_LEN_MAX`] bytes, or both
    /// are the same.
    pub fn new(sending: &[u8], other: Option<&[u8]>) -> Result<Self, KeyError> {
        if other == Some(sending) {
            return Err(KeyError::Same);
        }
        let other = other.map(Key::new).transpose()?;
        Ok(Self { sending: Key::new(sending)?, other })
    }

    /// One byte that tells the receiver which of its keys to try first. Says nothing of the key.
    pub fn hint(&self) -> u8 {
        self.sending.hint
    }

    /// The tag of `message` under the key to send with.
    pub fn tag(&self, message: &[u8]) -> Tag {
        self.tag_all([message, &[]])
    }

    /// The tag of these parts, one behind the other, under the key to send with.
    pub fn tag_all(&self, parts: [&[u8]; 2]) -> Tag {
        let full = self.sending.mac(parts).finalize().into_bytes();
        full.first_chunk().copied().unwrap_or_default()
    }

    /// Which accepted key made `tag` over `message`, in constant time for each key; nothing if
    /// none did. `hint` decides only which is tried first.
    pub fn verify(&self, hint: u8, message: &[u8], tag: &Tag) -> Option<KeyUsed> {
        self.verify_all(hint, [message, &[]], tag)
    }

    /// The same for a message in parts, one behind the other, and a tag that may be cut shorter:
    /// one of less than [`TAG_LEN_MIN`] bytes is nobody's.
    pub fn verify_all(&self, hint: u8, parts: [&[u8]; 2], tag: &[u8]) -> Option<KeyUsed> {
        let sending = || self.sending.made(parts, tag).then_some(KeyUsed::Sending);
        let other = || self.other.as_ref()?.made(parts, tag).then_some(KeyUsed::Other);
        if self.sending.hint == hint { sending().or_else(other) } else { other().or_else(sending) }
    }
}

/// One key: the state of HMAC after the key was fed to it, cloned for each message.
#[derive(Clone)]
struct Key {
    state: Hmac<Sha256>,
    hint: u8,
}

impl Key {
    fn new(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < KEY_LEN_MIN {
            return Err(KeyError::TooShort);
        }
        if secret.len() > KEY_LEN_MAX {
            return Err(KeyError::TooLong);
        }
        let state = Hmac::<Sha256>::new_from_slice(secret).map_err(|_e| KeyError::TooLong)?;
        let hint = state.clone().chain_update(b"tandem key hint").finalize().into_bytes();
        Ok(Self { state, hint: hint.first().copied().unwrap_or_default() })
    }

    fn mac(&self, [first, second]: [&[u8]; 2]) -> Hmac<Sha256> {
        self.state.clone().chain_update(first).chain_update(second)
    }

    fn made(&self, parts: [&[u8]; 2], tag: &[u8]) -> bool {
        tag.len() >= TAG_LEN_MIN && self.mac(parts).verify_truncated_left(tag).is_ok()
    }
}

impl fmt::Debug for Key {
    /// Neither the key nor its hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why a secret is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// Shorter than [`KEY_LEN_MIN`].
    TooShort,
    /// Longer than [`KEY_LEN_MAX`].
    TooLong,
    /// The other key is the key to send with.
    Same,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "the key is shorter than {KEY_LEN_MIN} bytes"),
            Self::TooLong => write!(f, "the key is longer than {KEY_LEN_MAX} bytes"),
            Self::Same => f.write_str("both keys are the same"),
        }
    }
}

impl core::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const OLD: &[u8] = b"the old key of the pair";
    const NEW: &[u8] = b"the new key of the pair";

    // RFC 4231 §4.3 (test case 2) has a key of 4 bytes, below our minimum; §4.2 and §4.4 have 20.
    #[test]
    fn tags_are_the_left_half_of_hmac_sha256() {
        let keys = Keys::new(&[0x0b; 20], None).unwrap();
        let expected = [
            0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b,
            0xf1, 0x2b,
        ];
        assert_eq!(keys.tag(b"Hi There"), expected);
        let keys = Keys::new(&[0xaa; 20], None).unwrap();
        let expected = [
            0x77, 0x3e, 0xa9, 0x1e, 0x36, 0x80, 0x0e, 0x46, 0x85, 0x4d, 0xb8, 0xeb, 0xd0, 0x91,
            0x81, 0xa7,
        ];
        assert_eq!(keys.tag(&[0xdd; 50]), expected);
    }

    #[test]
    fn a_key_is_changed_without_a_moment_of_refusal() {
        let before = Keys::new(OLD, None).unwrap();
        let both_old = Keys::new(OLD, Some(NEW)).unwrap();
        let both_new = Keys::new(NEW, Some(OLD)).unwrap();
        let after = Keys::new(NEW, None).unwrap();
        let steps = [
            (&before, &both_old, KeyUsed::Sending, KeyUsed::Sending),
            (&both_old, &both_new, KeyUsed::Other, KeyUsed::Other),
            (&both_new, &after, KeyUsed::Sending, KeyUsed::Sending),
        ];
        for (a, b, by_b, by_a) in steps {
            assert_eq!(b.verify(a.hint(), b"x", &a.tag(b"x")), Some(by_b));
            assert_eq!(a.verify(b.hint(), b"x", &b.tag(b"x")), Some(by_a));
        }
        assert_eq!(after.verify(before.hint(), b"x", &before.tag(b"x")), None);
    }

    #[test]
    fn a_tag_may_be_cut_but_not_to_nothing() {
        let keys = Keys::new(OLD, None).unwrap();
        let tag = keys.tag(b"in one part");
        assert_eq!(keys.tag_all([b"in one", b" part"]), tag);
        for len in 0..=TAG_LEN {
            let found = keys.verify_all(keys.hint(), [b"in ", b"one part"], tag.split_at(len).0);
            assert_eq!(found.is_some(), len >= TAG_LEN_MIN, "{len} bytes");
        }
    }

    #[test]
    fn a_wrong_hint_only_changes_the_order() {
        let keys = Keys::new(OLD, Some(NEW)).unwrap();
        let sender = Keys::new(NEW, None).unwrap();
        for hint in 0..=u8::MAX {
            assert_eq!(keys.verify(hint, b"x", &sender.tag(b"x")), Some(KeyUsed::Other));
            assert_eq!(keys.verify(hint, b"y", &sender.tag(b"x")), None);
        }
    }

    #[test]
    fn bad_secrets_are_refused() {
        assert_eq!(Keys::new(b"short", None).err(), Some(KeyError::TooShort));
        assert_eq!(Keys::new(OLD, Some(b"short")).err(), Some(KeyError::TooShort));
        assert_eq!(Keys::new(&[7; 1025], None).err(), Some(KeyError::TooLong));
        assert_eq!(Keys::new(OLD, Some(OLD)).err(), Some(KeyError::Same));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", Keys::new(OLD, Some(NEW)).unwrap());
        assert_eq!(shown, "Keys { sending: Key(..), other: Some(Key(..)) }");
    }
}
