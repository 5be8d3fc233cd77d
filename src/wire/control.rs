//! The control protocol: what the operator's tool asks the daemon, and what it is answered.
//!
//! JSON lines over a Unix socket: one line per request, one or more lines back. Keys are
//! `snake_case`, names of things (`confirm-off`, `not-permitted`) are `kebab-case`. It refuses to
//! know sockets and callers ([`crate::io::control`]) and how a status looks to people
//! ([`crate::cli`]).
//!
//! ```text
//! > {"v":1,"cmd":"status"}
//! < {"v":1,"answer":"status","cluster":"shop",...}
//!
//! > {"v":1,"cmd":"confirm-off","node":"a","force":false,"by":"alice"}
//! < {"v":1,"answer":"ok"}                or
//! < {"v":1,"answer":"error","code":"denied","message":"...","remedy":"..."}
//!
//! > {"v":1,"cmd":"keys","step":"prepare","keys":"..."}   may these be taken? "take" takes them
//! < {"v":1,"answer":"ok"}                or
//! < {"v":1,"answer":"error","code":"not-yet",...}           ask again
//!
//! > {"v":1,"cmd":"events","follow":true}
//! < {"v":1,"answer":"event",...}         as many as are kept, then
//! < {"v":1,"answer":"ok"}                and then each new one as it happens
//! ```

mod key_text;
pub mod moment;
pub mod status;

use serde::{Deserialize, Serialize};

pub use key_text::KeyText;
pub use status::Status;

/// The version of the protocol. A request without one is of this version.
pub const VERSION: u32 = 1;
/// The longest request in bytes, its line end included.
pub const REQUEST_LEN_MAX: usize = 4096;
/// The longest response in bytes, its line end included: a status with a thousand VIPs is 200 KB.
pub const RESPONSE_LEN_MAX: usize = 1024 * 1024;
/// The longest name of a node or a person in a request, in bytes.
pub const NAME_LEN_MAX: usize = 64;

/// The longest text of a failure in bytes.
pub const FAILURE_LEN_MAX: usize = 400;

/// What the daemon is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// How everything is.
    Status,
    /// An operator's word that a node holds nothing.
    ConfirmOff {
        /// The node's name.
        node: String,
        /// Whether evidence to the contrary is overruled, where that can be.
        force: bool,
        /// Who says so, as the tool found it; for the record only, it permits nothing.
        by: Option<String>,
    },
    /// Other heartbeat keys in the place of those that are used.
    Keys {
        /// Whether they are taken, or only prepared for.
        step: KeyStep,
        /// The text of the key file that has them.
        keys: KeyText,
        /// Whether that a peer is not heard is overruled.
        force: bool,
    },
    /// What happened lately.
    Events {
        /// Whether to go on with what happens from now.
        follow: bool,
    },
}

/// What is asked of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyStep {
    /// Whether they may be taken. A key that would go is withdrawn from the peers meanwhile.
    Prepare,
    /// To take them.
    Take,
}

impl Request {
    /// Reads one line, with or without its line end.
    ///
    /// # Errors
    /// An [`Failure`] to answer the caller with.
    pub fn parse(line: &[u8]) -> Result<Self, Failure> {
        if line.len() > REQUEST_LEN_MAX {
            return Err(Failure::too_long());
        }
        let raw: RawRequest =
            serde_json::from_slice(line).map_err(|error| Failure::bad_request(&error))?;
        raw.check()
    }

    /// The line that asks this, with its line end.
    pub fn to_line(&self) -> String {
        let mut raw = RawRequest { v: Some(VERSION), ..RawRequest::default() };
        match self {
            Self::Status => raw.cmd = "status".to_owned(),
            Self::ConfirmOff { node, force, by } => {
                raw.cmd = "confirm-off".to_owned();
                raw.node = Some(node.clone());
                raw.force = Some(*force);
                raw.by.clone_from(by);
            }
            Self::Keys { step, keys, force } => {
                raw.cmd = "keys".to_owned();
                raw.step = Some(*step);
                raw.keys = Some(keys.clone());
                raw.force = Some(*force);
            }
            Self::Events { follow } => {
                raw.cmd = "events".to_owned();
                raw.follow = Some(*follow);
            }
        }
        to_line(&raw)
    }

    /// Whether it changes nothing.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Status | Self::Events { .. } => true,
            Self::ConfirmOff { .. } | Self::Keys { .. } => false,
        }
    }
}

/// A request as it stands in its line: every key that any command has.
#[derive(Serialize, Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u32>,
    cmd: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    force: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    follow: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<KeyStep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<KeyText>,
}

impl RawRequest {
    fn check(self) -> Result<Request, Failure> {
        if self.v.is_some_and(|v| v != VERSION) {
            return Err(Failure::unknown_version());
        }
        for name in [&self.node, &self.by].into_iter().flatten() {
            check_name(name)?;
        }
        match self.cmd.as_str() {
            "status" => {
                self.refuse_keys(&["node", "force", "by", "follow", "step", "keys"])?;
                Ok(Request::Status)
            }
            "confirm-off" => {
                self.refuse_keys(&["follow", "step", "keys"])?;
                let force = self.force.unwrap_or(false);
                let node = self.node.ok_or_else(|| Failure::key("node", "is missing"))?;
                Ok(Request::ConfirmOff { node, force, by: self.by })
            }
            "keys" => {
                self.refuse_keys(&["node", "by", "follow"])?;
                let step = self.step.ok_or_else(|| Failure::key("step", "is missing"))?;
                let keys = self.keys.ok_or_else(|| Failure::key("keys", "is missing"))?;
                Ok(Request::Keys { step, keys, force: self.force.unwrap_or(false) })
            }
            "events" => {
                self.refuse_keys(&["node", "force", "by", "step", "keys"])?;
                Ok(Request::Events { follow: self.follow.unwrap_or(false) })
            }
            _ => Err(Failure::unknown_command()),
        }
    }

    /// A key that its command does not have is a mistake, never ignored.
    fn refuse_keys(&self, keys: &[&'static str]) -> Result<(), Failure> {
        let given = [
            ("node", self.node.is_some()),
            ("force", self.force.is_some()),
            ("by", self.by.is_some()),
            ("follow", self.follow.is_some()),
            ("step", self.step.is_some()),
            ("keys", self.keys.is_some()),
        ];
        match given.iter().find(|(key, is_given)| *is_given && keys.contains(key)) {
            Some((key, _)) => Err(Failure::key(key, "does not belong to this command")),
            None => Ok(()),
        }
    }
}

/// Names go into logs and onto terminals.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic());
    if is_plain && name.len() <= NAME_LEN_MAX {
        Ok(())
    } else {
        let rule = format!("must be 1 to {NAME_LEN_MAX} printable ASCII characters, no space");
        Err(Failure::key("node or by", &rule))
    }
}

/// One line back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// It is done; or, to `events`, what is kept has been told.
    Ok,
    /// It is not done.
    Error(Failure),
    /// How everything is.
    Status(Box<Status>),
    /// Something happened.
    Event(EventLine),
}

impl Response {
    /// The line that says this, with its line end.
    pub fn to_line(&self) -> String {
        to_line(&Versioned { v: VERSION, response: self })
    }

    /// Reads one line. Unknown keys are passed over: the daemon may be newer than its reader.
    ///
    /// # Errors
    /// If the line is not a response.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

#[derive(Serialize)]
struct Versioned<'a> {
    v: u32,
    #[serde(flatten)]
    response: &'a Response,
}

/// Why a request was not carried out, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// What is wrong, for people, in one line.
    pub message: String,
    /// What to do, for people, in one line; empty if there is nothing to do.
    #[serde(default)]
    pub remedy: String,
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The line is not a request.
    BadRequest,
    /// The line is longer than [`REQUEST_LEN_MAX`].
    TooLong,
    /// The request is of another version of the protocol.
    UnknownVersion,
    /// There is no such command.
    UnknownCommand,
    /// There is no such node in the configuration, or it is this one.
    UnknownNode,
    /// The caller may not ask this.
    NotPermitted,
    /// Something contradicts it. `force` does not help.
    Denied,
    /// Something contradicts it. `force` overrules that.
    NeedsForce,
    /// Nothing needs it now.
    NotNeeded,
    /// Not now, but soon: ask again.
    NotYet,
    /// Too many connections, or the answer is too long.
    Busy,
    /// The request was not finished in time.
    Timeout,
    /// One that this reader does not know.
    #[serde(other)]
    Other,
}

impl Failure {
    /// A failure of this kind. Its texts are made one line each, of [`FAILURE_LEN_MAX`] bytes at
    /// most: they may quote what the caller wrote.
    pub fn new(code: Code, message: &str, remedy: &str) -> Self {
        Self { code, message: one_line(message), remedy: one_line(remedy) }
    }

    /// The request is longer than [`REQUEST_LEN_MAX`].
    pub fn too_long() -> Self {
        let message = format!("the request is longer than {REQUEST_LEN_MAX} bytes");
        Self::new(Code::TooLong, &message, "send one JSON object on one line")
    }

    /// The request was begun and not finished.
    pub fn timeout() -> Self {
        let remedy = "end the request with a line end";
        Self::new(Code::Timeout, "the request was not finished in time", remedy)
    }

    /// The answer is longer than [`RESPONSE_LEN_MAX`].
    pub fn answer_too_long() -> Self {
        let message = format!("the answer is longer than {RESPONSE_LEN_MAX} bytes");
        Self::new(Code::Busy, &message, "")
    }

    fn bad_request(error: &serde_json::Error) -> Self {
        let message = format!("the request is not understood: {error}");
        Self::new(Code::BadRequest, &message, r#"send one line like {"v":1,"cmd":"status"}"#)
    }

    fn unknown_version() -> Self {
        let message = format!("the daemon speaks version {VERSION} of this protocol only");
        Self::new(Code::UnknownVersion, &message, "use the tandem program that the daemon runs")
    }

    fn unknown_command() -> Self {
        let remedy = "the commands are status, confirm-off, keys and events";
        Self::new(Code::UnknownCommand, "the daemon does not know this command", remedy)
    }

    fn key(key: &str, problem: &str) -> Self {
        let remedy = "see tandem(8), section CONTROL PROTOCOL";
        Self::new(Code::BadRequest, &format!("the key `{key}` {problem}"), remedy)
    }
}

/// `text` cut to [`FAILURE_LEN_MAX`] bytes, without characters that could steer a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() + c.len_utf8() > FAILURE_LEN_MAX {
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

/// One event for people and programs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventLine {
    /// One up with each event of this daemon: a gap shows what was missed.
    pub seq: u64,
    /// The wall clock when it happened, in milliseconds since 1970; for display only.
    pub time_unix_ms: u64,
    /// How bad it is.
    pub level: EventLevel,
    /// What kind, as in `role`, `peer-lost`, `fence-device`.
    pub event: String,
    /// What happened, for people, in one line.
    pub text: String,
    /// The peer, link, VIP or device that it is about, by name; empty if it is about none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
}

/// How bad an event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventLevel {
    /// The service is down or in danger.
    Alert,
    /// Somebody should look.
    Warning,
    /// As it should be.
    #[default]
    #[serde(other)]
    Info,
}

/// One JSON line. Serialising these types cannot fail: no map has keys that are not text.
fn to_line<T: Serialize>(value: &T) -> String {
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn code(line: &str) -> Option<Code> {
        Request::parse(line.as_bytes()).err().map(|failure| failure.code)
    }

    #[test]
    fn requests_are_read_back_as_they_were_asked() {
        let off = |force, by: Option<&str>| Request::ConfirmOff {
            node: "a".to_owned(),
            force,
            by: by.map(str::to_owned),
        };
        let requests = [
            Request::Status,
            off(false, None),
            off(true, Some("alice")),
            Request::Keys { step: KeyStep::Prepare, keys: KeyText::new("00\n11\n"), force: false },
            Request::Keys { step: KeyStep::Take, keys: KeyText::new("00\n"), force: true },
            Request::Events { follow: false },
            Request::Events { follow: true },
        ];
        for request in requests {
            assert_eq!(Request::parse(request.to_line().as_bytes()), Ok(request));
        }
    }

    #[test]
    fn a_key_is_not_shown_by_the_request_that_carries_it() {
        let keys = KeyText::new("00112233");
        let request = Request::Keys { step: KeyStep::Take, keys, force: false };
        assert!(!format!("{request:?}").contains("0011"), "{request:?}");
        let wrong = format!(r#"{{"cmd":"keys","step":"take","keys":["{}"]}}"#, "00112233");
        let failure = Request::parse(wrong.as_bytes()).err().unwrap();
        assert!(!failure.message.contains("0011"), "{failure:?}");
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        assert_eq!(Request::parse(br#"{"cmd":"status"}"#), Ok(Request::Status));
        let events = Request::parse(br#"{"cmd":"events"}"#);
        assert_eq!(events, Ok(Request::Events { follow: false }));
        let off = Request::parse(br#"{"cmd":"confirm-off","node":"a"}"#);
        let expected = Request::ConfirmOff { node: "a".to_owned(), force: false, by: None };
        assert_eq!(off, Ok(expected));
    }

    #[test]
    fn wrong_requests_say_what_is_wrong() {
        let long = format!(r#"{{"cmd":"status","by":"{}"}}"#, "x".repeat(REQUEST_LEN_MAX));
        let long_name = format!(r#"{{"cmd":"confirm-off","node":"{}"}}"#, "x".repeat(65));
        let deep = "[".repeat(4000);
        let cases = [
            ("", Code::BadRequest),
            ("status", Code::BadRequest),
            ("[]", Code::BadRequest),
            (deep.as_str(), Code::BadRequest),
            (r#"{"cmd":"status"} {}"#, Code::BadRequest),
            (r#"{"cmd":"status","colour":1}"#, Code::BadRequest),
            (r#"{"cmd":"status","force":true}"#, Code::BadRequest),
            (r#"{"cmd":"events","node":"a"}"#, Code::BadRequest),
            (r#"{"cmd":"confirm-off"}"#, Code::BadRequest),
            (r#"{"cmd":"confirm-off","node":""}"#, Code::BadRequest),
            (r#"{"cmd":"confirm-off","node":"a b"}"#, Code::BadRequest),
            (r#"{"cmd":"confirm-off","node":"a\u001b[2J"}"#, Code::BadRequest),
            (r#"{"cmd":"confirm-off","node":"a","force":"yes"}"#, Code::BadRequest),
            (long_name.as_str(), Code::BadRequest),
            (r#"{"cmd":"keys","step":"take"}"#, Code::BadRequest),
            (r#"{"cmd":"keys","keys":"00"}"#, Code::BadRequest),
            (r#"{"cmd":"keys","keys":"00","step":"eat"}"#, Code::BadRequest),
            (r#"{"cmd":"status","keys":"00"}"#, Code::BadRequest),
            (r#"{"v":2,"cmd":"status"}"#, Code::UnknownVersion),
            (r#"{"cmd":"explode"}"#, Code::UnknownCommand),
            (long.as_str(), Code::TooLong),
        ];
        for (line, expected) in cases {
            assert_eq!(code(line), Some(expected), "{line:.60}");
        }
        assert_eq!(Request::parse(&[0xff; 40]).err().unwrap().code, Code::BadRequest);
    }

    #[test]
    fn responses_are_read_back_as_they_were_given() {
        let responses = [
            Response::Ok,
            Response::Error(Failure::new(Code::NeedsForce, "it answers", "look again")),
            Response::Status(Box::new(Status { cluster: "shop".to_owned(), ..Status::default() })),
            Response::Event(EventLine { seq: u64::MAX, text: "a\nb".into(), ..Default::default() }),
        ];
        for response in responses {
            let line = response.to_line();
            assert!(line.starts_with(r#"{"v":1,"answer":""#), "{line}");
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(Response::parse(&line).unwrap(), response);
        }
    }

    #[test]
    fn a_newer_daemon_is_understood_as_far_as_possible() {
        let line = r#"{"v":1,"answer":"error","code":"too-wet","message":"m","weather":"rain"}"#;
        let expected = Response::Error(Failure::new(Code::Other, "m", ""));
        assert_eq!(Response::parse(line).unwrap(), expected);
        let line = r#"{"v":1,"answer":"status","health":"splendid","moon":"full"}"#;
        assert_eq!(Response::parse(line).unwrap(), Response::Status(Box::default()));
    }
}
