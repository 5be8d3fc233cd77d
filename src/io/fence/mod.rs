//! The fence devices' executors: every order that is under way, each with its own socket or child.
//!
//! Takes orders, answers each exactly once, and cleans up behind the answer (closes the BMC's
//! session, reaps the agent). It decides nothing: not when to fence, not what an answer means.
//!
//! A check is only there to know that a device works: any other order to the same device overtakes
//! it, and a check of a device that is busy is not begun. Both are answered `Cancelled`.
//!
//! To each BMC one session is kept between the orders, if the pool is told to
//! ([`FencePool::keep_sessions`]), so that an order is a single packet. `line` says when such a
//! session is asked whether it lives and when another one is opened; `ipmi` what becomes of an
//! order whose session does not answer.

mod agent;
pub mod asking;
mod conn;
mod ipmi;
mod line;
mod redfish;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;

use mio::{Registry, Token};

use self::agent::{Agent, AgentOrder};
use self::conn::Conn;
use self::ipmi::IpmiOrder;
pub use self::line::SessionView;
use self::line::{ALIVE_TIMEOUT, Line};
pub use self::redfish::COMMAND as REDFISH_COMMAND;
use self::redfish::RedfishOrder;
use self::told::{Told, log_verdict};
use crate::config::device::{Device, DeviceKind, Suite};
use crate::types::{DeviceId, FenceFault, Instant, OpId, Power};
use crate::wire::ipmi::{CipherSuite, Weakness};
use crate::wire::redfish::relay::Hint;

/// The most orders under way, those included that are answered and only clean up. When it is
/// reached, the oldest of these is dropped; if there is none, an order is answered `Cancelled`.
pub const ORDERS_MAX: usize = 64;
/// The most sessions that are only closed yet. When it is reached, the oldest is dropped: the BMC
/// forgets it by itself.
const LEAVING_MAX: usize = 32;
/// The most BMCs to which a session is kept; orders to further ones open one each.
const LINES_MAX: usize = 32;
/// How many tokens a pool needs: two for each order, one for each session kept or closed.
pub const TOKENS: usize = 2 * ORDERS_MAX + LINES_MAX + LEAVING_MAX;

/// What a device is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Cut the power. Acknowledged is [`Power::Unknown`]; only a reading proves it.
    Off,
    /// Restore the power. Acknowledged is [`Power::Unknown`].
    On,
    /// Tell the power, as part of a fence.
    Read,
    /// Tell the power, only to know that the device works.
    Check,
}

impl Order {
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Read => "read",
            Self::Check => "check",
        }
    }
}

/// One order, as it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job {
    /// For the answer.
    pub op: OpId,
    /// The device's number.
    pub device: DeviceId,
    /// What it is to do.
    pub order: Order,
    /// When the answer must be there.
    pub deadline: Instant,
}

/// What a device said, and what it said besides, for the log.
struct Verdict {
    reading: Result<Power, FenceFault>,
    reason: String,
}

impl Verdict {
    /// The reading; if it is none, with what the network said last.
    fn of(reading: Result<Power, FenceFault>, trouble: Option<&std::io::Error>) -> Self {
        let trouble = trouble.filter(|_| reading.is_err());
        Self { reading, reason: trouble.map(ToString::to_string).unwrap_or_default() }
    }
}

impl From<Result<Power, FenceFault>> for Verdict {
    fn from(reading: Result<Power, FenceFault>) -> Self {
        Self { reading, reason: String::new() }
    }
}

/// One way to carry out an order: never blocks, gives one verdict.
trait Executor {
    /// Whether the token is one of its descriptors'.
    fn owns(&self, token: Token) -> bool;
    fn ready(&mut self, registry: &Registry, now: Instant, token: Token);
    fn expire(&mut self, registry: &Registry, now: Instant);
    fn cancel(&mut self, registry: &Registry, now: Instant);
    fn next_deadline(&self) -> Option<Instant>;
    fn take_verdict(&mut self) -> Option<Verdict>;
    /// Nothing is left to do, neither for the order nor behind it.
    fn is_over(&self) -> bool;
    /// The suite a BMC agreed to and the GUID it proved to have.
    fn learned(&self) -> Learned {
        Learned::default()
    }
    /// What a Redfish child learned of its BMC.
    fn hint(&self) -> Option<Hint> {
        None
    }
    /// What is left behind the verdict, for whoever goes on with it.
    fn take_remains(&mut self) -> Remains {
        Remains::default()
    }
}

#[derive(Clone, Copy, Default)]
struct Learned {
    suite: Option<CipherSuite>,
    guid: Option<[u8; 16]>,
}

/// The sessions that an order leaves.
#[derive(Default)]
struct Remains {
    /// One that is open, for the next order.
    kept: Option<Conn>,
    /// Those that are being closed.
    leaving: Vec<Conn>,
}

struct Running {
    /// Nothing if the pool gave the order itself: nobody waits for an answer.
    op: Option<OpId>,
    device: DeviceId,
    name: String,
    order: Order,
    is_answered: bool,
    /// The token of the session that was kept when it began.
    kept: Option<Token>,
    executor: Box<dyn Executor>,
}

/// All orders under way.
pub struct FencePool {
    base: usize,
    /// By slot; the latest that were given may have any.
    running: BTreeMap<usize, Running>,
    completed: VecDeque<(OpId, Result<Power, FenceFault>)>,
    /// The BMCs that orders were given to.
    lines: BTreeMap<DeviceId, Line>,
    /// Sessions that are being closed, the oldest first.
    leaving: VecDeque<Conn>,
    /// From when on sessions are kept; nothing if none are.
    keep_from: Option<Instant>,
    /// The devices that acknowledged their last `off`, and were not told to switch since.
    obeyed: BTreeSet<DeviceId>,
    hints: BTreeMap<DeviceId, Hint>,
    /// What Redfish children run: this program.
    program: PathBuf,
    told: Told,
    weaknesses: VecDeque<(DeviceId, Weakness)>,
}

impl FencePool {
    /// A pool that registers its descriptors with the [`TOKENS`] tokens from `base` on.
    pub fn new(base: usize) -> Self {
        Self {
            base,
            running: BTreeMap::new(),
            completed: VecDeque::new(),
            lines: BTreeMap::new(),
            leaving: VecDeque::new(),
            keep_from: None,
            obeyed: BTreeSet::new(),
            hints: BTreeMap::new(),
            // Whatever an upgrade puts into its place meanwhile, it is the program that runs here.
            program: PathBuf::from("/proc/self/exe"),
            told: Told::default(),
            weaknesses: VecDeque::new(),
        }
    }

    /// From the moment `from` on, a session to each BMC is kept that orders were given to.
    pub fn keep_sessions(&mut self, from: Instant) {
        self.keep_from = Some(from);
    }

    /// Gives everything up, closes all sessions that are kept, and keeps none from now on. It is
    /// done when the pool [`Self::is_idle`].
    pub fn close_sessions(&mut self, registry: &Registry, now: Instant) {
        self.keep_from = None;
        self.cancel_where(registry, now, |_| true);
        let lines = self.lines.values_mut();
        let conns: Vec<Conn> = lines.filter_map(|line| line.take_conn(now)).collect();
        for mut conn in conns {
            conn.close(registry, now);
            self.leave(conn);
        }
    }

    /// Has `program` run the Redfish children, instead of this one.
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// The tokens that are this pool's.
    pub fn tokens(&self) -> Range<usize> {
        self.base..self.base.saturating_add(TOKENS)
    }

    /// Begins `job` on `device`, which is what its number stands for. It is answered by its
    /// deadline, once, also if it cannot be begun: see [`Self::take_completed`].
    pub fn start(&mut self, registry: &Registry, now: Instant, job: Job, device: &Device) {
        let Job { op, device: id, order, .. } = job;
        if order == Order::Check && self.is_busy(id) {
            self.completed.push_back((op, Err(FenceFault::Cancelled)));
            return;
        }
        self.cancel_where(registry, now, |running| {
            running.device == id && running.order == Order::Check
        });
        self.begin(registry, now, job, Some(op), device);
    }

    /// Begins an order, of the engine's or of the pool's own.
    fn begin(
        &mut self,
        registry: &Registry,
        now: Instant,
        job: Job,
        op: Option<OpId>,
        device: &Device,
    ) {
        let Job { device: id, order, .. } = job;
        let Some(slot) = self.free_slot() else {
            log::error!("fence: more than {ORDERS_MAX} orders at once");
            self.completed.extend(op.map(|op| (op, Err(FenceFault::Cancelled))));
            return;
        };
        if matches!(order, Order::Off | Order::On) {
            self.obeyed.remove(&id);
        }
        let kept = self.lines.get(&id).and_then(|line| line.conn.as_ref()).map(|conn| conn.token);
        match self.executor(registry, now, job, device) {
            Ok(executor) => {
                let name = device.name.clone();
                let is_answered = false;
                let running = Running { op, device: id, name, order, is_answered, kept, executor };
                self.running.insert(slot, running);
                self.settle(registry, now, slot);
            }
            Err(verdict) => {
                let level = self.told.level(id, order, &verdict);
                log_verdict(level, &device.name, order, &verdict);
                self.completed.extend(op.map(|op| (op, verdict.reading)));
            }
        }
    }

    /// Gives an order up: answers it `Cancelled` if it is not answered yet.
    pub fn cancel(&mut self, registry: &Registry, now: Instant, op: OpId) {
        self.cancel_where(registry, now, |running| running.op == Some(op));
    }

    /// One of the pool's tokens is ready. A token that is no order's (any more) is ignored.
    pub fn ready(&mut self, registry: &Registry, now: Instant, token: Token) {
        let mut running = self.running.iter_mut();
        if let Some((slot, running)) = running.find(|(_, running)| running.executor.owns(token)) {
            let slot = *slot;
            running.executor.ready(registry, now, token);
            self.settle(registry, now, slot);
            return;
        }
        for (id, line) in &mut self.lines {
            let Some(conn) = line.conn.as_mut().filter(|conn| conn.token == token) else {
                continue;
            };
            conn.receive(registry, now);
            let id = *id;
            self.learn_facts(id);
            return;
        }
        if let Some(conn) = self.leaving.iter_mut().find(|conn| conn.token == token) {
            conn.receive(registry, now);
        }
        self.leaving.retain(|conn| !conn.client.is_idle());
    }

    /// The moment at which [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let running = self.running.values().filter_map(|it| it.executor.next_deadline());
        let leaving = self.leaving.iter().filter_map(|conn| conn.client.next_deadline());
        let kept = self.lines.values().filter_map(|line| line.conn.as_ref());
        let kept = kept.filter_map(|conn| conn.client.next_deadline());
        let orders = self.lines.iter().filter_map(|(id, line)| {
            let at = line.order_at().filter(|_| self.keep_from.is_some())?;
            (!self.has_order(*id)).then_some(at)
        });
        running.chain(leaving).chain(kept).chain(orders).min()
    }

    /// Does what has come due. The caller has handed in all readiness before.
    pub fn expire(&mut self, registry: &Registry, now: Instant) {
        // It is called in every turn, which must not allocate.
        if self.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        let slots: Vec<usize> = self.running.keys().copied().collect();
        for slot in slots {
            let Some(running) = self.running.get_mut(&slot) else { continue };
            if running.executor.next_deadline().is_some_and(|deadline| deadline <= now) {
                running.executor.expire(registry, now);
                self.settle(registry, now, slot);
            }
        }
        let ids: Vec<DeviceId> = self.lines.keys().copied().collect();
        for id in ids {
            if let Some(conn) = self.lines.get_mut(&id).and_then(|line| line.conn.as_mut()) {
                conn.expire(registry, now);
                self.learn_facts(id);
            }
        }
        for conn in &mut self.leaving {
            conn.expire(registry, now);
        }
        self.leaving.retain(|conn| !conn.client.is_idle());
        self.keep_alive(registry, now);
    }

    /// Takes over what a BMC has said of itself since.
    fn learn_facts(&mut self, id: DeviceId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if line.learn_facts() {
            self.weaknesses.extend(line.take_untold().into_iter().map(|it| (id, it)));
        }
    }

    /// Asks the sessions that were not heard of for long, and opens those that were lost.
    fn keep_alive(&mut self, registry: &Registry, now: Instant) {
        if self.keep_from.is_none() {
            return;
        }
        let due = self.lines.iter().filter(|(id, line)| {
            line.order_at().is_some_and(|at| at <= now) && !self.has_order(**id)
        });
        let due: Vec<_> = due.map(|(id, line)| (*id, line.device.clone())).collect();
        for (device, config) in due {
            if let Some(line) = self.lines.get_mut(&device) {
                // Whatever becomes of this order, the next one is not due at once.
                line.postpone(now);
            }
            let deadline = now + ALIVE_TIMEOUT;
            let job = Job { op: OpId(0), device, order: Order::Check, deadline };
            self.begin(registry, now, job, None, &config);
        }
    }

    /// Takes the next answer: exactly one for each order begun.
    pub fn take_completed(&mut self) -> Option<(OpId, Result<Power, FenceFault>)> {
        self.completed.pop_front()
    }

    /// Takes the next thing to tell of how a BMC lets people in; each once.
    pub fn take_weakness(&mut self) -> Option<(DeviceId, Weakness)> {
        self.weaknesses.pop_front()
    }

    /// The GUID of the machine behind a BMC, as it told when it last proved that it knows the
    /// password; nothing for agents, and before the first answer.
    pub fn guid(&self, device: DeviceId) -> Option<[u8; 16]> {
        self.lines.get(&device).and_then(|line| line.guid)
    }

    /// How it stands with the session to a BMC; nothing for agents, and before the first order.
    pub fn session(&self, device: DeviceId) -> Option<SessionView<'_>> {
        self.lines.get(&device).map(Line::view)
    }

    /// Whether nothing is under way, not even cleaning up. Sessions may be kept all the same.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.leaving.is_empty()
    }

    /// Whether somebody waits for the device.
    fn is_busy(&self, id: DeviceId) -> bool {
        let mut orders = self.running.values().filter(|running| running.device == id);
        orders.any(|running| running.op.is_some() && !running.is_answered)
    }

    fn has_order(&self, id: DeviceId) -> bool {
        self.running.values().any(|running| running.device == id && !running.is_answered)
    }

    fn executor(
        &mut self,
        registry: &Registry,
        now: Instant,
        job: Job,
        device: &Device,
    ) -> Result<Box<dyn Executor>, Verdict> {
        let Job { order, deadline, device: id, .. } = job;
        let Some(token) = self.free_token() else {
            let reason = "too many sessions at once".to_owned();
            return Err(Verdict { reading: Err(FenceFault::Cancelled), reason });
        };
        match &device.kind {
            DeviceKind::Ipmi { address, user, password, suite } => {
                let last = self.lines.get(&id).and_then(|line| line.suite);
                let suites = ipmi::suites_to_try(*suite, last);
                let mut client = ipmi::new_client(user, password, &suites)?;
                let has_line = self.lines.contains_key(&id) || self.lines.len() < LINES_MAX;
                if has_line && self.keep_from.is_some_and(|from| from <= now) {
                    client = client.keeping();
                }
                if order == Order::Check && *suite == Suite::Auto && last.is_none() {
                    client = client.listing();
                }
                let fresh = (*address, token, client);
                let mut kept = None;
                if has_line {
                    let lines = self.lines.entry(id);
                    let line = lines.or_insert_with(|| Line::new(device.clone(), now));
                    kept = line.conn.take();
                }
                Ok(Box::new(IpmiOrder::start(registry, now, order, deadline, kept, fresh)))
            }
            DeviceKind::Redfish { .. } => {
                let job = redfish::Job {
                    order,
                    deadline,
                    program: &self.program,
                    kind: &device.kind,
                    hint: self.hints.get(&job.device).cloned(),
                    has_obeyed: self.obeyed.contains(&job.device),
                };
                Ok(Box::new(RedfishOrder::start(registry, now, token, job)?))
            }
            DeviceKind::Agent { program, params, secrets } => {
                let has_obeyed = self.obeyed.contains(&job.device);
                let agent = Agent { program, params, secrets, has_obeyed };
                Ok(Box::new(AgentOrder::start(registry, token, order, deadline, &agent)?))
            }
        }
    }

    fn cancel_where(
        &mut self,
        registry: &Registry,
        now: Instant,
        is_meant: impl Fn(&Running) -> bool,
    ) {
        let slots: Vec<usize> = self
            .running
            .iter()
            .filter(|(_, running)| !running.is_answered && is_meant(running))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in slots {
            if let Some(running) = self.running.get_mut(&slot) {
                running.executor.cancel(registry, now);
                self.settle(registry, now, slot);
            }
        }
    }

    /// Takes the verdict of an order that has one; removes an order with nothing left to do.
    fn settle(&mut self, registry: &Registry, now: Instant, slot: usize) {
        let Some(running) = self.running.get_mut(&slot) else { return };
        let verdict = running.executor.take_verdict();
        let mut remains = running.executor.take_remains();
        let (id, kept_before) = (running.device, running.kept);
        let learned = running.executor.learned();
        if let Some(verdict) = &verdict {
            assert!(!running.is_answered, "an order was answered twice");
            running.is_answered = true;
            let level = self.told.level(id, running.order, verdict);
            log_verdict(level, &running.name, running.order, verdict);
            self.completed.extend(running.op.map(|op| (op, verdict.reading)));
            self.hints.extend(running.executor.hint().map(|hint| (id, hint)));
            if running.order == Order::Off && verdict.reading.is_ok() {
                self.obeyed.insert(id);
            }
        }
        if running.executor.is_over() {
            assert!(running.is_answered, "an order ended without an answer");
            self.running.remove(&slot);
        }
        if let Some(line) = self.lines.get_mut(&id)
            && let Some(verdict) = &verdict
        {
            line.suite = learned.suite.or(line.suite);
            line.guid = learned.guid.or(line.guid);
            // One for each device, though two orders at a time leave two; none once all are closed.
            if line.conn.is_none() && self.keep_from.is_some() {
                let kept = remains.kept.take();
                let is_same = kept.as_ref().map(|conn| conn.token) == kept_before;
                line.note_end(now, verdict.reading, kept, is_same, self.keep_from);
            }
        }
        if let Some(mut surplus) = remains.kept {
            surplus.close(registry, now);
            remains.leaving.push(surplus);
        }
        for conn in remains.leaving {
            self.leave(conn);
        }
    }

    /// A session is only to be closed yet.
    fn leave(&mut self, conn: Conn) {
        if self.leaving.len() >= LEAVING_MAX {
            self.leaving.pop_front();
        }
        self.leaving.push_back(conn);
    }

    fn free_token(&self) -> Option<Token> {
        let kept = self.lines.values().filter_map(|line| line.conn.as_ref());
        let conns = kept.chain(&self.leaving).map(|conn| conn.token);
        let used: BTreeSet<usize> = conns.map(|token| token.0).collect();
        let is_free = |token: &Token| {
            !used.contains(&token.0) && !self.running.values().any(|it| it.executor.owns(*token))
        };
        self.tokens().map(Token).find(is_free)
    }

    fn free_slot(&mut self) -> Option<usize> {
        let free = (0..ORDERS_MAX).find(|slot| !self.running.contains_key(slot));
        if free.is_some() {
            return free;
        }
        let answered = self.running.iter().find(|(_, running)| running.is_answered);
        let slot = answered.map(|(slot, _)| *slot)?;
        self.running.remove(&slot);
        Some(slot)
    }
}
