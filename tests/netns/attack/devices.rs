//! Fence devices that lie, fall silent, refuse or break (row 28), and why the pair is frozen then.

use std::time::Duration;

use serde_json::Value;

use crate::lab::bmc::{PASSWORD, USER, address};
use crate::lab::clock::Stamp;
use crate::lab::machine::write_program;
use crate::lab::plan::LabConfig;
use crate::lab::{Node, netns};
use crate::pair::{Pair, config, tell};

use super::intruder::prefix;

#[allow(dead_code, reason = "the BMC of other tests has more knobs than are turned here")]
#[path = "../../support/bmc.rs"]
mod vicious;
use vicious::{BmcServer, Knobs};

/// A BMC that would do as it is told.
fn honest() -> Knobs {
    Knobs { user: USER.to_owned(), password: PASSWORD.to_owned(), ..Knobs::default() }
}

/// Puts a BMC with these knobs in the place of a node's own.
fn replace_bmc(pair: &Pair, node: Node, knobs: Knobs) -> BmcServer {
    pair.lab.kill_bmc(node);
    let namespace = format!("{}-bmc-{node}", prefix(&pair.lab));
    netns::inside(&namespace, || BmcServer::start_on((address(node), 623).into(), knobs))
}

/// The configuration without the fence device of `node`, and with `instead` at its end.
fn without_device(config: &LabConfig, node: Node, instead: &str) -> String {
    let toml = config.to_toml();
    let begin = toml.find(&format!("\n[[fence]]\nnode = \"{node}\"")).unwrap();
    let rest = &toml[begin + 1..];
    let end = rest.find("\n[[fence]]").map_or(toml.len(), |at| begin + 1 + at);
    format!("{}{}\n{instead}\n", &toml[..begin], &toml[end..])
}

/// Boots both nodes with this configuration.
fn boot_with(config: LabConfig, toml: &str) -> Option<Pair> {
    let pair = Pair::dark(config)?;
    for node in Node::BOTH {
        pair.lab.write_configuration(node, toml);
    }
    Some(pair)
}

fn frozen_cause(status: &Value) -> Option<&str> {
    status["frozen"]["cause"].as_str()
}

/// What is wrong with the BMC of a host that lost its power, and the cause that must be told.
fn vices() -> Vec<(&'static str, Knobs)> {
    vec![
        ("unreachable", Knobs { silent: true, ..honest() }),
        ("credentials", Knobs { password: "another".to_owned(), ..honest() }),
        ("privilege", Knobs { privilege: 2, ..honest() }),
        ("privilege", Knobs { privilege: 2, limit_in_rakp: false, ..honest() }),
        ("refused", Knobs { refuse: Some(0xff), ..honest() }),
        ("stays-on", Knobs { lies: true, ..honest() }),
        ("failed", Knobs { garbage: true, ..honest() }),
        ("failed", Knobs { mute: true, ..honest() }),
        ("failed", Knobs { wrong_code: true, ..honest() }),
    ]
}

/// A lost host whose BMC lets the fence down in every way: no way is taken for a proof, and each
/// is told from the others. At last it answers, among other sessions' answers: that is a proof.
#[test]
fn what_a_bmc_does_wrong_is_told_apart_while_frozen() {
    let Some(pair) = Pair::running(config()) else { return };
    let server = replace_bmc(&pair, Node::A, vices().remove(0).1);
    // Known before it is needed.
    pair.wait_trouble(Node::B, "fence-device");
    pair.lab.power_cut(Node::A);
    for (cause, knobs) in vices() {
        let what = format!("{knobs:?}");
        server.bmc().knobs = knobs;
        // A new daemon climbs the ladder at once; the old one rests for up to 5 s.
        let begun = pair.lab.kill_daemon(Node::B);
        pair.wait_log(Node::B, "frozen: no proof that a", begun);
        let status = pair.wait_health(Node::B, "frozen");
        assert_eq!(frozen_cause(&status), Some(cause), "{what}: {status:#}");
        println!("{cause}: {}", status["frozen"]["what"]);
        pair.assert_nobody_holds();
    }
    let begun = Stamp::now();
    server.bmc().knobs = Knobs { power: false, noise: true, ..honest() };
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
    tell("a BMC that answers again", &[("until it is believed", begun.elapsed())]);
    pair.assert_not_logged(Node::B, "panicked", begun);
    drop(server);
    pair.end();
}

/// Without a fence device nothing can be proven, and the status says that; an operator's word can.
#[test]
fn a_node_without_a_fence_device_is_frozen_for_that_reason() {
    let config = config();
    let toml = without_device(&config, Node::A, "");
    let toml = toml.replace("[nodes.a]\n", "[nodes.a]\nfencing = \"none-accept-frozen\"\n");
    let Some(pair) = boot_with(config, &toml) else { return };
    for node in Node::BOTH {
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    pair.lab.power_cut(Node::A);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(frozen_cause(&status), Some("no-device"), "{status:#}");
    pair.assert_nobody_holds();
    pair.lab.run(Node::B, &["tandem", "confirm-off", "a"]);
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
    pair.end();
}

/// A fence agent whose `off` works, and whose `status` before it does what the file `vice` says.
const AGENT: &str = r#"#!/bin/bash
while IFS='=' read -r name value; do
  if [ "$name" = action ]; then action=$value; fi
done
power() {
  ipmitool -I lanplus -C 3 -H 10.99.0.21 -U ADMIN -P 'hunter2!' chassis power "$1"
}
if [ "$action" = off ]; then
  touch /run/tandem-agent-off
  power off
  exit
fi
vice=$(cat /etc/tandem/vice)
if [ -e /run/tandem-agent-off ]; then vice=none; fi
case $vice in
  hang) sleep 100 ;;
  loud) yes 'a line that nobody asked for' | head -c 8000000 ;;
  die) kill -SEGV $$ ;;
  refuse) echo 'Login failed'; exit 1 ;;
esac
if power status | grep -q 'is off'; then echo 'Status: OFF'; exit 2; fi
"#;

/// What B says of the agent's last answer.
fn agent_fault(pair: &Pair) -> Option<String> {
    let status = pair.lab.status(Node::B)?;
    let mut devices = status["fence_devices"].as_array()?.iter();
    let device = devices.find(|device| device["name"] == "agent-a")?;
    Some(device["fault"].as_str()?.to_owned())
}

/// Row 28: whatever the check of a fence device does, the pair is degraded and says why; a real
/// attempt is neither delayed nor forbidden by a check that hangs.
#[test]
fn a_check_that_hangs_or_fails_degrades_and_never_delays_the_fence() {
    let config = config();
    let timeout = Duration::from_secs(4);
    let agent = format!(
        "[[fence]]\nnode = \"a\"\ntype = \"agent\"\nname = \"agent-a\"\n\
         agent = \"/etc/tandem/agent\"\ntimeout = \"{}s\"\n",
        timeout.as_secs()
    );
    let toml = without_device(&config, Node::A, &agent);
    let Some(pair) = boot_with(config, &toml) else { return };
    let set_vice = |vice: &str| {
        std::fs::write(pair.lab.machine(Node::B).dir().join("etc/vice"), vice).unwrap();
    };
    for node in Node::BOTH {
        write_program(&pair.lab.machine(node).dir().join("etc/agent"), AGENT);
        std::fs::write(pair.lab.machine(node).dir().join("etc/vice"), "none").unwrap();
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    let begun = Stamp::now();
    let vices = [
        ("refuse", "wrong user or password"),
        ("die", "the agent failed"),
        ("loud", "the agent failed"),
        ("hang", "no verdict in time"),
    ];
    for (vice, fault) in vices {
        set_vice("none");
        pair.wait_health(Node::B, "ok");
        set_vice(vice);
        pair.wait_trouble(Node::B, "fence-device");
        pair.wait(&format!("{vice} is told as {fault}"), || {
            agent_fault(&pair).filter(|told| told == fault)
        });
    }
    pair.assert_served_since(Node::A, begun);
    pair.assert_not_logged(Node::B, "late on all links", begun);
    let is_hanging =
        || pair.lab.exec(Node::B, &["pgrep", "-fx", "sleep 100"]).status.success().then_some(());
    pair.wait("the next check hangs", is_hanging);
    let begun = pair.lab.power_cut(Node::A);
    let outage = pair.wait_outage(Node::B, begun);
    tell("row 28, a hanging check", &[("outage", outage)]);
    assert!(outage < timeout / 2, "the fence waited for the check");
    assert!(is_hanging().is_none(), "the check was not ended");
    assert_eq!(pair.count_power_cuts(Node::A, begun), 1);
    pair.end();
}
