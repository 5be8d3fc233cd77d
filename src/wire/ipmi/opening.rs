//! How the client comes to a session: the answers of the handshake, and what is sent for them.
//!
//! One half of [`super::client`]; the order itself, and its end, are in the other.

use super::client::{Client, LATER_PAUSE};
use super::crypto::CipherSuite;
use super::facts::SuiteList;
use super::handshake::{Challenge, Offer, Proof};
use super::message::{Command, Response};
use super::packet::{self, Kind};
use super::rakp::{OpenResponse, Rakp2, Rakp4};
use super::refusal::{self, NoSession};
use super::stage::{Heard, Phase, Stage, Task};
use super::tries::{TRIES_MAX, Tries};
use crate::types::{FenceFault, Instant};

/// The most sendings of one request for a list of cipher suites: a BMC that does not answer it is
/// offered one suite after the other.
const TRIES_LIST_MAX: u8 = 2;

impl Client {
    /// Asks for the list of cipher suites; the session is opened when it is there, or does not
    /// come.
    pub(super) fn list_suites(&mut self, now: Instant, task: Task) -> Phase {
        self.lists = false;
        let (list, seq) = (SuiteList::default(), self.draw_seq());
        let mut tries = Tries::new(now, task.wait, TRIES_LIST_MAX);
        self.send_list_request(now, &list, seq, &mut tries);
        Phase::Working(task, Stage::Listing(list, seq, tries))
    }

    pub(super) fn hear_suites(
        &mut self,
        now: Instant,
        mut task: Task,
        (mut list, seq, tries): (SuiteList, u8, Tries),
        datagram: &[u8],
    ) -> Phase {
        let command = Command::TellSuites(list.part());
        let response = packet::parse_bare(datagram).and_then(Response::parse);
        let Some(response) = response.filter(|r| command.is_answered_by(seq, r)) else {
            task.hear(Heard::Garbled);
            return Phase::Working(task, Stage::Listing(list, seq, tries));
        };
        task.hear(Heard::Answer);
        if response.completion != 0 {
            return self.open_session(now, task, now);
        }
        if !list.note(response.data) {
            let seq = self.draw_seq();
            let mut tries = Tries::new(now, task.wait, TRIES_LIST_MAX);
            self.send_list_request(now, &list, seq, &mut tries);
            return Phase::Working(task, Stage::Listing(list, seq, tries));
        }
        // What is not listed is still tried, last: anybody could have sent this.
        let listed = list.suites();
        let is_listed = |suite: &CipherSuite| listed.contains(&suite.number());
        let (first, last): (Vec<_>, Vec<_>) = self.suites.iter().copied().partition(is_listed);
        self.suites = first.into_iter().chain(last).collect();
        self.open_session(now, task, now)
    }

    pub(super) fn send_list_request(
        &mut self,
        now: Instant,
        list: &SuiteList,
        seq: u8,
        tries: &mut Tries,
    ) {
        tries.note_sent(now, seq);
        self.transmit(packet::emit_bare(&Command::TellSuites(list.part()).emit(seq)));
    }

    pub(super) fn hear_open_response(
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
                self.slowest = now.since(sent_at);
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

    pub(super) fn challenge(&mut self, now: Instant, task: Task, challenge: Challenge) -> Phase {
        let mut tries = Tries::new(now, task.wait, TRIES_MAX);
        self.send_rakp1(now, &challenge, &mut tries);
        Phase::Working(task, Stage::Proving(challenge, tries))
    }

    pub(super) fn hear_rakp2(
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

    pub(super) fn confirm(&mut self, now: Instant, task: Task, proof: Proof) -> Phase {
        self.guid = Some(proof.guid());
        self.forget_answers();
        let mut tries = Tries::new(now, task.wait, TRIES_MAX);
        self.send_rakp3(now, &proof, &mut tries);
        Phase::Working(task, Stage::Confirming(proof, tries))
    }

    pub(super) fn hear_rakp4(
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

    /// The BMC refuses to open a session.
    pub(super) fn start_over(&mut self, now: Instant, mut task: Task, remedy: NoSession) -> Phase {
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

    /// Asks for a new session at `at`, with the first suite that is left.
    pub(super) fn open_session(&mut self, now: Instant, task: Task, at: Instant) -> Phase {
        let offer = Offer {
            suite: self.suites.front().copied().unwrap_or(CipherSuite::Seventeen),
            console_id: self.entropy.draw_session_id(),
            console_random: self.entropy.draw(),
        };
        let mut tries = match task.heard {
            Heard::Nothing => Tries::knocking(at, task.wait),
            Heard::Garbled | Heard::Answer => Tries::new(at, task.wait, TRIES_MAX),
        };
        if at <= now {
            self.send_open_request(now, &offer, &mut tries);
        }
        Phase::Working(task, Stage::Opening(offer, tries))
    }

    pub(super) fn send_open_request(&mut self, now: Instant, offer: &Offer, tries: &mut Tries) {
        let tag = self.draw_tag();
        tries.note_sent(now, tag);
        self.transmit(packet::emit_plain(Kind::OpenRequest, &offer.emit(tag)));
    }

    pub(super) fn send_rakp1(&mut self, now: Instant, challenge: &Challenge, tries: &mut Tries) {
        let tag = self.draw_tag();
        tries.note_sent(now, tag);
        let payload = challenge.emit(tag, &self.login);
        self.transmit(packet::emit_plain(Kind::Rakp1, &payload));
    }

    pub(super) fn send_rakp3(&mut self, now: Instant, proof: &Proof, tries: &mut Tries) {
        let tag = self.draw_tag();
        tries.note_sent(now, tag);
        self.transmit(packet::emit_plain(Kind::Rakp3, &proof.emit(tag)));
    }
}

/// Whether an error names this session: ours, or none, as some BMCs do that have opened none.
fn names_us(named: u32, ours: u32) -> bool {
    named == ours || named == 0
}
