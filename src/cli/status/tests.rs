//! The text against `tests/cli/status-*.txt`. `UPDATE_GOLDEN=1` rewrites them: read the diff.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;

use super::*;
use crate::wire::control::Status;
use crate::wire::control::status::{
    Change, Claim, FenceDevice, Frozen, FrozenLevel, Link, LinkCounters, LinkState, Nic, Node,
    NodeState, Refused, Trouble, Vip,
};

const DAY: u64 = 86_400_000;

fn node(name: &str, id: u8, state: NodeState, change: &str, reason: &str) -> Node {
    Node {
        name: name.to_owned(),
        id,
        local: id == 1,
        state,
        since_ms: 3 * DAY + 4_000_000,
        last_change: Some(Change {
            what: change.to_owned(),
            reason: reason.to_owned(),
            ago_ms: 3 * DAY + 4_000_000,
        }),
        heard_ms: (id != 1).then_some(12),
        term: 7,
        held_term: 7,
        incarnation: "00112233445566aa".to_owned(),
        boot: "5f1c2e4a-0b6d-4f3e-9a57-00ff12ab34cd".to_owned(),
        eligible: true,
        held: false,
    }
}

fn link(name: &str, kind: &str, path: &str, rtt_us: u64) -> Link {
    Link {
        name: name.to_owned(),
        kind: kind.to_owned(),
        backup: false,
        peer: "b".to_owned(),
        path: path.to_owned(),
        state: LinkState::Up,
        reason: String::new(),
        since_ms: 3 * DAY,
        last_heartbeat_ms: Some(12),
        rtt_us: Some(rtt_us),
        send_error: String::new(),
        counters: LinkCounters::default(),
    }
}

fn device(name: &str, level: u8, kind: &str) -> FenceDevice {
    FenceDevice {
        name: name.to_owned(),
        node: "b".to_owned(),
        level,
        kind: kind.to_owned(),
        reading: "on".to_owned(),
        read_ms: Some(20_000),
        fault: String::new(),
        session: if kind == "ipmi" { "open".to_owned() } else { String::new() },
        session_ms: (kind == "ipmi").then_some(3 * DAY),
        ..FenceDevice::default()
    }
}

fn vip(address: &str, nic: &str, held: bool) -> Vip {
    Vip { address: address.to_owned(), nic: nic.to_owned(), held, claimed_by: None }
}

/// The pair as it should be, seen from the active node.
fn well() -> Status {
    Status {
        cluster: "shop".to_owned(),
        node: "a".to_owned(),
        version: "0.1.0".to_owned(),
        uptime_ms: 3 * DAY + 5_000_000,
        health: Health::Ok,
        nodes: vec![
            node("a", 1, NodeState::Active, "became active", "all resources are held"),
            node("b", 2, NodeState::Standby, "became standby", "an active peer was heard"),
        ],
        links: vec![
            link("hb0", "udp", "eth1 10.9.0.1 -> 10.9.0.2", 180),
            link("cable", "serial", "ttyS0 115200", 45_000),
        ],
        nics: vec![nic("lan", Some(true), Some(true)), nic("dmz", None, None)],
        vips: vec![vip("10.0.0.100/24", "lan", true), vip("fd00::100/64", "dmz", true)],
        fence_devices: vec![device("bmc-b", 1, "ipmi"), device("pdu-b", 2, "fence_apc")],
        ..Status::default()
    }
}

fn nic(name: &str, across: Option<bool>, reach: Option<bool>) -> Nic {
    Nic { name: name.to_owned(), carrier: true, reach, good: true, across }
}

/// A fence device does not answer, a link is one-way, somebody sends with a wrong key.
fn degraded() -> Status {
    let mut status = well();
    status.health = Health::Degraded;
    status.degradations = vec![
        Trouble {
            code: "fence-device".to_owned(),
            what: "fence device bmc-b gives no reading: wrong user or password; a failover would \
                   freeze"
                .to_owned(),
            since_ms: 750_000,
            remedy: "check the user and the password file of bmc-b, then: tandem check".to_owned(),
        },
        Trouble {
            code: "link".to_owned(),
            what: "link hb0 to b is one-way: b does not hear us".to_owned(),
            since_ms: 4_200,
            remedy: "check the cable and the firewall of b on eth1".to_owned(),
        },
    ];
    status.links[0].state = LinkState::OneWay;
    status.links[0].since_ms = 4_200;
    status.links[0].reason = "the peer does not hear us".to_owned();
    status.links[1].reason = "cannot send: No buffer space available".to_owned();
    status.links[1].send_error = status.links[1].reason.clone();
    let device = &mut status.fence_devices[0];
    device.fault = "wrong user or password".to_owned();
    device.read_ms = Some(750_000);
    device.session = "closed".to_owned();
    device.session_ms = Some(750_000);
    device.warnings = vec!["a user without a name is enabled; disable user 1".to_owned()];
    status.refused = vec![
        Refused { reason: "wrong-key".to_owned(), count: 1200 },
        Refused { reason: "replayed".to_owned(), count: 3 },
    ];
    status
}

/// The standby cannot prove that the active is dead: its power and its BMC's are gone together.
fn frozen() -> Status {
    let mut status = well();
    status.health = Health::Frozen;
    status.nodes[0].state = NodeState::Frozen;
    status.nodes[0].since_ms = 130_000;
    status.nodes[0].last_change = Some(Change {
        what: "became frozen".to_owned(),
        reason: "no fence level gave a proof for b".to_owned(),
        ago_ms: 130_000,
    });
    status.nodes[1].state = NodeState::Lost;
    status.nodes[1].since_ms = 142_000;
    status.nodes[1].heard_ms = Some(143_000);
    status.frozen = Some(Frozen {
        node: "b".to_owned(),
        cause: "unreachable".to_owned(),
        what: "no proof that b holds nothing: its fence device does not answer and the host is \
               silent: both may have lost power"
            .to_owned(),
        evidence: vec![
            "link hb0: silent for 2m 23s".to_owned(),
            "VIPs: no answer since the node became late".to_owned(),
            "fence device bmc-b (level 1): unreachable for 2m 10s; it last read on 2m 40s ago"
                .to_owned(),
        ],
        levels: vec![
            frozen_level(1, "bmc-b", "looking", 3200),
            frozen_level(2, "pdu-b", "resting", 300),
        ],
        command: "tandem confirm-off b".to_owned(),
        command_does: "takes your word that b holds nothing".to_owned(),
        remedy: vec![
            "look at b: has it power? do its fans turn?".to_owned(),
            "if it has power, cut it, or repair the way to bmc-b".to_owned(),
            "when b is certainly off: tandem confirm-off b".to_owned(),
        ],
        since_ms: 130_000,
        retry_in_ms: 12_000,
    });
    for link in &mut status.links {
        link.state = LinkState::Down;
        link.last_heartbeat_ms = Some(143_000);
        link.since_ms = 142_000;
    }
    for vip in &mut status.vips {
        vip.held = false;
    }
    for device in &mut status.fence_devices {
        device.fault = "unreachable".to_owned();
        device.read_ms = Some(160_000);
        if device.kind == "ipmi" {
            device.session = "closed".to_owned();
            device.session_ms = Some(160_000);
        }
    }
    status
}

fn frozen_level(level: u8, device: &str, doing: &str, left_ms: u64) -> FrozenLevel {
    FrozenLevel {
        level,
        devices: vec![device.to_owned()],
        cause: "unreachable".to_owned(),
        what: "its fence device does not answer".to_owned(),
        doing: doing.to_owned(),
        left_ms,
    }
}

/// A machine that is no node answers for a VIP that this node holds; there are many VIPs.
fn collision() -> Status {
    let mut status = well();
    status.health = Health::Collision;
    status.vips = (0..40).map(|host| vip(&format!("10.0.0.{host}/24"), "lan", true)).collect();
    status.vips[30].claimed_by =
        Some(Claim { mac: "02:00:00:00:00:99".to_owned(), node: String::new(), ago_ms: 400 });
    status
}

/// A standby whose own service path is bad, with a peer that tries to move the cursor.
fn standby() -> Status {
    let mut status = well();
    status.health = Health::Degraded;
    status.nodes[0].state = NodeState::Standby;
    status.nodes[0].eligible = false;
    status.nodes[1].state = NodeState::Active;
    status.nodes[1].last_change.as_mut().unwrap().reason = "\u{1b}[2J\u{7}\u{e9}".to_owned();
    status.blocked = "its service NIC dmz has no carrier".to_owned();
    status.nics[1].carrier = false;
    status.nics[1].good = false;
    status.vips[0].held = false;
    status.vips[1].held = false;
    status.vips[0].claimed_by =
        Some(Claim { mac: "02:00:00:00:0b:01".to_owned(), node: "b".to_owned(), ago_ms: 800 });
    status
}

/// A node that was started behind a cut, or with another key: it sees the VIPs answer.
fn isolated() -> Status {
    let mut status = well();
    status.health = Health::Degraded;
    status.nodes[0].state = NodeState::Isolated;
    status.nodes[0].last_change.as_mut().unwrap().reason =
        "b is not heard, but its VIPs answer".to_owned();
    status.nodes[1].state = NodeState::Unknown;
    status.nodes[1].last_change = None;
    status.nodes[1].heard_ms = None;
    for link in &mut status.links {
        link.state = LinkState::Down;
        link.last_heartbeat_ms = None;
    }
    for vip in &mut status.vips {
        vip.held = false;
    }
    status.vips[0].claimed_by =
        Some(Claim { mac: "02:00:00:00:0b:01".to_owned(), node: String::new(), ago_ms: 80 });
    status.refused = vec![Refused { reason: "wrong-key".to_owned(), count: 140 }];
    status
}

/// An active whose service NICs are bad, and that stays: one has no carrier on both sides, over the
/// other nothing passes between the nodes.
fn service_path() -> Status {
    let mut status = well();
    status.health = Health::Degraded;
    status.degradations = vec![
        Trouble {
            code: "service-path".to_owned(),
            what: "a service NIC of this node has no carrier, or no ping target answers; it stays \
                   active: b is no better off"
                .to_owned(),
            since_ms: 12_000,
            remedy: "check the cables and switch ports of the service NICs".to_owned(),
        },
        Trouble {
            code: "service-parted".to_owned(),
            what: "nothing passes to and from b over lan, though both have carrier: a switch port \
                   is dead, here or there"
                .to_owned(),
            since_ms: 9_500,
            remedy:
                "check the switch ports of lan of both nodes; which side is deaf is known, and \
                     left by the service, where ping targets are set in [nics.lan]"
                    .to_owned(),
        },
    ];
    status.nics = vec![nic("lan", Some(false), None), nic("dmz", Some(false), None)];
    status.nics[1].carrier = false;
    status.nics[1].good = false;
    status
}

fn check(name: &str, status: &Status) {
    let file = format!("{}/tests/cli/status-{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = render::render(status);
    assert!(text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{text}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(Path::new(&file)).unwrap();
    assert!(text == golden, "{file} differs; UPDATE_GOLDEN=1 rewrites it\n{text}");
}

#[test]
fn a_healthy_pair_looks_as_in_its_golden_text() {
    check("ok", &well());
}

#[test]
fn a_degraded_pair_looks_as_in_its_golden_text() {
    check("degraded", &degraded());
}

#[test]
fn a_frozen_pair_looks_as_in_its_golden_text() {
    check("frozen", &frozen());
}

#[test]
fn a_collision_looks_as_in_its_golden_text() {
    check("collision", &collision());
}

#[test]
fn an_active_with_a_bad_service_path_looks_as_in_its_golden_text() {
    check("service-path", &service_path());
}

#[test]
fn an_isolated_node_looks_as_in_its_golden_text() {
    check("isolated", &isolated());
}

#[test]
fn a_deaf_standby_looks_as_in_its_golden_text() {
    check("standby", &standby());
}

#[test]
fn an_empty_document_looks_as_in_its_golden_text() {
    check("empty", &Status::default());
}

#[test]
fn exit_statuses_are_those_of_the_manual() {
    let expected = [
        (Health::Ok, 0),
        (Health::Degraded, 1),
        (Health::Starting, 3),
        (Health::TakingOver, 3),
        (Health::NoActive, 3),
        (Health::Frozen, 3),
        (Health::Collision, 3),
        (Health::Unknown, 3),
    ];
    for (health, status) in expected {
        assert_eq!(exit_status(health), status, "{health:?}");
    }
    let nobody = run(&mut Parser::from_args(["--socket", "/nonexistent/control"]));
    assert!(matches!(nobody, Err(Failure::Failed { status: 4, .. })), "{nobody:?}");
}
