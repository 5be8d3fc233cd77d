//! What was told in a world: events, answers, and what was sent; for tests and for people.

use super::World;
use crate::engine::{Answer, Effect, Effects, Event, Input, RequestId};
use crate::types::{Heartbeat, Instant, PeerState, Term};

/// How much of its end a long story shows.
const STORY_LINES_MAX: usize = 200;
/// Somebody on the wire records one heartbeat of so many, and keeps so many.
const RECORDED_OF: u64 = 7;
const RECORDED_MAX: usize = 16;

/// One step of a machine's engine.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, by the world's time.
    pub at: Instant,
    /// On which machine.
    pub machine: usize,
    /// What went in.
    pub input: Input,
    /// What came out, in order.
    pub effects: Vec<Effect>,
}

/// What was told.
#[derive(Clone, Debug)]
pub struct Story {
    /// Whether anything is kept of it: millions of worlds are not.
    pub kept: bool,
    /// Whether heartbeats are kept in `sent`.
    pub keep_sent: bool,
    /// Whether every step is kept in `steps`.
    pub keep_steps: bool,
    /// Every step of every engine.
    pub steps: Vec<Step>,
    /// What each machine's engine reported, by the world's time.
    pub events: Vec<(Instant, usize, Event)>,
    /// The faults that were caused.
    pub faults: Vec<(Instant, String)>,
    /// What operators were answered.
    pub answers: Vec<(RequestId, Answer)>,
    /// Every heartbeat that was sent.
    pub sent: Vec<Heartbeat>,
    /// How often a holder announced its VIPs again.
    pub announced: u64,
    /// Whether somebody on the wire records heartbeats.
    pub listens: bool,
    /// What somebody on the wire has recorded, over what was before: some of all heartbeats, and
    /// some of those that somebody could take over on. Whether each has arrived where it was sent.
    recorded: [Recording; 2],
}

impl Default for Story {
    fn default() -> Self {
        Self {
            kept: true,
            keep_sent: false,
            keep_steps: false,
            steps: Vec::new(),
            events: Vec::new(),
            faults: Vec::new(),
            answers: Vec::new(),
            sent: Vec::new(),
            announced: 0,
            listens: false,
            recorded: [Recording::default(), Recording::default()],
        }
    }
}

impl Story {
    /// Somebody on the wire listens, and keeps one heartbeat of several.
    pub(super) fn record(&mut self, heartbeat: &Heartbeat, arrives: bool) {
        if !self.listens {
            return;
        }
        let proves = heartbeat.grant != Term::NONE
            || heartbeat.flags.released
            || heartbeat.state == PeerState::Stopped;
        self.recorded[usize::from(proves)].take(heartbeat, arrives);
    }

    /// What was on its way when it was recorded has not arrived after all.
    pub(super) fn miss(&mut self, heartbeat: &Heartbeat) {
        let kept = self.recorded.iter_mut().flat_map(|recording| &mut recording.kept);
        for (recorded, arrived) in kept {
            let is_it = recorded.incarnation == heartbeat.incarnation
                && (recorded.to, recorded.seq) == (heartbeat.to, heartbeat.seq);
            *arrived &= !is_it;
        }
    }
}

/// Some of what was sent.
#[derive(Clone, Debug, Default)]
struct Recording {
    heard: u64,
    kept: Vec<(Heartbeat, bool)>,
}

impl Recording {
    fn take(&mut self, heartbeat: &Heartbeat, arrives: bool) {
        self.heard += 1;
        if !self.heard.is_multiple_of(RECORDED_OF) {
            return;
        }
        let place = (self.heard / RECORDED_OF) as usize % RECORDED_MAX;
        match self.kept.get_mut(place) {
            Some(old) => *old = (*heartbeat, arrives),
            None => self.kept.push((*heartbeat, arrives)),
        }
    }
}

impl World {
    /// What somebody on the wire has recorded of the heartbeats to a machine, and whether each has
    /// arrived there when it was sent.
    pub fn recorded(&self, to: usize) -> impl Iterator<Item = &(Heartbeat, bool)> {
        let all = self.story.recorded.iter().flat_map(|recording| &recording.kept);
        all.filter(move |(heartbeat, _)| usize::from(heartbeat.to.get()) == to + 1)
    }

    /// All events of one machine as lines, with the world's time.
    pub fn lines(&self, machine: usize) -> Vec<String> {
        let names = self.plan.names();
        let own = self.story.events.iter().filter(|(_, m, _)| *m == machine);
        own.map(|(at, _, event)| format!("{at} {}", event.line(&names))).collect()
    }

    /// Whether a line of the machine since the last [`World::forget`] has `text` in it.
    pub fn told(&self, machine: usize, text: &str) -> bool {
        self.lines(machine).iter().any(|line| line.contains(text))
    }

    /// How many lines of the machine have `text` in them.
    pub fn told_times(&self, machine: usize, text: &str) -> usize {
        self.lines(machine).iter().filter(|line| line.contains(text)).count()
    }

    /// Fails with the whole story unless the machine has told `text`.
    pub fn expect_told(&self, machine: usize, text: &str) {
        assert!(self.told(machine, text), "{text:?} was not told:\n{}", self.story());
    }

    /// Fails with the whole story if the machine has told `text`.
    pub fn expect_untold(&self, machine: usize, text: &str) {
        assert!(!self.told(machine, text), "{text:?} was told:\n{}", self.story());
    }

    /// The end of everything that was told, faults and events in their order.
    pub fn story(&self) -> String {
        let names = self.plan.names();
        let node = |machine: usize| names.node(super::Plan::node_id(machine));
        let events = self.story.events.iter();
        let events =
            events.map(|(at, m, e)| (*at, format!("{at} {} {}", node(*m), e.line(&names))));
        let faults = self.story.faults.iter();
        let faults = faults.map(|(at, text)| (*at, format!("{at} * {text}")));
        let mut lines: Vec<(Instant, String)> = faults.chain(events).collect();
        lines.sort_by_key(|(at, _)| *at);
        let skipped = lines.len().saturating_sub(STORY_LINES_MAX);
        lines.into_iter().skip(skipped).map(|(_, line)| line + "\n").collect()
    }

    /// What the machines told, without times.
    pub fn plain_lines(&self) -> Vec<String> {
        let names = self.plan.names();
        let events = self.story.events.iter();
        events
            .map(|(_, machine, event)| {
                format!("{} {}", names.node(super::Plan::node_id(*machine)), event.line(&names))
            })
            .collect()
    }

    /// Notes a fault for the story.
    pub fn note_fault(&mut self, fault: impl FnOnce() -> String) {
        if self.story.kept {
            self.story.faults.push((self.now, fault()));
        }
    }

    /// Keeps a step of a machine's engine for the story.
    pub(super) fn note_step(&mut self, machine: usize, input: Input, effects: &Effects) {
        let effects = effects.iter().cloned().collect();
        self.story.steps.push(Step { at: self.now, machine, input, effects });
    }

    /// Forgets what was told so far.
    pub fn forget(&mut self) {
        self.story.events.clear();
        self.story.faults.clear();
        self.story.answers.clear();
        self.story.sent.clear();
        self.story.steps.clear();
    }
}
