//! Child processes: what they inherit, why they do not begin, and what starting one costs the loop.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant as Wall};

use mio::{Events, Poll, Token};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tandem::io::child::{Child, End, Report, Spec};
use tandem::sys::{clock, priority};

const TIMEOUT: Duration = Duration::from_secs(10);

/// One at a time: what is measured must not be the other tests.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn spec(program: &Path, arguments: &[&str]) -> Spec {
    Spec {
        program: program.to_owned(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        input: b"action=status\n".to_vec(),
        deadline: clock::now() + TIMEOUT,
    }
}

fn run(program: &Path, arguments: &[&str]) -> Report {
    let mut poll = Poll::new().unwrap();
    let child = Child::start(poll.registry(), Token(1), spec(program, arguments)).unwrap();
    wait(&mut poll, child)
}

fn wait(poll: &mut Poll, mut child: Child) -> Report {
    let mut events = Events::with_capacity(8);
    loop {
        if let Some(report) = child.take_report() {
            return report;
        }
        poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
        child.ready(poll.registry());
        child.expire(poll.registry(), clock::now());
    }
}

fn shell(script: &str) -> String {
    let report = run(Path::new("/bin/sh"), &["-c", script]);
    assert_eq!(report.end, End::Exited(0));
    String::from_utf8(report.output).unwrap()
}

/// The error is told as such: no program can print it or end with it.
#[test]
fn a_program_that_cannot_be_begun_tells_why() {
    let _alone = alone();
    let directory = std::env::temp_dir().join(format!("tandem-child-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: &str, mode| {
        let path: PathBuf = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let cases = [
        (directory.join("missing"), libc::ENOENT),
        (file("no-interpreter", "#!/no/such/shell\n", 0o755), libc::ENOENT),
        (file("not-executable", "#!/bin/sh\n", 0o644), libc::EACCES),
        (file("no-program", "exit 2\n", 0o755), libc::ENOEXEC),
        (directory.clone(), libc::EACCES),
    ];
    for (path, errno) in cases {
        assert_eq!(run(&path, &[]).end, End::NotBegun(errno), "{}", path.display());
    }
    let end = run(Path::new("/bin/sh"), &["-c", "exit 127"]).end;
    assert_eq!(end, End::Exited(127), "its own word");
    fs::remove_dir_all(directory).unwrap();
}

/// Nothing of ours, not even a descriptor that somebody forgot to mark.
#[test]
fn a_child_has_three_descriptors_and_all_signals_as_the_system_has_them() {
    let _alone = alone();
    let forgotten = fs::File::open("/").unwrap();
    fcntl(&forgotten, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    assert!(forgotten.as_raw_fd() > 2);
    // The glob is read through a descriptor of the shell's own, which is gone again.
    assert_eq!(
        shell("for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; :"),
        "0\n1\n2\n"
    );
    let signals = shell("grep -E '^Sig(Blk|Ign)' /proc/self/status");
    // The test program ignores SIGPIPE, as every program of this language. 32 and 33 are the C
    // library's own, which lets nobody change them.
    let own = 0b11 << 31;
    for line in signals.lines() {
        let (what, mask) = line.split_once(":\t").unwrap();
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & !own, 0, "{what}");
    }
    let ids = shell("cut -d' ' -f1,5 /proc/$$/stat; pwd; cat");
    let mut lines = ids.lines();
    let (pid, group) = lines.next().unwrap().split_once(' ').unwrap();
    assert_eq!(pid, group, "a group of its own");
    assert_eq!(lines.collect::<Vec<_>>(), ["/", "action=status"]);
}

/// How the standard library would start the same.
fn start_with_the_standard_library() -> std::process::Child {
    Command::new("/bin/true")
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn median_and_worst(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}

/// Memory is locked and the priority real, as in the daemon: `fork` copies the page tables. In a
/// process of its own, since the stacks of many tests are locked, too.
#[test]
fn starting_a_child_costs_the_loop_less_than_a_millisecond() {
    const HERE: &str = "TANDEM_TEST_MEASURES_HERE";
    let _alone = alone();
    if std::env::var_os(HERE).is_some() {
        measure_start();
        return;
    }
    let name = "starting_a_child_costs_the_loop_less_than_a_millisecond";
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"];
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(arguments).env(HERE, "1").output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    print!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

fn measure_start() {
    let real = priority::set_realtime(50).is_ok() && priority::lock_memory().is_ok();
    let (mut own, mut library) = (Vec::new(), Vec::new());
    let mut poll = Poll::new().unwrap();
    for _ in 0..100 {
        let spec = spec(Path::new("/bin/true"), &[]);
        let begun = Wall::now();
        let child = Child::start(poll.registry(), Token(1), spec).unwrap();
        own.push(begun.elapsed());
        assert_eq!(wait(&mut poll, child).end, End::Exited(0));
        let begun = Wall::now();
        let mut child = start_with_the_standard_library();
        library.push(begun.elapsed());
        child.wait().unwrap();
    }
    let (own, library) = (median_and_worst(own), median_and_worst(library));
    let how = if real { "locked, real-time" } else { "as usual: not permitted" };
    println!("start ({how}, {} kB resident): median {:?}, worst {:?}", resident_kb(), own.0, own.1);
    println!("start with the standard library: median {:?}, worst {:?}", library.0, library.1);
    assert!(own.0 < Duration::from_millis(1), "{own:?}");
}

/// Something of more priority than the child's keeps the child's CPU: the program is not begun
/// for as long, as with a disk that hangs, and the loop goes on.
#[test]
fn starting_a_child_does_not_wait_until_its_program_is_begun() {
    const BUSY: Duration = Duration::from_millis(400);
    let _alone = alone();
    let measured = std::thread::spawn(|| {
        let mut cpus = CpuSet::new();
        cpus.set(0).unwrap();
        sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
        if priority::set_realtime(50).is_err() {
            println!("not permitted: real-time priority is needed");
            return None;
        }
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let hog = std::thread::spawn(move || {
            // Threads start as ordinary ones: SCHED_RESET_ON_FORK.
            priority::set_realtime(10).unwrap();
            let begun = Wall::now();
            while begun.elapsed() < BUSY && !told.load(Ordering::Relaxed) {}
        });
        std::thread::sleep(Duration::from_millis(50));
        let mut poll = Poll::new().unwrap();
        let spec = spec(Path::new("/bin/true"), &[]);
        let begun = Wall::now();
        let child = Child::start(poll.registry(), Token(1), spec).unwrap();
        let own = begun.elapsed();
        let begun = Wall::now();
        let mut other = start_with_the_standard_library();
        let library = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        hog.join().unwrap();
        other.wait().unwrap();
        assert_eq!(wait(&mut poll, child).end, End::Exited(0));
        Some((own, library))
    });
    if let Some((own, library)) = measured.join().unwrap() {
        println!("start beside a busy CPU: {own:?}; with the standard library: {library:?}");
        assert!(own < Duration::from_millis(50), "{own:?}");
    }
}
