//! The flight recorder with real files, and `tandem replay` of what it left.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tandem::engine::{Effect, Effects, Input, Node, Settings};
use tandem::flight::{Encoder, Header, Joint, Opening, Replay, Segment};
use tandem::io::flight::{Bounds, Change, Recorder, list, read};
use tandem::sim::{Step, World, ms};
use tandem::types::{BootId, Incarnation, Instant, Names, NodeId, PeerState};

const SMALL: Bounds = Bounds { segment: 24 << 10, recording: 96 << 10 };

/// A directory of its own for one test; removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("flight-{name}"));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn numbers(&self) -> Vec<u64> {
        list(&self.0).unwrap().into_iter().map(|(number, _)| number).collect()
    }

    fn texts(&self) -> Vec<Vec<u8>> {
        list(&self.0).unwrap().iter().map(|(_, path)| read(path).unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// One life of an engine: how it was made, and all that it was given.
struct Flown {
    settings: Settings,
    started: Instant,
    /// With the world's time: its clock runs ahead of that by `lead`.
    steps: Vec<Step>,
    lead: Duration,
    names: Names,
}

impl Flown {
    /// What machine 1 (b) of a pair went through in `story`, from its start on.
    fn of(story: impl FnOnce(&mut World)) -> Self {
        let mut world = World::new(tandem::sim::Plan::default());
        world.story.keep_steps = true;
        for machine in 0..2 {
            world.start_daemon(machine);
        }
        world.run(ms(1000));
        assert_eq!(world.state(0), Some(PeerState::Active));
        story(&mut world);
        let state = serde_json::to_value(world.node(1)).unwrap();
        let lead = Duration::from_nanos(world.machines[1].clock_lead);
        let steps = world.story.steps.into_iter();
        Self {
            settings: serde_json::from_value(state["settings"].clone()).unwrap(),
            started: serde_json::from_value(state["started"].clone()).unwrap(),
            steps: steps.filter(|step| step.machine == 1).collect(),
            lead,
            names: world.plan.names(),
        }
    }

    /// B of a pair whose A loses its power after a minute, and comes back.
    fn failover() -> Self {
        Self::of(|world| {
            world.run(ms(60_000));
            world.power_off(0);
            world.run(ms(2000));
            assert!(world.is(1, PeerState::Active), "{}", world.story());
            world.power_on(0);
            world.run(ms(5000));
        })
    }

    fn inputs(&self) -> impl Iterator<Item = (Instant, &Input)> {
        self.steps.iter().map(|step| (step.at + self.lead, &step.input))
    }

    fn header(&self) -> Header {
        Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: "pair".to_owned(),
            local: NodeId::new(2).unwrap(),
            names: self.names.clone(),
            boot: BootId([1; 16]),
            incarnation: Incarnation(9),
            part: 0,
            follows: false,
            at: self.started,
            wall_unix_ms: 1_795_310_848_000,
        }
    }

    fn recorder(&self, directory: &Path, bounds: Bounds) -> Recorder {
        Recorder::begin(directory, bounds, self.header(), &self.settings)
    }

    /// Runs the engine without a break, and records it; itself at the end, and all its effects.
    fn record(&self, recorder: &mut Recorder) -> (Node, Vec<(Instant, Effect)>) {
        let mut node = Node::new(self.settings.clone(), self.started);
        let (mut out, mut effects) = (Effects::new(), Vec::new());
        for ((at, input), count) in self.inputs().zip(1..) {
            recorder.note(&node, at, input);
            node.step(at, input.clone(), &mut out);
            effects.extend(out.drain().map(|effect| (at, effect)));
            if count % 7 == 0 {
                recorder.flush(at);
            }
        }
        recorder.flush(self.started);
        (node, effects)
    }
}

/// Runs all segments again; the joints, the engine at the end, and all its effects.
fn replay(texts: &[Vec<u8>]) -> (Vec<Joint>, Node, Vec<(Instant, Effect)>) {
    let (mut joints, mut effects, mut before) = (Vec::new(), Vec::new(), None);
    for text in texts {
        let mut segment = Segment::open(text).unwrap();
        let (mut replay, joint) = Replay::begin(&mut segment, before.take()).unwrap();
        joints.push(joint);
        while let Some((at, input)) = segment.next_input().unwrap() {
            effects.extend(replay.step(at, input).effects.into_iter().map(|effect| (at, effect)));
        }
        assert_eq!(segment.torn_len(), 0);
        before = Some(replay);
    }
    (joints, before.unwrap().node().clone(), effects)
}

fn state(node: &Node) -> String {
    serde_json::to_string(node).unwrap()
}

// In: a standby that takes over, recorded in segments so short that the oldest are thrown away.
// Out: the bounds are kept, and what is left, run again, has the same effects from there to its
// end, and the same state; each segment goes on where the one before ended.
#[test]
fn what_is_left_of_a_long_recording_is_run_again_exactly() {
    let scratch = Scratch::new("rotation");
    let flown = Flown::failover();
    let mut recorder = flown.recorder(&scratch.0, SMALL);
    let (node, effects) = flown.record(&mut recorder);
    assert_eq!(recorder.take_change(), None);

    let numbers = scratch.numbers();
    assert!(numbers[0] > 3, "nothing was thrown away: {numbers:?}");
    let texts = scratch.texts();
    let total: usize = texts.iter().map(Vec::len).sum();
    assert!(total <= SMALL.recording + (16 << 10), "{total} bytes");
    assert!(total >= SMALL.recording - 2 * SMALL.segment, "only {total} bytes");
    for (_, path) in list(&scratch.0).unwrap() {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    let (joints, again, retold) = replay(&texts);
    let seamless = joints[1..].iter().all(|joint| *joint == Joint::Seamless);
    assert!(joints.len() > 2 && joints[0] == Joint::First && seamless, "{joints:?}");
    assert_eq!(state(&again), state(&node));
    assert!(retold.len() > 1000);
    assert!(effects.ends_with(&retold), "other effects");
}

// In: the same, recorded whole; then only the middle of it is kept.
// Out: all effects, from the very first; the gap is told.
#[test]
fn a_recording_from_the_start_is_run_again_from_the_start() {
    let scratch = Scratch::new("whole");
    let flown = Flown::failover();
    let bounds = Bounds { segment: 64 << 10, recording: 64 << 20 };
    let (node, effects) = flown.record(&mut flown.recorder(&scratch.0, bounds));
    let mut texts = scratch.texts();
    assert!(texts.len() >= 4, "{} segments", texts.len());
    let (_, again, retold) = replay(&texts);
    assert_eq!(state(&again), state(&node));
    assert_eq!(retold, effects);

    texts.remove(1);
    let (joints, again, _) = replay(&texts);
    assert_eq!(joints[..3], [Joint::First, Joint::Gap, Joint::Seamless]);
    assert_eq!(state(&again), state(&node));
}

#[test]
fn an_earlier_life_is_kept_however_often_the_daemon_is_restarted() {
    let scratch = Scratch::new("lives");
    let flown = Flown::failover();
    flown.record(&mut flown.recorder(&scratch.0, SMALL));
    let before = scratch.numbers();
    let next = before.last().unwrap() + 1;
    for _ in 0..5 {
        let mut recorder = flown.recorder(&scratch.0, SMALL);
        recorder.flush(flown.started);
    }
    let after = scratch.numbers();
    assert_eq!(after.last(), Some(&(next + 4)), "{after:?}");
    let kept = after.iter().filter(|number| **number < next).count();
    assert!(kept >= 2, "of {before:?} only {after:?} is left");
    // A file that somebody put there is not touched.
    fs::write(scratch.0.join("flight.txt"), "mine").unwrap();
    for _ in 0..100 {
        drop(flown.recorder(&scratch.0, SMALL));
    }
    assert!(scratch.numbers().len() <= tandem::io::flight::SEGMENTS_MAX + 1);
    assert_eq!(fs::read(scratch.0.join("flight.txt")).unwrap(), b"mine");
}

// In: a directory that vanishes before a segment is begun, and is there again a minute later.
// Out: told once each; then recorded again behind a gap, from the engine's state.
#[test]
fn a_recorder_that_cannot_write_tells_once_and_tries_again() {
    let scratch = Scratch::new("failing");
    let flown = Flown::failover();
    let directory = scratch.0.join("run");
    let mut recorder = flown.recorder(&directory, SMALL);
    let Some(Change::Failed(why)) = recorder.take_change() else { panic!("not told") };
    assert!(why.contains("No such file"), "{why}");
    let mut node = Node::new(flown.settings.clone(), flown.started);
    let mut out = Effects::new();
    let mut changes = Vec::new();
    let (mut made_at, half) = (None, flown.started + Duration::from_secs(30));
    for (at, input) in flown.inputs() {
        if at >= half && made_at.is_none() {
            fs::create_dir(&directory).unwrap();
            made_at = Some(at);
        }
        recorder.note(&node, at, input);
        node.step(at, input.clone(), &mut out);
        drop(out.drain());
        recorder.flush(at);
        changes.extend(recorder.take_change().map(|change| (at, change)));
    }
    let (at, change) = changes.first().unwrap();
    assert_eq!((changes.len(), change), (1, &Change::Resumed));
    assert!(*at >= flown.started + Duration::from_secs(60), "{at}");
    let texts: Vec<Vec<u8>> =
        list(&directory).unwrap().iter().map(|(_, path)| read(path).unwrap()).collect();
    assert!(!Segment::open(&texts[0]).unwrap().header().follows);
    assert_eq!(state(&replay(&texts).1), state(&node));
}

// In: b is told that a is off, by an operator, and may not use it: its own path is bad. That lasts.
// Out: no state without its proof is written; the recorder rests, and goes on once it can.
#[test]
fn no_segment_begins_with_a_proof_that_is_not_used() {
    let scratch = Scratch::new("proof");
    let flown = Flown::of(|world| {
        for nic in 0..2 {
            world.set_carrier(1, nic, false);
        }
        world.power_off(0);
        world.run(ms(1000));
        world.confirm_off(1, 0, true);
        world.run(ms(120_000));
        for nic in 0..2 {
            world.set_carrier(1, nic, true);
        }
        world.run(ms(30_000));
        assert!(world.is(1, PeerState::Active), "{}", world.story());
    });
    let bounds = Bounds { recording: 64 << 20, ..SMALL };
    let (node, effects) = flown.record(&mut flown.recorder(&scratch.0, bounds));
    let texts = scratch.texts();
    let (joints, again, retold) = replay(&texts);
    assert!(joints.contains(&Joint::Gap), "{joints:?}");
    assert!(!joints.contains(&Joint::Diverged), "{joints:?}");
    assert_eq!(state(&again), state(&node));
    let is_takeover = |(_, effect): &&(Instant, Effect)| matches!(effect, Effect::Acquire { .. });
    assert!(retold.iter().any(|entry| is_takeover(&entry)), "the takeover is not there");
    assert!(retold.len() < effects.len(), "nothing was left out");
    let longest = texts.iter().map(Vec::len).max().unwrap();
    assert!(longest <= 2 * SMALL.segment + 1024, "{longest} bytes");
}

#[test]
fn what_was_gathered_is_written_when_the_daemon_panics() {
    let scratch = Scratch::new("panic");
    let flown = Flown::failover();
    let mut recorder = flown.recorder(&scratch.0, SMALL);
    recorder.write_on_panic();
    let node = Node::new(flown.settings.clone(), flown.started);
    recorder.note(&node, flown.started, &Input::Stop);
    let inputs = || {
        let text = scratch.texts().remove(0);
        let mut segment = Segment::open(&text).unwrap();
        core::iter::from_fn(|| segment.next_input().unwrap()).count()
    };
    assert_eq!(inputs(), 0);
    let ended = std::thread::spawn(|| panic!("as an engine that broke a rule")).join();
    assert!(ended.is_err());
    assert_eq!(inputs(), 1);
}

fn tandem(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_tandem")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

// In: the recorded failover.
// Out: the events are those of the engine; the whole story has its inputs and effects; what was a
// matter of course is counted; a part of it can be asked for.
#[test]
fn a_failover_is_told_as_it_happened() {
    let scratch = Scratch::new("told");
    let flown = Flown::failover();
    let bounds = Bounds { segment: 64 << 10, recording: 64 << 20 };
    let (_, effects) = flown.record(&mut flown.recorder(&scratch.0, bounds));
    let path = scratch.0.to_str().unwrap();

    let (status, told, err) = tandem(&["replay", "--events", path]);
    assert_eq!((status, err.as_str()), (0, ""));
    let told: Vec<&str> = told.lines().map(|line| line.splitn(5, "  ").last().unwrap()).collect();
    let events = effects.iter().filter_map(|(_, effect)| match effect {
        Effect::Report(event) => Some(event.line(&flown.names).to_string()),
        _ => None,
    });
    let events: Vec<String> = events.collect();
    let told: Vec<&str> = told.into_iter().map(str::trim_start).collect();
    assert_eq!(told, events);

    let (status, story, err) = tandem(&["replay", path]);
    assert_eq!((status, err.as_str()), (0, ""));
    for part in [
        "node b of \"pair\", incarnation 0000000000000009",
        ": a daemon is started\n",
        ": goes on\n",
        "    role standby -> fencing term=1: a is lost and its VIPs are silent\n",
        ": device0, cut the power, within ",
        ": power off\n",
        "    proof: a holds nothing: its power reads off\n",
        ": all VIPs term=2\n",
        " heartbeats and ",
        " ticks, nothing new\n",
        " 2026-11-22 01:2",
    ] {
        assert!(story.contains(part), "no {part:?} in\n{story}");
    }
    assert!(!story.contains(": goes on after a gap"));
    let (lines, inputs) = (story.lines().count(), flown.steps.len());
    assert!(lines * 20 < inputs, "{lines} lines of {inputs} inputs\n{story}");

    let (status, part, _) = tandem(&["replay", "--last", "7s", path]);
    assert_eq!(status, 0);
    assert!(part.contains("role standby -> fencing") && !part.contains("role joining"), "{part}");
    let (_, from, _) = tandem(&["replay", "--from", "50", path]);
    assert!(from.contains("role standby -> fencing") && !from.contains("role joining"), "{from}");
    let (_, one, _) = tandem(&["replay", list(&scratch.0).unwrap()[1].1.to_str().unwrap()]);
    assert!(one.contains(": what was before is not here\n"), "{one}");
}

// In: a segment that says it goes on where the one before ended, with another state.
// Out: that is told, and fails; what was recorded of it is told all the same.
#[test]
fn an_engine_that_comes_to_another_state_is_told() {
    let scratch = Scratch::new("diverged");
    let flown = Flown::failover();
    let bounds = Bounds { segment: 64 << 20, recording: 1 << 30 };
    flown.record(&mut flown.recorder(&scratch.0, bounds));
    let other = Node::new(flown.settings.clone(), flown.started);
    let header = Header { part: 1, follows: true, ..flown.header() };
    let (mut encoder, mut text) = (Encoder::new(), Vec::new());
    encoder.begin(&header, Opening::Checkpoint(&other), &mut text).unwrap();
    encoder.add(flown.started, &Input::Stop, &mut text).unwrap();
    fs::write(scratch.0.join("flight.1"), &text).unwrap();
    assert_eq!(replay(&scratch.texts()).0, [Joint::First, Joint::Diverged]);
    let (status, told, err) = tandem(&["replay", scratch.0.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(err.contains("this engine has come to another state than the recorded one"), "{err}");
    assert!(told.contains(": goes on, from the recorded state\n"), "{told}");
    assert!(told.contains("role joining -> stopped"), "{told}");
}

#[test]
fn what_cannot_be_replayed_says_so() {
    let scratch = Scratch::new("damage");
    let path = scratch.0.to_str().unwrap();
    let (status, out, err) = tandem(&["replay", path]);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(err.contains("there is no recording in it: the daemon records into"), "{err}");
    let (status, _, err) = tandem(&["replay", &format!("{path}/none")]);
    assert_eq!(status, 2);
    assert!(err.contains("there is nothing of that name"), "{err}");
    assert_eq!(tandem(&["replay", "--last", "5", path]).0, 2);
    assert_eq!(tandem(&["replay", "--from", "noon", path]).0, 2);
    assert_eq!(tandem(&["replay", "--from", "1", "--last", "1s", path]).0, 2);

    let flown = Flown::failover();
    let bounds = Bounds { segment: 64 << 10, recording: 64 << 20 };
    flown.record(&mut flown.recorder(&scratch.0, bounds));
    let segments = list(&scratch.0).unwrap();
    let whole = tandem(&["replay", "--events", path]).1;

    // Cut off as by a kill in the middle of a write.
    let last = &segments.last().unwrap().1;
    let bytes = fs::read(last).unwrap();
    fs::write(last, &bytes[..bytes.len() - 3]).unwrap();
    let (status, out, err) = tandem(&["replay", "--events", path]);
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("ends in the middle of a line: its last"), "{err}");
    assert!(whole.starts_with(&out));

    // One digit changed in the first segment's line 9: the others are told all the same.
    let first = &segments[0].1;
    let mut lines: Vec<String> =
        fs::read_to_string(first).unwrap().lines().map(str::to_owned).collect();
    lines[8] = format!("1{}", lines[8]);
    fs::write(first, lines.join("\n") + "\n").unwrap();
    let (status, out, err) = tandem(&["replay", "--events", path]);
    assert_eq!(status, 1);
    assert!(err.contains("flight.0: line 9: its checksum is wrong"), "{err}");
    assert!(out.contains("role standby -> fencing"), "{out}");

    // Of another version.
    let header = Header { version: "9.9.9".to_owned(), ..flown.header() };
    drop(Recorder::begin(&scratch.0, bounds, header, &flown.settings));
    let newest = list(&scratch.0).unwrap().pop().unwrap().1;
    let (status, _, err) = tandem(&["replay", newest.to_str().unwrap()]);
    assert_eq!(status, 0);
    assert!(err.contains("recorded by tandem 9.9.9"), "{err}");

    // A reader that goes away.
    let mut child = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["replay", path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(err.contains("cannot write the output"), "{err}");
}
