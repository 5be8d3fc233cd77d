//! `tandem key`: which heartbeat keys are used, and the steps that change them on a running pair.
//!
//! It writes the key file, which the daemon may not, and asks the daemon before and after: before,
//! whether the step would cut the other node off; after, to take what the file says now. Which step
//! is safe is the daemon's to decide.

mod advice;
mod file;

use core::time::Duration;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lexopt::{Arg, Parser, ValueExt};
use zeroize::Zeroizing;

use self::file::Held;
use super::client::{Client, UNREACHABLE, refused, socket_path};
use super::keygen::draw_key;
use super::{FAILED, Failure, OK, say};
use crate::config::key_file::{KEY_FILE_LEN_MAX, Second};
use crate::config::{HeartbeatKey, KeyFile};
use crate::wire::control::status::KeyState;
use crate::wire::control::{Code, KeyStep, KeyText, Request, Response, Status};

/// Shown by `tandem help key`.
pub(super) const HELP: &str = "\
Usage: tandem key [--socket PATH]
       tandem key add [FILE | -] | use [KEY] | drop [KEY] | reload  [--force] [--socket PATH]

Shows which heartbeat keys this node and the other one use, by their fingerprints, and what to do
next. To change the key of a running pair, on node a, with b as the other node:

    tandem key add                                       make a new key, accept it here
    ssh root@b tandem key add - </etc/tandem/key         accept it there
    tandem key use;   ssh root@b tandem key use          send with it, on both
    tandem key drop;  ssh root@b tandem key drop         forget the old one, on both

No daemon is restarted and no heartbeat is lost. Each step says what comes next, may be done again,
and is refused if it would cut the other node off. If in doubt: tandem key, on either node.

  add          makes a new key and accepts it besides the one that is used
  add FILE     the same with the key that is in FILE and not here; - is the standard input
  use          sends with the new key from now on; the old one is still accepted
  drop         forgets the old key
  reload       reads the key file again, after it was changed by hand
  KEY          the fingerprint of the key that is meant, where the file does not tell

Options:
      --force         overrule that the other node is not heard, never what it says
      --socket PATH   the daemon's control socket (default /run/tandem/control.sock)
  -h, --help          show this

Exit status:
  0   done, or there was nothing to do
  1   refused, or it failed; nothing is changed
  2   the command line is wrong
  4   no answer could be had from the daemon
";

/// How long a step is waited for: longer than any key has to be withdrawn.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// How old the daemon's permission may be when the file is replaced: less than for how long it
/// holds.
const PERMISSION_AGE_MAX: Duration = Duration::from_millis(500);

enum Step {
    Show,
    Add(Option<PathBuf>),
    Use(Option<String>),
    Drop(Option<String>),
    Reload,
}

struct Options {
    step: Step,
    force: bool,
    socket: Option<OsString>,
}

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(options) = parse(parser)? else {
        say(HELP)?;
        return Ok(OK);
    };
    let daemon = Daemon { socket: socket_path(options.socket), force: options.force };
    let state = daemon.state()?;
    if let Step::Show = options.step {
        say(&shown(&state))?;
        return Ok(OK);
    }
    let held = file::lock(Path::new(&state.keys.file))?;
    let plan = match options.step {
        Step::Show | Step::Reload => Planned::Change(None),
        Step::Add(from) => plan_add(&held, &state, from.as_deref())?,
        Step::Use(key) => plan_use(&held, &state, key.as_deref())?,
        Step::Drop(key) => plan_drop(&held, &state, key.as_deref())?,
    };
    let told = match plan {
        Planned::Nothing(why) => why,
        Planned::Change(new) => {
            let settle = Duration::from_millis(state.keys.settle_ms);
            daemon.change(&held, new.as_ref(), settle)?;
            "done".to_owned()
        }
    };
    say(&format!("{told}\n{}", shown(&daemon.state()?)))?;
    Ok(OK)
}

/// The keys of both nodes and the next step, as far as the file can be read.
fn shown(state: &Status) -> String {
    let held = file::read(Path::new(&state.keys.file)).ok();
    let is_same = held.as_ref().is_some_and(|held| in_step(held, state).is_ok());
    advice::table(state, held.as_ref().and_then(Held::second), is_same)
}

/// Nothing if help was asked for.
fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let (mut words, mut force, mut socket) = (Vec::new(), false, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("force") => force = true,
            Arg::Long("socket") => socket = Some(parser.value()?),
            Arg::Value(word) if words.len() < 2 => words.push(word.string()?),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let mut words = words.into_iter();
    let (word, argument) = (words.next(), words.next());
    let step = match (word.as_deref(), argument) {
        (None, _) if force => {
            return Err(Failure::Usage("--force needs a step to be forced".to_owned()));
        }
        (None, _) => Step::Show,
        (Some("add"), from) => Step::Add(from.map(PathBuf::from)),
        (Some("use"), key) => Step::Use(key),
        (Some("drop"), key) => Step::Drop(key),
        (Some("reload"), None) => Step::Reload,
        (Some("reload"), Some(more)) => {
            return Err(Failure::Usage(format!("reload takes nothing, not {more:?}")));
        }
        (Some(other), _) => {
            let known = "add, use, drop and reload";
            return Err(Failure::Usage(format!(
                "there is no step {other:?}; the steps are {known}"
            )));
        }
    };
    Ok(Some(Options { step, force, socket }))
}

/// What has to be done.
enum Planned {
    /// It is so already, or there is no need.
    Nothing(String),
    /// The file gets this content, or stays as it is, and the daemon takes it.
    Change(Option<KeyFile>),
}

fn plan_add(held: &Held, state: &Status, from: Option<&Path>) -> Result<Planned, Failure> {
    let old = in_step(held, state)?;
    let given = from.map(read_given).transpose()?;
    let new = match given {
        None if old.second.is_some() => return Err(two_already(state)),
        None => draw_key()?,
        Some(given) => {
            let keys = [Some(given.first), given.second.map(|(key, _)| key)];
            let mut unknown = keys.into_iter().flatten().filter(|key| !holds(old, key));
            match (unknown.next(), unknown.next()) {
                (None, _) => {
                    let why = "nothing to do: all keys in it are accepted here already";
                    return Ok(Planned::Nothing(why.to_owned()));
                }
                (Some(_), _) if old.second.is_some() => return Err(two_already(state)),
                (Some(new), None) => new,
                (Some(_), Some(_)) => {
                    return Err(Failure::failed(
                        "not done: no key in it is known here: it is the file of another pair, or \
                         this node has missed a step\n  do: compare `tandem key` on both nodes",
                    ));
                }
            }
        }
    };
    let second = Some((new, Second::Added));
    Ok(Planned::Change(Some(KeyFile { first: old.first.clone(), second })))
}

fn holds(file: &KeyFile, key: &HeartbeatKey) -> bool {
    file.first == *key || file.second.as_ref().is_some_and(|(second, _)| second == key)
}

fn two_already(state: &Status) -> Failure {
    let KeyState { sends, accepts, .. } = &state.keys;
    Failure::failed(format!(
        "not done: two keys are accepted already, {sends} and {accepts}\n  do: see what is next: \
         tandem key; to give the new one up: tandem key drop {accepts}"
    ))
}

/// The keys of a file that was brought here.
fn read_given(path: &Path) -> Result<KeyFile, Failure> {
    let text = if path.as_os_str() == "-" {
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_LEN_MAX));
        let bound = u64::try_from(KEY_FILE_LEN_MAX).unwrap_or(u64::MAX);
        let read = std::io::stdin().lock().take(bound).read_to_string(&mut text);
        read.map_err(|error| Failure::failed(format!("cannot read the key: {error}")))?;
        text
    } else {
        file::text(path)?
    };
    KeyFile::parse(&text).map_err(|faults| file::explain(path, &faults))
}

fn plan_use(held: &Held, state: &Status, key: Option<&str>) -> Result<Planned, Failure> {
    let old = in_step(held, state)?;
    let KeyState { sends, accepts, .. } = &state.keys;
    let already = || Planned::Nothing(format!("nothing to do: {sends} is sent with already"));
    let Some((other, what)) = &old.second else {
        return match key {
            Some(key) if key == sends => Ok(already()),
            Some(key) => Err(no_such_key(key, state)),
            None => {
                Err(Failure::failed("not done: there is only one key here\n  do: tandem key add"))
            }
        };
    };
    match (key, what) {
        (Some(key), _) if key == sends => return Ok(already()),
        (Some(key), _) if key != accepts => return Err(no_such_key(key, state)),
        (None, Second::Replaced) => return Ok(already()),
        (None, Second::Untold) => return Err(name_it("use", state)),
        (Some(_), _) | (None, Second::Added) => {}
    }
    let second = Some((old.first.clone(), Second::Replaced));
    Ok(Planned::Change(Some(KeyFile { first: other.clone(), second })))
}

fn plan_drop(held: &Held, state: &Status, key: Option<&str>) -> Result<Planned, Failure> {
    let old = in_step(held, state)?;
    let KeyState { sends, accepts, .. } = &state.keys;
    let Some((_, what)) = &old.second else {
        return match key {
            Some(key) if key == sends => Err(sent_with(sends)),
            Some(_) | None => {
                Ok(Planned::Nothing(format!("nothing to do: {sends} is the only key here")))
            }
        };
    };
    match (key, what) {
        (Some(key), _) if key == sends => return Err(sent_with(sends)),
        (Some(key), _) if key != accepts => return Err(no_such_key(key, state)),
        (None, Second::Added) => {
            return Err(Failure::failed(format!(
                "not done: the second key, {accepts}, is the new one, and it is not used yet\n  \
                 do: tandem key use; or, to give it up: tandem key drop {accepts}"
            )));
        }
        (None, Second::Untold) => return Err(name_it("drop", state)),
        (Some(_), _) | (None, Second::Replaced) => {}
    }
    Ok(Planned::Change(Some(KeyFile { first: old.first.clone(), second: None })))
}

fn sent_with(key: &str) -> Failure {
    Failure::failed(format!(
        "not done: {key} is the key that this node sends with\n  do: let it send with the other \
         one first: tandem key use"
    ))
}

fn no_such_key(key: &str, state: &Status) -> Failure {
    let KeyState { sends, accepts, .. } = &state.keys;
    let known = if accepts.is_empty() { sends.clone() } else { format!("{sends} and {accepts}") };
    Failure::failed(format!("not done: there is no key {key:?} here, only {known}"))
}

fn name_it(step: &str, state: &Status) -> Failure {
    let KeyState { sends, accepts, .. } = &state.keys;
    Failure::failed(format!(
        "not done: the file was written by hand and does not tell which of {sends} and {accepts} \
         is the new key\n  do: name the one that is meant: tandem key {step} FINGERPRINT"
    ))
}

/// The file, if it is what the daemon uses.
fn in_step<'a>(held: &'a Held, state: &Status) -> Result<&'a KeyFile, Failure> {
    let (sends, accepts) = held.fingerprints()?;
    if (&sends, &accepts) == (&state.keys.sends, &state.keys.accepts) {
        return Ok(&held.file);
    }
    Err(Failure::failed(format!(
        "not done: {} was changed since the daemon read it\n  do: see that it is right: tandem \
         check; then: tandem key reload",
        state.keys.file
    )))
}

/// The daemon, as the steps need it.
struct Daemon {
    socket: PathBuf,
    force: bool,
}

impl Daemon {
    fn ask(&self, request: &Request) -> Result<Response, Failure> {
        Client::ask(&self.socket, request)?.answer()
    }

    fn state(&self) -> Result<Status, Failure> {
        let mut client = Client::ask(&self.socket, &Request::Status)?;
        match client.next(UNREACHABLE)?.response {
            Response::Status(status) if status.keys.sends.is_empty() => Err(Failure::failed(
                "the daemon tells nothing of its keys: it is older than this program",
            )),
            Response::Status(status) => Ok(*status),
            Response::Ok | Response::Error(_) | Response::Event(_) => Err(client.unexpected()),
        }
    }

    /// Asks for leave, writes the file, and lets the daemon take it; nothing is changed if it will
    /// not.
    fn change(&self, held: &Held, new: Option<&KeyFile>, settle: Duration) -> Result<(), Failure> {
        let text = new.map_or_else(|| held.file.to_text(), KeyFile::to_text);
        let keys = KeyText::new(&text);
        let written = new.map(|_| held.write_beside(&text)).transpose()?;
        loop {
            self.prepare(&keys, settle)?;
            let permitted = now();
            let Some(written) = &written else { break };
            if permitted.elapsed() > PERMISSION_AGE_MAX {
                continue;
            }
            written.put_in_place()?;
            break;
        }
        let take = Request::Keys { step: KeyStep::Take, keys, force: self.force };
        let failure = match self.ask(&take) {
            Ok(Response::Ok) => return Ok(()),
            Ok(Response::Error(failure)) => refused(&failure, FAILED),
            Ok(Response::Status(_) | Response::Event(_)) => Failure::failed("an odd answer"),
            Err(failure) => failure,
        };
        if written.is_some() {
            // The daemon goes on with the old keys: so must the one after it.
            held.write_beside(&held.file.to_text())?.put_in_place()?;
        }
        Err(failure)
    }

    /// Asks until the daemon gives leave. What the other node did a moment ago needs some
    /// heartbeats to be told: for `settle` a refusal is not taken for the last word.
    #[allow(clippy::disallowed_methods, reason = "a tool may wait")]
    fn prepare(&self, keys: &KeyText, settle: Duration) -> Result<(), Failure> {
        let begun = now();
        let request =
            Request::Keys { step: KeyStep::Prepare, keys: keys.clone(), force: self.force };
        loop {
            match self.ask(&request)? {
                Response::Ok => return Ok(()),
                Response::Error(failure)
                    if failure.code == Code::NotYet && begun.elapsed() < PATIENCE
                        || failure.code == Code::Denied && begun.elapsed() < settle =>
                {
                    std::thread::sleep(PAUSE);
                }
                Response::Error(failure) => return Err(refused(&failure, FAILED)),
                Response::Status(_) | Response::Event(_) => {
                    return Err(Failure::failed("the daemon gives an odd answer"));
                }
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a tool may look at the clock")]
fn now() -> Instant {
    Instant::now()
}
