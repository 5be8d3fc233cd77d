//! Serial lines: no stream may do worse than be dropped, no message without a tag is believed, and
//! noise in front of a frame never costs it.

use tandem::wire::auth::Keys;
use tandem::wire::heartbeat::{ClusterId, Refusal};
use tandem::wire::serial_frame::{Deframer, Frame, MESSAGE_LEN_MAX};
use tandem::wire::short::{self, LEN_MAX, TAG_LEN, Turn};

const CLUSTER: ClusterId = ClusterId(0x1122_3344_5566_7788);
const KEY: [u8; 32] = *b"a key that the fuzzer cannot see";

/// The first byte says what the rest is: a stream, noise before a message, or a message that is
/// tagged with the key.
pub fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let keys = Keys::new(&KEY, None).expect("a key");
    match kind % 3 {
        0 => stream(bytes, usize::from(*kind), &keys),
        1 => behind_noise(bytes, usize::from(*kind)),
        _ => tagged(bytes, &keys),
    }
}

/// However it is cut, the same messages are in it, and none is believed.
fn stream(bytes: &[u8], piece: usize, keys: &Keys) {
    let messages = |piece: usize| {
        let (mut deframer, mut found) = (Deframer::new(), Vec::new());
        for bytes in bytes.chunks(piece) {
            deframer.push(bytes, |message| found.push(message.to_vec()));
        }
        (found, deframer.dropped())
    };
    let whole = messages(bytes.len().max(1));
    assert_eq!(messages(piece + 1), whole);
    for message in whole.0 {
        assert!(message.len() <= MESSAGE_LEN_MAX, "longer than any message");
        let parsed = short::parse(&message, CLUSTER, keys);
        assert!(parsed.is_err(), "a heartbeat without a right tag is believed");
    }
}

/// The noise costs nothing but itself.
fn behind_noise(bytes: &[u8], noise_len: usize) {
    let (noise, message) = bytes.split_at(noise_len.min(bytes.len()));
    let frame = Frame::new(message);
    assert_eq!(frame.is_some(), message.len() <= MESSAGE_LEN_MAX);
    let Some(frame) = frame else { return };
    let (mut deframer, mut last) = (Deframer::new(), None);
    deframer.push(noise, |_| ());
    deframer.push(frame.as_bytes(), |message| last = Some(message.to_vec()));
    // What is empty is no message.
    assert_eq!(last.as_deref(), Some(message).filter(|message| !message.is_empty()));
}

/// As somebody with the key sends it: what is understood can be said again, turn by turn.
fn tagged(bytes: &[u8], keys: &Keys) {
    let mut message = bytes.to_vec();
    message.truncate(LEN_MAX - TAG_LEN);
    let tag = keys.tag_all([&message, &CLUSTER.0.to_be_bytes()]);
    message.extend_from_slice(&tag[..TAG_LEN]);
    let heartbeat = match short::parse(&message, CLUSTER, keys) {
        Ok(authentic) => authentic.heartbeat,
        Err(refusal) => {
            assert!(refusal != Refusal::Tag, "a right tag is refused");
            return;
        }
    };
    let pairs = (0..4).map(|pair| Turn::Macs { pair });
    for turn in pairs.chain([Turn::Config, Turn::Failcount]) {
        let again = short::emit(&heartbeat, turn, CLUSTER, keys);
        let parsed = short::parse(again.as_bytes(), CLUSTER, keys).expect("what is sent is read");
        let again = parsed.heartbeat;
        assert_eq!((again.incarnation, again.seq), (heartbeat.incarnation, heartbeat.seq));
        for (again, said) in again.macs.iter().zip(heartbeat.macs) {
            assert!(again.is_none() || *again == said, "a MAC that was not said");
        }
    }
}
