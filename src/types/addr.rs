//! Addresses: a MAC, and an IP address with its prefix length.

use core::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An Ethernet address.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// No address (all zero): an empty place in a table.
    pub const NONE: Self = Self([0; 6]);
    /// Everybody on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An IP address with the length of its network prefix, as in `10.0.0.100/24`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IpNet {
    addr: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// `addr` with a prefix of `prefix` bits; nothing if that is more than the address has.
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        let bits_max = if addr.is_ipv4() { 32 } else { 128 };
        (prefix <= bits_max).then_some(Self { addr, prefix })
    }

    /// The address.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The length of the network prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `other` lies in this network.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.addr, other) {
            (IpAddr::V4(net), IpAddr::V4(host)) => {
                let shift = 32 - u32::from(self.prefix);
                let differing = u32::from(net) ^ u32::from(host);
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(host)) => {
                let shift = 128 - u32::from(self.prefix);
                let differing = u128::from(net) ^ u128::from(host);
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl core::str::FromStr for IpNet {
    type Err = IpNetError;

    fn from_str(text: &str) -> Result<Self, IpNetError> {
        let (addr, prefix) = text.split_once('/').ok_or(IpNetError::NoPrefix)?;
        let addr = addr.parse().map_err(|_e| IpNetError::Address)?;
        let prefix = prefix.parse().map_err(|_e| IpNetError::Prefix)?;
        Self::new(addr, prefix).ok_or(IpNetError::Prefix)
    }
}

/// Why a text is not an address with a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpNetError {
    /// There is no `/`.
    NoPrefix,
    /// What stands before the `/` is no IP address.
    Address,
    /// What stands after the `/` is no prefix length for that address.
    Prefix,
}

impl fmt::Display for IpNetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoPrefix => "no prefix length: write it as 10.0.0.100/24",
            Self::Address => "not an IP address: write it as 10.0.0.100/24 or fd00::100/64",
            Self::Prefix => "not a prefix length: 0 to 32 for IPv4, 0 to 128 for IPv6",
        };
        f.write_str(text)
    }
}

impl core::error::Error for IpNetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_hosts_and_nothing_else() {
        let cases = [
            ("10.0.0.1/24", "10.0.0.200", true),
            ("10.0.0.1/24", "10.0.1.200", false),
            ("10.0.0.1/0", "203.0.113.9", true),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("fd00::1/64", "fd00::ffff", true),
            ("fd00::1/64", "fd00:0:0:1::1", false),
            ("fd00::1/0", "2001:db8::1", true),
            ("10.0.0.1/24", "fd00::1", false),
        ];
        for (net, host, expected) in cases {
            let parsed = (net.parse::<IpNet>(), host.parse::<IpAddr>());
            let (Ok(net), Ok(host)) = parsed else { unreachable!("{parsed:?}") };
            assert_eq!(net.contains(host), expected, "{net} {host}");
        }
    }

    #[test]
    fn bad_networks_say_what_is_wrong() {
        assert_eq!("10.0.0.1".parse::<IpNet>(), Err(IpNetError::NoPrefix));
        assert_eq!("10.0.0/24".parse::<IpNet>(), Err(IpNetError::Address));
        assert_eq!("10.0.0.1/33".parse::<IpNet>(), Err(IpNetError::Prefix));
        assert_eq!("fd00::1/129".parse::<IpNet>(), Err(IpNetError::Prefix));
    }
}
