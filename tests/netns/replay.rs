//! What the flight recorder kept of a real failover, told again by `tandem replay`.

use crate::lab::Node;
use crate::pair::{self, Pair};

/// Events of the shell, which the engine knows nothing of: they are not in the recording.
const SHELL_KINDS: [&str; 4] = ["fence-weak", "link-socket", "operator", "recorder"];

/// The lines without their times, which the daemon takes from the wall clock a moment later than
/// the recorder does; and without those of the shell, and what it adds: why a link is as it is, and
/// what to do about a fence device.
fn events(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_once("  ").unwrap().1.to_owned());
    let is_engines = |line: &String| {
        let kind = line.split_whitespace().nth(1).unwrap();
        let datagrams = kind == "refused" && line.contains(" datagrams on link ");
        !SHELL_KINDS.contains(&kind) && !datagrams
    };
    lines.filter(is_engines).map(without_reason).collect()
}

fn without_reason(line: String) -> String {
    let is_link = line.split_whitespace().nth(1) == Some("link");
    let reason = line.split_once(" (").filter(|_| is_link);
    match reason.or_else(|| line.split_once("; what to do: ")) {
        Some((told, _reason)) => told.to_owned(),
        None => line,
    }
}

fn told(pair: &Pair) -> Vec<String> {
    events(&pair.lab.run(Node::B, &["tandem", "events"]))
}

/// All of B's recording; it must be whole, and lead to what was recorded.
fn replayed(pair: &Pair) -> Vec<String> {
    let output = pair.lab.exec(Node::B, &["tandem", "replay", "--events"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("another state"), "{stderr}");
    events(&String::from_utf8_lossy(&output.stdout))
}

/// The events of B's daemon and, behind those of earlier lives (`before`), the same ones replayed.
fn wait_same(pair: &Pair, before: &[String]) -> Vec<String> {
    let last = std::cell::RefCell::new(String::new());
    let same = || {
        let (told, replayed) = (told(pair), replayed(pair));
        let (earlier, present) = replayed.split_at_checked(before.len())?;
        if earlier == before && present == told {
            return Some(told);
        }
        // Something may have happened between the two questions.
        *last.borrow_mut() = format!("told:\n{told:#?}\nreplayed:\n{replayed:#?}");
        None
    };
    for _ in 0..20 {
        if let Some(told) = same() {
            return told;
        }
    }
    panic!("the recording tells another story:\n{}", last.borrow());
}

/// A loses its power, B fences it and takes over; then B's daemon is killed and adopts. Replayed,
/// both lives tell what the daemons themselves have told, line by line.
#[test]
fn a_replayed_failover_is_what_the_daemon_told_also_after_it_was_killed() {
    let Some(pair) = Pair::running(pair::config()) else { return };
    let begun = pair.lab.power_cut(Node::A);
    pair.wait_log(Node::B, "acquired: all resources", begun);
    pair.wait_role(Node::B, "active");
    pair.wait_outage(Node::B, begun);
    pair.wait_trouble(Node::B, "peer-missing");

    let first_life = wait_same(&pair, &[]);
    let is_told = |lines: &[String], part: &str| lines.iter().any(|line| line.contains(part));
    for part in [
        "role joining -> standby",
        "peer a lost",
        "role standby -> fencing",
        "proof: a holds nothing: its power reads off",
        "role fencing -> acquiring",
        "role acquiring -> active",
    ] {
        assert!(is_told(&first_life, part), "no {part:?} in {first_life:#?}");
    }
    let story = pair.lab.run(Node::B, &["tandem", "replay"]);
    for part in ["a daemon is started", "bmc-a, cut the power", "nothing new", ": all VIPs term="] {
        assert!(story.contains(part), "no {part:?} in\n{story}");
    }
    let last = pair.lab.run(Node::B, &["tandem", "replay", "--events", "--last", "1h"]);
    assert!(events(&last).ends_with(&first_life[first_life.len() - 1..]));

    let killed = pair.lab.kill_daemon(Node::B);
    pair.wait_log(Node::B, "an earlier daemon of this boot held the resources", killed);
    pair.wait_role(Node::B, "active");
    let second_life = wait_same(&pair, &first_life);
    assert!(is_told(&second_life, "role joining -> acquiring"), "{second_life:#?}");
    pair.end();
}
