//! Two holders of one address, which only a false word or a lying device can make; who gives way.

use tandem::engine::Answer;
use tandem::types::{Mac, PeerState, Term};

use tandem::sim::{Mode, Plan, World, ms};

use crate::{DEADTIME, KEEPALIVE};

/// A pair that an operator has made two of: `b` believes that `a` is off.
fn two_actives() -> World {
    let mut world = World::settled(Plan::patient(ms(600_000)));
    world.excused = true;
    world.cut_all(0, 1, true);
    world.set_parted(0, 1, true);
    world.set_modes(0, Mode::Dead);
    world.set_modes(1, Mode::Dead);
    world.run(ms(500));
    assert_eq!(world.confirm_off(1, 0, true), Answer::Accepted);
    world.run(ms(2000));
    assert_eq!(world.holders(), [0, 1]);
    world.forget();
    world
}

#[test]
fn the_lower_term_gives_way_within_a_keepalive() {
    let mut world = two_actives();
    world.cut_all(0, 1, false);
    let took = world.run_until(ms(100), |w| w.holders() == [1]);
    assert!(took.is_some_and(|t| t <= KEEPALIVE + ms(1)), "{took:?}:\n{}", world.story());
    // Once it has, the other announces every VIP again: clients may believe the wrong one.
    let announced = world.story.announced;
    world.run(KEEPALIVE);
    assert!(world.story.announced > announced);
    world.expect_told(0, "collision: b claims to be active too term=2: this node gives way");
    world.expect_told(1, "collision: a held the resources too term=1: it is giving them up");
    world.excused = false;
    world.run(ms(3000));
    assert!(world.is(0, PeerState::Standby) && world.is(1, PeerState::Active));
}

/// In: a holder meets another one that must give way and cannot; then that one loses its power.
/// Out: the other's announcements are not the last ones that clients have heard.
#[test]
fn a_holder_announces_when_its_rival_falls_silent() {
    let mut world = two_actives();
    world.machines[0].release_fails = true;
    world.cut_all(0, 1, false);
    world.run(ms(200));
    assert_eq!(world.holders(), [0, 1]);
    let announced = world.story.announced;
    world.power_off(0);
    world.run(DEADTIME + KEEPALIVE);
    assert_eq!(world.story.announced, announced + 1, "{}", world.story());
}

/// The same the other way round: the higher term is the lower node's.
#[test]
fn the_higher_term_stays_whatever_its_number() {
    let mut world = World::new(Plan::patient(ms(600_000)));
    world.excused = true;
    for host in 0..2 {
        world.set_modes(host, Mode::Dead);
    }
    world.machines[0].record.term = Term(9);
    world.cut_all(0, 1, true);
    world.set_parted(0, 1, true);
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(1000));
    assert_eq!(world.confirm_off(0, 1, false), Answer::Accepted);
    assert_eq!(world.confirm_off(1, 0, false), Answer::Accepted);
    world.run(ms(100));
    assert_eq!(world.holders(), [0, 1]);
    world.cut_all(0, 1, false);
    world.run(KEEPALIVE + ms(1));
    assert_eq!(world.holders(), [0], "{}", world.story());
}

#[test]
fn with_equal_terms_the_higher_number_gives_way() {
    let mut world = World::new(Plan::patient(ms(600_000)));
    world.excused = true;
    for host in 0..2 {
        world.set_modes(host, Mode::Dead);
    }
    world.cut_all(0, 1, true);
    world.set_parted(0, 1, true);
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(1000));
    assert_eq!(world.confirm_off(0, 1, false), Answer::Accepted);
    assert_eq!(world.confirm_off(1, 0, false), Answer::Accepted);
    world.run(ms(100));
    assert_eq!(world.holders(), [0, 1]);
    world.cut_all(0, 1, false);
    world.run(KEEPALIVE + ms(1));
    assert_eq!(world.holders(), [0], "{}", world.story());
    world.excused = false;
    world.run(ms(3000));
    assert_eq!(world.holders(), [0]);
}

/// Only the service networks are joined again: the claims settle it.
#[test]
fn a_newer_holder_that_is_only_seen_on_the_service_networks_makes_the_older_give_way() {
    let mut world = two_actives();
    world.set_parted(0, 1, false);
    world.give(1, tandem::engine::Input::Reach { nic: tandem::types::NicId(0), up: false });
    world.give(1, tandem::engine::Input::Reach { nic: tandem::types::NicId(0), up: true });
    world.run(ms(1000));
    assert_eq!(world.holders(), [1], "{}", world.story());
    world.expect_told(0, "claims vip");
    world.expect_told(0, "b holds a later claim: giving way");
}

#[test]
fn a_foreign_claim_is_told_and_answered_and_the_holder_stays() {
    let mut world = World::pair();
    world.run(ms(2000));
    world.forget();
    let announced = world.story.announced;
    let stranger = Mac([0, 1, 2, 3, 4, 5]);
    for _ in 0..1000 {
        world.claim(0, 1, stranger);
        world.run(ms(1));
    }
    world.expect_told(0, "collision: 00:01:02:03:04:05 claims vip1, which this node holds");
    assert_eq!(world.told_times(0, "collision"), 1, "told once in ten seconds");
    assert_eq!(world.story.announced, announced + 1);
    assert!(world.is(0, PeerState::Active));
}

/// The last holder's packets are still under way when the new one has just taken over.
#[test]
fn a_claim_from_before_the_takeover_had_settled_does_not_count() {
    let mut world = World::pair();
    world.power_off(0);
    world.run_until(ms(500), |w| w.is(1, PeerState::Active)).unwrap();
    for _ in 0..100 {
        world.claim(1, 0, Plan::mac(0, 0));
        world.run(ms(5));
    }
    world.expect_untold(1, "collision");
    assert!(world.is(1, PeerState::Active));
}
