//! The Redfish child: it speaks to one BMC, about one order, and ends.
//!
//! It waits for names, TCP, TLS and HTTP as a plain program does, which the loop must never do,
//! and is killed by its parent when its time is over. See [`crate::wire::redfish::relay`] for what
//! it is told and tells. It decides nothing.

mod service;
mod tls;

use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use self::service::Service;
use self::tls::Peer;
use crate::config::device::Fingerprint;
use crate::sys::clock;
use crate::types::FenceFault;
use crate::wire::redfish::relay::{Answer, TASK_LEN_MAX, Task, emit_stage};

/// Why an order was not carried out, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fault {
    fault: FenceFault,
    reason: String,
}

impl Fault {
    fn new(fault: FenceFault, reason: impl Into<String>) -> Self {
        Self { fault, reason: reason.into() }
    }

    /// What a stream's error during `what` means.
    fn of_io(error: &io::Error, what: &str) -> Self {
        let kind = error.kind();
        if matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            return Self::new(FenceFault::Timeout, format!("{what} did not end in time"));
        }
        let is_nonsense = kind == io::ErrorKind::InvalidData;
        let fault = if is_nonsense { FenceFault::Garbled } else { FenceFault::Unreachable };
        Self::new(fault, format!("{what}: {error}"))
    }
}

/// Reads the task on the standard input, carries it out, tells the answer.
///
/// # Errors
/// If there is no task, or nobody to tell the answer to.
pub fn run() -> io::Result<()> {
    let mut text = Vec::new();
    let limit = u64::try_from(TASK_LEN_MAX).unwrap_or(u64::MAX);
    io::stdin().take(limit).read_to_end(&mut text)?;
    // What is wrong in it is not told: it holds a password.
    let task: Task = serde_json::from_slice(&text)
        .map_err(|_hidden| io::Error::new(io::ErrorKind::InvalidData, "this is no task"))?;
    let deadline = clock::now() + Duration::from_millis(task.timeout_ms);
    let mut tell_stage = tell_stage;
    let mut service = Service::new(&task, deadline, &mut tell_stage);
    let outcome = service.carry_out();
    let (hint, uuid) = (service.hint(), service.uuid());
    let answer = match outcome {
        Ok((power, reason)) => Answer { outcome: Ok(power), reason, hint, uuid },
        Err(Fault { fault, reason }) => Answer { outcome: Err(fault), reason, hint, uuid },
    };
    say(&answer.emit())?;
    service.log_out();
    Ok(())
}

fn tell_stage(stage: &str) {
    // If nobody listens, the answer will not be heard either.
    say(&emit_stage(stage)).ok();
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The SHA-256 fingerprint of the certificate that is shown at `host`, port `port`. It waits, at
/// most for `timeout` and a name to be looked up.
///
/// # Errors
/// Why there is none to be had.
pub fn fingerprint(host: &str, port: u16, timeout: Duration) -> Result<Fingerprint, String> {
    let peer = Peer { host, port };
    let deadline = clock::now() + timeout;
    let addresses = tls::look_up(peer).map_err(|fault| fault.reason)?;
    let timed = tls::reach(&addresses, deadline).map_err(|fault| fault.reason)?;
    tls::show(timed, peer).map_err(|fault| fault.reason)
}

/// Whether a `ca-file` can be used.
///
/// # Errors
/// What is wrong with it.
pub fn check_authority(path: &Path) -> Result<(), String> {
    tls::check_authority(path)
}
