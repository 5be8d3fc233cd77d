//! Links of different rhythms, and lines that say things in turns.

use std::time::Duration;

use tandem::engine::event::{Degradation, LinkState};
use tandem::engine::{Event, Input};
use tandem::sim::{Plan, Timing, World, ms};
use tandem::types::{Incarnation, LinkId, Mac, PeerState, Seq};

use super::{DEADTIME, KEEPALIVE};

/// A pair whose first link is four times as quick as the second one.
fn two_rhythms() -> Plan {
    Plan { quicker: 4, in_turns: true, ..Plan::default() }
}

/// A pair on one serial line.
fn one_line() -> Plan {
    Plan { links: 1, in_turns: true, ..Plan::default() }
}

/// When the first event was told that is meant, after `from`.
fn told(world: &World, from: Duration, is_meant: impl Fn(&Event) -> bool) -> Option<Duration> {
    let events = world.story.events.iter();
    let at = events.filter(|(_, _, event)| is_meant(event)).map(|(at, _, _)| at.as_nanos());
    at.map(Duration::from_nanos).find(|at| *at >= from)
}

/// In: the active loses its power. Its quick link is dead after a quarter of the deadtime.
/// Out: that is told, and nothing follows from it before the slow link is dead as well.
#[test]
fn a_peer_is_lost_when_its_slowest_link_is_dead_and_not_before() {
    let mut world = World::settled(two_rhythms());
    world.story.kept = true;
    let begun = Duration::from_nanos(world.now.as_nanos());
    world.power_off(0);
    world.run(ms(1000));
    let is_down = |event: &Event| {
        matches!(event, Event::Link { link: LinkId(0), state: LinkState::Down, .. })
    };
    let down = told(&world, begun, is_down).unwrap() - begun;
    assert!(down <= DEADTIME / 4 + KEEPALIVE, "{down:?}");
    let is_lost = |event: &Event| matches!(event, Event::PeerLost { .. });
    let lost = told(&world, begun, is_lost).unwrap() - begun;
    assert!(lost >= DEADTIME - KEEPALIVE - ms(1), "{lost:?}");
    assert!(lost <= DEADTIME + KEEPALIVE, "{lost:?}");
    let is_fence = |event: &Event| matches!(event, Event::FenceLevel { .. });
    assert!(told(&world, begun, is_fence).unwrap() >= begun + lost);
    assert!(world.is(1, PeerState::Active), "{}", world.story());
}

/// In: the quick link is cut, then mended; then the slow one.
/// Out: told, and nothing else: one link that is heard is enough.
#[test]
fn links_of_different_rhythms_stand_in_for_each_other() {
    for link in [0, 1] {
        let mut world = World::settled(two_rhythms());
        world.set_cut(link, 0, 1, true);
        world.set_cut(link, 1, 0, true);
        world.run(ms(1000));
        assert!(world.is(0, PeerState::Active) && world.is(1, PeerState::Standby));
        let view = world.node(1).snapshot();
        let states: Vec<_> = view.peers[0].links.iter().map(|link| link.state).collect();
        let cut = usize::from(link);
        assert_eq!((states[cut], states[1 - cut]), (LinkState::Down, LinkState::Up));
        assert_eq!(world.cuts_of(0), 0);
    }
}

/// In: at a start only the quick link has brought a word when both are cut.
/// Out: until the slow link's own deadtime the peer is late, not lost: its first word may be on its
/// way.
#[test]
fn a_link_that_was_not_heard_yet_is_given_its_own_deadtime() {
    let mut world = World::new(two_rhythms());
    world.set_cut(1, 0, 1, true);
    world.set_cut(1, 1, 0, true);
    world.start_daemon(0);
    world.start_daemon(1);
    let heard = |world: &World| {
        let daemon = world.machines[1].daemon.as_ref();
        daemon.is_some_and(|daemon| daemon.node.snapshot().peers[0].heard)
    };
    let started = world.run_until(ms(5000), heard);
    assert!(started.is_some(), "{}", world.story());
    world.cut_all(0, 1, true);
    world.run(DEADTIME / 4 + KEEPALIVE);
    assert!(heard(&world), "lost before the slow link could speak");
    world.run(DEADTIME + KEEPALIVE);
    assert!(!heard(&world), "{}", world.story());
}

/// In: a pair on one line, whose configurations differ.
/// Out: all MACs are known after some turns, and that the files differ is told once: a heartbeat
/// that says nothing of it says nothing else.
#[test]
fn what_a_heartbeat_does_not_say_stays_as_it_was_said() {
    let mut world = World::settled(Plan { config_digests: [7, 8, 8, 8], ..one_line() });
    world.story.kept = true;
    world.forget();
    world.run(ms(2000));
    for (node, other) in [(0, 1), (1, 0)] {
        let macs = world.node(node).snapshot().peers[0].macs;
        assert_eq!(macs[..2], [Plan::mac(other, 0), Plan::mac(other, 1)]);
        assert!(macs[2..].iter().all(|mac| *mac == Mac::NONE));
        let trouble = world.node(node).snapshot().degraded;
        let differs = |what: &Degradation| matches!(what, Degradation::ConfigDiffers(_));
        assert!(trouble.iter().any(|(what, _)| differs(what)), "{trouble:?}");
    }
    let tells_again = world.story.events.iter().any(|(_, _, event)| {
        matches!(event, Event::Degraded { what: Degradation::ConfigDiffers(_), .. })
    });
    assert!(!tells_again, "told when it was settled, and not since");
}

/// In: another life of the active is heard once, over a line, and says nothing of its MACs or all
/// of them; then nothing, but an unknown MAC answers for a VIP.
/// Out: as long as not all MACs of a life are told, any answer may be its: it is left serving. Once
/// they are, a stranger's answer is no sign of it.
#[test]
fn until_all_macs_of_a_life_are_told_any_answer_may_be_its() {
    for tells in [false, true] {
        let mut world = World::settled(Plan { timing: patient(), ..one_line() });
        world.story.keep_sent = true;
        world.run(KEEPALIVE * 3);
        let last = |of: u8| {
            let sent = world.story.sent.iter().rev();
            *sent.clone().find(|said| said.from.get() == of).unwrap()
        };
        let (mut word, ours) = (last(1), last(2));
        word.incarnation = Incarnation(0x7777);
        word.seq = Seq(1);
        word.echo_session = ours.session;
        word.macs = word.macs.map(|mac| mac.filter(|_| tells));
        world.power_off(0);
        let at = world.local(1);
        world.give(1, Input::Heard { link: LinkId(0), at, heartbeat: word });
        let view = world.node(1).snapshot();
        assert_eq!(view.peers[0].incarnation, Some(Incarnation(0x7777)), "{tells}");
        for _ in 0..30 {
            world.run(ms(10));
            if world.is(1, PeerState::Standby) || world.is(1, PeerState::Isolated) {
                world.claim(1, 0, Mac([2, 0, 0, 0, 9, 9]));
            }
        }
        assert_eq!(world.is(1, PeerState::Isolated), !tells, "{tells}: {}", world.story());
        assert_eq!(world.cuts_of(0) == 0, !tells, "{tells}");
    }
}

fn patient() -> Timing {
    Timing { grace: ms(10_000), ..Timing::QUICK }
}
