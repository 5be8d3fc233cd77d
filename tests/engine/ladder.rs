//! Fencing: levels, devices, verdicts, and who fences whom first.

use std::time::Duration;

use tandem::types::{FenceFault, PeerState};

use crate::rows::detection;
use tandem::sim::plan::MACHINES_MAX;
use tandem::sim::{Mode, Plan, World, ms};

use crate::LEVEL_TIMEOUT;

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

fn with_levels(levels: Vec<u8>) -> World {
    World::settled(Plan { levels, ..Plan::default() })
}

#[test]
fn the_second_level_follows_when_the_first_fails() {
    for mode in [Mode::Dead, Mode::StaysOn, Mode::Hangs, Mode::Unclear] {
        let mut world = with_levels(vec![1, 1]);
        world.devices[0].mode = mode;
        world.crash(0);
        world.machines[0].kernel.clear();
        let took = world.run_until(ms(2000), is_active(1));
        let bound = detection() + LEVEL_TIMEOUT + ms(10);
        assert!(took.is_some_and(|t| t <= bound), "{took:?}:\n{}", world.story());
        world.expect_told(1, "fence: level 1 of a failed at device0");
        world.expect_told(1, "fence: cutting the power of a, level 2");
        assert!(!world.machines[0].powered);
    }
}

#[test]
fn all_devices_of_a_level_must_read_off() {
    let mut world = with_levels(vec![2]);
    world.devices[1].mode = Mode::Dead;
    world.crash(0);
    world.run(ms(4000));
    assert!(!world.devices[0].outlet_on, "one outlet is off");
    assert!(world.machines[0].powered, "the other still feeds the host");
    assert_eq!(world.holders(), [0], "{}", world.story());
    world.devices[1].mode = Mode::Works;
    assert!(world.run_until(ms(6000), is_active(1)).is_some(), "{}", world.story());
    assert!(!world.machines[0].powered);
}

#[test]
fn two_outlets_that_work_are_one_fence() {
    let mut world = with_levels(vec![2, 1]);
    world.power_off(0);
    let took = world.run_until(ms(500), is_active(1));
    assert!(took.is_some_and(|t| t <= detection() + ms(8)), "{took:?}");
    assert_eq!(world.told_times(1, "fence: cutting"), 1);
}

/// It acknowledges at once, and takes a while to do it.
#[test]
fn a_slow_device_is_read_until_it_reads_off() {
    let mut world = World::pair();
    world.devices[0].delay = ms(80);
    world.power_off(0);
    let took = world.run_until(ms(500), is_active(1));
    assert!(took.is_some_and(|t| t <= detection() + ms(165)), "{took:?}");
}

/// An agent that is broken ends with the same status whatever it is told, and 2 means off.
#[test]
fn an_agent_whose_command_failed_is_not_asked_for_a_reading() {
    let mut world = World::pair();
    world.set_modes(0, Mode::Refuses(FenceFault::AgentFailed));
    world.crash(0);
    world.machines[0].kernel.clear();
    world.run(ms(20_000));
    assert!(world.machines[0].powered);
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
    world.set_modes(0, Mode::Works);
    assert!(world.run_until(ms(6000), is_active(1)).is_some(), "{}", world.story());
}

/// A command that is given up may still be carried out: the next round finds the power off, and has
/// that proven as ever, by a command and a reading after it.
#[test]
fn a_device_slower_than_its_level_freezes_and_is_found_done_later() {
    let mut world = World::pair();
    world.devices[0].delay = ms(300);
    world.crash(0);
    world.machines[0].kernel.clear();
    world.run(ms(800));
    assert!(!world.machines[0].powered, "carried out late");
    world.devices[0].delay = ms(2);
    assert!(world.run_until(ms(6000), is_active(1)).is_some(), "{}", world.story());
    assert_eq!(world.cuts_of(0), 2, "what a look reads is no proof");
}

/// Frozen within the timeout of the level, whatever the device does: no order may be answered later
/// than that, and the engine's own patience with the shell is not added to it.
#[test]
fn a_level_is_over_when_its_timeout_is() {
    for (mode, delay) in
        [(Mode::Hangs, 2), (Mode::StaysOn, 2), (Mode::Works, 150), (Mode::Works, 201)]
    {
        let mut world = World::pair();
        world.devices[0].mode = mode;
        world.devices[0].delay = ms(delay);
        world.crash(0);
        world.machines[0].kernel.clear();
        let began = world.run_until(ms(100), |w| w.is(1, PeerState::Fencing));
        assert!(began.is_some());
        let took = world.run_until(ms(300), |w| w.is(1, PeerState::Frozen));
        let at_the_end = LEVEL_TIMEOUT..=LEVEL_TIMEOUT + Duration::from_micros(1);
        assert!(took.is_some_and(|t| at_the_end.contains(&t)), "{took:?}:\n{}", world.story());
        world.expect_untold(1, "it that host's?");
    }
}

/// Both outlets were told in an earlier round and are only looked at. Somebody switches the first
/// on again behind its reading, before the second reads off: there was no moment without power.
#[test]
fn an_outlet_that_is_on_again_before_the_other_reads_off_is_no_proof() {
    let mut world = with_levels(vec![2]);
    for device in 0..2 {
        world.devices[device].mode = Mode::Unclear;
    }
    world.power_off(0);
    assert!(world.run_until(ms(400), |w| w.is(1, PeerState::Frozen)).is_some());
    for device in 0..2 {
        world.devices[device].mode = Mode::Works;
    }
    world.devices[1].delay = ms(20);
    let orders = world.devices[0].orders;
    assert!(world.run_until(ms(600), |w| w.devices[0].orders > orders).is_some());
    world.run(ms(5));
    world.devices[0].outlet_on = true;
    world.run(ms(60));
    world.expect_untold(1, "proof: ");
}

/// Both outlets read off, and then there is no time left to see that they still do.
#[test]
fn a_level_that_cannot_be_confirmed_in_time_is_no_contradiction() {
    let mut world = with_levels(vec![2]);
    for device in 0..2 {
        world.devices[device].delay = ms(90);
    }
    world.power_off(0);
    world.run(ms(400));
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
    world.expect_told(1, "gave no verdict in time");
    world.expect_untold(1, "it that host's?");
}

/// Nobody holds anything, nobody hears anybody: the delay settles who shoots first.
#[test]
fn at_a_cold_start_of_a_cut_pair_one_is_fenced_and_one_serves() {
    let mut world = World::new(Plan::default());
    world.machines[0].autostart = false;
    world.machines[1].autostart = false;
    world.cut_all(0, 1, true);
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(1000));
    assert!(world.is(0, PeerState::Active), "{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
    assert_eq!(world.cuts_of(1), 1);
}

/// Both come back with their BMCs: a fence that has begun is called off when the peer is heard.
#[test]
fn a_fence_that_waits_is_called_off_when_the_peer_is_heard() {
    let mut world = World::new(Plan { fence_delays: [ms(100); MACHINES_MAX], ..Plan::default() });
    world.cut_all(0, 1, true);
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(380));
    assert!(world.is(0, PeerState::Fencing) && world.is(1, PeerState::Fencing));
    world.cut_all(0, 1, false);
    world.run(ms(300));
    assert_eq!(world.holders(), [0], "{}", world.story());
    assert_eq!(world.cuts_of(0) + world.cuts_of(1), 0);
}

/// A peer that was never heard and answers after a failed fence is left alone, at no cost.
#[test]
fn a_fence_that_failed_on_an_unheard_peer_that_answers_later_ends_in_peace() {
    let mut world = World::new(Plan::default());
    world.set_modes(0, Mode::Hangs);
    world.cut_all(0, 1, true);
    world.start_daemon(1);
    world.run(ms(600));
    assert!(world.is(1, PeerState::Fencing));
    // In the middle of it the addresses begin to answer.
    world.machines[0].kernel.insert(0);
    world.run(ms(5000));
    world.expect_told(1, "fencing -> isolated");
    assert!(world.is(1, PeerState::Isolated), "{}", world.story());
}

/// Three nodes: the one that is heard again is no longer fenced while another one still is.
#[test]
fn with_three_nodes_a_ladder_ends_with_its_reason() {
    let plan = Plan { nodes: 3, ..Plan::default() };
    for heal_at in (0..400).step_by(20) {
        let mut world = World::new(plan.clone());
        for host in 0..3 {
            world.set_modes(host, Mode::Hangs);
        }
        world.cut_all(0, 1, true);
        world.cut_all(0, 2, true);
        world.cut_all(1, 2, true);
        world.start_daemon(0);
        world.start_daemon(1);
        world.run(ms(340 + heal_at));
        world.cut_all(0, 1, false);
        world.run(ms(300));
        world.set_modes(2, Mode::Works);
        world.run(ms(7000));
        assert_eq!(world.holders(), [0], "{heal_at}:\n{}", world.story());
        assert_eq!(world.cuts_of(1), 0);
    }
}

#[test]
fn with_three_nodes_the_first_eligible_standby_takes_over() {
    let mut world = World::settled(Plan { nodes: 3, ..Plan::default() });
    world.forget();
    world.power_off(0);
    let took = world.run_until(ms(500), is_active(1));
    assert!(took.is_some_and(|t| t <= detection() + ms(12)), "{took:?}:\n{}", world.story());
    world.run(ms(2000));
    assert!(world.is(2, PeerState::Standby));
    assert_eq!(world.cuts_of(1) + world.cuts_of(2), 0);
    world.power_off(1);
    assert!(world.run_until(ms(500), is_active(2)).is_some(), "{}", world.story());
}
