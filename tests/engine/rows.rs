//! The fault table, rows 1 to 16. Node `a` is machine 0 and active, `b` is machine 1 and standby.

use std::time::Duration;

use tandem::types::PeerState;

use tandem::sim::{Mode, Plan, World, ms};

use crate::{DEADTIME, INITDEAD, KEEPALIVE, LEVEL_TIMEOUT};

/// Off and read back, at a device that takes 2 ms for each.
const FENCE: Duration = ms(5);
const TAKEOVER: Duration = ms(2);
/// From the last heartbeat until the peer is lost.
pub fn detection() -> Duration {
    DEADTIME + KEEPALIVE
}

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

/// Row 1, and 7: what a power loss and a panic leave is the same silence.
#[test]
fn a_silent_host_is_fenced_and_replaced_within_the_bound() {
    for panic_only in [false, true] {
        let mut world = World::pair();
        world.forget();
        if panic_only {
            world.crash(0);
            world.machines[0].kernel.clear();
        } else {
            world.power_off(0);
        }
        let took = world.run_until(ms(500), is_active(1));
        let bound = detection() + FENCE + TAKEOVER;
        assert!(took.is_some_and(|t| t <= bound), "{took:?} > {bound:?}:\n{}", world.story());
        assert!(!world.machines[0].powered);
        world.expect_told(1, "a is lost and its VIPs are silent");
        world.expect_told(1, "proof: a holds nothing: its power reads off");
        world.expect_told(1, "(STONITH failover)");
        assert_eq!(world.cuts_of(1), 0);
    }
}

/// Row 2.
#[test]
fn host_and_bmc_without_power_freeze_the_pair_until_the_bmc_returns() {
    let mut world = World::pair();
    world.devices[0].shares_power = true;
    world.forget();
    world.lose_feed(0);
    let took = world.run_until(ms(1000), |w| w.is(1, PeerState::Frozen));
    let bound = detection() + LEVEL_TIMEOUT;
    assert!(took.is_some_and(|t| t <= bound), "{took:?} > {bound:?}");
    world.expect_told(1, "its fence device does not answer and the host is silent");
    world.run(ms(20_000));
    assert!(world.is(1, PeerState::Frozen));
    assert!(world.holders().is_empty(), "no VIP anywhere");
    assert_eq!(world.told_times(1, "frozen: no proof"), 1, "told once");
    world.devices[0].has_power = true;
    let took = world.run_until(ms(6000), is_active(1));
    assert!(took.is_some(), "it leaves by itself:\n{}", world.story());
}

/// Row 2: the host itself returns.
#[test]
fn a_frozen_pair_goes_on_when_the_host_is_heard_again() {
    let mut world = World::pair();
    world.set_modes(0, Mode::Dead);
    world.power_off(0);
    world.run(ms(5000));
    assert!(world.is(1, PeerState::Frozen));
    world.power_on(0);
    let one_active = |w: &World| w.is(0, PeerState::Active) || w.is(1, PeerState::Active);
    let took = world.run_until(ms(1500), one_active);
    assert!(took.is_some(), "{}", world.story());
    world.expect_told(1, "a heard after a reboot");
    world.expect_told(1, "frozen -> standby");
}

/// Rows 3 and 24.
#[test]
fn one_link_of_two_lost_moves_nothing_and_is_told() {
    for link in 0..2 {
        let mut world = World::pair();
        world.forget();
        world.set_cut(link, 0, 1, true);
        world.set_cut(link, 1, 0, true);
        world.run(ms(2000));
        for (machine, peer) in [(0, "b"), (1, "a")] {
            world.expect_told(machine, &format!("link link{link} to {peer}: down"));
            world.expect_untold(machine, "role ");
            world.expect_untold(machine, "lost");
        }
        world.set_cut(link, 0, 1, false);
        world.set_cut(link, 1, 0, false);
        world.run(ms(100));
        world.expect_told(1, &format!("link link{link} to a: up"));
    }
}

/// Row 4.
#[test]
fn an_unheard_active_that_answers_is_left_for_the_grace_and_then_fenced() {
    let mut world = World::pair();
    world.forget();
    world.cut_all(0, 1, true);
    let took = world.run_until(ms(200), |w| w.is(1, PeerState::Isolated));
    assert!(took.is_some_and(|t| t <= detection()), "{took:?}:\n{}", world.story());
    world.expect_told(1, "a is not heard, but its VIPs answer");
    world.run(ms(490));
    assert!(world.is(0, PeerState::Active));
    assert!(world.is(1, PeerState::Isolated), "the grace is not over");
    let took = world.run_until(ms(10) + FENCE + TAKEOVER, is_active(1));
    assert!(took.is_some(), "{}", world.story());
    world.expect_told(1, "a has been unheard for isolated-grace");
    assert_eq!(world.holders(), [1]);
    assert_eq!(world.cuts_of(1), 0, "a holder fences nobody");
}

/// Row 4: the VIPs fall silent before the grace is over.
#[test]
fn an_isolated_node_fences_at_once_when_the_vips_fall_silent() {
    let mut world = World::settled(Plan::patient(ms(60_000)));
    world.cut_all(0, 1, true);
    world.run(ms(3000));
    assert!(world.is(1, PeerState::Isolated));
    world.forget();
    world.power_off(0);
    let took = world.run_until(ms(200), is_active(1));
    // The answers count for four rounds of probes, 10 ms each.
    assert!(took.is_some_and(|t| t <= ms(50) + FENCE + TAKEOVER), "{took:?}");
    world.expect_told(1, "a is lost and its VIPs are silent");
}

/// Rows 4 and 27.
#[test]
fn a_cut_that_heals_within_the_grace_ends_where_it_began_and_is_announced() {
    let mut world = World::pair();
    world.cut_all(0, 1, true);
    world.run(ms(300));
    world.forget();
    let announced = world.story.announced;
    world.cut_all(0, 1, false);
    world.run(KEEPALIVE * 2);
    assert!(world.is(1, PeerState::Standby));
    assert!(world.is(0, PeerState::Active));
    assert!(world.story.announced > announced, "the holder announces every VIP again");
    world.expect_told(1, "a heard again, the same daemon");
    world.run(ms(3000));
    assert_eq!(world.cuts_of(0) + world.cuts_of(1), 0);
}

/// Row 5: back before anybody notices, and back while the standby is isolated.
#[test]
fn a_killed_daemon_that_returns_adopts_what_it_held() {
    for (away, isolated) in [(ms(20), false), (ms(200), true)] {
        let mut world = World::pair();
        world.forget();
        world.crash(0);
        world.run(away);
        assert_eq!(world.is(1, PeerState::Isolated), isolated);
        assert_eq!(world.holders(), [0]);
        world.start_daemon(0);
        let took = world.run_until(ms(20), is_active(0));
        assert!(took.is_some_and(|t| t <= TAKEOVER), "{took:?}");
        world.expect_told(0, "an earlier daemon of this boot held the resources");
        world.run(ms(3000));
        assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
        assert_eq!(world.cuts_of(0), 0, "no failover:\n{}", world.story());
        world.expect_told(1, "a heard with a restarted daemon");
    }
}

/// Row 5: nobody is heard either.
#[test]
fn adoption_needs_nobody_to_be_heard() {
    let mut world = World::settled(Plan::patient(ms(60_000)));
    world.cut_all(0, 1, true);
    world.crash(0);
    world.run(ms(100));
    world.start_daemon(0);
    assert!(world.run_until(TAKEOVER, is_active(0)).is_some());
    world.run(ms(3000));
    assert_eq!(world.holders(), [0]);
}

/// A mark that outlives a boot, as on a `/run` that is no tmpfs, is no right to adopt.
#[test]
fn nothing_is_adopted_in_another_boot() {
    let mut world = World::pair();
    let mark = world.machines[0].mark;
    assert!(mark.is_some_and(|mark| mark.holding));
    world.machines[0].autostart = false;
    world.power_off(0);
    world.run(ms(500));
    assert!(world.is(1, PeerState::Active));
    world.power_on(0);
    world.machines[0].mark = mark;
    world.forget();
    world.cut_all(0, 1, true);
    world.start_daemon(0);
    world.run(ms(5000));
    assert_eq!(world.holders(), [1], "{}", world.story());
    world.expect_untold(0, "joining -> acquiring");
    world.cut_all(0, 1, false);
    world.run(ms(100));
    assert!(world.is(0, PeerState::Standby));
}

/// Row 6, dead and stopped.
#[test]
fn a_daemon_that_is_gone_for_good_is_fenced_after_the_grace() {
    for stopped in [false, true] {
        let mut world = World::pair();
        world.forget();
        if stopped {
            world.pause(0)
        } else {
            world.crash(0)
        }
        let took = world.run_until(ms(2000), is_active(1));
        let bound = detection() + world.plan.timing.grace + FENCE + TAKEOVER;
        assert!(took.is_some_and(|t| t >= world.plan.timing.grace && t <= bound), "{took:?}");
        world.expect_told(1, "a has been unheard for isolated-grace");
    }
}

/// Row 11.
#[test]
fn the_active_outlives_its_standby_and_fences_nobody() {
    let mut world = World::pair();
    world.forget();
    world.power_off(1);
    world.run(ms(5000));
    assert!(world.is(0, PeerState::Active));
    assert_eq!(world.cuts_of(1), 0);
    world.expect_told(0, "degraded: b is missing");
    world.expect_untold(0, "fence: ");
    world.power_on(1);
    world.run(ms(1000));
    assert!(world.is(1, PeerState::Standby));
    world.expect_told(0, "no longer degraded: b is missing");
}

/// Row 12.
#[test]
fn of_two_that_start_together_exactly_one_becomes_active() {
    for second_after in [0, 1, 50, 200, 299] {
        let mut world = World::new(Plan::default());
        world.start_daemon(0);
        world.run(ms(second_after));
        world.start_daemon(1);
        let took = world.run_until(INITDEAD, |w| w.holders().len() == 1);
        assert!(took.is_some(), "{}", world.story());
        world.run(ms(1000));
        assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
        assert_eq!(world.cuts_of(0) + world.cuts_of(1), 0);
        world.expect_told(0, "granted by the peer");
        world.expect_told(1, "granted: a may take over term=1");
    }
}

/// Row 12: who goes first.
#[test]
fn at_a_cold_start_the_newest_data_go_before_the_preferred_before_the_lower_number() {
    let mut world = World::new(Plan { preferred: Some(2), ..Plan::default() });
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(300));
    assert!(world.is(1, PeerState::Active), "the preferred one");
    world.expect_told(0, "b goes first");

    let mut world = World::new(Plan { preferred: Some(2), ..Plan::default() });
    world.machines[0].record.held_term = tandem::types::Term(4);
    world.machines[0].record.term = tandem::types::Term(4);
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(300));
    assert!(world.is(0, PeerState::Active), "the one with the newest data");
    assert_eq!(world.node(0).snapshot().term, tandem::types::Term(5));
}

/// Row 13.
#[test]
fn one_that_starts_alone_fences_the_absent_before_it_starts_anything() {
    let mut world = World::new(Plan::default());
    world.start_daemon(0);
    world.run(INITDEAD - ms(1));
    assert!(world.is(0, PeerState::Joining));
    assert_eq!(world.cuts_of(1), 0);
    // The look at the service networks begins when the peer counts as lost: 30 ms.
    // The term is written to disk meanwhile.
    let took = world.run_until(ms(35) + FENCE + TAKEOVER, is_active(0));
    assert!(took.is_some(), "{}", world.story());
    assert_eq!(world.cuts_of(1), 1);
    world.expect_untold(0, "gives no reading");
    world.expect_told(0, "joining -> fencing");
}

/// Row 13, and the absent node has no power path left.
#[test]
fn one_that_starts_alone_freezes_without_a_proof() {
    let mut world = World::new(Plan::default());
    world.set_modes(1, Mode::Dead);
    world.start_daemon(0);
    world.run(ms(3000));
    assert!(world.is(0, PeerState::Frozen));
    assert!(world.holders().is_empty());
}

/// Row 14.
#[test]
fn a_link_that_passes_one_way_is_told_and_moves_nothing() {
    let mut world = World::pair();
    world.forget();
    world.set_cut(1, 0, 1, true);
    world.run(ms(2000));
    world.expect_told(0, "link link1 to b: one-way");
    world.expect_told(1, "link link1 to a: down");
    world.expect_untold(0, "role ");
    world.expect_untold(1, "role ");
}

/// Row 14: the peer needs its time to hear us before it can say so.
#[test]
fn a_link_that_is_mended_is_not_told_as_one_way() {
    for phase in 0..10 {
        let mut world = World::pair();
        world.set_cut(1, 0, 1, true);
        world.set_cut(1, 1, 0, true);
        world.run(ms(300 + phase));
        world.forget();
        world.set_cut(1, 0, 1, false);
        world.set_cut(1, 1, 0, false);
        world.run(ms(300));
        for machine in 0..2 {
            world.expect_told(machine, "no longer degraded: link link1");
            world.expect_untold(machine, "one-way");
        }
    }
}

/// Row 14: mended in one direction only.
#[test]
fn a_link_that_is_mended_by_half_is_told_as_one_way_after_a_deadtime() {
    let mut world = World::pair();
    world.set_cut(1, 0, 1, true);
    world.set_cut(1, 1, 0, true);
    world.run(ms(300));
    world.forget();
    world.set_cut(1, 1, 0, false);
    world.run(DEADTIME);
    world.expect_untold(0, "one-way");
    world.run(KEEPALIVE);
    world.expect_told(0, "link link1 to b: one-way");
}

/// Row 27: one link is heard before the other.
#[test]
fn links_that_come_back_one_after_the_other_are_not_told_as_degraded() {
    for phase in 0..10 {
        let mut world = World::settled(Plan::patient(ms(60_000)));
        world.cut_all(0, 1, true);
        world.run(ms(300 + phase));
        world.forget();
        world.cut_all(0, 1, false);
        world.run(ms(300));
        for machine in 0..2 {
            world.expect_untold(machine, "degraded: link");
        }
        // One that stays away is told all the same.
        world.cut_all(0, 1, true);
        world.run(ms(300));
        world.set_cut(0, 0, 1, false);
        world.set_cut(0, 1, 0, false);
        world.run(DEADTIME + KEEPALIVE * 3);
        for machine in 0..2 {
            world.expect_told(machine, "degraded: link link1");
        }
    }
}

/// Row 14, all links: the standby is not heard.
#[test]
fn an_active_that_hears_nobody_but_is_heard_stays_and_is_not_fenced() {
    let mut world = World::pair();
    world.forget();
    for link in 0..2 {
        world.set_cut(link, 1, 0, true);
    }
    world.run(ms(5000));
    assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
    assert_eq!(world.cuts_of(0), 0);
    world.expect_told(1, "link link0 to a: one-way");
}
