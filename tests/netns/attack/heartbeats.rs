//! Heartbeats that no node sent, or not now, or not to us (row 15).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tandem::types::{Heartbeat, LinkId, NodeId, Term};
use tandem::wire::auth::Keys;
use tandem::wire::heartbeat::{ClusterId, LEN, emit, parse};

use super::intruder::{Intruder, Tap, Tapped};
use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::pair::{LIMIT, Pair, config, patient, tell};

/// How long the flood lasts, how often it comes, and how much at a time: 4000 a second.
const FLOOD: Duration = Duration::from_secs(3);
const PERIOD: Duration = Duration::from_millis(10);
const BURST: usize = 40;

/// The key of every lab.
fn lab_keys() -> Keys {
    let key: Vec<u8> = (0..32).collect();
    Keys::new(&key, None).unwrap()
}

/// The number of the cluster named `name`.
pub(crate) fn cluster(name: &str) -> ClusterId {
    let digest = Sha256::digest(name.as_bytes());
    ClusterId(u64::from_be_bytes(digest[..8].try_into().unwrap()))
}

pub(crate) fn facts(tapped: &Tapped) -> Heartbeat {
    parse(&tapped.bytes, cluster("lab"), &lab_keys()).unwrap().heartbeat
}

/// What nobody may take from a pair by talking to it: of each node its incarnation, role and term.
pub(crate) fn identities(pair: &Pair, seen_from: Node) -> Vec<(Value, Value, Value)> {
    let status = pair.status(seen_from);
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes.map(|n| (n["incarnation"].clone(), n["state"].clone(), n["term"].clone())).collect()
}

/// How many datagrams a node refused, by reason.
pub(crate) fn refused(pair: &Pair, node: Node) -> BTreeMap<String, u64> {
    let status = pair.status(node);
    let list = status["refused"].as_array().unwrap().iter();
    list.map(|r| (r["reason"].as_str().unwrap().to_owned(), r["count"].as_u64().unwrap())).collect()
}

/// A source of numbers that are the same on every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// Number `n` of the endless series of forgeries made from recorded heartbeats of one node.
fn forge(n: usize, recorded: &[Tapped], dice: &mut Dice) -> Vec<u8> {
    let original = &recorded[n % recorded.len()];
    let mut bytes = original.bytes.clone();
    // As the key's owner would say it: what an authentic sender must not get through either.
    let signed = |change: &dyn Fn(&mut Heartbeat)| {
        let mut heartbeat = facts(original);
        heartbeat.seq.0 += 1_000_000;
        heartbeat.held_term = Term(99);
        change(&mut heartbeat);
        emit(&heartbeat, cluster("lab"), &lab_keys()).to_vec()
    };
    match n % 10 {
        0 => bytes,
        1 => {
            let at = bytes.len() - 1 - dice.below(16);
            bytes[at] ^= 1 << dice.below(8);
            bytes
        }
        2 => {
            let wrong = Keys::new(b"the key of somebody else entirely", None).unwrap();
            emit(&facts(original), cluster("lab"), &wrong).to_vec()
        }
        3 => emit(&facts(original), cluster("other"), &lab_keys()).to_vec(),
        4 => bytes[..dice.below(LEN)].to_vec(),
        5 => {
            let len = dice.below(1400);
            dice.bytes(len)
        }
        6 => {
            bytes[2] = bytes[2].wrapping_add(1);
            bytes
        }
        7 => signed(&|heartbeat| heartbeat.from = NodeId::new(7).unwrap()),
        8 => signed(&|heartbeat| heartbeat.to = NodeId::new(7).unwrap()),
        _ => signed(&|heartbeat| heartbeat.link = LinkId(3)),
    }
}

/// Sends forgeries as from both nodes; the value is how many as from each.
fn flood(intruder: &Intruder, recorded: &[Tapped]) -> usize {
    let mut dice = Dice(0x5eed);
    let of = |node| recorded.iter().filter(|t| t.from == node).cloned().collect::<Vec<_>>();
    let (of_a, of_b) = (of(Node::A), of(Node::B));
    let begun = Stamp::now();
    let mut next = begun;
    let mut sent = 0;
    while begun.elapsed() < FLOOD {
        for _ in 0..BURST / 2 {
            intruder.send_as(Node::A, &forge(sent, &of_a, &mut dice));
            intruder.send_as(Node::B, &forge(sent, &of_b, &mut dice));
            sent += 1;
        }
        next = next + PERIOD;
        thread::sleep(next.since(Stamp::now()));
    }
    sent
}

/// 4000 forgeries a second to both daemons: whatever reaches them is dropped and counted for its
/// reason, the log takes a line a second for each reason, and nothing else happens. (A machine that
/// stands still for a moment loses some of them in the kernel: half must have been counted.)
#[test]
fn a_flood_of_forged_heartbeats_is_counted_and_changes_nothing() {
    let Some(pair) = Pair::running(patient()) else { return };
    let tap = Tap::at(&pair.lab, Node::A);
    let mut recorded = Vec::new();
    pair.wait("heartbeats of both are recorded", || {
        recorded.extend(tap.take());
        Node::BOTH
            .iter()
            .all(|n| recorded.iter().filter(|t| t.from == *n).count() > 5)
            .then_some(())
    });
    let intruder = Intruder::plug(&pair.lab, "hb0");
    let before = Node::BOTH.map(|node| identities(&pair, node));
    let begun = Stamp::now();
    let sent = u64::try_from(flood(&intruder, &recorded)).unwrap();
    let took = begun.elapsed();
    for (node, before) in Node::BOTH.into_iter().zip(before) {
        let counted = pair.wait(&format!("{node} has counted them"), || {
            let counted = refused(&pair, node);
            (counted.values().sum::<u64>() >= sent / 2).then_some(counted)
        });
        println!("{node}: of {sent} forgeries refused: {counted:?}");
        // Of what has not the look of a heartbeat of this pair the kernel lets a sample through.
        for reason in ["wrong-length", "other-version", "other-cluster"] {
            assert!(counted.contains_key(reason), "{reason}: {counted:?}");
        }
        assert!(counted["dropped-by-kernel"] >= sent / 8, "{counted:?}");
        for reason in ["wrong-key", "stranger", "not-for-us", "other-link"] {
            assert!(counted[reason] >= sent / 40, "{reason}: {counted:?}");
        }
        let old = ["replayed", "stale"].iter().filter_map(|reason| counted.get(*reason));
        assert!(old.sum::<u64>() >= sent / 40, "replays: {counted:?}");
        assert_eq!(identities(&pair, node), before, "{node} believes something else now");
        // One line a second and reason, and one for those that are no heartbeats at all.
        let lines = pair.count_logged(node, "refused:", begun);
        let lines_max = usize::try_from(took.as_secs() + 3).unwrap() * 7;
        assert!((5..=lines_max).contains(&lines), "{node} logged {lines} lines");
        pair.assert_not_logged(node, "late on all links", begun);
        pair.assert_not_logged(node, "panicked", begun);
    }
    let gap = pair.assert_served_since(Node::A, begun);
    tell("flood of 4000/s", &[("longest wait of the client", gap)]);
    pair.end();
}

/// Sends recorded heartbeats of one node again and again until it is told to end.
fn replay(intruder: &Intruder, recorded: &[Tapped], ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        for tapped in recorded {
            intruder.send_as(tapped.from, &tapped.bytes);
        }
        thread::sleep(PERIOD);
    }
}

/// A grant and a standby's "I hold nothing", recorded from the wire, are played to a daemon of a
/// later life whose peer is gone without a proof: it hears nobody, freezes, and stays frozen.
#[test]
fn a_recorded_grant_is_no_proof_to_a_later_life() {
    let Some(pair) = Pair::dark(config()) else { return };
    pair.lab.boot(Node::A);
    let tap = Tap::at(&pair.lab, Node::A);
    pair.lab.boot(Node::B);
    pair.wait_whole(Node::A);
    let mut recorded = tap.take();
    recorded.retain(|tapped| tapped.from == Node::B);
    let grants = recorded.iter().filter(|tapped| facts(tapped).grant != Term::NONE).count();
    assert!(grants > 0, "no grant among {} heartbeats", recorded.len());
    pair.lab.power_and_bmc_cut(Node::B);
    pair.lab.power_cut(Node::A);
    let intruder = Intruder::plug(&pair.lab, "hb0");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = Ending(&ended);
        scope.spawn(|| replay(&intruder, &recorded, &ended));
        let begun = Stamp::now();
        pair.lab.boot(Node::A);
        pair.wait_role(Node::A, "frozen");
        // Its daemon starts once more, in the same boot: as little is believed.
        let restarted = pair.lab.kill_daemon(Node::A);
        pair.wait_log(Node::A, "frozen: no proof that b", restarted);
        pair.wait_role(Node::A, "frozen");
        let counted = refused(&pair, Node::A);
        assert!(counted["unproven-incarnation"] > 100, "{counted:?}");
        assert_eq!(pair.node_state(Node::A, Node::B).as_deref(), Some("unknown"));
        pair.assert_not_logged(Node::A, "peer b heard", begun);
        pair.assert_nobody_holds();
        // A real proof still counts, whatever is replayed.
        pair.lab.start_bmc(Node::B);
        pair.wait_role(Node::A, "active");
        pair.wait_served_by(Node::A);
        assert!(begun.elapsed() < LIMIT);
    });
    pair.end();
}

/// Ends a scope's threads, also in a panic.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
