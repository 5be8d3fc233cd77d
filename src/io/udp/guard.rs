//! The kernel's filter on a heartbeat socket, in classic BPF: what cannot be a peer's heartbeat
//! never wakes the daemon and never takes a place in its queue.
//!
//! It sees only what is in clear: anybody who knows it can write it, so what passes is no more
//! authentic than before. *Wide* it asks for the right length, magic, version, cluster and source
//! address. *Narrow*, while the link is flooded, also for a life that is known: the peer's
//! incarnation, its echo of ours, and a sequence number near the newest one. Who is not on the wire
//! cannot know any of these three.
//!
//! What has the look of a heartbeat and fails is not dropped outright: one in [`SAMPLE`] passes, so
//! that a wrong address or cluster name is still told, and a peer's new life is still heard.
//!
//! ```text
//!   offset 0 of a UDP socket's filter is the UDP header; the IP header is at SKF_NET_OFF
//! ```

use std::net::IpAddr;

use socket2::SockFilter;

use crate::config::link::UdpLinkConfig;
use crate::types::{Incarnation, NodeId, Seq};
use crate::wire::heartbeat::{LEN, LEN_MAX, LEN_MIN, MAGIC, VERSION, place};

/// One in so many datagrams that fail passes; a power of two.
pub const SAMPLE: u32 = 16;
/// How far below a life's newest number one may be that passes: twice the replay window.
const SEQ_BEHIND: u64 = 128;
/// How far above: what a life sends in some hours.
const SEQ_AHEAD: u64 = 1 << 24;

/// A life of a peer that is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownLife {
    /// The peer.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The newest number that was heard of it.
    pub newest: Seq,
}

/// How narrow a filter is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Width {
    /// Every possible heartbeat of a peer passes.
    Wide,
    /// Only those that continue one of these lives, and echo ours.
    Narrow {
        /// Our incarnation.
        local: Incarnation,
        /// The peers' lives.
        lives: Vec<KnownLife>,
    },
}

const LOAD_LEN: u16 = 0x80;
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const NOT_LESS: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const UDP_HEADER_LEN: u32 = 8;
/// `SKF_NET_OFF`: what is loaded from here on is the IP header.
const NET_AT: u32 = 0xfff0_0000;
const IPV4_SOURCE_AT: u32 = NET_AT + 12;
const IPV6_SOURCE_AT: u32 = NET_AT + 8;
/// `SKF_AD_OFF + SKF_AD_RANDOM`: a random word.
const RANDOM_AT: u32 = 0xffff_f000 + 56;
const FULL_FORM: u32 = 1;

/// Where a comparison leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    Next,
    /// Over so many instructions.
    Over(u8),
    Accept,
    Sample,
    Drop,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Load(u16, u32),
    Test { test: u16, with: u32, yes: To, no: To },
}

/// A filter while it is written.
struct Program(Vec<Step>);

impl Program {
    fn load(&mut self, how: u16, at: u32) {
        self.0.push(Step::Load(how, at));
    }

    fn test(&mut self, test: u16, with: u32, yes: To, no: To) {
        self.0.push(Step::Test { test, with, yes, no });
    }

    /// Goes on only if the 64 bits at `at` of the payload are `value`.
    fn demand_u64(&mut self, at: usize, value: u64, no: To) {
        let [high, low] = halves(value);
        self.load(LOAD_WORD, payload(at));
        self.test(EQUAL, high, To::Next, no);
        self.load(LOAD_WORD, payload(at).saturating_add(4));
        self.test(EQUAL, low, To::Next, no);
    }
}

/// One instruction: operation, jumps if so and if not, operand.
type Instruction = (u16, u8, u8, u32);

/// The filter of a link of `cluster`.
pub fn filter(config: &UdpLinkConfig, cluster: u64, width: &Width) -> Vec<SockFilter> {
    let written = write(config, cluster, width).into_iter();
    written.map(|(code, yes, no, k)| SockFilter::new(code, yes, no, k)).collect()
}

fn write(config: &UdpLinkConfig, cluster: u64, width: &Width) -> Vec<Instruction> {
    let mut program = Program(Vec::with_capacity(128));
    demand_shape(&mut program);
    if config.group.is_none() {
        demand_source(&mut program, config);
    }
    program.load(LOAD_BYTE, payload(place::VERSION));
    program.test(EQUAL, u32::from(VERSION), To::Next, To::Sample);
    program.load(LOAD_BYTE, payload(place::FORM));
    program.test(EQUAL, FULL_FORM, To::Next, To::Sample);
    program.load(LOAD_LEN, 0);
    program.test(EQUAL, payload(LEN), To::Next, To::Sample);
    program.demand_u64(place::CLUSTER, cluster, To::Sample);
    match width {
        Width::Wide => {}
        Width::Narrow { local, lives } => demand_life(&mut program, *local, lives),
    }
    finish(&program.0)
}

/// Long enough, short enough, and magic.
fn demand_shape(program: &mut Program) {
    program.load(LOAD_LEN, 0);
    program.test(NOT_LESS, payload(LEN_MIN), To::Next, To::Drop);
    program.test(GREATER, payload(LEN_MAX), To::Drop, To::Next);
    program.load(LOAD_HALF, payload(0));
    program.test(EQUAL, u32::from(u16::from_be_bytes(MAGIC)), To::Next, To::Drop);
}

/// From the address of one of the peers.
fn demand_source(program: &mut Program, config: &UdpLinkConfig) {
    let count = config.peers.len();
    for (index, (_, addr)) in config.peers.iter().enumerate() {
        let is_last = index.saturating_add(1) == count;
        let left = u8::try_from(count.saturating_sub(index).saturating_sub(1)).unwrap_or(u8::MAX);
        match addr {
            IpAddr::V4(addr) => {
                if index == 0 {
                    program.load(LOAD_WORD, IPV4_SOURCE_AT);
                }
                let no = if is_last { To::Sample } else { To::Next };
                program.test(EQUAL, u32::from(*addr), To::Over(left), no);
            }
            IpAddr::V6(addr) => {
                let octets = addr.octets();
                let (words, _) = octets.as_chunks::<4>();
                for (word, at) in words.iter().zip(0u8..) {
                    program.load(LOAD_WORD, IPV6_SOURCE_AT.saturating_add(u32::from(at) * 4));
                    let with = u32::from_be_bytes(*word);
                    // Two instructions a word, eight an address.
                    let rest = 6u8.saturating_sub(at.saturating_mul(2));
                    let no = if is_last { To::Sample } else { To::Over(rest) };
                    let yes = if at == 3 { To::Over(left.saturating_mul(8)) } else { To::Next };
                    program.test(EQUAL, with, yes, no);
                }
            }
        }
    }
}

/// Of a known life, echoing ours, and not far from the newest.
fn demand_life(program: &mut Program, local: Incarnation, lives: &[KnownLife]) {
    program.demand_u64(place::ECHO_INCARNATION, local.0, To::Sample);
    for (index, life) in lives.iter().enumerate() {
        let is_last = index.saturating_add(1) == lives.len();
        let from = life.newest.0.saturating_sub(SEQ_BEHIND);
        let until = life.newest.0.saturating_add(SEQ_AHEAD);
        let [from_high, from_low] = halves(from);
        let [until_high, until_low] = halves(until);
        let [high, low] = halves(life.incarnation.0);
        // Across a change of the upper half (every 4 thousand million heartbeats) it is not asked.
        let is_plain = from_high == until_high;
        let rest = |done: u8| {
            let all = if is_plain { 9u8 } else { 4 };
            if is_last { To::Sample } else { To::Over(all.saturating_sub(done)) }
        };
        program.load(LOAD_WORD, payload(place::INCARNATION));
        program.test(EQUAL, high, To::Next, rest(2));
        program.load(LOAD_WORD, payload(place::INCARNATION).saturating_add(4));
        let found = if is_plain { To::Next } else { To::Accept };
        program.test(EQUAL, low, found, rest(4));
        if is_plain {
            program.load(LOAD_WORD, payload(place::SEQ));
            program.test(EQUAL, from_high, To::Next, To::Sample);
            program.load(LOAD_WORD, payload(place::SEQ).saturating_add(4));
            program.test(NOT_LESS, from_low, To::Next, To::Sample);
            program.test(GREATER, until_low, To::Sample, To::Accept);
        }
    }
}

/// Puts the ends behind: accept; sample, which goes on to accept or drop; drop.
///
/// ```text
///   n      return: accept          what falls out of the steps is accepted
///   n + 1  load a random word      sample
///   n + 2  any low bit? drop, accept
///   n + 3  return: accept
///   n + 4  return: drop
/// ```
fn finish(steps: &[Step]) -> Vec<Instruction> {
    let count = steps.len();
    let accept = count;
    let (sample, drop) = (count.saturating_add(1), count.saturating_add(4));
    let distance = |from: usize, to: To| {
        let next = from.saturating_add(1);
        let target = match to {
            To::Next => next,
            To::Over(over) => next.saturating_add(usize::from(over)),
            To::Accept => accept,
            To::Sample => sample,
            To::Drop => drop,
        };
        u8::try_from(target.saturating_sub(next)).unwrap_or(u8::MAX)
    };
    let steps = steps.iter().enumerate().map(|(index, step)| match *step {
        Step::Load(how, at) => (how, 0, 0, at),
        Step::Test { test, with, yes, no } => {
            (test, distance(index, yes), distance(index, no), with)
        }
    });
    let ends = [
        (RETURN, 0, 0, u32::MAX),
        (LOAD_WORD, 0, 0, RANDOM_AT),
        (ANY_BIT, 1, 0, SAMPLE.saturating_sub(1)),
        (RETURN, 0, 0, u32::MAX),
        (RETURN, 0, 0, 0),
    ];
    steps.chain(ends).collect()
}

/// Where byte `at` of the payload is.
fn payload(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX).saturating_add(UDP_HEADER_LEN)
}

fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests;
