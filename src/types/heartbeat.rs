//! The heartbeat as facts: what one node tells one other, independent of how it is encoded.
//!
//! Always addressed to one node: the echo fields and the grant concern the addressee alone. The
//! encoding is in [`crate::wire::heartbeat`]; `docs/PROTOCOL.md` explains each field.

use serde::{Deserialize, Serialize};

use super::{BootId, Incarnation, LinkId, Mac, MachineId, NodeId, Seq, Session, Term};

/// The largest number of links; the heartbeat has one place for each.
pub const LINKS_MAX: usize = 16;
/// The largest number of service NICs; the heartbeat has one place for each.
pub const NICS_MAX: usize = 8;
/// How many bytes a heartbeat takes on a serial line, framing included, as long as no node has been
/// up for 292 years, started 2 million takeovers or sent 34 thousand million heartbeats. What a
/// line can carry is reckoned with it (docs/PROTOCOL.md §8).
pub const SERIAL_FRAME_LEN: u32 = 124;

/// The sender's role, as told to its peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum PeerState {
    /// Started, listening, holds nothing (or is purging what an earlier life left).
    Joining,
    /// Holds nothing, ready to take over.
    Standby,
    /// Hears nobody, but sees the VIPs answer.
    Isolated,
    /// Is having a lost peer's power cut.
    Fencing,
    /// Cannot prove that a lost peer holds nothing.
    Frozen,
    /// Is taking the resources.
    Acquiring,
    /// Holds the resources.
    Active,
    /// Is giving the resources up.
    Releasing,
    /// Says goodbye: this incarnation ends and never takes anything again.
    Stopped,
}

impl PeerState {
    /// Whether a node in this state may hold resources.
    pub const fn may_hold(self) -> bool {
        match self {
            Self::Acquiring | Self::Active | Self::Releasing => true,
            Self::Joining
            | Self::Standby
            | Self::Isolated
            | Self::Fencing
            | Self::Frozen
            | Self::Stopped => false,
        }
    }
}

/// What the sender hears of the addressee on one link.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub enum Hears {
    /// The sender does not have this link.
    #[default]
    NoLink,
    /// Nothing within the link's deadtime.
    Nothing,
    /// The addressee's heartbeats arrive.
    Peer,
}

/// Facts that are true or false, and fit a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Flags {
    /// The sender could become active now: not held, service path good, no back-off running.
    pub eligible: bool,
    /// The sender held `term`, holds nothing now, and takes nothing again without asking.
    pub released: bool,
    /// The sender has leftovers of an earlier life in its kernel and is removing them.
    pub purging: bool,
    /// The sender is kept standby by an operator.
    pub held: bool,
}

/// One heartbeat: from one node, to one node, over one link.
///
/// What is optional need not be in every heartbeat: a slow line takes it in turns. [`None`] is *not
/// said*, never *none*: whoever hears it goes on with what was said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who says it.
    pub from: NodeId,
    /// Who is told.
    pub to: NodeId,
    /// The link it was sent on; on another link it is somebody's replay.
    pub link: LinkId,
    /// The sender's current incarnation.
    pub incarnation: Incarnation,
    /// The sender's boot.
    pub boot: BootId,
    /// One up with each heartbeat of this incarnation, whatever link or addressee.
    pub seq: Seq,
    /// The sender's role.
    pub state: PeerState,
    /// The term that the sender holds or last held or followed, the highest it knows of.
    pub term: Term,
    /// The highest term that the sender itself held, over restarts: whose data is the newest.
    pub held_term: Term,
    /// The term for which the sender asks the addressee's grant; [`Term::NONE`] if it does not ask.
    pub ask: Term,
    /// The term that the sender grants to the addressee: it holds nothing and will not take a term
    /// up to this one. [`Term::NONE`] if it grants none.
    pub grant: Term,
    /// Bits.
    pub flags: Flags,
    /// The addressee's incarnation that the sender has heard; [`Incarnation::NONE`] if none.
    pub echo_incarnation: Incarnation,
    /// The session that the addressee told in its last heartbeat.
    pub echo_session: Session,
    /// How many incarnations of the addressee the sender has accepted.
    pub session: Session,
    /// The sender's clock at sending, in its own nanoseconds since boot.
    pub sent: u64,
    /// The addressee's `sent` of its last heartbeat on this link; zero if none was heard.
    pub echo_sent: u64,
    /// How long the sender had that heartbeat before it sent this one, in nanoseconds.
    pub echo_held: u64,
    /// A digest of the sender's configuration, equal on nodes that agree.
    pub config_digest: Option<u64>,
    /// A digest of the sender's failcounts.
    pub failcount_digest: Option<u64>,
    /// What the sender reads of its own machine; [`MachineId::UNKNOWN`] if nothing. What only
    /// others can be told (`proven`) is never in it.
    pub machine: Option<MachineId>,
    /// Which of the sender's service NICs are good, one bit each by [`super::NicId`].
    pub good_nics: u8,
    /// The MAC addresses of the sender's service NICs, by [`super::NicId`]; [`Mac::NONE`] says that
    /// there is none.
    pub macs: [Option<Mac>; NICS_MAX],
    /// What the sender hears of the addressee on each link, by [`LinkId`].
    pub hears: [Hears; LINKS_MAX],
}
