//! Daemons that stand still, and wall clocks that jump (rows 18, 19 and 27).

use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::netns;
use crate::lab::plan::{LabConfig, service_mac};
use crate::pair::{Pair, config, patient, tell};

#[test]
fn a_standby_that_stood_still_longer_than_deadtime_fences_nobody() {
    let Some(pair) = Pair::running(config()) else { return };
    let begun = pair.lab.signal_daemon(Node::B, Signal::SIGSTOP);
    pair.wait_trouble(Node::A, "peer-missing");
    // Twice the deadtime, and A's old heartbeats fill the socket.
    let stood = pair.lab.config().deadtime * 2;
    pair.wait("it stood still", || (begun.elapsed() > stood).then_some(()));
    let continued = pair.lab.signal_daemon(Node::B, Signal::SIGCONT);
    pair.wait_log(Node::B, "stalled: this daemon woke", continued);
    pair.wait_whole(Node::A);
    for part in ["-> fencing", "-> isolated", "-> frozen", "peer a lost"] {
        pair.assert_not_logged(Node::B, part, begun);
    }
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}

/// A hung holder is left serving for `isolated-grace`; if it continues before, nothing has moved,
/// and every client is told again where the VIP is.
#[test]
fn a_holder_that_stood_still_shorter_than_the_grace_goes_on_serving() {
    let Some(pair) =
        Pair::running(LabConfig { isolated_grace: Duration::from_secs(10), ..config() })
    else {
        return;
    };
    let begun = pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    pair.wait_role(Node::B, "isolated");
    let continued = pair.lab.signal_daemon(Node::A, Signal::SIGCONT);
    let announced = pair.wait("the VIP is announced again", || {
        let heard = pair.observer.announcements();
        let ours = |a: &&crate::lab::observer::Announcement| {
            a.mac == service_mac(Node::A, 0) && a.at > continued
        };
        heard.iter().find(ours).map(|a| a.at)
    });
    tell("row 18, a continued holder", &[("announced after", announced.since(continued))]);
    pair.wait_whole(Node::A);
    assert_eq!(pair.count_power_cuts(Node::A, begun), 0);
    pair.assert_not_logged(Node::A, "-> releasing", begun);
    pair.assert_not_logged(Node::B, "-> fencing", begun);
    pair.assert_served_since(Node::A, begun);
    pair.end();
}

/// `CLOCK_REALTIME` of one process, an hour and ten years off, back and forth every 200 ms. A time
/// namespace cannot shift it, and the machine's own clock belongs to others.
const JUMPS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    static const long offsets[] = { 0, 3600, -3600, 315360000 };
    struct timespec boot;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    if (result == 0 && id == CLOCK_REALTIME && real(CLOCK_BOOTTIME, &boot) == 0)
        t->tv_sec += offsets[(boot.tv_sec * 5 + boot.tv_nsec / 200000000) % 4];
    return result;
}
"#;

/// Both daemons' wall clocks jump all the time, and the kernel's receive times do not follow: the
/// worst of a real jump, for ever. Nothing happens, and a failover takes as long as ever.
#[test]
fn a_wall_clock_that_jumps_moves_nothing() {
    let environment = vec![("LD_PRELOAD".to_owned(), "/etc/tandem/jumps.so".to_owned())];
    let Some(pair) = Pair::dark(LabConfig { environment, ..patient() }) else { return };
    for node in Node::BOTH {
        let library = pair.lab.machine(node).dir().join("etc/jumps.so");
        let mut gcc = Command::new("gcc");
        gcc.args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-o"]).arg(library).arg("-ldl");
        netns::feed(&mut gcc, JUMPS);
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    let begun = Stamp::now();
    // Every jump twice over, in both daemons.
    thread::sleep(Duration::from_millis(1700));
    for node in Node::BOTH {
        for part in ["late on all links", "stalled", "peer a lost", "peer b lost"] {
            pair.assert_not_logged(node, part, begun);
        }
    }
    pair.assert_served_since(Node::A, begun);
    let begun = pair.lab.power_cut(Node::A);
    let outage = pair.wait_outage(Node::B, begun);
    tell("row 19, a power cut while the clock jumps", &[("outage", outage)]);
    assert!(outage < pair.lab.config().deadtime * 4, "{outage:?}");
    pair.wait_role(Node::B, "active");
    // It did jump: the log's own times are the wall clock's, and between "late" and "lost" there
    // are 500 ms: two jumps or three, and four would make an hour again.
    let hour_of = |part: &str| {
        let line = pair.wait_log(Node::B, part, begun);
        line.text.split_once(':').unwrap().0.to_owned()
    };
    let (late, lost) = (hour_of("is late on all links"), hour_of("peer a lost"));
    assert_ne!(late, lost, "the clock did not jump");
    pair.end();
}
