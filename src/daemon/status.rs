//! The status document, put together from the engine's view and what the shell knows.
//!
//! Here a state becomes a sentence and a remedy: what an operator reads at 3 a.m. The fence devices
//! are in `device_status`, the remedies in `remedy`.

mod link;

use core::fmt::Write as _;
use core::time::Duration;

pub(super) use link::link_reason;

use super::device_status::said_text;
use super::frozen::frozen;
use super::remedy;
use crate::config::Plan;
use crate::engine::Snapshot;
use crate::engine::event::Degradation;
use crate::engine::handover::Stay;
use crate::engine::reasons::{fmt_cause, fmt_degradation, fmt_stay};
use crate::engine::snapshot::{PeerView, Waiting};
use crate::engine::transcript::state_word;
use crate::io::fence::FencePool;
use crate::io::link::Link as Carrier;
use crate::types::{Instant, Mac, Names, PeerState, VipId};
use crate::wire::control::status::{
    Change, Claim, Health, KeyState, Nic, Node, NodeState, Refused, Status, Trouble, Vip,
};

/// How long a passive node shows whose VIP answers: it asks several times a second.
const ANSWER_SHOWN: Duration = Duration::from_secs(1);
/// How soon after a takeover a claim counts.
const CLAIM_SETTLE: Duration = Duration::from_secs(1);
/// How long a holder shows another machine's claim: a stranger may announce itself only once.
const CLAIM_SHOWN: Duration = Duration::from_secs(60);

/// Who else was last seen to claim a VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenClaim {
    /// The VIP.
    pub vip: VipId,
    /// Whose MAC.
    pub mac: Mac,
    /// When.
    pub at: Instant,
}

/// What the status is made of.
pub struct Sources<'a> {
    /// The moment of the turn.
    pub now: Instant,
    /// When this daemon started.
    pub started: Instant,
    /// The configuration.
    pub plan: &'a Plan,
    /// The engine's view.
    pub view: &'a Snapshot,
    /// The fence devices at work.
    pub fences: &'a FencePool,
    /// The heartbeat links, by number.
    pub links: &'a [Carrier],
    /// How many datagrams were refused on each link, by number.
    pub refused_by_link: &'a [u64],
    /// How many datagrams were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Whether a VIP is held in the kernel.
    pub is_held: &'a dyn Fn(VipId) -> bool,
    /// Others' claims of the VIPs, the latest of each.
    pub claims: &'a [SeenClaim],
    /// The heartbeat keys.
    pub keys: KeyState,
    /// Peers that send with a key that is not ours.
    pub wrong_keys: Vec<Trouble>,
}

impl Sources<'_> {
    pub(super) fn names(&self) -> &Names {
        &self.plan.names
    }

    pub(super) fn ago(&self, at: Instant) -> u64 {
        millis(self.now.since(at))
    }

    /// The whole document.
    pub fn status(&self) -> Status {
        let frozen = frozen(self.now, self.view, self.names());
        Status {
            cluster: self.plan.cluster.clone(),
            node: self.names().node(self.view.node).to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: self.ago(self.started),
            health: self.health(frozen.is_some()),
            degradations: self.troubles(),
            frozen,
            blocked: self.blocked(),
            nodes: self.nodes(),
            links: self.links(),
            nics: self.nics(),
            vips: self.vips(),
            fence_devices: self.fence_devices(),
            refused: self
                .refused
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| Refused { reason: (*reason).to_owned(), count: *count })
                .collect(),
            keys: self.keys.clone(),
        }
    }

    fn health(&self, frozen: bool) -> Health {
        let claims = |peer: &&PeerView| peer.heard && told_state(peer) == Some(PeerState::Active);
        let peer_active = self.view.peers.iter().find(claims).is_some();
        let degraded = !self.view.degraded.is_empty() || !self.wrong_keys.is_empty();
        match self.view.state {
            _ if frozen => Health::Frozen,
            PeerState::Active if peer_active || self.claims().next().is_some() => Health::Collision,
            PeerState::Active => {
                if degraded {
                    Health::Degraded
                } else {
                    Health::Ok
                }
            }
            PeerState::Isolated => Health::Degraded,
            PeerState::Releasing if self.view.waiting.is_some() => Health::NoActive,
            PeerState::Acquiring | PeerState::Fencing | PeerState::Releasing => Health::TakingOver,
            PeerState::Joining | PeerState::Standby if peer_active => {
                if degraded {
                    Health::Degraded
                } else {
                    Health::Ok
                }
            }
            PeerState::Joining => Health::Starting,
            PeerState::Standby | PeerState::Stopped | PeerState::Frozen => self.waiting_health(),
        }
    }

    /// The claims that are recent enough to be shown.
    fn claims(&self) -> impl Iterator<Item = &SeenClaim> {
        let view = self.view;
        let is_active = view.state == PeerState::Active;
        // The last holder's packets may still be under way when the takeover is complete.
        let from = if is_active { view.since + CLAIM_SETTLE } else { Instant::ZERO };
        let shown = match view.state {
            PeerState::Active => CLAIM_SHOWN,
            PeerState::Joining
            | PeerState::Standby
            | PeerState::Isolated
            | PeerState::Fencing
            | PeerState::Frozen
            | PeerState::Acquiring
            | PeerState::Releasing
            | PeerState::Stopped => ANSWER_SHOWN,
        };
        let is_recent =
            move |claim: &&SeenClaim| claim.at >= from && self.now.since(claim.at) < shown;
        self.claims.iter().filter(is_recent)
    }

    /// The health of a passive node that hears nobody active.
    fn waiting_health(&self) -> Health {
        match self.view.waiting {
            Some(Waiting::Listening(_) | Waiting::Purging) => Health::Starting,
            Some(Waiting::OtherFirst(_) | Waiting::Yielding) | None => Health::TakingOver,
            Some(
                Waiting::PathBad
                | Waiting::Unasked
                | Waiting::Parted(_)
                | Waiting::Settling(_)
                | Waiting::Resting(_)
                | Waiting::CannotRelease,
            ) => Health::NoActive,
        }
    }

    fn blocked(&self) -> String {
        match self.view.waiting {
            None => String::new(),
            Some(Waiting::Listening(until)) => {
                let left = millis(until.since(self.now));
                format!("listening for its peers for another {left} ms (initdead)")
            }
            Some(Waiting::Purging) => {
                "removing VIPs from its kernel that it does not hold".to_owned()
            }
            Some(Waiting::PathBad) => {
                "a service NIC has no carrier, or no ping target answers: it fences nobody and \
                 takes nothing over"
                    .to_owned()
            }
            Some(Waiting::Unasked) => {
                "its questions who has the VIPs do not leave a service NIC: it fences nobody \
                 before it has looked"
                    .to_owned()
            }
            Some(Waiting::Settling(until)) => {
                let left = millis(until.since(self.now));
                format!(
                    "a service NIC has only just recovered: it looks for its peers for another \
                     {left} ms (initdead) before it fences anybody"
                )
            }
            Some(Waiting::Parted(until)) => {
                let left = millis(until.since(self.now));
                format!(
                    "nothing passed between the nodes over a service NIC before the other one \
                     fell silent: that its VIPs are silent is no sign, and it is left alone for \
                     another {left} ms (isolated-grace)"
                )
            }
            Some(Waiting::Yielding) => {
                "it gave the service away because of a bad service NIC, and waits for the other \
                 node to take it"
                    .to_owned()
            }
            Some(Waiting::Resting(until)) => {
                let left = millis(until.since(self.now));
                format!("its last takeover failed; the next attempt may begin in {left} ms")
            }
            Some(Waiting::CannotRelease) => {
                "it cannot give up what it holds, and tries again every second; until then the \
                 other node may not take over"
                    .to_owned()
            }
            Some(Waiting::OtherFirst(node)) => format!("{} goes first", self.names().node(node)),
        }
    }

    /// Everything that is worse than it should be; that a node serves unheard comes first.
    fn troubles(&self) -> Vec<Trouble> {
        let degraded = self.view.degraded.iter().map(|(what, at)| self.trouble(*what, *at));
        let wrong_keys = self.wrong_keys.iter().cloned();
        self.isolated().into_iter().chain(wrong_keys).chain(degraded).collect()
    }

    fn isolated(&self) -> Option<Trouble> {
        if self.view.state != PeerState::Isolated {
            return None;
        }
        let peer = self.view.peers.iter().find(|peer| !peer.heard)?;
        let name = self.names().node(peer.node);
        let end = match peer.grace_until {
            Some(until) => {
                let left = millis(until.since(self.now));
                format!("in {left} ms (isolated-grace) {name} is fenced")
            }
            None => format!("{name} is left alone for as long as its VIPs answer"),
        };
        Some(Trouble {
            code: "isolated".to_owned(),
            what: format!("{name} is not heard on any link, but its VIPs answer: {end}"),
            since_ms: self.ago(self.view.since),
            remedy: "mend the heartbeat links: cables, switch ports, firewalls".to_owned(),
        })
    }

    fn trouble(&self, what: Degradation, since: Instant) -> Trouble {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _infallible = match (what, self.view.stay) {
            (Degradation::PathBad, Some(stay)) => self.fmt_staying(&mut text, stay),
            (_, _) => fmt_degradation(&mut text, what, self.names()),
        };
        let mut said = None;
        if let Degradation::FenceDevice(id) = what {
            said = self.last_said(id);
            text.extend(said.map(|said| format!(" ({})", said_text(said))));
        }
        let (code, remedy) = remedy::of_degradation(what, self.plan, said);
        Trouble { code: code.to_owned(), what: text, since_ms: self.ago(since), remedy }
    }

    /// An active with a bad service path, and why it does not hand over.
    fn fmt_staying(&self, text: &mut String, stay: Stay) -> core::fmt::Result {
        text.push_str("a service NIC of this node has no carrier, or no ping target answers");
        text.push_str("; it stays active: ");
        let (Stay::Resting(until) | Stay::Waiting(until)) = stay else {
            return fmt_stay(text, stay, self.names());
        };
        fmt_stay(text, stay, self.names())?;
        write!(text, ", for another {} ms", millis(until.since(self.now)))
    }

    fn nodes(&self) -> Vec<Node> {
        let mut nodes: Vec<Node> =
            self.view.peers.iter().map(|peer| self.peer(peer)).chain([self.this_node()]).collect();
        nodes.sort_by_key(|node| node.id);
        nodes
    }

    fn this_node(&self) -> Node {
        let view = self.view;
        let mut reason = String::new();
        let _infallible = fmt_cause(&mut reason, view.cause, self.names());
        Node {
            name: self.names().node(view.node).to_owned(),
            id: view.node.get(),
            local: true,
            state: view.state.into(),
            since_ms: self.ago(view.since),
            last_change: Some(Change {
                what: format!("became {}", state_word(view.state)),
                reason,
                ago_ms: self.ago(view.since),
            }),
            heard_ms: None,
            term: view.term.0,
            held_term: view.held_term.0,
            incarnation: view.incarnation.to_string(),
            boot: view.boot.to_string(),
            eligible: view.eligible,
            held: false,
        }
    }

    fn peer(&self, peer: &PeerView) -> Node {
        let (state, since) = match (peer.heard, peer.told) {
            (true, Some((state, _))) => (state.into(), peer.told_since),
            (false, Some((PeerState::Stopped, _))) => (NodeState::Stopped, peer.told_since),
            (false, Some(_)) => (NodeState::Lost, peer.presence_since),
            (_, None) => (NodeState::Unknown, peer.presence_since),
        };
        let change = peer.told.map(|(told, _)| Change {
            what: format!("became {}", state.as_str()),
            reason: if state == NodeState::Lost {
                format!("silent on all links; it was {}", state_word(told))
            } else {
                "it said so".to_owned()
            },
            ago_ms: self.ago(since),
        });
        Node {
            name: self.names().node(peer.node).to_owned(),
            id: peer.node.get(),
            local: false,
            state,
            since_ms: self.ago(since),
            last_change: change,
            heard_ms: peer.heard_at.map(|at| self.ago(at)),
            term: peer.told.map_or(0, |(_, term)| term.0),
            held_term: peer.held_term.0,
            incarnation: peer.incarnation.map(|i| i.to_string()).unwrap_or_default(),
            boot: peer.boot.map(|boot| boot.to_string()).unwrap_or_default(),
            eligible: peer.heard && peer.eligible,
            held: false,
        }
    }

    fn nics(&self) -> Vec<Nic> {
        let plans = self.view.nics.iter().zip(&self.plan.nics);
        plans
            .map(|(view, plan)| Nic {
                name: plan.name.clone(),
                carrier: view.carrier,
                reach: (!plan.ping.is_empty()).then_some(view.reach),
                good: view.good,
                across: view.across,
            })
            .collect()
    }

    fn vips(&self) -> Vec<Vip> {
        let ids = (0..=u16::MAX).map(VipId);
        ids.zip(&self.plan.vips)
            .map(|(id, plan)| Vip {
                address: plan.net.to_string(),
                nic: self.names().nic(plan.nic).to_owned(),
                held: (self.is_held)(id),
                claimed_by: self.claims().find(|claim| claim.vip == id).map(|claim| Claim {
                    mac: claim.mac.to_string(),
                    node: self.owner_of(claim.mac),
                    ago_ms: self.ago(claim.at),
                }),
            })
            .collect()
    }

    fn owner_of(&self, mac: Mac) -> String {
        let owner = self.view.peers.iter().find(|peer| peer.macs.contains(&mac));
        owner.map(|peer| self.names().node(peer.node).to_owned()).unwrap_or_default()
    }
}

fn told_state(peer: &PeerView) -> Option<PeerState> {
    peer.told.map(|(state, _)| state)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
