//! The relay between the daemon and its Redfish child: one task on the child's standard input, one
//! answer on its standard output.
//!
//! ```text
//! daemon ──{"order":"Off",...}──► child         one JSON document, then the end of file
//!        ◄──at: logging in──────── child         how far it is, for a child that is killed
//!        ◄──{"outcome":...}─────── child         the answer; what follows is cleaning up
//! ```
//!
//! The task holds the password: it has no `Debug`, and never appears in arguments.

use serde::{Deserialize, Serialize};

use crate::types::{FenceFault, Owner, Power};

/// The longest task in bytes.
pub const TASK_LEN_MAX: usize = 16 << 10;
/// The longest reason in an answer in bytes.
pub const REASON_LEN_MAX: usize = 600;
/// What a line begins with that tells how far the child is.
const STAGE: &str = "at: ";

/// What the child is to do.
#[derive(Serialize, Deserialize)]
pub struct Task {
    /// The order.
    pub order: Order,
    /// The BMC's address or name, without port.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// A user of the BMC.
    pub user: String,
    /// That user's password.
    pub password: String,
    /// Which ComputerSystem is meant: its Id or path; nothing if there is only one.
    pub system: Option<String>,
    /// How the BMC proves to be itself.
    pub trust: Trust,
    /// How the user is told to the BMC.
    pub login: Login,
    /// How long the child may take for its answer, in milliseconds.
    pub timeout_ms: u64,
    /// How long a power that is not yet off is read again, in milliseconds.
    pub watch_ms: u64,
    /// What an earlier child learned.
    pub hint: Option<Hint>,
    /// Whose the system must be to be told to switch.
    #[serde(default)]
    pub owner: Owner,
}

/// What is asked of the BMC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Cut the power.
    Off,
    /// Restore it.
    On,
    /// Tell the power.
    Read,
    /// Tell the power, and whether the BMC would take an `Off`.
    Check,
}

/// How the BMC proves to be itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Trust {
    /// By a certificate with this SHA-256 fingerprint; nothing else of it matters.
    Pinned([u8; 32]),
    /// By a certificate for its name or address, issued under an authority in this PEM file.
    Authority(String),
}

/// How the user is told to the BMC.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub enum Login {
    /// With a session, and with each request (HTTP Basic) if the BMC gives no session.
    #[default]
    Auto,
    /// With a session alone.
    Session,
    /// With each request alone.
    Basic,
}

/// What a child learned of a BMC, so that the next one need not ask again.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hint {
    /// The path of the ComputerSystem.
    pub system: String,
    /// The path to which resets are posted, if `ForceOff` is among them.
    pub off_target: Option<String>,
    /// The path of the sessions; nothing if the BMC gives none.
    pub sessions: Option<String>,
    /// The UUID of the system.
    pub uuid: Option<[u8; 16]>,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The power; [`Power::Unknown`] of an acknowledged command.
    pub outcome: Result<Power, FenceFault>,
    /// What is to be told besides: what is wrong and what to do, at most [`REASON_LEN_MAX`] bytes.
    pub reason: String,
    /// For the next child.
    pub hint: Option<Hint>,
    /// The UUID of the system, if the BMC told it.
    pub uuid: Option<[u8; 16]>,
}

impl Answer {
    /// The answer as a line.
    pub fn emit(&self) -> String {
        let answer = Self { reason: bounded(&self.reason), ..self.clone() };
        let text = serde_json::to_string(&answer).unwrap_or_default();
        format!("{text}\n")
    }
}

/// The line that tells how far the child is.
pub fn emit_stage(stage: &str) -> String {
    format!("{STAGE}{stage}\n")
}

/// The answer in what a child printed, once there is a whole line of it.
pub fn find_answer(output: &[u8]) -> Option<Answer> {
    let whole = output.iter().rposition(|byte| *byte == b'\n')?;
    let mut lines = output.get(..whole)?.split(|byte| *byte == b'\n');
    lines.find_map(|line| serde_json::from_slice(line).ok())
}

/// How far a child was that gave no answer.
pub fn find_stage(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(|line| line.strip_prefix(STAGE)).next_back().map(bounded)
}

/// `text` on one line, without control characters, at most [`REASON_LEN_MAX`] bytes.
pub fn bounded(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        if kept.len().saturating_add(c.len_utf8()) > REASON_LEN_MAX {
            break;
        }
        kept.push(if c.is_control() { ' ' } else { c });
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_answer_is_found_among_stages_once_its_line_is_whole() {
        let answer = Answer {
            outcome: Err(FenceFault::Certificate),
            reason: "two\nlines".to_owned(),
            hint: Some(Hint { system: "/x".to_owned(), ..Hint::default() }),
            uuid: Some([7; 16]),
        };
        let line = answer.emit();
        let printed = format!("{}{line}", emit_stage("logging in"));
        let found = find_answer(printed.as_bytes()).unwrap();
        assert_eq!(found, Answer { reason: "two lines".to_owned(), ..answer });
        let cut = printed.trim_end().as_bytes();
        assert_eq!(find_answer(cut), None);
        assert_eq!(find_stage(cut).as_deref(), Some("logging in"));
        assert_eq!(find_answer(b"{}\nnothing\n\n"), None);
        assert_eq!(find_stage(b"nothing"), None);
    }

    #[test]
    fn a_reason_is_cut_at_a_whole_character() {
        assert_eq!(bounded(&"é".repeat(REASON_LEN_MAX)).len(), REASON_LEN_MAX);
        assert_eq!(bounded("a\u{1b}[2Jb"), "a [2Jb");
    }
}
