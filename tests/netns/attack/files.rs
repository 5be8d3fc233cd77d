//! State files that are not what was written.

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::pair::{Pair, config};

/// The mark and the record of the active node are damaged and its daemon dies: the new one says so
/// once for each, adopts nothing, removes what is left in the kernel, and lets the peer take over.
#[test]
fn damaged_state_files_are_told_once_and_prove_nothing() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = Stamp::now();
    pair.lab.run(Node::A, &["sh", "-c", "head -c 700 /dev/urandom >/run/tandem/mark"]);
    pair.lab.run(Node::A, &["sh", "-c", "printf 'tandem-record 1\\nterm=9' >/var/lib/tandem/record"]);
    pair.lab.kill_daemon(Node::A);
    pair.wait_whole(Node::B);
    pair.assert_only_holder(Node::B);
    for what in ["the mark of an earlier life", "the record of an earlier life"] {
        assert_eq!(pair.count_logged(Node::A, what, begun), 1, "{what}");
    }
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);

    // The standby's: nobody notices but the log.
    let begun = Stamp::now();
    pair.lab.run(Node::A, &["sh", "-c", "head -c 100000 /dev/zero >/run/tandem/mark"]);
    pair.lab.run(Node::A, &["sh", "-c", ": >/var/lib/tandem/record"]);
    pair.lab.kill_daemon(Node::A);
    pair.wait_log(Node::A, "the mark of an earlier life", begun);
    pair.wait_whole(Node::B);
    pair.assert_served_since(Node::B, begun);

    // What was damaged is written anew.
    let begun = Stamp::now();
    pair.lab.kill_daemon(Node::B);
    pair.wait_log(Node::B, "adopted", begun);
    pair.wait_whole(Node::B);
    pair.assert_not_logged(Node::B, "of an earlier life", begun);
    pair.assert_served_since(Node::B, begun);
    pair.end();
}
