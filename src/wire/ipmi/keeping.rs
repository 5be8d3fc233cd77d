//! The session that a client keeps between two orders: the next one is a single packet then.
//!
//! One part of [`super::client`]. It decides neither how long a session is kept nor when it is
//! asked whether it still lives: that is an order like any other, given by whoever has the clock.
//! While nothing else is to be done the BMC is asked about itself, question by question; an order
//! never waits for such an answer.

use core::time::Duration;

use super::client::Client;
use super::facts::{Facts, Interview};
use super::message::Response;
use super::packet::{self, Packet};
use super::session::Session;
use super::stage::{Asked, Order, Phase, SLOWNESS, Stage, Task};
use super::tries::{Tries, WAIT_MIN};
use crate::types::Instant;

/// The most sendings of a question that nobody waits for.
const TRIES_QUESTION_MAX: u8 = 3;
/// The shortest and the longest time after which a kept session that has not answered is suspected.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
const PATIENCE_MAX: Duration = Duration::from_secs(1);

impl Client {
    /// From now on a session is kept when its order was answered.
    #[must_use]
    pub fn keeping(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// The BMC is asked which cipher suites it knows before the first session is opened: for
    /// orders that are in no hurry. What it lists is tried first.
    #[must_use]
    pub fn listing(mut self) -> Self {
        self.lists = true;
        self
    }

    /// Whether there is an open session without an order.
    pub fn is_kept(&self) -> bool {
        matches!(self.phase, Phase::Kept(..))
    }

    /// Closes the session that is kept; gives up the order there may be.
    pub fn close(&mut self, now: Instant) {
        self.keeps = false;
        self.cancel(now);
        self.phase = match self.take_phase() {
            Phase::Kept(session, _) => self.close_session(now, session),
            phase @ (Phase::Idle | Phase::Working(..) | Phase::Closing(..)) => phase,
        };
    }

    /// For how long an order in the kept session may go without an answer until another session is
    /// worth opening.
    pub fn patience(&self) -> Duration {
        self.slowest.saturating_mul(SLOWNESS).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// Whether the order in the kept session has gone unanswered for longer than that.
    pub fn is_suspect(&self, now: Instant) -> bool {
        match &self.phase {
            Phase::Working(task, Stage::Asking(_, asked)) if task.kept => {
                let sent_at = asked.tries.first_sent_at();
                sent_at.is_some_and(|at| now.since(at) >= self.patience())
            }
            Phase::Working(..) | Phase::Idle | Phase::Kept(..) | Phase::Closing(..) => false,
        }
    }

    /// What the BMC said of itself in a session, once it was asked everything.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn ask_in_kept(
        &mut self,
        now: Instant,
        order: Order,
        deadline: Instant,
        session: Session,
    ) -> Phase {
        let wait = self.slowest.saturating_mul(SLOWNESS);
        let task = Task::in_kept(order, deadline, wait);
        let command = task.command();
        self.ask(now, task, session, command, now)
    }

    /// An answer came `since` after its only request. A BMC that was slow once is soon forgiven.
    pub(super) fn learn(&mut self, since: Duration) {
        self.slowest = since.max(self.slowest / 4 * 3);
    }

    /// The order was answered: the session waits for the next.
    pub(super) fn keep_session(&mut self, now: Instant, mut session: Session) -> Phase {
        let asked = self.ask_question(now, &mut session);
        Phase::Kept(session, asked)
    }

    pub(super) fn repeat_question(
        &mut self,
        now: Instant,
        mut session: Session,
        mut asked: Asked,
    ) -> Phase {
        if asked.tries.is_exhausted() {
            self.interview.skip();
            return self.keep_session(now, session);
        }
        self.send_command(now, &mut session, &mut asked);
        Phase::Kept(session, Some(asked))
    }

    pub(super) fn hear_in_kept(
        &mut self,
        now: Instant,
        mut session: Session,
        asked: Option<Asked>,
        packet: Option<&Packet<'_>>,
        datagram: &[u8],
    ) -> Phase {
        let message = packet.and_then(|packet| session.open(packet));
        let response = match packet {
            Some(_) => message.as_deref().and_then(Response::parse),
            None => packet::parse_bare(datagram).and_then(Response::parse),
        };
        let is_answer = |answer: &Response<'_>| match (&asked, packet) {
            (Some(asked), Some(packet)) => asked.is_answered_by(packet, answer),
            (Some(Asked { command, seq, .. }), None) => {
                command.is_bare() && command.is_answered_by(*seq, answer)
            }
            (None, _) => false,
        };
        let Some(response) = response.filter(is_answer) else {
            return Phase::Kept(session, asked);
        };
        if response.completion == 0 {
            self.interview.note(&response);
        } else {
            self.interview.skip();
        }
        self.keep_session(now, session)
    }

    /// The next question, sent; nothing when all is asked.
    fn ask_question(&mut self, now: Instant, session: &mut Session) -> Option<Asked> {
        let Some(command) = self.interview.question() else {
            self.facts.clone_from(&self.interview.facts);
            self.facts.system_guid = self.facts.system_guid.or(self.guid);
            return None;
        };
        let tries = Tries::new(now, WAIT_MIN, TRIES_QUESTION_MAX);
        let mut asked = self.prepare(command, tries, session.newest());
        self.send_command(now, session, &mut asked);
        Some(asked)
    }

    /// Another session has been opened: its BMC is asked anew.
    pub(super) fn forget_answers(&mut self) {
        self.interview = Interview::default();
    }
}
