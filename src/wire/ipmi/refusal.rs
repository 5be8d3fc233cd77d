//! What a BMC's refusals mean for us: give up and say why, try something else, or ask again.
//!
//! Tables of numbers from the specification; no state.

use super::message::Command;
use crate::types::FenceFault;

/// What to do when the BMC refuses to open a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoSession {
    /// It will say the same again.
    GiveUp(FenceFault),
    /// It does not know this cipher suite.
    OtherSuite,
    /// It has no room now, or lost this handshake: begin anew, later; what to report if that does
    /// not help inside the deadline.
    StartOver(FenceFault),
}

/// What to do when the BMC refuses a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotDone {
    /// It will say the same again.
    GiveUp(FenceFault),
    /// It has no time now; what to report if that does not change inside the deadline.
    AskLater(FenceFault),
    /// It has this request already: its first answer was lost.
    AskAnew,
    /// It may refuse because the power is already as ordered: read it.
    ReadPower,
}

/// The status codes of Open Session and RAKP messages (IPMI v2.0 table 13-15).
pub(super) const fn of_status(status: u8) -> NoSession {
    match status {
        // No resources; none at the requested role.
        0x01 | 0x0b => NoSession::StartOver(FenceFault::Exhausted),
        // Invalid authentication, integrity, confidentiality algorithm; no matching proposal;
        // illegal parameter, as some say instead.
        0x04..=0x07 | 0x10..=0x12 => NoSession::OtherSuite,
        // Invalid role; unauthorized role or privilege level.
        0x09 | 0x0a => NoSession::GiveUp(FenceFault::Privilege),
        // Invalid name length; unauthorized name.
        0x0c | 0x0d => NoSession::GiveUp(FenceFault::Credentials),
        // Invalid integrity check value. The BMC has proved that it knows our password, so most
        // likely a repeated RAKP message 1 made it forget the challenge that we answered.
        0x0f => NoSession::StartOver(FenceFault::Credentials),
        // Invalid or inactive session id, invalid payload type.
        0x02 | 0x03 | 0x08 => NoSession::StartOver(FenceFault::Timeout),
        _ => NoSession::GiveUp(FenceFault::Refused),
    }
}

/// The completion codes (IPMI v2.0 table 5-2, and those of the command itself).
pub(super) const fn of_completion(command: Command, code: u8) -> NotDone {
    match (command, code) {
        // Level not available to this user; above the limit of user or channel (§22.18).
        (Command::RaisePrivilege, 0x80 | 0x81) => NotDone::GiveUp(FenceFault::Privilege),
        (_, 0xd4) => NotDone::GiveUp(FenceFault::Privilege),
        // Not supported in present state: usually "already off", "already on".
        (Command::PowerDown | Command::PowerUp, 0xd5) => NotDone::ReadPower,
        // Node busy; timed out while processing; firmware update; initialization.
        (_, 0xc0 | 0xc3 | 0xd1 | 0xd2) => NotDone::AskLater(FenceFault::Refused),
        (_, 0xcf) => NotDone::AskAnew,
        // Invalid command; invalid for this LUN; disabled or unavailable in this firmware.
        (_, 0xc1 | 0xc2 | 0xd6) => NotDone::GiveUp(FenceFault::Unsupported),
        _ => NotDone::GiveUp(FenceFault::Refused),
    }
}
