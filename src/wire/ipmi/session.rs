//! An open session: seals what goes out, opens what comes in, refuses what came before.
//!
//! Knows no commands and no time.

use super::crypto::{self, AES_BLOCK_LEN, CipherSuite, SessionKeys};
use super::packet::{self, Kind, Packet};

/// The byte that fills a signed datagram up, and the header that announces nothing (§13.28.4).
const INTEGRITY_PAD: u8 = 0xff;
const NEXT_HEADER: u8 = 0x07;
/// What is signed has a length that is a multiple of this.
const INTEGRITY_ALIGN: usize = 4;
/// How far behind the newest a datagram may be and still be taken.
const WINDOW_LEN: u32 = 32;

/// A session that both sides have the keys of.
#[derive(Clone)]
pub(super) struct Session {
    suite: CipherSuite,
    console_id: u32,
    managed_id: u32,
    keys: SessionKeys,
    /// The sequence number of the last datagram sent.
    sent: u32,
    received: ReplayWindow,
}

impl Session {
    pub(super) fn new(
        suite: CipherSuite,
        console_id: u32,
        managed_id: u32,
        keys: SessionKeys,
    ) -> Self {
        Self { suite, console_id, managed_id, keys, sent: 0, received: ReplayWindow::default() }
    }

    /// The suite that it was opened with.
    pub(super) fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// The highest sequence number that came. What answers a request sent now has a higher one.
    pub(super) fn newest(&self) -> u32 {
        self.received.newest
    }

    /// The BMC's id of this session.
    pub(super) fn managed_id(&self) -> u32 {
        self.managed_id
    }

    /// The datagram that carries `message`, under a new sequence number: a repetition under the
    /// old one would be dropped as a replay (§6.12.12).
    pub(super) fn seal(&mut self, message: &[u8], iv: [u8; AES_BLOCK_LEN]) -> Vec<u8> {
        // Zero is for datagrams outside a session.
        self.sent = self.sent.wrapping_add(1).max(1);
        let payload = crypto::encrypt(&self.keys.confidentiality, iv, message);
        let mut datagram = packet::emit_sealed(self.managed_id, self.sent, &payload);
        let mut pad_len = 0u8;
        while !(packet::signed_part(&datagram).len() + 2).is_multiple_of(INTEGRITY_ALIGN) {
            datagram.push(INTEGRITY_PAD);
            pad_len += 1;
        }
        datagram.extend_from_slice(&[pad_len, NEXT_HEADER]);
        let signed = packet::signed_part(&datagram);
        let code = self.suite.digest(&self.keys.integrity, &[signed]);
        datagram.extend_from_slice(code.first(self.suite.integrity_code_len()));
        datagram
    }

    /// The message in `packet`. Nothing if it belongs to another session, is not sealed, is not
    /// signed with this session's key, was received before, or does not decrypt.
    pub(super) fn open(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        if !self.owns(packet) {
            return None;
        }
        let code_len = self.suite.integrity_code_len();
        let (signed, code) =
            packet.body.split_at_checked(packet.body.len().checked_sub(code_len)?)?;
        let pad = packet.trailer.get(..packet.trailer.len().checked_sub(code_len)?)?;
        let (pad, &[pad_len, next_header]) = pad.split_last_chunk::<2>()?;
        if next_header != NEXT_HEADER || usize::from(pad_len) != pad.len() {
            return None;
        }
        if !self.suite.verify(&self.keys.integrity, &[signed], code) {
            return None;
        }
        if !self.received.admit(packet.sequence) {
            return None;
        }
        crypto::decrypt(&self.keys.confidentiality, packet.payload)
    }

    /// Whether `packet` claims to be of this session.
    pub(super) fn owns(&self, packet: &Packet<'_>) -> bool {
        packet.sealed && packet.kind == Kind::Message && packet.session_id == self.console_id
    }
}

/// Which sequence numbers came already.
#[derive(Clone, Default)]
struct ReplayWindow {
    newest: u32,
    /// Bit n: `newest - n` came.
    seen: u32,
}

impl ReplayWindow {
    /// Whether `sequence` is new; remembers it.
    fn admit(&mut self, sequence: u32) -> bool {
        if sequence == 0 {
            return false;
        }
        if let Some(ahead @ 1..) = sequence.checked_sub(self.newest) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = sequence;
            return true;
        }
        let behind = self.newest - sequence;
        if behind >= WINDOW_LEN {
            return false;
        }
        let bit = 1u32 << behind;
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_number_is_taken_once_and_old_ones_never() {
        let mut window = ReplayWindow::default();
        assert!(!window.admit(0), "outside a session");
        let order = [
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (40, true),
            (9, true),
            (9, false),
            (8, false),
            (3, false),
            (u32::MAX, true),
            (u32::MAX, false),
            (u32::MAX - 31, true),
            (u32::MAX - 32, false),
            (40, false),
        ];
        for (sequence, expected) in order {
            assert_eq!(window.admit(sequence), expected, "{sequence}");
        }
    }
}
