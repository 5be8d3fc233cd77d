//! The status document as text for somebody who was woken by it.
//!
//! The first line says whether it is well. Then why, for how long, and what to do. Then the
//! tables, with a mark before each line that is part of the trouble. Plain ASCII, no colours: it
//! goes into mails and tickets.

use crate::cli::age::{ago, micros, span};
use crate::cli::table::{Table, plain};
use crate::wire::control::Status;
use crate::wire::control::status::{
    FenceDevice, Frozen, FrozenLevel, Health, Link, LinkState, Node, NodeState, Vip,
};

/// The most VIPs that are shown; those in trouble come first.
const VIPS_SHOWN_MAX: usize = 16;
/// The widest line of the explanation.
const WIDTH_MAX: usize = 100;
/// How far its texts are indented, less the space before each word.
const INDENT: usize = 7;

/// The whole text.
pub(super) fn render(status: &Status) -> String {
    let mut text = health(status);
    for part in [nodes(status), links(status), nics(status), vips(status), devices(status)] {
        text.push_str(&part);
    }
    text.push_str(&foot(status));
    text
}

fn health(status: &Status) -> String {
    let mut text = format!("{}: {}\n", health_word(status.health), headline(status));
    if let Some(frozen) = &status.frozen {
        text.push_str(&why_frozen(frozen));
    }
    for trouble in &status.degradations {
        text.push_str(&field("why", &format!("{} (for {})", trouble.what, span(trouble.since_ms))));
        if !trouble.remedy.is_empty() {
            text.push_str(&field("do", &trouble.remedy));
        }
    }
    if let Some((why, remedy)) = situation(status) {
        text.push_str(&field("why", &why));
        text.push_str(&field("do", remedy));
    }
    if !status.keys.accepts.is_empty() {
        let note = "the heartbeat key is being changed; what is next: tandem key";
        text.push_str(&field("note", note));
    }
    if !status.blocked.is_empty() {
        let blocked = format!("{} cannot take over now: {}", status.node, status.blocked);
        text.push_str(&field("note", &blocked));
    }
    text
}

/// What is wrong of itself, without a degradation or a frozen peer; and what to do.
fn situation(status: &Status) -> Option<(String, &'static str)> {
    if status.health == Health::Collision {
        let claimed = status.vips.iter().find(|vip| is_in_trouble(vip));
        let why = match claimed.and_then(|vip| Some((vip, vip.claimed_by.as_ref()?))) {
            Some((vip, claim)) if claim.node.is_empty() => {
                format!("a machine that is no node answers for {}: {}", vip.address, claim.mac)
            }
            Some((vip, claim)) => format!("{} answers for {} as well", claim.node, vip.address),
            None => "another node says that it is active".to_owned(),
        };
        let remedy = "look at the tables below: a machine that is no node must give the address \
                      up (find its MAC on the switch); of two nodes, one gives way by itself";
        return Some((why, remedy));
    }
    let local = status.nodes.iter().find(|node| node.local)?;
    if local.state != NodeState::Isolated {
        return None;
    }
    let reason = local.last_change.as_ref().map_or("", |change| change.reason.as_str());
    let why = format!("{} is isolated: {reason} (for {})", local.name, span(local.since_ms));
    let is_key = status.refused.iter().any(|refused| refused.reason == "wrong-key");
    let remedy = if is_key {
        "compare the key files of the nodes (wrong-key, below); then the links: cables, firewall, \
         ports"
    } else {
        "mend the heartbeat links: cables, firewall, ports; look at tandem status on the other node"
    };
    Some((why, remedy))
}

/// A named piece of the explanation, in lines that fit a terminal.
fn field(name: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("  {name:<5}");
    for word in plain(text).split_whitespace() {
        if line.len().saturating_add(word.len()) >= WIDTH_MAX {
            lines.push_str(&line);
            lines.push('\n');
            line = " ".repeat(INDENT);
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

fn health_word(health: Health) -> &'static str {
    match health {
        Health::Ok => "OK",
        Health::Degraded => "DEGRADED",
        Health::Starting => "STARTING",
        Health::TakingOver => "TAKING OVER",
        Health::NoActive => "NO ACTIVE NODE",
        Health::Frozen => "FROZEN",
        Health::Collision => "COLLISION",
        Health::Unknown => "UNKNOWN",
    }
}

fn headline(status: &Status) -> String {
    let active = names(status, |node| node.state == NodeState::Active);
    let ready = names(status, |node| node.state == NodeState::Standby && node.eligible);
    let is_active = if active.is_empty() {
        "no node is known to be active".to_owned()
    } else {
        format!("{active} is active")
    };
    let text = match status.health {
        Health::Ok if !ready.is_empty() => format!("{is_active}, {ready} is ready to take over"),
        Health::Ok => is_active,
        Health::Degraded if active.is_empty() => {
            "no node is heard to be active, but the virtual IPs answer".to_owned()
        }
        Health::Degraded => format!("{is_active}; the service runs, but somebody should look"),
        Health::Starting => "no service yet: the nodes listen for each other".to_owned(),
        Health::TakingOver => "no service for the moment: a takeover is under way".to_owned(),
        Health::NoActive => "no service, and this node cannot take over now".to_owned(),
        Health::Frozen => {
            let lost = status.frozen.as_ref().map_or("a lost node", |frozen| frozen.node.as_str());
            format!("no service is certain; {lost} is lost, and nothing proves that it holds none")
        }
        Health::Collision => "two machines claim the service at once".to_owned(),
        Health::Unknown => "the daemon says a word that this program does not know".to_owned(),
    };
    plain(&format!("{text}  [{}, seen from {}]", status.cluster, status.node))
}

fn names(status: &Status, is_meant: impl Fn(&Node) -> bool) -> String {
    let names = status.nodes.iter().filter(|node| is_meant(node)).map(|node| node.name.as_str());
    names.collect::<Vec<_>>().join(" and ")
}

fn why_frozen(frozen: &Frozen) -> String {
    let why = format!("{} (for {})", frozen.what, span(frozen.since_ms));
    let mut text = field("why", &why);
    for (i, seen) in frozen.evidence.iter().enumerate() {
        text.push_str(&field(if i == 0 { "seen" } else { "" }, seen));
    }
    for (i, level) in frozen.levels.iter().enumerate() {
        let tried = tried(level, frozen.levels.len() > 1);
        text.push_str(&field(if i == 0 { "tried" } else { "" }, &tried));
    }
    for (i, step) in frozen.remedy.iter().enumerate() {
        let step = format!("{}. {step}", i.saturating_add(1));
        text.push_str(&field(if i == 0 { "do" } else { "" }, &step));
    }
    if !frozen.command.is_empty() {
        text.push_str(&field("", &format!("   ({}: {})", frozen.command, frozen.command_does)));
    }
    let next = if frozen.levels.is_empty() {
        format!(
            "there is no device to ask; the moment {} is heard, this ends by itself",
            frozen.node
        )
    } else {
        format!(
            "the fence devices are asked for ever (next step in {}); the moment a level reads \
             off, or {} is heard, this ends by itself",
            span(frozen.retry_in_ms),
            frozen.node
        )
    };
    text.push_str(&field("next", &next));
    text
}

/// What is being done at a level; with its reason, where there are several.
fn tried(level: &FrozenLevel, with_reason: bool) -> String {
    let left = span(level.left_ms);
    let doing = match level.doing.as_str() {
        "resting" => format!("is asked again in {left}"),
        "looking" => format!("is being asked; an answer is waited for, {left} at most"),
        "cutting" => format!("was told to cut the power; an answer is waited for, {left} at most"),
        "reading" => {
            format!("was told to cut the power, and is read until it says off, {left} at most")
        }
        other => other.to_owned(),
    };
    let devices = level.devices.join(" and ");
    let reason = if with_reason && !level.what.is_empty() {
        format!("; last time: {}", level.what)
    } else {
        String::new()
    };
    format!("level {} ({devices}) {doing}{reason}", level.level)
}

fn nodes(status: &Status) -> String {
    let mut table = Table::new(&["NODE", "STATE", "FOR", "TERM", "HEARD", "LAST CHANGE"]);
    for node in &status.nodes {
        let mut state = node.state.as_str().to_owned();
        if node.held {
            state.push_str(", held");
        } else if is_unready(node) {
            state.push_str(", not ready");
        }
        let heard = match (node.local, node.heard_ms) {
            (true, _) => "this node".to_owned(),
            (false, Some(ms)) => ago(ms),
            (false, None) => "never".to_owned(),
        };
        let change = node
            .last_change
            .as_ref()
            .map(|change| format!("{}: {}, {}", change.what, change.reason, ago(change.ago_ms)));
        let cells = [
            node.name.clone(),
            state,
            span(node.since_ms),
            node.term.to_string(),
            heard,
            change.unwrap_or_default(),
        ];
        table.row(node_mark(node), cells);
    }
    table.render()
}

/// A standby that could not take over.
fn is_unready(node: &Node) -> bool {
    node.state == NodeState::Standby && !node.eligible
}

fn node_mark(node: &Node) -> char {
    if is_unready(node) {
        return '!';
    }
    match node.state {
        NodeState::Active | NodeState::Standby | NodeState::Acquiring | NodeState::Releasing => {
            if node.local {
                '*'
            } else {
                ' '
            }
        }
        NodeState::Joining if node.local => '*',
        NodeState::Joining
        | NodeState::Isolated
        | NodeState::Fencing
        | NodeState::Frozen
        | NodeState::Stopped
        | NodeState::Lost
        | NodeState::Unknown => '!',
    }
}

fn links(status: &Status) -> String {
    let mut table = Table::new(&["LINK", "TO", "STATE", "FOR", "LAST BEAT", "RTT", "KIND", "OVER"]);
    for link in &status.links {
        let cells = [
            link.name.clone(),
            link.peer.clone(),
            link.state.as_str().to_owned(),
            span(link.since_ms),
            link.last_heartbeat_ms.map_or_else(|| "never".to_owned(), ago),
            link.rtt_us.map(micros).unwrap_or_default(),
            link.kind.clone(),
            over(link),
        ];
        let is_well = matches!(link.state, LinkState::Up | LinkState::Quiet);
        table.row(if is_well && link.send_error.is_empty() { ' ' } else { '!' }, cells);
    }
    table.render()
}

fn over(link: &Link) -> String {
    let backup = if link.backup { ", backup" } else { "" };
    // A daemon of an older version tells no reason.
    let why = if link.reason.is_empty() { &link.send_error } else { &link.reason };
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    format!("{}{backup}{why}", link.path)
}

fn nics(status: &Status) -> String {
    let mut table = Table::new(&["NIC", "STATE", "CARRIER", "OTHER NODE", "PING TARGETS"]);
    for nic in &status.nics {
        let reach = match nic.reach {
            Some(true) => "answer",
            Some(false) => "SILENT",
            None => "",
        };
        let across = match nic.across {
            Some(true) => "hears",
            Some(false) => "NOTHING PASSES",
            None => "",
        };
        let state = if nic.good { "good" } else { "BAD" };
        let carrier = if nic.carrier { "yes" } else { "NO" };
        let cells = [nic.name.as_str(), state, carrier, across, reach].map(str::to_owned);
        let is_well = nic.good && nic.across != Some(false);
        table.row(if is_well { ' ' } else { '!' }, cells);
    }
    table.render()
}

fn vips(status: &Status) -> String {
    let mut sorted: Vec<&Vip> = status.vips.iter().collect();
    sorted.sort_by_key(|vip| !is_in_trouble(vip));
    let mut table = Table::new(&["VIP", "NIC", "HOLDER"]);
    for vip in sorted.iter().take(VIPS_SHOWN_MAX) {
        let mark = if is_in_trouble(vip) { '!' } else { ' ' };
        table.row(mark, [vip.address.clone(), vip.nic.clone(), holder(status, vip)]);
    }
    let mut text = table.render();
    let more = sorted.len().saturating_sub(VIPS_SHOWN_MAX);
    if more > 0 {
        let held = sorted.iter().filter(|vip| vip.held).count();
        text.push_str(&format!(
            "  and {more} more; of all {}, this node holds {held} (tandem status --json)\n",
            sorted.len()
        ));
    }
    text
}

/// Held here and claimed by somebody else, or claimed by a machine that is no node.
fn is_in_trouble(vip: &Vip) -> bool {
    vip.claimed_by.as_ref().is_some_and(|claim| vip.held || claim.node.is_empty())
}

fn holder(status: &Status, vip: &Vip) -> String {
    let claim = vip.claimed_by.as_ref().map(|claim| {
        // Who was never heard has not told its MACs: nobody can be called a stranger then.
        let is_unheard = status.nodes.iter().any(|node| node.state == NodeState::Unknown);
        let who = match claim.node.as_str() {
            "" if is_unheard && !vip.held => "somebody",
            "" => "A STRANGER",
            node => node,
        };
        format!("{who} ({}, seen {})", claim.mac, ago(claim.ago_ms))
    });
    match (vip.held, claim) {
        (true, None) => format!("{} (this node)", status.node),
        (true, Some(claim)) => format!("{} (this node) AND {claim}", status.node),
        (false, Some(claim)) => claim,
        (false, None) => {
            let peer = names(status, |node| !node.local && node.state == NodeState::Active);
            if peer.is_empty() { "nobody seen".to_owned() } else { format!("{peer} (says so)") }
        }
    }
}

fn devices(status: &Status) -> String {
    let headings = ["FENCE DEVICE", "CUTS", "LEVEL", "KIND", "POWER", "READ", "SESSION", "FAULT"];
    let mut table = Table::new(&headings);
    for device in &status.fence_devices {
        let cells = [
            device.name.clone(),
            device.node.clone(),
            device.level.to_string(),
            device.kind.clone(),
            device.reading.clone(),
            device.read_ms.map_or_else(|| "never".to_owned(), ago),
            session(device),
            device.fault.clone(),
        ];
        table.row(device_mark(status, device), cells);
    }
    let mut text = table.render();
    for device in &status.fence_devices {
        for warning in &device.warnings {
            text.push_str(&format!("  {}: {}\n", plain(&device.name), plain(warning)));
        }
    }
    text
}

/// The session that is kept to a BMC, and for how long it has been as it is.
fn session(device: &FenceDevice) -> String {
    match device.session_ms {
        Some(ms) if !device.session.is_empty() => format!("{} {}", device.session, span(ms)),
        Some(_) | None => device.session.clone(),
    }
}

/// In trouble: one that fails, and one that says something else of a node's power than the node.
fn device_mark(status: &Status, device: &FenceDevice) -> char {
    let is_heard = status.nodes.iter().any(|node| {
        let is_alive = !matches!(node.state, NodeState::Lost | NodeState::Unknown);
        node.name == device.node && is_alive
    });
    let contradicts = is_heard && device.reading == "off";
    if contradicts || device.reading == "unknown" || !device.fault.is_empty() { '!' } else { ' ' }
}

fn foot(status: &Status) -> String {
    let mut text = String::from("\n");
    if !status.refused.is_empty() {
        let counts = status.refused.iter().map(|it| format!("{} {}", it.count, it.reason));
        let counts = plain(&counts.collect::<Vec<_>>().join(", "));
        text.push_str(&format!("datagrams refused since the start: {counts}\n"));
    }
    let version = plain(&status.version);
    text.push_str(&format!("tandem {version}, running for {}\n", span(status.uptime_ms)));
    text
}

#[cfg(test)]
#[path = "frozen/tests.rs"]
mod frozen_tests;
