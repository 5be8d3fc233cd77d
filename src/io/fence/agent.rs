//! One order to a fence agent: any program that takes `name=value` lines and answers with its exit
//! status, as those of the fence-agents package do (ClusterLabs, *Fence Agent API*).
//!
//! | action | status 0 | status 2 and `Status: OFF` printed | anything else |
//! |---|---|---|---|
//! | off, on | acknowledged | failed | failed |
//! | status | on | off | failed |
//!
//! Status 2 alone says nothing: a shell that cannot parse its script, an interpreter without its
//! file and an agent that dislikes its parameters (`EC_BAD_ARGS`) end with it, too. Every agent
//! built on the package's `fencing.py`, and `fence_virt`, prints a line `Status: OFF` with it.
//! Off that is read as part of a fence counts only of an agent that carried out its last `off`, or
//! of a witness, which is never given one.
//!
//! Why it failed is guessed from what it printed; a guess never turns a failure into success.

use std::path::Path;

use mio::{Registry, Token};

use super::{Executor, Order, Verdict};
use crate::config::device::{AGENT_LINE_LEN_MAX, AGENT_PARAMS_MAX, Secret};
use crate::io::child::{Child, End, OUTPUT_KEPT_MAX, Report, Spec};
use crate::types::{FenceFault, Instant, Power};

/// The longest reason in the log, in bytes.
const REASON_LEN_MAX: usize = 200;

/// What is printed by agents that reached nobody, in lower case. Looked for first: agents say
/// "unable to connect/login" of a machine that is not there, too.
const TEXTS_UNREACHABLE: [&str; 8] = [
    "unable to connect",
    "connection timed out",
    "connection refused",
    "no route to host",
    "network is unreachable",
    "host is down",
    "name or service not known",
    "unable to establish ipmi",
];

/// What is printed by agents that reached somebody who does not know them.
const TEXTS_CREDENTIALS: [&str; 8] = [
    "login failed",
    "invalid login",
    "login incorrect",
    "login invalid",
    "password",
    "authentication",
    "unauthorized",
    "permission denied",
];

/// The lines for the agent's standard input; the verdict to give if they cannot be written.
fn input(
    order: Order,
    params: &[(String, String)],
    secrets: &[(String, Secret)],
) -> Result<Vec<u8>, Verdict> {
    let refuse = |reason: String| Verdict { reading: Err(FenceFault::AgentFailed), reason };
    if params.len().saturating_add(secrets.len()) > AGENT_PARAMS_MAX {
        return Err(refuse(format!("more than {AGENT_PARAMS_MAX} parameters")));
    }
    let action = match order {
        Order::Off => "off",
        Order::On => "on",
        Order::Read | Order::Check => "status",
    };
    let mut input = format!("action={action}\n");
    let shown = params.iter().map(|(name, value)| (name, value.as_str()));
    let hidden = secrets.iter().map(|(name, value)| (name, value.reveal()));
    for (name, value) in shown.chain(hidden) {
        let breaks = |text: &str| text.contains(['\n', '\r', '\0']);
        if name.is_empty() || name.contains('=') || breaks(name) || breaks(value) {
            return Err(refuse("a parameter that cannot be written as a line".to_owned()));
        }
        if matches!(name.as_str(), "action" | "option") {
            return Err(refuse(format!("parameter {name} is tandem's own")));
        }
        if name.len().saturating_add(value.len()) >= AGENT_LINE_LEN_MAX {
            return Err(refuse(format!("parameter {name} is too long")));
        }
        input.push_str(name);
        input.push('=');
        input.push_str(value);
        input.push('\n');
    }
    Ok(input.into_bytes())
}

/// An order under way.
pub(super) struct AgentOrder {
    child: Child,
    token: Token,
    order: Order,
    /// Whether it carried out the last `off` it was given.
    has_obeyed: bool,
    /// Never repeated in the log, should the agent print them.
    secrets: Vec<Secret>,
}

/// What to run, and how it stands with it.
pub(super) struct Agent<'a> {
    pub(super) program: &'a Path,
    pub(super) params: &'a [(String, String)],
    pub(super) secrets: &'a [(String, Secret)],
    /// Whether it carried out the last `off` it was given, or is never given any.
    pub(super) has_obeyed: bool,
}

impl AgentOrder {
    /// Starts the agent; the verdict to give if that fails.
    pub(super) fn start(
        registry: &Registry,
        token: Token,
        order: Order,
        deadline: Instant,
        agent: &Agent<'_>,
    ) -> Result<Self, Verdict> {
        let Agent { program, params, secrets, has_obeyed } = *agent;
        let input = input(order, params, secrets)?;
        let secrets = secrets.iter().map(|(_, secret)| secret.clone()).collect();
        let spec = Spec { program: program.to_owned(), arguments: Vec::new(), input, deadline };
        match Child::start(registry, token, spec) {
            Ok(child) => Ok(Self { child, token, order, has_obeyed, secrets }),
            Err(error) => {
                let reason = format!("cannot start {}: {error}", program.display());
                Err(Verdict { reading: Err(FenceFault::AgentFailed), reason })
            }
        }
    }
}

impl Executor for AgentOrder {
    fn owns(&self, token: Token) -> bool {
        self.token == token
    }

    fn ready(&mut self, registry: &Registry, _now: Instant, _token: Token) {
        self.child.ready(registry);
    }

    fn expire(&mut self, registry: &Registry, now: Instant) {
        self.child.expire(registry, now);
    }

    fn cancel(&mut self, _registry: &Registry, _now: Instant) {
        self.child.cancel();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.child.next_deadline()
    }

    fn take_verdict(&mut self) -> Option<Verdict> {
        let report = self.child.take_report()?;
        let reading = judge(self.order, &report);
        if self.order == Order::Read && reading == Ok(Power::Off) && !self.has_obeyed {
            // No off of it is believed; it is worth telling it again, which a fault would not be.
            let reason = "it reads off, but did not carry out the order before".to_owned();
            return Some(Verdict { reading: Ok(Power::Unknown), reason });
        }
        if let End::NotBegun(errno) = report.end {
            let error = std::io::Error::from_raw_os_error(errno);
            return Some(Verdict { reading, reason: format!("it cannot be started: {error}") });
        }
        Some(Verdict { reading, reason: reason(&report.output, &self.secrets) })
    }

    fn is_over(&self) -> bool {
        self.child.is_over()
    }
}

fn judge(order: Order, report: &Report) -> Result<Power, FenceFault> {
    match (report.end, order) {
        (End::Exited(0), Order::Off | Order::On) => Ok(Power::Unknown),
        (End::Exited(0), Order::Read | Order::Check) => Ok(Power::On),
        (End::Exited(2), Order::Read | Order::Check) if says_off(&report.output) => Ok(Power::Off),
        (End::Exited(_), _) => Err(guess(&report.output)),
        (End::NotBegun(_) | End::Signalled(_) | End::Endless, _) => Err(FenceFault::AgentFailed),
        (End::Deadline, _) => Err(FenceFault::Timeout),
        (End::Cancelled, _) => Err(FenceFault::Cancelled),
    }
}

/// Whether there is a line `Status: OFF`, in any case, and none that tells another status.
fn says_off(output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(output).to_lowercase();
    let mut told = text.lines().filter_map(|line| line.trim().strip_prefix("status:")).peekable();
    told.peek().is_some() && told.all(|status| status.trim() == "off")
}

/// Why an agent failed, by what it printed.
fn guess(output: &[u8]) -> FenceFault {
    let text = String::from_utf8_lossy(output).to_lowercase();
    if TEXTS_UNREACHABLE.iter().any(|part| text.contains(part)) {
        FenceFault::Unreachable
    } else if TEXTS_CREDENTIALS.iter().any(|part| text.contains(part)) {
        FenceFault::Credentials
    } else {
        FenceFault::AgentFailed
    }
}

/// The last line that says anything: on one line, without secrets, bounded.
fn reason(output: &[u8], secrets: &[Secret]) -> String {
    // The line whose beginning was cut off is left out: it may begin with half a secret.
    let is_cut = output.len() >= OUTPUT_KEPT_MAX;
    let whole = output.iter().position(|byte| *byte == b'\n');
    let first = if is_cut { whole.unwrap_or(output.len()) } else { 0 };
    let output = output.get(first..).unwrap_or(&[]);
    let mut text = String::from_utf8_lossy(output).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.reveal(), "<secret>");
    }
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("");
    let mut reason = String::new();
    for c in last.chars().filter(|c| !c.is_control()) {
        if reason.len() + c.len_utf8() > REASON_LEN_MAX {
            break;
        }
        reason.push(c);
    }
    reason
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn secrets() -> Vec<(String, Secret)> {
        vec![("password".to_owned(), Secret::new("hunter2".to_owned()))]
    }

    fn only_secrets() -> Vec<Secret> {
        secrets().into_iter().map(|(_, secret)| secret).collect()
    }

    #[test]
    fn the_action_goes_first_and_a_check_is_a_status() {
        let params = [("ip".to_owned(), "192.0.2.7".to_owned())];
        for (order, action) in [
            (Order::Off, "off"),
            (Order::On, "on"),
            (Order::Read, "status"),
            (Order::Check, "status"),
        ] {
            let text = input(order, &params, &secrets()).map(String::from_utf8);
            let expected = format!("action={action}\nip=192.0.2.7\npassword=hunter2\n");
            assert_eq!(text.ok().map(Result::unwrap), Some(expected));
        }
    }

    /// A value that breaks its line would be a parameter of its own: `action=on`, say.
    #[test]
    fn parameters_that_are_no_line_are_refused() {
        for (name, value) in [
            ("", "x"),
            ("a=b", "x"),
            ("a\nb", "x"),
            ("a", "x\naction=on"),
            ("a", "x\r"),
            ("a", "x\0"),
            ("action", "on"),
            ("option", "on"),
        ] {
            let params = [(name.to_owned(), value.to_owned())];
            assert!(input(Order::Off, &params, &[]).is_err(), "{name:?}={value:?}");
        }
        let many = vec![("a".to_owned(), String::new()); AGENT_PARAMS_MAX];
        assert!(input(Order::Off, &many, &[]).is_ok());
        assert!(input(Order::Off, &many, &secrets()).is_err());
        let long = [("a".to_owned(), "x".repeat(AGENT_LINE_LEN_MAX))];
        assert!(input(Order::Off, &long, &[]).is_err());
    }

    #[test]
    fn the_reason_is_the_last_line_without_secrets_and_bounded() {
        let output = b"Failed: first\nran: ipmitool -P 'hunter2' \x1b[31m\n\n  \n";
        assert_eq!(reason(output, &only_secrets()), "ran: ipmitool -P '<secret>' [31m");
        assert_eq!(reason(b"", &[]), "");
        assert_eq!(reason(&[0xff; 1000], &[]).len(), 198, "whole characters only");
    }

    #[test]
    fn a_line_that_was_cut_off_cannot_show_half_a_secret() {
        let mut output = b"ter2".to_vec();
        output.resize(OUTPUT_KEPT_MAX - 15, b'.');
        output.extend(b"\nthe whole line");
        assert_eq!(output.len(), OUTPUT_KEPT_MAX);
        assert_eq!(reason(&output, &only_secrets()), "the whole line");
        assert_eq!(reason(&[b'.'; OUTPUT_KEPT_MAX], &only_secrets()), "");
    }

    /// What dies before it did anything often ends with 2.
    #[test]
    fn status_2_is_off_only_with_the_line_that_says_so() {
        let judged = |text: &str| {
            let report = Report { end: End::Exited(2), output: text.as_bytes().to_vec() };
            assert!(judge(Order::Off, &report).is_err(), "{text}");
            assert_eq!(judge(Order::Read, &report), judge(Order::Check, &report), "{text}");
            judge(Order::Read, &report)
        };
        for text in ["Status: OFF\n", "a warning\n  status: off", "Status: OFF\r\n\n"] {
            assert_eq!(judged(text), Ok(Power::Off), "{text}");
        }
        for text in [
            "",
            "off",
            "python3: can't open file '/usr/sbin/fence_x': [Errno 2] No such file or directory",
            "/usr/sbin/fence_x: line 3: syntax error near unexpected token `fi'",
            "Please use '-h' for usage",
            "The Status: OFF",
            "Status: OFF or so",
            "Status: ON",
            "Status: OFF\nStatus: ON",
            "Status:",
        ] {
            assert_eq!(judged(text), Err(FenceFault::AgentFailed), "{text}");
        }
    }

    #[test]
    fn no_text_turns_a_failure_into_a_reading() {
        for text in ["", "off", "Status: OFF", "Success: Powered OFF", "login", "\u{fffd}"] {
            let report = Report { end: End::Exited(1), output: text.as_bytes().to_vec() };
            assert!(judge(Order::Read, &report).is_err(), "{text}");
            assert!(judge(Order::Off, &report).is_err(), "{text}");
        }
    }
}
