//! The switch: one namespace with a bridge for each segment and a port for each NIC of the lab.
//!
//! Every cable ends here, so that every fault of the network is a change of ports:
//!
//! | fault | made by |
//! |---|---|
//! | silent: no frame passes, both ends keep carrier | bridge port disabled, and nft |
//! | unplugged: the NIC at the port loses its carrier | the port is down |
//! | one way, random loss | nft rules on the bridges |
//! | a direct cable's other end lost power or was pulled | the port at this end is down, too |
//!
//! What is wished outlives the port: a machine that boots finds its cuts as they were. It does not
//! know what runs behind a port.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use super::clock::Stamp;
use super::netns;
use super::rtnl::{Change, Rtnl};

/// How long a port may take from being plugged to forwarding.
const PLUG_MAX: Duration = Duration::from_secs(5);

/// A NIC to be plugged into the switch.
#[derive(Clone, Debug)]
pub struct Plug {
    /// The name of the port, unique in the lab: `a-eth0`.
    pub port: String,
    /// The segment it is in.
    pub bridge: String,
    /// The namespace of the NIC.
    pub namespace: String,
    /// The name of the NIC there.
    pub nic: String,
    /// The MAC of the NIC; chosen by the kernel if there is none.
    pub mac: Option<String>,
    /// The port at the other end, if this models one end of a direct cable.
    pub cable: Option<String>,
}

/// What is wished for one port, whether it exists or not.
#[derive(Clone, Default, Debug)]
struct Port {
    /// The kernel's number of the port; none while its machine has no power.
    index: Option<u32>,
    silent: bool,
    unplugged: bool,
    cable: Option<String>,
}

/// Frames that are dropped on their way through the switch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Drops {
    /// The port at which they come in; any if there is none.
    pub from: Option<String>,
    /// The port at which they leave; any if there is none.
    pub to: Option<String>,
    /// How many of a thousand, at random.
    pub permille: u16,
}

/// The switch.
pub struct Switch {
    namespace: String,
    state: Mutex<State>,
}

struct State {
    rtnl: Rtnl,
    ports: BTreeMap<String, Port>,
    drops: Vec<Drops>,
}

impl Switch {
    /// Makes the namespace with these bridges.
    pub fn build(namespace: &str, bridges: &[String]) -> Self {
        netns::create(namespace);
        let mut lines = Vec::new();
        for bridge in bridges {
            let options = "type bridge mcast_snooping 0 stp_state 0 forward_delay 0";
            lines.push(format!("link add {bridge} {options}"));
            lines.push(format!("link set {bridge} up"));
        }
        netns::ip_batch(namespace, &lines);
        let rtnl = Rtnl::open(namespace);
        let state = State { rtnl, ports: BTreeMap::new(), drops: Vec::new() };
        Self { namespace: namespace.to_owned(), state: Mutex::new(state) }
    }

    /// Makes the NICs and plugs them in, as silent or unplugged as was wished for their ports, and
    /// waits until those that may forward do.
    pub fn plug(&self, plugs: &[Plug]) {
        let mut state = self.lock();
        let mut lines = Vec::new();
        for plug in plugs {
            let Plug { port, bridge, namespace, nic, .. } = plug;
            let mac = plug.mac.as_ref().map_or(String::new(), |mac| format!(" address {mac}"));
            lines.push(format!("link add {port} type veth peer name {nic}{mac} netns {namespace}"));
            lines.push(format!("link set {port} master {bridge}"));
        }
        netns::ip_batch(&self.namespace, &lines);
        let names: Vec<&str> = plugs.iter().map(|plug| plug.port.as_str()).collect();
        let indices = self.indices(&names);
        for (plug, index) in plugs.iter().zip(indices) {
            let port = state.ports.entry(plug.port.clone()).or_default();
            port.index = Some(index);
            port.cable.clone_from(&plug.cable);
        }
        let mut changes = Vec::new();
        for plug in plugs {
            changes.extend(state.carrier_changes(&plug.port));
        }
        state.rtnl.apply(&changes);
    }

    /// Waits until the ports of these NICs forward, where they may, and puts those that are to be
    /// silent to silence: the kernel opens a port when its carrier comes.
    pub fn settle(&self, ports: &[String]) {
        let begun = Stamp::now();
        loop {
            let shown = netns::run(Command::new("bridge").args(["-n", &self.namespace, "link"]));
            let state = self.lock();
            let mut waiting = ports.iter().filter(|port| {
                let wished_up = state.is_up(port);
                let mark = format!(" {port}@");
                let line = shown.lines().find(|line| line.contains(&mark)).unwrap_or_default();
                wished_up && !state.is_silent(port) && !line.contains("state forwarding")
            });
            if waiting.next().is_none() {
                break;
            }
            assert!(begun.elapsed() < PLUG_MAX, "ports do not forward:\n{shown}");
            drop(state);
            thread::sleep(Duration::from_millis(2));
        }
        let mut state = self.lock();
        let silent: Vec<String> = ports.iter().filter(|p| state.is_silent(p)).cloned().collect();
        let changes = state.forward_changes(&silent, false);
        state.rtnl.apply(&changes);
    }

    /// A machine loses power: its ports fall silent at once, and the other ends of its direct
    /// cables lose their carrier. The value is the moment just before. [`Switch::remove`] must
    /// follow.
    pub fn darken(&self, ports: &[String]) -> Stamp {
        let mut state = self.lock();
        let mut changes = state.forward_changes(ports, false);
        for port in ports {
            let far = state.ports.get(port).and_then(|port| port.cable.clone());
            let index = far.and_then(|far| state.ports.get(&far)?.index);
            changes.extend(index.map(|index| (index, Change::Up(false))));
        }
        state.rtnl.apply(&changes)
    }

    /// Takes the ports of a dark machine away, and its NICs with them.
    pub fn remove(&self, ports: &[String]) {
        let mut state = self.lock();
        let mut changes = Vec::new();
        for port in ports {
            let index = state.ports.get_mut(port).and_then(|port| port.index.take());
            changes.extend(index.map(|index| (index, Change::Delete)));
        }
        state.rtnl.apply(&changes);
    }

    /// Stops or passes all frames at these ports; carriers stay. The value is the moment just
    /// before.
    pub fn set_silent(&self, ports: &[&str], silent: bool) -> Stamp {
        let mut state = self.lock();
        for port in ports {
            state.ports.entry((*port).to_owned()).or_default().silent = silent;
        }
        let names: Vec<String> = ports.iter().map(|port| (*port).to_owned()).collect();
        let names: Vec<String> = names.into_iter().filter(|port| state.is_up(port)).collect();
        let changes = state.forward_changes(&names, !silent);
        if silent {
            let begun = state.rtnl.apply(&changes);
            self.write_rules(&state);
            return begun;
        }
        self.write_rules(&state);
        state.rtnl.apply(&changes)
    }

    /// Takes away or gives back the carrier at these ports; pulling one end of a direct cable
    /// takes it at both. The value is the moment just before.
    pub fn set_unplugged(&self, ports: &[&str], unplugged: bool) -> Stamp {
        let mut state = self.lock();
        for port in ports {
            state.ports.entry((*port).to_owned()).or_default().unplugged = unplugged;
        }
        let mut changes = Vec::new();
        for port in ports {
            changes.extend(state.carrier_changes(port));
        }
        state.rtnl.apply(&changes)
    }

    /// Adds a rule that drops frames.
    pub fn add_drops(&self, drops: Drops) {
        let mut state = self.lock();
        state.drops.push(drops);
        self.write_rules(&state);
    }

    /// Removes all rules that drop frames; silent and unplugged ports stay so.
    pub fn clear_drops(&self) {
        let mut state = self.lock();
        state.drops.clear();
        self.write_rules(&state);
    }

    /// Everything passes again: no silent port, no unplugged one, no drops.
    pub fn heal(&self) -> Stamp {
        self.clear_drops();
        let (silent, unplugged) = {
            let state = self.lock();
            let names = |wished: fn(&Port) -> bool| -> Vec<String> {
                let ports = state.ports.iter().filter(|(_, port)| wished(port));
                ports.map(|(name, _)| name.clone()).collect()
            };
            (names(|port| port.silent), names(|port| port.unplugged))
        };
        self.set_unplugged(&unplugged.iter().map(String::as_str).collect::<Vec<_>>(), false);
        self.set_silent(&silent.iter().map(String::as_str).collect::<Vec<_>>(), false)
    }

    /// Replaces the rules in the kernel by those for `state`.
    fn write_rules(&self, state: &State) {
        let mut lines = vec![
            "add table bridge lab".to_owned(),
            "delete table bridge lab".to_owned(),
            "add table bridge lab".to_owned(),
            "add chain bridge lab forward { type filter hook forward priority 0; }".to_owned(),
        ];
        for (name, _) in state.ports.iter().filter(|(_, port)| port.silent) {
            lines.push(format!("add rule bridge lab forward iifname \"{name}\" drop"));
            lines.push(format!("add rule bridge lab forward oifname \"{name}\" drop"));
        }
        for Drops { from, to, permille } in &state.drops {
            let mut rule = "add rule bridge lab forward".to_owned();
            rule.push_str(&from.as_ref().map_or(String::new(), |p| format!(" iifname \"{p}\"")));
            rule.push_str(&to.as_ref().map_or(String::new(), |p| format!(" oifname \"{p}\"")));
            if *permille < 1000 {
                rule.push_str(&format!(" numgen random mod 1000 < {permille}"));
            }
            lines.push(format!("{rule} counter drop"));
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "nft", "-f", "-"]);
        netns::feed(command.stdout(Stdio::null()), &lines.join("\n"));
    }

    fn indices(&self, names: &[&str]) -> Vec<u32> {
        let index = |name: &&str| if_nametoindex(*name).unwrap();
        netns::inside(&self.namespace, || names.iter().map(index).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not keep the clean-up from working.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_silent(&self, name: &str) -> bool {
        self.ports.get(name).is_some_and(|port| port.silent)
    }

    /// Whether the port exists and is to give its NIC a carrier.
    fn is_up(&self, name: &str) -> bool {
        let Some(port) = self.ports.get(name) else { return false };
        let far_is_dead = port.cable.as_ref().is_some_and(|far| {
            self.ports.get(far).is_none_or(|far| far.index.is_none() || far.unplugged)
        });
        port.index.is_some() && !port.unplugged && !far_is_dead
    }

    /// What makes the carrier at `name`, and at the far end of its cable, as it is to be.
    fn carrier_changes(&self, name: &str) -> Vec<(u32, Change)> {
        let far = self.ports.get(name).and_then(|port| port.cable.clone());
        let mut changes = Vec::new();
        for end in [Some(name.to_owned()), far].into_iter().flatten() {
            let index = self.ports.get(&end).and_then(|port| port.index);
            changes.extend(index.map(|index| (index, Change::Up(self.is_up(&end)))));
        }
        changes
    }

    fn forward_changes(&self, ports: &[String], forward: bool) -> Vec<(u32, Change)> {
        let index = |port: &String| self.ports.get(port)?.index;
        ports.iter().filter_map(index).map(|index| (index, Change::Forward(forward))).collect()
    }
}
