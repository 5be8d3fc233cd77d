//! The control socket: operators' tools in, requests to the daemon, lines back.
//!
//! It checks who calls and bounds everything: connections, the length of a request, the time to
//! finish one, what waits to be written. It refuses to know what a request means. A slow or hostile
//! caller costs its own connection and nothing else. A socket that cannot be made costs the
//! operators their tools and nobody the service: it is tried again.

mod caller;
mod connection;
mod socket_file;

use core::time::Duration;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

pub use caller::Caller;
pub use socket_file::OpenError;

use self::connection::Connection;
use self::socket_file::SocketFile;
use crate::types::Instant;
use crate::wire::control::{Code, EventLine, Failure, Request, Response};

/// The most connections at a time; one more is told so and closed.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;
/// The most connections of callers other than root, so that they cannot shut root out.
pub const READER_CONNECTIONS_MAX: usize = 12;
/// How long a caller may take to finish its request, and to take its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes that wait for a follower of events; with more it is disconnected.
pub const FOLLOWER_QUEUE_MAX: usize = 256 * 1024;
/// The most new connections that are taken in one turn.
const ACCEPT_MAX: usize = 32;
/// How long no connection is taken after the kernel could not give one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long it takes until a socket that could not be made is tried again.
const OPEN_PAUSE: Duration = Duration::from_secs(5);

/// Where the socket is and who may read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlConfig {
    /// The path of the socket.
    pub path: PathBuf,
    /// The group whose members may ask what changes nothing; without one only root may.
    pub readers: Option<u32>,
}

/// One connection; never used for another one, even after it ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnectionId {
    slot: usize,
    serial: u64,
}

/// A permitted request, to be answered with [`ControlServer::respond`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Whom to answer.
    pub connection: ConnectionId,
    /// What is asked.
    pub request: Request,
    /// Who asks, for the record.
    pub caller: Caller,
}

/// What happened since the server was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ControlCounters {
    /// Connections taken.
    pub accepted: u64,
    /// Connections refused because there were too many.
    pub refused_busy: u64,
    /// Connections and requests refused because of who called.
    pub refused_caller: u64,
    /// Followers that were disconnected because they did not read.
    pub slow_followers: u64,
    /// Connections that the kernel could not give.
    pub accept_errors: u64,
}

/// The server of the control socket.
#[derive(Debug)]
pub struct ControlServer {
    config: ControlConfig,
    /// Nothing as long as there is none to be had.
    listening: Option<Listening>,
    /// When it is tried again, and why it failed last.
    open_at: Option<(Instant, String)>,
    registry: Registry,
    first_token: Token,
    slots: [Option<Connection>; CONTROL_CONNECTIONS_MAX],
    serial: u64,
    accept_at: Option<Instant>,
    /// A connection may have more to say than its last event told.
    again: bool,
    counters: ControlCounters,
}

#[derive(Debug)]
struct Listening {
    listener: UnixListener,
    /// Last, so that the file goes when nobody listens any more.
    _file: SocketFile,
}

impl Listening {
    fn open(config: &ControlConfig, registry: &Registry, token: Token) -> Result<Self, OpenError> {
        let (file, mut listener) = SocketFile::open(&config.path, config.readers)?;
        registry
            .register(&mut listener, token, Interest::READABLE)
            .map_err(|source| OpenError::io("watch", source))?;
        Ok(Self { listener, _file: file })
    }
}

impl ControlServer {
    /// How many tokens the server uses, from its first on.
    pub const TOKENS: usize = CONTROL_CONNECTIONS_MAX + 1;

    /// Opens the socket, replacing one that a dead daemon left. Uses [`ControlServer::TOKENS`]
    /// tokens from `first_token` on. A socket that the system refuses is told in the log and tried
    /// again: an active that comes back must adopt what it holds, with or without one.
    ///
    /// # Errors
    /// If a daemon is alive behind the path, or nothing can be watched at all.
    pub fn open(
        config: &ControlConfig,
        registry: &Registry,
        first_token: Token,
        now: Instant,
    ) -> Result<Self, OpenError> {
        let registry = registry.try_clone().map_err(|source| OpenError::io("watch", source))?;
        let (listening, open_at) = match Listening::open(config, &registry, first_token) {
            Ok(listening) => (Some(listening), None),
            Err(error @ OpenError::InUse(_)) => return Err(error),
            Err(error @ (OpenError::NotASocket(_) | OpenError::Io { .. })) => {
                let why = error.to_string();
                log::error!("no control socket, trying again: {why}");
                (None, Some((now + OPEN_PAUSE, why)))
            }
        };
        Ok(Self {
            config: config.clone(),
            listening,
            open_at,
            registry,
            first_token,
            slots: [const { None }; CONTROL_CONNECTIONS_MAX],
            serial: 0,
            accept_at: None,
            again: false,
            counters: ControlCounters::default(),
        })
    }

    /// Tries again to make a socket that could not be made, when it is time to.
    fn reopen(&mut self, now: Instant) {
        let Some((_, told)) = self.open_at.take_if(|(at, _)| *at <= now) else { return };
        match Listening::open(&self.config, &self.registry, self.first_token) {
            Ok(listening) => {
                log::info!("the control socket is there");
                self.listening = Some(listening);
            }
            Err(error) => {
                let why = error.to_string();
                if why != told {
                    log::error!("no control socket, trying again: {why}");
                }
                self.open_at = Some((now + OPEN_PAUSE, why));
            }
        }
    }

    /// Whether operators can reach the daemon.
    pub fn is_open(&self) -> bool {
        self.listening.is_some()
    }

    /// Whether events with this token are the server's.
    pub fn owns(&self, token: Token) -> bool {
        let offset = token.0.checked_sub(self.first_token.0);
        offset.is_some_and(|offset| offset < Self::TOKENS)
    }

    /// Handles an event of one of its tokens: adds the requests that are complete and permitted.
    pub fn ready(&mut self, token: Token, now: Instant, incoming: &mut Vec<Incoming>) {
        match token.0.checked_sub(self.first_token.0) {
            Some(0) => self.accept(now, incoming),
            Some(offset) if offset < Self::TOKENS => {
                self.pump(offset.saturating_sub(1), now, incoming);
            }
            Some(_) | None => {}
        }
    }

    /// When [`ControlServer::expire`] is due; [`Instant::ZERO`] if at once.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.again {
            return Some(Instant::ZERO);
        }
        let connections = self.slots.iter().flatten();
        let open_at = self.open_at.as_ref().map(|(at, _)| *at);
        connections.filter_map(Connection::deadline).chain(self.accept_at).chain(open_at).min()
    }

    /// Gives up connections whose time is over, and does what an earlier turn left.
    pub fn expire(&mut self, now: Instant, incoming: &mut Vec<Incoming>) {
        self.reopen(now);
        let is_again = core::mem::take(&mut self.again);
        for slot in 0..CONTROL_CONNECTIONS_MAX {
            if let Some(Some(connection)) = self.slots.get_mut(slot) {
                connection.expire(now);
            }
            if is_again {
                self.pump(slot, now, incoming);
            }
            self.sweep(slot);
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept(now, incoming);
        }
    }

    /// Answers a request; without effect if its connection has ended. `Ok` to `events` with
    /// `follow` makes the connection a follower.
    pub fn respond(&mut self, to: ConnectionId, response: &Response, now: Instant) {
        if let Some(connection) = self.connection(to) {
            self.again |= connection.respond(response, now);
            self.sweep(to.slot);
        }
    }

    /// Tells one connection one event, before its request is answered with `Ok`.
    pub fn tell(&mut self, to: ConnectionId, event: &EventLine) {
        let line = Response::Event(event.clone()).to_line();
        if let Some(connection) = self.connection(to) {
            self.counters.slow_followers += u64::from(!connection.tell(&line));
            self.sweep(to.slot);
        }
    }

    /// Tells all followers one event.
    pub fn broadcast_event(&mut self, event: &EventLine) {
        if !self.slots.iter().flatten().any(Connection::is_following) {
            return;
        }
        let line = Response::Event(event.clone()).to_line();
        for slot in 0..CONTROL_CONNECTIONS_MAX {
            if let Some(Some(connection)) = self.slots.get_mut(slot)
                && connection.is_following()
            {
                self.counters.slow_followers += u64::from(!connection.tell(&line));
                self.sweep(slot);
            }
        }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// What happened so far.
    pub fn counters(&self) -> ControlCounters {
        self.counters
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.slot)?.as_mut()?;
        (connection.serial == id.serial).then_some(connection)
    }

    fn accept(&mut self, now: Instant, incoming: &mut Vec<Incoming>) {
        self.accept_at = None;
        for _ in 0..ACCEPT_MAX {
            let Some(listening) = &self.listening else { return };
            match listening.listener.accept() {
                Ok((stream, _)) => self.welcome(stream, now, incoming),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.counters.accept_errors += 1;
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        self.accept_at = Some(now);
    }

    fn welcome(&mut self, stream: UnixStream, now: Instant, incoming: &mut Vec<Incoming>) {
        let caller = match Caller::of(&stream) {
            Ok(caller) if caller.may_connect(self.config.readers) => caller,
            Ok(_) | Err(_) => {
                self.counters.refused_caller += 1;
                turn_away(stream, not_permitted());
                return;
            }
        };
        let free = self.slots.iter().position(Option::is_none);
        let others = self.slots.iter().flatten().filter(|known| !known.caller.is_root()).count();
        let slot = free.filter(|_| caller.is_root() || others < READER_CONNECTIONS_MAX);
        let Some((slot, place)) = slot.and_then(|slot| Some((slot, self.slots.get_mut(slot)?)))
        else {
            self.counters.refused_busy += 1;
            turn_away(stream, busy());
            return;
        };
        self.serial += 1;
        let connection = place.insert(Connection::new(self.serial, stream, caller, now));
        let token = Token(self.first_token.0 + 1 + slot);
        let both = Interest::READABLE | Interest::WRITABLE;
        if self.registry.register(connection.stream(), token, both).is_err() {
            *place = None;
            self.counters.accept_errors += 1;
            return;
        }
        self.counters.accepted += 1;
        self.pump(slot, now, incoming);
    }

    /// Lets one connection read and write, and hands its request on if it is permitted.
    fn pump(&mut self, slot: usize, now: Instant, incoming: &mut Vec<Incoming>) {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        if let Some(request) = connection.pump(now) {
            if connection.caller.may_ask(&request, self.config.readers) {
                let id = ConnectionId { slot, serial: connection.serial };
                let caller = connection.caller.clone();
                incoming.push(Incoming { connection: id, request, caller });
            } else {
                self.counters.refused_caller += 1;
                connection.refuse(not_permitted(), now);
            }
        }
        self.sweep(slot);
    }

    /// Closes the connection if it is gone.
    fn sweep(&mut self, slot: usize) {
        if let Some(place) = self.slots.get_mut(slot)
            && place.as_ref().is_some_and(Connection::is_gone)
        {
            *place = None;
        }
    }
}

/// Says why to a caller that gets no connection. If even that does not fit, it sees the end only.
fn turn_away(mut stream: UnixStream, failure: Failure) {
    let line = Response::Error(failure).to_line();
    drop(stream.write(line.as_bytes()));
}

fn not_permitted() -> Failure {
    let remedy = "run this as root; others may read at most, if a group was given that right";
    Failure::new(Code::NotPermitted, "you may not ask this", remedy)
}

fn busy() -> Failure {
    let remedy = "end a `tandem events --follow` that is not needed, or try again";
    Failure::new(Code::Busy, "the daemon has too many connections", remedy)
}

#[cfg(test)]
mod tests;
