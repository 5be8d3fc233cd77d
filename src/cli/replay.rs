//! `tandem replay`: what the flight recorder kept, run through the engine again and told.

use core::time::Duration;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lexopt::{Arg, Parser, ValueExt};

use super::age::utc_millis;
use super::events::event_line;
use super::table::plain;
use super::{FAILED, Failure, OK, USAGE, say, warn};
use crate::config::parse_duration;
use crate::flight::{Damage, Joint, Replay, Segment, Severity, Step, Story};
use crate::io::flight::{list, read};
use crate::types::Instant;
use crate::wire::control::EventLevel;

/// Shown by `tandem help replay`.
pub(super) const HELP: &str = "\
Usage: tandem replay [--events] [--last DURATION | --from SECONDS] [PATH]...

Runs what the flight recorder kept through the same engine again and tells what it was given, what
it did and why. Each PATH is a segment (/run/tandem/flight.N) or a directory of them; without one it
is /run/tandem. Of a directory the oldest segment comes first; what is in none of them is not known
any more. Copies can be replayed anywhere, by any user who may read them.

  12345.678901s 2026-11-22 01:27:28.123Z  what happened
      what the engine did about it, a line for each

The first column is the boot clock, by which everything was decided; the second the wall clock as it
was when the segment was begun. Heartbeats and ticks that were a matter of course are counted.

Options:
  -e, --events          only the events, as `tandem events` has them. The daemon tells what flaps at
                        most so often; here all of it stands
      --last DURATION   only what happened in the last 30s, 5m, 1h ... of the recording
      --from SECONDS    only what happened from this moment of the boot clock on
  -h, --help            show this

Exit status:
  0   all was told
  1   a segment is damaged, or the engine does not do again what was recorded; the rest was told
  2   the command line is wrong, or there is nothing that can be read
";

/// Where the daemon records unless the configuration says another place.
const PATH_DEFAULT: &str = "/run/tandem";

#[derive(Default)]
struct Options {
    paths: Vec<PathBuf>,
    events: bool,
    last: Option<Duration>,
    from: Option<Instant>,
}

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(options) = parse(parser)? else {
        say(HELP)?;
        return Ok(OK);
    };
    let files = load(&options.paths)?;
    let from = match options.last {
        Some(last) => end(&files).map(|end| {
            let nanos = u64::try_from(last.as_nanos()).unwrap_or(u64::MAX);
            Instant::from_nanos(end.as_nanos().saturating_sub(nanos))
        }),
        None => options.from,
    };
    let mut teller = Teller {
        events: options.events,
        from: from.unwrap_or(Instant::ZERO),
        story: Story::default(),
        replay: None,
        reached: Arc::default(),
        status: OK,
    };
    teller.explain_panics();
    for (path, bytes) in &files {
        teller.tell_segment(path, bytes)?;
    }
    Ok(teller.status)
}

/// Nothing if help was asked for.
fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Short('e') | Arg::Long("events") => options.events = true,
            Arg::Long("last") => {
                let text = parser.value()?.string()?;
                let wrong = |why| Failure::Usage(format!("--last: {why}"));
                options.last = Some(parse_duration(&text).map_err(wrong)?);
            }
            Arg::Long("from") => {
                let text = parser.value()?.string()?;
                options.from = Some(parse_moment(&text).ok_or_else(|| {
                    let text = plain(&text);
                    Failure::Usage(format!(
                        "--from: {text:?} is no moment: write it as the first column does, such as \
                         12345.678"
                    ))
                })?);
            }
            Arg::Value(path) => options.paths.push(PathBuf::from(path)),
            Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    if options.last.is_some() && options.from.is_some() {
        return Err(Failure::Usage("--last and --from exclude each other".to_owned()));
    }
    if options.paths.is_empty() {
        options.paths.push(PathBuf::from(PATH_DEFAULT));
    }
    Ok(Some(options))
}

/// `12345.678`, with or without an `s` behind it.
fn parse_moment(text: &str) -> Option<Instant> {
    let text = text.strip_suffix('s').unwrap_or(text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    Some(Instant::from_nanos(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?))
}

/// All segments that were asked for, in order.
fn load(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push((path.clone(), read(path).map_err(|error| unreadable(path, &error))?));
            continue;
        }
        let before = files.len();
        for (_, path) in list(path).map_err(|error| unreadable(path, &error))? {
            match read(&path) {
                Ok(bytes) => files.push((path, bytes)),
                // The daemon has just thrown it away to make room.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        if files.len() == before {
            return Err(nothing(path, "there is no recording in it"));
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::NotFound {
        return nothing(path, "there is nothing of that name");
    }
    let is_denied = error.kind() == ErrorKind::PermissionDenied;
    let remedy = if is_denied { ": ask as root" } else { "" };
    let text = format!("cannot read {}: {error}{remedy}", path.display());
    Failure::Failed { status: USAGE, text }
}

fn nothing(path: &Path, what: &str) -> Failure {
    let text = format!(
        "{}: {what}: the daemon records into `runtime-dir` of its configuration (default \
         {PATH_DEFAULT}) as flight.0, flight.1 ..., until the next reboot",
        path.display()
    );
    Failure::Failed { status: USAGE, text }
}

/// When the recording ends: the time of the last input that can be read.
fn end(files: &[(PathBuf, Vec<u8>)]) -> Option<Instant> {
    let last = |bytes: &[u8]| -> Option<Instant> {
        let mut segment = Segment::open(bytes).ok()?;
        let mut last = segment.header().at;
        while let Ok(Some((at, _))) = segment.next_input() {
            last = at;
        }
        Some(last)
    };
    files.iter().rev().find_map(|(_, bytes)| last(bytes))
}

struct Teller {
    events: bool,
    from: Instant,
    story: Story,
    /// What was run so far.
    replay: Option<Replay>,
    /// How far it was run, in nanoseconds of the boot clock.
    reached: Arc<AtomicU64>,
    status: u8,
}

impl Teller {
    /// An engine that broke one of its own rules does so again here: that is the finding.
    fn explain_panics(&self) {
        let reached = Arc::clone(&self.reached);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let at = Instant::from_nanos(reached.load(Ordering::Relaxed));
            let text = format!("tandem: the engine broke one of its own rules at {at}:\n");
            // If not even that can be written, the panic itself must do.
            drop(warn(&text));
            hook(panic);
        }));
    }

    fn tell_segment(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let mut segment = match Segment::open(bytes) {
            Ok(segment) => segment,
            Err(damage) => return self.note_damage(path, &damage),
        };
        let (mut replay, joint) = match Replay::begin(&mut segment, self.replay.take()) {
            Ok(begun) => begun,
            Err(damage) => return self.note_damage(path, &damage),
        };
        self.note_joint(path, &replay, joint)?;
        let mut heading = if self.events { String::new() } else { heading(path, &replay, joint) };
        loop {
            let (at, input) = match segment.next_input() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(damage) => {
                    self.tell_rest(&heading)?;
                    self.replay = None;
                    return self.note_damage(path, &damage);
                }
            };
            self.reached.store(at.as_nanos(), Ordering::Relaxed);
            let step = replay.step(at, input);
            if at < self.from {
                continue;
            }
            let text = self.text_of(&step, &replay);
            if !text.is_empty() {
                say(&heading)?;
                heading.clear();
                say(&text)?;
            }
        }
        self.tell_rest(&heading)?;
        if segment.torn_len() > 0 {
            let (path, len) = (path.display(), segment.torn_len());
            warn(&format!(
                "tandem: {path} ends in the middle of a line: its last {len} bytes are dropped\n"
            ))?;
        }
        self.replay = Some(replay);
        Ok(())
    }

    fn text_of(&mut self, step: &Step, replay: &Replay) -> String {
        let header = replay.header();
        if !self.events {
            let time =
                |at: Instant| format!("{:>16} {}", at.to_string(), utc_millis(header.wall_at(at)));
            let told = self.story.tell(step, header, &time);
            return told.lines().map(|line| format!("{}\n", plain(line))).collect();
        }
        let events = Story::events(step, &header.names);
        let lines = events.iter().map(|event| {
            let level = match event.severity {
                Severity::Error => EventLevel::Alert,
                Severity::Warning => EventLevel::Warning,
                Severity::Info => EventLevel::Info,
            };
            event_line(header.wall_at(event.at), level, event.kind, &event.text)
        });
        lines.collect()
    }

    /// What was only counted at the end of a segment.
    fn tell_rest(&mut self, heading: &str) -> Result<(), Failure> {
        let rest = self.story.take_count();
        if !self.events && !rest.is_empty() {
            say(heading)?;
            say(&rest)?;
        }
        Ok(())
    }

    fn note_damage(&mut self, path: &Path, damage: &Damage) -> Result<(), Failure> {
        self.status = FAILED;
        let path = path.display();
        warn(&format!("tandem: {path}: {damage}; nothing behind it in this segment is told\n"))?;
        Ok(())
    }

    fn note_joint(&mut self, path: &Path, replay: &Replay, joint: Joint) -> Result<(), Failure> {
        let version = &replay.header().version;
        let path = path.display();
        if version != env!("CARGO_PKG_VERSION") {
            let (theirs, ours) = (plain(version), env!("CARGO_PKG_VERSION"));
            warn(&format!(
                "tandem: {path} was recorded by tandem {theirs}, and this is {ours}: it may decide \
                 otherwise\n"
            ))?;
        }
        if joint == Joint::Diverged {
            self.status = FAILED;
            warn(&format!(
                "tandem: before {path} this engine has come to another state than the recorded \
                 one: what was told before is not what happened; from here on the recorded state \
                 counts\n"
            ))?;
        }
        Ok(())
    }
}

fn heading(path: &Path, replay: &Replay, joint: Joint) -> String {
    let header = replay.header();
    let node = plain(header.names.node(header.local));
    let joined = match joint {
        Joint::First | Joint::OtherLife if header.part == 0 => "a daemon is started",
        Joint::First | Joint::OtherLife => "what was before is not here",
        Joint::Seamless => "goes on",
        Joint::Diverged => "goes on, from the recorded state",
        Joint::Gap => "after a gap",
    };
    format!(
        "== {}: node {node} of {:?}, incarnation {}, boot {}: {joined}\n",
        path.display(),
        plain(&header.cluster),
        header.incarnation,
        header.boot,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_the_first_column_has_them() {
        let at = |nanos| Some(Instant::from_nanos(nanos));
        assert_eq!(parse_moment("12.000034s"), at(12_000_034_000));
        assert_eq!(parse_moment("7"), at(7_000_000_000));
        assert_eq!(parse_moment("0.5"), at(500_000_000));
        for wrong in ["", "s", "1.0000000001", "1:2", "-1", "1.x", "99999999999999999999"] {
            assert_eq!(parse_moment(wrong), None, "{wrong}");
        }
    }
}
