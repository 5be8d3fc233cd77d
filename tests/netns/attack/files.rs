//! State files that are not what was written.

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::pair::{Pair, config};

/// The mark and the record of the active node are damaged and its daemon dies: the new one says so
/// once for each, adopts nothing, removes what is left in the kernel, and asks like everybody else.
#[test]
fn damaged_state_files_are_told_once_and_prove_nothing() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = Stamp::now();
    pair.lab.run(Node::A, &["sh", "-c", "head -c 700 /dev/urandom >/run/tandem/mark"]);
    pair.lab
        .run(Node::A, &["sh", "-c", "printf 'tandem-record 1\\nterm=9' >/var/lib/tandem/record"]);
    pair.lab.kill_daemon(Node::A);
    pair.wait_log(Node::A, "joining -> acquiring term=2: granted by the peer", begun);
    pair.wait_whole(Node::A);
    pair.assert_only_holder(Node::A);
    for what in ["the mark of an earlier life", "the record of an earlier life"] {
        assert_eq!(pair.count_logged(Node::A, what, begun), 1, "{what}");
    }
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);

    // The standby's: nobody notices but the log.
    let begun = Stamp::now();
    pair.lab.run(Node::B, &["sh", "-c", "head -c 100000 /dev/zero >/run/tandem/mark"]);
    pair.lab.run(Node::B, &["sh", "-c", ": >/var/lib/tandem/record"]);
    pair.lab.kill_daemon(Node::B);
    pair.wait_log(Node::B, "the mark of an earlier life", begun);
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);

    // What was damaged is written anew.
    let begun = Stamp::now();
    pair.lab.kill_daemon(Node::A);
    pair.wait_log(Node::A, "an earlier daemon of this boot held", begun);
    pair.wait_whole(Node::A);
    pair.assert_not_logged(Node::A, "of an earlier life", begun);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}
