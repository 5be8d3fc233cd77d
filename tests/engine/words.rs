//! What the nodes say to each other: grants, releases, goodbyes, and messages out of their time.

use std::time::Duration;

use tandem::engine::Input;
use tandem::engine::event::Refusal;
use tandem::types::{Heartbeat, LinkId, NicId, PeerState, Term};

use tandem::sim::{Disk, Happening, Mode, Noise, Plan, Taking, World, ms};

use crate::rows::detection;
use crate::{DEADTIME, KEEPALIVE};

fn is_active(machine: usize) -> impl Fn(&World) -> bool {
    move |world| world.is(machine, PeerState::Active)
}

fn hear(world: &mut World, machine: usize, heartbeat: Heartbeat) {
    let at = world.local(machine);
    world.give(machine, Input::Heard { link: heartbeat.link, at, heartbeat });
}

#[test]
fn on_a_goodbye_the_standby_takes_over_at_once() {
    let mut world = World::pair();
    world.forget();
    world.stop(0);
    let took = world.run_until(ms(100), is_active(1));
    // Release, a heartbeat, three addresses' worth of taking.
    assert!(took.is_some_and(|t| t <= ms(2)), "{took:?}:\n{}", world.story());
    world.expect_told(1, "released by the peer (non-STONITH)");
    world.run(ms(50));
    assert!(world.machines[0].exited, "it has ended:\n{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
    assert!(world.machines[0].mark.is_some_and(|mark| !mark.holding));
}

#[test]
fn a_standby_that_stops_is_missed_and_not_fenced() {
    let mut world = World::pair();
    world.forget();
    world.stop(1);
    world.run(ms(3000));
    assert!(world.machines[1].exited);
    assert!(world.is(0, PeerState::Active));
    assert_eq!(world.cuts_of(1), 0);
    world.expect_told(0, "degraded: b is missing");
}

#[test]
fn both_may_stop_together() {
    let mut world = World::pair();
    world.stop(1);
    world.stop(0);
    world.run(ms(500));
    assert!(world.machines[0].exited && world.machines[1].exited, "{}", world.story());
    assert!(world.holders().is_empty());
}

#[test]
fn a_goodbye_that_nobody_hears_ends_after_two_deadtimes() {
    let mut world = World::pair();
    world.cut_all(0, 1, true);
    world.stop(1);
    let took = world.run_until(ms(200), |w| w.machines[1].exited);
    assert!(took.is_some_and(|t| t <= ms(121)), "{took:?}");
}

// In: a standby that is told to end in the very moment of a heartbeat; that one is heard and
// answered, and nothing that it says afterwards arrives.
// Out: it does not take that answer for one to its goodbye, and waits for as long as it may.
#[test]
fn an_echo_of_what_was_said_just_before_acknowledges_no_goodbye() {
    let mut world = World::pair();
    let due = world.tick_due(1).unwrap();
    world.run(due.since(world.now));
    world.tick(1);
    world.stop(1);
    world.queue.retain(|happening| match happening {
        Happening::Deliver { heartbeat, .. } => heartbeat.state != PeerState::Stopped,
        _ => true,
    });
    for link in 0..2 {
        world.set_cut(link, 1, 0, true);
    }
    world.run(KEEPALIVE * 3);
    assert!(!world.machines[1].exited, "{}", world.story());
    world.run(DEADTIME * 2);
    assert!(world.machines[1].exited, "{}", world.story());
}

/// A holder that cannot give its resources up neither says so nor ends.
#[test]
fn who_cannot_release_never_says_goodbye() {
    let mut world = World::pair();
    world.machines[0].release_fails = true;
    world.stop(0);
    world.run(ms(5000));
    assert!(world.is(0, PeerState::Releasing) && !world.machines[0].exited);
    assert!(world.is(1, PeerState::Standby));
    assert_eq!(world.told_times(0, "release failed"), 1);
    world.machines[0].release_fails = false;
    assert!(world.run_until(ms(1100), is_active(1)).is_some());
}

/// The word of a node whose purge of leftovers has failed and rests would be false.
#[test]
fn who_still_has_leftovers_never_says_goodbye() {
    for rest in [ms(1), ms(500)] {
        let mut world = World::pair();
        world.machines[0].mark = None;
        world.machines[0].release_fails = true;
        world.crash(0);
        world.start_daemon(0);
        world.run(rest);
        world.stop(0);
        world.run(ms(3000));
        assert!(!world.machines[0].exited);
        assert_eq!(world.holders(), [0], "{}", world.story());
        world.machines[0].release_fails = false;
        assert!(world.run_until(ms(2000), is_active(1)).is_some(), "{}", world.story());
        assert!(world.run_until(ms(500), |w| w.machines[0].exited).is_some());
    }
}

/// Node `b` believes the goodbye of the former daemon of `a`, and has released itself. Until it has
/// accepted the new daemon of `a`, what it says to it must not be a word that it could act on too.
#[test]
fn the_answer_to_an_introduction_is_no_word_of_release() {
    for phase in 0..10 {
        let mut world = World::pair();
        world.machines[1].taking = Taking::FailsHalfWay;
        world.stop(0);
        world.run(ms(200 + phase));
        assert!(world.machines[0].exited);
        world.expect_told(1, "acquire failed");
        world.machines[1].taking = Taking::Works;
        // The new daemon of `a` is answered once, and then does not reach `b` any more.
        world.forget();
        world.start_daemon(0);
        let answered = world.run_until(ms(5), |w| w.told(0, "b heard for the first time"));
        assert!(answered.is_some());
        for link in 0..2 {
            world.set_cut(link, 0, 1, true);
        }
        world.queue.retain(|happening| !matches!(happening, Happening::Deliver { to: 1, .. }));
        world.run(ms(2000));
        assert_eq!(world.holders(), [1], "{}", world.story());
    }
}

/// A word of release from before a later takeover proves nothing.
#[test]
fn a_release_of_an_older_term_is_no_proof() {
    let mut world = World::pair();
    // `a` gives up, because its taking of a later term fails; `b` holds; `a` still says released.
    world.stop(0);
    world.run(ms(100));
    world.start_daemon(0);
    world.run(ms(500));
    assert!(world.is(1, PeerState::Active) && world.is(0, PeerState::Standby));
    // A rival's old word, as `a` would have said it had it released term 1 in this life.
    world.story.keep_sent = true;
    world.run(ms(20));
    let last = world.story.sent.iter().rev().find(|h| h.from == Plan::node_id(0)).copied().unwrap();
    let mut word = last;
    word.flags.released = true;
    word.held_term = Term(1);
    word.seq.0 += 1;
    world.power_off(0);
    world.set_modes(0, Mode::Dead);
    hear(&mut world, 1, word);
    // `b` must release and try again: the old word must not let it in.
    world.machines[1].daemon = None;
    world.machines[1].kernel.clear();
    world.machines[1].mark = None;
    world.start_daemon(1);
    world.run(ms(50));
    word.echo_incarnation = world.node(1).snapshot().incarnation;
    word.echo_session.0 = 0;
    hear(&mut world, 1, word);
    world.run(ms(2000));
    assert!(world.holders().is_empty(), "{}", world.story());
}

/// Both are alone in their own view, then hear each other in the same moment, and both ask.
#[test]
fn grants_that_cross_make_one_active() {
    for preferred in [None, Some(1), Some(2)] {
        for delay_us in [50, 200, 4000, 12_000] {
            let plan = Plan { preferred, ..Plan::default() };
            let mut world = World::new(plan);
            world.set_modes(0, Mode::Dead);
            world.set_modes(1, Mode::Dead);
            world.link_delay = Duration::from_micros(delay_us);
            world.cut_all(0, 1, true);
            world.start_daemon(0);
            world.start_daemon(1);
            world.run(ms(2000));
            assert!(world.is(0, PeerState::Frozen) && world.is(1, PeerState::Frozen));
            world.cut_all(0, 1, false);
            let took = world.run_until(ms(200), |w| w.holders().len() == 1);
            assert!(took.is_some(), "{}", world.story());
            world.run(ms(500));
            assert_eq!(world.holders(), [usize::from(preferred == Some(2))]);
            assert_eq!(
                world.told_times(0, "-> acquiring") + world.told_times(1, "-> acquiring"),
                1
            );
        }
    }
}

/// Three nodes, two of which ask the third for the same term in the same moment.
#[test]
fn an_ask_for_a_term_that_another_was_granted_is_answered_with_a_higher_term() {
    let mut world = World::new(Plan { nodes: 3, ..Plan::default() });
    world.story.keep_sent = true;
    for machine in 0..3 {
        world.machines[machine].carrier[..2].copy_from_slice(&[false, false]);
        world.start_daemon(machine);
    }
    world.run(ms(400));
    let to_c = |world: &World, from: usize| {
        let said = |h: &&Heartbeat| h.from == Plan::node_id(from) && h.to == Plan::node_id(2);
        let mut last = world.story.sent.iter().rev().find(said).copied().unwrap();
        last.seq.0 += 1;
        last.ask = Term(5);
        last.term = Term(5);
        last
    };
    for asker in [1, 0] {
        let ask = to_c(&world, asker);
        hear(&mut world, 2, ask);
    }
    world.expect_told(2, "granted: b may take over term=5");
    world.expect_untold(2, "granted: a");
    let to_a = |h: &&Heartbeat| h.from == Plan::node_id(2) && h.to == Plan::node_id(0);
    let answer = world.story.sent.iter().rev().find(to_a).unwrap();
    assert_eq!((answer.grant, answer.term), (Term::NONE, Term(6)));
}

/// The one that grants and the one that asks are cut from each other at every moment of it.
#[test]
fn a_cut_in_the_middle_of_a_grant_never_makes_two() {
    for cut_at_us in (0..8000).step_by(100) {
        for direction in 0..3 {
            let mut world = World::new(Plan::default());
            world.set_parted(0, 1, true);
            world.start_daemon(0);
            world.start_daemon(1);
            world.run(Duration::from_micros(cut_at_us));
            for link in 0..2 {
                world.set_cut(link, 0, 1, direction != 1);
                world.set_cut(link, 1, 0, direction != 0);
            }
            world.run(ms(1500));
            world.cut_all(0, 1, false);
            world.run(ms(1500));
            assert_eq!(world.holders().len(), 1, "{cut_at_us} {direction}:\n{}", world.story());
        }
    }
}

/// A grant that is late because a disk delays its use is void if the asker was suspended.
#[test]
fn a_grant_does_not_outlive_a_suspension() {
    let mut world = World::new(Plan::default());
    world.machines[0].disk = Disk::Hangs;
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(50));
    world.expect_told(1, "granted: a may take over");
    assert!(world.holders().is_empty(), "it waits for its disk");
    world.pause(0);
    world.run(ms(3000));
    assert!(world.is(1, PeerState::Active), "{}", world.story());
}

#[test]
fn doubled_reordered_and_lost_heartbeats_move_nothing() {
    let mut world = World::settled(Plan { links: 3, ..Plan::default() });
    world.forget();
    world.network.noise = Noise { loss: 10, double: 30, late: 5 };
    world.run(ms(10_000));
    world.expect_untold(0, "role ");
    world.expect_untold(1, "role ");
    assert!(world.node(0).refused(Refusal::Replayed) > 100);
    assert_eq!(world.told_times(1, "peer a is"), 0, "an older heartbeat is no news");
}

/// An older heartbeat that arrives behind a newer one is not told as a change.
#[test]
fn a_late_heartbeat_is_not_told_as_the_peers_role() {
    let mut world = World::new(Plan::default());
    world.story.keep_sent = true;
    world.set_cut(1, 0, 1, true);
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(3));
    // One that did not come on the second link until now.
    let from_a = |h: &&Heartbeat| h.from == Plan::node_id(0) && h.link == LinkId(1);
    let early = world.story.sent.iter().rev().find(from_a).copied().unwrap();
    assert!(!early.state.may_hold());
    world.run(ms(40));
    assert!(world.is(0, PeerState::Active));
    world.forget();
    hear(&mut world, 1, early);
    world.expect_told(1, "link link1 to a: up");
    world.expect_untold(1, "peer a is");
    assert_eq!(world.node(1).snapshot().peers[0].told.unwrap().0, PeerState::Active);
}

#[test]
fn heartbeats_of_strangers_for_others_and_of_other_links_are_refused() {
    let mut world = World::pair();
    world.story.keep_sent = true;
    world.run(ms(20));
    let good = world.story.sent.iter().rev().find(|h| h.from == Plan::node_id(0)).copied().unwrap();
    world.forget();
    let mut stranger = good;
    stranger.from = tandem::types::NodeId::new(7).unwrap();
    let mut for_others = good;
    for_others.to = Plan::node_id(0);
    for _ in 0..500 {
        hear(&mut world, 1, stranger);
        hear(&mut world, 1, for_others);
        let at = world.local(1);
        let link = LinkId(1 - good.link.0);
        world.give(1, Input::Heard { link, at, heartbeat: good });
        hear(&mut world, 1, good);
    }
    for reason in [Refusal::Stranger, Refusal::NotForUs, Refusal::OtherLink] {
        assert_eq!(world.node(1).refused(reason), 500, "{reason:?}");
    }
    assert!(world.node(1).refused(Refusal::Replayed) >= 499);
    assert!(world.story.events.len() <= 8, "told at most once a second:\n{}", world.story());
    assert!(world.is(1, PeerState::Standby));
}

/// Recorded heartbeats of an earlier life neither count nor keep a dead peer alive.
#[test]
fn recorded_heartbeats_of_an_earlier_life_prove_nothing() {
    let mut world = World::pair();
    world.story.keep_sent = true;
    world.run(ms(30));
    let old: Vec<Heartbeat> =
        world.story.sent.iter().filter(|h| h.from == Plan::node_id(0)).copied().collect();
    world.story.keep_sent = false;
    world.crash(0);
    world.start_daemon(0);
    world.run(ms(100));
    world.forget();
    world.power_off(0);
    for round in 0..40 {
        for heartbeat in &old {
            hear(&mut world, 1, *heartbeat);
        }
        world.run(ms(2));
        assert!(round < 39 || world.is(1, PeerState::Active), "{}", world.story());
    }
    assert!(world.node(1).refused(Refusal::Unproven) > 100);
    // It has gone on for 80 ms, 20 ms longer than a deadtime.
    assert_eq!(world.told_times(1, "refused: heartbeat as from a"), 1);
}

/// Recordings that go on are told once a second.
#[test]
fn a_recording_that_goes_on_is_told_once_a_second() {
    let mut world = World::pair();
    world.story.keep_sent = true;
    world.run(ms(30));
    let from_a = |h: &&Heartbeat| h.from == Plan::node_id(0);
    let old = world.story.sent.iter().rev().find(from_a).copied().unwrap();
    world.story.keep_sent = false;
    world.crash(0);
    world.start_daemon(0);
    world.run(ms(100));
    world.forget();
    let before = world.node(1).refused(Refusal::Unproven);
    for round in 0..3000 / 20 {
        hear(&mut world, 1, old);
        assert!(round > 2 || !world.told(1, "refused"), "{round}: {}", world.story());
        world.run(ms(20));
    }
    assert_eq!(world.told_times(1, "does not hear us, or was recorded"), 3, "{}", world.story());
    assert_eq!(world.node(1).refused(Refusal::Unproven), before + 3000 / 20);
    world.expect_untold(1, "role ");
}

/// How every daemon begins is no attack, however often.
#[test]
fn a_peer_that_restarts_again_and_again_is_not_told_as_refused() {
    let mut world = World::pair();
    world.link_delay = ms(3);
    world.forget();
    for lives in 0..40 {
        world.crash(1);
        world.run(ms(lives % 7 * 10));
        world.start_daemon(1);
        world.run(ms(8 + lives % 5 * 10));
    }
    world.run(ms(100));
    for machine in 0..2 {
        world.expect_untold(machine, "refused");
    }
}

/// One that is restarted and does not hear us introduces itself in vain.
#[test]
fn a_restarted_peer_that_does_not_hear_us_is_told() {
    let mut world = World::pair();
    world.crash(1);
    for link in 0..2 {
        world.set_cut(link, 0, 1, true);
    }
    world.start_daemon(1);
    world.forget();
    world.run(ms(500));
    world.expect_told(0, "refused: heartbeat as from b");
    world.expect_told(0, "it does not hear us");
}

/// In: all that `a` ever said is recorded, its first words to a daemon of `b` before the last one
/// among them; then `a` loses its power, and all of it is played to `b`.
/// Out: none of it is a sign of life: `b` takes over as soon as ever.
#[test]
fn what_was_said_before_an_acquaintance_is_no_sign_of_life() {
    let mut world = World::new(Plan::default());
    world.story.keep_sent = true;
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(400));
    world.crash(1);
    world.start_daemon(1);
    world.run(ms(100));
    assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
    let said = world.story.sent.iter().filter(|h| h.from == Plan::node_id(0));
    let said: Vec<Heartbeat> = said.copied().collect();
    world.story.keep_sent = false;
    world.power_off(0);
    for (index, heartbeat) in (0..).zip(said) {
        let happening = Happening::Deliver { to: 1, heartbeat };
        world.schedule(ms(1) + Duration::from_millis(index) / 2, happening);
    }
    let took = world.run_until(ms(2000), |w| w.is(1, PeerState::Active));
    assert!(took.is_some_and(|t| t <= detection() + ms(8)), "{took:?}:\n{}", world.story());
}

/// A node that restarts within the deadtime has forgotten what it promised, and must ask.
#[test]
fn a_standby_that_restarts_between_two_heartbeats_is_a_new_one() {
    let mut world = World::pair();
    world.forget();
    world.crash(1);
    world.start_daemon(1);
    world.run(KEEPALIVE * 3);
    world.expect_told(0, "b heard with a restarted daemon");
    assert!(world.is(1, PeerState::Standby) && world.is(0, PeerState::Active));
    world.expect_untold(0, "role ");
}

/// Both NICs go and come: nobody is left without a holder.
#[test]
fn carrier_that_comes_and_goes_at_a_cold_start_ends_with_one_active() {
    let mut world = World::new(Plan::default());
    world.machines[0].carrier[..2].copy_from_slice(&[false, false]);
    world.machines[1].carrier[..2].copy_from_slice(&[false, true]);
    world.start_daemon(0);
    world.start_daemon(1);
    world.run(ms(500));
    assert!(world.holders().is_empty() || world.holders() == [1]);
    for nic in 0..2 {
        world.set_carrier(0, nic, true);
        world.set_carrier(1, nic, true);
    }
    world.give(0, Input::Reach { nic: NicId(0), up: true });
    world.run(ms(500));
    assert_eq!(world.holders().len(), 1, "{}", world.story());
}

/// A term at the end of all terms would leave no room for a takeover.
#[test]
fn a_term_that_nobody_can_have_reached_is_refused() {
    let mut world = World::pair();
    world.story.keep_sent = true;
    world.run(ms(50));
    let before = world.node(1).snapshot().term;
    let last = world.story.sent.iter().rev().find(|h| h.from == Plan::node_id(0)).copied().unwrap();
    for field in 0..4 {
        let mut word = last;
        word.seq.0 += 100;
        let terms = [&mut word.term, &mut word.held_term, &mut word.ask, &mut word.grant];
        for (index, term) in terms.into_iter().enumerate() {
            if index == field {
                *term = Term(u64::MAX);
            }
        }
        hear(&mut world, 1, word);
    }
    world.run(ms(50));
    assert_eq!(world.node(1).snapshot().term, before);
    assert_eq!(world.node(1).refused(tandem::engine::event::Refusal::Term), 4);
}
