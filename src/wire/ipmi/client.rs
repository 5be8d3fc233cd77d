//! The client's state machine: one order at a time, from opening a session to closing it.
//!
//! It repeats, starts over and changes the cipher suite inside the order's deadline. What makes a
//! session and what bytes it is made of is next door.
//!
//! ```text
//!          begin                                                          outcome
//! Idle ───► Opening ─► Proving ─► Confirming ─► Asking(privilege, order) ───┬──► Closing ─► Idle
//!              ▲  │        │           │           │                         │
//!              └──┴────────┴───────────┴───────────┘ unanswered, session lost│
//!                 any of them: deadline, refusal, cancel ────────────────────┘ (or Idle)
//! ```
//!
//! The outcome is there before the session is closed: closing costs no time that anybody waits for.
//! To keep a session between orders, `conclude` would keep it in a phase of its own.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use super::crypto::{CipherSuite, Entropy};
use super::handshake::{Challenge, Login, Offer, Proof};
use super::message::{Command, Response, SEQ_MAX};
use super::packet::{self, Kind, Packet};
use super::rakp::{OpenResponse, PRIVILEGE_OPERATOR, Rakp2, Rakp4};
use super::refusal::{self, NoSession, NotDone};
use super::session::Session;
use super::stage::{Asked, Heard, Order, Phase, Stage, Task, judge};
use super::tries::{self, TRIES_MAX, Tries, WAIT_MIN};
use crate::types::{FenceFault, Instant, Power};

/// The pause before a BMC is asked again that had no time or room, or lost our session.
const LATER_PAUSE: Duration = Duration::from_millis(250);
/// How many goodbyes are sent to a session that is given up without waiting for an answer.
const GOODBYES_MAX: u8 = 2;
/// The most sendings of a Close Session whose answer is waited for.
const TRIES_CLOSE_MAX: u8 = 4;
/// The most datagrams waiting to be taken; each call makes less, and the caller takes all.
const TRANSMITS_MAX: usize = 16;
/// A client of one BMC.
pub struct Client {
    login: Login,
    /// The suites not refused yet; the first is used next.
    suites: VecDeque<CipherSuite>,
    entropy: Entropy,
    next_tag: u8,
    next_seq: u8,
    phase: Phase,
    transmits: VecDeque<Vec<u8>>,
    outcome: Option<Result<Power, FenceFault>>,
    agreed: Option<CipherSuite>,
    guid: Option<[u8; 16]>,
}

impl fmt::Debug for Client {
    /// Shows no keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match &self.phase {
            Phase::Idle => "idle",
            Phase::Working(_, Stage::Opening(..)) => "opening",
            Phase::Working(_, Stage::Proving(..)) => "proving",
            Phase::Working(_, Stage::Confirming(..)) => "confirming",
            Phase::Working(_, Stage::Asking(..)) => "asking",
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
        }
    }

    /// Begins `order`, which has its outcome by `deadline`. Nothing else may be going on: see
    /// [`Self::is_idle`].
    pub fn begin(&mut self, now: Instant, order: Order, deadline: Instant) {
        assert!(self.is_idle(), "a client has one order at a time");
        let task = Task::new(order, deadline);
        self.phase = self.open_session(now, task, now);
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
    /// session is closed.
    pub fn cancel(&mut self, now: Instant) {
        self.phase = match self.take_phase() {
            Phase::Working(_, stage) => {
                self.conclude(now, Err(FenceFault::Cancelled), stage.into_session())
            }
            phase @ (Phase::Idle | Phase::Closing(..)) => phase,
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
            Phase::Closing(_, asked) if asked.tries.due() <= now && asked.tries.is_exhausted() => {
                Phase::Idle
            }
            Phase::Closing(mut session, mut asked) if asked.tries.due() <= now => {
                self.send_command(now, &mut session, &mut asked);
                Phase::Closing(session, asked)
            }
            phase @ (Phase::Working(..) | Phase::Closing(..)) => phase,
        };
    }

    /// Takes in one datagram from the BMC's address. What does not parse, belongs to another
    /// session, or came before, changes nothing.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) {
        let packet = Packet::parse(datagram);
        self.phase = match (self.take_phase(), packet) {
            (Phase::Working(task, stage), Some(packet)) => self.advance(now, task, stage, &packet),
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

    fn take_phase(&mut self) -> Phase {
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

    fn hear_open_response(
        &mut self,
        now: Instant,
        mut task: Task,
        offer: Offer,
        tries: Tries,
        payload: &[u8],
    ) -> Phase {
        let Some(response) = OpenResponse::parse(payload) else {
            task.hear(Heard::Garbled);
            return Phase::Working(task, Stage::Opening(offer, tries));
        };
        let sent_at = tries.sent_at(response.tag);
        match (sent_at, response.verdict) {
            (Some(sent_at), Ok(opened)) if response.console_id == offer.console_id => {
                task.learn(now.since(sent_at));
                match offer.accept(&opened) {
                    Some(challenge) => self.challenge(now, task, challenge),
                    None => self.start_over(now, task, NoSession::OtherSuite),
                }
            }
            (Some(_), Err(status)) if names_us(response.console_id, offer.console_id) => {
                task.hear(Heard::Answer);
                self.start_over(now, task, refusal::of_status(status))
            }
            _ => Phase::Working(task, Stage::Opening(offer, tries)),
        }
    }

    fn challenge(&mut self, now: Instant, task: Task, challenge: Challenge) -> Phase {
        let mut tries = Tries::new(now, task.wait, TRIES_MAX);
        self.send_rakp1(now, &challenge, &mut tries);
        Phase::Working(task, Stage::Proving(challenge, tries))
    }

    fn hear_rakp2(
        &mut self,
        now: Instant,
        mut task: Task,
        challenge: Challenge,
        tries: Tries,
        payload: &[u8],
    ) -> Phase {
        let Some(rakp2) = Rakp2::parse(payload, challenge.suite()) else {
            task.hear(Heard::Garbled);
            return Phase::Working(task, Stage::Proving(challenge, tries));
        };
        // Each RAKP message 1 makes the BMC draw a new random number and forget the last: only
        // the answer to the newest one can still be confirmed.
        let sent_at = tries.newest_sent_at(rakp2.tag);
        match (sent_at, rakp2.verdict) {
            (Some(sent_at), Ok(challenged)) if rakp2.console_id == challenge.console_id() => {
                task.learn(now.since(sent_at));
                match challenge.accept(&self.login, &challenged) {
                    Some(proof) => self.confirm(now, task, proof),
                    None => self.conclude(now, Err(FenceFault::Credentials), None),
                }
            }
            (Some(_), Err(status)) if names_us(rakp2.console_id, challenge.console_id()) => {
                task.hear(Heard::Answer);
                self.start_over(now, task, refusal::of_status(status))
            }
            _ => Phase::Working(task, Stage::Proving(challenge, tries)),
        }
    }

    fn confirm(&mut self, now: Instant, task: Task, proof: Proof) -> Phase {
        self.guid = Some(proof.guid());
        let mut tries = Tries::new(now, task.wait, TRIES_MAX);
        self.send_rakp3(now, &proof, &mut tries);
        Phase::Working(task, Stage::Confirming(proof, tries))
    }

    fn hear_rakp4(
        &mut self,
        now: Instant,
        mut task: Task,
        proof: Proof,
        tries: Tries,
        payload: &[u8],
    ) -> Phase {
        let Some(rakp4) = Rakp4::parse(payload, proof.suite()) else {
            task.hear(Heard::Garbled);
            return Phase::Working(task, Stage::Confirming(proof, tries));
        };
        let is_ours = tries.sent_at(rakp4.tag).is_some();
        match rakp4.verdict {
            Ok(code) if is_ours && rakp4.console_id == proof.console_id() => {
                if !proof.confirms(code) {
                    // The BMC signs with a key of its own (K_G) that we were not told, or somebody
                    // else speaks: wait for a better one.
                    task.fault = Some(FenceFault::Credentials);
                    return Phase::Working(task, Stage::Confirming(proof, tries));
                }
                task.fault = None;
                self.ask(now, task, proof.into_session(), Command::RaisePrivilege, now)
            }
            Err(status) if is_ours && names_us(rakp4.console_id, proof.console_id()) => {
                task.hear(Heard::Answer);
                self.abandon(Some(proof.into_session()));
                self.start_over(now, task, refusal::of_status(status))
            }
            Ok(_) | Err(_) => Phase::Working(task, Stage::Confirming(proof, tries)),
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
        let Some(response) = response.filter(|r| asked.command.is_answered_by(asked.seq, r)) else {
            return Phase::Working(task, Stage::Asking(session, asked));
        };
        task.hear(Heard::Answer);
        self.agreed = Some(session.suite());
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
            Command::CloseSession(_) => self.conclude(now, Err(task.verdict()), None),
        }
    }

    /// The BMC refuses to open a session.
    fn start_over(&mut self, now: Instant, mut task: Task, remedy: NoSession) -> Phase {
        match remedy {
            NoSession::GiveUp(fault) => self.conclude(now, Err(fault), None),
            NoSession::OtherSuite if self.suites.len() <= 1 => {
                self.conclude(now, Err(FenceFault::Refused), None)
            }
            NoSession::OtherSuite => {
                self.suites.pop_front();
                self.open_session(now, task, now)
            }
            NoSession::StartOver(fault) => {
                task.fault = Some(fault);
                self.open_session(now, task, now + LATER_PAUSE)
            }
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

    /// Asks for a new session at `at`, with the first suite that is left.
    fn open_session(&mut self, now: Instant, task: Task, at: Instant) -> Phase {
        let offer = Offer {
            suite: self.suites.front().copied().unwrap_or(CipherSuite::Seventeen),
            console_id: self.entropy.draw_session_id(),
            console_random: self.entropy.draw(),
        };
        let mut tries = Tries::new(at, task.wait, TRIES_MAX);
        if at <= now {
            self.send_open_request(now, &offer, &mut tries);
        }
        Phase::Working(task, Stage::Opening(offer, tries))
    }

    /// Asks `command` in `session` at `at`.
    fn ask(
        &mut self,
        now: Instant,
        task: Task,
        mut session: Session,
        command: Command,
        at: Instant,
    ) -> Phase {
        let mut asked = self.prepare(command, Tries::new(at, task.wait, TRIES_MAX));
        if at <= now {
            self.send_command(now, &mut session, &mut asked);
        }
        Phase::Working(task, Stage::Asking(session, asked))
    }

    /// The request of this stage was not answered: sends it again, or begins a new session.
    fn repeat(&mut self, now: Instant, mut task: Task, stage: Stage) -> Phase {
        if stage.tries().is_exhausted() {
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
                let mut asked = self.prepare(Command::RaisePrivilege, tries);
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

    /// The order has its outcome; what is left is to close the session, if there is one.
    fn conclude(
        &mut self,
        now: Instant,
        outcome: Result<Power, FenceFault>,
        session: Option<Session>,
    ) -> Phase {
        self.outcome = Some(outcome);
        let Some(mut session) = session else { return Phase::Idle };
        let command = Command::CloseSession(session.managed_id());
        let mut asked = self.prepare(command, Tries::new(now, WAIT_MIN, TRIES_CLOSE_MAX));
        self.send_command(now, &mut session, &mut asked);
        Phase::Closing(session, asked)
    }

    /// Closes a session that is not answered in, without waiting: a BMC has few.
    fn abandon(&mut self, session: Option<Session>) {
        let Some(mut session) = session else { return };
        let message = Command::CloseSession(session.managed_id()).emit(self.draw_seq());
        for _ in 0..GOODBYES_MAX {
            let datagram = session.seal(&message, self.entropy.draw());
            self.transmit(datagram);
        }
    }

    fn prepare(&mut self, command: Command, tries: Tries) -> Asked {
        Asked { command, seq: self.draw_seq(), tries, unconfirmed: None }
    }

    fn send_open_request(&mut self, now: Instant, offer: &Offer, tries: &mut Tries) {
        let tag = self.draw_tag();
        tries.note_sent(now, tag);
        self.transmit(packet::emit_plain(Kind::OpenRequest, &offer.emit(tag)));
    }

    fn send_rakp1(&mut self, now: Instant, challenge: &Challenge, tries: &mut Tries) {
        let tag = self.draw_tag();
        tries.note_sent(now, tag);
        let payload = challenge.emit(tag, &self.login);
        self.transmit(packet::emit_plain(Kind::Rakp1, &payload));
    }

    fn send_rakp3(&mut self, now: Instant, proof: &Proof, tries: &mut Tries) {
        let tag = self.draw_tag();
        tries.note_sent(now, tag);
        self.transmit(packet::emit_plain(Kind::Rakp3, &proof.emit(tag)));
    }

    /// Sends a command, again with the same sequence number in the message: the BMC sees that it
    /// is a repetition.
    fn send_command(&mut self, now: Instant, session: &mut Session, asked: &mut Asked) {
        if let Some(proof) = &asked.unconfirmed {
            let payload = proof.emit(self.draw_tag());
            self.transmit(packet::emit_plain(Kind::Rakp3, &payload));
        }
        asked.tries.note_sent(now, asked.seq);
        let datagram = session.seal(&asked.command.emit(asked.seq), self.entropy.draw());
        self.transmit(datagram);
    }

    fn transmit(&mut self, datagram: Vec<u8>) {
        if self.transmits.len() >= TRANSMITS_MAX {
            self.transmits.pop_front();
        }
        self.transmits.push_back(datagram);
    }

    fn draw_tag(&mut self) -> u8 {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        tag
    }

    fn draw_seq(&mut self) -> u8 {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1) & SEQ_MAX;
        seq
    }
}

/// Whether an error names this session: ours, or none, as some BMCs do that have opened none.
fn names_us(named: u32, ours: u32) -> bool {
    named == ours || named == 0
}
