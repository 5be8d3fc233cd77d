//! How a session comes about: each stage holds what the last one proved, and only the right answer
//! leads to the next.
//!
//! Knows neither time nor repetition; [`super::client`] has both. Nothing of a session can be
//! derived before the BMC has proved that it knows the password.
//!
//! ```text
//! Offer ──open response──► Challenge ──RAKP 2──► Proof ──RAKP 4──► Session
//! ```

use core::fmt;

use super::crypto::{CipherSuite, Digest, Key, SessionKeys};
use super::rakp::{self, Challenged, Opened, ROLE};
use super::session::Session;

/// The longest user name in bytes (IPMI v2.0 §13.20).
pub const USER_LEN_MAX: usize = 16;
/// The longest password in bytes (IPMI v2.0 §22.30).
pub const PASSWORD_LEN_MAX: usize = 20;

/// Who we are to the BMC.
#[derive(Clone)]
pub struct Login {
    user: Vec<u8>,
    /// K_UID: the password as a key.
    key: Key,
}

impl Login {
    /// The user and the password; nothing if one is longer than [`USER_LEN_MAX`] or
    /// [`PASSWORD_LEN_MAX`] bytes: no BMC can have it then.
    pub fn new(user: &str, password: &str) -> Option<Self> {
        if user.len() > USER_LEN_MAX || password.len() > PASSWORD_LEN_MAX {
            return None;
        }
        Some(Self { user: user.as_bytes().to_vec(), key: Key::new(password.as_bytes()) })
    }

    fn user_len(&self) -> [u8; 1] {
        [u8::try_from(self.user.len()).unwrap_or(u8::MAX)]
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login { <secret> }")
    }
}

/// A session is asked for.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) suite: CipherSuite,
    pub(super) console_id: u32,
    pub(super) console_random: [u8; 16],
}

impl Offer {
    pub(super) fn emit(&self, tag: u8) -> Vec<u8> {
        rakp::emit_open_request(tag, self.console_id, self.suite)
    }

    /// The next stage; nothing if the BMC took other algorithms than were offered.
    pub(super) fn accept(self, opened: &Opened) -> Option<Challenge> {
        (opened.algorithms == self.suite.algorithms())
            .then_some(Challenge { offer: self, managed_id: opened.managed_id })
    }
}

/// The BMC is to prove itself.
#[derive(Clone)]
pub(super) struct Challenge {
    offer: Offer,
    managed_id: u32,
}

impl Challenge {
    pub(super) fn console_id(&self) -> u32 {
        self.offer.console_id
    }

    pub(super) fn suite(&self) -> CipherSuite {
        self.offer.suite
    }

    pub(super) fn emit(&self, tag: u8, login: &Login) -> Vec<u8> {
        rakp::emit_rakp1(tag, self.managed_id, &self.offer.console_random, &login.user)
    }

    /// The next stage; nothing if the BMC does not know this user's password (§13.21, §13.31).
    pub(super) fn accept(self, login: &Login, challenged: &Challenged<'_>) -> Option<Proof> {
        let suite = self.offer.suite;
        let console_id = self.offer.console_id.to_le_bytes();
        let managed_id = self.managed_id.to_le_bytes();
        let (role, user_len) = ([ROLE], login.user_len());
        let Challenged { random, guid, code } = challenged;
        let proof: [&[u8]; 8] = [
            &console_id,
            &managed_id,
            &self.offer.console_random,
            random,
            guid,
            &role,
            &user_len,
            &login.user,
        ];
        if !suite.verify(&login.key, &proof, code) {
            return None;
        }
        let answer = [random.as_slice(), &console_id, &role, &user_len, &login.user];
        let shared: [&[u8]; 5] =
            [&self.offer.console_random, random, &role, &user_len, &login.user];
        Some(Proof {
            code: suite.digest(&login.key, &answer),
            sik: Key::new(suite.digest(&login.key, &shared).as_slice()),
            guid: *guid,
            challenge: self,
        })
    }
}

/// The BMC has proved itself; now we do.
#[derive(Clone)]
pub(super) struct Proof {
    challenge: Challenge,
    code: Digest,
    /// The session integrity key.
    sik: Key,
    guid: [u8; 16],
}

impl Proof {
    pub(super) fn console_id(&self) -> u32 {
        self.challenge.offer.console_id
    }

    pub(super) fn suite(&self) -> CipherSuite {
        self.challenge.offer.suite
    }

    /// The GUID of the machine behind the BMC, as the BMC's proof includes it.
    pub(super) fn guid(&self) -> [u8; 16] {
        self.guid
    }

    pub(super) fn emit(&self, tag: u8) -> Vec<u8> {
        rakp::emit_rakp3(tag, self.challenge.managed_id, self.code.as_slice())
    }

    /// Whether `code` of RAKP message 4 belongs to this session (§13.23).
    pub(super) fn confirms(&self, code: &[u8]) -> bool {
        let managed_id = self.challenge.managed_id.to_le_bytes();
        let parts: [&[u8]; 3] = [&self.challenge.offer.console_random, &managed_id, &self.guid];
        self.suite().verify(&self.sik, &parts, code)
    }

    /// The session. Before RAKP message 4 it is good for one thing: to be closed, because the BMC
    /// may have opened it although its word was lost.
    pub(super) fn into_session(self) -> Session {
        let suite = self.suite();
        let keys = SessionKeys::derive(suite, &self.sik);
        Session::new(suite, self.console_id(), self.challenge.managed_id, keys)
    }
}
