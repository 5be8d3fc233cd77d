//! What the next heartbeat on a link is expected to say: all of it but four numbers, usually.
//!
//! Of a sender's heartbeats on one link, only the sequence number and three times change while
//! nothing happens; and the times go on with the receiver's, but for some jitter. What is written
//! of such a heartbeat is how it differs from that expectation. The arithmetic wraps, so that every
//! heartbeat is exactly restored, whatever a sender says.

use crate::types::heartbeat::LINKS_MAX;
use crate::types::{Heartbeat, Instant, LinkId, NodeId, Seq};

const NODES: usize = 8;
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
}

/// The last heartbeat that was exchanged with every node on every link.
#[derive(Clone, Debug)]
pub(super) struct Bases {
    list: Box<[Option<Base>]>,
}

#[derive(Clone, Copy, Debug)]
struct Base {
    at: Instant,
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
        let base = self.base(other, link)?.replace(Base { at, heartbeat: *heartbeat })?;
        let last = base.heartbeat;
        let unchanged = Heartbeat {
            seq: heartbeat.seq,
            sent: heartbeat.sent,
            echo_sent: heartbeat.echo_sent,
            echo_held: heartbeat.echo_held,
            ..last
        };
        if unchanged != *heartbeat {
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
        Some(heartbeat)
    }

    fn base(&mut self, other: NodeId, link: LinkId) -> Option<&mut Option<Base>> {
        if link.index() >= LINKS_MAX {
            return None;
        }
        let node = usize::from(other.get()).checked_sub(1)?;
        self.list.get_mut(node * LINKS_MAX + link.index())
    }
}
