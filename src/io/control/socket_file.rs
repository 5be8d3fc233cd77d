//! The socket's file: made with the right owner and mode from the first moment, and only where no
//! living daemon has one.

use core::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// Owner and group: whoever may write to the socket may connect.
const MODE: u32 = 0o660;
/// How many connections may wait to be taken.
const BACKLOG: i32 = 32;

/// Why there is no control socket.
#[derive(Debug)]
pub enum OpenError {
    /// A daemon is alive behind the path.
    InUse(PathBuf),
    /// Something that is no socket is in its place; it is left alone.
    NotASocket(PathBuf),
    /// The system refused.
    Io {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(step: &'static str, source: io::Error) -> Self {
        Self::Io { step, source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => {
                write!(f, "another daemon listens on {}: only one may run", path.display())
            }
            Self::NotASocket(path) => {
                write!(f, "{} is no socket: move it away", path.display())
            }
            Self::Io { step, source } => write!(f, "cannot {step} the control socket: {source}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::InUse(_) | Self::NotASocket(_) => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// The file and the lock beside it; both are given up when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Held as long as the daemon lives: settles which of two that start together is first.
    _lock: Flock<File>,
}

impl SocketFile {
    /// Locks, removes what a dead daemon left, and listens.
    pub(super) fn open(path: &Path, group: Option<u32>) -> Result<(Self, UnixListener), OpenError> {
        let lock = lock(path)?;
        remove_stale(path)?;
        let listener = listen(path).map_err(|source| OpenError::io("make", source))?;
        let file = Self { path: path.to_owned(), _lock: lock };
        chown(path, None, group).map_err(|source| OpenError::io("give to its group", source))?;
        fs::set_permissions(path, Permissions::from_mode(MODE))
            .map_err(|source| OpenError::io("set the mode of", source))?;
        Ok((file, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The lock is held, so that this is the file made above. If it cannot be removed, the
        // next daemon does it.
        drop(fs::remove_file(&self.path));
    }
}

fn lock(path: &Path) -> Result<Flock<File>, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(lock_path)
        .map_err(|source| OpenError::io("make the lock of", source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            OpenError::InUse(path.to_owned())
        } else {
            OpenError::io("lock", errno.into())
        }
    })
}

/// Removes a socket behind which nobody listens.
fn remove_stale(path: &Path) -> Result<(), OpenError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::io("look at", source)),
    };
    if !found.file_type().is_socket() {
        return Err(OpenError::NotASocket(path.to_owned()));
    }
    // The lock says that it is no daemon of ours. Its file may have been removed, so ask too; an
    // error other than a refusal comes from somebody who lives but is busy.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| OpenError::io("remove the stale", source))
        }
        Ok(_) | Err(_) => Err(OpenError::InUse(path.to_owned())),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    // The file takes its mode from the socket: there is no moment in which others could connect.
    fchmod(&socket, Mode::from_bits_truncate(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(UnixListener::from_std(StdListener::from(socket)))
}
