//! The world: machines, links, service networks, fence devices, and one queue in virtual time.
//!
//! After every step it checks what must always be true: never two powered machines with the
//! addresses in their kernels, nobody says that he holds nothing while he does, no operation is
//! answered twice, no engine asks for ticks without end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tandem::engine::settings::{Level, LinkSettings, PeerSettings, Remembered, Settings};
use tandem::engine::{Answer, Effects, Event, Input, Node, RequestId};
use tandem::types::heartbeat::NICS_MAX;
use tandem::types::{
    BootId, DeviceId, Heartbeat, Incarnation, Instant, LinkId, Mac, Names, NicId, NodeId, OpId,
    PeerState, VipId,
};

use crate::machine::{Daemon, Device, Machine, Mode};
use crate::shell::Random;

pub const KEEPALIVE: Duration = Duration::from_millis(10);
pub const WARNTIME: Duration = Duration::from_millis(30);
pub const DEADTIME: Duration = Duration::from_millis(60);
pub const INITDEAD: Duration = Duration::from_millis(300);
pub const LEVEL_TIMEOUT: Duration = Duration::from_millis(200);
/// From power to the start of the daemon.
pub const BOOT_TIME: Duration = Duration::from_millis(400);
/// More ticks in a row than this, each wanting the next at once, are a busy loop.
const SPINS_MAX: u32 = 16;

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How a world is laid out.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: u8,
    pub links: u8,
    pub nics: u8,
    pub vips: u16,
    /// How many devices each level has. One is a BMC, several are PDU outlets.
    pub levels: Vec<u8>,
    pub grace: Duration,
    /// By node: how long the others wait before they fence it when none is known to hold.
    pub fence_delays: Vec<Duration>,
    pub preferred: Option<u8>,
    pub fence_check_interval: Duration,
    pub config_digests: Vec<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nodes: 2,
            links: 2,
            nics: 2,
            vips: 2,
            levels: vec![1],
            grace: ms(500),
            fence_delays: vec![ms(150), ms(0), ms(300)],
            preferred: None,
            fence_check_interval: ms(1000),
            config_digests: vec![7, 7, 7],
        }
    }
}

/// What is to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    Deliver {
        to: usize,
        heartbeat: Heartbeat,
    },
    Claim {
        to: usize,
        vip: VipId,
        mac: Mac,
    },
    /// A shell's operation goes on or ends.
    Shell {
        machine: usize,
        uid: u64,
        op: OpId,
        work: Work,
    },
    /// An order reaches a device's relay.
    Cut {
        device: usize,
    },
    Boot {
        machine: usize,
        boots: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    AddVip(u16),
    Acquired,
    AcquireRefused,
    Released,
    ReleaseRefused,
    Restored(u16),
    Stored(tandem::engine::settings::Record),
    StoreRefused,
    Commanded(usize),
    Read(usize),
    TimedOut,
}

/// Noise on the links, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noise {
    pub loss: u64,
    pub double: u64,
    pub late: u64,
}

pub struct World {
    pub plan: Plan,
    pub now: Instant,
    pub machines: Vec<Machine>,
    pub devices: Vec<Device>,
    pub queue: BTreeMap<(Instant, u64), Happening>,
    pub order: u64,
    /// Cut directions: link, from, to.
    pub cuts: BTreeSet<(u8, usize, usize)>,
    /// Pairs whose service networks are parted.
    pub parted: BTreeSet<(usize, usize)>,
    pub link_delay: Duration,
    pub noise: Noise,
    pub random: Random,
    pub events: Vec<(Instant, usize, Event)>,
    pub answers: Vec<(RequestId, Answer)>,
    pub sent: Vec<Heartbeat>,
    /// Whether heartbeats are kept in `sent`.
    pub keep_sent: bool,
    pub effects: Effects,
    /// An operator lied, or a device does: two holders are not the engine's fault.
    pub excused: bool,
    pub serial: u64,
    pub steps: u64,
    pub peak_effects: usize,
    pub announced: u64,
    /// Whether faults are printed as they are caused.
    pub story_of_faults: bool,
    /// Each so many steps an engine is replaced by its copy from a text; never, if zero.
    pub rewrite_every: u64,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let machines: Vec<_> = (0..plan.nodes).map(|_| Machine::new(plan.nics)).collect();
        let mut devices = Vec::new();
        for host in 0..machines.len() {
            for count in &plan.levels {
                devices.extend((0..*count).map(|_| Device {
                    host,
                    outlet: *count > 1,
                    mode: Mode::Works,
                    delay: ms(2),
                    outlet_on: true,
                    shares_power: false,
                    has_power: true,
                    refuses_when_off: false,
                    cuts: 0,
                    orders: 0,
                }));
            }
        }
        Self {
            plan,
            now: Instant::from_millis(1),
            machines,
            devices,
            queue: BTreeMap::new(),
            order: 0,
            cuts: BTreeSet::new(),
            parted: BTreeSet::new(),
            link_delay: Duration::from_micros(200),
            noise: Noise::default(),
            random: Random::new(1),
            events: Vec::new(),
            answers: Vec::new(),
            sent: Vec::new(),
            keep_sent: false,
            effects: Effects::new(),
            excused: false,
            serial: 0,
            steps: 0,
            peak_effects: 0,
            announced: 0,
            story_of_faults: false,
            rewrite_every: 0,
        }
    }

    /// A default pair, started together; node 1 has become active.
    pub fn pair() -> Self {
        Self::settled(Plan::default())
    }

    /// All nodes of `plan`, started together; the first has become active and every device was
    /// read.
    pub fn settled(plan: Plan) -> Self {
        let mut world = Self::new(plan);
        for machine in 0..world.machines.len() {
            world.start_daemon(machine);
        }
        world.run(ms(400));
        assert_eq!(world.state(0), Some(PeerState::Active), "the first becomes active");
        world
    }

    pub fn node_id(machine: usize) -> NodeId {
        NodeId::new(machine as u8 + 1).unwrap()
    }

    pub fn mac(machine: usize, nic: usize) -> Mac {
        Mac([2, 0, 0, 0, machine as u8 + 1, nic as u8 + 1])
    }

    pub fn names(&self) -> Names {
        let name = |node: usize| char::from(b'a' + node as u8).to_string();
        Names {
            nodes: (0..self.machines.len()).map(|n| (Self::node_id(n), name(n))).collect(),
            links: (0..self.plan.links).map(|n| format!("link{n}")).collect(),
            nics: (0..self.plan.nics).map(|n| format!("nic{n}")).collect(),
            vips: (0..self.plan.vips).map(|n| format!("vip{n}")).collect(),
            devices: (0..self.devices.len()).map(|n| format!("device{n}")).collect(),
        }
    }

    fn settings(&self, local: usize, incarnation: u64) -> Settings {
        let devices_per_host: usize = self.plan.levels.iter().map(|n| usize::from(*n)).sum();
        let peers = (0..self.machines.len()).filter(|n| *n != local).map(|node| {
            let mut next = node * devices_per_host;
            let levels = self.plan.levels.iter().map(|count| {
                let first = next;
                next += usize::from(*count);
                let devices = (first..next).map(|n| DeviceId(n as u8)).collect();
                Level { devices, timeout: LEVEL_TIMEOUT }
            });
            PeerSettings {
                node: Self::node_id(node),
                levels: levels.collect(),
                fence_delay: self.plan.fence_delays[node],
            }
        });
        let links = (0..self.plan.links).map(|n| LinkSettings {
            id: LinkId(n),
            keepalive: KEEPALIVE,
            warntime: WARNTIME,
            deadtime: DEADTIME,
        });
        let mut macs = [Mac::NONE; NICS_MAX];
        for (nic, mac) in macs.iter_mut().enumerate().take(usize::from(self.plan.nics)) {
            *mac = Self::mac(local, nic);
        }
        let mut boot = [local as u8; 16];
        boot[0] = self.machines[local].boots as u8;
        Settings {
            local: Self::node_id(local),
            peers: peers.collect(),
            links: links.collect(),
            nics: self.plan.nics,
            vips: self.plan.vips,
            macs,
            initdead: INITDEAD,
            isolated_grace: self.plan.grace,
            preferred: self.plan.preferred.and_then(NodeId::new),
            fence_check_interval: self.plan.fence_check_interval,
            config_digest: self.plan.config_digests[local],
            incarnation: Incarnation(incarnation),
            boot: BootId(boot),
        }
    }

    /// The machine's own clock.
    pub fn local(&self, machine: usize) -> Instant {
        self.now + Duration::from_nanos(self.machines[machine].clock_lead)
    }

    pub fn schedule(&mut self, after: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), happening);
    }

    pub fn start_daemon(&mut self, machine: usize) {
        assert!(self.machines[machine].powered, "a daemon needs power");
        assert!(self.machines[machine].daemon.is_none(), "one daemon at a time");
        self.serial += 1;
        let settings = self.settings(machine, 0x1000 + self.serial);
        let node = Node::new(settings, self.local(machine));
        let entry = &mut self.machines[machine];
        let remembered = Remembered {
            mark: entry.mark,
            record: entry.record,
            leftovers: !entry.kernel.is_empty(),
        };
        entry.exited = false;
        entry.daemon = Some(Daemon {
            uid: self.serial,
            node,
            paused: false,
            inbox: std::collections::VecDeque::new(),
            inbox_since: None,
            pending: BTreeSet::new(),
            acquiring: None,
            tick_at: None,
            spins: 0,
        });
        let carrier = entry.carrier.clone();
        self.give(machine, Input::Start(remembered));
        for (nic, up) in carrier.into_iter().enumerate() {
            self.give(machine, Input::Carrier { nic: NicId(nic as u8), up });
        }
    }

    /// Lets `time` go by.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.turn(until) {}
        self.now = until;
    }

    /// Lets time go by until `happened`; how long that took, or nothing if it did not within
    /// `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        happened: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let began = self.now;
        let until = began + limit;
        while !happened(self) {
            if !self.turn(until) {
                self.now = until;
                return None;
            }
        }
        Some(self.now.since(began))
    }

    /// The next thing that happens, if it does before `until`.
    fn turn(&mut self, until: Instant) -> bool {
        let queued = self.queue.first_key_value().map(|(key, _)| key.0);
        let tick =
            (0..self.machines.len()).filter_map(|m| self.tick_due(m).map(|at| (at, m))).min();
        let first = match (queued, tick) {
            (Some(at), Some((tick_at, _))) if at <= tick_at => at,
            (_, Some((tick_at, machine))) => {
                if tick_at > until {
                    return false;
                }
                self.now = self.now.max(tick_at);
                self.tick(machine);
                return true;
            }
            (Some(at), None) => at,
            (None, None) => return false,
        };
        if first > until {
            return false;
        }
        self.now = self.now.max(first);
        let (_, happening) = self.queue.pop_first().unwrap();
        self.happen(happening);
        true
    }

    /// When the machine's engine wants a tick, by the world's clock.
    fn tick_due(&self, machine: usize) -> Option<Instant> {
        let entry = &self.machines[machine];
        let daemon = entry.daemon.as_ref().filter(|daemon| !daemon.paused)?;
        let at = daemon.tick_at?.as_nanos().saturating_sub(entry.clock_lead);
        Some(Instant::from_nanos(at))
    }

    fn tick(&mut self, machine: usize) {
        self.give(machine, Input::Tick);
        let local = self.local(machine);
        let Some(daemon) = self.machines[machine].daemon.as_mut() else { return };
        let Some(next) = daemon.tick_at else { return };
        assert!(next > local, "a deadline that is over after a tick");
        let at_once = next <= local + Duration::from_micros(1);
        daemon.spins = if at_once { daemon.spins + 1 } else { 0 };
        assert!(daemon.spins < SPINS_MAX, "node {machine} asks for ticks without end");
    }

    // What is seen.

    pub fn state(&self, machine: usize) -> Option<PeerState> {
        self.machines[machine].daemon.as_ref().map(|daemon| daemon.node.state())
    }

    pub fn is(&self, machine: usize, state: PeerState) -> bool {
        self.state(machine) == Some(state)
    }

    pub fn node(&self, machine: usize) -> &Node {
        &self.machines[machine].daemon.as_ref().expect("no daemon").node
    }

    /// All events of one machine as lines, with the world's time.
    pub fn lines(&self, machine: usize) -> Vec<String> {
        let names = self.names();
        let own = self.events.iter().filter(|(_, m, _)| *m == machine);
        own.map(|(at, _, event)| format!("{at} {}", event.line(&names))).collect()
    }

    /// Whether a line of the machine since the mark has `text` in it.
    pub fn told(&self, machine: usize, text: &str) -> bool {
        self.lines(machine).iter().any(|line| line.contains(text))
    }

    pub fn told_times(&self, machine: usize, text: &str) -> usize {
        self.lines(machine).iter().filter(|line| line.contains(text)).count()
    }

    /// Fails with the whole story unless the machine has told `text`.
    pub fn expect_told(&self, machine: usize, text: &str) {
        assert!(self.told(machine, text), "{text:?} was not told:\n{}", self.story());
    }

    pub fn expect_untold(&self, machine: usize, text: &str) {
        assert!(!self.told(machine, text), "{text:?} was told:\n{}", self.story());
    }

    /// Everything that was told, for a test that fails.
    pub fn story(&self) -> String {
        let names = self.names();
        let lines = self.events.iter().rev().take(200).rev();
        let lines = lines.map(|(at, m, e)| format!("{at} {} {}\n", m + 1, e.line(&names)));
        lines.collect()
    }

    pub fn note_fault(&self, fault: String) {
        if self.story_of_faults {
            eprintln!("{} fault {fault}", self.now);
        }
    }

    /// Forgets what was told so far.
    pub fn forget(&mut self) {
        self.events.clear();
        self.answers.clear();
        self.sent.clear();
    }

    pub fn holders(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|m| self.machines[*m].holds()).collect()
    }

    pub fn cuts_of(&self, host: usize) -> u32 {
        self.devices.iter().filter(|d| d.host == host).map(|d| d.cuts).sum()
    }

    /// What must be true after every step.
    pub fn check(&self) {
        let holders = self.machines.iter().filter(|machine| machine.holds()).count();
        assert!(
            self.excused || holders <= 1,
            "two holders {:?} at {}:\n{}",
            self.holders(),
            self.now,
            self.story()
        );
    }
}
