//! A node that is written down and read back, or copied, goes on as the one that it was made of.

use tandem::engine::Node;
use tandem::sim::seeds::{self, Trial};

use tandem::sim::{World, ms};

const SEEDS: u64 = 100;

/// The node as its text says it is. One whose text leaves something out is copied instead.
pub fn rewritten(node: &Node) -> Node {
    let text = serde_json::to_string(node).unwrap();
    if node.has_unused_proof() {
        let copy = node.clone();
        assert_eq!(serde_json::to_string(&copy).unwrap(), text, "the copy is another node");
        return copy;
    }
    let read: Node = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text, "the text is read as another node");
    read
}

// In: random worlds with faults, each twice: with their engines, and with copies of them from
// texts, after each fault.
// Out: the same events at the same times.
#[test]
fn a_node_from_its_text_goes_on_as_the_node() {
    for seed in 0..SEEDS {
        let as_it_is = seeds::run(seed, true);
        let mut trial = Trial::new(seed, true);
        while trial.go_on() {
            let daemons = trial.world.machines.iter_mut().filter_map(|m| m.daemon_mut());
            for daemon in daemons {
                daemon.node = rewritten(&daemon.node);
            }
        }
        trial.end();
        let from_texts = trial.world;
        assert_eq!(as_it_is.story(), from_texts.story(), "seed {seed}");
        assert_eq!(as_it_is.steps, from_texts.steps, "seed {seed}");
    }
}

// In: a lost peer that an operator confirmed off, to a node whose own service path is bad: it may
// not use the proof.
// Out: the text of the node, read back, has no proof; the node says so beforehand.
#[test]
fn no_text_is_a_proof() {
    let mut world = World::pair();
    for nic in 0..2 {
        world.set_carrier(1, nic, false);
    }
    world.power_off(0);
    world.run(ms(1000));
    world.confirm_off(1, 0, true);
    let node = &world.machines[1].daemon.as_ref().unwrap().node;
    assert!(node.has_unused_proof(), "{}", world.story());
    let text = serde_json::to_string(node).unwrap();
    let proof = "\"proof\":{\"peer\":1,\"kind\":\"Confirmed\"}";
    assert!(text.contains(proof), "{text}");
    let read: Node = serde_json::from_str(&text).unwrap();
    assert!(!read.has_unused_proof());
}
