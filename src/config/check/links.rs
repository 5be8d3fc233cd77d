//! The heartbeat paths: each node's end of each, what fits on it, and whether they are paths of
//! their own.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{refuse_name, timing};
use crate::config::duration::print;
use crate::config::finding::{At, Findings};
use crate::config::link::{Baud, PORT_DEFAULT};
use crate::config::pair::{PairCarrier, PairLink, PairNode, Rhythm};
use crate::config::raw::{Raw, RawCarrier, RawLink, RawNode};
use crate::config::read::{self, Wrong};
use crate::types::NodeId;

/// A null-modem cable has two ends.
const SERIAL_NODES: usize = 2;
/// How much slower than the others a backup link is unless the file says otherwise.
const BACKUP_SLOWER: u32 = 10;

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
    let common = timing::common(&raw.timing);
    let links: Vec<PairLink> = raw
        .links
        .iter()
        .filter_map(|link| check_link(link, raw, nodes, common, findings))
        .collect();
    refuse_same_addresses(&links, nodes, findings);
    refuse_same_devices(&links, nodes, findings);
    check_nics(&links, raw, findings);
    check_backups(&links, findings);
    warn_of_slow_links(&links, findings);
    links
}

/// Every end under a node belongs to a link of that name.
fn refuse_unknown_links(raw: &Raw, findings: &mut Findings) {
    for (link, _) in raw.nodes.iter().flat_map(|node| &node.links) {
        if !raw.links.iter().any(|known| known.name.value == link.value) {
            let known = raw.links.iter().map(|link| link.name.value.as_str());
            refuse_name(&link.place, "link", &link.value, known, findings);
        }
    }
}

fn node_name(nodes: &[PairNode], id: NodeId) -> &str {
    nodes.iter().find(|node| node.id == id).map_or("?", |node| node.name.as_str())
}

fn refuse_same_addresses(links: &[PairLink], nodes: &[PairNode], findings: &mut Findings) {
    let mut all = Vec::new();
    for link in links {
        let ends = link.addresses().iter();
        all.extend(ends.map(|(id, at)| (at, node_name(nodes, *id), link.name.value.as_str())));
    }
    all.sort_by_key(|(at, ..)| at.place.line);
    let mut seen: BTreeMap<IpAddr, (&str, &str)> = BTreeMap::new();
    for (At { place, value }, node, link) in all {
        if let Some((other, on)) = seen.insert(*value, (node, link)) {
            let wrong = format!("{value} is the address of {other} on link {on} too");
            findings.error(place, wrong, "write this node's own address on this link");
        }
    }
}

fn refuse_same_devices(links: &[PairLink], nodes: &[PairNode], findings: &mut Findings) {
    let mut seen: BTreeMap<(NodeId, &Path), &str> = BTreeMap::new();
    for link in links {
        let PairCarrier::Serial { devices, .. } = &link.carrier else { continue };
        for (id, At { place, value }) in devices {
            let Some(other) = seen.insert((*id, value), &link.name.value) else { continue };
            let node = node_name(nodes, *id);
            let wrong = format!("link {other} uses {} of {node} too", value.display());
            findings.error(place, wrong, "write another device: one line carries one link");
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
    let common = if link.backup { common.slowed(BACKUP_SLOWER) } else { common };
    let rhythm = timing::of_link(&link.rhythm, &link.name.place, common, findings);
    let carrier = match link.carrier.as_ref()? {
        RawCarrier::Udp { nic, port, group } => {
            let addresses = check_addresses(link, group.as_ref(), raw, nodes, findings);
            PairCarrier::Udp {
                nic: nic.clone()?,
                port: port.as_ref().map_or(PORT_DEFAULT, |at| at.value),
                group: group.as_ref().map(|at| at.value),
                addresses,
            }
        }
        RawCarrier::Serial { device, baud, rtscts } => {
            let devices = check_devices(link, device.as_ref(), raw, nodes, findings);
            let baud = (*baud)?;
            check_fit(link, baud, rhythm.keepalive, findings);
            PairCarrier::Serial { baud, rtscts: *rtscts, devices }
        }
    };
    Some(PairLink { name: link.name.clone(), rhythm, backup: link.backup, carrier })
}

fn check_addresses(
    link: &RawLink,
    group: Option<&At<IpAddr>>,
    raw: &Raw,
    nodes: &[PairNode],
    findings: &mut Findings,
) -> Vec<(NodeId, At<IpAddr>)> {
    let addresses: Vec<_> =
        raw.nodes.iter().filter_map(|node| check_address(link, node, nodes, findings)).collect();
    let group = group.map(|at| (at, "the group"));
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
    addresses
}

fn check_address(
    link: &RawLink,
    node: &RawNode,
    nodes: &[PairNode],
    findings: &mut Findings,
) -> Option<(NodeId, At<IpAddr>)> {
    let id = nodes.iter().find(|known| known.name == node.name.value)?.id;
    let name = &link.name.value;
    let Some((_, address)) = node.links.iter().find(|(at, _)| at.value == *name) else {
        let place = node.name.place.child("links").child(name);
        let wrong = format!("missing: node {} has no address on link {name}", node.name.value);
        let instead = format!("write {name} = \"ADDRESS\" under [nodes.{}.links]", node.name.value);
        findings.error(&place, wrong, instead);
        return None;
    };
    let at = parsed(address.as_ref()?, |text| link_address(text, name), findings)?;
    if let Some(kind) = no_host(at.value) {
        let instead = format!("write the address that {} has on the link", node.name.value);
        findings.error(&at.place, format!("{} is {kind}", at.value), instead);
        return None;
    }
    Some((id, at))
}

fn link_address(text: &str, link: &str) -> Result<IpAddr, Wrong> {
    if text.starts_with("/dev/") {
        let instead = format!("write this node's address; or type = \"serial\" in [links.{link}]");
        return Err(Wrong::new(format!("{text:?} is a device, and {link} is a UDP link"), instead));
    }
    read::address(text)
}

fn check_devices(
    link: &RawLink,
    common: Option<&At<PathBuf>>,
    raw: &Raw,
    nodes: &[PairNode],
    findings: &mut Findings,
) -> Vec<(NodeId, At<PathBuf>)> {
    let name = &link.name.value;
    if nodes.len() > SERIAL_NODES {
        let wrong = format!("a serial link between {} nodes: a cable has two ends", nodes.len());
        findings.error(&link.name.place, wrong, "write type = \"udp\", or delete the link");
    }
    let end_of = |node: &RawNode| {
        let end = node.links.iter().find(|(at, _)| at.value == *name);
        end.map(|(_, end)| end.clone())
    };
    let place = link.name.place.child("device");
    let is_nowhere = common.is_none() && raw.nodes.iter().all(|node| end_of(node).is_none());
    if is_nowhere && !findings.tells_of(&place) {
        let instead = "write device = \"/dev/ttyS0\"; where a node has another one, write it under \
                       [nodes.NAME.links]";
        findings.error(&place, "missing", instead);
    }
    let mut devices = Vec::new();
    for node in &raw.nodes {
        let Some(id) = nodes.iter().find(|known| known.name == node.name.value).map(|n| n.id)
        else {
            continue;
        };
        let device = match end_of(node) {
            Some(end) => end.and_then(|at| parsed(&at, device, findings)),
            None => common.cloned(),
        };
        let is_absent = device.is_none() && end_of(node).is_none() && common.is_none();
        if is_absent && !is_nowhere {
            let place = node.name.place.child("links").child(name);
            let wrong = format!("missing: node {} has no device on link {name}", node.name.value);
            let instead =
                format!("write {name} = \"/dev/ttyS0\" under [nodes.{}.links]", node.name.value);
            findings.error(&place, wrong, instead);
        }
        devices.extend(device.map(|device| (id, device)));
    }
    devices
}

fn device(text: &str) -> Result<PathBuf, Wrong> {
    let is_address = text.parse::<IpAddr>().is_ok();
    if is_address || !text.starts_with('/') {
        let instead = "write such as \"/dev/ttyS0\": a serial link has a device at each end";
        return Err(Wrong::new(format!("{text:?} is not the path of a device"), instead));
    }
    read::path(text)
}

fn parsed<T>(
    at: &At<String>,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
    findings: &mut Findings,
) -> Option<At<T>> {
    match parse(&at.value) {
        Ok(value) => Some(At { place: at.place.clone(), value }),
        Err(wrong) => {
            findings.error(&at.place, wrong.wrong, wrong.instead);
            None
        }
    }
}

/// A heartbeat must leave the line free for one half of its keepalive.
fn check_fit(link: &RawLink, baud: Baud, keepalive: Duration, findings: &mut Findings) {
    let shortest = baud.keepalive_min();
    if keepalive >= shortest {
        return;
    }
    let own = link.rhythm.keepalive.as_ref().map(|at| at.place.clone());
    let place = own.unwrap_or_else(|| link.name.place.child("keepalive"));
    let wrong = format!(
        "a heartbeat takes {} ms of a line of {baud} baud: it does not fit into one half of a \
         keepalive of {}",
        round_up(baud.heartbeat_time(), 1).as_millis(),
        print(keepalive)
    );
    let fitting = format!("write keepalive = \"{}\" or more", print(round_up(shortest, 10)));
    let faster = Baud::ALL.into_iter().find(|other| other.keepalive_min() <= keepalive);
    let instead = match faster {
        Some(faster) => format!("{fitting}, or baud = {faster}"),
        None => fitting,
    };
    findings.error(&place, wrong, instead);
}

/// The next whole number of so many milliseconds.
fn round_up(duration: Duration, millis: u64) -> Duration {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let step = millis.saturating_mul(1_000_000);
    Duration::from_nanos(nanos.div_ceil(step).saturating_mul(step))
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
    let mut seen: BTreeMap<&str, (&PairLink, u16)> = BTreeMap::new();
    for link in links {
        let PairCarrier::Udp { nic: at, port, .. } = &link.carrier else { continue };
        let nic = at.value.as_str();
        let is_service = raw.nics.iter().any(|service| service.name.value == nic);
        if is_service && !link.backup {
            let wrong = format!("{nic} is a service NIC too: one fault takes both");
            let instead = "write a NIC of its own for the link";
            findings.warn(&at.place, wrong, instead);
        }
        let Some((other, same_port)) = seen.insert(nic, (link, *port)) else { continue };
        let name = &other.name.value;
        if same_port == *port {
            let wrong = format!("link {name} uses {nic} and port {port} too");
            let instead = "write another NIC; if there is none, write another port";
            findings.error(&at.place, wrong, instead);
        } else {
            let wrong = format!("link {name} uses {nic} too: it is no second path");
            findings.warn(&at.place, wrong, "write another NIC");
        }
    }
}

/// A backup link is there for the case that the others fail, and costs less than they do.
fn check_backups(links: &[PairLink], findings: &mut Findings) {
    let main = links.iter().filter(|link| !link.backup);
    let Some(fastest) = main.min_by_key(|link| link.rhythm.keepalive) else {
        if let Some(first) = links.first() {
            let wrong = "every link is a backup: there is none that it could stand in for";
            let instead = "take backup off the one that heartbeats shall use first";
            findings.error(&first.name.place, wrong, instead);
        }
        return;
    };
    for link in links.iter().filter(|link| link.backup) {
        if link.rhythm.keepalive <= fastest.rhythm.keepalive {
            let wrong = format!(
                "a backup link with a keepalive of {}, no longer than the {} of link {}",
                print(link.rhythm.keepalive),
                print(fastest.rhythm.keepalive),
                fastest.name.value
            );
            let slower = fastest.rhythm.keepalive.saturating_mul(BACKUP_SLOWER);
            let instead = format!("write keepalive = \"{}\", or no backup", print(slower));
            findings.warn(&link.name.place, wrong, instead);
        }
    }
}

/// Silence on every link makes a lost node: the slowest one settles when.
fn warn_of_slow_links(links: &[PairLink], findings: &mut Findings) {
    let Some(fastest) = links.iter().min_by_key(|link| link.rhythm.deadtime) else { return };
    for link in links.iter().filter(|link| link.rhythm.deadtime > fastest.rhythm.deadtime) {
        let (slow, fast) = (print(link.rhythm.deadtime), print(fastest.rhythm.deadtime));
        let wrong = format!(
            "its deadtime of {slow} is longer than the {fast} of link {}: a node is lost when all \
             its links are silent, so that a failover waits for {slow}",
            fastest.name.value
        );
        let instead =
            format!("write deadtime = \"{fast}\" and a keepalive that fits, or accept the wait");
        findings.warn(&link.name.place, wrong, instead);
    }
}
