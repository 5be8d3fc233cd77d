//! The operator's tool: one table of commands, help, and exit statuses.
//!
//! Every command is a function that takes what is left of the command line. It knows nothing of
//! what the commands do.

mod age;
mod check;
mod client;
mod confirm_off;
mod events;
mod fence;
mod inspect_agents;
mod key;
mod keygen;
mod put_record;
mod put_word;
mod redfish_child;
mod replay;
mod run;
mod status;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use lexopt::Parser;

use crate::config::nearest::nearest;

/// It worked.
pub(crate) const OK: u8 = 0;
/// It was done, and the answer is no; or it failed.
pub(crate) const FAILED: u8 = 1;
/// It was not understood, or what it needs cannot be read.
pub(crate) const USAGE: u8 = 2;

/// One command.
struct Command {
    name: &'static str,
    /// What it is for, on one line.
    about: &'static str,
    /// All there is to say, shown by `tandem help NAME`.
    help: &'static str,
    run: fn(&mut Parser) -> Result<u8, Failure>,
}

/// All commands, in the order of `tandem --help`.
const COMMANDS: [Command; 9] = [
    Command { name: "run", about: "run the daemon", help: run::HELP, run: run::run },
    Command {
        name: "status",
        about: "show how the pair is, and what to do if it is not well",
        help: status::HELP,
        run: status::run,
    },
    Command {
        name: "events",
        about: "show what happened, and go on with what happens",
        help: events::HELP,
        run: events::run,
    },
    Command {
        name: "replay",
        about: "tell what the flight recorder kept: what the daemon was given, did, and why",
        help: replay::HELP,
        run: replay::run,
    },
    Command {
        name: "confirm-off",
        about: "say that a lost node holds nothing, so that this one may take over",
        help: confirm_off::HELP,
        run: confirm_off::run,
    },
    Command {
        name: "check",
        about: "check the configuration, tell all that is wrong with it",
        help: check::HELP,
        run: check::run,
    },
    Command {
        name: "fence",
        about: "ask a fence device for what its configuration needs",
        help: fence::HELP,
        run: fence::run,
    },
    Command {
        name: "key",
        about: "show the heartbeat keys, and change them on a running pair",
        help: key::HELP,
        run: key::run,
    },
    Command {
        name: "keygen",
        about: "make a new heartbeat key",
        help: keygen::HELP,
        run: keygen::run,
    },
];

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong: the text says how, the status is [`USAGE`].
    Usage(String),
    /// It went wrong: the text says why.
    Failed {
        /// The exit status.
        status: u8,
        /// What is told.
        text: String,
    },
}

impl Failure {
    /// It went wrong, for the reason of `text`.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed { status: FAILED, text: text.into() }
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(format!("cannot write the output: {error}"))
    }
}

/// Runs the program; the value is its exit status.
pub fn main() -> ExitCode {
    let mut parser = Parser::from_env();
    // Every command may come to read a secret.
    if let Err(error) = crate::io::machine::forbid_dumps()
        && warn(&format!("tandem: core dumps cannot be forbidden: {error}\n")).is_err()
    {
        return ExitCode::from(FAILED);
    }
    let status = dispatch(&mut parser).unwrap_or_else(|failure| {
        let (status, text) = match failure {
            Failure::Usage(text) => (USAGE, format!("{text}\nTry: tandem --help")),
            Failure::Failed { status, text } => (status, text),
        };
        // If not even that can be written, the status alone must do.
        warn(&format!("tandem: {text}\n")).map_or(status, |()| status)
    });
    ExitCode::from(status)
}

fn dispatch(parser: &mut Parser) -> Result<u8, Failure> {
    match parser.next()? {
        None => {
            warn(&overview())?;
            Ok(USAGE)
        }
        Some(lexopt::Arg::Short('h') | lexopt::Arg::Long("help")) => {
            say(&overview())?;
            Ok(OK)
        }
        Some(lexopt::Arg::Short('V') | lexopt::Arg::Long("version")) => {
            say(&format!("tandem {}\n", env!("CARGO_PKG_VERSION")))?;
            Ok(OK)
        }
        Some(lexopt::Arg::Value(name)) => {
            let name = name.to_string_lossy().into_owned();
            match name.as_str() {
                "help" => help(parser),
                put_record::NAME => put_record::run(parser),
                put_word::NAME => put_word::run(parser),
                inspect_agents::NAME => inspect_agents::run(parser),
                redfish_child::NAME => redfish_child::run(parser),
                name => (find(name)?.run)(parser),
            }
        }
        Some(arg @ (lexopt::Arg::Short(_) | lexopt::Arg::Long(_))) => Err(arg.unexpected().into()),
    }
}

fn help(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(name) = parser.next()? else {
        say(&overview())?;
        return Ok(OK);
    };
    let lexopt::Arg::Value(name) = name else { return Err(name.unexpected().into()) };
    say(find(&name.to_string_lossy())?.help)?;
    Ok(OK)
}

fn find(name: &str) -> Result<&'static Command, Failure> {
    let found = COMMANDS.iter().find(|command| command.name == name);
    found.ok_or_else(|| {
        let known = COMMANDS.iter().map(|command| command.name).chain(["help"]);
        let meant = nearest(name, known).map(|meant| format!("; did you mean {meant:?}?"));
        Failure::Usage(format!("no command is called {name:?}{}", meant.unwrap_or_default()))
    })
}

fn overview() -> String {
    let mut text = String::from(
        "tandem: two-node high availability with proof before takeover\n\n\
         Usage: tandem COMMAND [OPTION]...\n\nCommands:\n",
    );
    for command in &COMMANDS {
        text.push_str(&format!("  {:<12} {}\n", command.name, command.about));
    }
    text.push_str(&format!("  {:<12} {}\n", "help", "tell more of a command: tandem help COMMAND"));
    text.push_str("\nOptions:\n  -h, --help      show this\n  -V, --version   show the version\n");
    text
}

/// Writes what was asked for.
///
/// # Errors
/// If it cannot be written, because the disk is full or the reader is gone.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes what somebody should know, beside what was asked for.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn warn(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(text.as_bytes())
}
