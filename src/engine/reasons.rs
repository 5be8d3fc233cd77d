//! Why something is as it is, in words: parts of sentences that log, status and transcript share.

use core::fmt;

use super::event::{Cause, Degradation, FrozenCause, ProofKind, Refusal};
use super::handover::Stay;
use crate::types::{FenceFault, Names};

/// What a frozen cause means.
pub fn frozen_text(cause: FrozenCause) -> &'static str {
    match cause {
        FrozenCause::NoDevice => "no fence device is configured for it",
        FrozenCause::Unreachable => {
            "its fence device does not answer and the host is silent: both may have lost power"
        }
        FrozenCause::Refuses(FenceFault::Credentials) => {
            "its fence device refuses the user or the password"
        }
        FrozenCause::Refuses(FenceFault::Certificate) => {
            "its fence device shows another certificate than the expected one: nothing was told to \
             it"
        }
        FrozenCause::Refuses(FenceFault::Privilege) => {
            "its fence device denies this user the privilege to switch power"
        }
        FrozenCause::Refuses(FenceFault::Unsupported) => {
            "its fence device does not know the command"
        }
        FrozenCause::Refuses(FenceFault::Exhausted) => {
            "its fence device opens no session: all that it can have are in use"
        }
        FrozenCause::Refuses(_) => "its fence device refuses the command",
        FrozenCause::StaysOn => "its fence device accepted the command, but the power stays on",
        FrozenCause::Unclear => "its fence device answers, but not with on or off",
        FrozenCause::Contradicted => {
            "its fence device reads off, as it did while the host was heard: is it that host's?"
        }
        FrozenCause::Failed(FenceFault::Garbled) => "its fence device's answers are not understood",
        FrozenCause::Failed(FenceFault::AgentFailed) => "its fence agent failed",
        FrozenCause::Failed(_) => "its fence device gave no verdict in time",
    }
}

pub(super) fn proof_text(kind: ProofKind) -> &'static str {
    match kind {
        ProofKind::Granted => "it granted the takeover",
        ProofKind::Released => "it released, or said goodbye",
        ProofKind::Fenced => "its power reads off",
        ProofKind::Confirmed => "an operator confirmed it",
    }
}

pub(super) fn refusal_text(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Stranger => "not a configured peer",
        Refusal::NotForUs => "addressed to another node",
        Refusal::OtherLink => "sent on another link",
        Refusal::Replayed => "heard before",
        Refusal::Stale => "older than the replay window",
        Refusal::Unproven => {
            "of an incarnation that does not answer to ours: it does not hear us, or was recorded"
        }
        Refusal::Term => "with a term that nobody can have reached",
    }
}

/// Writes why a role changed, with names.
pub fn fmt_cause(f: &mut impl fmt::Write, cause: Cause, names: &Names) -> fmt::Result {
    match cause {
        Cause::Started => write!(f, "started"),
        Cause::Adopted => write!(f, "an earlier daemon of this boot held the resources"),
        Cause::ActiveHeard(node) => write!(f, "{} holds the resources", names.node(node)),
        Cause::OtherFirst(node) => write!(f, "{} goes first", names.node(node)),
        Cause::VipsAnswer(node) => {
            write!(f, "{} is not heard, but its VIPs answer", names.node(node))
        }
        Cause::VipsSilent(node) => {
            write!(f, "{} is lost and its VIPs are silent", names.node(node))
        }
        Cause::GraceOver(node) => {
            write!(f, "{} has been unheard for isolated-grace", names.node(node))
        }
        Cause::PeerHeard(node) => write!(f, "{} is heard again", names.node(node)),
        Cause::FenceFailed(node) => {
            write!(f, "no fence level proved that {} is off", names.node(node))
        }
        Cause::Proof(kind) => match kind {
            ProofKind::Granted => write!(f, "granted by the peer"),
            ProofKind::Released => write!(f, "released by the peer (non-STONITH)"),
            ProofKind::Fenced => write!(f, "the peer's power reads off (STONITH failover)"),
            ProofKind::Confirmed => write!(f, "an operator confirmed the peer off"),
        },
        Cause::Acquired => write!(f, "all resources are held"),
        Cause::AcquireFailed => write!(f, "the resources could not be acquired"),
        Cause::Collision(node) => {
            write!(f, "{} holds a later claim: giving way", names.node(node))
        }
        Cause::PathWorse(node) => {
            write!(f, "a service NIC is bad here and good at {}: ", names.node(node))?;
            write!(f, "handing over")
        }
        Cause::Released => write!(f, "all resources are given up"),
        Cause::NotEligible => write!(f, "this node could not become active now"),
        Cause::Stop => write!(f, "the daemon is to stop"),
    }
}

/// Writes why a holder stays although its service path is bad, with names.
pub fn fmt_stay(f: &mut impl fmt::Write, stay: Stay, names: &Names) -> fmt::Result {
    match stay {
        Stay::Unheard(node) => write!(f, "{} is not heard", names.node(node)),
        Stay::NotBetter(node) => write!(f, "{} is no better off", names.node(node)),
        Stay::ConfigDiffers(node) => {
            write!(f, "the configuration of {} differs: its NICs may be others", names.node(node))
        }
        Stay::NotReady(node) => write!(f, "{} could not take over now", names.node(node)),
        Stay::JustStarted(node) => {
            write!(f, "{} has just started: what its NICs reach is not known", names.node(node))
        }
        Stay::Doubting => write!(f, "this daemon stood still, and asks itself what it holds"),
        Stay::Resting(_) => {
            write!(f, "the service was moved for a bad path a short while ago (path-rest)")
        }
        Stay::Waiting(_) => write!(f, "it has not been bad for long (path-hold)"),
    }
}

/// Writes what is degraded, with names.
pub fn fmt_degradation(f: &mut impl fmt::Write, what: Degradation, names: &Names) -> fmt::Result {
    match what {
        Degradation::PeerMissing(node) => {
            write!(f, "{} is missing: nobody could take over", names.node(node))
        }
        Degradation::LinkDown(node, id) => {
            let (link, node) = (names.link(id), names.node(node));
            write!(f, "link {link} to {node} does not work both ways: a path less")
        }
        Degradation::PeerNotReady(node) => {
            write!(f, "{} is heard, but could not take over now", names.node(node))
        }
        Degradation::FenceDevice(id) => {
            let device = names.device(id);
            write!(f, "fence device {device} gives no reading: a failover that needs it ")?;
            write!(f, "would freeze")
        }
        Degradation::FenceContradicted(id) => {
            let device = names.device(id);
            write!(f, "fence device {device} read off while its host was heard: its off is no ")?;
            write!(f, "proof, a failover that needs it would freeze")
        }
        Degradation::Record => write!(f, "the state directory cannot be written"),
        Degradation::Mark => {
            write!(f, "the runtime directory cannot be written: a restart would not adopt")
        }
        Degradation::ConfigDiffers(node) => {
            write!(f, "the configuration of {} differs from ours", names.node(node))
        }
        Degradation::Parted(node, nic) => {
            let (node, nic) = (names.node(node), names.nic(nic));
            write!(
                f,
                "nothing passes to and from {node} over {nic}, though both have carrier: a "
            )?;
            write!(f, "switch port is dead, here or there")
        }
        Degradation::PathBad => {
            write!(f, "a service NIC of this node has no carrier, or no ping target answers: ")?;
            write!(f, "as a standby it fences nobody")
        }
    }
}
