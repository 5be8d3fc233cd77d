//! The role machine; the only place where the role changes.
//!
//! ```text
//!   joining ──► standby ──► acquiring ──► active ──► releasing ──► standby | stopped
//!      │           │            ▲
//!      ▼           ▼            │ proof
//!   isolated ──► fencing ───────┤
//!                  │ all levels failed
//!                  ▼            │ proof appears
//!                frozen ────────┘
//! ```
//!
//! [`is_allowed`] is the drawing as a table; a change that is not in it is a broken invariant and
//! ends the process, which the watchdog and the peer then deal with.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Cause, Event};
use crate::types::{Instant, OpId, PeerState, Term};

/// What this node is, with what it needs for being it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Role {
    /// Listening.
    Joining,
    Standby,
    Isolated,
    Fencing,
    Frozen,
    Acquiring(Acquiring),
    Active {
        /// When the resources were complete.
        acquired_at: Instant,
        /// Set after a long stall: until then nothing is announced or repaired.
        doubt_until: Option<Instant>,
    },
    Releasing(Releasing),
    /// Saying goodbye.
    Stopped {
        /// When the first goodbye was sent, by our clock.
        since: Instant,
        /// When to end though nobody acknowledged it.
        until: Instant,
        /// Whether the end was asked for already.
        ended: bool,
    },
}

/// A takeover under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Acquiring {
    pub(super) began: Instant,
    pub(super) term: Term,
    pub(super) stage: AcquiringStage,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum AcquiringStage {
    /// The mark is being written: from here on a restarted daemon knows what it may hold.
    Marking { op: OpId },
    /// The resources are being taken.
    Taking { op: OpId },
}

/// A release under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Releasing {
    pub(super) stage: ReleasingStage,
    /// Whether the failure of this release was told.
    pub(super) told: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ReleasingStage {
    /// The resources are being given up.
    Dropping { op: OpId },
    /// They are given up; the mark is being written, without which nobody may be told.
    Marking { op: OpId },
    /// One of both failed, and is tried again.
    Resting { until: Instant },
}

impl Role {
    /// The role as it is told to the peers.
    pub(super) fn state(&self) -> PeerState {
        match self {
            Self::Joining => PeerState::Joining,
            Self::Standby => PeerState::Standby,
            Self::Isolated => PeerState::Isolated,
            Self::Fencing => PeerState::Fencing,
            Self::Frozen => PeerState::Frozen,
            Self::Acquiring(_) => PeerState::Acquiring,
            Self::Active { .. } => PeerState::Active,
            Self::Releasing(_) => PeerState::Releasing,
            Self::Stopped { .. } => PeerState::Stopped,
        }
    }
}

/// The role with its history, for `stable for` and `last change`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RoleCell {
    role: Role,
    since: Instant,
    cause: Cause,
}

impl RoleCell {
    pub(super) fn new(now: Instant) -> Self {
        Self { role: Role::Joining, since: now, cause: Cause::Started }
    }

    pub(super) fn get(&self) -> &Role {
        &self.role
    }

    /// For changes inside the role, its stage or its times.
    pub(super) fn get_mut(&mut self) -> &mut Role {
        &mut self.role
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn cause(&self) -> Cause {
        self.cause
    }

    /// Changes the role. Changing to the state that is already had replaces what belongs to it
    /// and tells nobody.
    pub(super) fn change(
        &mut self,
        role: Role,
        cause: Cause,
        now: Instant,
        term: Term,
        out: &mut Effects,
    ) {
        let (from, to) = (self.role.state(), role.state());
        self.role = role;
        if from == to {
            return;
        }
        assert!(is_allowed(from, to), "no way leads from {from:?} to {to:?}");
        self.since = now;
        self.cause = cause;
        out.push(Effect::Report(Event::Role { from, to, cause, term }));
    }
}

/// Whether the machine has a way from one state to another one.
pub fn is_allowed(from: PeerState, to: PeerState) -> bool {
    use PeerState::{
        Acquiring, Active, Fencing, Frozen, Isolated, Joining, Releasing, Standby, Stopped,
    };
    match from {
        Joining | Standby | Isolated | Fencing | Frozen => match to {
            Standby | Isolated | Fencing | Frozen | Acquiring | Stopped => true,
            Joining | Active | Releasing => false,
        },
        Acquiring => matches!(to, Active | Releasing),
        Active => matches!(to, Releasing),
        Releasing => matches!(to, Standby | Stopped),
        Stopped => false,
    }
}
