//! `dead-host-time`: a dead host is found early, a slow daemon is not taken for one. Rows 1, 6, 7
//! and 23.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::Node;
use crate::lab::plan::{Cabling, LabConfig};
use crate::pair::{self, Pair, tell};

/// So far below the deadtime that no busy machine makes one of the other.
const DEAD_HOST_TIME: Duration = Duration::from_millis(400);
const DEADTIME: Duration = Duration::from_secs(3);
const DEAD: &str = "host a dead: its kernel no longer answers";
const LIVES: &str = "host a lives: its kernel answers";

fn config() -> LabConfig {
    LabConfig {
        dead_host_time: Some(DEAD_HOST_TIME),
        deadtime: DEADTIME,
        initdead: DEADTIME,
        isolated_grace: DEADTIME,
        ..pair::config()
    }
}

/// B has found A dead early, and then does what it does.
fn expect_early(pair: &Pair, row: &str, begun: crate::lab::clock::Stamp) {
    let dead = pair.wait_log(Node::B, DEAD, begun);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let found = fencing.at.since(begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    assert!(!pair.lab.machine(Node::A).is_on(), "A has power");
    tell(row, &[("dead", dead.at.since(begun)), ("detection", found), ("outage", outage)]);
    assert!(found < DEADTIME / 2, "it took {found:?} to find a dead host");
    pair.assert_only_holder(Node::B);
}

/// Row 1: A loses its power. Its kernel, which had answered, answers no more.
#[test]
fn a_host_without_power_is_found_long_before_the_deadtime() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = pair.lab.power_cut(Node::A);
    expect_early(&pair, "row 1, dead-host-time", begun);
    pair.end();
}

/// Row 7: A's kernel panics: its power and its carriers stay on.
#[test]
fn a_panicked_host_is_found_long_before_the_deadtime() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    expect_early(&pair, "row 7, dead-host-time", begun);
    pair.end();
}

/// Row 6: A's daemon stands still for longer than dead-host-time and shorter than the deadtime, and
/// then for good. Its kernel answers all the time.
#[test]
fn a_daemon_that_stands_still_has_its_whole_deadtime() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    pair.wait_log(Node::B, LIVES, begun);
    std::thread::sleep(DEAD_HOST_TIME * 2);
    pair.lab.signal_daemon(Node::A, Signal::SIGCONT);
    pair.wait_whole(Node::A);
    pair.assert_not_logged(Node::B, "peer a lost", begun);
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    let lost = pair.wait_log(Node::B, "peer a lost", begun);
    let after = lost.at.since(begun);
    tell("row 6, dead-host-time", &[("detection", after)]);
    assert!(after + pair.lab.config().keepalive >= DEADTIME, "lost after {after:?}");
    pair.assert_not_logged(Node::B, DEAD, begun);
    pair.end();
}

/// Row 23: the cable is direct: with A's power B's own carrier is lost, and B can ask nobody.
#[test]
fn a_carrier_that_is_lost_with_the_peer_says_nothing_of_it() {
    let cabled = LabConfig { heartbeats: vec![Cabling::Direct], ..config() };
    let Some(pair) = Pair::running(cabled) else { return };
    let begun = pair.lab.power_cut(Node::A);
    let lost = pair.wait_log(Node::B, "peer a lost", begun);
    let after = lost.at.since(begun);
    tell("row 23, dead-host-time", &[("detection", after)]);
    assert!(after + pair.lab.config().keepalive >= DEADTIME, "lost after {after:?}");
    pair.assert_not_logged(Node::B, DEAD, begun);
    pair.wait_role(Node::B, "active");
    pair.end();
}
