//! Power that is lost and comes back: rows 1, 2, 7, 13, 17 and 31.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::clock::Stamp;
use crate::lab::machine::Start;
use crate::lab::plan::LabConfig;
use crate::lab::{Node, bmc};
use crate::pair::{self, Pair, tell};

/// For how long it is watched that nothing happens.
const WATCH: Duration = Duration::from_secs(1);

const READS_OFF: &str = "proof: a holds nothing: its power reads off";

/// Waits for B's takeover after A was lost at `begun`, by fencing alone, and tells the figures.
fn wait_stonith_failover(pair: &Pair, row: &str, begun: Stamp) {
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    assert!(fencing.text.ends_with("a is lost and its VIPs are silent"), "{}", fencing.text);
    let proven = pair.wait_log(Node::B, READS_OFF, begun);
    let acquiring = pair.wait_log(Node::B, "role fencing -> acquiring", begun);
    assert!(acquiring.text.contains("(STONITH failover)"), "{}", acquiring.text);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    assert!(proven.at <= acquired.at, "it took over before it had the proof");
    assert!(!pair.lab.machine(Node::A).is_on(), "A has power");
    pair.assert_only_holder(Node::B);
    pair.wait_trouble(Node::B, "peer-missing");
    assert_eq!(pair.node_state(Node::B, Node::A).as_deref(), Some("lost"));
    tell(
        row,
        &[
            ("detection", fencing.at.since(begun)),
            ("fence", proven.at.since(fencing.at)),
            ("takeover", acquired.at.since(proven.at)),
            ("outage", outage),
        ],
    );
}

/// Row 1: A loses power, its BMC lives: B fences A, which reads off, and takes over.
#[test]
fn a_standby_takes_over_from_a_node_that_lost_power_once_its_bmc_reads_off() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.power_cut(Node::A);
    wait_stonith_failover(&pair, "row 1, power lost", begun);
    pair.end();
}

/// Row 7: A's kernel panics, as 1. Nothing of it is heard, every carrier and its power stay on.
#[test]
fn a_panicked_node_is_powered_off_before_its_service_starts_elsewhere() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    wait_stonith_failover(&pair, "row 7, kernel panic", begun);
    assert!(pair.count_power_cuts(Node::A, begun) >= 1, "its power was on and was not cut");
    pair.end();
}

/// A pair whose active node A lost its power and its BMC together: B is frozen.
fn frozen(config: LabConfig) -> Option<Pair> {
    let pair = Pair::running(config)?;
    let begun = pair.lab.power_and_bmc_cut(Node::A);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let frozen = pair.wait_log(Node::B, "role fencing -> frozen", begun);
    pair.wait_role(Node::B, "frozen");
    tell(
        "row 2, power and BMC lost",
        &[("detection", fencing.at.since(begun)), ("frozen", frozen.at.since(begun))],
    );
    Some(pair)
}

/// Row 2: A and its BMC lose power together: B frozen, no VIP anywhere, and it says why, on what
/// evidence, and what to do. On `confirm-off` it takes over.
#[test]
fn a_frozen_pair_says_why_serves_nobody_and_takes_the_word_of_an_operator() {
    let Some(pair) = frozen(pair::config()) else { return };
    let watched = Stamp::now();
    // Nothing may happen: that can only be watched for a while.
    thread::sleep(WATCH);
    pair.assert_nobody_holds();
    assert_eq!(pair.client.holder(pair.lab.vip()), None, "somebody serves without a proof");
    let silence = pair.client.longest_gap(pair.lab.vip(), watched, Stamp::now());
    assert!(silence >= WATCH, "somebody served without a proof");

    let status = pair.wait_health(Node::B, "frozen");
    let frozen = &status["frozen"];
    assert_eq!(frozen["node"], "a");
    assert_eq!(frozen["cause"], "unreachable", "{frozen}");
    let texts = |key: &str| -> String {
        let texts = frozen[key].as_array().unwrap().iter();
        texts.map(|text| format!("{}\n", text.as_str().unwrap())).collect()
    };
    let what = frozen["what"].as_str().unwrap();
    assert!(what.contains("does not answer and the host is silent"), "{what}");
    let evidence = texts("evidence");
    for part in ["link hb0: silent for", "VIPs: ", "fence device bmc-a (level 1):"] {
        assert!(evidence.contains(part), "no {part:?} in\n{evidence}");
    }
    let remedy = texts("remedy");
    assert!(remedy.contains("tandem confirm-off a"), "{remedy}");
    let shown = pair.lab.exec(Node::B, &["tandem", "status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("FROZEN") && shown.contains("tandem confirm-off a"), "{shown}");

    let begun = Stamp::now();
    pair.lab.run(Node::B, &["tandem", "confirm-off", "a"]);
    pair.wait_log(Node::B, "confirmed: an operator says that a is off", begun);
    let acquiring = pair.wait_log(Node::B, "role frozen -> acquiring", begun);
    assert!(acquiring.text.ends_with("an operator confirmed the peer off"), "{}", acquiring.text);
    let outage = pair.wait_outage(Node::B, begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    let figures = [("from word to service", acquired.at.since(begun)), ("outage", outage)];
    tell("row 2, confirm-off", &figures);

    // The one that was declared off comes back, and finds its place.
    pair.lab.restore(Node::A);
    pair.wait_whole(Node::B);
    pair.assert_only_holder(Node::B);
    pair.end();
}

/// Row 2: a frozen daemon ends when it is told to, and leaves nothing behind.
#[test]
fn a_frozen_node_that_is_told_to_stop_ends() {
    let config = LabConfig { start: Start::Once, ..pair::config() };
    let Some(pair) = frozen(config) else { return };
    let begun = pair.lab.signal_daemon(Node::B, Signal::SIGTERM);
    pair.wait_log(Node::B, "lab: the daemon ended with status 0", begun);
    pair.assert_nobody_holds();
    pair.end();
}

/// Row 2: the frozen state is left by itself when the BMC has power again: it reads off.
#[test]
fn a_frozen_pair_takes_over_by_itself_when_the_bmc_is_back() {
    let Some(pair) = frozen(pair::config()) else { return };
    let begun = pair.lab.start_bmc(Node::A);
    let proven = pair.wait_log(Node::B, READS_OFF, begun);
    let outage = pair.wait_outage(Node::B, begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    assert_eq!(pair.status(Node::B)["frozen"], serde_json::Value::Null);
    let figures = [
        ("proof", proven.at.since(begun)),
        ("takeover", acquired.at.since(proven.at)),
        ("outage", outage),
    ];
    tell("row 2, BMC back", &figures);
    pair.end();
}

/// Row 2: the frozen state is left by itself when A is heard in a new boot, its BMC still dead: it
/// holds nothing of its former life, and grants.
#[test]
fn a_frozen_pair_serves_again_when_the_lost_node_is_heard_in_a_new_boot() {
    let Some(pair) = frozen(pair::config()) else { return };
    let begun = Stamp::now();
    pair.lab.boot(Node::A);
    pair.wait_log(Node::B, "peer a heard after a reboot", begun);
    let active = pair.wait("one of them is active", || {
        Node::BOTH.into_iter().find(|node| pair.lab.role(*node).as_deref() == Some("active"))
    });
    pair.wait_role(active.other(), "standby");
    pair.wait_served_by(active);
    let served = begun.elapsed();
    pair.assert_only_holder(active);
    let acquiring = pair.wait_log(active, "-> acquiring", begun);
    assert!(acquiring.text.ends_with("granted by the peer"), "{}", acquiring.text);
    // Nobody can cut A's power: that is told before it is needed.
    let trouble = pair.wait_trouble(Node::B, "fence-device");
    let what = trouble["what"].as_str().unwrap();
    assert!(what.contains("bmc-a") && what.contains("would freeze"), "{what}");
    tell(&format!("row 2, a back, {active} serves"), &[("from boot to service", served)]);
    pair.end();
}

/// Row 2: `confirm-off` is refused while the node is heard.
#[test]
fn an_operators_word_against_a_node_that_is_heard_is_refused() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = Stamp::now();
    for (on, of) in [(Node::B, Node::A), (Node::A, Node::B)] {
        for force in [None, Some("--force")] {
            let argv = ["tandem", "confirm-off"].into_iter().chain(force).chain([of.letter()]);
            let output = pair.lab.exec(on, &argv.collect::<Vec<_>>());
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "on {on}: {stderr}");
            assert!(stderr.contains("heard"), "on {on}: {stderr}");
        }
    }
    pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    pair.end();
}

/// Row 13: one starts cold alone, no VIP answers: startup fencing, then active.
#[test]
fn a_node_that_starts_alone_fences_the_other_one_before_it_serves() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    let begun = Stamp::now();
    pair.lab.boot(Node::B);
    let fencing = pair.wait_log(Node::B, "role joining -> fencing", begun);
    let proven = pair.wait_log(Node::B, READS_OFF, begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
    pair.assert_only_holder(Node::B);
    tell(
        "row 13, alone",
        &[
            ("listening and looking", fencing.at.since(begun)),
            ("fence", proven.at.since(fencing.at)),
            ("takeover", acquired.at.since(proven.at)),
        ],
    );

    // The late one joins what it finds.
    pair.lab.boot(Node::A);
    pair.wait_whole(Node::B);
    assert_eq!(pair.count_power_cuts(Node::B, begun), 0, "the late one shot");
    pair.end();
}

/// Row 13: one starts cold alone and can have no proof: frozen, nothing is started. A word ends it.
#[test]
fn a_node_that_starts_alone_without_a_proof_is_frozen() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    pair.lab.bmc_dead(Node::A);
    let begun = Stamp::now();
    pair.lab.boot(Node::B);
    let frozen = pair.wait_log(Node::B, "role fencing -> frozen", begun);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(status["frozen"]["cause"], "unreachable", "{}", status["frozen"]);
    let evidence = status["frozen"]["evidence"].to_string();
    assert!(evidence.contains("never heard since this daemon's start"), "{evidence}");
    pair.assert_nobody_holds();
    assert_eq!(pair.client.holder(pair.lab.vip()), None);
    pair.lab.run(Node::B, &["tandem", "confirm-off", "a"]);
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
    tell("row 13, alone and frozen", &[("frozen", frozen.at.since(begun))]);
    pair.end();
}

/// Row 13, the race of two that hold nothing: both start cold, no heartbeat passes, nobody answers
/// for a VIP, and each may cut the other. The fence delay of B lets A be first: one survives.
#[test]
fn of_two_that_start_cold_in_a_cut_exactly_one_survives() {
    let Some(pair) = Pair::dark(pair::config()) else { return };
    pair.lab.cut_heartbeats();
    let begun = Stamp::now();
    for node in Node::BOTH {
        pair.lab.boot(node);
    }
    let proven = pair.wait_log(Node::A, "proof: b holds nothing: its power reads off", begun);
    pair.wait_role(Node::A, "active");
    pair.wait_served_by(Node::A);
    assert!(!pair.lab.machine(Node::B).is_on(), "both have survived");
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "both were cut");
    pair.assert_only_holder(Node::A);
    tell("row 13, cold start of a cut pair", &[("one is off", proven.at.since(begun))]);

    // The one that was cut boots into the cut, and fences nobody; once it heals, it joins.
    let back = Stamp::now();
    pair.lab.boot(Node::B);
    pair.wait_log(Node::B, "-> isolated", back);
    pair.lab.heal_heartbeats();
    pair.wait_whole(Node::A);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0, "the fenced one shot");
    pair.assert_served_since(Node::A, back);
    pair.end();
}

/// Row 17: the fenced node comes back: standby; no failback, though it is the preferred one.
#[test]
fn a_fenced_node_comes_back_as_standby_and_takes_nothing_back() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.power_cut(Node::A);
    pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");

    let back = Stamp::now();
    pair.lab.boot(Node::A);
    let standby = pair.wait_log(Node::A, "role joining -> standby", back);
    assert!(standby.text.ends_with("b holds the resources"), "{}", standby.text);
    pair.wait_whole(Node::B);
    pair.wait_log(Node::B, "no longer degraded: a is missing", back);
    // Nothing may move: that can only be watched for a while.
    thread::sleep(WATCH);
    let gap = pair.assert_served_since(Node::B, back);
    pair.assert_only_holder(Node::B);
    assert_eq!(pair.count_power_cuts(Node::B, begun), 0, "the fenced one shot");
    tell(
        "row 17, the fenced one returns",
        &[("standby after boot", standby.at.since(back)), ("longest gap", gap)],
    );

    // And it is worth something: the next failover goes to it.
    let begun = pair.lab.power_cut(Node::B);
    let outage = pair.wait_outage(Node::A, begun);
    pair.wait_role(Node::A, "active");
    pair.assert_only_holder(Node::A);
    tell("row 17, and back again", &[("outage", outage)]);
    pair.end();
}

/// Row 31: a fenced node boots while all links are still cut: it hears nobody, sees the VIPs
/// answer: isolated, and fences nobody for as long as that lasts.
#[test]
fn a_fenced_node_that_boots_into_the_same_cut_fences_nobody() {
    let grace = Duration::from_secs(1);
    let config = LabConfig { isolated_grace: grace, ..pair::config() };
    let Some(pair) = Pair::running(config) else { return };
    let begun = pair.lab.cut_heartbeats();
    pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    assert!(!pair.lab.machine(Node::A).is_on(), "B serves, and A was not fenced");

    let back = Stamp::now();
    let on = pair.lab.ipmitool(Node::B, bmc::USER, bmc::PASSWORD, "on");
    assert!(on.status.success(), "{}", String::from_utf8_lossy(&on.stderr));
    let isolated = pair.wait_log(Node::A, "-> isolated", back);
    assert!(isolated.text.contains("is not heard, but its VIPs answer"), "{}", isolated.text);
    pair.wait_role(Node::A, "isolated");
    // Several graces long nothing may happen: that can only be watched.
    thread::sleep(4 * grace);
    pair.wait_role(Node::A, "isolated");
    pair.wait_role(Node::B, "active");
    pair.assert_not_logged(Node::A, "fence: cutting", back);
    assert_eq!(pair.count_power_cuts(Node::B, begun), 0, "the fenced one shot");
    assert_eq!(pair.count_power_cuts(Node::A, back), 0, "it was fenced again: a fence loop");
    pair.assert_served_since(Node::B, back);
    pair.assert_only_holder(Node::B);

    pair.lab.heal_heartbeats();
    pair.wait_whole(Node::B);
    pair.assert_served_since(Node::B, back);
    tell("row 31, boots into the cut", &[("isolated after boot", isolated.at.since(back))]);
    pair.end();
}
