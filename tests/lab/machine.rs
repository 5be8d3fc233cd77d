//! One node: a machine with power.
//!
//! Power on makes a network namespace, the NICs, and a process tree in pid, mount and uts
//! namespaces of its own, with a new boot id and an empty `/run/tandem`. Power off silences the
//! ports, takes the carrier from direct cables and kills the tree; the namespace, and with it all
//! addresses, rules and neighbours, goes right behind. `/var/lib/tandem` and `/etc/tandem` stay.
//!
//! It does not know who switches the power, nor what the daemon is for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Node;
use super::clock::Stamp;
use super::log::{Line, Log};
use super::netns;
use super::switch::{Plug, Switch};

/// How long a boot may take.
const BOOT_MAX: Duration = Duration::from_secs(10);
/// How long a command in a node may take before it is killed.
const COMMAND_MAX: Duration = Duration::from_secs(10);

/// Whether and how the daemon is started at boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Not at all.
    Nothing,
    /// Once: if it dies, it stays dead.
    Once,
    /// By a supervisor that starts it again this long after it died.
    Supervised(Duration),
}

/// What a node consists of.
pub struct Parts {
    /// Which one.
    pub node: Node,
    /// Its network namespace.
    pub namespace: String,
    /// Its directory: what is kept over its boots.
    pub dir: PathBuf,
    /// Its NICs.
    pub plugs: Vec<Plug>,
    /// The addresses of its NICs: NIC and address with prefix length.
    pub addresses: Vec<(String, String)>,
    /// The `tandem` program.
    pub tandem: PathBuf,
    /// The daemon's command.
    pub daemon: Vec<String>,
    /// The daemon's environment, added to the lab's.
    pub environment: Vec<(String, String)>,
    /// Whether it is started at boot.
    pub start: Start,
}

/// The node.
pub struct Machine {
    parts: Parts,
    switch: Arc<Switch>,
    log: Arc<Log>,
    is_on: AtomicBool,
    body: Mutex<Body>,
}

enum Body {
    /// Without power; what is left of the last boot is being cleared away.
    Off(Option<JoinHandle<()>>),
    /// With power.
    On(Running),
    /// The lab is being taken down: there is no power any more.
    Dismantled,
}

struct Running {
    /// `unshare`, whose only child is the first process of the node.
    parent: Child,
    init: i32,
    launched: Vec<Child>,
}

impl Machine {
    /// A machine without power.
    pub fn new(parts: Parts, switch: Arc<Switch>) -> Self {
        for dir in ["etc", "state"] {
            fs::create_dir_all(parts.dir.join(dir)).unwrap();
        }
        for (name, text) in
            [("init.sh", include_str!("init.sh")), ("launch.sh", include_str!("launch.sh"))]
        {
            write_program(&parts.dir.join(name), text);
        }
        let log = Arc::new(Log::new(&parts.dir.join("log")));
        let body = Mutex::new(Body::Off(None));
        Self { parts, switch, log, is_on: AtomicBool::new(false), body }
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::SeqCst)
    }

    /// What its processes wrote.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its directory; `etc` there is its `/etc/tandem`, `state` its `/var/lib/tandem`.
    pub fn dir(&self) -> &Path {
        &self.parts.dir
    }

    /// Its network namespace, while it has power.
    pub fn namespace(&self) -> &str {
        &self.parts.namespace
    }

    /// The id of its present or last boot.
    pub fn boot_id(&self) -> String {
        fs::read_to_string(self.parts.dir.join("boot_id")).unwrap().trim().to_owned()
    }

    /// Gives it power and waits until it runs; nothing if it has power.
    pub fn boot(&self) {
        let mut body = self.lock();
        let Body::Off(clearing) = &mut *body else { return };
        if let Some(clearing) = clearing.take() {
            clearing.join().unwrap();
        }
        self.is_on.store(true, Ordering::SeqCst);
        let boot = self.prepare_boot();
        self.connect();
        let running = self.spawn_init(boot);
        *body = Body::On(running);
        drop(body);
        if self.parts.start != Start::Nothing {
            self.start_daemon(self.parts.start);
        }
    }

    /// Cuts the power: when this returns, nothing of it can be heard any more. The value is the
    /// moment just before.
    pub fn cut(&self) -> Stamp {
        let mut body = self.lock();
        let Body::On(_) = &*body else { return Stamp::now() };
        self.is_on.store(false, Ordering::SeqCst);
        let begun = self.switch.darken(&self.ports());
        let Body::On(mut running) = std::mem::replace(&mut *body, Body::Off(None)) else {
            unreachable!("seen above, under the same lock")
        };
        // The kernel kills all processes of the namespace with its first one.
        kill(Pid::from_raw(running.init), Signal::SIGKILL).ok();
        let (switch, ports) = (Arc::clone(&self.switch), self.ports());
        let namespace = self.parts.namespace.clone();
        *body = Body::Off(Some(thread::spawn(move || {
            netns::kill_all_in(std::slice::from_ref(&namespace));
            running.reap();
            switch.remove(&ports);
            netns::delete(&namespace);
        })));
        begun
    }

    /// Waits until nothing is left of a boot that lost its power.
    pub fn wait_cleared(&self) {
        let mut body = self.lock();
        if let Body::Off(clearing) = &mut *body
            && let Some(clearing) = clearing.take()
        {
            clearing.join().unwrap();
        }
    }

    /// Takes the power for good.
    pub fn dismantle(&self) {
        self.cut();
        self.wait_cleared();
        *self.lock() = Body::Dismantled;
    }

    /// Starts the daemon.
    pub fn start_daemon(&self, start: Start) {
        let restart = match start {
            Start::Nothing => return,
            Start::Once => "never".to_owned(),
            Start::Supervised(pause) => format!("{}", pause.as_secs_f64()),
        };
        let mut body = self.lock();
        let Body::On(running) = &mut *body else { panic!("{}: no power", self.parts.node) };
        let boot = self.boots();
        let mut command = enter_command(running.init);
        command.arg("/run/lab/dir/launch.sh").arg(restart).args(&self.parts.daemon);
        command.envs(self.parts.environment.iter().cloned());
        running.launched.push(self.spawn_followed(&mut command, boot));
    }

    /// The lab's number of the daemon's process, if it runs (or is stopped).
    pub fn daemon_pid(&self) -> Option<i32> {
        self.live_pid("daemon.pid")
    }

    /// The same of the shell that restarts the daemon.
    pub fn supervisor_pid(&self) -> Option<i32> {
        self.live_pid("launch.pid")
    }

    /// Runs a command in the node, bounded to ten seconds.
    pub fn exec(&self, argv: &[&str]) -> Output {
        let init = match &*self.lock() {
            Body::On(running) => running.init,
            Body::Off(_) | Body::Dismantled => panic!("{}: no power", self.parts.node),
        };
        let mut command = enter_command(init);
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(argv).env("PATH", format!("/run/lab:{path}"));
        output_within(&mut command, COMMAND_MAX)
    }

    /// Starts a command in the node and leaves it running until the power goes; its lines go to
    /// the log.
    pub fn spawn(&self, argv: &[&str]) {
        let mut body = self.lock();
        let Body::On(running) = &mut *body else { panic!("{}: no power", self.parts.node) };
        let mut command = enter_command(running.init);
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(argv).env("PATH", format!("/run/lab:{path}"));
        let child = self.spawn_followed(&mut command, self.boots());
        running.launched.push(child);
    }

    /// Which boot this is, counted from 1.
    fn boots(&self) -> u32 {
        let text = fs::read_to_string(self.parts.dir.join("boots")).unwrap_or_default();
        text.parse().unwrap_or(0)
    }

    /// Draws a boot id and forgets what the last boot left.
    fn prepare_boot(&self) -> u32 {
        let dir = &self.parts.dir;
        for name in ["init.pid", "daemon.pid", "launch.pid"] {
            drop(fs::remove_file(dir.join(name)));
        }
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        fs::write(dir.join("boot_id"), &uuid).unwrap();
        let boot = self.boots() + 1;
        fs::write(dir.join("boots"), boot.to_string()).unwrap();
        let text = format!("lab: power on, boot id {}", uuid.trim());
        self.log.push(Line { at: Stamp::now(), boot, text });
        boot
    }

    /// Makes the network namespace and the NICs, with their own addresses.
    fn connect(&self) {
        let namespace = &self.parts.namespace;
        netns::create(namespace);
        self.switch.plug(&self.parts.plugs);
        let mut lines = vec!["link set lo up".to_owned()];
        let up = |plug: &Plug| format!("link set {} up", plug.nic);
        lines.extend(self.parts.plugs.iter().map(up));
        for (nic, address) in &self.parts.addresses {
            // Without duplicate address detection an IPv6 address can be used at once.
            let nodad = if address.contains(':') { " nodad" } else { "" };
            lines.push(format!("addr add {address} dev {nic}{nodad}"));
        }
        netns::ip_batch(namespace, &lines);
        self.switch.settle(&self.ports());
    }

    fn spawn_init(&self, boot: u32) -> Running {
        let Parts { namespace, dir, node, tandem, .. } = &self.parts;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]);
        command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts"]);
        command.arg(dir.join("init.sh")).arg(node.letter()).arg(dir).arg(tandem);
        let parent = self.spawn_followed(&mut command, boot);
        Running { parent, init: self.wait_for_init(), launched: Vec::new() }
    }

    /// The lab's number of the node's first process, once it has set everything up.
    fn wait_for_init(&self) -> i32 {
        let begun = Stamp::now();
        loop {
            let text = fs::read_to_string(self.parts.dir.join("init.pid")).unwrap_or_default();
            if let Ok(init) = text.trim().parse() {
                return init;
            }
            let log = self.log.tail(20);
            assert!(begun.elapsed() < BOOT_MAX, "{} does not boot:\n{log}", self.parts.node);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts a process whose lines go to the log. It has a process group of its own: an interrupt
    /// from the terminal is for the lab.
    fn spawn_followed(&self, command: &mut Command, boot: u32) -> Child {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().unwrap();
        self.log.follow(child.stdout.take().unwrap(), boot);
        self.log.follow(child.stderr.take().unwrap(), boot);
        child
    }

    /// The number in a file of this boot, if such a process lives in this boot's pid namespace.
    fn live_pid(&self, name: &str) -> Option<i32> {
        let init = match &*self.lock() {
            Body::On(running) => running.init,
            Body::Off(_) | Body::Dismantled => return None,
        };
        let text = fs::read_to_string(self.parts.dir.join(name)).ok()?;
        let pid: i32 = text.trim().parse().ok()?;
        let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        // One that ended without being waited for has no link any more.
        (space(pid)? == space(init)?).then_some(pid)
    }

    fn ports(&self) -> Vec<String> {
        self.parts.plugs.iter().map(|plug| plug.port.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Body> {
        // A panic elsewhere must not keep the clean-up from working.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Waits for all children, which are dead.
    fn reap(&mut self) {
        for child in self.launched.iter_mut().chain([&mut self.parent]) {
            drop(child.wait());
        }
    }
}

/// Writes an executable file.
pub fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

/// What enters the node whose first process is `init`.
fn enter_command(init: i32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &init.to_string(), "--net", "--mount", "--pid", "--uts", "--"]);
    command
}

/// Runs a command, kills it after `limit`, and gives what it wrote and how it ended.
pub fn output_within(command: &mut Command, limit: Duration) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().unwrap();
    let group = Pid::from_raw(-i32::try_from(child.id()).unwrap());
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let killer = thread::spawn(move || {
        if waiting.recv_timeout(limit).is_err() {
            kill(group, Signal::SIGKILL).ok();
        }
    });
    let output = child.wait_with_output().unwrap();
    done.send(()).ok();
    killer.join().unwrap();
    output
}
