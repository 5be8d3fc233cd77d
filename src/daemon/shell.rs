//! The loop: one thread, one poll, everything that happens in a fixed order.
//!
//! ```text
//!   sleep until the next deadline ─► read the clock once ─► late? tell the engine first
//!      ▲                                                          │
//!      │                                                          ▼
//!   tick, if due ◄── devices, files ◄── service side ◄── links (drained before silence is judged)
//! ```
//!
//! One input goes into the engine at a time, and all its effects are carried out ([`super::carry`])
//! before the next. Each source gives a bounded share per turn; what is left keeps the loop awake.

use core::time::Duration;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;

use mio::event::Source as _;
use mio::net::UnixStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::clock_watch::ClockWatch;
use super::flood::Floods;
use super::hearing;
use super::inspection::Inspection;
use super::journal::Journal;
use super::keys::Codec;
use super::record::RecordWriter;
use super::status::SeenClaim;
use super::words::WordWriter;
use super::wrong_key::WrongKeys;
use super::{Failure, Life, or_nothing};
use crate::config::Plan;
use crate::engine::settings::{Record, Remembered};
use crate::engine::{Effects, Input, Node, RequestId};
use crate::flight::Header;
use crate::io::control::{ConnectionId, ControlConfig, ControlServer, Incoming};
use crate::io::fence::FencePool;
use crate::io::flight::{Bounds, Change, Recorder};
use crate::io::link::{self, Link, LinkChange};
use crate::io::machine;
use crate::io::network::{self, Marks, Network, Occurrence};
use crate::io::probe::Identity;
use crate::io::pulse::{Beat, Pulses};
use crate::io::state_files::StateFiles;
use crate::io::word_file;
use crate::sys::clock;
use crate::sys::timer::DeadlineTimer;
use crate::types::heartbeat::{LINKS_MAX, NICS_MAX};
use crate::types::{Instant, LinkId, Mac, NicId, OpId};
use crate::wire::control::EventLevel;
use crate::wire::heartbeat::ClusterId;

/// The most inputs that wait for the engine at a time: one turn's share of every source. Further
/// ones stay where they are until the next turn.
pub(super) const INBOX_MAX: usize = 4096;
/// The most readiness events taken from the poll at a time.
const EVENTS_MAX: usize = 256;
/// How many turns in a row links and claims may keep the engine from judging silence: more is a
/// flood, and a flood must not keep a dead peer alive.
const FLOODED_TURNS_MAX: u32 = 16;

const TIMER: Token = Token(0);
const SIGNALS: Token = Token(1);
const RECORD: Token = Token(2);
const INSPECTION: Token = Token(3);
const WORDS: Token = Token(4);
const LINKS: usize = 16;
const CONTROL: usize = LINKS + LINKS_MAX;
const FENCE: usize = CONTROL + ControlServer::TOKENS;
const NETWORK: usize = FENCE + crate::io::fence::TOKENS;
const PULSES: usize = NETWORK + network::TOKENS;

/// An operator's request that waits for the engine's answer.
pub(super) struct Asked {
    pub(super) request: RequestId,
    pub(super) connection: ConnectionId,
    /// What was asked and by whom, for the record.
    pub(super) words: String,
}

/// The daemon at work.
pub(super) struct Shell {
    pub(super) plan: Plan,
    pub(super) node: Node,
    pub(super) effects: Effects,
    pub(super) inbox: VecDeque<Input>,
    /// The moment of this turn.
    pub(super) now: Instant,
    pub(super) started: Instant,
    pub(super) poll: Poll,
    timer: DeadlineTimer,
    watch: ClockWatch,
    signals: UnixStream,
    pub(super) links: Vec<Link>,
    /// Links that may have more to give, one bit each.
    pub(super) links_waiting: u32,
    /// How late the loop was when it woke, as long as links wait that may have older messages.
    pub(super) late_by: Duration,
    flooded_turns: u32,
    pub(super) codec: Codec,
    pub(super) wrong_keys: WrongKeys,
    pub(super) floods: Floods,
    pub(super) network: Network,
    pub(super) pulses: Pulses,
    pub(super) fences: FencePool,
    pub(super) control: ControlServer,
    /// Operators' requests that the engine has not answered yet.
    pub(super) asked: VecDeque<Asked>,
    pub(super) last_request: u64,
    pub(super) files: StateFiles,
    pub(super) records: RecordWriter,
    pub(super) words: WordWriter,
    inspection: Inspection,
    /// Records to be written once nothing else waits.
    pub(super) stores: VecDeque<(OpId, Record)>,
    recorder: Recorder,
    pub(super) journal: Journal,
    pub(super) claims: Vec<SeenClaim>,
    pub(super) over: bool,
    /// Held for as long as the daemon lives.
    _life: Life,
}

impl Shell {
    /// Opens everything and gives the engine its first inputs.
    pub(super) fn open(plan: Plan, life: Life) -> Result<Self, Failure> {
        let now = clock::now();
        let poll = Poll::new().map_err(|error| Failure::io("make the poll", error))?;
        let registry = poll.registry();
        let timer = DeadlineTimer::new().map_err(|error| Failure::io("make a timer", error))?;
        registry
            .register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)
            .map_err(|error| Failure::io("watch the timer", error))?;
        let signals = catch_signals(&poll)?;
        let codec = Codec::new(&plan).map_err(|error| Failure::Other(error.to_string()))?;
        let network = open_network(&plan, &life, &codec, &poll, now)?;
        let control_config =
            ControlConfig { path: plan.runtime.control_socket.clone(), readers: None };
        let control = ControlServer::open(&control_config, registry, Token(CONTROL), now)
            .map_err(Failure::Control)?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::io("find this program's own file", error))?;
        let mut settings = plan.engine_settings(life.boot, life.incarnation, macs(&network));
        settings.machine = machine::identity();
        // Asking the kernel may have taken its time: that is no stall of the loop.
        let now = clock::now();
        let header = flight_header(&plan, &life, now);
        let directory = &plan.runtime.runtime_dir;
        let recorder = Recorder::begin(directory, Bounds::default(), header, &settings);
        recorder.write_on_panic();
        let mut shell = Self {
            node: Node::new(settings, now),
            effects: Effects::new(),
            inbox: VecDeque::with_capacity(64),
            now,
            started: now,
            timer,
            watch: ClockWatch::default(),
            signals,
            links: open_links(&plan),
            links_waiting: 0,
            late_by: Duration::ZERO,
            flooded_turns: 0,
            codec,
            wrong_keys: hearing::watch_keys(&plan),
            floods: Floods::new(plan.links.len()),
            network,
            pulses: open_pulses(&plan),
            fences: FencePool::new(FENCE),
            control,
            asked: VecDeque::new(),
            last_request: 0,
            files: life.files.clone(),
            stores: VecDeque::new(),
            words: WordWriter::new(
                program.clone(),
                plan.runtime.state_dir.join(word_file::NAME),
                WORDS,
            ),
            records: RecordWriter::new(program, life.files.record_path(), RECORD),
            inspection: Inspection::begin(poll.registry(), INSPECTION, now, &plan.devices),
            recorder,
            journal: Journal::new(plan.names.clone()),
            claims: Vec::new(),
            over: false,
            plan,
            poll,
            _life: life,
        };
        shell.begin()?;
        Ok(shell)
    }

    /// What an earlier life left, and how the NICs are: the engine's first inputs.
    fn begin(&mut self) -> Result<(), Failure> {
        let name = self.plan.names.node(self.plan.local);
        log::info!(
            "tandem {} starts as node {name} of {}",
            env!("CARGO_PKG_VERSION"),
            self.plan.cluster
        );
        let mark = match self.files.read_mark() {
            Ok(mark) => mark,
            Err(damage) => {
                log::warn!("the mark of an earlier life {damage}: nothing is adopted");
                // It must not be read by a later daemon, after this one promised something.
                self.files
                    .remove_mark()
                    .map_err(|error| Failure::io("remove the mark of an earlier life", error))?;
                None
            }
        };
        let remembered = Remembered {
            mark,
            record: or_nothing("record", self.files.read_record()).unwrap_or_default(),
            leftovers: !self.network.leftovers().is_empty(),
        };
        self.tend_links();
        self.keep_sessions();
        self.feed(Input::Start(remembered));
        self.take_occurrences();
        Ok(())
    }

    /// Runs until the engine has ended.
    ///
    /// # Errors
    /// If the poll itself fails: nothing can be done without it.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.over {
            self.flush_recorder();
            self.sleep(&mut events)?;
            self.now = clock::now();
            if let Some(late_by) = self.watch.wake(self.now) {
                self.late_by = self.late_by.max(late_by);
                self.feed(Input::Stalled { late_by });
            }
            let mut incoming = Vec::new();
            for event in &events {
                self.note_ready(event.token(), &mut incoming);
            }
            self.turn(incoming);
        }
        self.write_records();
        self.flush_recorder();
        self.close_sessions(&mut events);
        Ok(())
    }

    /// Nothing that was decided may be unrecorded while the loop sleeps.
    fn flush_recorder(&mut self) {
        self.recorder.flush(self.now);
        let (level, text) = match self.recorder.take_change() {
            None => return,
            Some(Change::Failed(why)) => {
                let text = format!("flight recorder: nothing is recorded: {why}");
                (EventLevel::Warning, text)
            }
            Some(Change::Resumed) => {
                (EventLevel::Info, "flight recorder: records again".to_owned())
            }
        };
        self.tell(level, "recorder", "", text);
    }

    fn sleep(&mut self, events: &mut Events) -> Result<(), Failure> {
        let engine = self.node.next_deadline();
        let others = self.next_deadline_of_hands();
        let wake_at = [engine, others].into_iter().flatten().min();
        let must_turn = self.has_unheard() || !self.stores.is_empty();
        // Only the engine's own deadlines measure how late the loop is; while what is unheard keeps
        // it from being told the time, what is late already is not counted again.
        let wanted = engine.map(|at| if must_turn { at.max(self.now) } else { at });
        self.watch.sleep_until(wanted);
        let timeout = if must_turn || wake_at.is_some_and(|at| at <= self.now) {
            Some(Duration::ZERO)
        } else {
            None
        };
        self.timer.set(wake_at).map_err(|error| Failure::io("set the timer", error))?;
        match self.poll.poll(events, timeout) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Failure::io("poll", error)),
        }
    }

    fn next_deadline_of_hands(&mut self) -> Option<Instant> {
        let links = self.links.iter().filter_map(Link::next_deadline).min();
        [
            links,
            self.network.next_deadline(),
            self.fences.next_deadline(),
            self.records.next_deadline(),
            self.words.next_deadline(self.now),
            self.inspection.next_deadline(),
            self.control.next_deadline(),
            self.floods.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn note_ready(&mut self, token: Token, incoming: &mut Vec<Incoming>) {
        let (registry, now) = (self.poll.registry(), self.now);
        match token {
            TIMER => {
                if let Err(error) = self.timer.clear() {
                    log::error!("cannot read the timer: {error}");
                }
            }
            SIGNALS => self.take_signals(),
            RECORD => self.records.ready(registry, token),
            WORDS => self.words.ready(registry),
            INSPECTION => self.inspection.ready(registry),
            Token(link) if (LINKS..CONTROL).contains(&link) => {
                self.links_waiting |= 1u32 << (link - LINKS);
            }
            token if self.control.owns(token) => self.control.ready(token, now, incoming),
            token if self.fences.tokens().contains(&token.0) => {
                self.fences.ready(registry, now, token);
            }
            token => {
                let _is_ours = self.network.ready(token) || self.pulses.ready(token);
            }
        }
    }

    /// One turn: every source in order, then time.
    fn turn(&mut self, mut incoming: Vec<Incoming>) {
        let began = self.now;
        self.tend_links();
        self.drain_links();
        self.judge_hearing();
        self.feel_pulses();
        self.network.turn(self.now);
        self.take_occurrences();
        self.fences.expire(self.poll.registry(), self.now);
        self.take_readings();
        self.tell_weaknesses();
        self.records.expire(self.poll.registry(), self.now);
        self.inspection.expire(self.poll.registry(), self.now);
        self.words.turn(self.poll.registry(), self.now);
        self.write_records();
        while let Some((op, outcome)) = self.records.take_done() {
            self.feed(Input::Done { op, outcome });
        }
        self.control.expire(self.now, &mut incoming);
        for request in incoming {
            self.answer(request);
        }
        let drained = !self.has_unheard();
        self.flooded_turns = if drained { 0 } else { self.flooded_turns.saturating_add(1) };
        // Where this turn has taken its time, the links may have more by now: the next turn drains
        // them, measures how late it is, and judges then.
        let may_judge = self.now == began && (drained || self.flooded_turns > FLOODED_TURNS_MAX);
        // What is due already is wanted just after the last input, which may be of this turn.
        let until = self.now + Duration::from_nanos(1);
        if may_judge && self.node.next_deadline().is_some_and(|at| at <= until) {
            self.feed(Input::Tick);
        }
        self.take_occurrences();
    }

    /// Gives one input to the engine and carries everything out that follows, inputs that the
    /// effects bring at once included.
    pub(super) fn feed(&mut self, input: Input) {
        self.inbox.push_back(input);
        self.run_inbox();
    }

    pub(super) fn run_inbox(&mut self) {
        while let Some(input) = self.inbox.pop_front() {
            self.recorder.note(&self.node, self.now, &input);
            self.node.step(self.now, input, &mut self.effects);
            while let Some(effect) = self.effects.take_next() {
                self.carry(effect);
            }
        }
    }

    fn write_records(&mut self) {
        while let Some((op, record)) = self.stores.pop_front() {
            self.records.write(self.poll.registry(), self.now, op, &record);
        }
    }

    /// Opens what is not open and sends what has waited.
    fn tend_links(&mut self) {
        let now = self.now;
        for index in 0..self.links.len() {
            let Some(link) = self.links.get_mut(index) else { continue };
            if link.next_deadline().is_some_and(|at| at <= now) {
                let change = link.turn(self.poll.registry(), now);
                self.tell_link_change(index, change);
            }
        }
    }

    pub(super) fn take_occurrences(&mut self) {
        while let Some(occurrence) = self.network.next_occurrence() {
            if let Occurrence::Done { .. } = occurrence {
                // What the kernel was asked for has taken its time, and that is told.
                self.now = clock::now();
            }
            if let Occurrence::Claim { vip, mac } = occurrence {
                self.claims.retain(|claim| claim.vip != vip);
                self.claims.push(SeenClaim { vip, mac, at: self.now });
            }
            self.feed(occurrence.into_input(self.now));
        }
    }

    /// Takes in what the peers' kernels have answered.
    fn feel_pulses(&mut self) {
        let (now, inbox) = (self.now, &mut self.inbox);
        self.pulses.turn(now, |Beat { link, node }| {
            inbox.push_back(Input::KernelAnswered { link, node, at: now });
        });
        self.run_inbox();
    }

    fn take_readings(&mut self) {
        while let Some((device, machine)) = self.fences.take_identity() {
            self.feed(Input::Identity { device, machine });
        }
        while let Some((op, reading)) = self.fences.take_completed() {
            self.feed(Input::Reading { op, reading });
        }
    }

    fn take_signals(&mut self) {
        let mut buffer = [0u8; 64];
        let mut caught = false;
        while self.signals.read(&mut buffer).is_ok_and(|count| count > 0) {
            caught = true;
        }
        if caught {
            log::info!("told to stop");
            self.feed(Input::Stop);
        }
    }

    pub(super) fn tell_link_change(&mut self, index: usize, change: Option<LinkChange>) {
        let Some(change) = change else { return };
        let names = &self.plan.names;
        let link = u8::try_from(index).map_or("?", |id| names.link(LinkId(id))).to_owned();
        let place = self.links.get(index).map(Link::place).unwrap_or_default();
        let (level, text) = match change {
            LinkChange::Opened => (EventLevel::Info, format!("link {link}: {place} is open")),
            LinkChange::OpenFailed(error) => {
                (EventLevel::Warning, format!("link {link}: {place}: {error}"))
            }
            LinkChange::Gone => (EventLevel::Warning, format!("link {link}: {place} is gone")),
            LinkChange::SendFails { to, errno } => {
                let why = link::send_failure(errno);
                let text = format!("link {link}: cannot send to {}: {why}", names.node(to));
                (EventLevel::Warning, text)
            }
            LinkChange::SendWorks { to } => {
                (EventLevel::Info, format!("link {link}: sends to {} again", names.node(to)))
            }
        };
        self.tell(level, "link-socket", &link, text);
    }

    /// Tells something that the shell itself has noticed.
    pub(super) fn tell(&mut self, level: EventLevel, kind: &str, subject: &str, text: String) {
        if let Some(line) = self.journal.tell(self.now, level, kind, subject, text) {
            self.control.broadcast_event(line);
        }
    }
}

fn open_links(plan: &Plan) -> Vec<Link> {
    let links = plan.links.iter().enumerate();
    links
        .map(|(index, link)| {
            hearing::guard(Link::new(&link.transport, Token(LINKS + index)), plan.cluster_id)
        })
        .collect()
}

fn open_pulses(plan: &Plan) -> Pulses {
    match plan.timing.dead_host_time {
        Some(_) => Pulses::new(plan.links.iter().map(|link| &link.transport), PULSES),
        None => Pulses::none(),
    }
}

fn flight_header(plan: &Plan, life: &Life, now: Instant) -> Header {
    Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: plan.cluster.clone(),
        local: plan.local,
        names: plan.names.clone(),
        boot: life.boot,
        incarnation: life.incarnation,
        part: 0,
        follows: false,
        at: now,
        wall_unix_ms: clock::wall_unix_ms(),
    }
}

fn open_network(
    plan: &Plan,
    life: &Life,
    codec: &Codec,
    poll: &Poll,
    now: Instant,
) -> Result<Network, Failure> {
    let node = Identity {
        local: plan.local,
        peers: plan.nodes.iter().copied().filter(|node| *node != plan.local).collect(),
        cluster: ClusterId(plan.cluster_id),
        incarnation: life.incarnation,
        keys: codec.keys(),
    };
    let ping = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    let marks = Marks { ping, node: Rc::new(node) };
    let registry = poll.registry();
    Network::open(&plan.nics, &plan.vips, None, &marks, registry, Token(NETWORK), now)
        .map_err(|error| Failure::io("ask the kernel for its addresses", error))
}

fn macs(network: &Network) -> [Mac; NICS_MAX] {
    let mut macs = [Mac::NONE; NICS_MAX];
    for (place, nic) in macs.iter_mut().zip(0u8..) {
        *place = network.mac(NicId(nic)).unwrap_or(Mac::NONE);
    }
    macs
}

/// SIGTERM and SIGINT as bytes to read.
fn catch_signals(poll: &Poll) -> Result<UnixStream, Failure> {
    let failed = |error| Failure::io("catch signals", error);
    let (ours, theirs) = StdStream::pair().map_err(failed)?;
    for signal in [SIGTERM, SIGINT] {
        let writer = theirs.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, writer).map_err(failed)?;
    }
    ours.set_nonblocking(true).map_err(failed)?;
    let mut ours = UnixStream::from_std(ours);
    ours.register(poll.registry(), SIGNALS, Interest::READABLE).map_err(failed)?;
    Ok(ours)
}

const _: () = assert!(PULSES + LINKS_MAX < usize::MAX, "tokens do not overlap");
