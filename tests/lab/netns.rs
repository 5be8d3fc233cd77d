//! Network namespaces: making them, working inside them, and removing all that a lab left behind.
//!
//! A lab's namespaces and its directory carry its prefix, `tl<pid>x<counter>`. Everything that a
//! lab starts lives in one of its namespaces, so that removing a prefix needs no other memory: it
//! works for this process and for one that was killed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock::Stamp;

const NAMES: &str = "/run/netns";
const LABS: &str = "/run/tandem-lab";
const PREFIX: &str = "tl";
/// How long processes may take to die of SIGKILL.
const DEATH_MAX: Duration = Duration::from_secs(5);

/// The directory of the lab with this prefix.
pub fn lab_dir(prefix: &str) -> PathBuf {
    Path::new(LABS).join(prefix)
}

/// The prefix of lab number `counter` of this process.
pub fn prefix(counter: u32) -> String {
    format!("{PREFIX}{}x{counter}", std::process::id())
}

/// Makes the directory of a lab and notes there who owns it.
pub fn claim(prefix: &str) -> PathBuf {
    let dir = lab_dir(prefix);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).unwrap();
    let pid = std::process::id();
    fs::write(dir.join("owner"), format!("{pid} {}", started(pid).unwrap())).unwrap();
    dir
}

/// Runs `f` on a thread of its own inside the namespace `name`; sockets it makes stay there.
pub fn inside<T: Send>(name: &str, f: impl FnOnce() -> T + Send) -> T {
    let enter_and_run = || {
        enter(name);
        f()
    };
    thread::scope(|scope| scope.spawn(enter_and_run).join().unwrap())
}

/// Moves the calling thread, never the main thread, into the namespace `name`.
pub fn enter(name: &str) {
    let file = File::open(Path::new(NAMES).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    setns(file, CloneFlags::CLONE_NEWNET).unwrap();
}

/// Makes the namespace `name`.
pub fn create(name: &str) {
    run(Command::new("ip").args(["netns", "add", name]));
}

/// Removes the namespace `name`; its NICs go when its last process and socket has gone.
pub fn delete(name: &str) -> bool {
    let mut command = Command::new("ip");
    let status = command.args(["netns", "del", name]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Feeds `lines` to `ip -batch` in the namespace `name`.
pub fn ip_batch(name: &str, lines: &[String]) {
    feed(Command::new("ip").args(["-n", name, "-batch", "-"]), &lines.join("\n"));
}

/// Runs a short command to its end with this standard input and demands success.
pub fn feed(command: &mut Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{input}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}\n{input}");
}

/// Runs a short command to its end and demands success; the value is its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Removes all labs whose owner is gone; the value is their prefixes.
pub fn sweep() -> Vec<String> {
    let mut prefixes = BTreeSet::new();
    for name in entries(LABS) {
        prefixes.insert(name);
    }
    for name in entries(NAMES) {
        if let Some((prefix, _)) = name.split_once('-') {
            prefixes.insert(prefix.to_owned());
        }
    }
    prefixes.retain(|prefix| owner_of(prefix).is_some_and(|pid| is_abandoned(prefix, pid)));
    for prefix in &prefixes {
        remove(prefix);
    }
    prefixes.into_iter().collect()
}

/// The process number in a prefix, if it is one of ours.
fn owner_of(prefix: &str) -> Option<u32> {
    let (pid, counter) = prefix.strip_prefix(PREFIX)?.split_once('x')?;
    let _: u32 = counter.parse().ok()?;
    pid.parse().ok()
}

/// Whether process `pid` no longer runs, or is another one than made this lab.
fn is_abandoned(prefix: &str, pid: u32) -> bool {
    let Some(started) = started(pid) else { return true };
    fs::read_to_string(lab_dir(prefix).join("owner"))
        .is_ok_and(|owner| owner != format!("{pid} {started}"))
}

/// When process `pid` was started, in the kernel's ticks: tells it from a later one of that number.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; 22 is `starttime`, and `state` behind it is 3.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Kills every process in the namespaces of `prefix`, removes them and its directory.
pub fn remove(prefix: &str) {
    let names: Vec<String> =
        entries(NAMES).into_iter().filter(|name| belongs(name, prefix)).collect();
    kill_all_in(&names);
    for name in &names {
        delete(name);
    }
    if let Err(error) = fs::remove_dir_all(lab_dir(prefix)) {
        assert!(error.kind() == ErrorKind::NotFound, "{prefix}: {error}");
    }
}

fn belongs(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'))
}

/// Kills every process in these namespaces and waits for their end.
pub fn kill_all_in(names: &[String]) {
    let begun = Stamp::now();
    loop {
        let pids = pids_in(names);
        if pids.is_empty() || begun.elapsed() > DEATH_MAX {
            return;
        }
        for pid in pids {
            // It may have ended meanwhile, which is just as good.
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The living processes of these namespaces, this one left out.
pub fn pids_in(names: &[String]) -> Vec<i32> {
    let inode = |name| fs::metadata(Path::new(NAMES).join(name)).map(|m| m.ino());
    let inodes: BTreeSet<u64> = names.iter().filter_map(|name| inode(name).ok()).collect();
    let own = std::process::id();
    let pids = entries("/proc").into_iter().filter_map(|name| name.parse::<i32>().ok());
    let lives_there = |pid: &i32| {
        // A process that has ended, but was not waited for, has no namespace any more.
        fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| inodes.contains(&m.ino()))
    };
    pids.filter(|pid| i64::from(*pid) != i64::from(own)).filter(lives_there).collect()
}

/// The names in a directory; none if there is no such directory.
fn entries(dir: impl AsRef<OsStr>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(dir.as_ref())) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
