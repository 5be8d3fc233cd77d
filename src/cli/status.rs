//! `tandem status`: how the pair is, for people and for monitors.

mod render;

use lexopt::{Arg, Parser};

use super::client::{Client, UNREACHABLE, socket_path};
use super::{FAILED, Failure, OK, say};
use crate::wire::control::status::Health;
use crate::wire::control::{Request, Response};

/// Shown by `tandem help status`.
pub(super) const HELP: &str = "\
Usage: tandem status [--json] [--socket PATH]

Shows how the pair is as this node sees it: first whether it is well, if not why and what to do;
then nodes, links, service NICs, virtual IPs and fence devices. A ! marks what is wrong, a * this
node.

Options:
      --json          one JSON object on one line; tandem(8) describes its keys
      --socket PATH   the daemon's control socket (default /run/tandem/control.sock)
  -h, --help          show this

Exit status:
  0   well: one node is active, another is ready to take over
  1   degraded: the service runs, but somebody should look
  2   the command line is wrong
  3   no service, or no safe one: starting, taking over, no active node, frozen, or a collision
  4   no answer could be had from the daemon; the text says how to see why
";

/// The exit status when there is no service, or no safe one.
const DOWN: u8 = 3;

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let (mut socket, mut json) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                say(HELP)?;
                return Ok(OK);
            }
            Arg::Long("json") => json = true,
            Arg::Long("socket") => socket = Some(parser.value()?),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let mut client = Client::ask(&socket_path(socket), &Request::Status)?;
    let answer = client.next(UNREACHABLE)?;
    let Response::Status(status) = answer.response else { return Err(client.unexpected()) };
    if json {
        say(&format!("{}\n", answer.line))?;
    } else {
        say(&render::render(&status))?;
    }
    Ok(exit_status(status.health))
}

/// What a monitor is told. A word that this tool does not know is taken for the worst.
fn exit_status(health: Health) -> u8 {
    match health {
        Health::Ok => OK,
        Health::Degraded => FAILED,
        Health::Starting
        | Health::TakingOver
        | Health::NoActive
        | Health::Frozen
        | Health::Collision
        | Health::Unknown => DOWN,
    }
}

#[cfg(test)]
mod tests;
