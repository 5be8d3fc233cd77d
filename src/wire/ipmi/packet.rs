//! The outer layers of a datagram: RMCP header and RMCP+ session header.
//!
//! Knows where things lie, not what they mean: neither keys nor sessions.
//!
//! ```text
//!  0        1        2        3        4        5        6..9       10..13     14..15
//! +--------+--------+--------+--------+--------+--------+----------+----------+---------+--------
//! | ver 06 | 00     | seq ff | cls 07 | fmt 06 | E A typ| sess. id | sequence | length  | payload
//! +--------+--------+--------+--------+--------+--------+----------+----------+---------+--------
//!  RMCP (§13.1.3)                      session header (§13.6); E encrypted, A signed; LE
//!
//!  if signed, behind the payload: pad ff … | pad length | next header 07 | code
//! ```

/// The longest datagram that is sent or understood, in bytes. Everything here needs far less.
pub const DATAGRAM_LEN_MAX: usize = 512;

const RMCP_HEADER: [u8; 4] = [0x06, 0x00, 0xff, 0x07];
const FORMAT_RMCP_PLUS: u8 = 0x06;
/// The session header of IPMI v1.5 without a session: authentication none, sequence 0, session 0.
const HEADER_BARE: [u8; 9] = [0; 9];
const SEALED_BITS: u8 = 0xc0;
const TYPE_MASK: u8 = 0x3f;

/// What a datagram carries (IPMI v2.0 table 13-16), as far as it is spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An IPMI message; always encrypted and signed here.
    Message,
    OpenRequest,
    OpenResponse,
    Rakp1,
    Rakp2,
    Rakp3,
    Rakp4,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Message => 0x00,
            Self::OpenRequest => 0x10,
            Self::OpenResponse => 0x11,
            Self::Rakp1 => 0x12,
            Self::Rakp2 => 0x13,
            Self::Rakp3 => 0x14,
            Self::Rakp4 => 0x15,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0x00 => Self::Message,
            0x10 => Self::OpenRequest,
            0x11 => Self::OpenResponse,
            0x12 => Self::Rakp1,
            0x13 => Self::Rakp2,
            0x14 => Self::Rakp3,
            0x15 => Self::Rakp4,
            _ => return None,
        })
    }
}

/// A datagram taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packet<'a> {
    pub(super) kind: Kind,
    /// Encrypted and signed. One without the other is not spoken here.
    pub(super) sealed: bool,
    /// The receiver's id of the session; zero outside a session.
    pub(super) session_id: u32,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
    /// What lies behind the payload: empty, or padding and code of a signed datagram.
    pub(super) trailer: &'a [u8],
    /// From the format byte to the end of the datagram: what is signed, and the code.
    pub(super) body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes `datagram` apart. Nothing if it is none of ours: another class, version, format,
    /// payload type, only half protected, or shorter than it says.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        if datagram.len() > DATAGRAM_LEN_MAX {
            return None;
        }
        let (&[version, _, _, class], body) = datagram.split_first_chunk::<4>()?;
        let (&[format, flags], rest) = body.split_first_chunk::<2>()?;
        let [rmcp_version, _, _, rmcp_class] = RMCP_HEADER;
        if version != rmcp_version || class != rmcp_class || format != FORMAT_RMCP_PLUS {
            return None;
        }
        let sealed = match flags & SEALED_BITS {
            0 => false,
            SEALED_BITS => true,
            _ => return None,
        };
        let kind = Kind::from_number(flags & TYPE_MASK)?;
        let (session_id, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (payload, trailer) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        Some(Self {
            kind,
            sealed,
            session_id: u32::from_le_bytes(*session_id),
            sequence: u32::from_le_bytes(*sequence),
            payload,
            trailer,
            body,
        })
    }
}

/// The datagram of a message outside any session.
pub(super) fn emit_plain(kind: Kind, payload: &[u8]) -> Vec<u8> {
    emit(kind.number(), 0, 0, payload)
}

/// The datagram of a session up to the end of its payload; padding and code are still to come.
pub(super) fn emit_sealed(session_id: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    emit(SEALED_BITS | Kind::Message.number(), session_id, sequence, payload)
}

/// The datagram of an IPMI message outside any session, in the format that every BMC answers in,
/// too (§13.6, format byte 0).
pub(super) fn emit_bare(message: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(DATAGRAM_LEN_MAX);
    datagram.extend_from_slice(&RMCP_HEADER);
    datagram.extend_from_slice(&HEADER_BARE);
    datagram.push(u8::try_from(message.len()).unwrap_or(u8::MAX));
    datagram.extend_from_slice(message);
    datagram
}

/// The message in a datagram as [`emit_bare`] makes them; nothing if it is another.
pub(super) fn parse_bare(datagram: &[u8]) -> Option<&[u8]> {
    let (&[version, _, _, class], rest) = datagram.split_first_chunk::<4>()?;
    let (header, rest) = rest.split_first_chunk::<9>()?;
    let [rmcp_version, _, _, rmcp_class] = RMCP_HEADER;
    if version != rmcp_version || class != rmcp_class || *header != HEADER_BARE {
        return None;
    }
    let (len, message) = rest.split_first()?;
    message.get(..usize::from(*len))
}

/// What of `datagram` is signed: all but the RMCP header.
pub(super) fn signed_part(datagram: &[u8]) -> &[u8] {
    datagram.get(RMCP_HEADER.len()..).unwrap_or(&[])
}

fn emit(flags: u8, session_id: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    // Everything sent from here is below DATAGRAM_LEN_MAX; longer would be cut, never mislabelled.
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut datagram = Vec::with_capacity(DATAGRAM_LEN_MAX);
    datagram.extend_from_slice(&RMCP_HEADER);
    datagram.push(FORMAT_RMCP_PLUS);
    datagram.push(flags);
    datagram.extend_from_slice(&session_id.to_le_bytes());
    datagram.extend_from_slice(&sequence.to_le_bytes());
    datagram.extend_from_slice(&len.to_le_bytes());
    datagram.extend(payload.iter().take(usize::from(len)));
    datagram
}
