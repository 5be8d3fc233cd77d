//! Which machine something is or shows, as far as it tells, and whether two of these are one.

use serde::{Deserialize, Serialize};

/// Digests of a machine's identifiers, each made of one GUID by whoever reads it; zero where it is
/// not known.
///
/// Not every GUID of a machine is the same, and not every one that should be is: BMCs that tell
/// their own instead of the host's are common. So a difference counts only between answers to the
/// same question, while one that is found anywhere on the other side is no accident.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct MachineId {
    /// Of the SMBIOS UUID: DMI tells it to its host, Redfish to others.
    pub platform: u64,
    /// Of the BMC's answer to Get System GUID (IPMI v2.0 §22.14).
    pub system: u64,
    /// Of the BMC's answer to Get Device GUID (IPMI v2.0 §20.8).
    pub bmc: u64,
    /// Of the GUID that a BMC proved to have when a session was opened (IPMI v2.0 §13.21, RAKP
    /// message 2). A host cannot read that of its own BMC, so it is never a difference.
    pub proven: u64,
}

/// Whether two are the same machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Likeness {
    /// They are.
    Same,
    /// They are not.
    Other,
    /// Nobody can say.
    Unknown,
}

/// Whose a fence device is that is not its host's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Stray {
    /// This node's own: it would cut itself.
    Own,
    /// Some other machine's.
    Other,
}

/// Who a fence device should belong to, and who it must never belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Owner {
    /// The machine of the node that asks.
    pub own: MachineId,
    /// The machine of the device's host, as that node told it.
    pub host: MachineId,
}

impl MachineId {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { platform: 0, system: 0, bmc: 0, proven: 0 };

    /// Whether this one and `other` are the same machine.
    pub fn compare(&self, other: &Self) -> Likeness {
        let alike =
            [(self.platform, other.platform), (self.system, other.system), (self.bmc, other.bmc)];
        let differs =
            alike.iter().any(|(ours, theirs)| *ours != 0 && *theirs != 0 && ours != theirs);
        let theirs = other.all();
        let is_shared = self.all().iter().any(|ours| *ours != 0 && theirs.contains(ours));
        match (is_shared, differs) {
            (true, false) => Likeness::Same,
            (false, true) => Likeness::Other,
            // What is the same on all boards of a kind says nothing.
            (true, true) | (false, false) => Likeness::Unknown,
        }
    }

    /// The same with what `newer` knows.
    pub fn with(self, newer: Self) -> Self {
        let newest = |newer: u64, older: u64| if newer == 0 { older } else { newer };
        Self {
            platform: newest(newer.platform, self.platform),
            system: newest(newer.system, self.system),
            bmc: newest(newer.bmc, self.bmc),
            proven: newest(newer.proven, self.proven),
        }
    }

    fn all(&self) -> [u64; 4] {
        [self.platform, self.system, self.bmc, self.proven]
    }
}

impl Owner {
    /// Whose the device is that says to be of `said`, if it is certain not to be its host's. Where
    /// both nodes' machines tell the same, what they tell does not tell them apart.
    pub fn judge(&self, said: &MachineId) -> Option<Stray> {
        match (said.compare(&self.own), said.compare(&self.host)) {
            (Likeness::Same, Likeness::Other | Likeness::Unknown) => Some(Stray::Own),
            (Likeness::Other | Likeness::Unknown, Likeness::Other) => Some(Stray::Other),
            (_, Likeness::Same) | (Likeness::Other | Likeness::Unknown, Likeness::Unknown) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn machine(platform: u64, system: u64, bmc: u64) -> MachineId {
        MachineId { platform, system, bmc, proven: 0 }
    }

    #[test]
    fn only_answers_to_the_same_question_tell_machines_apart() {
        let host = machine(1, 2, 3);
        for (said, likeness) in [
            (machine(1, 0, 0), Likeness::Same),
            (machine(0, 0, 3), Likeness::Same),
            // It answers with the SMBIOS UUID here, and with another one there.
            (machine(0, 1, 0), Likeness::Unknown),
            (MachineId { proven: 1, ..MachineId::UNKNOWN }, Likeness::Same),
            (MachineId { proven: 9, ..MachineId::UNKNOWN }, Likeness::Unknown),
            (machine(9, 0, 0), Likeness::Other),
            (machine(0, 9, 0), Likeness::Other),
            // All boards of a kind have this one.
            (machine(0, 9, 3), Likeness::Unknown),
            (MachineId::UNKNOWN, Likeness::Unknown),
        ] {
            assert_eq!(said.compare(&host), likeness, "{said:?}");
            assert_eq!(host.compare(&said), likeness, "{said:?}");
        }
        assert_eq!(machine(0, 1, 0).compare(&machine(1, 0, 0)), Likeness::Same);
        assert_eq!(MachineId::UNKNOWN.compare(&MachineId::UNKNOWN), Likeness::Unknown);
    }

    #[test]
    fn a_device_is_its_hosts_as_long_as_nothing_says_otherwise() {
        let (own, host) = (machine(1, 2, 0), machine(5, 6, 0));
        let owner = Owner { own, host };
        assert_eq!(owner.judge(&machine(0, 6, 0)), None);
        assert_eq!(owner.judge(&machine(0, 2, 0)), Some(Stray::Own));
        assert_eq!(owner.judge(&machine(0, 9, 0)), Some(Stray::Other));
        assert_eq!(owner.judge(&MachineId::UNKNOWN), None);
        let unheard = Owner { own, host: MachineId::UNKNOWN };
        assert_eq!(unheard.judge(&machine(0, 9, 0)), None);
        assert_eq!(unheard.judge(&machine(0, 2, 0)), Some(Stray::Own));
        let twins = Owner { own, host: own };
        assert_eq!(twins.judge(&machine(0, 2, 0)), None, "two boards with one GUID");
    }
}
