//! Orders given and waited for: a pool in a loop of its own, for the operator's tool.
//!
//! It keeps no session: each order to a BMC opens one and closes it, so that beside the daemon's
//! kept one there is one more at a time, and none is left.

use core::time::Duration;
use std::io;

use mio::{Events, Poll, Token};

use super::{FencePool, Job, Order};
use crate::config::device::Device;
use crate::sys::clock;
use crate::types::{DeviceId, FenceFault, Instant, OpId, Power};

/// The first token of the pool.
const BASE: usize = 0;
/// How long the end waits for the BMCs to close their sessions.
const CLOSING_MAX: Duration = Duration::from_secs(2);
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The most events taken at a time.
const EVENTS_MAX: usize = 64;

/// One order.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The device's number.
    pub id: DeviceId,
    /// What that number stands for.
    pub device: &'a Device,
    /// What it is to do.
    pub order: Order,
    /// How long it may take.
    pub timeout: Duration,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// The device's number.
    pub id: DeviceId,
    /// What it said.
    pub reading: Result<Power, FenceFault>,
    /// How long that took.
    pub took: Duration,
    /// The GUID of the machine behind a BMC, if it told one.
    pub guid: Option<[u8; 16]>,
}

/// A pool, and the loop that drives it.
pub struct Asking {
    poll: Poll,
    events: Events,
    pool: FencePool,
    last_op: u64,
    began: Instant,
}

impl Asking {
    /// A pool that has nothing to do.
    ///
    /// # Errors
    /// If the kernel gives no poll.
    pub fn new() -> io::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(EVENTS_MAX));
        Ok(Self { poll, events, pool: FencePool::new(BASE), last_op: 0, began: clock::now() })
    }

    /// How long ago it was made.
    pub fn elapsed(&self) -> Duration {
        clock::now().since(self.began)
    }

    /// Gives all these orders at once and waits until each is answered, which each is when its time
    /// is over. The replies are in the order of the questions.
    ///
    /// # Errors
    /// If the poll fails.
    pub fn ask(&mut self, questions: &[Question<'_>]) -> io::Result<Vec<Reply>> {
        let began = clock::now();
        let mut waiting = Vec::new();
        for question in questions {
            self.last_op += 1;
            let op = OpId(self.last_op);
            let Question { id, device, order, timeout } = *question;
            let job = Job { op, device: id, order, deadline: began + timeout };
            self.pool.start(self.poll.registry(), clock::now(), job, device);
            waiting.push((op, id, None));
        }
        loop {
            let now = clock::now();
            while let Some((op, reading)) = self.pool.take_completed() {
                if let Some(place) = waiting.iter_mut().find(|(asked, _, _)| *asked == op) {
                    place.2 = Some((reading, now.since(began)));
                }
            }
            if waiting.iter().all(|(_, _, reply)| reply.is_some()) {
                break;
            }
            self.turn(now + SLEEP_MAX)?;
        }
        let replies = waiting.into_iter().filter_map(|(_, id, reply)| {
            let (reading, took) = reply?;
            Some(Reply { id, reading, took, guid: self.pool.guid(id) })
        });
        Ok(replies.collect())
    }

    /// Lets time go by, in which what the orders left behind is cleaned up.
    ///
    /// # Errors
    /// If the poll fails.
    pub fn pause(&mut self, time: Duration) -> io::Result<()> {
        let end = clock::now() + time;
        while clock::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    /// Waits until what the orders left behind is cleaned up, for a moment at most.
    ///
    /// # Errors
    /// If the poll fails.
    pub fn end(mut self) -> io::Result<()> {
        let end = clock::now() + CLOSING_MAX;
        while !self.pool.is_idle() && clock::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    /// Sleeps until something happens, at most until `end`; hands the pool what came.
    fn turn(&mut self, end: Instant) -> io::Result<()> {
        let next = self.pool.next_deadline().map_or(end, |at| at.min(end));
        match self.poll.poll(&mut self.events, Some(next.since(clock::now()))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let tokens: Vec<Token> = self.events.iter().map(mio::event::Event::token).collect();
        for token in tokens {
            self.pool.ready(self.poll.registry(), clock::now(), token);
        }
        self.pool.expire(self.poll.registry(), clock::now());
        Ok(())
    }
}
