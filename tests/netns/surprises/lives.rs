//! Takeovers that fail half-way (row 30), and what an earlier life left in the kernel.

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::plan::LabConfig;
use crate::pair::{Pair, config, tell};

/// A second VIP, of the kind that a kernel can be made to refuse.
const IPV6_VIP: &str = "[[vips]]\naddress = \"fd77:0::10/64\"\nnic = \"eth0\"\n";

fn set_ipv6(pair: &Pair, node: Node, is_on: bool) {
    let script = format!("echo {} >/proc/sys/net/ipv6/conf/eth0/disable_ipv6", u8::from(!is_on));
    pair.lab.run(node, &["sh", "-c", &script]);
}

/// Whether any VIP is in the node's kernel, of whatever family.
fn has_any_vip(pair: &Pair, node: Node) -> bool {
    let addresses = pair.lab.run(node, &["ip", "-o", "addr", "show", "dev", "eth0"]);
    addresses.contains("10.77.0.10/") || addresses.contains("fd77::10/")
}

/// The kernel of the standby refuses the last VIP: the first one is taken back, the next attempt
/// waits longer, and when the old holder comes back it takes over with the other one's grant.
#[test]
fn a_takeover_that_fails_half_way_is_rolled_back_and_retried_later() {
    let extra = IPV6_VIP.to_owned();
    let Some(pair) = Pair::running(LabConfig { extra, ..config() }) else { return };
    set_ipv6(&pair, Node::B, false);
    let begun = pair.lab.power_cut(Node::A);
    let first = pair.wait_log(Node::B, "acquire failed: VIP fd77::10/64 on eth0", begun);
    let second = pair.wait_log(Node::B, "next attempt in 2000ms", first.at);
    let third = pair.wait_log(Node::B, "next attempt in 4000ms", second.at);
    let pauses = [second.at.since(first.at), third.at.since(second.at)];
    tell("row 30, attempts", &[("second after", pauses[0]), ("third after", pauses[1])]);
    assert!(pauses[1] > pauses[0], "it does not back off: {pauses:?}");
    pair.wait_role(Node::B, "standby");
    let status = pair.wait_health(Node::B, "no-active");
    assert!(status["blocked"].as_str().unwrap().contains("takeover failed"), "{status:#}");
    assert!(!has_any_vip(&pair, Node::B), "a half takeover is left");

    // The peer has its proof by a grant, and B does not get in its way.
    pair.lab.restore(Node::A);
    pair.wait_role(Node::A, "active");
    pair.wait_served_by(Node::A);
    set_ipv6(&pair, Node::B, true);
    pair.wait_whole(Node::A);
    assert!(has_any_vip(&pair, Node::A) && !has_any_vip(&pair, Node::B));
    pair.end();
}

/// The NIC of one VIP is not there at the standby: it fences nobody and says why; with the NIC back
/// it does what it is there for.
#[test]
fn a_standby_without_one_of_its_nics_waits_for_it() {
    let Some(pair) = Pair::running(LabConfig { service_nics: 2, ..config() }) else { return };
    let rename = |from: &str, to: &str| {
        let mut script = format!("ip link set {from} down; ip link set {from} name {to}; ");
        script.push_str(&format!("ip link set {to} up"));
        pair.lab.run(Node::B, &["sh", "-c", &script]);
    };
    rename("eth1", "elsewhere");
    pair.wait_trouble(Node::B, "service-path");
    let begun = pair.lab.power_cut(Node::A);
    pair.wait_log(Node::B, "peer a lost", begun);
    let status = pair.wait_health(Node::B, "no-active");
    assert!(status["blocked"].as_str().unwrap().contains("service NIC"), "{status:#}");
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);
    pair.assert_nobody_holds();
    rename("elsewhere", "eth1");
    pair.wait_role(Node::B, "active");
    for vip in pair.lab.config().vips() {
        pair.wait(&format!("{vip} is served by B"), || {
            pair.client.holder(vip).filter(|holder| *holder == Node::B)
        });
    }
    pair.end();
}

/// A daemon that died without its mark finds VIPs in the kernel that it cannot account for: they
/// go before it promises anything, so that no two hold them.
#[test]
fn leftovers_without_a_mark_are_removed_before_anything_is_promised() {
    let Some(pair) = Pair::running(config()) else { return };
    // What the kernel tells of its addresses goes to the log.
    pair.lab.machine(Node::A).spawn(&["ip", "-o", "monitor", "address"]);
    pair.wait("the monitor listens", || {
        pair.lab.run(Node::A, &["ip", "addr", "replace", "10.99.9.9/32", "dev", "lo"]);
        pair.lab.machine(Node::A).log().find("10.99.9.9", Stamp::from_nanos(0))
    });
    let begun = pair.lab.kill_daemon_for_good(Node::A);
    pair.lab.run(Node::A, &["rm", "/run/tandem/mark"]);
    assert!(pair.lab.has_vip(Node::A, pair.lab.vip()), "nothing is left over");
    pair.lab.restart_daemon(Node::A);
    // Whoever goes first, it is with the other one's grant, and for a new term.
    let grant = "acquiring term=2: granted by the peer";
    pair.wait("somebody takes over anew", || {
        let log = |node| pair.lab.machine(node).log().find(grant, begun);
        log(Node::A).or_else(|| log(Node::B))
    });
    pair.wait("the pair is whole", || {
        let roles = Node::BOTH.map(|node| pair.lab.role(node));
        let mut roles: Vec<&str> = roles.iter().filter_map(|role| role.as_deref()).collect();
        roles.sort_unstable();
        (roles == ["active", "standby"]).then_some(())
    });
    let deleted = format!("inet {}/24", pair.lab.vip());
    let removals = pair.lab.log_since(Node::A, begun).into_iter();
    let removals = removals.filter(|l| l.text.contains("Deleted") && l.text.contains(&deleted));
    assert_eq!(removals.count(), 1, "the leftover was taken over as if it were its own");
    pair.assert_not_logged(Node::A, "an earlier daemon of this boot held", begun);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);
    let now = Stamp::now();
    assert_eq!(pair.observer.two_holders(begun, now), std::time::Duration::ZERO);
    pair.end();
}
