//! One order to a BMC: in the session that is kept, and in a fresh one if that does not answer.
//!
//! ```text
//!   kept session ──order──► answer ───────────────────────────────► verdict
//!        │ no answer within its patience, or any failure               ▲
//!        └─► fresh session ──order──► answer or failure ───────────────┘  the first answer wins
//! ```
//!
//! A failure of the kept session says nothing of the device: only a fresh one's is told, so that a
//! BMC that was started anew and one that refuses are not taken for each other. Whichever session
//! has answered is kept; the other is closed.

use std::net::SocketAddr;

use mio::{Registry, Token};

use super::conn::Conn;
use super::{Executor, Learned, Order, Remains, Verdict};
use crate::config::device::{Secret, Suite};
use crate::types::{FenceFault, Instant, Power};
use crate::wire::ipmi::{self, CipherSuite, Client, Login};

/// The suites in the order in which they are tried: what `last` worked goes first.
pub(super) fn suites_to_try(suite: Suite, last: Option<CipherSuite>) -> Vec<CipherSuite> {
    match (suite, last) {
        (Suite::Three, _) => vec![CipherSuite::Three],
        (Suite::Seventeen, _) => vec![CipherSuite::Seventeen],
        (Suite::Auto, Some(CipherSuite::Three)) => {
            vec![CipherSuite::Three, CipherSuite::Seventeen]
        }
        (Suite::Auto, Some(CipherSuite::Seventeen) | None) => {
            vec![CipherSuite::Seventeen, CipherSuite::Three]
        }
    }
}

/// A client with fresh random numbers; the verdict to give if there can be none.
pub(super) fn new_client(
    user: &str,
    password: &Secret,
    suites: &[CipherSuite],
) -> Result<Client, Verdict> {
    let Some(login) = Login::new(user, password.reveal()) else {
        let reason = "user or password is longer than any BMC's".to_owned();
        return Err(Verdict { reading: Err(FenceFault::Credentials), reason });
    };
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        let reason = format!("no random numbers: {error}");
        return Err(Verdict { reading: Err(FenceFault::AgentFailed), reason });
    }
    Ok(Client::new(login, suites, &seed))
}

/// The order in the wire client's words: to it, a check is a reading.
const fn wire_order(order: Order) -> ipmi::Order {
    match order {
        Order::Off => ipmi::Order::Off,
        Order::On => ipmi::Order::On,
        Order::Read | Order::Check => ipmi::Order::Read,
    }
}

/// An order under way.
pub(super) struct IpmiOrder {
    order: ipmi::Order,
    deadline: Instant,
    /// The session that was kept, as long as it may still answer.
    kept: Option<Conn>,
    /// Not begun before [`Self::fresh_at`]; nothing once it has failed.
    fresh: Option<Conn>,
    /// When the fresh one is begun; nothing once it is.
    fresh_at: Option<Instant>,
    /// Why the fresh one failed, while the kept one may still answer.
    fresh_failed: Option<Verdict>,
    verdict: Option<Verdict>,
    remains: Remains,
    learned: Learned,
}

impl IpmiOrder {
    /// Gives the order to the session that is `kept`, or to a fresh one at once: `fresh`, to which
    /// nothing was sent yet.
    pub(super) fn start(
        registry: &Registry,
        now: Instant,
        order: Order,
        deadline: Instant,
        kept: Option<Conn>,
        fresh: (SocketAddr, Token, Client),
    ) -> Self {
        let (address, token, client) = fresh;
        let mut started = Self {
            order: wire_order(order),
            deadline,
            kept: None,
            fresh: Some(Conn::new(address, token, client)),
            fresh_at: Some(now),
            fresh_failed: None,
            verdict: None,
            remains: Remains::default(),
            learned: Learned::default(),
        };
        if let Some(mut kept) = kept {
            let patience = kept.client.patience();
            if !kept.is_suspect {
                started.fresh_at = Some(now + patience);
            }
            kept.trouble = None;
            kept.begin(registry, now, started.order, deadline);
            started.kept = Some(kept);
        }
        started.begin_fresh_if_due(registry, now);
        started
    }

    fn begin_fresh_if_due(&mut self, registry: &Registry, now: Instant) {
        if self.verdict.is_none()
            && self.fresh_at.is_some_and(|at| at <= now)
            && let Some(fresh) = &mut self.fresh
        {
            self.fresh_at = None;
            fresh.begin(registry, now, self.order, self.deadline);
        }
    }

    /// Takes what the sessions have come to.
    fn settle(&mut self, registry: &Registry, now: Instant) {
        if self.verdict.is_some() {
            return;
        }
        if let Some(mut kept) = self.kept.take() {
            match kept.client.take_outcome() {
                None => self.kept = Some(kept),
                Some(Ok(power)) => return self.conclude(registry, now, power, kept),
                Some(Err(fault)) => {
                    let failed = Verdict::of(Err(fault), kept.trouble.as_ref());
                    self.leave(kept);
                    if self.fresh_at.is_some() && self.deadline <= now {
                        self.fresh_at = None;
                        self.fresh = None;
                        self.verdict = Some(failed);
                        return;
                    }
                    self.fresh_at = self.fresh_at.map(|_| now);
                    self.begin_fresh_if_due(registry, now);
                }
            }
        }
        if let Some(mut fresh) = self.fresh.take() {
            match fresh.client.take_outcome() {
                None => self.fresh = Some(fresh),
                Some(Ok(power)) => return self.conclude(registry, now, power, fresh),
                Some(Err(fault)) => {
                    self.fresh_failed = Some(Verdict::of(Err(fault), fresh.trouble.as_ref()));
                    self.leave(fresh);
                }
            }
        }
        if self.kept.is_none() && self.fresh.is_none() {
            self.verdict = self.fresh_failed.take();
        }
    }

    /// One session has answered: the other is given up.
    fn conclude(&mut self, registry: &Registry, now: Instant, power: Power, mut winner: Conn) {
        self.verdict = Some(Verdict::from(Ok(power)));
        self.fresh_at = None;
        winner.is_suspect = false;
        winner.answered_at = now;
        for mut loser in [self.kept.take(), self.fresh.take()].into_iter().flatten() {
            loser.close(registry, now);
            self.leave(loser);
        }
        self.leave(winner);
    }

    /// What is left of a session is not this order's any more.
    fn leave(&mut self, conn: Conn) {
        self.learned.suite = conn.client.agreed_suite().or(self.learned.suite);
        self.learned.guid = conn.client.guid().or(self.learned.guid);
        if conn.client.is_kept() {
            self.remains.kept = Some(conn);
        } else if !conn.client.is_idle() {
            self.remains.leaving.push(conn);
        }
    }
}

impl Executor for IpmiOrder {
    fn owns(&self, token: Token) -> bool {
        [&self.kept, &self.fresh].into_iter().flatten().any(|conn| conn.token == token)
    }

    fn ready(&mut self, registry: &Registry, now: Instant, token: Token) {
        for conn in [&mut self.kept, &mut self.fresh].into_iter().flatten() {
            if conn.token == token {
                conn.receive(registry, now);
            }
        }
        self.settle(registry, now);
    }

    fn expire(&mut self, registry: &Registry, now: Instant) {
        for conn in [&mut self.kept, &mut self.fresh].into_iter().flatten() {
            conn.expire(registry, now);
        }
        self.settle(registry, now);
        self.begin_fresh_if_due(registry, now);
    }

    fn cancel(&mut self, registry: &Registry, now: Instant) {
        self.verdict.get_or_insert(Verdict::from(Err(FenceFault::Cancelled)));
        self.fresh_at = None;
        for mut conn in [self.kept.take(), self.fresh.take()].into_iter().flatten() {
            conn.cancel(registry, now);
            self.leave(conn);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let conns = [&self.kept, &self.fresh].into_iter().flatten();
        conns.filter_map(|conn| conn.client.next_deadline()).chain(self.fresh_at).min()
    }

    fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    fn is_over(&self) -> bool {
        self.kept.is_none() && self.fresh.is_none()
    }

    fn learned(&self) -> Learned {
        self.learned
    }

    fn take_remains(&mut self) -> Remains {
        core::mem::take(&mut self.remains)
    }
}
