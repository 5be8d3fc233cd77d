//! A pair that is fenced over Redfish: the emulator of sushy-tools at each BMC's address, on the
//! lab's own power supply.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::Signal;
use tandem::config::Fingerprint;

use crate::lab::clock::Stamp;
use crate::lab::plan::LabConfig;
use crate::lab::{Node, bmc};
use crate::pair::{self, Pair, tell};
use crate::sushy::{Sushy, end};

/// Where the lab's power supplies listen, each in its BMC's namespace.
const SUPPLY_PORT: u16 = 6230;
const READS_OFF: &str = "proof: a holds nothing: its power reads off";

/// The emulators of a pair; they end with it.
struct Emulators {
    processes: Vec<Child>,
    directory: PathBuf,
}

impl Drop for Emulators {
    fn drop(&mut self) {
        self.processes.drain(..).for_each(end);
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

fn config() -> LabConfig {
    LabConfig { fence_timeout: Duration::from_secs(6), ..pair::config() }
}

/// A pair whose BMCs speak Redfish; `pin` is given what each certificate is, and says what the
/// nodes are told that it is.
fn dark(pin: impl Fn(Node, Fingerprint) -> Fingerprint) -> Option<(Pair, Emulators)> {
    dark_with(config(), pin)
}

fn powers_on() -> LabConfig {
    LabConfig { after_fence: Some("on"), ..config() }
}

fn dark_with(
    config: LabConfig,
    pin: impl Fn(Node, Fingerprint) -> Fingerprint,
) -> Option<(Pair, Emulators)> {
    let text = config.to_toml();
    let pair = Pair::dark(config)?;
    let prefix = pair.lab.client_namespace();
    let prefix = prefix.strip_suffix("-c").unwrap();
    let directory = std::env::temp_dir().join(format!("tandem-redfish-{prefix}"));
    let mut emulators = Emulators { processes: Vec::new(), directory };
    // The devices come last in the file.
    let mut toml = text.split("\n[[fence]]").next().unwrap().to_owned();
    for node in Node::BOTH {
        let address = IpAddr::from(bmc::address(node));
        let sushy = Sushy::new(emulators.directory.join(node.letter()), address, 443);
        let namespace = format!("{prefix}-bmc-{node}");
        let before = ["ip", "netns", "exec", &namespace];
        emulators.processes.push(sushy.spawn(&before, SUPPLY_PORT));
        let pinned = pin(node, sushy.fingerprint);
        toml.push_str(&format!(
            "\n[[fence]]\nnode = \"{node}\"\ntype = \"redfish\"\nname = \"bmc-{node}\"\n\
             address = \"{address}\"\nuser = \"{}\"\ncertificate = \"{pinned}\"\n\
             password-file = \"/etc/tandem/bmc-{node}.password\"\ntimeout = \"6s\"\n",
            bmc::USER
        ));
    }
    for node in Node::BOTH {
        pair.lab.write_configuration(node, &toml);
        pair.lab.boot(node);
    }
    Some((pair, emulators))
}

fn running() -> Option<(Pair, Emulators)> {
    let (pair, emulators) = dark(|_, fingerprint| fingerprint)?;
    pair.wait_whole(Node::A);
    Some((pair, emulators))
}

/// Waits for B's takeover after A was lost at `begun`, and tells the figures.
fn wait_stonith_failover(pair: &Pair, row: &str, begun: Stamp) {
    let fencing = pair.wait_log(Node::B, "role standby -> fencing", begun);
    let proven = pair.wait_log(Node::B, READS_OFF, begun);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    assert!(proven.at <= acquired.at, "it took over before it had the proof");
    assert!(!pair.lab.machine(Node::A).is_on(), "A has power");
    pair.assert_only_holder(Node::B);
    let figures = [
        ("detection", fencing.at.since(begun)),
        ("fence", proven.at.since(fencing.at)),
        ("outage", outage),
    ];
    tell(row, &figures);
}

#[test]
fn a_node_that_lost_power_is_replaced_once_its_redfish_bmc_reads_off() {
    let Some((pair, _emulators)) = running() else { return };
    let begun = pair.lab.power_cut(Node::A);
    wait_stonith_failover(&pair, "Redfish, power lost", begun);
    pair.lab.restore(Node::A);
    pair.wait_whole(Node::B);
    pair.end();
}

#[test]
fn a_panicked_node_is_powered_off_over_redfish() {
    let Some((pair, _emulators)) = running() else { return };
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    wait_stonith_failover(&pair, "Redfish, kernel panic", begun);
    assert!(pair.count_power_cuts(Node::A, begun) >= 1, "its power was on and was not cut");
    pair.end();
}

/// `after-fence = "on"`: the one that was cut is switched on again over Redfish.
#[test]
fn a_fenced_node_is_powered_on_again_over_redfish() {
    let Some((pair, _emulators)) = dark_with(powers_on(), |_, fingerprint| fingerprint) else {
        return;
    };
    pair.wait_whole(Node::A);
    let begun = pair.lab.power_cut(Node::A);
    let acquired = pair.wait_log(Node::B, "acquired: all resources", begun);
    let on = pair.wait_log(Node::B, "after-fence: powering a on again", begun);
    assert!(acquired.at <= on.at, "it was powered on before the takeover was complete");
    pair.wait_log(Node::A, "role joining -> standby", begun);
    pair.wait_whole(Node::B);
    pair.assert_only_holder(Node::B);
    tell("row 17, after-fence over Redfish", &[("outage", pair.wait_outage(Node::B, begun))]);
    pair.end();
}

/// What a person must mend is told before it is needed: each node asks the other's BMC.
#[test]
fn a_certificate_that_is_not_the_pinned_one_degrades_and_then_freezes() {
    let stranger = Fingerprint([7; 32]);
    let pin = |node, fingerprint| if node == Node::A { stranger } else { fingerprint };
    let begun = Stamp::now();
    let Some((pair, _emulators)) = dark(pin) else { return };
    pair.wait_role(Node::A, "active");
    pair.wait_role(Node::B, "standby");
    pair.wait_trouble(Node::B, "fence-device");
    // Until the emulator runs, nobody answers at all.
    let told = pair.wait_log(Node::B, "the certificate is not the pinned one", begun);
    let fault = "its certificate is not the expected one";
    pair.wait("the status tells it", || {
        let devices = pair.status(Node::B)["fence_devices"].clone();
        devices.as_array()?.iter().find(|device| device["fault"] == fault).cloned()
    });
    assert!(told.text.contains("if that is right write certificate ="), "{}", told.text);
    let begun = pair.lab.power_cut(Node::A);
    pair.wait_log(Node::B, "role fencing -> frozen", begun);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(status["frozen"]["cause"], "certificate", "{}", status["frozen"]);
    let remedy = status["frozen"]["remedy"].to_string();
    assert!(remedy.contains("tandem fence fingerprint"), "{remedy}");
    pair.assert_nobody_holds();
    pair.end();
}
