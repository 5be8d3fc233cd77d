//! Fingerprints: two worlds that will behave alike have the same one.
//!
//! A serde serializer that hashes what it is given, with four liberties, without which no two
//! worlds were ever the same: moments count from the machine's own clock, operations count by their
//! first appearance, what is over for long
//! enough is simply over, and what only people are told is left out ([`super::rules`]).

use core::time::Duration;

use serde::ser::Serialize;

use super::hash::Never;
use super::moves::BEAT;
use super::rules::{Age, RULES, Rule};
use crate::types::Instant;

/// Later than this from now is never.
const NEVER_NANOS: i64 = 365 * 24 * 3600 * 1_000_000_000;

/// The ages in a world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    pub(super) keepalive: Duration,
    pub(super) deadtime: Duration,
    pub(super) initdead: Duration,
    /// Four times the pause between two rounds of a look.
    pub(super) look: Duration,
}

/// What can matter in the worlds of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// Whether anybody looks at the service networks.
    pub(super) looks: bool,
    /// Whether an operator may be asked for his word.
    pub(super) words: bool,
    /// Whether a service NIC can go bad.
    pub(super) paths: bool,
}

/// When somebody began to say goodbye, in nanoseconds of its own clock.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Goodbyes {
    pub(super) own: Option<u64>,
    pub(super) peers: Option<u64>,
}

/// Two numbers of 64 bits that together stand for what was hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mixer {
    one: u64,
    other: u64,
}

impl Mixer {
    const START: Self = Self { one: 0x243f_6a88_85a3_08d3, other: 0x1319_8a2e_0370_7344 };

    fn add(&mut self, word: u64) {
        self.one = (self.one ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.other = (self.other.rotate_left(23) ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    }

    fn end(self) -> u128 {
        let spread = |mut x: u64| {
            x ^= x >> 33;
            x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
            x ^= x >> 33;
            x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            x ^ (x >> 33)
        };
        let (one, other) = (spread(self.one), spread(self.other));
        u128::from(one) << 64 | u128::from(other ^ one.rotate_left(32))
    }
}

/// Hashes worlds; keeps what it learned of the rules from one to the next.
#[derive(Debug)]
pub(super) struct Canon {
    mixer: Mixer,
    ages: Ages,
    /// The clock that moments count from.
    now: Instant,
    pub(super) rule: Rule,
    /// Whether a moment or an identifier is being read, rather than hashed; and what was read.
    reading: Option<u64>,
    /// When this machine, and when a peer of it, began to say goodbye, by their own clocks.
    goodbyes: Goodbyes,
    /// Whether a device reads off, so that contradictions matter.
    reads_off: bool,
    /// What can matter in the worlds of this search.
    scope: Scope,
    /// Whether the peer that is being hashed has a proof in force.
    proven: bool,
    ops: Vec<u64>,
    /// The rules that were looked up, by where the two names lie in memory.
    known: Vec<(usize, usize, Rule)>,
}

impl Canon {
    /// More than there are fields, by far.
    const KNOWN: usize = 512;

    pub(super) fn new(ages: Ages, scope: Scope) -> Self {
        Self {
            mixer: Mixer::START,
            ages,
            now: Instant::ZERO,
            rule: Rule::Plain,
            reading: None,
            goodbyes: Goodbyes::default(),
            reads_off: false,
            scope,
            proven: false,
            ops: Vec::new(),
            known: vec![(0, 0, Rule::Plain); Self::KNOWN],
        }
    }

    /// Begins another world.
    pub(super) fn begin_world(&mut self) {
        self.mixer = Mixer::START;
    }

    /// What follows is a machine's, by its clock.
    pub(super) fn begin_machine(&mut self, now: Instant, reads_off: bool, goodbyes: Goodbyes) {
        self.now = now;
        self.reads_off = reads_off;
        self.goodbyes = goodbyes;
        self.ops.clear();
    }

    /// Whether an optional value is there.
    pub(super) fn option(&mut self, is_there: bool) {
        if self.rule == Rule::Proof {
            self.proven = is_there;
        }
        self.mixer.add(u64::from(is_there));
    }

    pub(super) fn set_goodbyes(&mut self, goodbyes: Goodbyes) {
        self.goodbyes = goodbyes;
    }

    /// Hashes a number by the rule of its field.
    pub(super) fn number(&mut self, number: u64) {
        if let Some(read) = self.reading.as_mut() {
            *read = number;
            return;
        }
        let is_after = |goodbye: Option<u64>| goodbye.map_or(2, |at| u64::from(number >= at));
        let kept = match self.rule {
            Rule::AtMost(most) => number.min(most),
            Rule::OwnGoodbye => is_after(self.goodbyes.own),
            Rule::PeersGoodbye => is_after(self.goodbyes.peers),
            // Quiet and down; up and one-way.
            Rule::LinkState => [0, 1, 2, 1, 0][number as usize % 5],
            Rule::Plain
            | Rule::Skip
            | Rule::Due
            | Rule::Path
            | Rule::Past(_)
            | Rule::Proof
            | Rule::ProofAt
            | Rule::Networks(_)
            | Rule::Word => number,
        };
        self.mixer.add(kept);
    }

    /// Hashes a value of a type of its own by what that type is.
    pub(super) fn identity<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        if !matches!(name, "Instant" | "OpId") {
            return value.serialize(self);
        }
        self.reading = Some(0);
        value.serialize(&mut *self)?;
        let read = self.reading.take().unwrap_or_default();
        let number = if name == "Instant" { self.moment(read) } else { self.op(read) };
        self.mixer.add(number);
        Ok(())
    }

    pub(super) fn add(&mut self, word: u64) {
        self.mixer.add(word);
    }

    pub(super) fn add_value(&mut self, value: &impl Serialize) {
        self.rule = Rule::Plain;
        let hashed = value.serialize(&mut *self);
        assert!(hashed.is_ok(), "everything of a world can be hashed");
    }

    /// The fingerprint of what was added since [`Canon::begin_world`].
    pub(super) fn end(&self) -> u128 {
        self.mixer.end()
    }

    /// The fingerprint of one thing, told apart from the rest of its world.
    pub(super) fn alone(&mut self, add: impl FnOnce(&mut Self)) -> u128 {
        let outer = core::mem::replace(&mut self.mixer, Mixer::START);
        add(self);
        core::mem::replace(&mut self.mixer, outer).end()
    }

    /// An operation by its first appearance on its machine; one that nobody waits for is the first
    /// of its kind.
    pub(super) fn op(&mut self, op: u64) -> u64 {
        place_of(&mut self.ops, op)
    }

    fn moment(&mut self, nanos: u64) -> u64 {
        let from_now = (nanos as i64 - self.now.as_nanos() as i64).min(NEVER_NANOS);
        let kept = match self.rule {
            Rule::Due | Rule::Path => {
                (from_now.max(0) as u64).div_ceil(BEAT.as_nanos() as u64) as i64
            }
            Rule::Past(age) | Rule::Networks(age) => from_now.max(-self.age_nanos(age)),
            Rule::ProofAt => from_now.max(-1),
            Rule::Word => 0,
            Rule::Plain
            | Rule::Skip
            | Rule::AtMost(_)
            | Rule::LinkState
            | Rule::Proof
            | Rule::OwnGoodbye
            | Rule::PeersGoodbye => from_now,
        };
        kept as u64
    }

    fn age_nanos(&self, age: Age) -> i64 {
        let age = match age {
            Age::None => Duration::ZERO,
            Age::Keepalive => self.ages.keepalive,
            Age::Deadtime => self.ages.deadtime,
            Age::Look => self.ages.look,
            Age::Settle => self.ages.initdead + self.ages.look,
            Age::Disk | Age::Claim => Duration::from_secs(1),
            Age::ClaimRepeat => Duration::from_secs(2),
            Age::Defend => Duration::from_secs(10),
            Age::Contradiction if self.reads_off => Duration::from_secs(3),
            Age::Contradiction => Duration::ZERO,
        };
        age.as_nanos() as i64
    }

    fn rule_of(&mut self, name: &'static str, field: &'static str) -> Rule {
        let (name_at, field_at) = (name.as_ptr() as usize, field.as_ptr() as usize);
        let mut place = (name_at.rotate_left(7) ^ field_at).wrapping_mul(0x9e37_79b9) >> 8;
        loop {
            place %= Self::KNOWN;
            let (known_name, known_field, rule) = self.known[place];
            if (known_name, known_field) == (name_at, field_at) {
                return rule;
            }
            if known_name == 0 {
                break;
            }
            place += 1;
        }
        let found = RULES.iter().find(|(n, f, _)| *n == name && *f == field);
        let rule = found.map_or(Rule::Plain, |(_, _, rule)| *rule);
        self.known[place] = (name_at, field_at, rule);
        rule
    }

    pub(super) fn field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        field: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        let rule = self.rule_of(name, field);
        let counts = match rule {
            Rule::Skip => false,
            Rule::Networks(_) => self.scope.looks,
            Rule::Word => self.scope.words,
            Rule::Path => self.scope.paths,
            Rule::ProofAt => self.proven,
            Rule::Plain
            | Rule::Due
            | Rule::Past(_)
            | Rule::AtMost(_)
            | Rule::LinkState
            | Rule::Proof
            | Rule::OwnGoodbye
            | Rule::PeersGoodbye => true,
        };
        if !counts {
            return Ok(());
        }
        // A moment inside a tuple or an option has the rule of its field.
        let outer = core::mem::replace(&mut self.rule, rule);
        let done = value.serialize(&mut *self);
        self.rule = outer;
        done
    }
}

fn place_of(list: &mut Vec<u64>, number: u64) -> u64 {
    let found = list.iter().position(|known| *known == number);
    found.unwrap_or_else(|| {
        list.push(number);
        list.len() - 1
    }) as u64
}
