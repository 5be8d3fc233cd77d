//! The normalised file: every default written out, tables and keys in one order.
//!
//! `parse(print(pair)) == pair`; its digest is what the nodes compare. Secrets are named by their
//! files, never shown.

use core::fmt::Display;

use super::device::{Login, Suite, Trust};
use super::duration::print as time;
use super::pair::{Pair, PairCarrier, PairDevice, PairKind, PairLink};
use super::plan::{Priority, Runtime, Timing};
use super::raw::Fencing;
use crate::engine::settings::AfterFence;
use crate::types::NodeId;

/// `pair` as a file. Nothing if what every file needs is missing.
pub(super) fn print(pair: &Pair) -> Option<String> {
    let mut page = Page(String::new());
    page.text("cluster", pair.cluster.as_ref()?);
    page.text("key-file", pair.key_file.as_ref()?.value.display());
    if let Some(id) = pair.preferred {
        page.text("preferred", pair.node_name(id));
    }
    page.text(
        "after-fence",
        match pair.after_fence {
            AfterFence::StaysOff => "off",
            AfterFence::PowersOn => "on",
        },
    );
    print_timing(&pair.timing, &mut page);
    for node in &pair.nodes {
        page.table(&["nodes", &node.name]);
        page.plain("id", node.id);
        page.text("fence-delay", time(node.fence_delay));
        page.text(
            "fencing",
            match node.fencing {
                Fencing::Devices => "devices",
                Fencing::NoneAcceptFrozen => "none-accept-frozen",
            },
        );
        page.table(&["nodes", &node.name, "links"]);
        for link in &pair.links {
            print_end(link, node.id, &mut page);
        }
    }
    for link in &pair.links {
        print_link(link, &mut page);
    }
    for nic in pair.nics.iter().map(|at| &at.value) {
        page.table(&["nics", &nic.name]);
        if !nic.ping.is_empty() {
            let targets: Vec<_> = nic.ping.iter().map(|addr| quoted(&addr.to_string())).collect();
            page.plain("ping", format_args!("[{}]", targets.join(", ")));
            page.text("ping-interval", time(nic.ping_interval));
            page.plain("ping-count", nic.ping_count);
        }
        page.plain("probe", nic.probe.is_some());
        if let Some(probe) = nic.probe {
            page.text("probe-interval", time(probe.interval));
            page.plain("probe-count", probe.count);
        }
    }
    for vip in pair.vips.iter().map(|at| &at.value) {
        page.element("vips");
        page.text("address", vip.net);
        page.text("nic", pair.nic_name(vip));
        if let Some(label) = &vip.label {
            page.text("label", label);
        }
    }
    for device in &pair.devices {
        print_device(pair, device, &mut page);
    }
    print_runtime(&pair.runtime, &mut page);
    Some(page.0)
}

/// A node's end of a link.
fn print_end(link: &PairLink, node: NodeId, page: &mut Page) {
    let name = key(&link.name.value);
    match &link.carrier {
        PairCarrier::Udp { addresses, .. } => {
            for (_, at) in addresses.iter().filter(|(id, _)| *id == node) {
                page.text(&name, at.value);
            }
        }
        PairCarrier::Serial { devices, .. } => {
            for (_, at) in devices.iter().filter(|(id, _)| *id == node) {
                page.text(&name, at.value.display());
            }
        }
    }
}

fn print_link(link: &PairLink, page: &mut Page) {
    page.table(&["links", &link.name.value]);
    match &link.carrier {
        PairCarrier::Udp { nic, port, group, .. } => {
            page.text("type", "udp");
            page.text("nic", &nic.value);
            page.plain("port", port);
            if let Some(group) = group {
                page.text("group", group);
            }
        }
        PairCarrier::Serial { baud, rtscts, .. } => {
            page.text("type", "serial");
            page.plain("baud", baud);
            page.plain("rtscts", rtscts);
        }
    }
    page.plain("backup", link.backup);
    page.text("keepalive", time(link.rhythm.keepalive));
    page.text("warntime", time(link.rhythm.warntime));
    page.text("deadtime", time(link.rhythm.deadtime));
}

fn print_timing(timing: &Timing, page: &mut Page) {
    page.table(&["timing"]);
    page.text("keepalive", time(timing.keepalive));
    page.text("warntime", time(timing.warntime));
    page.text("deadtime", time(timing.deadtime));
    // Not written where it is not set: nodes agree with those that do not know of it.
    if let Some(dead_host_time) = timing.dead_host_time {
        page.text("dead-host-time", time(dead_host_time));
    }
    page.text("initdead", time(timing.initdead));
    page.text("isolated-grace", time(timing.isolated_grace));
    page.text("fence-check-interval", time(timing.fence_check_interval));
    page.text("path-hold", time(timing.path_hold));
    page.text("path-rest", time(timing.path_rest));
}

fn print_device(pair: &Pair, device: &PairDevice, page: &mut Page) {
    page.element("fence");
    page.text("node", pair.node_name(device.node));
    page.plain("level", device.level);
    page.text("name", &device.name);
    match &device.kind {
        PairKind::Ipmi { address, user, password_file, suite } => {
            page.text("type", "ipmi");
            page.text("timeout", time(device.timeout));
            page.text("address", address.ip());
            page.plain("port", address.port());
            page.text("user", user);
            page.text("password-file", password_file.value.display());
            page.plain(
                "cipher-suite",
                match suite {
                    Suite::Auto => "\"auto\"",
                    Suite::Three => "3",
                    Suite::Seventeen => "17",
                },
            );
        }
        PairKind::Redfish { host, port, user, password_file, system, trust, login } => {
            page.text("type", "redfish");
            page.text("timeout", time(device.timeout));
            page.text("address", host);
            page.plain("port", port);
            page.text("user", user);
            page.text("password-file", password_file.value.display());
            if let Some(system) = system {
                page.text("system", system);
            }
            match &trust.value {
                Trust::Pinned(fingerprint) => page.text("certificate", fingerprint),
                Trust::Authority(path) => page.text("ca-file", path.display()),
            }
            let name = Login::ALL.iter().find(|(way, _)| way == login).map(|(_, name)| *name);
            page.text("login", name.unwrap_or_default());
        }
        PairKind::Agent { agent, params, secret_files, .. } => {
            page.text("type", "agent");
            page.text("timeout", time(device.timeout));
            page.text("agent", &agent.value);
            let params = params.iter().map(|(name, value)| (name, value.clone()));
            page.inline("params", params);
            let files = secret_files.iter();
            page.inline("secret-files", files.map(|(n, at)| (n, at.value.display().to_string())));
        }
    }
}

fn print_runtime(runtime: &Runtime, page: &mut Page) {
    page.table(&["runtime"]);
    page.text("control-socket", runtime.control_socket.display());
    page.text("runtime-dir", runtime.runtime_dir.display());
    page.text("state-dir", runtime.state_dir.display());
    match runtime.priority {
        Priority::Off => page.text("priority", "off"),
        Priority::RealTime(level) => page.plain("priority", level),
    }
    page.plain("lock-memory", runtime.lock_memory);
}

/// The text so far.
struct Page(String);

impl Page {
    /// A line `[a.b]` after an empty one.
    fn table(&mut self, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| key(name)).collect();
        self.0.push_str(&format!("\n[{}]\n", names.join(".")));
    }

    /// A line `[[a]]` after an empty one.
    fn element(&mut self, name: &str) {
        self.0.push_str(&format!("\n[[{name}]]\n"));
    }

    /// A line `key = "value"`.
    fn text(&mut self, key: &str, value: impl Display) {
        self.plain(key, quoted(&value.to_string()));
    }

    /// A line `key = value`.
    fn plain(&mut self, key: &str, value: impl Display) {
        self.0.push_str(&format!("{key} = {value}\n"));
    }

    /// A line `key = { a = "b" }`, if there is anything in it.
    fn inline<'k>(&mut self, name: &str, pairs: impl Iterator<Item = (&'k String, String)>) {
        let pairs: Vec<_> = pairs.map(|(k, v)| format!("{} = {}", key(k), quoted(&v))).collect();
        if !pairs.is_empty() {
            self.plain(name, format_args!("{{ {} }}", pairs.join(", ")));
        }
    }
}

/// `name` as a key: bare if TOML allows it.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// `text` as a TOML basic string. Control characters were refused before.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
