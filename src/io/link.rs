//! A heartbeat link, whatever carries it: messages out, messages in, and what is worth telling.
//!
//! What the loop does with a link is the same for all of them; what differs stays behind this
//! interface. No failure of a link is fatal: one that cannot send or is not open says so once,
//! counts, and tries again.

use core::fmt;
use core::time::Duration;

use mio::{Registry, Token};
use nix::errno::Errno;

use super::serial::SerialLink;
use super::udp::{UdpLink, Width};
use crate::config::Transport;
use crate::types::{Instant, NodeId};
use crate::wire::serial_frame::Dropped;

/// How long after a failed attempt to open a link the next one is due.
pub const REOPEN_INTERVAL: Duration = Duration::from_millis(500);
/// How many sends in a row must succeed before a peer that could not be sent to counts as well:
/// a full queue that comes and goes is told once.
pub const RECOVERED_MIN: u32 = 10;

/// One heartbeat link.
#[derive(Debug)]
pub enum Link {
    /// Datagrams over a NIC.
    Udp(Box<UdpLink>),
    /// Frames over a serial line.
    Serial(Box<SerialLink>),
}

/// A message that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// What is in it, [`crate::wire::heartbeat::LEN_MAX`] bytes at most.
    pub bytes: &'a [u8],
    /// When it arrived.
    pub at: Instant,
    /// The peer that it came from, as far as the link tells: whose address it is, or who is at the
    /// other end of the line. Nothing on a multicast link, where only the tag tells.
    pub from: Option<NodeId>,
}

/// Whether a drain emptied the link.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// Nothing is left: readiness will tell of the next message.
    Empty,
    /// A turn's share was taken and more may wait: drain again, readiness will not tell.
    More,
}

/// Something about a link that people want to know; each is told once when it comes to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// It is open.
    Opened,
    /// It could not be opened; it is tried again.
    OpenFailed(OpenError),
    /// Its NIC or device is gone; it is opened again when there is one of that name.
    Gone,
    /// Heartbeats to that peer cannot be sent.
    SendFails {
        /// The peer.
        to: NodeId,
        /// Why.
        errno: Errno,
    },
    /// They can be sent again.
    SendWorks {
        /// The peer.
        to: NodeId,
    },
}

/// Why a link could not be made ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenError {
    /// What was attempted, as in `bind to the NIC`.
    pub step: &'static str,
    /// Why it failed.
    pub errno: Errno,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.step, self.errno.desc())
    }
}

impl core::error::Error for OpenError {}

/// The error of `step`.
pub(super) trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, OpenError>;
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, step: &'static str) -> Result<T, OpenError> {
        self.map_err(|error| OpenError { step, errno: errno_of(&error) })
    }
}

impl<T> Step<T> for nix::Result<T> {
    fn step(self, step: &'static str) -> Result<T, OpenError> {
        self.map_err(|errno| OpenError { step, errno })
    }
}

/// The kernel's number of an error; `EIO` for one that is not the kernel's.
pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Why a message could not be sent, for people.
pub fn send_failure(errno: Errno) -> &'static str {
    // Of a line, the kernel's words would speak of a connection.
    if errno == Errno::ETIMEDOUT { BLOCKED } else { errno.desc() }
}

/// What a serial line says that takes nothing.
const BLOCKED: &str = "the line takes nothing: is CTS raised at the other end?";

/// What went over a link since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkCounters {
    /// Messages that the kernel took.
    pub sent: u64,
    /// Messages that it did not take, or that could not be sent because the link is not open.
    pub send_errors: u64,
    /// Messages that a newer one overtook while they waited for the line.
    pub overtaken: u64,
    /// Messages that were handed on.
    pub received: u64,
    /// Datagrams longer than any message.
    pub too_long: u64,
    /// Datagrams from an address that is no peer's.
    pub strangers: u64,
    /// What came over a serial line and was no frame.
    pub dropped: Dropped,
    /// Datagrams that the kernel dropped: they failed the filter, or the queue was full. Known as
    /// soon as one comes that it did not drop.
    pub by_kernel: u64,
    /// Errors when reading.
    pub receive_errors: u64,
    /// How often it was opened.
    pub opened: u64,
}

impl LinkCounters {
    /// What the link itself refused, by reason as the status names it.
    pub fn refused(&self) -> [(&'static str, u64); 7] {
        [
            ("too-long", self.too_long),
            ("unknown-address", self.strangers),
            ("dropped-by-kernel", self.by_kernel),
            ("frame-overlong", self.dropped.overlong),
            ("frame-garbled", self.dropped.garbled),
            ("frame-too-short", self.dropped.too_short),
            ("frame-checksum", self.dropped.checksum),
        ]
    }
}

/// Whether messages to one peer can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    Works,
    Fails { errno: Errno, worked: u32 },
}

impl Sending {
    /// One was sent; whether that is news.
    pub(super) fn succeed(&mut self) -> bool {
        let Self::Fails { worked, .. } = self else { return false };
        *worked += 1;
        let recovered = *worked >= RECOVERED_MIN;
        if recovered {
            *self = Self::Works;
        }
        recovered
    }

    /// One was not sent; whether that is news.
    pub(super) fn fail(&mut self, errno: Errno) -> bool {
        let is_known = self.error() == Some(errno);
        *self = Self::Fails { errno, worked: 0 };
        !is_known
    }

    /// Why none can be sent, if so.
    pub(super) fn error(self) -> Option<Errno> {
        match self {
            Self::Works => None,
            Self::Fails { errno, .. } => Some(errno),
        }
    }
}

impl Link {
    /// A link, not open yet: [`Link::turn`] does that.
    pub fn new(transport: &Transport, token: Token) -> Self {
        match transport {
            Transport::Udp(udp) => Self::Udp(Box::new(UdpLink::new(udp.clone(), token))),
            Transport::Serial(serial) => {
                Self::Serial(Box::new(SerialLink::new(serial.clone(), token)))
            }
        }
    }

    /// Lets the kernel drop what cannot be a heartbeat of this cluster, from the next opening on,
    /// where it can tell: over UDP.
    pub fn guard(&mut self, cluster: u64) {
        match self {
            Self::Udp(link) => link.guard(cluster),
            Self::Serial(_) => {}
        }
    }

    /// Changes how much the kernel lets through.
    ///
    /// # Errors
    /// If it does not take the filter; the one before stays.
    pub fn set_width(&mut self, width: Width) -> Result<(), OpenError> {
        match self {
            Self::Udp(link) => link.set_width(width),
            Self::Serial(_) => Ok(()),
        }
    }

    /// What carries it, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Serial(_) => "serial",
        }
    }

    /// What it needs of this machine, for people: `the NIC eth6`, `/dev/ttyS0`.
    pub fn place(&self) -> String {
        match self {
            Self::Udp(link) => format!("the NIC {}", link.config().nic),
            Self::Serial(link) => link.config().device.display().to_string(),
        }
    }

    /// The way it takes to that peer, for people.
    pub fn path(&self, to: NodeId) -> String {
        match self {
            Self::Udp(link) => link.path(to),
            Self::Serial(link) => link.path(),
        }
    }

    /// When [`Link::turn`] is due; nothing while the link wants nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Udp(link) => link.next_deadline(),
            Self::Serial(link) => link.next_deadline(),
        }
    }

    /// Does what is due: opens the link if it is not open, sends what has waited for the line.
    pub fn turn(&mut self, registry: &Registry, now: Instant) -> Option<LinkChange> {
        match self {
            Self::Udp(link) => link.reopen(registry, now),
            Self::Serial(link) => link.turn(registry, now),
        }
    }

    /// Sends one message to one peer.
    pub fn send(&mut self, to: NodeId, bytes: &[u8], now: Instant) -> Option<LinkChange> {
        match self {
            Self::Udp(link) => link.send(to, bytes, now),
            Self::Serial(link) => link.send(to, bytes, now),
        }
    }

    /// Takes a turn's share of what has arrived and hands it to `sink`. `now` is the turn's;
    /// nothing is said to have come later. `late_by` is how late the loop was: what has come
    /// meanwhile may be as old as that, where the kernel does not tell.
    pub fn drain(
        &mut self,
        now: Instant,
        late_by: Duration,
        sink: impl FnMut(Datagram<'_>),
    ) -> (Drained, Option<LinkChange>) {
        match self {
            Self::Udp(link) => (link.drain(now, sink), None),
            Self::Serial(link) => link.drain(now, late_by, sink),
        }
    }

    /// What went over it.
    pub fn counters(&self) -> LinkCounters {
        match self {
            Self::Udp(link) => link.counters(),
            Self::Serial(link) => link.counters(),
        }
    }

    /// Why nothing can be sent to that peer at present, in a sentence that begins with `cannot`;
    /// nothing if it can.
    pub fn send_error(&self, to: NodeId) -> Option<String> {
        match self {
            Self::Udp(link) => link.send_error(to),
            Self::Serial(link) => link.send_error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_error_is_told_once_per_change() {
        let mut sending = Sending::Works;
        assert!(!sending.succeed());
        assert!(sending.fail(Errno::ENETUNREACH));
        assert!(!sending.fail(Errno::ENETUNREACH));
        assert!(sending.fail(Errno::ENETDOWN));
        for _ in 1..RECOVERED_MIN {
            assert!(!sending.succeed());
        }
        assert!(!sending.fail(Errno::ENETDOWN));
        for _ in 1..RECOVERED_MIN {
            assert!(!sending.succeed());
        }
        assert_eq!(sending.error(), Some(Errno::ENETDOWN));
        assert!(sending.succeed());
        assert!(!sending.succeed());
        assert_eq!(sending.error(), None);
    }
}
