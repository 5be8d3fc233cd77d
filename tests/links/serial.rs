//! Serial heartbeat links over pseudo terminals, through a cable that cuts, delays, damages,
//! invents and vanishes. Needs no privileges.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};
use nix::errno::Errno;
use nix::sys::termios::{ControlFlags, LocalFlags, cfgetospeed, tcgetattr};
use tandem::config::link::{Baud, SerialLinkConfig};
use tandem::io::link::{Drained, LinkChange, REOPEN_INTERVAL};
use tandem::io::serial::{READ_LEN_MAX, READS_MAX, SerialLink};
use tandem::types::Instant;
use tandem::wire::serial_frame::Frame;

use super::cable::{Cable, End};
use super::{node, now, pass};

const CONSOLE: &[u8] = b"\r\nDebian GNU/Linux 12 smw2 ttyS0\r\n\r\nsmw2 login: ";
const NO_TIME: Duration = Duration::ZERO;

/// Two links over a cable, in a directory that goes with them.
struct Line {
    a: Side,
    b: Side,
    cable: Cable,
    dir: PathBuf,
}

/// One link with a poll of its own.
struct Side {
    link: SerialLink,
    poll: Poll,
    to: u8,
}

fn config(device: &Path, to: u8) -> SerialLinkConfig {
    let device = device.to_owned();
    SerialLinkConfig { device, baud: Baud::B115200, rtscts: false, peer: node(to) }
}

impl Line {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tandem-line-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let cable = Cable::lay(&dir.join("a"), &dir.join("b"));
        let [a, b] = [(End::A, 2), (End::B, 1)].map(|(end, to)| {
            let link = SerialLink::new(config(cable.name(end), to), Token(7));
            let mut side = Side { link, poll: Poll::new().unwrap(), to };
            assert_eq!(side.turn(now()), Some(LinkChange::Opened));
            side
        });
        Self { a, b, cable, dir }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Side {
    fn turn(&mut self, now: Instant) -> Option<LinkChange> {
        self.link.turn(self.poll.registry(), now)
    }

    fn send(&mut self, bytes: &[u8]) -> Option<LinkChange> {
        self.link.send(node(self.to), bytes, now())
    }

    /// Sends this, and waits until the line is free again.
    fn say(&mut self, bytes: &[u8]) {
        assert_eq!(self.send(bytes), None);
        pass(Duration::from_millis(25));
        assert_eq!(self.turn(now()), None);
    }

    /// All that is there once the line has been quiet for a moment; and what became of the link.
    fn take(&mut self) -> (Vec<Vec<u8>>, Option<LinkChange>) {
        let mut taken = Vec::new();
        let mut events = Events::with_capacity(4);
        loop {
            let quiet = Duration::from_millis(60);
            while self.poll.poll(&mut events, Some(quiet)).is_err() {}
            if events.is_empty() {
                return (taken, None);
            }
            loop {
                let (drained, change) =
                    self.link.drain(now(), NO_TIME, |it| taken.push(it.bytes.to_vec()));
                if change.is_some() {
                    return (taken, change);
                }
                if drained == Drained::Empty {
                    break;
                }
            }
        }
    }

    fn take_bytes(&mut self) -> Vec<Vec<u8>> {
        let (taken, change) = self.take();
        assert_eq!(change, None);
        taken
    }
}

#[test]
fn messages_of_any_bytes_arrive_both_ways() {
    let mut line = Line::new();
    let every_byte: Vec<u8> = (0..=255).collect();
    for message in [&b"to b"[..], &every_byte, &[0; 96], &[17, 19, 3, 4, 26, 28, 127, 255, 10, 13]]
    {
        line.a.say(message);
        assert_eq!(line.b.take_bytes(), [message]);
        line.b.say(message);
        assert_eq!(line.a.take_bytes(), [message]);
    }
    let counters = line.a.link.counters();
    assert_eq!((counters.sent, counters.received, counters.opened), (4, 4, 1));
    assert_eq!(counters.dropped.count(), 0);
    // Whom the cable does not lead to is not said anything.
    assert_eq!(line.a.link.send(node(3), b"astray", now()), None);
    assert_eq!(line.a.link.counters().sent, 4);
}

#[test]
fn the_line_is_set_raw_and_is_ours_alone() {
    let mut line = Line::new();
    let device = File::open(line.cable.name(End::A)).unwrap();
    let termios = tcgetattr(&device).unwrap();
    assert_eq!(cfgetospeed(&termios), nix::sys::termios::BaudRate::B115200);
    let echo = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
    assert!(!termios.local_flags.intersects(echo));
    let wanted = ControlFlags::CS8 | ControlFlags::CLOCAL | ControlFlags::CREAD;
    assert!(termios.control_flags.contains(wanted));
    let others = ControlFlags::CRTSCTS | ControlFlags::PARENB | ControlFlags::CSTOPB;
    assert!(!termios.control_flags.intersects(others));
    // A second tandem.
    let mut second = Side {
        link: SerialLink::new(config(line.cable.name(End::A), 2), Token(7)),
        poll: Poll::new().unwrap(),
        to: 2,
    };
    let first = now();
    let Some(LinkChange::OpenFailed(error)) = second.turn(first) else { panic!("it opened") };
    assert_eq!(error.errno, Errno::EBUSY);
    assert!(error.to_string().contains("another tandem"), "{error}");
    assert_eq!(second.turn(first + REOPEN_INTERVAL), None, "told once");
    let idle = SerialLink::new(config(Path::new("/dev/null"), 2), Token(7));
    drop(std::mem::replace(&mut line.a.link, idle));
    assert_eq!(second.turn(first + REOPEN_INTERVAL * 2), Some(LinkChange::Opened));
}

#[test]
fn what_is_no_serial_device_is_refused_with_its_reason() {
    let poll = Poll::new().unwrap();
    for (device, errno) in [
        ("/dev/does-not-exist", Errno::ENOENT),
        ("/dev/null", Errno::ENOTTY),
        ("/proc/self/status", Errno::EACCES),
        ("/", Errno::EISDIR),
    ] {
        let mut link = SerialLink::new(config(Path::new(device), 2), Token(7));
        let told = link.turn(poll.registry(), now());
        let Some(LinkChange::OpenFailed(error)) = told else { panic!("{device}: {told:?}") };
        let is_root = nix::unistd::geteuid().is_root();
        // Root may open what it cannot use.
        assert!(error.errno == errno || (is_root && errno == Errno::EACCES), "{device}: {error}");
        let reason = link.send_error().unwrap();
        assert!(reason.starts_with("cannot ") && reason.contains(device), "{reason}");
    }
}

#[test]
fn a_console_and_noise_on_the_line_cost_what_they_hit_and_are_counted() {
    let mut line = Line::new();
    line.cable.say(End::A, CONSOLE);
    pass(Duration::from_millis(30));
    line.a.say(b"behind a login");
    assert_eq!(line.b.take_bytes(), [b"behind a login"]);
    let dropped = line.b.link.counters().dropped;
    assert_eq!((dropped.count(), dropped.bytes), (1, u64::try_from(CONSOLE.len()).unwrap()));
    // A half frame, then a whole one.
    let frame = Frame::new(b"half of this is lost").unwrap();
    line.cable.say(End::A, &frame.as_bytes()[..9]);
    line.a.say(b"whole");
    assert_eq!(line.b.take_bytes(), [b"whole"]);
    // One of a hundred bytes is damaged, one of a hundred is lost: some get through.
    line.cable.set_noise(End::A, 10, 10);
    let mut arrived = 0;
    for n in 0..60_u8 {
        line.a.say(&[n; 30]);
        for message in line.b.take_bytes() {
            assert_eq!(message, [n; 30]);
            arrived += 1;
        }
    }
    assert!((10..60).contains(&arrived), "{arrived} of 60");
    line.cable.set_noise(End::A, 0, 0);
    line.a.say(b"clean again");
    assert!(line.b.take_bytes().contains(&b"clean again".to_vec()));
    assert!(line.b.link.counters().dropped.count() > 10);
}

#[test]
fn a_cable_that_is_cut_one_way_passes_the_other_way() {
    let mut line = Line::new();
    line.cable.set_cut(End::A, true);
    line.a.say(b"unheard");
    line.b.say(b"heard");
    assert_eq!(line.b.take_bytes(), Vec::<Vec<u8>>::new());
    assert_eq!(line.a.take_bytes(), [b"heard"]);
    line.cable.set_cut(End::A, false);
    line.a.say(b"mended");
    assert_eq!(line.b.take_bytes(), [b"mended"]);
}

// In: three messages at once, as when the role changes twice: the line carries one after the other.
// Out: the first and the last one arrive. The one in between is old news.
#[test]
fn at_most_one_message_waits_and_it_is_the_newest() {
    let mut line = Line::new();
    assert_eq!(line.a.send(&[1; 200]), None);
    assert_eq!(line.a.link.next_deadline(), None);
    assert_eq!(line.a.send(&[2; 200]), None);
    assert_eq!(line.a.send(&[3; 200]), None);
    let due = line.a.link.next_deadline().unwrap();
    // 207 bytes at 115200 baud.
    let takes = due.since(now());
    assert!(takes <= Duration::from_millis(18), "{takes:?}");
    assert_eq!(line.a.turn(now()), None);
    assert_eq!(line.b.take_bytes(), [[1; 200]]);
    assert_eq!(line.a.turn(due), None);
    assert_eq!(line.b.take_bytes(), [[3; 200]]);
    let counters = line.a.link.counters();
    assert_eq!((counters.sent, counters.overtaken, counters.send_errors), (2, 1, 0));
    assert_eq!(line.a.link.next_deadline(), None, "nothing waits");
}

// In: a line that nobody takes anything from.
// Out: told, but not each time; what was torn by it ends with the next frame.
#[test]
fn a_line_that_takes_nothing_is_told_and_recovers() {
    let pair = nix::pty::openpty(None, None).unwrap();
    let device = nix::unistd::ttyname(&pair.slave).unwrap();
    let mut side = Side {
        link: SerialLink::new(config(&device, 2), Token(7)),
        poll: Poll::new().unwrap(),
        to: 2,
    };
    assert_eq!(side.turn(now()), Some(LinkChange::Opened));
    let mut at = now();
    let mut told = Vec::new();
    for _ in 0..1000 {
        at = at + Duration::from_millis(50);
        told.extend(side.link.send(node(2), &[5; 200], at));
    }
    // The kernel moves what it has taken, and may take more once or twice.
    assert!(told.len() <= 5, "{told:?}");
    let fails = LinkChange::SendFails { to: node(2), errno: Errno::EAGAIN };
    assert_eq!((told.first(), told.last()), (Some(&fails), Some(&fails)));
    assert!(side.link.send_error().unwrap().starts_with("cannot send: "));
    let failed = side.link.counters();
    assert!(failed.send_errors > 100 && failed.sent > 10, "{failed:?}");
    // Somebody reads again.
    let nonblocking = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
    nix::fcntl::fcntl(&pair.master, nonblocking).unwrap();
    let mut master = File::from(pair.master);
    let mut stream = vec![0; 1 << 20];
    let mut len = 0;
    let mut works = None;
    for n in 0..60_u8 {
        pass(Duration::from_millis(5));
        len += master.read(&mut stream[len..]).unwrap_or(0);
        if (20..50).contains(&n) {
            at = at + Duration::from_millis(50);
            works = works.or(side.link.send(node(2), &[n; 20], at));
        }
    }
    let mut deframer = tandem::wire::serial_frame::Deframer::new();
    let mut heard = Vec::new();
    deframer.push(&stream[..len], |message| heard.push(message.to_vec()));
    assert!(heard.len() > 40 && heard.contains(&vec![49; 20]), "{}", heard.len());
    assert!(deframer.dropped().count() <= 4, "{:?}", deframer.dropped());
}

#[test]
fn an_adapter_that_vanishes_is_told_once_and_found_again_under_another_number() {
    let mut line = Line::new();
    let before = line.cable.terminal(End::A);
    line.cable.pull_adapter(End::A);
    let (_, change) = line.a.take();
    assert_eq!(change, Some(LinkChange::Gone));
    assert!(!line.a.link.is_open());
    assert!(line.a.link.send_error().unwrap().contains("gone"));
    // No readiness without an end: the loop sleeps.
    let mut events = Events::with_capacity(4);
    line.a.poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
    assert!(events.is_empty());
    let first = line.a.link.next_deadline().unwrap();
    assert!(first.since(now()) <= REOPEN_INTERVAL);
    let told = line.a.turn(first);
    assert!(matches!(told, Some(LinkChange::OpenFailed(error)) if error.errno == Errno::ENOENT));
    for n in 1..5 {
        assert_eq!(line.a.turn(first + REOPEN_INTERVAL * n), None, "told once");
    }
    assert_eq!(line.a.send(b"nobody listens"), None);
    line.cable.insert_adapter(End::A);
    assert_ne!(line.cable.terminal(End::A), before);
    assert_eq!(line.a.turn(first + REOPEN_INTERVAL * 5), Some(LinkChange::Opened));
    line.a.say(b"back");
    assert_eq!(line.b.take_bytes(), [b"back"]);
    line.b.say(b"welcome");
    assert_eq!(line.a.take_bytes(), [b"welcome"]);
}

#[test]
fn an_adapter_that_vanishes_while_it_is_written_to_is_gone_as_well() {
    let mut line = Line::new();
    line.cable.pull_adapter(End::A);
    assert_eq!(line.a.send(b"x"), Some(LinkChange::Gone));
    assert_eq!(line.a.send(b"x"), None);
    assert_eq!(line.a.link.counters().send_errors, 2);
    assert_eq!(line.a.take(), (Vec::new(), None));
}

#[test]
fn a_flood_is_drained_in_bounded_turns() {
    let pair = nix::pty::openpty(None, None).unwrap();
    let device = nix::unistd::ttyname(&pair.slave).unwrap();
    let mut link = SerialLink::new(config(&device, 2), Token(7));
    let poll = Poll::new().unwrap();
    assert_eq!(link.turn(poll.registry(), now()), Some(LinkChange::Opened));
    let mut master = File::from(pair.master);
    let flood = thread_writes(&mut master, 40 * READ_LEN_MAX);
    let mut turns = 0;
    let mut count = 0;
    while count < flood {
        turns += 1;
        let before = count;
        let (_, change) = link.drain(now(), NO_TIME, |_| count += 1);
        assert_eq!(change, None);
        let most = READS_MAX * READ_LEN_MAX / 12 + 1;
        assert!(count - before <= most, "{} in one turn", count - before);
        if count == before {
            pass(Duration::from_millis(2));
        }
        assert!(turns < 5000, "{count} of {flood}");
    }
}

/// Writes frames of 11 bytes on another thread; how many.
fn thread_writes(master: &mut File, len: usize) -> usize {
    let frame = Frame::new(b"flood").unwrap();
    let count = len / frame.as_bytes().len();
    let bytes = frame.as_bytes().repeat(count);
    let mut master = master.try_clone().unwrap();
    std::thread::spawn(move || master.write_all(&bytes).unwrap());
    count
}

// In: a message that came while the loop stood still for 300 ms.
// Out: it may be as old as that, and is said to be; one that came to a punctual loop is new.
#[test]
fn a_late_loop_does_not_make_a_message_younger() {
    let mut line = Line::new();
    line.a.say(b"early");
    pass(Duration::from_millis(300));
    let late_by = Duration::from_millis(280);
    let read_at = now();
    let mut heard = Vec::new();
    let (_, change) = line.b.link.drain(read_at, late_by, |it| heard.push((it.at, it.from)));
    assert_eq!(change, None);
    let [(at, from)] = heard[..] else { panic!("{heard:?}") };
    assert_eq!(from, Some(node(1)));
    assert_eq!(read_at.since(at), late_by);
    line.a.say(b"new");
    let read_at = now();
    let (_, _) = line.b.link.drain(read_at, NO_TIME, |it| assert_eq!(it.at, read_at));
    // Nothing is older than the last look at an empty line.
    line.a.say(b"between");
    let (_, _) = line.b.link.drain(now(), Duration::from_secs(60), |it| assert_eq!(it.at, read_at));
}

#[test]
fn what_was_in_the_line_before_it_was_opened_is_not_heard() {
    let frame = Frame::new(b"from another time").unwrap();
    let mut fresh = Line::new();
    fresh.b.link = SerialLink::new(config(fresh.cable.name(End::B), 1), Token(8));
    fresh.cable.say(End::A, frame.as_bytes());
    pass(Duration::from_millis(40));
    assert_eq!(fresh.b.turn(now()), Some(LinkChange::Opened));
    fresh.a.say(b"now");
    assert_eq!(fresh.b.take_bytes(), [b"now"]);
}
