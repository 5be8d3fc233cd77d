//! A Redfish BMC for tests, over TLS: sessions, a few systems, and every vice a real one may have.
//!
//! Written from the specification (DSP0266), apart from the client in `src/io/redfish`. Each
//! connection has a thread of its own; all of them end with the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tandem::config::Fingerprint;

pub const USER: &str = "fence";
pub const PASSWORD: &str = "correct-horse";
pub const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// How a BMC carries out a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Honest,
    /// It acknowledges, and does nothing.
    Lie,
    /// It acknowledges, and does it this much later.
    Late(Duration),
    /// It acknowledges, is off for so long, and on again.
    Bounce(Duration),
    /// This status, with this message; nothing is done.
    Refuse(u16, &'static str),
}

/// What happens instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Vice {
    /// This status, and a Redfish error.
    Status(u16),
    /// Nothing, while the connection lives.
    Hang,
    /// The connection is closed.
    Close,
    /// These bytes, and the end.
    Raw(Vec<u8>),
    /// The right answer, byte by byte, with this pause.
    Trickle(Duration),
    /// A body without end.
    Endless,
    /// The right answer, of which the last bytes are missing.
    Truncated,
    /// Leads there, with this status.
    Redirect(u16, String),
}

/// What a BMC is and how it misbehaves.
#[derive(Clone, Debug)]
pub struct Knobs {
    pub power: bool,
    /// Which machine it says it is.
    pub uuid: Option<&'static str>,
    /// What is told as PowerState instead of the truth.
    pub power_state: Option<Value>,
    pub manner: Manner,
    pub systems: Vec<&'static str>,
    pub has_sessions: bool,
    pub sessions_max: usize,
    pub kinds: Vec<&'static str>,
    /// Lists the kinds of reset in an ActionInfo.
    pub has_action_info: bool,
    /// Lists no kinds of reset.
    pub lists_nothing: bool,
    /// Each answer is chunked, or else has a length.
    pub chunked: bool,
    /// Closes the connection behind each answer, as HTTP/1.0 does.
    pub closes: bool,
    /// `Location` of a session is a URL with a name of its own.
    pub has_own_name: bool,
    /// What happens to requests whose `METHOD path` begins so; the first that fits.
    pub vices: Vec<(&'static str, Vice)>,
    /// How many requests are answered with 503 first.
    pub unready: usize,
    /// Accepts connections, and says nothing at all.
    pub is_deaf: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            power: true,
            uuid: None,
            power_state: None,
            manner: Manner::Honest,
            systems: vec!["System.Embedded.1"],
            has_sessions: true,
            sessions_max: 4,
            kinds: vec!["On", "ForceOff", "GracefulShutdown", "ForceRestart"],
            has_action_info: false,
            lists_nothing: false,
            chunked: false,
            closes: false,
            has_own_name: false,
            vices: Vec::new(),
            unready: 0,
            is_deaf: false,
        }
    }
}

/// A certificate and its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    /// As BMCs make them for themselves.
    pub fn self_signed() -> Self {
        Self::own(&params("127.0.0.1"))
    }

    pub fn expired() -> Self {
        Self::own(&expired(params("127.0.0.1")))
    }

    fn own(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.der().clone(), key: key.serialize_der() }
    }

    /// Issued by `authority` for `name`.
    pub fn issued(authority: &Authority, name: &str, has_expired: bool) -> Self {
        let params = if has_expired { expired(params(name)) } else { params(name) };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority.0).unwrap();
        Self { certificate: certificate.der().clone(), key: key.serialize_der() }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.certificate).into())
    }
}

/// Someone who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = params("authority.example");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    params
}

/// A BMC and all that it remembers.
pub struct Bmc {
    pub knobs: Knobs,
    /// Each request as `METHOD path`, with how the user was told.
    pub requests: Vec<String>,
    /// The tokens of the sessions that are not ended.
    pub sessions: Vec<String>,
    /// How many sessions there have been.
    begun: usize,
    /// When the power changes by itself, and what it is then.
    planned: Vec<(Instant, bool)>,
}

impl Bmc {
    pub fn is_on(&mut self) -> bool {
        let now = Instant::now();
        for (at, power) in &self.planned {
            if *at <= now {
                self.knobs.power = *power;
            }
        }
        self.planned.retain(|(at, _)| *at > now);
        self.knobs.power
    }

    pub fn has_vice(&mut self, request: &'static str, vice: Vice) {
        self.knobs.vices.insert(0, (request, vice));
    }

    fn reset(&mut self, kind: &str) -> Answer {
        let now = Instant::now();
        let power = match kind {
            "ForceOff" => false,
            "On" => true,
            _ => return Answer::status(400, "ActionParameterNotSupported"),
        };
        match self.knobs.manner {
            Manner::Honest => self.knobs.power = power,
            Manner::Lie => {}
            Manner::Late(pause) => self.planned = vec![(now + pause, power)],
            Manner::Bounce(pause) => {
                self.knobs.power = power;
                self.planned = vec![(now + pause, !power)];
            }
            Manner::Refuse(status, message) => return Answer::status(status, message),
        }
        Answer::empty(204)
    }

    fn begin_session(&mut self, body: &Value) -> Answer {
        if body["UserName"] != USER || body["Password"] != PASSWORD {
            return Answer::status(401, "Unauthorized");
        }
        if self.sessions.len() >= self.knobs.sessions_max {
            return Answer::status(503, "The maximum number of user sessions is reached");
        }
        self.begun += 1;
        let token = format!("token-{}", self.begun);
        let path = format!("{SESSIONS}/{token}");
        self.sessions.push(token.clone());
        let host = if self.knobs.has_own_name { "https://bmc.example" } else { "" };
        Answer {
            fields: vec![format!("X-Auth-Token: {token}"), format!("Location: {host}{path}")],
            ..Answer::document(201, json!({ "@odata.id": path }))
        }
    }

    fn knows(&self, request: &Request) -> bool {
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let token = request.field("X-Auth-Token");
        request.field("Authorization") == Some(&basic)
            || token.is_some_and(|token| self.sessions.iter().any(|known| known == token))
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let Request { method, path, body, .. } = request;
        let systems = "/redfish/v1/Systems";
        let path = path.trim_end_matches('/');
        if (method.as_str(), path) == ("GET", "/redfish/v1") {
            let mut root = json!({ "Systems": { "@odata.id": systems } });
            if self.knobs.has_sessions {
                root["Links"] = json!({ "Sessions": { "@odata.id": SESSIONS } });
            }
            return Answer::document(200, root);
        }
        if (method.as_str(), path) == ("POST", SESSIONS) && self.knobs.has_sessions {
            return self.begin_session(body);
        }
        if !self.knows(request) {
            return Answer::status(401, "Unauthorized");
        }
        if method == "DELETE" && path.starts_with(SESSIONS) {
            self.sessions.retain(|token| !path.ends_with(&format!("/{token}")));
            return Answer::empty(204);
        }
        if method == "GET" && path == systems {
            let member = |id: &&str| json!({ "@odata.id": format!("{systems}/{id}") });
            let members: Vec<_> = self.knobs.systems.iter().map(member).collect();
            return Answer::document(200, json!({ "Members": members }));
        }
        if method == "GET" && path == "/redfish/v1/ResetInfo" {
            let kinds = &self.knobs.kinds;
            let parameter = json!({ "Name": "ResetType", "AllowableValues": kinds });
            return Answer::document(200, json!({ "Parameters": [parameter] }));
        }
        let rest = path.strip_prefix(systems).unwrap_or_default().trim_start_matches('/');
        let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
        if !self.knobs.systems.contains(&id) {
            return Answer::status(404, "ResourceMissingAtURI");
        }
        match (method.as_str(), action) {
            ("GET", "") => Answer::document(200, self.system(id)),
            ("POST", "Actions/ComputerSystem.Reset") => {
                self.reset(body["ResetType"].as_str().unwrap_or_default())
            }
            _ => Answer::status(405, "OperationNotAllowed"),
        }
    }

    fn system(&mut self, id: &str) -> Value {
        let target = format!("/redfish/v1/Systems/{id}/Actions/ComputerSystem.Reset");
        let mut action = json!({ "target": target });
        if self.knobs.has_action_info {
            action["@Redfish.ActionInfo"] = json!("/redfish/v1/ResetInfo");
        } else if !self.knobs.lists_nothing {
            action["ResetType@Redfish.AllowableValues"] = json!(self.knobs.kinds);
        }
        let power = if self.is_on() { json!("On") } else { json!("Off") };
        json!({
            "Id": id,
            "PowerState": self.knobs.power_state.clone().unwrap_or(power),
            "UUID": self.knobs.uuid,
            "Actions": { "#ComputerSystem.Reset": action },
        })
    }
}

struct Answer {
    status: u16,
    fields: Vec<String>,
    body: String,
}

impl Answer {
    fn document(status: u16, document: Value) -> Self {
        Self { status, fields: Vec::new(), body: document.to_string() }
    }

    fn status(status: u16, message: &str) -> Self {
        let info = json!([{ "Message": message }]);
        Self::document(status, json!({ "error": { "@Message.ExtendedInfo": info } }))
    }

    fn empty(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: String::new() }
    }

    fn emit(&self, knobs: &Knobs) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} What\r\n", self.status);
        for field in &self.fields {
            text.push_str(&format!("{field}\r\n"));
        }
        if knobs.closes {
            text.push_str("Connection: close\r\n");
        }
        if knobs.chunked && !self.body.is_empty() {
            text.push_str("Transfer-Encoding: chunked\r\n\r\n");
            for chunk in self.body.as_bytes().chunks(7) {
                let chunk = std::str::from_utf8(chunk).unwrap();
                text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
            }
            text.push_str("0\r\n\r\n");
        } else {
            text.push_str(&format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body));
        }
        text.into_bytes()
    }
}

struct Request {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
    body: Value,
}

impl Request {
    fn field(&self, name: &str) -> Option<&String> {
        let named = |(field, _): &&(String, String)| field.eq_ignore_ascii_case(name);
        self.fields.iter().find(named).map(|(_, value)| value)
    }

    /// As it is remembered: without anything secret.
    fn line(&self) -> String {
        let how = match (self.field("Authorization"), self.field("X-Auth-Token")) {
            (Some(_), _) => "basic",
            (None, Some(_)) => "session",
            (None, None) => "nobody",
        };
        format!("{} {} {how}", self.method, self.path)
    }

    fn read(stream: &mut impl Read) -> Option<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut request = Self { method, path, fields, body: Value::Null };
        let len = request.field("Content-Length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; len];
        stream.read_exact(&mut body).ok()?;
        request.body = serde_json::from_slice(&body).unwrap_or_default();
        Some(request)
    }
}

/// A running BMC; ends when dropped.
pub struct BmcServer {
    pub address: SocketAddr,
    pub fingerprint: Fingerprint,
    bmc: Arc<Mutex<Bmc>>,
    has_ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl BmcServer {
    pub fn start(knobs: Knobs) -> Self {
        Self::start_as(&Identity::self_signed(), knobs)
    }

    pub fn start_as(identity: &Identity, knobs: Knobs) -> Self {
        Self::start_at("127.0.0.1:0", identity, knobs)
    }

    pub fn start_at(address: &str, identity: &Identity, knobs: Knobs) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, sessions, planned) = (Vec::new(), Vec::new(), Vec::new());
        let bmc = Bmc { knobs, requests, sessions, begun: 0, planned };
        let (bmc, has_ended) = (Arc::new(Mutex::new(bmc)), Arc::new(AtomicBool::new(false)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(identity.key.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate.clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let acceptor = std::thread::spawn({
            let (bmc, has_ended) = (Arc::clone(&bmc), Arc::clone(&has_ended));
            move || {
                for stream in listener.incoming() {
                    if has_ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (bmc, has_ended) = (Arc::clone(&bmc), Arc::clone(&has_ended));
                    let config = Arc::clone(&config);
                    std::thread::spawn(move || serve(stream.unwrap(), config, &bmc, &has_ended));
                }
            }
        });
        let fingerprint = identity.fingerprint();
        Self { address, fingerprint, bmc, has_ended, acceptor: Some(acceptor) }
    }

    pub fn bmc(&self) -> MutexGuard<'_, Bmc> {
        self.bmc.lock().unwrap()
    }
}

impl Drop for BmcServer {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        // The acceptor looks at `has_ended` when a connection comes.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, bmc: &Mutex<Bmc>, has_ended: &AtomicBool) {
    if bmc.lock().unwrap().knobs.is_deaf {
        return hang(has_ended);
    }
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    while let Some(request) = Request::read(&mut stream) {
        let line = request.line();
        let (bytes, vice, closes) = {
            let mut bmc = bmc.lock().unwrap();
            bmc.requests.push(line.clone());
            let vices = &bmc.knobs.vices;
            let vice = vices.iter().find(|(begin, _)| line.starts_with(begin));
            let vice = vice.map(|(_, vice)| vice.clone());
            let answer = if bmc.knobs.unready > 0 {
                bmc.knobs.unready -= 1;
                Answer::status(503, "starting")
            } else if matches!(vice, Some(Vice::Status(_) | Vice::Redirect(..))) {
                Answer::empty(204)
            } else {
                bmc.answer(&request)
            };
            (answer.emit(&bmc.knobs), vice, bmc.knobs.closes)
        };
        let sent = match vice {
            None => stream.write_all(&bytes),
            Some(vice) => misbehave(&mut stream, &vice, &bytes, has_ended),
        };
        if sent.is_err() || stream.flush().is_err() || closes {
            break;
        }
    }
    stream.conn.send_close_notify();
    stream.flush().ok();
}

fn misbehave(
    stream: &mut impl Write,
    vice: &Vice,
    bytes: &[u8],
    has_ended: &AtomicBool,
) -> std::io::Result<()> {
    let end = || Err(std::io::ErrorKind::ConnectionAborted.into());
    match vice {
        Vice::Status(status) => {
            stream.write_all(&Answer::status(*status, "a vice").emit(&Knobs::default()))
        }
        Vice::Hang => {
            hang(has_ended);
            end()
        }
        Vice::Close => end(),
        Vice::Raw(raw) => stream.write_all(raw).and_then(|()| stream.flush()).and_then(|()| end()),
        Vice::Trickle(pause) => {
            for byte in bytes {
                if has_ended.load(Ordering::SeqCst) {
                    return end();
                }
                stream.write_all(&[*byte])?;
                stream.flush()?;
                std::thread::sleep(*pause);
            }
            Ok(())
        }
        Vice::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            while !has_ended.load(Ordering::SeqCst) {
                stream.write_all(&[b' '; 4096])?;
            }
            end()
        }
        Vice::Truncated => {
            stream.write_all(&bytes[..bytes.len() - 5])?;
            stream.flush()?;
            end()
        }
        Vice::Redirect(status, location) => {
            let fields = vec![format!("Location: {location}")];
            let answer = Answer { fields, ..Answer::empty(*status) };
            stream.write_all(&answer.emit(&Knobs::default()))
        }
    }
}

fn hang(has_ended: &AtomicBool) {
    while !has_ended.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
}
