//! What the configuration wants to know of this machine: its name, its NICs, their addresses, its
//! consoles.
//!
//! Asked once, at the start; it blocks for microseconds. What happens to NICs later comes from
//! netlink.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

use crate::config::MachineFacts;
use crate::types::IpNet;

/// Where the kernel tells on which terminals it prints.
const CONSOLES_PATH: &str = "/sys/class/tty/console/active";

/// Keeps what this process knows out of core dumps, for as long as it lives.
///
/// # Errors
/// If the kernel refuses, with its reason.
pub fn forbid_dumps() -> io::Result<()> {
    crate::sys::secrecy::forbid_dumps().map_err(io::Error::from)
}

/// The facts of this machine, now, in this network namespace.
///
/// # Errors
/// If the system does not tell.
pub fn facts() -> io::Result<MachineFacts> {
    let host_name = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    let mut nics: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    for entry in getifaddrs()? {
        let net = net_of(&entry);
        // A label such as eth0:vip is the name that the system gives with an address.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        nics.entry(name).or_default().extend(net);
    }
    Ok(MachineFacts { host_name, nics: nics.into_iter().collect(), consoles: consoles() })
}

/// The terminals that the kernel prints on; none where it does not tell.
fn consoles() -> Vec<String> {
    let list = std::fs::read_to_string(CONSOLES_PATH).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

/// The address with its prefix; nothing for an entry that has no IP address.
fn net_of(entry: &InterfaceAddress) -> Option<IpNet> {
    let addr = ip(entry.address.as_ref()?)?;
    let bits = match ip(entry.netmask.as_ref()?)? {
        IpAddr::V4(mask) => u32::from(mask).count_ones(),
        IpAddr::V6(mask) => u128::from(mask).count_ones(),
    };
    IpNet::new(addr, u8::try_from(bits).ok()?)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_loopback_nic_and_its_address_are_found() {
        let facts = facts().unwrap();
        let (_, nets) = facts.nics.iter().find(|(name, _)| name == "lo").unwrap();
        assert!(nets.contains(&"127.0.0.1/8".parse().unwrap()), "{nets:?}");
        assert!(!facts.host_name.is_empty());
    }
}
