//! Witnesses: devices that are only read, and prove a power off that nobody could cut.

use tandem::engine::event::{Event, FrozenCause, ProofKind};
use tandem::sim::{Mode, Plan, World, ms};
use tandem::types::PeerState;

use crate::LEVEL_TIMEOUT;
use crate::rows::detection;

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

/// A BMC each on the power feed of its host, and behind it a level of so many witnesses that are
/// not.
fn watched(witnesses: u8) -> World {
    let mut world = World::settled(Plan { witnesses, ..Plan::default() });
    for device in world.devices.iter_mut().filter(|device| !device.is_witness) {
        device.shares_power = true;
    }
    world
}

fn set_witness(world: &mut World, host: usize, mode: Mode) {
    let own = world.devices.iter_mut().filter(|device| device.host == host && device.is_witness);
    own.for_each(|device| device.mode = mode);
    world.ledger.devices_changed_at = world.now;
}

fn proofs(world: &World) -> Vec<ProofKind> {
    let events = world.story.events.iter();
    let kinds = events.filter_map(|(_, _, event)| match event {
        Event::Proven { by, .. } => Some(*by),
        _ => None,
    });
    kinds.collect()
}

fn frozen_cause(world: &World, machine: usize) -> Option<FrozenCause> {
    world.node(machine).snapshot().peers[0].frozen_cause
}

#[test]
fn a_witness_proves_the_power_off_that_was_lost_together_with_the_bmc() {
    for witnesses in [1, 2] {
        let mut world = watched(witnesses);
        world.forget();
        world.lose_feed(0);
        let took = world.run_until(ms(500), is_active(1));
        // The BMC is asked, then each witness is read, all but one of them twice.
        assert!(took.is_some_and(|t| t <= detection() + ms(12)), "{took:?}:\n{}", world.story());
        assert_eq!(proofs(&world), [ProofKind::Witnessed]);
        world.expect_told(1, "fence: reading the witnesses of a, level 2");
        world.expect_told(1, "a witness reads its power off; nobody has cut it");
        world.expect_told(1, "nobody cut it (non-STONITH)");
    }
}

#[test]
fn a_level_that_cuts_is_a_fence_whatever_witnesses_read_beside_it() {
    let plan = Plan { witnesses: 2, witnesses_beside: true, ..Plan::default() };
    let mut world = World::settled(plan);
    world.crash(0);
    world.machines[0].kernel.clear();
    world.forget();
    let took = world.run_until(ms(500), is_active(1));
    assert!(took.is_some_and(|t| t <= detection() + ms(60)), "{took:?}:\n{}", world.story());
    assert_eq!(proofs(&world), [ProofKind::Fenced]);
    assert_eq!(world.cuts_of(0), 1);
}

/// The witness beside a BMC is an extra proof: what the BMC says alone is not enough.
#[test]
fn a_bmc_that_lies_is_not_believed_against_the_witness_beside_it() {
    let plan = Plan { witnesses: 1, witnesses_beside: true, ..Plan::default() };
    let mut world = World::settled(plan);
    world.devices[0].mode = Mode::ReadsOff;
    world.crash(0);
    world.machines[0].kernel.clear();
    world.run(ms(3000));
    assert!(world.machines[0].powered);
    world.expect_untold(1, "proof: ");
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::WitnessOn), "{}", world.story());
}

/// The host hangs with its power on, its BMC is dead: nothing proves that it is off.
#[test]
fn a_witness_that_reads_on_freezes_and_says_so_until_it_reads_off() {
    let mut world = watched(1);
    world.devices[0].mode = Mode::Dead;
    world.crash(0);
    world.machines[0].kernel.clear();
    world.forget();
    let began = world.run_until(ms(100), |w| w.is(1, PeerState::Fencing));
    assert!(began.is_some());
    let took = world.run_until(ms(300), |w| w.is(1, PeerState::Frozen));
    let late = LEVEL_TIMEOUT + ms(3);
    assert!(took.is_some_and(|t| t >= LEVEL_TIMEOUT && t <= late), "{took:?}: {}", world.story());
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::WitnessOn));
    world.run(ms(4000));
    assert!(world.is(1, PeerState::Frozen));
    // Somebody pulls the cord.
    world.power_off(0);
    assert!(world.run_until(ms(5100), is_active(1)).is_some(), "{}", world.story());
    assert_eq!(proofs(&world), [ProofKind::Witnessed]);
}

#[test]
fn all_witnesses_of_a_level_must_read_off() {
    let mut world = watched(2);
    world.devices[2].mode = Mode::StaysOn;
    world.lose_feed(0);
    world.devices[2].outlet = true;
    world.run(ms(3000));
    assert!(world.is(1, PeerState::Frozen), "one supply has power: {}", world.story());
    world.devices[2].outlet = false;
    assert!(world.run_until(ms(5100), is_active(1)).is_some(), "{}", world.story());
}

/// An outlet that is not there reads off from the beginning; the daemon has never heard the host.
#[test]
fn a_witness_that_never_read_on_while_its_host_was_heard_proves_nothing() {
    let mut world = World::new(Plan { witnesses: 1, ..Plan::default() });
    set_witness(&mut world, 0, Mode::Absent);
    world.set_modes_of_cutters(0, Mode::Dead);
    // It has power, and nobody hears it.
    world.start_daemon(1);
    world.run(ms(4000));
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::NeverOn));
    assert!(world.machines[0].powered);
    world.expect_untold(1, "proof: ");
}

/// It reads off truly, but nobody knows whose power it shows: it was never seen to follow it.
#[test]
fn a_node_that_starts_alone_does_not_believe_a_witness() {
    let mut world = World::new(Plan { witnesses: 1, ..Plan::default() });
    world.set_modes_of_cutters(0, Mode::Dead);
    world.power_off(0);
    world.start_daemon(1);
    world.run(ms(4000));
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::NeverOn));
}

#[test]
fn a_witness_that_reads_off_while_its_host_speaks_is_degraded_and_no_proof_until_it_reads_on() {
    let mut world = watched(1);
    set_witness(&mut world, 0, Mode::ReadsOff);
    world.run(ms(4000));
    world.expect_told(1, "degraded: fence device device1 read off while its host was heard");
    set_witness(&mut world, 0, Mode::Works);
    world.run(ms(1500));
    world.expect_told(1, "no longer degraded: fence device device1 read off");
    set_witness(&mut world, 0, Mode::ReadsOff);
    world.run(ms(4000));
    world.devices[0].mode = Mode::Dead;
    world.crash(0);
    world.machines[0].kernel.clear();
    world.run(ms(3000));
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::Contradicted), "{}", world.story());
}

/// Of two witnesses one shows nothing: at a fence it would be missed, so it is told before.
#[test]
fn one_witness_of_two_that_never_reads_on_is_degraded() {
    let mut world = World::new(Plan { witnesses: 2, ..Plan::default() });
    world.devices[2].mode = Mode::Absent;
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(4000));
    world.expect_told(1, "degraded: fence device device2 read off while its host was heard");
    world.expect_untold(1, "fence device device1 read off");
}

/// A witness that lies while the host's addresses answer: what answers has power.
#[test]
fn a_witness_is_not_believed_while_a_vip_of_its_host_answers() {
    let mut world = watched(1);
    world.set_modes_of_cutters(0, Mode::Dead);
    set_witness(&mut world, 0, Mode::ReadsOff);
    world.cut_all(0, 1, true);
    world.run(detection() + ms(3000));
    world.expect_told(1, "its witness reads off, but its VIPs answer");
    world.expect_untold(1, "proof: ");
    assert_eq!(world.holders(), [0], "{}", world.story());
    assert!(world.is(1, PeerState::Isolated), "{}", world.story());
}

/// Where the witness beside them proves nothing, the devices that cut would do it in vain.
#[test]
fn nobody_is_cut_down_where_the_witness_beside_proves_nothing() {
    let plan = Plan { witnesses: 1, witnesses_beside: true, ..Plan::default() };
    let mut world = World::new(plan);
    set_witness(&mut world, 0, Mode::Absent);
    world.start_daemon(1);
    world.machines[0].autostart = false;
    world.run(ms(4000));
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
    assert_eq!(frozen_cause(&world, 1), Some(FrozenCause::NeverOn));
    assert_eq!(world.cuts_of(0), 0);
}

/// A node that has nothing but witnesses.
#[test]
fn a_witness_alone_is_a_ladder() {
    let plan = Plan { levels: vec![], witnesses: 1, ..Plan::default() };
    let mut world = World::settled(plan);
    world.power_off(0);
    let took = world.run_until(ms(500), is_active(1));
    assert!(took.is_some_and(|t| t <= detection() + ms(8)), "{took:?}:\n{}", world.story());
    assert_eq!(proofs(&world).last(), Some(&ProofKind::Witnessed));
}
