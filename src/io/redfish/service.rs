//! One order to a Redfish service: log in, find the ComputerSystem, command or read it, log out.
//!
//! ```text
//! root ─► log in ─► systems ─► the system ─► reset ─► acknowledged ─► log out
//!   └── a hint of an earlier child ──┘  └─► its PowerState ──────────────┘
//! ```
//!
//! A reset's acknowledgement is never taken for off. Only `PowerState` is a reading, and only `Off`
//! in it is off.

use core::time::Duration;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Fault;
use super::tls::{self, Peer, Stream};
use crate::sys::clock;
use crate::types::{FenceFault, Instant, MachineId, Power};
use crate::wire::guid;
use crate::wire::redfish::document::{self, FORCE_OFF, ONS, Reset, System, id_of};
use crate::wire::redfish::http::{Method, Reader, Response, request};
use crate::wire::redfish::relay::{Hint, Login, Order, Task};

/// Where every service begins (DSP0266, *Protocol version*).
const ROOT: &str = "/redfish/v1/";
/// The most redirections that are followed for one request.
const REDIRECTIONS_MAX: usize = 3;
/// The pause before a service that is not ready is asked again.
const UNREADY_PAUSE: Duration = Duration::from_millis(500);
/// The pause between two readings of a power that is not yet off.
const WATCH_PAUSE: Duration = Duration::from_millis(100);
/// How long a child may take to log out after its answer.
pub(super) const LOG_OUT_MAX: Duration = Duration::from_millis(1500);

/// How the user is told with a request.
enum Authorization {
    Nobody,
    /// The value of `Authorization`.
    Basic(String),
    /// The value of `X-Auth-Token`, and the path at which the session is ended.
    Session {
        token: String,
        path: Option<String>,
    },
}

/// A BMC's service, for one task.
pub(super) struct Service<'a> {
    task: &'a Task,
    deadline: Instant,
    tell_stage: &'a mut dyn FnMut(&str),
    stream: Option<Stream>,
    authorization: Authorization,
    hint: Option<Hint>,
    /// Which machine the system is, if it was read.
    uuid: Option<[u8; guid::LEN]>,
}

impl<'a> Service<'a> {
    pub(super) fn new(
        task: &'a Task,
        deadline: Instant,
        tell_stage: &'a mut dyn FnMut(&str),
    ) -> Self {
        let authorization = Authorization::Nobody;
        Self { task, deadline, tell_stage, stream: None, authorization, hint: None, uuid: None }
    }

    /// What the next child need not ask again.
    pub(super) fn hint(&self) -> Option<Hint> {
        self.hint.clone()
    }

    /// Which machine the system is, if this child has read it.
    pub(super) fn uuid(&self) -> Option<[u8; guid::LEN]> {
        self.uuid
    }

    /// Carries the order out: the power, and what is to be told besides.
    pub(super) fn carry_out(&mut self) -> Result<(Power, String), Fault> {
        let (sessions, systems) = match &self.task.hint {
            Some(hint) => (hint.sessions.clone(), None),
            None => {
                let root = self.root()?;
                (root.sessions, Some(root.systems))
            }
        };
        self.log_in(sessions.as_deref())?;
        if let Some(hint) = self.task.hint.clone() {
            match self.act(&hint.system, hint.off_target.as_deref(), &sessions) {
                // What was true of it has changed: it is asked anew.
                Err(Fault { fault: FenceFault::Refused, .. }) => {}
                outcome => return outcome,
            }
        }
        let systems = match systems {
            Some(systems) => systems,
            None => self.root()?.systems,
        };
        let path = self.find_system(&systems)?;
        self.act(&path, None, &sessions)
    }

    fn act(
        &mut self,
        path: &str,
        off_target: Option<&str>,
        sessions: &Option<String>,
    ) -> Result<(Power, String), Fault> {
        if self.task.order == Order::Off
            && let Some(target) = off_target
        {
            self.hint = self.task.hint.clone();
            self.spare(self.task.hint.as_ref().and_then(|hint| hint.uuid))?;
            return self.post_reset(path, target, FORCE_OFF);
        }
        let system = self.system(path)?;
        self.uuid = system.uuid;
        let off = self.reset_for(&system, path, &[FORCE_OFF]);
        self.hint = Some(Hint {
            system: path.to_owned(),
            off_target: off.as_ref().ok().map(|(target, _)| target.clone()),
            sessions: sessions.clone(),
            uuid: system.uuid,
        });
        if matches!(self.task.order, Order::Off | Order::On) {
            self.spare(system.uuid)?;
        }
        match self.task.order {
            Order::Off => {
                let (target, kind) = off?;
                self.post_reset(path, &target, &kind)
            }
            Order::On => {
                let (target, kind) = self.reset_for(&system, path, &ONS)?;
                self.post_reset(path, &target, &kind)
            }
            // A device that would not take the command is no use, and it is better known before.
            Order::Check => off.map(|_| (system.power, String::new())),
            Order::Read => self.watch(path, system.power),
        }
    }

    /// Refuses a system that is certain not to be the host's.
    fn spare(&self, uuid: Option<[u8; guid::LEN]>) -> Result<(), Fault> {
        let said = MachineId { platform: uuid.map_or(0, guid::digest), ..MachineId::UNKNOWN };
        match self.task.owner.judge(&said) {
            None => Ok(()),
            Some(_) => Err(Fault::new(FenceFault::WrongMachine, "it is told nothing")),
        }
    }

    fn root(&mut self) -> Result<document::Root, Fault> {
        let document = self.get(ROOT)?;
        document::root(&document).ok_or_else(|| {
            Fault::new(
                FenceFault::Garbled,
                format!("{} has no Redfish service with systems: is it a BMC?", self.peer()),
            )
        })
    }

    fn log_in(&mut self, sessions: Option<&str>) -> Result<(), Fault> {
        let Task { user, password, login, .. } = self.task;
        let basic = || {
            let text = STANDARD.encode(format!("{user}:{password}"));
            Authorization::Basic(format!("Basic {text}"))
        };
        self.authorization = match (login, sessions) {
            (Login::Basic, _) | (Login::Auto, None) => basic(),
            (Login::Session, None) => {
                let reason = "the BMC gives no sessions: write login = \"auto\" or \"basic\"";
                return Err(Fault::new(FenceFault::Refused, reason));
            }
            (Login::Auto | Login::Session, Some(sessions)) => match self.begin_session(sessions) {
                Ok(session) => session,
                // All its sessions are taken, say.
                Err(Fault { fault: FenceFault::Refused, .. }) if *login == Login::Auto => basic(),
                Err(fault) => return Err(fault),
            },
        };
        Ok(())
    }

    fn begin_session(&mut self, sessions: &str) -> Result<Authorization, Fault> {
        let Task { user, password, .. } = self.task;
        let body = json!({ "UserName": user, "Password": password }).to_string();
        let response = self.exchange(Method::Post, sessions, Some(&body))?;
        let token = response.token.as_deref().filter(|token| is_field(token));
        match (response.status, token) {
            (200..=299, Some(token)) => Ok(Authorization::Session {
                token: token.to_owned(),
                path: session_path(&response),
            }),
            (200..=299, None) => {
                Err(Fault::new(FenceFault::Refused, "the session has no X-Auth-Token"))
            }
            (status, _) => {
                let fault = refusal(&response, "a session");
                // Too many sessions are no reason to wait for one to end.
                let fault_kind = if status == 503 { FenceFault::Refused } else { fault.fault };
                Err(Fault { fault: fault_kind, ..fault })
            }
        }
    }

    /// Ends the session, if there is one: a BMC has few. Its failure is nobody's concern any more.
    pub(super) fn log_out(&mut self) {
        if let Authorization::Session { path: Some(path), .. } = &self.authorization {
            let path = path.clone();
            self.deadline = clock::now() + LOG_OUT_MAX;
            self.exchange(Method::Delete, &path, None).ok();
        }
        if let Some(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush().ok();
        }
    }

    /// The path of the system that is meant.
    fn find_system(&mut self, systems: &str) -> Result<String, Fault> {
        if let Some(path) = self.task.system.as_deref().filter(|text| text.starts_with('/')) {
            return Ok(path.to_owned());
        }
        let document = self.get(systems)?;
        let members = document::members(&document).ok_or_else(|| {
            Fault::new(FenceFault::Garbled, format!("{systems} is no collection of systems"))
        })?;
        let list = || {
            let ids: Vec<_> = members.iter().map(|path| format!("{:?}", id_of(path))).collect();
            ids.join(", ")
        };
        match (&self.task.system, members.as_slice()) {
            (_, []) => Err(Fault::new(FenceFault::Refused, "the BMC tells of no system at all")),
            (None, [only]) => Ok(only.clone()),
            (None, _) => {
                let reason =
                    format!("the BMC has several systems: write system = one of {}", list());
                Err(Fault::new(FenceFault::Refused, reason))
            }
            (Some(wanted), members) => {
                let found = members.iter().find(|path| id_of(path) == wanted);
                found.cloned().ok_or_else(|| {
                    let reason =
                        format!("the BMC has no system {wanted:?}: write one of {}", list());
                    Fault::new(FenceFault::Refused, reason)
                })
            }
        }
    }

    fn system(&mut self, path: &str) -> Result<System, Fault> {
        let document = self.get(path)?;
        document::system(&document).ok_or_else(|| {
            let reason = format!("{path} is no ComputerSystem: correct system");
            Fault::new(FenceFault::Refused, reason)
        })
    }

    /// Where to post a reset of the first of `kinds` that the system knows, and which that is.
    fn reset_for(
        &mut self,
        system: &System,
        path: &str,
        kinds: &[&str],
    ) -> Result<(String, String), Fault> {
        let first = kinds.first().copied().unwrap_or_default();
        let Some(Reset { target, kinds: listed, info }) = &system.reset else {
            let reason = format!("{path} cannot be reset by this user or at all");
            return Err(Fault::new(FenceFault::Refused, reason));
        };
        let listed = match (listed, info) {
            (Some(listed), _) => Some(listed.clone()),
            (None, Some(info)) => document::kinds_of_info(&self.get(info)?),
            (None, None) => None,
        };
        // Where nothing is listed, trying is the only way to know.
        let Some(listed) = listed else { return Ok((target.clone(), first.to_owned())) };
        let known = kinds.iter().find(|kind| listed.iter().any(|listed| listed == *kind));
        known.map(|kind| (target.clone(), (*kind).to_owned())).ok_or_else(|| {
            let reason = format!("{path} knows no {first}, but {}", listed.join(", "));
            Fault::new(FenceFault::Refused, reason)
        })
    }

    /// Orders a reset; what comes of it is to be read.
    fn post_reset(
        &mut self,
        path: &str,
        target: &str,
        kind: &str,
    ) -> Result<(Power, String), Fault> {
        let body = json!({ "ResetType": kind }).to_string();
        let response = self.exchange_patiently(Method::Post, target, Some(&body))?;
        if (200..300).contains(&response.status) {
            return Ok((Power::Unknown, String::new()));
        }
        let fault = refusal(&response, &format!("{kind} of {path}"));
        if !matches!(fault.fault, FenceFault::Refused) {
            return Err(fault);
        }
        // Many refuse to switch off what is off.
        let wanted = if kind == FORCE_OFF { Power::Off } else { Power::On };
        match self.system(path) {
            Ok(system) if system.power == wanted => {
                Ok((Power::Unknown, format!("it was {wanted} already: {}", fault.reason)))
            }
            Ok(_) | Err(_) => Err(fault),
        }
    }

    /// Reads the power again while it is not off and there is time for it.
    fn watch(&mut self, path: &str, power: Power) -> Result<(Power, String), Fault> {
        let until = (clock::now() + Duration::from_millis(self.task.watch_ms)).min(self.deadline);
        let mut power = power;
        while power != Power::Off && clock::now() + WATCH_PAUSE < until {
            pause(WATCH_PAUSE);
            power = self.system(path)?.power;
        }
        Ok((power, String::new()))
    }

    /// Like [`Self::exchange`]; a service that is not ready, as after the BMC's own start, is asked
    /// again while there is time.
    fn exchange_patiently(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Response, Fault> {
        let mut response = self.exchange(method, path, body)?;
        while response.status == 503 && clock::now() + UNREADY_PAUSE < self.deadline {
            (self.tell_stage)("waiting for a service that is not ready (HTTP status 503)");
            pause(UNREADY_PAUSE);
            response = self.exchange(method, path, body)?;
        }
        Ok(response)
    }

    /// The document at `path`.
    fn get(&mut self, path: &str) -> Result<Value, Fault> {
        let response = self.exchange_patiently(Method::Get, path, None)?;
        if !(200..300).contains(&response.status) {
            return Err(refusal(&response, path));
        }
        serde_json::from_slice(&response.body).map_err(|error| {
            Fault::new(FenceFault::Garbled, format!("the answer for {path} is not JSON: {error}"))
        })
    }

    /// Sends a request and takes its answer; follows redirections within the BMC.
    fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Response, Fault> {
        let mut path = path.to_owned();
        for _ in 0..=REDIRECTIONS_MAX {
            let response = self.exchange_once(method, &path, body)?;
            let follows = match response.status {
                301..=303 => method == Method::Get,
                307 | 308 => true,
                _ => false,
            };
            if !follows {
                return Ok(response);
            }
            let target = response.location.unwrap_or_default();
            path = self.local_path(&target).ok_or_else(|| {
                let reason =
                    format!("{path} leads away from {}, which is not followed", self.peer());
                Fault::new(FenceFault::Refused, reason)
            })?;
        }
        Err(Fault::new(FenceFault::Refused, format!("{path} leads in a circle")))
    }

    /// One request. A connection on which others were answered may have been closed since: then it
    /// is made anew, once.
    fn exchange_once(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Response, Fault> {
        let bytes = self.request(method, path, body);
        let stage = format!("waiting for the answer to {} {path}", method.name());
        if let Some(mut stream) = self.stream.take() {
            (self.tell_stage)(&stage);
            stream.sock.set_deadline(self.deadline);
            let mut reader = Reader::new();
            match converse(&mut stream, &bytes, &mut reader, path) {
                Ok(response) => {
                    self.stream = Some(stream).filter(|_| response.stays_open);
                    return Ok(response);
                }
                Err(fault) if fault.fault == FenceFault::Unreachable && reader.is_untouched() => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut stream = self.connect()?;
        (self.tell_stage)(&stage);
        let response = converse(&mut stream, &bytes, &mut Reader::new(), path)?;
        self.stream = Some(stream).filter(|_| response.stays_open);
        Ok(response)
    }

    fn request(&self, method: Method, path: &str, body: Option<&str>) -> Vec<u8> {
        let host = self.peer().to_string();
        let field = match &self.authorization {
            Authorization::Nobody => None,
            Authorization::Basic(value) => Some(("Authorization", value.as_str())),
            Authorization::Session { token, .. } => Some(("X-Auth-Token", token.as_str())),
        };
        let fields: Vec<_> = field.into_iter().collect();
        request(method, &host, path, &fields, body)
    }

    fn connect(&mut self) -> Result<Stream, Fault> {
        let peer = self.peer();
        (self.tell_stage)(&format!("looking up {}", peer.host));
        let addresses = tls::look_up(peer)?;
        (self.tell_stage)(&format!("connecting to {peer}"));
        let timed = tls::reach(&addresses, self.deadline)?;
        (self.tell_stage)("shaking hands (TLS)");
        tls::shake_hands(timed, peer, &self.task.trust)
    }

    fn peer(&self) -> Peer<'a> {
        Peer { host: &self.task.host, port: self.task.port }
    }

    /// The path that a `Location` means, if it is one of this BMC.
    fn local_path(&self, location: &str) -> Option<String> {
        let Some(rest) = location.strip_prefix("https://") else { return document::path(location) };
        let (authority, path) = rest.split_at(rest.find('/')?);
        let own = self.peer().to_string();
        let is_own = authority.eq_ignore_ascii_case(&own)
            || own.strip_suffix(":443").is_some_and(|own| authority.eq_ignore_ascii_case(own));
        is_own.then(|| document::path(path)).flatten()
    }
}

/// Where a session is ended: as its `Location` tells, whatever the BMC calls itself there, or as
/// the document that describes it.
fn session_path(response: &Response) -> Option<String> {
    let location = response.location.as_deref().unwrap_or_default();
    let rest = location.strip_prefix("https://").unwrap_or(location);
    let path = rest.find('/').and_then(|at| rest.get(at..)).and_then(document::path);
    path.or_else(|| {
        let document: Value = serde_json::from_slice(&response.body).ok()?;
        document.get("@odata.id")?.as_str().and_then(document::path)
    })
}

/// Sends `bytes` and reads one answer.
fn converse(
    stream: &mut Stream,
    bytes: &[u8],
    reader: &mut Reader,
    path: &str,
) -> Result<Response, Fault> {
    let what = format!("the request for {path}");
    stream
        .write_all(bytes)
        .and_then(|()| stream.flush())
        .map_err(|error| Fault::of_io(&error, &what))?;
    let mut buffer = [0; 4096];
    loop {
        let garbled = |broken: crate::wire::redfish::http::Broken| {
            Fault::new(FenceFault::Garbled, format!("{what}: {}", broken.words()))
        };
        let len = match stream.read(&mut buffer) {
            // Many close without the farewell that TLS wants.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            read => read.map_err(|error| Fault::of_io(&error, &what))?,
        };
        if len == 0 && reader.is_untouched() {
            let reason = format!("{what}: the connection was closed");
            return Err(Fault::new(FenceFault::Unreachable, reason));
        }
        if len == 0 {
            return core::mem::take(reader).end().map_err(garbled);
        }
        if let Some(response) = reader.take(buffer.get(..len).unwrap_or(&[])).map_err(garbled)? {
            return Ok(response);
        }
    }
}

/// What a status that is not 2xx means.
fn refusal(response: &Response, what: &str) -> Fault {
    let status = response.status;
    let document: Option<Value> = serde_json::from_slice(&response.body).ok();
    let said = document.as_ref().and_then(document::message);
    let said = said.map(|text| format!(" ({text})")).unwrap_or_default();
    let (fault, why) = match status {
        401 => (FenceFault::Credentials, "the BMC does not accept this user and password"),
        403 => (
            FenceFault::Privilege,
            "the user may not do this: give it the role Operator; or its password must be changed",
        ),
        404 | 410 => (FenceFault::Refused, "there is no such thing at this BMC: correct system"),
        503 => (FenceFault::Timeout, "the BMC is not ready"),
        500.. => (FenceFault::Refused, "the BMC itself failed"),
        _ => (FenceFault::Refused, "the BMC refused"),
    };
    Fault::new(fault, format!("{what}: {why}: HTTP status {status}{said}"))
}

/// Whether `text` can stand in a header field.
fn is_field(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
}

#[allow(clippy::disallowed_methods, reason = "this process is not the loop, and has one order")]
fn pause(pause: Duration) {
    std::thread::sleep(pause);
}
