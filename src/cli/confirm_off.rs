//! `tandem confirm-off`: an operator's word that a lost node has no power.
//!
//! Whether the word is taken is the daemon's to decide. The tool only carries it, with the name of
//! whoever gives it.

use std::net::IpAddr;

use lexopt::{Arg, Parser};

use super::client::{Client, socket_path};
use super::{FAILED, Failure, OK, say};
use crate::wire::control::{NAME_LEN_MAX, Request, Response};

/// Shown by `tandem help confirm-off`.
pub(super) const HELP: &str = "\
Usage: tandem confirm-off [--force] [--socket PATH] NODE

Says that NODE, which is lost, has no power, and that you have seen it. This node takes your word
for the proof that it could not get from the fence devices, and takes over.

If NODE still runs, two machines will hold the same addresses and write the same data. Look at the
machine itself, or at its power cables, before you say this. See first what tandem knows:
    tandem status

It is refused while NODE is heard. It demands --force while NODE's addresses still answer, a fence
device last read its power on, or this node has not looked yet or cannot.

Options:
      --force         overrule addresses that answer, a reading of on, and that nobody looked
      --socket PATH   the daemon's control socket (default /run/tandem/control.sock)
  -h, --help          show this

Exit status:
  0   the word was taken
  1   it was refused; the text says why
  2   the command line is wrong
  4   no answer could be had from the daemon
";

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let (mut socket, mut force, mut node) = (None, false, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                say(HELP)?;
                return Ok(OK);
            }
            Arg::Long("force") => force = true,
            Arg::Long("socket") => socket = Some(parser.value()?),
            Arg::Value(value) if node.is_none() => node = Some(value),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let node = node.ok_or_else(|| Failure::Usage("which node? tandem confirm-off NODE".into()))?;
    let node = node.to_string_lossy().into_owned();
    let by = caller();
    let request = Request::ConfirmOff { node: node.clone(), force, by: by.clone() };
    let mut client = Client::ask(&socket_path(socket), &request)?;
    if client.next(FAILED)?.response != Response::Ok {
        return Err(client.unexpected());
    }
    let by = by.map_or_else(|| "your word".to_owned(), |name| format!("the word of {name}"));
    say(&format!("{node} holds nothing, on {by}. It is on record. Now: tandem status\n"))?;
    Ok(OK)
}

/// The person behind this process as the environment tells: under sudo, the one who used it; and
/// the address that he came from, where SSH tells.
fn caller() -> Option<String> {
    let names =
        ["SUDO_USER", "LOGNAME", "USER"].into_iter().filter_map(|key| std::env::var(key).ok());
    let name = names.into_iter().find(|name| is_name(name))?;
    let connection = std::env::var("SSH_CONNECTION").unwrap_or_default();
    Some(with_origin(name, &connection))
}

/// `NAME@ADDRESS`, where `connection` (`ADDRESS PORT ADDRESS PORT`) tells the address.
fn with_origin(name: String, connection: &str) -> String {
    let address = connection.split(' ').next().and_then(|at| at.parse::<IpAddr>().ok());
    let full = address.map(|address| format!("{name}@{address}"));
    full.filter(|full| is_name(full)).unwrap_or(name)
}

fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_daemon_takes_are_sent() {
        assert!(is_name("alice"));
        for name in ["", "a b", "a\n", "caf\u{e9}", &"x".repeat(65)] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn where_an_operator_comes_from_is_told_where_it_is_known() {
        let from = |connection: &str| with_origin("alice".to_owned(), connection);
        assert_eq!(from("10.0.0.5 51000 10.0.0.1 22"), "alice@10.0.0.5");
        assert_eq!(from("fd00::5 51000 fd00::1 22"), "alice@fd00::5");
        assert_eq!(from(""), "alice");
        assert_eq!(from("nowhere 1 2 3"), "alice");
    }

    #[test]
    fn the_command_line_is_checked_before_anybody_is_asked() {
        let lines: [&[&str]; 3] = [&[], &["a", "b"], &["a", "--forced"]];
        for line in lines {
            let failure = run(&mut Parser::from_args(line)).err();
            assert!(matches!(failure, Some(Failure::Usage(_))), "{line:?}: {failure:?}");
        }
        let nobody = run(&mut Parser::from_args(["a", "--socket", "/nonexistent/control"]));
        assert!(matches!(nobody, Err(Failure::Failed { status: 4, .. })), "{nobody:?}");
    }
}
