//! The client's state machine: one order at a time, from opening a session to closing it.
//!
//! It repeats, starts over and changes the cipher suite inside the order's deadline. What makes a
//! session and what bytes it is made of is next door; `opening` and `keeping` have the other parts
//! of this machine.
//!
//! ```text
//!          begin                                                          outcome
//! Idle ───► Opening ─► Proving ─► Confirming ─► Asking(privilege, order) ───┬──► Closing ─► Idle
//!              ▲  │        │           │           │                         │
//!              └──┴────────┴───────────┴───────────┘ unanswered, session lost│
//!                 any of them: deadline, refusal, cancel ────────────────────┘ (or Idle)
//!
//!               begin                      answered
//! Kept(session) ─────► Asking(order alone) ────────► Kept      a client that keeps its session
//!       │                    │ unanswered, refused, deadline: the session is suspected
//!       └──── close ─────────┴────────────────────► Closing ─► Idle
//! ```
//!
//! The outcome is there before the session is closed: closing costs no time that anybody waits for.
//! An order in a kept session ends with it: whoever wants it carried out all the same begins it
//! anew with another client, which shows whether it was the session or the BMC.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use super::crypto::{CipherSuite, Entropy};
use super::facts::{Facts, Interview};
use super::handshake::Login;
use super::message::{Command, Response, SEQ_MAX};
use super::packet::{self, Kind, Packet};
use super::rakp::PRIVILEGE_OPERATOR;
use super::refusal::{self, NotDone};
use super::session::Session;
use super::stage::{Asked, Heard, Order, Phase, Stage, Task, judge};
use super::tries::{self, Tries, WAIT_MIN};
use crate::types::{FenceFault, Instant, Owner, Power};

/// The pause before a BMC is asked again that had no time or room, or lost our session.
pub(super) const LATER_PAUSE: Duration = Duration::from_millis(250);
/// How many goodbyes are sent to a session that is given up without waiting for an answer.
const GOODBYES_MAX: u8 = 2;
/// The most sendings of a Close Session whose answer is waited for.
const TRIES_CLOSE_MAX: u8 = 4;
/// The most datagrams waiting to be taken; each call makes less, and the caller takes all.
const TRANSMITS_MAX: usize = 16;
/// A client of one BMC.
pub struct Client {
    pub(super) login: Login,
    /// The suites not refused yet; the first is used next.
    pub(super) suites: VecDeque<CipherSuite>,
    pub(super) entropy: Entropy,
    next_tag: u8,
    next_seq: u8,
    pub(super) phase: Phase,
    transmits: VecDeque<Vec<u8>>,
    outcome: Option<Result<Power, FenceFault>>,
    agreed: Option<CipherSuite>,
    pub(super) guid: Option<[u8; 16]>,
    /// Whose BMC it must be to be told to switch.
    pub(super) owner: Owner,
    /// Whether a session is kept when its order was answered.
    pub(super) keeps: bool,
    /// Whether the BMC is asked for its cipher suites before a session.
    pub(super) lists: bool,
    /// The slowest answer of late.
    pub(super) slowest: Duration,
    pub(super) interview: Interview,
    pub(super) facts: Facts,
}

impl fmt::Debug for Client {
    /// Shows no keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match &self.phase {
            Phase::Idle => "idle",
            Phase::Working(_, Stage::Listing(..)) => "listing",
            Phase::Working(_, Stage::Opening(..)) => "opening",
            Phase::Working(_, Stage::Proving(..)) => "proving",
            Phase::Working(_, Stage::Confirming(..)) => "confirming",
            Phase::Working(_, Stage::Asking(..)) => "asking",
            Phase::Kept(..) => "kept",
            Phase::Closing(..) => "closing",
        };
        f.debug_struct("Client").field("doing", &doing).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that opens sessions as `login` with the first of `suites` that the BMC takes. All
    /// random numbers come from `seed`, which the caller draws anew for each client.
    pub fn new(login: Login, suites: &[CipherSuite], seed: &[u8; 32]) -> Self {
        Self {
            login,
            suites: suites.iter().copied().collect(),
            entropy: Entropy::new(seed),
            next_tag: 0,
            next_seq: 0,
            phase: Phase::Idle,
            transmits: VecDeque::new(),
            outcome: None,
            agreed: None,
            guid: None,
            owner: Owner::default(),
            keeps: false,
            lists: false,
            slowest: Duration::ZERO,
            interview: Interview::default(),
            facts: Facts::default(),
        }
    }

    /// The same, but that it tells a BMC nothing that is certain not to be `owner`'s host's.
    #[must_use]
    pub fn for_owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Begins `order`, which has its outcome by `deadline`. Nothing else may be going on: it
    /// [`Self::is_idle`], or [`Self::is_kept`].
    pub fn begin(&mut self, now: Instant, order: Order, deadline: Instant) {
        // That of an order that was cancelled, which nobody has asked for.
        self.outcome = None;
        self.phase = match self.take_phase() {
            Phase::Idle if self.lists => self.list_suites(now, Task::new(order, deadline)),
            Phase::Idle => self.open_session(now, Task::new(order, deadline), now),
            Phase::Kept(session, _) => self.ask_in_kept(now, order, deadline, session),
            phase @ (Phase::Working(..) | Phase::Closing(..)) => {
                self.phase = phase;
                assert!(self.is_idle(), "a client has one order at a time");
                return;
            }
        };
    }

    /// Whether there is nothing to do: no order, no session to close.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Takes the outcome of the order, once. An acknowledged command is `Ok(Power::Unknown)`.
    pub fn take_outcome(&mut self) -> Option<Result<Power, FenceFault>> {
        self.outcome.take()
    }

    /// Takes the next datagram to send, oldest first. The caller takes all after each call.
    pub fn take_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// The moment at which [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Working(task, stage) => Some(task.deadline.min(stage.tries().due())),
            Phase::Kept(_, asked) => asked.as_ref().map(|asked| asked.tries.due()),
            Phase::Closing(_, asked) => Some(asked.tries.due()),
        }
    }

    /// The suite with which the BMC last opened a session.
    pub fn agreed_suite(&self) -> Option<CipherSuite> {
        self.agreed
    }

    /// The GUID of the machine that the BMC belongs to, once it proved itself.
    pub fn guid(&self) -> Option<[u8; 16]> {
        self.guid
    }

    /// Gives the order up: its outcome is [`FenceFault::Cancelled`] if it had none. An open
    /// session is closed, one that was kept before is kept.
    pub fn cancel(&mut self, now: Instant) {
        self.phase = match self.take_phase() {
            Phase::Working(task, Stage::Asking(session, _)) if task.kept => {
                self.outcome = Some(Err(FenceFault::Cancelled));
                Phase::Kept(session, None)
            }
            Phase::Working(_, stage) => {
                self.conclude(now, Err(FenceFault::Cancelled), stage.into_session())
            }
            phase @ (Phase::Idle | Phase::Kept(..) | Phase::Closing(..)) => phase,
        };
    }

    /// Does what has come due.
    pub fn expire(&mut self, now: Instant) {
        self.phase = match self.take_phase() {
            Phase::Idle => Phase::Idle,
            Phase::Working(task, stage) if task.deadline <= now => {
                self.conclude(now, Err(task.verdict()), stage.into_session())
            }
            Phase::Working(task, stage) if stage.tries().due() <= now => {
                self.repeat(now, task, stage)
            }
            Phase::Kept(session, Some(asked)) if asked.tries.due() <= now => {
                self.repeat_question(now, session, asked)
            }
            Phase::Closing(_, asked) if asked.tries.due() <= now && asked.tries.is_exhausted() => {
                Phase::Idle
            }
            Phase::Closing(mut session, mut asked) if asked.tries.due() <= now => {
                self.send_command(now, &mut session, &mut asked);
                Phase::Closing(session, asked)
            }
            phase @ (Phase::Working(..) | Phase::Kept(..) | Phase::Closing(..)) => phase,
        };
    }

    /// Takes in one datagram from the BMC's address. What does not parse, belongs to another
    /// session, or came before, changes nothing.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) {
        let packet = Packet::parse(datagram);
        self.phase = match (self.take_phase(), packet) {
            (Phase::Working(task, Stage::Listing(list, seq, tries)), _) => {
                self.hear_suites(now, task, (list, seq, tries), datagram)
            }
            (Phase::Working(task, stage), Some(packet)) => self.advance(now, task, stage, &packet),
            (Phase::Kept(session, asked), packet) => {
                self.hear_in_kept(now, session, asked, packet.as_ref(), datagram)
            }
            (Phase::Working(mut task, stage), None) => {
                task.hear(Heard::Garbled);
                Phase::Working(task, stage)
            }
            (Phase::Closing(mut session, asked), Some(packet)) => {
                let message = session.open(&packet);
                let response = message.as_deref().and_then(Response::parse);
                match response {
                    Some(answer) if asked.closes_with(&answer) => Phase::Idle,
                    _ => Phase::Closing(session, asked),
                }
            }
            (phase @ (Phase::Idle | Phase::Closing(..)), _) => phase,
        };
    }

    pub(super) fn take_phase(&mut self) -> Phase {
        core::mem::replace(&mut self.phase, Phase::Idle)
    }

    /// One packet, in the stage that it may be the answer to.
    fn advance(&mut self, now: Instant, task: Task, stage: Stage, packet: &Packet<'_>) -> Phase {
        match (stage, packet.kind, packet.sealed) {
            (Stage::Opening(offer, tries), Kind::OpenResponse, false) => {
                self.hear_open_response(now, task, offer, tries, packet.payload)
            }
            (Stage::Proving(challenge, tries), Kind::Rakp2, false) => {
                self.hear_rakp2(now, task, challenge, tries, packet.payload)
            }
            (Stage::Confirming(proof, tries), Kind::Rakp4, false) => {
                self.hear_rakp4(now, task, proof, tries, packet.payload)
            }
            (Stage::Asking(session, asked), Kind::Message, true) => {
                self.hear_message(now, task, session, asked, packet)
            }
            // Late answers of an earlier stage, or somebody else's.
            (stage, _, _) => Phase::Working(task, stage),
        }
    }

    fn hear_message(
        &mut self,
        now: Instant,
        mut task: Task,
        mut session: Session,
        asked: Asked,
        packet: &Packet<'_>,
    ) -> Phase {
        let message = session.open(packet);
        let response = message.as_deref().and_then(Response::parse);
        let response = response.filter(|response| asked.is_answered_by(packet, response));
        let Some(response) = response else {
            return Phase::Working(task, Stage::Asking(session, asked));
        };
        task.hear(Heard::Answer);
        self.agreed = Some(session.suite());
        if let Some(sent_at) = asked.tries.only_sent_at() {
            self.learn(now.since(sent_at));
        }
        if response.completion != 0 {
            return self.ask_otherwise(now, task, session, asked.command, response.completion);
        }
        match asked.command {
            Command::RaisePrivilege => match response.privilege() {
                Some(level) if level < PRIVILEGE_OPERATOR => {
                    self.conclude(now, Err(FenceFault::Privilege), Some(session))
                }
                Some(_) | None => {
                    let command = task.command();
                    self.ask(now, task, session, command, now)
                }
            },
            Command::PowerDown | Command::PowerUp => {
                self.conclude(now, Ok(Power::Unknown), Some(session))
            }
            Command::ReadPower => {
                let reading = judge(task.order, response.power());
                self.conclude(now, reading, Some(session))
            }
            Command::CloseSession(_)
            | Command::TellFirmware
            | Command::TellDeviceGuid
            | Command::TellSystemGuid
            | Command::TellLogins
            | Command::TellSuites(_)
            | Command::TellLan(_) => self.conclude(now, Err(task.verdict()), None),
        }
    }

    /// The BMC refuses `command` with a completion code.
    fn ask_otherwise(
        &mut self,
        now: Instant,
        mut task: Task,
        session: Session,
        command: Command,
        completion: u8,
    ) -> Phase {
        let later = now + LATER_PAUSE;
        match refusal::of_completion(command, completion) {
            NotDone::GiveUp(fault) => self.conclude(now, Err(fault), Some(session)),
            NotDone::AskLater(fault) => {
                task.fault = Some(fault);
                self.ask(now, task, session, command, later)
            }
            NotDone::AskAnew => self.ask(now, task, session, command, later),
            NotDone::ReadPower => self.ask(now, task, session, Command::ReadPower, now),
        }
    }

    /// Asks `command` in `session` at `at`.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        task: Task,
        mut session: Session,
        command: Command,
        at: Instant,
    ) -> Phase {
        let mut asked = self.prepare(command, task.tries(at), session.newest());
        if at <= now {
            self.send_command(now, &mut session, &mut asked);
        }
        Phase::Working(task, Stage::Asking(session, asked))
    }

    /// The request of this stage was not answered: sends it again, or begins a new session.
    fn repeat(&mut self, now: Instant, mut task: Task, stage: Stage) -> Phase {
        if stage.tries().is_exhausted() {
            if task.kept {
                return self.conclude(now, Err(task.verdict()), stage.into_session());
            }
            // The next session is given more time: this one may have failed by our impatience.
            task.wait = tries::longer(task.wait);
            if matches!(stage, Stage::Opening(..)) {
                // A BMC may be silent about a suite that it does not know.
                self.suites.rotate_left(usize::from(self.suites.len() > 1));
            }
            self.abandon(stage.into_session());
            return self.open_session(now, task, now);
        }
        let stage = match stage {
            Stage::Listing(list, seq, mut tries) => {
                self.send_list_request(now, &list, seq, &mut tries);
                Stage::Listing(list, seq, tries)
            }
            Stage::Opening(offer, mut tries) => {
                self.send_open_request(now, &offer, &mut tries);
                Stage::Opening(offer, tries)
            }
            Stage::Proving(challenge, mut tries) => {
                self.send_rakp1(now, &challenge, &mut tries);
                Stage::Proving(challenge, tries)
            }
            Stage::Confirming(proof, tries) => {
                let mut session = proof.clone().into_session();
                let mut asked = self.prepare(Command::RaisePrivilege, tries, session.newest());
                asked.unconfirmed = Some(proof);
                self.send_command(now, &mut session, &mut asked);
                Stage::Asking(session, asked)
            }
            Stage::Asking(mut session, mut asked) => {
                self.send_command(now, &mut session, &mut asked);
                Stage::Asking(session, asked)
            }
        };
        Phase::Working(task, stage)
    }

    /// The order has its outcome; what is left is to close the session, if there is one, or to
    /// keep it.
    pub(super) fn conclude(
        &mut self,
        now: Instant,
        outcome: Result<Power, FenceFault>,
        session: Option<Session>,
    ) -> Phase {
        self.outcome = Some(outcome);
        match session {
            None => Phase::Idle,
            Some(session) if self.keeps && outcome.is_ok() => self.keep_session(now, session),
            Some(session) => self.close_session(now, session),
        }
    }

    pub(super) fn close_session(&mut self, now: Instant, mut session: Session) -> Phase {
        let command = Command::CloseSession(session.managed_id());
        let tries = Tries::new(now, WAIT_MIN, TRIES_CLOSE_MAX);
        let mut asked = self.prepare(command, tries, session.newest());
        self.send_command(now, &mut session, &mut asked);
        Phase::Closing(session, asked)
    }

    /// Closes a session that is not answered in, without waiting: a BMC has few.
    pub(super) fn abandon(&mut self, session: Option<Session>) {
        let Some(mut session) = session else { return };
        let message = Command::CloseSession(session.managed_id()).emit(self.draw_seq());
        for _ in 0..GOODBYES_MAX {
            let datagram = session.seal(&message, self.entropy.draw());
            self.transmit(datagram);
        }
    }

    pub(super) fn prepare(&mut self, command: Command, tries: Tries, after: u32) -> Asked {
        Asked { command, seq: self.draw_seq(), tries, unconfirmed: None, after }
    }

    /// Sends a command, again with the same sequence number in the message: the BMC sees that it
    /// is a repetition.
    pub(super) fn send_command(&mut self, now: Instant, session: &mut Session, asked: &mut Asked) {
        if let Some(proof) = &asked.unconfirmed {
            let payload = proof.emit(self.draw_tag());
            self.transmit(packet::emit_plain(Kind::Rakp3, &payload));
        }
        asked.tries.note_sent(now, asked.seq);
        let message = asked.command.emit(asked.seq);
        if asked.command.is_bare() {
            self.transmit(packet::emit_bare(&message));
        } else {
            let datagram = session.seal(&message, self.entropy.draw());
            self.transmit(datagram);
        }
    }

    pub(super) fn transmit(&mut self, datagram: Vec<u8>) {
        if self.transmits.len() >= TRANSMITS_MAX {
            self.transmits.pop_front();
        }
        self.transmits.push_back(datagram);
    }

    pub(super) fn draw_tag(&mut self) -> u8 {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        tag
    }

    pub(super) fn draw_seq(&mut self) -> u8 {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1) & SEQ_MAX;
        seq
    }
}
