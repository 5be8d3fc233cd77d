//! The replay window of one link: each heartbeat counts once.
//!
//! As in RFC 4303 §3.4.3 (IPsec anti-replay): a bitmap over the last 64 sequence numbers below the
//! highest one seen. Reordered heartbeats inside the window are new; doubled ones are not.

use serde::{Deserialize, Serialize};

use crate::types::Seq;

/// What a sequence number is to the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Not seen before; the window remembers it now.
    New,
    /// Seen before.
    Replayed,
    /// Too old for the window to tell.
    Stale,
}

/// The sequence numbers seen on one link of one incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReplayWindow {
    highest: u64,
    /// Bit `n`: `highest - n` was seen.
    seen: u64,
}

impl ReplayWindow {
    /// How far below the highest number a late one may be.
    pub const WIDTH: u64 = 64;

    /// Judges `seq`, and remembers it if it is new.
    pub fn admit(&mut self, seq: Seq) -> Freshness {
        let seq = seq.0;
        if self.seen == 0 || seq > self.highest {
            let ahead = if self.seen == 0 { Self::WIDTH } else { seq - self.highest };
            let kept = u32::try_from(ahead).ok().and_then(|n| self.seen.checked_shl(n));
            self.seen = kept.unwrap_or(0) | 1;
            self.highest = seq;
            return Freshness::New;
        }
        let behind = self.highest - seq;
        if behind >= Self::WIDTH {
            return Freshness::Stale;
        }
        let bit = 1u64 << behind;
        if self.seen & bit != 0 {
            return Freshness::Replayed;
        }
        self.seen |= bit;
        Freshness::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit_all(seqs: &[u64]) -> Vec<Freshness> {
        let mut window = ReplayWindow::default();
        seqs.iter().map(|seq| window.admit(Seq(*seq))).collect()
    }

    #[test]
    fn each_number_counts_once_in_any_order() {
        use Freshness::{New, Replayed};
        assert_eq!(
            admit_all(&[5, 7, 6, 6, 7, 5, 8]),
            [New, New, New, Replayed, Replayed, Replayed, New]
        );
    }

    #[test]
    fn numbers_below_the_window_are_stale() {
        use Freshness::{New, Stale};
        assert_eq!(admit_all(&[100, 36, 37, 99]), [New, Stale, New, New]);
    }

    #[test]
    fn a_jump_forgets_the_old_window_and_admits_nothing_twice() {
        use Freshness::{New, Replayed, Stale};
        assert_eq!(
            admit_all(&[1, 1000, 1, 1000, 937, 936, u64::MAX, u64::MAX]),
            [New, New, Stale, Replayed, New, Stale, New, Replayed]
        );
    }

    #[test]
    fn the_first_number_may_be_zero() {
        use Freshness::{New, Replayed};
        assert_eq!(admit_all(&[0, 0, 1]), [New, Replayed, New]);
    }
}
