//! Who each fence device says it is, in this daemon's life.
//!
//! Knows digests; whether a device is its host's is the engine's to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::types::{DeviceId, MachineId};
use crate::wire::guid;
use crate::wire::ipmi::{CipherSuite, Facts};

/// What an order has taught of its device.
#[derive(Clone, Copy, Default)]
pub(super) struct Learned {
    /// The suite that a BMC agreed to.
    pub(super) suite: Option<CipherSuite>,
    /// The GUID that it proved to have.
    pub(super) guid: Option<[u8; guid::LEN]>,
    /// The UUID of its system, over Redfish.
    pub(super) uuid: Option<[u8; guid::LEN]>,
}

/// All that devices have told.
#[derive(Default)]
pub(super) struct Identities {
    machines: BTreeMap<DeviceId, MachineId>,
    uuids: BTreeMap<DeviceId, [u8; guid::LEN]>,
    /// Those whose word does not count.
    ignored: BTreeSet<DeviceId>,
    /// Those that have told something new.
    news: VecDeque<DeviceId>,
}

impl Identities {
    /// From now on nothing that this device tells of itself is news.
    pub(super) fn ignore(&mut self, id: DeviceId) {
        self.ignored.insert(id);
    }

    /// Takes in what an order has taught.
    pub(super) fn learn(&mut self, id: DeviceId, learned: Learned) {
        self.uuids.extend(learned.uuid.map(|uuid| (id, uuid)));
        self.note(
            id,
            MachineId {
                proven: learned.guid.map_or(0, guid::digest),
                platform: learned.uuid.map_or(0, guid::digest),
                ..MachineId::UNKNOWN
            },
        );
    }

    /// Takes in what a BMC says of itself.
    pub(super) fn learn_facts(&mut self, id: DeviceId, facts: &Facts) {
        self.note(
            id,
            MachineId {
                system: facts.system_guid.map_or(0, guid::digest),
                bmc: facts.device_guid.map_or(0, guid::digest),
                ..MachineId::UNKNOWN
            },
        );
    }

    /// The next device that has told something new, and all that it told.
    pub(super) fn take_news(&mut self) -> Option<(DeviceId, MachineId)> {
        let id = self.news.pop_front()?;
        Some((id, self.machines.get(&id).copied().unwrap_or_default()))
    }

    /// The UUID of the system behind a Redfish device.
    pub(super) fn uuid(&self, id: DeviceId) -> Option<[u8; guid::LEN]> {
        self.uuids.get(&id).copied()
    }

    fn note(&mut self, id: DeviceId, machine: MachineId) {
        let known = self.machines.entry(id).or_default();
        let all = known.with(machine);
        if *known != all && !self.ignored.contains(&id) {
            *known = all;
            self.news.push_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_tells_is_news_once() {
        let mut identities = Identities::default();
        let id = DeviceId(3);
        let learned = Learned { guid: Some([7; guid::LEN]), ..Learned::default() };
        identities.learn(id, learned);
        identities.learn(id, learned);
        identities.learn(id, Learned::default());
        let proven = MachineId { proven: guid::digest([7; guid::LEN]), ..MachineId::UNKNOWN };
        assert_eq!(identities.take_news(), Some((id, proven)));
        assert_eq!(identities.take_news(), None);
        let facts = Facts { system_guid: Some([8; guid::LEN]), ..Facts::default() };
        identities.learn_facts(id, &facts);
        let all = MachineId { system: guid::digest([8; guid::LEN]), ..proven };
        assert_eq!(identities.take_news(), Some((id, all)));
        identities.learn(id, Learned { guid: Some([9; guid::LEN]), ..Learned::default() });
        let swapped = MachineId { proven: guid::digest([9; guid::LEN]), ..all };
        assert_eq!(identities.take_news(), Some((id, swapped)), "another board");
        assert_eq!(identities.uuid(id), None);
        identities.ignore(DeviceId(4));
        identities.learn(DeviceId(4), learned);
        assert_eq!(identities.take_news(), None, "its word does not count");
    }
}
