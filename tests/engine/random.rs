//! Random worlds by seed: faults of every kind, safety after each step, and one holder (or a
//! frozen state with a true cause) once the faults have stopped and everything is well again.
//!
//! `TANDEM_SEED=17` replays one seed, `TANDEM_SEEDS=100000` tries more of them.

use std::time::Duration;

use tandem::engine::Input;
use tandem::types::{FenceFault, PeerState, VipId};

use crate::machine::{Disk, Mode, Taking};
use crate::shell::Random;
use crate::transitions::check_told;
use crate::world::{Noise, Plan, World, ms};

const SEEDS: u64 = 3000;
/// The test ends in time on a slow machine, with fewer seeds.
const TIME_MAX: Duration = Duration::from_secs(12);
/// Until one holds again after everything is well: a frozen ladder's longest rest, a failed
/// takeover's longest rest, and a boot.
const HEALING_MAX: Duration = ms(70_000);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_worlds_are_safe_and_heal() {
    if let Some(seed) = variable("TANDEM_SEED") {
        run_seed(seed, true, 0);
        return;
    }
    let seeds = variable("TANDEM_SEEDS").unwrap_or(SEEDS);
    #[allow(clippy::disallowed_methods, reason = "bounds the test, and decides nothing in it")]
    let began = std::time::Instant::now();
    let mut done = 0;
    for seed in 0..seeds {
        if began.elapsed() > TIME_MAX && variable("TANDEM_SEEDS").is_none() {
            break;
        }
        let outcome = std::panic::catch_unwind(|| run_seed(seed, false, 0));
        if let Err(panic) = outcome {
            eprintln!("replay: TANDEM_SEED={seed} cargo test --test engine random -- --nocapture");
            std::panic::resume_unwind(panic);
        }
        done += 1;
    }
    eprintln!("{done} random worlds in {:?}", began.elapsed());
    assert!(done > 100, "only {done} seeds in time");
}

fn plan(random: &mut Random) -> Plan {
    let levels = match random.below(6) {
        0 => vec![1, 1],
        1 => vec![2],
        2 => vec![1, 2],
        _ => vec![1],
    };
    Plan {
        nodes: if random.percent(70) { 2 } else { 3 },
        links: 1 + random.below(2) as u8,
        nics: 1 + random.below(2) as u8,
        vips: 1 + random.below(3) as u16,
        levels,
        grace: ms(100 + random.below(800)),
        preferred: [None, Some(1), Some(2)][random.below(3) as usize],
        ..Plan::default()
    }
}

/// Runs one seed to its end; `rewrite_every` as the world has it.
pub fn run_seed(seed: u64, tell: bool, rewrite_every: u64) -> World {
    let mut random = Random::new(seed);
    let mut world = World::new(plan(&mut random));
    world.random = Random::new(seed ^ 0x5eed);
    world.story_of_faults = tell;
    world.rewrite_every = rewrite_every;
    for machine in 0..world.machines.len() {
        world.run(ms(random.below(100)));
        if random.percent(90) {
            world.start_daemon(machine);
        }
    }
    for _ in 0..random.below(25) + 5 {
        world.run(if random.percent(60) { ms(random.below(60)) } else { ms(random.below(900)) });
        cause_fault(&mut world, &mut random);
    }
    world.run(ms(random.below(1000)));
    check_told(&world);
    heal(&mut world);
    let one_holds = |w: &World| {
        let actives = (0..w.machines.len()).filter(|m| w.is(*m, PeerState::Active)).count();
        actives == 1 && w.holders().len() == 1
    };
    // Orders that fence devices were carrying out when the faults stopped may yet cut anybody's
    // power: whoever is off then is switched on again.
    world.run(ms(600));
    heal(&mut world);
    let took = world.run_until(HEALING_MAX, one_holds);
    assert!(took.is_some(), "seed {seed}: nobody holds:\n{}", world.story());
    world.run(ms(800));
    assert_eq!(world.holders().len(), 1, "seed {seed}:\n{}", world.story());
    let others = (0..world.machines.len()).filter(|m| world.machines[*m].daemon.is_some());
    let states: Vec<_> = others.map(|m| world.state(m)).collect();
    let settled = |s: &Option<PeerState>| matches!(s, Some(PeerState::Active | PeerState::Standby));
    assert!(states.iter().all(settled), "seed {seed}: {states:?}\n{}", world.story());
    check_told(&world);
    if tell {
        eprintln!("{}", world.story());
    }
    world
}

fn mode(random: &mut Random) -> Mode {
    match random.below(8) {
        0 => Mode::Dead,
        1 => Mode::StaysOn,
        2 => Mode::Hangs,
        3 => Mode::Unclear,
        4 => Mode::Refuses(FenceFault::Credentials),
        5 => Mode::Refuses(FenceFault::Privilege),
        _ => Mode::Works,
    }
}

fn cause_fault(world: &mut World, random: &mut Random) {
    let count = world.machines.len() as u64;
    let one = random.below(count) as usize;
    let other = (one + 1 + random.below(count - 1) as usize) % count as usize;
    let kind = random.below(28);
    world.note_fault(format!("{kind} at {} and {}", one + 1, other + 1));
    match kind {
        0..=2 => {
            let link = random.below(u64::from(world.plan.links)) as u8;
            let cut = random.percent(60);
            world.set_cut(link, one, other, cut);
        }
        3 | 4 => world.cut_all(one, other, random.percent(50)),
        5 => {
            for link in 0..world.plan.links {
                world.set_cut(link, one, other, true);
            }
        }
        6 => {
            let pair = (one.min(other), one.max(other));
            if random.percent(50) {
                world.parted.insert(pair);
            } else {
                world.parted.clear();
            }
        }
        7 => world.power_off(one),
        8 => world.lose_feed(one),
        9 | 10 => world.power_on(one),
        11 | 12 => world.crash(one),
        13 | 14 => restart(world, one),
        15 => world.pause(one),
        16 => world.resume(one),
        17 => {
            // A short stall, as a busy machine has them.
            world.pause(one);
            world.run(ms(random.below(100)));
            world.resume(one);
        }
        18..24 => cause_small_fault(world, random, kind, one),
        _ => have_somebody_act(world, random, kind, one, other),
    }
}

/// People and other tools: a true word of an operator, a removed address, an orderly end.
fn have_somebody_act(world: &mut World, random: &mut Random, kind: u64, one: usize, other: usize) {
    match kind {
        24 | 25 => {
            let asked = world.machines[one].daemon.as_ref().is_some_and(|d| !d.paused);
            if asked && !world.machines[other].powered {
                world.confirm_off(one, other, random.percent(50));
            }
        }
        26 => {
            if world.is(one, PeerState::Active) && world.machines[one].kernel.remove(&0) {
                world.give(one, Input::VipGone { vip: VipId(0) });
            }
        }
        _ => {
            world.stop(one);
            world.run(ms(random.below(20)));
            restart(world, one);
        }
    }
}

fn restart(world: &mut World, machine: usize) {
    let entry = &world.machines[machine];
    if entry.powered && entry.daemon.is_none() {
        world.start_daemon(machine);
    }
}

fn cause_small_fault(world: &mut World, random: &mut Random, kind: u64, one: usize) {
    match kind {
        18 | 19 if !world.devices.is_empty() => {
            let device = random.below(world.devices.len() as u64) as usize;
            let delay = [2, 30, 150, 260][random.below(4) as usize];
            let entry = &mut world.devices[device];
            entry.mode = mode(random);
            entry.delay = ms(delay);
            entry.shares_power = random.percent(50);
            entry.refuses_when_off = random.percent(30);
        }
        20 => {
            let machine = &mut world.machines[one];
            machine.disk = [Disk::Works, Disk::Fails][random.below(2) as usize];
            machine.mark_fails = random.percent(20);
            machine.release_fails = random.percent(20);
            machine.taking =
                [Taking::Works, Taking::FailsHalfWay, Taking::Hangs][random.below(3) as usize];
        }
        21 => {
            let nic = random.below(u64::from(world.plan.nics)) as usize;
            world.machines[one].deaf[nic] = random.percent(50);
            world.set_carrier(one, nic, random.percent(60));
        }
        22 => {
            world.noise =
                Noise { loss: random.below(30), double: random.below(30), late: random.below(10) };
        }
        _ => {
            if random.percent(30) {
                world.stop(one);
            }
        }
    }
}

/// The faults stop, and everything is repaired that a person would repair.
fn heal(world: &mut World) {
    world.note_fault("healed".to_owned());
    world.noise = Noise::default();
    world.cuts.clear();
    world.parted.clear();
    for device in &mut world.devices {
        device.mode = Mode::Works;
        device.delay = ms(2);
        device.has_power = true;
    }
    for machine in 0..world.machines.len() {
        let entry = &mut world.machines[machine];
        entry.disk = Disk::Works;
        entry.mark_fails = false;
        entry.release_fails = false;
        // A kernel that never answers is for the watchdog.
        if entry.daemon.as_ref().is_some_and(|daemon| daemon.acquiring.is_some()) {
            world.crash(machine);
        }
        world.machines[machine].taking = Taking::Works;
        world.resume(machine);
        for nic in 0..usize::from(world.plan.nics) {
            world.machines[machine].deaf[nic] = false;
            world.set_carrier(machine, nic, true);
        }
        // One that boots starts its daemon by itself.
        if world.machines[machine].powered && !world.is_booting(machine) {
            restart(world, machine);
        }
        world.power_on(machine);
    }
}
