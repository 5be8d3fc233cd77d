//! Rows 8 and 25: service NICs that go bad, here or there, with and without carrier.

use std::time::Duration;

use tandem::engine::handover::Stay;
use tandem::sim::{Plan, Taking, Timing, World, ms};
use tandem::types::PeerState;

use crate::{DEADTIME, INITDEAD};

const HOLD: Duration = Timing::QUICK.path_hold;
const REST: Duration = Timing::QUICK.path_rest;
const SENSE: Duration = Timing::QUICK.sense;
const GRACE: Duration = Timing::QUICK.grace;
/// Release, word and takeover.
const MOVE: Duration = ms(5);

fn is(machine: usize, state: PeerState) -> impl Fn(&World) -> bool {
    move |world: &World| world.is(machine, state)
}

fn stay(world: &World) -> Option<Stay> {
    world.node(0).snapshot().stay
}

/// The pair of `plan`, which knows each other for long.
fn settled(plan: Plan) -> World {
    let mut world = World::settled(plan);
    world.run(INITDEAD + DEADTIME);
    world
}

fn never_cut(world: &World) -> bool {
    (0..2).all(|host| world.cuts_of(host) == 0)
}

/// In: nic1 of the active loses its carrier.
/// Out: after path-hold, and not before, the standby has taken over on the word of the other one;
/// no power was cut, and when the carrier is back nothing moves.
#[test]
fn a_holder_hands_over_for_a_carrier_that_the_standby_has() {
    let mut world = World::pair();
    world.set_carrier(0, 1, false);
    assert_eq!(world.run_until(HOLD - ms(1), |w| !w.is(0, PeerState::Active)), None);
    let took = world.run_until(ms(1) + MOVE, is(1, PeerState::Active));
    assert!(took.is_some(), "nobody takes over");
    assert_eq!(world.holders(), [1]);
    world.expect_told(0, "a service NIC is bad here and good at b: handing over");
    world.expect_told(1, "standby -> acquiring term=2: released by the peer (non-STONITH)");
    world.set_carrier(0, 1, true);
    world.run(REST * 2);
    assert_eq!((world.holders(), never_cut(&world)), (vec![1], true));
}

#[test]
fn a_nic_that_flaps_moves_the_service_once() {
    let mut world = World::pair();
    for _ in 0..5 {
        world.set_carrier(0, 0, false);
        world.run(HOLD * 9 / 10);
        world.set_carrier(0, 0, true);
        world.run(ms(1));
    }
    assert!(world.is(0, PeerState::Active), "never bad for path-hold");
    for _ in 0..40 {
        world.set_carrier(0, 0, false);
        world.run(HOLD * 2);
        world.set_carrier(0, 0, true);
        world.run(HOLD * 2);
    }
    world.run(REST);
    assert!(world.is(1, PeerState::Active));
    assert_eq!(world.node(1).snapshot().term.0, 2, "it moved once");
}

#[test]
fn it_moves_back_for_a_worse_path_after_the_rest_only() {
    let mut world = World::pair();
    world.set_carrier(0, 0, false);
    assert!(world.run_until(HOLD + MOVE, is(1, PeerState::Active)).is_some());
    world.set_carrier(0, 0, true);
    world.run(HOLD);
    world.set_carrier(1, 0, false);
    world.run(REST - HOLD * 2);
    assert!(world.is(1, PeerState::Active), "it rests");
    world.expect_told(1, "stays active with a bad service NIC: the service was moved");
    assert!(world.run_until(HOLD * 2 + MOVE, is(0, PeerState::Active)).is_some());
    assert!(never_cut(&world));
}

/// In: whoever serves has a bad NIC, and the other one none, all the time.
/// Out: each move waits longer than the one before: twice the rest, then four times.
#[test]
fn rests_grow_while_moves_follow_on_each_other() {
    let mut world = World::pair();
    let mut took = Vec::new();
    for moves in 0..5 {
        let (from, to) = (moves % 2, 1 - moves % 2);
        world.set_carrier(to, 0, true);
        world.run(ms(1));
        world.set_carrier(from, 0, false);
        took.extend(world.run_until(REST * 20, is(to, PeerState::Active)));
    }
    assert!(took[0] < HOLD + MOVE, "{took:?}");
    assert!(took[1] > REST * 9 / 10 && took[1] < REST + MOVE, "{took:?}");
    // Each node counts the moves that it took part in: both have been in each of them.
    for (move_number, factor) in [(2, 2), (3, 4), (4, 8)] {
        let (took, rest) = (took[move_number], REST * factor);
        assert!(took > rest * 9 / 10 && took < rest + MOVE, "{took:?} for {rest:?}");
    }
    // After a long calm the next one is the first again.
    world.set_carrier(0, 0, true);
    world.run(REST * 16 * 4);
    world.set_carrier(1, 0, false);
    let took = world.run_until(HOLD + MOVE, is(0, PeerState::Active));
    assert!(took.is_some(), "it rests after a calm");
}

#[test]
fn what_is_bad_on_both_sides_moves_nothing() {
    // The same NIC on both; then one each.
    for (here, there) in [(0, 0), (0, 1)] {
        let mut world = World::pair();
        world.set_carrier(0, here, false);
        world.run(HOLD / 2);
        world.set_carrier(1, there, false);
        world.run(REST);
        assert_eq!(world.holders(), [0], "{here} {there}");
        world.expect_told(0, "stays active with a bad service NIC: b is no better off");
        // They return, the active's last.
        world.set_carrier(1, there, true);
        world.run(HOLD / 2);
        world.set_carrier(0, here, true);
        world.run(REST);
        assert_eq!(world.node(0).snapshot().term.0, 1, "{here} {there}");
    }
}

#[test]
fn a_holder_stays_while_no_peer_is_heard_ready_and_better_off() {
    let b = Plan::node_id(1);
    // Not heard.
    let mut world = World::pair();
    world.set_carrier(0, 0, false);
    world.cut_all(0, 1, true);
    world.run(DEADTIME * 2);
    assert_eq!((stay(&world), world.holders()), (Some(Stay::Unheard(b)), vec![0]));
    // Not ready: it cannot get rid of an address.
    let mut world = World::pair();
    world.machines[1].release_fails = true;
    world.machines[1].kernel.insert(0);
    world.excused = true;
    world.give(1, tandem::engine::Input::VipStray { vip: tandem::types::VipId(0) });
    world.set_carrier(0, 0, false);
    world.run(HOLD * 4);
    assert_eq!(stay(&world), Some(Stay::NotReady(b)));
    world.expect_told(0, "stays active with a bad service NIC: b could not take over now");
    // Configured otherwise.
    let mut plan = Plan::default();
    plan.config_digests[1] += 1;
    let mut world = settled(plan);
    world.set_carrier(0, 0, false);
    world.run(HOLD * 4);
    assert_eq!((stay(&world), world.holders()), (Some(Stay::ConfigDiffers(b)), vec![0]));
    // Nothing is wrong: nothing to tell.
    world.set_carrier(0, 0, true);
    assert_eq!(stay(&world), None);
}

/// In: the router of both dies; the standby's daemon is started anew and does not know it yet.
/// Out: nothing moves.
#[test]
fn a_peer_that_has_just_started_is_not_handed_to() {
    let sense = HOLD * 3;
    let timing = Timing { sense, ..Timing::QUICK };
    let mut world = settled(Plan { pings: true, timing, ..Plan::default() });
    world.set_dead_targets(0, true);
    world.run(sense + HOLD);
    world.crash(1);
    world.start_daemon(1);
    world.run(sense - ms(1));
    assert_eq!(stay(&world), Some(Stay::JustStarted(Plan::node_id(1))));
    world.run(INITDEAD);
    assert_eq!(stay(&world), Some(Stay::NotBetter(Plan::node_id(1))));
    assert_eq!(world.node(0).snapshot().term.0, 1);
}

/// A peer that was late counts as unheard until it is heard again: the hold begins anew.
#[test]
fn a_peer_that_falls_silent_meanwhile_is_not_handed_to() {
    let mut world = World::pair();
    world.set_carrier(0, 0, false);
    world.run(HOLD / 5);
    world.cut_all(0, 1, true);
    world.run(HOLD * 4 / 5 + ms(3));
    assert!(world.is(0, PeerState::Active), "the last word of the other one is old");
    world.cut_all(0, 1, false);
    world.run(HOLD / 2);
    assert!(world.is(0, PeerState::Active));
    assert!(world.run_until(HOLD, is(1, PeerState::Active)).is_some());
}

#[test]
fn what_was_given_in_vain_is_taken_back_with_half_a_path() {
    let mut world = World::pair();
    world.set_carrier(0, 1, false);
    assert!(world.run_until(HOLD + MOVE, is(0, PeerState::Releasing)).is_some());
    world.power_off(1);
    world.run(GRACE - ms(20));
    assert_eq!((world.holders(), world.cuts_of(1)), (vec![], 0), "it may have taken over unheard");
    assert!(world.run_until(DEADTIME + ms(60), is(0, PeerState::Active)).is_some());
    assert_eq!(world.cuts_of(1), 1, "not without a proof");
}

/// With its only NIC bad it can serve nobody, and judge nobody: it waits for its NIC.
#[test]
fn what_was_given_in_vain_without_any_good_nic_waits_for_one() {
    let mut world = World::settled(Plan { nics: 1, vips: 1, ..Plan::default() });
    world.set_carrier(0, 0, false);
    assert!(world.run_until(HOLD + MOVE, is(0, PeerState::Releasing)).is_some());
    world.power_off(1);
    world.run(GRACE * 4);
    assert_eq!((world.holders(), world.cuts_of(1)), (vec![], 0), "a deaf node shoots");
    world.set_carrier(0, 0, true);
    assert!(world.run_until(INITDEAD * 2, is(0, PeerState::Active)).is_some());
}

#[test]
fn what_the_peer_cannot_take_is_taken_back_at_once() {
    let mut world = World::pair();
    world.machines[1].taking = Taking::FailsHalfWay;
    world.set_carrier(0, 1, false);
    assert!(world.run_until(HOLD + MOVE, is(1, PeerState::Releasing)).is_some());
    assert!(world.run_until(ms(10), is(0, PeerState::Active)).is_some(), "nobody serves");
    let term = world.node(0).snapshot().term;
    world.run(REST - HOLD);
    assert_eq!(world.node(0).snapshot().term, term, "it does not try again at once");
}

/// In: the NIC of the active recovers in the moment in which it has released; it is preferred, and
/// has the newest data.
/// Out: the other one takes over all the same.
#[test]
fn a_former_holder_whose_nic_recovers_does_not_take_back_what_it_gives() {
    let mut world = World::settled(Plan { preferred: Some(1), ..Plan::default() });
    world.set_carrier(0, 0, false);
    assert!(world.run_until(HOLD + MOVE, is(0, PeerState::Releasing)).is_some());
    world.set_carrier(0, 0, true);
    assert!(world.run_until(MOVE, is(1, PeerState::Active)).is_some());
    world.run(REST);
    assert_eq!(world.holders(), [1]);
}

/// Each lacks another NIC at a cold start: neither is better off, and one of them serves.
#[test]
fn of_two_that_lack_different_nics_one_serves() {
    let mut world = World::new(Plan::default());
    world.machines[0].carrier[0] = false;
    world.machines[1].carrier[1] = false;
    for machine in 0..2 {
        world.start_daemon(machine);
    }
    assert!(world.run_until(INITDEAD * 2, |w| !w.holders().is_empty()).is_some());
    world.run(REST);
    assert_eq!(world.holders(), [0]);
    assert_eq!(world.node(0).snapshot().term.0, 1);
}

/// At a cold start the better path goes before the newest data: those of the other one would not
/// reach the clients of that NIC.
#[test]
fn the_better_path_goes_before_the_newest_data() {
    let mut world = World::pair();
    for machine in 0..2 {
        world.power_off(machine);
    }
    world.machines[0].carrier[1] = false;
    for machine in 0..2 {
        world.power_on(machine);
    }
    assert!(world.run_until(INITDEAD * 4, is(1, PeerState::Active)).is_some());
}

#[test]
fn a_dead_switch_port_is_left_when_pings_tell_which_it_is() {
    let mut world = settled(Plan { pings: true, probes: true, ..Plan::default() });
    world.set_deaf(0, 1, true);
    assert!(world.run_until(SENSE + HOLD + MOVE, is(1, PeerState::Active)).is_some());
    assert!(never_cut(&world));
    // And a router that dies for both is nobody's fault.
    let mut world = settled(Plan { pings: true, probes: true, ..Plan::default() });
    world.set_dead_targets(0, true);
    world.run(REST);
    assert_eq!(world.holders(), [0]);
}

#[test]
fn probes_that_do_not_pass_are_told_and_move_nothing() {
    let mut world = settled(Plan { probes: true, ..Plan::default() });
    world.set_deaf(0, 1, true);
    world.run(REST);
    assert_eq!((world.holders(), never_cut(&world)), (vec![0], true));
    world.expect_told(0, "degraded: nothing passes to and from b over nic1");
    world.expect_told(1, "degraded: nothing passes to and from a over nic1");
    assert_eq!(world.node(0).snapshot().nics[1].across, Some(false));
    world.set_deaf(0, 1, false);
    world.run(SENSE + ms(1));
    world.expect_told(0, "no longer degraded: nothing passes to and from b over nic1");
    assert_eq!(world.node(0).snapshot().nics[1].across, Some(true));
}

/// In: the standby goes deaf on all its service NICs, and cannot know which side is deaf; then the
/// links are cut.
/// Out: that nobody answers is no sign for `isolated-grace`; afterwards, and where the NICs were
/// well until the cut, it is one.
#[test]
fn silence_behind_a_port_that_was_dead_before_is_left_its_grace() {
    for deaf_before in [true, false] {
        let mut world = settled(Plan { probes: true, ..Plan::default() });
        for nic in 0..2 {
            world.set_deaf(1, nic, deaf_before);
        }
        world.run(INITDEAD + DEADTIME);
        if deaf_before {
            world.cut_all(0, 1, true);
        } else {
            world.power_off(0);
        }
        world.run(DEADTIME * 2);
        let cut = world.cuts_of(0) > 0;
        assert_eq!(cut, !deaf_before, "deaf before: {deaf_before}");
        world.run(GRACE + DEADTIME);
        assert!(world.is(1, PeerState::Active), "after its grace it is fenced and replaced");
    }
}
