//! The fence ladder of one peer: levels in order, and when to climb again.
//!
//! ```text
//!   delay ──► level 1 ──────► level 2 ──► … ──► rest (frozen) ──► level 1
//!                │ all devices read off            back-off, for ever
//!                ▼
//!              proof
//! ```
//!
//! How one device of a level is told and read is in [`super::attempt`]. A level may have witnesses,
//! which are only read. Where it has nothing else, nobody cuts the power, so nothing forbids the
//! host to be alive: its off counts only once all that has arrived was taken in, and only while no
//! VIP of the host answers.
//!
//! Where several devices make a level, each one's off is of another moment, and somebody may switch
//! an outlet on again meanwhile. So once all have read off, all but the last to do so are read
//! again: if they still read off, there was a moment, that of the last one's reading, at which all
//! were off, and the host lost its power then at the latest.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{Step, Try};
use super::devices::Doubt;
use super::effect::{Effect, Effects};
use super::event::{Event, FrozenCause};
use super::input::Order;
use super::settings::{Level, PeerSettings};
use crate::types::{DeviceId, FenceFault, Instant, NodeId, OpId, Power};

/// The first rest between two climbs of the ladder.
pub(super) const REST_MIN: Duration = Duration::from_millis(500);
/// The longest rest: each is twice the one before, up to this.
pub(super) const REST_MAX: Duration = Duration::from_secs(5);
/// How much longer than its level's timeout the engine waits for an answer of the shell, so that
/// the shell's own verdict, which knows the reason, comes first: every order is to be answered
/// within what is left of the timeout, and none is given when nothing is.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// Evidence that all devices of one level read off, after those that cut were told to.
#[derive(Debug)]
pub(super) struct LevelOff {
    node: NodeId,
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
    /// How many times all levels have failed.
    rounds: u32,
    /// Why the last level failed of those that were tried.
    cause: Option<FrozenCause>,
    /// Why each level failed when it last did: what repeats itself is told once.
    told: Vec<Option<FrozenCause>>,
    /// The devices that may have carried out a command of this climb, and how the last one ended.
    commanded: Vec<(DeviceId, Result<(), FenceFault>)>,
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
    Level {
        index: usize,
        tries: Vec<Try>,
        /// [`ANSWER_MARGIN`] after its timeout is over.
        deadline: Instant,
        /// The one of `tries` that was the last to read off.
        last_off: usize,
        /// Whether all read off, and all but that one are being read again.
        confirming: bool,
    },
    Rest {
        until: Instant,
    },
    Over,
}

/// Where a ladder stands after it was advanced.
#[derive(Debug)]
pub(super) enum Progress {
    /// Waiting for a delay, an answer or a rest.
    Working,
    /// A level has just proved the power off.
    Off(LevelOff),
    /// The last level has just failed: frozen.
    Exhausted {
        /// Why.
        cause: FrozenCause,
        /// Until the next round.
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
}

impl Ladder {
    /// A ladder that is climbed after `delay`.
    pub(super) fn new(now: Instant, delay: Duration) -> Self {
        Self {
            stage: Stage::Delay { until: now + delay },
            rounds: 0,
            cause: None,
            told: Vec::new(),
            commanded: Vec::new(),
        }
    }

    /// Why the last round failed; nothing while the first is under way.
    pub(super) fn frozen_cause(&self) -> Option<FrozenCause> {
        if self.rounds > 0 { self.cause } else { None }
    }

    /// Whether a command may have reached a device and has no verdict yet.
    pub(super) fn is_under_way(&self) -> bool {
        match self.stage {
            Stage::Level { .. } | Stage::Next { .. } => true,
            Stage::Delay { .. } | Stage::Rest { .. } | Stage::Over => false,
        }
    }

    /// Whether it goes on as soon as that may be judged.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match &self.stage {
            Stage::Next { .. } => true,
            Stage::Delay { until: at } | Stage::Rest { until: at } => now >= *at,
            Stage::Level { tries, deadline, .. } => {
                let looked = |t: &Try| matches!(t.step, Step::Looked);
                let off = |t: &Try| t.is_witness && matches!(t.step, Step::Off);
                now >= *deadline || tries.iter().any(looked) || tries.iter().all(off)
            }
            Stage::Over => false,
        }
    }

    /// When it wants to be advanced next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Delay { until } | Stage::Rest { until } => Some(*until),
            Stage::Level { tries, deadline, .. } => {
                let pauses = tries.iter().filter_map(|t| match t.step {
                    Step::Pausing { until } => Some(until),
                    Step::Looking { .. }
                    | Step::Looked
                    | Step::Commanding { .. }
                    | Step::Reading { .. }
                    | Step::Off
                    | Step::Failed => None,
                });
                Some(pauses.min().map_or(*deadline, |until| until.min(*deadline)))
            }
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
        let Stage::Level { tries, deadline, last_off, confirming, .. } = &mut self.stage else {
            return None;
        };
        let left = ground.left(*deadline);
        for (place, attempt) in tries.iter_mut().enumerate() {
            match attempt.step {
                Step::Looking { op: ours } if ours == op => {
                    attempt.note_look(ground, reading);
                    if matches!(attempt.step, Step::Off) {
                        *last_off = place;
                    }
                    return Some((attempt.device, true));
                }
                Step::Commanding { op: ours } if ours == op => {
                    attempt.note_command(ground, reading, left);
                    if let Some(ended @ (Ok(()) | Err(FenceFault::Timeout))) = attempt.command {
                        let device = attempt.device;
                        let known = self.commanded.iter_mut().find(|(known, _)| *known == device);
                        match known {
                            Some((_, before)) => *before = ended,
                            None => self.commanded.push((device, ended)),
                        }
                    }
                    return Some((attempt.device, matches!(attempt.step, Step::Failed)));
                }
                Step::Reading { op: ours } if ours == op => {
                    attempt.note_reading(ground, reading, left);
                    if !matches!(attempt.step, Step::Off) {
                        *confirming = false;
                    } else if !*confirming {
                        *last_off = place;
                    }
                    return Some((attempt.device, true));
                }
                Step::Looking { .. }
                | Step::Looked
                | Step::Commanding { .. }
                | Step::Reading { .. }
                | Step::Pausing { .. }
                | Step::Off
                | Step::Failed => {}
            }
        }
        None
    }

    /// Goes as far as it can at this moment.
    pub(super) fn advance(&mut self, ground: &mut Ground<'_>) -> Progress {
        match &mut self.stage {
            Stage::Over => Progress::Working,
            Stage::Delay { until } | Stage::Rest { until } => {
                if ground.may_judge && ground.now >= *until {
                    self.begin_level(ground, 0)
                } else {
                    Progress::Working
                }
            }
            Stage::Next { index } => {
                let index = *index;
                if ground.may_judge { self.begin_level(ground, index) } else { Progress::Working }
            }
            Stage::Level { index, tries, deadline, last_off, confirming } => {
                let (index, over) = (*index, ground.may_judge && ground.now >= *deadline);
                let left = ground.left(*deadline);
                for attempt in tries.iter_mut() {
                    attempt.advance(ground, left, over);
                }
                if tries.iter().all(|t| matches!(t.step, Step::Off)) {
                    if tries.len() == 1 || *confirming {
                        return self.conclude(ground);
                    }
                    *confirming = true;
                    let others = tries.iter_mut().enumerate();
                    for (_, attempt) in others.filter(|(place, _)| place != last_off) {
                        attempt.step = attempt.read(ground, left);
                    }
                }
                let failed = tries.iter().find(|t| matches!(t.step, Step::Failed));
                if failed.is_some_and(|t| t.is_its_hosts_again(ground)) {
                    self.stage = Stage::Next { index };
                    return self.advance(ground);
                }
                let Some((device, cause)) = failed.map(|t| (t.device, t.cause(ground))) else {
                    return Progress::Working;
                };
                self.give_up_level(ground, index, device, cause);
                self.stage = Stage::Next { index: index + 1 };
                self.advance(ground)
            }
        }
    }

    /// All devices of the level read off. Where nobody cut anything, they are read again as long as
    /// a VIP answers.
    fn conclude(&mut self, ground: &Ground<'_>) -> Progress {
        let Stage::Level { tries, deadline, confirming, .. } = &mut self.stage else {
            return Progress::Working;
        };
        let is_cut = !tries.iter().all(|t| t.is_witness);
        if !is_cut && !ground.may_judge {
            return Progress::Working;
        }
        if !is_cut && ground.answers {
            let left = ground.left(*deadline);
            tries.iter_mut().for_each(|attempt| attempt.pause(ground.now, left));
            *confirming = false;
            return Progress::Working;
        }
        self.stage = Stage::Over;
        Progress::Off(LevelOff { node: ground.peer.node, is_cut })
    }

    /// Gives up every answer that is still open.
    pub(super) fn cancel(&mut self, out: &mut Effects) {
        if let Stage::Level { tries, .. } = &self.stage {
            for attempt in tries {
                attempt.cancel(out);
            }
        }
        self.stage = Stage::Over;
    }

    fn give_up_level(
        &mut self,
        ground: &mut Ground<'_>,
        index: usize,
        device: DeviceId,
        cause: FrozenCause,
    ) {
        self.cancel(ground.out);
        self.cause = Some(cause);
        self.told.resize(self.told.len().max(index + 1), None);
        let told = self.told.get_mut(index).and_then(|told| told.replace(cause));
        if told != Some(cause) {
            ground.out.push(Effect::Report(Event::FenceLevelFailed {
                node: ground.peer.node,
                level: level_number(index),
                device,
                cause,
            }));
        }
    }

    fn begin_level(&mut self, ground: &mut Ground<'_>, index: usize) -> Progress {
        let Some(level) = ground.peer.levels.get(index) else { return self.rest(ground) };
        let cuts = level.devices.iter().any(|device| !level.witnesses.contains(device));
        let vain = in_vain(ground, level, cuts);
        if let Some((device, Doubt::Stray(_))) = vain {
            let deadline = ground.now + (level.timeout + ANSWER_MARGIN);
            let tries = vec![Try::ask(ground, device, level.timeout)];
            self.stage = Stage::Level { index, tries, deadline, last_off: 0, confirming: false };
            return Progress::Working;
        }
        if let Some((device, cause)) = vain.map(|(device, doubt)| (device, doubt.cause())) {
            self.give_up_level(ground, index, device, cause);
            let index = index + 1;
            self.stage = Stage::Next { index };
            return self.advance(ground);
        }
        let first = self.rounds == 0;
        if first {
            ground.out.push(Effect::Report(Event::FenceLevel {
                node: ground.peer.node,
                level: level_number(index),
                cuts,
            }));
        }
        let commanded = &self.commanded;
        let tries = level.devices.iter().map(|device| {
            if level.witnesses.contains(device) {
                return Try::watch(ground, *device, level.timeout, first, cuts);
            }
            let commanded = commanded.iter().find(|(commanded, _)| commanded == device);
            let before = commanded.map(|(_, ended)| *ended);
            Try::begin(ground, *device, level.timeout, first, before)
        });
        let tries = tries.collect();
        let deadline = ground.now + level.timeout + ANSWER_MARGIN;
        self.stage = Stage::Level { index, tries, deadline, last_off: 0, confirming: false };
        Progress::Working
    }

    fn rest(&mut self, ground: &Ground<'_>) -> Progress {
        let cause = self.cause.unwrap_or(FrozenCause::NoDevice);
        let doublings = self.rounds.min(8);
        let retry_in = REST_MIN.saturating_mul(1 << doublings).min(REST_MAX);
        self.rounds = self.rounds.saturating_add(1);
        self.cause = Some(cause);
        self.stage = Stage::Rest { until: ground.now + retry_in };
        Progress::Exhausted { cause, retry_in, first: self.rounds == 1 }
    }
}

impl Ground<'_> {
    pub(super) fn order(&mut self, device: DeviceId, order: Order, timeout: Duration) -> OpId {
        let op = self.ops.next();
        self.out.push(Effect::Power { op, device, order, timeout });
        op
    }

    /// What is left of a level's timeout.
    fn left(&self, deadline: Instant) -> Duration {
        deadline.since(self.now).saturating_sub(ANSWER_MARGIN)
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

/// For which device, and why, those of a level would be told in vain: one that is not the host's;
/// or a witness beside those that cut that proves nothing, and does not begin to as long as the
/// host is not heard.
fn in_vain(ground: &Ground<'_>, level: &Level, cuts: bool) -> Option<(DeviceId, Doubt)> {
    let mut doubted = level.devices.iter().filter_map(|id| Some((*id, (ground.doubt)(*id)?)));
    let forbids = |id: &DeviceId, doubt: &Doubt| {
        matches!(doubt, Doubt::Stray(_)) || (cuts && level.witnesses.contains(id))
    };
    doubted.find(|(id, doubt)| forbids(id, doubt))
}

fn level_number(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap_or(u8::MAX)
}
