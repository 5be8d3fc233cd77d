//! An operator's word that a node holds nothing, and what is said against it.

use super::effect::{Answer, Denial, Effect, Effects};
use super::event::{Event, ProofKind};
use super::input::RequestId;
use super::look::Verdict;
use super::node::Node;
use super::proof::Proof;
use crate::types::{NodeId, Power};

/// Evidence that an operator confirmed a node to be off, and nothing stood against it.
#[derive(Debug)]
pub(super) struct Confirmation {
    node: NodeId,
}

impl Confirmation {
    pub(super) fn node(&self) -> NodeId {
        self.node
    }
}

impl Node {
    /// Takes an operator's `confirm-off` in and answers it. Being heard cannot be overruled: who
    /// speaks is not off. Other evidence can, with `force`.
    pub(super) fn confirm_off(
        &mut self,
        request: RequestId,
        node: NodeId,
        force: bool,
        out: &mut Effects,
    ) {
        let answer = match self.check_confirmation(node, force) {
            Ok(confirmation) => {
                self.take_confirmation(confirmation, force, out);
                Answer::Accepted
            }
            Err(denial) => Answer::Denied(denial),
        };
        out.push(Effect::Answer { request, answer });
    }

    fn check_confirmation(&self, node: NodeId, force: bool) -> Result<Confirmation, Denial> {
        let peer = self.peers.iter().find(|p| p.node() == node).ok_or(Denial::NotAPeer)?;
        if peer.is_heard() {
            return Err(Denial::Heard);
        }
        if !self.is_passive() || peer.proof.is_some() || self.derived_proof(peer).is_some() {
            return Err(Denial::NotNeeded);
        }
        if force {
            return Ok(Confirmation { node });
        }
        match self.look_verdict(peer) {
            Verdict::Answers => return Err(Denial::Answers),
            Verdict::Silent | Verdict::Pending if !self.is_path_good() => {
                return Err(Denial::PathBad);
            }
            Verdict::Silent => {}
            Verdict::Pending => return Err(Denial::NotLooked),
        }
        let devices = peer.settings.levels.iter().flat_map(|level| &level.devices);
        for device in devices {
            if self.devices.last_reading(*device) == Some(Ok(Power::On)) {
                return Err(Denial::ReadsOn(*device));
            }
        }
        Ok(Confirmation { node })
    }

    fn take_confirmation(&mut self, confirmation: Confirmation, force: bool, out: &mut Effects) {
        let node = confirmation.node();
        let now = self.now;
        out.push(Effect::Report(Event::ConfirmedOff { node, force }));
        out.push(Effect::Report(Event::Proven { node, by: ProofKind::Confirmed }));
        if let Some(peer) = self.peers.iter_mut().find(|p| p.node() == node) {
            peer.drop_ladder(out);
            peer.proof = Some(Proof::from_operator(confirmation));
            peer.proof_at = now;
        }
    }
}
