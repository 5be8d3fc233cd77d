//! Service NICs that go bad: rows 8 and 25, and what must not move for them.

use std::thread;
use std::time::Duration;

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::plan::LabConfig;
use crate::pair::{self, Pair, tell};

/// For how long it is watched that nothing happens: several times `path-hold` and `deadtime`.
const WATCH: Duration = Duration::from_millis(2500);
/// The client's address on the first service network: the ping target.
const CLIENT: &str = "10.77.0.100";

/// A pair at work whose service NICs have these lines in the configuration.
fn running_with(config: LabConfig, nic: &str) -> Option<Pair> {
    let pair = Pair::dark(config)?;
    for node in Node::BOTH {
        let toml = pair.lab.config().to_toml();
        let toml = toml.replace("[nics.eth0]", &format!("[nics.eth0]\n{nic}"));
        pair.lab.write_configuration(node, &toml);
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    get_acquainted(&pair);
    Some(pair)
}

/// A pair at work whose nodes have known each other for long enough.
fn running() -> Option<Pair> {
    let pair = Pair::running(pair::config())?;
    get_acquainted(&pair);
    Some(pair)
}

/// Who has just started is not handed to.
fn get_acquainted(pair: &Pair) {
    thread::sleep(pair.lab.config().initdead);
}

fn pings() -> String {
    format!("ping = [\"{CLIENT}\"]\nping-interval = \"100ms\"\nping-count = 3\n{}", probes())
}

fn probes() -> &'static str {
    "probe-interval = \"100ms\"\nprobe-count = 4"
}

/// Whether the probes between the nodes pass over a service NIC, as a node's status has it.
fn across(pair: &Pair, node: Node) -> Option<bool> {
    pair.lab.status(node)?["nics"][0]["across"].as_bool()
}

/// Nobody's power was cut.
fn assert_no_fence(pair: &Pair, begun: Stamp) {
    for node in Node::BOTH {
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
    }
}

/// A holds, and no role has changed since `begun`.
fn assert_nothing_moved(pair: &Pair, begun: Stamp) {
    assert_no_fence(pair, begun);
    pair.assert_only_holder(Node::A);
    for node in Node::BOTH {
        pair.assert_not_logged(node, "role ", begun);
    }
}

/// From `begun` on A hands over to B; `found` is when A knew that its NIC is bad.
fn see_handover(pair: &Pair, row: &str, begun: Stamp) {
    let bad = pair.wait_log(Node::A, "nic eth0: bad", begun);
    let releasing = pair.wait_log(Node::A, "role active -> releasing", begun);
    let reason = "a service NIC is bad here and good at b: handing over";
    assert!(releasing.text.ends_with(reason), "{}", releasing.text);
    let taking = pair.wait_log(Node::B, "role standby -> acquiring", begun);
    assert!(taking.text.ends_with("released by the peer (non-STONITH)"), "{}", taking.text);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    pair.wait_role(Node::A, "standby");
    pair.assert_only_holder(Node::B);
    assert_no_fence(pair, begun);
    tell(
        row,
        &[
            ("found", bad.at.since(begun)),
            ("held", releasing.at.since(bad.at)),
            ("released and told", taking.at.since(releasing.at)),
            ("takeover", acquired.at.since(taking.at)),
            ("outage", outage),
        ],
    );
}

/// Row 8: a service NIC of A loses its carrier, B's has it: a failover without a fence. When the
/// carrier is back nothing moves back.
#[test]
fn a_service_nic_without_carrier_hands_the_service_over_without_a_fence() {
    let Some(pair) = running() else { return };
    let begun = pair.lab.unplug(Node::A, "eth0");
    see_handover(&pair, "row 8, carrier lost", begun);
    pair.wait_trouble(Node::A, "service-path");
    pair.wait_trouble(Node::B, "peer-not-ready");
    let replugged = pair.lab.replug(Node::A, "eth0");
    pair.wait_whole(Node::B);
    thread::sleep(WATCH);
    pair.assert_not_logged(Node::A, "role ", replugged);
    pair.assert_not_logged(Node::B, "role ", replugged);
    pair.assert_only_holder(Node::B);
    pair.end();
}

/// Row 25: the switch port of A passes nothing any more, with carrier. A's ping targets are silent,
/// B's answer: as row 8.
#[test]
fn a_dead_switch_port_is_found_by_pings_and_left() {
    let Some(pair) = running_with(pair::config(), &pings()) else { return };
    let begun = pair.lab.silence(Node::A, "eth0");
    see_handover(&pair, "row 25, dead switch port", begun);
    pair.lab.unsilence(Node::A, "eth0");
    pair.wait_whole(Node::B);
    pair.end();
}

/// Row 25 without ping targets: nobody can know whose port is dead. Both say that nothing passes,
/// nothing moves, and that it is mended is told too.
#[test]
fn without_ping_targets_a_dead_switch_port_is_told_and_moves_nothing() {
    let Some(pair) = running_with(pair::config(), probes()) else { return };
    for node in Node::BOTH {
        pair.wait(&format!("{node} hears the probes"), || across(&pair, node).filter(|it| *it));
    }
    let begun = pair.lab.silence(Node::A, "eth0");
    for node in Node::BOTH {
        let trouble = pair.wait_trouble(node, "service-parted");
        assert!(trouble["remedy"].as_str().unwrap().contains("[nics.eth0]"), "{trouble}");
        assert_eq!(across(&pair, node), Some(false), "{node}");
    }
    let told = begun.elapsed();
    thread::sleep(WATCH);
    assert_nothing_moved(&pair, begun);
    pair.lab.unsilence(Node::A, "eth0");
    pair.wait_whole(Node::A);
    tell("row 25, nobody can tell", &[("told", told)]);
    pair.end();
}

/// The carriers of both nodes go, A's first: nobody's fault, nothing moves, and A says why it
/// stays.
#[test]
fn a_path_that_is_bad_on_both_sides_moves_nothing() {
    let Some(pair) = running() else { return };
    let begun = pair.lab.unplug(Node::A, "eth0");
    thread::sleep(pair.lab.config().path_hold / 3);
    pair.lab.unplug(Node::B, "eth0");
    pair.wait_log(Node::A, "stays active with a bad service NIC: b is no better off", begun);
    let trouble = pair.wait_trouble(Node::A, "service-path");
    let what = trouble["what"].as_str().unwrap();
    assert!(what.ends_with("it stays active: b is no better off"), "{what}");
    thread::sleep(WATCH);
    assert_nothing_moved(&pair, begun);
    pair.lab.replug(Node::A, "eth0");
    pair.lab.replug(Node::B, "eth0");
    pair.wait_whole(Node::A);
    assert_nothing_moved(&pair, begun);
    pair.end();
}

/// A service NIC comes and goes again and again: the service moves once at most.
#[test]
fn a_nic_that_flaps_moves_the_service_once_at_most() {
    let Some(pair) = running() else { return };
    let begun = Stamp::now();
    let hold = pair.lab.config().path_hold;
    // Too short to move anything, then long enough, then both in turn.
    for (down, up) in [(3, 3), (3, 5), (14, 4), (3, 14), (14, 3), (14, 14)] {
        pair.lab.unplug(Node::A, "eth0");
        thread::sleep(hold * down / 10);
        pair.lab.replug(Node::A, "eth0");
        thread::sleep(hold * up / 10);
    }
    pair.wait_whole(Node::B);
    thread::sleep(WATCH);
    assert_eq!(pair.count_logged(Node::A, "role active -> releasing", begun), 1);
    assert_eq!(pair.count_logged(Node::A, "-> acquiring", begun), 0);
    assert_eq!(pair.count_logged(Node::B, "role active -> releasing", begun), 0);
    assert_no_fence(&pair, begun);
    pair.assert_only_holder(Node::B);
    pair.end();
}

/// The standby's daemon is gone when A's service NIC goes bad: A goes on serving, and says why.
#[test]
fn an_active_whose_standby_is_gone_stays_with_a_bad_service_nic() {
    let Some(pair) = Pair::running(LabConfig { service_nics: 2, ..pair::config() }) else { return };
    pair.lab.power_cut(Node::B);
    pair.wait_trouble(Node::A, "peer-missing");
    let begun = pair.lab.unplug(Node::A, "eth1");
    pair.wait_log(Node::A, "stays active with a bad service NIC: b is not heard", begun);
    thread::sleep(WATCH);
    pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    pair.assert_not_logged(Node::A, "role ", begun);
    // Once the other one is back and ready it takes over.
    pair.lab.boot(Node::B);
    pair.wait_role(Node::B, "active");
    pair.wait_role(Node::A, "standby");
    pair.lab.replug(Node::A, "eth1");
    pair.wait_whole(Node::B);
    pair.end();
}
