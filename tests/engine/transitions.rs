//! The role machine against its drawing, and a takeover against each missing piece of its proof.

use tandem::engine::role::is_allowed;
use tandem::engine::{Event, Input};
use tandem::types::{Heartbeat, Incarnation, LinkId, PeerState, Session, Term};

use tandem::sim::{Happening, Mode, Plan, World, ms};

const STATES: [PeerState; 9] = [
    PeerState::Joining,
    PeerState::Standby,
    PeerState::Isolated,
    PeerState::Fencing,
    PeerState::Frozen,
    PeerState::Acquiring,
    PeerState::Active,
    PeerState::Releasing,
    PeerState::Stopped,
];

/// Rows: from; columns: to, in the order of `STATES`. `x`: there is a way.
const DRAWING: [&str; 9] = [
    // J S I F Z A H R E
    ". x x x x x . . x", // joining
    ". . x x x x . . x", // standby
    ". x . x x x . . x", // isolated
    ". x x . x x . . x", // fencing
    ". x x x . x . . x", // frozen
    ". . . . . . x x .", // acquiring
    ". . . . . . . x .", // active
    ". x . . . . . . x", // releasing
    ". . . . . . . . .", // stopped
];

#[test]
fn every_pair_of_states_is_as_drawn() {
    for (from, row) in STATES.iter().zip(DRAWING) {
        for (to, cell) in STATES.iter().zip(row.split(' ')) {
            if from != to {
                assert_eq!(is_allowed(*from, *to), cell == "x", "{from:?} -> {to:?}");
            }
        }
    }
}

#[test]
fn nothing_leads_to_holding_but_acquiring_and_nothing_back_but_releasing() {
    for from in STATES {
        for to in STATES {
            if from == to || !is_allowed(from, to) {
                continue;
            }
            if to == PeerState::Active {
                assert_eq!(from, PeerState::Acquiring);
            }
            if from.may_hold() && !to.may_hold() {
                assert_eq!(from, PeerState::Releasing);
            }
        }
    }
}

/// Every change that a node has told in a world full of faults is in the drawing.
pub fn check_told(world: &World) {
    for (_, machine, event) in &world.story.events {
        if let Event::Role { from, to, .. } = event {
            assert!(is_allowed(*from, *to), "node {machine}: {from:?} -> {to:?}");
        }
    }
}

/// What is changed in a word.
type Change = fn(&mut Heartbeat);

/// Node `b`, alone with what `a` says: `a` has released term 1 and can be spoken for.
struct Listener {
    world: World,
    word: Heartbeat,
}

impl Listener {
    /// `b` has heard `a` release, but could not use it: it was deaf then. Its words are taken back
    /// by a later one, and `a` cannot be fenced.
    fn new() -> Self {
        let mut world = World::new(Plan { links: 1, ..Plan::default() });
        world.machines[1].carrier[..2].copy_from_slice(&[false, false]);
        world.story.keep_sent = true;
        world.start_daemon(0);
        world.start_daemon(1);
        world.run(ms(400));
        assert!(world.is(0, PeerState::Active));
        world.set_modes(0, Mode::Dead);
        let from_a = |h: &&Heartbeat| h.from == Plan::node_id(0);
        let mut word = world.story.sent.iter().rev().find(from_a).copied().unwrap();
        world.machines[0].autostart = false;
        world.power_off(0);
        world.queue.retain(|happening| !matches!(happening, Happening::Deliver { .. }));
        word.seq.0 += 1;
        word.state = PeerState::Standby;
        word.flags.released = true;
        word.held_term = Term(1);
        word.good_nics = 0;
        Self { world, word }
    }

    /// Whether `b` takes over on the word, once it can.
    fn takes_over_on(mut self, change: impl Fn(&mut Heartbeat)) -> bool {
        change(&mut self.word);
        let (heartbeat, world) = (self.word, &mut self.world);
        let at = world.local(1);
        world.give(1, Input::Heard { link: LinkId(0), at, heartbeat });
        world.set_carrier(1, 0, true);
        world.set_carrier(1, 1, true);
        world.run(ms(5000));
        check_told(world);
        world.is(1, PeerState::Active)
    }
}

#[test]
fn a_release_is_a_proof_only_with_every_piece_of_it() {
    assert!(Listener::new().takes_over_on(|_| {}), "all pieces there");
    let missing: [(&str, Change); 8] = [
        ("not released", |word| word.flags.released = false),
        ("it asks for a term itself", |word| word.ask = Term(9)),
        ("an older term than the newest", |word| word.held_term = Term(0)),
        ("it may hold", |word| word.state = PeerState::Releasing),
        ("it has leftovers", |word| word.flags.purging = true),
        ("not said to this life", |word| word.echo_incarnation = Incarnation(77)),
        ("said to nobody", |word| word.echo_incarnation = Incarnation::NONE),
        ("of another life that does not answer ours", |word| {
            word.incarnation = Incarnation(78);
            word.echo_session = Session(99);
        }),
    ];
    for (piece, change) in missing {
        assert!(!Listener::new().takes_over_on(change), "taken over though {piece}");
    }
}

#[test]
fn a_goodbye_is_a_proof_without_a_release_but_not_to_another_life() {
    let goodbye = |word: &mut Heartbeat| {
        word.state = PeerState::Stopped;
        word.flags.released = false;
        word.held_term = Term(0);
    };
    assert!(Listener::new().takes_over_on(goodbye));
    assert!(!Listener::new().takes_over_on(|word| {
        goodbye(word);
        word.echo_incarnation = Incarnation(77);
    }));
    assert!(!Listener::new().takes_over_on(|word| {
        goodbye(word);
        word.flags.purging = true;
    }));
}

/// `b` asks for a term of its own; only a grant of just that is one.
#[test]
fn a_grant_is_a_proof_only_for_the_term_that_was_asked_for() {
    for (offset, takes) in [(0, true), (-1, false), (1, false)] {
        let mut listener = Listener::new();
        let world = &mut listener.world;
        let mut word = listener.word;
        word.flags.released = false;
        word.flags.eligible = false;
        let at = world.local(1);
        world.set_carrier(1, 0, true);
        world.set_carrier(1, 1, true);
        world.forget();
        world.give(1, Input::Heard { link: LinkId(0), at, heartbeat: word });
        world.run(ms(5));
        let asked = world.story.sent.iter().rev().find(|h| h.ask != Term::NONE);
        let ask = asked.expect("it asks").ask;
        word.seq.0 += 1;
        word.grant = Term(ask.0.checked_add_signed(offset).unwrap());
        let at = world.local(1);
        world.give(1, Input::Heard { link: LinkId(0), at, heartbeat: word });
        world.run(ms(20));
        assert_eq!(world.is(1, PeerState::Active), takes, "offset {offset}:\n{}", world.story());
    }
}

#[test]
fn no_reading_but_off_after_the_command_is_a_proof() {
    for mode in [Mode::Dead, Mode::StaysOn, Mode::Hangs, Mode::Unclear] {
        let mut world = World::pair();
        world.set_modes(0, mode);
        world.crash(0);
        world.machines[0].kernel.clear();
        world.run(ms(10_000));
        assert!(world.is(1, PeerState::Frozen), "{mode:?}");
        check_told(&world);
    }
}

/// With three nodes one proof is not enough.
#[test]
fn one_proof_for_two_peers_is_not_enough() {
    let mut world = World::settled(Plan { nodes: 3, ..Plan::default() });
    world.set_modes(2, Mode::Dead);
    world.power_off(2);
    world.power_off(0);
    world.run(ms(5000));
    assert!(world.is(1, PeerState::Frozen), "{}", world.story());
    assert!(world.holders().is_empty());
    world.set_modes(2, Mode::Works);
    assert!(world.run_until(ms(6000), |w| w.is(1, PeerState::Active)).is_some());
}
