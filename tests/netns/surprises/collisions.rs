//! Two holders of one address (row 16).

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::attack::intruder::{Intruder, MAC, nft_in_switch};
use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::plan::{LabConfig, mac_text, service_mac};
use crate::pair::{LIMIT, Pair, config, tell};

/// The service networks of the two nodes fall apart; client and observer see both.
const SPLIT: &str = "table bridge split {
  chain forward {
    type filter hook forward priority 0;
    iifname a-eth0 oifname b-eth0 drop
    iifname b-eth0 oifname a-eth0 drop
  }
}";

/// All between the nodes is cut, and an operator lies: there are two holders, as told. When the
/// cut heals both report it, and the one with the lower term releases at once.
#[test]
fn after_an_operators_lie_the_lower_term_releases_at_once() {
    let config = LabConfig { isolated_grace: Duration::from_secs(60), ..config() };
    let Some(pair) = Pair::running(config) else { return };
    let vip = pair.lab.vip();
    pair.lab.cut_heartbeats();
    pair.wait_role(Node::B, "isolated");
    // A's addresses answer: the word alone is not enough.
    let refused = pair.lab.exec(Node::B, &["tandem", "confirm-off", "a"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"), "{refused:?}");
    pair.lab.bmc_dead(Node::A);
    nft_in_switch(&pair.lab, SPLIT);
    pair.lab.run(Node::B, &["tandem", "confirm-off", "--force", "a"]);
    pair.wait_role(Node::B, "active");
    pair.wait_role(Node::A, "active");
    let lied = Stamp::now();
    pair.wait("the observer sees both", || {
        (pair.observer.holders(vip, lied, Stamp::now()).len() == 2).then_some(())
    });

    let healed = pair.lab.heal_heartbeats();
    let released = pair.lab.wait_for_log(Node::A, "releasing -> standby", healed, LIMIT);
    pair.wait_log(Node::A, "claims to be active too term=2: this node gives way", healed);
    // That it must give way, or that it does already: whichever of both was heard first.
    pair.wait_log(Node::B, "too term=1: it ", healed);
    let took = released.at.since(healed);
    tell("row 16, two actives meet", &[("until the lower term has released", took)]);
    assert!(took < pair.lab.config().deadtime, "{took:?}");
    pair.wait_role(Node::B, "active");
    pair.wait_role(Node::A, "standby");
    pair.assert_only_holder(Node::B);
    // What the observer asks from now on is answered by one alone.
    let settled = Stamp::now();
    pair.wait_served_by(Node::B);
    thread::sleep(Duration::from_millis(100));
    let holders = pair.observer.holders(vip, settled, Stamp::now());
    assert_eq!(holders, BTreeSet::from([service_mac(Node::B, 0)]));
    assert_eq!(pair.observer.two_holders(settled, Stamp::now()), Duration::ZERO);
}

/// A third machine claims the VIP: the holder says who it is, takes its clients back, and goes on.
#[test]
fn a_foreign_claim_of_a_vip_is_reported_and_defended() {
    let Some(pair) = Pair::running(config()) else { return };
    let vip = pair.lab.vip();
    let intruder = Intruder::plug(&pair.lab, "svc0");
    // Right behind a takeover it may be the last holder's echo.
    pair.wait("the takeover has settled", || {
        let status = pair.status(Node::A);
        (status["nodes"][0]["since_ms"].as_u64()? > 1100).then_some(())
    });
    let begun = Stamp::now();
    intruder.claim(vip.octets());
    let line = pair.wait_log(Node::A, "collision: 02:00:00:00:ee:01 claims", begun);
    let status = pair.status(Node::A);
    assert_eq!(status["vips"][0]["claimed_by"]["mac"], mac_text(MAC), "{status:#}");
    let defence = pair.wait("the VIP is announced again", || {
        let heard = pair.observer.announcements();
        let mut ours = heard.iter().filter(|a| a.vip == vip && a.mac == service_mac(Node::A, 0));
        ours.find(|a| a.at > begun).map(|a| a.at)
    });
    let gap = pair.assert_served_since(Node::A, begun);
    let figures =
        [("reported", line.at.since(begun)), ("announced", defence.since(begun)), ("gap", gap)];
    tell("row 16, a foreign claim", &figures);

    // Again and again, for as long as somebody likes: one line in ten seconds.
    for _ in 0..300 {
        intruder.claim(vip.octets());
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(pair.count_logged(Node::A, "collision:", begun), 1);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);
    pair.wait_role(Node::A, "active");
    pair.wait_role(Node::B, "standby");
    pair.assert_only_holder(Node::A);
    pair.end();
}
