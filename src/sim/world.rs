//! The world itself: everything in it, and virtual time.

use core::time::Duration;
use std::sync::Arc;

use super::device::Device;
use super::ledger::Ledger;
use super::machine::{Daemon, Machine};
use super::network::Network;
use super::plan::{MACHINES_MAX, Plan, ms};
use super::queue::{Happening, Queue};
use super::random::Random;
use super::story::Story;
use crate::engine::settings::Remembered;
use crate::engine::{Effects, Input, Node};
use crate::types::{Instant, NicId, PeerState};

/// More ticks in a row than this, each at once after the one before, are a busy loop.
const SPINS_MAX: u32 = 16;
/// How long a settled world takes to settle.
const SETTLE_TIME: Duration = ms(400);

/// A buffer that is not worth copying.
#[derive(Debug, Default)]
pub(super) struct Scratch(pub(super) Effects);

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self(Effects::empty())
    }
}

/// Everything there is.
#[derive(Clone, Debug)]
pub struct World {
    /// How it is laid out.
    pub plan: Arc<Plan>,
    /// The time; each machine's clock may lead it.
    pub now: Instant,
    /// The machines.
    pub machines: Vec<Machine>,
    /// The fence devices of all machines.
    pub devices: Vec<Device>,
    /// What is under way.
    pub queue: Queue,
    /// What joins the machines.
    pub network: Network,
    /// How long a heartbeat is under way.
    pub link_delay: Duration,
    /// Its chance.
    pub random: Random,
    /// What was told.
    pub story: Story,
    /// What the checks remember.
    pub ledger: Ledger,
    /// An operator lied, or a device does: two holders are not the engine's fault.
    pub excused: bool,
    /// How many inputs the engines were given.
    pub steps: u64,
    pub(super) serial: u64,
    pub(super) effects: Scratch,
}

impl World {
    /// A world in which all machines have power and no daemon runs yet.
    pub fn new(plan: Plan) -> Self {
        let machines = usize::from(plan.nodes);
        assert!((1..=MACHINES_MAX).contains(&machines), "a world has 1 to {MACHINES_MAX} machines");
        let mut devices = Vec::new();
        for host in 0..machines {
            for count in &plan.levels {
                devices.extend(
                    (0..*count)
                        .map(|_| Device { repeats: plan.repeats, ..Device::new(host, *count > 1) }),
                );
            }
        }
        Self {
            now: Instant::from_millis(1),
            machines: vec![Machine::default(); machines],
            devices,
            queue: Queue::default(),
            network: Network::default(),
            link_delay: Duration::from_micros(200),
            random: Random::new(1),
            story: Story::default(),
            ledger: Ledger::new(machines),
            excused: false,
            steps: 0,
            serial: 0,
            effects: Scratch::default(),
            plan: Arc::new(plan),
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
        world.run(SETTLE_TIME);
        assert_eq!(world.state(0), Some(PeerState::Active), "the first becomes active");
        world
    }

    /// The machine's own clock.
    pub fn local(&self, machine: usize) -> Instant {
        self.now + Duration::from_nanos(self.machines[machine].clock_lead)
    }

    /// Lets something happen after a time.
    pub fn schedule(&mut self, after: Duration, happening: Happening) {
        self.queue.add(self.now + after, happening);
    }

    /// Starts the daemon of a machine, as its supervisor does.
    pub fn start_daemon(&mut self, machine: usize) {
        assert!(self.machines[machine].powered, "a daemon needs power");
        assert!(self.machines[machine].daemon.is_none(), "one daemon at a time");
        self.serial += 1;
        let entry = &mut self.machines[machine];
        entry.starts += 1;
        let (boots, starts) = (entry.boots, u64::from(entry.starts));
        let incarnation = 0x1000 * (machine as u64 + 1) + starts;
        let settings = self.plan.settings(machine, boots, incarnation);
        let node = Node::new(settings, self.local(machine));
        let entry = &mut self.machines[machine];
        let remembered = Remembered {
            mark: entry.mark,
            record: entry.record,
            leftovers: !entry.kernel.is_empty(),
        };
        entry.exited = false;
        entry.daemon = Some(Arc::new(Daemon::new(self.serial, node)));
        let carrier = entry.carrier;
        self.note_start(machine);
        self.give(machine, Input::Start(remembered));
        for (nic, up) in (0..self.plan.nics).zip(carrier) {
            self.give(machine, Input::Carrier { nic: NicId(nic), up });
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

    /// Lets the next thing happen, if it does before `until`; whether it did.
    pub fn turn(&mut self, until: Instant) -> bool {
        let mut tick: Option<(Instant, usize)> = None;
        for machine in 0..self.machines.len() {
            if let Some(at) = self.tick_due(machine)
                && tick.is_none_or(|(earliest, _)| at < earliest)
            {
                tick = Some((at, machine));
            }
        }
        match (self.queue.next(), tick) {
            (Some((at, index)), tick) if tick.is_none_or(|(tick_at, _)| at <= tick_at) => {
                if at > until {
                    return false;
                }
                self.now = self.now.max(at);
                self.happen_at(index);
            }
            (_, Some((at, machine))) => {
                if at > until {
                    return false;
                }
                self.now = self.now.max(at);
                self.tick(machine);
            }
            (_, None) => return false,
        }
        true
    }

    /// When the machine's engine wants a tick, by the world's clock.
    pub fn tick_due(&self, machine: usize) -> Option<Instant> {
        let entry = &self.machines[machine];
        let daemon = entry.daemon.as_ref().filter(|daemon| !daemon.paused)?;
        let at = daemon.tick_at?.as_nanos().saturating_sub(entry.clock_lead);
        Some(Instant::from_nanos(at))
    }

    /// Gives a machine's engine a tick.
    pub fn tick(&mut self, machine: usize) {
        self.give(machine, Input::Tick);
        let Some(daemon) = self.machines[machine].daemon.as_ref() else { return };
        let Some(next) = daemon.tick_at else { return };
        self.expect(next > self.local(machine), "a deadline that is over after a tick");
        self.expect(daemon.spins < SPINS_MAX, "an engine asks for ticks without end");
    }

    // What is seen.

    /// What a machine's node is; nothing if no daemon runs.
    pub fn state(&self, machine: usize) -> Option<PeerState> {
        self.machines[machine].daemon.as_ref().map(|daemon| daemon.node.state())
    }

    /// Whether a machine's node is that.
    pub fn is(&self, machine: usize, state: PeerState) -> bool {
        self.state(machine) == Some(state)
    }

    /// Whether a machine's node runs and holds nothing.
    pub fn is_passive(&self, machine: usize) -> bool {
        self.state(machine).is_some_and(|s: PeerState| !s.may_hold())
    }

    /// The engine of a machine whose daemon runs.
    pub fn node(&self, machine: usize) -> &Node {
        &self.machines[machine].daemon.as_ref().expect("no daemon runs there").node
    }

    /// The machines whose kernels answer for addresses.
    pub fn holders(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|m| self.machines[*m].holds()).collect()
    }

    /// How often the power of a machine was cut.
    pub fn cuts_of(&self, host: usize) -> u32 {
        self.devices.iter().filter(|d| d.host == host).map(|d| d.cuts).sum()
    }

    /// Whether the service network of `nic` joins the two machines.
    pub fn joins(&self, one: usize, other: usize, nic: usize) -> bool {
        self.machines[one].passes(nic)
            && self.machines[other].passes(nic)
            && !self.network.is_parted(one, other)
    }

    /// Whether a boot is under way, at the end of which the daemon is started.
    pub fn is_booting(&self, machine: usize) -> bool {
        let now = self.machines[machine].boots;
        self.queue.iter().any(|happening| match happening {
            Happening::Boot { machine: m, boots } => *m == machine && *boots == now,
            Happening::Deliver { .. }
            | Happening::Answer { .. }
            | Happening::Sense { .. }
            | Happening::Claim { .. }
            | Happening::Shell { .. }
            | Happening::Cut { .. } => false,
        })
    }
}
