//! `docs/FROZEN.md` shows what `tandem status` says for each cause of being frozen. Here each cause
//! is brought about, and what is said is compared. `UPDATE_GOLDEN=1` rewrites: read the diff.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::path::Path;

use super::{health, render};
use crate::daemon::frozen::frozen;
use crate::sim::plan::OUTSIDER;
use crate::sim::{Mode, Plan, Timing, World, ms};
use crate::types::{FenceFault, Names, PeerState};
use crate::wire::control::status::Health;
use crate::wire::control::{Response, Status};

/// Each section of the document, and what is wrong with the fence device in it.
const CAUSES: [(&str, Option<Mode>); 18] = [
    ("unreachable", None),
    ("credentials", Some(Mode::Refuses(FenceFault::Credentials))),
    ("certificate", Some(Mode::Refuses(FenceFault::Certificate))),
    ("privilege", Some(Mode::Refuses(FenceFault::Privilege))),
    ("refused", Some(Mode::Refuses(FenceFault::Refused))),
    ("unsupported", Some(Mode::Refuses(FenceFault::Unsupported))),
    ("exhausted", Some(Mode::Refuses(FenceFault::Exhausted))),
    ("stays-on", Some(Mode::StaysOn)),
    ("unclear", Some(Mode::Unclear)),
    ("contradicted", Some(Mode::ReadsOff)),
    ("failed: not understood", Some(Mode::Refuses(FenceFault::Garbled))),
    ("failed: the agent", Some(Mode::Refuses(FenceFault::AgentFailed))),
    ("failed: no verdict", Some(Mode::Hangs)),
    ("witness-on", Some(Mode::Dead)),
    ("never-on", Some(Mode::Dead)),
    ("own-machine", Some(Mode::Works)),
    ("other-machine", Some(Mode::Works)),
    ("no-device", Some(Mode::Works)),
];

fn names(world: &World) -> Names {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Names {
        links: list(&["hb0", "cable"]),
        devices: list(&["bmc-a", "pdu-a", "bmc-b", "pdu-b"]),
        ..world.plan.names()
    }
}

/// The pair, frozen for this reason for two minutes.
fn frozen_world(cause: &str, mode: Option<Mode>, levels: Vec<u8>) -> World {
    let timing = Timing {
        keepalive: ms(50),
        warntime: ms(120),
        deadtime: ms(250),
        level_timeout: ms(10_000),
        fence_check_interval: ms(60_000),
        grace: ms(1000),
        ..Timing::QUICK
    };
    let levels = if cause == "no-device" { vec![] } else { levels };
    let repeats = Some(ms(500));
    let identities = cause.ends_with("-machine");
    let witnesses = u8::from(matches!(cause, "witness-on" | "never-on"));
    let plan = Plan { levels, timing, repeats, identities, witnesses, ..Plan::default() };
    let mut world = World::new(plan);
    match cause {
        "own-machine" => world.devices[0].wired = 1,
        "other-machine" => world.devices[0].wired = OUTSIDER,
        _ => {}
    }
    world.machines[0].autostart = false;
    if cause == "never-on" {
        world.set_modes_of_cutters(0, Mode::Dead);
        world.power_off(0);
    } else {
        world.start_daemon(0);
    }
    world.start_daemon(1);
    world.run(ms(95_400));
    if witnesses > 0 {
        world.set_modes_of_cutters(0, Mode::Dead);
        if cause == "witness-on" {
            world.run(ms(120_000));
            world.crash(0);
            world.machines[0].kernel.clear();
        }
    } else if let Some(mode) = mode {
        world.excused = mode == Mode::ReadsOff;
        world.set_modes(0, mode);
        // An agent that breaks for every order reads off to a check, too.
        if mode != Mode::Refuses(FenceFault::AgentFailed) {
            world.run(ms(120_000));
        }
        world.crash(0);
        world.machines[0].kernel.clear();
    } else {
        for device in world.devices.iter_mut().filter(|device| device.host == 0) {
            device.shares_power = true;
        }
        world.lose_feed(0);
    }
    let took = world.run_until(ms(60_000), |w| w.is(1, PeerState::Frozen));
    assert!(took.is_some(), "{cause}: {}", world.story());
    world.run(ms(121_300));
    world
}

/// What the status says above its tables.
fn said(world: &World, cause: &str) -> String {
    let view = world.node(1).snapshot();
    let frozen = frozen(world.local(1), &view, &names(world));
    assert!(frozen.is_some(), "{cause}: {}", world.story());
    let code = frozen.as_ref().map(|frozen| frozen.cause.clone()).unwrap();
    assert_eq!(code, cause.split(':').next().unwrap());
    let status = Status {
        cluster: "smw-pair".to_owned(),
        node: "b".to_owned(),
        health: Health::Frozen,
        frozen,
        ..Status::default()
    };
    // As it comes over the control socket.
    let line = Response::Status(Box::new(status.clone())).to_line();
    assert_eq!(Response::parse(&line).unwrap(), Response::Status(Box::new(status.clone())));
    assert!(render(&status).starts_with(&health(&status)));
    health(&status)
}

/// The document with these blocks, each behind the line that names it.
fn with_blocks(document: &str, blocks: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let Some((_, block)) = blocks.iter().find(|(mark, _)| mark == line) else { continue };
        assert_eq!(lines.next(), Some("```text"), "{line}");
        assert!(lines.any(|line| line == "```"), "{line}");
        text.push_str(&format!("```text\n{block}```\n"));
    }
    text
}

#[test]
fn the_document_shows_what_the_status_says_for_each_cause() {
    let mut blocks = Vec::new();
    for (cause, mode) in CAUSES {
        let world = frozen_world(cause, mode, vec![1]);
        blocks.push((format!("<!-- status: {cause} -->"), said(&world, cause)));
    }
    let world = frozen_world("unreachable", None, vec![1, 1]);
    blocks.push(("<!-- status: two levels -->".to_owned(), said(&world, "unreachable")));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FROZEN.md");
    let document = std::fs::read_to_string(&path).unwrap();
    for (mark, _) in &blocks {
        assert!(document.lines().any(|line| line == mark), "no section has {mark}");
    }
    let expected = with_blocks(&document, &blocks);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else if document != expected {
        let mut pairs = document.lines().zip(expected.lines());
        let (is, should) = pairs.find(|(is, should)| is != should).unwrap_or_default();
        panic!("docs/FROZEN.md is not what is said:\n is {is}\n but {should}");
    }
}
