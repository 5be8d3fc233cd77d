//! The messages that open a session: Open Session and RAKP 1 to 4 (IPMI v2.0 §13.17 to §13.24).
//!
//! Layouts alone; what is digested over them is in [`super::handshake`].

use super::crypto::CipherSuite;

/// Operator: the lowest privilege that may switch power (IPMI v2.0 appendix G).
pub(super) const PRIVILEGE_OPERATOR: u8 = 0x03;
/// The role asked for: operator, the user looked up by name alone (§13.20, bit 4).
pub(super) const ROLE: u8 = 0x10 | PRIVILEGE_OPERATOR;
/// A status of success.
pub(super) const STATUS_OK: u8 = 0x00;

/// Asks for a session with the algorithms of `suite`.
pub(super) fn emit_open_request(tag: u8, console_id: u32, suite: CipherSuite) -> Vec<u8> {
    let mut payload = vec![tag, PRIVILEGE_OPERATOR, 0x00, 0x00];
    payload.extend_from_slice(&console_id.to_le_bytes());
    for (kind, algorithm) in (0u8..).zip(suite.algorithms()) {
        payload.extend_from_slice(&[kind, 0x00, 0x00, 0x08, algorithm, 0x00, 0x00, 0x00]);
    }
    payload
}

/// What all of the BMC's messages begin with.
struct Head<'a> {
    tag: u8,
    status: u8,
    /// Our id of the session; zero if a refusal does not name it.
    console_id: u32,
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    /// A refusal may end right behind its status, as `ipmi_sim`'s do, or go on with anything.
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let (&[tag, status], rest) = payload.split_first_chunk::<2>()?;
        match rest.split_first_chunk::<6>() {
            Some((&[_, _, a, b, c, d], rest)) => {
                Some(Self { tag, status, console_id: u32::from_le_bytes([a, b, c, d]), rest })
            }
            None if status != STATUS_OK => Some(Self { tag, status, console_id: 0, rest: &[] }),
            None => None,
        }
    }
}

/// The BMC's answer to an open request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OpenResponse {
    pub(super) tag: u8,
    pub(super) console_id: u32,
    /// The BMC's id of the session and the algorithms it took, or its reason to refuse.
    pub(super) verdict: Result<Opened, u8>,
}

/// What an open session was agreed to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opened {
    pub(super) managed_id: u32,
    pub(super) algorithms: [u8; 3],
}

impl OpenResponse {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let Head { tag, status, console_id, rest } = Head::parse(payload)?;
        if status != STATUS_OK {
            return Some(Self { tag, console_id, verdict: Err(status) });
        }
        let (managed_id, rest) = rest.split_first_chunk::<4>()?;
        let (&[_, _, _, _, first, ..], rest) = rest.split_first_chunk::<8>()?;
        let (&[_, _, _, _, second, ..], rest) = rest.split_first_chunk::<8>()?;
        let (&[_, _, _, _, third, ..], _) = rest.split_first_chunk::<8>()?;
        let managed_id = u32::from_le_bytes(*managed_id);
        let opened = Opened { managed_id, algorithms: [first, second, third] };
        Some(Self { tag, console_id, verdict: Ok(opened) })
    }
}

/// Challenges the BMC to prove that it knows the password of `user` (at most 16 bytes).
pub(super) fn emit_rakp1(tag: u8, managed_id: u32, random: &[u8; 16], user: &[u8]) -> Vec<u8> {
    let mut payload = vec![tag, 0x00, 0x00, 0x00];
    payload.extend_from_slice(&managed_id.to_le_bytes());
    payload.extend_from_slice(random);
    payload.extend_from_slice(&[ROLE, 0x00, 0x00]);
    payload.push(u8::try_from(user.len()).unwrap_or(u8::MAX));
    payload.extend_from_slice(user);
    payload
}

/// The BMC's proof, and its challenge to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rakp2<'a> {
    pub(super) tag: u8,
    pub(super) console_id: u32,
    pub(super) verdict: Result<Challenged<'a>, u8>,
}

/// The content of a RAKP message 2 that is no refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Challenged<'a> {
    pub(super) random: [u8; 16],
    pub(super) guid: [u8; 16],
    pub(super) code: &'a [u8],
}

impl<'a> Rakp2<'a> {
    /// Nothing if it is too short, or its code does not have `suite`'s length.
    pub(super) fn parse(payload: &'a [u8], suite: CipherSuite) -> Option<Self> {
        let Head { tag, status, console_id, rest } = Head::parse(payload)?;
        if status != STATUS_OK {
            return Some(Self { tag, console_id, verdict: Err(status) });
        }
        let (random, rest) = rest.split_first_chunk::<16>()?;
        let (guid, code) = rest.split_first_chunk::<16>()?;
        if code.len() != suite.exchange_code_len() {
            return None;
        }
        let challenged = Challenged { random: *random, guid: *guid, code };
        Some(Self { tag, console_id, verdict: Ok(challenged) })
    }
}

/// Our proof that we know the password.
pub(super) fn emit_rakp3(tag: u8, managed_id: u32, code: &[u8]) -> Vec<u8> {
    let mut payload = vec![tag, STATUS_OK, 0x00, 0x00];
    payload.extend_from_slice(&managed_id.to_le_bytes());
    payload.extend_from_slice(code);
    payload
}

/// The BMC's word that the session is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rakp4<'a> {
    pub(super) tag: u8,
    pub(super) console_id: u32,
    /// The code over the session, or the reason to refuse it.
    pub(super) verdict: Result<&'a [u8], u8>,
}

impl<'a> Rakp4<'a> {
    /// Nothing if it is too short, or its code does not have `suite`'s length.
    pub(super) fn parse(payload: &'a [u8], suite: CipherSuite) -> Option<Self> {
        let Head { tag, status, console_id, rest: code } = Head::parse(payload)?;
        if status != STATUS_OK {
            return Some(Self { tag, console_id, verdict: Err(status) });
        }
        if code.len() != suite.integrity_code_len() {
            return None;
        }
        Some(Self { tag, console_id, verdict: Ok(code) })
    }
}
