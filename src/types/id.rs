//! Identifiers and counters: one type each, so that none can stand in for another.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A member of the pair, by its number in the configuration (1 to [`NodeId::MAX`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8")]
pub struct NodeId(u8);

impl NodeId {
    /// The largest node number; the peer table, the heartbeat and the configuration share it.
    pub const MAX: u8 = 8;

    /// The node numbered `id`, or nothing if it is not in `1..=NodeId::MAX`.
    pub const fn new(id: u8) -> Option<Self> {
        if id >= 1 && id <= Self::MAX { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for NodeId {
    type Error = NodeIdError;

    fn try_from(id: u8) -> Result<Self, NodeIdError> {
        Self::new(id).ok_or(NodeIdError)
    }
}

/// The number is no node's: they are 1 to [`NodeId::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeIdError;

impl fmt::Display for NodeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a node number: expected 1 to {}", NodeId::MAX)
    }
}

impl core::error::Error for NodeIdError {}

/// A counter, one up at each takeover; a higher term supersedes a lower one. Zero: never held.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Term(pub u64);

impl Term {
    /// Before any takeover.
    pub const NONE: Self = Self(0);

    /// The highest term that is believed: at a takeover a second it is more than a hundred billion
    /// years away, so a higher one is a mistake that would leave no room above it.
    pub const BELIEVED_MAX: Self = Self(1 << 62);

    /// The term after this one. Saturates: at one takeover per nanosecond that is 584 years away.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A random number drawn at each start of the daemon; zero means "none known".
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// No incarnation is known.
    pub const NONE: Self = Self(0);
}

/// The kernel's `boot_id`: with the incarnation it tells a restart from a reboot.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct BootId(pub [u8; 16]);

/// A heartbeat's sequence number: one counter per incarnation, over all links and peers.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

/// How many incarnations of the addressee the sender has accepted so far. The addressee echoes it,
/// so that a recorded message of an incarnation that is gone cannot bring it back.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Session(pub u32);

/// Ties an effect that needs an answer to the one input that answers it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct OpId(pub u64);

macro_rules! small_index {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The position in the table of the configuration, for indexing.
            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    };
}

small_index!(
    /// A heartbeat path, by its position in the configuration.
    LinkId, u8
);
small_index!(
    /// A service NIC, by its position in the configuration.
    NicId, u8
);
small_index!(
    /// A virtual IP, by its position in the configuration.
    VipId, u16
);
small_index!(
    /// A fence device, by its position in the configuration (over all nodes and levels).
    DeviceId, u8
);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for BootId {
    /// As the kernel prints it in `/proc/sys/kernel/random/boot_id`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                write!(f, "-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl core::str::FromStr for BootId {
    type Err = BootIdError;

    fn from_str(text: &str) -> Result<Self, BootIdError> {
        let mut bytes = [0u8; 16];
        let mut digits = text.trim().chars().filter(|c| *c != '-');
        for byte in &mut bytes {
            for _ in 0..2 {
                let digit = digits.next().and_then(|c| c.to_digit(16)).ok_or(BootIdError)?;
                *byte = (*byte << 4) | u8::try_from(digit).map_err(|_e| BootIdError)?;
            }
        }
        if digits.next().is_some() { Err(BootIdError) } else { Ok(Self(bytes)) }
    }
}

/// The text is not a boot id: 32 hexadecimal digits, dashes allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootIdError;

impl fmt::Display for BootIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a boot id: expected 32 hexadecimal digits")
    }
}

impl core::error::Error for BootIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_id_prints_as_the_kernel_does_and_parses_back() {
        let text = "5f1c2e4a-0b6d-4f3e-9a57-00ff12ab34cd";
        let parsed: Result<BootId, _> = text.parse();
        assert_eq!(parsed.map(|id| id.to_string()), Ok(text.to_owned()));
        assert_eq!("5f1c".parse::<BootId>(), Err(BootIdError));
        assert_eq!(format!("{text}00").parse::<BootId>(), Err(BootIdError));
    }

    #[test]
    fn node_ids_are_one_to_eight() {
        assert_eq!(NodeId::new(0), None);
        assert_eq!(NodeId::new(9), None);
        assert_eq!(NodeId::new(8).map(NodeId::get), Some(8));
    }
}
