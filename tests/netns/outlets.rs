//! A host with two supplies on two outlets: one level of two fence devices, which both must read
//! off (row 1, and row 2 with one of them failing).
//!
//! The outlets are scripted fence agents. The host loses its power, through its real BMC, when both
//! are off.

use nix::sys::signal::Signal;

use crate::attack::devices::{boot_with, frozen_cause, without_device};
use crate::lab::Node;
use crate::lab::clock::Stamp;
use crate::lab::machine::write_program;
use crate::pair::{Pair, config, tell};

/// A fence agent for one of two outlets, which are on unless a file says otherwise. The file
/// `broken-N` makes outlet N fail.
const AGENT: &str = r#"#!/bin/bash
while IFS='=' read -r name value; do
  case $name in action | plug) declare "$name=$value" ;; esac
done
dir=/etc/tandem
if [ -e "$dir/broken-$plug" ]; then echo 'Connection timed out'; exit 1; fi
if [ "$action" = off ]; then
  touch "$dir/off-$plug"
  if [ -e "$dir/off-1" ] && [ -e "$dir/off-2" ]; then
    ipmitool -I lanplus -C 3 -H 10.99.0.21 -U ADMIN -P 'hunter2!' chassis power off
  fi
elif [ -e "$dir/off-$plug" ]; then
  echo 'Status: OFF'
  exit 2
else
  echo 'Status: ON'
fi
"#;

/// A pair whose node A is fenced by its two outlets.
fn running() -> Option<Pair> {
    let config = config();
    let outlet = |plug: u8| {
        format!(
            "[[fence]]\nnode = \"a\"\ntype = \"agent\"\nname = \"outlet{plug}-a\"\n\
             agent = \"/etc/tandem/outlet\"\nparams = {{ plug = {plug} }}\ntimeout = \"2s\"\n"
        )
    };
    let toml = without_device(&config, Node::A, &format!("{}{}", outlet(1), outlet(2)));
    let pair = boot_with(config, &toml)?;
    for node in Node::BOTH {
        write_program(&pair.lab.machine(node).dir().join("etc/outlet"), AGENT);
        pair.lab.boot(node);
    }
    pair.wait_whole(Node::A);
    Some(pair)
}

/// A's kernel panics: nothing of it is heard, and its power stays on.
fn panic(pair: &Pair) -> Stamp {
    let begun = pair.lab.deafen(Node::A, &[]);
    pair.lab.signal_daemon(Node::A, Signal::SIGSTOP);
    begun
}

fn has_cut(pair: &Pair, plug: u8) -> bool {
    pair.lab.machine(Node::B).dir().join(format!("etc/off-{plug}")).exists()
}

#[test]
fn a_host_with_two_supplies_is_off_when_both_of_its_outlets_are() {
    let Some(pair) = running() else { return };
    let begun = panic(&pair);
    let proven = pair.wait_log(Node::B, "proof: a holds nothing: its power reads off", begun);
    assert!(has_cut(&pair, 1) && has_cut(&pair, 2), "proven by one outlet of two");
    assert!(!pair.lab.machine(Node::A).is_on(), "proven before it was off");
    let outage = pair.wait_outage(Node::B, begun);
    pair.wait_role(Node::B, "active");
    pair.assert_only_holder(Node::B);
    tell("two outlets", &[("proof", proven.at.since(begun)), ("outage", outage)]);
    pair.end();
}

/// One outlet of two is off, the other does not answer: that is no proof. The pair is frozen, says
/// for which device and why, and goes on by itself when the outlet works again.
#[test]
fn one_outlet_of_two_that_fails_freezes_the_pair_until_it_works_again() {
    let Some(pair) = running() else { return };
    let broken = pair.lab.machine(Node::B).dir().join("etc/broken-2");
    std::fs::write(&broken, "").unwrap();
    let trouble = pair.wait_trouble(Node::B, "fence-device");
    assert!(trouble["what"].as_str().unwrap().contains("outlet2-a"), "{trouble:#}");
    let begun = panic(&pair);
    let frozen = pair.wait_log(Node::B, "frozen: no proof that a", begun);
    let status = pair.wait_health(Node::B, "frozen");
    assert_eq!(frozen_cause(&status), Some("unreachable"), "{}: {status:#}", frozen.text);
    assert!(pair.lab.machine(Node::A).is_on(), "it lives on its other supply");
    pair.assert_not_logged(Node::B, "-> acquiring", begun);

    let mended = Stamp::now();
    std::fs::remove_file(&broken).unwrap();
    pair.wait_role(Node::B, "active");
    assert!(!pair.lab.machine(Node::A).is_on(), "taken over while A had power");
    pair.wait_served_by(Node::B);
    pair.assert_only_holder(Node::B);
    tell("one outlet of two fails", &[("until it is believed again", mended.elapsed())]);
    pair.end();
}
