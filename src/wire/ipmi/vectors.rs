//! Recorded sessions of `ipmitool -L OPERATOR`, with the keys that it printed: what this client
//! computes must be the same to the byte. Suite 3 was recorded against `ipmi_sim`, suite 17 against
//! the test suite's BMC (both sides of it were computed by other code than this).
//!
//! The same datagrams, damaged, are fed to everything that decodes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::crypto::{CipherSuite, Entropy, Key, SessionKeys};
use super::handshake::{Login, Offer, Proof};
use super::message::{Command, Response};
use super::packet::{self, Kind, Packet};
use super::rakp::{OpenResponse, Rakp2, Rakp4};
use super::session::Session;
use crate::types::Power;

/// One recorded session: datagrams and keys in hexadecimal digits.
struct Recording {
    suite: CipherSuite,
    open_request: &'static str,
    open_response: &'static str,
    rakp1: &'static str,
    rakp2: &'static str,
    rakp3: &'static str,
    rakp4: &'static str,
    /// Set Session Privilege Level under sequence number 3, its vector, and the answer.
    command: &'static str,
    answer: &'static str,
    iv: &'static str,
    sik: &'static str,
    k1: &'static str,
    k2: &'static str,
}

const RECORDINGS: [Recording; 2] = [
    Recording {
        suite: CipherSuite::Three,
        open_request: "0600ff0706100000000000000000200000030000a4a3a2a0000000080100000001000008\
            010000000200000801000000",
        open_response: "0600ff0706110000000000000000240000000300a4a3a2a0020000000000000801000000\
            01000008010000000200000801000000",
        rakp1: "0600ff070612000000000000000021000000000002000000d49241936c87a42e6d52ec77\
            d5e178cb1300000566656e6365",
        rakp2: "0600ff07061300000000000000003c0000000000a4a3a2a03b3bde4d54fabe4fbc29d87c\
            96be74e6a123456789abcdefa123456789000001303c68f0cc7cf657c9adb915e2ca2c49\
            c285d7ab",
        rakp3: "0600ff07061400000000000000001c000000000002000000a18f4500475ccd9e53e8067a\
            44451bb5ece9f93f",
        rakp4: "0600ff0706150000000000000000140000000000a4a3a2a0793b78f5acbd662a575cda68",
        command: "0600ff0706c002000000030000002000d4c0b417dae2c4f25927490aa7e8a28c8789709d\
            f36b0cc5e5f11ef8b427a267ffff0207d9b15cccb4f73cd37c058e9a",
        answer: "0600ff0706c0a4a3a2a00100000020000a2bba9cb49665f3b32e320d8dd6bf56ae8a5091\
            fca607ec054a3547fc4626bcffff02076f42c82b141ba468111ee8de",
        iv: "d4c0b417dae2c4f25927490aa7e8a28c",
        sik: "3c9b607d008c3c368bfe924dfbbf285a73f22dcc",
        k1: "f8cd7147357c2419536060b1c55b178696fd89ca",
        k2: "dd6abb567e9c80e598823605dea529c763c3a8cf",
    },
    Recording {
        suite: CipherSuite::Seventeen,
        open_request: "0600ff0706100000000000000000200000030000a4a3a2a0000000080300000001000008\
            040000000200000801000000",
        open_response: "0600ff0706110000000000000000240000000400a4a3a2a0010100020000000803000000\
            01000008040000000200000801000000",
        rakp1: "0600ff0706120000000000000000210000000000010100027395b756f55868dfafac5dfe\
            5a1b11ff1300000566656e6365",
        rakp2: "0600ff0706130000000000000000480000000000a4a3a2a02141e739265a0d0bdac70461\
            374a15fa74657374206d616368696e65206f6e65377e3bbc22e96d7a75f63578fdc7e010\
            23e50ed1db866095340de993ea8572ff",
        rakp3: "0600ff070614000000000000000028000000000001010002aa853ea7c80d2639e3fad801\
            02204e6c10ac63f76fb214dee6ab122ce3231de2",
        rakp4: "0600ff0706150000000000000000180000000000a4a3a2a091987a5ae851404fffd1201e\
            d71d6d91",
        command: "0600ff0706c001010002030000002000d403a12be38b77949c14d2d7b3f5ac378db10ce2\
            e5fd2a83463c9d26fce4acb6ffff0207729096c9e24c63667fa60d711288fa44",
        answer: "0600ff0706c0a4a3a2a0010000002000b3a763deec571d71a4a6acf32f4a2bdb569415e5\
            e580c23d0e5b7be59db82c13ffff02075774aa3c433c6639b7ef77aa60d53130",
        iv: "d403a12be38b77949c14d2d7b3f5ac37",
        sik: "7570f87a5d765e87cf1a5099c4efa6218c9d6e1e2c41b63b3c8ef20fc3c9ac1b",
        k1: "73a8e83e1e7eb71d26b185f181ef91bf09254b3bb3bc27562243dd5672112822",
        k2: "9689e80ba1dfd05f939db8726210eab3fb6a228b02a41d5d3d3b2c29e74b47fc",
    },
];

/// What ipmitool calls every session of its own.
const CONSOLE_ID: u32 = 0xa0a2_a3a4;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

impl Recording {
    fn login() -> Login {
        Login::new("fence", "correct-horse").unwrap()
    }

    fn offer(&self) -> Offer {
        let console_random = bytes(self.rakp1)[24..40].try_into().unwrap();
        Offer { suite: self.suite, console_id: CONSOLE_ID, console_random }
    }

    fn proof(&self) -> Proof {
        let datagram = bytes(self.open_response);
        let response = OpenResponse::parse(Packet::parse(&datagram).unwrap().payload).unwrap();
        let challenge = self.offer().accept(&response.verdict.unwrap()).unwrap();
        let datagram = bytes(self.rakp2);
        let payload = Packet::parse(&datagram).unwrap().payload;
        let rakp2 = Rakp2::parse(payload, self.suite).unwrap();
        challenge.accept(&Self::login(), &rakp2.verdict.unwrap()).unwrap()
    }

    fn answers(&self) -> [Vec<u8>; 4] {
        [self.open_response, self.rakp2, self.rakp4, self.answer].map(bytes)
    }
}

/// Everything that decodes, on `datagram`; true if the session took it for an answer.
fn decode_everything(datagram: &[u8], suite: CipherSuite, session: &mut Session) -> bool {
    let Some(packet) = Packet::parse(datagram) else { return false };
    OpenResponse::parse(packet.payload);
    Rakp2::parse(packet.payload, suite);
    Rakp4::parse(packet.payload, suite);
    if let Some(response) = Response::parse(packet.payload) {
        response.power();
        response.privilege();
    }
    session.open(&packet).is_some_and(|message| Response::parse(&message).is_some())
}

#[test]
fn handshake_is_what_ipmitool_sends_to_the_byte() {
    for recording in &RECORDINGS {
        let offer = recording.offer();
        let open_request = packet::emit_plain(Kind::OpenRequest, &offer.emit(0));
        assert_eq!(open_request, bytes(recording.open_request));
        let datagram = bytes(recording.open_response);
        let response = OpenResponse::parse(Packet::parse(&datagram).unwrap().payload).unwrap();
        assert_eq!((response.tag, response.console_id), (0, CONSOLE_ID));
        let challenge = offer.accept(&response.verdict.unwrap()).unwrap();
        let rakp1 = packet::emit_plain(Kind::Rakp1, &challenge.emit(0, &Recording::login()));
        assert_eq!(rakp1, bytes(recording.rakp1));
        let rakp3 = packet::emit_plain(Kind::Rakp3, &recording.proof().emit(0));
        assert_eq!(rakp3, bytes(recording.rakp3));
    }
}

#[test]
fn rakp_4_confirms_and_with_any_bit_flipped_does_not() {
    for recording in &RECORDINGS {
        let datagram = bytes(recording.rakp4);
        let payload = Packet::parse(&datagram).unwrap().payload;
        let code = Rakp4::parse(payload, recording.suite).unwrap().verdict.unwrap();
        let proof = recording.proof();
        assert!(proof.confirms(code));
        for bit in 0..code.len() * 8 {
            let mut flipped = code.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!proof.confirms(&flipped), "bit {bit}");
        }
    }
}

#[test]
fn a_proof_of_another_password_is_not_accepted() {
    for recording in &RECORDINGS {
        let datagram = bytes(recording.open_response);
        let response = OpenResponse::parse(Packet::parse(&datagram).unwrap().payload).unwrap();
        let challenge = recording.offer().accept(&response.verdict.unwrap()).unwrap();
        let datagram = bytes(recording.rakp2);
        let payload = Packet::parse(&datagram).unwrap().payload;
        let challenged = Rakp2::parse(payload, recording.suite).unwrap().verdict.unwrap();
        for (user, password) in [("fence", "correct-horsf"), ("fencf", "correct-horse"), ("", "")] {
            let login = Login::new(user, password).unwrap();
            assert!(challenge.clone().accept(&login, &challenged).is_none(), "{user} {password}");
        }
    }
}

#[test]
fn keys_are_derived_as_ipmitool_derives_them() {
    for recording in &RECORDINGS {
        let keys = SessionKeys::derive(recording.suite, &Key::new(&bytes(recording.sik)));
        let k1 = Key::new(&bytes(recording.k1));
        let text: [&[u8]; 1] = [b"text"];
        let expected = recording.suite.digest(&k1, &text);
        let digest = recording.suite.digest(&keys.integrity, &text);
        assert_eq!(digest.as_slice(), expected.as_slice());
        assert_eq!(keys.confidentiality.as_slice(), &bytes(recording.k2)[..16]);
    }
}

/// RFC 2202 §3 and RFC 4231 §4.3, test case 2 of each.
#[test]
fn keyed_digests_are_those_of_the_rfcs() {
    let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
    let key = Key::new(b"Jefe");
    let sha1 = CipherSuite::Three.digest(&key, &parts);
    assert_eq!(sha1.as_slice(), bytes("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
    let sha256 = CipherSuite::Seventeen.digest(&key, &parts);
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sha256.as_slice(), bytes(expected));
}

#[test]
fn a_sealed_command_is_what_ipmitool_sends_to_the_byte_and_its_answer_opens_once() {
    for recording in &RECORDINGS {
        let mut session = recording.proof().into_session();
        let message = Command::RaisePrivilege.emit(1);
        let iv: [u8; 16] = bytes(recording.iv).try_into().unwrap();
        // ipmitool begins with sequence number 3.
        session.seal(&message, iv);
        session.seal(&message, iv);
        assert_eq!(session.seal(&message, iv), bytes(recording.command));

        let answer = bytes(recording.answer);
        let packet = Packet::parse(&answer).unwrap();
        let opened = session.open(&packet).unwrap();
        let response = Response::parse(&opened).unwrap();
        assert!(Command::RaisePrivilege.is_answered_by(1, &response));
        assert!(!Command::RaisePrivilege.is_answered_by(2, &response));
        assert!(!Command::ReadPower.is_answered_by(1, &response));
        assert_eq!((response.completion, response.privilege()), (0, Some(3)));
        assert_eq!(session.open(&packet), None, "a replay");
    }
}

#[test]
fn an_answer_of_one_session_does_not_open_in_another() {
    let [three, seventeen] = &RECORDINGS;
    for (own, other) in [(three, seventeen), (seventeen, three)] {
        let answer = bytes(other.answer);
        let packet = Packet::parse(&answer).unwrap();
        // The same session id, and still not its keys.
        assert_eq!(own.proof().into_session().open(&packet), None);
    }
}

#[test]
fn messages_of_every_length_come_back_as_they_were() {
    for recording in &RECORDINGS {
        let mut session = recording.proof().into_session();
        for len in 0..100u8 {
            let message: Vec<u8> = (0..len).collect();
            let mut datagram = session.seal(&message, [len; 16]);
            assert!(packet::signed_part(&datagram).len() > usize::from(len));
            // As the BMC would send it: to the console's id, so under another signature.
            datagram[6..10].copy_from_slice(&CONSOLE_ID.to_le_bytes());
            let split = datagram.len() - recording.suite.integrity_code_len();
            let k1 = Key::new(&bytes(recording.k1));
            let code = recording.suite.digest(&k1, &[&datagram[4..split]]);
            let code = code.first(recording.suite.integrity_code_len()).to_vec();
            datagram[split..].copy_from_slice(&code);
            let packet = Packet::parse(&datagram).unwrap();
            assert_eq!(session.open(&packet), Some(message), "{len} bytes");
        }
    }
}

#[test]
fn truncated_and_extended_datagrams_decode_to_no_answer() {
    for recording in &RECORDINGS {
        let mut session = recording.proof().into_session();
        for datagram in recording.answers() {
            for len in 0..datagram.len() {
                assert!(!decode_everything(&datagram[..len], recording.suite, &mut session));
            }
            for more in [1, 2, 12, 16, 600] {
                let longer = [datagram.as_slice(), &vec![0xff; more]].concat();
                assert!(!decode_everything(&longer, recording.suite, &mut session));
            }
        }
    }
}

#[test]
fn datagrams_with_a_flipped_bit_decode_to_no_answer() {
    for recording in &RECORDINGS {
        let mut session = recording.proof().into_session();
        for datagram in recording.answers() {
            // RMCP's reserved and sequence bytes say nothing and are not signed.
            for bit in (0..datagram.len() * 8).filter(|bit| !matches!(bit / 8, 1 | 2)) {
                let mut flipped = datagram.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    !decode_everything(&flipped, recording.suite, &mut session),
                    "bit {bit} of {datagram:02x?}"
                );
            }
        }
        // Undamaged it still is one: none of the damaged ones used its sequence number up.
        let answer = bytes(recording.answer);
        assert!(decode_everything(&answer, recording.suite, &mut session));
    }
}

#[test]
fn random_bytes_decode_to_no_answer() {
    let mut entropy = Entropy::new(&[42; 32]);
    for recording in &RECORDINGS {
        let mut session = recording.proof().into_session();
        for round in 0..20_000usize {
            let blocks = round % 9;
            let mut datagram: Vec<u8> = (0..blocks).flat_map(|_| entropy.draw()).collect();
            if round % 2 == 0 {
                let whole = bytes(recording.answer);
                datagram.splice(0..0, whole[..16.min(round % 20)].iter().copied());
            }
            assert!(!decode_everything(&datagram, recording.suite, &mut session));
        }
    }
}

#[test]
fn messages_with_a_wrong_checksum_or_too_few_bytes_are_none() {
    // Get Chassis Status, sequence number 5: on.
    let sound = bytes("81047b201401006100402a");
    let response = Response::parse(&sound).unwrap();
    assert!(Command::ReadPower.is_answered_by(5, &response));
    assert_eq!(response.power(), Some(Power::On));
    for len in 0..sound.len() {
        // A shorter one whose sum happens to be right has no data.
        let power = Response::parse(&sound[..len]).and_then(|response| response.power());
        assert_eq!(power, None, "{len} bytes");
    }
    for place in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[place] ^= 0x01;
        assert_eq!(Response::parse(&damaged), None, "byte {place}");
    }
}
