//! Random worlds by seed: faults of every kind, one after the other, then everything is mended.
//!
//! Safety is checked after every step ([`super::check`]); once the faults have stopped and all that
//! a person would repair is repaired, exactly one must hold within a bound.

use core::time::Duration;

use super::device::Mode;
use super::machine::{Disk, Taking};
use super::network::Noise;
use super::plan::{MACHINES_MAX, Plan, Timing, ms};
use super::queue::Happening;
use super::{Random, World};
use crate::engine::Input;
use crate::types::{FenceFault, PeerState, VipId};

/// About how many inputs the engines of one world are given before everything is mended.
pub const STEPS: u64 = 900;
/// Until one holds again after everything is mended: a frozen ladder's longest rest, a failed
/// takeover's longest rest, and a boot.
const HEALING_MAX: Duration = ms(70_000);
/// What a fence device may take for an order that was given before: the longest delay there is,
/// and what follows from it.
const LATE_CUTS: Duration = ms(1000);

/// One world of a seed, under way.
#[derive(Debug)]
pub struct Trial {
    /// The world.
    pub world: World,
    random: Random,
    /// Whether operators and devices may lie in it: two holders are then excused, for a while.
    lies: bool,
}

impl Trial {
    /// The world of `seed`, before anything has happened in it. Its story is kept if somebody
    /// wants to read it.
    pub fn new(seed: u64, kept: bool) -> Self {
        let mut random = Random::new(seed);
        let mut world = World::new(plan(&mut random));
        world.random = Random::new(random.draw());
        world.story.kept = kept;
        world.story.listens = true;
        let lies = random.percent(5);
        for machine in 0..world.machines.len() {
            world.run(ms(random.below(100)));
            if random.percent(90) {
                restart(&mut world, machine);
            }
        }
        Self { world, random, lies }
    }

    /// Lets some time go by and causes a fault; whether there is more to come.
    pub fn go_on(&mut self) -> bool {
        let Self { world, random, .. } = self;
        let deadtime = world.plan.timing.deadtime;
        let share = if random.percent(60) { 100 } else { 600 };
        world.run(deadtime * random.below(share) as u32 / 100);
        self.cause_fault();
        self.world.steps < STEPS
    }

    /// Stops the faults, mends everything, and sees one take over.
    pub fn end(&mut self) {
        let timing = self.world.plan.timing;
        self.world.run(timing.deadtime * self.random.below(300) as u32 / 100);
        self.mend();
        // Orders that fence devices were carrying out when the faults stopped may yet cut
        // anybody's power: whoever is off then is switched on again.
        self.world.run(LATE_CUTS);
        self.mend();
        let one_holds = |w: &World| {
            let actives = (0..w.machines.len()).filter(|m| w.is(*m, PeerState::Active)).count();
            actives == 1 && w.machines.iter().filter(|machine| machine.holds()).count() == 1
        };
        let took = self.world.run_until(HEALING_MAX, one_holds);
        self.world.expect(took.is_some(), "everything is well, and nobody holds");
        self.world.run(timing.initdead + timing.boot + timing.deadtime);
        self.world.expect(one_holds(&self.world), "everything is well, and not just one holds");
        let settled = (0..self.world.machines.len()).all(|machine| {
            let state = self.world.state(machine);
            matches!(state, None | Some(PeerState::Active | PeerState::Standby))
        });
        self.world
            .expect(settled, "everything is well, and somebody is neither active nor standby");
    }

    fn cause_fault(&mut self) {
        let Self { world, random, .. } = self;
        let count = world.machines.len() as u64;
        let one = random.below(count) as usize;
        let other = (one + 1 + random.below(count - 1) as usize) % count as usize;
        match random.below(34) {
            0..=2 => {
                let link = random.below(u64::from(world.plan.links)) as u8;
                world.set_cut(link, one, other, random.percent(60));
            }
            3 | 4 => world.cut_all(one, other, random.percent(50)),
            5 => (0..world.plan.links).for_each(|link| world.set_cut(link, one, other, true)),
            6 => world.set_parted(one, other, random.percent(50)),
            7 => world.power_off(one),
            8 => world.lose_feed(one),
            9 | 10 => world.power_on(one),
            11 | 12 => world.crash(one),
            13 | 14 => restart(world, one),
            15 => world.pause(one),
            16 | 17 => world.resume(one),
            18 => {
                // A short stall, as a busy machine has them.
                world.pause(one);
                world.run(world.plan.timing.deadtime * random.below(150) as u32 / 100);
                world.resume(one);
            }
            19 => {
                // Killed, and started again at once by its supervisor.
                world.crash(one);
                world.run(ms(random.below(5)));
                restart(world, one);
            }
            20..=26 => self.cause_small_fault(one),
            27 => self.replay(one),
            _ => self.have_somebody_act(one, other),
        }
    }

    fn cause_small_fault(&mut self, one: usize) {
        let Self { world, random, .. } = self;
        match random.below(6) {
            0 | 1 if !world.devices.is_empty() => {
                let device = random.below(world.devices.len() as u64) as usize;
                let mode = mode(random, self.lies);
                let timeout = world.plan.timing.level_timeout;
                let delay = [ms(2), ms(30), timeout * 3 / 4, timeout * 5 / 4];
                let entry = &mut world.devices[device];
                entry.mode = mode;
                entry.delay = random.choose(&delay);
                entry.shares_power = random.percent(50);
                entry.refuses_when_off = random.percent(30);
                world.excused |= mode == Mode::ReadsOff;
                world.ledger.devices_changed_at = world.now;
                world.note_fault(|| format!("device{device}: {mode:?}"));
            }
            2 => {
                let disk = random.choose(&[Disk::Works, Disk::Fails, Disk::Hangs]);
                let taking = random.choose(&[Taking::Works, Taking::FailsHalfWay, Taking::Hangs]);
                let (mark, release) = (random.percent(20), random.percent(20));
                let entry = &mut world.machines[one];
                (entry.disk, entry.taking) = (disk, taking);
                (entry.mark_fails, entry.release_fails) = (mark, release);
                world.note_fault(|| format!("{one}: disk {disk:?}, kernel {taking:?}"));
                world.note_disk(one);
            }
            3 => {
                let nic = random.below(u64::from(world.plan.nics)) as usize;
                world.machines[one].deaf[nic] = random.percent(50);
                world.set_carrier(one, nic, random.percent(60));
            }
            4 => {
                let (loss, double, late) = (random.below(30), random.below(30), random.below(10));
                world.network.noise = Noise { loss, double, late };
                world.note_fault(|| format!("noise: {loss} lost, {double} double, {late} late"));
                world.disturb_all();
            }
            _ => {
                let mute = random.percent(40);
                world.machines[one].mute = mute;
                world.note_fault(|| format!("{one} is mute: {mute}"));
            }
        }
    }

    /// Heartbeats that somebody recorded earlier arrive again.
    fn replay(&mut self, to: usize) {
        let Self { world, random, .. } = self;
        let sent: Vec<_> = world.recorded(to).copied().collect();
        if sent.is_empty() {
            return;
        }
        world.note_fault(|| "somebody plays recorded heartbeats".to_owned());
        for _ in 0..=random.below(3) {
            let heartbeat = sent[random.below(sent.len() as u64) as usize];
            let after = Duration::from_micros(random.below(100_000));
            world.schedule(after, Happening::Deliver { to, heartbeat });
        }
    }

    /// People and other tools: an operator's word, a removed or added address, an orderly end.
    fn have_somebody_act(&mut self, one: usize, other: usize) {
        let lies = self.lies;
        let Self { world, random, .. } = self;
        match random.below(6) {
            0 | 1 => {
                let is_lie = world.machines[other].powered;
                if world.machines[one].is_awake() && (lies || !is_lie) {
                    world.excused |= is_lie;
                    world.confirm_off(one, other, random.percent(50));
                }
            }
            2 => {
                if world.is(one, PeerState::Active) && world.machines[one].kernel.remove(0) {
                    world.note_fault(|| format!("somebody deletes vip0 of {one}"));
                    world.give(one, Input::VipGone { vip: VipId(0) });
                }
            }
            3 if lies => {
                // An address that somebody adds by hand is somebody's lie to the networks.
                if world.is_passive(one) && world.machines[one].is_awake() {
                    world.excused = true;
                    world.machines[one].kernel.insert(0);
                    world.note_fault(|| format!("somebody adds vip0 on {one}"));
                    world.give(one, Input::VipStray { vip: VipId(0) });
                }
            }
            _ => {
                world.stop(one);
                world.run(ms(random.below(20)));
                restart(world, one);
            }
        }
    }

    /// The faults stop, and everything is repaired that a person would repair.
    fn mend(&mut self) {
        let world = &mut self.world;
        world.note_fault(|| "everything is mended".to_owned());
        world.network.mend();
        world.disturb_all();
        for device in &mut world.devices {
            device.mode = Mode::Works;
            device.delay = ms(2);
            device.has_power = true;
            device.refuses_when_off = false;
        }
        world.ledger.devices_changed_at = world.now;
        for machine in 0..world.machines.len() {
            let entry = &mut world.machines[machine];
            entry.disk = Disk::Works;
            entry.mark_fails = false;
            entry.release_fails = false;
            entry.mute = false;
            entry.deaf = Default::default();
            // A kernel that never answers is for the watchdog.
            let hangs = entry.daemon.as_ref().is_some_and(|daemon| daemon.acquiring.is_some());
            if hangs {
                world.crash(machine);
            }
            world.machines[machine].taking = Taking::Works;
            world.resume(machine);
            for nic in 0..usize::from(world.plan.nics) {
                world.set_carrier(machine, nic, true);
            }
            // One that boots starts its daemon by itself.
            if world.machines[machine].powered && !world.is_booting(machine) {
                restart(world, machine);
            }
            world.power_on(machine);
        }
    }
}

/// Runs the world of one seed from its beginning to its end; the world at its end.
pub fn run(seed: u64, kept: bool) -> World {
    let mut trial = Trial::new(seed, kept);
    while trial.go_on() {}
    trial.end();
    trial.world
}

fn plan(random: &mut Random) -> Plan {
    let levels: [&[u8]; 6] = [&[1, 1], &[2], &[1, 2], &[1], &[1], &[1]];
    let keepalive = ms(random.choose(&[20, 50, 100, 200]));
    let deadtime = keepalive * random.choose(&[3, 4, 6]);
    let mut fence_delays = [ms(0); MACHINES_MAX];
    for delay in &mut fence_delays {
        *delay = ms(random.choose(&[0, 150, 400]));
    }
    Plan {
        nodes: if random.percent(70) { 2 } else { 3 },
        links: 1 + random.below(2) as u8,
        nics: 1 + random.below(2) as u8,
        vips: 1 + random.below(3) as u16,
        levels: random.choose(&levels).to_vec(),
        timing: Timing {
            keepalive,
            warntime: keepalive * 2,
            deadtime,
            initdead: deadtime * 2,
            level_timeout: ms(random.choose(&[150, 300, 600])),
            grace: deadtime * (1 + random.below(8) as u32),
            fence_check_interval: ms(random.choose(&[500, 2000, 10_000])),
            boot: deadtime + ms(random.below(1000)),
        },
        fence_delays,
        preferred: random.choose(&[None, Some(1), Some(2)]),
        ..Plan::default()
    }
}

fn mode(random: &mut Random, lies: bool) -> Mode {
    match random.below(9) {
        0 => Mode::Dead,
        1 => Mode::StaysOn,
        2 => Mode::Hangs,
        3 => Mode::Unclear,
        4 => Mode::Refuses(FenceFault::Credentials),
        5 => Mode::Refuses(FenceFault::Privilege),
        6 if lies => Mode::ReadsOff,
        _ => Mode::Works,
    }
}

fn restart(world: &mut World, machine: usize) {
    let entry = &world.machines[machine];
    if entry.powered && entry.daemon.is_none() {
        world.note_fault(|| format!("the daemon of {machine} is started"));
        world.start_daemon(machine);
    }
}
