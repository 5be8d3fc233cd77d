//! Fence devices that are configured for the wrong machine (row 29), and that tell whose they are.

use tandem::engine::event::FrozenCause;
use tandem::sim::plan::OUTSIDER;
use tandem::sim::{Mode, Plan, World, ms};
use tandem::types::{PeerState, Stray};

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

/// A pair that tells who it is; the device of a is wired to that machine.
fn wired_to(machine: usize, plan: Plan) -> World {
    let mut world = World::new(Plan { identities: true, ..plan });
    world.devices[0].wired = machine;
    world.devices[0].was_stray = true;
    for machine in 0..world.machines.len() {
        world.start_daemon(machine);
    }
    world.run(ms(400));
    assert!(world.is(0, PeerState::Active), "{}", world.story());
    world
}

fn stray(world: &World, machine: usize) -> Option<Stray> {
    world.node(machine).snapshot().devices[0].stray
}

fn frozen_cause(world: &World, machine: usize) -> Option<FrozenCause> {
    world.node(machine).snapshot().peers[0].frozen_cause
}

#[test]
fn devices_of_the_right_machines_are_used_as_ever() {
    let mut world = wired_to(0, Plan::default());
    assert_eq!(stray(&world, 1), None);
    world.power_off(0);
    assert!(world.run_until(ms(200), is_active(1)).is_some(), "{}", world.story());
}

#[test]
fn a_node_never_cuts_its_own_power() {
    let mut world = wired_to(1, Plan::default());
    assert_eq!(stray(&world, 1), Some(Stray::Own));
    world.expect_told(1, "degraded: fence device device0 is this node's own");
    world.crash(0);
    world.machines[0].kernel.clear();
    world.run(ms(4000));
    assert!(world.machines[1].powered);
    assert_eq!(world.cuts_of(0), 0, "{}", world.story());
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::OwnMachine));
}

/// It was never asked before: what it says when it is about to be told is soon enough.
#[test]
fn a_device_that_tells_whose_it_is_only_at_the_fence_is_spared() {
    let mut world = World::new(Plan { identities: true, ..Plan::default() });
    world.devices[0].wired = 1;
    world.devices[0].was_stray = true;
    world.devices[0].mode = Mode::Dead;
    world.start_daemon(1);
    world.run(ms(280));
    world.devices[0].mode = Mode::Works;
    world.run(ms(4000));
    assert!(world.machines[1].powered, "{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
    assert!(world.is(1, PeerState::Frozen));
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::OwnMachine));
}

#[test]
fn what_differs_from_what_the_peer_tells_is_told_nothing_and_proves_nothing() {
    let mut world = wired_to(OUTSIDER, Plan::default());
    assert_eq!(stray(&world, 1), Some(Stray::Other));
    world.expect_told(1, "degraded: fence device device0 is of another machine than its host");
    world.cut_all(0, 1, true);
    world.set_parted(0, 1, true);
    world.run(ms(4000));
    assert!(world.devices[0].outsider_on, "a stranger's power is cut");
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::OtherMachine));
    assert_eq!(world.holders(), [0], "{}", world.story());
}

/// Even where the stranger's machine is off: that says nothing of the host.
#[test]
fn the_off_of_a_strangers_witness_is_no_proof() {
    let mut world =
        World::new(Plan { identities: true, levels: vec![], witnesses: 1, ..Plan::default() });
    world.devices[0].wired = OUTSIDER;
    world.devices[0].was_stray = true;
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(400));
    world.cut_all(0, 1, true);
    world.set_parted(0, 1, true);
    world.devices[0].outsider_on = false;
    world.run(ms(4000));
    world.expect_untold(1, "proof: a holds nothing: a witness");
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::OtherMachine), "{}", world.story());
}

/// With three nodes: c's own word tells b that the device of a is c's.
#[test]
fn a_third_nodes_device_is_not_the_hosts_though_the_host_says_nothing() {
    let mut world = World::new(Plan { identities: true, nodes: 3, ..Plan::default() });
    world.devices[0].wired = 2;
    world.devices[0].was_stray = true;
    world.machines[0].autostart = false;
    world.start_daemon(1);
    world.start_daemon(2);
    world.run(ms(4000));
    assert_eq!(stray(&world, 1), Some(Stray::Other));
    assert!(world.machines[2].powered, "{}", world.story());
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
}

/// Nobody has told who the host is: as it was before there were identities.
#[test]
fn where_nothing_is_known_everything_is_as_before() {
    let mut world = World::new(Plan { identities: true, ..Plan::default() });
    world.machines[0].autostart = false;
    world.start_daemon(1);
    assert!(world.run_until(ms(1500), is_active(1)).is_some(), "{}", world.story());
    assert_eq!(stray(&world, 1), None);
}

/// Somebody swaps the BMCs' addresses back: no daemon is restarted.
#[test]
fn a_device_that_is_its_hosts_again_is_used_at_once() {
    let mut world = wired_to(1, Plan::default());
    world.power_off(0);
    world.run(ms(2000));
    assert!(world.is(1, PeerState::Frozen));
    world.devices[0].wired = 0;
    assert!(world.run_until(ms(5100), is_active(1)).is_some(), "{}", world.story());
}
