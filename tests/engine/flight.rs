//! What the flight recorder writes of any engine, run again, is what that engine did.

use std::collections::BTreeMap;
use std::time::Duration;

use tandem::engine::{Effect, Event, Node};
use tandem::flight::{Encoder, Header, Joint, Opening, Replay, Segment};
use tandem::sim::seeds::Trial;
use tandem::types::{BootId, Instant, Names, NodeId};

const SEEDS: u64 = 60;

fn header(node: &Node, at: Instant) -> Header {
    Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: "pair".to_owned(),
        local: NodeId::new(1).unwrap(),
        names: Names::default(),
        boot: BootId([1; 16]),
        incarnation: node.incarnation(),
        part: 0,
        follows: false,
        at,
        wall_unix_ms: 0,
    }
}

/// The text of a segment that begins with this node.
struct Recording {
    machine: usize,
    encoder: Encoder,
    text: Vec<u8>,
}

impl Recording {
    fn begin(machine: usize, node: &Node, at: Instant) -> Self {
        let (mut encoder, mut text) = (Encoder::new(), Vec::new());
        encoder.begin(&header(node, at), Opening::Checkpoint(node), &mut text).unwrap();
        Self { machine, encoder, text }
    }

    /// The engine after all that is recorded, and its events.
    fn replay(&self) -> (Node, Vec<Event>) {
        let mut segment = Segment::open(&self.text).unwrap();
        let (mut replay, joint) = Replay::begin(&mut segment, None).unwrap();
        assert_eq!(joint, Joint::First);
        let mut events = Vec::new();
        while let Some((at, input)) = segment.next_input().unwrap() {
            let effects = replay.step(at, input).effects;
            events.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Report(event) => Some(event),
                _ => None,
            }));
        }
        assert_eq!(segment.torn_len(), 0);
        (replay.node().clone(), events)
    }
}

// In: random worlds with faults; from each fault to the next, what every engine is given is
// recorded behind its state.
// Out: run again, each engine tells the same events and comes to the same state.
#[test]
fn a_recorded_engine_does_it_again() {
    let mut compared = 0;
    for seed in 0..SEEDS {
        let mut trial = Trial::new(seed, true);
        loop {
            let world = &mut trial.world;
            world.forget();
            world.story.keep_steps = true;
            let mut recordings = BTreeMap::new();
            for machine in 0..world.machines.len() {
                let at = world.local(machine);
                let Some(daemon) = &world.machines[machine].daemon else { continue };
                if !daemon.node.has_unused_proof() {
                    let recording = Recording::begin(machine, &daemon.node, at);
                    recordings.insert(daemon.uid, recording);
                }
            }
            let more = trial.go_on();
            let world = &trial.world;
            for recording in recordings.values_mut() {
                let lead = Duration::from_nanos(world.machines[recording.machine].clock_lead);
                let steps = world.story.steps.iter();
                for step in steps.filter(|step| step.machine == recording.machine) {
                    let Recording { encoder, text, .. } = recording;
                    encoder.add(step.at + lead, &step.input, text).unwrap();
                }
            }
            for (uid, recording) in &recordings {
                let daemon = world.machines[recording.machine].daemon.as_ref();
                let Some(daemon) = daemon.filter(|daemon| daemon.uid == *uid) else { continue };
                let (node, events) = recording.replay();
                let told = world.story.events.iter().filter(|(_, m, _)| *m == recording.machine);
                let told: Vec<Event> = told.map(|(_, _, event)| event.clone()).collect();
                assert_eq!(events, told, "seed {seed}:\n{}", world.story());
                let text = |node: &Node| serde_json::to_string(node).unwrap();
                assert_eq!(text(&node), text(&daemon.node), "seed {seed}:\n{}", world.story());
                compared += 1;
            }
            if !more {
                break;
            }
        }
    }
    assert!(compared > 1000, "only {compared} were compared");
}
