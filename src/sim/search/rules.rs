//! The liberties that a fingerprint takes, as a table.
//!
//! Whatever is not in it is hashed as it is, so that a new field makes more worlds to visit, never
//! fewer.

/// What is done with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// It is hashed as it is; a moment exactly.
    Plain,
    /// It tells people, or follows from the rest.
    Skip,
    /// A moment that is waited for, in beats: whatever is over is over.
    Due,
    /// The same, where a service NIC can go bad; nothing elsewhere.
    Path,
    /// A moment that was: of what is older than this, only that it is.
    Past(Age),
    /// A number of which more than this makes no difference.
    AtMost(u64),
    /// The state of a link: one-way is as good as up to all but people, and so is quiet as down
    /// where there is no other link.
    LinkState,
    /// A proof: of its moment only counts what is in force.
    Proof,
    /// The moment of the proof before it.
    ProofAt,
    /// What the service networks say; nothing, where nobody looks.
    Networks(Age),
    /// It is looked at by whoever takes an operator's word.
    Word,
    /// A moment by the machine's own clock, as a number: whether its goodbye is older.
    OwnGoodbye,
    /// A moment by the peer's clock, as a number: whether the peer's goodbye is older.
    PeersGoodbye,
}

/// How old something may be before only its being old counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Age {
    /// It only tells people.
    None,
    /// One keepalive.
    Keepalive,
    /// One deadtime.
    Deadtime,
    /// As long as an answer of the service networks counts.
    Look,
    /// As long as a NIC that was bad must settle.
    Settle,
    /// As long as a disk may take.
    Disk,
    /// As long as a claim is young.
    Claim,
    /// As long as two claims belong together.
    ClaimRepeat,
    /// Between two defences.
    Defend,
    /// As long as a contradiction may take to be noticed; nothing while nothing reads off.
    Contradiction,
}

/// The liberties, by the name of the type and of the field.
pub(super) const RULES: &[(&str, &str, Rule)] = &[
    ("Node", "settings", Rule::Skip),
    ("Node", "now", Rule::Skip),
    ("Node", "started", Rule::Skip),
    ("Node", "look", Rule::Networks(Age::None)),
    ("Node", "initdead_until", Rule::Due),
    ("Node", "macs", Rule::Skip),
    ("Node", "may_judge", Rule::Skip),
    ("Node", "health", Rule::Skip),
    ("Node", "ops", Rule::Skip),
    ("Node", "seq", Rule::Skip),
    ("Node", "sent", Rule::Skip),
    ("Node", "refused", Rule::Skip),
    ("Node", "late_answers", Rule::Skip),
    ("RoleCell", "since", Rule::Skip),
    ("RoleCell", "cause", Rule::Skip),
    ("Acquiring", "began", Rule::Skip),
    ("Active", "acquired_at", Rule::Networks(Age::Claim)),
    ("Active", "doubt_until", Rule::Due),
    ("Releasing", "told", Rule::Skip),
    // What is compared with it counts: whether a goodbye is older.
    ("Stopped", "since", Rule::Skip),
    ("Stopped", "until", Rule::Due),
    ("Resting", "until", Rule::Due),
    ("Peer", "settings", Rule::Skip),
    ("Peer", "presence_since", Rule::Past(Age::Contradiction)),
    ("Peer", "acquainted_at", Rule::Path),
    ("Peer", "first_seq", Rule::Skip),
    ("Peer", "newest_seq", Rule::Skip),
    ("Peer", "role_since", Rule::Skip),
    ("Peer", "macs", Rule::Skip),
    ("Peer", "macs_told", Rule::Skip),
    ("Peer", "proof", Rule::Proof),
    ("Peer", "proof_at", Rule::ProofAt),
    ("Peer", "answered_at", Rule::Networks(Age::Look)),
    ("Peer", "silent", Rule::Networks(Age::None)),
    ("Peer", "grace_until", Rule::Due),
    ("Peer", "introduced", Rule::Past(Age::Keepalive)),
    ("Peer", "introducing", Rule::Skip),
    ("Peer", "told", Rule::Skip),
    ("Identity", "boot", Rule::Skip),
    ("Link", "id", Rule::Skip),
    ("Link", "keepalive", Rule::Skip),
    ("Link", "warntime", Rule::Skip),
    ("Link", "deadtime", Rule::Skip),
    ("Link", "state", Rule::LinkState),
    ("Link", "window", Rule::Skip),
    ("Link", "heard_at", Rule::Past(Age::Deadtime)),
    ("Link", "alive_since", Rule::Skip),
    ("Link", "unheard_since", Rule::Skip),
    ("Link", "rtt", Rule::Skip),
    ("Link", "send_at", Rule::Due),
    ("Link", "since", Rule::Skip),
    ("Link", "heard_count", Rule::Skip),
    ("Link", "late_count", Rule::Skip),
    ("Echo", "sent", Rule::PeersGoodbye),
    ("Echo", "at", Rule::Past(Age::Contradiction)),
    ("Echo", "session", Rule::Skip),
    ("Path", "recovered_at", Rule::Past(Age::Settle)),
    ("Handover", "hold_until", Rule::Due),
    ("Handover", "rest_until", Rule::Due),
    ("Handover", "calm_at", Rule::Due),
    ("Handover", "spared_until", Rule::Due),
    ("Handover", "yields_until", Rule::Due),
    ("Handover", "told", Rule::Skip),
    ("Look", "started", Rule::Past(Age::Look)),
    ("Look", "rounds", Rule::AtMost(3)),
    ("Look", "next_round", Rule::Due),
    ("Look", "heard_out_at", Rule::Due),
    ("Write", "began", Rule::Past(Age::Disk)),
    ("Memory", "retry_at", Rule::Due),
    ("Devices", "interval", Rule::Skip),
    ("Device", "timeout", Rule::Skip),
    ("Device", "last", Rule::Word),
    ("Device", "power", Rule::Skip),
    ("Device", "failing_since", Rule::Skip),
    ("Device", "off_since", Rule::Past(Age::Contradiction)),
    ("Device", "check_at", Rule::Due),
    ("Holding", "failures", Rule::AtMost(8)),
    ("Holding", "rest_until", Rule::Due),
    ("Missing", "retry_at", Rule::Due),
    ("Missing", "told", Rule::Skip),
    ("Claims", "defended_at", Rule::Networks(Age::Defend)),
    ("Claims", "claimed_at", Rule::Networks(Age::ClaimRepeat)),
    // Which attempt it is only makes a rest longer, and ends them.
    ("PowerOn", "begun", Rule::AtMost(6)),
    ("Switching", "deadline", Rule::Due),
    ("Switch", "said", Rule::Skip),
    // Every rest and every pause is over at the next beat.
    ("Try", "pause", Rule::Skip),
    // It only makes a rest longer.
    ("Try", "told", Rule::Skip),
    ("Ladder", "failed", Rule::Skip),
    ("Watch", "refusals", Rule::Skip),
    ("Delay", "until", Rule::Due),
    ("Rest", "until", Rule::Due),
    ("Climb", "deadline", Rule::Due),
    ("Climb", "next_at", Rule::Due),
    ("Pausing", "until", Rule::Due),
    ("Try", "loud", Rule::Skip),
    ("Heartbeat", "boot", Rule::Skip),
    ("Heartbeat", "seq", Rule::Skip),
    ("Heartbeat", "sent", Rule::PeersGoodbye),
    ("Heartbeat", "echo_sent", Rule::OwnGoodbye),
    ("Heartbeat", "echo_held", Rule::Skip),
    ("Heartbeat", "config_digest", Rule::Skip),
    ("Heartbeat", "failcount_digest", Rule::Skip),
    ("Heartbeat", "macs", Rule::Skip),
    ("Heartbeat", "hears", Rule::Skip),
    ("Mark", "boot", Rule::Skip),
];
