//! GUIDs of machines: how they are written, in which orders of bytes they are told, and a digest
//! that is the same in all of them.
//!
//! One UUID is told as different bytes: as RFC 4122 writes it; with its first three fields little
//! endian, as SMBIOS keeps it and many BMCs send it (DSP0134 §7.2.1); wholly reversed, as IPMI asks
//! for (v2.0 §20.8, table 20-10); and with both. Which one a BMC sends, only its maker knows. So
//! two GUIDs are compared in all orders at once: each is brought into the lowest one of the eight
//! that reversing all bytes and those of the fields leads to, and a digest of that is compared.

use sha2::{Digest, Sha256};

/// The length in bytes.
pub const LEN: usize = 16;
/// What goes into each digest first, so that it is nobody else's.
const SALT: &[u8] = b"tandem machine";

/// What is no machine's own: firmware that nobody has given a number to.
const PLACEHOLDERS: [[u8; LEN]; 3] = [
    // 03000200-0400-0500-0006-000700080009, of boards by many makers.
    [3, 0, 2, 0, 4, 0, 5, 0, 0, 6, 0, 7, 0, 8, 0, 9],
    // 12345678-1234-5678-90ab-cddeefaabbcc
    [
        0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xde, 0xef, 0xaa, 0xbb,
        0xcc,
    ],
    // 00112233-4455-6677-8899-aabbccddeeff
    [
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
    ],
];

/// The GUID that 32 hexadecimal digits say, with or without dashes, in the order in which they
/// stand.
pub fn parse(text: &str) -> Option<[u8; LEN]> {
    let digits: Vec<char> = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.len() != LEN.saturating_mul(2) {
        return None;
    }
    let mut guid = [0; LEN];
    for (byte, pair) in guid.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = (*byte << 4) | u8::try_from(digit.to_digit(16)?).ok()?;
        }
    }
    Some(guid)
}

/// The digest of a GUID, the same in whatever order its bytes are told; zero for one that is no
/// machine's own.
pub fn digest(guid: [u8; LEN]) -> u64 {
    let [first, ..] = guid;
    let is_blank = matches!(first, 0x00 | 0xff) && guid.iter().all(|byte| *byte == first);
    let lowest = lowest_order(guid);
    if is_blank || PLACEHOLDERS.iter().any(|placeholder| lowest_order(*placeholder) == lowest) {
        return 0;
    }
    let hash = Sha256::new_with_prefix(SALT).chain_update(lowest).finalize();
    let digest = hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte));
    digest.max(1)
}

/// The lowest of all orders that a GUID may be told in.
fn lowest_order(guid: [u8; LEN]) -> [u8; LEN] {
    let mut lowest = guid;
    for reversals in 0..8u8 {
        let mut order = guid;
        if reversals & 1 != 0 {
            swap_fields(&mut order);
        }
        if reversals & 2 != 0 {
            order.reverse();
            swap_fields(&mut order);
            order.reverse();
        }
        if reversals & 4 != 0 {
            order.reverse();
        }
        lowest = lowest.min(order);
    }
    lowest
}

/// Reverses the bytes of each of the first three fields: time-low, time-mid, time-high.
fn swap_fields(guid: &mut [u8; LEN]) {
    let (low, rest) = guid.split_at_mut(4);
    let (middle, rest) = rest.split_at_mut(2);
    low.reverse();
    middle.reverse();
    if let Some((high, _)) = rest.split_at_mut_checked(2) {
        high.reverse();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const TEXT: &str = "4c4c4544-0042-3510-8052-b4c04f4a4632";

    #[test]
    fn a_guid_is_the_same_in_all_orders_that_bmcs_send() {
        let written = parse(TEXT).unwrap();
        let mut little = written;
        swap_fields(&mut little);
        assert_eq!(little[..8], [0x44, 0x45, 0x4c, 0x4c, 0x42, 0x00, 0x10, 0x35]);
        let reversed = |mut guid: [u8; LEN]| {
            guid.reverse();
            guid
        };
        for told in [little, reversed(written), reversed(little)] {
            assert_eq!(digest(told), digest(written), "{told:02x?}");
        }
        let mut mixed = reversed(written);
        swap_fields(&mut mixed);
        assert_eq!(digest(mixed), digest(written));
    }

    /// Machines of one order have service tags that differ in a character, or in the order of two.
    #[test]
    fn neighbours_are_other_machines() {
        let one = digest(parse(TEXT).unwrap());
        for other in [
            "4c4c4544-0042-3510-8052-b4c04f4a4633",
            "4c4c4544-0042-3510-8052-b4c04f4a3246",
            "4c4c4544-0042-3510-8052-b4c04a4f4632",
        ] {
            assert_ne!(digest(parse(other).unwrap()), one, "{other}");
        }
    }

    #[test]
    fn what_nobody_has_set_is_no_identity() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "00020003-0004-0005-0006-000700080009",
        ] {
            assert_eq!(digest(parse(text).unwrap()), 0, "{text}");
        }
    }

    #[test]
    fn only_32_digits_are_a_guid() {
        assert_eq!(parse("4C4C454400423510 ").map(|guid| guid[0]), None);
        assert_eq!(parse(&TEXT.replace('-', "").to_uppercase()), parse(TEXT));
        assert_eq!(parse(&format!("{TEXT}\n")), parse(TEXT));
        for text in ["", "Not Settable", "4c4c4544-0042-3510-8052-b4c04f4a46zz", &"é".repeat(32)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
