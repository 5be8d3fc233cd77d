//! What must be so when a holder gives its service away for its service path.

use super::World;
use crate::types::{NodeId, PeerState};

impl World {
    /// A holder gives its service away to one that is better off, and that it hears; and neither
    /// at once, nor again and again.
    pub(super) fn check_handover(&mut self, machine: usize, to: NodeId) {
        self.ledger.gave[machine] = true;
        self.ledger.gave_at[machine] = self.now;
        self.ledger.declined[machine] = false;
        let of = usize::from(to.get()) - 1;
        let agree = self.plan.config_digests[machine] == self.plan.config_digests[of];
        self.expect(agree, "it hands over to one with another configuration");
        let word = self.ledger.word(machine, usize::from(to.get()) - 1);
        let Some(word) = word.filter(|_| self.is_timed()) else { return };
        let (now, timing) = (self.now, &self.plan.timing);
        let good = self
            .node(machine)
            .snapshot()
            .nics
            .iter()
            .filter(|nic| nic.good)
            .fold(0, |mask, nic| mask | 1 << nic.id.0);
        let better = word.good_nics & !good != 0 && good & !word.good_nics == 0;
        self.expect(better, "it hands over to one that is no better off");
        let ready = word.eligible && word.state == PeerState::Standby;
        self.expect(ready, "it hands over to one that cannot take over");
        let known_for = now.since(self.ledger.started_at[of]);
        // It cannot know of a daemon that it has not heard yet.
        let daemon = self.machines[of].daemon.as_ref();
        let is_same = daemon.is_some_and(|daemon| daemon.node.incarnation() == word.life);
        let is_known = known_for >= timing.initdead;
        self.expect(is_known || !is_same, "it hands over to one that has just started");
        let deadtimes = (0..self.plan.links).map(|link| self.plan.deadtime_on(link));
        let is_heard = now < word.heard_at + deadtimes.max().unwrap_or_default();
        self.expect(is_heard, "it hands over to one that it does not hear");
        let since = self.ledger.path_bad_since[machine];
        self.expect(now >= since + timing.path_hold, "it hands over at once");
        let rested = self.ledger.moved_at[machine].is_none_or(|at| now >= at + timing.path_rest);
        self.expect(rested, "it hands over again before it has rested");
        self.ledger.moved_at[machine] = Some(now);
    }

    /// Who takes over from one that lives and gave its service away has taken part in a move.
    pub(super) fn note_taken(&mut self, machine: usize) {
        let (now, deadtime) = (self.now, self.plan.timing.deadtime);
        let gave = (0..self.machines.len()).any(|of| {
            let word = self.ledger.word(machine, of);
            word.is_some_and(|w| {
                w.released && w.state != PeerState::Stopped && now < w.at + deadtime
            }) && self.ledger.gave[of]
        });
        if gave {
            self.ledger.moved_at[machine] = Some(now);
        }
    }
}
