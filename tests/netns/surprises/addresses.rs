//! VIPs that somebody deletes, VIPs of IPv6, and very many of them (row 26).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::netns;
use crate::lab::plan::{LabConfig, mac_text, service_mac};
use crate::pair::{Pair, config, patient, tell};

/// When each VIP was first announced by this node from `from` on.
fn announced(pair: &Pair, node: Node, from: Stamp) -> BTreeMap<Ipv4Addr, Stamp> {
    let mut firsts = BTreeMap::new();
    for heard in pair.observer.announcements() {
        if heard.at >= from && heard.mac == service_mac(node, heard.vip.octets()[2]) {
            firsts.entry(heard.vip).or_insert(heard.at);
        }
    }
    firsts
}

#[test]
fn a_vip_that_an_administrator_deletes_is_put_back_and_announced() {
    let Some(pair) = Pair::running(config()) else { return };
    let vip = pair.lab.vip();
    let begun = Stamp::now();
    pair.lab.run(Node::A, &["ip", "addr", "del", &format!("{vip}/24"), "dev", "eth0"]);
    let back = pair.wait_log(Node::A, &format!("vip {vip}/24 is back"), begun);
    assert_eq!(pair.count_logged(Node::A, "was removed by somebody else", begun), 1);
    let first = pair.wait("it is announced", || announced(&pair, Node::A, begun).remove(&vip));
    let gap = pair.assert_served_since(Node::A, begun);
    let figures = [("back", back.at.since(begun)), ("announced", first.since(begun)), ("gap", gap)];
    tell("row 26, a VIP is deleted", &figures);
    // The whole NIC is emptied: what is not tandem's is not its to put back. `ip` may give up, as
    // the VIP is back before it has looked again.
    let begun = Stamp::now();
    pair.lab.exec(Node::A, &["ip", "-4", "addr", "flush", "dev", "eth0"]);
    pair.wait_log(Node::A, &format!("vip {vip}/24 is back"), begun);
    pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    pair.wait_role(Node::A, "active");
    pair.end();
}

/// What the client's kernel believes of an IPv6 address.
fn neighbour(pair: &Pair, address: &str) -> String {
    let client = pair.lab.client_namespace();
    netns::run(Command::new("ip").args(["-n", &client, "-6", "neigh", "show", address]))
}

#[test]
fn an_ipv6_vip_moves_with_an_advertisement_that_clients_believe() {
    let extra = "[[vips]]\naddress = \"fd77:0::10/64\"\nnic = \"eth0\"\n".to_owned();
    let Some(pair) = Pair::running(LabConfig { extra, ..config() }) else { return };
    let client = pair.lab.client_namespace();
    let ping = || {
        let mut ping = Command::new("ip");
        ping.args(["netns", "exec", &client, "ping", "-6", "-n", "-c1", "-W1", "fd77::10"]);
        ping.output().unwrap().status.success()
    };
    pair.wait("the client reaches it", || ping().then_some(()));
    let of = |node| mac_text(service_mac(node, 0));
    assert!(neighbour(&pair, "fd77::10").contains(&of(Node::A)));
    let begun = pair.lab.power_cut(Node::A);
    // The client asks nothing meanwhile: it learns from the advertisement alone.
    let learnt = pair.wait("the client learns of the new holder", || {
        neighbour(&pair, "fd77::10").contains(&of(Node::B)).then(Stamp::now)
    });
    assert!(ping(), "the client does not reach it");
    tell("an IPv6 VIP after a power cut", &[("known to the client", learnt.since(begun))]);
    pair.wait_role(Node::B, "active");
    pair.end();
}

/// 210 VIPs on three NICs: each is announced, the first announcement of every one before its
/// repetitions starve anybody, and no heartbeat is late.
#[test]
fn two_hundred_vips_move_and_no_heartbeat_is_late() {
    let config = LabConfig { service_nics: 3, vips_per_nic: 70, ..patient() };
    let vips: BTreeSet<Ipv4Addr> = config.vips().into_iter().collect();
    let Some(pair) = Pair::running(config) else { return };
    for node in Node::BOTH {
        pair.assert_not_logged(node, "late on all links", Stamp::from_nanos(0));
    }
    let begun = pair.lab.power_cut(Node::A);
    let all = pair.wait("every VIP is announced", || {
        let firsts = announced(&pair, Node::B, begun);
        (firsts.len() == vips.len()).then_some(firsts)
    });
    let (first, last) = (all.values().min().unwrap(), all.values().max().unwrap());
    let figures = [
        ("first announced after the power cut", first.since(begun)),
        ("last announced after the first", last.since(*first)),
    ];
    tell("210 VIPs", &figures);
    pair.wait_role(Node::B, "active");
    pair.lab.restore(Node::A);
    pair.wait_whole(Node::B);
    for vip in &vips {
        pair.wait(&format!("{vip} is served by B"), || {
            pair.client.holder(*vip).filter(|holder| *holder == Node::B)
        });
    }
    for node in Node::BOTH {
        pair.assert_not_logged(node, "late on all links", *first);
    }
    pair.end();
}
