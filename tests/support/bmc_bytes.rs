//! The bytes of the tests' BMC: digests, encryption, and the layouts that go around messages.

use aes::Aes128;
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};

pub(super) fn code_len(suite: u8) -> usize {
    if suite == 17 { 16 } else { 12 }
}

pub(super) fn hmac(suite: u8, key: &[u8], bytes: &[u8]) -> Vec<u8> {
    if suite == 17 {
        let mut mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(key).unwrap();
        mac.update(bytes);
        mac.finalize().into_bytes().to_vec()
    } else {
        let mut mac = <Hmac<sha1::Sha1> as KeyInit>::new_from_slice(key).unwrap();
        mac.update(bytes);
        mac.finalize().into_bytes().to_vec()
    }
}

pub(super) fn plain(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x06, 0x00, 0xff, 0x07, 0x06, kind, 0, 0, 0, 0, 0, 0, 0, 0];
    datagram.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    datagram.extend(payload);
    datagram
}

pub fn message_of(net_fn: u8, seq: u8, command: u8, data: &[u8]) -> Vec<u8> {
    let mut head = vec![0x81, (net_fn + 1) << 2];
    head.push(head.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte)));
    let mut rest = vec![0x20, seq << 2, command];
    rest.extend(data);
    rest.push(rest.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte)));
    head.extend(rest);
    head
}

pub(super) fn encrypt(key: [u8; 16], iv: [u8; 16], message: &[u8]) -> Vec<u8> {
    let pad = (16 - (message.len() + 1) % 16) % 16;
    let mut plain = message.to_vec();
    plain.extend((1u8..).take(pad));
    plain.push(u8::try_from(pad).unwrap());
    let mut cipher = cbc::Encryptor::<Aes128>::new(&Array::from(key), &Array::from(iv));
    let mut out = iv.to_vec();
    for chunk in plain.chunks(16) {
        let mut block = Array::try_from(chunk).unwrap();
        cipher.encrypt_block(&mut block);
        out.extend(block);
    }
    out
}

pub(super) fn decrypt(key: [u8; 16], payload: &[u8]) -> Option<Vec<u8>> {
    let (iv, body) = payload.split_first_chunk::<16>()?;
    let mut cipher = cbc::Decryptor::<Aes128>::new(&Array::from(key), &Array::from(*iv));
    let mut out = Vec::new();
    for chunk in body.chunks(16) {
        let mut block = Array::try_from(chunk).ok()?;
        cipher.decrypt_block(&mut block);
        out.extend(block);
    }
    let pad = usize::from(out.pop()?);
    out.truncate(out.len().checked_sub(pad)?);
    Some(out)
}
