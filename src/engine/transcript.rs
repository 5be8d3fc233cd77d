//! Events as one line of text each: for the log, the event stream and golden transcripts.
//!
//! A line begins with its subject, so that `grep role`, `grep fence` and `grep link` work.

use core::fmt;
use core::time::Duration;

use super::event::{Change, Degradation, Event, Kernel, Life, LinkState, Verdict};
use super::reasons::{fmt_cause, fmt_degradation, fmt_stay, frozen_text, proof_text, refusal_text};
use super::telling::fmt_kernel;
use crate::types::{Names, PeerState, Power};

/// How loud an event is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Somebody should look at once.
    Error,
    /// Something is worse than it should be.
    Warning,
    /// The usual course of things.
    Info,
}

/// An event with the names of what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    event: &'a Event,
    names: &'a Names,
}

impl Event {
    /// This event as a line of text.
    pub fn line<'a>(&'a self, names: &'a Names) -> Line<'a> {
        Line { event: self, names }
    }

    /// How loud it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Frozen { .. }
            | Self::Collision { .. }
            | Self::TwoActives { .. }
            | Self::AcquireFailed { .. }
            | Self::ReleaseFailed { .. }
            | Self::VipNotRestored { .. } => Severity::Error,
            Self::PeerLost { .. }
            | Self::PeerLate { .. }
            | Self::Kernel { .. }
            | Self::Stalled { .. }
            | Self::FenceLevel { .. }
            | Self::FenceLevelFailed { .. }
            | Self::PowerOnFailed { .. }
            | Self::VipGone { .. }
            | Self::VipStray { .. }
            | Self::Stays { .. }
            | Self::ConfirmedOff { .. }
            | Self::ProofVoid { .. }
            | Self::Refused { .. } => Severity::Warning,
            Self::Degraded { change, .. } => match change {
                Change::Begun => Severity::Warning,
                Change::Mended | Change::Unjudged => Severity::Info,
            },
            Self::Nic { good, .. } => {
                if *good {
                    Severity::Info
                } else {
                    Severity::Warning
                }
            }
            Self::Link { state, .. } => match state {
                LinkState::Down | LinkState::OneWay => Severity::Warning,
                LinkState::Quiet | LinkState::Up | LinkState::Late => Severity::Info,
            },
            Self::Role { to, .. } => match to {
                PeerState::Frozen => Severity::Error,
                PeerState::Isolated | PeerState::Fencing => Severity::Warning,
                PeerState::Joining
                | PeerState::Standby
                | PeerState::Acquiring
                | PeerState::Active
                | PeerState::Releasing
                | PeerState::Stopped => Severity::Info,
            },
            Self::FenceDevice { reading, .. } => match reading {
                Ok(Power::On | Power::Off) => Severity::Info,
                Ok(Power::Unknown) | Err(_) => Severity::Warning,
            },
            Self::PeerRole { .. }
            | Self::PeerHeard { .. }
            | Self::Granted { .. }
            | Self::Proven { .. }
            | Self::PowerOn { .. }
            | Self::PoweredOn { .. }
            | Self::Acquired { .. }
            | Self::VipRestored { .. } => Severity::Info,
        }
    }

    /// The name of the peer, link, NIC, VIP or device it is about; empty if it is about none.
    pub fn subject<'n>(&self, names: &'n Names) -> &'n str {
        match self {
            Self::PeerRole { node, .. }
            | Self::PeerHeard { node, .. }
            | Self::PeerLate { node }
            | Self::Kernel { node, .. }
            | Self::PeerLost { node, .. }
            | Self::Granted { node, .. }
            | Self::Proven { node, .. }
            | Self::ProofVoid { node, .. }
            | Self::FenceLevel { node, .. }
            | Self::FenceLevelFailed { node, .. }
            | Self::Frozen { node, .. }
            | Self::PowerOn { node, .. }
            | Self::PoweredOn { node }
            | Self::PowerOnFailed { node, .. }
            | Self::TwoActives { node, .. }
            | Self::ConfirmedOff { node, .. } => names.node(*node),
            Self::Link { link, .. } | Self::Refused { link, .. } => names.link(*link),
            Self::Nic { nic, .. } => names.nic(*nic),
            Self::FenceDevice { device, .. } => names.device(*device),
            Self::Collision { vip, .. }
            | Self::VipGone { vip }
            | Self::VipStray { vip }
            | Self::VipRestored { vip }
            | Self::VipNotRestored { vip, .. } => names.vip(*vip),
            Self::Degraded { what, .. } => match what {
                Degradation::PeerMissing(node)
                | Degradation::LinkDown(node, _)
                | Degradation::PeerNotReady(node)
                | Degradation::ConfigDiffers(node) => names.node(*node),
                Degradation::Parted(_, nic) => names.nic(*nic),
                Degradation::FenceDevice(id) | Degradation::FenceContradicted(id) => {
                    names.device(*id)
                }
                Degradation::Record | Degradation::Mark | Degradation::PathBad => "",
            },
            Self::Stays { why } => why.node().map_or("", |node| names.node(node)),
            Self::Role { .. }
            | Self::Stalled { .. }
            | Self::Acquired { .. }
            | Self::AcquireFailed { .. }
            | Self::ReleaseFailed { .. } => "",
        }
    }

    /// The kind of event, one word, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Role { .. } => "role",
            Self::PeerRole { .. } => "peer-role",
            Self::PeerHeard { .. } => "peer-heard",
            Self::PeerLate { .. } => "peer-late",
            Self::PeerLost { .. } => "peer-lost",
            Self::Kernel { verdict: Kernel::Answers, .. } => "kernel-answers",
            Self::Kernel { verdict: Kernel::Mute, .. } => "kernel-mute",
            Self::Kernel { verdict: Kernel::Silent { .. }, .. } => "host-dead",
            Self::Link { .. } => "link",
            Self::Stalled { .. } => "stalled",
            Self::Nic { .. } => "nic",
            Self::Granted { .. } => "granted",
            Self::Proven { .. } => "proven",
            Self::ProofVoid { .. } => "proof-void",
            Self::FenceLevel { .. } => "fence-level",
            Self::FenceDevice { .. } => "fence-device",
            Self::FenceLevelFailed { .. } => "fence-level-failed",
            Self::Frozen { .. } => "frozen",
            Self::PowerOn { .. } => "power-on",
            Self::PoweredOn { .. } => "powered-on",
            Self::PowerOnFailed { .. } => "power-on-failed",
            Self::Collision { .. } => "collision",
            Self::TwoActives { .. } => "two-actives",
            Self::Acquired { .. } => "acquired",
            Self::AcquireFailed { .. } => "acquire-failed",
            Self::ReleaseFailed { .. } => "release-failed",
            Self::VipGone { .. } => "vip-gone",
            Self::VipStray { .. } => "vip-stray",
            Self::VipRestored { .. } => "vip-restored",
            Self::VipNotRestored { .. } => "vip-not-restored",
            Self::Stays { .. } => "stays",
            Self::Degraded { .. } => "degraded",
            Self::ConfirmedOff { .. } => "confirmed-off",
            Self::Refused { .. } => "refused",
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Role { .. }
            | Event::PeerRole { .. }
            | Event::PeerHeard { .. }
            | Event::PeerLate { .. }
            | Event::PeerLost { .. }
            | Event::Kernel { .. }
            | Event::Link { .. }
            | Event::Stalled { .. }
            | Event::Nic { .. }
            | Event::Refused { .. } => self.fmt_hearing(f),
            Event::Granted { .. }
            | Event::Proven { .. }
            | Event::ProofVoid { .. }
            | Event::FenceLevel { .. }
            | Event::FenceDevice { .. }
            | Event::FenceLevelFailed { .. }
            | Event::Frozen { .. }
            | Event::PowerOn { .. }
            | Event::PoweredOn { .. }
            | Event::PowerOnFailed { .. }
            | Event::ConfirmedOff { .. } => self.fmt_proving(f),
            Event::Collision { .. }
            | Event::TwoActives { .. }
            | Event::Acquired { .. }
            | Event::AcquireFailed { .. }
            | Event::ReleaseFailed { .. }
            | Event::VipGone { .. }
            | Event::VipStray { .. }
            | Event::VipRestored { .. }
            | Event::VipNotRestored { .. }
            | Event::Stays { .. }
            | Event::Degraded { .. } => self.fmt_holding(f),
        }
    }
}

impl Line<'_> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`fmt` has sorted the events exhaustively; the others belong to the siblings"
    )]
    fn fmt_hearing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names;
        match self.event {
            Event::Role { from, to, cause, term } => {
                let (from, to) = (state_word(*from), state_word(*to));
                write!(f, "role {from} -> {to} term={term}: ")?;
                fmt_cause(f, *cause, names)
            }
            Event::PeerRole { node, state, term } => {
                write!(f, "peer {} is {} term={term}", names.node(*node), state_word(*state))
            }
            Event::PeerHeard { node, incarnation, life } => {
                let life = match life {
                    Life::First => "heard for the first time",
                    Life::Same => "heard again, the same daemon",
                    Life::Restarted => "heard with a restarted daemon",
                    Life::Rebooted => "heard after a reboot",
                };
                write!(f, "peer {} {life} incarnation={incarnation}", names.node(*node))
            }
            Event::PeerLate { node } => {
                write!(f, "peer {} is late on all links", names.node(*node))
            }
            Event::Kernel { node, verdict } => fmt_kernel(f, names.node(*node), *verdict),
            Event::PeerLost { node, silent, was_heard } => {
                let silence = if *was_heard { "silent for" } else { "not heard once in" };
                write!(f, "peer {} lost: {silence} {}", names.node(*node), Ms(*silent))
            }
            Event::Link { node, link, state } => {
                let (link, node) = (names.link(*link), names.node(*node));
                write!(f, "link {link} to {node}: {}", link_text(*state))
            }
            Event::Stalled { late_by } => {
                write!(f, "stalled: this daemon woke {} late: what it did ", Ms(*late_by))?;
                write!(f, "not hear meanwhile is nobody's silence")
            }
            Event::Nic { nic, good } => {
                let text =
                    if *good { "good" } else { "bad: no carrier, or no ping target answers" };
                write!(f, "nic {}: {text}", names.nic(*nic))
            }
            Event::Refused { node, link, reason, count } => {
                let (node, link) = (names.node(*node), names.link(*link));
                let reason = refusal_text(*reason);
                write!(f, "refused: heartbeat as from {node} on {link}: {reason} count={count}")
            }
            _ => Ok(()),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`fmt` has sorted the events exhaustively; the others belong to the siblings"
    )]
    fn fmt_proving(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names;
        match self.event {
            Event::Granted { node, term } => {
                write!(f, "granted: {} may take over term={term}", names.node(*node))
            }
            Event::Proven { node, by } => {
                let (node, by) = (names.node(*node), proof_text(*by));
                write!(f, "proof: {node} holds nothing: {by}")
            }
            Event::ProofVoid { node, by } => {
                let (node, by) = (names.node(*node), proof_text(*by));
                write!(f, "proof void: {node} was proven ({by}), but that no longer counts")
            }
            Event::FenceLevel { node, level } => {
                write!(f, "fence: cutting the power of {}, level {level}", names.node(*node))
            }
            Event::FenceDevice { device, reading } => {
                write!(f, "fence device {}: ", names.device(*device))?;
                match reading {
                    Ok(power) => write!(f, "power {power}"),
                    Err(fault) => write!(f, "{fault}"),
                }
            }
            Event::FenceLevelFailed { node, level, device, cause } => {
                let (node, device) = (names.node(*node), names.device(*device));
                let cause = frozen_text(*cause);
                write!(f, "fence: level {level} of {node} failed at {device}: {cause}")
            }
            Event::Frozen { node, cause, retry_in } => {
                let name = names.node(*node);
                write!(
                    f,
                    "frozen: no proof that {name} holds nothing: {}; trying again in {}; if {name} \
                     is certainly without power: tandem confirm-off {name}",
                    frozen_text(*cause),
                    Ms(*retry_in)
                )
            }
            Event::PowerOn { node, level } => {
                let node = names.node(*node);
                write!(f, "after-fence: powering {node} on again, by the devices of level {level}")
            }
            Event::PoweredOn { node } => {
                write!(f, "after-fence: {} has power again", names.node(*node))
            }
            Event::PowerOnFailed { node, device, reading, retry_in } => {
                let (node, device) = (names.node(*node), names.device(*device));
                write!(f, "after-fence: {node} is not powered on: {device}: ")?;
                match reading {
                    Ok(power) => write!(f, "power {power}")?,
                    Err(fault) => write!(f, "{fault}")?,
                }
                match retry_in {
                    Some(time) => write!(f, "; trying again in {}", Ms(*time)),
                    None => write!(f, "; given up: power it on by hand"),
                }
            }
            Event::ConfirmedOff { node, force } => {
                let forced = if *force { ", overruling evidence to the contrary" } else { "" };
                write!(f, "confirmed: an operator says that {} is off{forced}", names.node(*node))
            }
            _ => Ok(()),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`fmt` has sorted the events exhaustively; the others belong to the siblings"
    )]
    fn fmt_holding(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names;
        match self.event {
            Event::Collision { vip, mac, node } => {
                write!(f, "collision: {mac} ")?;
                if let Some(node) = node {
                    write!(f, "({}) ", names.node(*node))?;
                }
                write!(f, "claims {}, which this node holds", names.vip(*vip))
            }
            Event::TwoActives { node, term, verdict } => {
                let node = names.node(*node);
                let (claim, verdict) = match verdict {
                    Verdict::WeYield => ("claims to be active too", "this node gives way"),
                    Verdict::TheyMustYield => ("claims to be active too", "it must give way"),
                    Verdict::TheyYield => ("held the resources too", "it is giving them up"),
                };
                write!(f, "collision: {node} {claim} term={term}: {verdict}")
            }
            Event::Acquired { term, took } => {
                write!(f, "acquired: all resources in {} term={term}", Ms(*took))
            }
            Event::AcquireFailed { why, retry_in } => write!(
                f,
                "acquire failed: {}; giving up what was taken, next attempt in {} at the earliest",
                why.as_str(),
                Ms(*retry_in)
            ),
            Event::ReleaseFailed { why } => {
                write!(f, "release failed: {}; trying again until it is done", why.as_str())
            }
            Event::VipStray { vip } => {
                let vip = names.vip(*vip);
                write!(f, "vip {vip} is on this node, which does not hold it: it is taken off")
            }
            Event::VipGone { vip } => {
                write!(f, "vip {} was removed by somebody else: putting it back", names.vip(*vip))
            }
            Event::VipRestored { vip } => write!(f, "vip {} is back", names.vip(*vip)),
            Event::VipNotRestored { vip, why } => {
                write!(f, "vip {} cannot be put back: {}", names.vip(*vip), why.as_str())
            }
            Event::Stays { why } => {
                write!(f, "stays active with a bad service NIC: ")?;
                fmt_stay(f, *why, names)
            }
            Event::Degraded { what, change } => {
                let word = match change {
                    Change::Begun => "degraded",
                    Change::Mended => "no longer degraded",
                    Change::Unjudged => "no longer judged",
                };
                write!(f, "{word}: ")?;
                fmt_degradation(f, *what, names)
            }
            _ => Ok(()),
        }
    }
}

/// A duration in milliseconds, with three decimals below one second.
pub(super) struct Ms(pub(super) Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros.is_multiple_of(1_000) || micros >= 1_000_000 {
            write!(f, "{}ms", micros / 1_000)
        } else {
            write!(f, "{}.{:03}ms", micros / 1_000, micros % 1_000)
        }
    }
}

/// The word for a state, as the configuration, the status and the documentation have it.
pub fn state_word(state: PeerState) -> &'static str {
    match state {
        PeerState::Joining => "joining",
        PeerState::Standby => "standby",
        PeerState::Isolated => "isolated",
        PeerState::Fencing => "fencing",
        PeerState::Frozen => "frozen",
        PeerState::Acquiring => "acquiring",
        PeerState::Active => "active",
        PeerState::Releasing => "releasing",
        PeerState::Stopped => "stopped",
    }
}

/// The word for a link's state.
pub fn link_word(state: LinkState) -> &'static str {
    match state {
        LinkState::Quiet => "quiet",
        LinkState::Up => "up",
        LinkState::Late => "late",
        LinkState::OneWay => "one-way",
        LinkState::Down => "down",
    }
}

fn link_text(state: LinkState) -> &'static str {
    match state {
        LinkState::Quiet => "quiet",
        LinkState::Up => "up",
        LinkState::Late => "late",
        LinkState::OneWay => "one-way: the peer is heard, but does not hear us",
        LinkState::Down => "down",
    }
}
