//! `tandem events`: what happened, and what happens.

use lexopt::{Arg, Parser};

use super::age::utc;
use super::client::{Client, UNREACHABLE, socket_path};
use super::table::plain;
use super::{Failure, OK, say};
use crate::wire::control::{EventLevel, EventLine, Request, Response};

/// Shown by `tandem help events`.
pub(super) const HELP: &str = "\
Usage: tandem events [--follow] [--json] [--socket PATH]

Shows the events that the daemon keeps, the oldest first: time (UTC), level, kind, what happened.
Older ones are in the journal: journalctl -u tandem

Options:
  -f, --follow        go on with each new event until interrupted
      --json          one JSON object per line, as the daemon tells it
      --socket PATH   the daemon's control socket (default /run/tandem/control.sock)
  -h, --help          show this

Exit status:
  0   all was shown
  2   the command line is wrong
  4   no answer could be had from the daemon, or it broke off
";

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let (mut socket, mut follow, mut json) = (None, false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                say(HELP)?;
                return Ok(OK);
            }
            Arg::Short('f') | Arg::Long("follow") => follow = true,
            Arg::Long("json") => json = true,
            Arg::Long("socket") => socket = Some(parser.value()?),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let mut client = Client::ask(&socket_path(socket), &Request::Events { follow })?;
    let mut last = None;
    loop {
        let answer = client.next(UNREACHABLE)?;
        match answer.response {
            Response::Event(_) if json => say(&format!("{}\n", answer.line))?,
            Response::Event(event) => {
                say(&render(&event, last))?;
                last = Some(event.seq);
            }
            Response::Ok if follow => client.wait_for_ever()?,
            Response::Ok => return Ok(OK),
            Response::Status(_) | Response::Error(_) => return Err(client.unexpected()),
        }
    }
}

/// One event as one line, after a line that tells of any that were missed since number `last`.
fn render(event: &EventLine, last: Option<u64>) -> String {
    let missed = last.map_or(0, |last| event.seq.saturating_sub(last).saturating_sub(1));
    let gap = match missed {
        0 => String::new(),
        1 => "-- 1 event is missing here --\n".to_owned(),
        _ => format!("-- {missed} events are missing here --\n"),
    };
    let line = event_line(event.time_unix_ms, event.level, &event.event, &event.text);
    format!("{gap}{line}")
}

/// One event as one line.
pub(super) fn event_line(time_unix_ms: u64, level: EventLevel, kind: &str, text: &str) -> String {
    let level = match level {
        EventLevel::Alert => "ALERT",
        EventLevel::Warning => "warning",
        EventLevel::Info => "info",
    };
    let (time, kind, text) = (utc(time_unix_ms), plain(kind), plain(text));
    format!("{time}  {level:<7}  {kind:<14}  {text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_one_line_each_and_gaps_are_told() {
        let event = EventLine {
            seq: 7,
            time_unix_ms: 1_795_310_848_000,
            level: EventLevel::Alert,
            event: "frozen".to_owned(),
            text: "b is lost\nand silent".to_owned(),
            subject: "b".to_owned(),
        };
        let line = "2026-11-22 01:27:28Z  ALERT    frozen          b is lost?and silent\n";
        assert_eq!(render(&event, None), line);
        assert_eq!(render(&event, Some(6)), line);
        assert_eq!(render(&event, Some(5)), format!("-- 1 event is missing here --\n{line}"));
        assert_eq!(render(&event, Some(3)), format!("-- 3 events are missing here --\n{line}"));
        assert_eq!(render(&event, Some(9)), line);
    }
}
