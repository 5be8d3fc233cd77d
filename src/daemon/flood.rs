//! More from outside than anybody needs: what the engine is spared, and which sockets let only
//! what is probably a peer's through.
//!
//! It decides by counting, and refuses to know what is counted. Below the limits nothing changes:
//! everything reaches the engine, which tells of it. Above them
//!
//! - of authentic heartbeats that the engine would refuse, each reason (and of introductions each
//!   incarnation) has its share; what is above is counted here;
//! - a link on which too much is refused is *narrowed*: its socket drops, in the kernel, what does
//!   not continue a life that is known, all but a sample (`crate::io::udp::guard`).

use core::time::Duration;

use crate::engine::event::Refusal;
use crate::types::{Heartbeat, Instant, LinkId};

/// How long a share lasts, and how often a flooded link is judged.
pub const WINDOW: Duration = Duration::from_millis(100);
/// The share of each reason and incarnation on each link in one window.
const SHARE_MAX: u32 = 4;
/// How many reasons and incarnations have shares of their own on one link; all others share one.
const SHARES_MAX: usize = 16;
/// So many refused datagrams on a link in one window are a flood: 2000 a second.
const FLOOD_MIN: u64 = 200;
/// A flood is over after so many windows with less than a tenth of that.
const QUIET_WINDOWS: u32 = 50;

/// All links.
#[derive(Debug)]
pub struct Floods {
    links: Vec<Link>,
    /// What the engine was spared, by [`Refusal::ALL`].
    spared: [u64; Refusal::ALL.len()],
}

#[derive(Debug, Default)]
struct Link {
    window_began: Instant,
    shares: Vec<(Kind, u32)>,
    others: u32,
    /// Refused in this window, by the socket, the codec or here.
    refused: u64,
    /// What the kernel had dropped when this window began.
    dropped: u64,
    /// Since when it is a flood.
    since: Option<Instant>,
    quiet_windows: u32,
}

/// What has a share of its own.
type Kind = (Refusal, u64);

/// Something that changes for a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is flooded from now on.
    Began(LinkId),
    /// It is still flooded: time to tell its socket what is known by now.
    GoesOn(LinkId),
    /// It is not flooded any more.
    Ended(LinkId),
}

impl Floods {
    /// No link is flooded.
    pub fn new(links: usize) -> Self {
        let links =
            (0..links).map(|_| Link { shares: Vec::with_capacity(SHARES_MAX), ..Link::default() });
        Self { links: links.collect(), spared: [0; Refusal::ALL.len()] }
    }

    /// Whether a heartbeat that the engine would refuse for `reason` is within its share; counted
    /// if it is not.
    pub fn admit(&mut self, link: LinkId, reason: Refusal, heartbeat: &Heartbeat) -> bool {
        let Some(entry) = self.links.get_mut(link.index()) else { return false };
        entry.refused = entry.refused.saturating_add(1);
        let whose = match reason {
            Refusal::Unproven => heartbeat.incarnation.0,
            Refusal::Stranger
            | Refusal::NotForUs
            | Refusal::OtherLink
            | Refusal::Replayed
            | Refusal::Stale
            | Refusal::Term => 0,
        };
        let share = match entry.shares.iter().position(|(kind, _)| *kind == (reason, whose)) {
            Some(index) => entry.shares.get_mut(index).map(|(_, used)| used),
            None if entry.shares.len() < SHARES_MAX => {
                entry.shares.push(((reason, whose), 0));
                entry.shares.last_mut().map(|(_, used)| used)
            }
            None => Some(&mut entry.others),
        };
        if let Some(used) = share.filter(|used| **used < SHARE_MAX) {
            *used = used.saturating_add(1);
            return true;
        }
        let index = Refusal::ALL.iter().position(|known| *known == reason);
        if let Some(count) = index.and_then(|index| self.spared.get_mut(index)) {
            *count = count.saturating_add(1);
        }
        false
    }

    /// A datagram was refused before it was anything that the engine knows.
    pub fn note_refused(&mut self, link: LinkId) {
        if let Some(entry) = self.links.get_mut(link.index()) {
            entry.refused = entry.refused.saturating_add(1);
        }
    }

    /// Judges a link if its window is over. `dropped` is what its socket has dropped in all.
    pub fn judge(&mut self, link: LinkId, dropped: u64, now: Instant) -> Option<Change> {
        let entry = self.links.get_mut(link.index())?;
        if now < entry.window_began + WINDOW {
            return None;
        }
        let count = entry.refused.saturating_add(dropped.saturating_sub(entry.dropped));
        // A loop that slept counts longer windows.
        let windows = now.since(entry.window_began).as_millis() / WINDOW.as_millis();
        let count = count / u64::try_from(windows).unwrap_or(u64::MAX).max(1);
        entry.window_began = now;
        entry.shares.clear();
        (entry.others, entry.refused, entry.dropped) = (0, 0, dropped);
        let is_flood = count >= FLOOD_MIN;
        if entry.since.is_none() {
            entry.since = is_flood.then_some(now);
            entry.quiet_windows = 0;
            return is_flood.then_some(Change::Began(link));
        }
        let is_quiet = count < FLOOD_MIN / 10;
        entry.quiet_windows = if is_quiet { entry.quiet_windows.saturating_add(1) } else { 0 };
        if entry.quiet_windows < QUIET_WINDOWS {
            return Some(Change::GoesOn(link));
        }
        entry.since = None;
        Some(Change::Ended(link))
    }

    /// When a flooded link is to be judged next; nothing if none is flooded: what comes wakes.
    pub fn next_deadline(&self) -> Option<Instant> {
        let flooded = self.links.iter().filter(|link| link.since.is_some());
        flooded.map(|link| link.window_began + WINDOW).min()
    }

    /// What the engine was spared, by reason.
    pub fn spared(&self, reason: Refusal) -> u64 {
        let index = Refusal::ALL.iter().position(|known| *known == reason);
        index.and_then(|index| self.spared.get(index)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1_000_000 + ms)
    }

    fn of_life(life: u64) -> Heartbeat {
        crate::daemon::keyring::tests::heartbeat(1, life, 1)
    }

    #[test]
    fn each_reason_and_each_life_has_its_share_and_no_more() {
        let mut floods = Floods::new(1);
        floods.judge(LinkId(0), 0, at(0));
        let mut admitted = |reason, life| {
            (0..1000).filter(|_| floods.admit(LinkId(0), reason, &of_life(life))).count()
        };
        assert_eq!(admitted(Refusal::Replayed, 1), 4);
        assert_eq!(admitted(Refusal::Replayed, 2), 0, "whoever's they are");
        for life in 1..=15 {
            assert_eq!(admitted(Refusal::Unproven, life), 4, "life {life}");
        }
        assert_eq!(admitted(Refusal::Unproven, 16), 4, "all others together");
        assert_eq!(admitted(Refusal::Unproven, 17), 0);
        assert_eq!(floods.spared(Refusal::Replayed), 1996);
        assert!(floods.judge(LinkId(0), 0, at(100)).is_some());
        assert!(floods.admit(LinkId(0), Refusal::Replayed, &of_life(1)), "a new window");
    }

    #[test]
    fn a_flood_begins_goes_on_and_ends() {
        let mut floods = Floods::new(2);
        let link = LinkId(1);
        let mut heard = Vec::new();
        let mut dropped = 0;
        for ms in 0..20_000u64 {
            if (1000..3000).contains(&ms) {
                floods.note_refused(link);
                floods.note_refused(link);
                floods.note_refused(link);
            }
            // In the end the kernel drops what comes.
            if (3000..10_000).contains(&ms) {
                dropped += 50;
            }
            assert_eq!(floods.judge(LinkId(0), 0, at(ms)).filter(|_| false), None);
            match floods.judge(link, dropped, at(ms)) {
                Some(Change::GoesOn(_)) | None => {}
                Some(change) => heard.push((ms, change)),
            }
        }
        assert_eq!(heard, [(1100, Change::Began(link)), (15_000, Change::Ended(link))]);
        assert_eq!(floods.next_deadline(), None);
    }
}
