//! The kernel's filters for claims of VIPs, in classic BPF.
//!
//! A VIP is known by the four bytes that a filter loads: the whole IPv4 address, the tail of an
//! IPv6 one. They are compared as ranges, by rising order; with more ranges than a filter may be
//! long, the nearest ones are joined, and what lies between them gets through too. So a filter may
//! accept too much, and never too little.

use std::collections::BTreeSet;
use std::net::IpAddr;

use socket2::SockFilter;

/// The most ranges of one filter. The kernel takes 4096 instructions, and (`net.core.optmem_max`)
/// about 2000 of its own, of which one here may become two.
pub const RANGES_MAX: usize = 256;
/// How many ranges share the two returns behind them: a conditional jump reaches no further than
/// 255 instructions.
const RANGES_PER_BLOCK: usize = 100;

const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
const ACCEPT: u32 = 0xffff_ffff;
const ARP_SENDER_IP_AT: u32 = 28;
const IPV6_NEXT_HEADER_AT: u32 = 20;
const ICMPV6: u32 = 58;
const ICMPV6_TYPE_AT: u32 = 54;
const ADVERTISEMENT: u32 = 136;
/// The last four bytes of an advertisement's target.
const TARGET_TAIL_AT: u32 = 74;

/// Operation, jumps if so and if not, operand.
#[derive(Clone, Copy, Debug)]
struct Instruction(u16, u8, u8, u32);

/// Lets ARP packets through whose sender claims a VIP.
pub fn for_arp<'a>(vips: impl Iterator<Item = &'a IpAddr>) -> Vec<SockFilter> {
    let mut filter = vec![Instruction(LOAD_WORD, 0, 0, ARP_SENDER_IP_AT)];
    let words = vips.filter_map(|addr| match addr {
        IpAddr::V4(addr) => Some(u32::from(*addr)),
        IpAddr::V6(_) => None,
    });
    accept_any_of(&mut filter, words.collect());
    finish(filter)
}

/// Lets neighbour advertisements through whose target may be a VIP.
pub fn for_ndp<'a>(vips: impl Iterator<Item = &'a IpAddr>) -> Vec<SockFilter> {
    let mut filter = vec![
        Instruction(LOAD_BYTE, 0, 0, IPV6_NEXT_HEADER_AT),
        Instruction(JUMP_IF_EQUAL, 1, 0, ICMPV6),
        Instruction(RETURN, 0, 0, 0),
        Instruction(LOAD_BYTE, 0, 0, ICMPV6_TYPE_AT),
        Instruction(JUMP_IF_EQUAL, 1, 0, ADVERTISEMENT),
        Instruction(RETURN, 0, 0, 0),
        Instruction(LOAD_WORD, 0, 0, TARGET_TAIL_AT),
    ];
    let words = vips.filter_map(|addr| match addr {
        IpAddr::V4(_) => None,
        IpAddr::V6(addr) => {
            let [.., a, b, c, d] = addr.octets();
            Some(u32::from_be_bytes([a, b, c, d]))
        }
    });
    accept_any_of(&mut filter, words.collect());
    finish(filter)
}

/// Accepts a frame whose loaded word is one of `words`, or lies in a gap between them that had to
/// be closed.
///
/// ```text
///   greater than the last of range 1? ─► range 2 ─► ... ─► range n ─► next block, or reject
///   not less than its first? ─► accept, reject
/// ```
fn accept_any_of(filter: &mut Vec<Instruction>, words: Vec<u32>) {
    for block in ranges_of(words).chunks(RANGES_PER_BLOCK) {
        // How many instructions lie between the one at hand and the block's returns.
        let mut accept = u8::try_from(block.len() * 2).unwrap_or(u8::MAX);
        for (first, last) in block {
            filter.push(Instruction(JUMP_IF_GREATER, 1, 0, *last));
            accept = accept.saturating_sub(2);
            let (yes, no) = (accept.saturating_add(1), accept.saturating_add(2));
            filter.push(Instruction(JUMP_IF_GREATER_OR_EQUAL, yes, no, *first));
        }
        filter.push(Instruction(JUMP, 0, 0, 2));
        filter.push(Instruction(RETURN, 0, 0, ACCEPT));
        filter.push(Instruction(RETURN, 0, 0, 0));
    }
    filter.push(Instruction(RETURN, 0, 0, 0));
}

/// The ranges from first to last word that hold all of `words`: exact ones if they are at most
/// [`RANGES_MAX`], else split at the widest gaps.
fn ranges_of(mut words: Vec<u32>) -> Vec<(u32, u32)> {
    words.sort_unstable();
    words.dedup();
    let pairs = words.iter().zip(words.iter().skip(1));
    let mut gaps: Vec<(u32, u32)> =
        pairs.map(|(one, next)| (next - one, *next)).filter(|(gap, _)| *gap > 1).collect();
    gaps.sort_unstable_by(|one, other| other.cmp(one));
    gaps.truncate(RANGES_MAX - 1);
    let starts: BTreeSet<u32> = gaps.into_iter().map(|(_, next)| next).collect();
    let mut ranges: Vec<(u32, u32)> = vec![];
    for word in words {
        match ranges.last_mut().filter(|_| !starts.contains(&word)) {
            Some((_, last)) => *last = word,
            None => ranges.push((word, word)),
        }
    }
    ranges
}

fn finish(filter: Vec<Instruction>) -> Vec<SockFilter> {
    let finished = |Instruction(code, yes, no, k)| SockFilter::new(code, yes, no, k);
    filter.into_iter().map(finished).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
    use super::*;

    /// Runs the filter as the kernel does, with `word` at `at`.
    fn accepts(filter: &[Instruction], at: u32, word: u32) -> bool {
        let (mut loaded, mut next) = (0, 0);
        loop {
            let Instruction(code, yes, no, k) = filter[next];
            next += 1;
            let jump = |is_so| usize::from(if is_so { yes } else { no });
            match code {
                LOAD_WORD => loaded = if k == at { word } else { panic!("loads {k}") },
                JUMP_IF_GREATER => next += jump(loaded > k),
                JUMP_IF_GREATER_OR_EQUAL => next += jump(loaded >= k),
                JUMP => next += usize::try_from(k).unwrap(),
                RETURN => return k != 0,
                other => panic!("no instruction: {other:#x}"),
            }
        }
    }

    fn arp_filter(words: &[u32]) -> Vec<Instruction> {
        let mut filter = vec![Instruction(LOAD_WORD, 0, 0, ARP_SENDER_IP_AT)];
        accept_any_of(&mut filter, words.to_vec());
        filter
    }

    #[test]
    fn as_many_vips_as_there_may_be_ranges_are_matched_exactly() {
        for count in [0, 1, 2, 99, 100, 101, 200, 256] {
            let words: Vec<u32> = (0..count).map(|n| n * 0x00ff_fff0 + 3).collect();
            let filter = arp_filter(&words);
            for word in &words {
                assert!(accepts(&filter, ARP_SENDER_IP_AT, *word), "{word:#x} of {count}");
                for near in [word - 1, word + 1] {
                    assert!(!accepts(&filter, ARP_SENDER_IP_AT, near), "{near:#x} of {count}");
                }
            }
            assert!(!accepts(&filter, ARP_SENDER_IP_AT, 0));
            assert!(!accepts(&filter, ARP_SENDER_IP_AT, u32::MAX));
        }
    }

    #[test]
    fn neighbouring_vips_are_one_range_however_many() {
        let words: Vec<u32> = (0x0a4d_0001..0x0a4d_4001).rev().collect();
        assert_eq!(ranges_of(words), [(0x0a4d_0001, 0x0a4d_4000)]);
        assert_eq!(ranges_of(vec![u32::MAX, 0]), [(0, 0), (u32::MAX, u32::MAX)]);
    }

    #[test]
    fn too_many_ranges_are_joined_at_the_narrowest_gaps() {
        // Pairs with one address between them, and far from each other.
        let words: Vec<u32> = (0..200).flat_map(|n| [n * 1000, n * 1000 + 2]).collect();
        let filter = arp_filter(&words);
        assert!(filter.len() <= 2 * RANGES_MAX + 12, "{}", filter.len());
        assert!(words.iter().all(|word| accepts(&filter, ARP_SENDER_IP_AT, *word)));
        let between = (0..200).filter(|n| accepts(&filter, ARP_SENDER_IP_AT, n * 1000 + 1)).count();
        assert_eq!(between, 400 - RANGES_MAX);
        assert!((0..200).all(|n| !accepts(&filter, ARP_SENDER_IP_AT, n * 1000 + 500)));
    }
}
