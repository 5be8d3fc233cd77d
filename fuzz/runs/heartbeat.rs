//! Heartbeats: whatever was not tagged with a key is refused; whatever was, is what was said.

use tandem::wire::auth::{Keys, TAG_LEN};
use tandem::wire::heartbeat::{self, ClusterId, LEN, LEN_MAX, Refusal};

const CLUSTER: ClusterId = ClusterId(0x1122_3344_5566_7788);
const KEY: [u8; 32] = *b"a key that the fuzzer cannot see";
const OTHER: [u8; 32] = *b"another key that nobody can see.";

/// The first byte says whether the rest is tagged, and with which key.
pub fn run(data: &[u8]) {
    let Some((kind, message)) = data.split_first() else { return };
    let keys = Keys::new(&KEY, Some(&OTHER)).expect("two keys");
    match kind % 3 {
        0 => {
            let parsed = heartbeat::parse(message, CLUSTER, &keys);
            assert!(parsed.is_err(), "a heartbeat without a right tag is believed");
        }
        1 => tagged(message, &keys, &keys),
        _ => tagged(message, &Keys::new(&OTHER, None).expect("one key"), &keys),
    }
}

/// As somebody with the key sends it: what is understood is what is sent again.
fn tagged(message: &[u8], sender: &Keys, keys: &Keys) {
    let mut bytes = message.to_vec();
    bytes.truncate(LEN_MAX);
    if let Some(length) = bytes.len().checked_sub(TAG_LEN) {
        let tag = sender.tag(&bytes[..length]);
        bytes[length..].copy_from_slice(&tag);
    }
    match heartbeat::parse(&bytes, CLUSTER, keys) {
        Ok(authentic) => {
            let again = heartbeat::emit(&authentic.heartbeat, CLUSTER, keys);
            let parsed = heartbeat::parse(&again, CLUSTER, keys).expect("what is sent is read");
            assert_eq!(parsed.heartbeat, authentic.heartbeat);
        }
        Err(refusal) => {
            let could_be_authentic = bytes.len() == LEN;
            assert!(refusal != Refusal::Tag || !could_be_authentic, "a right tag is refused");
        }
    }
}
