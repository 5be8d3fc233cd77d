//! Heartbeats between bytes and facts, with the keys, and what was refused.

use crate::config::Plan;
use crate::types::{Heartbeat, Instant, LinkId};
use crate::wire::auth::{KeyError, Keys};
use crate::wire::heartbeat::{self, ClusterId, LEN, Refusal};
use core::time::Duration;

/// How often refused datagrams of one link are told.
const TOLD_INTERVAL: Duration = Duration::from_secs(1);

/// The codec of this cluster, with counters.
#[derive(Debug)]
pub struct Codec {
    keys: Keys,
    cluster: ClusterId,
    links: Vec<Refused>,
    reasons: [u64; REASONS.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    count: u64,
    told: u64,
    told_at: Option<Instant>,
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
    pub reason: Refusal,
}

impl Codec {
    /// The codec that the plan describes.
    ///
    /// # Errors
    /// If a key is not usable.
    pub fn new(plan: &Plan) -> Result<Self, KeyError> {
        let other = plan.keys.second.as_ref().map(|key| &key.reveal()[..]);
        let keys = Keys::new(&plan.keys.first.reveal()[..], other)?;
        Ok(Self {
            keys,
            cluster: ClusterId(plan.cluster_id),
            links: vec![Refused::default(); plan.links.len()],
            reasons: [0; REASONS.len()],
        })
    }

    /// The bytes of a heartbeat.
    pub fn emit(&self, heartbeat: &Heartbeat) -> [u8; LEN] {
        heartbeat::emit(heartbeat, self.cluster, &self.keys)
    }

    /// The heartbeat in `bytes`, which came over `link`; or, now and then, what to tell about those
    /// that are none.
    ///
    /// # Errors
    /// If it is not an authentic heartbeat of this cluster; the value says what to tell, if it is
    /// time to.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        link: LinkId,
        now: Instant,
    ) -> Result<Heartbeat, Option<Refusals>> {
        let reason = match heartbeat::parse(bytes, self.cluster, &self.keys) {
            Ok(authentic) => return Ok(authentic.heartbeat),
            Err(reason) => reason,
        };
        if let Some(count) = self.reasons.get_mut(index_of(reason)) {
            *count = count.saturating_add(1);
        }
        let Some(refused) = self.links.get_mut(link.index()) else { return Err(None) };
        refused.count = refused.count.saturating_add(1);
        if refused.told_at.is_some_and(|at| now < at + TOLD_INTERVAL) {
            return Err(None);
        }
        let count = refused.count - refused.told;
        refused.told = refused.count;
        refused.told_at = Some(now);
        Err(Some(Refusals { link, count, reason }))
    }

    /// How many datagrams were refused on each link, by number.
    pub fn refused_by_link(&self) -> Vec<u64> {
        self.links.iter().map(|refused| refused.count).collect()
    }

    /// How many datagrams were refused, by reason.
    pub fn refused_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        REASONS.into_iter().zip(self.reasons)
    }
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
