//! The laboratory: two nodes with power, two real BMCs, a switch, a client and an observer, all in
//! network namespaces of this machine, and every fault that tandem must survive.
//!
//! ```text
//!              switch namespace                             (bridges)
//!   node A ─eth0─┤ svc0 ├─eth0─ node B      client, observer ─┤ svc0, svc1 ...
//!   node A ─hb0──┤ hb0  ├─hb0── node B      through a switch, or as a direct cable
//!   node A ─mgmt0┤ mgmt ├─mgmt0─ node B     BMC of A, BMC of B ─┤ mgmt
//!   node A ─cable0──────── cable0─ node B     serial, if wanted
//! ```
//!
//! Several labs can run at once. A lab removes what it made when it is dropped, also on panic, and
//! on SIGINT or SIGTERM; what a killed one left is removed when the next one is built. It needs
//! root, iproute2, nftables, util-linux, openipmi (`ipmi_sim`), and ipmitool for some tests.
//!
//! A test says what is wrong by panicking, and so does the lab. Where the machine itself stood
//! still meanwhile, it adds that.
#![allow(dead_code, reason = "each test binary uses a part of the laboratory")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test support: threads, blocking calls and panics are its trade"
)]

pub mod assembly;
pub mod bmc;
#[path = "../support/cable.rs"]
pub mod cable;
pub mod client;
pub mod clock;
pub mod happening;
pub mod log;
pub mod machine;
pub mod netns;
pub mod node;
pub mod observer;
pub mod plan;
pub mod rtnl;
pub mod stalls;
pub mod switch;

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use assembly::{bmc_port, connect_bmc, connect_watchers, lay_cables, parts};
use bmc::{Bmc, Manner};
use cable::Cable;
use client::Client;
use clock::Stamp;
use happening::Happening;
use log::Line;
use machine::Machine;
pub use node::Node;
use observer::Observer;
use plan::{LabConfig, port};
use switch::{Drops, Switch};

/// The prefixes of the labs of this process, for the signal handler.
static LABS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static COUNTER: AtomicU32 = AtomicU32::new(0);
static PREPARED: Once = Once::new();

/// A running laboratory.
pub struct Lab {
    prefix: String,
    config: LabConfig,
    switch: Arc<Switch>,
    machines: [Arc<Machine>; 2],
    bmcs: [Bmc; 2],
    cables: Vec<Cable>,
    begun: Stamp,
}

impl Lab {
    /// Why there can be no lab on this machine, if so: whoever is not root skips the tests.
    pub fn unavailable() -> Option<String> {
        (!nix::unistd::geteuid().is_root()).then(|| "needs root for network namespaces".to_owned())
    }

    /// Removes what killed labs left behind; the value is their prefixes.
    pub fn sweep() -> Vec<String> {
        netns::sweep()
    }

    /// Builds a lab: the BMCs run, the nodes have no power yet.
    pub fn build(config: LabConfig) -> Self {
        PREPARED.call_once(|| {
            netns::sweep();
            clean_up_on_signals();
            stalls::watch();
        });
        let begun = Stamp::now();
        let prefix = netns::prefix(COUNTER.fetch_add(1, Ordering::Relaxed));
        labs().insert(prefix.clone());
        let dir = netns::claim(&prefix);
        let guard = Remover(prefix.clone());
        let name = |suffix: &str| format!("{prefix}-{suffix}");
        let switch = Arc::new(Switch::build(&name("sw"), &config.bridges()));
        connect_watchers(&config, &switch, &name);
        let machines = Node::BOTH.map(|node| {
            let dir = dir.join(node.letter());
            let parts = parts(&config, node, name(node.letter()), dir);
            Arc::new(Machine::new(parts, Arc::clone(&switch)))
        });
        let bmcs = Node::BOTH.map(|node| {
            let namespace = name(&format!("bmc-{node}"));
            connect_bmc(&switch, node, &namespace);
            let dir = dir.join(format!("bmc-{node}"));
            let bmc = Bmc::new(node, &namespace, dir, Arc::clone(machine_of(&machines, node)));
            bmc.start(bmc::PASSWORD);
            bmc
        });
        let cables = lay_cables(&config, &machines);
        std::mem::forget(guard);
        let lab = Self { prefix, config, switch, machines, bmcs, cables, begun };
        for node in Node::BOTH {
            lab.write_configuration(node, &lab.config.to_toml());
        }
        lab
    }

    /// Builds a lab and boots both nodes.
    pub fn boot_both(config: LabConfig) -> Self {
        let lab = Self::build(config);
        for node in Node::BOTH {
            lab.boot(node);
        }
        lab
    }

    /// What it was built from.
    pub fn config(&self) -> &LabConfig {
        &self.config
    }

    /// The first VIP.
    pub fn vip(&self) -> Ipv4Addr {
        self.config.vips()[0]
    }

    /// A node.
    pub fn machine(&self, node: Node) -> &Arc<Machine> {
        machine_of(&self.machines, node)
    }

    /// A node's BMC.
    pub fn bmc(&self, node: Node) -> &Bmc {
        match node {
            Node::A => &self.bmcs[0],
            Node::B => &self.bmcs[1],
        }
    }

    /// A serial cable; its end A is in node A.
    pub fn cable(&self, n: usize) -> &Cable {
        &self.cables[n]
    }

    /// Replaces a node's configuration, its key and its passwords; the daemon is not told.
    pub fn write_configuration(&self, node: Node, toml: &str) {
        let etc = self.machine(node).dir().join("etc");
        fs::write(etc.join("tandem.toml"), toml).unwrap();
        // Known to everybody: nothing outside the lab may ever use it.
        let key: String = (0_u8..32).map(|byte| format!("{byte:02x}")).collect();
        write_secret(&etc.join("key"), &key);
        for other in Node::BOTH {
            write_secret(&etc.join(format!("bmc-{other}.password")), bmc::PASSWORD);
        }
    }

    /// Starts a client that pings every VIP.
    pub fn client(&self, interval: Duration) -> Client {
        Client::start(&format!("{}-c", self.prefix), self.config.vips(), interval)
    }

    /// Starts an observer that asks who has the VIPs every 2 ms.
    pub fn observer(&self) -> Observer {
        let interval = Duration::from_millis(2);
        Observer::start(&format!("{}-o", self.prefix), self.config.vips(), interval)
    }

    /// The namespace of the client, for commands of a test.
    pub fn client_namespace(&self) -> String {
        format!("{}-c", self.prefix)
    }

    // Power.

    /// Gives a node power and waits until it runs. Links stay as cut as they are.
    pub fn boot(&self, node: Node) {
        self.machine(node).boot();
    }

    /// A node's host loses power; its BMC lives. The value is the moment just before.
    pub fn power_cut(&self, node: Node) -> Stamp {
        self.machine(node).cut()
    }

    /// A node and its BMC lose power together, within a millisecond. The value is the moment just
    /// before.
    pub fn power_and_bmc_cut(&self, node: Node) -> Stamp {
        let begun = self.machine(node).cut();
        self.bmc_dead(node);
        begun
    }

    /// A node's BMC dies or loses its network; the host goes on.
    pub fn bmc_dead(&self, node: Node) {
        self.switch.set_silent(&[&bmc_port(node)], true);
        self.bmc(node).kill();
    }

    /// A node's BMC dies, and its address refuses: as while it restarts.
    pub fn kill_bmc(&self, node: Node) {
        self.bmc(node).kill();
    }

    /// A node's BMC is there again, honest, and its host as it is: after a loss of power off.
    pub fn start_bmc(&self, node: Node) -> Stamp {
        let bmc = self.bmc(node);
        bmc.set_manner(Manner::Honest);
        let begun = Stamp::now();
        if !bmc.is_running() {
            bmc.start(bmc::PASSWORD);
        }
        self.switch.set_silent(&[&bmc_port(node)], false);
        begun
    }

    /// The mains are back: BMC first, then the host.
    pub fn restore(&self, node: Node) {
        self.start_bmc(node);
        self.boot(node);
    }

    // The daemon.

    /// Sends a signal to a node's daemon alone. The value is the moment just before.
    pub fn signal_daemon(&self, node: Node, signal: Signal) -> Stamp {
        let pid = self.machine(node).daemon_pid();
        let pid = pid.unwrap_or_else(|| panic!("{node}: no daemon"));
        let begun = Stamp::now();
        kill(Pid::from_raw(pid), signal).unwrap();
        begun
    }

    /// Kills a node's daemon; its supervisor, if there is one, starts it again.
    pub fn kill_daemon(&self, node: Node) -> Stamp {
        self.signal_daemon(node, Signal::SIGKILL)
    }

    /// Kills a node's daemon for good, its supervisor first.
    pub fn kill_daemon_for_good(&self, node: Node) -> Stamp {
        if let Some(pid) = self.machine(node).supervisor_pid() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
        self.kill_daemon(node)
    }

    /// Starts a node's daemon that was killed for good, as it was started at boot.
    pub fn restart_daemon(&self, node: Node) {
        self.machine(node).start_daemon(self.config.start);
    }

    // The network.

    /// Frames of this NIC stop both ways, its carrier stays. The value is the moment just before.
    pub fn silence(&self, node: Node, nic: &str) -> Stamp {
        self.switch.set_silent(&[&port(node, nic)], true)
    }

    /// Undoes [`Lab::silence`].
    pub fn unsilence(&self, node: Node, nic: &str) -> Stamp {
        self.switch.set_silent(&[&port(node, nic)], false)
    }

    /// All NICs of a node but `except` fall silent at once: it is deaf and mute.
    pub fn deafen(&self, node: Node, except: &[&str]) -> Stamp {
        let ports = self.ports(node, except);
        self.switch.set_silent(&ports.iter().map(String::as_str).collect::<Vec<_>>(), true)
    }

    /// Every heartbeat NIC falls silent at once, at both nodes.
    pub fn cut_heartbeats(&self) -> Stamp {
        let ports = self.heartbeat_ports();
        self.switch.set_silent(&ports.iter().map(String::as_str).collect::<Vec<_>>(), true)
    }

    /// Undoes [`Lab::cut_heartbeats`].
    pub fn heal_heartbeats(&self) -> Stamp {
        let ports = self.heartbeat_ports();
        self.switch.set_silent(&ports.iter().map(String::as_str).collect::<Vec<_>>(), false)
    }

    /// What this node sends on this NIC is lost; what it receives is not.
    pub fn mute(&self, node: Node, nic: &str) {
        let from = Some(port(node, nic));
        self.switch.add_drops(Drops { from, to: None, permille: 1000 });
    }

    /// Random loss of what this node sends and receives on this NIC, each way.
    pub fn lose(&self, node: Node, nic: &str, permille: u16) {
        let name = Some(port(node, nic));
        self.switch.add_drops(Drops { from: name.clone(), to: None, permille });
        self.switch.add_drops(Drops { from: None, to: name, permille });
    }

    /// The NIC loses its carrier; of a direct cable, both ends do.
    pub fn unplug(&self, node: Node, nic: &str) -> Stamp {
        self.switch.set_unplugged(&[&port(node, nic)], true)
    }

    /// Undoes [`Lab::unplug`].
    pub fn replug(&self, node: Node, nic: &str) -> Stamp {
        self.switch.set_unplugged(&[&port(node, nic)], false)
    }

    /// No port is silent or unplugged any more, nothing is dropped.
    pub fn heal_network(&self) -> Stamp {
        self.switch.heal()
    }

    // What is seen.

    /// Runs a command in a node.
    pub fn exec(&self, node: Node, argv: &[&str]) -> Output {
        self.machine(node).exec(argv)
    }

    /// The same, which must succeed; the value is its standard output.
    pub fn run(&self, node: Node, argv: &[&str]) -> String {
        let output = self.exec(node, argv);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{node}: {argv:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What ipmitool on `node` gets for `chassis power ACTION` from the BMC of the other node, as
    /// `user` of that BMC.
    pub fn ipmitool(&self, node: Node, user: &str, password: &str, action: &str) -> Output {
        let address = bmc::address(node.other()).to_string();
        // Suite 3 is the best that ipmi_sim has; a user without more rights must not ask for them.
        let level = if user == bmc::USER { "ADMINISTRATOR" } else { "USER" };
        let mut argv = vec!["ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "1"];
        argv.extend(["-H", &address, "-U", user, "-P", password, "-L", level]);
        argv.extend(["chassis", "power", action]);
        self.exec(node, &argv)
    }

    /// What `tandem status --json` says on a node; nothing if it cannot be had.
    pub fn status(&self, node: Node) -> Option<Value> {
        if !self.machine(node).is_on() {
            return None;
        }
        let output = self.exec(node, &["tandem", "status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The role that a node's daemon says it has; nothing if it says none.
    pub fn role(&self, node: Node) -> Option<String> {
        let status = self.status(node)?;
        let nodes = status["nodes"].as_array()?;
        let local = nodes.iter().find(|entry| entry["local"] == Value::Bool(true))?;
        Some(local["state"].as_str()?.to_owned())
    }

    /// Whether a node's kernel has a VIP.
    pub fn has_vip(&self, node: Node, vip: Ipv4Addr) -> bool {
        let machine = self.machine(node);
        if !machine.is_on() {
            return false;
        }
        let mut command = std::process::Command::new("ip");
        command.args(["-n", machine.namespace(), "-o", "-4", "addr", "show", "to"]);
        !netns::run(command.arg(format!("{vip}/32"))).is_empty()
    }

    /// Lets the lines of `tandem events --follow --json` go into a node's log until its power goes.
    pub fn follow_events(&self, node: Node) {
        self.machine(node).spawn(&["tandem", "events", "--follow", "--json"]);
    }

    /// What a node's processes wrote from `from` on.
    pub fn log_since(&self, node: Node, from: Stamp) -> Vec<Line> {
        self.machine(node).log().since(from)
    }

    /// The events that a node's daemon told from `from` on, since [`Lab::follow_events`].
    pub fn events_since(&self, node: Node, from: Stamp) -> Vec<Happening> {
        self.log_since(node, from).iter().filter_map(Happening::parse).collect()
    }

    /// Waits for an event of this kind whose text holds `part`.
    pub fn wait_for_event(
        &self,
        node: Node,
        (kind, part): (&str, &str),
        from: Stamp,
        limit: Duration,
    ) -> Happening {
        self.wait_until(&format!("{node} tells {kind}: {part}"), limit, || {
            let mut events = self.events_since(node, from).into_iter();
            events.find(|event| event.kind == kind && event.text.contains(part))
        })
    }

    /// Waits until `condition` holds and gives its value; panics after `limit`. Both nodes' last
    /// lines are shown whenever a lab is dropped in a panic.
    pub fn wait_until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> Option<T>,
    ) -> T {
        let begun = Stamp::now();
        loop {
            if let Some(value) = condition() {
                return value;
            }
            assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a line of a node that holds `part`.
    pub fn wait_for_log(&self, node: Node, part: &str, from: Stamp, limit: Duration) -> Line {
        let log = self.machine(node).log();
        self.wait_until(&format!("{node} logs {part:?}"), limit, || log.find(part, from))
    }

    /// Waits until a node says that it has this role.
    pub fn wait_for_role(&self, node: Node, role: &str, limit: Duration) -> Stamp {
        self.wait_until(&format!("{node} is {role}"), limit, || {
            (self.role(node).as_deref() == Some(role)).then(Stamp::now)
        })
    }

    /// The last lines of both nodes, for people who look for what went wrong.
    pub fn tail(&self) -> String {
        let tail = |node| format!("node {node}:\n{}", self.machine(node).log().tail(40));
        Node::BOTH.map(tail).concat()
    }

    fn ports(&self, node: Node, except: &[&str]) -> Vec<String> {
        let nics = self.config.node_plugs(node, "").into_iter().map(|plug| plug.nic);
        nics.filter(|nic| !except.contains(&nic.as_str())).map(|nic| port(node, &nic)).collect()
    }

    fn heartbeat_ports(&self) -> Vec<String> {
        let names = (0..self.config.heartbeats.len()).map(|n| format!("hb{n}"));
        names.flat_map(|nic| Node::BOTH.map(|node| port(node, &nic))).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.tail());
        }
        for machine in &self.machines {
            machine.dismantle();
        }
        for bmc in &mut self.bmcs {
            bmc.dismantle();
        }
        netns::remove(&self.prefix);
        labs().remove(&self.prefix);
        // Said last, and on a line of its own: `scripts/dev` looks for it.
        if let Some(stalls) = stalls::told_since(self.begun).filter(|_| thread::panicking()) {
            eprintln!("{stalls}");
        }
    }
}

/// Removes a lab that could not be built.
struct Remover(String);

impl Drop for Remover {
    fn drop(&mut self) {
        netns::remove(&self.0);
        labs().remove(&self.0);
    }
}

fn labs() -> std::sync::MutexGuard<'static, BTreeSet<String>> {
    LABS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On SIGINT, SIGTERM and SIGHUP removes all labs of this process, and ends it.
fn clean_up_on_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).unwrap();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Held until the end: no lab can be built meanwhile.
            let labs = labs();
            for prefix in labs.iter() {
                netns::remove(prefix);
            }
            std::process::exit(128 + signal);
        }
    });
}

fn machine_of(machines: &[Arc<Machine>; 2], node: Node) -> &Arc<Machine> {
    match node {
        Node::A => &machines[0],
        Node::B => &machines[1],
    }
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
