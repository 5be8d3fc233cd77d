//! The fence ladder: devices, levels without gaps, and that no device is taken for another's.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::links::no_host;
use super::{refuse_more, refuse_name};
use crate::config::device::{AGENT_LINE_LEN_MAX, AGENT_PARAMS_MAX, IPMI_PORT, Role};
use crate::config::duration::print;
use crate::config::finding::{At, Findings, Place};
use crate::config::network::Vip;
use crate::config::pair::{PairDevice, PairKind, PairLink, PairNode};
use crate::config::raw::{Fencing, Raw, RawFence, RawKind};
use crate::config::{read, redfish};

const IPMI_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const REDFISH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
const AGENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Power is not cut and read back in less.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The next level waits for this one to give up.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Where an agent written by name is looked up.
const AGENT_DIR: &str = "/usr/sbin";
/// Parameters of agents that hold secrets.
const SECRET_PARAMS: [&str; 5] =
    ["password", "passwd", "snmp-priv-passwd", "session-key", "secret-key"];

/// Parameters of agents that say how a power is switched, or when.
const SWITCH_PARAMS: [&str; 7] = [
    "method",
    "delay",
    "power-wait",
    "power-timeout",
    "retry-on",
    "stonith-status-sleep",
    "force-off",
];

/// Checks `[[fence]]` and `fencing` of each node.
pub(super) fn check(
    raw: &Raw,
    nodes: &[PairNode],
    links: &[PairLink],
    vips: &[At<Vip>],
    findings: &mut Findings,
) -> Vec<PairDevice> {
    let mut devices = Vec::new();
    for device in &raw.fence {
        devices.extend(check_device(device, nodes, findings));
    }
    refuse_same_names(&devices, findings);
    refuse_same_targets(&devices, findings);
    refuse_shared_bmcs(&devices, findings);
    for device in &devices {
        refuse_own_addresses(device, links, vips, findings);
    }
    for node in nodes {
        check_ladder(raw, node, nodes, findings);
    }
    devices
}

/// Every node can be fenced, level by level, or says that it cannot.
fn check_ladder(raw: &Raw, node: &PairNode, nodes: &[PairNode], findings: &mut Findings) {
    let is_nobodys = |device: &RawFence| {
        let name = device.node.as_ref().map(|at| at.value.as_str());
        !nodes.iter().any(|node| name == Some(node.name.as_str()))
    };
    let is_its = |device: &&RawFence| device.node.as_ref().is_some_and(|at| at.value == node.name);
    let first = raw.fence.iter().find(is_its);
    let place = &node.place;
    match (first, node.fencing) {
        // The table for it is probably the one that names no node, or a wrong one.
        (None, Fencing::Devices) if raw.fence.iter().any(is_nobodys) => {}
        (None, Fencing::Devices) => {
            let wrong = format!(
                "no fence device for {}: when it is lost, nothing proves that it holds nothing, \
                 and the pair freezes",
                node.name
            );
            let instead = format!(
                "write a [[fence]] table with node = {:?}; or, if that is how it shall be, \
                 fencing = \"none-accept-frozen\"",
                node.name
            );
            findings.error(place, wrong, instead);
        }
        (None, Fencing::NoneAcceptFrozen) => {
            let wrong = format!(
                "{} cannot be fenced: when it is lost, the pair freezes until it is heard again \
                 or an operator says confirm-off",
                node.name
            );
            findings.warn(place, wrong, "write a [[fence]] table for it");
        }
        (Some(device), Fencing::NoneAcceptFrozen) => {
            let wrong =
                format!("{} has fence devices, and fencing = \"none-accept-frozen\"", node.name);
            findings.error(&device.place, wrong, "delete the one or the other");
        }
        (Some(_), Fencing::Devices) => {}
    }
    check_witnesses(raw, node, findings);
    let levels: BTreeSet<u8> = raw.fence.iter().filter(is_its).map(level_of).collect();
    for device in raw.fence.iter().filter(is_its) {
        let level = level_of(device);
        if level > 1 && !levels.contains(&level.saturating_sub(1)) {
            let place = device.level.as_ref().map_or(&device.place, |at| &at.place);
            let below = level.saturating_sub(1);
            let wrong = format!("level {level} of {}, but no level {below}", node.name);
            findings.error(place, wrong, "number the levels 1, 2, 3 without gaps");
        }
    }
}

/// Whether a table says that its device is only read.
fn is_witness(device: &RawFence) -> bool {
    device.role.as_ref().is_some_and(|at| at.value == Role::Witness)
}

fn level_of(device: &RawFence) -> u8 {
    device.level.as_ref().map_or(1, |at| at.value)
}

/// A node is better off with something that can cut its power, and with that before its witnesses.
fn check_witnesses(raw: &Raw, node: &PairNode, findings: &mut Findings) {
    let is_its = |device: &&RawFence| device.node.as_ref().is_some_and(|at| at.value == node.name);
    let own: Vec<&RawFence> = raw.fence.iter().filter(is_its).collect();
    let Some(witness) = own.iter().find(|device| is_witness(device)) else { return };
    let name = &node.name;
    let place = witness.role.as_ref().map_or(&witness.place, |at| &at.place);
    let cutters = || own.iter().filter(|device| !is_witness(device));
    if cutters().next().is_none() {
        let wrong = format!(
            "nothing can cut the power of {name}: a witness only shows it. When {name} is lost \
             with its power on, or was never heard by the other node's daemon, the pair freezes"
        );
        let instead =
            format!("write a [[fence]] table for {name} that cuts: its BMC, or an outlet");
        findings.warn(place, wrong, instead);
    }
    for witness in own.iter().filter(|device| is_witness(device)) {
        let level = level_of(witness);
        let is_beside = cutters().any(|cutter| level_of(cutter) == level);
        let Some(later) = cutters().map(|cutter| level_of(cutter)).filter(|l| *l > level).max()
        else {
            continue;
        };
        if !is_beside {
            let place = witness.level.as_ref().map_or(&witness.place, |at| &at.place);
            let wrong = format!(
                "level {level} of {name} is only read, and level {later} cuts: a host that hangs \
                 with its power on is cut only after the timeout of the witness"
            );
            findings.warn(place, wrong, "give the witness the last level");
        }
    }
}

/// What says how to switch is of no use to a device that never does.
fn refuse_switching(raw: &RawFence, findings: &mut Findings) {
    let Some(RawKind::Agent { params, .. }) = raw.kind.as_ref().filter(|_| is_witness(raw)) else {
        return;
    };
    for (name, at) in params {
        if SWITCH_PARAMS.contains(&name.replace('_', "-").as_str()) {
            let wrong =
                format!("{name} says how to switch a power, and a witness is never told to");
            findings.error(&at.place, wrong, "leave it out, or write role = \"fence\"");
        }
    }
}

fn check_device(raw: &RawFence, nodes: &[PairNode], findings: &mut Findings) -> Option<PairDevice> {
    let node = raw.node.as_ref().and_then(|at| {
        let found = nodes.iter().find(|node| node.name == at.value);
        if found.is_none() {
            let known = nodes.iter().map(|node| node.name.as_str());
            refuse_name(&at.place, "node", &at.value, known, findings);
        }
        found
    });
    if let Some(At { place, value }) = &raw.timeout
        && !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(value)
    {
        let instead = format!("write \"{}\" to \"{}\"", print(TIMEOUT_MIN), print(TIMEOUT_MAX));
        findings.error(place, format!("a timeout of {}", print(*value)), instead);
    }
    refuse_switching(raw, findings);
    let kind = check_kind(raw.kind.as_ref()?, &raw.place, findings);
    let (node, kind) = (node?, kind?);
    let (stem, timeout) = match &kind {
        PairKind::Ipmi { .. } => ("ipmi", IPMI_TIMEOUT_DEFAULT),
        PairKind::Redfish { .. } => ("redfish", REDFISH_TIMEOUT_DEFAULT),
        PairKind::Agent { program, .. } => (
            program.file_name().and_then(|name| name.to_str()).unwrap_or("agent"),
            AGENT_TIMEOUT_DEFAULT,
        ),
    };
    let name = raw.name.as_ref().map(|at| at.value.clone());
    Some(PairDevice {
        place: raw.name.as_ref().map_or(&raw.place, |at| &at.place).clone(),
        name: name.unwrap_or_else(|| format!("{stem}-{}", node.name)),
        node: node.id,
        level: raw.level.as_ref().map_or(1, |at| at.value),
        role: raw.role.as_ref().map(|at| at.value).unwrap_or_default(),
        identity: raw.identity.as_ref().map(|at| at.value).unwrap_or_default(),
        timeout: raw.timeout.as_ref().map_or(timeout, |at| at.value),
        kind,
    })
}

fn check_kind(raw: &RawKind, place: &Place, findings: &mut Findings) -> Option<PairKind> {
    match raw {
        RawKind::Ipmi { address, port, user, password_file, suite } => {
            if let Some(At { place, value }) = address
                && let Some(kind) = no_host(*value)
                && !value.is_loopback()
            {
                let instead = "write the address at which the BMC answers";
                findings.error(place, format!("{value} is {kind}"), instead);
            }
            let port = port.as_ref().map_or(IPMI_PORT, |at| at.value);
            Some(PairKind::Ipmi {
                address: SocketAddr::new(address.as_ref()?.value, port),
                user: user.as_ref()?.value.clone(),
                password_file: password_file.clone()?,
                suite: suite.as_ref().map(|at| at.value).unwrap_or_default(),
            })
        }
        RawKind::Redfish(raw) => redfish::check(raw, place, findings),
        RawKind::Agent { agent, params, secret_files, secret_files_place } => {
            let count = params.len().saturating_add(secret_files.len());
            refuse_more(place, "parameters", count, AGENT_PARAMS_MAX, findings);
            for (name, at) in params {
                check_param(name, at, findings);
                if secret_files.iter().any(|(secret, _)| secret == name) {
                    let wrong = format!("{name} is in params and in secret-files");
                    findings.error(secret_files_place, wrong, "delete one of them");
                }
            }
            for (name, at) in secret_files {
                check_param_name(name, &at.place, findings);
            }
            let program = check_agent(agent.as_ref()?, findings)?;
            Some(PairKind::Agent {
                agent: agent.clone()?,
                program,
                params: params.iter().map(|(name, at)| (name.clone(), at.value.clone())).collect(),
                param_places: params.iter().map(|(n, at)| (n.clone(), at.place.clone())).collect(),
                secret_files: secret_files.clone(),
            })
        }
    }
}

fn check_agent(agent: &At<String>, findings: &mut Findings) -> Option<PathBuf> {
    let At { place, value } = agent;
    let parsed = if value.contains('/') {
        read::path(value)
    } else {
        read::name(value).map(|name| Path::new(AGENT_DIR).join(name))
    };
    parsed.map_err(|wrong| findings.error(place, wrong.wrong, wrong.instead)).ok()
}

fn check_param(name: &str, at: &At<String>, findings: &mut Findings) {
    let plain = name.replace('_', "-");
    if SECRET_PARAMS.contains(&plain.as_str()) {
        let instead = format!("write secret-files = {{ {name} = \"/etc/tandem/NAME.pw\" }}");
        findings.error(&at.place, "a secret in a file that everybody may read", instead);
        return;
    }
    check_param_name(name, &at.place, findings);
    if plain == "method" && at.value == "cycle" {
        let wrong = "a power cycle cannot be read back: it proves nothing";
        findings.error(&at.place, wrong, "write method = \"onoff\", or leave it out");
    }
    let line_len_max = AGENT_LINE_LEN_MAX.saturating_sub(name.len()).saturating_sub(1);
    if let Err(wrong) = read::line(&at.value, line_len_max) {
        findings.error(&at.place, wrong.wrong, wrong.instead);
    }
}

fn check_param_name(name: &str, place: &Place, findings: &mut Findings) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if matches!(name, "action" | "option") {
        let wrong = "tandem itself tells the agent what to do";
        findings.error(place, wrong, "leave it out");
    } else if name.is_empty() || !name.chars().all(fits) || name.len() > read::NAME_LEN_MAX {
        let wrong = format!("{name:?} is not the name of a parameter");
        findings.error(place, wrong, "write it as the agent's manual page does, such as ip");
    }
}

fn refuse_same_names(devices: &[PairDevice], findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for device in devices {
        if !seen.insert(device.name.as_str()) {
            let wrong = format!("two fence devices are called {:?}", device.name);
            let instead = format!("write name = \"{}-2\" for one of them", device.name);
            findings.error(&device.place, wrong, instead);
        }
    }
}

/// A device that cuts the power of two nodes would let a node cut its own.
fn refuse_same_targets(devices: &[PairDevice], findings: &mut Findings) {
    let mut seen: BTreeMap<String, &PairDevice> = BTreeMap::new();
    for device in devices {
        let target = match &device.kind {
            PairKind::Ipmi { address, .. } => format!("the BMC at {address}"),
            PairKind::Redfish { host, port, system, .. } => {
                let id = system.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path));
                let system = id.map(|id| format!(", system {id}"));
                format!("the BMC at {host}, port {port}{}", system.unwrap_or_default())
            }
            PairKind::Agent { program, params, .. } => {
                let mut params: Vec<_> = params.iter().map(|(n, v)| format!("{n}={v}")).collect();
                params.sort();
                format!("{} with {}", program.display(), params.join(" "))
            }
        };
        let Some(other) = seen.get(&target) else {
            seen.insert(target, device);
            continue;
        };
        if other.node == device.node {
            let wrong = format!("the same device as {}: {target}", other.name);
            findings.error(&device.place, wrong, "delete one of them");
        } else {
            let wrong = format!("{target} is {} too, of the other node", other.name);
            let instead = "write what switches this node's power: one that switches the other's \
                           would let a node cut its own";
            findings.error(&device.place, wrong, instead);
        }
    }
}

/// A BMC has one host, however it is spoken to, unless each of its systems is named.
fn refuse_shared_bmcs(devices: &[PairDevice], findings: &mut Findings) {
    let is_whole = |device: &&PairDevice| match &device.kind {
        PairKind::Ipmi { .. } => true,
        PairKind::Redfish { system, .. } => system.is_none(),
        PairKind::Agent { .. } => false,
    };
    for whole in devices.iter().filter(is_whole) {
        let Some(host) = bmc_host(&whole.kind) else { continue };
        let is_ipmi = |device: &PairDevice| matches!(device.kind, PairKind::Ipmi { .. });
        for other in devices.iter().filter(|other| other.node != whole.node) {
            // Two that are alike in all were told about before; two that are whole, once.
            let is_told = is_whole(&other) && (is_ipmi(other) || !is_ipmi(whole));
            if !is_told && bmc_host(&other.kind).as_ref() == Some(&host) {
                let wrong = format!("the BMC at {host} is {} too, of the other node", whole.name);
                findings.error(&other.place, wrong, "write the address of this node's own BMC");
            }
        }
    }
}

fn refuse_own_addresses(
    device: &PairDevice,
    links: &[PairLink],
    vips: &[At<Vip>],
    findings: &mut Findings,
) {
    let Some(Ok(addr)) = bmc_host(&device.kind).map(|host| host.parse::<IpAddr>()) else { return };
    let is_vip = vips.iter().any(|vip| vip.value.net.addr() == addr);
    let mut hosts = links.iter().flat_map(|link| link.addresses());
    let what = if is_vip {
        "a virtual IP"
    } else if hosts.any(|(_, at)| at.value == addr) {
        "a node's own address on a link"
    } else {
        return;
    };
    let wrong = format!("the BMC's address {addr} is {what}");
    findings.error(&device.place, wrong, "write the address at which the BMC itself answers");
}

/// Where a BMC is, as it is written.
fn bmc_host(kind: &PairKind) -> Option<String> {
    match kind {
        PairKind::Ipmi { address, .. } => Some(address.ip().to_string()),
        PairKind::Redfish { host, .. } => Some(host.to_ascii_lowercase()),
        PairKind::Agent { .. } => None,
    }
}
