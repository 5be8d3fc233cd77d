//! VIPs where tandem did not put them: on a standby, or on another link of their host.

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::pair::{Pair, config, tell};

/// The standby's loopback gets the VIP: its kernel would answer for it on every NIC.
#[test]
fn a_vip_that_an_administrator_adds_on_the_standby_is_taken_off_at_once() {
    let Some(pair) = Pair::running(config()) else { return };
    let vip = pair.lab.vip();
    let begun = Stamp::now();
    pair.lab.run(Node::B, &["ip", "addr", "add", &format!("{vip}/32"), "dev", "lo"]);
    let told = pair.wait_log(Node::B, "is on this node, which does not hold it", begun);
    pair.wait("it is gone", || (!pair.lab.has_vip(Node::B, vip)).then_some(()));
    let both = pair.observer.two_holders(begun, Stamp::now());
    tell("a stray VIP", &[("told after", told.at.since(begun)), ("two answered for", both)]);
    pair.wait_whole(Node::A);
    pair.assert_only_holder(Node::A);
    // It is as good a standby as before.
    pair.lab.power_cut(Node::A);
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
}

/// A service NIC that is renamed under the active takes the VIP along: a release finds it there,
/// and the one that takes over is the only one that answers.
#[test]
fn a_vip_on_a_nic_that_was_renamed_is_released_with_the_others() {
    let Some(pair) = Pair::running(config()) else { return };
    let vip = pair.lab.vip();
    pair.lab.run(Node::A, &["ip", "link", "set", "eth0", "name", "old0"]);
    pair.wait_trouble(Node::A, "service-path");
    assert!(pair.lab.has_vip(Node::A, vip), "the VIP went with the name");
    let begun = Stamp::now();
    pair.lab.signal_daemon(Node::A, nix::sys::signal::Signal::SIGTERM);
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
    assert!(!pair.lab.has_vip(Node::A, vip), "two hosts have the VIP");
    pair.assert_only_holder(Node::B);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);
    pair.end();
}
