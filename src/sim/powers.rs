//! What must be true when a node that was fenced is powered on again.

use super::World;
use crate::engine::event::ProofKind;
use crate::engine::settings::AfterFence;
use crate::engine::{Event, Order};
use crate::types::PeerState;

/// How many times a device may be told to switch its host on after one fence.
const POWER_ONS_MAX: u32 = 5;

impl World {
    /// What a machine has proven another one off by, the last time.
    pub(super) fn note_proof(&mut self, machine: usize, event: &Event) {
        let (Event::Proven { node, .. } | Event::ProofVoid { node, .. }) = event else { return };
        let is_fenced = matches!(event, Event::Proven { by: ProofKind::Fenced, .. });
        let host = usize::from(node.get()) - 1;
        self.ledger.powers_on[machine][host] = is_fenced.then_some(false);
        let own = self.devices.iter_mut().filter(|device| device.host == host);
        own.for_each(|device| device.power_ons = 0);
    }

    /// Whether a holder reads a device: only after it has told it to switch on.
    pub(super) fn is_powering_on(&self, machine: usize, device: usize) -> bool {
        let host = self.devices[device].host;
        self.is(machine, PeerState::Active) && self.ledger.powers_on[machine][host] == Some(true)
    }

    /// A host is powered on by who fenced it, when the service runs, and where that is wanted.
    pub(super) fn check_power_on(&mut self, machine: usize, device: usize, order: Order) {
        let host = self.devices[device].host;
        let wanted = self.plan.after_fence == AfterFence::PowersOn;
        self.expect(wanted, "it powers a node on that is to stay off");
        self.expect(host != machine, "it powers itself on");
        self.expect(!self.devices[device].is_witness, "it tells a witness to switch");
        self.expect(order != Order::Off, "it cuts the power of a node that it powers on");
        let complete = self.is(machine, PeerState::Active)
            && self.machines[machine].kernel.len() == usize::from(self.plan.vips);
        // Whoever lost all that it held is as one that holds nothing yet.
        let holds = self.machines[machine].holds();
        let since = &(if holds { self.ledger.holds_since } else { self.ledger.started_at });
        let robbed = self.ledger.deleted_at[machine] >= since[machine];
        self.expect(complete || robbed, "it powers a node on before its takeover is complete");
        let has_fenced = self.ledger.powers_on[machine][host].is_some();
        self.expect(has_fenced, "it powers a node on that it did not fence");
        let is_known = self.ledger.word(machine, host).is_some();
        self.expect(is_known || !self.is_timed(), "it powers a node on that it never heard");
        if order == Order::On {
            self.devices[device].power_ons += 1;
            let told = self.devices[device].power_ons;
            self.expect(told <= POWER_ONS_MAX, "it tells a node to power on without end");
            self.ledger.powers_on[machine][host] = Some(true);
        }
    }
}
