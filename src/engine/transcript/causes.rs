//! What the causes of a fence mean: why there is no proof, or how it was had.

use core::fmt;

use crate::engine::event::{FrozenCause, ProofKind};
use crate::types::{FenceFault, Stray};

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
        FrozenCause::WitnessOn => "its witness reads that it has power",
        FrozenCause::Answers => "its witness reads off, but its VIPs answer: is it that host's?",
        FrozenCause::NeverOn => {
            "its witness reads off, and has not read on while the host was heard: is it that \
             host's?"
        }
        FrozenCause::OwnMachine => "its fence device is this node's own: nothing is told to it",
        FrozenCause::OtherMachine => "its fence device is another machine's: nothing is told to it",
        FrozenCause::Failed(FenceFault::Garbled) => "its fence device's answers are not understood",
        FrozenCause::Failed(FenceFault::AgentFailed) => "its fence agent failed",
        FrozenCause::Failed(_) => "its fence device gave no verdict in time",
    }
}

/// What a proof says of the peer.
pub(super) fn proof_text(kind: ProofKind) -> &'static str {
    match kind {
        ProofKind::Granted => "it granted the takeover",
        ProofKind::Released => "it released, or said goodbye",
        ProofKind::Fenced => "its power reads off",
        ProofKind::Witnessed => "a witness reads its power off; nobody has cut it",
        ProofKind::Confirmed => "an operator confirmed it",
    }
}

/// How a proof was had, as a reason for a takeover.
pub(super) fn fmt_proof(f: &mut impl fmt::Write, kind: ProofKind) -> fmt::Result {
    f.write_str(match kind {
        ProofKind::Granted => "granted by the peer",
        ProofKind::Released => "released by the peer (non-STONITH)",
        ProofKind::Fenced => "the peer's power reads off (STONITH failover)",
        ProofKind::Witnessed => "a witness reads the peer's power off, nobody cut it (non-STONITH)",
        ProofKind::Confirmed => "an operator confirmed the peer off",
    })
}

/// Writes what is wrong with a device that is not its host's.
pub(super) fn fmt_stray(f: &mut impl fmt::Write, device: &str, stray: Stray) -> fmt::Result {
    let whose = match stray {
        Stray::Own => "this node's own",
        Stray::Other => "of another machine than its host",
    };
    write!(f, "fence device {device} is {whose}: nothing is told to it, what it reads is no ")?;
    write!(f, "proof, and a failover that needs it would freeze")
}
