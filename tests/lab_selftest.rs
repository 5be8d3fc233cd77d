//! The laboratory tested by itself, without the daemon: what it measures and what it breaks must be
//! true before anything is said of tandem.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests"
)]

mod lab;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lab::bmc::{self, Manner};
use lab::clock::{Stamp, millis};
use lab::machine::Start;
use lab::plan::{Cabling, LabConfig, service_mac};
use lab::{Lab, Node, client, stalls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every wait of these tests; nothing here takes that long unless it fails.
const LIMIT: Duration = Duration::from_secs(10);

/// A lab with both nodes up; nothing for whoever is not root.
fn booted(config: LabConfig) -> Option<Lab> {
    if let Some(reason) = Lab::unavailable() {
        println!("skipped: {reason}");
        return None;
    }
    Some(Lab::boot_both(config))
}

/// A program that does nothing stands for the daemon.
fn with_sleeper(start: Start) -> LabConfig {
    let daemon = vec!["sleep".to_owned(), "1000".to_owned()];
    LabConfig { start, daemon, ..LabConfig::default() }
}

/// Gives the first VIP to a node by hand, and announces it.
fn give_vip(lab: &Lab, node: Node) {
    let vip = lab.vip().to_string();
    lab.run(node, &["ip", "addr", "add", &format!("{vip}/24"), "dev", "eth0"]);
    // It lingers for a second after the one packet that counts.
    let arping = ["arping", "-q", "-U", "-c", "1", "-w", "1", "-I", "eth0", "-s", &vip, &vip];
    lab.machine(node).spawn(&arping);
}

fn take_vip(lab: &Lab, node: Node) {
    let vip = lab.vip();
    lab.run(node, &["ip", "addr", "del", &format!("{vip}/24"), "dev", "eth0"]);
}

/// Whether one ping from a node's NIC to an address is answered within half a second.
fn reaches(lab: &Lab, node: Node, nic: &str, address: &str) -> bool {
    lab.exec(node, &["ping", "-q", "-c1", "-W0.5", "-I", nic, address]).status.success()
}

/// Waits until a network that was healed works: a kernel asks for a lost neighbour once a second.
fn wait_reach(lab: &Lab, node: Node, nic: &str, address: &str) {
    lab.wait_until("the way is open", LIMIT, || reaches(lab, node, nic, address).then_some(()));
}

fn wait_carrier(lab: &Lab, node: Node, nic: &str) {
    lab.wait_until("the carrier is back", LIMIT, || has_carrier(lab, node, nic).then_some(()));
}

fn has_carrier(lab: &Lab, node: Node, nic: &str) -> bool {
    lab.run(node, &["cat", &format!("/sys/class/net/{nic}/carrier")]).trim() == "1"
}

/// What ipmitool on B says of A's power, or of the attempt to change it.
fn ipmitool(lab: &Lab, action: &str) -> Result<String, String> {
    let output = lab.ipmitool(Node::B, bmc::USER, bmc::PASSWORD, action);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Waits for a BMC that is there again: B's kernel asks for its MAC once a second only.
fn wait_for_power(lab: &Lab, power: &str) {
    let expected = format!("Chassis Power is {power}");
    let status = || ipmitool(lab, "status").ok().filter(|status| *status == expected);
    lab.wait_until(&expected, LIMIT, status);
}

// The active is powered off through its BMC: no process of it lives on, its VIP answers nobody.
#[test]
fn power_off_by_ipmitool_ends_everything_on_the_node() {
    let Some(lab) = booted(with_sleeper(Start::Once)) else { return };
    give_vip(&lab, Node::A);
    let client = lab.client(Duration::from_millis(1));
    let holder = || client.holder(lab.vip()).filter(|node| *node == Node::A);
    lab.wait_until("A answers", LIMIT, holder);
    let daemon = lab.wait_until("a daemon", LIMIT, || lab.machine(Node::A).daemon_pid());
    assert_eq!(ipmitool(&lab, "status").unwrap(), "Chassis Power is on");

    let asked = Stamp::now();
    assert_eq!(ipmitool(&lab, "off").unwrap(), "Chassis Power Control: Down/Off");
    let answered = Stamp::now();
    assert_eq!(ipmitool(&lab, "status").unwrap(), "Chassis Power is off");
    let last = client.replies().last().unwrap().at;
    let orders = lab.bmc(Node::A).orders();
    let off = orders.iter().find(|order| order.text == "set power 0").unwrap();
    println!("ipmitool began {} ms before the order", millis(off.at.since(asked)));
    println!("power off took {} ms", millis(off.done.since(off.at)));
    println!("the last reply came {} ms after the order", millis(last.since(off.at)));
    assert!(last <= answered, "A answered {:?} after it was off", last.since(answered));
    lab.wait_until("the daemon is dead", Duration::from_secs(2), || {
        (!Path::new(&format!("/proc/{daemon}")).exists()).then_some(())
    });
    println!("the daemon was gone {} ms after ipmitool ended", millis(answered.elapsed()));
    assert!(!lab.machine(Node::A).is_on());
    assert!(!lab.has_vip(Node::A, lab.vip()));
}

// Over a loss of power /var/lib/tandem is kept, /run/tandem and the addresses are not, and the boot
// id is a new one. Over the daemon's death all is kept.
#[test]
fn a_boot_keeps_what_is_on_disk_and_a_restart_keeps_everything() {
    let Some(lab) = booted(with_sleeper(Start::Supervised(Duration::from_millis(50)))) else {
        return;
    };
    assert_eq!(lab.run(Node::A, &["hostname"]).trim(), "a");
    let read_boot_id =
        || lab.run(Node::A, &["cat", "/proc/sys/kernel/random/boot_id"]).trim().to_owned();
    let first_boot = read_boot_id();
    assert_eq!(first_boot, lab.machine(Node::A).boot_id());
    assert_ne!(first_boot, lab.machine(Node::B).boot_id());
    lab.run(Node::A, &["touch", "/var/lib/tandem/kept", "/run/tandem/lost"]);
    give_vip(&lab, Node::A);

    let first = lab.wait_until("a daemon", LIMIT, || lab.machine(Node::A).daemon_pid());
    lab.kill_daemon(Node::A);
    let another = || lab.machine(Node::A).daemon_pid().filter(|pid| *pid != first);
    lab.wait_until("another daemon", LIMIT, another);
    assert_eq!(read_boot_id(), first_boot);
    assert!(lab.exec(Node::A, &["test", "-e", "/run/tandem/lost"]).status.success());
    assert!(lab.has_vip(Node::A, lab.vip()));

    lab.power_cut(Node::A);
    assert_eq!(ipmitool(&lab, "on").unwrap(), "Chassis Power Control: Up/On");
    lab.wait_until("another boot", LIMIT, || lab.machine(Node::A).daemon_pid());
    assert_ne!(read_boot_id(), first_boot);
    assert!(lab.exec(Node::A, &["test", "-e", "/var/lib/tandem/kept"]).status.success());
    assert!(!lab.exec(Node::A, &["test", "-e", "/run/tandem/lost"]).status.success());
    assert!(!lab.has_vip(Node::A, lab.vip()));
    wait_reach(&lab, Node::A, "hb0", "10.88.0.2");
}

#[test]
fn a_daemon_that_is_killed_for_good_stays_dead_and_a_stopped_one_stays() {
    let Some(lab) = booted(with_sleeper(Start::Supervised(Duration::from_millis(10)))) else {
        return;
    };
    let daemon = lab.wait_until("a daemon", LIMIT, || lab.machine(Node::A).daemon_pid());
    lab.signal_daemon(Node::A, Signal::SIGSTOP);
    let stat = || std::fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
    lab.wait_until("stopped", LIMIT, || stat().contains(") T ").then_some(()));
    lab.signal_daemon(Node::A, Signal::SIGCONT);
    lab.kill_daemon_for_good(Node::A);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(lab.machine(Node::A).daemon_pid(), None);
    lab.restart_daemon(Node::A);
    lab.wait_until("another daemon", LIMIT, || lab.machine(Node::A).daemon_pid());
}

// A BMC may lie, refuse, be slow, carry out late; it tells the truth of the power all the while.
#[test]
fn a_bmc_behaves_as_it_is_told_to() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    let is_on = || lab.machine(Node::A).is_on();
    lab.bmc(Node::A).set_manner(Manner::Lie);
    assert_eq!(ipmitool(&lab, "off").unwrap(), "Chassis Power Control: Down/Off");
    assert_eq!(ipmitool(&lab, "status").unwrap(), "Chassis Power is on");
    assert!(is_on());

    lab.bmc(Node::A).set_manner(Manner::Refuse);
    let refusal = ipmitool(&lab, "off").unwrap_err();
    assert!(refusal.contains("failed"), "{refusal}");
    assert_eq!(ipmitool(&lab, "status").unwrap(), "Chassis Power is on");
    assert!(is_on());

    lab.bmc(Node::A).set_manner(Manner::Honest);
    let reader = lab.ipmitool(Node::B, bmc::READER, bmc::PASSWORD, "off");
    assert!(!reader.status.success(), "a reader could power off");
    let stranger = lab.ipmitool(Node::B, bmc::USER, "wrong", "off");
    assert!(!stranger.status.success(), "anybody could power off");
    assert!(is_on());

    lab.bmc(Node::A).set_manner(Manner::Late(Duration::from_secs(1)));
    assert_eq!(ipmitool(&lab, "off").unwrap(), "Chassis Power Control: Down/Off");
    assert_eq!(ipmitool(&lab, "status").unwrap(), "Chassis Power is on");
    lab.wait_until("off", LIMIT, || (!is_on()).then_some(()));

    lab.boot(Node::A);
    lab.bmc(Node::A).set_manner(Manner::Slow(Duration::from_millis(300)));
    let begun = Stamp::now();
    assert_eq!(ipmitool(&lab, "off").unwrap(), "Chassis Power Control: Down/Off");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(!is_on());
}

// A dead BMC is silent, a killed one refuses, one with another password refuses too; the host goes
// on in all cases, and the BMC can come back.
#[test]
fn a_bmc_dies_alone_or_together_with_its_host() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    lab.bmc_dead(Node::A);
    assert!(ipmitool(&lab, "status").is_err());
    assert!(!reaches(&lab, Node::B, "mgmt0", "10.99.0.21"));
    wait_reach(&lab, Node::B, "mgmt0", "10.99.0.22");
    assert!(lab.machine(Node::A).is_on());
    lab.start_bmc(Node::A);
    wait_for_power(&lab, "on");

    lab.kill_bmc(Node::A);
    assert!(ipmitool(&lab, "status").is_err());
    wait_reach(&lab, Node::B, "mgmt0", "10.99.0.21");
    lab.start_bmc(Node::A);

    lab.bmc(Node::A).set_password("another");
    assert!(ipmitool(&lab, "status").is_err());
    assert!(lab.ipmitool(Node::B, bmc::USER, "another", "status").status.success());
    lab.bmc(Node::A).set_password(bmc::PASSWORD);

    lab.power_and_bmc_cut(Node::A);
    assert!(!lab.machine(Node::A).is_on());
    assert!(ipmitool(&lab, "status").is_err());
    lab.start_bmc(Node::A);
    wait_for_power(&lab, "off");
    lab.restore(Node::A);
    assert_eq!(ipmitool(&lab, "status").unwrap(), "Chassis Power is on");
}

// The VIP goes from A to B by hand with a pause of 60 ms: the client sees an outage of at
// least that.
#[test]
fn the_client_measures_a_failover_made_by_hand() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    let pause = Duration::from_millis(60);
    give_vip(&lab, Node::A);
    let client = lab.client(Duration::from_micros(500));
    let observer = lab.observer();
    let answers = |node| move |holder: &Node| *holder == node;
    let holder = |node| client.holder(lab.vip()).filter(answers(node));
    lab.wait_until("A answers", LIMIT, || holder(Node::A));
    let begun = Stamp::now();
    take_vip(&lab, Node::A);
    std::thread::sleep(pause);
    give_vip(&lab, Node::B);
    lab.wait_until("B answers", LIMIT, || holder(Node::B));
    let outage = client.outage(lab.vip(), Node::B, begun).unwrap();
    println!("outage {} ms of {}", millis(outage.duration()), millis(begun.elapsed()));
    assert!(outage.duration() >= pause);
    assert!(outage.first >= begun + pause);
    assert!(outage.duration() <= outage.first.since(begun) + Duration::from_millis(50));
    assert!(client.longest_gap(lab.vip(), begun, Stamp::now()) >= pause);
    assert!(client.outage(lab.vip(), Node::A, begun + pause).is_none());

    assert_eq!(observer.two_holders(begun, Stamp::now()), Duration::ZERO);
    let both = [service_mac(Node::A, 0), service_mac(Node::B, 0)].into();
    assert_eq!(observer.holders(lab.vip(), begun - pause, Stamp::now()), both);
    let announced = observer.announcements().into_iter();
    let mut of_b = announced.filter(|a| a.at >= begun && a.mac == service_mac(Node::B, 0));
    assert!(of_b.any(|a| a.vip == lab.vip() && !a.is_reply));
}

// A takeover without an announcement is none for a client that knows the old MAC.
#[test]
fn a_takeover_without_announcement_does_not_reach_the_client() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    give_vip(&lab, Node::A);
    let client = lab.client(Duration::from_millis(1));
    lab.wait_until("A answers", LIMIT, || client.holder(lab.vip()));
    let observer = lab.observer();
    take_vip(&lab, Node::A);
    let vip = lab.vip().to_string();
    lab.run(Node::B, &["ip", "addr", "add", &format!("{vip}/24"), "dev", "eth0"]);
    let begun = Stamp::now();
    std::thread::sleep(Duration::from_millis(300));
    let now = Stamp::now();
    assert_eq!(observer.holders(lab.vip(), begun, now), [service_mac(Node::B, 0)].into());
    assert_eq!(client.outage(lab.vip(), Node::B, begun), None);
}

/// Whoever occupies a processor with real-time priority keeps every daemon off it, as a hypervisor
/// does: a test that fails then must say so.
#[test]
fn a_processor_that_stands_still_is_told() {
    if let Some(reason) = Lab::unavailable() {
        println!("skipped: {reason}");
        return;
    }
    stalls::watch();
    let begun = Stamp::now();
    let last = *stalls::processors().last().unwrap();
    let hog = std::thread::spawn(move || {
        stalls::stay_on(last).unwrap();
        client::hurry();
        let occupied = Stamp::now();
        while occupied.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
    });
    hog.join().unwrap();
    let deadline = begun + LIMIT;
    let is_told = || {
        let told = stalls::told_since(begun).unwrap_or_default();
        told.starts_with("the machine stood still: ")
            && told.contains(&format!("processor {last} "))
    };
    while !is_told() {
        assert!(Stamp::now() < deadline, "nothing is told: {:?}", stalls::told_since(begun));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stalls::told_since(Stamp::now() + LIMIT), None);
}

#[test]
fn two_holders_are_seen_as_long_as_there_are_two() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    give_vip(&lab, Node::A);
    let observer = lab.observer();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Stamp::now();
    assert_eq!(observer.two_holders(begun - LIMIT, begun), Duration::ZERO);
    let vip = lab.vip().to_string();
    lab.run(Node::B, &["ip", "addr", "add", &format!("{vip}/24"), "dev", "eth0"]);
    let both_from = Stamp::now();
    std::thread::sleep(Duration::from_millis(200));
    let both_to = Stamp::now();
    take_vip(&lab, Node::B);
    let ended = Stamp::now();
    std::thread::sleep(Duration::from_millis(100));
    let seen = observer.two_holders(begun, Stamp::now());
    println!("two holders for {} ms", millis(seen));
    // A question may lie across each end; the machine may be busy.
    assert!(seen + Duration::from_millis(40) >= both_to.since(both_from), "{seen:?}");
    assert!(seen <= ended.since(begun) + Duration::from_millis(40), "{seen:?}");
    assert_eq!(
        observer.two_holders(ended + Duration::from_millis(40), Stamp::now()),
        Duration::ZERO
    );
}

// A one-way cut stops requests of the muted node, and the answers it gives, but what it hears comes
// in: its interface counts the packets that the peer sends.
#[test]
fn a_one_way_cut_is_one_way() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    wait_reach(&lab, Node::A, "hb0", "10.88.0.2");
    // Sent over UDP without an answer: only the direction that is looked at matters.
    let send = |from: Node, to: &str| {
        let command = format!("for i in 1 2 3 4 5; do echo x >/dev/udp/{to}/9; done");
        lab.run(from, &["bash", "-c", &command]);
    };
    let received = |node: Node| -> u64 {
        let counter = lab.run(node, &["cat", "/sys/class/net/hb0/statistics/rx_packets"]);
        counter.trim().parse().unwrap()
    };
    // Without ARP in between, which needs both directions.
    let neighbour = |node: Node, address: &str, mac: &str| {
        let argv = ["ip", "neigh", "replace", address, "lladdr", mac, "dev", "hb0"];
        lab.run(node, &argv);
    };
    neighbour(Node::A, "10.88.0.2", "02:00:00:00:0b:10");
    neighbour(Node::B, "10.88.0.1", "02:00:00:00:0a:10");
    lab.mute(Node::A, "hb0");
    let (before_a, before_b) = (received(Node::A), received(Node::B));
    send(Node::A, "10.88.0.2");
    send(Node::B, "10.88.0.1");
    std::thread::sleep(Duration::from_millis(50));
    assert!(received(Node::A) - before_a >= 5, "A hears nothing");
    assert!(received(Node::B) - before_b < 5, "B hears A");
    assert!(!reaches(&lab, Node::A, "hb0", "10.88.0.2"));
    wait_reach(&lab, Node::A, "eth0", "10.77.0.2");
    lab.heal_network();
    wait_reach(&lab, Node::A, "hb0", "10.88.0.2");
}

#[test]
fn silence_keeps_the_carrier_and_unplugging_takes_it() {
    let heartbeats = vec![Cabling::Switch, Cabling::Direct];
    let config = LabConfig { heartbeats, ..LabConfig::without_daemon() };
    let Some(lab) = booted(config) else { return };
    lab.silence(Node::A, "eth0");
    assert!(!reaches(&lab, Node::A, "eth0", "10.77.0.2"));
    assert!(has_carrier(&lab, Node::A, "eth0"));
    wait_reach(&lab, Node::A, "hb0", "10.88.0.2");
    lab.unsilence(Node::A, "eth0");
    wait_reach(&lab, Node::A, "eth0", "10.77.0.2");

    lab.unplug(Node::A, "eth0");
    assert!(!has_carrier(&lab, Node::A, "eth0"));
    assert!(has_carrier(&lab, Node::B, "eth0"));
    lab.replug(Node::A, "eth0");
    lab.wait_until("eth0 works", LIMIT, || {
        reaches(&lab, Node::A, "eth0", "10.77.0.2").then_some(())
    });

    lab.unplug(Node::A, "hb0");
    lab.unplug(Node::A, "hb1");
    assert!(has_carrier(&lab, Node::B, "hb0"), "a switch keeps the other end's carrier");
    assert!(!has_carrier(&lab, Node::B, "hb1"), "a cable has two ends");
    lab.heal_network();
    wait_carrier(&lab, Node::A, "hb1");

    lab.cut_heartbeats();
    assert!(!reaches(&lab, Node::A, "hb0", "10.88.0.2"));
    assert!(!reaches(&lab, Node::B, "hb1", "10.88.1.1"));
    lab.heal_heartbeats();
    lab.deafen(Node::B, &["mgmt0"]);
    assert!(!reaches(&lab, Node::B, "eth0", "10.77.0.1"));
    assert!(!reaches(&lab, Node::B, "hb0", "10.88.0.1"));
    wait_reach(&lab, Node::B, "mgmt0", "10.99.0.21");
}

// Behind a switch nobody's carrier changes when a node loses power; at a direct cable the peer's
// goes, and comes back with the boot.
#[test]
fn a_loss_of_power_takes_the_carrier_from_direct_cables_only() {
    let heartbeats = vec![Cabling::Switch, Cabling::Direct];
    let config = LabConfig { heartbeats, ..LabConfig::without_daemon() };
    let Some(lab) = booted(config) else { return };
    wait_reach(&lab, Node::B, "hb1", "10.88.1.1");
    lab.power_cut(Node::A);
    assert!(has_carrier(&lab, Node::B, "eth0"));
    assert!(has_carrier(&lab, Node::B, "hb0"));
    assert!(!has_carrier(&lab, Node::B, "hb1"));
    lab.boot(Node::A);
    assert!(has_carrier(&lab, Node::B, "hb1"));
    wait_reach(&lab, Node::B, "hb1", "10.88.1.1");
}

#[test]
fn a_node_boots_into_its_cuts() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    lab.silence(Node::A, "hb0");
    lab.unplug(Node::A, "eth0");
    lab.power_cut(Node::A);
    lab.boot(Node::A);
    assert!(!reaches(&lab, Node::A, "hb0", "10.88.0.2"));
    assert!(has_carrier(&lab, Node::A, "hb0"));
    assert!(!has_carrier(&lab, Node::A, "eth0"));
    lab.heal_network();
    lab.wait_until("all works", LIMIT, || {
        let eth0 = reaches(&lab, Node::A, "eth0", "10.77.0.2");
        (eth0 && reaches(&lab, Node::A, "hb0", "10.88.0.2")).then_some(())
    });
}

#[test]
fn loss_is_random_and_about_as_much_as_was_asked_for() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    wait_reach(&lab, Node::A, "hb0", "10.88.0.2");
    // 30 % each way: 51 % of the pings.
    lab.lose(Node::A, "hb0", 300);
    let ping = ["ping", "-q", "-i", "0.002", "-c", "500", "-W", "0.2", "10.88.0.2"];
    let output = lab.exec(Node::A, &ping);
    let text = String::from_utf8_lossy(&output.stdout);
    let lost = text.split(", ").find(|part| part.ends_with("packet loss")).unwrap();
    let percent: f64 = lost.split('%').next().unwrap().parse().unwrap();
    println!("lost {percent} %");
    assert!((40.0..62.0).contains(&percent), "{text}");
}

#[test]
fn lines_are_kept_with_the_moment_at_which_they_were_written() {
    let Some(lab) = booted(LabConfig::without_daemon()) else { return };
    let begun = Stamp::now();
    lab.machine(Node::B).spawn(&["bash", "-c", "sleep 0.2; echo later >&2"]);
    let line = lab.wait_for_log(Node::B, "later", begun, LIMIT);
    assert_eq!(line.text, "later");
    assert_eq!(line.boot, 1);
    assert!(line.at.since(begun) >= Duration::from_millis(200));
    assert_eq!(lab.log_since(Node::B, begun).len(), 1);
    assert!(lab.tail().contains("later"));
}

#[test]
fn the_configuration_names_what_the_lab_has() {
    let heartbeats = vec![Cabling::Switch, Cabling::Direct];
    let config = LabConfig { service_nics: 6, vips_per_nic: 2, heartbeats, ..LabConfig::default() };
    let parsed: toml::Table = config.to_toml().parse().unwrap();
    assert_eq!(parsed["nics"].as_table().unwrap().len(), 6);
    assert_eq!(parsed["vips"].as_array().unwrap().len(), 12);
    assert_eq!(parsed["links"].as_table().unwrap().len(), 2);
    let nodes = parsed["nodes"].as_table().unwrap();
    assert_eq!(nodes["b"]["links"]["hb1"].as_str(), Some("10.88.1.2"));
    assert_eq!(parsed["fence"].as_array().unwrap().len(), 2);
}

/// Not a test: a lab for the two tests below to end. It says its prefix and waits.
#[test]
#[ignore = "waits to be killed: run by the tests of killed labs"]
fn a_lab_that_waits_to_be_killed() {
    let lab = Lab::boot_both(with_sleeper(Start::Once));
    println!("\nprefix {}", lab.client_namespace().trim_end_matches("-c"));
    std::thread::sleep(Duration::from_secs(60));
}

/// Runs [`a_lab_that_waits_to_be_killed`] in a process of its own; the value is it and its prefix.
fn start_doomed_lab() -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_lab_that_waits_to_be_killed", "--ignored", "--nocapture"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let prefix = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("prefix ").map(str::to_owned));
    (child, prefix.unwrap())
}

/// The names of namespaces and directories that begin with `prefix`, and how many processes of
/// labs' namespaces are left.
fn remains(prefix: &str) -> Vec<String> {
    let names = ["/run/netns", "/run/tandem-lab"].into_iter().flat_map(std::fs::read_dir).flatten();
    let names = names.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names.filter(|name| name.split('-').next() == Some(prefix)).collect()
}

#[test]
fn a_killed_lab_is_swept_away_and_a_living_one_is_not() {
    if Lab::unavailable().is_some() {
        return;
    }
    let (mut child, prefix) = start_doomed_lab();
    let names: Vec<String> = remains(&prefix).into_iter().filter(|n| n.contains('-')).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(!Lab::sweep().contains(&prefix));
    let pids = lab::netns::pids_in(&names);
    assert!(pids.len() >= 8, "{pids:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    Lab::sweep();
    assert_eq!(remains(&prefix), Vec::<String>::new());
    // The first process of a node is the last to go: the kernel clears its namespace away first.
    let begun = Stamp::now();
    let lives = |pid: &&i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while let Some(pid) = pids.iter().find(lives) {
        assert!(begun.elapsed() < LIMIT, "{pid} lives");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_interrupted_lab_removes_itself() {
    if Lab::unavailable().is_some() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut child, prefix) = start_doomed_lab();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success());
        assert_eq!(remains(&prefix), Vec::<String>::new(), "{signal}");
    }
}
