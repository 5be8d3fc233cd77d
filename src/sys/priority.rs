//! What keeps the loop on time on a busy host: real-time scheduling and locked memory.
//!
//! Both may be denied (container, missing capability); the errors are for a warning, the daemon
//! works without, only less punctually.
#![allow(unsafe_code, reason = "sched_setscheduler has no safe wrapper")]

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};

/// Schedules the calling thread as `SCHED_FIFO` with that priority (1 to 99). Children start with
/// the normal policy (`SCHED_RESET_ON_FORK`): a fence agent must not starve the host.
///
/// # Errors
/// Those of `sched_setscheduler(2)`: not permitted, or no such priority.
pub fn set_realtime(priority: u8) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: i32::from(priority) };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `param` is a valid sched_param that outlives the call, which only reads it; 0 means
    // the calling thread.
    let status = unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Locks all memory of the process, present and future, so that no page fault waits for a disk.
///
/// # Errors
/// Those of `mlockall(2)`: not permitted, or over the limit.
pub fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
    use super::*;

    fn policy_line(path: &str) -> String {
        // Field 41 of stat is the policy; fields are counted behind the closing parenthesis.
        let stat = std::fs::read_to_string(path).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().nth(38).unwrap().to_owned()
    }

    #[test]
    fn a_thread_becomes_realtime_and_its_children_do_not() {
        let thread = std::thread::spawn(|| {
            let before = policy_line("/proc/thread-self/stat");
            if set_realtime(5).is_err() {
                // Without the capability nothing may have changed.
                assert_eq!(policy_line("/proc/thread-self/stat"), before);
                return;
            }
            assert_eq!(policy_line("/proc/thread-self/stat"), "1");
            let child = std::process::Command::new("cat").arg("/proc/self/stat").output().unwrap();
            let text = String::from_utf8(child.stdout).unwrap();
            let (_, rest) = text.rsplit_once(')').unwrap();
            assert_eq!(rest.split_whitespace().nth(38), Some("0"));
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_priority_that_does_not_exist_is_refused() {
        assert_eq!(set_realtime(100).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
