//! What the configuration wants to know of this machine: its name, its NICs, their addresses, its
//! consoles; and which machine it is.
//!
//! Asked once, at the start; it blocks for microseconds, and for [`BMC_MAX`] at most if its BMC
//! does not answer its own host. What happens to NICs later comes from netlink.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

use crate::config::MachineFacts;
use crate::sys::{clock, ipmi};
use crate::types::{IpNet, MachineId};
use crate::wire::guid;

/// Where the kernel tells on which terminals it prints.
const CONSOLES_PATH: &str = "/sys/class/tty/console/active";

/// Where the kernel tells the SMBIOS UUID, to root.
const UUID_PATH: &str = "/sys/class/dmi/id/product_uuid";
/// The ways to the machine's own BMC, as the kernel and udev name them.
const BMC_PATHS: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];
/// How long all questions to the BMC may take together: a daemon that was killed must be back soon.
const BMC_MAX: Duration = Duration::from_millis(250);
/// The requests of applications (IPMI v2.0 §5.1).
const NET_FN_APP: u8 = 0x06;
/// IPMI v2.0 §20.8.
const GET_DEVICE_GUID: u8 = 0x08;
/// IPMI v2.0 §22.14.
const GET_SYSTEM_GUID: u8 = 0x37;

/// Which machine this is, as far as it tells: a machine without DMI, without a BMC, or without the
/// kernel's driver for it (`ipmi_devintf`) tells less, or nothing.
pub fn identity() -> MachineId {
    let platform = read_uuid(Path::new(UUID_PATH));
    let bmc =
        BMC_PATHS.iter().find_map(|path| File::options().read(true).write(true).open(path).ok());
    let until = clock::now() + BMC_MAX;
    let ask = |command: u8| -> u64 {
        let left = until.since(clock::now());
        let Some(bmc) = bmc.as_ref().filter(|_| !left.is_zero()) else { return 0 };
        ipmi::ask(bmc, NET_FN_APP, command, left).map_or(0, |answer| read_guid(&answer))
    };
    MachineId {
        platform,
        system: ask(GET_SYSTEM_GUID),
        bmc: ask(GET_DEVICE_GUID),
        ..MachineId::UNKNOWN
    }
}

fn read_uuid(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    guid::parse(&text).map_or(0, guid::digest)
}

/// The completion code, then the GUID.
fn read_guid(answer: &[u8]) -> u64 {
    let Some((0, rest)) = answer.split_first().map(|(code, rest)| (*code, rest)) else { return 0 };
    <[u8; guid::LEN]>::try_from(rest).map_or(0, guid::digest)
}

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
    fn a_bmc_that_refuses_or_says_something_else_tells_no_guid() {
        let guid = [7; guid::LEN];
        let answer = |code: u8, data: &[u8]| [&[code], data].concat();
        assert_eq!(read_guid(&answer(0, &guid)), guid::digest(guid));
        for wrong in [answer(0xc1, &guid), answer(0, &guid[1..]), answer(0, &[]), vec![]] {
            assert_eq!(read_guid(&wrong), 0, "{wrong:?}");
        }
    }

    #[test]
    fn a_machine_without_dmi_tells_no_uuid() {
        assert_eq!(read_uuid(Path::new("/nonexistent/product_uuid")), 0);
        let path = std::env::temp_dir().join(format!("tandem-uuid-{}", std::process::id()));
        fs::write(&path, "4c4c4544-0042-3510-8052-b4c04f4a4632\n").unwrap();
        assert_ne!(read_uuid(&path), 0);
        fs::write(&path, "Not Settable\n").unwrap();
        assert_eq!(read_uuid(&path), 0);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_loopback_nic_and_its_address_are_found() {
        let facts = facts().unwrap();
        let (_, nets) = facts.nics.iter().find(|(name, _)| name == "lo").unwrap();
        assert!(nets.contains(&"127.0.0.1/8".parse().unwrap()), "{nets:?}");
        assert!(!facts.host_name.is_empty());
    }
}
