//! The supplementary groups of the process at the other end of a Unix socket.
#![allow(unsafe_code, reason = "getsockopt(SO_PEERGROUPS) is in no safe crate")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// The most groups that are asked for; a caller with more is an error.
pub const GROUPS_MAX: usize = 256;

/// The supplementary groups that the peer had when it connected (`SO_PEERGROUPS`, unix(7)).
///
/// # Errors
/// If the socket is no connected Unix socket, or the peer has more than [`GROUPS_MAX`] groups.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; GROUPS_MAX];
    let room = size_of::<libc::gid_t>() * groups.len();
    let mut len = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open as long as it is borrowed; `groups` holds `len` bytes that
    // may be written, of the type gid_t (u32), for which every bit pattern is a value; the kernel
    // writes at most `len` bytes and stores in `len` how many it wrote.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let written = usize::try_from(len).map_err(io::Error::other)?;
    groups.truncate(written / size_of::<libc::gid_t>());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_has_the_groups_of_this_process() {
        let own: Option<Vec<u32>> = nix::unistd::getgroups()
            .ok()
            .map(|groups| groups.into_iter().map(nix::unistd::Gid::as_raw).collect());
        let pair = UnixStream::pair().ok();
        let told = pair.as_ref().and_then(|(one, _)| peer_groups(one).ok());
        assert!(told.is_some());
        assert_eq!(told, own);
    }

    #[test]
    fn what_is_no_unix_socket_is_an_error() {
        let udp = std::net::UdpSocket::bind(("127.0.0.1", 0)).ok();
        assert!(udp.is_some_and(|udp| peer_groups(&udp).is_err()));
    }
}
