//! Two rings that talk to each other, through every step of a change and every wrong one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use crate::types::heartbeat::{Flags, LINKS_MAX, NICS_MAX};
use crate::types::{BootId, Hears, LinkId, Mac, MachineId, PeerState, Session, Term};

const OLD: &[u8] = b"the old key of the pair";
const NEW: &[u8] = b"the new key of the pair";
const OTHER: &[u8] = b"a key that nobody else has";
const KEEPALIVE: Duration = Duration::from_millis(20);

fn keys(first: &[u8], second: Option<&[u8]>) -> Keys {
    Keys::new(first, second).unwrap()
}

/// What a node says in that life.
pub(in crate::daemon) fn heartbeat(from: u8, life: u64, seq: u64) -> Heartbeat {
    Heartbeat {
        from: NodeId::new(from).unwrap(),
        to: NodeId::new(3 - from).unwrap(),
        link: LinkId(0),
        incarnation: Incarnation(life),
        boot: BootId([1; 16]),
        seq: Seq(seq),
        state: PeerState::Standby,
        term: Term(1),
        held_term: Term(1),
        ask: Term::NONE,
        grant: Term::NONE,
        flags: Flags::default(),
        echo_incarnation: Incarnation(9),
        echo_session: Session(1),
        session: Session(1),
        sent: seq,
        echo_sent: 0,
        echo_held: 0,
        config_digest: Some(0),
        failcount_digest: Some(0),
        machine: Some(MachineId::UNKNOWN),
        good_nics: 0,
        macs: [Some(Mac::NONE); NICS_MAX],
        hears: [Hears::NoLink; LINKS_MAX],
    }
}

/// Both nodes, and what they say to each other every 20 ms.
struct Pair {
    rings: [Keyring; 2],
    now: Instant,
    seq: u64,
    lives: [u64; 2],
    refused: u32,
}

impl Pair {
    fn new(a: Keys, b: Keys) -> Self {
        let ring =
            |keys, peer| Keyring::new(keys, [NodeId::new(peer).unwrap()].into_iter(), KEEPALIVE);
        let rings = [ring(a, 2), ring(b, 1)];
        let now = Instant::from_millis(1_000_000);
        let mut pair = Self { rings, now, seq: 0, lives: [1, 1], refused: 0 };
        pair.talk(400);
        pair
    }

    fn talk(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            self.now = self.now + KEEPALIVE;
            self.seq += 1;
            for from in [0usize, 1] {
                let number = u8::try_from(from).unwrap() + 1;
                let heartbeat = heartbeat(number, self.lives[from], self.seq);
                let sender = self.rings[from].keys();
                let (tag, hint) = (sender.tag(b"it"), sender.hint(self.seq));
                let receiver = &mut self.rings[1 - from];
                match receiver.keys().verify(b"it", &tag) {
                    Some(used) => receiver.note(&heartbeat, used, hint, self.now),
                    None => self.refused += 1,
                }
            }
        }
    }

    /// Asks until it need not wait any more, then takes.
    fn step(&mut self, node: usize, new: &Keys) -> Result<(), Denial> {
        for _ in 0..100 {
            match self.rings[node].prepare(new, false, self.now) {
                Err(Denial::Wait(_)) => self.talk(100),
                Err(denial) => return Err(denial),
                Ok(()) => return self.rings[node].take(new.clone(), false, self.now),
            }
        }
        Err(Denial::Wait(Duration::MAX))
    }

    /// A daemon starts again with these keys in its file.
    fn restart(&mut self, node: usize, file: Keys) {
        let peer = u8::try_from(2 - node).unwrap();
        self.rings[node] = Keyring::new(file, [NodeId::new(peer).unwrap()].into_iter(), KEEPALIVE);
        self.lives[node] += 1;
    }
}

#[test]
fn the_key_is_changed_in_any_order_of_the_nodes_and_nothing_is_refused() {
    for order in [[0, 1], [1, 0]] {
        for last in [[0, 1], [1, 0]] {
            let mut pair = Pair::new(keys(OLD, None), keys(OLD, None));
            let steps = [keys(OLD, Some(NEW)), keys(NEW, Some(OLD)), keys(NEW, None)];
            for (step, nodes) in steps.iter().zip([order, last, order]) {
                for node in nodes {
                    assert_eq!(pair.step(node, step), Ok(()), "{step:?} {node}");
                    // Done twice it is as if it were done once.
                    assert_eq!(pair.step(node, step), Ok(()), "{step:?} {node}");
                    pair.talk(400);
                }
            }
            assert_eq!(pair.refused, 0);
            assert_eq!(pair.rings[0].keys().sending(), keys(NEW, None).sending());
        }
    }
}

#[test]
fn no_step_is_taken_before_the_peer_is_ready_for_it() {
    let (old, both) = (keys(OLD, None), keys(OLD, Some(NEW)));
    let (new_both, new) = (keys(NEW, Some(OLD)), keys(NEW, None));
    let b = NodeId::new(2).unwrap();
    let mut pair = Pair::new(old.clone(), old);
    let not_accepted = Err(Denial::NotAccepted(b, new.sending()));
    assert_eq!(pair.step(0, &new), Err(Denial::PeerSends(b, both.sending())));
    assert_eq!(pair.step(0, &new_both), not_accepted, "not even added here");
    assert_eq!(pair.step(0, &both), Ok(()));
    pair.talk(400);
    assert_eq!(pair.step(0, &new_both), not_accepted);
    assert_eq!(pair.step(0, &new), Err(Denial::PeerSends(b, both.sending())));
    // The other node has a new key of its own: not the same one.
    assert_eq!(pair.step(1, &keys(OLD, Some(OTHER))), Ok(()));
    pair.talk(400);
    assert_eq!(pair.step(0, &new_both), not_accepted);
    assert_eq!(pair.step(1, &both), Ok(()));
    pair.talk(400);
    assert_eq!(pair.step(0, &new_both), Ok(()));
    pair.talk(400);
    // The peer sends with the old one; and it must not forget the new one either.
    assert_eq!(pair.step(0, &new), Err(Denial::PeerSends(b, both.sending())));
    let a = NodeId::new(1).unwrap();
    assert_eq!(pair.step(1, &keys(OLD, None)), Err(Denial::PeerSends(a, new.sending())));
    assert_eq!(pair.step(1, &new_both), Ok(()));
    pair.talk(400);
    assert_eq!(pair.step(0, &new), Ok(()));
    pair.talk(400);
    assert_eq!(pair.refused, 0);
}

/// Added on both, one operator gives the new key up while the other begins to send with it: one of
/// them is refused, whoever is first.
#[test]
fn a_key_that_is_given_up_is_not_sent_with_at_the_same_time() {
    let (old, both, new_both) = (keys(OLD, None), keys(OLD, Some(NEW)), keys(NEW, Some(OLD)));
    for delay in (0..4000).step_by(20) {
        let mut pair = Pair::new(both.clone(), both.clone());
        let first = pair.rings[0].prepare(&old, false, pair.now);
        assert!(matches!(first, Err(Denial::Wait(_))));
        pair.talk(delay);
        let used = pair.rings[1].take(new_both.clone(), false, pair.now);
        let mut dropped = Err(Denial::Wait(Duration::ZERO));
        for _ in 0..40 {
            dropped = pair.rings[0].prepare(&old, false, pair.now);
            if !matches!(dropped, Err(Denial::Wait(_))) {
                break;
            }
            pair.talk(100);
        }
        if dropped.is_ok() {
            dropped = pair.rings[0].take(old.clone(), false, pair.now);
        }
        pair.talk(1000);
        assert!(used.is_err() || dropped.is_err(), "both after {delay} ms");
        assert_eq!(pair.refused, 0, "after {delay} ms");
    }
}

#[test]
fn a_withdrawn_key_that_nobody_asks_for_any_more_is_told_again() {
    let both = keys(OLD, Some(NEW));
    let mut pair = Pair::new(both.clone(), both);
    assert!(pair.rings[0].prepare(&keys(OLD, None), false, pair.now).is_err());
    pair.talk(1000);
    assert!(!pair.rings[1].peers(pair.now).next().unwrap().accepts_other);
    pair.talk(5000);
    let now = pair.now;
    pair.rings[0].expire(now);
    pair.talk(400);
    assert!(pair.rings[1].peers(pair.now).next().unwrap().accepts_other);
}

#[test]
fn a_daemon_that_starts_again_in_the_middle_of_a_step_is_heard() {
    let files = [keys(OLD, None), keys(OLD, Some(NEW)), keys(NEW, Some(OLD)), keys(NEW, None)];
    // The file is written before the step is taken: whichever of both is read, nothing is refused.
    for window in files.windows(2) {
        for restarted in [0usize, 1] {
            for read in window {
                let mut pair = Pair::new(window[0].clone(), window[0].clone());
                let other = 1 - restarted;
                if window[1].other().is_some() && pair.step(other, &window[1]).is_err() {
                    continue;
                }
                pair.talk(400);
                pair.restart(restarted, read.clone());
                pair.talk(1000);
                assert_eq!(pair.refused, 0, "{read:?}");
                assert_eq!(pair.step(restarted, &window[1]), Ok(()), "{read:?}");
                pair.talk(400);
                assert_eq!(pair.refused, 0, "{read:?}");
            }
        }
    }
}

#[test]
fn an_unheard_peer_is_cut_by_force_alone() {
    let both = keys(OLD, Some(NEW));
    let mut pair = Pair::new(both.clone(), both);
    let later = pair.now + Duration::from_secs(2);
    let new = keys(NEW, Some(OLD));
    let b = NodeId::new(2).unwrap();
    assert_eq!(pair.rings[0].prepare(&new, false, later), Err(Denial::Unheard(b)));
    assert_eq!(pair.rings[0].take(new, true, later), Ok(()));
    // What contradicts it cannot be overruled.
    pair.talk(400);
    let (other, now) = (keys(OTHER, None), pair.now);
    assert!(matches!(pair.rings[0].take(other, true, now), Err(Denial::PeerSends(..))));
}

#[test]
fn an_older_word_and_that_of_a_former_life_say_nothing() {
    let both = keys(OLD, Some(NEW));
    let mut pair = Pair::new(both.clone(), keys(OLD, None));
    let now = pair.now;
    // Recorded while the peer accepted both.
    for seq in 0..pair.seq {
        pair.rings[0].note(&heartbeat(2, 1, seq), KeyUsed::Sending, both.hint(seq), now);
    }
    assert!(!pair.rings[0].peers(now).next().unwrap().accepts_other);
    pair.talk(20);
    let denied = pair.rings[0].take(keys(NEW, Some(OLD)), false, pair.now);
    assert!(matches!(denied, Err(Denial::NotAccepted(..))));
}
