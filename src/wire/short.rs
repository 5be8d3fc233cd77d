//! The heartbeat's short form, for serial lines: what the full one says, in about half the bytes.
//!
//! It decides only what may be left out of one heartbeat and said in the next. Whatever the other
//! node acts on is in each: who speaks, in which life, to which life, the terms, what is asked and
//! granted. In turns, one a heartbeat, come what changes only when a machine or a file does: the
//! MACs and the digests. `docs/PROTOCOL.md` §8 explains every field.
//!
//! ```text
//!   bytes
//!   2   magic "tH"            1   from (low 4 bits), to (high 4 bits)
//!   1   version               1   link (low 4 bits), state (high 4 bits)
//!   1   form: 2               1   flags
//!   1   key hint              1   good nics
//!   2   cluster, its end      8   incarnation
//!                             16  boot id
//!                             8   echo of incarnation
//!   1 to 10 each, seven bits a byte, low ones first, the last one below 128:
//!       hears, session, echo of session, sequence number, term, held term, asked term,
//!       granted term, sent, echo of sent, echo held
//!   1   whose turn it is: 0 nobody's, 1 MACs, 2 config digest, 3 failcount digest; for MACs plus
//!       16 times the number of the pair, plus 64 if all later ones are none
//!   0, 12 or 8   two MACs or a digest
//!   12  tag: HMAC-SHA256 over all before and the whole cluster, left 12 bytes
//! ```

use super::auth::Keys;
use super::heartbeat::{
    Authentic, ClusterId, Field, MAGIC, Refusal, VERSION, code_of, flag_bits, flags_of, hears_bits,
    hears_of, state_of,
};
use crate::types::heartbeat::{LINKS_MAX, NICS_MAX};
use crate::types::{BootId, Heartbeat, Incarnation, LinkId, Mac, NodeId, Seq, Session, Term};

/// The longest message of this form in bytes, if every number is as large as can be.
pub const LEN_MAX: usize = HEAD_LEN + NUMBERS_LEN_MAX + TURN_LEN_MAX + TAG_LEN;
/// The length of the tag in bytes: 96 bits, more than the 80 that RFC 2104 §5 asks for. On a line
/// that carries a thousand messages a second, a forger needs more than 10^18 years.
pub const TAG_LEN: usize = 12;

/// The short form. The full one is [`super::heartbeat`].
const FORM_SHORT: u8 = 2;
const HEAD_LEN: usize = 43;
/// Hears and the two sessions have 32 bits, the eight others 64.
const NUMBERS_LEN_MAX: usize = 3 * 5 + 8 * 10;
const TURN_LEN_MAX: usize = 1 + MACS_PER_TURN * 6;
const MACS_PER_TURN: usize = 2;

const TURN_NOBODYS: u8 = 0;
const TURN_MACS: u8 = 1;
const TURN_CONFIG: u8 = 2;
const TURN_FAILCOUNT: u8 = 3;
const TURN_KIND: u8 = 0x0f;
const TURN_LAST: u8 = 0x40;

const _: () = assert!(LINKS_MAX <= 16 && NodeId::MAX < 16, "four bits each");
const _: () = assert!(NICS_MAX == 4 * MACS_PER_TURN, "the number of a pair has two bits");

/// A message: at most [`LEN_MAX`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl Message {
    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What a heartbeat says besides what each of them says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Turn {
    /// Two MACs: those with the numbers `2 * pair` and the next one.
    Macs {
        /// Below 4.
        pair: u8,
    },
    /// The digest of the configuration.
    Config,
    /// The digest of the failcounts.
    Failcount,
}

/// Whose turn it is on one line. What has changed comes first, and all of it to another life of the
/// addressee.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turns {
    next: u8,
    said: Said,
}

/// What the turns are taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Said {
    macs: [Option<Mac>; NICS_MAX],
    config_digest: Option<u64>,
    failcount_digest: Option<u64>,
    to: Incarnation,
}

impl Turns {
    /// Nothing was said yet.
    pub fn new() -> Self {
        let said = Said {
            macs: [None; NICS_MAX],
            config_digest: None,
            failcount_digest: None,
            to: Incarnation::NONE,
        };
        Self { next: 0, said }
    }

    /// What `heartbeat` says of these.
    pub fn take(&mut self, heartbeat: &Heartbeat) -> Turn {
        let said = Said {
            macs: heartbeat.macs,
            config_digest: heartbeat.config_digest,
            failcount_digest: heartbeat.failcount_digest,
            to: heartbeat.echo_incarnation,
        };
        if said != self.said {
            *self = Self { next: 0, said };
        }
        let pairs = pairs_of(&heartbeat.macs);
        let turn = match self.next.checked_sub(pairs) {
            None => Turn::Macs { pair: self.next },
            Some(0) => Turn::Config,
            Some(_) => Turn::Failcount,
        };
        self.next = if turn == Turn::Failcount { 0 } else { self.next.saturating_add(1) };
        turn
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

/// How many pairs have a MAC in them or before one that has; one at least, which says that there
/// is none.
fn pairs_of(macs: &[Option<Mac>; NICS_MAX]) -> u8 {
    let pairs = macs.chunks(MACS_PER_TURN).zip(1_u8..);
    let is_any = |pair: &[Option<Mac>]| pair.iter().flatten().any(|mac| *mac != Mac::NONE);
    pairs.filter(|(pair, _)| is_any(pair)).map(|(_, number)| number).max().unwrap_or(1)
}

/// Encodes and tags a heartbeat, whose `turn` is said; of the others it says nothing.
pub fn emit(heartbeat: &Heartbeat, turn: Turn, cluster: ClusterId, keys: &Keys) -> Message {
    let mut writer = Writer(Message { bytes: [0; LEN_MAX], len: 0 });
    let cluster = cluster.0.to_be_bytes();
    writer.put(&MAGIC);
    writer.put(&[VERSION, FORM_SHORT, keys.hint(heartbeat.seq.0)]);
    writer.put(end_of(&cluster));
    writer.put_facts(heartbeat);
    writer.put_turn(heartbeat, turn);
    let tag = keys.tag_all([writer.0.as_bytes(), &cluster]);
    writer.put(tag.get(..TAG_LEN).unwrap_or_default());
    writer.0
}

/// The part of the cluster's number that is said; all of it is under the tag.
fn end_of(cluster: &[u8; 8]) -> &[u8; 2] {
    cluster.last_chunk().unwrap_or(&[0; 2])
}

/// A message while it is written.
struct Writer(Message);

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.0.len.saturating_add(bytes.len());
        if let Some(place) = self.0.bytes.get_mut(self.0.len..end) {
            place.copy_from_slice(bytes);
            self.0.len = end;
        }
    }

    fn put_number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = (number & 0x7f).to_le_bytes();
            number >>= 7;
            if number == 0 {
                self.put(&[low]);
                return;
            }
            self.put(&[low | 0x80]);
        }
    }

    fn put_facts(&mut self, heartbeat: &Heartbeat) {
        self.put(&[
            heartbeat.from.get() | heartbeat.to.get() << 4,
            (heartbeat.link.0 & 0x0f) | code_of(heartbeat.state) << 4,
            flag_bits(heartbeat.flags),
            heartbeat.good_nics,
        ]);
        self.put(&heartbeat.incarnation.0.to_be_bytes());
        self.put(&heartbeat.boot.0);
        self.put(&heartbeat.echo_incarnation.0.to_be_bytes());
        self.put_number(u64::from(hears_bits(&heartbeat.hears)));
        self.put_number(u64::from(heartbeat.session.0));
        self.put_number(u64::from(heartbeat.echo_session.0));
        self.put_number(heartbeat.seq.0);
        for term in [heartbeat.term, heartbeat.held_term, heartbeat.ask, heartbeat.grant] {
            self.put_number(term.0);
        }
        for time in [heartbeat.sent, heartbeat.echo_sent, heartbeat.echo_held] {
            self.put_number(time);
        }
    }

    fn put_turn(&mut self, heartbeat: &Heartbeat, turn: Turn) {
        match turn {
            Turn::Macs { pair } => self.put_macs(&heartbeat.macs, pair),
            Turn::Config => self.put_digest(TURN_CONFIG, heartbeat.config_digest),
            Turn::Failcount => self.put_digest(TURN_FAILCOUNT, heartbeat.failcount_digest),
        }
    }

    fn put_macs(&mut self, macs: &[Option<Mac>; NICS_MAX], pair: u8) {
        let first = usize::from(pair) * MACS_PER_TURN;
        let said = macs.get(first..).and_then(<[_]>::first_chunk::<MACS_PER_TURN>);
        let Some([Some(one), Some(other)]) = said else {
            self.put(&[TURN_NOBODYS]);
            return;
        };
        let later = macs.get(first + MACS_PER_TURN..).unwrap_or_default();
        let is_last = later.iter().all(|mac| *mac == Some(Mac::NONE));
        let last = if is_last { TURN_LAST } else { 0 };
        self.put(&[TURN_MACS | pair << 4 | last]);
        self.put(&one.0);
        self.put(&other.0);
    }

    fn put_digest(&mut self, kind: u8, digest: Option<u64>) {
        match digest {
            Some(digest) => {
                self.put(&[kind]);
                self.put(&digest.to_be_bytes());
            }
            None => self.put(&[TURN_NOBODYS]),
        }
    }
}

/// Decodes a message: the cheap checks first, then the tag, then every value.
///
/// # Errors
/// The first reason for which the message is refused.
pub fn parse(bytes: &[u8], cluster: ClusterId, keys: &Keys) -> Result<Authentic, Refusal> {
    if bytes.len() > LEN_MAX {
        return Err(Refusal::TooLong);
    }
    let tagged_len = bytes.len().checked_sub(TAG_LEN).filter(|len| *len > HEAD_LEN);
    let parts = tagged_len.and_then(|len| bytes.split_at_checked(len));
    let (tagged, tag) = parts.ok_or(Refusal::TooShort)?;
    let mut reader = Reader(tagged);
    if reader.take()? != MAGIC {
        return Err(Refusal::Magic);
    }
    let [version, form, hint] = reader.take()?;
    if [version, form] != [VERSION, FORM_SHORT] {
        return Err(Refusal::Version);
    }
    let cluster = cluster.0.to_be_bytes();
    if reader.take()? != *end_of(&cluster) {
        return Err(Refusal::Cluster);
    }
    let [nodes, facts, flags, good_nics] = reader.take()?;
    let (from, to) = nodes_of(nodes)?;
    let key = keys.verify_all([tagged, &cluster], tag).ok_or(Refusal::Tag)?;
    let mut heartbeat = reader.facts(from, to)?;
    heartbeat.link = LinkId(facts & 0x0f);
    heartbeat.state = state_of(facts >> 4).ok_or(Refusal::Malformed(Field::State))?;
    heartbeat.flags = flags_of(flags).ok_or(Refusal::Malformed(Field::Flags))?;
    heartbeat.good_nics = good_nics;
    reader.turn(&mut heartbeat)?;
    if reader.0.is_empty() {
        Ok(Authentic { heartbeat, key, hint })
    } else {
        Err(Refusal::Malformed(Field::Length))
    }
}

/// The sender and the addressee.
fn nodes_of(both: u8) -> Result<(NodeId, NodeId), Refusal> {
    let from = NodeId::new(both & 0x0f).ok_or(Refusal::Malformed(Field::From))?;
    let to = NodeId::new(both >> 4).filter(|to| *to != from);
    Ok((from, to.ok_or(Refusal::Malformed(Field::To))?))
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (found, rest) = self.0.split_first_chunk().ok_or(Refusal::Malformed(Field::Length))?;
        self.0 = rest;
        Ok(*found)
    }

    /// A number as its sender writes it: in no more bytes than it needs.
    fn number(&mut self) -> Result<u64, Refusal> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7f);
            let is_last = byte & 0x80 == 0;
            let fits = (bits << shift) >> shift == bits;
            if !fits || (is_last && bits == 0 && shift > 0) {
                break;
            }
            number |= bits << shift;
            if is_last {
                return Ok(number);
            }
        }
        Err(Refusal::Malformed(Field::Number))
    }

    fn small_number(&mut self) -> Result<u32, Refusal> {
        u32::try_from(self.number()?).map_err(|_e| Refusal::Malformed(Field::Number))
    }

    fn facts(&mut self, from: NodeId, to: NodeId) -> Result<Heartbeat, Refusal> {
        let incarnation = Incarnation(u64::from_be_bytes(self.take()?));
        if incarnation == Incarnation::NONE {
            return Err(Refusal::Malformed(Field::Incarnation));
        }
        let boot = BootId(self.take()?);
        let echo_incarnation = Incarnation(u64::from_be_bytes(self.take()?));
        let hears = hears_of(self.small_number()?).ok_or(Refusal::Malformed(Field::Hears))?;
        Ok(Heartbeat {
            from,
            to,
            link: LinkId(0),
            incarnation,
            boot,
            session: Session(self.small_number()?),
            echo_session: Session(self.small_number()?),
            seq: Seq(self.number()?),
            state: crate::types::PeerState::Joining,
            term: Term(self.number()?),
            held_term: Term(self.number()?),
            ask: Term(self.number()?),
            grant: Term(self.number()?),
            flags: crate::types::heartbeat::Flags::default(),
            echo_incarnation,
            sent: self.number()?,
            echo_sent: self.number()?,
            echo_held: self.number()?,
            config_digest: None,
            failcount_digest: None,
            machine: None,
            good_nics: 0,
            macs: [None; NICS_MAX],
            hears,
        })
    }

    fn turn(&mut self, heartbeat: &mut Heartbeat) -> Result<(), Refusal> {
        let [whose] = self.take()?;
        match whose {
            TURN_NOBODYS => {}
            TURN_CONFIG => heartbeat.config_digest = Some(u64::from_be_bytes(self.take()?)),
            TURN_FAILCOUNT => heartbeat.failcount_digest = Some(u64::from_be_bytes(self.take()?)),
            _ if whose & TURN_KIND == TURN_MACS && whose & 0x80 == 0 => {
                let first = usize::from(whose >> 4 & 0b11) * MACS_PER_TURN;
                let mut places = heartbeat.macs.iter_mut().skip(first);
                for place in places.by_ref().take(MACS_PER_TURN) {
                    *place = Some(Mac(self.take()?));
                }
                if whose & TURN_LAST != 0 {
                    places.for_each(|place| *place = Some(Mac::NONE));
                }
            }
            _ => return Err(Refusal::Malformed(Field::Turn)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
