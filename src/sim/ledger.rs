//! What the checks remember of a world.

use super::plan::{MACHINES_MAX, Plan};
use crate::engine::{Answer, RequestId};
use crate::types::heartbeat::LINKS_MAX;
use crate::types::{Incarnation, Instant, PeerState, Seq, Term};

/// What a machine was last told by another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) life: Incarnation,
    pub(super) seq: Seq,
    /// When it was given it, and since when there was no gap of a deadtime, by the world's time.
    pub(super) at: Instant,
    pub(super) since: Instant,
    /// When anything of that life came last, be it older.
    pub(super) heard_at: Instant,
    /// When it was given any of this life on each link.
    pub(super) at_on: [Instant; LINKS_MAX],
    pub(super) state: PeerState,
    pub(super) held_term: Term,
    pub(super) eligible: bool,
    pub(super) released: bool,
    pub(super) good_nics: u8,
}

impl Word {
    /// When the last link is dead on which that was said: every link has its own deadtime.
    pub(super) fn dead_at(&self, plan: &Plan) -> Instant {
        let links = (0..plan.links).zip(self.at_on);
        let dead_at = links.map(|(link, at)| at + plan.deadtime_on(link));
        dead_at.max().unwrap_or(Instant::ZERO)
    }
}

/// What the checks remember of a world.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By machine and peer: the newest heartbeat that answers to the daemon that runs now. Later
    /// daemons have higher incarnations in a world. Empty where clocks mean nothing.
    pub(super) heard: Vec<[Option<Word>; MACHINES_MAX]>,
    /// By machine: when something last disturbed it, its links or its networks.
    pub(super) disturbed_at: [Instant; MACHINES_MAX],
    /// When a link, its noise, a power or what asks last changed.
    pub(super) paths_changed_at: Instant,
    /// By machine: when its kernel last ceased to answer.
    pub(super) muzzled_at: [Instant; MACHINES_MAX],
    /// By machine and peer: when it last called the peer's host dead.
    pub(super) called_dead_at: [[Option<Instant>; MACHINES_MAX]; MACHINES_MAX],
    /// By machine: when its daemon was started.
    pub(super) started_at: [Instant; MACHINES_MAX],
    /// By machine: since when its kernel has any address.
    pub(super) holds_since: [Instant; MACHINES_MAX],
    /// By machine: when it last had power again.
    pub(super) returned_at: [Option<Instant>; MACHINES_MAX],
    /// By machine and host: whether the host was without power since that machine last told one of
    /// its fence devices to cut it.
    pub(super) was_off: [[bool; MACHINES_MAX]; MACHINES_MAX],
    /// By machine: when its daemon was suspended, and when it last went on after so long that it
    /// must doubt what it holds.
    pub(super) suspended_at: [Instant; MACHINES_MAX],
    pub(super) resumed_at: [Instant; MACHINES_MAX],
    pub(super) doubts_since: [Option<Instant>; MACHINES_MAX],
    /// By machine: since when it owes the networks an announcement of what it holds.
    pub(super) owes_since: [Option<Instant>; MACHINES_MAX],
    /// By machine: whether it owes it because of another holder, which it has met.
    pub(super) rivals: [bool; MACHINES_MAX],
    /// By machine: when an address was last deleted on it.
    pub(super) deleted_at: [Instant; MACHINES_MAX],
    /// By machine: when its disk last refused a record, while it is as it was then.
    pub(super) refused_at: [Option<Instant>; MACHINES_MAX],
    /// By machine: whether its disk ever hung while its daemon ran: what it was given last is still
    /// under way.
    pub(super) hung: [bool; MACHINES_MAX],
    /// Whether a device ever had a reason to be distrusted: it failed by reading off, or heartbeats
    /// came so late that its host was heard long after its end.
    pub(super) contradicts: bool,
    /// By machine: how many things it has told to be degraded, and not to be well again.
    pub(super) degraded: [i32; MACHINES_MAX],
    /// The machine whose daemon goes on and takes in what has waited.
    pub(super) draining: Option<usize>,
    /// The machine whose switch port has carrier and lets nothing pass yet.
    pub(super) learning: Option<usize>,
    /// By machine: the highest term that its daemon last said, holding nothing, it held itself.
    pub(super) told_held: [Option<Term>; MACHINES_MAX],
    /// By machine: the highest term it ever took.
    pub(super) held: [Term; MACHINES_MAX],
    /// By machine: whether its disk ever failed, so that it may forget.
    pub(super) forgets: [bool; MACHINES_MAX],
    /// By machine: whether it gave its service away for its path, and has heard nobody hold since.
    pub(super) gave: [bool; MACHINES_MAX],
    /// By machine: when it did, and whether anybody has told it since that it could not take over.
    pub(super) gave_at: [Instant; MACHINES_MAX],
    pub(super) declined: [bool; MACHINES_MAX],
    /// By machine: since when not all of its service NICs are good.
    pub(super) path_bad_since: [Instant; MACHINES_MAX],
    /// By machine: when it last took part in a move for a bad path.
    pub(super) moved_at: [Option<Instant>; MACHINES_MAX],
    /// By machine and host: whether it has told that host to power on since it fenced it.
    pub(super) powers_on: [[Option<bool>; MACHINES_MAX]; MACHINES_MAX],
    /// When a fence device last began to behave in another way.
    pub devices_changed_at: Instant,
    /// Since when two hold, though nothing keeps them from seeing each other.
    pub(super) collided_at: Option<Instant>,
    /// The operator's request that was made last, and the answer to it.
    pub(super) request: Option<(RequestId, Option<Answer>)>,
}

impl Ledger {
    /// Nothing has happened yet on so many machines.
    pub(super) fn new(machines: usize) -> Self {
        Self { heard: vec![[None; MACHINES_MAX]; machines], ..Self::default() }
    }

    /// What a machine was last told by another one; nothing where clocks mean nothing.
    pub(super) fn word(&self, machine: usize, from: usize) -> Option<Word> {
        self.heard.get(machine).and_then(|heard| heard[from])
    }

    /// A machine believes a new life: what had introduced it on other links counts for nothing.
    pub(super) fn begin_life(&mut self, machine: usize, from: usize, now: Instant) {
        let heard = self.heard.get_mut(machine).and_then(|heard| heard[from].as_mut());
        for at in heard.into_iter().flat_map(|word| &mut word.at_on).filter(|at| **at < now) {
            *at = Instant::ZERO;
        }
    }

    /// The highest term that a machine ever took, and whether it may forget it.
    pub(super) fn held_by(&self, machine: usize) -> u64 {
        self.held[machine].0 << 1 | u64::from(self.forgets[machine])
    }
}
