//! Fence devices of the wrong machine: row 29, with real BMCs that tell who they are.

use std::fs;

use crate::lab::clock::Stamp;
use crate::lab::{Node, bmc};
use crate::pair::{self, Pair};

/// Gives a node an SMBIOS UUID from its next boot on.
fn set_uuid(pair: &Pair, node: Node, uuid: &str) {
    fs::write(pair.lab.machine(node).dir().join("product_uuid"), uuid).unwrap();
}

fn boot_both(pair: &Pair) {
    for node in Node::BOTH {
        pair.lab.boot(node);
    }
    pair.wait_role(Node::A, "active");
    pair.wait_role(Node::B, "standby");
}

/// How often a BMC was told to switch.
fn count_orders(pair: &Pair, node: Node) -> usize {
    let orders = pair.lab.bmc(node).orders();
    orders.iter().filter(|order| order.text.starts_with("set ")).count()
}

/// The addresses of the BMCs are swapped: each node would cut itself. BMCs reverse their GUIDs.
#[test]
fn a_node_whose_fence_device_is_its_own_bmc_says_so_and_never_cuts_itself() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    let [a, b] = Node::BOTH.map(|node| format!("address = \"{}\"", bmc::address(node)));
    let toml = pair::config().to_toml();
    let toml = toml.replace(&a, "the other one").replace(&b, &a).replace("the other one", &b);
    for node in Node::BOTH {
        pair.lab.write_configuration(node, &toml);
        let guid = bmc::guid(node);
        let reversed: Vec<String> =
            (0..16).rev().map(|byte| guid[byte * 2..byte * 2 + 2].to_owned()).collect();
        set_uuid(&pair, node, &reversed.concat());
    }
    boot_both(&pair);
    for node in Node::BOTH {
        let trouble = pair.wait_trouble(node, "fence-own-machine");
        let what = trouble["what"].as_str().unwrap();
        let name = format!("bmc-{}", node.other());
        assert!(what.contains(&name) && what.contains("this node's own"), "{what}");
        assert!(trouble["remedy"].as_str().unwrap().contains("address"), "{trouble}");
    }
    let begun = pair.lab.power_cut(Node::A);
    pair.wait_log(Node::B, "role fencing -> frozen", begun);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(status["frozen"]["cause"], "own-machine", "{}", status["frozen"]);
    assert!(pair.lab.machine(Node::B).is_on(), "it has cut itself");
    assert_eq!(count_orders(&pair, Node::A) + count_orders(&pair, Node::B), 0);
    pair.assert_nobody_holds();
    pair.end();
}

/// It was not asked before the fence: it tells who it is when the session is opened.
#[test]
fn a_bmc_that_answers_only_at_the_fence_is_asked_who_it_is_before_it_is_told() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    set_uuid(&pair, Node::B, &bmc::guid(Node::A));
    pair.lab.kill_bmc(Node::A);
    pair.lab.boot(Node::B);
    let begun = Stamp::now();
    pair.wait_log(Node::B, "role joining -> fencing", begun);
    pair.lab.start_bmc(Node::A);
    let told = "is this node's own: nothing is told to it";
    pair.wait_log(Node::B, told, begun);
    assert_eq!(count_orders(&pair, Node::A), 0);
    pair.assert_nobody_holds();
    pair.end();
}

/// The machines tell who they are, and all is well: the failover is as ever.
#[test]
fn a_pair_whose_machines_and_bmcs_agree_fails_over_as_ever() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    for node in Node::BOTH {
        set_uuid(&pair, node, &bmc::guid(node));
    }
    boot_both(&pair);
    pair.wait_whole(Node::A);
    let begun = pair.lab.power_cut(Node::A);
    pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    pair.end();
}
