//! Asks fence agents for their metadata, and tells what of the configuration does not fit it.
//!
//! An agent gets the line `action=metadata` and nothing else: it does not know which device is
//! meant. It waits, each agent has [`ANSWER_MAX`], and so it is for programs that may: `tandem
//! check`, and the child that the daemon starts for this.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use mio::{Events, Poll, Token};
use nix::errno::Errno;

use super::child::{Child, End, Report, Spec};
use crate::config::metadata::{AgentUse, METADATA_LEN_MAX, Metadata, Misfit};
use crate::sys::clock;
use crate::types::Instant;

/// How long an agent may take to print its metadata.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How many agents run at a time.
const AT_ONCE_MAX: usize = 4;

/// What does not fit of `agents`, those that are not of the system left out.
///
/// # Errors
/// If the system gives no poll.
pub fn inspect(agents: &[AgentUse]) -> io::Result<Vec<Misfit>> {
    let asked: Vec<&AgentUse> = agents.iter().filter(|agent| agent.is_asked()).collect();
    inspect_each(&asked)
}

/// What does not fit of `asked`, wherever these agents are. Each program is asked once, whatever
/// number of devices it serves.
///
/// # Errors
/// If the system gives no poll.
pub fn inspect_each(asked: &[&AgentUse]) -> io::Result<Vec<Misfit>> {
    let mut programs: Vec<PathBuf> = asked.iter().map(|agent| agent.program.clone()).collect();
    programs.sort();
    programs.dedup();
    let told = ask_all(&programs)?;
    let misfits = asked.iter().flat_map(|agent| match told.get(&agent.program) {
        Some(Told::Metadata(metadata)) => metadata.judge(agent),
        Some(Told::Nothing(why)) => vec![agent.untold(why)],
        // A program that is missing is told by the configuration's own check.
        Some(Told::Missing) | None => Vec::new(),
    });
    Ok(misfits.collect())
}

/// What became of asking an agent.
enum Told {
    Metadata(Metadata),
    Nothing(String),
    Missing,
}

fn ask_all(programs: &[PathBuf]) -> io::Result<BTreeMap<PathBuf, Told>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);
    let mut told = BTreeMap::new();
    for batch in programs.chunks(AT_ONCE_MAX) {
        let deadline = clock::now() + ANSWER_MAX;
        let mut running = BTreeMap::new();
        for (index, program) in batch.iter().enumerate() {
            match start(&poll, Token(index), program, deadline) {
                Ok(child) => drop(running.insert(Token(index), (program, child))),
                Err(error) => {
                    drop(told.insert(
                        program.clone(),
                        Told::Nothing(format!("it cannot be run: {error}")),
                    ));
                }
            }
        }
        while !running.is_empty() {
            let left = deadline.since(clock::now());
            match poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                if let Some((_, child)) = running.get_mut(&event.token()) {
                    child.ready(poll.registry());
                }
            }
            let now = clock::now();
            for (program, child) in running.values_mut() {
                child.expire(poll.registry(), now);
                if let Some(report) = child.take_report() {
                    drop(told.insert((*program).clone(), understand(&report)));
                }
            }
            // What is killed is reaped when it is dropped, at the latest.
            running.retain(|_, (program, _)| !told.contains_key(*program));
        }
    }
    Ok(told)
}

fn start(poll: &Poll, token: Token, program: &Path, deadline: Instant) -> io::Result<Child> {
    let input = b"action=metadata\n".to_vec();
    let spec = Spec { program: program.to_owned(), arguments: Vec::new(), input, deadline };
    // What agents warn of is printed around it.
    let kept_max = METADATA_LEN_MAX.saturating_mul(2);
    Child::start(poll.registry(), token, spec).map(|child| child.keep(kept_max))
}

fn understand(report: &Report) -> Told {
    let why = match report.end {
        End::Exited(_) => match Metadata::parse(&String::from_utf8_lossy(&report.output)) {
            Ok(metadata) => return Told::Metadata(metadata),
            Err(why) => why,
        },
        End::NotBegun(errno) if Errno::from_raw(errno) == Errno::ENOENT => return Told::Missing,
        End::NotBegun(errno) => {
            format!("it cannot be run: {}", io::Error::from_raw_os_error(errno))
        }
        End::Signalled(signal) => format!("signal {signal} ended it"),
        End::Deadline => format!("it printed nothing within {} s", ANSWER_MAX.as_secs()),
        End::Endless => "it prints without end".to_owned(),
        End::Cancelled => "it was not waited for".to_owned(),
    };
    Told::Nothing(why)
}
