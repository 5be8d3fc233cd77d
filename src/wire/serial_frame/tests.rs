//! Frames through lines that cut, split, lose, damage and invent bytes, by a seeded generator.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::super::heartbeat::tests::{Random, bytes_of};
use super::*;

/// What a getty says when it is started on the line.
const CONSOLE: &[u8] =
    b"\r\nDebian GNU/Linux 12 smw2 ttyS0\r\n\r\nsmw2 login: [    3.141592] usb 1-1: new device";

fn message(random: &mut Random, len: usize) -> Vec<u8> {
    // Many zeros and 255s: what stuffing is about.
    (0..len)
        .map(|_| match random.below(4) {
            0 => 0,
            1 => 255,
            _ => random.below(255),
        })
        .collect()
}

fn frame(message: &[u8]) -> Vec<u8> {
    Frame::new(message).unwrap().as_bytes().to_vec()
}

/// The messages in `stream`, which comes in pieces of `piece` bytes.
fn messages(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Dropped) {
    let mut deframer = Deframer::new();
    let mut found = Vec::new();
    for bytes in stream.chunks(piece.max(1)) {
        deframer.push(bytes, |message| found.push(message.to_vec()));
    }
    (found, deframer.dropped())
}

#[test]
fn every_message_comes_back_whatever_its_bytes_and_length() {
    let mut random = Random(1);
    for len in 1..=MESSAGE_LEN_MAX {
        let ones = vec![1; len];
        for original in [vec![0; len], ones, vec![255; len], message(&mut random, len)] {
            let bytes = frame(&original);
            assert!(bytes.len() <= FRAME_LEN_MAX);
            assert_eq!((bytes[0], bytes[bytes.len() - 1]), (0, 0));
            assert!(!bytes[1..bytes.len() - 1].contains(&0), "{len}");
            assert_eq!(messages(&bytes, bytes.len()), (vec![original], Dropped::default()));
        }
    }
    assert_eq!(Frame::new(&[1; MESSAGE_LEN_MAX + 1]), None);
    // A heartbeat's frame: two delimiters, one code, four bytes of CRC.
    assert_eq!(frame(&[7; 117]).len(), 124);
}

#[test]
fn any_split_of_the_stream_gives_the_same_messages() {
    let mut random = Random(2);
    let originals: Vec<Vec<u8>> = (0..40).map(|n| message(&mut random, 1 + n * 6)).collect();
    let stream: Vec<u8> = originals.iter().flat_map(|original| frame(original)).collect();
    for piece in [1, 2, 3, 7, 100, 1000, stream.len()] {
        assert_eq!(messages(&stream, piece), (originals.clone(), Dropped::default()), "{piece}");
    }
    for _ in 0..200 {
        let mut deframer = Deframer::new();
        let (mut found, mut rest) = (Vec::new(), stream.as_slice());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(usize::from(random.below(90)).min(rest.len()));
            deframer.push(piece, |message| found.push(message.to_vec()));
            rest = later;
        }
        assert_eq!(found, originals);
    }
}

#[test]
fn noise_between_frames_costs_none_of_them() {
    let mut random = Random(3);
    for _ in 0..2000 {
        let originals: Vec<Vec<u8>> = (0..4).map(|_| message(&mut random, 60)).collect();
        let mut stream = Vec::new();
        for original in &originals {
            let noise_len = usize::from(random.below(250)) * usize::from(random.below(3));
            stream.extend((0..noise_len).map(|_| random.below(255)));
            stream.extend(frame(original));
        }
        let (found, _) = messages(&stream, 64);
        assert_eq!(found, originals);
    }
}

#[test]
fn damage_costs_the_frame_that_it_hits_and_no_other() {
    let mut random = Random(4);
    for round in 0..4000_u64 {
        let originals: Vec<Vec<u8>> = (0..3).map(|_| message(&mut random, 80)).collect();
        let frames: Vec<Vec<u8>> = originals.iter().map(|original| frame(original)).collect();
        let mut hit = frames[1].clone();
        let inside = 1 + usize::from(random.below(80));
        match round % 5 {
            0 => hit[inside] ^= 1 << random.below(8),
            1 => hit.truncate(inside + 1),
            2 => drop(hit.drain(inside..inside + 3)),
            3 => drop(hit.splice(inside..inside, CONSOLE.iter().copied())),
            _ => hit[inside] = 0,
        }
        let stream = [&frames[0][..], &hit, &frames[2]].concat();
        let (found, dropped) = messages(&stream, 33);
        assert_eq!(found, [originals[0].clone(), originals[2].clone()], "round {round}");
        assert!(dropped.count() >= 1 && dropped.bytes > 0, "{dropped:?}");
    }
}

#[test]
fn a_console_on_the_line_is_counted_and_harmless() {
    let original = vec![7; 90];
    let mut stream = CONSOLE.repeat(20);
    stream.extend(frame(&original));
    stream.extend(CONSOLE);
    stream.extend(frame(&original));
    let (found, dropped) = messages(&stream, 16);
    assert_eq!(found, [original.clone(), original]);
    let expected = Dropped {
        overlong: 1,
        garbled: 1,
        bytes: u64::try_from(CONSOLE.len() * 21).unwrap(),
        ..Dropped::default()
    };
    assert_eq!(dropped, expected);
}

#[test]
fn each_reason_is_counted_for_itself() {
    let mut wrong = frame(b"message");
    wrong[3] ^= 1;
    let stream = [&[0, 3, 1, 0][..], &[0, 2, 9, 0], &[0, 5, 1, 2, 3, 4, 0], &wrong].concat();
    let (found, dropped) = messages(&stream, 1);
    assert_eq!(found, Vec::<Vec<u8>>::new());
    let counts = (dropped.garbled, dropped.too_short, dropped.checksum, dropped.overlong);
    assert_eq!(counts, (1, 2, 1, 0));
    // The longest that fits the buffer, and one more.
    for (more, overlong) in [(0, 0), (1, 1)] {
        let mut stream = vec![255; ENCODED_LEN_MAX + more];
        stream.push(0);
        assert_eq!(messages(&stream, 5).1.overlong, overlong);
    }
}

#[test]
fn a_line_that_never_pauses_is_taken_without_end_and_kept_bounded() {
    let mut random = Random(5);
    let mut deframer = Deframer::new();
    let mut found = 0;
    for _ in 0..3000 {
        let bytes: [u8; 256] = random.bytes();
        deframer.push(&bytes, |_| found += 1);
    }
    assert_eq!(found, 0, "a CRC of 32 bits lets one of four thousand million through");
    assert!(deframer.dropped().count() > 1000);
}

#[test]
fn a_line_that_is_opened_anew_begins_anew() {
    let mut deframer = Deframer::new();
    let bytes = frame(b"message");
    deframer.push(&bytes[..5], |_| ());
    deframer.restart();
    let mut found = 0;
    deframer.push(&bytes[1..], |message| found += usize::from(message == b"message"));
    assert_eq!((found, deframer.dropped()), (1, Dropped::default()));
}

#[test]
fn the_frame_of_the_sample_is_the_vector() {
    let message = bytes_of(include_str!("../../../tests/vectors/heartbeat-short-v1.hex"));
    let vector = bytes_of(include_str!("../../../tests/vectors/serial-frame-v1.hex"));
    assert_eq!(frame(&message), vector);
    assert_eq!(messages(&vector, 10).0, [message]);
}
