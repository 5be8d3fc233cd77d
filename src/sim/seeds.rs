//! Random worlds by seed: faults of every kind, one after the other, then everything is mended.
//!
//! Safety is checked after every step ([`super::check`]); once the faults have stopped and all that
//! a person would repair is repaired, exactly one must hold within a bound.

use core::time::Duration;

use super::device::Mode;
use super::machine::{Disk, Taking};
use super::network::Noise;
use super::plan::{MACHINES_MAX, OUTSIDER, Plan, Timing, ms};
use super::queue::Happening;
use super::{Random, World};
use crate::engine::settings::AfterFence;
use crate::engine::{Answer, Input};
use crate::types::heartbeat::NICS_MAX;
use crate::types::{FenceFault, PeerState, VipId};

/// About how many inputs the engines of one world are given before everything is mended.
pub const STEPS: u64 = 900;
/// One world of a seed, under way.
#[derive(Debug)]
pub struct Trial {
    /// The world.
    pub world: World,
    pub(super) random: Random,
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
        // What two say to each other crosses only where it is long under way.
        let keepalive = world.plan.timing.keepalive;
        let delays = [world.link_delay, world.link_delay, ms(2), keepalive / 2, keepalive];
        world.link_delay = random.choose(&delays);
        world.story.kept = kept;
        world.story.listens = true;
        let lies = random.percent(8);
        for machine in &mut world.machines {
            machine.keeps_mark = random.percent(30);
        }
        let mut of_witnesses = Random::new(random.clone().draw());
        for device in world.devices.iter_mut().filter(|device| device.is_witness) {
            if of_witnesses.percent(15) {
                device.mode = Mode::Absent;
            }
        }
        if world.plan.identities && of_witnesses.percent(25) {
            // A wrong address: another node's device, or some other machine's.
            let device = of_witnesses.below(world.devices.len() as u64) as usize;
            let machines = world.machines.len() as u64;
            let wired = of_witnesses.below(machines + 1) as usize;
            let wired = if wired == machines as usize { OUTSIDER } else { wired };
            world.devices[device].wired = wired;
            world.devices[device].was_stray = true;
            world.note_fault(|| format!("device{device} is wired to {wired}"));
        }
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
        world.check_views();
        self.cause_fault();
        if self.world.plan.timing.dead_host.is_some() && self.random.percent(10) {
            let one = self.random.below(self.world.machines.len() as u64) as usize;
            let link = self.random.below(u64::from(self.world.plan.links)) as u8;
            let ends = self.random.percent(40);
            if self.random.percent(30) {
                self.world.set_unanswering(one, !ends);
            } else {
                self.world.set_unplugged(one, link, !ends);
            }
        }
        self.world.steps < STEPS
    }

    fn cause_fault(&mut self) {
        let Self { world, random, .. } = self;
        let count = world.machines.len() as u64;
        let one = random.below(count) as usize;
        let other = (one + 1 + random.below(count - 1) as usize) % count as usize;
        match random.below(36) {
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
            18 => self.stand_still(one),
            19 => {
                // Killed, and started again at once by its supervisor.
                world.crash(one);
                world.run(ms(random.below(5)));
                restart(world, one);
            }
            20..=26 => self.cause_small_fault(one),
            27 => self.replay(one),
            28 => self.replug(one),
            29 => self.black_out(),
            _ => self.have_somebody_act(one, other),
        }
    }

    fn cause_small_fault(&mut self, one: usize) {
        let Self { world, random, .. } = self;
        match random.below(7) {
            0 | 1 if !world.devices.is_empty() => {
                let device = random.below(world.devices.len() as u64) as usize;
                let mut mode = mode(random, self.lies);
                let is_witness = world.devices[device].is_witness;
                if world.devices[device].mode == Mode::Absent {
                    return;
                }
                if is_witness && mode == Mode::Refuses(FenceFault::AgentFailed) {
                    // It would be a liar: no command of its own fails before it is read.
                    mode = Mode::Dead;
                }
                let fences = (0..world.machines.len())
                    .any(|m| world.is(m, PeerState::Fencing) || world.is(m, PeerState::Frozen));
                if fences && mode == Mode::Refuses(FenceFault::AgentFailed) {
                    // Where the command has worked, its reading does too.
                    mode = Mode::Works;
                }
                let timeout = world.plan.timing.level_timeout;
                let delay = [ms(2), ms(30), timeout * 3 / 4, timeout * 5 / 4];
                let agents = world.plan.agents;
                let entry = &mut world.devices[device];
                entry.mode = mode;
                entry.since = world.now;
                entry.delay = random.choose(&delay);
                if mode == Mode::Refuses(FenceFault::AgentFailed) {
                    // An agent that cannot even begin fails at once.
                    entry.delay = ms(2);
                    world.ledger.contradicts = true;
                }
                entry.shares_power = random.percent(50);
                // An agent knows that what is off need not be switched off.
                entry.refuses_when_off = random.percent(30) && !agents;
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
                world.note_deletion(one);
                world.note_fault(|| format!("{one}: disk {disk:?}, kernel {taking:?}"));
                world.note_disk(one);
            }
            3 => {
                let nic = random.below(u64::from(world.plan.nics)) as usize;
                world.set_deaf(one, nic, random.percent(50));
                world.set_carrier(one, nic, random.percent(60));
            }
            4 => {
                let (loss, double, late) = (random.below(30), random.below(30), random.below(10));
                world.network.noise = Noise { loss, double, late };
                world.note_paths();
                world.ledger.contradicts |= late > 0;
                world.note_fault(|| format!("noise: {loss} lost, {double} double, {late} late"));
                world.disturb_all();
            }
            5 => {
                let nic = random.below(u64::from(world.plan.nics)) as usize;
                world.set_dead_targets(nic, random.percent(50));
            }
            _ => {
                let mute = random.percent(40);
                world.machines[one].mute = mute;
                world.note_paths();
                world.note_fault(|| format!("{one} is mute: {mute}"));
            }
        }
    }

    /// Heartbeats that somebody recorded earlier arrive again, or, if they were held back then, for
    /// the first time.
    fn replay(&mut self, to: usize) {
        let Self { world, random, .. } = self;
        let withheld = random.percent(30);
        let sent: Vec<_> = world
            .recorded(to)
            .filter(|(_, arrived)| *arrived || withheld)
            .map(|(heartbeat, _)| *heartbeat)
            .collect();
        if sent.is_empty() {
            return;
        }
        world.note_fault(|| "somebody plays recorded heartbeats".to_owned());
        if withheld {
            world.disturb(to);
            world.ledger.contradicts = true;
        }
        for _ in 0..=random.below(3) {
            let heartbeat = sent[random.below(sent.len() as u64) as usize];
            let after = Duration::from_micros(random.below(100_000));
            world.schedule(after, Happening::Deliver { to, heartbeat });
        }
    }

    /// Everything loses its power, and starts again at about the same time.
    fn black_out(&mut self) {
        let Self { world, random, .. } = self;
        for machine in 0..world.machines.len() {
            world.lose_feed(machine);
        }
        for machine in 0..world.machines.len() {
            world.run(world.plan.timing.keepalive * random.below(150) as u32 / 100);
            world.power_on(machine);
        }
        world.run(world.plan.timing.boot);
    }

    /// A daemon that has to wait for its machine, or a machine that stands still and hears nothing.
    fn stand_still(&mut self, one: usize) {
        let Self { world, random, .. } = self;
        world.pause(one);
        world.run(world.plan.timing.deadtime * random.below(400) as u32 / 100);
        if random.percent(50) {
            world.lose_inbox(one);
        }
        world.resume(one);
    }

    /// A service NIC is plugged into a switch whose port passes nothing for a while.
    fn replug(&mut self, one: usize) {
        let Self { world, random, .. } = self;
        let initdead = world.plan.timing.initdead;
        for nic in 0..usize::from(world.plan.nics) {
            world.set_carrier(one, nic, false);
        }
        world.run(initdead * random.below(50) as u32 / 100);
        if !world.machines[one].is_awake() {
            return;
        }
        let deaf = world.machines[one].deaf;
        world.machines[one].deaf = [true; NICS_MAX];
        world.ledger.learning = Some(one);
        for nic in 0..usize::from(world.plan.nics) {
            world.set_carrier(one, nic, true);
        }
        world.run(initdead * random.below(100) as u32 / 100);
        world.ledger.learning = None;
        world.machines[one].deaf = deaf;
        world.sense_later();
    }

    /// People and other tools: an operator's word, a removed or added address, an orderly end.
    fn have_somebody_act(&mut self, one: usize, other: usize) {
        let lies = self.lies;
        let Self { world, random, .. } = self;
        match random.below(6) {
            0 | 1 => {
                let is_lie = world.machines[other].powered;
                if world.machines[one].is_awake() && (lies || !is_lie) {
                    let excused = world.excused;
                    world.excused |= is_lie;
                    let answer = world.confirm_off(one, other, random.percent(50));
                    if answer != Answer::Accepted {
                        world.excused = excused;
                    }
                }
            }
            2 => {
                if world.is(one, PeerState::Active) && world.machines[one].kernel.remove(0) {
                    world.note_deletion(one);
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
    let mut config_digests = [7; MACHINES_MAX];
    config_digests[1] += u64::from(random.percent(5));
    let mut fence_delays = [ms(0); MACHINES_MAX];
    for delay in &mut fence_delays {
        *delay = ms(random.choose(&[0, 150, 400]));
    }
    // Of their own, so that the other worlds stay as they were before there were these.
    let mut of_links = Random::new(random.clone().draw());
    let mut of_witnesses = Random::new(of_links.clone().draw());
    let mut of_kernels = Random::new(random.clone().draw().rotate_left(7));
    let mut of_agents = Random::new(of_kernels.clone().draw());
    let dead_host = keepalive * of_kernels.choose(&[5, 6, 7]) / 2;
    let dead_host = of_kernels.percent(50).then_some(dead_host).filter(|time| *time < deadtime);
    let plan = Plan {
        witnesses: of_witnesses.choose(&[0, 0, 0, 1, 1, 2]),
        witnesses_beside: of_witnesses.percent(30),
        identities: of_witnesses.percent(50),
        quicker: of_links.choose(&[1, 1, 2, 4]),
        in_turns: of_links.percent(50),
        nodes: if random.percent(60) { 2 } else { 3 },
        links: 1 + random.below(2) as u8,
        nics: 1 + random.below(2) as u8,
        vips: 1 + random.below(3) as u16,
        probes: random.percent(50),
        pings: random.percent(40),
        levels: random.choose(&levels).to_vec(),
        agents: of_agents.percent(70),
        timing: Timing {
            keepalive,
            warntime: keepalive * 2,
            deadtime,
            initdead: deadtime * 2,
            dead_host,
            level_timeout: ms(random.choose(&[150, 300, 600])),
            pace: ms(of_links.choose(&[100, 300, 500, 2000])),
            grace: deadtime * (1 + random.below(8) as u32),
            path_hold: keepalive * (1 + random.below(5) as u32),
            path_rest: deadtime * (2 + random.below(20) as u32),
            sense: keepalive * (1 + random.below(4) as u32),
            fence_check_interval: ms(random.choose(&[500, 2000, 10_000])),
            boot: deadtime + ms(random.below(1000)),
        },
        fence_delays,
        config_digests,
        repeats: of_links.choose(&[None, None, Some(ms(20)), Some(ms(100))]),
        after_fence: of_links.choose(&[AfterFence::StaysOff, AfterFence::PowersOn]),
        preferred: random.choose(&[None, Some(1), Some(2)]),
        preferred_elsewhere: of_kernels.choose(&[None, Some(1), Some(2)]),
        ..Plan::default()
    };
    // No agent tells whose power it is that it cuts.
    Plan { agents: plan.agents && !plan.identities, ..plan }
}

fn mode(random: &mut Random, lies: bool) -> Mode {
    match random.below(12) {
        0 => Mode::Dead,
        1 => Mode::StaysOn,
        2 => Mode::Hangs,
        3 => Mode::Unclear,
        4 => Mode::Refuses(FenceFault::Credentials),
        5 => Mode::Refuses(FenceFault::Privilege),
        6 => Mode::Refuses(FenceFault::AgentFailed),
        7 => Mode::Mute,
        8 => Mode::Returns,
        9 | 10 if lies => Mode::ReadsOff,
        _ => Mode::Works,
    }
}

pub(super) fn restart(world: &mut World, machine: usize) {
    let entry = &world.machines[machine];
    if entry.powered && entry.daemon.is_none() {
        world.note_fault(|| format!("the daemon of {machine} is started"));
        world.start_daemon(machine);
    }
}
