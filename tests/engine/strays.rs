//! VIPs that somebody else puts on a node that does not hold the resources.

use tandem::engine::Input;
use tandem::types::{PeerState, VipId};

use crate::rows::detection;
use tandem::sim::{Mode, Plan, World, ms};

/// Somebody adds the VIP, and the kernel tells.
fn stray(world: &mut World, machine: usize, vip: u16) {
    world.machines[machine].kernel.insert(vip);
    world.give(machine, Input::VipStray { vip: VipId(vip) });
}

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

/// In: an administrator adds a VIP on the standby.
/// Out: it is told and taken off at once; the standby is as good as before.
#[test]
fn a_vip_that_appears_on_the_standby_is_taken_off_at_once() {
    let mut world = World::pair();
    world.forget();
    world.excused = true;
    stray(&mut world, 1, 1);
    world.expect_told(1, "vip vip1 is on this node, which does not hold it");
    assert!(!world.node(1).snapshot().eligible);
    world.run(ms(1));
    world.excused = false;
    assert_eq!(world.holders(), [0]);
    assert!(world.node(1).snapshot().eligible);
    world.power_off(0);
    assert!(world.run_until(detection() + ms(8), is_active(1)).is_some(), "{}", world.story());
}

/// In: a cold start; node `b`'s kernel has a VIP and does not let go of it; `a` goes first.
/// Out: `a` gets no grant while that lasts, and one as soon as it is over.
#[test]
fn nothing_is_granted_while_a_stray_vip_cannot_be_removed() {
    let mut world = World::new(Plan::default());
    world.start_daemon(0);
    world.start_daemon(1);
    world.machines[1].release_fails = true;
    stray(&mut world, 1, 0);
    world.run(ms(3000));
    world.expect_told(1, "the kernel refuses");
    world.expect_untold(1, "granted");
    assert!(world.is_passive(0) && world.is_passive(1), "{}", world.story());
    world.machines[1].release_fails = false;
    assert!(world.run_until(ms(1500), is_active(0)).is_some(), "{}", world.story());
    assert_eq!(world.holders(), [0]);
}

/// In: `b` has granted; while `a` is still taking, a VIP appears at `b`.
/// Out: `b` repeats the grant in no heartbeat before the VIP is gone.
#[test]
fn a_grant_is_not_repeated_while_a_vip_is_stray() {
    let mut world = World::new(Plan::default());
    world.excused = true;
    world.start_daemon(0);
    world.start_daemon(1);
    assert!(world.run_until(ms(400), |w| w.told(1, "granted")).is_some());
    world.machines[1].release_fails = true;
    // The world refuses a heartbeat that grants, or calls itself harmless, with a VIP in the
    // kernel.
    stray(&mut world, 1, 0);
    world.run(ms(500));
    world.machines[1].release_fails = false;
    world.run(ms(1500));
    assert_eq!(world.holders(), [0], "{}", world.story());
}

/// In: the active is lost while a VIP sits at the standby and cannot be removed.
/// Out: the standby fences nobody and takes nothing; with the VIP gone it does both.
#[test]
fn a_standby_with_a_stray_vip_fences_nobody() {
    let mut world = World::pair();
    world.excused = true;
    world.machines[1].release_fails = true;
    stray(&mut world, 1, 0);
    world.power_off(0);
    world.excused = false;
    world.run(ms(3000));
    assert_eq!(world.cuts_of(0), 0);
    assert!(world.is_passive(1), "{}", world.story());
    world.machines[1].release_fails = false;
    assert!(world.run_until(ms(2000), is_active(1)).is_some(), "{}", world.story());
}

/// In: an active is told of a VIP that it holds anyway.
/// Out: nothing.
#[test]
fn a_holder_keeps_what_is_its() {
    let mut world = World::pair();
    world.forget();
    stray(&mut world, 0, 0);
    world.run(ms(100));
    assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
    world.expect_untold(0, "does not hold it");
    assert_eq!(world.machines[0].kernel.len(), 2);
}

/// In: a node is to end while, or just before, a VIP appears on it; at first it cannot be removed.
/// Out: it ends once the VIP is gone, and not before (the world refuses an end with a VIP).
#[test]
fn no_node_ends_with_a_vip_in_its_kernel() {
    for goodbye_first in [true, false] {
        let mut world = World::pair();
        world.excused = true;
        world.machines[1].release_fails = true;
        if goodbye_first {
            world.stop(1);
            assert!(world.is(1, PeerState::Stopped));
            stray(&mut world, 1, 0);
        } else {
            stray(&mut world, 1, 0);
            world.stop(1);
        }
        world.run(ms(3000));
        assert!(!world.machines[1].exited, "{}", world.story());
        world.machines[1].release_fails = false;
        world.run(ms(2000));
        assert!(world.machines[1].exited, "{}", world.story());
        assert_eq!(world.holders(), [0]);
    }
}

/// In: a fence is under way; somebody adds a VIP on the node that fences, and its kernel does not
/// let go of it.
/// Out: only a node that holds nothing fences: no device is told anything before the VIP is gone.
#[test]
fn a_node_with_a_stray_vip_does_not_fence() {
    let mut world = World::pair();
    world.set_modes(0, Mode::Hangs);
    world.power_off(0);
    assert!(world.run_until(ms(2000), |w| w.is(1, PeerState::Frozen)).is_some());
    let orders = world.devices[0].orders;
    let looks = |w: &World| w.devices[0].orders > orders;
    assert!(world.run_until(ms(6000), looks).is_some(), "{}", world.story());
    world.machines[1].release_fails = true;
    stray(&mut world, 1, 0);
    world.set_modes(0, Mode::Works);
    world.run(ms(900));
    assert_eq!(world.devices[0].cuts, 0);
    world.machines[1].release_fails = false;
    assert!(world.run_until(ms(7000), is_active(1)).is_some(), "{}", world.story());
}
