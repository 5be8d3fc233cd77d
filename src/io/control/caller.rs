//! Who is at the other end of a control connection, and what that permits.

use std::io;

use mio::net::UnixStream;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::sys::peer_groups::peer_groups;
use crate::wire::control::Request;

/// The process that connected, as the kernel saw it then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its process id, for the record only: it may be another process by now.
    pub pid: i32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
}

impl Caller {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        // A caller with more groups than are asked for is judged by its first group alone.
        let groups = peer_groups(stream).unwrap_or_default();
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        Ok(Self { uid, gid, pid, groups })
    }

    /// Whether this is root.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether it may ask anything at all: it is root, or of the group `readers`.
    pub fn may_connect(&self, readers: Option<u32>) -> bool {
        let is_reader = |group| self.gid == group || self.groups.contains(&group);
        self.is_root() || readers.is_some_and(is_reader)
    }

    /// Whether it may ask this: root everything, the group `readers` what changes nothing.
    pub fn may_ask(&self, request: &Request, readers: Option<u32>) -> bool {
        self.is_root() || (request.is_read_only() && self.may_connect(readers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_all_readers_may_read_others_nothing() {
        let off = Request::ConfirmOff { node: "a".to_owned(), force: true, by: None };
        let reads = [Request::Status, Request::Events { follow: true }];
        let caller = |uid, gid, groups: &[u32]| Caller { uid, gid, pid: 1, groups: groups.into() };
        let readers = Some(50);
        let cases = [
            // caller, may read, may change
            (caller(0, 0, &[]), true, true),
            (caller(0, 1000, &[1000]), true, true),
            (caller(1000, 50, &[]), true, false),
            (caller(1000, 1000, &[4, 50]), true, false),
            (caller(1000, 1000, &[4, 51]), false, false),
            (caller(1000, 0, &[0]), false, false),
        ];
        for (caller, may_read, may_change) in cases {
            for request in &reads {
                assert_eq!(caller.may_ask(request, readers), may_read, "{caller:?}");
            }
            assert_eq!(caller.may_ask(&off, readers), may_change, "{caller:?}");
            assert_eq!(caller.may_connect(readers), may_read, "{caller:?}");
            assert_eq!(caller.may_ask(&Request::Status, None), caller.uid == 0, "{caller:?}");
        }
    }
}
