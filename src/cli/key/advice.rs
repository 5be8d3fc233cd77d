//! What is used and what is next, for people.

use crate::cli::table::plain;
use crate::config::key_file::Second;
use crate::wire::control::Status;
use crate::wire::control::status::PeerKeys;

/// The keys of both nodes, and the next step.
pub(super) fn table(status: &Status, second: Option<Second>) -> String {
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
    text.push_str(&format!("next: {}\n", next(status, second)));
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
