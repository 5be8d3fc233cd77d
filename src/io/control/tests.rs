//! The server against well-behaved, clumsy and hostile callers, over real sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::sync::atomic::{AtomicU32, Ordering};

use mio::{Events, Poll};

use super::*;
use crate::wire::control::REQUEST_LEN_MAX;

const STATUS: &[u8] = b"{\"v\":1,\"cmd\":\"status\"}\n";
const FOLLOW: &[u8] = b"{\"cmd\":\"events\",\"follow\":true}\n";

/// A server with its poll, in a directory of its own, at a time that the test sets.
struct World {
    server: Option<ControlServer>,
    poll: Poll,
    config: ControlConfig,
    now: Instant,
}

impl World {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("tandem-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        let config = ControlConfig { path: dir.join("control.sock"), readers: None };
        let poll = Poll::new().unwrap();
        let mut world = Self { server: None, poll, config, now: Instant::from_millis(1000) };
        world.server = Some(world.open().unwrap());
        world
    }

    fn open(&self) -> Result<ControlServer, OpenError> {
        ControlServer::open(&self.config, self.poll.registry(), Token(100), self.now)
    }

    fn server(&mut self) -> &mut ControlServer {
        self.server.as_mut().unwrap()
    }

    fn connect(&self) -> StdStream {
        let stream = StdStream::connect(&self.config.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    /// Lets the server do all there is to do now.
    fn turn(&mut self) -> Vec<Incoming> {
        let mut incoming = Vec::new();
        let mut events = Events::with_capacity(64);
        loop {
            // A signal may interrupt it.
            while self.poll.poll(&mut events, Some(Duration::from_millis(20))).is_err() {}
            let now = self.now;
            for event in &events {
                assert!(self.server().owns(event.token()));
                self.server().ready(event.token(), now, &mut incoming);
            }
            let is_due = self.server().next_deadline().is_some_and(|at| at <= now);
            if is_due {
                self.server().expire(now, &mut incoming);
            }
            if events.is_empty() && !is_due {
                return incoming;
            }
        }
    }

    fn answer(&mut self, incoming: &Incoming, response: &Response) {
        let now = self.now;
        self.server().respond(incoming.connection, response, now);
    }

    fn follower(&mut self) -> StdStream {
        let mut client = self.connect();
        client.write_all(FOLLOW).unwrap();
        let incoming = self.turn();
        self.answer(&incoming[0], &Response::Ok);
        assert_eq!(line(&mut client), Response::Ok);
        client
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server = None;
        fs::remove_dir_all(self.config.path.parent().unwrap()).unwrap();
    }
}

/// One line of what the server says, byte by byte so that nothing behind it is taken.
fn line(client: &mut StdStream) -> Response {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        let mut byte = [0; 1];
        client.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    Response::parse(core::str::from_utf8(&text).unwrap()).unwrap()
}

fn failure(client: &mut StdStream) -> Code {
    let Response::Error(failure) = line(client) else { unreachable!("an error was expected") };
    failure.code
}

/// Whether the server closed the connection and said nothing more.
fn is_closed(client: &mut StdStream) -> bool {
    matches!(client.read(&mut [0; 1]), Ok(0))
}

/// An answer with a text of this length, which no failure that is made has.
fn long_answer(len: usize) -> Response {
    let (message, remedy) = ("x".repeat(len), String::new());
    Response::Error(Failure { code: Code::Denied, message, remedy })
}

fn event(seq: u64) -> EventLine {
    EventLine { seq, text: "x".repeat(1000), ..EventLine::default() }
}

#[test]
fn a_request_is_handed_on_and_answered_again_and_again() {
    let mut world = World::new();
    let mut client = world.connect();
    for _ in 0..3 {
        client.write_all(STATUS).unwrap();
        let incoming = world.turn();
        assert_eq!(incoming.len(), 1);
        assert_eq!(incoming[0].request, Request::Status);
        assert_eq!(incoming[0].caller.pid, i32::try_from(std::process::id()).unwrap());
        world.answer(&incoming[0], &Response::Ok);
        assert_eq!(line(&mut client), Response::Ok);
    }
}

#[test]
fn requests_that_come_together_are_answered_one_after_another() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write_all(&[STATUS, FOLLOW].concat()).unwrap();
    let first = world.turn();
    assert_eq!(first.len(), 1);
    world.answer(&first[0], &Response::Ok);
    let second = world.turn();
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].request, Request::Events { follow: true });
}

#[test]
fn a_request_may_come_in_pieces_or_without_its_line_end() {
    let mut world = World::new();
    let mut client = world.connect();
    for byte in &STATUS[..STATUS.len() - 1] {
        client.write_all(&[*byte]).unwrap();
        assert_eq!(world.turn(), []);
    }
    client.shutdown(Shutdown::Write).unwrap();
    let incoming = world.turn();
    assert_eq!(incoming.len(), 1);
    world.answer(&incoming[0], &Response::Ok);
    assert_eq!(line(&mut client), Response::Ok);
    assert!(is_closed(&mut client));
    assert_eq!(world.server().connections(), 0);
}

#[test]
fn garbage_is_answered_and_closed() {
    let mut world = World::new();
    for garbage in [b"\n".as_slice(), b"hello\n", &[0xff, 0xfe, b'\n'], b"{}\n", b"[[[[\n"] {
        let mut client = world.connect();
        client.write_all(garbage).unwrap();
        assert_eq!(world.turn(), []);
        assert_eq!(failure(&mut client), Code::BadRequest);
        assert!(is_closed(&mut client));
    }
    assert_eq!(world.server().connections(), 0);
}

#[test]
fn a_request_without_end_is_cut_off() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write_all(&[b'x'; REQUEST_LEN_MAX - 1]).unwrap();
    assert_eq!(world.turn(), []);
    assert_eq!(world.server().connections(), 1);
    client.write_all(b"x").unwrap();
    assert_eq!(world.turn(), []);
    assert_eq!(failure(&mut client), Code::TooLong);
    assert!(is_closed(&mut client));
}

#[test]
fn a_request_that_is_not_finished_runs_out_of_time() {
    let mut world = World::new();
    let mut silent = world.connect();
    let mut slow = world.connect();
    slow.write_all(b"{\"cmd\":").unwrap();
    world.turn();
    assert_eq!(world.server().next_deadline(), Some(world.now + REQUEST_TIMEOUT));
    world.now = world.now + REQUEST_TIMEOUT / 2;
    world.turn();
    assert_eq!(world.server().connections(), 2);
    world.now = world.now + REQUEST_TIMEOUT / 2;
    world.turn();
    assert_eq!(failure(&mut slow), Code::Timeout);
    assert!(is_closed(&mut slow));
    assert!(is_closed(&mut silent));
    assert_eq!(world.server().connections(), 0);
    assert_eq!(world.server().next_deadline(), None);
}

#[test]
fn connections_are_bounded_and_a_free_place_is_used_again() {
    let mut world = World::new();
    let mut clients: Vec<_> = (0..CONTROL_CONNECTIONS_MAX).map(|_| world.connect()).collect();
    world.turn();
    assert_eq!(world.server().connections(), CONTROL_CONNECTIONS_MAX);
    for _ in 0..3 {
        let mut late = world.connect();
        world.turn();
        assert_eq!(failure(&mut late), Code::Busy);
        assert!(is_closed(&mut late));
    }
    assert_eq!(world.server().counters().refused_busy, 3);
    clients.truncate(CONTROL_CONNECTIONS_MAX - 1);
    world.turn();
    let mut next = world.connect();
    next.write_all(STATUS).unwrap();
    assert_eq!(world.turn().len(), 1);
}

#[test]
fn a_late_answer_does_not_reach_the_next_caller() {
    let mut world = World::new();
    let mut first = world.connect();
    first.write_all(STATUS).unwrap();
    let old = world.turn();
    world.answer(&old[0], &Response::Ok);
    assert_eq!(line(&mut first), Response::Ok);
    drop(first);
    world.turn();
    let mut second = world.connect();
    second.write_all(STATUS).unwrap();
    let new = world.turn();
    assert_ne!(new[0].connection, old[0].connection);
    world.answer(&old[0], &Response::Error(busy()));
    world.answer(&new[0], &Response::Ok);
    assert_eq!(line(&mut second), Response::Ok);
}

#[test]
fn followers_are_told_what_is_kept_and_then_every_event() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write_all(FOLLOW).unwrap();
    let incoming = world.turn();
    world.server().broadcast_event(&event(1));
    world.server().tell(incoming[0].connection, &event(0));
    world.answer(&incoming[0], &Response::Ok);
    world.server().broadcast_event(&event(2));
    assert_eq!(line(&mut client), Response::Event(event(0)));
    assert_eq!(line(&mut client), Response::Ok);
    assert_eq!(line(&mut client), Response::Event(event(2)));
    drop(client);
    world.turn();
    assert_eq!(world.server().connections(), 0);
}

#[test]
fn a_follower_that_does_not_read_is_disconnected_and_the_others_are_not() {
    let mut world = World::new();
    let slow = world.follower();
    let quick = world.follower();
    let mut quick = BufReader::new(quick);
    let mut seq = 0;
    while world.server().counters().slow_followers == 0 {
        seq += 1;
        assert!(seq < 2000, "the queue has no bound");
        world.server().broadcast_event(&event(seq));
        let mut text = String::new();
        quick.read_line(&mut text).unwrap();
        assert_eq!(Response::parse(&text).unwrap(), Response::Event(event(seq)));
    }
    assert_eq!(world.server().connections(), 1);
    let mut rest = Vec::new();
    (&slow).read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 1024 * 1024);
    world.server().broadcast_event(&event(9999));
    assert!(quick.fill_buf().unwrap().starts_with(b"{"));
}

#[test]
fn a_caller_that_does_not_take_its_answer_runs_out_of_time() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write_all(STATUS).unwrap();
    let incoming = world.turn();
    world.answer(&incoming[0], &long_answer(900 * 1024));
    world.turn();
    assert_eq!(world.server().connections(), 1);
    world.now = world.now + REQUEST_TIMEOUT;
    world.turn();
    assert_eq!(world.server().connections(), 0);
}

#[test]
fn a_long_answer_reaches_a_caller_that_reads() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write_all(STATUS).unwrap();
    let incoming = world.turn();
    let huge = long_answer(900 * 1024);
    world.answer(&incoming[0], &huge);
    let mut taken = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while taken.last() != Some(&b'\n') {
        let len = client.read(&mut piece).unwrap();
        taken.extend_from_slice(&piece[..len]);
        world.turn();
    }
    assert_eq!(Response::parse(core::str::from_utf8(&taken).unwrap()).unwrap(), huge);
    client.write_all(STATUS).unwrap();
    let incoming = world.turn();
    let beyond = long_answer(1024 * 1024);
    world.answer(&incoming[0], &beyond);
    assert_eq!(failure(&mut client), Code::Busy);
}

#[test]
fn the_file_has_its_mode_and_goes_with_the_server() {
    let mut world = World::new();
    let found = fs::metadata(&world.config.path).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    world.server = None;
    assert!(!world.config.path.exists());
    world.config.readers = Some(nix::unistd::getegid().as_raw());
    world.server = Some(world.open().unwrap());
    let found = fs::metadata(&world.config.path).unwrap();
    assert_eq!(Some(found.gid()), world.config.readers);
}

#[test]
fn a_living_daemons_socket_is_left_alone() {
    let mut world = World::new();
    assert!(matches!(world.open(), Err(OpenError::InUse(_))));
    let mut client = world.connect();
    client.write_all(STATUS).unwrap();
    assert_eq!(world.turn().len(), 1);

    // Somebody else's, who knows nothing of the lock.
    world.server = None;
    let other = StdListener::bind(&world.config.path).unwrap();
    assert!(matches!(world.open(), Err(OpenError::InUse(_))));
    assert!(world.config.path.exists());
    drop(other);
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_other_files_are_not() {
    let mut world = World::new();
    world.server = None;
    drop(StdListener::bind(&world.config.path).unwrap());
    assert!(world.config.path.exists());
    world.server = Some(world.open().unwrap());
    let mut client = world.connect();
    client.write_all(STATUS).unwrap();
    assert_eq!(world.turn().len(), 1);

    world.server = None;
    fs::write(&world.config.path, "precious").unwrap();
    assert!(!world.open().unwrap().is_open());
    assert_eq!(fs::read_to_string(&world.config.path).unwrap(), "precious");
}

/// An active that comes back while `/run` is full serves without its operators' tools.
#[test]
fn a_socket_that_cannot_be_made_is_made_when_it_can_be() {
    let mut world = World::new();
    world.server = None;
    let dir = world.config.path.parent().unwrap().to_owned();
    let away = dir.with_extension("away");
    fs::rename(&dir, &away).unwrap();
    world.server = Some(world.open().unwrap());
    assert!(!world.server().is_open());
    assert_eq!(world.server().next_deadline(), Some(world.now + OPEN_PAUSE));
    world.now = world.now + OPEN_PAUSE;
    world.turn();
    assert!(!world.server().is_open());
    assert_eq!(world.server().next_deadline(), Some(world.now + OPEN_PAUSE), "again and again");

    fs::rename(&away, &dir).unwrap();
    world.now = world.now + OPEN_PAUSE;
    world.turn();
    assert_eq!(world.server().next_deadline(), None);
    let mut client = world.connect();
    client.write_all(STATUS).unwrap();
    assert_eq!(world.turn().len(), 1);
}
