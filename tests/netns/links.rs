//! Cut, one-way and deaf links: rows 3, 4, 14, 23, 24, 27 and 32.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::plan::{Cabling, LabConfig, service_mac};
use crate::pair::{self, Pair, tell};

/// For how long it is watched that nothing happens: several deadtimes.
const WATCH: Duration = Duration::from_millis(1500);

/// The client's address on the first service network: the ping target.
const CLIENT: &str = "10.77.0.100";

/// Two heartbeat links.
fn two_links() -> LabConfig {
    LabConfig { heartbeats: vec![Cabling::Switch, Cabling::Switch], ..pair::config() }
}

/// The client was served by A all the time since `begun`, and nobody was shot at.
fn assert_nothing_moved(pair: &Pair, begun: Stamp) -> Duration {
    let gap = pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    for node in Node::BOTH {
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
        pair.assert_not_logged(node, "role ", begun);
    }
    gap
}

/// Row 3: a heartbeat NIC is cut, another path lives: nothing moves; the link is reported down.
#[test]
fn a_cut_link_is_reported_and_moves_nothing_while_another_one_lives() {
    let Some(pair) = Pair::running(two_links()) else { return };
    let begun = pair.lab.silence(Node::A, "hb0");
    for node in Node::BOTH {
        pair.wait_log(node, "link hb0 to", begun);
        pair.wait_link(node, "hb0", "down");
        assert_eq!(pair.link_state(node, "hb1").as_deref(), Some("up"), "on {node}");
    }
    let down = begun.elapsed();
    thread::sleep(WATCH);
    let healed = pair.lab.unsilence(Node::A, "hb0");
    for node in Node::BOTH {
        pair.wait_link(node, "hb0", "up");
    }
    let up = healed.elapsed();
    let gap = assert_nothing_moved(&pair, begun);
    for node in Node::BOTH {
        pair.assert_not_logged(node, "late on all links", begun);
    }
    tell("row 3, one link cut", &[("shown down", down), ("up again", up), ("longest gap", gap)]);
    pair.end();
}

/// Row 24: the heartbeat port of A alone is unplugged, other links live: nothing moves (as 3).
#[test]
fn an_unplugged_heartbeat_port_moves_nothing_while_another_link_lives() {
    let Some(pair) = Pair::running(two_links()) else { return };
    let begun = pair.lab.unplug(Node::A, "hb0");
    for node in Node::BOTH {
        pair.wait_link(node, "hb0", "down");
    }
    let down = begun.elapsed();
    thread::sleep(WATCH);
    pair.lab.replug(Node::A, "hb0");
    for node in Node::BOTH {
        pair.wait_link(node, "hb0", "up");
        pair.wait_health(node, "ok");
    }
    let gap = assert_nothing_moved(&pair, begun);
    tell("row 24, port unplugged", &[("shown down", down), ("longest gap", gap)]);
    pair.end();
}

/// Row 4: every heartbeat path is cut, both nodes live and A serves: B is isolated and says so;
/// after `isolated-grace` it fences A, and takes over; there never are two holders.
#[test]
fn a_standby_that_hears_nobody_spares_an_active_that_answers_until_its_grace_is_over() {
    let Some(pair) = Pair::running(two_links()) else { return };
    let begun = pair.lab.cut_heartbeats();
    let isolated = pair.wait_log(Node::B, "role standby -> isolated", begun);
    assert!(isolated.text.ends_with("a is not heard, but its VIPs answer"), "{}", isolated.text);
    let status = pair.wait("B says that it is isolated", || {
        let status = pair.lab.status(Node::B)?;
        let nodes = status["nodes"].as_array()?.clone();
        nodes
            .iter()
            .any(|node| node["local"] == true && node["state"] == "isolated")
            .then_some(status)
    });
    assert_eq!(status["health"], "degraded");
    // A serves on, and knows that nobody would take over.
    pair.wait_trouble(Node::A, "peer-missing");
    pair.assert_only_holder(Node::A);

    let fencing = pair.wait_log(Node::B, "role isolated -> fencing", begun);
    assert!(fencing.text.ends_with("has been unheard for isolated-grace"), "{}", fencing.text);
    let grace = fencing.at.since(isolated.at);
    // The log's stamps are taken a moment after what they tell of.
    let waited = grace + Duration::from_millis(5);
    assert!(waited >= pair.lab.config().isolated_grace, "it waited for {grace:?} only");
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    assert!(!pair.lab.machine(Node::A).is_on(), "A has power");
    assert!(pair.count_power_cuts(Node::A, begun) >= 1);
    pair.assert_only_holder(Node::B);
    tell(
        "row 4, all links cut",
        &[
            ("detection", isolated.at.since(begun)),
            ("grace", grace),
            ("fence", proven.at.since(fencing.at)),
            ("takeover", acquired.at.since(proven.at)),
            ("outage", outage),
        ],
    );
    pair.end();
}

/// Rows 4 and 27: a cut that heals within the grace moves nothing, and the holder announces its
/// VIPs again.
#[test]
fn a_cut_that_heals_in_time_moves_nothing_and_the_holder_announces_itself() {
    let Some(pair) = Pair::running(two_links()) else { return };
    let begun = pair.lab.cut_heartbeats();
    pair.wait_role(Node::B, "isolated");
    pair.wait_trouble(Node::A, "peer-missing");
    let healed = pair.lab.heal_heartbeats();
    let announced = wait_announced(&pair, Node::A, healed);
    let standby = pair.wait_log(Node::B, "role isolated -> standby", healed);
    pair.wait_whole(Node::A);
    let gap = pair.assert_served_since(Node::A, begun);
    for node in Node::BOTH {
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
    }
    pair.assert_not_logged(Node::A, "role ", begun);
    let figures = [
        ("standby again", standby.at.since(healed)),
        ("announced again", announced.since(healed)),
        ("longest gap", gap),
    ];
    tell("row 27, a cut heals", &figures);
    pair.end();
}

/// Row 27: an active whose daemon was stopped and continues questions itself, is still the holder,
/// and announces its VIPs again.
#[test]
fn a_stopped_active_that_continues_in_time_goes_on_and_announces_itself() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    pair.wait_role(Node::B, "isolated");
    let continued = pair.lab.signal_daemon(Node::A, Signal::SIGCONT);
    pair.wait_log(Node::A, "stalled: this daemon woke", continued);
    let announced = wait_announced(&pair, Node::A, continued);
    pair.wait_whole(Node::A);
    let gap = pair.assert_served_since(Node::A, begun);
    pair.assert_not_logged(Node::A, "role ", begun);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "A was shot at");
    let figures = [("announced again", announced.since(continued)), ("longest gap", gap)];
    tell("row 27, a stopped active continues", &figures);
    pair.end();
}

/// Rows 18 and 27: a standby whose daemon was stopped does not take its own sleep for the active's
/// silence.
#[test]
fn a_stopped_standby_that_continues_shoots_nobody() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.signal_daemon(Node::B, Signal::SIGSTOP);
    pair.wait_trouble(Node::A, "peer-missing");
    let continued = pair.lab.signal_daemon(Node::B, Signal::SIGCONT);
    pair.wait_log(Node::B, "stalled: this daemon woke", continued);
    pair.wait_whole(Node::A);
    thread::sleep(WATCH);
    assert_nothing_moved(&pair, begun);
    pair.end();
}

/// Row 14: a link passes traffic one way only: reported as one-way by the node that hears, as down
/// by the one that does not; it is not alive, and while another link lives nothing moves.
#[test]
fn a_link_that_passes_one_way_only_is_reported_so_by_the_node_that_hears() {
    let Some(pair) = Pair::running(two_links()) else { return };
    for mute in Node::BOTH {
        let begun = Stamp::now();
        pair.lab.mute(mute, "hb0");
        pair.wait_link(mute, "hb0", "one-way");
        pair.wait_link(mute.other(), "hb0", "down");
        let shown = begun.elapsed();
        let text = format!("link hb0 to {}: one-way: the peer is heard, but", mute.other());
        pair.wait_log(mute, &text, begun);
        for node in Node::BOTH {
            assert_eq!(pair.link_state(node, "hb1").as_deref(), Some("up"), "on {node}");
        }
        thread::sleep(WATCH);
        pair.lab.heal_network();
        for node in Node::BOTH {
            pair.wait_link(node, "hb0", "up");
        }
        assert_nothing_moved(&pair, begun);
        tell(&format!("row 14, {mute} is not heard on one of two links"), &[("shown", shown)]);
    }
    pair.end();
}

/// Row 14, of the only link: the active does not hear the standby. It serves on, degraded; the
/// standby hears it and has no reason for anything.
#[test]
fn an_active_that_does_not_hear_its_standby_serves_on() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = Stamp::now();
    pair.lab.mute(Node::B, "hb0");
    pair.wait_link(Node::A, "hb0", "down");
    pair.wait_link(Node::B, "hb0", "one-way");
    pair.wait_trouble(Node::A, "peer-missing");
    // Longer than the grace.
    thread::sleep(pair.lab.config().isolated_grace + WATCH);
    assert_nothing_moved(&pair, begun);
    pair.lab.heal_network();
    pair.wait_whole(Node::A);
    assert_nothing_moved(&pair, begun);
    pair.end();
}

/// Row 23: the heartbeat cable is direct and A loses power, which takes B's carrier: as row 1.
#[test]
fn a_carrier_that_is_lost_with_the_peer_is_no_fault_of_the_standby() {
    let config = LabConfig { heartbeats: vec![Cabling::Direct], ..pair::config() };
    let Some(pair) = Pair::running(config) else { return };
    let begun = pair.lab.power_cut(Node::A);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    tell(
        "row 23, direct cable",
        &[
            ("detection", fencing.at.since(begun)),
            ("fence", proven.at.since(fencing.at)),
            ("takeover", acquired.at.since(proven.at)),
            ("outage", outage),
        ],
    );
    // And back: the cable has carrier again when the lost node has power.
    pair.lab.boot(Node::A);
    pair.wait_whole(Node::B);
    pair.end();
}

/// Row 23, the other way round: the direct cable is pulled between healthy nodes, another link
/// lives: nothing moves.
#[test]
fn a_direct_cable_that_is_pulled_moves_nothing_while_another_link_lives() {
    let heartbeats = vec![Cabling::Direct, Cabling::Switch];
    let config = LabConfig { heartbeats, ..pair::config() };
    let Some(pair) = Pair::running(config) else { return };
    let begun = pair.lab.unplug(Node::A, "hb0");
    for node in Node::BOTH {
        pair.wait_link(node, "hb0", "down");
    }
    thread::sleep(WATCH);
    pair.lab.replug(Node::A, "hb0");
    for node in Node::BOTH {
        pair.wait_link(node, "hb0", "up");
    }
    assert_nothing_moved(&pair, begun);
    pair.end();
}

/// Row 32: the standby goes deaf on all NICs, its BMC path lives. Its own service path is not good:
/// it fences nobody and says so.
#[test]
fn a_standby_that_lost_all_its_carriers_fences_nobody() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = Stamp::now();
    for nic in ["hb0", "eth0"] {
        pair.lab.unplug(Node::B, nic);
    }
    spare_the_healthy(&pair, begun, "row 32, no carrier");
    for nic in ["hb0", "eth0"] {
        pair.lab.replug(Node::B, nic);
    }
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}

/// Row 32, with carrier: what cannot be seen at the port is found by ping targets.
#[test]
fn a_standby_that_went_deaf_with_its_carriers_up_fences_nobody() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    let ping =
        format!("[nics.eth0]\nping = [\"{CLIENT}\"]\nping-interval = \"100ms\"\nping-count = 2");
    for node in Node::BOTH {
        let toml = pair.lab.config().to_toml().replace("[nics.eth0]", &ping);
        pair.lab.write_configuration(node, &toml);
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    let begun = pair.lab.deafen(Node::B, &["mgmt0"]);
    spare_the_healthy(&pair, begun, "row 32, deaf with carrier");
    pair.lab.heal_network();
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}

/// B, deaf since `begun`, must find that out and leave A alone for longer than any grace.
fn spare_the_healthy(pair: &Pair, begun: Stamp, row: &str) {
    let bad = pair.wait_log(Node::B, "nic eth0: bad", begun);
    let lost = pair.wait_log(Node::B, "peer a lost", begun);
    let trouble = pair.wait_trouble(Node::B, "service-path");
    assert!(trouble["remedy"].as_str().unwrap().contains("service NICs"), "{trouble}");
    thread::sleep(pair.lab.config().isolated_grace + WATCH);
    let status = pair.status(Node::B);
    let blocked = status["blocked"].as_str().unwrap();
    assert!(blocked.contains("it fences nobody and takes nothing over"), "{blocked}");
    pair.wait_role(Node::B, "standby");
    pair.assert_not_logged(Node::B, "fence: cutting", begun);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "a deaf standby shot");
    pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    let figures = [("own path bad", bad.at.since(begun)), ("peer lost", lost.at.since(begun))];
    tell(row, &figures);
}

/// Waits until the node has announced every VIP after `from`, as request and as reply.
fn wait_announced(pair: &Pair, node: Node, from: Stamp) -> Stamp {
    let vips = pair.lab.config().vips();
    pair.wait(&format!("{node} announces its VIPs"), || {
        let heard = pair.observer.announcements();
        let mut last = from;
        for vip in &vips {
            for is_reply in [false, true] {
                let mac = service_mac(node, vip.octets()[2]);
                let first = heard.iter().find(|a| {
                    a.at >= from && a.vip == *vip && a.mac == mac && a.is_reply == is_reply
                })?;
                last = last.max(first.at);
            }
        }
        Some(last)
    })
}
