//! `tandem check`: reads the configuration as the daemon would, and tells all that is wrong.

use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser, ValueExt};

use super::fence::readings::{Reading, failed, read, table};
use super::{FAILED, Failure, OK, USAGE, say, warn};
use crate::config::{self, At, Checked, Findings, Plan, disk};
use crate::io::fence::asking::Asking;
use crate::io::{self, machine};
use crate::wire::auth::Keys;

/// Shown by `tandem help check`.
pub(super) const HELP: &str = "\
Usage: tandem check [--config FILE] [--node NAME] [--print] [--online]

Reads the configuration as the daemon would: the file itself, the secret files it names, and the
NICs and addresses of this machine. Fence agents in /usr/sbin are asked for their metadata, so that
parameters that they do not know, or miss, are told, too. Every finding is told, each with its line,
what is wrong, and what to write instead. Nothing is changed. With --online every fence device is
asked for a reading, too, with a daemon or without one, as tandem fence test does.

Options:
  -c, --config FILE   the configuration (default /etc/tandem/tandem.toml)
  -n, --node NAME     read it as node NAME; otherwise as the node of this host's name
  -p, --print         print the normalised file, all defaults written out, if there is no error
      --online        ask all fence devices for a reading
  -h, --help          show this

Exit status:
  0   no error; there may be warnings
  1   there are errors: the daemon would not start; or a fence device of another node gives no
      reading
  2   the file cannot be read, or the command line is wrong
";

struct Options {
    config: PathBuf,
    node: Option<String>,
    print: bool,
    online: bool,
}

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(options) = parse(parser)? else {
        say(HELP)?;
        return Ok(OK);
    };
    let name = options.config.display().to_string();
    let unreadable = |why: String| Failure::Failed { status: USAGE, text: why };
    let text = disk::read_config(&options.config)
        .map_err(|error| unreadable(format!("cannot read {name}: {error}")))?;
    let facts = machine::facts()
        .map_err(|error| unreadable(format!("cannot ask this machine for its NICs: {error}")))?;
    let node = options.node.as_deref();
    let Checked { plan, mut findings, agents, authorities } =
        config::check(&name, &text, node, &facts, &disk::Disk);
    let misfits = io::agents::inspect(&agents)
        .map_err(|error| unreadable(format!("cannot ask the fence agents: {error}")))?;
    for At { place, value } in authorities {
        if let Err(wrong) = io::redfish::check_authority(&value) {
            let instead = "write the path of a PEM file with the authority's certificate";
            findings.error(&place, wrong, instead);
        }
    }
    findings.extend(misfits);
    let plan = plan.filter(|_| findings.errors() == 0);
    warn(&findings.to_string())?;
    let Some(plan) = plan else {
        warn(&format!("{name}: {}\n", counted(&findings)))?;
        return Ok(FAILED);
    };
    if options.print {
        say(&plan.normalised)?;
    } else {
        say(&summary(&options.config, &plan, &findings))?;
        say(&keys(&plan)?)?;
    }
    if options.online { ask_devices(&plan) } else { Ok(OK) }
}

/// Every fence device's reading. A node need not reach its own devices: only the others' count.
fn ask_devices(plan: &Plan) -> Result<u8, Failure> {
    let mut asking = Asking::new().map_err(|error| failed(&error))?;
    let readings = read(&mut asking, plan, &plan.nodes, None)?;
    asking.end().map_err(|error| failed(&error))?;
    say(&table(plan, &readings))?;
    let mut others = readings.iter().filter(|reading| reading.device.node != plan.local);
    Ok(if others.all(Reading::is_good) { OK } else { FAILED })
}

/// Nothing if help was asked for.
fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut options = Options {
        config: PathBuf::from(config::PATH_DEFAULT),
        node: None,
        print: false,
        online: false,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('c') | Arg::Long("config") => {
                options.config = PathBuf::from(parser.value()?);
            }
            Arg::Short('n') | Arg::Long("node") => options.node = Some(parser.value()?.string()?),
            Arg::Short('p') | Arg::Long("print") => options.print = true,
            Arg::Long("online") => options.online = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    Ok(Some(options))
}

fn summary(file: &Path, plan: &Plan, findings: &Findings) -> String {
    let devices = plan.devices.len();
    format!(
        "{}: ok: node {} (id {}) of {:?}: {}, {}, {}, {}; digest {:016x}; {}\n",
        file.display(),
        plan.names.node(plan.local),
        plan.local,
        plan.cluster,
        count(plan.links.len(), "link"),
        count(plan.nics.len(), "service NIC"),
        count(plan.vips.len(), "virtual IP"),
        count(devices, "fence device"),
        plan.config_digest,
        counted(findings),
    )
}

/// The fingerprints of the keys, to be compared with those of the other node.
fn keys(plan: &Plan) -> Result<String, Failure> {
    let second = plan.keys.second.as_ref().map(|key| &key.reveal()[..]);
    let keys = Keys::new(&plan.keys.first.reveal()[..], second)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let other = keys.other().map(|key| format!(", also accepted: {key}")).unwrap_or_default();
    let (file, sending) = (plan.key_file.display(), keys.sending());
    Ok(format!("{file}: heartbeat key {sending}{other} (the same on both nodes?)\n"))
}

fn counted(findings: &Findings) -> String {
    let errors = count(findings.errors(), "error");
    let warnings = count(findings.warnings(), "warning");
    match (findings.errors(), findings.warnings()) {
        (0, _) => warnings,
        (_, 0) => errors,
        (_, _) => format!("{errors}, {warnings}"),
    }
}

/// `1 link`, `2 links`, `no link`.
fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
