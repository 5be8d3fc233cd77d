//! The fence devices' executors: every order that is under way, each with its own socket or child.
//!
//! Takes orders, answers each exactly once, and cleans up behind the answer (closes the BMC's
//! session, reaps the agent). It decides nothing: not when to fence, not what an answer means.
//!
//! A check is only there to know that a device works: any other order to the same device overtakes
//! it, and a check of a device that is busy is not begun. Both are answered `Cancelled`.

mod agent;
mod ipmi;
mod redfish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;

use mio::{Registry, Token};

use self::agent::{Agent, AgentOrder};
use self::ipmi::IpmiOrder;
pub use self::redfish::COMMAND as REDFISH_COMMAND;
use self::redfish::RedfishOrder;
use crate::config::device::{Device, DeviceKind};
use crate::types::{DeviceId, FenceFault, Instant, OpId, Power};
use crate::wire::ipmi::CipherSuite;
use crate::wire::redfish::relay::Hint;

/// The most orders under way, those included that are answered and only clean up. When it is
/// reached, the oldest of these is dropped; if there is none, an order is answered `Cancelled`.
pub const ORDERS_MAX: usize = 64;

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

impl From<Result<Power, FenceFault>> for Verdict {
    fn from(reading: Result<Power, FenceFault>) -> Self {
        Self { reading, reason: String::new() }
    }
}

/// One way to carry out an order: never blocks, gives one verdict.
trait Executor {
    fn ready(&mut self, registry: &Registry, now: Instant);
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
}

#[derive(Clone, Copy, Default)]
struct Learned {
    suite: Option<CipherSuite>,
    guid: Option<[u8; 16]>,
}

struct Running {
    op: OpId,
    device: DeviceId,
    name: String,
    order: Order,
    is_answered: bool,
    executor: Box<dyn Executor>,
}

/// All orders under way.
pub struct FencePool {
    base: usize,
    /// By token, counted from `base`.
    running: BTreeMap<usize, Running>,
    completed: VecDeque<(OpId, Result<Power, FenceFault>)>,
    learned: BTreeMap<DeviceId, Learned>,
    /// The devices that acknowledged their last `off`, and were not told to switch since.
    obeyed: BTreeSet<DeviceId>,
    hints: BTreeMap<DeviceId, Hint>,
    /// What Redfish children run: this program.
    program: PathBuf,
    told: Told,
}

impl FencePool {
    /// A pool that registers its descriptors with the [`ORDERS_MAX`] tokens from `base` on.
    pub fn new(base: usize) -> Self {
        Self {
            base,
            running: BTreeMap::new(),
            completed: VecDeque::new(),
            learned: BTreeMap::new(),
            obeyed: BTreeSet::new(),
            hints: BTreeMap::new(),
            // Whatever an upgrade puts into its place meanwhile, it is the program that runs here.
            program: PathBuf::from("/proc/self/exe"),
            told: Told::default(),
        }
    }

    /// Has `program` run the Redfish children, instead of this one.
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// The tokens that are this pool's.
    pub fn tokens(&self) -> Range<usize> {
        self.base..self.base.saturating_add(ORDERS_MAX)
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
        let Some(slot) = self.free_slot() else {
            log::error!("fence: more than {ORDERS_MAX} orders at once");
            self.completed.push_back((op, Err(FenceFault::Cancelled)));
            return;
        };
        if matches!(order, Order::Off | Order::On) {
            self.obeyed.remove(&id);
        }
        let token = Token(self.base.saturating_add(slot));
        match self.executor(registry, now, token, job, device) {
            Ok(executor) => {
                let name = device.name.clone();
                let is_answered = false;
                let running = Running { op, device: id, name, order, is_answered, executor };
                self.running.insert(slot, running);
                self.settle(slot);
            }
            Err(verdict) => {
                let level = self.told.level(id, order, &verdict);
                log_verdict(level, &device.name, order, &verdict);
                self.completed.push_back((op, verdict.reading));
            }
        }
    }

    /// Gives an order up: answers it `Cancelled` if it is not answered yet.
    pub fn cancel(&mut self, registry: &Registry, now: Instant, op: OpId) {
        self.cancel_where(registry, now, |running| running.op == op);
    }

    /// One of the pool's tokens is ready. A token that is no order's (any more) is ignored.
    pub fn ready(&mut self, registry: &Registry, now: Instant, token: Token) {
        let Some(slot) = token.0.checked_sub(self.base) else { return };
        if let Some(running) = self.running.get_mut(&slot) {
            running.executor.ready(registry, now);
            self.settle(slot);
        }
    }

    /// The moment at which [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.running.values().filter_map(|running| running.executor.next_deadline()).min()
    }

    /// Does what has come due. The caller has handed in all readiness before.
    pub fn expire(&mut self, registry: &Registry, now: Instant) {
        let slots: Vec<usize> = self.running.keys().copied().collect();
        for slot in slots {
            let Some(running) = self.running.get_mut(&slot) else { continue };
            if running.executor.next_deadline().is_some_and(|deadline| deadline <= now) {
                running.executor.expire(registry, now);
                self.settle(slot);
            }
        }
    }

    /// Takes the next answer: exactly one for each order begun.
    pub fn take_completed(&mut self) -> Option<(OpId, Result<Power, FenceFault>)> {
        self.completed.pop_front()
    }

    /// The GUID of the machine behind a BMC, as it told when it last proved that it knows the
    /// password; nothing for agents, and before the first answer.
    pub fn guid(&self, device: DeviceId) -> Option<[u8; 16]> {
        self.learned.get(&device).and_then(|learned| learned.guid)
    }

    /// Whether nothing is under way, not even cleaning up.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    fn is_busy(&self, id: DeviceId) -> bool {
        self.running.values().any(|running| running.device == id && !running.is_answered)
    }

    fn executor(
        &self,
        registry: &Registry,
        now: Instant,
        token: Token,
        job: Job,
        device: &Device,
    ) -> Result<Box<dyn Executor>, Verdict> {
        let Job { order, deadline, .. } = job;
        match &device.kind {
            DeviceKind::Ipmi { address, user, password, suite } => {
                let last = self.learned.get(&job.device).and_then(|learned| learned.suite);
                let suites = ipmi::suites_to_try(*suite, last);
                let mut client = ipmi::new_client(user, password, &suites)?;
                client.begin(now, ipmi::wire_order(order), deadline);
                Ok(Box::new(IpmiOrder::start(registry, token, *address, client)))
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
                self.settle(slot);
            }
        }
    }

    /// Takes the verdict of an order that has one; removes an order with nothing left to do.
    fn settle(&mut self, slot: usize) {
        let Some(running) = self.running.get_mut(&slot) else { return };
        if let Some(verdict) = running.executor.take_verdict() {
            assert!(!running.is_answered, "an order was answered twice");
            running.is_answered = true;
            let level = self.told.level(running.device, running.order, &verdict);
            log_verdict(level, &running.name, running.order, &verdict);
            self.completed.push_back((running.op, verdict.reading));
            let learned = running.executor.learned();
            let known = self.learned.entry(running.device).or_default();
            known.suite = learned.suite.or(known.suite);
            known.guid = learned.guid.or(known.guid);
            self.hints.extend(running.executor.hint().map(|hint| (running.device, hint)));
            if running.order == Order::Off && verdict.reading.is_ok() {
                self.obeyed.insert(running.device);
            }
        }
        if running.executor.is_over() {
            assert!(running.is_answered, "an order ended without an answer");
            self.running.remove(&slot);
        }
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

/// What was last told of each device's orders.
#[derive(Default)]
struct Told {
    last: BTreeMap<(DeviceId, &'static str), String>,
}

impl Told {
    /// The level for a verdict: the engine tells what became of an order; what is added here is the
    /// device's own word, once as long as it stays the same. A frozen pair asks for ever.
    fn level(&mut self, device: DeviceId, order: Order, verdict: &Verdict) -> log::Level {
        // That a check failed is told by the engine; what a person must mend, by the device alone.
        let is_for_people = matches!(
            verdict.reading,
            Err(FenceFault::Certificate
                | FenceFault::Credentials
                | FenceFault::Privilege
                | FenceFault::Refused)
        );
        if order == Order::Check && !is_for_people {
            return log::Level::Debug;
        }
        // Agents write the time before their words.
        let word = |c: &char| !c.is_ascii_digit();
        let reason: String = verdict.reason.chars().filter(word).collect();
        if reason.is_empty() {
            return log::Level::Debug;
        }
        let last = self.last.insert((device, order.name()), reason.clone());
        match verdict.reading {
            _ if last == Some(reason) => log::Level::Debug,
            Ok(_) | Err(FenceFault::Cancelled) => log::Level::Info,
            Err(_) => log::Level::Warn,
        }
    }
}

fn log_verdict(level: log::Level, device: &str, order: Order, verdict: &Verdict) {
    let order = order.name();
    let outcome = match verdict.reading {
        Ok(power) => format!("power={power}"),
        Err(fault) => format!("failed: {fault}"),
    };
    if verdict.reason.is_empty() {
        log::log!(level, "fence device={device} order={order} {outcome}");
    } else {
        log::log!(level, "fence device={device} order={order} {outcome} ({})", verdict.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_word_is_told_once_as_long_as_it_stays_the_same() {
        let mut told = Told::default();
        let failed = |reason: &str| Verdict {
            reading: Err(FenceFault::AgentFailed),
            reason: reason.to_owned(),
        };
        let (one, other) = (DeviceId(1), DeviceId(2));
        let mut level = |device, order, reason: &str| told.level(device, order, &failed(reason));
        assert_eq!(level(one, Order::Off, ""), log::Level::Debug, "the engine tells it");
        assert_eq!(level(one, Order::Off, "02:17 login failed"), log::Level::Warn);
        assert_eq!(level(one, Order::Read, "02:18 no such plug"), log::Level::Warn);
        assert_eq!(level(one, Order::Off, "02:18 login failed"), log::Level::Debug);
        assert_eq!(level(one, Order::Read, "02:19 no such plug"), log::Level::Debug);
        assert_eq!(level(other, Order::Off, "02:19 login failed"), log::Level::Warn);
        assert_eq!(level(one, Order::Off, "02:20 timed out"), log::Level::Warn);
        assert_eq!(level(one, Order::Off, "02:21 login failed"), log::Level::Warn);
        assert_eq!(level(one, Order::Check, "02:22 something new"), log::Level::Debug);
        let done = Verdict { reading: Ok(Power::Unknown), reason: "Success: Powered OFF".into() };
        assert_eq!(told.level(one, Order::Off, &done), log::Level::Info);
    }
}
