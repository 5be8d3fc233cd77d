//! All that the engine can ask for, in order and bounded.

use core::time::Duration;
use std::collections::VecDeque;

use super::event::Event;
use super::input::{Order, RequestId};
use super::settings::{Mark, Record};
use crate::types::{DeviceId, Heartbeat, OpId, Term, VipId};

/// One thing to carry out. The shell carries effects out in order; an effect with an [`OpId`] gets
/// exactly one answer, [`super::Input::Done`] (or [`super::Input::Reading`] for
/// [`Effect::Power`]), also when it fails or is overtaken.
#[allow(clippy::large_enum_variant, reason = "most are heartbeats, and none shall allocate")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send this heartbeat on its link to its addressee. May be lost; is not answered.
    Send(Heartbeat),
    /// Ask the service networks who has the VIPs, now, once. Answered with
    /// [`super::Input::Probed`] before the next input is given to the engine; what the networks
    /// say comes as [`super::Input::Claim`].
    Probe,
    /// Ask the kernels of all peers for their link addresses, on every link that has such, now,
    /// once. Answered with [`super::Input::KernelsAsked`] before the next input is given to the
    /// engine; what they say comes as [`super::Input::KernelAnswered`].
    AskKernels,
    /// Put every VIP on its NIC and announce it. Confirmed when all are up and were announced once.
    /// Refused when one cannot be had; those that were added may still be there.
    Acquire {
        /// For the answer.
        op: OpId,
        /// The term for which they are taken.
        term: Term,
    },
    /// Take every VIP off every link. Confirmed when none is left. Overtakes a running
    /// [`Effect::Acquire`], which is then answered with `Unknown` first.
    Release {
        /// For the answer.
        op: OpId,
    },
    /// Announce all held VIPs again, with repetitions.
    Announce,
    /// Put one VIP back that vanished, and announce it.
    Restore {
        /// For the answer.
        op: OpId,
        /// The VIP.
        vip: VipId,
    },
    /// Write the boot-local mark. Answered before the next input is given to the engine.
    Mark {
        /// For the answer.
        op: OpId,
        /// What to write.
        mark: Mark,
    },
    /// Write the record to disk, behind the loop. A later one may overtake one not yet begun, which
    /// is then answered with the later one's outcome.
    Store {
        /// For the answer.
        op: OpId,
        /// What to write.
        record: Record,
    },
    /// Have a fence device do or tell something.
    Power {
        /// For the answer.
        op: OpId,
        /// The device.
        device: DeviceId,
        /// What.
        order: Order,
        /// When the shell must have answered, counted from now.
        timeout: Duration,
    },
    /// Give up the answer to a [`Effect::Power`]: the shell may stop working on it, and answers it
    /// with [`crate::types::FenceFault::Cancelled`] if it has not answered yet.
    Cancel {
        /// Of the effect that is given up.
        op: OpId,
    },
    /// The answer to an operator's request.
    Answer {
        /// Which request.
        request: RequestId,
        /// What was decided, and why.
        answer: Answer,
    },
    /// Something that people and programs want to know.
    Report(Event),
    /// All is given up and said: end the process. The last effect of its step.
    Exit,
}

/// The answer to an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is done.
    Accepted,
    /// It is not done: nothing needs that word now, or something contradicts it.
    Denied(Denial),
}

/// Why an operator's `confirm-off` was denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// There is no such peer in the configuration.
    NotAPeer,
    /// The node is heard: it is alive. Not to be forced.
    Heard,
    /// This node holds the resources, or the peer's proof is already there: no word is needed.
    NotNeeded,
    /// The peer's addresses answer on a service network. To be forced.
    Answers,
    /// Whether they answer is not known yet. To be forced.
    NotLooked,
    /// Whether they answer cannot be known: this node's own service path is bad. To be forced.
    PathBad,
    /// A fence device of the peer last read on. To be forced.
    ReadsOn(DeviceId),
}

/// The effects of one step: a buffer that the shell keeps and empties after each step.
#[derive(Debug)]
pub struct Effects {
    list: VecDeque<Effect>,
}

impl Effects {
    /// The most effects of one step: heartbeats to every peer on every link twice over, orders to
    /// every device, and reports. More is a broken invariant.
    pub const MAX: usize = 1024;
    /// Room for a usual step, so that none allocates.
    const ROOM: usize = 64;

    /// An empty buffer with room for a usual step.
    pub fn new() -> Self {
        Self { list: VecDeque::with_capacity(Self::ROOM) }
    }

    /// An empty buffer without any room yet.
    pub const fn empty() -> Self {
        Self { list: VecDeque::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds an effect behind the others.
    pub(super) fn push(&mut self, effect: Effect) {
        assert!(self.list.len() < Self::MAX, "a step made more than Effects::MAX effects");
        self.list.push_back(effect);
    }

    /// Takes the next effect out.
    pub fn take_next(&mut self) -> Option<Effect> {
        self.list.pop_front()
    }

    /// Takes all effects out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.list.drain(..)
    }

    /// All effects, in order; they stay.
    pub fn iter(&self) -> impl Iterator<Item = &Effect> {
        self.list.iter()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Default for Effects {
    fn default() -> Self {
        Self::new()
    }
}
