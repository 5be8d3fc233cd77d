//! Other heartbeat keys while the daemon runs, and what the status tells of keys.
//!
//! The tool writes the file and hands its text over: nothing here waits for a disk. Whether keys
//! may be taken is decided by [`super::keyring`].

use super::hearing::path_of;
use super::keyring::{Denial, Keyring};
use super::keys::keys_of;
use super::shell::Shell;
use super::wrong_key::WrongKeys;
use crate::config::{KeyFile, Plan};
use crate::io::control::Caller;
use crate::types::Instant;
use crate::wire::auth::Keys;
use crate::wire::control::status::{KeyState, PeerKeys, Trouble};
use crate::wire::control::{Code, EventLevel, Failure, KeyStep, KeyText, Response};

impl Shell {
    /// Answers the request for other keys.
    pub(super) fn change_keys(
        &mut self,
        step: KeyStep,
        text: &KeyText,
        force: bool,
        caller: Caller,
    ) -> Response {
        let new = match read(text) {
            Ok(new) => new,
            Err(failure) => return Response::Error(failure),
        };
        let (ring, now) = (&mut self.codec.ring, self.now);
        let before = told(ring.keys());
        let after = told(&new);
        let done = match step {
            KeyStep::Prepare => ring.prepare(&new, force, now),
            KeyStep::Take => ring.take(new, force, now),
        };
        if let Err(denial) = done {
            let (message, remedy) = denial.explain(&self.plan.names);
            return Response::Error(Failure::new(code_of(denial), &message, &remedy));
        }
        if step == KeyStep::Take && before != after {
            self.network.set_keys(self.codec.ring.keys());
            let forced = if force { " (--force)" } else { "" };
            let text = format!(
                "heartbeat keys: {after}; before: {before}; by uid {}, pid {}{forced}",
                caller.uid, caller.pid
            );
            self.tell(EventLevel::Info, "keys", "", text);
        }
        Response::Ok
    }
}

fn read(text: &KeyText) -> Result<Keys, Failure> {
    let bad = |why: &str| Failure::new(Code::BadRequest, why, "see them with: tandem check");
    let file = KeyFile::parse(text.reveal()).map_err(|_faults| bad("these are no keys"))?;
    keys_of(&file.into_keys()).map_err(|error| bad(&error.to_string()))
}

fn code_of(denial: Denial) -> Code {
    match denial {
        Denial::Wait(_) => Code::NotYet,
        Denial::Unheard(_) => Code::NeedsForce,
        Denial::PeerSends(..) | Denial::NotAccepted(..) | Denial::SendsHere(_) => Code::Denied,
    }
}

/// `3f2a99c1, and 77aa0b1c is accepted`
fn told(keys: &Keys) -> String {
    match keys.other() {
        None => keys.sending().to_string(),
        Some(other) => format!("{}, and {other} is accepted", keys.sending()),
    }
}

/// The keys' part of the status.
pub(super) fn key_state(plan: &Plan, ring: &Keyring, now: Instant) -> KeyState {
    let peers = ring.peers(now).map(|view| PeerKeys {
        node: plan.names.node(view.node).to_owned(),
        sends: view.sends.map(|key| key.to_string()).unwrap_or_default(),
        accepts_other: view.accepts_other,
        accepts_unknown: view.accepts_unknown,
    });
    KeyState {
        file: plan.key_file.display().to_string(),
        sends: ring.keys().sending().to_string(),
        accepts: ring.keys().other().map(|key| key.to_string()).unwrap_or_default(),
        peers: peers.collect(),
        settle_ms: u64::try_from(ring.settle_time().as_millis()).unwrap_or(u64::MAX),
    }
}

/// What the status tells of peers that send with a key that is not ours.
pub(super) fn wrong_key_troubles(
    plan: &Plan,
    ring: &Keyring,
    wrong_keys: &WrongKeys,
    now: Instant,
) -> Vec<Trouble> {
    let trouble = |wrong: super::wrong_key::WrongKey| Trouble {
        code: "wrong-key".to_owned(),
        what: format!(
            "{}, but not with our key: fingerprint here: {}",
            path_of(plan, wrong.link, wrong.peer),
            ring.keys().sending()
        ),
        since_ms: u64::try_from(now.since(wrong.since).as_millis()).unwrap_or(u64::MAX),
        remedy: "is the key file the same on both nodes? Compare `tandem key` there; copy the \
                 right file over the wrong one, then: tandem key reload --force"
            .to_owned(),
    };
    wrong_keys.current().map(trouble).collect()
}
