//! `dead-host-time`: who is silent altogether is lost early, and nobody else is.

use std::time::Duration;

use tandem::engine::pulse::{ANSWER_AGE_MAX, INTERVAL};
use tandem::sim::{Noise, Plan, Timing, World, ms};
use tandem::types::PeerState;

use crate::DEADTIME;

const DEAD_HOST: Duration = ms(45);
/// A heartbeat under way, the interval, and what a tick may be late.
const SLACK: Duration = ms(11);
const DEAD: &str = "host a dead: its kernel no longer answers";
const LIVES: &str = "host a lives: its kernel answers";

fn plan() -> Plan {
    let timing = Timing { dead_host: Some(DEAD_HOST), ..Timing::QUICK };
    Plan { timing, ..Plan::default() }
}

fn lost(world: &World) -> bool {
    !world.is(1, PeerState::Standby)
}

/// How long after something B held A for lost.
fn lost_after(world: &mut World) -> Duration {
    world.run_until(ms(1000), lost).expect("it is lost")
}

/// In: the active loses its power. Out: lost after dead-host-time, with its own cause.
#[test]
fn a_host_that_is_silent_altogether_is_lost_after_dead_host_time() {
    let mut world = World::settled(plan());
    world.power_off(0);
    let after = lost_after(&mut world);
    assert!(after <= DEAD_HOST && after + SLACK >= DEAD_HOST, "{after:?}");
    world.expect_told(1, DEAD);
    world.expect_told(1, "peer a lost: silent for 45");
    assert!(world.run_until(ms(10), |w| w.is(1, PeerState::Active)).is_some());
}

#[test]
fn without_dead_host_time_nobody_is_asked() {
    let mut world = World::pair();
    world.power_off(0);
    let after = lost_after(&mut world);
    assert!(after <= DEADTIME && after + SLACK >= DEADTIME, "{after:?}");
    world.expect_untold(1, "host a");
}

/// In: the daemon is killed, or hangs; its kernel goes on. Out: the whole deadtime.
#[test]
fn a_daemon_whose_kernel_answers_has_its_whole_deadtime() {
    for hangs in [false, true] {
        let mut world = World::settled(plan());
        if hangs {
            world.pause(0)
        } else {
            world.crash(0)
        }
        let after = lost_after(&mut world);
        assert!(after + SLACK >= DEADTIME, "{after:?}");
        world.expect_told(1, LIVES);
        world.expect_untold(1, DEAD);
    }
}

/// In: its kernel answers a question of this silence, then the host dies. Out: the whole deadtime:
/// that answer came after the last heartbeat.
#[test]
fn one_answer_in_this_silence_is_enough() {
    let mut world = World::settled(plan());
    world.pause(0);
    assert!(world.run_until(ms(60), |w| w.told(1, LIVES)).is_some());
    world.power_off(0);
    lost_after(&mut world);
    world.expect_untold(1, DEAD);
}

/// In: the kernel never answered on any link (a firewall, say). Out: its silence says nothing.
#[test]
fn the_silence_of_a_kernel_that_never_answered_says_nothing() {
    let mut world = World::new(plan());
    world.set_unanswering(0, true);
    for machine in 0..2 {
        world.start_daemon(machine);
    }
    world.run(INTERVAL * 5);
    world.expect_told(1, "kernel of a answers on no link");
    world.expect_untold(0, "kernel of b");
    world.power_off(0);
    let after = lost_after(&mut world);
    assert!(after + SLACK >= DEADTIME, "{after:?}");
    world.expect_untold(1, DEAD);
}

/// In: the kernel answered once, and ceased to while its daemon was still heard. Out: nothing can
/// be made of its silence.
#[test]
fn an_answer_that_is_old_says_nothing() {
    let mut world = World::settled(plan());
    world.set_unanswering(0, true);
    world.run(ANSWER_AGE_MAX + INTERVAL);
    world.power_off(0);
    let after = lost_after(&mut world);
    assert!(after + SLACK >= DEADTIME, "{after:?}");
    world.expect_untold(1, DEAD);
}

/// In: questions do not leave the asking node. Out: silence says nothing.
#[test]
fn whom_nobody_asks_nobody_calls_dead() {
    for unplugged in [false, true] {
        let mut world = World::settled(plan());
        world.power_off(0);
        world.machines[1].mute = !unplugged;
        if unplugged {
            world.set_unplugged(1, 0, true);
            world.set_unplugged(1, 1, true);
        }
        let after = world.run_until(DEADTIME * 2, |w| w.told(1, "peer a lost")).unwrap();
        assert!(after + SLACK >= DEADTIME, "{after:?}");
        world.expect_untold(1, DEAD);
    }
}

/// In: one NIC of the asking node has no carrier, the other one asks. Out: the other one suffices.
#[test]
fn a_nic_without_carrier_neither_calls_dead_nor_keeps_from_it() {
    let mut world = World::settled(plan());
    world.set_unplugged(1, 0, true);
    world.run(ms(100));
    world.power_off(0);
    let after = lost_after(&mut world);
    assert!(after <= DEAD_HOST, "{after:?}");
    world.expect_told(1, DEAD);
}

/// In: the standby itself stands still while the active dies, for less than a deadtime. Out: what
/// it did not hear meanwhile is nobody's silence: it asks anew, in rounds of its own.
#[test]
fn own_lateness_is_no_silence_of_a_kernel() {
    let mut world = World::settled(plan());
    world.pause(1);
    world.run(ms(50));
    world.resume(1);
    world.run(ms(300));
    world.expect_untold(1, DEAD);
    world.expect_untold(1, "lost");
    world.power_off(0);
    world.pause(1);
    world.run(ms(40));
    world.resume(1);
    let after = lost_after(&mut world);
    assert!(after >= ms(20), "three rounds take their time: {after:?}");
}

/// In: a slow link beside a quick one, as a serial line is. Out: it is late by its own rhythm, and
/// before that nobody is called dead.
#[test]
fn a_slow_link_is_waited_for_until_it_is_late() {
    let timing = Timing {
        keepalive: ms(40),
        warntime: ms(120),
        deadtime: ms(240),
        dead_host: Some(ms(60)),
        ..Timing::QUICK
    };
    let mut world = World::new(Plan { quicker: 4, in_turns: true, timing, ..Plan::default() });
    for machine in 0..2 {
        world.start_daemon(machine);
    }
    world.run(ms(800));
    world.power_off(0);
    let after = lost_after(&mut world);
    assert!(after > ms(80) && after <= ms(150), "{after:?}");
    world.expect_told(1, DEAD);
}

/// In: a fifth of everything is lost. Out: nobody alive is called dead in half a minute.
#[test]
fn loss_alone_calls_nobody_dead() {
    let mut world = World::settled(plan());
    world.network.noise = Noise { loss: 20, ..Noise::default() };
    world.run(ms(30_000));
    world.expect_untold(1, DEAD);
    world.expect_untold(0, "host b dead");
    assert_eq!(world.cuts_of(0) + world.cuts_of(1), 0);
}

/// In: two standbys ask the kernels of three. Out: the dead one is found by each.
#[test]
fn of_three_the_dead_one_is_found() {
    let mut world = World::settled(Plan { nodes: 3, ..plan() });
    world.run(INTERVAL * 2);
    world.power_off(0);
    let after = world.run_until(ms(60), |w| w.told(1, DEAD) && w.told(2, DEAD));
    assert!(after.is_some_and(|after| after <= DEAD_HOST + SLACK), "{after:?}");
    world.expect_untold(2, "host b dead");
}

/// In: all links are cut, so that the active is left serving; its network is silent for a moment.
/// Out: that moment must be as long as without dead-host-time to be taken for its end.
#[test]
fn one_that_is_left_serving_is_not_looked_at_in_a_hurry() {
    let timing = Timing { grace: ms(5000), ..plan().timing };
    let mut world = World::settled(Plan { timing, ..plan() });
    world.cut_all(0, 1, true);
    assert!(world.run_until(ms(200), |w| w.is(1, PeerState::Isolated)).is_some());
    world.run(ms(200));
    world.set_parted(0, 1, true);
    world.run(ms(25));
    world.set_parted(0, 1, false);
    world.run(ms(200));
    assert!(world.is(1, PeerState::Isolated), "{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
    world.power_off(0);
    assert!(world.run_until(ms(100), |w| w.is(1, PeerState::Active)).is_some());
}
