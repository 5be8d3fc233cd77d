//! The fault table, rows 17 to 32. Node `a` is machine 0 and active, `b` is machine 1 and standby.

use tandem::engine::{Answer, Effects, Input};
use tandem::types::{NicId, PeerState, VipId};

use crate::rows::detection;
use tandem::sim::{Disk, Mode, Plan, Taking, World, ms};

use crate::{DEADTIME, INITDEAD, KEEPALIVE};

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

fn failed_over() -> World {
    let mut world = World::pair();
    world.power_off(0);
    world.run(ms(500));
    assert!(world.is(1, PeerState::Active));
    world
}

/// Row 17.
#[test]
fn a_fenced_node_that_comes_back_is_standby_and_takes_nothing_back() {
    let mut world = failed_over();
    world.forget();
    world.power_on(0);
    world.run(ms(5000));
    assert!(world.is(0, PeerState::Standby) && world.is(1, PeerState::Active));
    world.expect_told(0, "b holds the resources");
    world.expect_untold(1, "role ");
    assert_eq!(world.cuts_of(1), 0);
}

/// Row 18.
#[test]
fn a_standby_that_was_suspended_does_not_blame_the_active() {
    for late in [35, 61, 500, 20_000] {
        let mut world = World::pair();
        world.forget();
        world.pause(1);
        world.run(ms(late));
        world.resume(1);
        world.run(ms(1000));
        assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
        assert_eq!(world.cuts_of(0), 0);
        world.expect_told(1, "stalled: this daemon woke");
        world.expect_untold(1, "a lost");
        world.expect_untold(1, "link link0");
    }
}

/// Row 18: the active died meanwhile.
#[test]
fn after_a_stall_the_silence_is_counted_anew() {
    let mut world = World::pair();
    world.pause(1);
    world.run(ms(100));
    world.power_off(0);
    world.run(ms(400));
    world.forget();
    world.resume(1);
    assert!(world.run_until(DEADTIME - ms(1), |w| w.told(1, "a lost")).is_none());
    assert!(world.run_until(detection(), is_active(1)).is_some(), "{}", world.story());
}

/// Row 18: own lateness does not lift what was down before it.
#[test]
fn a_stall_does_not_make_a_dead_link_alive() {
    let mut world = World::pair();
    world.set_cut(1, 0, 1, true);
    world.run(ms(200));
    world.forget();
    for late in [40, 100, 2000] {
        world.pause(1);
        world.run(ms(late));
        world.resume(1);
        world.run(ms(200));
    }
    world.expect_told(1, "stalled");
    world.expect_untold(1, "link link1");
    assert_eq!(world.cuts_of(0), 0);
}

/// Row 18: own lateness does not count as the word of a host that is off by then.
#[test]
fn a_stall_does_not_make_a_good_device_a_liar() {
    let mut world = World::pair();
    let orders = world.devices[0].orders;
    world.run_until(ms(1500), |w| w.devices[0].orders > orders).unwrap();
    world.power_off(0);
    world.run(ms(5));
    world.expect_told(1, "fence device device0: power off");
    world.pause(1);
    world.run(ms(1500));
    world.resume(1);
    assert!(world.run_until(detection() + ms(8), is_active(1)).is_some(), "{}", world.story());
}

/// Rows 18 and 27.
#[test]
fn an_active_that_was_suspended_questions_itself_and_then_announces() {
    let mut world = World::settled(Plan::patient(ms(60_000)));
    world.pause(0);
    world.run(ms(3000));
    let announced = world.story.announced;
    world.cut_all(0, 1, true);
    // What was under way or queued of the peer is heard; nothing of it is an answer to this life.
    world.machines[0].daemon_mut().unwrap().inbox.clear();
    world.resume(0);
    assert_eq!(world.story.announced, announced, "nothing is touched at once");
    world.machines[0].kernel.remove(0);
    world.give(0, Input::VipGone { vip: VipId(0) });
    assert!(!world.machines[0].kernel.contains(0), "not even a repair");
    world.run(ms(50));
    assert_eq!(world.story.announced, announced);
    world.run(ms(20));
    assert!(world.story.announced > announced, "after a deadtime of its own silence it goes on");
    assert!(world.machines[0].kernel.contains(0), "the repair is made up for");
    assert_eq!(world.holders(), [0]);
}

/// Rows 18 and 27. In: the daemon of the active stands still for so long that its sockets hold only
/// old heartbeats; meanwhile an operator has the standby take over, wrongly.
/// Out: it announces nothing before it hears a heartbeat from after its stall, and then gives way.
#[test]
fn a_suspended_active_believes_no_word_from_before_it_went_on() {
    let mut world = World::settled(Plan::patient(ms(60_000)));
    world.pause(0);
    world.run(ms(20_000));
    world.excused = true;
    assert_eq!(world.confirm_off(1, 0, true), Answer::Accepted);
    world.run(ms(1000));
    assert_eq!(world.holders(), [0, 1]);
    let announced = world.story.announced;
    world.resume(0);
    assert_eq!(world.story.announced, announced, "{}", world.story());
    assert!(world.run_until(KEEPALIVE * 2, |w| w.holders() == [1]).is_some());
    world.expect_told(0, "b claims to be active too term=2: this node gives way");
}

/// Row 19: clocks that have nothing to do with each other.
#[test]
fn the_distance_of_the_clocks_decides_nothing() {
    for lead in [0, 1, 1_000_000_000_000_000] {
        let mut world = World::new(Plan::default());
        world.machines[1].clock_lead = lead;
        world.start_daemon(0);
        world.start_daemon(1);
        world.run(ms(400));
        assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
        world.power_off(0);
        assert!(world.run_until(detection() + ms(8), is_active(1)).is_some());
        let view = world.node(1).snapshot();
        let rtt = view.peers[0].links[0].rtt.unwrap();
        assert!(rtt <= KEEPALIVE, "{rtt:?}");
    }
}

/// Row 19: a step of the clock that came in late changes nothing.
#[test]
fn time_that_goes_back_is_held() {
    let mut world = World::pair();
    world.forget();
    let back = world.now;
    world.run(ms(500));
    let mut effects = tandem::engine::Effects::new();
    let node = &mut world.machines[1].daemon_mut().unwrap().node;
    node.step(back, Input::Tick, &mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    assert!(node.next_deadline().unwrap() > world.now);
}

/// Row 21.
#[test]
fn a_disk_that_fails_or_hangs_delays_a_takeover_by_a_second_at_most() {
    for disk in [Disk::Fails, Disk::Hangs] {
        let mut world = World::new(Plan::default());
        world.machines[0].disk = disk;
        world.machines[1].disk = disk;
        world.start_daemon(0);
        world.start_daemon(1);
        world.run(ms(2500));
        assert!(world.is(0, PeerState::Active), "{}", world.story());
        world.expect_told(0, "degraded: the state directory cannot be written");
        world.power_off(0);
        let took = world.run_until(ms(2000), is_active(1));
        assert!(took.is_some_and(|t| t <= detection() + ms(1010)), "{took:?}");
    }
}

/// Row 21: the disk works again.
#[test]
fn a_disk_that_works_again_is_no_longer_degraded() {
    let mut world = World::new(Plan::default());
    world.machines[0].disk = Disk::Fails;
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(2500));
    world.machines[0].disk = Disk::Works;
    world.run(ms(15_000));
    world.expect_told(0, "no longer degraded: the state directory cannot be written");
    assert_eq!(world.machines[0].record.held_term.0, 1);
}

/// A daemon without a mark cannot adopt: it removes what it finds, and then asks.
#[test]
fn without_a_mark_a_restarted_daemon_purges_and_asks() {
    let mut world = World::new(Plan::default());
    world.machines[0].mark_fails = true;
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(400));
    assert!(world.is(0, PeerState::Active));
    world.expect_told(0, "degraded: the runtime directory cannot be written");
    world.crash(0);
    world.run(ms(20));
    world.forget();
    world.start_daemon(0);
    assert_eq!(world.holders(), [0]);
    let one = |w: &World| w.is(0, PeerState::Active) || w.is(1, PeerState::Active);
    assert!(world.run_until(ms(1000), one).is_some(), "{}", world.story());
    assert_eq!(world.cuts_of(0) + world.cuts_of(1), 0);
}

/// Row 22.
#[test]
fn configurations_that_differ_are_degraded_on_both() {
    let world = World::settled(Plan { config_digests: [7, 8, 8, 8], ..Plan::default() });
    world.expect_told(0, "degraded: the configuration of b differs from ours");
    world.expect_told(1, "degraded: the configuration of a differs from ours");
}

/// Row 23.
#[test]
fn a_direct_cable_that_dies_with_the_active_is_as_its_power_loss() {
    let mut world = World::settled(Plan { links: 1, ..Plan::default() });
    world.power_off(0);
    assert!(world.run_until(detection() + ms(8), is_active(1)).is_some());
}

/// Row 26.
#[test]
fn a_vip_that_somebody_removes_is_put_back_at_once() {
    let mut world = World::pair();
    world.forget();
    world.machines[0].kernel.remove(1);
    world.give(0, Input::VipGone { vip: VipId(1) });
    world.run(ms(1));
    assert!(world.machines[0].kernel.contains(1));
    world.expect_told(0, "vip vip1 was removed by somebody else");
    world.expect_told(0, "vip vip1 is back");
    world.give(1, Input::VipGone { vip: VipId(1) });
    world.run(ms(1));
    assert_eq!(world.holders(), [0], "a standby puts nothing back");
}

/// Row 28.
#[test]
fn a_check_that_hangs_is_degraded_and_never_delays_a_fence() {
    let mut world = World::pair();
    world.devices[0].mode = Mode::Hangs;
    world.forget();
    let told = world.run_until(ms(1500), |w| w.told(1, "degraded: fence device device0"));
    assert!(told.is_some(), "{}", world.story());
    // The next check is under way when the active dies; then the device works.
    let orders = world.devices[0].orders;
    assert!(world.run_until(ms(1500), |w| w.devices[0].orders > orders).is_some());
    world.power_off(0);
    world.devices[0].mode = Mode::Works;
    let took = world.run_until(ms(500), is_active(1));
    assert!(took.is_some_and(|t| t <= detection() + ms(7)), "{took:?}");
}

/// Row 29: it reads off while its host goes on speaking.
#[test]
fn a_device_that_reads_off_while_its_host_speaks_is_no_proof() {
    let mut world = World::pair();
    world.devices[0].mode = Mode::ReadsOff;
    world.run(ms(4000));
    world.expect_told(1, "degraded: fence device device0 read off while its host was heard");
    world.expect_untold(1, "gives no reading");
    world.forget();
    world.cut_all(0, 1, true);
    world.set_parted(0, 1, true);
    world.run(ms(3000));
    assert_eq!(world.holders(), [0], "{}", world.story());
    assert!(world.is(1, PeerState::Frozen));
    world.cut_all(0, 1, false);
    world.devices[0].mode = Mode::Works;
    world.run(ms(3000));
    world.expect_told(1, "no longer degraded: fence device device0 read off");
}

/// Row 30: on failover, with nobody else to take over.
#[test]
fn a_takeover_that_fails_half_way_is_rolled_back_and_tried_again_later() {
    let mut world = World::pair();
    world.machines[1].taking = Taking::FailsHalfWay;
    world.forget();
    world.power_off(0);
    world.run(ms(200));
    world.expect_told(1, "acquire failed: no such device nic1");
    assert!(world.holders().is_empty(), "rolled back");
    assert!(world.is(1, PeerState::Standby));
    world.run(ms(10_000));
    let tries = world.told_times(1, "acquire failed");
    assert!((3..=5).contains(&tries), "backed off: {tries}\n{}", world.story());
    world.machines[1].taking = Taking::Works;
    assert!(world.run_until(ms(17_000), is_active(1)).is_some(), "{}", world.story());
}

/// Row 30: the peer takes over instead, on the word of the one that failed.
#[test]
fn when_a_takeover_fails_half_way_the_peer_takes_over() {
    let mut world = World::new(Plan::default());
    world.machines[0].taking = Taking::FailsHalfWay;
    world.start_daemon(0);
    world.start_daemon(1);
    assert!(world.run_until(ms(400), is_active(1)).is_some(), "{}", world.story());
    world.expect_told(0, "acquire failed");
    world.run(ms(3000));
    assert!(world.is(1, PeerState::Active) && world.is(0, PeerState::Standby));
    assert_eq!(world.cuts_of(0) + world.cuts_of(1), 0);
}

/// Row 31.
#[test]
fn a_fenced_node_that_boots_into_the_same_cut_fences_nobody() {
    let mut world = World::pair();
    world.cut_all(0, 1, true);
    world.run(ms(1000));
    assert!(world.is(1, PeerState::Active));
    world.forget();
    world.power_on(0);
    world.run(ms(30_000));
    assert!(world.is(0, PeerState::Isolated), "{}", world.story());
    assert!(world.is(1, PeerState::Active));
    assert_eq!(world.cuts_of(1), 0);
    world.expect_told(0, "b is not heard, but its VIPs answer");
    world.cut_all(0, 1, false);
    world.run(ms(50));
    assert!(world.is(0, PeerState::Standby) && world.is(1, PeerState::Active));
}

/// Row 32.
#[test]
fn a_standby_that_is_deaf_on_its_service_nics_fences_nobody() {
    for nics in [vec![0, 1], vec![1]] {
        let mut world = World::pair();
        world.forget();
        for nic in nics {
            world.set_carrier(1, nic, false);
        }
        world.cut_all(0, 1, true);
        world.run(ms(5000));
        assert!(world.is(0, PeerState::Active));
        assert!(world.is(1, PeerState::Standby));
        assert_eq!(world.cuts_of(0), 0);
        world.expect_told(1, "degraded: a service NIC of this node has no carrier");
        world.forget();
        // What it did not hear while it was deaf is no silence: it looks anew.
        world.set_carrier(1, 0, true);
        world.set_carrier(1, 1, true);
        world.run(ms(400));
        assert!(world.is(1, PeerState::Isolated), "{}", world.story());
        assert_eq!(world.cuts_of(0), 0);
        assert!(world.run_until(ms(1000), is_active(1)).is_some(), "{}", world.story());
        world.expect_told(1, "a has been unheard for isolated-grace");
    }
}

/// Row 32: carriers are back, but the switch lets nothing pass yet: silence is still no sign, for
/// as long as a network may take to come up.
#[test]
fn a_standby_whose_carriers_have_just_returned_gives_the_network_its_time() {
    let mut world = World::pair();
    for nic in [0, 1] {
        world.set_carrier(1, nic, false);
    }
    world.cut_all(0, 1, true);
    world.run(ms(1000));
    world.machines[1].deaf[..2].copy_from_slice(&[true, true]);
    world.forget();
    for nic in [0, 1] {
        world.set_carrier(1, nic, true);
    }
    world.run(INITDEAD - ms(10));
    assert!(world.is(1, PeerState::Standby), "{}", world.story());
    assert_eq!(world.cuts_of(0), 0, "{}", world.story());
    world.machines[1].deaf[..2].copy_from_slice(&[false, false]);
    world.run(ms(100));
    assert!(world.is(0, PeerState::Active));
    assert!(world.is(1, PeerState::Isolated), "{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
}

/// Row 32: but it is no excuse for ever: when `a` was lost meanwhile, `b` takes over.
#[test]
fn a_standby_that_has_recovered_replaces_a_peer_that_stays_silent() {
    let mut world = World::pair();
    for nic in [0, 1] {
        world.set_carrier(1, nic, false);
    }
    world.power_off(0);
    world.run(ms(1000));
    assert!(world.is(1, PeerState::Standby));
    for nic in [0, 1] {
        world.set_carrier(1, nic, true);
    }
    let took = world.run_until(INITDEAD + ms(100), is_active(1));
    assert!(took.is_some_and(|took| took >= INITDEAD), "{took:?}:\n{}", world.story());
}

/// Rows 18 and 31: what was not read during a stall of our own is no silence of the VIPs.
#[test]
fn a_short_stall_of_an_isolated_node_fences_nobody() {
    for late in [20, 30, 40, 50, 55] {
        let mut world = World::pair();
        world.cut_all(0, 1, true);
        world.run(ms(1000));
        world.forget();
        world.power_on(0);
        world.run(ms(5000));
        assert!(world.is(0, PeerState::Isolated), "{}", world.story());
        world.pause(0);
        world.run(ms(late));
        world.resume(0);
        world.run(ms(300));
        assert_eq!(world.cuts_of(1), 0, "late by {late} ms:\n{}", world.story());
        assert!(world.is(1, PeerState::Active));
    }
}

/// Row 18: an input that comes before the answers of the same turn were read finds no silence, and
/// the tick that follows all of them does.
#[test]
fn only_a_tick_finds_the_vips_silent() {
    let mut world = World::pair();
    world.cut_all(0, 1, true);
    world.run(ms(1000));
    world.power_on(0);
    world.run(ms(5000));
    assert!(world.is(0, PeerState::Isolated), "{}", world.story());
    let late = world.local(0) + DEADTIME * 2;
    let node = &mut world.machines[0].daemon_mut().unwrap().node;
    let mut effects = Effects::new();
    let mut state_after = |input: Input| {
        node.step(late, input, &mut effects);
        effects.drain().for_each(drop);
        node.state()
    };
    assert_eq!(state_after(Input::Carrier { nic: NicId(0), up: true }), PeerState::Isolated);
    assert_eq!(state_after(Input::Tick), PeerState::Fencing);
}

/// Rows 1 and 18: a NIC that was bad on both sides stays nobody's fault after a stall.
#[test]
fn a_stall_does_not_forget_which_nics_were_bad_at_the_peer() {
    let mut world = World::pair();
    world.set_carrier(0, 1, false);
    world.set_carrier(1, 1, false);
    world.run(ms(2000));
    world.forget();
    world.power_off(0);
    world.run(ms(40));
    world.pause(1);
    world.run(ms(100));
    world.resume(1);
    assert!(world.run_until(ms(2000), is_active(1)).is_some(), "{}", world.story());
}

/// In: each node's configuration prefers that node. Out: degraded, and one of them serves all the
/// same, after no more bids than it takes.
#[test]
fn configurations_that_prefer_different_nodes_elect_one_all_the_same() {
    for (ours, theirs) in [(Some(1), Some(2)), (Some(2), Some(1))] {
        let world = World::settled(Plan {
            config_digests: [7, 8, 8, 8],
            preferred: ours,
            preferred_elsewhere: theirs,
            ..Plan::default()
        });
        assert_eq!(world.holders().len(), 1, "{}", world.story());
        let terms = [0, 1].map(|machine| world.node(machine).snapshot().term.0);
        assert!(terms.iter().all(|term| *term < 8), "{terms:?}");
    }
}
