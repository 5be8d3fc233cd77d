//! What becomes of a node once it was fenced: `after-fence`.

use tandem::engine::Answer;
use tandem::engine::settings::AfterFence;
use tandem::sim::{Mode, Plan, Taking, World, ms};
use tandem::types::{FenceFault, PeerState};

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

fn powers_on(levels: Vec<u8>) -> World {
    World::settled(Plan { levels, after_fence: AfterFence::PowersOn, ..Plan::default() })
}

#[test]
fn a_fenced_node_stays_off_unless_it_is_to_be_powered_on() {
    let mut world = World::pair();
    world.crash(0);
    world.machines[0].kernel.clear();
    assert!(world.run_until(ms(500), is_active(1)).is_some());
    world.run(ms(60_000));
    assert!(!world.machines[0].powered);
    world.expect_untold(1, "after-fence");
}

#[test]
fn a_fenced_node_is_powered_on_once_the_takeover_is_complete_and_joins_as_standby() {
    let mut world = powers_on(vec![1]);
    world.crash(0);
    world.machines[0].kernel.clear();
    assert!(world.run_until(ms(500), is_active(1)).is_some());
    assert!(!world.machines[0].powered, "not before the service runs");
    let joined = |w: &World| w.is(0, PeerState::Standby);
    assert!(world.run_until(ms(2000), joined).is_some(), "{}", world.story());
    world.expect_told(1, "after-fence: powering a on again, by the devices of level 1");
    world.run(ms(5000));
    assert_eq!(world.holders(), [1]);
    assert_eq!(world.cuts_of(0), 1);
}

/// All outlets of the level that cut the power, and none of another one.
#[test]
fn the_devices_that_cut_the_power_restore_it() {
    let mut world = powers_on(vec![1, 2]);
    world.devices[0].mode = Mode::Dead;
    world.machines[0].autostart = false;
    world.crash(0);
    world.machines[0].kernel.clear();
    assert!(world.run_until(ms(1000), is_active(1)).is_some());
    assert!(!world.devices[1].outlet_on && !world.devices[2].outlet_on);
    let orders = world.devices[0].orders;
    world.run(ms(600));
    assert!(world.devices[1].outlet_on && world.devices[2].outlet_on, "{}", world.story());
    assert!(world.machines[0].powered);
    world.expect_told(1, "after-fence: a has power again");
    assert!(world.devices[0].orders <= orders + 1, "the other level is only checked");
}

#[test]
fn powering_on_is_tried_a_few_times_and_given_up() {
    for (mode, why) in [
        (Mode::Dead, "unreachable"),
        (Mode::Refuses(FenceFault::Privilege), "may not"),
        (Mode::StaysOn, "power off"),
        (Mode::Hangs, "no answer in time"),
    ] {
        let mut world = powers_on(vec![1]);
        world.crash(0);
        world.machines[0].kernel.clear();
        let proven = |w: &World| w.is(1, PeerState::Acquiring);
        assert!(world.run_until(ms(500), proven).is_some());
        world.devices[0].mode = mode;
        world.run(ms(200_000));
        let failed = world.told_times(1, "after-fence: a is not powered on: device0: ");
        assert_eq!(failed, 5, "{mode:?} {why}:\n{}", world.story());
        world.expect_told(1, "given up: power it on by hand");
        assert!(!world.machines[0].powered);
        assert!(world.is(1, PeerState::Active), "nothing else comes of it");
    }
}

/// What an operator or the node itself said is no cut of ours.
#[test]
fn who_was_not_fenced_is_not_powered_on() {
    let mut world = powers_on(vec![1]);
    world.set_modes(0, Mode::Dead);
    world.machines[0].autostart = false;
    world.power_off(0);
    assert!(world.run_until(ms(1000), |w| w.is(1, PeerState::Frozen)).is_some());
    assert_eq!(world.confirm_off(1, 0, false), Answer::Accepted);
    world.set_modes(0, Mode::Works);
    assert!(world.run_until(ms(10), is_active(1)).is_some());
    world.run(ms(60_000));
    assert!(!world.machines[0].powered);
    world.expect_untold(1, "after-fence");

    let mut world = powers_on(vec![1]);
    world.stop(0);
    assert!(world.run_until(ms(1000), is_active(1)).is_some());
    world.machines[0].powered = false;
    world.run(ms(60_000));
    world.expect_untold(1, "after-fence");
}

/// The proof is there, and the service is not: nobody is powered on for that.
#[test]
fn a_takeover_that_fails_powers_nobody_on() {
    let mut world = powers_on(vec![1]);
    world.machines[1].taking = Taking::FailsHalfWay;
    world.crash(0);
    world.machines[0].kernel.clear();
    world.run(ms(20_000));
    assert!(!world.machines[0].powered);
    world.expect_untold(1, "after-fence");
    world.machines[1].taking = Taking::Works;
    assert!(world.run_until(ms(70_000), is_active(1)).is_some());
    assert!(world.run_until(ms(1000), |w| w.machines[0].powered).is_some(), "{}", world.story());
}

/// In: all links are cut while both serve; the fenced node is powered on, and boots into the cut.
/// Out: it sees the addresses answer, and leaves the holder alone (row 31).
#[test]
fn a_node_that_is_powered_on_into_the_same_cut_fences_nobody() {
    let mut world = powers_on(vec![1]);
    world.cut_all(0, 1, true);
    assert!(world.run_until(ms(3000), is_active(1)).is_some(), "{}", world.story());
    world.run(ms(30_000));
    assert!(world.machines[0].powered);
    assert_eq!(world.holders(), [1], "{}", world.story());
    assert_eq!((world.cuts_of(0), world.cuts_of(1)), (1, 0));
    world.cut_all(0, 1, false);
    world.run(ms(1000));
    assert!(world.is(0, PeerState::Standby));
}

/// A holder that is told to end while it powers a node on does not go on with it.
#[test]
fn a_holder_that_ends_powers_nobody_on_any_more() {
    let mut world = powers_on(vec![1]);
    world.crash(0);
    world.machines[0].kernel.clear();
    assert!(world.run_until(ms(500), |w| w.is(1, PeerState::Acquiring)).is_some());
    world.devices[0].mode = Mode::Dead;
    world.run(ms(2000));
    world.stop(1);
    world.run(ms(100));
    world.devices[0].mode = Mode::Works;
    world.run(ms(60_000));
    assert!(!world.machines[0].powered, "{}", world.story());
}

/// In: links and service networks are parted, each node reaches the other one's fence device, and
/// fenced nodes are powered on again. Out: each is cut once at most, not for ever.
#[test]
fn two_that_never_hear_each_other_do_not_power_each_other_on_for_ever() {
    let mut world = powers_on(vec![1]);
    world.cut_all(0, 1, true);
    world.set_parted(0, 1, true);
    world.run(ms(120_000));
    assert_eq!((world.cuts_of(0), world.cuts_of(1)), (1, 1), "{}", world.story());
    assert_eq!(world.holders(), [0]);
    world.expect_untold(0, "after-fence");
}
