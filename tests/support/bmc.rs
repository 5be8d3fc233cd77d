//! A small BMC for tests: RMCP+ with cipher suites 3 and 17, and every vice a real one may have.
//!
//! Written from the specification, apart from the client in `src/wire/ipmi` and sharing no code
//! with it, so that the two check each other; `ipmitool -I lanplus` accepts it as well. [`Bmc`] is
//! bytes in, bytes out; [`BmcServer`] puts one behind a UDP socket with a thread of its own.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

pub use bytes::message_of;
use bytes::{code_len, decrypt, encrypt, hmac, plain};

#[path = "bmc_bytes.rs"]
mod bytes;

pub const USER: &str = "fence";
pub const PASSWORD: &str = "correct-horse";
pub const GUID: [u8; 16] = *b"test machine one";
pub const DEVICE_GUID: [u8; 16] = *b"test machine bmc";

/// What the BMC does and how it misbehaves.
#[derive(Clone, Debug)]
pub struct Knobs {
    pub suites: Vec<u8>,
    pub user: String,
    pub password: String,
    /// Answers nothing to an offer of an unknown suite, instead of refusing it.
    pub ignores_unknown_suites: bool,
    /// The user's privilege limit: 2 user, 3 operator, 4 administrator.
    pub privilege: u8,
    /// Whether the limit is enforced by RAKP (status 09) or by Set Session Privilege Level.
    pub limit_in_rakp: bool,
    pub power: bool,
    /// Acknowledges power commands and does nothing.
    pub lies: bool,
    /// Answers power commands with this completion code.
    pub refuse: Option<u8>,
    /// The completion code to a power-down when the power is off, and the reverse.
    pub refuse_present_state: bool,
    /// Answers this many commands with "node busy" first.
    pub busy: u32,
    pub sessions_max: usize,
    /// Answers nothing at all.
    pub silent: bool,
    /// Becomes so with the answer to a power-down, as one that shares its host's power.
    pub dies_of_power_down: bool,
    /// Answers no command in a session (but opens sessions).
    pub mute: bool,
    /// Answers everything with bytes that mean nothing.
    pub garbage: bool,
    /// Signs what it sends in a session with a wrong code.
    pub wrong_code: bool,
    /// Sends another session's answer, and its last datagram again, before each answer.
    pub noise: bool,
    /// Sends this many datagrams that mean nothing before each answer.
    pub flood: usize,
    /// Takes a session with these algorithms, whatever was offered.
    pub takes_algorithms: Option<[u8; 3]>,
    /// Errors before a session end behind their status, as `ipmi_sim`'s do.
    pub short_errors: bool,
    /// Errors before a session name session 0.
    pub anonymous_errors: bool,
    /// Percentage of datagrams lost, each way.
    pub loss: u32,
    /// Waits this long before each answer.
    pub delay: Duration,
    /// Tells what it is: firmware, GUIDs, who may log in, its suites.
    pub talks: bool,
    /// What it lists as its cipher suites, in any order; nothing if it does not tell.
    pub lists: Vec<u8>,
    /// Answers commands in a session with this completion code.
    pub completion: Option<u8>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            suites: vec![3, 17],
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            ignores_unknown_suites: false,
            privilege: 4,
            limit_in_rakp: true,
            power: true,
            lies: false,
            refuse: None,
            refuse_present_state: false,
            busy: 0,
            sessions_max: 16,
            silent: false,
            dies_of_power_down: false,
            mute: false,
            garbage: false,
            wrong_code: false,
            noise: false,
            flood: 0,
            takes_algorithms: None,
            short_errors: false,
            anonymous_errors: false,
            loss: 0,
            delay: Duration::ZERO,
            talks: false,
            lists: Vec::new(),
            completion: None,
        }
    }
}

/// A session, half or fully open.
struct Session {
    console_id: u32,
    suite: u8,
    console_random: [u8; 16],
    random: [u8; 16],
    role: u8,
    user: Vec<u8>,
    active: bool,
    privilege: u8,
    k1: Vec<u8>,
    k2: [u8; 16],
    received: u32,
    sent: u32,
}

/// The BMC as a function of datagrams.
pub struct Bmc {
    pub knobs: Knobs,
    sessions: BTreeMap<u32, Session>,
    next_id: u32,
    random: u64,
    last: Vec<u8>,
    /// Every session that was fully open once.
    pub sessions_opened: u32,
    /// Every command answered: network function and command number.
    pub commands: Vec<(u8, u8)>,
    pub power_downs: u32,
    /// How often its suites were asked for outside a session.
    pub listings: u32,
}

impl Bmc {
    pub fn new(knobs: Knobs, seed: u64) -> Self {
        Self {
            knobs,
            sessions: BTreeMap::new(),
            next_id: 0x0200_0100,
            random: seed | 1,
            last: Vec::new(),
            sessions_opened: 0,
            commands: Vec::new(),
            power_downs: 0,
            listings: 0,
        }
    }

    /// How many sessions are fully open.
    pub fn open_sessions(&self) -> usize {
        self.sessions.values().filter(|session| session.active).count()
    }

    /// Forgets all sessions, as a reboot does.
    pub fn reboot(&mut self) {
        self.sessions.clear();
    }

    /// The sessions that are open now answer nothing any more; new ones do.
    pub fn hang_session(&mut self) {
        for session in self.sessions.values_mut() {
            session.received = u32::MAX;
        }
    }

    /// Takes so many of the numbers that come next for seen, in all open sessions.
    pub fn skip_ahead(&mut self, count: u32) {
        for session in self.sessions.values_mut() {
            session.received += count;
        }
    }

    /// Any `message` at all, as a datagram of the session that was opened last; nothing if none is
    /// open.
    #[allow(dead_code, reason = "only a fuzzer has a BMC talk nonsense")]
    pub fn say(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let iv = self.draw();
        let session = self.sessions.values_mut().rev().find(|session| session.active)?;
        Some(sealed(session, iv, message, false))
    }

    /// The answers to one datagram, losses applied.
    pub fn answer(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        if self.knobs.silent || self.is_lost() {
            return Vec::new();
        }
        if self.knobs.garbage {
            return vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()];
        }
        let mut answers = vec![vec![0x55; 20]; self.knobs.flood];
        if let Some(answer) = self.answer_one(datagram) {
            if self.knobs.noise {
                let mut foreign = answer.clone();
                let place = if foreign[5] & 0xc0 == 0 { 20 } else { 6 };
                foreign[place] ^= 0x5a;
                answers.push(foreign);
                answers.push(self.last.clone());
                self.last = answer.clone();
            }
            answers.push(answer);
        }
        answers.retain(|_| !self.is_lost());
        answers
    }

    fn answer_one(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram.get(..4)? != [0x06, 0x00, 0xff, 0x07] {
            return None;
        }
        if *datagram.get(4)? == 0 {
            return self.answer_without_session(datagram.get(14..)?);
        }
        let kind = *datagram.get(5)?;
        let len = usize::from(u16::from_le_bytes(datagram.get(14..16)?.try_into().unwrap()));
        let payload = datagram.get(16..16 + len)?;
        match kind {
            0x10 => self.open_session(payload),
            0x12 => self.rakp1(payload),
            0x14 => self.rakp3(payload),
            0xc0 => self.in_session(datagram, payload),
            _ => None,
        }
    }

    /// Get Channel Authentication Capabilities in an IPMI 1.5 envelope: ipmitool asks it first.
    fn answer_without_session(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let (net_fn, seq, command) = (message.get(1)? >> 2, message.get(4)? >> 2, *message.get(5)?);
        let data: &[u8] = match (net_fn, command) {
            (0x06, 0x38) if self.knobs.talks => &[0, 1, 0x85, 0x06, 0x02, 0, 0, 0, 0],
            (0x06, 0x38) => &[0x00, 0x01, 0x80, 0x04, 0x02, 0x00, 0x00, 0x00, 0x00],
            (0x06, 0x54) if !self.knobs.lists.is_empty() => {
                self.listings += 1;
                &self.list(message[8] & 0x3f)
            }
            _ => &[0xd4],
        };
        let response = message_of(net_fn, seq, command, data);
        let mut datagram = vec![0x06, 0x00, 0xff, 0x07, 0x00, 0, 0, 0, 0, 0, 0, 0, 0];
        datagram.push(u8::try_from(response.len()).unwrap());
        datagram.extend(response);
        Some(datagram)
    }

    /// One part of the list of suites (§22.15): sixteen bytes, the last one shorter.
    fn list(&self, part: u8) -> Vec<u8> {
        let records: Vec<u8> =
            self.knobs.lists.iter().flat_map(|id| [0xc0, *id, 1, 0x41]).collect();
        let part = records.chunks(16).nth(usize::from(part)).unwrap_or(&[]);
        [&[0x00, 0x01], part].concat()
    }

    fn refusal(&self, kind: u8, tag: u8, status: u8, console_id: u32) -> Option<Vec<u8>> {
        let console_id = if self.knobs.anonymous_errors { 0 } else { console_id };
        let mut payload = vec![tag, status, 0, 0];
        payload.extend(console_id.to_le_bytes());
        if self.knobs.short_errors {
            payload.truncate(2);
        }
        Some(plain(kind, &payload))
    }

    fn open_session(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let tag = *payload.first()?;
        let console_id = u32::from_le_bytes(payload.get(4..8)?.try_into().unwrap());
        let offered = [*payload.get(12)?, *payload.get(20)?, *payload.get(28)?];
        let suite = match offered {
            [1, 1, 1] => 3,
            [3, 4, 1] => 17,
            _ => 0,
        };
        if !self.knobs.suites.contains(&suite) {
            if self.knobs.ignores_unknown_suites {
                return None;
            }
            return self.refusal(0x11, tag, 0x11, console_id);
        }
        if self.open_sessions() >= self.knobs.sessions_max {
            return self.refusal(0x11, tag, 0x01, console_id);
        }
        self.next_id += 1;
        let id = self.next_id;
        let session = Session {
            console_id,
            suite,
            console_random: [0; 16],
            random: [0; 16],
            role: 0,
            user: Vec::new(),
            active: false,
            privilege: 2,
            k1: Vec::new(),
            k2: [0; 16],
            received: 0,
            sent: 0,
        };
        self.sessions.insert(id, session);
        let mut response = vec![tag, 0, 4, 0];
        response.extend(console_id.to_le_bytes());
        response.extend(id.to_le_bytes());
        let algorithms = self.knobs.takes_algorithms.unwrap_or(offered);
        for (kind, algorithm) in (0u8..).zip(algorithms) {
            response.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        Some(plain(0x11, &response))
    }

    fn rakp1(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let tag = *payload.first()?;
        let id = u32::from_le_bytes(payload.get(4..8)?.try_into().unwrap());
        let random = self.draw();
        let role = *payload.get(24)?;
        let user = payload.get(28..28 + usize::from(*payload.get(27)?))?.to_vec();
        let Some(session) = self.sessions.get_mut(&id) else {
            return self.refusal(0x13, tag, 0x02, 0);
        };
        let console_id = session.console_id;
        if user != self.knobs.user.as_bytes() {
            return self.refusal(0x13, tag, 0x0d, console_id);
        }
        if self.knobs.limit_in_rakp && role & 0x0f > self.knobs.privilege {
            return self.refusal(0x13, tag, 0x09, console_id);
        }
        session.console_random = payload.get(8..24)?.try_into().unwrap();
        session.random = random;
        session.role = role;
        session.user = user;
        let mut signed = console_id.to_le_bytes().to_vec();
        signed.extend(id.to_le_bytes());
        signed.extend(session.console_random);
        signed.extend(random);
        signed.extend(GUID);
        signed.extend(role_and_user(session));
        let code = hmac(session.suite, self.knobs.password.as_bytes(), &signed);
        let mut response = vec![tag, 0, 0, 0];
        response.extend(console_id.to_le_bytes());
        response.extend(random);
        response.extend(GUID);
        response.extend(code);
        Some(plain(0x13, &response))
    }

    fn rakp3(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let tag = *payload.first()?;
        let id = u32::from_le_bytes(payload.get(4..8)?.try_into().unwrap());
        let Some(session) = self.sessions.get_mut(&id) else {
            return self.refusal(0x15, tag, 0x02, 0);
        };
        if session.active {
            return None;
        }
        let console_id = session.console_id;
        let password = self.knobs.password.as_bytes();
        let mut signed = session.random.to_vec();
        signed.extend(console_id.to_le_bytes());
        signed.extend(role_and_user(session));
        if payload.get(8..)? != hmac(session.suite, password, &signed) {
            self.sessions.remove(&id);
            return self.refusal(0x15, tag, 0x0f, console_id);
        }
        let mut shared = session.console_random.to_vec();
        shared.extend(session.random);
        shared.extend(role_and_user(session));
        let sik = hmac(session.suite, password, &shared);
        session.k1 = hmac(session.suite, &sik, &[1; 20]);
        session.k2 = hmac(session.suite, &sik, &[2; 20])[..16].try_into().unwrap();
        session.active = true;
        self.sessions_opened += 1;
        let mut signed = session.console_random.to_vec();
        signed.extend(id.to_le_bytes());
        signed.extend(GUID);
        let code = hmac(session.suite, &sik, &signed);
        let mut response = vec![tag, 0, 0, 0];
        response.extend(console_id.to_le_bytes());
        response.extend(&code[..code_len(session.suite)]);
        Some(plain(0x15, &response))
    }

    fn in_session(&mut self, datagram: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
        let id = u32::from_le_bytes(datagram.get(6..10)?.try_into().unwrap());
        let sequence = u32::from_le_bytes(datagram.get(10..14)?.try_into().unwrap());
        let session = self.sessions.get_mut(&id).filter(|session| session.active)?;
        let split = datagram.len().checked_sub(code_len(session.suite))?;
        let expected = hmac(session.suite, &session.k1, datagram.get(4..split)?);
        if datagram.get(split..)? != &expected[..code_len(session.suite)] {
            return None;
        }
        if sequence <= session.received {
            return None;
        }
        session.received = sequence;
        let message = decrypt(session.k2, payload)?;
        if self.knobs.mute {
            return None;
        }
        let (net_fn, seq, command) = (message.get(1)? >> 2, message.get(4)? >> 2, *message.get(5)?);
        self.commands.push((net_fn, command));
        let data = message.get(6..message.len() - 1)?;
        let data = self.execute(id, net_fn, command, data);
        let response = message_of(net_fn, seq, command, &data);
        let iv = self.draw();
        let wrong_code = self.knobs.wrong_code;
        let session = self.sessions.get_mut(&id)?;
        let datagram = sealed(session, iv, &response, wrong_code);
        if (net_fn, command, data.first()) == (0x06, 0x3c, Some(&0)) {
            self.sessions.remove(&id);
        }
        Some(datagram)
    }

    fn execute(&mut self, id: u32, net_fn: u8, command: u8, data: &[u8]) -> Vec<u8> {
        if self.knobs.busy > 0 {
            self.knobs.busy -= 1;
            return vec![0xc0];
        }
        if let Some(code) = self.knobs.completion.filter(|_| command != 0x3c) {
            return vec![code];
        }
        if self.knobs.talks
            && let Some(told) = self.tell(net_fn, command, data)
        {
            return told;
        }
        let limit = self.knobs.privilege;
        let Some(session) = self.sessions.get_mut(&id) else { return vec![0xff] };
        match (net_fn, command, data) {
            (0x06, 0x3b, [level]) if *level > limit => vec![0x81],
            (0x06, 0x3b, [level]) => {
                if *level != 0 {
                    session.privilege = *level;
                }
                vec![0x00, session.privilege]
            }
            (0x06, 0x3c, [a, b, c, d]) if u32::from_le_bytes([*a, *b, *c, *d]) == id => vec![0x00],
            (0x06, 0x3c, _) => vec![0x87],
            (0x00, 0x01, []) => vec![0x00, 0x60 | u8::from(self.knobs.power), 0x00, 0x40],
            (0x00, 0x02, _) if session.privilege < 3 => vec![0xd4],
            (0x00, 0x02, [order]) => self.switch(*order),
            _ => vec![0xc1],
        }
    }

    /// What it says of itself.
    fn tell(&self, net_fn: u8, command: u8, data: &[u8]) -> Option<Vec<u8>> {
        Some(match (net_fn, command, data) {
            (0x06, 0x01, []) => vec![0, 0x20, 0x81, 0x03, 0x45, 0x02, 0xbf, 0xa2, 0x02, 0, 0, 1],
            (0x06, 0x08, []) => [&[0], DEVICE_GUID.as_slice()].concat(),
            (0x06, 0x37, []) => [&[0], GUID.as_slice()].concat(),
            (0x06, 0x54, [0x0e, 0, part]) => self.list(part & 0x3f),
            _ => return None,
        })
    }

    fn switch(&mut self, order: u8) -> Vec<u8> {
        let wanted = match order {
            0x00 => false,
            0x01 => true,
            _ => return vec![0xcc],
        };
        if let Some(code) = self.knobs.refuse {
            return vec![code];
        }
        if self.knobs.refuse_present_state && wanted == self.knobs.power {
            return vec![0xd5];
        }
        self.power_downs += u32::from(!wanted);
        self.knobs.silent |= !wanted && self.knobs.dies_of_power_down;
        if !self.knobs.lies {
            self.knobs.power = wanted;
        }
        vec![0x00]
    }

    fn is_lost(&mut self) -> bool {
        self.knobs.loss > 0 && self.draw_below(100) < self.knobs.loss
    }

    fn draw_below(&mut self, bound: u32) -> u32 {
        // xorshift64*: even enough for losses, and the same on every run.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let drawn = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        u32::try_from(drawn % u64::from(bound)).unwrap()
    }

    fn draw(&mut self) -> [u8; 16] {
        core::array::from_fn(|_| u8::try_from(self.draw_below(256)).unwrap())
    }
}

fn role_and_user(session: &Session) -> Vec<u8> {
    let mut bytes = vec![session.role, u8::try_from(session.user.len()).unwrap()];
    bytes.extend(&session.user);
    bytes
}

fn sealed(session: &mut Session, iv: [u8; 16], message: &[u8], wrong_code: bool) -> Vec<u8> {
    session.sent += 1;
    let payload = encrypt(session.k2, iv, message);
    let mut datagram = vec![0x06, 0x00, 0xff, 0x07, 0x06, 0xc0];
    datagram.extend(session.console_id.to_le_bytes());
    datagram.extend(session.sent.to_le_bytes());
    datagram.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    datagram.extend(payload);
    let pad = (4 - (datagram.len() - 4 + 2) % 4) % 4;
    datagram.extend(vec![0xff; pad]);
    datagram.extend([u8::try_from(pad).unwrap(), 0x07]);
    let mut code = hmac(session.suite, &session.k1, &datagram[4..]);
    if wrong_code {
        code[3] ^= 0x10;
    }
    datagram.extend(&code[..code_len(session.suite)]);
    datagram
}

/// A [`Bmc`] behind a UDP socket on loopback, answered by a thread until it is dropped.
pub struct BmcServer {
    pub address: SocketAddr,
    bmc: Arc<Mutex<Bmc>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BmcServer {
    pub fn start(knobs: Knobs) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), knobs)
    }

    pub fn start_on(address: SocketAddr, knobs: Knobs) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let bmc = Arc::new(Mutex::new(Bmc::new(knobs, 0x5eed)));
        let ends = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (bmc, ends) = (Arc::clone(&bmc), Arc::clone(&ends));
            move || serve(&socket, &bmc, &ends)
        });
        Self { address, bmc, ends, thread: Some(thread) }
    }

    /// The BMC, to look at and to turn its knobs.
    pub fn bmc(&self) -> MutexGuard<'_, Bmc> {
        self.bmc.lock().unwrap()
    }

    /// Waits until no session is open; false if there still is one after two seconds.
    pub fn closes_all_sessions(&self) -> bool {
        for _ in 0..200 {
            if self.bmc().open_sessions() == 0 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

fn serve(socket: &UdpSocket, bmc: &Mutex<Bmc>, ends: &AtomicBool) {
    let mut buffer = [0; 1024];
    while !ends.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let (answers, delay) = {
            let mut bmc = bmc.lock().unwrap();
            (bmc.answer(&buffer[..len]), bmc.knobs.delay)
        };
        std::thread::sleep(delay);
        for answer in answers {
            // A client that went away is no fault of the BMC.
            socket.send_to(&answer, from).ok();
        }
    }
}

impl Drop for BmcServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
