//! What a fence device can say, and the ways in which it can fail to say it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A power reading. `Unknown` is a third value, never taken for off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Power {
    /// The device says that the host has power.
    On,
    /// The device says that the host has none.
    Off,
    /// The device answered, but not with on or off.
    Unknown,
}

/// Why a fence device did not do or tell what it was asked. Told apart because each has another
/// remedy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum FenceFault {
    /// No answer at all: no power at the BMC, its cable out, a wrong address.
    Unreachable,
    /// It answers, but refuses the user or the password.
    Credentials,
    /// Its certificate is not the one it should have: nothing was told to it, not even a password.
    Certificate,
    /// It belongs to another machine than it should: nothing was told to it.
    WrongMachine,
    /// It knows the user, but the user may not do this.
    Privilege,
    /// It understood and refused the command itself.
    Refused,
    /// It does not know the command.
    Unsupported,
    /// It opens no session: all that it can have are in use.
    Exhausted,
    /// What it answers is not its protocol.
    Garbled,
    /// It works on it, or answers slowly: no verdict inside the deadline.
    Timeout,
    /// The agent could not be started, was killed by a signal, or printed without end.
    AgentFailed,
    /// The attempt was given up by us, before it had an answer.
    Cancelled,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for FenceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Credentials => "wrong user or password",
            Self::Certificate => "its certificate is not the expected one",
            Self::WrongMachine => "it belongs to another machine: nothing was told to it",
            Self::Privilege => "user lacks the privilege",
            Self::Refused => "refused the command",
            Self::Unsupported => "does not know the command",
            Self::Exhausted => "all its sessions are in use",
            Self::Garbled => "answers are not understood",
            Self::Timeout => "no verdict in time",
            Self::AgentFailed => "the agent failed",
            Self::Cancelled => "given up; it may yet be carried out",
        })
    }
}
