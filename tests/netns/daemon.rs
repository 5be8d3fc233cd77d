//! The daemon dies, hangs, or is told to stop, and its machine lives on: rows 5, 6, 11 and 12.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::bmc::Manner;
use crate::lab::clock::Stamp;
use crate::lab::machine::Start;
use crate::lab::plan::{LabConfig, service_mac};
use crate::lab::{Lab, Node};
use crate::pair::{self, Pair, tell};

/// For how long it is watched that nothing happens: several deadtimes.
const WATCH: Duration = Duration::from_millis(1500);

/// The daemon is not started again when it ends.
fn unsupervised() -> LabConfig {
    LabConfig { start: Start::Once, ..pair::config() }
}

/// Row 5: A's daemon is killed and started again at once: it adopts what it held, and no client
/// notices.
#[test]
fn a_killed_daemon_that_is_back_at_once_adopts_what_it_held() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let term = term_of(&pair, Node::A);
    let begun = pair.lab.kill_daemon(Node::A);
    let adopted = wait_adopted(&pair, begun);
    pair.wait_log(Node::B, "peer a heard with a restarted daemon", begun);
    pair.wait_whole(Node::A);
    let gap = pair.assert_served_since(Node::A, begun);
    pair.assert_not_logged(Node::B, "fence: cutting", begun);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "A was shot at");
    assert_eq!(term_of(&pair, Node::A), term, "nobody took over");
    let figures = [("adopted", adopted.since(begun)), ("longest gap", gap)];
    tell("row 5, daemon killed", &figures);
    pair.end();
}

/// Row 5: the same, but the supervisor is so slow that B has lost A meanwhile: B sees the VIPs
/// answer, is isolated, and leaves A its grace.
#[test]
fn a_killed_daemon_that_is_back_within_the_grace_adopts_what_it_held() {
    let start = Start::Supervised(Duration::from_secs(1));
    let config = LabConfig { start, isolated_grace: Duration::from_secs(5), ..pair::config() };
    let Some(pair) = Pair::running(config) else { return };
    let begun = pair.lab.kill_daemon(Node::A);
    pair.wait_log(Node::B, "role standby -> isolated", begun);
    let adopted = wait_adopted(&pair, begun);
    let standby = pair.wait_log(Node::B, "role isolated -> standby", begun);
    pair.wait_whole(Node::A);
    let gap = pair.assert_served_since(Node::A, begun);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "A was shot at");
    let figures = [
        ("adopted", adopted.since(begun)),
        ("isolated until", standby.at.since(begun)),
        ("longest gap", gap),
    ];
    tell("row 5, back after the deadtime", &figures);
    pair.end();
}

/// Row 6: A's daemon hangs, its kernel goes on answering: after `isolated-grace` B fences A and
/// takes over. Never before: the one that hangs holds the VIPs.
#[test]
fn a_hanging_daemon_is_fenced_after_the_grace() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    wait_failover_after_grace(&pair, "row 6, daemon stopped", begun);
    pair.end();
}

/// Row 6: A's daemon dies for good and leaves its VIPs behind in the kernel: as if it hung.
#[test]
fn a_daemon_that_died_for_good_is_fenced_after_the_grace() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.kill_daemon_for_good(Node::A);
    wait_failover_after_grace(&pair, "row 6, daemon dead", begun);

    // What comes back has lost what it held with its power.
    pair.lab.boot(Node::A);
    pair.wait_whole(Node::B);
    pair.assert_only_holder(Node::B);
    pair.end();
}

/// Rows 6 and 27: the one that hung goes on while its power-off is on its way, and its BMC is slow
/// to do what it has acknowledged. Whoever ends up serving, there never are two.
#[test]
fn a_daemon_that_continues_under_the_fence_never_makes_two_holders() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    pair.lab.bmc(Node::A).set_manner(Manner::Late(Duration::from_millis(600)));
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    pair.wait("A's BMC is told to cut the power", || {
        (pair.count_power_cuts(Node::A, begun) > 0).then_some(())
    });
    let told = pair.lab.signal_daemon(Node::A, Signal::SIGCONT);
    // Called back or not, the BMC does it: B must find out, and serve.
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    assert!(!pair.lab.machine(Node::A).is_on(), "A has power");
    pair.assert_only_holder(Node::B);
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    tell(
        "row 6, continues under the fence",
        &[("proof after it went on", proven.at.since(told)), ("outage", outage)],
    );
    pair.end();
}

/// Row 11: B dies: A stays active, degraded, and says that nobody could take over.
#[test]
fn an_active_that_loses_its_standby_serves_on_degraded() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.power_cut(Node::B);
    pair.wait_log(Node::A, "peer b lost", begun);
    let trouble = pair.wait_trouble(Node::A, "peer-missing");
    let shown = begun.elapsed();
    assert!(trouble["what"].as_str().unwrap().contains("nobody could take over"), "{trouble}");
    assert_eq!(pair.status(Node::A)["health"], "degraded");
    assert_eq!(pair.node_state(Node::A, Node::B).as_deref(), Some("lost"));
    thread::sleep(WATCH);
    pair.assert_not_logged(Node::A, "role ", begun);
    assert_eq!(pair.count_power_cuts(Node::B, begun), 0, "a holder never fences");

    pair.lab.boot(Node::B);
    pair.wait_whole(Node::A);
    let gap = pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    tell("row 11, standby lost", &[("shown", shown), ("longest gap", gap)]);
    pair.end();
}

/// Row 11: only B's daemon dies: the same, and the new one finds its place.
#[test]
fn a_killed_standby_is_restarted_and_nothing_moves() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.kill_daemon(Node::B);
    pair.wait_log(Node::A, "peer b heard with a restarted daemon", begun);
    pair.wait_log(Node::B, "role joining -> standby", begun);
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);
    pair.assert_not_logged(Node::A, "role ", begun);
    for node in Node::BOTH {
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
    }
    pair.end();
}

/// Row 12: both start cold at the same time and nothing is preferred: exactly one becomes active,
/// the one with the lower number.
#[test]
fn of_two_that_start_cold_together_exactly_one_becomes_active() {
    let config = LabConfig { preferred: None, ..pair::config() };
    let Some(pair) = Pair::dark(config) else { return };
    let begun = Stamp::now();
    boot_together(&pair.lab);
    pair.wait_whole(Node::A);
    let acquired = pair.wait_log(Node::A, "acquired: all resources", begun);
    thread::sleep(WATCH);
    assert_one_start(&pair, Node::A, begun);
    tell("row 12, both start cold", &[("from power to service", acquired.at.since(begun))]);
    pair.end();
}

/// Row 12: the one that held the service last goes first, whoever is preferred: its data is the
/// newest.
#[test]
fn of_two_that_start_cold_together_the_last_holder_goes_first() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let lost = pair.lab.power_cut(Node::A);
    pair.wait_outage(Node::B, lost);
    pair.wait_role(Node::B, "active");
    pair.lab.boot(Node::A);
    pair.wait_whole(Node::B);
    let held = term_of(&pair, Node::B);

    for node in Node::BOTH {
        pair.lab.power_cut(node);
    }
    let begun = Stamp::now();
    boot_together(&pair.lab);
    pair.wait_whole(Node::B);
    assert_one_start(&pair, Node::B, begun);
    assert!(term_of(&pair, Node::B) > held, "a takeover without a new term");
    pair.end();
}

/// Rows 12 and 22: each node's configuration prefers that node. They start cold together, are
/// degraded, and one serves all the same.
#[test]
fn of_two_that_each_prefer_themselves_exactly_one_becomes_active() {
    let config = LabConfig { preferred: Some(Node::A), ..pair::config() };
    let Some(pair) = Pair::dark(config) else { return };
    let toml = pair.lab.config().to_toml();
    let other = toml.replace("preferred = \"a\"", "preferred = \"b\"");
    assert_ne!(toml, other, "the configuration has changed its face");
    pair.lab.write_configuration(Node::B, &other);
    let begun = Stamp::now();
    boot_together(&pair.lab);
    pair.wait_log(Node::A, "acquired: all resources", begun);
    pair.wait_role(Node::B, "standby");
    for node in Node::BOTH {
        pair.wait_trouble(node, "config-differs");
    }
    thread::sleep(WATCH);
    assert_one_start(&pair, Node::A, begun);
    assert!(term_of(&pair, Node::A) < 8, "they have bid against each other");
    pair.end();
}

/// SIGTERM of the active: it releases, says goodbye, and ends with status 0; the standby takes over
/// on that word, at once, and fences nobody.
#[test]
fn an_active_that_is_told_to_stop_hands_over_without_a_fence() {
    let Some(pair) = Pair::running(unsupervised()) else { return };
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGTERM);
    let acquiring = pair.wait_log(Node::B, "role standby -> acquiring", begun);
    assert!(acquiring.text.ends_with("released by the peer (non-STONITH)"), "{}", acquiring.text);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    let ended = pair.wait_log(Node::A, "lab: the daemon ended with status 0", begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    pair.wait_log(Node::A, "all resources are given up", begun);
    // What it was is known, not guessed: it stopped, and was not lost.
    pair.wait("B says that A has stopped", || {
        (pair.node_state(Node::B, Node::A).as_deref() == Some("stopped")).then_some(())
    });
    pair.wait_trouble(Node::B, "peer-missing");
    thread::sleep(WATCH);
    assert_eq!(pair.node_state(Node::B, Node::A).as_deref(), Some("stopped"));
    assert!(pair.lab.machine(Node::A).is_on(), "A was fenced");
    pair.assert_not_logged(Node::B, "fence: cutting", begun);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "A was shot at");
    tell(
        "stop of the active",
        &[
            ("standby begins", acquiring.at.since(begun)),
            ("takeover", acquired.at.since(acquiring.at)),
            ("outage", outage),
            ("A ended", ended.at.since(begun)),
        ],
    );

    let back = Stamp::now();
    pair.lab.restart_daemon(Node::A);
    pair.wait_whole(Node::B);
    pair.assert_served_since(Node::B, back);
    pair.end();
}

/// SIGTERM of an active that a supervisor starts again at once: it is back as standby, and takes
/// nothing back.
#[test]
fn an_active_that_is_restarted_by_its_supervisor_comes_back_as_standby() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGTERM);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_whole(Node::B);
    pair.assert_only_holder(Node::B);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "A was shot at");
    tell("restart of the active", &[("outage", outage)]);
    pair.end();
}

/// SIGTERM of the standby: it says goodbye; the active serves on, degraded, and knows that the
/// other one has stopped.
#[test]
fn a_standby_that_is_told_to_stop_says_goodbye() {
    let Some(pair) = Pair::running(unsupervised()) else { return };
    let begun = pair.lab.signal_daemon(Node::B, Signal::SIGTERM);
    pair.wait_log(Node::B, "lab: the daemon ended with status 0", begun);
    pair.wait("A says that B has stopped", || {
        (pair.node_state(Node::A, Node::B).as_deref() == Some("stopped")).then_some(())
    });
    pair.wait_trouble(Node::A, "peer-missing");
    assert_eq!(pair.status(Node::A)["health"], "degraded");
    thread::sleep(WATCH);
    pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    pair.assert_not_logged(Node::A, "role ", begun);
    for node in Node::BOTH {
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
    }
    pair.lab.restart_daemon(Node::B);
    pair.wait_whole(Node::A);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}

/// Both are told to stop: nobody holds a VIP, nobody was shot; started again, one serves.
#[test]
fn a_pair_that_is_told_to_stop_leaves_no_vip_behind() {
    let Some(pair) = Pair::running(unsupervised()) else { return };
    let begun = pair.lab.signal_daemon(Node::B, Signal::SIGTERM);
    pair.wait_log(Node::B, "lab: the daemon ended with status 0", begun);
    pair.lab.signal_daemon(Node::A, Signal::SIGTERM);
    pair.wait_log(Node::A, "lab: the daemon ended with status 0", begun);
    pair.assert_nobody_holds();
    for node in Node::BOTH {
        pair.lab.restart_daemon(node);
    }
    pair.wait_whole(Node::A);
    for node in Node::BOTH {
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
    }
    pair.end();
}

/// Waits until A's new daemon has adopted what the dead one held.
fn wait_adopted(pair: &Pair, begun: Stamp) -> Stamp {
    let text = "an earlier daemon of this boot held the resources";
    pair.wait_log(Node::A, text, begun).at
}

/// A's daemon is gone or stuck since `begun`, and its kernel answers for the VIPs.
fn wait_failover_after_grace(pair: &Pair, row: &str, begun: Stamp) {
    let isolated = pair.wait_log(Node::B, "role standby -> isolated", begun);
    pair.wait_role(Node::B, "isolated");
    pair.assert_only_holder(Node::A);
    let fencing = pair.wait_log(Node::B, "role isolated -> fencing", begun);
    assert!(fencing.text.ends_with("has been unheard for isolated-grace"), "{}", fencing.text);
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    assert!(!pair.lab.machine(Node::A).is_on(), "A has power");
    assert!(pair.count_power_cuts(Node::A, begun) >= 1);
    pair.assert_only_holder(Node::B);
    tell(
        row,
        &[
            ("detection", isolated.at.since(begun)),
            ("grace", fencing.at.since(isolated.at)),
            ("fence", proven.at.since(fencing.at)),
            ("takeover", acquired.at.since(proven.at)),
            ("outage", outage),
        ],
    );
}

/// Gives both nodes power at the same time.
fn boot_together(lab: &Lab) {
    thread::scope(|scope| {
        for node in Node::BOTH {
            scope.spawn(move || lab.boot(node));
        }
    });
}

/// Since both started at `begun`, `first` alone became active, and nobody was shot at.
fn assert_one_start(pair: &Pair, first: Node, begun: Stamp) {
    pair.assert_only_holder(first);
    assert_eq!(pair.count_logged(first, "-> acquiring", begun), 1);
    pair.assert_not_logged(first.other(), "-> acquiring", begun);
    for vip in pair.lab.config().vips() {
        let seen = pair.observer.holders(vip, begun, Stamp::now());
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [service_mac(first, vip.octets()[2])]);
    }
    for node in Node::BOTH {
        assert_eq!(pair.count_power_cuts(node, begun), 0, "{node} was shot at");
    }
}

/// The term that a node says it holds.
fn term_of(pair: &Pair, node: Node) -> u64 {
    let status = pair.status(node);
    let mut nodes = status["nodes"].as_array().unwrap().iter();
    nodes.find(|entry| entry["local"] == true).unwrap()["term"].as_u64().unwrap()
}
