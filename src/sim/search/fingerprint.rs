//! The fingerprint of a whole world: machines, devices, and what is under way.

use core::time::Duration;

use super::canon::{Ages, Canon, Goodbyes, Scope};
use super::moves::State;
use crate::engine::Node;
use crate::engine::freshness::Freshness;
use crate::sim::plan::MACHINES_MAX;
use crate::sim::queue::{Happening, Work};
use crate::sim::{Mode, World};
use crate::types::Heartbeat;

/// Makes fingerprints of the states of one search.
#[derive(Debug)]
pub struct Fingerprints {
    canon: Canon,
    /// The fingerprints of what is under way, for bringing them into an order of their own.
    loose: Vec<u128>,
}

impl Fingerprints {
    /// For the states that can follow this one.
    pub fn new(first: &State) -> Self {
        let plan = &first.world.plan;
        // What the rules leave out is as good as something else only there.
        assert!(plan.links == 1, "a quiet link is as good as a dead one where there is no other");
        assert!(!plan.in_turns, "all MACs are told at once");
        let timing = plan.timing;
        let pause = (timing.deadtime.saturating_sub(timing.warntime) / 3)
            .clamp(Duration::from_millis(1), Duration::from_millis(100));
        let ages = Ages {
            keepalive: timing.keepalive,
            deadtime: timing.deadtime,
            initdead: timing.initdead,
            look: pause * 4,
        };
        let paths = first.budget.carriers > 0;
        let scope = Scope { looks: !plan.blind, words: first.budget.confirms > 0, paths };
        Self { canon: Canon::new(ages, scope), loose: Vec::new() }
    }

    /// The same for any two states that will behave alike.
    pub fn of(&mut self, state: &mut State) -> u128 {
        let world = &state.world;
        let says_goodbye = |machine: usize| goodbye(world, machine).is_some();
        let goodbyes = (0..world.machines.len()).any(says_goodbye);
        if goodbyes || state.goodbyes {
            // What is a goodbye of one changes what counts of the others.
            state.known = [None; MACHINES_MAX];
        }
        state.goodbyes = goodbyes;
        for machine in 0..world.machines.len() {
            if state.known[machine].is_none() {
                state.known[machine] = Some(self.of_machine(world, machine));
            }
        }
        self.canon.begin_world();
        self.canon.add(state.budget.packed());
        self.canon.add(u64::from(world.excused));
        for hosts in world.ledger.was_off.iter().take(world.machines.len()) {
            let bits = hosts.iter().rev().fold(0, |bits, off| bits << 1 | u64::from(*off));
            self.canon.add(bits);
        }
        for known in state.known.iter().flatten() {
            self.canon.add(*known as u64);
            self.canon.add((*known >> 64) as u64);
        }
        for device in &world.devices {
            self.canon.add(mode_number(device.mode));
            self.canon.add(u64::from(device.outlet_on) << 1 | u64::from(device.has_power));
        }
        self.add_loose(world);
        self.canon.end()
    }

    fn of_machine(&mut self, world: &World, machine: usize) -> u128 {
        self.canon.begin_world();
        self.add_machine(world, machine);
        self.canon.end()
    }

    fn add_machine(&mut self, world: &World, machine: usize) {
        let entry = &world.machines[machine];
        let goodbye = |machine: usize| {
            let daemon = world.machines[machine].daemon.as_ref();
            daemon.and_then(|daemon| daemon.node.goodbye_at()).map(|at| at.as_nanos())
        };
        let others = (0..world.machines.len()).filter(|other| *other != machine);
        let goodbyes = Goodbyes { own: goodbye(machine), peers: others.filter_map(goodbye).next() };
        let node = entry.daemon.as_ref().map(|daemon| &daemon.node);
        let reads_off = node.is_some_and(Node::reads_off);
        let canon = &mut self.canon;
        canon.begin_machine(world.local(machine), reads_off, goodbyes);
        canon.add(u64::from(entry.powered) << 1 | u64::from(entry.exited));
        canon.add(entry.kernel.iter().fold(0, |bits, vip| bits | 1 << vip));
        canon.add(entry.disk as u64 | (entry.taking as u64) << 8);
        canon.add(u64::from(entry.carrier[0]) | u64::from(entry.mark_fails) << 1);
        canon.add_value(&entry.record);
        canon.add_value(&entry.mark);
        let boots = entry.boots;
        let boot = |boots: u32| world.plan.settings(machine, boots, 0).boot;
        canon.add(u64::from(entry.mark.is_some_and(|mark| mark.boot == boot(boots))));
        canon.add(world.ledger.held_by(machine));
        let Some(daemon) = entry.daemon.as_ref() else { return };
        canon.add(daemon.node.incarnation().0);
        canon.add_value(&daemon.node);
        let acquiring = daemon.acquiring.map_or(u64::MAX, |op| canon.op(op.0));
        canon.add(acquiring);
        self.add_operations(world, machine);
    }

    /// What the shell of a machine is doing, in the order in which it ends.
    fn add_operations(&mut self, world: &World, machine: usize) {
        self.loose.clear();
        for place in 0..world.queue.len() {
            let Happening::Shell { machine: m, op, work, .. } = world.queue.at(place) else {
                continue;
            };
            if *m != machine {
                continue;
            }
            let earlier = world.queue.keys_before(place).filter(|earlier| {
                matches!(world.queue.at(*earlier), Happening::Shell { op: o, .. } if o == op)
            });
            let rank = earlier.count() as u64;
            let one = self.canon.alone(|canon| {
                let op = canon.op(op.0);
                canon.add(op);
                canon.add(rank);
                add_work(canon, work);
            });
            self.loose.push(one);
        }
        self.add_sorted();
    }

    fn add_loose(&mut self, world: &World) {
        self.loose.clear();
        for happening in world.queue.iter() {
            let one = self.canon.alone(|canon| match happening {
                Happening::Deliver { to, heartbeat } => {
                    add_heartbeat(canon, world, *to, heartbeat);
                }
                Happening::Claim { to, vip, mac } => {
                    canon.add(2);
                    canon.add(*to as u64);
                    canon.add(u64::from(vip.0));
                    canon.add_value(mac);
                }
                Happening::Cut { device } => {
                    canon.add(3);
                    canon.add(*device as u64);
                }
                Happening::Answer { to, of, link } => {
                    canon.add(6);
                    canon.add(*to as u64);
                    canon.add(*of as u64);
                    canon.add_value(link);
                }
                Happening::Sense { machine } => {
                    canon.add(5);
                    canon.add(*machine as u64);
                }
                Happening::Boot { machine, .. } => {
                    canon.add(4);
                    canon.add(*machine as u64);
                }
                // Told with its machine.
                Happening::Shell { .. } => {}
            });
            self.loose.push(one);
        }
        self.add_sorted();
    }

    fn add_sorted(&mut self) {
        self.loose.sort_unstable();
        self.canon.add(self.loose.len() as u64);
        for one in &self.loose {
            self.canon.add(*one as u64);
            self.canon.add((*one >> 64) as u64);
        }
    }
}

/// When a machine began to say goodbye, by its own clock.
fn goodbye(world: &World, machine: usize) -> Option<u64> {
    let daemon = world.machines[machine].daemon.as_ref()?;
    daemon.node.goodbye_at().map(|at| at.as_nanos())
}

/// A heartbeat under way: what it says, what it will be to its receiver, and how many newer ones
/// of its sender are under way too.
fn add_heartbeat(canon: &mut Canon, world: &World, to: usize, heartbeat: &Heartbeat) {
    let from = usize::from(heartbeat.from.get()) - 1;
    canon.set_goodbyes(Goodbyes { own: goodbye(world, to), peers: goodbye(world, from) });
    canon.add(1);
    canon.add(to as u64);
    canon.add_value(heartbeat);
    let node = world.machines[to].daemon.as_ref().map(|daemon| &daemon.node);
    let known = node.and_then(|node| node.freshness_of(heartbeat));
    canon.add(known.map_or(9, |(freshness, newest)| {
        let number = match freshness {
            Freshness::New => 0,
            Freshness::Replayed => 1,
            Freshness::Stale => 2,
        };
        number << 1 | u64::from(newest)
    }));
    let newer = world.queue.iter().filter(|happening| match happening {
        Happening::Deliver { to: t, heartbeat: h } => {
            let is_later = (h.incarnation, h.seq) > (heartbeat.incarnation, heartbeat.seq);
            *t == to && h.from == heartbeat.from && is_later
        }
        Happening::Claim { .. }
        | Happening::Shell { .. }
        | Happening::Cut { .. }
        | Happening::Answer { .. }
        | Happening::Sense { .. }
        | Happening::Boot { .. } => false,
    });
    canon.add(newer.count() as u64);
}

fn add_work(canon: &mut Canon, work: &Work) {
    let (kind, what) = match work {
        Work::AddVip(vip) => (0, u64::from(*vip)),
        Work::Acquired => (1, 0),
        Work::AcquireRefused => (2, 0),
        Work::Released => (3, 0),
        Work::ReleaseRefused => (4, 0),
        Work::Restored(vip) => (5, u64::from(*vip)),
        Work::Stored(record) => (6, record.term.0 << 32 | record.held_term.0),
        Work::StoreRefused => (7, 0),
        Work::Commanded(device) => (8, *device as u64),
        Work::Read(device) => (9, *device as u64),
        Work::TimedOut => (10, 0),
        // No world that is searched has agents, or devices that are asked again.
        Work::Looked(device, _) | Work::Told(device, _) => (16, *device as u64),
        Work::Repeated { device, .. } => (11, *device as u64),
        Work::Unanswered => (12, 0),
        Work::SwitchedOn(device) => (13, *device as u64),
        Work::Spared(device) => (14, *device as u64),
        Work::Checked(device) => (15, *device as u64),
    };
    canon.add(kind);
    canon.add(what);
}

fn mode_number(mode: Mode) -> u64 {
    match mode {
        Mode::Works => 0,
        Mode::Dead => 1,
        Mode::Refuses(fault) => 16 + fault as u64,
        Mode::StaysOn => 2,
        Mode::Hangs => 3,
        Mode::Unclear => 4,
        Mode::ReadsOff => 5,
        Mode::Mute => 6,
        Mode::Returns => 7,
        Mode::Absent => 8,
    }
}
