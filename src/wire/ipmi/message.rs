//! The IPMI message inside a session, and the few commands that a fence needs.
//!
//! Knows the commands' bytes, not when to send them nor what a refusal means.
//!
//! ```text
//! request   20 | netfn/lun | sum | 81 | seq/lun | command |              data … | sum   (§13.8)
//! response  81 | netfn/lun | sum | 20 | seq/lun | command | completion | data … | sum
//! ```

use super::rakp::PRIVILEGE_OPERATOR;
use crate::types::Power;

/// Request sequence numbers have six bits.
pub(super) const SEQ_MAX: u8 = 0x3f;

const ADDRESS_BMC: u8 = 0x20;
const ADDRESS_CONSOLE: u8 = 0x81;
const NETFN_CHASSIS: u8 = 0x00;
const NETFN_APP: u8 = 0x06;
const NETFN_TRANSPORT: u8 = 0x0c;
/// The channel that the request comes in on (§6.3).
const CHANNEL_THIS: u8 = 0x0e;
/// Asks for what IPMI v2.0 added to an answer (§22.13), or for suites instead of algorithms
/// (§22.15).
const EXTENDED: u8 = 0x80;

/// A command to the BMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    /// Set Session Privilege Level (§22.18): a new session may do no more than a plain user.
    RaisePrivilege,
    /// Get Chassis Status (§28.2).
    ReadPower,
    /// Chassis Control, power down (§28.3): at once, without asking the operating system.
    PowerDown,
    /// Chassis Control, power up.
    PowerUp,
    /// Close Session (§22.19), naming the session by the BMC's id of it.
    CloseSession(u32),
    /// Get Device ID (§20.1): the firmware.
    TellFirmware,
    /// Get Device GUID (§20.8).
    TellDeviceGuid,
    /// Get System GUID (§22.14).
    TellSystemGuid,
    /// Get Channel Authentication Capabilities (§22.13): who may log in with what.
    TellLogins,
    /// Get Channel Cipher Suites (§22.15), the part of the list with this number.
    TellSuites(u8),
    /// Get LAN Configuration Parameters (§23.2), this one.
    TellLan(u8),
}

impl Command {
    const fn numbers(self) -> (u8, u8) {
        match self {
            Self::RaisePrivilege => (NETFN_APP, 0x3b),
            Self::ReadPower => (NETFN_CHASSIS, 0x01),
            Self::PowerDown | Self::PowerUp => (NETFN_CHASSIS, 0x02),
            Self::CloseSession(_) => (NETFN_APP, 0x3c),
            Self::TellFirmware => (NETFN_APP, 0x01),
            Self::TellDeviceGuid => (NETFN_APP, 0x08),
            Self::TellSystemGuid => (NETFN_APP, 0x37),
            Self::TellLogins => (NETFN_APP, 0x38),
            Self::TellSuites(_) => (NETFN_APP, 0x54),
            Self::TellLan(_) => (NETFN_TRANSPORT, 0x02),
        }
    }

    /// The request message with sequence number `seq`.
    pub(super) fn emit(self, seq: u8) -> Vec<u8> {
        let (net_fn, command) = self.numbers();
        let mut message = vec![ADDRESS_BMC, net_fn << 2];
        message.push(checksum(&message));
        let mut rest = vec![ADDRESS_CONSOLE, (seq & SEQ_MAX) << 2, command];
        match self {
            Self::RaisePrivilege => rest.push(PRIVILEGE_OPERATOR),
            Self::ReadPower | Self::TellFirmware | Self::TellDeviceGuid | Self::TellSystemGuid => {}
            Self::TellLogins => {
                rest.extend_from_slice(&[EXTENDED | CHANNEL_THIS, PRIVILEGE_OPERATOR]);
            }
            Self::TellSuites(part) => {
                rest.extend_from_slice(&[CHANNEL_THIS, 0x00, EXTENDED | part]);
            }
            Self::TellLan(parameter) => {
                rest.extend_from_slice(&[CHANNEL_THIS, parameter, 0x00, 0x00]);
            }
            Self::PowerDown => rest.push(0x00),
            Self::PowerUp => rest.push(0x01),
            Self::CloseSession(id) => rest.extend_from_slice(&id.to_le_bytes()),
        }
        rest.push(checksum(&rest));
        message.append(&mut rest);
        message
    }

    /// Whether it is asked outside the session: some BMCs answer it nowhere else.
    pub(super) const fn is_bare(self) -> bool {
        matches!(self, Self::TellLogins)
    }

    /// Whether `response` answers this command as sent with `seq`.
    pub(super) fn is_answered_by(self, seq: u8, response: &Response<'_>) -> bool {
        let (net_fn, command) = self.numbers();
        response.net_fn == net_fn + 1 && response.command == command && response.seq == seq
    }
}

/// The BMC's answer to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Response<'a> {
    pub(super) net_fn: u8,
    pub(super) seq: u8,
    pub(super) command: u8,
    /// Zero is success (§5.2).
    pub(super) completion: u8,
    pub(super) data: &'a [u8],
}

impl<'a> Response<'a> {
    /// Takes a response apart; nothing if it is too short or a checksum is wrong.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (head, rest) = message.split_first_chunk::<3>()?;
        if head.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0
            || rest.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0
        {
            return None;
        }
        let &[_, net_fn, _] = head;
        let (&[_, seq, command, completion], rest) = rest.split_first_chunk::<4>()?;
        let (_, data) = rest.split_last()?;
        Some(Self { net_fn: net_fn >> 2, seq: seq >> 2, command, completion, data })
    }

    /// The power as Get Chassis Status tells it; nothing if the answer is empty.
    pub(super) fn power(&self) -> Option<Power> {
        let (state, _) = self.data.split_first()?;
        Some(if state & 0x01 == 0 { Power::Off } else { Power::On })
    }

    /// The privilege as Set Session Privilege Level tells it.
    pub(super) fn privilege(&self) -> Option<u8> {
        self.data.first().map(|level| level & 0x0f)
    }
}

/// The two's complement of the sum: with it, the sum is zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte))
}
