//! What an operator asks and says with real daemons: `fence test`, `check --online`, `confirm-off`
//! on record; and `after-fence`.

use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::clock::Stamp;
use crate::lab::machine::write_program;
use crate::lab::plan::LabConfig;
use crate::lab::{Node, bmc};
use crate::pair::{self, Pair, tell};

fn text(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

fn powers_on() -> LabConfig {
    LabConfig { after_fence: Some("on"), ..pair::config() }
}

/// Waits until A, which was fenced at `begun`, is standby again without anybody's doing.
fn wait_powered_on(pair: &Pair, row: &str, begun: Stamp) {
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    let on = pair.wait_log(Node::B, "after-fence: powering a on again", begun);
    assert!(acquired.at <= on.at, "it was powered on before the takeover was complete");
    let standby = pair.wait_log(Node::A, "role joining -> standby", begun);
    pair.wait_whole(Node::B);
    pair.assert_only_holder(Node::B);
    assert_eq!(pair.count_power_cuts(Node::B, begun), 0, "the fenced one shot");
    let figures = [
        ("outage", outage),
        ("power-on after the takeover", on.at.since(acquired.at)),
        ("standby", standby.at.since(begun)),
    ];
    tell(row, &figures);
}

/// Row 17 with `after-fence = "on"`: nobody has to switch it on.
#[test]
fn a_fenced_node_is_powered_on_again_over_ipmi_and_joins_as_standby() {
    let Some(pair) = Pair::running(powers_on()) else { return };
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    pair.lab.heal_network();
    wait_powered_on(&pair, "row 17, after-fence over IPMI", begun);
    pair.end();
}

/// The same by an agent: any program that speaks like those of the fence-agents package.
#[test]
fn a_fenced_node_is_powered_on_again_by_an_agent() {
    let Some(pair) = Pair::dark(powers_on()) else { return };
    let text = powers_on().to_toml();
    let prefix = pair.lab.client_namespace();
    // Each machine has its own /run; this is everybody's.
    let directory = std::env::temp_dir().join(format!("tandem-agent-{prefix}"));
    std::fs::create_dir(&directory).unwrap();
    let mut toml = text.split("\n[[fence]]").next().unwrap().to_owned();
    for node in Node::BOTH {
        let program = directory.join(format!("fence_lab_{node}"));
        let (address, user, password) = (bmc::address(node), bmc::USER, bmc::PASSWORD);
        write_program(
            &program,
            &format!(
                "#!/bin/sh\naction=status\nwhile IFS== read -r name value; do\n\
                 [ \"$name\" = action ] && action=$value\ndone\n\
                 said=$(ipmitool -I lanplus -C 3 -N 1 -R 2 -H {address} -U {user} -P {password} \
                 -L OPERATOR power $action) || exit 1\n\
                 case $said in *'is off'*) echo 'Status: OFF'; exit 2;; esac\nexit 0\n"
            ),
        );
        toml.push_str(&format!(
            "\n[[fence]]\nnode = \"{node}\"\ntype = \"agent\"\nname = \"agent-{node}\"\n\
             agent = \"{}\"\ntimeout = \"6s\"\n",
            program.display()
        ));
    }
    for node in Node::BOTH {
        pair.lab.write_configuration(node, &toml);
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    let begun = pair.lab.power_cut(Node::A);
    wait_powered_on(&pair, "row 17, after-fence by an agent", begun);
    pair.end();
    std::fs::remove_dir_all(directory).unwrap();
}

/// Every device is read, beside the daemon and without it; nothing is cut.
#[test]
fn fence_test_and_check_online_tell_what_each_device_reads() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = Stamp::now();
    for node in Node::BOTH {
        let tested = pair.lab.exec(node, &["tandem", "fence", "test"]);
        assert_eq!(tested.status.code(), Some(0), "{}", text(&tested));
        let device = format!("bmc-{}", node.other());
        for part in [device.as_str(), "ipmi", " on ", "A fence of", "to cut the power"] {
            assert!(text(&tested).contains(part), "no {part:?} in\n{}", text(&tested));
        }
    }
    let checked = pair.lab.exec(Node::B, &["tandem", "check", "--online"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(text(&checked).contains("bmc-a") && text(&checked).contains("bmc-b"));

    // Many times in a row: no session is left behind, or the BMC would refuse the next.
    for _ in 0..8 {
        pair.lab.run(Node::B, &["tandem", "fence", "test", "a"]);
    }
    pair.lab.kill_bmc(Node::A);
    let tested = pair.lab.exec(Node::B, &["tandem", "fence", "test", "a"]);
    assert_eq!(tested.status.code(), Some(1), "{}", text(&tested));
    assert!(text(&tested).contains("unreachable"), "{}", text(&tested));
    assert!(text(&tested).contains("may freeze the pair"), "{}", text(&tested));
    let checked = pair.lab.exec(Node::B, &["tandem", "check", "--online"]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    pair.lab.start_bmc(Node::A);

    let own = pair.lab.exec(Node::B, &["tandem", "fence", "test", "b"]);
    assert_eq!(own.status.code(), Some(2), "{}", text(&own));
    pair.assert_served_since(Node::A, begun);
    assert_eq!(pair.count_power_cuts(Node::A, begun) + pair.count_power_cuts(Node::B, begun), 0);
    pair.end();
}

/// Really done: to the standby only, and the service does not notice.
#[test]
fn a_power_cycle_is_done_to_a_standby_and_refused_for_an_active() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = Stamp::now();
    let cycle = |on: Node, of: &str| {
        pair.lab.exec(on, &["tandem", "fence", "test", "--power-cycle", "--yes", of])
    };
    let refused = cycle(Node::B, "a");
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("it is active"), "{}", text(&refused));
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);
    // Who does not type the name has changed his mind; there is nobody to type here.
    let unsaid = pair.lab.exec(Node::A, &["tandem", "fence", "test", "--power-cycle", "b"]);
    assert_eq!(unsaid.status.code(), Some(1), "{}", text(&unsaid));
    assert_eq!(pair.count_power_cuts(Node::B, begun), 0);

    let done = cycle(Node::A, "b");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    for part in ["bmc-b: reads off", "bmc-b: reads on", "gives a proof"] {
        assert!(text(&done).contains(part), "no {part:?} in\n{}", text(&done));
    }
    assert_eq!(pair.count_power_cuts(Node::B, begun), 1);
    pair.wait_log(Node::B, "role joining -> standby", begun);
    pair.wait_whole(Node::A);
    let gap = pair.assert_served_since(Node::A, begun);
    pair.assert_only_holder(Node::A);
    pair.assert_not_logged(Node::A, "fence: cutting", begun);
    tell("fence test --power-cycle", &[("longest gap", gap)]);
    pair.end();
}

/// Whoever has lost patience, or the connection, must not leave a node without power behind.
#[test]
fn a_power_cycle_that_loses_its_user_switches_the_node_on_again() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let losses = [
        ("nobody reads along", "tandem fence test --power-cycle --yes b | head -n 1"),
        (
            "the terminal is closed",
            "cd /var/lib/tandem && { tandem fence test --power-cycle --yes b >said 2>&1 & } && \
             pid=$! && until grep -q 'telling the' said; do sleep 0.01; done && kill -HUP $pid; \
             wait $pid; cat said; rm said",
        ),
    ];
    for (loss, script) in losses {
        let begun = Stamp::now();
        let said = text(&pair.lab.exec(Node::A, &["sh", "-c", script]));
        assert!(said.contains("telling the devices of b to cut its power"), "{loss}: {said}");
        let is_interrupted = said.contains("interrupted: b was told to switch on");
        assert_eq!(is_interrupted, script.contains("HUP"), "{loss}: {said}");
        assert_eq!(pair.count_power_cuts(Node::B, begun), 1, "{loss}: {said}");
        pair.wait_log(Node::B, "role joining -> standby", begun);
        pair.wait_whole(Node::A);
        pair.assert_served_since(Node::A, begun);
    }
    pair.end();
}

/// The frozen state in the log, and the operator's word on record.
#[test]
fn what_was_seen_and_said_while_frozen_is_on_record() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.power_and_bmc_cut(Node::A);
    pair.wait_log(Node::B, "role fencing -> frozen", begun);
    let seen = pair.wait_log(Node::B, "frozen, seen of a: link hb0: silent for", begun);
    assert!(seen.text.contains("silent for"), "{}", seen.text);
    pair.wait_log(Node::B, "frozen, seen of a: fence device bmc-a (level 1): unreachable", begun);
    let status = pair.wait_health(Node::B, "frozen");
    let level = &status["frozen"]["levels"][0];
    assert_eq!(level["devices"][0], "bmc-a", "{level}");
    assert_eq!(status["frozen"]["command"], "tandem confirm-off a");
    let device = &status["fence_devices"][0];
    assert_eq!(device["power"], "on", "{device}");
    assert!(device["power_ms"].is_u64() && device["failing_ms"].is_u64(), "{device}");

    pair.lab.run(Node::B, &["tandem", "confirm-off", "a"]);
    pair.wait_role(Node::B, "active");
    let words = pair.wait("the word is on record", || {
        let words = pair.lab.exec(Node::B, &["cat", "/var/lib/tandem/operators.log"]);
        Some(text(&words)).filter(|words| words.contains("confirm-off a"))
    });
    for part in ["uid 0", "pid ", ": the word is taken"] {
        assert!(words.contains(part), "no {part:?} in {words}");
    }
    pair.lab.restore(Node::A);
    pair.wait_whole(Node::B);
    pair.end();
}

/// Row 2: whenever the BMC answers again, the frozen state is left by itself.
#[test]
fn a_bmc_that_answers_again_after_a_while_ends_the_frozen_state() {
    let config = LabConfig { fence_timeout: Duration::from_secs(10), ..pair::config() };
    let Some(pair) = Pair::running(config) else { return };
    let begun = pair.lab.power_and_bmc_cut(Node::A);
    pair.wait_log(Node::B, "role fencing -> frozen", begun);
    // Somewhere in the middle of the next look.
    std::thread::sleep(Duration::from_millis(4300));
    let begun = pair.lab.start_bmc(Node::A);
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    let figures = [("proof", proven.at.since(begun)), ("takeover", acquired.at.since(proven.at))];
    tell("row 2, BMC back in the middle of a look", &figures);
    pair.end();
}
