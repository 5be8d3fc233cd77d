//! The heartbeat paths: each node's address on each, one family, and whether they are paths of
//! their own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{refuse_name, timing};
use crate::config::finding::{At, Findings};
use crate::config::link::PORT_DEFAULT;
use crate::config::pair::{PairLink, PairNode, Rhythm};
use crate::config::raw::{Raw, RawLink, RawNode};

/// Checks `[links.*]` and `[nodes.*.links]`.
pub(super) fn check(raw: &Raw, nodes: &[PairNode], findings: &mut Findings) -> Vec<PairLink> {
    match raw.links.as_slice() {
        [] if findings.tells_of(&raw.links_place) => {}
        [] => {
            let instead = "write a [links.NAME] table with nic, and each node's address on it";
            findings.error(&raw.links_place, "missing: no heartbeat link", instead);
        }
        [only] => {
            let wrong = "the only link: when it fails, a healthy node looks lost";
            findings.warn(&only.name.place, wrong, "write a second link, over another NIC");
        }
        [_, _, ..] => {}
    }
    refuse_unknown_links(raw, findings);
    refuse_same_addresses(raw, findings);
    let common = timing::common(&raw.timing);
    let links: Vec<PairLink> = raw
        .links
        .iter()
        .filter_map(|link| check_link(link, raw, nodes, common, findings))
        .collect();
    check_nics(&links, raw, findings);
    links
}

/// Every address under a node belongs to a link of that name.
fn refuse_unknown_links(raw: &Raw, findings: &mut Findings) {
    for (link, _) in raw.nodes.iter().flat_map(|node| &node.links) {
        if !raw.links.iter().any(|known| known.name.value == link.value) {
            let known = raw.links.iter().map(|link| link.name.value.as_str());
            refuse_name(&link.place, "link", &link.value, known, findings);
        }
    }
}

fn refuse_same_addresses(raw: &Raw, findings: &mut Findings) {
    let mut seen: BTreeMap<IpAddr, (&str, &str)> = BTreeMap::new();
    for node in &raw.nodes {
        for (link, address) in &node.links {
            let Some(At { place, value }) = address else { continue };
            let here = (node.name.value.as_str(), link.value.as_str());
            if let Some((other, on)) = seen.insert(*value, here) {
                let wrong = format!("{value} is the address of {other} on link {on} too");
                findings.error(place, wrong, "write this node's own address on this link");
            }
        }
    }
}

fn check_link(
    link: &RawLink,
    raw: &Raw,
    nodes: &[PairNode],
    common: Rhythm,
    findings: &mut Findings,
) -> Option<PairLink> {
    let rhythm = timing::of_link(&link.rhythm, &link.name.place, common, findings);
    let addresses: Vec<_> =
        raw.nodes.iter().filter_map(|node| check_address(link, node, nodes, findings)).collect();
    let group = link.group.as_ref().map(|at| (at, "the group"));
    let mut family = None;
    let all = addresses.iter().map(|(_, at)| (at, "the address"));
    for (At { place, value }, what) in all.chain(group) {
        let first = *family.get_or_insert(*value);
        if first.is_ipv4() != value.is_ipv4() {
            let wrong = format!("{what} {value} is not of the same family as {first}");
            let (this, that) = if first.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
            let instead = format!("write an {this} address, or {that} for the whole link");
            findings.error(place, wrong, instead);
        }
    }
    Some(PairLink {
        name: link.name.clone(),
        nic: link.nic.clone()?,
        port: link.port.as_ref().map_or(PORT_DEFAULT, |at| at.value),
        group: link.group.as_ref().map(|at| at.value),
        rhythm,
        addresses,
    })
}

fn check_address(
    link: &RawLink,
    node: &RawNode,
    nodes: &[PairNode],
    findings: &mut Findings,
) -> Option<(crate::types::NodeId, At<IpAddr>)> {
    let id = nodes.iter().find(|known| known.name == node.name.value)?.id;
    let name = &link.name.value;
    let Some((_, address)) = node.links.iter().find(|(at, _)| at.value == *name) else {
        let place = node.name.place.child("links").child(name);
        let wrong = format!("missing: node {} has no address on link {name}", node.name.value);
        let instead = format!("write {name} = \"ADDRESS\" under [nodes.{}.links]", node.name.value);
        findings.error(&place, wrong, instead);
        return None;
    };
    let at = address.clone()?;
    if let Some(kind) = no_host(at.value) {
        let instead = format!("write the address that {} has on the link", node.name.value);
        findings.error(&at.place, format!("{} is {kind}", at.value), instead);
        return None;
    }
    Some((id, at))
}

/// Why no host can be reached at that address.
pub(in crate::config) fn no_host(addr: IpAddr) -> Option<&'static str> {
    let is_broadcast = matches!(addr, IpAddr::V4(v4) if v4.is_broadcast());
    if addr.is_unspecified() {
        Some("no address of a host")
    } else if addr.is_loopback() {
        Some("a loopback address, which leaves no machine")
    } else if addr.is_multicast() {
        Some("a multicast group, not the address of a host")
    } else {
        is_broadcast.then_some("the broadcast address")
    }
}

fn check_nics(links: &[PairLink], raw: &Raw, findings: &mut Findings) {
    let mut seen: BTreeMap<&str, &PairLink> = BTreeMap::new();
    for link in links {
        let nic = link.nic.value.as_str();
        if raw.nics.iter().any(|service| service.name.value == nic) {
            let wrong = format!("{nic} is a service NIC too: one fault takes both");
            findings.warn(&link.nic.place, wrong, "write a NIC of its own for the link");
        }
        let Some(other) = seen.insert(nic, link) else { continue };
        let name = &other.name.value;
        if other.port == link.port {
            let wrong = format!("link {name} uses {nic} and port {} too", link.port);
            let instead = "write another NIC; if there is none, write another port";
            findings.error(&link.nic.place, wrong, instead);
        } else {
            let wrong = format!("link {name} uses {nic} too: it is no second path");
            findings.warn(&link.nic.place, wrong, "write another NIC");
        }
    }
}
