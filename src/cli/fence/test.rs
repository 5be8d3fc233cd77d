//! `tandem fence test`: whether a fence would give a proof, before it is needed.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use super::cycle;
use super::readings::{failed, ladder, read, table};
use crate::cli::client::{Client, UNREACHABLE, socket_path};
use crate::cli::{FAILED, Failure, OK, USAGE, say};
use crate::config::{self, Checked, Plan, disk};
use crate::io::fence::asking::Asking;
use crate::io::machine;
use crate::types::NodeId;
use crate::wire::control::{Request, Response, Status};

/// What is asked for.
pub(super) struct Options {
    pub(super) config: PathBuf,
    pub(super) local: Option<String>,
    pub(super) socket: Option<OsString>,
    pub(super) cycles: bool,
    pub(super) yes: bool,
    pub(super) node: Option<String>,
}

/// What is left of the command line; nothing if help was asked for.
fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut options = Options {
        config: PathBuf::from(config::PATH_DEFAULT),
        local: None,
        socket: None,
        cycles: false,
        yes: false,
        node: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Short('c') | Arg::Long("config") => {
                options.config = PathBuf::from(parser.value()?);
            }
            Arg::Short('n') | Arg::Long("node") => options.local = Some(parser.value()?.string()?),
            Arg::Long("socket") => options.socket = Some(parser.value()?),
            Arg::Long("power-cycle") => options.cycles = true,
            Arg::Long("yes") => options.yes = true,
            Arg::Value(value) if options.node.is_none() => options.node = Some(value.string()?),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    if options.cycles && options.node.is_none() {
        let usage = "which node? tandem fence test --power-cycle NODE";
        return Err(Failure::Usage(usage.to_owned()));
    }
    if options.yes && !options.cycles {
        return Err(Failure::Usage("--yes belongs to --power-cycle".to_owned()));
    }
    Ok(Some(options))
}

/// Runs it.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(options) = parse(parser)? else {
        say(super::HELP)?;
        return Ok(OK);
    };
    let plan = plan(&options)?;
    let nodes = nodes(&plan, options.node.as_deref())?;
    if options.cycles {
        return cycle::run(&options, &plan, &nodes);
    }
    // That no daemon answers is no obstacle: the devices are asked all the same.
    let status = status(&options).ok();
    let mut asking = Asking::new().map_err(|error| failed(&error))?;
    let readings = read(&mut asking, &plan, &nodes, status.as_ref())?;
    asking.end().map_err(|error| failed(&error))?;
    say(&table(&plan, &readings))?;
    let ladders = plan.ladders.iter().filter(|ladder| nodes.contains(&ladder.node));
    let mut would_freeze = Vec::new();
    for of_node in ladders {
        say(&ladder(&plan, of_node))?;
        let own = readings.iter().filter(|reading| reading.device.node == of_node.node);
        if of_node.levels.is_empty() || own.clone().any(|reading| !reading.is_good()) {
            would_freeze.push(plan.names.node(of_node.node));
        }
    }
    if would_freeze.is_empty() {
        say("\nEvery device gives a reading. Whether they cut: \
             tandem fence test --power-cycle NODE\n")?;
        return Ok(OK);
    }
    let names = would_freeze.join(" and ");
    say(&format!(
        "\nNot every device would give a proof: a fence of {names} may freeze the pair.\n"
    ))?;
    Ok(FAILED)
}

/// The plan of the configuration, as the daemon would read it.
fn plan(options: &Options) -> Result<Plan, Failure> {
    let name = options.config.display().to_string();
    let unreadable = |text: String| Failure::Failed { status: USAGE, text };
    let text = disk::read_config(&options.config)
        .map_err(|error| unreadable(format!("cannot read {name}: {error}")))?;
    let facts = machine::facts()
        .map_err(|error| unreadable(format!("cannot ask this machine for its NICs: {error}")))?;
    let Checked { plan, findings, .. } =
        config::check(&name, &text, options.local.as_deref(), &facts, &disk::Disk);
    plan.filter(|_| findings.errors() == 0)
        .ok_or_else(|| unreadable(format!("{name} has errors; tandem check tells them")))
}

/// The nodes that are meant: the one that is named, or all but this one.
fn nodes(plan: &Plan, named: Option<&str>) -> Result<Vec<NodeId>, Failure> {
    let others = plan.nodes.iter().copied().filter(|node| *node != plan.local);
    let Some(name) = named else { return Ok(others.collect()) };
    if plan.names.node(plan.local) == name {
        return Err(Failure::Usage(format!(
            "{name} is this node: its devices are the other node's to ask; run it there"
        )));
    }
    let found: Vec<NodeId> = others.clone().filter(|id| plan.names.node(*id) == name).collect();
    if found.is_empty() {
        let known: Vec<&str> = others.map(|id| plan.names.node(id)).collect();
        let known = known.join(" and ");
        return Err(Failure::Usage(format!("no other node is called {name:?}; there is {known}")));
    }
    Ok(found)
}

/// What the daemon of this node says of the pair.
pub(super) fn status(options: &Options) -> Result<Status, Failure> {
    let path = socket_path(options.socket.clone());
    let mut client = Client::ask(&path, &Request::Status)?;
    match client.next(UNREACHABLE)?.response {
        Response::Status(status) => Ok(*status),
        Response::Ok | Response::Error(_) | Response::Event(_) => Err(client.unexpected()),
    }
}
