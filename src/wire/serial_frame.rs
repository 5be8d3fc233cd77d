//! Frames on a serial line: where a message begins and ends, and whether it is whole.
//!
//! A line carries bytes, not messages: some get lost, others are invented by noise or printed by
//! a console at the far end. A frame is a message and its CRC-32 (IEEE 802.3), written without any
//! zero byte by Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999), between two zeros:
//!
//! ```text
//!   0 | code | up to 254 bytes, none of them zero | code | ... | 0
//!       code: how far it is to the next code, which stands for a zero unless this one is 255
//!   decoded: message | CRC-32 of it, 4 bytes, little endian
//! ```
//!
//! The zero in front ends whatever was on the line before, so that noise, a half frame or a login
//! prompt costs no frame but the one that it hits. Nothing here decides whether a message is
//! authentic: a CRC is no tag. Nothing is kept but what may become one frame.

/// The longest message in bytes.
pub const MESSAGE_LEN_MAX: usize = super::heartbeat::LEN_MAX;
/// The longest frame in bytes, both delimiters included.
pub const FRAME_LEN_MAX: usize = ENCODED_LEN_MAX + 2;

const CHECKSUM_LEN: usize = 4;
const DECODED_LEN_MAX: usize = MESSAGE_LEN_MAX + CHECKSUM_LEN;
/// One code in front, and one more for each 254 bytes.
const ENCODED_LEN_MAX: usize = DECODED_LEN_MAX + 1 + DECODED_LEN_MAX / RUN_LEN_MAX;
/// How many bytes other than zero one code stands before.
const RUN_LEN_MAX: usize = 254;
const DELIMITER: u8 = 0;

/// A message made ready for the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    bytes: [u8; FRAME_LEN_MAX],
    len: usize,
}

impl Frame {
    /// The frame of `message`; nothing if it is longer than [`MESSAGE_LEN_MAX`].
    pub fn new(message: &[u8]) -> Option<Self> {
        if message.len() > MESSAGE_LEN_MAX {
            return None;
        }
        let mut frame = Self { bytes: [DELIMITER; FRAME_LEN_MAX], len: 1 };
        let checksum = crc32fast::hash(message).to_le_bytes();
        frame.stuff(message.iter().chain(&checksum).copied());
        frame.len = frame.len.saturating_add(1);
        Some(frame)
    }

    /// The bytes to write.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn stuff(&mut self, decoded: impl Iterator<Item = u8>) {
        let (mut code_at, mut code) = (self.len, 1_u8);
        self.len = self.len.saturating_add(1);
        for byte in decoded {
            if byte != DELIMITER {
                self.put(self.len, byte);
                self.len = self.len.saturating_add(1);
                code = code.saturating_add(1);
            }
            if byte == DELIMITER || code == u8::MAX {
                self.put(code_at, code);
                (code_at, code) = (self.len, 1);
                self.len = self.len.saturating_add(1);
            }
        }
        self.put(code_at, code);
    }

    fn put(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.bytes.get_mut(at) {
            *place = byte;
        }
    }
}

/// What was dropped, by reason: each is one stretch between two delimiters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Longer than any frame: somebody talks without end.
    pub overlong: u64,
    /// Not stuffed as a frame is.
    pub garbled: u64,
    /// Too short to hold a message.
    pub too_short: u64,
    /// Its CRC is wrong: damaged on the way, or never a frame.
    pub checksum: u64,
    /// All bytes in them.
    pub bytes: u64,
}

impl Dropped {
    /// How many stretches.
    pub fn count(&self) -> u64 {
        [self.overlong, self.garbled, self.too_short, self.checksum]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// Finds the messages in a stream of bytes, however it comes in pieces.
#[derive(Clone, Debug)]
pub struct Deframer {
    /// What has come since the last delimiter.
    stretch: [u8; ENCODED_LEN_MAX],
    len: usize,
    /// How many bytes of the stretch did not fit.
    beyond: u64,
    dropped: Dropped,
}

/// Why a stretch is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Overlong,
    Garbled,
    TooShort,
    Checksum,
}

impl Deframer {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self { stretch: [0; ENCODED_LEN_MAX], len: 0, beyond: 0, dropped: Dropped::default() }
    }

    /// Takes bytes in and hands every message that they complete to `sink`.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) {
        for byte in bytes {
            if *byte != DELIMITER {
                self.keep(*byte);
                continue;
            }
            let mut message = [0; DECODED_LEN_MAX];
            if let Some(len) = self.end_stretch(&mut message) {
                sink(message.get(..len).unwrap_or_default());
            }
        }
    }

    /// What was dropped since it was made.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Forgets what has come since the last delimiter: the line was opened anew.
    pub fn restart(&mut self) {
        self.len = 0;
        self.beyond = 0;
    }

    fn keep(&mut self, byte: u8) {
        match self.stretch.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len = self.len.saturating_add(1);
            }
            None => self.beyond = self.beyond.saturating_add(1),
        }
    }

    /// The message that the stretch is, at the beginning of `message`: its length.
    fn end_stretch(&mut self, message: &mut [u8; DECODED_LEN_MAX]) -> Option<usize> {
        let (len, beyond) = (self.len, self.beyond);
        self.restart();
        if len == 0 {
            return None;
        }
        let stretch = self.stretch.get(..len).unwrap_or_default();
        let found = if beyond > 0 { Err(Fault::Overlong) } else { decode(stretch, message) };
        let fault = match found {
            Ok(len) => return Some(len),
            Err(fault) => fault,
        };
        let count = match fault {
            Fault::Overlong => &mut self.dropped.overlong,
            Fault::Garbled => &mut self.dropped.garbled,
            Fault::TooShort => &mut self.dropped.too_short,
            Fault::Checksum => &mut self.dropped.checksum,
        };
        *count = count.saturating_add(1);
        let bytes = u64::try_from(len).unwrap_or(u64::MAX).saturating_add(beyond);
        self.dropped.bytes = self.dropped.bytes.saturating_add(bytes);
        None
    }
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

/// Undoes the stuffing and checks the CRC; the length of the message.
fn decode(mut stretch: &[u8], decoded: &mut [u8; DECODED_LEN_MAX]) -> Result<usize, Fault> {
    let mut len = 0_usize;
    while let Some((code, rest)) = stretch.split_first() {
        let run_len = usize::from(*code).checked_sub(1).ok_or(Fault::Garbled)?;
        let (run, rest) = rest.split_at_checked(run_len).ok_or(Fault::Garbled)?;
        let end = len.saturating_add(run_len);
        decoded.get_mut(len..end).ok_or(Fault::Overlong)?.copy_from_slice(run);
        len = end;
        if *code != u8::MAX && !rest.is_empty() {
            *decoded.get_mut(len).ok_or(Fault::Overlong)? = DELIMITER;
            len = len.saturating_add(1);
        }
        stretch = rest;
    }
    let whole = decoded.get(..len).unwrap_or_default();
    let (message, checksum) = whole.split_last_chunk::<CHECKSUM_LEN>().ok_or(Fault::TooShort)?;
    if message.is_empty() {
        return Err(Fault::TooShort);
    }
    let is_whole = crc32fast::hash(message) == u32::from_le_bytes(*checksum);
    if is_whole { Ok(message.len()) } else { Err(Fault::Checksum) }
}

#[cfg(test)]
mod tests;
