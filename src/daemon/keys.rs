//! Heartbeats between bytes and facts, with the keys, and what was refused.

use core::fmt;
use core::time::Duration;

use super::keyring::Keyring;
use crate::config::{HeartbeatKeys, Plan, Transport};
use crate::types::{Heartbeat, Instant, LinkId};
use crate::wire::auth::{KeyError, Keys};
use crate::wire::heartbeat::{self, Authentic, ClusterId, LEN, Refusal};
use crate::wire::short::{self, Turns};

/// How long refused datagrams of one link are not told again after they were: each time twice as
/// long as before, as long as it goes on.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause; after one without refused datagrams it begins with the shortest again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The codec of this cluster, with counters.
#[derive(Debug)]
pub struct Codec {
    /// The keys.
    pub ring: Keyring,
    cluster: ClusterId,
    links: Vec<CodecLink>,
    reasons: [u64; REASONS.len()],
}

/// One link: how it is spoken on, and what was refused there.
#[derive(Clone, Copy, Debug)]
struct CodecLink {
    form: Form,
    refused: Refused,
    /// How much of its noise was counted.
    noise: u64,
}

/// In which form heartbeats are said and heard on a link.
#[derive(Clone, Copy, Debug)]
enum Form {
    Full,
    /// The short one, and whose turn it is.
    Short(Turns),
}

impl CodecLink {
    fn new(transport: &Transport) -> Self {
        let form = match transport {
            Transport::Udp(_) => Form::Full,
            Transport::Serial(_) => Form::Short(Turns::new()),
        };
        Self { form, refused: Refused::default(), noise: 0 }
    }
}

/// A heartbeat in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoded {
    /// In the full form.
    Full([u8; LEN]),
    /// In the short one.
    Short(short::Message),
}

impl Encoded {
    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Full(bytes) => bytes,
            Self::Short(message) => message.as_bytes(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    count: u64,
    told: u64,
    /// Of the last one, told or not.
    last_at: Option<Instant>,
    told_at: Option<Instant>,
    pause: Duration,
}

impl Refused {
    /// Counts so many more; how many there were since they were last told, if it is time to tell.
    fn note(&mut self, more: u64, now: Instant) -> Option<u64> {
        self.count = self.count.saturating_add(more);
        let is_quiet = self.last_at.replace(now).is_none_or(|at| now >= at + PAUSE_MAX);
        if is_quiet {
            self.pause = PAUSE_MIN;
        } else if self.told_at.is_some_and(|at| now < at + self.pause) {
            return None;
        } else {
            self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        }
        self.told_at = Some(now);
        Some(self.count - core::mem::replace(&mut self.told, self.count))
    }
}

/// The reasons as the status names them.
const REASONS: [&str; 6] =
    ["wrong-length", "not-a-heartbeat", "other-version", "other-cluster", "malformed", "wrong-key"];

/// A link on which datagrams were refused, to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusals {
    /// The link.
    pub link: LinkId,
    /// How many since it was last told.
    pub count: u64,
    /// Why the last one was.
    pub reason: Reason,
}

/// Why something that came over a link was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It is no authentic heartbeat.
    Message(Refusal),
    /// It is no frame.
    Noise,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(refusal) => write!(f, "{refusal}"),
            Self::Noise => f.write_str(
                "damaged, or nothing of tandem's (noise, another speed, a console on the line?)",
            ),
        }
    }
}

impl Codec {
    /// The codec that the plan describes.
    ///
    /// # Errors
    /// If a key is not usable.
    pub fn new(plan: &Plan) -> Result<Self, KeyError> {
        let peers = plan.nodes.iter().copied().filter(|node| *node != plan.local);
        let keepalive = plan.links.iter().map(|link| link.settings.keepalive).max();
        Ok(Self {
            ring: Keyring::new(keys_of(&plan.keys)?, peers, keepalive.unwrap_or_default()),
            cluster: ClusterId(plan.cluster_id),
            links: plan.links.iter().map(|link| CodecLink::new(&link.transport)).collect(),
            reasons: [0; REASONS.len()],
        })
    }

    /// The keys, for the probes between the nodes.
    pub fn keys(&self) -> Keys {
        self.ring.keys().clone()
    }

    /// The bytes of a heartbeat, in the form that its link has.
    pub fn emit(&mut self, heartbeat: &Heartbeat) -> Encoded {
        let link = self.links.get_mut(heartbeat.link.index());
        match link.map(|link| &mut link.form) {
            Some(Form::Short(turns)) => {
                let turn = turns.take(heartbeat);
                Encoded::Short(short::emit(heartbeat, turn, self.cluster, self.ring.keys()))
            }
            Some(Form::Full) | None => {
                Encoded::Full(heartbeat::emit(heartbeat, self.cluster, self.ring.keys()))
            }
        }
    }

    /// The heartbeat in `bytes`, which came over `link`; or why they are none and, now and then,
    /// what to tell about those that are none.
    ///
    /// # Errors
    /// If it is not an authentic heartbeat of this cluster.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        link: LinkId,
        now: Instant,
    ) -> Result<Authentic, (Refusal, Option<Refusals>)> {
        let form = self.links.get(link.index()).map(|link| link.form);
        let parsed = match form {
            Some(Form::Short(_)) => short::parse(bytes, self.cluster, self.ring.keys()),
            Some(Form::Full) | None => heartbeat::parse(bytes, self.cluster, self.ring.keys()),
        };
        let reason = match parsed {
            Ok(authentic) => return Ok(authentic),
            Err(reason) => reason,
        };
        if let Some(count) = self.reasons.get_mut(index_of(reason)) {
            *count = count.saturating_add(1);
        }
        let entry = self.links.get_mut(link.index());
        let count = entry.and_then(|entry| entry.refused.note(1, now));
        let told = count.map(|count| Refusals { link, count, reason: Reason::Message(reason) });
        Err((reason, told))
    }

    /// Takes in that `link` has dropped `count` things since its start that were no frames; now
    /// and then, what to tell about it.
    pub fn note_noise(&mut self, link: LinkId, count: u64, now: Instant) -> Option<Refusals> {
        let entry = self.links.get_mut(link.index())?;
        let more = count.saturating_sub(core::mem::replace(&mut entry.noise, count));
        if more == 0 {
            return None;
        }
        let count = entry.refused.note(more, now)?;
        Some(Refusals { link, count, reason: Reason::Noise })
    }

    /// How much was refused on each link, noise included, by number.
    pub fn refused_by_link(&self) -> Vec<u64> {
        self.links.iter().map(|link| link.refused.count).collect()
    }

    /// How many datagrams were refused, by reason.
    pub fn refused_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        REASONS.into_iter().zip(self.reasons)
    }
}

/// The keys of the file as they are used.
///
/// # Errors
/// If one is not usable.
pub fn keys_of(keys: &HeartbeatKeys) -> Result<Keys, KeyError> {
    let other = keys.second.as_ref().map(|key| &key.reveal()[..]);
    Keys::new(&keys.first.reveal()[..], other)
}

fn index_of(reason: Refusal) -> usize {
    match reason {
        Refusal::TooShort | Refusal::TooLong => 0,
        Refusal::Magic => 1,
        Refusal::Version => 2,
        Refusal::Cluster => 3,
        Refusal::Malformed(_) => 4,
        Refusal::Tag => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One a millisecond for ten minutes, then a quiet minute.
    #[test]
    fn a_flood_is_told_ever_more_seldom_and_all_of_it_is_counted() {
        let mut refused = Refused::default();
        let at = |ms: u64| Instant::from_millis(5_000_000 + ms);
        let mut told = Vec::new();
        for ms in 0..600_000 {
            told.extend(refused.note(1, at(ms)).map(|count| (ms / 1000, count)));
        }
        let seconds: Vec<u64> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363, 423, 483, 543]);
        let counted: u64 = told.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 543_001, "all up to the last that was told");
        assert_eq!(refused.note(1, at(660_000)), Some(57_000), "told at once again");
        assert_eq!(refused.note(1, at(660_999)), None);
        assert_eq!(refused.note(1, at(661_000)), Some(2));
    }
}
