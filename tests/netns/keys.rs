//! The heartbeat key of a running pair is changed, by the commands that the manual gives: not one
//! heartbeat is refused or late, whatever an operator does in the wrong order, twice, or while a
//! daemon starts again.

use std::fs;
use std::process::Output;
use std::thread;
use std::time::Duration;

use tandem::config::KeyFile;
use tandem::wire::auth::Keys;
use tandem::wire::heartbeat::parse;

use crate::attack::heartbeats::cluster;
use crate::attack::intruder::{Tap, Tapped};
use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::plan::LabConfig;
use crate::pair::{self, Pair, tell};

/// `keepalive` 20 ms: many heartbeats while a key is changed.
fn config() -> LabConfig {
    LabConfig { keepalive: Duration::from_millis(20), ..pair::patient() }
}

/// Runs `tandem key` and gives what it said, whether it did it or not.
fn key(pair: &Pair, node: Node, words: &str) -> Output {
    let argv: Vec<&str> = ["tandem", "key"].into_iter().chain(words.split(' ')).collect();
    let output = pair.lab.exec(node, &argv);
    println!(
        "{node}# tandem key {words}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The same, which must succeed.
fn do_key(pair: &Pair, node: Node, words: &str) -> String {
    let output = key(pair, node, words);
    assert!(output.status.success(), "{node}: tandem key {words}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same, which must be refused with this in its text.
fn refuse_key(pair: &Pair, node: Node, words: &str, part: &str) {
    let output = key(pair, node, words);
    assert_eq!(output.status.code(), Some(1), "{node}: tandem key {words}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("not done") && told.contains(part), "{told}");
}

/// Takes the key file of one node to the other, as `ssh` does, and adds what is new in it there.
fn add_from_other(pair: &Pair, node: Node) -> String {
    let from = pair.lab.machine(node.other()).dir().join("etc/key");
    let to = pair.lab.machine(node).dir().join("etc/key.theirs");
    fs::copy(from, &to).unwrap();
    let script = "tandem key add - </etc/tandem/key.theirs";
    let told = pair.lab.run(node, &["sh", "-c", script]);
    fs::remove_file(to).unwrap();
    told
}

fn key_text(pair: &Pair, node: Node) -> String {
    fs::read_to_string(pair.lab.machine(node).dir().join("etc/key")).unwrap()
}

/// What a node sends with and what else it accepts, as its status tells.
fn used(pair: &Pair, node: Node) -> (String, String) {
    let status = pair.status(node);
    let text = |name: &str| status["keys"][name].as_str().unwrap().to_owned();
    (text("sends"), text("accepts"))
}

/// Waits until a node says that the other one is as far as this.
fn wait_next(pair: &Pair, node: Node, part: &str) {
    pair.wait(&format!("{node} says that next is: {part}"), || {
        let told = pair.lab.run(node, &["tandem", "key"]);
        told.contains(part).then_some(())
    });
}

/// How many datagrams a node refused, and how often a link of it was late, in its daemon's life.
fn harm(pair: &Pair, node: Node) -> (u64, u64) {
    let link = &pair.status(node)["links"][0]["counters"];
    (link["refused"].as_u64().unwrap(), link["late"].as_u64().unwrap())
}

/// Nothing was refused, nothing late, nobody lost since `begun`; the service never moved.
fn assert_unharmed(pair: &Pair, before: [(u64, u64); 2], begun: Stamp) {
    for (node, before) in Node::BOTH.into_iter().zip(before) {
        assert_eq!(harm(pair, node), before, "{node}: refused, late");
        for part in [
            "is late",
            "is down",
            "late on all links",
            "lost",
            "role ",
            "refused:",
            "nothing passes",
        ] {
            pair.assert_not_logged(node, part, begun);
        }
        pair.assert_not_logged(node, "panicked", begun);
    }
    pair.assert_only_holder(Node::A);
}

fn keys_of(text: &str) -> Keys {
    let keys = KeyFile::parse(text).unwrap().into_keys();
    let second = keys.second.as_ref().map(|key| &key.reveal()[..]);
    Keys::new(&keys.first.reveal()[..], second).unwrap()
}

/// The whole change, with both keys' heartbeats recorded from the wire: every number of both
/// senders is there, once.
#[test]
fn the_key_of_a_running_pair_is_changed_without_a_refused_heartbeat() {
    let Some(pair) = Pair::running(config()) else { return };
    let old = key_text(&pair, Node::A);
    let begun = Stamp::now();
    let before = Node::BOTH.map(|node| harm(&pair, node));
    let tap = Tap::at(&pair.lab, Node::A);
    let mut recorded = Vec::new();

    do_key(&pair, Node::A, "add");
    let told = add_from_other(&pair, Node::B);
    assert!(told.contains("the new one"), "{told}");
    wait_next(&pair, Node::A, "next: on a and on the other node: tandem key use");
    recorded.extend(tap.take());
    do_key(&pair, Node::A, "use");
    do_key(&pair, Node::B, "use");
    wait_next(&pair, Node::A, "next: on a and on the other node: tandem key drop");
    let both = key_text(&pair, Node::A);
    recorded.extend(tap.take());
    do_key(&pair, Node::A, "drop");
    do_key(&pair, Node::B, "drop");
    wait_next(&pair, Node::A, "next: nothing");
    wait_next(&pair, Node::B, "next: nothing");
    let took = begun.elapsed();
    recorded.extend(tap.take());

    assert_unharmed(&pair, before, begun);
    assert_eq!(used(&pair, Node::A), used(&pair, Node::B));
    let new = key_text(&pair, Node::A);
    assert_eq!(new, key_text(&pair, Node::B));
    assert_eq!(new.lines().count(), 1);
    assert!(!new.contains(old.trim()), "the old key is gone");
    assert_gapless(&recorded, &keys_of(&both));
    // The files are the truth: daemons that start again use them.
    for node in Node::BOTH {
        pair.lab.kill_daemon(node);
        pair.wait_whole(Node::A);
    }
    assert_eq!(used(&pair, Node::A).1, "");
    for node in Node::BOTH {
        pair.assert_not_logged(node, "refused:", begun);
        pair.assert_not_logged(node, "frozen", begun);
        for line in key_text(&pair, node).lines().chain(old.lines()) {
            pair.assert_not_logged(node, line, begun);
        }
    }
    tell("key changed at keepalive 20 ms", &[("in all", took)]);
    pair.end();
}

/// Both keys were used, and of each sender no number is missing or doubled.
fn assert_gapless(recorded: &[Tapped], keys: &Keys) {
    for node in Node::BOTH {
        let of_node = recorded.iter().filter(|tapped| tapped.from == node);
        let heard: Vec<_> =
            of_node.map(|t| parse(&t.bytes, cluster("lab"), keys).unwrap()).collect();
        let seqs: Vec<u64> = heard.iter().map(|found| found.heartbeat.seq.0).collect();
        assert!(seqs.len() > 100, "{node}: {} heartbeats", seqs.len());
        let gap = seqs.windows(2).find(|pair| pair[1] != pair[0] + 1);
        assert_eq!(gap, None, "{node}");
        let changes = heard.windows(2).filter(|pair| pair[0].key != pair[1].key).count();
        assert_eq!(changes, 1, "{node} changed its key so often");
    }
}

/// What a tired operator does: every step on one node only, too early, twice, with another key.
#[test]
fn a_step_in_the_wrong_order_is_refused_and_one_done_twice_is_done_once() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = Stamp::now();
    let before = Node::BOTH.map(|node| harm(&pair, node));
    refuse_key(&pair, Node::A, "use", "only one key");
    assert!(do_key(&pair, Node::A, "drop").contains("nothing to do"));
    do_key(&pair, Node::A, "add");
    refuse_key(&pair, Node::A, "add", "two keys are accepted already");
    refuse_key(&pair, Node::A, "use", "b has not told that it accepts");
    refuse_key(&pair, Node::A, "drop", "is not used yet");
    wait_next(&pair, Node::B, "b: sends with");
    // A new key of its own on the other node: not the same one.
    do_key(&pair, Node::B, "add");
    thread::sleep(Duration::from_millis(500));
    refuse_key(&pair, Node::A, "use", "b has not told that it accepts");
    refuse_key(&pair, Node::B, "use", "a has not told that it accepts");
    let (_, wrong) = used(&pair, Node::B);
    do_key(&pair, Node::B, &format!("drop {wrong}"));
    add_from_other(&pair, Node::B);
    assert!(add_from_other(&pair, Node::B).contains("nothing to do"));
    wait_next(&pair, Node::A, "tandem key use");
    let (old, new) = used(&pair, Node::A);
    refuse_key(&pair, Node::A, &format!("drop {old}"), "sends with");
    refuse_key(&pair, Node::A, "use 00000000", "there is no key");
    do_key(&pair, Node::A, "use");
    assert!(do_key(&pair, Node::A, "use").contains("nothing to do"));
    refuse_key(&pair, Node::A, "drop", "b still sends with");
    pair.wait("b hears the new key", || {
        let told = pair.lab.run(Node::B, &["tandem", "key"]);
        told.contains(&format!("a: sends with {new}")).then_some(())
    });
    refuse_key(&pair, Node::B, &format!("drop {new}"), "a still sends with");
    do_key(&pair, Node::B, "use");
    // And the way back, as long as both accept both.
    wait_next(&pair, Node::A, "tandem key drop");
    wait_next(&pair, Node::B, "tandem key drop");
    do_key(&pair, Node::A, &format!("use {old}"));
    do_key(&pair, Node::A, &format!("use {new}"));
    wait_next(&pair, Node::B, "tandem key drop");
    do_key(&pair, Node::B, "drop");
    wait_next(&pair, Node::A, "on a and on the other node: tandem key drop");
    do_key(&pair, Node::A, "drop");
    assert!(do_key(&pair, Node::A, "drop").contains("nothing to do"));
    wait_next(&pair, Node::B, "next: nothing");
    assert_unharmed(&pair, before, begun);
    pair.end();
}

/// After each step one daemon starts again, and in the middle of one: the file was written, the
/// daemon does not know it yet. A step whose peer is not there is refused.
#[test]
fn daemons_that_start_again_in_the_middle_of_a_change_are_heard() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = Stamp::now();
    let restart = |node| {
        pair.lab.kill_daemon(node);
        pair.wait_whole(Node::A);
    };
    do_key(&pair, Node::A, "add");
    restart(Node::A);
    add_from_other(&pair, Node::B);
    restart(Node::B);
    wait_next(&pair, Node::A, "tandem key use");
    // As if the tool had died between the file and the daemon.
    let file = KeyFile::parse(&key_text(&pair, Node::A)).unwrap();
    let (new, _) = file.second.unwrap();
    let text =
        format!("{}\n# replaced\n{}\n", new.to_text().as_str(), file.first.to_text().as_str());
    fs::write(pair.lab.machine(Node::A).dir().join("etc/key"), text).unwrap();
    refuse_key(&pair, Node::A, "use", "was changed since the daemon read it");
    wait_next(&pair, Node::A, "the file does not hold what the daemon uses");
    restart(Node::A);
    wait_next(&pair, Node::B, "next: on b: tandem key use");
    do_key(&pair, Node::B, "use");
    restart(Node::B);
    wait_next(&pair, Node::A, "tandem key drop");
    do_key(&pair, Node::A, "drop");
    restart(Node::A);
    let reload = do_key(&pair, Node::B, "reload");
    assert!(reload.contains("done"), "{reload}");
    do_key(&pair, Node::B, "drop");
    restart(Node::B);
    wait_next(&pair, Node::A, "next: nothing");

    do_key(&pair, Node::A, "add");
    pair.lab.power_cut(Node::B);
    wait_next(&pair, Node::A, "b: is not heard");
    refuse_key(&pair, Node::A, "use", "b is not heard");
    do_key(&pair, Node::A, "use --force");
    for node in Node::BOTH {
        pair.assert_not_logged(node, "refused:", begun);
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
    }
    pair.end();
}

/// A node with another key file: told as what it is on both, in the status and as an event, and
/// mended without a restart.
#[test]
fn a_wrong_key_is_told_as_what_it_is_and_that_it_is_over() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    pair.lab.boot(Node::A);
    pair.wait_role(Node::A, "active");
    let path = pair.lab.machine(Node::B).dir().join("etc/key");
    let right = fs::read_to_string(&path).unwrap();
    let wrong: String = (1_u8..33).map(|byte| format!("{byte:02x}")).collect();
    fs::write(&path, format!("{wrong}\n")).unwrap();
    let begun = Stamp::now();
    pair.lab.boot(Node::B);
    for (node, peer) in [(Node::A, "10.88.0.2"), (Node::B, "10.88.0.1")] {
        let trouble = pair.wait_trouble(node, "wrong-key");
        let what = trouble["what"].as_str().unwrap();
        let (fingerprint, _) = used(&pair, node);
        assert!(what.contains(&format!("heartbeats arrive on hb0 from {peer}")), "{what}");
        assert!(what.contains(&fingerprint), "{what}");
        pair.wait_log(node, "but not with our key", begun);
        assert_eq!(pair.count_logged(node, "but not with our key", begun), 1);
    }
    let told = pair.lab.run(Node::B, &["tandem", "check"]);
    assert!(told.contains(&used(&pair, Node::B).0), "{told}");
    fs::write(&path, &right).unwrap();
    refuse_key(&pair, Node::B, "reload", "a is not heard");
    do_key(&pair, Node::B, "reload --force");
    for node in Node::BOTH {
        pair.wait_log(node, "with our key again", begun);
    }
    pair.wait_whole(Node::A);
    for line in [wrong.as_str(), right.trim()] {
        pair.assert_not_logged(Node::A, line, begun);
        pair.assert_not_logged(Node::B, line, begun);
    }
    pair.end();
}
