//! The two cipher suites: keyed digests, key derivation, AES-CBC, and random bytes from a seed.
//!
//! Knows no packet layout. Every key fits one digest block, so nothing here can fail.
//!
//! IPMI v2.0 §13.28 (authentication), §13.29 (AES-CBC), §13.31 (SIK), §13.32 (K1, K2).

use aes::Aes128;
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// The size of an AES block and of an initialisation vector in bytes.
pub const AES_BLOCK_LEN: usize = 16;
/// The constant that is digested into K1 and K2 has 20 bytes, in suite 17 as well.
const KEY_CONSTANT_LEN: usize = 20;
/// The block of SHA-1 and of SHA-256; no key used here is longer.
const HMAC_BLOCK_LEN: usize = 64;

/// A set of algorithms that console and BMC agree on (IPMI v2.0 table 22-20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CipherSuite {
    /// RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    Three,
    /// RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Seventeen,
}

impl CipherSuite {
    /// The suite's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Three => 3,
            Self::Seventeen => 17,
        }
    }

    /// The numbers of its authentication, integrity and confidentiality algorithms.
    pub(super) const fn algorithms(self) -> [u8; 3] {
        match self {
            Self::Three => [0x01, 0x01, 0x01],
            Self::Seventeen => [0x03, 0x04, 0x01],
        }
    }

    /// The length of the key exchange code in RAKP messages 2 and 3.
    pub(super) const fn exchange_code_len(self) -> usize {
        match self {
            Self::Three => 20,
            Self::Seventeen => 32,
        }
    }

    /// The length of the code that ends RAKP message 4 and every datagram of a session.
    pub(super) const fn integrity_code_len(self) -> usize {
        match self {
            Self::Three => 12,
            Self::Seventeen => 16,
        }
    }

    /// The suite's keyed digest over `parts`, one after the other.
    pub(super) fn digest(self, key: &Key, parts: &[&[u8]]) -> Digest {
        match self {
            Self::Three => Digest::new(&sha1_over(key, parts).finalize().into_bytes()),
            Self::Seventeen => Digest::new(&sha256_over(key, parts).finalize().into_bytes()),
        }
    }

    /// Whether `code` is the beginning of the digest over `parts`; takes the same time wherever
    /// they differ. The caller has cut `code` to the length that the message demands.
    pub(super) fn verify(self, key: &Key, parts: &[&[u8]], code: &[u8]) -> bool {
        match self {
            Self::Three => sha1_over(key, parts).verify_truncated_left(code).is_ok(),
            Self::Seventeen => sha256_over(key, parts).verify_truncated_left(code).is_ok(),
        }
    }
}

fn sha1_over(key: &Key, parts: &[&[u8]]) -> Hmac<Sha1> {
    let mut mac = <Hmac<Sha1> as KeyInit>::new(&Array::from(key.0));
    for part in parts {
        mac.update(part);
    }
    mac
}

fn sha256_over(key: &Key, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&Array::from(key.0));
    for part in parts {
        mac.update(part);
    }
    mac
}

/// A key for a keyed digest, padded with zeros to the digest's block as HMAC itself does
/// (RFC 2104 §2): so the 20-byte field of a shorter password gives the same key.
#[derive(Clone)]
pub(super) struct Key([u8; HMAC_BLOCK_LEN]);

impl Key {
    /// The key `bytes`, of which there are at most 64; what exceeds that is not used.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut block = [0; HMAC_BLOCK_LEN];
        for (place, byte) in block.iter_mut().zip(bytes) {
            *place = *byte;
        }
        Self(block)
    }
}

/// A keyed digest of either length.
#[derive(Clone)]
pub(super) struct Digest {
    bytes: [u8; 32],
    len: usize,
}

impl Digest {
    fn new(source: &[u8]) -> Self {
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().zip(source) {
            *place = *byte;
        }
        Self { bytes, len: source.len().min(32) }
    }

    /// The digest: 20 or 32 bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.first(self.len)
    }

    /// Its first `len` bytes, or all if it has fewer.
    pub(super) fn first(&self, len: usize) -> &[u8] {
        self.bytes.get(..len.min(self.len)).unwrap_or(&[])
    }

    fn aes_key(&self) -> [u8; AES_BLOCK_LEN] {
        let mut key = [0; AES_BLOCK_LEN];
        for (place, byte) in key.iter_mut().zip(self.bytes) {
            *place = byte;
        }
        key
    }
}

/// The keys of one session, made from its session integrity key.
#[derive(Clone)]
pub(super) struct SessionKeys {
    /// Signs datagrams (K1).
    pub(super) integrity: Key,
    /// Encrypts payloads (the first 16 bytes of K2).
    pub(super) confidentiality: [u8; AES_BLOCK_LEN],
}

impl SessionKeys {
    /// IPMI v2.0 §13.32: K1 and K2 are digests, under the SIK, of 20 bytes 01 and 20 bytes 02.
    pub(super) fn derive(suite: CipherSuite, sik: &Key) -> Self {
        let k1 = suite.digest(sik, &[&[0x01; KEY_CONSTANT_LEN]]);
        let k2 = suite.digest(sik, &[&[0x02; KEY_CONSTANT_LEN]]);
        Self { integrity: Key::new(k1.as_slice()), confidentiality: k2.aes_key() }
    }
}

/// Encrypts `plain`: the vector, then the blocks, padded with 01 02 03 … and the padding's length
/// (IPMI v2.0 table 13-20).
pub(super) fn encrypt(key: &[u8; AES_BLOCK_LEN], iv: [u8; AES_BLOCK_LEN], plain: &[u8]) -> Vec<u8> {
    let mut padded = plain.to_vec();
    let mut pad_len = 0u8;
    while !(padded.len() + 1).is_multiple_of(AES_BLOCK_LEN) {
        pad_len += 1;
        padded.push(pad_len);
    }
    padded.push(pad_len);
    let mut cipher = cbc::Encryptor::<Aes128>::new(&Array::from(*key), &Array::from(iv));
    let (blocks, _) = padded.as_chunks_mut::<AES_BLOCK_LEN>();
    for place in blocks {
        let mut block = Array::from(*place);
        cipher.encrypt_block(&mut block);
        *place = block.into();
    }
    let mut sealed = iv.to_vec();
    sealed.append(&mut padded);
    sealed
}

/// Undoes [`encrypt`]. Nothing if the length or the padding cannot be right; the caller has
/// verified the datagram's code before, so this tells nobody anything about the key.
pub(super) fn decrypt(key: &[u8; AES_BLOCK_LEN], sealed: &[u8]) -> Option<Vec<u8>> {
    let (iv, body) = sealed.split_first_chunk::<AES_BLOCK_LEN>()?;
    let mut plain = body.to_vec();
    let (blocks, rest) = plain.as_chunks_mut::<AES_BLOCK_LEN>();
    if blocks.is_empty() || !rest.is_empty() {
        return None;
    }
    let mut cipher = cbc::Decryptor::<Aes128>::new(&Array::from(*key), &Array::from(*iv));
    for place in blocks {
        let mut block = Array::from(*place);
        cipher.decrypt_block(&mut block);
        *place = block.into();
    }
    let pad_len = usize::from(plain.pop()?);
    if pad_len >= AES_BLOCK_LEN {
        return None;
    }
    let pad = plain.split_off(plain.len().checked_sub(pad_len)?);
    let expected = 1u8..;
    if pad.iter().zip(expected).any(|(byte, expected)| *byte != expected) {
        return None;
    }
    Some(plain)
}

/// Random bytes from a seed that the caller drew: the n-th is a digest of n under the seed, so
/// that nobody without the seed foresees it, and a recording replays.
#[derive(Clone)]
pub(super) struct Entropy {
    seed: Key,
    drawn: u64,
}

impl Entropy {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self { seed: Key::new(seed), drawn: 0 }
    }

    /// The next 16 bytes.
    pub(super) fn draw(&mut self) -> [u8; 16] {
        let drawn = CipherSuite::Seventeen.digest(&self.seed, &[&self.drawn.to_le_bytes()]);
        self.drawn = self.drawn.wrapping_add(1);
        drawn.aes_key()
    }

    /// The next session id: any but zero, which means "no session".
    pub(super) fn draw_session_id(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.draw();
        u32::from_le_bytes([a, b, c, d]).max(1)
    }
}
