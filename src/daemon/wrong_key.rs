//! Peers whose heartbeats arrive, but were made with a key that this node has not.
//!
//! It decides when that is so, and when it is over: several in a row from a peer's address, and no
//! authentic one beside them. Where authentic ones arrive too, somebody forges; that is counted as
//! `wrong-key`, and is nothing that the operator could mend in a key file.

use core::time::Duration;

use crate::types::{Instant, LinkId, NodeId};

/// How many in a row it takes: one may be a stranger's joke.
const ROW_MIN: u32 = 5;

/// What is watched: every link to every peer.
#[derive(Debug, Default)]
pub struct WrongKeys {
    paths: Vec<Path>,
}

#[derive(Clone, Copy, Debug)]
struct Path {
    link: LinkId,
    /// Nothing where addresses tell nothing: a multicast link.
    peer: Option<NodeId>,
    /// How long nothing may come until it is over, and until authentic ones are missed.
    deadtime: Duration,
    /// How many have come since the last authentic one.
    row: u32,
    last_at: Instant,
    right_at: Option<Instant>,
    /// Since when it has been told.
    since: Option<Instant>,
}

/// A peer on a link that sends with another key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongKey {
    /// The link.
    pub link: LinkId,
    /// The peer whose address it is; nothing on a multicast link.
    pub peer: Option<NodeId>,
    /// Since when.
    pub since: Instant,
}

/// Something to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It has begun.
    Began(WrongKey),
    /// Heartbeats with a right key have come.
    Mended(WrongKey),
    /// None comes any more.
    Silent(WrongKey),
}

impl WrongKeys {
    /// Watches these links, each with its deadtime and the peers that have addresses on it.
    pub fn new(links: impl Iterator<Item = (LinkId, Duration, Vec<Option<NodeId>>)>) -> Self {
        let paths = links.flat_map(|(link, deadtime, peers)| {
            peers.into_iter().map(move |peer| Path {
                link,
                peer,
                deadtime,
                row: 0,
                last_at: Instant::ZERO,
                right_at: None,
                since: None,
            })
        });
        Self { paths: paths.collect() }
    }

    /// A heartbeat has come over `link` from the address of `peer`, made with no key of ours.
    pub fn note_wrong(
        &mut self,
        link: LinkId,
        peer: Option<NodeId>,
        now: Instant,
    ) -> Option<Change> {
        let path = self.path(link, peer)?;
        path.row = path.row.saturating_add(1);
        path.last_at = now;
        let is_missed = path.right_at.is_none_or(|at| now >= at + path.deadtime);
        if path.row < ROW_MIN || !is_missed || path.since.is_some() {
            return None;
        }
        path.since = Some(now);
        Some(Change::Began(WrongKey { link, peer, since: now }))
    }

    /// An authentic one has come.
    pub fn note_right(
        &mut self,
        link: LinkId,
        peer: Option<NodeId>,
        now: Instant,
    ) -> Option<Change> {
        let path = self.path(link, peer)?;
        path.row = 0;
        path.right_at = Some(now);
        let since = path.since.take()?;
        Some(Change::Mended(WrongKey { link, peer, since }))
    }

    /// One path on which none has come for its deadtime; ask until there is none.
    pub fn expire(&mut self, now: Instant) -> Option<Change> {
        let is_over = |path: &&mut Path| {
            path.since.is_some() && now >= path.last_at + path.deadtime.saturating_mul(2)
        };
        let path = self.paths.iter_mut().find(is_over)?;
        path.row = 0;
        let since = path.since.take()?;
        Some(Change::Silent(WrongKey { link: path.link, peer: path.peer, since }))
    }

    /// When an authentic heartbeat last came over `link` from the address of `peer`.
    pub fn right_at(&self, link: LinkId, peer: Option<NodeId>) -> Option<Instant> {
        let path = self.paths.iter().find(|path| path.link == link && path.peer == peer);
        path.and_then(|path| path.right_at)
    }

    /// Those that go on.
    pub fn current(&self) -> impl Iterator<Item = WrongKey> + '_ {
        self.paths.iter().filter_map(|path| {
            Some(WrongKey { link: path.link, peer: path.peer, since: path.since? })
        })
    }

    fn path(&mut self, link: LinkId, peer: Option<NodeId>) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.link == link && path.peer == peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADTIME: Duration = Duration::from_millis(400);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1_000_000 + ms)
    }

    fn watch(peer: Option<NodeId>) -> WrongKeys {
        WrongKeys::new([(LinkId(0), DEADTIME, vec![peer])].into_iter())
    }

    #[test]
    fn another_key_is_told_once_and_its_end_too() {
        let peer = NodeId::new(2);
        let mut watch = watch(peer);
        let told: Vec<u64> = (0..100u64)
            .filter(|n| watch.note_wrong(LinkId(0), peer, at(n * 20)).is_some())
            .collect();
        assert_eq!(told, [4]);
        assert_eq!(watch.current().count(), 1);
        let mended = watch.note_right(LinkId(0), peer, at(2000));
        assert!(matches!(mended, Some(Change::Mended(_))), "{mended:?}");
        assert_eq!(watch.current().count(), 0);
        assert_eq!(watch.note_right(LinkId(0), peer, at(2020)), None);
    }

    #[test]
    fn what_falls_silent_is_over() {
        let mut watch = watch(None);
        for n in 0..5 {
            watch.note_wrong(LinkId(0), None, at(n));
        }
        assert_eq!(watch.expire(at(700)), None);
        assert!(matches!(watch.expire(at(804)), Some(Change::Silent(_))));
        assert_eq!(watch.expire(at(804)), None);
    }

    #[test]
    fn forgeries_beside_authentic_heartbeats_are_nobodys_wrong_key() {
        let peer = NodeId::new(2);
        let mut watch = watch(peer);
        for n in 0..1000 {
            watch.note_right(LinkId(0), peer, at(n * 50));
            for _ in 0..100 {
                assert_eq!(watch.note_wrong(LinkId(0), peer, at(n * 50 + 1)), None);
            }
        }
        assert_eq!(watch.note_wrong(LinkId(0), NodeId::new(3), at(0)), None, "nobody there");
    }
}
