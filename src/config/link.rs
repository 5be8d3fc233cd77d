//! What the configuration says of one heartbeat link, as a checked plan; and what a line can carry.
//!
//! Plain data: who checks it is the rest of the configuration, who opens it is [`crate::io::link`].
//! It refuses to know keys, rhythm and names: those belong to the whole pair.

use core::time::Duration;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::types::NodeId;
use crate::types::heartbeat::SERIAL_FRAME_LEN;

/// The UDP port of heartbeats unless the configuration says another: `ha-cluster` in the IANA
/// registry.
pub const PORT_DEFAULT: u16 = 694;

/// One UDP heartbeat link of this node.
///
/// All addresses are of one family. With a `group` every heartbeat goes to that multicast group,
/// otherwise to the addressee's own address. Link-local IPv6 addresses need no scope: the link is
/// bound to its NIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpLinkConfig {
    /// The NIC that carries it; nothing is sent or received over another.
    pub nic: String,
    /// This node's own address on that NIC.
    pub local: IpAddr,
    /// Each peer's address on this link.
    pub peers: Vec<(NodeId, IpAddr)>,
    /// The multicast group, if the link is not unicast.
    pub group: Option<IpAddr>,
    /// The port, the same on every node.
    pub port: u16,
}

/// One serial heartbeat link of this node: a null-modem cable, eight data bits, no parity, one stop
/// bit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SerialLinkConfig {
    /// The device, an absolute path. A link to it counts as well, and is followed at each opening.
    pub device: PathBuf,
    /// The speed, the same on both nodes.
    pub baud: Baud,
    /// Whether RTS and CTS hold the line back.
    pub rtscts: bool,
    /// Who is at the other end.
    pub peer: NodeId,
}

/// The speed of a serial line: the usual ones alone, which every device has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Baud {
    /// 9600 bits a second.
    B9600,
    /// 19200 bits a second.
    B19200,
    /// 38400 bits a second.
    B38400,
    /// 57600 bits a second.
    B57600,
    /// 115200 bits a second.
    #[default]
    B115200,
    /// 230400 bits a second.
    B230400,
    /// 460800 bits a second.
    B460800,
    /// 921600 bits a second.
    B921600,
}

impl Baud {
    /// All of them, the slowest first.
    pub const ALL: [Self; 8] = [
        Self::B9600,
        Self::B19200,
        Self::B38400,
        Self::B57600,
        Self::B115200,
        Self::B230400,
        Self::B460800,
        Self::B921600,
    ];
    /// Start bit, eight data bits, stop bit.
    const BITS_PER_BYTE: u64 = 10;
    /// A heartbeat may take one half of its keepalive on the line. The other half is for what is
    /// said at once, between two of them, whenever there is news.
    pub const KEEPALIVE_SHARE: u32 = 2;

    /// The speed of so many bits a second, if it is one.
    pub fn new(bits_per_second: i64) -> Option<Self> {
        let same = |baud: &Self| i64::from(baud.bits_per_second()) == bits_per_second;
        Self::ALL.into_iter().find(same)
    }

    /// In bits a second.
    pub const fn bits_per_second(self) -> u32 {
        match self {
            Self::B9600 => 9600,
            Self::B19200 => 19_200,
            Self::B38400 => 38_400,
            Self::B57600 => 57_600,
            Self::B115200 => 115_200,
            Self::B230400 => 230_400,
            Self::B460800 => 460_800,
            Self::B921600 => 921_600,
        }
    }

    /// How long the line takes for so many bytes.
    pub fn time_of(self, len: u64) -> Duration {
        let bits = len.saturating_mul(Self::BITS_PER_BYTE);
        let nanos = bits.saturating_mul(1_000_000_000) / u64::from(self.bits_per_second());
        Duration::from_nanos(nanos)
    }

    /// How long one heartbeat takes, framing included.
    pub fn heartbeat_time(self) -> Duration {
        self.time_of(u64::from(SERIAL_FRAME_LEN))
    }

    /// The shortest keepalive that the line has room for.
    pub fn keepalive_min(self) -> Duration {
        self.heartbeat_time().saturating_mul(Self::KEEPALIVE_SHARE)
    }
}

impl core::fmt::Display for Baud {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.bits_per_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // docs/OPERATING.md has this table.
    #[test]
    fn what_fits_at_which_speed() {
        let table = Baud::ALL.map(|baud| {
            let micros = |duration: Duration| duration.as_micros();
            (baud.bits_per_second(), micros(baud.heartbeat_time()), micros(baud.keepalive_min()))
        });
        let expected = [
            (9600, 129_166, 258_333),
            (19_200, 64_583, 129_166),
            (38_400, 32_291, 64_583),
            (57_600, 21_527, 43_055),
            (115_200, 10_763, 21_527),
            (230_400, 5_381, 10_763),
            (460_800, 2_690, 5_381),
            (921_600, 1_345, 2_690),
        ];
        assert_eq!(table, expected);
    }

    #[test]
    fn only_the_usual_speeds_are_speeds() {
        for baud in Baud::ALL {
            assert_eq!(Baud::new(i64::from(baud.bits_per_second())), Some(baud));
        }
        for other in [0, -1, 110, 300, 4800, 9601, 500_000, 1_000_000, i64::MAX] {
            assert_eq!(Baud::new(other), None);
        }
        assert_eq!(Baud::default().bits_per_second(), 115_200);
    }
}
