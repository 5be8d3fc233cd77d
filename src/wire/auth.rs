//! The shared key: tags a message, and tells whether a tag was made with a key that is accepted.
//!
//! It refuses to know what is in a message, and never shows a key. Two keys can be accepted at a
//! time, so that the key can be changed without an outage (`docs/PROTOCOL.md`, "Changing the key"):
//! first every node accepts both, then every node sends with the new one, then the old one goes.
//! Each node tells the others which keys it accepts, one byte of a digest a heartbeat, so that none
//! goes on to a step before the others are ready for it.

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
/// The length of a key's digest in bytes.
pub const DIGEST_LEN: usize = 16;
/// How many different bytes of a digest must have been told in a row before it counts as told: by
/// chance that happens once in 2^64 times.
pub const TOLD_MIN: u32 = 8;

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

/// What is told of a key: 16 bytes of HMAC-SHA256 with it. Tells nothing of the key, and two keys
/// that have the same one are the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KeyDigest([u8; DIGEST_LEN]);

impl KeyDigest {
    /// The byte of it that a heartbeat with this number tells, and which one that is. Neighbouring
    /// numbers tell different ones, and so do those of a link that carries every second, fourth or
    /// sixteenth of all.
    pub fn told_by(&self, seq: u64) -> (u8, u16) {
        // The first heartbeat of a life has the number 1.
        let place = seq.wrapping_sub(1).wrapping_add(seq >> 4) & 0xf;
        let index = usize::try_from(place).unwrap_or(0);
        (self.0.get(index).copied().unwrap_or(0), 1u16 << place)
    }
}

impl fmt::Display for KeyDigest {
    /// The fingerprint that people compare: its first four bytes, in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The key to send with, and the other one that is accepted, if there is one.
#[derive(Clone, Debug)]
pub struct Keys {
    sending: Key,
    other: Option<Key>,
    /// Whether the other one is not told any more, because it is about to go.
    withdrawn: bool,
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
        Ok(Self { sending: Key::new(sending)?, other, withdrawn: false })
    }

    /// The digest of the key to send with.
    pub fn sending(&self) -> KeyDigest {
        self.sending.digest
    }

    /// The digest of the other key that is accepted.
    pub fn other(&self) -> Option<KeyDigest> {
        self.other.as_ref().map(|key| key.digest)
    }

    /// The digest of the key that was used.
    pub fn used(&self, used: KeyUsed) -> KeyDigest {
        match (used, &self.other) {
            (KeyUsed::Other, Some(other)) => other.digest,
            (KeyUsed::Other, None) | (KeyUsed::Sending, _) => self.sending.digest,
        }
    }

    /// Tells the others from now on that the other key is not accepted any more (it still is), or
    /// that it is again.
    pub fn withdraw(&mut self, withdrawn: bool) {
        self.withdrawn = withdrawn;
    }

    /// The byte of the heartbeat with this number that tells which keys are accepted: one byte of
    /// the digest of the other key; of the one that is sent with, if it is the only one.
    pub fn hint(&self, seq: u64) -> u8 {
        let told = self.other.as_ref().filter(|_| !self.withdrawn).unwrap_or(&self.sending);
        told.digest.told_by(seq).0
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
    /// none did.
    pub fn verify(&self, message: &[u8], tag: &Tag) -> Option<KeyUsed> {
        self.verify_all([message, &[]], tag)
    }

    /// The same for a message in parts, one behind the other, and a tag that may be cut shorter:
    /// one of less than [`TAG_LEN_MIN`] bytes is nobody's.
    pub fn verify_all(&self, parts: [&[u8]; 2], tag: &[u8]) -> Option<KeyUsed> {
        let sending = self.sending.made(parts, tag).then_some(KeyUsed::Sending);
        sending.or_else(|| self.other.as_ref()?.made(parts, tag).then_some(KeyUsed::Other))
    }
}

/// One key: the state of HMAC after the key was fed to it, cloned for each message.
#[derive(Clone)]
struct Key {
    state: Hmac<Sha256>,
    digest: KeyDigest,
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
        let full = state.clone().chain_update(b"tandem key hint").finalize().into_bytes();
        Ok(Self { state, digest: KeyDigest(full.first_chunk().copied().unwrap_or_default()) })
    }

    fn mac(&self, [first, second]: [&[u8]; 2]) -> Hmac<Sha256> {
        self.state.clone().chain_update(first).chain_update(second)
    }

    fn made(&self, parts: [&[u8]; 2], tag: &[u8]) -> bool {
        tag.len() >= TAG_LEN_MIN && self.mac(parts).verify_truncated_left(tag).is_ok()
    }
}

impl fmt::Debug for Key {
    /// Neither the key nor its digest.
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
            assert_eq!(b.verify(b"x", &a.tag(b"x")), Some(by_b));
            assert_eq!(a.verify(b"x", &b.tag(b"x")), Some(by_a));
        }
        assert_eq!(after.verify(b"x", &before.tag(b"x")), None);
    }

    /// Which of all numbers' bytes a link tells that carries every `step`th heartbeat.
    fn told(keys: &Keys, digest: KeyDigest, from: u64, step: u64) -> u16 {
        let seqs = (0..32).map(|n| from + n * step);
        seqs.fold(0, |told, seq| {
            let (byte, place) = digest.told_by(seq);
            if keys.hint(seq) == byte { told | place } else { 0 }
        })
    }

    #[test]
    fn a_tag_may_be_cut_but_not_to_nothing() {
        let keys = Keys::new(OLD, None).unwrap();
        let tag = keys.tag(b"in one part");
        assert_eq!(keys.tag_all([b"in one", b" part"]), tag);
        for len in 0..=TAG_LEN {
            let found = keys.verify_all([b"in ", b"one part"], tag.split_at(len).0);
            assert_eq!(found.is_some(), len >= TAG_LEN_MIN, "{len} bytes");
        }
    }

    #[test]
    fn a_node_tells_the_key_that_it_accepts_besides_the_one_it_sends_with() {
        let old = Keys::new(OLD, None).unwrap();
        let both = Keys::new(OLD, Some(NEW)).unwrap();
        let new = both.other().unwrap();
        for step in [1, 2, 4, 8, 16] {
            assert!(told(&both, new, 1000, step).count_ones() >= TOLD_MIN, "every {step}");
            assert!(told(&both, old.sending(), 1000, step).count_ones() < TOLD_MIN);
            assert!(told(&old, old.sending(), u64::MAX - 600, step).count_ones() >= TOLD_MIN);
            assert!(told(&old, new, 1000, step).count_ones() < TOLD_MIN);
        }
        let mut withdrawn = both.clone();
        withdrawn.withdraw(true);
        assert_eq!(told(&withdrawn, old.sending(), 0, 1), u16::MAX, "as if it were gone");
        assert_eq!(
            withdrawn.verify(b"x", &Keys::new(NEW, None).unwrap().tag(b"x")).unwrap(),
            KeyUsed::Other,
            "but it is still accepted"
        );
        withdrawn.withdraw(false);
        assert_eq!(told(&withdrawn, new, 0, 1), u16::MAX);
    }

    #[test]
    fn digests_are_short_for_people_and_differ() {
        let both = Keys::new(OLD, Some(NEW)).unwrap();
        assert_eq!(both.sending().to_string().len(), 8);
        assert_ne!(Some(both.sending()), both.other());
        assert_eq!(both.used(KeyUsed::Sending), both.sending());
        assert_eq!(Some(both.used(KeyUsed::Other)), both.other());
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
        assert_eq!(shown, "Keys { sending: Key(..), other: Some(Key(..)), withdrawn: false }");
    }
}
