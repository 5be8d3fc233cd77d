//! The sessions that are kept to BMCs: when the daemon may, what it tells of them, and their end.

use core::time::Duration;
use std::io::ErrorKind;

use mio::Events;

use super::remedy;
use super::shell::Shell;
use crate::config::DeviceKind;
use crate::config::device::Device;
use crate::sys::clock;
use crate::wire::control::EventLevel;

/// After so long a BMC has forgotten the session of a daemon that is gone: 60 s, give or take three
/// (IPMI v2.0 §6.12.15).
const SESSIONS_FORGOTTEN: Duration = Duration::from_secs(65);
/// How long the end waits for the BMCs to close their sessions.
const SESSIONS_CLOSED_MAX: Duration = Duration::from_millis(700);

impl Shell {
    /// Keeps a session to each BMC, at once or, after a life that did not close its own, when the
    /// BMCs have forgotten those: a daemon that is killed again and again leaves one at most.
    pub(super) fn keep_sessions(&mut self) {
        let is_bmc = |device: &Device| matches!(device.kind, DeviceKind::Ipmi { .. });
        if !self.plan.devices.iter().any(is_bmc) {
            return;
        }
        let from = match self.files.note_sessions() {
            Ok(false) => self.now,
            Ok(true) => self.now + SESSIONS_FORGOTTEN,
            Err(error) => {
                log::warn!("no sessions to BMCs are kept: cannot note that there are: {error}");
                return;
            }
        };
        self.fences.keep_sessions(from);
    }

    pub(super) fn tell_weaknesses(&mut self) {
        while let Some((device, weakness)) = self.fences.take_weakness() {
            let name = self.plan.names.device(device).to_owned();
            let (what, remedy) = remedy::of_weakness(weakness);
            let text = format!("fence device {name}: {what}; what to do: {remedy}");
            self.tell(EventLevel::Warning, "fence-weak", &name, text);
        }
    }

    /// Closes the BMCs' sessions, which are few, and would live on for a minute.
    pub(super) fn close_sessions(&mut self, events: &mut Events) {
        let end = clock::now() + SESSIONS_CLOSED_MAX;
        self.fences.close_sessions(self.poll.registry(), clock::now());
        loop {
            let now = clock::now();
            if self.fences.is_idle() {
                if let Err(error) = self.files.remove_sessions_note() {
                    log::warn!("cannot remove the note of open BMC sessions: {error}");
                }
                return;
            }
            if now >= end {
                log::info!("a BMC has not confirmed that its session is closed");
                return;
            }
            let next = self.fences.next_deadline().map_or(end, |at| at.min(end));
            if let Err(error) = self.poll.poll(events, Some(next.since(now)))
                && error.kind() != ErrorKind::Interrupted
            {
                return;
            }
            let now = clock::now();
            for event in events.iter() {
                if self.fences.tokens().contains(&event.token().0) {
                    self.fences.ready(self.poll.registry(), now, event.token());
                }
            }
            self.fences.expire(self.poll.registry(), now);
        }
    }
}
