//! Fence devices that lie, fall silent, refuse or break (row 28), and why the pair is frozen then.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::bmc::{PASSWORD, USER, address};
use crate::lab::clock::Stamp;
use crate::lab::machine::{Start, write_program};
use crate::lab::plan::LabConfig;
use crate::lab::{Node, netns};
use crate::pair::{Pair, config, patient, tell};

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
pub fn without_device(config: &LabConfig, node: Node, instead: &str) -> String {
    let toml = config.to_toml();
    let begin = toml.find(&format!("\n[[fence]]\nnode = \"{node}\"")).unwrap();
    let rest = &toml[begin + 1..];
    let end = rest.find("\n[[fence]]").map_or(toml.len(), |at| begin + 1 + at);
    format!("{}{}\n{instead}\n", &toml[..begin], &toml[end..])
}

/// Boots both nodes with this configuration.
pub fn boot_with(config: LabConfig, toml: &str) -> Option<Pair> {
    let pair = Pair::dark(config)?;
    for node in Node::BOTH {
        pair.lab.write_configuration(node, toml);
    }
    Some(pair)
}

/// Why a node says that the pair is frozen.
pub fn frozen_cause(status: &Value) -> Option<&str> {
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

/// A BMC that takes the command and dies of it, as one that shares its host's power: what it
/// acknowledged is no proof. Frozen, with the right cause; and left when it answers again.
#[test]
fn a_bmc_that_dies_while_it_cuts_freezes_the_pair_until_it_answers_again() {
    let Some(pair) = Pair::running(config()) else { return };
    let server = replace_bmc(&pair, Node::A, Knobs { dies_of_power_down: true, ..honest() });
    wait_session(&pair, Node::B, "open");
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let frozen = pair.wait_log(Node::B, "role fencing -> frozen", begun);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(server.bmc().power_downs, 1);
    assert_eq!(frozen_cause(&status), Some("unreachable"), "{status:#}");
    pair.assert_not_logged(Node::B, "-> acquiring", begun);
    pair.lab.machine(Node::A).cut();
    let answers = Stamp::now();
    server.bmc().knobs = Knobs { power: false, ..honest() };
    pair.wait_role(Node::B, "active");
    pair.wait_served_by(Node::B);
    pair.assert_only_holder(Node::B);
    tell(
        "a BMC that dies while it cuts",
        &[("frozen", frozen.at.since(fencing.at)), ("left", answers.elapsed())],
    );
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

/// What a node's status says of its peer's fence device.
fn device(pair: &Pair, node: Node) -> Option<Value> {
    pair.lab.status(node)?["fence_devices"].as_array()?.first().cloned()
}

fn wait_session(pair: &Pair, node: Node, session: &str) -> Value {
    pair.wait(&format!("the session of {node} is {session}"), || {
        device(pair, node).filter(|device| device["session"] == session)
    })
}

/// How many sessions were ever opened at a BMC, and how many are open.
fn sessions(server: &BmcServer) -> (u32, usize) {
    let bmc = server.bmc();
    (bmc.sessions_opened, bmc.open_sessions())
}

/// The session was there before the failure: the fence is two commands, and the BMC sees no other.
#[test]
fn a_fence_through_the_kept_session_opens_none() {
    let Some(pair) = Pair::running(config()) else { return };
    let server = replace_bmc(&pair, Node::A, Knobs { talks: true, ..honest() });
    // The session to the one that was replaced is lost, and another is opened.
    pair.wait("a session to the new BMC", || (sessions(&server).1 == 1).then_some(()));
    pair.wait_health(Node::B, "ok");
    let device = wait_session(&pair, Node::B, "open");
    pair.wait("the BMC was asked who it is", || {
        let device = self::device(&pair, Node::B)?;
        (device["firmware"] == "3.45 (manufacturer 674)").then_some(())
    });
    assert_eq!(device["kind"], "ipmi");
    let before = sessions(&server);
    let begun = pair.lab.power_cut(Node::A);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    let outage = pair.wait_outage(Node::B, begun);
    assert_eq!(sessions(&server), before, "a session was opened for the fence");
    assert_eq!(server.bmc().power_downs, 1);
    pair.wait_role(Node::B, "active");
    tell(
        "a fence through the kept session",
        &[("fence", proven.at.since(fencing.at)), ("outage", outage)],
    );
    drop(server);
    pair.end();
}

/// A management network that loses a fifth of all datagrams, each way: the fence takes some
/// repetitions, and no more.
#[test]
fn a_fence_over_a_network_that_loses_a_fifth_each_way_succeeds_in_time() {
    let timeout = Duration::from_secs(5);
    let config = LabConfig { fence_timeout: timeout, ..config() };
    let Some(pair) = Pair::running(config) else { return };
    wait_session(&pair, Node::B, "open");
    let namespace = format!("{}-bmc-{}", prefix(&pair.lab), Node::A);
    let chain = |way: &str| {
        format!(
            "add chain ip lossy {way} {{ type filter hook {way} priority 0; }}\n\
             add rule ip lossy {way} udp dport 623 numgen random mod 100 < 20 drop\n\
             add rule ip lossy {way} udp sport 623 numgen random mod 100 < 20 drop\n"
        )
    };
    let rules = format!("add table ip lossy\n{}{}", chain("input"), chain("output"));
    let output = std::process::Command::new("ip")
        .args(["netns", "exec", &namespace, "nft", &rules])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    pair.wait_role(Node::B, "active");
    assert!(pair.count_power_cuts(Node::A, begun) >= 1);
    let fence = proven.at.since(fencing.at);
    tell("a fence over a lossy network", &[("fence", fence)]);
    assert!(fence < timeout, "{fence:?}");
    pair.end();
}

/// An end in order closes the session; a daemon that is killed again and again leaves one at most,
/// because none is kept until the BMC has forgotten that one.
#[test]
fn a_daemon_that_is_killed_again_and_again_leaves_one_session_at_most() {
    let Some(pair) = Pair::running(config()) else { return };
    let server = replace_bmc(&pair, Node::A, honest());
    pair.wait("a session to the new BMC", || (sessions(&server).1 == 1).then_some(()));
    for _ in 0..5 {
        let begun = pair.lab.kill_daemon(Node::B);
        pair.wait_log(Node::B, "role joining -> standby", begun);
        pair.wait("the device was checked", || {
            device(&pair, Node::B).filter(|device| device["reading"] == "on")
        });
        assert!(sessions(&server).1 <= 2, "the one that was left, and a check under way");
    }
    wait_session(&pair, Node::B, "closed");
    pair.wait("one session at most", || (sessions(&server).1 <= 1).then_some(()));
    server.bmc().reboot();
    let (opened, _) = sessions(&server);
    pair.wait("checks go on", || (sessions(&server).0 >= opened + 2).then_some(()));
    assert!(sessions(&server).1 <= 1);
    drop(server);
    pair.end();
}

/// What `ipmi_sim` itself says of its sessions, asked with a session of the asker's own.
fn active_sessions(pair: &Pair, node: Node) -> Option<u32> {
    let address = address(node.other()).to_string();
    let argv = ["ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "1", "-H", &address];
    let argv: Vec<&str> =
        argv.into_iter().chain(["-U", USER, "-P", PASSWORD, "session", "info", "active"]).collect();
    let output = pair.lab.exec(node, &argv);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("active sessions"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_real_bmc_has_one_session_of_each_daemon_and_none_after_its_end() {
    let config = LabConfig { start: Start::Once, ..config() };
    let Some(pair) = Pair::running(config) else { return };
    wait_session(&pair, Node::B, "open");
    for _ in 0..5 {
        assert_eq!(active_sessions(&pair, Node::B), Some(2), "the daemon's and this one's");
    }
    let begun = pair.lab.signal_daemon(Node::B, Signal::SIGTERM);
    pair.wait_log(Node::B, "lab: the daemon ended with status 0", begun);
    assert_eq!(active_sessions(&pair, Node::B), Some(1), "this one's alone");
    pair.end();
}

/// Each fault with its cause, its age and what to do: in status, exit status and events.
#[test]
fn a_device_that_would_fail_is_told_with_its_cause_and_remedy_before_it_is_needed() {
    let Some(pair) = Pair::running(config()) else { return };
    let server = replace_bmc(&pair, Node::A, honest());
    let faults = [
        (Knobs { silent: true, ..honest() }, "unreachable", "check its power, its network"),
        (Knobs { password: "new".to_owned(), ..honest() }, "wrong user or password", "correct the"),
        (Knobs { privilege: 2, ..honest() }, "user lacks the privilege", "privilege operator"),
        (
            Knobs { completion: Some(0xc1), ..honest() },
            "does not know the command",
            "update its firmware",
        ),
        (Knobs { sessions_max: 0, ..honest() }, "all its sessions are in use", "end the programs"),
        (Knobs { garbage: true, ..honest() }, "answers are not understood", "is that of a BMC"),
    ];
    for (knobs, fault, remedy) in faults {
        let begun = Stamp::now();
        {
            let mut bmc = server.bmc();
            bmc.knobs = knobs;
            bmc.reboot();
        }
        pair.wait(&format!("{fault} is told"), || {
            let trouble = pair.wait_trouble(Node::B, "fence-device");
            let what = trouble["what"].as_str()?.contains(fault);
            let is_told = what && trouble["remedy"].as_str()?.contains(remedy);
            (is_told && trouble["since_ms"].is_u64()).then_some(())
        });
        let shown = pair.lab.exec(Node::B, &["tandem", "status"]);
        assert_eq!(shown.status.code(), Some(1), "{fault}: {shown:?}");
        let event = pair.wait_log(Node::B, &format!("fence device bmc-a: {fault}"), begun);
        assert!(event.text.contains(remedy), "{}", event.text);
    }
    let begun = Stamp::now();
    server.bmc().knobs = honest();
    pair.wait_log(Node::B, "no longer degraded: fence device bmc-a", begun);
    pair.wait_health(Node::B, "ok");
    drop(server);
    pair.end();
}

/// How the agents here begin: what they are to do, how they stand with the power, and their vice.
const AGENT_HEAD: &str = r#"#!/bin/bash
while IFS='=' read -r name value; do
  if [ "$name" = action ]; then action=$value; fi
done
power() {
  ipmitool -I lanplus -C 3 -H 10.99.0.21 -U ADMIN -P 'hunter2!' chassis power "$1"
}
vice=$(cat /etc/tandem/vice)
"#;

/// A fence agent whose `off` works, and whose `status` before it does what the file `vice` says.
const AGENT: &str = r#"if [ "$action" = off ]; then
  touch /run/tandem-agent-off
  power off
  exit
fi
if [ -e /run/tandem-agent-off ]; then vice=none; fi
case $vice in
  hang) sleep 100 ;;
  loud) yes 'a line that nobody asked for' | head -c 8000000 ;;
  die) kill -SEGV $$ ;;
  refuse) echo 'Login failed'; exit 1 ;;
esac
if power status | grep -q 'is off'; then echo 'Status: OFF'; exit 2; fi
"#;

/// A pair at work, each node with the agent that goes on so as A's fence device. It has no vice.
fn running_with_agent(config: LabConfig, program: &str, timeout: Duration) -> Option<Pair> {
    let agent = format!(
        "[[fence]]\nnode = \"a\"\ntype = \"agent\"\nname = \"agent-a\"\n\
         agent = \"/etc/tandem/agent\"\ntimeout = \"{}s\"\n",
        timeout.as_secs()
    );
    let toml = without_device(&config, Node::A, &agent);
    let program = format!("{AGENT_HEAD}{program}");
    let pair = boot_with(config, &toml)?;
    for node in Node::BOTH {
        write_program(&pair.lab.machine(node).dir().join("etc/agent"), &program);
        set_vice(&pair, node, "none");
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    Some(pair)
}

/// Lets the agent of a node behave like this from now on.
fn set_vice(pair: &Pair, node: Node, vice: &str) {
    std::fs::write(pair.lab.machine(node).dir().join("etc/vice"), vice).unwrap();
}

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
    let timeout = Duration::from_secs(4);
    let Some(pair) = running_with_agent(patient(), AGENT, timeout) else { return };
    let set_vice = |vice: &str| set_vice(&pair, Node::B, vice);
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

/// A fence agent that switches and reads as it should; or, by the file `vice`, takes the command
/// and leaves the power on; or is broken, and says off whatever it is asked.
const FRAIL_AGENT: &str = r#"if [ "$vice" = broken ]; then
  echo "$action" >>/run/tandem-agent-asked
  echo 'Status: OFF'
  exit 2
fi
if [ "$action" = off ]; then
  if [ "$vice" = none ]; then power off; fi
elif power status | grep -q 'is off'; then
  echo 'Status: OFF'
  exit 2
fi
"#;

/// Row 2: an agent takes the command, the power stays on, the pair is frozen. Then the agent itself
/// breaks, and says off whatever it is asked, while A holds the VIPs: that is no proof.
#[test]
fn an_agent_that_breaks_while_the_pair_is_frozen_never_makes_two_holders() {
    let timeout = Duration::from_secs(2);
    let Some(pair) = running_with_agent(config(), FRAIL_AGENT, timeout) else { return };
    let set_vice = |vice: &str| set_vice(&pair, Node::B, vice);

    set_vice("deaf");
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.wait_log(Node::B, "role fencing -> frozen", begun);
    set_vice("broken");
    pair.wait("the broken agent is told to cut, twice", || {
        let asked = pair.lab.exec(Node::B, &["cat", "/run/tandem-agent-asked"]).stdout;
        let asked = String::from_utf8(asked).unwrap();
        (asked.lines().filter(|action| *action == "off").count() >= 2).then_some(())
    });
    pair.wait_health(Node::B, "frozen");
    pair.assert_only_holder(Node::A);
    pair.assert_not_logged(Node::B, "-> acquiring", begun);

    set_vice("none");
    pair.wait_role(Node::B, "active");
    assert!(!pair.lab.machine(Node::A).is_on(), "A has power");
    pair.assert_only_holder(Node::B);
    pair.wait_served_by(Node::B);
    pair.end();
}
