//! One control connection: a request in, lines out, both bounded.
//!
//! ```text
//!            a line is complete            respond                 follow was asked
//! Reading ─────────────────────► Asked ───────────────► Reading | Following
//!    │ too long, garbage at the end, EOF before                 │
//!    ▼                                                          ▼ EOF, a word, a full queue
//! Closing ── all is written, or the deadline ──► gone          gone
//! ```

use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::UnixStream;
use zeroize::Zeroizing;

use super::{Caller, FOLLOWER_QUEUE_MAX, REQUEST_TIMEOUT};
use crate::types::Instant;
use crate::wire::control::{Failure, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) serial: u64,
    pub(super) caller: Caller,
    stream: UnixStream,
    phase: Phase,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// The other end will not write any more.
    at_end: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Waits for a request, or for the end of it.
    Reading { until: Instant },
    /// The request was handed on.
    Asked { follow: bool },
    /// Is told every event.
    Following,
    /// Is gone as soon as all is written.
    Closing { until: Instant },
    /// Nothing more can or shall be said.
    Gone,
}

impl Connection {
    pub(super) fn new(serial: u64, stream: UnixStream, caller: Caller, now: Instant) -> Self {
        Self {
            serial,
            caller,
            stream,
            phase: Phase::Reading { until: now + REQUEST_TIMEOUT },
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            at_end: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    pub(super) fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    pub(super) fn is_following(&self) -> bool {
        self.phase == Phase::Following
    }

    /// When it is given up unless something happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Reading { until } | Phase::Closing { until } => Some(until),
            Phase::Asked { .. } | Phase::Following | Phase::Gone => None,
        }
    }

    /// Gives it up if its time is over; says why to one that began a request.
    pub(super) fn expire(&mut self, now: Instant) {
        match self.phase {
            Phase::Reading { until } if until <= now => {
                if self.input.is_empty() || !self.is_flushed() {
                    self.phase = Phase::Gone;
                } else {
                    self.refuse(Failure::timeout(), now);
                }
            }
            Phase::Closing { until } if until <= now => self.phase = Phase::Gone,
            Phase::Reading { .. }
            | Phase::Closing { .. }
            | Phase::Asked { .. }
            | Phase::Following
            | Phase::Gone => {}
        }
    }

    /// Writes and reads what can be; the request, if one is complete.
    pub(super) fn pump(&mut self, now: Instant) -> Option<Request> {
        self.flush();
        match self.phase {
            // One request at a time: the next is not read before the answer is.
            Phase::Reading { .. } if self.is_flushed() => self.read_request(now),
            Phase::Following => {
                self.expect_silence();
                None
            }
            Phase::Reading { .. } | Phase::Asked { .. } | Phase::Closing { .. } | Phase::Gone => {
                None
            }
        }
    }

    fn read_request(&mut self, now: Instant) -> Option<Request> {
        // There may be keys in it.
        let line = Zeroizing::new(self.read_line(now)?);
        match Request::parse(&line) {
            Ok(request) => {
                let follow = request == Request::Events { follow: true };
                self.phase = Phase::Asked { follow };
                Some(request)
            }
            Err(failure) => {
                self.refuse(failure, now);
                None
            }
        }
    }

    /// The next line without its end; nothing if it is not complete, or never will be.
    fn read_line(&mut self, now: Instant) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let rest = self.input.split_off(end.saturating_add(1));
                let mut line = core::mem::replace(&mut self.input, rest);
                line.pop();
                return Some(line);
            }
            if self.input.len() >= REQUEST_LEN_MAX {
                self.refuse(Failure::too_long(), now);
                return None;
            }
            if self.at_end {
                let line = core::mem::take(&mut self.input);
                if line.is_empty() {
                    self.phase = Phase::Gone;
                    return None;
                }
                return Some(line);
            }
            if !self.read_some() {
                return None;
            }
        }
    }

    /// Reads once; false if there is nothing to read now.
    fn read_some(&mut self) -> bool {
        let mut buffer = Zeroizing::new([0u8; REQUEST_LEN_MAX]);
        let room = REQUEST_LEN_MAX.saturating_sub(self.input.len());
        let Some(buffer) = buffer.get_mut(..room) else { return false };
        match self.stream.read(buffer) {
            Ok(0) => self.at_end = true,
            Ok(len) => self.input.extend_from_slice(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                self.phase = Phase::Gone;
                return false;
            }
        }
        true
    }

    /// A follower has nothing to say: a word of it, or its end, ends the connection.
    fn expect_silence(&mut self) {
        loop {
            match self.stream.read(&mut [0u8; 1]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.phase = Phase::Gone;
                    return;
                }
            }
        }
    }

    /// Answers the request; true if it may have another one to say.
    pub(super) fn respond(&mut self, response: &Response, now: Instant) -> bool {
        let Phase::Asked { follow } = self.phase else { return false };
        let mut line = response.to_line();
        if line.len() > RESPONSE_LEN_MAX {
            line = Response::Error(Failure::answer_too_long()).to_line();
        }
        self.output.extend_from_slice(line.as_bytes());
        let until = now + REQUEST_TIMEOUT;
        self.phase = match response {
            Response::Ok if follow && !self.at_end => Phase::Following,
            _ if self.at_end && self.input.is_empty() => Phase::Closing { until },
            Response::Ok | Response::Error(_) | Response::Status(_) | Response::Event(_) => {
                Phase::Reading { until }
            }
        };
        self.flush();
        matches!(self.phase, Phase::Reading { .. })
    }

    /// Adds a line that is not the last of its answer; false if the queue is full, which ends the
    /// connection.
    pub(super) fn tell(&mut self, line: &str) -> bool {
        let waiting = self.output.len().saturating_sub(self.written);
        if waiting.saturating_add(line.len()) > FOLLOWER_QUEUE_MAX {
            self.phase = Phase::Gone;
            return false;
        }
        self.output.extend_from_slice(line.as_bytes());
        self.flush();
        true
    }

    /// Says why, and that is the end.
    pub(super) fn refuse(&mut self, failure: Failure, now: Instant) {
        self.input.clear();
        self.output.extend_from_slice(Response::Error(failure).to_line().as_bytes());
        self.phase = Phase::Closing { until: now + REQUEST_TIMEOUT };
        self.flush();
    }

    fn is_flushed(&self) -> bool {
        self.written == self.output.len()
    }

    fn flush(&mut self) {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(len) => self.written = self.written.saturating_add(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.phase = Phase::Gone;
                    return;
                }
            }
        }
        // What is written makes room: the queue's bound is for what waits.
        self.output.drain(..self.written);
        self.written = 0;
        if self.output.is_empty() && matches!(self.phase, Phase::Closing { .. }) {
            self.phase = Phase::Gone;
        }
    }
}
