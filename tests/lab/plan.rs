//! What a lab is made of: the topology, the addresses, and the configuration that tandem is given.
//!
//! | network | nodes | others |
//! |---|---|---|
//! | service NIC `ethN`: 10.77.N.0/24, fd77:N::/64 | .1 and .2 | VIPs .10 up, client .100, .101 |
//! | heartbeat NIC `hbN`: 10.88.N.0/24 | .1 and .2 | |
//! | serial cable `cableN`: a pseudo terminal at each end | `/etc/tandem/cableN` | |
//! | management NIC `mgmt0`: 10.99.0.0/24 | .11 and .12 | BMCs .21 and .22 |
//!
//! (.101 is the observer.)

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::Node;
use super::bmc;
use super::machine::Start;
use super::switch::Plug;

/// How the heartbeat NICs of the nodes are connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cabling {
    /// Through a switch: each NIC's carrier is its own.
    Switch,
    /// By a cable: what takes one NIC's carrier takes both.
    Direct,
}

/// The lab that is wanted.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// How many service NICs each node has, 1 to 6.
    pub service_nics: u8,
    /// How many VIPs each service NIC carries, 1 to 90.
    pub vips_per_nic: u8,
    /// The heartbeat NICs.
    pub heartbeats: Vec<Cabling>,
    /// The serial cables between the nodes, called `cable0` and so on: what is written in the table
    /// of each besides its type and its device.
    pub cables: Vec<String>,
    /// `keepalive` of the configuration.
    pub keepalive: Duration,
    /// `warntime`.
    pub warntime: Duration,
    /// `deadtime`.
    pub deadtime: Duration,
    /// `dead-host-time`, if it is set.
    pub dead_host_time: Option<Duration>,
    /// `initdead`.
    pub initdead: Duration,
    /// `isolated-grace`.
    pub isolated_grace: Duration,
    /// `path-hold`.
    pub path_hold: Duration,
    /// `path-rest`.
    pub path_rest: Duration,
    /// `fence-check-interval`.
    pub fence_check_interval: Duration,
    /// `timeout` of each fence device.
    pub fence_timeout: Duration,
    /// `fence-delay` of B; A has none.
    pub fence_delay: Duration,
    /// `after-fence`, if it is written.
    pub after_fence: Option<&'static str>,
    /// `preferred`.
    pub preferred: Option<Node>,
    /// Lines for the end of the file, such as `[runtime]`.
    pub extra: String,
    /// Whether the daemon is started at boot.
    pub start: Start,
    /// What is run as the daemon; the real one if it is empty.
    pub daemon: Vec<String>,
    /// Added to the daemon's environment.
    pub environment: Vec<(String, String)>,
}

impl Default for LabConfig {
    /// One of everything, a switch for the heartbeats, the daemon supervised.
    fn default() -> Self {
        Self {
            service_nics: 1,
            vips_per_nic: 1,
            heartbeats: vec![Cabling::Switch],
            cables: Vec::new(),
            keepalive: Duration::from_millis(100),
            warntime: Duration::from_millis(250),
            deadtime: Duration::from_millis(500),
            dead_host_time: None,
            initdead: Duration::from_secs(2),
            isolated_grace: Duration::from_secs(5),
            path_hold: Duration::from_millis(400),
            path_rest: Duration::from_secs(60),
            fence_check_interval: Duration::from_secs(1),
            fence_timeout: Duration::from_secs(2),
            fence_delay: Duration::from_secs(3),
            after_fence: None,
            preferred: Some(Node::A),
            extra: String::new(),
            start: Start::Supervised(Duration::from_millis(100)),
            daemon: Vec::new(),
            environment: vec![("RUST_BACKTRACE".to_owned(), "1".to_owned())],
        }
    }
}

impl LabConfig {
    /// A lab for tests of itself: machines without a daemon.
    pub fn without_daemon() -> Self {
        Self { start: Start::Nothing, ..Self::default() }
    }

    /// The VIPs, by NIC and then by rising address.
    pub fn vips(&self) -> Vec<Ipv4Addr> {
        let of_nic = |nic| (0..self.vips_per_nic).map(move |n| Ipv4Addr::new(10, 77, nic, 10 + n));
        (0..self.service_nics).flat_map(of_nic).collect()
    }

    /// The bridges of the switch.
    pub(super) fn bridges(&self) -> Vec<String> {
        let services = (0..self.service_nics).map(|n| format!("svc{n}"));
        let heartbeats = (0..self.heartbeats.len()).map(|n| format!("hb{n}"));
        services.chain(heartbeats).chain(["mgmt".to_owned()]).collect()
    }

    /// The NICs of `node`, whose namespace is `namespace`.
    pub(super) fn node_plugs(&self, node: Node, namespace: &str) -> Vec<Plug> {
        let plug = |nic: String, bridge: String, mac: [u8; 6], cable| Plug {
            port: port(node, &nic),
            bridge,
            namespace: namespace.to_owned(),
            nic,
            mac: Some(mac_text(mac)),
            cable,
        };
        let mut plugs = Vec::new();
        for n in 0..self.service_nics {
            plugs.push(plug(format!("eth{n}"), format!("svc{n}"), service_mac(node, n), None));
        }
        for (n, cabling) in (0_u8..).zip(&self.heartbeats) {
            let nic = format!("hb{n}");
            let far = match cabling {
                Cabling::Switch => None,
                Cabling::Direct => Some(port(node.other(), &nic)),
            };
            plugs.push(plug(nic.clone(), nic, mac(node, 0x10 + n), far));
        }
        plugs.push(plug("mgmt0".to_owned(), "mgmt".to_owned(), mac(node, 0x20), None));
        plugs
    }

    /// The addresses of `node` that are its own: NIC and address.
    pub(super) fn node_addresses(&self, node: Node) -> Vec<(String, String)> {
        let host = node.number();
        let mut addresses = Vec::new();
        for n in 0..self.service_nics {
            addresses.push((format!("eth{n}"), format!("10.77.{n}.{host}/24")));
            addresses.push((format!("eth{n}"), format!("fd77:{n}::{host}/64")));
        }
        for n in 0..self.heartbeats.len() {
            addresses.push((format!("hb{n}"), format!("10.88.{n}.{host}/24")));
        }
        addresses.push(("mgmt0".to_owned(), format!("10.99.0.{}/24", 10 + host)));
        addresses
    }

    /// tandem's configuration, the same on both nodes: the only place that knows its schema.
    pub fn to_toml(&self) -> String {
        let ms = |duration: Duration| format!("\"{}ms\"", duration.as_millis());
        let mut toml = "cluster = \"lab\"\nkey-file = \"/etc/tandem/key\"\n".to_owned();
        let mut line = |text: String| writeln!(toml, "{text}").unwrap();
        if let Some(node) = self.preferred {
            line(format!("preferred = \"{node}\""));
        }
        if let Some(after) = self.after_fence {
            line(format!("after-fence = \"{after}\""));
        }
        line("\n[timing]".to_owned());
        line(format!("keepalive = {}", ms(self.keepalive)));
        line(format!("warntime = {}", ms(self.warntime)));
        line(format!("deadtime = {}", ms(self.deadtime)));
        if let Some(dead_host_time) = self.dead_host_time {
            line(format!("dead-host-time = {}", ms(dead_host_time)));
        }
        line(format!("initdead = {}", ms(self.initdead)));
        line(format!("isolated-grace = {}", ms(self.isolated_grace)));
        line(format!("path-hold = {}", ms(self.path_hold)));
        line(format!("path-rest = {}", ms(self.path_rest)));
        line(format!("fence-check-interval = {}", ms(self.fence_check_interval)));
        for node in Node::BOTH {
            line(format!("\n[nodes.{node}]\nid = {}", node.number()));
            let delay = if node == Node::A { Duration::ZERO } else { self.fence_delay };
            line(format!("fence-delay = {}", ms(delay)));
            line(format!("[nodes.{node}.links]"));
            for n in 0..self.heartbeats.len() {
                line(format!("hb{n} = \"10.88.{n}.{}\"", node.number()));
            }
        }
        for n in 0..self.heartbeats.len() {
            line(format!("\n[links.hb{n}]\ntype = \"udp\"\nnic = \"hb{n}\""));
        }
        for (n, more) in self.cables.iter().enumerate() {
            let device = format!("/etc/tandem/cable{n}");
            line(format!("\n[links.cable{n}]\ntype = \"serial\"\ndevice = \"{device}\"\n{more}"));
        }
        for n in 0..self.service_nics {
            line(format!("\n[nics.eth{n}]"));
        }
        for vip in self.vips() {
            line(format!("\n[[vips]]\naddress = \"{vip}/24\"\nnic = \"eth{}\"", vip.octets()[2]));
        }
        for node in Node::BOTH {
            line(format!("\n[[fence]]\nnode = \"{node}\"\ntype = \"ipmi\"\nname = \"bmc-{node}\""));
            line(format!("address = \"{}\"\nuser = \"{}\"", bmc::address(node), bmc::USER));
            line(format!("password-file = \"/etc/tandem/bmc-{node}.password\""));
            line(format!("timeout = {}", ms(self.fence_timeout)));
        }
        line(self.extra.clone());
        toml
    }
}

/// The name of a node's port at the switch.
pub fn port(node: Node, nic: &str) -> String {
    format!("{node}-{nic}")
}

/// The MAC of service NIC `nic` of `node`.
pub fn service_mac(node: Node, nic: u8) -> [u8; 6] {
    mac(node, nic)
}

fn mac(node: Node, last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 9 + node.number(), last]
}

/// A MAC as the kernel writes it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
