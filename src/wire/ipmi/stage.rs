//! Where an order stands: its stage, the command on its way, what was heard so far.
//!
//! The states of the diagram in [`super::client`] with what each of them needs; no transition.

use core::time::Duration;

use super::facts::SuiteList;
use super::handshake::{Challenge, Offer, Proof};
use super::message::{Command, Response};
use super::packet::Packet;
use super::refusal::{self, NotDone};
use super::session::Session;
use super::tries::{TRIES_MAX, Tries, WAIT_MAX, WAIT_MIN};
use crate::types::{FenceFault, Instant, Power};

/// How many times as long as its slowest answer so far a BMC is given before it is asked again.
pub(super) const SLOWNESS: u32 = 3;

/// What to do with the power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Cut it. Acknowledged is [`Power::Unknown`]: only a reading proves it.
    Off,
    /// Restore it. Acknowledged is [`Power::Unknown`].
    On,
    /// Tell it. Needs the same privilege as switching, so that it shows whether switching would be
    /// allowed.
    Read,
}

/// What the client is about.
pub(super) enum Phase {
    Idle,
    Working(Task, Stage),
    /// The session is kept for the next order; meanwhile the BMC is asked about itself.
    Kept(Session, Option<Asked>),
    /// The order has its outcome; the session is still to be closed.
    Closing(Session, Asked),
}

/// The order and what became of it so far.
pub(super) struct Task {
    pub(super) order: Order,
    pub(super) deadline: Instant,
    pub(super) heard: Heard,
    /// Why it is not done yet, if the BMC said so.
    pub(super) fault: Option<FenceFault>,
    /// The wait before a repetition, as the BMC's answers suggest.
    pub(super) wait: Duration,
    /// Whether it is carried out in a session that was kept: it ends with that session.
    pub(super) kept: bool,
}

/// The best that came from the BMC's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Heard {
    Nothing,
    Garbled,
    Answer,
}

/// Which answer an order waits for.
pub(super) enum Stage {
    /// The list of cipher suites, as far as it came, asked with this sequence number.
    Listing(SuiteList, u8, Tries),
    /// The open response.
    Opening(Offer, Tries),
    /// RAKP message 2.
    Proving(Challenge, Tries),
    /// RAKP message 4, after RAKP message 3 was sent once.
    Confirming(Proof, Tries),
    /// The response to a command.
    Asking(Session, Asked),
}

/// A command on its way.
pub(super) struct Asked {
    pub(super) command: Command,
    pub(super) seq: u8,
    pub(super) tries: Tries,
    /// What goes ahead of each repetition, as long as the BMC has not said that the session is
    /// open: one that took RAKP message 3, and whose word was lost, answers no other, but it
    /// answers a command; and what it signs then says more than RAKP message 4.
    pub(super) unconfirmed: Option<Proof>,
    /// The newest that had come from the BMC when it was first sent: what is not newer answers
    /// something else, however well it fits.
    pub(super) after: u32,
}

impl Task {
    pub(super) fn new(order: Order, deadline: Instant) -> Self {
        let (heard, fault, wait) = (Heard::Nothing, None, WAIT_MIN);
        Self { order, deadline, heard, fault, wait, kept: false }
    }

    /// An order for a session that is kept, whose BMC answers within `wait`.
    pub(super) fn in_kept(order: Order, deadline: Instant, wait: Duration) -> Self {
        Self { wait, kept: true, ..Self::new(order, deadline) }
    }

    /// The sendings of a command that is due at `at`.
    pub(super) fn tries(&self, at: Instant) -> Tries {
        if self.kept { Tries::kept(at, self.wait) } else { Tries::new(at, self.wait, TRIES_MAX) }
    }

    pub(super) fn hear(&mut self, heard: Heard) {
        self.heard = self.heard.max(heard);
    }

    /// An answer came `since` after its request: learns how patient to be.
    pub(super) fn learn(&mut self, since: Duration) {
        self.hear(Heard::Answer);
        self.wait = self.wait.max(since.saturating_mul(SLOWNESS)).min(WAIT_MAX);
    }

    /// The fault to report when the deadline comes.
    pub(super) fn verdict(&self) -> FenceFault {
        self.fault.unwrap_or(match self.heard {
            Heard::Nothing => FenceFault::Unreachable,
            Heard::Garbled => FenceFault::Garbled,
            Heard::Answer => FenceFault::Timeout,
        })
    }

    /// The command that carries the order out.
    pub(super) fn command(&self) -> Command {
        match self.order {
            Order::Off => Command::PowerDown,
            Order::On => Command::PowerUp,
            Order::Read => Command::ReadPower,
        }
    }
}

impl Asked {
    /// Whether `response`, which came in `packet`, answers it as it was sent.
    pub(super) fn is_answered_by(&self, packet: &Packet<'_>, response: &Response<'_>) -> bool {
        packet.sequence > self.after && self.command.is_answered_by(self.seq, response)
    }

    /// Whether the answer to a Close Session says all that it ever will. A BMC without time for
    /// it is asked again.
    pub(super) fn closes_with(&self, answer: &Response<'_>) -> bool {
        self.command.is_answered_by(self.seq, answer)
            && match refusal::of_completion(self.command, answer.completion) {
                NotDone::AskLater(_) => false,
                NotDone::GiveUp(_) | NotDone::AskAnew | NotDone::ReadPower => true,
            }
    }
}

impl Stage {
    pub(super) fn tries(&self) -> &Tries {
        match self {
            Self::Listing(_, _, tries)
            | Self::Opening(_, tries)
            | Self::Proving(_, tries)
            | Self::Confirming(_, tries) => tries,
            Self::Asking(_, asked) => &asked.tries,
        }
    }

    /// The session that the BMC may have open. Once RAKP message 3 is sent it may, heard or not.
    pub(super) fn into_session(self) -> Option<Session> {
        match self {
            Self::Listing(..) | Self::Opening(..) | Self::Proving(..) => None,
            Self::Confirming(proof, _) => Some(proof.into_session()),
            Self::Asking(session, _) => Some(session),
        }
    }
}

/// What a reading says about `order`. After a command that was refused in the present state, the
/// reading decides whether the order was carried out already.
pub(super) fn judge(order: Order, reading: Option<Power>) -> Result<Power, FenceFault> {
    match (order, reading) {
        (_, None) => Err(FenceFault::Garbled),
        (Order::Off, Some(Power::On)) | (Order::On, Some(Power::Off)) => Err(FenceFault::Refused),
        (Order::Off | Order::On | Order::Read, Some(power)) => Ok(power),
    }
}
