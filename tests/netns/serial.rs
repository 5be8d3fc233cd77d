//! Serial heartbeat links: rows 3, 4, 14, 15 and 24 over a null-modem cable, a pair that has
//! nothing else, and links of different rhythms.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::lab::Node;
use crate::lab::cable::End;
use crate::lab::clock::Stamp;
use crate::lab::plan::LabConfig;
use crate::pair::{self, Pair, tell};

/// For how long it is watched that nothing happens: several deadtimes.
const WATCH: Duration = Duration::from_millis(1500);

/// What a getty says, again and again, and the kernel in between.
const CONSOLE: &[u8] = b"\r\nDebian GNU/Linux 12 smw1 ttyS0\r\n\r\nsmw1 login: \
    [    3.141592] usb 1-1: new high-speed USB device number 2 using xhci_hcd\r\n";

/// A NIC and a cable.
fn nic_and_cable() -> LabConfig {
    LabConfig { cables: vec![String::new()], ..pair::config() }
}

/// A cable alone.
fn cable_alone(more: &str) -> LabConfig {
    LabConfig { heartbeats: Vec::new(), cables: vec![more.to_owned()], ..pair::config() }
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

/// Why a link has its state, as a node's status says.
fn reason(pair: &Pair, node: Node, link: &str) -> String {
    let status = pair.status(node);
    let mut links = status["links"].as_array().unwrap().iter();
    let entry = links.find(|entry| entry["name"] == link).unwrap();
    entry["reason"].as_str().unwrap().to_owned()
}

/// How much a node refused for this reason.
fn refused(pair: &Pair, node: Node, reason: &str) -> u64 {
    let status = pair.status(node);
    let mut list = status["refused"].as_array().unwrap().iter();
    list.find(|entry| entry["reason"] == reason).map_or(0, |entry| entry["count"].as_u64().unwrap())
}

/// Row 3: either of a NIC and a cable is lost: nothing moves, the link is reported down, and why.
#[test]
fn a_nic_and_a_cable_stand_in_for_each_other() {
    let Some(pair) = Pair::running(nic_and_cable()) else { return };
    for node in Node::BOTH {
        let status = pair.status(node);
        let kinds: Vec<_> =
            status["links"].as_array().unwrap().iter().map(|link| link["kind"].clone()).collect();
        assert_eq!(kinds, ["serial", "udp"]);
    }
    let begun = Stamp::now();
    for (link, other) in [("hb0", "cable0"), ("cable0", "hb0")] {
        let cut = Stamp::now();
        if link == "hb0" {
            pair.lab.silence(Node::A, "hb0");
        } else {
            pair.lab.cable(0).set_pulled(true);
        }
        for node in Node::BOTH {
            pair.wait_link(node, link, "down");
            assert_eq!(pair.link_state(node, other).as_deref(), Some("up"), "on {node}");
            let why = reason(&pair, node, link);
            assert!(why.starts_with("nothing heard for "), "{why}");
            let peer = node.other();
            pair.wait_log(node, &format!("link {link} to {peer}: down (nothing heard for "), cut);
        }
        let down = cut.elapsed();
        thread::sleep(WATCH);
        pair.lab.unsilence(Node::A, "hb0");
        pair.lab.cable(0).set_pulled(false);
        for node in Node::BOTH {
            pair.wait_link(node, link, "up");
            assert_eq!(reason(&pair, node, link), "");
            pair.wait_health(node, "ok");
        }
        let gap = assert_nothing_moved(&pair, begun);
        let figures = [("shown down", down), ("longest gap", gap)];
        tell(&format!("row 3, {link} lost, {other} lives"), &figures);
    }
    pair.end();
}

/// Row 4: NIC and cable are lost together while A serves: B is isolated; after its grace it fences.
#[test]
fn a_standby_that_lost_nic_and_cable_is_isolated_and_then_fences() {
    let Some(pair) = Pair::running(nic_and_cable()) else { return };
    pair.lab.cable(0).set_pulled(true);
    for node in Node::BOTH {
        pair.wait_link(node, "cable0", "down");
    }
    let begun = pair.lab.cut_heartbeats();
    let isolated = pair.wait_log(Node::B, "role standby -> isolated", begun);
    pair.assert_only_holder(Node::A);
    let fencing = pair.wait_log(Node::B, "role isolated -> fencing", begun);
    // A line is stamped when it is read, the first one perhaps late.
    let grace = fencing.at.since(isolated.at) + Duration::from_millis(200);
    assert!(grace >= pair.lab.config().isolated_grace, "it waited for {grace:?} only");
    pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    pair.wait_role(Node::B, "active");
    let outage = pair.wait_outage(Node::B, begun);
    pair.assert_only_holder(Node::B);
    tell(
        "row 4, NIC and cable cut",
        &[("detection", isolated.at.since(begun)), ("outage", outage)],
    );
    pair.end();
}

/// Row 14: one wire of the cable is broken: one-way where it is heard, down where it is not.
#[test]
fn a_cable_with_a_broken_wire_is_reported_one_way() {
    let Some(pair) = Pair::running(nic_and_cable()) else { return };
    for (end, mute) in [(End::A, Node::A), (End::B, Node::B)] {
        let begun = Stamp::now();
        pair.lab.cable(0).set_cut(end, true);
        pair.wait_link(mute, "cable0", "one-way");
        pair.wait_link(mute.other(), "cable0", "down");
        let shown = begun.elapsed();
        assert_eq!(reason(&pair, mute, "cable0"), "the peer does not hear us");
        let text = format!("link cable0 to {}: one-way: the peer is heard, but", mute.other());
        pair.wait_log(mute, &text, begun);
        thread::sleep(WATCH);
        pair.lab.cable(0).set_cut(end, false);
        for node in Node::BOTH {
            pair.wait_link(node, "cable0", "up");
        }
        assert_nothing_moved(&pair, begun);
        tell(&format!("row 14, {mute} is not heard over the cable"), &[("shown", shown)]);
    }
    pair.end();
}

/// Row 15, and a console: what is no heartbeat is dropped, counted, told once, and moves nothing.
#[test]
fn noise_and_console_text_on_the_only_cable_move_nothing() {
    let Some(pair) = Pair::running(cable_alone("")) else { return };
    let begun = Stamp::now();
    for round in 0..100_u8 {
        for end in [End::A, End::B] {
            pair.lab.cable(0).say(end, CONSOLE);
            let noise: Vec<u8> = (0..60).map(|n| n ^ round.wrapping_mul(37)).collect();
            pair.lab.cable(0).say(end, &noise);
        }
        thread::sleep(Duration::from_millis(20));
    }
    for node in Node::BOTH {
        let line = pair.wait_log(node, "refused: ", begun);
        assert!(line.text.contains("on link cable0"), "{}", line.text);
        assert!(pair.count_logged(node, "refused: ", begun) <= 4);
        let counted: u64 = ["frame-garbled", "frame-too-short", "frame-checksum", "frame-overlong"]
            .iter()
            .map(|why| refused(&pair, node, why))
            .sum();
        assert!(counted >= 20, "{counted} on {node}");
        pair.wait_link(node, "cable0", "up");
        pair.assert_not_logged(node, "lost: ", begun);
    }
    let gap = assert_nothing_moved(&pair, begun);
    // A slow cable: shown, and nothing else.
    for end in [End::A, End::B] {
        pair.lab.cable(0).set_delay(end, Duration::from_millis(100));
    }
    for node in Node::BOTH {
        pair.wait(&format!("{node} shows the delay"), || {
            let status = pair.lab.status(node)?;
            status["links"][0]["rtt_us"].as_u64().filter(|rtt| *rtt >= 200_000)
        });
    }
    assert_nothing_moved(&pair, begun);
    for end in [End::A, End::B] {
        pair.lab.cable(0).set_delay(end, Duration::ZERO);
    }
    // Two bytes of a thousand are damaged and two lost, a third of the frames: the link may flap.
    for end in [End::A, End::B] {
        pair.lab.cable(0).set_noise(end, 2, 2);
    }
    thread::sleep(WATCH);
    for end in [End::A, End::B] {
        pair.lab.cable(0).set_noise(end, 0, 0);
    }
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);
    tell("row 15, noise and a console on the cable", &[("longest gap", gap)]);
    pair.end();
}

/// How much processor time a node's daemon has used, in hundredths of a second.
fn ticks(pair: &Pair, node: Node) -> u64 {
    let pid = pair.lab.machine(node).daemon_pid().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Row 24: the adapter of one node is pulled out and put back, under another number: told once, the
/// loop does not spin, the other link serves; afterwards the cable works again.
#[test]
fn an_adapter_that_is_pulled_out_is_told_and_found_again() {
    let Some(pair) = Pair::running(nic_and_cable()) else { return };
    let begun = Stamp::now();
    pair.lab.cable(0).pull_adapter(End::A);
    pair.wait_link(Node::A, "cable0", "down");
    pair.wait_link(Node::B, "cable0", "down");
    pair.wait_log(Node::A, "link cable0: /etc/tandem/cable0 is gone", begun);
    let line = pair.wait_log(Node::A, "link cable0: /etc/tandem/cable0: cannot open", begun);
    assert!(line.text.contains("No such file"), "{}", line.text);
    let why = reason(&pair, Node::A, "cable0");
    assert!(why.starts_with("cannot open the device: ") && why.contains("cable0"), "{why}");
    let before = ticks(&pair, Node::A);
    thread::sleep(WATCH);
    let used = ticks(&pair, Node::A) - before;
    assert!(used < 60, "{used} hundredths of a second while nothing happens");
    assert_eq!(pair.count_logged(Node::A, "cable0: cannot open", begun), 1, "told once");
    pair.lab.cable(0).insert_adapter(End::A);
    let back = Stamp::now();
    pair.wait_log(Node::A, "link cable0: /etc/tandem/cable0 is open", back);
    for node in Node::BOTH {
        pair.wait_link(node, "cable0", "up");
        pair.wait_health(node, "ok");
    }
    let up = back.elapsed();
    let gap = assert_nothing_moved(&pair, begun);
    tell("row 24, adapter pulled and put back", &[("up again", up), ("longest gap", gap)]);
    pair.end();
}

/// A pair that has nothing but a slow cable: starts, tells goodbye, comes back, fails over.
#[test]
fn a_pair_on_one_slow_cable_does_all_that_a_pair_does() {
    let slow = "baud = 9600\nkeepalive = \"260ms\"\ndeadtime = \"1s\"";
    let config = LabConfig { isolated_grace: Duration::from_secs(4), ..cable_alone(slow) };
    let Some(pair) = Pair::running(config) else { return };
    // A killed holder is back in time, with the line and what it held.
    let killed = pair.lab.kill_daemon(Node::A);
    pair.wait_log(Node::B, "peer a heard with a restarted daemon", killed);
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, killed);
    // A goodbye is heard and acknowledged over the cable.
    let stopped = pair.lab.signal_daemon(Node::B, nix::sys::signal::Signal::SIGTERM);
    pair.wait_log(Node::A, "peer b is stopped", stopped);
    // Its supervisor starts it again: another life, introduced over the cable.
    pair.wait_log(Node::A, "peer b heard with a restarted daemon", stopped);
    pair.wait_whole(Node::A);
    assert_eq!(refused(&pair, Node::A, "wrong-key"), 0);
    let begun = pair.lab.power_cut(Node::A);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let detection = fencing.at.since(begun);
    assert!(detection >= Duration::from_millis(700), "{detection:?}: before its deadtime");
    pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.assert_only_holder(Node::B);
    pair.lab.boot(Node::A);
    pair.wait_whole(Node::B);
    tell("one cable of 9600 baud", &[("detection", detection), ("outage", outage)]);
    pair.end();
}

/// A node is lost when all its links are silent, each for its own deadtime: the slowest one settles
/// when. Nothing is begun before, however long the fast one has been down.
#[test]
fn a_failover_waits_for_the_deadtime_of_the_slowest_link() {
    let slow = "keepalive = \"500ms\"\ndeadtime = \"2s\"\nbackup = true";
    let initdead = Duration::from_secs(3);
    let config = LabConfig { cables: vec![slow.to_owned()], initdead, ..pair::config() };
    let Some(pair) = Pair::running(config) else { return };
    let begun = pair.lab.power_cut(Node::A);
    let down = pair.wait_log(Node::B, "link hb0 to a: down", begun);
    assert!(down.at.since(begun) < Duration::from_secs(1), "{:?}", down.at.since(begun));
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let detection = fencing.at.since(begun);
    // The last heartbeat over the cable was at most a keepalive old when the power went.
    assert!(detection >= Duration::from_millis(1450), "{detection:?}");
    let outage = pair.wait_outage(Node::B, begun);
    pair.assert_only_holder(Node::B);
    let figures =
        [("fast link down", down.at.since(begun)), ("detection", detection), ("outage", outage)];
    tell("mixed rhythms, power lost", &figures);
    pair.end();
}
