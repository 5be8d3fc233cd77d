//! A null-modem cable made of two pseudo terminals and a thread that carries bytes between them,
//! with everything that can be wrong with one.
//!
//! Each end has a stable name, a link to its terminal, as udev makes one: an adapter that is pulled
//! out and put back comes back under another number, and the name follows it.
#![allow(dead_code, reason = "each test binary uses a part of the cable")]

use std::collections::VecDeque;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, ttyname, write};

/// How often a quiet cable is looked at.
const PAUSE_MS: u16 = 4;

/// One end of a cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The first.
    A,
    /// The other.
    B,
}

impl End {
    fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// The cable. It ends with this value.
pub struct Cable {
    state: Arc<Mutex<State>>,
    names: [PathBuf; 2],
    over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

struct State {
    ends: [Option<Plug>; 2],
    /// By the end that it begins at.
    ways: [Way; 2],
    dice: u64,
}

/// An adapter that is plugged in.
struct Plug {
    master: OwnedFd,
    /// Held, so that the line does not hang up when a daemon closes it.
    slave: OwnedFd,
}

/// One direction.
#[derive(Default)]
struct Way {
    cut: bool,
    delay: Duration,
    /// How many of a thousand bytes arrive damaged, and how many get lost.
    damaged: u64,
    lost: u64,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    carried: u64,
}

impl Cable {
    /// A cable whose ends have these names, both plugged in.
    pub fn lay(a: &Path, b: &Path) -> Self {
        let ends = [a, b].map(|name| Some(Plug::insert(name)));
        let state = State { ends, ways: Default::default(), dice: 0x7461_6e64_656d };
        let state = Arc::new(Mutex::new(state));
        let over = Arc::new(AtomicBool::new(false));
        let (carried, ended) = (Arc::clone(&state), Arc::clone(&over));
        let carrier = thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                carry(&carried);
            }
        });
        Self { state, names: [a, b].map(Path::to_owned), over, carrier: Some(carrier) }
    }

    /// The name of an end: what a configuration calls its device.
    pub fn name(&self, end: End) -> &Path {
        &self.names[end.index()]
    }

    /// Nothing that is said at `from` arrives any more; or everything does again.
    pub fn set_cut(&self, from: End, cut: bool) {
        self.lock().ways[from.index()].cut = cut;
    }

    /// The cable is pulled out of its sockets, or put back: both ways at once.
    pub fn set_pulled(&self, pulled: bool) {
        let mut state = self.lock();
        state.ways.iter_mut().for_each(|way| way.cut = pulled);
    }

    /// What is said at `from` arrives so much later.
    pub fn set_delay(&self, from: End, delay: Duration) {
        self.lock().ways[from.index()].delay = delay;
    }

    /// Of a thousand bytes said at `from`, so many arrive damaged and so many get lost.
    pub fn set_noise(&self, from: End, damaged: u64, lost: u64) {
        let mut state = self.lock();
        let way = &mut state.ways[from.index()];
        (way.damaged, way.lost) = (damaged, lost);
    }

    /// Something else speaks: these bytes arrive at the other end of `from`.
    pub fn say(&self, from: End, bytes: &[u8]) {
        let mut state = self.lock();
        state.ways[from.index()].waiting.push_back((Instant::now(), bytes.to_vec()));
    }

    /// How many bytes said at `from` have arrived.
    pub fn carried(&self, from: End) -> u64 {
        self.lock().ways[from.index()].carried
    }

    /// The adapter of this end is pulled out of the machine: its device is gone.
    pub fn pull_adapter(&self, end: End) {
        drop(fs::remove_file(self.name(end)));
        self.lock().ends[end.index()] = None;
        // Until the carrier has let go of it.
        thread::sleep(Duration::from_millis(u64::from(PAUSE_MS) * 4));
    }

    /// It is back, under another number and the same name.
    pub fn insert_adapter(&self, end: End) {
        // Something takes the old number first.
        let other = openpty(None, None).unwrap();
        let plug = Plug::insert(self.name(end));
        drop(other);
        self.lock().ends[end.index()] = Some(plug);
    }

    /// The number of the terminal at this end.
    pub fn terminal(&self, end: End) -> PathBuf {
        fs::read_link(self.name(end)).unwrap()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(carrier) = self.carrier.take() {
            drop(carrier.join());
        }
        for name in &self.names {
            drop(fs::remove_file(name));
        }
    }
}

impl Plug {
    fn insert(name: &Path) -> Self {
        let pair = openpty(None, None).unwrap();
        // Until a daemon sets it, nothing may be echoed.
        let mut termios = tcgetattr(&pair.slave).unwrap();
        cfmakeraw(&mut termios);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &termios).unwrap();
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        for end in [&pair.master, &pair.slave] {
            fcntl(end, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).unwrap();
        }
        drop(fs::remove_file(name));
        symlink(ttyname(&pair.slave).unwrap(), name).unwrap();
        Self { master: pair.master, slave: pair.slave }
    }
}

/// Carries what there is, both ways, and waits a moment for more.
fn carry(state: &Mutex<State>) {
    let masters: Vec<OwnedFd> = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.carry();
        let ends = state.ends.iter().flatten();
        ends.filter_map(|plug| plug.master.try_clone().ok()).collect()
    };
    let mut watched: Vec<PollFd<'_>> =
        masters.iter().map(|master| PollFd::new(master.as_fd(), PollFlags::POLLIN)).collect();
    let _ready_or_not = poll(&mut watched, PollTimeout::from(PAUSE_MS));
}

impl State {
    fn carry(&mut self) {
        let now = Instant::now();
        for from in 0..2 {
            let mut buffer = [0; 512];
            let heard = match &self.ends[from] {
                Some(plug) => read(&plug.master, &mut buffer).unwrap_or(0),
                None => 0,
            };
            let bytes = self.spoil(from, &buffer[..heard]);
            let way = &mut self.ways[from];
            if !bytes.is_empty() {
                way.waiting.push_back((now + way.delay, bytes));
            }
            while way.waiting.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, bytes)) = way.waiting.pop_front() else { break };
                if let Some(plug) = self.ends[1 - from].as_ref().filter(|_| !way.cut) {
                    let taken = write(&plug.master, &bytes).unwrap_or(0);
                    way.carried += u64::try_from(taken).unwrap();
                }
            }
        }
    }

    fn spoil(&mut self, from: usize, bytes: &[u8]) -> Vec<u8> {
        let (damaged, lost) = (self.ways[from].damaged, self.ways[from].lost);
        let mut spoilt = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.roll() < lost {
                continue;
            }
            let flip = if self.roll() < damaged { 1 << (self.roll() % 8) } else { 0 };
            spoilt.push(byte ^ flip);
        }
        spoilt
    }

    /// A number below a thousand (xorshift64).
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % 1000
    }
}
