//! One order to a BMC over Redfish: a child process of our own program that speaks to it.
//!
//! The child's answer counts as soon as its line is there; what the child does after it (it ends
//! its session with the BMC) happens behind the answer. A child that gives none by the order's
//! deadline is left [`CLEAN_UP_MAX`] to log out, and then killed.

use core::time::Duration;
use std::path::Path;

use mio::{Registry, Token};

use super::{Executor, Learned, Order, Verdict};
use crate::config::device::{self, DeviceKind, Role};
use crate::io::child::{Child, End, Report, Spec};
use crate::types::{FenceFault, Instant, Owner};
use crate::wire::redfish::relay::{
    self, Answer, Hint, Login, Task, Trust, find_answer, find_stage,
};

/// The hidden command that a child runs.
pub const COMMAND: &str = "redfish-child";
/// How long before the order's deadline a child gives up: its answer must still come here.
const MARGIN: Duration = Duration::from_millis(150);
/// How long a child may go on after the order's deadline, to log out.
const CLEAN_UP_MAX: Duration = Duration::from_secs(2);
/// How long a reading that follows an acknowledged `off` waits for it at most: asking again within
/// one session is cheaper for a BMC than a new one.
const WATCH_MAX: Duration = Duration::from_secs(2);

/// An order under way.
pub(super) struct RedfishOrder {
    child: Child,
    token: Token,
    order: Order,
    deadline: Instant,
    verdict: Option<Verdict>,
    is_answered: bool,
    hint: Option<Hint>,
    uuid: Option<[u8; 16]>,
}

/// What to do, and what is known of the BMC.
pub(super) struct Job<'a> {
    pub(super) order: Order,
    pub(super) deadline: Instant,
    /// The program that the child runs.
    pub(super) program: &'a Path,
    pub(super) kind: &'a DeviceKind,
    pub(super) hint: Option<Hint>,
    /// Whether it acknowledged the last `off` it was given.
    pub(super) has_obeyed: bool,
    /// What it is for.
    pub(super) role: Role,
    /// Whose its system must be to be told to switch.
    pub(super) owner: Owner,
}

impl RedfishOrder {
    /// Starts the child; the verdict to give if that fails.
    pub(super) fn start(
        registry: &Registry,
        now: Instant,
        token: Token,
        job: Job<'_>,
    ) -> Result<Self, Verdict> {
        let Job { order, deadline, program, .. } = job;
        let fail = |reason: String| Verdict { reading: Err(FenceFault::AgentFailed), reason };
        let task = task(now, &job).ok_or_else(|| fail("this is no Redfish device".to_owned()))?;
        let input = serde_json::to_vec(&task)
            .map_err(|error| fail(format!("its task cannot be written: {error}")))?;
        let spec = Spec {
            program: program.to_owned(),
            arguments: vec![COMMAND.to_owned()],
            input,
            deadline: deadline + CLEAN_UP_MAX,
        };
        let child = Child::start(registry, token, spec)
            .map_err(|error| fail(format!("cannot start {}: {error}", program.display())))?;
        Ok(Self {
            child,
            token,
            order,
            deadline,
            verdict: None,
            is_answered: false,
            hint: None,
            uuid: None,
        })
    }

    fn look_for_answer(&mut self) {
        if self.is_answered {
            return;
        }
        if let Some(answer) = find_answer(self.child.output()) {
            self.answer(answer);
        } else if let Some(report) = self.child.take_report() {
            match find_answer(&report.output) {
                Some(answer) => self.answer(answer),
                None => self.give(judge(&report)),
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.hint = answer.hint;
        self.uuid = answer.uuid;
        let reason = relay::bounded(&answer.reason);
        self.give(Verdict { reading: answer.outcome, reason });
    }

    fn give(&mut self, verdict: Verdict) {
        self.is_answered = true;
        self.verdict = Some(verdict);
    }
}

impl Executor for RedfishOrder {
    fn owns(&self, token: Token) -> bool {
        self.token == token
    }

    fn ready(&mut self, registry: &Registry, _now: Instant, _token: Token) {
        self.child.ready(registry);
        self.look_for_answer();
    }

    fn expire(&mut self, registry: &Registry, now: Instant) {
        // The answer may be there, and only we are late.
        self.ready(registry, now, self.token);
        if !self.is_answered && self.deadline <= now {
            let stage = find_stage(self.child.output()).unwrap_or_else(|| "starting".to_owned());
            let reason = format!("no answer in time: it was still {stage}");
            self.give(Verdict { reading: Err(FenceFault::Timeout), reason });
        }
        self.child.expire(registry, now);
    }

    /// What only reads may end by itself, so that its session is ended; a command must not be
    /// carried out after this.
    fn cancel(&mut self, _registry: &Registry, _now: Instant) {
        if matches!(self.order, Order::Off | Order::On) {
            self.child.cancel();
        }
        if !self.is_answered {
            self.give(Verdict::from(Err(FenceFault::Cancelled)));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let child = self.child.next_deadline();
        if self.is_answered { child } else { Some(self.deadline) }
    }

    fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    fn is_over(&self) -> bool {
        self.child.is_over()
    }

    fn hint(&self) -> Option<Hint> {
        self.hint.clone()
    }

    fn learned(&self) -> Learned {
        Learned { uuid: self.uuid, ..Learned::default() }
    }
}

fn task(now: Instant, job: &Job<'_>) -> Option<Task> {
    let DeviceKind::Redfish { host, port, user, password, system, trust, login } = job.kind else {
        return None;
    };
    let left = job.deadline.since(now);
    let timeout = left.saturating_sub(MARGIN).max(left / 2);
    let waits = job.order == Order::Read && job.has_obeyed;
    let watch = if waits { WATCH_MAX.min(left / 2) } else { Duration::ZERO };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Some(Task {
        order: match job.order {
            Order::Off => relay::Order::Off,
            Order::On => relay::Order::On,
            Order::Read => relay::Order::Read,
            // Whether it could be switched does not matter of one that never is.
            Order::Check if job.role == Role::Witness => relay::Order::Read,
            Order::Check => relay::Order::Check,
        },
        host: host.clone(),
        port: *port,
        user: user.clone(),
        password: password.reveal().to_owned(),
        system: system.clone(),
        trust: match trust {
            device::Trust::Pinned(fingerprint) => Trust::Pinned(fingerprint.0),
            device::Trust::Authority(path) => Trust::Authority(path.to_string_lossy().into_owned()),
        },
        login: match login {
            device::Login::Auto => Login::Auto,
            device::Login::Session => Login::Session,
            device::Login::Basic => Login::Basic,
        },
        timeout_ms: millis(timeout),
        watch_ms: millis(watch),
        hint: job.hint.clone(),
        owner: job.owner,
    })
}

/// What a child that ended without an answer means.
fn judge(report: &Report) -> Verdict {
    let text = String::from_utf8_lossy(&report.output).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let last = relay::bounded(last);
    match report.end {
        End::Deadline => Verdict::from(Err(FenceFault::Timeout)),
        End::Cancelled => Verdict::from(Err(FenceFault::Cancelled)),
        End::NotBegun(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            let reason = format!("its child process cannot be started: {error}");
            Verdict { reading: Err(FenceFault::AgentFailed), reason }
        }
        End::Exited(_) | End::Signalled(_) | End::Endless => {
            let reason = format!("its child process ended without an answer: {last}");
            Verdict { reading: Err(FenceFault::AgentFailed), reason }
        }
    }
}
