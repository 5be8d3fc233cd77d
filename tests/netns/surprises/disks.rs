//! State directories that take nothing, and configurations that differ (rows 21 and 22).

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::pair::{Pair, config, tell};

#[test]
fn a_read_only_state_directory_degrades_the_holder_that_goes_on_serving() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = Stamp::now();
    let mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", "/var/lib/tandem"];
    pair.lab.run(Node::A, &mount);
    pair.lab.kill_daemon(Node::A);
    pair.wait_log(Node::A, "an earlier daemon of this boot held", begun);
    let trouble = pair.wait_trouble(Node::A, "state-directory");
    println!("row 21: {}; {}", trouble["what"], trouble["remedy"]);
    pair.wait_role(Node::A, "active");
    pair.wait_health(Node::A, "degraded");
    pair.assert_served_since(Node::A, begun);
    // Writable again: the next attempt ends it.
    pair.lab.run(Node::A, &["umount", "/var/lib/tandem"]);
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}

/// A takeover does not wait for a disk that is full, and says afterwards that it is.
#[test]
fn a_full_state_directory_does_not_keep_the_standby_from_taking_over() {
    let Some(pair) = Pair::running(config()) else { return };
    let mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", "/var/lib/tandem"];
    pair.lab.run(Node::B, &mount);
    let fill = "head -c 100000 /dev/zero >/var/lib/tandem/full; test -s /var/lib/tandem/full";
    pair.lab.run(Node::B, &["sh", "-c", fill]);
    // Its daemon starts with it and reserves its next term in vain.
    let begun = pair.lab.kill_daemon(Node::B);
    pair.wait_trouble(Node::B, "state-directory");
    pair.wait_role(Node::B, "standby");
    pair.assert_served_since(Node::A, begun);
    let begun = pair.lab.power_cut(Node::A);
    let outage = pair.wait_outage(Node::B, begun);
    tell("row 21, takeover with a full disk", &[("outage", outage)]);
    pair.wait_role(Node::B, "active");
    pair.wait_trouble(Node::B, "state-directory");
    pair.assert_only_holder(Node::B);
    pair.end();
}

#[test]
fn configurations_that_differ_degrade_both_until_they_agree() {
    let Some(pair) = Pair::running(config()) else { return };
    let toml = pair.lab.config().to_toml();
    let other = toml.replace("isolated-grace = \"2000ms\"", "isolated-grace = \"3000ms\"");
    assert_ne!(toml, other, "the configuration has changed its face");
    let begun = Stamp::now();
    pair.lab.write_configuration(Node::B, &other);
    pair.lab.kill_daemon(Node::B);
    for node in Node::BOTH {
        let trouble = pair.wait_trouble(node, "config-differs");
        println!("row 22, {node}: {}; {}", trouble["what"], trouble["remedy"]);
        pair.wait_health(node, "degraded");
    }
    pair.wait_role(Node::B, "standby");
    pair.lab.write_configuration(Node::B, &toml);
    pair.lab.kill_daemon(Node::B);
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}
