//! A fence pool in a loop of its own, as the daemon runs it, for tests that wait for answers.

use std::net::SocketAddr;
use std::time::Duration;

use mio::{Events, Poll, Token};
use nix::time::{ClockId, clock_gettime};
use tandem::config::device::{Device, DeviceKind, Secret, Suite};
use tandem::io::fence::{FencePool, Job, Order};
use tandem::types::{DeviceId, FenceFault, Instant, NodeId, OpId, Owner, Power};

use crate::bmc::{PASSWORD, USER};

pub type Reading = Result<Power, FenceFault>;

pub const BASE: usize = 1000;

/// The moment, by the clock that never stops.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    Instant::from_nanos(u64::try_from(Duration::from(time).as_nanos()).unwrap())
}

/// A BMC at `address`, with the right user and password.
pub fn bmc_device(address: SocketAddr, suite: Suite) -> Device {
    bmc_device_as(address, suite, USER, PASSWORD)
}

pub fn bmc_device_as(address: SocketAddr, suite: Suite, user: &str, password: &str) -> Device {
    let password = Secret::new(password.to_owned());
    let kind = DeviceKind::Ipmi { address, user: user.to_owned(), password, suite };
    Device::new("bmc-b", NodeId::new(2).unwrap(), kind)
}

/// The pool and its loop.
pub struct Loop {
    poll: Poll,
    events: Events,
    pub pool: FencePool,
    next_op: u64,
    pub answers: Vec<(OpId, Reading)>,
    /// The longest that one turn kept the loop from the next.
    pub longest_turn: Duration,
    /// Whose the devices must be.
    pub owner: Owner,
}

impl Loop {
    pub fn new() -> Self {
        let (poll, events) = (Poll::new().unwrap(), Events::with_capacity(16));
        let (pool, answers) = (FencePool::new(BASE), Vec::new());
        let owner = Owner::default();
        Self { poll, events, pool, next_op: 0, answers, longest_turn: Duration::ZERO, owner }
    }

    /// Begins an order that must be answered within `timeout`.
    pub fn start(&mut self, device: &Device, order: Order, timeout: Duration) -> OpId {
        self.start_on(DeviceId(0), device, order, timeout)
    }

    pub fn start_on(
        &mut self,
        id: DeviceId,
        device: &Device,
        order: Order,
        timeout: Duration,
    ) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        let now = now();
        let (deadline, owner) = (now + timeout, self.owner);
        let job = Job { op, device: id, order, deadline, owner };
        self.pool.start(self.poll.registry(), now, job, device);
        self.collect();
        op
    }

    /// From now on a session is kept to each BMC.
    pub fn keep(&mut self) {
        self.pool.keep_sessions(now());
    }

    /// Closes the sessions that are kept, and waits until that is done.
    pub fn close(&mut self) {
        self.pool.close_sessions(self.poll.registry(), now());
        self.settle();
    }

    /// Goes on for a while.
    pub fn linger(&mut self, time: Duration) {
        let end = now() + time;
        while now() < end {
            self.turn_until(end);
        }
    }

    pub fn cancel(&mut self, op: OpId) {
        self.pool.cancel(self.poll.registry(), now(), op);
        self.collect();
    }

    /// Carries an order out; the answer, and how long it took.
    pub fn run(&mut self, device: &Device, order: Order, timeout: Duration) -> (Reading, Duration) {
        let start = now();
        let op = self.start(device, order, timeout);
        (self.wait_for(op), now().since(start))
    }

    pub fn wait_for(&mut self, op: OpId) -> Reading {
        let start = now();
        loop {
            if let Some((_, reading)) = self.answers.iter().find(|(answered, _)| *answered == op) {
                return *reading;
            }
            assert!(now().since(start) < Duration::from_secs(60), "{op:?} is never answered");
            self.turn();
        }
    }

    /// Goes on until nothing is left to clean up.
    pub fn settle(&mut self) {
        let start = now();
        while !self.pool.is_idle() {
            assert!(now().since(start) < Duration::from_secs(20), "the pool never comes to rest");
            self.turn();
        }
    }

    /// Waits for events, at most until the pool's next deadline; gives the pool what came.
    pub fn turn(&mut self) {
        self.turn_until(now() + Duration::from_secs(1));
    }

    fn turn_until(&mut self, end: Instant) {
        let next = self.pool.next_deadline().map_or(end, |deadline| deadline.min(end));
        let wait = next.since(now());
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            polled => polled.unwrap(),
        }
        let start = now();
        let tokens: Vec<Token> = self.events.iter().map(|event| event.token()).collect();
        for token in tokens {
            assert!(self.pool.tokens().contains(&token.0), "{token:?}");
            self.pool.ready(self.poll.registry(), start, token);
        }
        let start_of_expiry = now();
        self.pool.expire(self.poll.registry(), start_of_expiry);
        self.collect();
        self.longest_turn = self.longest_turn.max(now().since(start));
    }

    fn collect(&mut self) {
        while let Some((op, reading)) = self.pool.take_completed() {
            let is_first = self.answers.iter().all(|(answered, _)| *answered != op);
            assert!(is_first, "{op:?} is answered twice");
            self.answers.push((op, reading));
        }
    }
}
