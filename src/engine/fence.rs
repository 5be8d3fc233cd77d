//! The fence ladder of one peer: levels in order, and when to climb again.
//!
//! ```text
//!   delay ──► level 1 ──► level 2 ──► … ──► frozen: every level by itself, for ever
//!                │ all devices read off        look ──► off, read ──┐
//!                ▼                              ▲   rest            │ all devices read off
//!              proof ◄──────────────────────────┴───────────────────┘
//! ```
//!
//! Once all levels have failed, none waits for another one any more: a device that hangs must not
//! hold up the look that would find another one answering. A level at which nobody answers is
//! looked at again as soon as its pace allows, so that a device that answers again is found at
//! once; one that answers and gives no proof is left alone for longer each time: it may lock out
//! a user whose password it refuses.
//!
//! How one level is attempted is in [`super::climb`]. A level may have witnesses, which are only
//! read. Where it has nothing else, nobody cuts the power, so nothing forbids the host to be alive:
//! its off counts only once all that has arrived was taken in, and only while no VIP of the host
//! answers.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::climb::{Climb, End, Ended};
use super::devices::Doubt;
use super::effect::{Effect, Effects};
use super::event::{Event, FrozenCause};
use super::input::Order;
use super::settings::PeerSettings;
use super::snapshot::{Doing, LevelView};
use crate::types::{DeviceId, FenceFault, Instant, NodeId, OpId, Power};

/// The first rest of a level whose devices answer and prove nothing.
pub(super) const REST_MIN: Duration = Duration::from_millis(500);
/// The longest rest: each is twice the one before, up to this.
pub(super) const REST_MAX: Duration = Duration::from_secs(5);
/// The rest between the first round and the looks that follow it: short, because a device that
/// answers again within it is not asked.
const REST_FIRST: Duration = Duration::from_millis(250);
/// How often it is told at most that a level fails for another reason than before.
const TOLD_INTERVAL: Duration = Duration::from_secs(5);

/// Evidence that all devices of one level read off, after those that cut were told to.
#[derive(Debug)]
pub(super) struct LevelOff {
    node: NodeId,
    index: usize,
    is_cut: bool,
}

impl LevelOff {
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Whether any device was told to cut the power: otherwise all are witnesses.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Which level, counted from 0.
    pub(super) fn index(&self) -> usize {
        self.index
    }
}

/// The operations of the engine, numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ops {
    last: u64,
}

impl Ops {
    pub(super) fn next(&mut self) -> OpId {
        self.last += 1;
        OpId(self.last)
    }
}

/// The fence ladder of one peer, in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ladder {
    stage: Stage,
    /// By level: how it last failed. What repeats itself is told once.
    failed: Vec<Option<Failure>>,
    /// The devices that may have carried out a command of this ladder, or of one that was dropped
    /// since the peer was heard, and how the last one ended.
    commanded: Vec<(DeviceId, Ended)>,
    /// Those that an earlier ladder told.
    told_before: Vec<DeviceId>,
}

/// How a level failed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Failure {
    cause: FrozenCause,
    /// What of it was told last, and when.
    told: FrozenCause,
    told_at: Instant,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    Delay {
        until: Instant,
    },
    /// The level before has failed.
    Next {
        index: usize,
    },
    /// The first round.
    First {
        index: usize,
        climb: Climb,
    },
    /// All levels have failed, and each is looked at by itself.
    Frozen {
        watches: Vec<Watch>,
    },
    Over,
}

/// One level of a frozen ladder.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watch {
    step: WatchStep,
    /// How many times in a row somebody answered, and it was no proof.
    refusals: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum WatchStep {
    Rest { until: Instant },
    Climb(Climb),
}

/// Where a ladder stands after it was advanced.
#[derive(Debug)]
pub(super) enum Progress {
    /// Waiting for a delay, an answer or a rest.
    Working,
    /// A level has just proved the power off.
    Off(LevelOff),
    /// A level has just failed, all others have failed before, and none may yet succeed by what it
    /// was told: frozen.
    Exhausted {
        /// Why.
        cause: FrozenCause,
        /// When a level is looked at next.
        retry_in: Duration,
        /// Whether it is the first round.
        first: bool,
    },
}

/// What a ladder needs from around it.
pub(super) struct Ground<'a> {
    pub(super) now: Instant,
    /// Whether a level may be begun or found to be over: only once all that has arrived was taken
    /// in, be it an answer of the device or what makes this node unfit to shoot.
    pub(super) may_judge: bool,
    pub(super) peer: &'a PeerSettings,
    /// Whether a VIP of the peer answers, as far as is known.
    pub(super) answers: bool,
    /// Why the off of a device proves nothing, if it is so.
    pub(super) doubt: &'a dyn Fn(DeviceId) -> Option<Doubt>,
    pub(super) ops: &'a mut Ops,
    pub(super) out: &'a mut Effects,
    /// The devices that were just told to cut.
    pub(super) commanded: Vec<DeviceId>,
}

impl Ladder {
    /// A ladder that is climbed after `delay`. The devices that were `commanded` before, while the
    /// peer was as lost as it is now, are looked at first, as in a later round.
    pub(super) fn new(now: Instant, delay: Duration, commanded: Vec<(DeviceId, Ended)>) -> Self {
        let stage = Stage::Delay { until: now + delay };
        let told_before = commanded.iter().map(|(device, _)| *device).collect();
        Self { stage, failed: Vec::new(), commanded, told_before }
    }

    /// What its devices were told, for the ladder that may follow it.
    pub(super) fn into_commanded(self) -> Vec<(DeviceId, Ended)> {
        self.commanded
    }

    /// Why the last level failed when it last did; nothing while the first round is under way.
    pub(super) fn frozen_cause(&self) -> Option<FrozenCause> {
        match self.stage {
            Stage::Frozen { .. } => Some(self.last_cause()),
            Stage::Delay { .. } | Stage::Next { .. } | Stage::First { .. } | Stage::Over => None,
        }
    }

    fn last_cause(&self) -> FrozenCause {
        self.failed.last().copied().flatten().map_or(FrozenCause::NoDevice, |failed| failed.cause)
    }

    /// What is being done at each level, and how each failed when it last did.
    pub(super) fn views(&self) -> Vec<LevelView> {
        let view = |(index, doing): (usize, Doing)| LevelView {
            level: level_number(index),
            cause: self.failed.get(index).copied().flatten().map(|failed| failed.cause),
            doing,
        };
        match &self.stage {
            Stage::First { index, climb } => vec![view((*index, climb.doing()))],
            Stage::Frozen { watches } => watches
                .iter()
                .map(|watch| match &watch.step {
                    WatchStep::Rest { until } => Doing::Resting { until: *until },
                    WatchStep::Climb(climb) => climb.doing(),
                })
                .enumerate()
                .map(view)
                .collect(),
            Stage::Delay { .. } | Stage::Next { .. } | Stage::Over => Vec::new(),
        }
    }

    /// Whether a command may have reached a device and has no verdict yet.
    pub(super) fn is_under_way(&self) -> bool {
        match &self.stage {
            Stage::First { .. } | Stage::Next { .. } => true,
            Stage::Frozen { watches } => watches.iter().any(Watch::is_decisive),
            Stage::Delay { .. } | Stage::Over => false,
        }
    }

    /// Whether it goes on as soon as that may be judged.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match &self.stage {
            Stage::Next { .. } => true,
            Stage::Delay { until } => now >= *until,
            Stage::First { climb, .. } => climb.is_due(now),
            Stage::Frozen { watches } => watches.iter().any(|watch| match &watch.step {
                WatchStep::Rest { until } => now >= *until,
                WatchStep::Climb(climb) => climb.is_due(now),
            }),
            Stage::Over => false,
        }
    }

    /// When it wants to be advanced next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Delay { until } => Some(*until),
            Stage::First { climb, .. } => Some(climb.next_deadline()),
            Stage::Frozen { watches } => watches.iter().map(Watch::next_deadline).min(),
            Stage::Next { .. } | Stage::Over => None,
        }
    }

    /// Takes a device's answer in; the device, if it was one of this ladder's, and whether the
    /// answer tells if it gives readings. That of a command does if no reading follows it.
    pub(super) fn answer(
        &mut self,
        ground: &mut Ground<'_>,
        op: OpId,
        reading: Result<Power, FenceFault>,
    ) -> Option<(DeviceId, bool)> {
        let answered = match &mut self.stage {
            Stage::First { climb, .. } => climb.answer(ground, op, reading),
            Stage::Frozen { watches } => {
                watches.iter_mut().find_map(|watch| match &mut watch.step {
                    WatchStep::Climb(climb) => climb.answer(ground, op, reading),
                    WatchStep::Rest { .. } => None,
                })
            }
            Stage::Delay { .. } | Stage::Next { .. } | Stage::Over => None,
        }?;
        let device = answered.device;
        if let Some(ended) = answered.commanded {
            self.note_command(device, ended);
        }
        Some((device, answered.tells))
    }

    /// Goes as far as it can at this moment.
    pub(super) fn advance(&mut self, ground: &mut Ground<'_>) -> Progress {
        let progress = self.climb(ground);
        for device in core::mem::take(&mut ground.commanded) {
            // Should it be given up, it may have been carried out all the same.
            self.note_command(device, Err(FenceFault::Timeout));
        }
        progress
    }

    fn climb(&mut self, ground: &mut Ground<'_>) -> Progress {
        match &mut self.stage {
            Stage::Over => Progress::Working,
            Stage::Delay { until } => {
                let due = ground.may_judge && ground.now >= *until;
                if due { self.begin_level(ground, 0) } else { Progress::Working }
            }
            Stage::Next { index } => {
                let index = *index;
                if ground.may_judge { self.begin_level(ground, index) } else { Progress::Working }
            }
            Stage::First { index, climb } => {
                let index = *index;
                match climb.advance(ground) {
                    None => Progress::Working,
                    Some(End::Off { is_cut }) => self.succeed(ground, index, is_cut),
                    Some(End::Again) => {
                        self.stage = Stage::Next { index };
                        self.climb(ground)
                    }
                    Some(End::Failed { device, cause, .. }) => {
                        self.note_failure(ground, index, device, cause);
                        self.stage = Stage::Next { index: index + 1 };
                        self.climb(ground)
                    }
                }
            }
            Stage::Frozen { .. } => self.watch(ground),
        }
    }

    /// Gives up every answer that is still open.
    pub(super) fn cancel(&mut self, out: &mut Effects) {
        match &self.stage {
            Stage::First { climb, .. } => climb.cancel(out),
            Stage::Frozen { watches } => watches.iter().for_each(|watch| watch.cancel(out)),
            Stage::Delay { .. } | Stage::Next { .. } | Stage::Over => {}
        }
        self.stage = Stage::Over;
    }

    fn succeed(&mut self, ground: &mut Ground<'_>, index: usize, is_cut: bool) -> Progress {
        self.cancel(ground.out);
        Progress::Off(LevelOff { node: ground.peer.node, index, is_cut })
    }

    /// Remembers how the last command to a device ended, if it may have been carried out. That of
    /// one before counts no more: it was told again because it read on, or off.
    fn note_command(&mut self, device: DeviceId, ended: Ended) {
        self.commanded.retain(|(known, _)| *known != device);
        if matches!(ended, Ok(()) | Err(FenceFault::Timeout)) {
            self.commanded.push((device, ended));
        }
    }

    /// How the last command that a device may have carried out ended.
    fn ended(&self, device: DeviceId) -> Option<Ended> {
        let known = self.commanded.iter().find(|(commanded, _)| *commanded == device);
        known.map(|(_, ended)| *ended)
    }

    fn note_failure(
        &mut self,
        ground: &mut Ground<'_>,
        index: usize,
        device: DeviceId,
        cause: FrozenCause,
    ) {
        self.failed.resize(self.failed.len().max(index + 1), None);
        let Some(failed) = self.failed.get_mut(index) else { return };
        let (now, before) = (ground.now, *failed);
        let is_news = before
            .is_none_or(|before| before.told != cause && now >= before.told_at + TOLD_INTERVAL);
        let (told, told_at) = match before {
            Some(before) if !is_news => (before.told, before.told_at),
            Some(_) | None => (cause, now),
        };
        *failed = Some(Failure { cause, told, told_at });
        if is_news {
            let (node, level) = (ground.peer.node, level_number(index));
            let event = Event::FenceLevelFailed { node, level, device, cause };
            ground.out.push(Effect::Report(event));
        }
    }

    fn begin_level(&mut self, ground: &mut Ground<'_>, index: usize) -> Progress {
        let Some(level) = ground.peer.levels.get(index) else { return self.freeze(ground) };
        let (node, number) = (ground.peer.node, level_number(index));
        let cuts = level.cutters().next().is_some();
        ground.out.push(Effect::Report(Event::FenceLevel { node, level: number, cuts }));
        let first = !level.devices.iter().any(|device| self.told_before.contains(device));
        let climb = Climb::begin(ground, level, first, |device| self.ended(device));
        self.stage = Stage::First { index, climb };
        Progress::Working
    }

    /// All levels have failed once. Each is looked at again, by itself.
    fn freeze(&mut self, ground: &Ground<'_>) -> Progress {
        let until = ground.now + REST_FIRST;
        let watch = Watch { step: WatchStep::Rest { until }, refusals: 0 };
        self.stage = Stage::Frozen { watches: vec![watch; ground.peer.levels.len()] };
        self.exhausted(ground, true)
    }

    fn exhausted(&self, ground: &Ground<'_>, first: bool) -> Progress {
        let next = self.next_deadline();
        let retry_in = next.map_or(Duration::ZERO, |at| at.since(ground.now));
        Progress::Exhausted { cause: self.last_cause(), retry_in, first }
    }

    /// Looks at every level whose time has come.
    fn watch(&mut self, ground: &mut Ground<'_>) -> Progress {
        let Stage::Frozen { watches } = &mut self.stage else { return Progress::Working };
        let mut watches = core::mem::take(watches);
        let mut has_failed = false;
        let mut off = None;
        for (index, watch) in watches.iter_mut().enumerate() {
            match watch.advance(ground, index, |device| self.ended(device)) {
                None => {}
                Some(End::Off { is_cut }) => off = Some((index, is_cut)),
                Some(End::Again) => {}
                Some(End::Failed { device, cause, .. }) => {
                    has_failed = true;
                    self.note_failure(ground, index, device, cause);
                }
            }
        }
        self.stage = Stage::Frozen { watches };
        if let Some((index, is_cut)) = off {
            return self.succeed(ground, index, is_cut);
        }
        if has_failed && !self.is_under_way() {
            return self.exhausted(ground, false);
        }
        Progress::Working
    }
}

impl Watch {
    fn is_decisive(&self) -> bool {
        match &self.step {
            WatchStep::Rest { .. } => false,
            WatchStep::Climb(climb) => climb.is_decisive(),
        }
    }

    fn next_deadline(&self) -> Instant {
        match &self.step {
            WatchStep::Rest { until } => *until,
            WatchStep::Climb(climb) => climb.next_deadline(),
        }
    }

    fn cancel(&self, out: &mut Effects) {
        if let WatchStep::Climb(climb) = &self.step {
            climb.cancel(out);
        }
    }

    fn advance(
        &mut self,
        ground: &mut Ground<'_>,
        index: usize,
        before: impl Fn(DeviceId) -> Option<Ended>,
    ) -> Option<End> {
        let level = ground.peer.levels.get(index)?;
        match &mut self.step {
            WatchStep::Rest { until } => {
                if ground.may_judge && ground.now >= *until {
                    self.step = WatchStep::Climb(Climb::begin(ground, level, false, before));
                }
                None
            }
            WatchStep::Climb(climb) => {
                let end = climb.advance(ground)?;
                if end == End::Again {
                    self.step = WatchStep::Rest { until: ground.now };
                } else if let End::Failed { unanswered, .. } = end {
                    let until = if unanswered {
                        self.refusals = 0;
                        ground.now.max(climb.next_at())
                    } else {
                        let longer = REST_MIN.saturating_mul(1 << self.refusals.min(8));
                        self.refusals = self.refusals.saturating_add(1);
                        ground.now + longer.min(REST_MAX).max(level.pace)
                    };
                    self.step = WatchStep::Rest { until };
                }
                Some(end)
            }
        }
    }
}

impl Ground<'_> {
    pub(super) fn order(&mut self, device: DeviceId, order: Order, timeout: Duration) -> OpId {
        let op = self.ops.next();
        self.out.push(Effect::Power { op, device, order, timeout });
        if order == Order::Off {
            self.commanded.push(device);
        }
        op
    }

    /// An order within what is `left` of the level's timeout; none when nothing is.
    pub(super) fn order_in_time(
        &mut self,
        device: DeviceId,
        order: Order,
        left: Duration,
    ) -> Option<OpId> {
        (!left.is_zero()).then(|| self.order(device, order, left))
    }
}

fn level_number(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap_or(u8::MAX)
}
