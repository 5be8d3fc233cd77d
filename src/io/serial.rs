//! One serial heartbeat link: frames out, frames in, over a null-modem cable.
//!
//! It decides nothing about a peer. It refuses to know what is in a message, and no failure of it
//! is fatal. A line is slow, and an old heartbeat is worth nothing: at most one waits until the
//! line is free, and a newer one takes its place. What a device does not take, or takes in part, is
//! counted and not said again; the next frame begins with what ends a torn one. An adapter that is
//! pulled out is told once and looked for until it is back.
//!
//! ```text
//!          turn: ok                     hung up, or any error but a full queue
//! closed ──────────────► open, idle ──────────────────────────────────────────► closed
//!    ▲ │ turn: failed     │ ▲   a heartbeat, while the line is busy
//!    └─┘ (at most every   ▼ │   the line is free / it has taken nothing for BLOCKED_AFTER
//!    REOPEN_INTERVAL)   open, one waits
//! ```

mod device;

use core::time::Duration;
use std::io::ErrorKind;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;

use self::device::Line;
use super::link::{
    Datagram, Drained, LinkChange, LinkCounters, OpenError, REOPEN_INTERVAL, Sending, Step as _,
    errno_of, send_failure,
};
use crate::config::link::{Baud, SerialLinkConfig};
use crate::types::{Instant, NodeId};
use crate::wire::serial_frame::{Deframer, Frame};

/// The most reads of one drain. What is left waits for the next turn, so that a line that never
/// pauses starves no other link.
pub const READS_MAX: usize = 4;
/// The most bytes that one read takes.
pub const READ_LEN_MAX: usize = 1024;
/// How long the line may take nothing of what waits before that is told, and what waits is
/// forgotten: the other end does not raise CTS, or there is none.
pub const BLOCKED_AFTER: Duration = Duration::from_secs(1);
/// What a device says that takes nothing now, and is there.
const FULL: [Errno; 4] = [Errno::EAGAIN, Errno::EINTR, Errno::ENOBUFS, Errno::ENOMEM];
/// How soon a busy line is looked at again, at the earliest.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);

/// One serial heartbeat link.
#[derive(Debug)]
pub struct SerialLink {
    config: SerialLinkConfig,
    token: Token,
    state: State,
    deframer: Deframer,
    sending: Sending,
    counters: LinkCounters,
}

#[derive(Debug)]
enum State {
    Closed { retry_at: Instant, error: Option<OpenError> },
    Open(Box<Open>),
}

#[derive(Debug)]
struct Open {
    line: Line,
    /// What waits until the line is free, and when that is looked at.
    waiting: Option<(Frame, Instant)>,
    /// When the last frame has left, by the speed of the line: not every driver tells how much of
    /// it is still to go.
    busy_until: Instant,
    /// How much waits in the kernel, and since when it has been no less.
    stuck: Option<(usize, Instant)>,
    /// When the line was last seen empty: nothing that is in it now is older.
    empty_at: Instant,
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    /// The kernel has it.
    Whole,
    /// The line is busy until then, at least.
    Busy(Instant),
    /// The kernel did not take it, or only a part.
    Failed(Errno),
    /// The device is gone.
    Gone,
}

impl SerialLink {
    /// A link, not open yet: [`SerialLink::turn`] does that.
    pub fn new(config: SerialLinkConfig, token: Token) -> Self {
        Self {
            config,
            token,
            state: State::Closed { retry_at: Instant::ZERO, error: None },
            deframer: Deframer::new(),
            sending: Sending::Works,
            counters: LinkCounters::default(),
        }
    }

    /// Whether the device is open.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// When [`SerialLink::turn`] is due; nothing while nothing waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Closed { retry_at, .. } => Some(*retry_at),
            State::Open(open) => open.waiting.as_ref().map(|(_, at)| *at),
        }
    }

    /// Opens the device if it is not open and an attempt is due; sends what has waited for the line
    /// if that is free.
    pub fn turn(&mut self, registry: &Registry, now: Instant) -> Option<LinkChange> {
        match &mut self.state {
            State::Closed { retry_at, error } if now >= *retry_at => {
                let last = *error;
                match self.open(registry, now) {
                    Ok(()) => Some(LinkChange::Opened),
                    Err(error) => {
                        let retry_at = now + REOPEN_INTERVAL;
                        self.state = State::Closed { retry_at, error: Some(error) };
                        (last != Some(error)).then_some(LinkChange::OpenFailed(error))
                    }
                }
            }
            State::Open(open) if open.waiting.as_ref().is_some_and(|(_, at)| now >= *at) => {
                self.send_waiting(now)
            }
            State::Closed { .. } | State::Open(_) => None,
        }
    }

    fn open(&mut self, registry: &Registry, now: Instant) -> Result<(), OpenError> {
        let line = Line::open(&self.config)?;
        let interest = Interest::READABLE;
        registry
            .register(&mut SourceFd(&line.as_raw_fd()), self.token, interest)
            .step("watch the device")?;
        self.counters.opened += 1;
        self.deframer.restart();
        self.sending = Sending::Works;
        self.state = State::Open(Box::new(Open {
            line,
            waiting: None,
            busy_until: Instant::ZERO,
            stuck: None,
            empty_at: now,
        }));
        Ok(())
    }

    /// Sends one message to the peer at the other end, at once or as soon as the line is free.
    pub fn send(&mut self, to: NodeId, bytes: &[u8], now: Instant) -> Option<LinkChange> {
        if to != self.config.peer {
            return None;
        }
        let frame = Frame::new(bytes);
        let (State::Open(open), Some(frame)) = (&mut self.state, frame) else {
            self.counters.send_errors += 1;
            return None;
        };
        if open.waiting.replace((frame, now)).is_some() {
            self.counters.overtaken += 1;
        }
        self.send_waiting(now)
    }

    fn send_waiting(&mut self, now: Instant) -> Option<LinkChange> {
        let State::Open(open) = &mut self.state else { return None };
        let (frame, _) = open.waiting.take()?;
        let to = self.config.peer;
        match open.write(&frame, self.config.baud, now) {
            Written::Whole => {
                self.counters.sent += 1;
                self.sending.succeed().then_some(LinkChange::SendWorks { to })
            }
            Written::Busy(until) => {
                open.waiting = Some((frame, until));
                None
            }
            Written::Failed(errno) => {
                self.counters.send_errors += 1;
                self.sending.fail(errno).then_some(LinkChange::SendFails { to, errno })
            }
            Written::Gone => {
                self.counters.send_errors += 1;
                Some(self.close(now))
            }
        }
    }

    /// The device is gone: the next one of that name is opened.
    fn close(&mut self, now: Instant) -> LinkChange {
        let retry_at = now + REOPEN_INTERVAL;
        self.state = State::Closed { retry_at, error: None };
        LinkChange::Gone
    }

    /// Takes up to [`READS_MAX`] reads from the line and hands the messages in them to `sink`.
    ///
    /// The kernel does not tell when a byte came. It woke the loop for it, so that it came just
    /// now; unless the loop was late: then it may be as old as that.
    pub fn drain(
        &mut self,
        now: Instant,
        late_by: Duration,
        mut sink: impl FnMut(Datagram<'_>),
    ) -> (Drained, Option<LinkChange>) {
        let State::Open(open) = &mut self.state else { return (Drained::Empty, None) };
        let (peer, received) = (self.config.peer, &mut self.counters.received);
        let at = Instant::from_nanos(now.as_nanos().saturating_sub(nanos(late_by)));
        let at = at.max(open.empty_at).min(now);
        let mut buffer = [0; READ_LEN_MAX];
        for _ in 0..READS_MAX {
            match open.line.read(&mut buffer) {
                Ok(len @ 1..) => {
                    self.deframer.push(buffer.get(..len).unwrap_or_default(), |bytes| {
                        *received += 1;
                        sink(Datagram { bytes, at, from: Some(peer) });
                    })
                }
                Ok(0) => return (Drained::Empty, Some(self.close(now))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    open.empty_at = now;
                    return (Drained::Empty, None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.counters.receive_errors += 1;
                    return (Drained::Empty, Some(self.close(now)));
                }
            }
        }
        (Drained::More, None)
    }

    /// What went over it.
    pub fn counters(&self) -> LinkCounters {
        LinkCounters { dropped: self.deframer.dropped(), ..self.counters }
    }

    /// Why nothing can be sent at present; nothing if it can.
    pub fn send_error(&self) -> Option<String> {
        let device = self.config.device.display();
        match &self.state {
            State::Closed { error: Some(error), .. } => Some(format!("{error} ({device})")),
            State::Closed { error: None, .. } => Some(format!("cannot use {device}: it is gone")),
            State::Open(_) => {
                let errno = self.sending.error()?;
                Some(format!("cannot send: {}", send_failure(errno)))
            }
        }
    }

    /// The link's part of the configuration.
    pub fn config(&self) -> &SerialLinkConfig {
        &self.config
    }

    /// The way it takes, for people.
    pub fn path(&self) -> String {
        let SerialLinkConfig { device, baud, rtscts, peer: _ } = &self.config;
        let handshake = if *rtscts { " rtscts" } else { "" };
        format!("{} {}{handshake}", device.display(), baud.bits_per_second())
    }
}

impl Open {
    /// Writes a frame if the line is free.
    fn write(&mut self, frame: &Frame, baud: Baud, now: Instant) -> Written {
        let Ok(unsent) = self.line.count_unsent() else { return Written::Gone };
        if unsent > 0 {
            return self.wait_for_line(unsent, baud, now);
        }
        self.stuck = None;
        if now < self.busy_until {
            return Written::Busy(self.busy_until);
        }
        let bytes = frame.as_bytes();
        match self.line.write(bytes) {
            Ok(len) => {
                self.busy_until = now + line_time(baud, len);
                if len == bytes.len() { Written::Whole } else { Written::Failed(Errno::EAGAIN) }
            }
            Err(error) => {
                let errno = errno_of(&error);
                if FULL.contains(&errno) { Written::Failed(errno) } else { Written::Gone }
            }
        }
    }

    /// The line is busy with `unsent` bytes; or blocked, if it has taken none of them for long.
    fn wait_for_line(&mut self, unsent: usize, baud: Baud, now: Instant) -> Written {
        let since = match self.stuck {
            Some((before, since)) if unsent >= before => since,
            Some(_) | None => now,
        };
        self.stuck = Some((unsent, since));
        if now >= since + BLOCKED_AFTER {
            // What waits there is as old as that, and would be said when the line goes on.
            self.line.discard_unsent();
            self.stuck = None;
            return Written::Failed(Errno::ETIMEDOUT);
        }
        Written::Busy(now + line_time(baud, unsent).max(LOOK_AGAIN_MIN))
    }
}

/// How long the line takes for so many bytes.
fn line_time(baud: Baud, len: usize) -> Duration {
    baud.time_of(u64::try_from(len).unwrap_or(u64::MAX))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
