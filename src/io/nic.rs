//! What is known of the service NICs: their numbers in the kernel, their MACs, their carrier, and
//! the host's own addresses on them.
//!
//! A table that lists and news of the kernel are entered into; it tells what changed. It asks
//! nothing by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::netlink::{Address, Link};
use crate::types::{IpNet, Mac, NicId};

/// The most of a host's own addresses that are remembered for one NIC: one in the right prefix is
/// enough to ask from.
const OWN_ADDRESSES_MAX: usize = 64;
/// The most links whose MACs and names are remembered as ours.
const LINKS_MAX: usize = 4096;

/// One service NIC as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Nic {
    name: String,
    present: Option<Present>,
    /// The host's own addresses on it, VIPs left out.
    own: BTreeSet<IpNet>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Present {
    index: u32,
    mac: Mac,
    up: bool,
}

/// What changed of one service NIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which one.
    pub nic: NicId,
    /// It appeared, disappeared, or is another one with the same name.
    pub moved: bool,
    /// Its MAC is another one.
    pub mac: bool,
    /// Its carrier, if that is another one.
    pub carrier: Option<bool>,
}

/// The service NICs, by [`NicId`].
#[derive(Debug)]
pub struct NicTable {
    nics: Vec<Nic>,
    vips: BTreeSet<IpAddr>,
    /// The MACs and names of all links of this host, by their numbers.
    links: BTreeMap<u32, (Mac, String)>,
}

impl NicTable {
    /// The table of the NICs with these names, none of them seen yet. `vips` are never taken for
    /// the host's own addresses.
    pub fn new(names: impl Iterator<Item = String>, vips: impl Iterator<Item = IpAddr>) -> Self {
        let nics = names.map(|name| Nic { name, present: None, own: BTreeSet::new() });
        Self { nics: nics.collect(), vips: vips.collect(), links: BTreeMap::new() }
    }

    /// All NICs by number.
    pub fn ids(&self) -> impl Iterator<Item = NicId> + use<> {
        (0..u8::try_from(self.nics.len()).unwrap_or(u8::MAX)).map(NicId)
    }

    /// The NIC's name; `?` if it is not in the table.
    pub fn name(&self, nic: NicId) -> &str {
        self.nics.get(nic.index()).map_or("?", |nic| &nic.name)
    }

    /// The kernel's number of the NIC, if it is there.
    pub fn index(&self, nic: NicId) -> Option<u32> {
        self.present(nic).map(|present| present.index)
    }

    /// The NIC's MAC, if it is there.
    pub fn mac(&self, nic: NicId) -> Option<Mac> {
        self.present(nic).map(|present| present.mac)
    }

    /// Whether the NIC is there and has carrier.
    pub fn is_up(&self, nic: NicId) -> bool {
        self.present(nic).is_some_and(|present| present.up)
    }

    fn present(&self, nic: NicId) -> Option<Present> {
        self.nics.get(nic.index())?.present
    }

    /// Which service NIC has that number in the kernel.
    pub fn find(&self, index: u32) -> Option<NicId> {
        self.ids().find(|nic| self.index(*nic) == Some(index))
    }

    /// Whether a link of this host has that MAC.
    pub fn is_own_mac(&self, mac: Mac) -> bool {
        self.links.values().any(|(own, _)| *own == mac)
    }

    /// The name of the link with that number in the kernel; `?` if it is not known.
    pub fn link_name(&self, index: u32) -> &str {
        self.links.get(&index).map_or("?", |(_, name)| name)
    }

    /// Whether the address is that of a VIP.
    pub fn is_vip(&self, addr: IpAddr) -> bool {
        self.vips.contains(&addr)
    }

    /// An address of the host from which `vip` can be asked for on that NIC: one in whose prefix it
    /// lies, for IPv6 else a link-local one.
    pub fn own_address_for(&self, nic: NicId, vip: IpAddr) -> Option<IpAddr> {
        let own = &self.nics.get(nic.index())?.own;
        let is_link_local =
            |net: &&IpNet| matches!(net.addr(), IpAddr::V6(a) if a.is_unicast_link_local());
        let near = own.iter().find(|net| net.contains(vip));
        let found = near.or_else(|| own.iter().filter(|_| vip.is_ipv6()).find(is_link_local));
        found.map(IpNet::addr)
    }

    /// Enters a link that is new or changed. Tells which NICs are thereby others: one by its name,
    /// and one that lost its name to it.
    pub fn enter_link(&mut self, link: &Link) -> Vec<Change> {
        if self.links.len() < LINKS_MAX || self.links.contains_key(&link.index) {
            self.links.insert(link.index, (link.mac, link.name.clone()));
        }
        let mut changes = vec![];
        for id in self.ids() {
            let is_it = self.name(id) == link.name;
            if is_it {
                let seen = Present { index: link.index, mac: link.mac, up: link.up };
                changes.extend(self.replace(id, Some(seen)));
            } else if self.index(id) == Some(link.index) {
                changes.extend(self.replace(id, None));
            }
        }
        changes
    }

    /// Enters that a link is gone.
    pub fn remove_link(&mut self, index: u32) -> Option<Change> {
        self.links.remove(&index);
        let nic = self.find(index)?;
        self.replace(nic, None)
    }

    /// Enters the list of all links: what is not in it is gone.
    pub fn enter_links(&mut self, links: &[Link]) -> Vec<Change> {
        let before: Vec<_> = self.nics.iter().map(|nic| nic.present).collect();
        self.links.clear();
        for link in links {
            self.enter_link(link);
        }
        for id in self.ids() {
            if !links.iter().any(|link| link.name == self.name(id)) {
                self.replace(id, None);
            }
        }
        let pairs = self.ids().zip(before);
        pairs.filter_map(|(id, before)| difference(id, before, self.present(id))).collect()
    }

    fn replace(&mut self, id: NicId, seen: Option<Present>) -> Option<Change> {
        let nic = self.nics.get_mut(id.index())?;
        let before = core::mem::replace(&mut nic.present, seen);
        if before.map(|old| old.index) != seen.map(|new| new.index) {
            nic.own.clear();
        }
        difference(id, before, seen)
    }

    /// Enters an address that is new or changed.
    pub fn enter_address(&mut self, address: &Address) {
        if self.is_vip(address.net.addr()) {
            return;
        }
        if let Some(nic) = self.find(address.index).and_then(|id| self.nics.get_mut(id.index()))
            && nic.own.len() < OWN_ADDRESSES_MAX
        {
            nic.own.insert(address.net);
        }
    }

    /// Enters that an address is gone.
    pub fn remove_address(&mut self, address: &Address) {
        if let Some(nic) = self.find(address.index).and_then(|id| self.nics.get_mut(id.index())) {
            nic.own.remove(&address.net);
        }
    }

    /// Enters the list of all addresses: what is not in it is gone.
    pub fn enter_addresses(&mut self, addresses: &[Address]) {
        self.nics.iter_mut().for_each(|nic| nic.own.clear());
        addresses.iter().for_each(|address| self.enter_address(address));
    }
}

fn difference(nic: NicId, before: Option<Present>, after: Option<Present>) -> Option<Change> {
    let is_up = |present: Option<Present>| present.is_some_and(|present| present.up);
    let change = Change {
        nic,
        moved: before.map(|p| p.index) != after.map(|p| p.index),
        mac: before.map(|p| p.mac) != after.map(|p| p.mac),
        carrier: (is_up(before) != is_up(after)).then(|| is_up(after)),
    };
    (change.moved || change.mac || change.carrier.is_some()).then_some(change)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn table() -> NicTable {
        let names = ["svc0", "svc1"].map(str::to_owned);
        let vips = ["10.0.0.100", "fd00::100"].map(|vip| vip.parse().unwrap());
        NicTable::new(names.into_iter(), vips.into_iter())
    }

    fn link(index: u32, name: &str, up: bool) -> Link {
        Link { index, name: name.into(), mac: MAC, up }
    }

    fn address(index: u32, net: &str) -> Address {
        Address { index, net: net.parse().unwrap() }
    }

    #[test]
    fn carrier_is_told_when_it_changes_and_only_then() {
        let mut table = table();
        assert_eq!(table.enter_link(&link(5, "svc1", true))[0].carrier, Some(true));
        assert_eq!(table.enter_link(&link(5, "svc1", true)), []);
        let change = Change { nic: NicId(1), moved: false, mac: false, carrier: Some(false) };
        assert_eq!(table.enter_link(&link(5, "svc1", false)), [change]);
        assert_eq!(table.enter_link(&link(6, "other", true)), []);
    }

    #[test]
    fn a_renamed_nic_is_gone_and_one_that_takes_its_name_is_it() {
        let mut table = table();
        table.enter_link(&link(5, "svc0", true));
        let change = Change { nic: NicId(0), moved: true, mac: true, carrier: Some(false) };
        assert_eq!(table.enter_link(&link(5, "renamed", true)), [change]);
        table.enter_link(&link(9, "svc0", true));
        assert_eq!(table.index(NicId(0)), Some(9));
        assert_eq!(table.find(5), None);
    }

    #[test]
    fn a_list_removes_what_it_lacks_and_tells_differences_only() {
        let mut table = table();
        table.enter_link(&link(5, "svc0", true));
        table.enter_link(&link(6, "svc1", true));
        let changes = table.enter_links(&[link(5, "svc0", true)]);
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].nic, changes[0].carrier), (NicId(1), Some(false)));
        assert!(table.remove_link(5).unwrap().moved);
        assert!(!table.is_own_mac(MAC));
    }

    #[test]
    fn questions_come_from_an_address_in_the_prefix_and_never_from_a_vip() {
        let mut table = table();
        table.enter_link(&link(5, "svc0", true));
        for net in ["10.0.0.100/24", "192.168.7.1/24", "fe80::1/64", "fd00::100/64"] {
            table.enter_address(&address(5, net));
        }
        let ask = |table: &NicTable, vip: &str| {
            table.own_address_for(NicId(0), vip.parse().unwrap()).map(|a| a.to_string())
        };
        assert_eq!(ask(&table, "10.0.0.100"), None);
        assert_eq!(ask(&table, "fd00::100").as_deref(), Some("fe80::1"));
        table.enter_address(&address(5, "10.0.0.1/24"));
        table.enter_address(&address(5, "fd00::1/64"));
        assert_eq!(ask(&table, "10.0.0.100").as_deref(), Some("10.0.0.1"));
        assert_eq!(ask(&table, "fd00::100").as_deref(), Some("fd00::1"));
        table.remove_address(&address(5, "10.0.0.1/24"));
        assert_eq!(ask(&table, "10.0.0.100"), None);
        table.enter_addresses(&[]);
        assert_eq!(ask(&table, "fd00::100"), None);
    }
}
