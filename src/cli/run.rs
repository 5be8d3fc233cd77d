//! `tandem run`: the daemon, in the foreground, as the systemd unit starts it.

use core::time::Duration;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use super::{FAILED, Failure, OK, USAGE, say};
use crate::config::{self, Checked, MachineFacts, Plan, Severity, disk};
use crate::daemon;
use crate::io::{log as output, machine};

/// Shown by `tandem help run`.
pub(super) const HELP: &str = "\
Usage: tandem run [--config FILE] [--node NAME] [--log LEVEL]

Runs the daemon in the foreground until SIGTERM or SIGINT. What it holds is then released, the other
node is told and takes over at once. A NIC that is missing on this machine does not keep it from
starting; `tandem check` is stricter.

Options:
  -c, --config FILE   the configuration (default /etc/tandem/tandem.toml)
  -n, --node NAME     run as node NAME; otherwise as the node of this host's name
  -l, --log LEVEL     error, warn, info (the default) or debug
  -h, --help          show this

Exit status:
  0   told to stop, and everything was released
  1   the configuration has errors, or something that the daemon needs cannot be had
  2   the file cannot be read, or the command line is wrong
";

/// How long a daemon that cannot start waits before it says so to systemd.
const REST: Duration = Duration::from_secs(2);

struct Options {
    config: PathBuf,
    node: Option<String>,
    level: ::log::LevelFilter,
}

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(options) = parse(parser)? else {
        say(HELP)?;
        return Ok(OK);
    };
    output::init(options.level);
    let plan = load(&options).inspect_err(|_failure| rest())?;
    daemon::run(plan).map_err(|failure| Failure::failed(failure.to_string()))?;
    Ok(OK)
}

/// Systemd starts the daemon again after a tenth of a second, for the sake of one that was killed.
/// A file with errors is not mended by then: without a pause the log would be full of them.
#[allow(clippy::disallowed_methods, reason = "there is no loop yet")]
fn rest() {
    if std::env::var_os("INVOCATION_ID").is_some() {
        std::thread::sleep(REST);
    }
}

/// How much is logged, as the option has it.
fn level(text: &str) -> Result<::log::LevelFilter, &'static str> {
    text.parse().map_err(|_unknown| "write error, warn, info or debug")
}

/// Nothing if help was asked for.
fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut options = Options {
        config: PathBuf::from(config::PATH_DEFAULT),
        node: None,
        level: ::log::LevelFilter::Info,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('c') | Arg::Long("config") => {
                options.config = PathBuf::from(parser.value()?);
            }
            Arg::Short('n') | Arg::Long("node") => options.node = Some(parser.value()?.string()?),
            Arg::Short('l') | Arg::Long("log") => {
                options.level = parser.value()?.parse_with(level)?;
            }
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    Ok(Some(options))
}

/// The plan, if the file itself has no error. What is wrong with this machine alone (a NIC that is
/// missing, say) is told, and does not keep the daemon from standing by.
fn load(options: &Options) -> Result<Plan, Failure> {
    let name = options.config.display().to_string();
    let text = disk::read_config(&options.config).map_err(|error| Failure::Failed {
        status: USAGE,
        text: format!("cannot read {name}: {error}"),
    })?;
    let facts = machine::facts()
        .map_err(|error| Failure::failed(format!("cannot ask this machine: {error}")))?;
    // A node that is named here is this machine, whatever the host is called.
    let here = match &options.node {
        Some(_) => MachineFacts { host_name: String::new(), ..facts },
        None => facts,
    };
    let strict = config::check(&name, &text, options.node.as_deref(), &here, &disk::Disk);
    if let Some(plan) = strict.plan {
        tell(&strict.findings, Severity::Warning);
        return Ok(plan);
    }
    let unasked = MachineFacts { nics: Vec::new(), ..here };
    let node = options.node.as_deref();
    let Checked { plan, .. } = config::check(&name, &text, node, &unasked, &disk::Disk);
    let Some(plan) = plan else {
        tell(&strict.findings, Severity::Error);
        let text = format!("{name} has errors: see them with `tandem check --config {name}`");
        return Err(Failure::Failed { status: FAILED, text });
    };
    tell(&strict.findings, Severity::Warning);
    Ok(plan)
}

/// Logs what was found; what this machine alone lacks is at worst a warning.
fn tell(findings: &config::Findings, at_worst: Severity) {
    for finding in findings.iter() {
        let (line, key) = (finding.place.line, &finding.place.key);
        let text = format!("line {line}: {key}: {}; {}", finding.wrong, finding.instead);
        match (at_worst, finding.severity) {
            (Severity::Error, Severity::Error) => ::log::error!("{text}"),
            (Severity::Error | Severity::Warning, _) => ::log::warn!("{text}"),
        }
    }
}
