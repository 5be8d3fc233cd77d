//! Powering a fenced node on again, where `after-fence` says so.
//!
//! ```text
//!   proof by a fence, used ──► waiting ──► switching: on command ──► read ──► on
//!                                │ active      ▲ │ fault, or not on in time
//!                                │             │ ▼
//!                                └────────► resting      at most TRIES_MAX times
//! ```
//!
//! Nothing waits for it, and nothing follows from it: it begins when the takeover is complete, it
//! is the holder's alone, and it ends when the node is heard. The devices are those of the level
//! that cut the power, all of them. A node whose proof was its own word or an operator's was not
//! cut by anybody here, and is left alone. So is one that was not heard since this daemon began: of
//! two that never hear each other each would be cut and powered on by the other, again and again.
//!
//! It cannot undo the proof: that was the moment without power, after which the node holds nothing
//! whatever becomes of it; it boots, and asks like everybody else.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::climb::ANSWER_MARGIN;
use super::devices::Devices;
use super::effect::{Effect, Effects};
use super::event::Event;
use super::fence::Ops;
use super::input::Order;
use super::node::Node;
use super::peer::Peer;
use super::proof::Proofs;
use super::role::Role;
use super::settings::Level;
use crate::types::{DeviceId, FenceFault, Instant, NodeId, OpId, Power};

/// How often it is tried.
pub const TRIES_MAX: u32 = 5;
/// The rest after an attempt that failed; each is twice the one before.
const REST: Duration = Duration::from_secs(5);
/// Between two readings of a device that acknowledged the command.
const READ_PAUSE: Duration = Duration::from_millis(500);

/// A node that is to be powered on again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PowerOn {
    /// The level that cut its power.
    level: usize,
    /// How many attempts have begun.
    begun: u32,
    stage: Stage,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    /// The takeover is not complete.
    Waiting,
    Resting {
        until: Instant,
    },
    Switching {
        switches: Vec<Switch>,
        /// [`ANSWER_MARGIN`] after the level's timeout.
        deadline: Instant,
    },
}

/// One device of the level.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Switch {
    device: DeviceId,
    step: Step,
    /// What it said last.
    said: Option<Result<Power, FenceFault>>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Step {
    Commanding { op: OpId },
    Reading { op: OpId },
    Pausing { until: Instant },
    On,
    Failed,
}

/// What a power-on needs from around it.
struct Ground<'a> {
    now: Instant,
    ops: &'a mut Ops,
    out: &'a mut Effects,
}

impl Ground<'_> {
    fn order(&mut self, device: DeviceId, order: Order, deadline: Instant) -> Option<OpId> {
        let left = deadline.since(self.now).saturating_sub(ANSWER_MARGIN);
        if left.is_zero() {
            return None;
        }
        let op = self.ops.next();
        self.out.push(Effect::Power { op, device, order, timeout: left });
        Some(op)
    }
}

impl Switch {
    fn is_waiting_for(&self, op: OpId) -> bool {
        match self.step {
            Step::Commanding { op: ours } | Step::Reading { op: ours } => ours == op,
            Step::Pausing { .. } | Step::On | Step::Failed => false,
        }
    }

    fn note(
        &mut self,
        ground: &mut Ground<'_>,
        reading: Result<Power, FenceFault>,
        deadline: Instant,
    ) {
        self.said = Some(reading);
        self.step = match (self.step, reading) {
            (Step::Reading { .. }, Ok(Power::On)) => Step::On,
            // That it was not understood, or took its time, does not say that it was not done.
            (Step::Commanding { .. }, Ok(_) | Err(FenceFault::Timeout | FenceFault::Garbled)) => {
                self.read(ground, deadline)
            }
            (Step::Reading { .. }, Ok(_) | Err(FenceFault::Timeout | FenceFault::Garbled)) => {
                Step::Pausing { until: ground.now + READ_PAUSE }
            }
            (_, Ok(_) | Err(_)) => Step::Failed,
        };
    }

    fn read(&self, ground: &mut Ground<'_>, deadline: Instant) -> Step {
        let op = ground.order(self.device, Order::Read, deadline);
        op.map_or(Step::Failed, |op| Step::Reading { op })
    }

    fn advance(&mut self, ground: &mut Ground<'_>, deadline: Instant) {
        if let Step::Pausing { until } = self.step
            && ground.now >= until
        {
            self.step = self.read(ground, deadline);
        }
        if ground.now >= deadline && !matches!(self.step, Step::On | Step::Failed) {
            self.cancel(ground.out);
            self.step = Step::Failed;
        }
    }

    fn cancel(&self, out: &mut Effects) {
        match self.step {
            Step::Commanding { op } | Step::Reading { op } => out.push(Effect::Cancel { op }),
            Step::Pausing { .. } | Step::On | Step::Failed => {}
        }
    }
}

impl PowerOn {
    fn new(level: usize) -> Self {
        Self { level, begun: 0, stage: Stage::Waiting }
    }

    fn begin(&mut self, ground: &mut Ground<'_>, level: &Level) {
        self.begun = self.begun.saturating_add(1);
        let deadline = ground.now + level.timeout + ANSWER_MARGIN;
        let switches = level.cutters().map(|device| {
            let op = ground.order(device, Order::On, deadline);
            let step = op.map_or(Step::Failed, |op| Step::Commanding { op });
            Switch { device, step, said: None }
        });
        self.stage = Stage::Switching { switches: switches.collect(), deadline };
    }

    /// When it wants to be advanced, once the takeover is complete.
    fn next_deadline(&self, now: Instant) -> Instant {
        match &self.stage {
            Stage::Waiting => now,
            Stage::Resting { until } => *until,
            Stage::Switching { switches, deadline } => {
                let pauses = switches.iter().filter_map(|switch| match switch.step {
                    Step::Pausing { until } => Some(until),
                    Step::Commanding { .. } | Step::Reading { .. } | Step::On | Step::Failed => {
                        None
                    }
                });
                pauses.min().map_or(*deadline, |until| until.min(*deadline))
            }
        }
    }

    fn cancel(&self, out: &mut Effects) {
        if let Stage::Switching { switches, .. } = &self.stage {
            switches.iter().for_each(|switch| switch.cancel(out));
        }
    }

    /// Goes as far as it can; whether it has come to its end.
    fn advance(&mut self, ground: &mut Ground<'_>, node: NodeId, levels: &[Level]) -> bool {
        let Some(level) = levels.get(self.level) else { return true };
        match &mut self.stage {
            Stage::Waiting => {
                let number = u8::try_from(self.level + 1).unwrap_or(u8::MAX);
                let event = Event::PowerOn { node, level: number };
                ground.out.push(Effect::Report(event));
                self.begin(ground, level);
                false
            }
            Stage::Resting { until } => {
                if ground.now >= *until {
                    self.begin(ground, level);
                }
                false
            }
            Stage::Switching { switches, deadline } => {
                let deadline = *deadline;
                switches.iter_mut().for_each(|switch| switch.advance(ground, deadline));
                let failed = switches.iter().find(|switch| matches!(switch.step, Step::Failed));
                if let Some(Switch { device, said, .. }) = failed.copied() {
                    return self.fail(ground, node, device, said);
                }
                if switches.iter().all(|switch| matches!(switch.step, Step::On)) {
                    ground.out.push(Effect::Report(Event::PoweredOn { node }));
                    return true;
                }
                false
            }
        }
    }

    fn fail(
        &mut self,
        ground: &mut Ground<'_>,
        node: NodeId,
        device: DeviceId,
        said: Option<Result<Power, FenceFault>>,
    ) -> bool {
        self.cancel(ground.out);
        let rest = REST.saturating_mul(1 << self.begun.saturating_sub(1).min(8));
        let retry_in = (self.begun < TRIES_MAX).then_some(rest);
        let reading = said.unwrap_or(Err(FenceFault::Timeout));
        ground.out.push(Effect::Report(Event::PowerOnFailed { node, device, reading, retry_in }));
        self.stage = Stage::Resting { until: ground.now + rest };
        retry_in.is_none()
    }
}

impl Node {
    /// A takeover begins with these proofs: who was fenced for it is powered on again after it.
    pub(super) fn note_fenced(&mut self, proofs: &Proofs) {
        for peer in &mut self.peers {
            let is_known = peer.was_heard();
            let is_fenced = |_: &usize| is_known && proofs.is_fenced(peer.settings.node);
            let level = peer.fenced_at.take().filter(is_fenced);
            peer.power_on = level.map(PowerOn::new);
        }
    }

    /// Whether a node may be powered on by this one now: it holds everything, and knows it.
    fn may_power_on(&self) -> bool {
        matches!(self.role.get(), Role::Active { doubt_until: None, .. }) && !self.stopping
    }

    /// Gives up what has become needless, and goes on with the rest.
    pub(super) fn tend_powers(&mut self, out: &mut Effects) {
        if self.peers.iter().all(|peer| peer.power_on.is_none()) {
            return;
        }
        let holds = self.state().may_hold() && !self.stopping;
        let may_go_on = self.may_power_on() && self.may_judge;
        for peer in &mut self.peers {
            let needless = !holds || peer.is_heard();
            if let Some(power_on) = peer.power_on.take_if(|_| needless) {
                power_on.cancel(out);
            }
            let Some(power_on) = peer.power_on.as_mut().filter(|_| may_go_on) else { continue };
            let mut ground = Ground { now: self.now, ops: &mut self.ops, out };
            if power_on.advance(&mut ground, peer.settings.node, &peer.settings.levels) {
                peer.power_on = None;
            }
        }
    }

    /// Takes in the answer to an order of a power-on; whether it was one.
    pub(super) fn power_on_reading(
        &mut self,
        op: OpId,
        reading: Result<Power, FenceFault>,
        out: &mut Effects,
    ) -> bool {
        let now = self.now;
        for peer in &mut self.peers {
            let Some(power_on) = peer.power_on.as_mut() else { continue };
            let Stage::Switching { switches, deadline } = &mut power_on.stage else { continue };
            let Some(switch) = switches.iter_mut().find(|switch| switch.is_waiting_for(op)) else {
                continue;
            };
            note_device(&mut self.devices, switch, reading, now);
            let mut ground = Ground { now, ops: &mut self.ops, out };
            switch.note(&mut ground, reading, *deadline);
            // What follows from it is for the next tick.
            self.tick_wanted = true;
            return true;
        }
        false
    }

    /// When a power-on wants a tick.
    pub(super) fn power_on_deadline(&self) -> Option<Instant> {
        if !self.may_power_on() {
            return None;
        }
        let next = |peer: &Peer| Some(peer.power_on.as_ref()?.next_deadline(self.now));
        self.peers.iter().filter_map(next).min()
    }
}

/// What a device read is known of it. That it gave no reading is for the checks to tell: an order
/// at the end of an attempt has little time.
fn note_device(
    devices: &mut Devices,
    switch: &Switch,
    reading: Result<Power, FenceFault>,
    now: Instant,
) {
    if matches!(switch.step, Step::Reading { .. }) && reading.is_ok() {
        devices.note_fence(switch.device, reading, now);
    }
}
