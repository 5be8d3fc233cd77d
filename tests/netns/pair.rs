//! A running pair with its spectators, and what is asked of it in every test.
//!
//! At most [`SEATS`] pairs run on this machine at a time, however many tests are started: two cores
//! that are shared by ten daemons measure nothing, and time out.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::lab::client::Client;
use crate::lab::clock::{Stamp, millis};
use crate::lab::log::Line;
use crate::lab::observer::Observer;
use crate::lab::plan::LabConfig;
use crate::lab::{Lab, Node, netns};

/// Every wait: what takes longer has failed.
pub const LIMIT: Duration = Duration::from_secs(20);
/// The pause between two questions of a wait.
const POLL_PAUSE: Duration = Duration::from_millis(15);
/// How many pairs may run at a time.
const SEATS: usize = 2;
/// How often the client pings every VIP.
const PING_INTERVAL: Duration = Duration::from_millis(1);
/// How often the observer asks for every VIP.
const ASK_INTERVAL: Duration = Duration::from_millis(2);
/// With more VIPs than this both take turns that are longer in proportion.
const CROWD_MIN: usize = 6;

/// A lab with a client and an observer.
pub struct Pair {
    // Dropped in this order: the spectators before what they watch, the seat last.
    /// Pings every VIP.
    pub client: Client,
    /// Asks who has every VIP.
    pub observer: Observer,
    /// What they watch.
    pub lab: Lab,
    begun: Stamp,
    _seat: UnixListener,
}

/// Fast enough for a test, slow enough for two shared cores that stand still for a fifth of a
/// second now and then.
pub fn config() -> LabConfig {
    LabConfig {
        keepalive: Duration::from_millis(50),
        warntime: Duration::from_millis(250),
        deadtime: Duration::from_millis(600),
        initdead: Duration::from_millis(1500),
        isolated_grace: Duration::from_secs(2),
        fence_timeout: Duration::from_secs(1),
        ..LabConfig::default()
    }
}

/// For tests of what must make no heartbeat late, be it only for this once.
pub fn patient() -> LabConfig {
    LabConfig {
        warntime: Duration::from_millis(500),
        deadtime: Duration::from_secs(1),
        initdead: Duration::from_secs(2),
        ..config()
    }
}

impl Pair {
    /// A lab whose nodes have no power yet; nothing for whoever is not root.
    pub fn dark(config: LabConfig) -> Option<Self> {
        if let Some(reason) = Lab::unavailable() {
            println!("skipped: {reason}");
            return None;
        }
        let seat = take_seat();
        let lab = Lab::build(config);
        // With hundreds of VIPs the spectators must not be the load.
        let crowd = u32::try_from(lab.config().vips().len().div_ceil(CROWD_MIN)).unwrap();
        let client = lab.client(PING_INTERVAL * crowd);
        let watcher = lab.client_namespace().replace("-c", "-o");
        let observer = Observer::start(&watcher, lab.config().vips(), ASK_INTERVAL * crowd);
        Some(Self { client, observer, lab, begun: Stamp::now(), _seat: seat })
    }

    /// A pair at work: A is active, B stands by, both say that all is well.
    pub fn running(config: LabConfig) -> Option<Self> {
        let pair = Self::dark(config)?;
        for node in Node::BOTH {
            pair.lab.boot(node);
        }
        pair.wait_whole(Node::A);
        Some(pair)
    }

    // What is waited for.

    /// Waits until `active` is active, the other one stands by, both say that all is well, and the
    /// client is served.
    pub fn wait_whole(&self, active: Node) {
        self.wait_role(active, "active");
        self.wait_role(active.other(), "standby");
        for node in Node::BOTH {
            self.wait_health(node, "ok");
        }
        self.wait_served_by(active);
    }

    /// Waits until a node says that it has this role.
    pub fn wait_role(&self, node: Node, role: &str) -> Stamp {
        self.wait(&format!("{node} is {role}"), || {
            (self.lab.role(node).as_deref() == Some(role)).then(Stamp::now)
        })
    }

    /// Waits until a node judges the pair like this: `ok`, `degraded`, `frozen` ...
    pub fn wait_health(&self, node: Node, health: &str) -> Value {
        self.wait(&format!("{node} says {health}"), || {
            self.lab.status(node).filter(|status| status["health"] == health)
        })
    }

    /// Waits until a node's status holds this trouble, by its code, and gives it.
    pub fn wait_trouble(&self, node: Node, code: &str) -> Value {
        self.wait(&format!("{node} is degraded: {code}"), || {
            let status = self.lab.status(node)?;
            let troubles = status["degradations"].as_array()?.iter();
            troubles.into_iter().find(|trouble| trouble["code"] == code).cloned()
        })
    }

    /// Waits until a node says that a link to its peer is in this state.
    pub fn wait_link(&self, node: Node, link: &str, state: &str) -> Stamp {
        self.wait(&format!("{node} says that {link} is {state}"), || {
            (self.link_state(node, link).as_deref() == Some(state)).then(Stamp::now)
        })
    }

    /// Waits until the first VIP answers the client from this node.
    pub fn wait_served_by(&self, node: Node) {
        self.wait(&format!("the client is served by {node}"), || {
            self.client.holder(self.lab.vip()).filter(|holder| *holder == node)
        });
    }

    /// Waits until the first VIP went over to `new` after `from`: for how long the client was
    /// without it.
    pub fn wait_outage(&self, new: Node, from: Stamp) -> Duration {
        let outage = || self.client.outage(self.lab.vip(), new, from);
        self.wait(&format!("the client is served by {new}"), outage).duration()
    }

    /// Waits until a node's daemon logs an event whose text holds `part`.
    pub fn wait_log(&self, node: Node, part: &str, from: Stamp) -> Line {
        self.lab.wait_for_log(node, part, from, LIMIT)
    }

    /// Waits for a condition of the test's own. Asked seldom: most questions cost a process, and
    /// the pair needs the processor.
    pub fn wait<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        self.lab.wait_until(what, LIMIT, || {
            let answer = condition();
            if answer.is_none() {
                thread::sleep(POLL_PAUSE);
            }
            answer
        })
    }

    // What is so now.

    /// A node's status; it must be there.
    pub fn status(&self, node: Node) -> Value {
        self.lab.status(node).unwrap_or_else(|| panic!("{node} gives no status"))
    }

    /// The state of a node as another one's status has it.
    pub fn node_state(&self, seen_from: Node, of: Node) -> Option<String> {
        let status = self.lab.status(seen_from)?;
        let mut nodes = status["nodes"].as_array()?.iter();
        let entry = nodes.find(|entry| entry["name"] == of.letter())?;
        Some(entry["state"].as_str()?.to_owned())
    }

    /// The state of a link to the peer as a node's status has it.
    pub fn link_state(&self, node: Node, link: &str) -> Option<String> {
        let status = self.lab.status(node)?;
        let mut links = status["links"].as_array()?.iter();
        let entry = links.find(|entry| entry["name"] == link)?;
        Some(entry["state"].as_str()?.to_owned())
    }

    /// How many lines with `part` a node's daemon logged from `from` on.
    pub fn count_logged(&self, node: Node, part: &str, from: Stamp) -> usize {
        let lines = self.lab.log_since(node, from);
        lines.iter().filter(|line| line.text.contains(part)).count()
    }

    /// How often a node's BMC was told to cut the power from `from` on.
    pub fn count_power_cuts(&self, node: Node, from: Stamp) -> usize {
        let orders = self.lab.bmc(node).orders();
        orders.iter().filter(|order| order.at >= from && order.text == "set power 0").count()
    }

    // What must be so.

    /// The first VIP is in this node's kernel and in no other.
    pub fn assert_only_holder(&self, node: Node) {
        let vip = self.lab.vip();
        assert!(self.lab.has_vip(node, vip), "{node} does not hold {vip}");
        assert!(!self.lab.has_vip(node.other(), vip), "{} holds {vip} too", node.other());
    }

    /// No VIP is in any node's kernel.
    pub fn assert_nobody_holds(&self) {
        for vip in self.lab.config().vips() {
            for node in Node::BOTH {
                assert!(!self.lab.has_vip(node, vip), "{node} holds {vip}");
            }
        }
    }

    /// Since the lab was built no VIP ever had two holders.
    pub fn assert_never_two_holders(&self) {
        let two = self.observer.two_holders(self.begun, Stamp::now());
        assert_eq!(two, Duration::ZERO, "a VIP had two holders");
    }

    /// The client was served by `node` all the time since `from`; the value is its longest wait.
    pub fn assert_served_since(&self, node: Node, from: Stamp) -> Duration {
        let vip = self.lab.vip();
        self.wait_served_by(node);
        assert_eq!(self.client.outage(vip, node.other(), from), None, "{vip} went over");
        let gap = self.client.longest_gap(vip, from, Stamp::now());
        // A scheduler's hiccup on a busy machine is not an outage.
        assert!(gap < Duration::from_secs(1), "{vip} was gone for {} ms", millis(gap));
        gap
    }

    /// A node's daemon has not logged `part` since `from`.
    pub fn assert_not_logged(&self, node: Node, part: &str, from: Stamp) {
        if let Some(line) = self.lab.machine(node).log().find(part, from) {
            panic!("{node} says: {}", line.text);
        }
    }

    /// Ends the test: there never were two holders, and nothing of the lab is left.
    pub fn end(self) {
        self.assert_never_two_holders();
        let watcher = self.lab.client_namespace();
        let prefix = watcher.strip_suffix("-c").unwrap().to_owned();
        drop(self);
        assert!(!netns::lab_dir(&prefix).exists(), "the directory of {prefix} is left");
        let names = std::fs::read_dir(Path::new("/run/netns")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> =
            names.filter(|name| name.starts_with(&format!("{prefix}-"))).collect();
        assert!(left.is_empty(), "namespaces are left: {left:?}");
    }
}

/// Prints what was measured.
pub fn tell(row: &str, figures: &[(&str, Duration)]) {
    let figures: Vec<String> =
        figures.iter().map(|(what, duration)| format!("{what} {} ms", millis(*duration))).collect();
    println!("{row}: {}", figures.join(", "));
}

/// Waits until fewer than [`SEATS`] pairs run on this machine. An abstract socket is given back by
/// the kernel however its process ends.
fn take_seat() -> UnixListener {
    loop {
        for seat in 0..SEATS {
            let name = format!("tandem-netns-seat-{seat}");
            let address = SocketAddr::from_abstract_name(name).unwrap();
            if let Ok(listener) = UnixListener::bind_addr(&address) {
                return listener;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}
