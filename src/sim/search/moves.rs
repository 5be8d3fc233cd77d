//! What can happen next in a world whose clocks go as they like: everything that is under way may
//! arrive now or later, every machine may be as slow as it likes, and each fault may strike as long
//! as its budget lasts.

use core::fmt;
use core::time::Duration;

use crate::engine::Input;
use crate::engine::telling::said;
use crate::sim::plan::MACHINES_MAX;
use crate::sim::queue::{Happening, Work};
use crate::sim::{Mode, Plan, World};
use crate::types::{Incarnation, Instant, LinkId, NodeId, OpId, PeerState, Seq};

/// Clocks go in beats: a loop that wakes up does so at the next one, and finds everything that was
/// due since the last one due now. So there are few different ages of anything.
pub const BEAT: Duration = Duration::from_secs(5);

/// One thing that happens. Machines are numbered from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Move {
    /// A machine's clock reaches its engine's deadline.
    Tick(u8),
    /// What lies at this place of the queue arrives.
    Take(u16),
    /// A daemon is killed.
    Kill(u8),
    /// A daemon is started.
    Start(u8),
    /// A daemon is told to end.
    Stop(u8),
    /// A daemon finds that it has stood still for a deadtime.
    Stall(u8),
    /// A machine loses its power.
    Lose(u8),
    /// It gets it back.
    Return(u8),
    /// The fence devices of a machine die, or come back.
    Devices(u8, bool),
    /// A service NIC of a machine loses or gains its carrier.
    Carrier(u8, bool),
    /// An operator at the first says, truly, that the second is off.
    Confirm(u8, u8),
}

/// How often each fault may strike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    /// Killed daemons.
    pub kills: u8,
    /// Orderly ends.
    pub stops: u8,
    /// Stalls.
    pub stalls: u8,
    /// Lost power.
    pub losses: u8,
    /// Power that comes back, after a loss or a fence.
    pub returns: u8,
    /// Dying fence devices; each may come back.
    pub devices: u8,
    /// Lost carriers; each may come back.
    pub carriers: u8,
    /// True words of operators.
    pub confirms: u8,
}

impl Budget {
    /// The budget as one number.
    pub(super) fn packed(self) -> u64 {
        let Self { kills, stops, stalls, losses, returns, devices, carriers, confirms } = self;
        u64::from_be_bytes([kills, stops, stalls, losses, returns, devices, carriers, confirms])
    }
}

/// A world, and what may still happen to it.
#[derive(Clone, Debug)]
pub struct State {
    /// The world.
    pub world: World,
    /// The faults that are left.
    pub budget: Budget,
    /// How many heartbeats may be under way on one link from one to another; of more, the oldest
    /// are lost.
    pub in_flight: usize,
    /// Whether fence devices answer at once, as disks do. What they were told to cut is cut later
    /// all the same.
    pub prompt: bool,
    /// The fingerprint of each machine that no move has touched since it was made.
    pub(super) known: [Option<u128>; MACHINES_MAX],
    /// Whether any machine said goodbye when they were made.
    pub(super) goodbyes: bool,
}

impl State {
    /// A world from which the search sets out.
    pub fn new(world: World, budget: Budget) -> Self {
        Self {
            world,
            budget,
            in_flight: 1,
            prompt: true,
            known: [None; MACHINES_MAX],
            goodbyes: false,
        }
    }

    /// All that can happen now.
    pub fn moves(&self, list: &mut Vec<Move>) {
        list.clear();
        let world = &self.world;
        for place in 0..world.queue.len() {
            if self.may_take(place) {
                list.push(Move::Take(place as u16));
            }
        }
        for machine in 0..world.machines.len() {
            self.machine_moves(machine, list);
        }
    }

    fn machine_moves(&self, machine: usize, list: &mut Vec<Move>) {
        let (world, budget) = (&self.world, &self.budget);
        let entry = &world.machines[machine];
        let m = machine as u8;
        let mut add = |may: bool, one: Move| {
            if may {
                list.push(one);
            }
        };
        let runs = entry.daemon.is_some();
        add(world.tick_due(machine).is_some(), Move::Tick(m));
        add(runs && budget.kills > 0, Move::Kill(m));
        add(entry.powered && !runs && !world.is_booting(machine), Move::Start(m));
        add(runs && budget.stops > 0, Move::Stop(m));
        add(runs && budget.stalls > 0, Move::Stall(m));
        add(entry.powered && budget.losses > 0, Move::Lose(m));
        add(!entry.powered && budget.returns > 0, Move::Return(m));
        let device = world.devices.iter().find(|device| device.host == machine);
        let dead = device.is_some_and(|device| device.mode == Mode::Dead);
        add(dead, Move::Devices(m, true));
        add(device.is_some() && !dead && budget.devices > 0, Move::Devices(m, false));
        add(runs && !entry.carrier[0], Move::Carrier(m, true));
        add(runs && entry.carrier[0] && budget.carriers > 0, Move::Carrier(m, false));
        if budget.confirms == 0 || !runs {
            return;
        }
        for other in (0..world.machines.len()).filter(|other| *other != machine) {
            add(!world.machines[other].powered, Move::Confirm(m, other as u8));
        }
    }

    /// The parts of one operation come in their order; everything else as it likes.
    fn may_take(&self, place: usize) -> bool {
        let queue = &self.world.queue;
        let Happening::Shell { machine, op, .. } = queue.at(place) else { return true };
        !queue.keys_before(place).any(|earlier| match queue.at(earlier) {
            Happening::Shell { machine: m, op: o, .. } => m == machine && o == op,
            Happening::Deliver { .. }
            | Happening::Claim { .. }
            | Happening::Cut { .. }
            | Happening::Answer { .. }
            | Happening::Sense { .. }
            | Happening::Boot { .. } => false,
        })
    }

    /// A move in words, before it is made.
    pub fn describe(&self, one: Move) -> String {
        let Move::Take(place) = one else { return one.to_string() };
        let names = self.world.plan.names();
        let name = |machine: usize| names.node(Plan::node_id(machine)).to_owned();
        match self.world.queue.at(usize::from(place)) {
            Happening::Deliver { to, heartbeat } => {
                format!("{} hears: {}", name(*to), said(heartbeat, &names))
            }
            Happening::Claim { to, vip, .. } => {
                format!("{} hears somebody answer for {}", name(*to), names.vip(*vip))
            }
            Happening::Answer { to, of, link } => {
                let link = names.link(*link);
                format!("{} has an answer of the kernel of {} on {link}", name(*to), name(*of))
            }
            Happening::Shell { machine, work, .. } => format!("on {}: {work:?}", name(*machine)),
            Happening::Cut { device } => {
                let host = self.world.devices[*device].host;
                format!("the fence device of {} cuts its power", name(host))
            }
            Happening::Sense { machine } => format!("pings and probes tell {}", name(*machine)),
            Happening::Boot { machine, .. } => format!("{} has booted", name(*machine)),
        }
    }

    /// Lets it happen.
    pub fn apply(&mut self, one: Move) {
        self.note_touched(one);
        let world = &mut self.world;
        match one {
            Move::Tick(m) => {
                let machine = usize::from(m);
                let local = world.local(machine);
                let at = world.machines[machine].daemon.as_ref().and_then(|daemon| daemon.tick_at);
                let at = at.unwrap_or(local);
                // A holder that may hand over does so before any time goes by.
                let at_once =
                    world.is(machine, PeerState::Active) && at <= local + Duration::from_nanos(1);
                let beats = at.as_nanos().div_ceil(BEAT.as_nanos() as u64);
                let beat = Instant::from_nanos(beats * BEAT.as_nanos() as u64);
                let at = if at_once { local } else { beat };
                world.machines[machine].clock_lead += at.since(local).as_nanos() as u64;
                world.tick(machine);
                // A claim is heard before the next tick, or never.
                world.queue.retain(|happening| match happening {
                    Happening::Claim { to, .. } => *to != machine,
                    Happening::Deliver { .. }
                    | Happening::Shell { .. }
                    | Happening::Cut { .. }
                    | Happening::Answer { .. }
                    | Happening::Sense { .. }
                    | Happening::Boot { .. } => true,
                });
            }
            Move::Take(place) => {
                let happening = world.queue.take(usize::from(place));
                world.happen(happening);
            }
            Move::Kill(m) => {
                self.budget.kills -= 1;
                world.crash(usize::from(m));
            }
            Move::Start(m) => world.start_daemon(usize::from(m)),
            Move::Stop(m) => {
                self.budget.stops -= 1;
                world.stop(usize::from(m));
            }
            Move::Stall(m) => {
                self.budget.stalls -= 1;
                let late_by = world.plan.timing.deadtime;
                world.machines[usize::from(m)].clock_lead += late_by.as_nanos() as u64;
                world.give(usize::from(m), Input::Stalled { late_by });
            }
            Move::Lose(m) => {
                self.budget.losses -= 1;
                world.power_off(usize::from(m));
            }
            Move::Return(m) => {
                self.budget.returns -= 1;
                world.power_on(usize::from(m));
                // A boot's clock begins anew.
                world.machines[usize::from(m)].clock_lead = 0;
            }
            Move::Devices(m, work) => {
                self.budget.devices -= u8::from(!work);
                let mode = if work { Mode::Works } else { Mode::Dead };
                world.set_modes(usize::from(m), mode);
            }
            Move::Carrier(m, up) => {
                self.budget.carriers -= u8::from(!up);
                world.set_carrier(usize::from(m), 0, up);
            }
            Move::Confirm(m, of) => {
                self.budget.confirms -= 1;
                let _answer = world.confirm_off(usize::from(m), usize::from(of), false);
            }
        }
        self.tidy();
    }

    /// A move changes one machine, and what is under way.
    fn note_touched(&mut self, one: Move) {
        let machine = match one {
            Move::Tick(m)
            | Move::Kill(m)
            | Move::Start(m)
            | Move::Stop(m)
            | Move::Stall(m)
            | Move::Lose(m)
            | Move::Return(m)
            | Move::Carrier(m, _)
            | Move::Confirm(m, _)
            | Move::Devices(m, _) => usize::from(m),
            Move::Take(place) => match self.world.queue.at(usize::from(place)) {
                Happening::Deliver { to, .. }
                | Happening::Claim { to, .. }
                | Happening::Answer { to, .. } => *to,
                Happening::Shell { machine, .. }
                | Happening::Sense { machine }
                | Happening::Boot { machine, .. } => *machine,
                Happening::Cut { device } => self.world.devices[*device].host,
            },
        };
        self.known[machine] = None;
    }

    fn answer_promptly(&mut self) {
        let (world, prompt) = (&mut self.world, self.prompt);
        while let Some(place) = (0..world.queue.len()).find(|place| match world.queue.at(*place) {
            Happening::Shell { machine, work, .. } => match work {
                Work::Stored(_) | Work::StoreRefused => true,
                Work::Commanded(_) | Work::Read(_) | Work::Checked(_) if prompt => true,
                Work::Read(_) | Work::Checked(_) => {
                    !world.is(*machine, PeerState::Fencing)
                        && !world.is(*machine, PeerState::Frozen)
                }
                Work::AddVip(_)
                | Work::Acquired
                | Work::AcquireRefused
                | Work::Released
                | Work::ReleaseRefused
                | Work::Restored(_)
                | Work::Commanded(_)
                | Work::Spared(_)
                | Work::SwitchedOn(_)
                | Work::Looked(..)
                | Work::Told(..)
                | Work::Repeated { .. }
                | Work::Unanswered
                | Work::TimedOut => false,
            },
            Happening::Deliver { .. }
            | Happening::Claim { .. }
            | Happening::Cut { .. }
            | Happening::Answer { .. }
            | Happening::Sense { .. }
            | Happening::Boot { .. } => false,
        }) {
            let happening = world.queue.take(place);
            world.happen(happening);
        }
    }

    /// Forgets what can have no consequence any more, and what is one too many.
    fn tidy(&mut self) {
        let world = &mut self.world;
        let (machines, devices, blind) = (&world.machines, &world.devices, world.plan.blind);
        let returns = self.budget.returns > 0;
        let waits = |machine: usize, uid: u64, op: &OpId| {
            let daemon = machines[machine].daemon.as_ref();
            daemon.is_some_and(|daemon| daemon.uid == uid && daemon.pending.contains(op))
        };
        world.queue.retain(|happening| match happening {
            Happening::Deliver { to, .. } => machines[*to].daemon.is_some(),
            // Whom nobody asks, nobody hears.
            Happening::Answer { to, .. } => machines[*to].daemon.is_some(),
            Happening::Claim { to, .. } => !blind && machines[*to].daemon.is_some(),
            Happening::Shell { machine, uid, op, .. } => waits(*machine, *uid, op),
            Happening::Sense { machine } => machines[*machine].daemon.is_some(),
            Happening::Boot { machine, boots } => {
                machines[*machine].powered && machines[*machine].boots == *boots
            }
            Happening::Cut { device } => returns || machines[devices[*device].host].powered,
        });
        let all: Vec<Under> = world.queue.iter().filter_map(Under::of).collect();
        let is_lost = |one: &Under| {
            let newer = all.iter().filter(|other| {
                (other.to, other.from, other.link) == (one.to, one.from, one.link)
                    && (other.incarnation, other.seq) > (one.incarnation, one.seq)
            });
            newer.count() >= self.in_flight
        };
        if all.iter().any(is_lost) {
            world.queue.retain(|happening| !Under::of(happening).is_some_and(|one| is_lost(&one)));
        }
        // A second cut strikes a machine that has come back.
        world.queue.drop_doubles(if returns { 2 } else { 1 });
        self.answer_promptly();
        self.world.now = Instant::ZERO;
    }
}

/// A heartbeat under way. A later daemon of a machine has a higher incarnation.
#[derive(Clone, Copy, Debug)]
struct Under {
    to: usize,
    from: NodeId,
    link: LinkId,
    incarnation: Incarnation,
    seq: Seq,
}

impl Under {
    fn of(happening: &Happening) -> Option<Self> {
        match happening {
            Happening::Deliver { to, heartbeat } => Some(Self {
                to: *to,
                from: heartbeat.from,
                link: heartbeat.link,
                incarnation: heartbeat.incarnation,
                seq: heartbeat.seq,
            }),
            Happening::Claim { .. }
            | Happening::Shell { .. }
            | Happening::Cut { .. }
            | Happening::Answer { .. }
            | Happening::Sense { .. }
            | Happening::Boot { .. } => None,
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |machine: &u8| char::from(b'a' + machine);
        match self {
            Self::Tick(m) => write!(f, "time goes by for {}", name(m)),
            Self::Take(_) => f.write_str("arrives"),
            Self::Kill(m) => write!(f, "the daemon of {} is killed", name(m)),
            Self::Start(m) => write!(f, "the daemon of {} is started", name(m)),
            Self::Stop(m) => write!(f, "the daemon of {} is told to end", name(m)),
            Self::Stall(m) => write!(f, "{} stands still for a deadtime", name(m)),
            Self::Lose(m) => write!(f, "{} loses its power", name(m)),
            Self::Return(m) => write!(f, "{} gets its power back", name(m)),
            Self::Devices(m, true) => write!(f, "the fence devices of {} work again", name(m)),
            Self::Devices(m, false) => write!(f, "the fence devices of {} die", name(m)),
            Self::Carrier(m, true) => write!(f, "the service NIC of {} has carrier", name(m)),
            Self::Carrier(m, false) => write!(f, "the service NIC of {} has none", name(m)),
            Self::Confirm(m, of) => {
                write!(f, "an operator at {} confirms that {} is off", name(m), name(of))
            }
        }
    }
}
