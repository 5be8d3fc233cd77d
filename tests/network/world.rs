//! Two hosts on one cable: two network namespaces, removed again however the test ends.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::{Command, Output};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};
use nix::sched::{CloneFlags, setns};
use tandem::config::network::{ServiceNic, Vip};
use tandem::engine::{Outcome, Why};
use tandem::io::network::{Marks, Network, Occurrence};
use tandem::io::probe::Identity;
use tandem::sys::clock;
use tandem::sys::packet::{PacketReceiver, PacketSender};
use tandem::types::{Incarnation, Mac, NicId, NodeId, OpId, VipId};
use tandem::wire::auth::Keys;
use tandem::wire::heartbeat::ClusterId;

/// Long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The namespaces `near`, in which the test's thread is, and `far`, joined by a veth pair `svc0`.
pub struct World {
    pub near: String,
    pub far: String,
}

impl World {
    /// Makes the namespaces and enters `near`; nothing if the user may not.
    pub fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let name =
            format!("tandem-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let world = Self { near: format!("{name}-near"), far: format!("{name}-far") };
        for ns in [&world.near, &world.far] {
            run(&["ip", "netns", "add", ns]);
        }
        world.add_cable();
        world.enter_near();
        Some(world)
    }

    /// The cable `svc0` with 10.77.0.1 and fd77::1 here, 10.77.0.2 and fd77::2 there.
    pub fn add_cable(&self) {
        let (near, far) = (self.near.as_str(), self.far.as_str());
        run(&[
            "ip", "link", "add", "svc0", "netns", near, "type", "veth", "peer", "name", "svc0",
            "netns", far,
        ]);
        for (ns, host) in [(near, "1"), (far, "2")] {
            let v4 = format!("10.77.0.{host}/24");
            let v6 = format!("fd77::{host}/64");
            run(&["ip", "-n", ns, "link", "set", "lo", "up"]);
            run(&["ip", "-n", ns, "addr", "add", &v4, "dev", "svc0"]);
            run(&["ip", "-n", ns, "addr", "add", &v6, "dev", "svc0", "nodad"]);
            run(&["ip", "-n", ns, "link", "set", "svc0", "up"]);
        }
        // The kernel tells the carrier of a new cable a moment later (link-watch).
        for ns in [near, far] {
            let end = clock::now() + Duration::from_secs(10);
            while !ip(ns, "-o link show svc0").contains("state UP") {
                assert!(clock::now() < end, "svc0 gets no carrier");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    pub fn enter_near(&self) {
        enter(&self.near);
    }

    /// Runs a command of `ip` here.
    pub fn ip(&self, args: &str) -> String {
        ip(&self.near, args)
    }

    /// Runs a command of `ip` on the far host.
    pub fn far_ip(&self, args: &str) -> String {
        ip(&self.far, args)
    }

    /// Runs any command on the far host.
    pub fn on_far(&self, args: &[&str]) -> String {
        let mut whole = vec!["ip", "netns", "exec", &self.far];
        whole.extend(args);
        run(&whole)
    }

    /// Has three thousand addresses come and go here while nobody reads the news, and among them
    /// one change more: a command of `ip`.
    pub fn flood_news(&self, change: &str) {
        self.ip("link add noise type veth");
        let batch = |verb: &str| -> String {
            let line = |n: u32| format!("addr {verb} 10.66.{}.{}/32 dev noise\n", n / 250, n % 250);
            (0..1500).map(line).collect()
        };
        let lines = format!("{}{change}\n{}", batch("add"), batch("del"));
        let path = std::env::temp_dir().join(&self.near);
        std::fs::write(&path, lines).unwrap();
        run(&["ip", "-n", &self.near, "-batch", path.to_str().unwrap()]);
        std::fs::remove_file(&path).unwrap();
    }

    pub fn far_mac(&self) -> Mac {
        mac_of(&self.far_ip("link show svc0"))
    }

    pub fn near_mac(&self) -> Mac {
        mac_of(&self.ip("link show svc0"))
    }

    /// A socket on the far host that hears every frame of that type.
    pub fn far_ear(&self, ether_type: u16) -> PacketReceiver {
        enter(&self.far);
        let index = nix::net::if_::if_nametoindex("svc0").unwrap();
        let all = [socket2::SockFilter::new(0x06, 0, 0, u32::MAX)];
        let ear = PacketReceiver::new(index, ether_type, &all).unwrap();
        self.enter_near();
        ear
    }

    /// Sends an ARP frame from the far host.
    pub fn shout(&self, frame: &[u8]) {
        self.shout_all(&[frame]);
    }

    /// Sends ARP frames from the far host.
    pub fn shout_all(&self, frames: &[impl AsRef<[u8]>]) {
        enter(&self.far);
        let index = nix::net::if_::if_nametoindex("svc0").unwrap();
        let sender = PacketSender::new(index).unwrap();
        frames.iter().for_each(|frame| sender.send(0x0806, frame.as_ref()).unwrap());
        self.enter_near();
    }

    /// Connects the far host to a server here.
    pub fn connect_from_far(&self, server: (&str, u16)) -> TcpStream {
        enter(&self.far);
        let client = TcpStream::connect(server).unwrap();
        self.enter_near();
        client
    }

    /// Whether this host has the address.
    pub fn has(&self, addr: &str) -> bool {
        self.ip("-o addr show").contains(&format!(" {addr}/"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for ns in [&self.near, &self.far] {
            drop(Command::new("ip").args(["netns", "del", ns]).output());
        }
    }
}

fn enter(ns: &str) {
    let file = File::open(format!("/run/netns/{ns}")).unwrap();
    setns(file, CloneFlags::CLONE_NEWNET).unwrap();
}

fn ip(ns: &str, args: &str) -> String {
    let mut whole = vec!["ip", "-n", ns];
    whole.extend(args.split(' '));
    run(&whole)
}

/// Runs a command that must succeed.
pub fn run(args: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(args[0]).args(&args[1..]).output().unwrap();
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn mac_of(text: &str) -> Mac {
    let word = text.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let bytes: Vec<u8> = word.split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    Mac(bytes.try_into().unwrap())
}

/// All frames that are there.
pub fn hear(ear: &PacketReceiver) -> Vec<Vec<u8>> {
    let mut frames = vec![];
    let mut buffer = [0; 2048];
    while let Ok(len) = ear.receive(&mut buffer) {
        frames.push(buffer[..len].to_vec());
    }
    frames
}

/// The loop around a network, as the daemon has it.
pub struct Rig {
    pub network: Network,
    poll: Poll,
    next_op: u64,
    /// The longest turn so far.
    pub longest_turn: Duration,
}

impl Rig {
    pub fn new(nics: &[ServiceNic], vips: &[Vip]) -> Self {
        let poll = Poll::new().unwrap();
        let now = clock::now();
        let network =
            Network::open(nics, vips, None, &marks(1), poll.registry(), Token(40), now).unwrap();
        Self { network, poll, next_op: 0, longest_turn: Duration::ZERO }
    }

    fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    pub fn begin_acquire(&mut self) -> OpId {
        let op = self.op();
        self.network.acquire(clock::now(), op);
        op
    }

    pub fn begin_release(&mut self) -> OpId {
        let op = self.op();
        self.network.release(clock::now(), op);
        op
    }

    pub fn acquire(&mut self) -> Outcome {
        let op = self.begin_acquire();
        self.outcome(op)
    }

    pub fn release(&mut self) -> Outcome {
        let op = self.begin_release();
        self.outcome(op)
    }

    pub fn restore(&mut self, vip: VipId) -> Outcome {
        let op = self.op();
        self.network.restore(clock::now(), op, vip);
        self.outcome(op)
    }

    /// One turn of the loop, which waits no longer than `wait_max`.
    pub fn turn(&mut self, wait_max: Duration) {
        let mut events = Events::with_capacity(64);
        let now = clock::now();
        let until = self.network.next_deadline().map_or(wait_max, |at| at.since(now).min(wait_max));
        match self.poll.poll(&mut events, Some(until)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result.unwrap(),
        }
        for event in &events {
            assert!(self.network.ready(event.token()), "{event:?}");
        }
        let begin = clock::now();
        self.network.turn(begin);
        self.longest_turn = self.longest_turn.max(clock::now().since(begin));
    }

    /// Runs until something happened that `wanted` picks.
    pub fn until<T>(&mut self, mut wanted: impl FnMut(&Occurrence) -> Option<T>) -> T {
        let begin = clock::now();
        let mut seen = vec![];
        while clock::now().since(begin) < PATIENCE {
            while let Some(occurrence) = self.network.next_occurrence() {
                if let Some(found) = wanted(&occurrence) {
                    return found;
                }
                seen.push(occurrence);
            }
            self.turn(Duration::from_millis(100));
        }
        panic!("it did not happen; what did: {seen:?}");
    }

    /// Runs for that long; everything that happened.
    pub fn during(&mut self, span: Duration) -> Vec<Occurrence> {
        let begin = clock::now();
        let mut seen = vec![];
        loop {
            seen.extend(std::iter::from_fn(|| self.network.next_occurrence()));
            let spent = clock::now().since(begin);
            if spent >= span {
                return seen;
            }
            self.turn(span - spent);
        }
    }

    pub fn outcome(&mut self, wanted: OpId) -> Outcome {
        self.outcome_with(wanted, || ())
    }

    /// Runs until the operation ended, and does something else after each turn.
    pub fn outcome_with(&mut self, wanted: OpId, mut also: impl FnMut()) -> Outcome {
        let begin = clock::now();
        while clock::now().since(begin) < PATIENCE {
            also();
            while let Some(occurrence) = self.network.next_occurrence() {
                match occurrence {
                    Occurrence::Done { op, outcome } if op == wanted => return outcome,
                    _ => {}
                }
            }
            self.turn(Duration::from_millis(100));
        }
        panic!("{wanted:?} was not answered");
    }
}

/// The service NIC `name`, with ping targets that are asked every 50 ms and may miss 3.
pub fn nic(name: &str, ping: &[&str]) -> ServiceNic {
    ServiceNic {
        name: name.into(),
        ping: ping.iter().map(|target| target.parse().unwrap()).collect(),
        ping_interval: Duration::from_millis(50),
        ping_count: 3.try_into().unwrap(),
        probe: None,
    }
}

/// A VIP on the first NIC.
pub fn vip(net: &str) -> Vip {
    Vip { nic: NicId(0), net: net.parse().unwrap(), label: None }
}

pub fn refusal(outcome: Outcome) -> Why {
    match outcome {
        Outcome::Refused(why) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// The marks of node `node` of a pair, with a key that everybody knows.
pub fn marks(node: u8) -> Marks {
    let identity = Identity {
        local: NodeId::new(node).unwrap(),
        peers: vec![NodeId::new(3 - node).unwrap()],
        cluster: ClusterId(7),
        incarnation: Incarnation(u64::from(node)),
        keys: Keys::new(&[7; 32], None).unwrap(),
    };
    Marks { ping: 0x7a3d, node: Rc::new(identity) }
}
