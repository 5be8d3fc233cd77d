//! More datagrams than a pair sends in a day, in a few seconds, on its only heartbeat NIC: with the
//! right header and source address, at random, and replayed. The pair must not notice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tandem::wire::heartbeat::place;

use super::heartbeats::{facts, identities, refused};
use super::intruder::{Flooder, Tap, Tapped};
use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::pair::{self, Pair, tell};

/// How long each flood lasts, and how many datagrams go to each node in a second.
const FLOOD: Duration = Duration::from_secs(3);
const RATE: u64 = 50_000;
/// How many are sent in one go.
const BURST: u64 = 100;

/// What is made of a recorded heartbeat, by its place in the flood.
type Forge = fn(&Tapped, u64) -> Vec<u8>;

/// What one flood was.
struct Flooded {
    sent: u64,
    took: Duration,
}

/// Sends `datagrams` again and again, `rate` a second.
fn flood(pair: &Pair, to: Node, datagrams: &[Vec<u8>], rate: u64) -> Flooded {
    let flooder = Flooder::aim(pair, to, datagrams);
    let begun = Stamp::now();
    let mut sent = 0;
    while begun.elapsed() < FLOOD {
        sent += flooder.burst(BURST, sent);
        let due = begun
            + Duration::from_secs(1) * u32::try_from(sent / BURST).unwrap()
                / u32::try_from(rate / BURST).unwrap();
        thread::sleep(due.since(Stamp::now()));
    }
    Flooded { sent, took: begun.elapsed() }
}

/// The oldest heartbeat that a node has seen on its link, asked again and again until it ends.
fn worst_age(pair: &Pair, node: Node, ended: &AtomicBool) -> Duration {
    let mut worst = 0;
    while !ended.load(Ordering::Relaxed) {
        if let Some(status) = pair.lab.status(node) {
            worst = worst.max(status["links"][0]["last_heartbeat_ms"].as_u64().unwrap_or(0));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Duration::from_millis(worst)
}

/// Floods B, then A, with what `forge` makes of a recorded heartbeat; nothing may change.
fn withstand(what: &str, forge: impl Fn(&Tapped, u64) -> Vec<u8>) {
    let Some(pair) = Pair::running(pair::patient()) else { return };
    let tap = Tap::at(&pair.lab, Node::A);
    let mut recorded = Vec::new();
    pair.wait("heartbeats of both are recorded", || {
        recorded.extend(tap.take());
        let count = |node| recorded.iter().filter(|t: &&Tapped| t.from == node).count();
        Node::BOTH.into_iter().all(|node| count(node) > 20).then_some(())
    });
    drop(tap);
    for target in [Node::B, Node::A] {
        let of_peer = recorded.iter().filter(|tapped| tapped.from == target.other());
        let datagrams: Vec<Vec<u8>> =
            of_peer.cycle().take(256).zip(0..).map(|(tapped, n)| forge(tapped, n)).collect();
        let before = Node::BOTH.map(|node| identities(&pair, node));
        let late_before = late(&pair, target);
        let begun = Stamp::now();
        let ended = AtomicBool::new(false);
        let (flooded, worst) = thread::scope(|scope| {
            let watch = scope.spawn(|| worst_age(&pair, target, &ended));
            let flooded = flood(&pair, target, &datagrams, RATE);
            ended.store(true, Ordering::Relaxed);
            (flooded, watch.join().unwrap())
        });
        let rate = flooded.sent * 1000 / u64::try_from(flooded.took.as_millis()).unwrap();
        println!("{what} to {target}: {} in {:?}, {rate} a second", flooded.sent, flooded.took);
        println!("  refused: {:?}", refused(&pair, target));
        tell(what, &[("worst age of a heartbeat", worst)]);
        // Daemons of a debug build and a busy machine leave the sender less.
        let rate_min = if cfg!(debug_assertions) { RATE / 5 } else { RATE * 9 / 10 };
        assert!(rate >= rate_min, "the flood was no flood: {rate} a second");
        for (node, before) in Node::BOTH.into_iter().zip(before) {
            assert_eq!(identities(&pair, node), before, "{node} believes something else now");
            for part in ["to a: late", "to b: late", "down", "late on all links", "role ", "lost"] {
                pair.assert_not_logged(node, part, begun);
            }
            pair.assert_not_logged(node, "panicked", begun);
            assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
            assert!(pair.lab.log_since(node, begun).len() < 40, "{node} says too much");
        }
        assert_eq!(late(&pair, target), late_before, "a link was late");
        pair.assert_served_since(Node::A, begun);
    }
    pair.wait_health(Node::A, "ok");
    pair.end();
}

/// What `scripts/measure-flood` prints: how much one sender on this machine can send, what becomes
/// of it, and how old a heartbeat grew. Rates that are not reached are the machine's limit.
#[test]
#[ignore = "a measurement, run by scripts/measure-flood"]
fn measure() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let tap = Tap::at(&pair.lab, Node::A);
    let mut recorded = Vec::new();
    pair.wait("heartbeats of A are recorded", || {
        recorded.extend(tap.take().into_iter().filter(|tapped| tapped.from == Node::A));
        (recorded.len() > 20).then_some(())
    });
    drop(tap);
    println!(
        "kind, wanted/s, sent/s, dropped by kernel/s, refused by daemon/s, CPU %, worst age, late"
    );
    let kinds: [(&str, Forge); 3] = [
        ("blind", blindly),
        ("knowing", knowingly),
        ("replayed", |tapped, _| tapped.bytes.clone()),
    ];
    for (kind, forge) in kinds {
        let datagrams: Vec<Vec<u8>> =
            recorded.iter().cycle().take(256).zip(0..).map(|(t, n)| forge(t, n)).collect();
        for rate in [50_000, 100_000, 200_000, 400_000, 1_000_000] {
            let (before, late_before) = (refused(&pair, Node::B), late(&pair, Node::B));
            let cpu = on_cpu(&pair, Node::B);
            let ended = AtomicBool::new(false);
            let (flooded, worst) = thread::scope(|scope| {
                let watch = scope.spawn(|| worst_age(&pair, Node::B, &ended));
                let flooded = flood(&pair, Node::B, &datagrams, rate);
                ended.store(true, Ordering::Relaxed);
                (flooded, watch.join().unwrap())
            });
            let busy = on_cpu(&pair, Node::B) - cpu;
            let after = refused(&pair, Node::B);
            let more = |is_meant: &dyn Fn(&str) -> bool| {
                let sum = |counts: &BTreeMap<String, u64>| {
                    counts.iter().filter(|(word, _)| is_meant(word)).map(|(_, n)| n).sum::<u64>()
                };
                sum(&after) - sum(&before)
            };
            let ms = u64::try_from(flooded.took.as_millis()).unwrap();
            println!(
                "{kind}, {rate}, {}, {}, {}, {}, {} ms, {}",
                flooded.sent * 1000 / ms,
                more(&|word| word == "dropped-by-kernel") * 1000 / ms,
                more(&|word| word != "dropped-by-kernel") * 1000 / ms,
                busy.as_millis() * 100 / flooded.took.as_millis(),
                worst.as_millis(),
                late(&pair, Node::B) - late_before,
            );
        }
    }
    pair.end();
}

/// How long a node's daemon has been on a CPU.
fn on_cpu(pair: &Pair, node: Node) -> Duration {
    let pid = pair.lab.machine(node).daemon_pid().unwrap();
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn blindly(tapped: &Tapped, n: u64) -> Vec<u8> {
    let mut bytes = tapped.bytes.clone();
    for at in [place::INCARNATION, place::ECHO_INCARNATION, place::SEQ] {
        bytes[at..at + 8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    }
    bytes
}

fn knowingly(tapped: &Tapped, n: u64) -> Vec<u8> {
    let mut bytes = tapped.bytes.clone();
    let seq = facts(tapped).seq.0 + n;
    bytes[place::SEQ..place::SEQ + 8].copy_from_slice(&seq.to_be_bytes());
    bytes
}

fn late(pair: &Pair, node: Node) -> u64 {
    pair.status(node)["links"][0]["counters"]["late"].as_u64().unwrap()
}

/// By somebody who does not see the wire: everything in the header is right, and nothing that only
/// the nodes know.
#[test]
fn a_flood_of_forgeries_with_a_right_header_delays_no_heartbeat() {
    withstand("forged blindly", blindly);
}

/// By somebody who sees the wire: incarnation, echo and coming sequence numbers are right too, only
/// the tag is not.
#[test]
fn a_flood_of_forgeries_that_know_everything_but_the_key_delays_no_heartbeat() {
    withstand("forged knowingly", knowingly);
}

#[test]
fn a_flood_of_replayed_heartbeats_delays_no_heartbeat() {
    withstand("replayed", |tapped, _| tapped.bytes.clone());
}

/// Random bytes of every length, from the peer's address.
#[test]
fn a_flood_of_noise_delays_no_heartbeat() {
    withstand("noise", |_, n| {
        let mut dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            u8::try_from(dice >> 56).unwrap()
        };
        let len = usize::from(next()) * 5;
        (0..len).map(|_| next()).collect()
    });
}

/// How many send at the same time, so that there is no gap in a storm.
const STORM_SENDERS: usize = 3;

/// A loop in the service network repeats without end what A once asked there, and A loses its
/// power: that somebody answers for the VIP keeps B isolated for its grace, and no longer, however
/// little time the claims leave it.
#[test]
fn a_storm_of_claims_delays_a_failover_by_the_grace_and_no_more() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let storm = Flooder::echo_claims(&pair, Node::A);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..STORM_SENDERS {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    storm.burst(BURST, 0);
                }
            });
        }
        let _calm = Calm(&ended);
        let begun = pair.lab.power_cut(Node::A);
        let isolated = pair.wait_log(Node::B, "role standby -> isolated", begun);
        let fencing = pair.wait_log(Node::B, "role isolated -> fencing", begun);
        let active = pair.wait_log(Node::B, "role acquiring -> active", begun);
        let figures = [
            ("isolated after", isolated.at.since(begun)),
            ("fenced after", fencing.at.since(begun)),
            ("active after", active.at.since(begun)),
        ];
        tell("a storm of claims", &figures);
        let limit = pair.lab.config().deadtime * 3;
        assert!(isolated.at.since(begun) < limit, "the claims keep B from judging");
    });
    pair.assert_only_holder(Node::B);
    pair.end();
}

/// Ends a storm, also where the test fails in it.
struct Calm<'a>(&'a AtomicBool);

impl Drop for Calm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
