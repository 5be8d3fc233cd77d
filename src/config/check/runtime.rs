//! The process: paths, priority, memory.

use std::path::{Path, PathBuf};

use crate::config::finding::{At, Findings};
use crate::config::plan::{Priority, Runtime};
use crate::config::raw::RawRuntime;

/// The longest path of a socket in bytes (`sun_path` of `unix(7)` without its closing zero).
const SOCKET_PATH_LEN_MAX: usize = 107;
/// The real-time priority unless the file says another: above ordinary real-time work, below the
/// kernel's own threads.
const PRIORITY_DEFAULT: u8 = 50;
/// What a reboot erases.
const VOLATILE: [&str; 5] = ["/run", "/var/run", "/tmp", "/dev", "/proc"];

/// Checks `[runtime]`.
pub(super) fn check(raw: &RawRuntime, findings: &mut Findings) -> Runtime {
    let path = |at: &Option<At<PathBuf>>, default: PathBuf| {
        at.as_ref().map_or(default, |at| at.value.clone())
    };
    let runtime_dir = path(&raw.runtime_dir, PathBuf::from("/run/tandem"));
    let state_dir = path(&raw.state_dir, PathBuf::from("/var/lib/tandem"));
    let control_socket = path(&raw.control_socket, runtime_dir.join("control.sock"));
    let is_volatile = |path: &Path| VOLATILE.iter().any(|root| path.starts_with(root));
    if is_volatile(&state_dir) {
        let place = raw.state_dir.as_ref().map_or(&raw.place, |at| &at.place);
        let wrong = "a reboot erases it, and with it whose data is the newest";
        findings.warn(place, wrong, "write a directory on a disk: \"/var/lib/tandem\"");
    }
    if runtime_dir == state_dir {
        let place = raw.state_dir.as_ref().map_or(&raw.place, |at| &at.place);
        let wrong = "the same directory as runtime-dir";
        findings.error(place, wrong, "write \"/var/lib/tandem\" here, \"/run/tandem\" there");
    }
    let socket_len = control_socket.as_os_str().len();
    if socket_len > SOCKET_PATH_LEN_MAX {
        let place = raw.control_socket.as_ref().or(raw.runtime_dir.as_ref());
        let place = place.map_or(&raw.place, |at| &at.place);
        let wrong = format!("the path of the control socket has {socket_len} bytes");
        findings.error(place, wrong, format!("write at most {SOCKET_PATH_LEN_MAX}"));
    }
    let priority = match raw.priority.as_ref().map(|at| at.value) {
        None => Priority::RealTime(PRIORITY_DEFAULT),
        Some(None) => Priority::Off,
        Some(Some(level)) => Priority::RealTime(level),
    };
    let lock_memory = raw.lock_memory.as_ref().is_none_or(|at| at.value);
    Runtime { control_socket, runtime_dir, state_dir, priority, lock_memory }
}
