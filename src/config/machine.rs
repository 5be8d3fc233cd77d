//! The pair against the machine it is read on: which node this is, whether its NICs are there and
//! have the addresses that the pair needs.

use super::finding::{At, Findings, Place};
use super::pair::{Pair, PairCarrier, PairKind, PairNode};
use super::secret::Files;
use crate::types::IpNet;

/// What the caller knows of this machine.
#[derive(Clone, Debug, Default)]
pub struct MachineFacts {
    /// The host name, short or full; empty if it shall not count.
    pub host_name: String,
    /// The NICs with their addresses and prefixes; a NIC without any is listed too. Empty if
    /// nothing shall be asked of this machine: every machine has at least `lo`.
    pub nics: Vec<(String, Vec<IpNet>)>,
    /// The terminals that the kernel prints on, by its names, as in `ttyS0`.
    pub consoles: Vec<String>,
}

/// The node that the plan is for.
#[derive(Clone, Copy)]
pub(super) struct Local<'p> {
    pub(super) id: crate::types::NodeId,
    node: &'p PairNode,
    /// Whether it is this machine, as far as one knows.
    here: bool,
}

/// The node called `wanted`, or the one that the host name tells.
pub(super) fn find_local<'p>(
    pair: &'p Pair,
    wanted: Option<&str>,
    facts: &MachineFacts,
    findings: &mut Findings,
) -> Option<Local<'p>> {
    let host = by_host_name(&pair.nodes, &facts.host_name);
    let is_asked = !facts.nics.is_empty();
    let local = |node: &'p PairNode, here| Local { id: node.id, node, here };
    let names: Vec<_> = pair.nodes.iter().map(|node| node.name.as_str()).collect();
    let names = names.join(" or ");
    match (wanted, host) {
        (None, Some(node)) => Some(local(node, is_asked)),
        (Some(wanted), host) => {
            let found = pair.nodes.iter().find(|node| node.name == wanted);
            if found.is_none() && !pair.nodes.is_empty() {
                let wrong = format!("no node is called {wanted:?}, as --node says");
                findings.error(&pair.nodes_place, wrong, format!("write --node {names}"));
            }
            let here = |node: &PairNode| is_asked && host.is_none_or(|host| host.id == node.id);
            found.map(|node| local(node, here(node)))
        }
        (None, None) => {
            if !pair.nodes.is_empty() {
                let wrong = format!("this host is {:?}, and no node is called so", facts.host_name);
                let instead =
                    format!("name the node as its host is named, or write --node {names}");
                findings.error(&pair.nodes_place, wrong, instead);
            }
            None
        }
    }
}

/// The one node of that name: the whole name first, then up to the first dot of either.
fn by_host_name<'p>(nodes: &'p [PairNode], host: &str) -> Option<&'p PairNode> {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let full = nodes.iter().find(|node| node.name.eq_ignore_ascii_case(host));
    let is_short = |name: &str| !name.contains('.');
    full.or_else(|| {
        let same = |node: &&PairNode| {
            short(&node.name) == short(host) && (is_short(&node.name) || is_short(host))
        };
        let mut found = nodes.iter().filter(same);
        found.next().filter(|_| found.next().is_none())
    })
}

/// Asks this machine for what the pair needs of it.
pub(super) fn check(
    pair: &Pair,
    local: Option<Local<'_>>,
    facts: &MachineFacts,
    files: &dyn Files,
    findings: &mut Findings,
) {
    for device in &pair.devices {
        if let PairKind::Agent { agent, program, .. } = &device.kind
            && !files.is_program(program)
            && !facts.nics.is_empty()
        {
            let wrong = format!("there is no program {}: it cannot fence", program.display());
            let instead = "install it (Debian: apt install fence-agents; RHEL, SUSE: \
                           fence-agents-all), or write its absolute path";
            findings.error(&agent.place, wrong, instead);
        }
    }
    let Some(local) = local else { return };
    if local.here {
        check_links(pair, local, facts, findings);
        check_lines(pair, local, facts, files, findings);
        check_vips(pair, local, facts, findings);
        let runtime_dir = &pair.runtime.runtime_dir;
        if !files.is_in_memory(runtime_dir) {
            let wrong = format!(
                "{} is on a disk: what is held is marked there at once, and a slow disk holds up \
                 the heartbeats",
                runtime_dir.display()
            );
            let instead = if runtime_dir.starts_with("/run") {
                "mount a tmpfs on /run, or write a directory that is in memory (findmnt -t tmpfs)"
            } else {
                "write a directory in memory: \"/run/tandem\""
            };
            findings.warn(&pair.runtime_dir_place, wrong, instead);
        }
    } else {
        let wrong =
            format!("this host is another node: the NICs of {} are not checked", local.node.name);
        findings.warn(&local.node.place, wrong, format!("run it on {} too", local.node.name));
    }
}

fn check_links(pair: &Pair, local: Local<'_>, facts: &MachineFacts, findings: &mut Findings) {
    for link in &pair.links {
        let PairCarrier::Udp { nic: at, addresses, .. } = &link.carrier else { continue };
        let nic = &at.value;
        let Some(nets) = nets_of(facts, nic, &at.place, local, findings) else {
            continue;
        };
        let own = addresses.iter().find(|(id, _)| *id == local.id);
        let Some((_, own)) = own else { continue };
        let Some(net) = nets.iter().find(|net| net.addr() == own.value) else {
            let wrong = format!("{nic} of this node does not have {}{}", own.value, has(nets));
            let instead = format!("write its address here, or give it to {nic}");
            findings.error(&own.place, wrong, instead);
            continue;
        };
        for (id, peer) in addresses {
            if *id != local.id
                && peer.value.is_ipv4() == own.value.is_ipv4()
                && !net.contains(peer.value)
            {
                let wrong = format!("{} is outside the network {net} of {nic}", peer.value);
                let instead = "write an address in it: a heartbeat link crosses no router";
                findings.warn(&peer.place, wrong, instead);
            }
        }
    }
}

/// The serial lines: the devices are there, and nobody else speaks on them.
fn check_lines(
    pair: &Pair,
    local: Local<'_>,
    facts: &MachineFacts,
    files: &dyn Files,
    findings: &mut Findings,
) {
    for link in &pair.links {
        let PairCarrier::Serial { devices, .. } = &link.carrier else { continue };
        let own = devices.iter().find(|(id, _)| *id == local.id);
        let Some((_, At { place, value: device })) = own else { continue };
        let Some(name) = files.device_name(device) else {
            let node = &local.node.name;
            let wrong = format!("this node ({node}) has no device {}", device.display());
            let instead = "plug the adapter in, or write one that it has: ls /dev/ttyS* \
                           /dev/serial/by-id/*";
            findings.error(place, wrong, instead);
            continue;
        };
        if facts.consoles.contains(&name) {
            let wrong = format!(
                "the kernel prints on {name}: what it prints costs the other node heartbeats, and \
                 heartbeats are typed into a login there"
            );
            let instead = format!(
                "take console={name} off the kernel's command line, and run: systemctl disable \
                 --now serial-getty@{name}"
            );
            findings.warn(place, wrong, instead);
        }
    }
}

fn check_vips(pair: &Pair, local: Local<'_>, facts: &MachineFacts, findings: &mut Findings) {
    let is_vip = |net: &IpNet| pair.vips.iter().any(|vip| vip.value.net.addr() == net.addr());
    let mut nets_by_nic = Vec::new();
    for nic in &pair.nics {
        // The active has its VIPs on the NIC: they prove nothing about its own addresses.
        nets_by_nic.push(
            nets_of(facts, &nic.value.name, &nic.place, local, findings)
                .map(|nets| nets.iter().filter(|net| !is_vip(net)).copied().collect::<Vec<_>>()),
        );
    }
    for vip in &pair.vips {
        let Some(Some(nets)) = nets_by_nic.get(vip.value.nic.index()) else { continue };
        let nic = pair.nic_name(&vip.value);
        let net = vip.value.net;
        let Some(home) = nets.iter().find(|home| home.contains(net.addr())) else {
            let wrong = format!("{} is outside the networks of {nic}{}", net.addr(), has(nets));
            let instead =
                match nets.iter().find(|home| home.addr().is_ipv4() == net.addr().is_ipv4()) {
                    Some(home) => format!("write an address in the network of {home}"),
                    None => format!("give {nic} an address of its own in that network"),
                };
            findings.error(&vip.place, wrong, instead);
            continue;
        };
        if net.prefix() < home.prefix() {
            let wrong = format!("{net} is wider than the network {home} of {nic}");
            let instead = format!("write \"{}/{}\"", net.addr(), home.prefix());
            findings.warn(&vip.place, wrong, instead);
        }
    }
}

/// The addresses of a NIC of this machine.
fn nets_of<'f>(
    facts: &'f MachineFacts,
    nic: &str,
    place: &Place,
    local: Local<'_>,
    findings: &mut Findings,
) -> Option<&'f [IpNet]> {
    let found = facts.nics.iter().find(|(name, _)| name == nic);
    if found.is_none() {
        let wrong = format!("this node ({}) has no NIC {nic}", local.node.name);
        let known = facts.nics.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "lo");
        let list: Vec<_> = known.collect();
        let instead = if list.is_empty() {
            "connect it, or load its driver: this machine has no NIC at all".to_owned()
        } else {
            format!("write one it has: {}", list.join(", "))
        };
        findings.error(place, wrong, instead);
    }
    found.map(|(_, nets)| nets.as_slice())
}

/// What a NIC has, in brackets.
fn has(nets: &[IpNet]) -> String {
    let list: Vec<_> = nets.iter().map(IpNet::to_string).collect();
    if list.is_empty() {
        " (it has none)".to_owned()
    } else {
        format!(" (it has {})", list.join(", "))
    }
}
