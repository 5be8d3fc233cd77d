//! What a BMC says of itself: who it is, and how well it is locked.
//!
//! Asked once in each session that is kept, between orders; nothing waits for it, and what is not
//! answered stays unknown. Who may log in is asked outside the session: some BMCs tell it nowhere
//! else, and what anybody could have sent is a warning then, no more. The list of cipher suites can
//! be asked for before a session, too: there it decides only which suite is tried first.

use super::message::{Command, Response};

/// The most bytes of a list of cipher suites: sixteen parts.
const SUITE_BYTES_MAX: usize = 256;
/// A part of the list that is shorter is the last.
const SUITE_PART_LEN: usize = 16;
/// The most suites that are kept of a list.
pub(super) const SUITES_MAX: usize = 32;

/// LAN parameters (§23.2, table 23-4): the suites, and the highest privilege under each.
const LAN_SUITES: u8 = 23;
const LAN_LEVELS: u8 = 24;

/// How a BMC lets people in who need not know much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Weakness {
    /// Cipher suite 0 is enabled: a session as any user, without the password.
    SuiteZero,
    /// Sessions of IPMI v1.5 without authentication are allowed at the level that switches power.
    NoAuthentication,
    /// A user without name and password is enabled.
    Anonymous,
    /// A user without name, but with a password, is enabled.
    NullUser,
}

/// The firmware revision, as Get Device ID tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Firmware {
    /// 0 to 127.
    pub major: u8,
    /// Two digits, as the BMC's makers print them: binary coded decimal.
    pub minor: u8,
    /// The maker, by its IANA enterprise number.
    pub manufacturer: u32,
}

/// All that is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Get System GUID, or what the BMC proved itself with: the machine's.
    pub system_guid: Option<[u8; 16]>,
    /// Get Device GUID: the BMC's own.
    pub device_guid: Option<[u8; 16]>,
    /// Nothing if it does not tell.
    pub firmware: Option<Firmware>,
    /// The numbers of the cipher suites it knows; empty if it does not tell.
    pub suites: Vec<u8>,
    /// How it could be got into; in order, each once.
    pub weaknesses: Vec<Weakness>,
}

/// The questions of one session, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Interview {
    /// How many questions are done with.
    done: u8,
    /// What came of them.
    pub(super) facts: Facts,
    list: SuiteList,
    /// The place of suite 0 among the LAN parameters' suites; nothing if it is not there.
    zero_place: Option<usize>,
}

impl Interview {
    /// What to ask next; nothing when all is asked.
    pub(super) fn question(&self) -> Option<Command> {
        Some(match self.done {
            0 => Command::TellFirmware,
            1 => Command::TellSystemGuid,
            2 => Command::TellDeviceGuid,
            3 => Command::TellLogins,
            4 => Command::TellSuites(self.list.part()),
            5 => Command::TellLan(LAN_SUITES),
            6 => Command::TellLan(LAN_LEVELS),
            _ => return None,
        })
    }

    /// The question was asked often enough, or refused.
    pub(super) fn skip(&mut self) {
        if self.done == 4 {
            // A list that broke off is none.
            self.list = SuiteList::default();
        }
        self.done = self.done.saturating_add(1);
    }

    /// Takes the answer to the question in.
    pub(super) fn note(&mut self, answer: &Response<'_>) {
        let facts = &mut self.facts;
        match self.done {
            0 => facts.firmware = firmware(answer.data).or(facts.firmware),
            1 => facts.system_guid = answer.data.try_into().ok().or(facts.system_guid),
            2 => facts.device_guid = answer.data.try_into().ok().or(facts.device_guid),
            3 => facts.note_logins(answer.data),
            4 => {
                if !self.list.note(answer.data) {
                    return;
                }
                facts.suites = self.list.suites();
                if facts.suites.contains(&0) {
                    facts.note_weakness(Weakness::SuiteZero);
                }
            }
            5 => {
                // Parameter revision, a reserved byte, the suites.
                self.zero_place = answer.data.iter().skip(2).position(|suite| *suite == 0);
            }
            6 => {
                let usable = self.zero_place.and_then(|place| level_of(answer.data, place));
                // Known to the firmware, and switched off: nobody gets in with it.
                if usable == Some(0) {
                    facts.weaknesses.retain(|weakness| *weakness != Weakness::SuiteZero);
                }
            }
            _ => {}
        }
        self.done = self.done.saturating_add(1);
    }
}

impl Facts {
    fn note_weakness(&mut self, weakness: Weakness) {
        if let Err(place) = self.weaknesses.binary_search(&weakness) {
            self.weaknesses.insert(place, weakness);
        }
    }

    /// Channel, authentication types at operator level, then who may log in (§22.13).
    fn note_logins(&mut self, data: &[u8]) {
        let Some(&[_, types, status]) = data.first_chunk::<3>() else { return };
        for (is_so, weakness) in [
            (types & 0x01 != 0, Weakness::NoAuthentication),
            (status & 0x01 != 0, Weakness::Anonymous),
            (status & 0x02 != 0, Weakness::NullUser),
        ] {
            if is_so {
                self.note_weakness(weakness);
            }
        }
    }
}

/// Device id and revision, firmware revisions, IPMI version, more devices, manufacturer (§20.1).
fn firmware(data: &[u8]) -> Option<Firmware> {
    let (&[_, _, major, minor, _, _, low, middle, high], _) = data.split_first_chunk::<9>()?;
    let manufacturer = u32::from_le_bytes([low, middle, high & 0x0f, 0]);
    Some(Firmware { major: major & 0x7f, minor, manufacturer })
}

/// The highest privilege under the suite at `place`: half a byte for each (table 23-4, 24).
fn level_of(data: &[u8], place: usize) -> Option<u8> {
    let pair = data.iter().skip(2).nth(place / 2)?;
    Some(if place.is_multiple_of(2) { pair & 0x0f } else { pair >> 4 })
}

/// The list of cipher suites, part by part (§22.15.1, table 22-18).
///
/// ```text
/// c0 | suite | algorithm …          c1 | suite | maker ×3 | algorithm …     algorithms are < c0
/// ```
#[derive(Clone, Debug, Default)]
pub(super) struct SuiteList {
    bytes: Vec<u8>,
    parts: u8,
}

impl SuiteList {
    /// The number of the part that comes next.
    pub(super) fn part(&self) -> u8 {
        self.parts
    }

    /// Takes the next part in, behind its channel number; whether the list is complete.
    pub(super) fn note(&mut self, data: &[u8]) -> bool {
        let part = data.get(1..).unwrap_or(&[]);
        self.bytes.extend_from_slice(part);
        self.bytes.truncate(SUITE_BYTES_MAX);
        self.parts = self.parts.saturating_add(1);
        part.len() < SUITE_PART_LEN || self.bytes.len() >= SUITE_BYTES_MAX
    }

    /// The numbers of the standard suites in it.
    pub(super) fn suites(&self) -> Vec<u8> {
        let mut suites = Vec::new();
        let mut rest = self.bytes.as_slice();
        while let Some((first, behind)) = rest.split_first() {
            rest = match first {
                0xc0 => {
                    let has_room = suites.len() < SUITES_MAX;
                    suites.extend(behind.first().filter(|_| has_room));
                    behind.get(1..).unwrap_or(&[])
                }
                0xc1 => behind.get(4..).unwrap_or(&[]),
                _ => behind,
            };
        }
        suites
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn answer(data: &[u8]) -> Response<'_> {
        Response { net_fn: 7, seq: 0, command: 0, completion: 0, data }
    }

    /// One suite after the other, those of makers left out, in two parts.
    #[test]
    fn a_list_of_suites_is_put_together_from_its_parts() {
        let mut list = SuiteList::default();
        let first = [
            0x01, 0xc0, 0, 0x00, 0x40, 0x80, 0xc0, 3, 0x01, 0x41, 0x81, 0xc1, 128, 0xa2, 0x02, 0,
            0x03,
        ];
        assert!(!list.note(&first), "sixteen bytes: there may be more");
        assert_eq!(list.part(), 1);
        assert!(list.note(&[0x01, 0x41, 0x81, 0xc0, 17, 0x03, 0x44, 0x81]));
        assert_eq!(list.suites(), [0, 3, 17]);
        let mut endless = SuiteList::default();
        let part = [0xc0; 17];
        let parts = (0..100).take_while(|_| !endless.note(&part)).count();
        assert_eq!(parts, 15, "a list has an end");
        assert!(endless.suites().len() <= SUITES_MAX);
        let mut cut = SuiteList::default();
        assert!(cut.note(&[0x01, 0xc0]));
        assert!(cut.suites().is_empty());
        assert!(SuiteList::default().note(&[]));
    }

    fn told(answers: [&[u8]; 7]) -> Facts {
        let mut interview = Interview::default();
        for data in answers {
            assert!(interview.question().is_some());
            interview.note(&answer(data));
        }
        assert_eq!(interview.question(), None);
        interview.facts
    }

    const SUITES: &[u8] = &[1, 0xc0, 3, 1, 0x41, 0x81, 0xc0, 0, 0, 0x40, 0x80];

    #[test]
    fn an_interview_takes_what_it_is_told() {
        let device = [0x20, 1, 0x82, 0x65, 2, 0xbf, 0xa2, 0x02, 0, 0, 1];
        let logins = [1, 0x80, 0x06, 0x02];
        let facts = told([&device, &[7; 16], &[9; 16], &logins, SUITES, &[], &[]]);
        let firmware = facts.firmware.unwrap();
        assert_eq!((firmware.major, firmware.minor, firmware.manufacturer), (2, 0x65, 674));
        assert_eq!((facts.system_guid, facts.device_guid), (Some([7; 16]), Some([9; 16])));
        assert_eq!(facts.suites, [3, 0]);
        assert_eq!(facts.weaknesses, [Weakness::SuiteZero, Weakness::NullUser]);
        let nothing = told([&[], &[1], &[], &[], &[], &[], &[]]);
        assert_eq!(nothing, Facts::default());
    }

    #[test]
    fn suite_0_that_is_switched_off_is_no_weakness() {
        let logins = [1, 0x81, 0x01];
        // Two entries: 3 at administrator, then 0 at nothing.
        let (entries, off, on) = ([0x11, 0, 3, 0], [0x11, 0, 0x04], [0x11, 0, 0x44]);
        let facts = told([&[], &[], &[], &logins, SUITES, &entries, &off]);
        assert_eq!(facts.weaknesses, [Weakness::NoAuthentication, Weakness::Anonymous]);
        let facts = told([&[], &[], &[], &logins, SUITES, &entries, &on]);
        assert!(facts.weaknesses.contains(&Weakness::SuiteZero));
    }
}
