//! What is used and what is next, for people.

use crate::cli::table::plain;
use crate::config::key_file::Second;
use crate::wire::control::Status;
use crate::wire::control::status::PeerKeys;

/// The keys of both nodes, and the next step. `is_same`: the file has the keys that are used.
pub(super) fn table(status: &Status, second: Option<Second>, is_same: bool) -> String {
    let (keys, here) = (&status.keys, &status.node);
    let mut text = format!("{here}: sends with {}", keys.sends);
    if !keys.accepts.is_empty() {
        let what = match second {
            Some(Second::Added) => ", the new one",
            Some(Second::Replaced) => ", the old one",
            Some(Second::Untold) | None => "",
        };
        text.push_str(&format!("; accepts {}{what}, too", keys.accepts));
    }
    text.push_str(&format!("  [{}]\n", keys.file));
    for peer in &keys.peers {
        text.push_str(&peer_line(peer, &keys.accepts));
    }
    let next = if is_same {
        next(status, second)
    } else {
        "the file does not hold what the daemon uses, or cannot be read: see that it is right \
         (tandem check), then: tandem key reload"
            .to_owned()
    };
    text.push_str(&format!("next: {next}\n"));
    text.lines().map(|line| format!("{}\n", plain(line))).collect()
}

fn peer_line(peer: &PeerKeys, other: &str) -> String {
    let name = &peer.node;
    if peer.sends.is_empty() {
        return format!("{name}: is not heard\n");
    }
    let more = if peer.accepts_unknown {
        "; accepts a key that is not here, too".to_owned()
    } else if peer.accepts_other && peer.sends != other {
        format!("; accepts {other}, too")
    } else {
        String::new()
    };
    format!("{name}: sends with {}{more}\n", peer.sends)
}

/// The next step of a change, or how to begin one.
fn next(status: &Status, second: Option<Second>) -> String {
    let (keys, here) = (&status.keys, &status.node);
    if let Some(peer) = keys.peers.iter().find(|peer| peer.sends.is_empty()) {
        return format!(
            "bring {} back: as long as it is not heard, no key is changed (tandem status)",
            peer.node
        );
    }
    if keys.accepts.is_empty() {
        return match keys.peers.iter().find(|peer| peer.accepts_unknown) {
            None => "nothing; to change the key: tandem key add".to_owned(),
            Some(peer) => format!(
                "{0} accepts a key that is not here: if it is the old one, on {0}: tandem key \
                 drop; if it is the new one, here: tandem key add FILE, with the key file of {0}",
                peer.node
            ),
        };
    }
    let lacking = keys.peers.iter().find(|peer| !peer.accepts_other);
    let behind = keys.peers.iter().find(|peer| peer.sends != keys.sends);
    match second {
        Some(Second::Added) => match lacking {
            Some(peer) => {
                format!("on {here}: ssh root@{} tandem key add - <{}", peer.node, keys.file)
            }
            None if behind.is_some() => format!("on {here}: tandem key use"),
            None => format!("on {here} and on the other node: tandem key use"),
        },
        Some(Second::Replaced) => match behind {
            Some(peer) => format!("on {}: tandem key use", peer.node),
            None => format!("on {here} and on the other node: tandem key drop"),
        },
        Some(Second::Untold) | None => format!(
            "the file does not tell which key is the new one: tandem key use FINGERPRINT of the \
             new one, on both nodes; then tandem key drop FINGERPRINT of the old one; of {} and {}",
            keys.sends, keys.accepts
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::status::KeyState;

    /// The advice to a, whose peer b sends with `peer`.
    fn advice(
        accepts: &str,
        peer: &str,
        other: bool,
        unknown: bool,
        file: Option<Second>,
    ) -> String {
        let peer = PeerKeys {
            node: "b".to_owned(),
            sends: peer.to_owned(),
            accepts_other: other,
            accepts_unknown: unknown,
        };
        let keys = KeyState {
            file: "/etc/tandem/key".to_owned(),
            sends: "11111111".to_owned(),
            accepts: accepts.to_owned(),
            peers: vec![peer],
            settle_ms: 2000,
        };
        next(&Status { node: "a".to_owned(), keys, ..Status::default() }, file)
    }

    #[test]
    fn every_state_of_a_change_has_its_next_step() {
        use Second::{Added, Replaced, Untold};
        let (one, two) = ("11111111", "22222222");
        let cases = [
            ("", one, false, false, None, "nothing; to change the key: tandem key add"),
            ("", one, false, true, None, "b accepts a key that is not here"),
            (two, one, false, false, Some(Added), "on a: ssh root@b tandem key add - </etc"),
            (two, one, true, false, Some(Added), "on a and on the other node: tandem key use"),
            (two, two, true, false, Some(Added), "on a: tandem key use"),
            (two, two, true, false, Some(Replaced), "on b: tandem key use"),
            (two, one, true, false, Some(Replaced), "on a and on the other node: tandem key drop"),
            (two, one, false, false, Some(Replaced), "on a and on the other node: tandem key drop"),
            (two, one, true, false, Some(Untold), "the file does not tell"),
            (two, "", true, false, Some(Added), "bring b back"),
        ];
        for (accepts, peer, other, unknown, file, expected) in cases {
            let told = advice(accepts, peer, other, unknown, file);
            assert!(told.starts_with(expected), "{told}, not {expected}");
        }
    }
}
