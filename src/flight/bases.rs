//! What the next heartbeat on a link is expected to say: all of it but four numbers, usually.
//!
//! Of a sender's heartbeats on one link, only the sequence number and three times change while
//! nothing happens; and the times go on with the receiver's, but for some jitter. What is written
//! of such a heartbeat is how it differs from that expectation. The arithmetic wraps, so that every
//! heartbeat is exactly restored, whatever a sender says. What it leaves unsaid, as those of serial
//! lines do in turns, is expected to be what was said last.

use crate::types::heartbeat::{LINKS_MAX, NICS_MAX};
use crate::types::{Heartbeat, Instant, LinkId, NodeId, Seq};

const NODES: usize = 8;
/// What a heartbeat may leave unsaid, one bit each: a MAC by its number, then the two digests and
/// the machine.
const UNSAID_CONFIG: u16 = 1 << NICS_MAX;
const UNSAID_FAILCOUNT: u16 = 2 << NICS_MAX;
const UNSAID_MACHINE: u16 = 4 << NICS_MAX;
const _: () = assert!(NodeId::MAX == 8, "one place for each node");

/// How a heartbeat that says nothing new differs from the expectation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Difference {
    /// Of `seq`, from the last one.
    pub(super) seq: i64,
    /// Of `sent`, from the last one and the time since.
    pub(super) sent: i64,
    /// Of `echo_sent`, from the last one and what `sent` has gained.
    pub(super) echo_sent: i64,
    /// Of `echo_held`, from the last one.
    pub(super) echo_held: i64,
    /// What it leaves unsaid.
    pub(super) unsaid: u16,
}

/// The last heartbeat that was exchanged with every node on every link.
#[derive(Clone, Debug)]
pub(super) struct Bases {
    list: Box<[Option<Base>]>,
}

#[derive(Clone, Copy, Debug)]
struct Base {
    at: Instant,
    /// With what it left unsaid as it was said last.
    heartbeat: Heartbeat,
}

impl Bases {
    pub(super) fn new() -> Self {
        Self { list: vec![None; NODES * LINKS_MAX].into_boxed_slice() }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.list.fill(None);
    }

    /// Takes in a heartbeat that was exchanged with `other` at `at`; the difference, if it says
    /// nothing new.
    pub(super) fn note(
        &mut self,
        other: NodeId,
        link: LinkId,
        at: Instant,
        heartbeat: &Heartbeat,
    ) -> Option<Difference> {
        let place = self.base(other, link)?;
        let filled = place.map_or(*heartbeat, |base| fill(*heartbeat, &base.heartbeat));
        let base = place.replace(Base { at, heartbeat: filled })?;
        let (last, unsaid) = (base.heartbeat, unsaid(heartbeat));
        let unchanged = Heartbeat {
            seq: heartbeat.seq,
            sent: heartbeat.sent,
            echo_sent: heartbeat.echo_sent,
            echo_held: heartbeat.echo_held,
            ..last
        };
        if leave_unsaid(unchanged, unsaid) != *heartbeat {
            return None;
        }
        let gained = heartbeat.sent.wrapping_sub(last.sent);
        let passed = at.as_nanos().wrapping_sub(base.at.as_nanos());
        let echo_gained = heartbeat.echo_sent.wrapping_sub(last.echo_sent);
        Some(Difference {
            seq: heartbeat.seq.0.wrapping_sub(last.seq.0).cast_signed(),
            sent: gained.wrapping_sub(passed).cast_signed(),
            echo_sent: echo_gained.wrapping_sub(gained).cast_signed(),
            echo_held: heartbeat.echo_held.wrapping_sub(last.echo_held).cast_signed(),
            unsaid,
        })
    }

    /// The heartbeat of `from` that was received at `at` on `link` with this difference, taken in;
    /// nothing if none came before it.
    pub(super) fn restore(
        &mut self,
        from: NodeId,
        link: LinkId,
        at: Instant,
        difference: Difference,
    ) -> Option<Heartbeat> {
        let base = self.base(from, link)?.as_mut()?;
        let last = base.heartbeat;
        let passed = at.as_nanos().wrapping_sub(base.at.as_nanos());
        let gained = passed.wrapping_add(difference.sent.cast_unsigned());
        let echo_gained = gained.wrapping_add(difference.echo_sent.cast_unsigned());
        let heartbeat = Heartbeat {
            seq: Seq(last.seq.0.wrapping_add(difference.seq.cast_unsigned())),
            sent: last.sent.wrapping_add(gained),
            echo_sent: last.echo_sent.wrapping_add(echo_gained),
            echo_held: last.echo_held.wrapping_add(difference.echo_held.cast_unsigned()),
            ..last
        };
        *base = Base { at, heartbeat };
        Some(leave_unsaid(heartbeat, difference.unsaid))
    }

    fn base(&mut self, other: NodeId, link: LinkId) -> Option<&mut Option<Base>> {
        if link.index() >= LINKS_MAX {
            return None;
        }
        let node = usize::from(other.get()).checked_sub(1)?;
        self.list.get_mut(node * LINKS_MAX + link.index())
    }
}

/// What a heartbeat leaves unsaid.
fn unsaid(heartbeat: &Heartbeat) -> u16 {
    let mut unsaid = 0;
    for (place, mac) in heartbeat.macs.iter().enumerate() {
        unsaid |= u16::from(mac.is_none()) << place;
    }
    let config = if heartbeat.config_digest.is_none() { UNSAID_CONFIG } else { 0 };
    let failcount = if heartbeat.failcount_digest.is_none() { UNSAID_FAILCOUNT } else { 0 };
    let machine = if heartbeat.machine.is_none() { UNSAID_MACHINE } else { 0 };
    unsaid | config | failcount | machine
}

/// The heartbeat without that.
fn leave_unsaid(mut heartbeat: Heartbeat, unsaid: u16) -> Heartbeat {
    for (place, mac) in heartbeat.macs.iter_mut().enumerate() {
        *mac = mac.filter(|_| unsaid >> place & 1 == 0);
    }
    heartbeat.config_digest = heartbeat.config_digest.filter(|_| unsaid & UNSAID_CONFIG == 0);
    heartbeat.failcount_digest =
        heartbeat.failcount_digest.filter(|_| unsaid & UNSAID_FAILCOUNT == 0);
    heartbeat.machine = heartbeat.machine.filter(|_| unsaid & UNSAID_MACHINE == 0);
    heartbeat
}

/// The heartbeat with what it leaves unsaid as `last` said it.
fn fill(mut heartbeat: Heartbeat, last: &Heartbeat) -> Heartbeat {
    for (mac, last) in heartbeat.macs.iter_mut().zip(last.macs) {
        *mac = mac.or(last);
    }
    heartbeat.config_digest = heartbeat.config_digest.or(last.config_digest);
    heartbeat.failcount_digest = heartbeat.failcount_digest.or(last.failcount_digest);
    heartbeat.machine = heartbeat.machine.or(last.machine);
    heartbeat
}
