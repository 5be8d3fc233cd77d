//! What must be true of every proof by a power reading, and of what is said where there is none.

use core::time::Duration;

use super::World;
use super::device::{Device, Mode};
use super::ledger::Word;
use crate::engine::event::{FrozenCause, ProofKind};
use crate::types::{FenceFault, Instant, NodeId, Power};

/// How long a host is heard before its devices' off contradicts it, and what follows from it.
const CONTRADICTION: Duration = Duration::from_millis(2500);
/// How long after a reading its proof may come, and the host be on again.
const FENCED_MAX: Duration = Duration::from_secs(3);

impl World {
    /// The power was off, at the moment of the last reading at the latest. A lie that was found out
    /// before is no excuse.
    pub(super) fn check_proof_of_power(&mut self, machine: usize, node: NodeId, by: ProofKind) {
        match by {
            ProofKind::Fenced | ProofKind::Witnessed => {}
            ProofKind::Granted | ProofKind::Released | ProofKind::Confirmed => return,
        }
        let host = usize::from(node.get()) - 1;
        let is_recent = |at: Instant| at + FENCED_MAX >= self.now;
        let has_just_returned = self.ledger.returned_at[host].is_some_and(is_recent);
        let has_returned = self.ledger.was_off[machine][host] && has_just_returned;
        let was_off = !self.machines[host].powered || has_returned;
        let lies = |device: &Device| device.host == host && device.mode == Mode::ReadsOff;
        // Whoever was not told the machine of the host cannot know that a device is not its.
        let is_told = self.has_told_machine(machine, host);
        let unknown = |device: &Device| {
            device.host == host && ![host, machine].contains(&device.wired) && !is_told
        };
        self.excused |= !was_off && self.devices.iter().any(unknown);
        let excused = self.excused && self.devices.iter().any(|d| lies(d) || d.wired != d.host);
        self.expect(was_off || excused, "a power was on all the time that is proven off");
        let Some(word) = self.ledger.word(machine, host) else {
            // What shows nothing but off proves nothing to a daemon that never heard the host.
            let is_cut = by == ProofKind::Fenced || !self.is_timed();
            self.expect(is_cut, "a witness is believed that was never seen on");
            return;
        };
        let timing = &self.plan.timing;
        let own = self.devices.iter().filter(|device| device.host == host);
        let known_after = timing.fence_check_interval + timing.level_timeout * 2 + CONTRADICTION;
        let only_witnesses = own.clone().all(|device| device.is_witness);
        let witnessed = own.clone().any(|device| device.is_witness);
        self.expect(by == ProofKind::Fenced || witnessed, "a proof by a witness that is none");
        self.expect(by == ProofKind::Witnessed || !only_witnesses, "nobody can have cut a power");
        let known = own.clone().all(|device| {
            lies(device) && word.at.since(word.since.max(device.since)) > known_after
        });
        self.expect(was_off || !known, "it believes devices that are known to lie");
    }

    /// Whether a machine was told by a host whose machine it is: not on a line that says little.
    fn has_told_machine(&self, machine: usize, host: usize) -> bool {
        let full = usize::from(self.plan.links) - usize::from(self.plan.in_turns);
        let heard = |word: Word| word.at_on.iter().take(full).any(|at| *at != Instant::ZERO);
        self.plan.identities && self.ledger.word(machine, host).is_some_and(heard)
    }

    /// Why there is no proof is told truly.
    pub(super) fn check_frozen(&self, machine: usize, node: NodeId, cause: FrozenCause) {
        let host = usize::from(node.get()) - 1;
        let settle = self.plan.timing.level_timeout * 4;
        let changed_at = self.ledger.devices_changed_at.max(self.ledger.disturbed_at[machine]);
        let mut own = self.devices.iter().filter(|device| device.host == host);
        let is_wired = own.all(|device| device.wired == host && !device.was_stray);
        let is_stray = matches!(cause, FrozenCause::OwnMachine | FrozenCause::OtherMachine);
        self.expect(!(is_wired && is_stray), "a device that is right is told to be another's");
        if self.now.since(changed_at) < settle || !is_wired {
            return;
        }
        let is_true = self.devices.iter().filter(|d| d.host == host).any(|device| match cause {
            FrozenCause::NoDevice | FrozenCause::OwnMachine | FrozenCause::OtherMachine => false,
            FrozenCause::Unreachable => !device.has_power || device.mode == Mode::Dead,
            FrozenCause::Refuses(fault) => {
                device.mode == Mode::Refuses(fault)
                    || (fault == FenceFault::Refused && device.refuses_when_off)
            }
            FrozenCause::StaysOn => device.mode == Mode::StaysOn || device.outlet,
            FrozenCause::Unclear => {
                // So is the off of an agent that did not carry out the command before it.
                matches!(device.mode, Mode::Unclear | Mode::Mute)
                    || (self.plan.agents && !device.is_witness)
            }
            FrozenCause::WitnessOn => device.is_witness && device.reads(true) == Ok(Power::On),
            FrozenCause::NeverOn | FrozenCause::Answers => device.is_witness,
            // What lied once is not believed until it has read on.
            FrozenCause::Contradicted => {
                self.excused
                    || self.ledger.contradicts
                    || matches!(device.mode, Mode::Absent | Mode::ReadsOff)
            }
            FrozenCause::Failed(_) => {
                // The last of many readings of a power that stays on had no time left.
                matches!(device.mode, Mode::Hangs | Mode::StaysOn | Mode::Refuses(_))
                    || device.delay * 4 > self.plan.timing.level_timeout
                    // Off while a VIP answered, which ended too late to be read off again in time.
                    || device.is_witness
            }
        });
        let none = self.devices.iter().all(|device| device.host != host);
        self.expect(
            is_true || (none && cause == FrozenCause::NoDevice),
            "a cause that is not true",
        );
    }
}
