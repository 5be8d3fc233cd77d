//! The frozen state: why it is had, each way out of it, and the operator's word.

use tandem::engine::event::FrozenCause;
use tandem::engine::{Answer, Denial};
use tandem::types::{DeviceId, FenceFault, PeerState};

use tandem::sim::{Mode, Plan, Taking, Timing, World, ms};

use crate::INITDEAD;

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

fn frozen_by(mode: Mode) -> World {
    let mut world = World::pair();
    world.set_modes(0, mode);
    world.machines[0].autostart = false;
    world.power_off(0);
    if mode == Mode::StaysOn {
        // The host is there, and silent.
        world.machines[0].powered = true;
    }
    let took = world.run_until(ms(1000), |w| w.is(1, PeerState::Frozen));
    assert!(took.is_some(), "{}", world.story());
    world
}

#[test]
fn each_cause_of_being_frozen_is_told_apart() {
    let causes = [
        (Mode::Dead, FrozenCause::Unreachable, "does not answer and the host is silent"),
        (
            Mode::Refuses(FenceFault::Credentials),
            FrozenCause::Refuses(FenceFault::Credentials),
            "refuses the user or the password",
        ),
        (Mode::StaysOn, FrozenCause::StaysOn, "accepted the command, but the power stays on"),
        (Mode::Unclear, FrozenCause::Unclear, "answers, but not with on or off"),
        (Mode::Hangs, FrozenCause::Failed(FenceFault::Timeout), "gave no verdict in time"),
    ];
    for (mode, cause, text) in causes {
        let world = frozen_by(mode);
        world.expect_told(1, text);
        world.expect_told(1, "tandem confirm-off a");
        assert_eq!(world.node(1).snapshot().peers[0].frozen_cause, Some(cause));
        assert!(world.holders().is_empty());
    }
}

#[test]
fn a_user_without_privilege_freezes_on_a_host_that_is_on() {
    let faults = [
        FenceFault::Privilege,
        FenceFault::Refused,
        FenceFault::Unsupported,
        FenceFault::Exhausted,
    ];
    for fault in faults {
        let mut world = World::pair();
        world.set_modes(0, Mode::Refuses(fault));
        world.crash(0);
        world.machines[0].kernel.clear();
        world.run(ms(500));
        assert!(world.is(1, PeerState::Frozen), "{}", world.story());
        assert_eq!(
            world.node(1).snapshot().peers[0].frozen_cause,
            Some(FrozenCause::Refuses(fault))
        );
        world.expect_untold(1, "gives no reading");
    }
}

/// The command is refused because the power is off already; the reading says so.
#[test]
fn already_off_is_success() {
    let mut world = World::pair();
    world.devices[0].refuses_when_off = true;
    world.power_off(0);
    assert!(world.run_until(ms(100), is_active(1)).is_some(), "{}", world.story());
    world.expect_told(1, "its power reads off");
    world.expect_untold(1, "gives no reading");
}

#[test]
fn without_a_device_it_freezes_and_says_that_none_is_configured() {
    let mut world = World::settled(Plan { levels: vec![], ..Plan::default() });
    world.power_off(0);
    world.run(ms(10_000));
    assert!(world.is(1, PeerState::Frozen));
    world.expect_told(1, "no fence device is configured");
    assert_eq!(world.told_times(1, "frozen: no proof"), 1);
    assert_eq!(world.confirm_off(1, 0, false), Answer::Accepted);
    assert!(world.run_until(ms(10), is_active(1)).is_some());
    world.expect_told(1, "confirmed: an operator says that a is off");
    world.expect_told(1, "an operator confirmed the peer off");
}

#[test]
fn it_leaves_frozen_when_the_peer_is_heard_when_the_bmc_answers_and_on_confirm_off() {
    for way in 0..3 {
        let mut world = frozen_by(Mode::Dead);
        world.run(ms(3000));
        match way {
            0 => {
                world.machines[0].autostart = true;
                world.power_on(0);
                let one = |w: &World| !w.holders().is_empty();
                assert!(world.run_until(ms(600), one).is_some(), "{}", world.story());
                world.expect_told(1, "frozen -> standby");
            }
            1 => {
                world.set_modes(0, Mode::Works);
                assert!(world.run_until(ms(520), is_active(1)).is_some());
                world.expect_told(1, "its power reads off");
            }
            _ => {
                assert_eq!(world.confirm_off(1, 0, false), Answer::Accepted);
                assert!(world.run_until(ms(10), is_active(1)).is_some());
            }
        }
        world.run(ms(3000));
        assert_eq!(world.holders().len(), 1);
    }
}

/// A device that does not answer is looked at for ever, as often as its pace allows; one that
/// answers and proves nothing is left alone for longer.
#[test]
fn a_frozen_pair_looks_again_for_ever() {
    let refuses = Mode::Refuses(FenceFault::Credentials);
    for (mode, in_a_minute) in [(Mode::Dead, 118..=121), (refuses, 11..=13)] {
        let mut world = frozen_by(mode);
        world.run(ms(60_000));
        for _ in 0..5 {
            let orders = world.devices[0].orders;
            world.run(ms(60_000));
            let more = world.devices[0].orders - orders;
            assert!(in_a_minute.contains(&more), "{mode:?}: {more} in a minute");
        }
        assert_eq!(world.told_times(1, "frozen: no proof"), 1);
        assert!(world.story.events.len() < 60, "{}", world.story());
    }
}

/// A device that fails in turns of two ways is no reason to fill the log.
#[test]
fn a_cause_that_changes_all_the_time_is_told_now_and_then() {
    let mut world = frozen_by(Mode::Dead);
    world.forget();
    for _ in 0..60 {
        world.set_modes(0, Mode::Hangs);
        world.run(ms(1000));
        world.set_modes(0, Mode::Dead);
        world.run(ms(1000));
    }
    let told = world.told_times(1, "fence: level 1 of a failed");
    assert!((10..=25).contains(&told), "{told} in two minutes");
}

/// In: a BMC that lost its power together with its host, asked again every half second while it
/// does not answer, as the native client does; its level may take ten seconds, as it is configured
/// by default. It answers again at any moment of that rhythm. A second level that never answers
/// must not hold up the look that finds the first one.
/// Out: proof and takeover within one second.
#[test]
fn frozen_is_left_within_a_second_of_a_device_answering() {
    for levels in [vec![1], vec![1, 1], vec![1, 2]] {
        for silent_for in (0..24).map(|step| 21_000 + step * 433) {
            let timing = Timing { level_timeout: ms(10_000), ..Timing::QUICK };
            let repeats = Some(ms(500));
            let mut world =
                World::settled(Plan { levels: levels.clone(), timing, repeats, ..Plan::default() });
            for device in world.devices.iter_mut().filter(|device| device.host == 0) {
                device.shares_power = true;
            }
            world.machines[0].autostart = false;
            world.lose_feed(0);
            world.run(ms(silent_for));
            world.run(timing.level_timeout * (levels.len() as u32 - 1));
            assert!(world.is(1, PeerState::Frozen), "{}", world.story());
            // The others stay dead.
            world.devices[0].has_power = true;
            let took = world.run_until(ms(1000), is_active(1));
            assert!(took.is_some(), "{levels:?}, after {silent_for} ms:\n{}", world.story());
        }
    }
}

/// While frozen, the other is seen to serve after all.
#[test]
fn frozen_becomes_isolated_when_the_vips_answer_again() {
    let mut world = World::settled(Plan::patient(ms(2000)));
    world.set_modes(0, Mode::Dead);
    world.set_parted(0, 1, true);
    world.cut_all(0, 1, true);
    world.run(ms(1000));
    assert!(world.is(1, PeerState::Frozen));
    world.set_parted(0, 1, false);
    assert!(world.run_until(ms(300), |w| w.is(1, PeerState::Isolated)).is_some());
    world.run(ms(10_000));
    assert_eq!(world.holders(), [0]);
    world.cut_all(0, 1, false);
    world.run(ms(100));
    assert!(world.is(1, PeerState::Standby) && world.is(0, PeerState::Active));
}

// The operator's word, refused.

#[test]
fn confirm_off_is_refused_for_who_is_no_peer() {
    let mut world = frozen_by(Mode::Dead);
    assert_eq!(world.confirm_off(1, 1, true), Answer::Denied(Denial::NotAPeer));
    assert_eq!(world.confirm_off(1, 6, true), Answer::Denied(Denial::NotAPeer));
}

#[test]
fn confirm_off_is_refused_while_the_peer_is_heard_force_or_not() {
    let mut world = World::pair();
    for force in [false, true] {
        assert_eq!(world.confirm_off(1, 0, force), Answer::Denied(Denial::Heard));
    }
}

#[test]
fn confirm_off_is_refused_by_a_holder_and_where_a_proof_is_there() {
    let mut world = World::pair();
    world.power_off(1);
    world.run(ms(200));
    assert_eq!(world.confirm_off(0, 1, true), Answer::Denied(Denial::NotNeeded));

    // A goodbye is a proof already; what is missing is the ability to take over.
    let mut world = World::pair();
    world.machines[1].taking = Taking::FailsHalfWay;
    world.stop(0);
    world.run(ms(300));
    assert_eq!(world.confirm_off(1, 0, true), Answer::Denied(Denial::NotNeeded));
}

#[test]
fn confirm_off_is_refused_while_the_vips_answer_unless_forced() {
    let mut world = World::settled(Plan::patient(ms(60_000)));
    world.cut_all(0, 1, true);
    world.run(ms(1000));
    assert!(world.is(1, PeerState::Isolated));
    assert_eq!(world.confirm_off(1, 0, false), Answer::Denied(Denial::Answers));
    assert_eq!(world.holders(), [0]);
    // The operator insists, and is wrong.
    world.excused = true;
    assert_eq!(world.confirm_off(1, 0, true), Answer::Accepted);
    world.run(ms(50));
    world.expect_told(1, "overruling evidence to the contrary");
    // Seen on the service networks, the newer claim makes the older holder give way.
    assert_eq!(world.holders(), [1]);
}

#[test]
fn confirm_off_is_refused_while_a_device_reads_on_unless_forced() {
    let mut world = frozen_by(Mode::StaysOn);
    let denial = Denial::ReadsOn(DeviceId(0));
    assert_eq!(world.confirm_off(1, 0, false), Answer::Denied(denial));
    assert_eq!(world.confirm_off(1, 0, true), Answer::Accepted);
    assert!(world.run_until(ms(10), is_active(1)).is_some());
}

/// A device that said on long ago and is dead now says nothing against it.
#[test]
fn confirm_off_is_not_refused_for_a_reading_from_before_the_loss() {
    let mut world = frozen_by(Mode::Dead);
    assert_eq!(world.confirm_off(1, 0, false), Answer::Accepted);
}

/// At the start nobody has looked yet: the word would come before the evidence.
#[test]
fn confirm_off_is_refused_before_anybody_could_look() {
    let mut world = World::pair();
    world.cut_all(0, 1, true);
    world.crash(1);
    world.start_daemon(1);
    world.run(ms(20));
    assert_eq!(world.confirm_off(1, 0, false), Answer::Denied(Denial::NotLooked));
    world.run(INITDEAD + ms(100));
    assert!(world.is(1, PeerState::Isolated));
    assert_eq!(world.confirm_off(1, 0, false), Answer::Denied(Denial::Answers));
    assert_eq!(world.holders(), [0]);
}

/// A deaf node does not see anybody answer.
#[test]
fn confirm_off_is_refused_by_a_node_that_is_deaf() {
    let mut world = World::pair();
    world.set_modes(0, Mode::Dead);
    world.set_carrier(1, 0, false);
    world.set_carrier(1, 1, false);
    world.cut_all(0, 1, true);
    world.run(ms(5000));
    assert_eq!(world.confirm_off(1, 0, false), Answer::Denied(Denial::PathBad));
    world.set_carrier(1, 0, true);
    world.set_carrier(1, 1, true);
    world.run(ms(2000));
    assert_eq!(world.holders(), [0]);
}

/// What was confirmed is void when the node is heard before the word was used.
#[test]
fn a_confirmed_word_is_void_when_the_peer_is_heard() {
    let mut world = frozen_by(Mode::Dead);
    world.set_carrier(1, 0, false);
    world.set_carrier(1, 1, false);
    assert_eq!(world.confirm_off(1, 0, true), Answer::Accepted);
    world.run(ms(50));
    assert_eq!(world.confirm_off(1, 0, true), Answer::Denied(Denial::NotNeeded));
    world.machines[0].carrier[..2].copy_from_slice(&[false, false]);
    world.machines[0].autostart = true;
    world.power_on(0);
    world.run(ms(410));
    world.expect_told(1, "proof void: a was proven (an operator confirmed it)");
    world.set_carrier(1, 1, true);
    world.run(ms(50));
    assert!(world.is(1, PeerState::Active), "`a` is worse off, and grants it");
    world.expect_told(1, "standby -> acquiring term=2: granted by the peer");
}

/// In: a standby that neither hears nor sees the active is frozen, and suspended while it looks at
/// the device once more; the cut heals meanwhile.
/// Out: the device's answer is taken in before the active's words, and nothing follows from it: the
/// healthy host is not shot.
#[test]
fn a_suspended_node_does_not_shoot_at_what_it_looked_at_before() {
    for suspended_for in [ms(10), ms(2000)] {
        let mut world = World::pair();
        world.set_modes(0, Mode::StaysOn);
        world.cut_all(0, 1, true);
        world.set_parted(0, 1, true);
        assert!(world.run_until(ms(1000), |w| w.is(1, PeerState::Frozen)).is_some());
        world.devices[0].delay = ms(30);
        let orders = world.devices[0].orders;
        let looks = |w: &World| w.devices[0].orders > orders;
        assert!(world.run_until(ms(6000), looks).is_some(), "{}", world.story());
        world.set_modes(0, Mode::Works);
        world.pause(1);
        world.run(ms(35));
        world.cut_all(0, 1, false);
        world.run(suspended_for);
        world.resume(1);
        world.run(ms(3000));
        assert_eq!(world.cuts_of(0), 0, "{suspended_for:?}:\n{}", world.story());
        assert_eq!(world.holders(), [0], "{}", world.story());
    }
}

/// In: a fence device cuts the power and cannot tell; the host is switched on again, and while it
/// boots the node that fenced it stands still for longer than a deadtime. Out: what the device was
/// told is not forgotten over that, and the host is left to boot.
#[test]
fn a_host_that_boots_is_not_cut_again_because_its_fencer_stood_still() {
    let mut world = World::pair();
    world.devices[0].mode = Mode::Unclear;
    world.crash(0);
    assert!(world.run_until(ms(3000), |w| w.is(1, PeerState::Frozen)).is_some());
    world.run(ms(1000));
    let cuts = world.cuts_of(0);
    assert_eq!(cuts, 1, "{}", world.story());
    world.power_on(0);
    world.run(ms(50));
    world.pause(1);
    world.run(ms(150));
    world.resume(1);
    assert!(world.run_until(ms(3000), |w| w.holders().len() == 1).is_some(), "{}", world.story());
    assert_eq!(world.cuts_of(0), cuts, "{}", world.story());
}

/// In: frozen by an agent that took the command and left the power on; then it breaks, the host
/// loses its power, and the agent is mended. Out: it is told again, and its off is proof: what it
/// took before it broke is no reason to leave it alone.
#[test]
fn an_agent_that_is_mended_is_told_again() {
    let mut world = World::settled(Plan { agents: true, ..Plan::default() });
    world.set_modes(0, Mode::StaysOn);
    world.crash(0);
    world.machines[0].kernel.clear();
    let took = world.run_until(ms(1000), |w| w.is(1, PeerState::Frozen));
    assert!(took.is_some(), "{}", world.story());
    world.set_modes(0, Mode::Refuses(FenceFault::AgentFailed));
    world.run(ms(4000));
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
    world.power_off(0);
    world.set_modes(0, Mode::Works);
    let took = world.run_until(ms(10_000), |w| w.is(1, PeerState::Active));
    assert!(took.is_some(), "{}", world.story());
}

/// In: frozen by a device that hung, or kept the power on; then its agent breaks, so that it ends
/// like one that reads off whatever it is asked. Out: nothing is proven by that.
#[test]
fn an_agent_that_breaks_while_frozen_proves_nothing() {
    for mode in [Mode::Hangs, Mode::StaysOn] {
        let mut world = frozen_by(mode);
        world.machines[0].powered = true;
        world.set_modes(0, Mode::Refuses(FenceFault::AgentFailed));
        world.run(ms(20_000));
        assert!(world.is(1, PeerState::Frozen), "{mode:?}: {}", world.story());
    }
}

/// In: two agents switch the outlets of a host; one took its command, and is told again and given
/// up in each round, because the other one is dead. That one works again. Out: proof.
#[test]
fn an_agent_whose_command_was_given_up_is_told_again() {
    // Given up while it is carried out, and before that has begun.
    for delay in [ms(3), ms(2)] {
        let mut world = World::settled(Plan { agents: true, levels: vec![2], ..Plan::default() });
        world.devices[1].mode = Mode::Dead;
        world.devices[1].delay = delay;
        world.crash(0);
        world.machines[0].kernel.clear();
        let took = world.run_until(ms(1000), |w| w.is(1, PeerState::Frozen));
        assert!(took.is_some(), "{}", world.story());
        world.run(ms(2000));
        world.devices[1].mode = Mode::Works;
        let took = world.run_until(ms(10_000), |w| w.is(1, PeerState::Active));
        assert!(took.is_some(), "{}", world.story());
    }
}

/// In: frozen by a dead device; it works again, but takes two fifths of its level's timeout for
/// each answer, and is looked at, told and read. Out: proof, as it would have been in the first
/// round.
#[test]
fn a_slow_device_has_the_time_of_its_level_once_it_was_looked_at() {
    let mut world = frozen_by(Mode::Dead);
    world.devices[0].delay = world.plan.timing.level_timeout * 2 / 5;
    world.devices[0].mode = Mode::Works;
    let took = world.run_until(ms(10_000), |w| w.is(1, PeerState::Active));
    assert!(took.is_some(), "{}", world.story());
}

/// In: an agent reads its outlet off, and takes long to end; meanwhile somebody switches that
/// outlet on again, and the other one goes off and is read. Out: no proof by the answer that comes
/// last and tells what was first.
#[test]
fn the_agent_that_ends_last_is_not_the_one_that_was_read_last() {
    let timing = Timing { level_timeout: ms(1000), ..Timing::QUICK };
    let plan = Plan { agents: true, levels: vec![2], timing, ..Plan::default() };
    let mut world = World::settled(plan);
    world.devices[0].delay = ms(300);
    world.devices[1].delay = ms(40);
    world.crash(0);
    world.machines[0].kernel.clear();
    let took = world.run_until(ms(1000), |w| w.devices[1].cuts > 0);
    assert!(took.is_some(), "{}", world.story());
    // It is told by 40 ms, looks by 140 ms, and ends by 440 ms.
    world.devices[1].delay = ms(400);
    world.run(ms(125));
    assert_eq!(world.devices[0].cuts, 0, "{}", world.story());
    world.devices[1].outlet_on = true;
    let took = world.run_until(ms(100), |w| w.devices[0].cuts > 0);
    assert!(took.is_some() && world.machines[0].powered, "{}", world.story());
    world.run(ms(145));
    world.devices[0].delay = ms(2);
    world.run(ms(150));
    assert!(!world.is(1, PeerState::Active), "{}", world.story());
    world.devices[1].delay = ms(2);
    let took = world.run_until(ms(10_000), |w| w.is(1, PeerState::Active));
    assert!(took.is_some() && !world.machines[0].powered, "{}", world.story());
}
