//! Power that is lost with the BMC, and a meter that shows it: a witness is a script that speaks
//! the fence agents' language, reads a meter, and can do nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::plan::LabConfig;
use crate::pair::{self, Pair, tell};

/// Reads the watts in a file, and notes what it was told.
const METER: &str = r#"#!/bin/bash
while IFS== read -r name value; do
  case $name in action) action=$value ;; meter) meter=$value ;; esac
done
echo "$action" >>"$meter.told"
[[ $action == status ]] || { echo "a meter cannot switch" >&2; exit 1; }
watts=$(<"$meter") || exit 1
if ((watts < 5)); then
  echo "Status: OFF"
  exit 2
fi
echo "Status: ON"
"#;
const WITNESSED: &str = "proof: a holds nothing: a witness reads its power off; nobody has cut it";

fn config() -> LabConfig {
    let mut extra = String::new();
    for node in Node::BOTH {
        extra.push_str(&format!(
            "[[fence]]\nnode = \"{node}\"\nlevel = 2\nname = \"meter-{node}\"\ntype = \"agent\"\n\
             role = \"witness\"\nagent = \"/etc/tandem/fence_meter\"\n\
             params = {{ meter = \"/etc/tandem/meter-{node}\" }}\ntimeout = \"2s\"\n"
        ));
    }
    LabConfig { extra, ..pair::config() }
}

/// What the meter of `of` shows, wherever it is read.
fn set_watts(pair: &Pair, of: Node, watts: u32) {
    for node in Node::BOTH {
        let etc = pair.lab.machine(node).dir().join("etc");
        let new = etc.join("meter.new");
        fs::write(&new, watts.to_string()).unwrap();
        fs::rename(new, etc.join(format!("meter-{of}"))).unwrap();
    }
}

/// A whole pair, whose meters show these watts of a from the beginning.
fn running(watts_of_a: u32) -> Option<Pair> {
    let pair = Pair::dark(config())?;
    for node in Node::BOTH {
        let agent = pair.lab.machine(node).dir().join("etc/fence_meter");
        fs::write(&agent, METER).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    }
    set_watts(&pair, Node::A, watts_of_a);
    set_watts(&pair, Node::B, 120);
    for node in Node::BOTH {
        pair.lab.boot(node);
    }
    pair.wait_role(Node::A, "active");
    pair.wait_role(Node::B, "standby");
    Some(pair)
}

/// What stands of a witness in B's status.
fn witness(pair: &Pair, key: &str) -> String {
    let status = pair.status(Node::B);
    let devices = status["fence_devices"].as_array().unwrap();
    let meter = devices.iter().find(|device| device["name"] == "meter-a").unwrap();
    assert_eq!(meter["role"], "witness", "{meter}");
    meter[key].as_str().unwrap_or_default().to_owned()
}

fn wait_seen_on(pair: &Pair) {
    let seen =
        || (witness(pair, "reading") == "on" && witness(pair, "fault").is_empty()).then_some(());
    pair.wait("the witness has read on", seen);
}

/// Row 2, with a witness: host and BMC lose their power together, and the meter shows it.
#[test]
fn a_witness_that_reads_off_lets_the_standby_take_over_when_host_and_bmc_lost_power_together() {
    let Some(pair) = running(120) else { return };
    pair.wait_whole(Node::A);
    wait_seen_on(&pair);
    let begun = pair.lab.power_and_bmc_cut(Node::A);
    set_watts(&pair, Node::A, 0);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    pair.wait_log(Node::B, "fence: reading the witnesses of a, level 2", begun);
    let proven = pair.wait_log(Node::B, WITNESSED, begun);
    let acquiring = pair.wait_log(Node::B, "-> acquiring", begun);
    assert!(acquiring.text.contains("nobody cut it (non-STONITH)"), "{}", acquiring.text);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    let told = pair.lab.machine(Node::B).dir().join("etc/meter-a.told");
    let told = fs::read_to_string(told).unwrap();
    assert!(told.lines().all(|line| line == "status"), "a witness was told: {told}");
    let figures = [("proof", proven.at.since(fencing.at)), ("outage", outage)];
    tell("row 2, witnessed", &figures);
    pair.end();
}

/// The host runs on, unheard, its BMC is dead: frozen, until somebody pulls the cords.
#[test]
fn a_witness_that_reads_on_keeps_the_pair_frozen_until_it_reads_off() {
    let Some(pair) = running(120) else { return };
    pair.wait_whole(Node::A);
    wait_seen_on(&pair);
    let begun = pair.lab.power_and_bmc_cut(Node::A);
    pair.wait_log(Node::B, "role fencing -> frozen", begun);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(status["frozen"]["cause"], "witness-on", "{}", status["frozen"]);
    pair.assert_nobody_holds();
    let begun = Stamp::now();
    set_watts(&pair, Node::A, 1);
    let proven = pair.wait_log(Node::B, WITNESSED, begun);
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
    pair.assert_only_holder(Node::B);
    tell("row 2, the witness reads off later", &[("proof", proven.at.since(begun))]);
    pair.end();
}

/// A meter that shows nothing, from the beginning: told before it is needed, and no proof then.
#[test]
fn a_witness_that_never_read_on_is_degraded_and_proves_nothing() {
    let Some(pair) = running(0) else { return };
    let trouble = pair.wait_trouble(Node::B, "fence-contradicted");
    let what = trouble["what"].as_str().unwrap();
    assert!(what.contains("meter-a read off while its host was heard"), "{what}");
    let begun = pair.lab.power_and_bmc_cut(Node::A);
    pair.wait_log(Node::B, "role fencing -> frozen", begun);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(status["frozen"]["cause"], "contradicted", "{}", status["frozen"]);
    pair.assert_nobody_holds();
    pair.assert_not_logged(Node::B, "proof: a holds nothing", begun);
    pair.end();
}
