//! The heartbeat's encoding, version 1: 240 bytes, big endian, the last 16 its tag.
//!
//! It decides only whether bytes are an authentic heartbeat of this cluster. It refuses to know
//! whether that heartbeat is fresh, expected or true: that is the engine's. `docs/PROTOCOL.md`
//! explains every field.
//!
//! ```text
//!      0        1        2        3        4        5        6        7
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!   0| magic "tH"      |version |form    | length          |key hint|reserved|
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!   8| cluster                                                              |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!  16|from    |to      |link    |state   |flags   |good nics| reserved       |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!  24| hears: 2 bits a link, link 0 lowest| session                          |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!  32| echo of session                   | reserved                         |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!  40| incarnation                                                          |
//!  48| boot id (16 bytes)                                                   |
//!  64| sequence number                                                      |
//!  72| term                                                                 |
//!  80| held term                                                            |
//!  88| asked term                                                           |
//!  96| granted term                                                         |
//! 104| echo of incarnation                                                  |
//! 112| sent                                                                 |
//! 120| echo of sent                                                         |
//! 128| echo held                                                            |
//! 136| config digest                                                        |
//! 144| failcount digest                                                     |
//! 152| MAC addresses of the service NICs (8 x 6 bytes)                      |
//! 200| digest of the sender's SMBIOS UUID                                   |
//! 208| digest of its BMC's system GUID                                      |
//! 216| digest of its BMC's device GUID                                      |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//! 224| tag: HMAC-SHA256 over all before, left 16 bytes                      |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//! flags: bit 0 eligible, 1 released, 2 purging, 3 held; the others are reserved
//! ```

use core::fmt;

use super::auth::{KeyUsed, Keys, TAG_LEN};
use crate::types::heartbeat::{Flags, LINKS_MAX, NICS_MAX};
use crate::types::{
    BootId, Hears, Heartbeat, Incarnation, LinkId, Mac, MachineId, NodeId, PeerState, Seq, Session,
    Term,
};

/// The longest heartbeat of any version in bytes. A link takes no more than this from outside.
pub const LEN_MAX: usize = 256;
/// The length of this version's heartbeat in bytes.
pub const LEN: usize = TAGGED_LEN + TAG_LEN;
/// The version that is sent, and the only one that is understood.
pub const VERSION: u8 = 1;

/// What every heartbeat begins with.
pub const MAGIC: [u8; 2] = *b"tH";
/// The full form. The short one, for serial lines, is [`super::short`].
const FORM_FULL: u8 = 1;
/// What the tag covers.
const TAGGED_LEN: usize = 224;
/// Below this length in bytes nothing can be said of a message, not even its version.
pub const LEN_MIN: usize = 16;

const _: () = assert!(LEN <= LEN_MAX);
const _: () = assert!(LINKS_MAX * 2 == 32, "hears is a u32 with two bits a link");
const _: () = assert!(NICS_MAX == 8, "good nics is a byte, and there are 48 bytes of MACs");

/// Where each field begins.
mod at {
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = 2;
    pub(super) const FORM: usize = 3;
    pub(super) const LENGTH: usize = 4;
    pub(super) const KEY_HINT: usize = 6;
    pub(super) const RESERVED_HEADER: usize = 7;
    pub(super) const CLUSTER: usize = 8;
    pub(super) const FROM: usize = 16;
    pub(super) const TO: usize = 17;
    pub(super) const LINK: usize = 18;
    pub(super) const STATE: usize = 19;
    pub(super) const FLAGS: usize = 20;
    pub(super) const GOOD_NICS: usize = 21;
    pub(super) const RESERVED_FLAGS: usize = 22;
    pub(super) const HEARS: usize = 24;
    pub(super) const SESSION: usize = 28;
    pub(super) const ECHO_SESSION: usize = 32;
    pub(super) const RESERVED_SESSION: usize = 36;
    pub(super) const INCARNATION: usize = 40;
    pub(super) const BOOT: usize = 48;
    pub(super) const SEQ: usize = 64;
    pub(super) const TERM: usize = 72;
    pub(super) const HELD_TERM: usize = 80;
    pub(super) const ASK: usize = 88;
    pub(super) const GRANT: usize = 96;
    pub(super) const ECHO_INCARNATION: usize = 104;
    pub(super) const SENT: usize = 112;
    pub(super) const ECHO_SENT: usize = 120;
    pub(super) const ECHO_HELD: usize = 128;
    pub(super) const CONFIG_DIGEST: usize = 136;
    pub(super) const FAILCOUNT_DIGEST: usize = 144;
    pub(super) const MACS: usize = 152;
    pub(super) const PLATFORM: usize = 200;
    pub(super) const SYSTEM: usize = 208;
    pub(super) const BMC: usize = 216;
    pub(super) const TAG: usize = super::TAGGED_LEN;
}

/// Where those fields of the full form begin that a filter in the kernel looks at, in bytes.
pub mod place {
    use super::at;

    /// The version: one byte.
    pub const VERSION: usize = at::VERSION;
    /// The form: one byte.
    pub const FORM: usize = at::FORM;
    /// The cluster: eight bytes.
    pub const CLUSTER: usize = at::CLUSTER;
    /// The sender's incarnation: eight bytes.
    pub const INCARNATION: usize = at::INCARNATION;
    /// The sequence number: eight bytes.
    pub const SEQ: usize = at::SEQ;
    /// The addressee's incarnation: eight bytes.
    pub const ECHO_INCARNATION: usize = at::ECHO_INCARNATION;
}

/// Which pair a heartbeat belongs to: two clusters may share a network and even a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClusterId(pub u64);

/// A heartbeat with a right tag: somebody with the key said it, at some time, to somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authentic {
    /// What it says.
    pub heartbeat: Heartbeat,
    /// Which key it was tagged with: tells when the old key can go.
    pub key: KeyUsed,
    /// One byte of a digest of the other key that its sender accepts: tells when the new key can be
    /// sent with.
    pub hint: u8,
}

/// Why bytes are not a heartbeat for this node. Each is counted for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// Shorter than it says, or than any heartbeat.
    TooShort,
    /// Longer than it says, or than any heartbeat.
    TooLong,
    /// It is something else altogether.
    Magic,
    /// Another version or form of the protocol.
    Version,
    /// Another cluster's.
    Cluster,
    /// A field has a value that no sender of this version writes.
    Malformed(Field),
    /// Made with another key, or forged.
    Tag,
}

/// A field with a value that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Field {
    /// Not the length of its version.
    Length,
    /// Not zero.
    Reserved,
    /// Not a node number.
    From,
    /// Not a node number, or the sender's own.
    To,
    /// Not a link number.
    Link,
    /// Not a state.
    State,
    /// An unknown bit is set.
    Flags,
    /// A link with an unknown value.
    Hears,
    /// Zero, which no daemon has.
    Incarnation,
    /// A number in more bytes than it needs, or more than 64 bits (the short form).
    Number,
    /// The part that is said in turns is none that is known (the short form).
    Turn,
}

/// Encodes and tags a heartbeat; the whole array is the message. This form says everything: what
/// the heartbeat leaves unsaid is zero in it.
pub fn emit(heartbeat: &Heartbeat, cluster: ClusterId, keys: &Keys) -> [u8; LEN] {
    let mut writer = Writer([0; LEN]);
    writer.put::<{ at::MAGIC }, 2>(MAGIC);
    writer.put::<{ at::VERSION }, 1>([VERSION]);
    writer.put::<{ at::FORM }, 1>([FORM_FULL]);
    writer.put::<{ at::LENGTH }, 2>(length_bytes());
    writer.put::<{ at::KEY_HINT }, 1>([keys.hint(heartbeat.seq.0)]);
    writer.put::<{ at::CLUSTER }, 8>(cluster.0.to_be_bytes());
    writer.put_facts(heartbeat);
    writer.put_counters(heartbeat);
    let tag = keys.tag(writer.tagged());
    writer.put::<{ at::TAG }, TAG_LEN>(tag);
    writer.0
}

/// Decodes a message: the cheap checks first, then the tag, then every value.
///
/// # Errors
/// The first reason for which the message is refused.
pub fn parse(bytes: &[u8], cluster: ClusterId, keys: &Keys) -> Result<Authentic, Refusal> {
    let view = View::check(bytes, cluster)?;
    let key = keys.verify(view.tagged(), view.tag()).ok_or(Refusal::Tag)?;
    Ok(Authentic { heartbeat: view.heartbeat()?, key, hint: view.key_hint() })
}

/// Bytes of the right length, version and cluster, from one possible node to another; not yet
/// authentic. The only way to the values behind leads over the tag, in [`parse`].
struct View<'a>(&'a [u8; LEN]);

impl<'a> View<'a> {
    fn check(bytes: &'a [u8], cluster: ClusterId) -> Result<Self, Refusal> {
        if bytes.len() < LEN_MIN {
            return Err(Refusal::TooShort);
        }
        if bytes.len() > LEN_MAX {
            return Err(Refusal::TooLong);
        }
        if !bytes.starts_with(&MAGIC) {
            return Err(Refusal::Magic);
        }
        if !bytes.get(at::VERSION..).is_some_and(|rest| rest.starts_with(&[VERSION, FORM_FULL])) {
            return Err(Refusal::Version);
        }
        let exact = <&[u8; LEN]>::try_from(bytes);
        let Ok(bytes) = exact else {
            return Err(if bytes.len() < LEN { Refusal::TooShort } else { Refusal::TooLong });
        };
        let view = Self(bytes);
        if view.get::<{ at::LENGTH }, 2>() != length_bytes() {
            return Err(Refusal::Malformed(Field::Length));
        }
        if view.u64::<{ at::CLUSTER }>() != cluster.0 {
            return Err(Refusal::Cluster);
        }
        view.nodes()?;
        Ok(view)
    }

    /// The sender and the addressee.
    fn nodes(&self) -> Result<(NodeId, NodeId), Refusal> {
        let [from] = self.get::<{ at::FROM }, 1>();
        let [to] = self.get::<{ at::TO }, 1>();
        let from = NodeId::new(from).ok_or(Refusal::Malformed(Field::From))?;
        let to = NodeId::new(to).filter(|to| *to != from);
        Ok((from, to.ok_or(Refusal::Malformed(Field::To))?))
    }

    /// All values, each checked.
    fn heartbeat(&self) -> Result<Heartbeat, Refusal> {
        self.check_reserved()?;
        let (from, to) = self.nodes()?;
        let incarnation = Incarnation(self.u64::<{ at::INCARNATION }>());
        if incarnation == Incarnation::NONE {
            return Err(Refusal::Malformed(Field::Incarnation));
        }
        let [good_nics] = self.get::<{ at::GOOD_NICS }, 1>();
        Ok(Heartbeat {
            from,
            to,
            link: self.link()?,
            incarnation,
            boot: BootId(self.get::<{ at::BOOT }, 16>()),
            seq: Seq(self.u64::<{ at::SEQ }>()),
            state: self.state()?,
            term: Term(self.u64::<{ at::TERM }>()),
            held_term: Term(self.u64::<{ at::HELD_TERM }>()),
            ask: Term(self.u64::<{ at::ASK }>()),
            grant: Term(self.u64::<{ at::GRANT }>()),
            flags: self.flags()?,
            echo_incarnation: Incarnation(self.u64::<{ at::ECHO_INCARNATION }>()),
            echo_session: Session(self.u32::<{ at::ECHO_SESSION }>()),
            session: Session(self.u32::<{ at::SESSION }>()),
            sent: self.u64::<{ at::SENT }>(),
            echo_sent: self.u64::<{ at::ECHO_SENT }>(),
            echo_held: self.u64::<{ at::ECHO_HELD }>(),
            config_digest: Some(self.u64::<{ at::CONFIG_DIGEST }>()),
            failcount_digest: Some(self.u64::<{ at::FAILCOUNT_DIGEST }>()),
            machine: Some(MachineId {
                platform: self.u64::<{ at::PLATFORM }>(),
                system: self.u64::<{ at::SYSTEM }>(),
                bmc: self.u64::<{ at::BMC }>(),
                proven: 0,
            }),
            good_nics,
            macs: self.macs(),
            hears: self.hears()?,
        })
    }

    fn check_reserved(&self) -> Result<(), Refusal> {
        let zero = self.get::<{ at::RESERVED_HEADER }, 1>() == [0; 1]
            && self.get::<{ at::RESERVED_FLAGS }, 2>() == [0; 2]
            && self.get::<{ at::RESERVED_SESSION }, 4>() == [0; 4];
        if zero { Ok(()) } else { Err(Refusal::Malformed(Field::Reserved)) }
    }

    fn link(&self) -> Result<LinkId, Refusal> {
        let [link] = self.get::<{ at::LINK }, 1>();
        let known = usize::from(link) < LINKS_MAX;
        known.then_some(LinkId(link)).ok_or(Refusal::Malformed(Field::Link))
    }

    fn state(&self) -> Result<PeerState, Refusal> {
        let [code] = self.get::<{ at::STATE }, 1>();
        state_of(code).ok_or(Refusal::Malformed(Field::State))
    }

    fn flags(&self) -> Result<Flags, Refusal> {
        let [bits] = self.get::<{ at::FLAGS }, 1>();
        flags_of(bits).ok_or(Refusal::Malformed(Field::Flags))
    }

    fn hears(&self) -> Result<[Hears; LINKS_MAX], Refusal> {
        hears_of(self.u32::<{ at::HEARS }>()).ok_or(Refusal::Malformed(Field::Hears))
    }

    fn macs(&self) -> [Option<Mac>; NICS_MAX] {
        let bytes = self.get::<{ at::MACS }, { NICS_MAX * 6 }>();
        let mut macs = [None; NICS_MAX];
        for (mac, bytes) in macs.iter_mut().zip(bytes.as_chunks::<6>().0) {
            *mac = Some(Mac(*bytes));
        }
        macs
    }

    fn key_hint(&self) -> u8 {
        let [hint] = self.get::<{ at::KEY_HINT }, 1>();
        hint
    }

    fn tagged(&self) -> &'a [u8] {
        self.0.split_at(TAGGED_LEN).0
    }

    fn tag(&self) -> &'a [u8; TAG_LEN] {
        self.0.last_chunk().unwrap_or(&[0; TAG_LEN])
    }

    fn u64<const AT: usize>(&self) -> u64 {
        u64::from_be_bytes(self.get::<AT, 8>())
    }

    fn u32<const AT: usize>(&self) -> u32 {
        u32::from_be_bytes(self.get::<AT, 4>())
    }

    /// `N` bytes from `AT`; that they are there is checked when this is compiled.
    fn get<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= LEN) };
        let field = self.0.get(AT..).and_then(<[u8]>::first_chunk);
        field.copied().unwrap_or([0; N])
    }
}

/// A heartbeat while it is written.
struct Writer([u8; LEN]);

impl Writer {
    fn put_facts(&mut self, heartbeat: &Heartbeat) {
        self.put::<{ at::FROM }, 1>([heartbeat.from.get()]);
        self.put::<{ at::TO }, 1>([heartbeat.to.get()]);
        self.put::<{ at::LINK }, 1>([heartbeat.link.0]);
        self.put::<{ at::STATE }, 1>([code_of(heartbeat.state)]);
        self.put::<{ at::FLAGS }, 1>([flag_bits(heartbeat.flags)]);
        self.put::<{ at::GOOD_NICS }, 1>([heartbeat.good_nics]);
        self.put::<{ at::HEARS }, 4>(hears_bits(&heartbeat.hears).to_be_bytes());
        self.put::<{ at::BOOT }, 16>(heartbeat.boot.0);
        let mut macs = [0u8; NICS_MAX * 6];
        for (bytes, mac) in macs.as_chunks_mut::<6>().0.iter_mut().zip(heartbeat.macs) {
            *bytes = mac.unwrap_or(Mac::NONE).0;
        }
        self.put::<{ at::MACS }, { NICS_MAX * 6 }>(macs);
    }

    fn put_counters(&mut self, heartbeat: &Heartbeat) {
        self.put::<{ at::SESSION }, 4>(heartbeat.session.0.to_be_bytes());
        self.put::<{ at::ECHO_SESSION }, 4>(heartbeat.echo_session.0.to_be_bytes());
        self.put_u64::<{ at::INCARNATION }>(heartbeat.incarnation.0);
        self.put_u64::<{ at::SEQ }>(heartbeat.seq.0);
        self.put_u64::<{ at::TERM }>(heartbeat.term.0);
        self.put_u64::<{ at::HELD_TERM }>(heartbeat.held_term.0);
        self.put_u64::<{ at::ASK }>(heartbeat.ask.0);
        self.put_u64::<{ at::GRANT }>(heartbeat.grant.0);
        self.put_u64::<{ at::ECHO_INCARNATION }>(heartbeat.echo_incarnation.0);
        self.put_u64::<{ at::SENT }>(heartbeat.sent);
        self.put_u64::<{ at::ECHO_SENT }>(heartbeat.echo_sent);
        self.put_u64::<{ at::ECHO_HELD }>(heartbeat.echo_held);
        self.put_u64::<{ at::CONFIG_DIGEST }>(heartbeat.config_digest.unwrap_or(0));
        self.put_u64::<{ at::FAILCOUNT_DIGEST }>(heartbeat.failcount_digest.unwrap_or(0));
        let machine = heartbeat.machine.unwrap_or(MachineId::UNKNOWN);
        self.put_u64::<{ at::PLATFORM }>(machine.platform);
        self.put_u64::<{ at::SYSTEM }>(machine.system);
        self.put_u64::<{ at::BMC }>(machine.bmc);
    }

    fn tagged(&self) -> &[u8] {
        self.0.split_at(TAGGED_LEN).0
    }

    fn put_u64<const AT: usize>(&mut self, value: u64) {
        self.put::<AT, 8>(value.to_be_bytes());
    }

    /// Writes `N` bytes at `AT`; that there is room is checked when this is compiled.
    fn put<const AT: usize, const N: usize>(&mut self, value: [u8; N]) {
        const { assert!(AT + N <= LEN) };
        if let Some(field) = self.0.get_mut(AT..).and_then(<[u8]>::first_chunk_mut) {
            *field = value;
        }
    }
}

/// The value of the length field: [`LEN`] in two bytes.
const fn length_bytes() -> [u8; 2] {
    const { assert!(LEN < 256) };
    let [low, ..] = LEN.to_le_bytes();
    [0, low]
}

pub(super) const fn code_of(state: PeerState) -> u8 {
    match state {
        PeerState::Joining => 1,
        PeerState::Standby => 2,
        PeerState::Isolated => 3,
        PeerState::Fencing => 4,
        PeerState::Frozen => 5,
        PeerState::Acquiring => 6,
        PeerState::Active => 7,
        PeerState::Releasing => 8,
        PeerState::Stopped => 9,
    }
}

pub(super) const fn state_of(code: u8) -> Option<PeerState> {
    Some(match code {
        1 => PeerState::Joining,
        2 => PeerState::Standby,
        3 => PeerState::Isolated,
        4 => PeerState::Fencing,
        5 => PeerState::Frozen,
        6 => PeerState::Acquiring,
        7 => PeerState::Active,
        8 => PeerState::Releasing,
        9 => PeerState::Stopped,
        _ => return None,
    })
}

pub(super) fn flag_bits(flags: Flags) -> u8 {
    let Flags { eligible, released, purging, held } = flags;
    u8::from(eligible) | u8::from(released) << 1 | u8::from(purging) << 2 | u8::from(held) << 3
}

pub(super) fn flags_of(bits: u8) -> Option<Flags> {
    let flags = Flags {
        eligible: bits & 1 != 0,
        released: bits & 2 != 0,
        purging: bits & 4 != 0,
        held: bits & 8 != 0,
    };
    (bits < 16).then_some(flags)
}

pub(super) fn hears_of(mut bits: u32) -> Option<[Hears; LINKS_MAX]> {
    let mut hears = [Hears::NoLink; LINKS_MAX];
    for link in &mut hears {
        *link = match bits & 0b11 {
            0 => Hears::NoLink,
            1 => Hears::Nothing,
            2 => Hears::Peer,
            _ => return None,
        };
        bits >>= 2;
    }
    Some(hears)
}

pub(super) fn hears_bits(hears: &[Hears; LINKS_MAX]) -> u32 {
    hears.iter().rev().fold(0, |bits, link| {
        let value = match link {
            Hears::NoLink => 0,
            Hears::Nothing => 1,
            Hears::Peer => 2,
        };
        bits << 2 | value
    })
}

impl fmt::Display for Refusal {
    /// For people, without any byte of the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("too short"),
            Self::TooLong => f.write_str("too long"),
            Self::Magic => f.write_str("not a heartbeat"),
            Self::Version => f.write_str("another version of the protocol"),
            Self::Cluster => f.write_str("another cluster's"),
            Self::Malformed(field) => write!(f, "malformed ({field:?})"),
            Self::Tag => f.write_str("made with another key, or forged"),
        }
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
pub(super) mod tests;
