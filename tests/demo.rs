//! The demonstration: the real daemon on two nodes with power, real BMCs, a client that pings.
//!
//! ```text
//!   pair-up ─► power-cut ─► power-and-bmc-lost ─► confirm-off ─► frozen again ─► bmc-returns
//! ```
//!
//! Each scene is told as a timeline, or with `--json` as one line, and must end as it should:
//! otherwise this ends with the nodes' last words and a status that is not zero. `--sweep` only
//! removes what killed runs left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a demonstration: it prints, waits, and panics when a scene fails"
)]

mod lab;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use lab::client::{Client, Outage};
use lab::clock::{Stamp, millis};
use lab::happening::Happening;
use lab::observer::Observer;
use lab::plan::LabConfig;
use lab::{Lab, Node};

/// Every wait of the demonstration: what takes longer has failed.
const LIMIT: Duration = Duration::from_secs(15);
/// For how long a frozen pair is watched: nobody may serve meanwhile.
const FROZEN_WATCH: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let mut is_json = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => is_json = true,
            "--sweep" => {
                println!("removed: {:?}", Lab::sweep());
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("usage: demo [--json | --sweep]");
                return ExitCode::from(2);
            }
        }
    }
    if let Some(reason) = Lab::unavailable() {
        eprintln!("demo: {reason}");
        return ExitCode::from(2);
    }
    let stage = Stage::build(is_json);
    stage.pair_up();
    stage.lose_power();
    stage.rejoin(Node::A);
    stage.lose_power_and_bmc(Node::B, "power-and-bmc-lost");
    stage.confirm_off(Node::B);
    stage.rejoin(Node::B);
    stage.lose_power_and_bmc(Node::A, "frozen-again");
    stage.return_bmc(Node::A);
    ExitCode::SUCCESS
}

/// The lab with its spectators.
struct Stage {
    // Dropped in this order: the spectators before what they watch.
    client: Client,
    observer: Observer,
    lab: Lab,
    is_json: bool,
}

impl Stage {
    fn build(is_json: bool) -> Self {
        let config = LabConfig {
            keepalive: Duration::from_millis(50),
            warntime: Duration::from_millis(100),
            deadtime: Duration::from_millis(200),
            initdead: Duration::from_secs(1),
            fence_timeout: Duration::from_secs(1),
            ..LabConfig::default()
        };
        let lab = Lab::build(config);
        let client = lab.client(Duration::from_micros(500));
        let observer = lab.observer();
        Self { client, observer, lab, is_json }
    }

    /// Both nodes start cold; the preferred one becomes active, the other one stands by.
    fn pair_up(&self) {
        self.title("pair-up: both nodes start cold");
        let begun = Stamp::now();
        for node in Node::BOTH {
            self.lab.boot(node);
        }
        self.wait_for_pair(Node::A);
        let first = self.client.replies().iter().map(|reply| reply.at).min().unwrap();
        for node in Node::BOTH {
            self.follow_events(node);
        }
        self.line(first.since(begun), "client", "the VIP answers for the first time");
        self.tell("pair-up", "active", begun, &[("up_ms", first.since(begun))]);
    }

    /// The active node loses power; its BMC lives, so that the standby can prove it.
    fn lose_power(&self) {
        self.title("power-cut: the active node, a, loses power; its BMC lives");
        let begun = self.lab.power_cut(Node::A);
        let fencing = self.wait_for_event(Node::B, "role", "-> fencing", begun);
        let outage = self.wait_for_service(Node::B, begun);
        let proof = self.proof_moment(Node::A, outage);
        self.lab.wait_for_role(Node::B, "active", LIMIT);
        self.timeline(Node::B, begun);
        let durations = [
            ("detection_ms", fencing.at.since(begun)),
            ("fence_ms", proof.since(fencing.at)),
            ("takeover_ms", outage.first.since(proof)),
            ("client_outage_ms", outage.duration()),
        ];
        self.tell("power-cut", "active", begun, &durations);
    }

    /// The active node and its BMC lose power together: no proof can be had.
    fn lose_power_and_bmc(&self, lost: Node, scene: &str) {
        self.title(&format!("{scene}: the active node, {lost}, and its BMC lose power together"));
        let survivor = lost.other();
        let begun = self.lab.power_and_bmc_cut(lost);
        let frozen = self.wait_for_event(survivor, "frozen", "", begun);
        let fencing = self.wait_for_event(survivor, "role", "-> fencing", begun);
        self.lab.wait_for_role(survivor, "frozen", LIMIT);
        let watched = Stamp::now();
        thread::sleep(FROZEN_WATCH);
        let vip = self.lab.vip();
        assert_eq!(self.client.holder(vip), None, "somebody serves without a proof");
        assert!(self.client.longest_gap(vip, watched, Stamp::now()) >= FROZEN_WATCH);
        assert!(!self.lab.has_vip(survivor, vip), "{survivor} holds the VIP without a proof");
        self.timeline(survivor, begun);
        if !self.is_json {
            // Its exit status tells that something is wrong.
            let output = self.lab.exec(survivor, &["tandem", "status"]);
            println!("\n  {survivor}$ tandem status");
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                println!("  | {line}");
            }
        }
        let durations =
            [("detection_ms", fencing.at.since(begun)), ("frozen_ms", frozen.at.since(begun))];
        self.tell(scene, "frozen", begun, &durations);
    }

    /// An operator has looked: the word is the proof.
    fn confirm_off(&self, lost: Node) {
        let survivor = lost.other();
        self.title(&format!("confirm-off: an operator says on {survivor} that {lost} is off"));
        let begun = Stamp::now();
        self.lab.run(survivor, &["tandem", "confirm-off", lost.letter()]);
        let outage = self.leave_frozen(survivor, begun);
        let durations =
            [("takeover_ms", outage.first.since(begun)), ("client_outage_ms", outage.duration())];
        self.tell("confirm-off", "active", begun, &durations);
    }

    /// The mains are back: the BMC is there before its host, and says off.
    fn return_bmc(&self, lost: Node) {
        self.title(&format!("bmc-returns: the BMC of {lost} has power again, its host is off"));
        let begun = self.lab.start_bmc(lost);
        let outage = self.leave_frozen(lost.other(), begun);
        let proof = self.proof_moment(lost, outage);
        let durations = [
            ("proof_ms", proof.since(begun)),
            ("takeover_ms", outage.first.since(proof)),
            ("client_outage_ms", outage.duration()),
        ];
        self.tell("bmc-returns", "active", begun, &durations);
    }

    /// Waits until the frozen survivor serves.
    fn leave_frozen(&self, survivor: Node, begun: Stamp) -> Outage {
        let outage = self.wait_for_service(survivor, begun);
        self.wait_for_event(survivor, "acquired", "", begun);
        self.lab.wait_for_role(survivor, "active", LIMIT);
        self.timeline(survivor, begun);
        outage
    }

    /// When the BMC of the lost node gave the answer that was the proof: the last reading before
    /// the new holder answered. The daemon tells its events only after it has acted.
    fn proof_moment(&self, lost: Node, outage: Outage) -> Stamp {
        let orders = self.lab.bmc(lost).orders();
        let mut readings = orders.iter().filter(|order| order.text == "get power");
        let proof = readings.rfind(|order| order.done < outage.first);
        proof.expect("a takeover without a reading").done
    }

    /// The lost node has power again and stands by.
    fn rejoin(&self, node: Node) {
        self.title(&format!("{node} has power again: it must stand by, not take back"));
        let begun = Stamp::now();
        self.lab.restore(node);
        self.wait_for_pair(node.other());
        self.follow_events(node);
        self.line(begun.elapsed(), "lab", &format!("{node} is standby, the pair is complete"));
        let two = self.observer.two_holders(begun, Stamp::now());
        assert_eq!(two, Duration::ZERO, "two holders while {node} joined");
    }

    /// Waits until this node is active, the other one standby, and all is well.
    fn wait_for_pair(&self, active: Node) {
        self.lab.wait_for_role(active, "active", LIMIT);
        self.lab.wait_for_role(active.other(), "standby", LIMIT);
        for node in Node::BOTH {
            self.lab.wait_until(&format!("{node} says that all is well"), LIMIT, || {
                self.lab.status(node).filter(|status| status["health"] == "ok")
            });
        }
        self.lab.wait_until(&format!("the client reaches {active}"), LIMIT, || {
            self.client.holder(self.lab.vip()).filter(|node| *node == active)
        });
    }

    /// Waits until the client is served by `new`; the value is how long it was not.
    fn wait_for_service(&self, new: Node, from: Stamp) -> Outage {
        let vip = self.lab.vip();
        let what = format!("the client is served by {new}");
        let outage = || self.client.outage(vip, new, from);
        self.lab.wait_until(&what, LIMIT, outage)
    }

    fn wait_for_event(&self, node: Node, kind: &str, part: &str, from: Stamp) -> Happening {
        self.lab.wait_for_event(node, (kind, part), from, LIMIT)
    }

    /// Follows a node's events, and waits until those of the past have come: they are told with the
    /// time at which they are read.
    fn follow_events(&self, node: Node) {
        let from = Stamp::now();
        self.lab.follow_events(node);
        self.wait_for_event(node, "role", "", from);
        thread::sleep(Duration::from_millis(200));
    }

    /// Tells what the survivor and the client saw since the fault.
    fn timeline(&self, survivor: Node, begun: Stamp) {
        let vip = self.lab.vip();
        let mut lines: Vec<(Stamp, String, String)> = Vec::new();
        for event in self.lab.events_since(survivor, begun) {
            lines.push((event.at, survivor.to_string(), event.text));
        }
        for order in self.lab.bmc(survivor.other()).orders() {
            let text = format!("{} (took {} ms)", order.text, millis(order.done.since(order.at)));
            lines.push((order.at, format!("bmc-{}", survivor.other()), text));
        }
        if let Some(outage) = self.client.outage(vip, survivor, begun) {
            lines.push((outage.last, "client".to_owned(), format!("last answer of {vip}")));
            let text = format!("first answer of {vip} from {survivor}");
            lines.push((outage.first, "client".to_owned(), text));
        }
        // The last answer came just before the fault, or in an earlier scene.
        lines.retain(|(at, _, _)| *at + Duration::from_millis(5) >= begun);
        lines.sort();
        for (at, who, text) in lines {
            self.line(at.since(begun), &who, &text);
        }
    }

    fn title(&self, text: &str) {
        if !self.is_json {
            println!("\n== {text}");
        }
    }

    fn line(&self, after: Duration, who: &str, text: &str) {
        if !self.is_json {
            println!("  {:>9.1} ms  {who:<7} {text}", millis(after));
        }
    }

    /// Tells how a scene that began at `begun` ended. It has failed if two nodes ever held a VIP.
    fn tell(&self, scene: &str, state: &str, begun: Stamp, durations: &[(&str, Duration)]) {
        let two_holders = self.observer.two_holders(begun, Stamp::now());
        let mut numbers: Vec<(&str, f64)> =
            durations.iter().map(|(key, duration)| (*key, millis(*duration))).collect();
        numbers.push(("two_holders_ms", millis(two_holders)));
        let shown = |start: String, format: fn(&str, f64) -> String| {
            numbers.iter().fold(start, |line, (key, number)| line + &format(key, *number))
        };
        if self.is_json {
            let start = format!("{{\"scene\":\"{scene}\",\"state\":\"{state}\"");
            println!("{}}}", shown(start, |key, number| format!(",\"{key}\":{number}")));
        } else {
            println!("  => {}", shown(state.to_owned(), |key, number| format!(" {key}={number}")));
        }
        assert_eq!(two_holders, Duration::ZERO, "{scene}: two nodes held a VIP at the same time");
    }
}
