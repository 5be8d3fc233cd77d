//! Phrases: what a line of a script can be, with places for names, times and words.
//!
//! A phrase is its words, with places in capitals: `NODE loses its power`. A line fits it when the
//! words are the same and each place holds what belongs there. Commas count for nothing.

use std::time::Duration;

use tandem::engine::transcript::state_word;
use tandem::types::PeerState;

/// The places a phrase can have, and what may stand there.
pub const PLACES: [(&str, &str); 9] = [
    ("NODE", "a, b, c ..."),
    ("LINK", "link0, link1 ..."),
    ("NIC", "nic0, nic1 ..."),
    ("VIP", "vip0, vip1 ..."),
    ("DEVICE", "bmc-a, outlet1-a, outlet2-a, meter1-a ..."),
    ("TIME", "200us, 300ms, 2s, 1h, 11d"),
    ("NUMBER", "0, 1, 2 ..."),
    ("STATE", "joining, standby, isolated, fencing, frozen, acquiring, active, releasing, stopped"),
    ("TEXT", "\"some words\""),
];

const STATES: [PeerState; 9] = [
    PeerState::Joining,
    PeerState::Standby,
    PeerState::Isolated,
    PeerState::Fencing,
    PeerState::Frozen,
    PeerState::Acquiring,
    PeerState::Active,
    PeerState::Releasing,
    PeerState::Stopped,
];

/// What stands in a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Node(usize),
    Link(u8),
    Nic(usize),
    Vip(u16),
    Device(String),
    Time(Duration),
    Number(u8),
    State(PeerState),
    Text(String),
}

/// What stands in the places of a line, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Values(pub Vec<Value>);

macro_rules! values {
    ($($name:ident, $variant:ident, $type:ty;)*) => {$(
        /// What stands in the place of that kind: the phrase has it there.
        pub fn $name(&self, place: usize) -> $type {
            match self.0.get(place) {
                Some(Value::$variant(value)) => value.clone(),
                other => panic!("place {place} of the phrase holds {other:?}"),
            }
        }
    )*};
}

impl Values {
    values! {
        node, Node, usize;
        link, Link, u8;
        nic, Nic, usize;
        vip, Vip, u16;
        device, Device, String;
        time, Time, Duration;
        number, Number, u8;
        state, State, PeerState;
        text, Text, String;
    }
}

/// The words of a line: what stands between double quotes is one word, with its quotes.
pub fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        match words.last_mut() {
            Some(word) if quoted || !(c.is_whitespace() || c == ',') => word.push(c),
            Some(word) if !word.is_empty() => words.push(String::new()),
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What stands in the places of `pattern` if the words fit it.
pub fn fit(pattern: &str, words: &[String]) -> Option<Values> {
    let places: Vec<&str> = pattern.split(' ').collect();
    if places.len() != words.len() {
        return None;
    }
    let mut values = Values::default();
    for (place, word) in places.into_iter().zip(words) {
        if PLACES.iter().any(|(name, _)| *name == place) {
            values.0.push(value(place, word)?);
        } else if place != word {
            return None;
        }
    }
    Some(values)
}

/// How well words that do not fit `pattern` resemble it: how many of its words they have, and what
/// stands in its first place; and that against how many words it has.
pub fn resemblance(pattern: &str, words: &[String]) -> (i32, i32) {
    // A single letter may be an article or a node.
    let is_fixed = |word: &&str| word.len() > 1 && !PLACES.iter().any(|(name, _)| name == word);
    let fixed = pattern.split(' ').filter(is_fixed);
    let first = pattern.split(' ').next().zip(words.first());
    let begins_alike = first.is_some_and(|(place, word)| value(place, word).is_some());
    let (mut shared, mut all) = (i32::from(begins_alike), 0);
    for word in fixed {
        all += 1;
        shared += i32::from(words.iter().any(|own| own == word));
    }
    (shared, 2 * shared - all)
}

fn value(place: &str, word: &str) -> Option<Value> {
    match place {
        "NODE" => {
            let mut letters = word.chars();
            let node = letters.next().filter(|c| ('a'..='h').contains(c) && word.len() == 1)?;
            Some(Value::Node(node as usize - 'a' as usize))
        }
        "LINK" => Some(Value::Link(word.strip_prefix("link")?.parse().ok()?)),
        "NIC" => Some(Value::Nic(word.strip_prefix("nic")?.parse().ok()?)),
        "VIP" => Some(Value::Vip(word.strip_prefix("vip")?.parse().ok()?)),
        "DEVICE" => {
            let is_device = ["bmc-", "outlet", "meter"].iter().any(|stem| word.starts_with(stem));
            is_device.then(|| Value::Device(word.to_owned()))
        }
        "TIME" => time(word).map(Value::Time),
        "NUMBER" => word.parse().ok().map(Value::Number),
        "STATE" => STATES.into_iter().find(|s| state_word(*s) == word).map(Value::State),
        "TEXT" => {
            let text = word.strip_prefix('"')?.strip_suffix('"')?;
            (!text.is_empty()).then(|| Value::Text(text.to_owned()))
        }
        _ => None,
    }
}

fn time(word: &str) -> Option<Duration> {
    let unit_at = word.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = word.split_at(unit_at);
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(micros).map(Duration::from_micros)
}

#[test]
fn a_line_fits_a_phrase_when_its_words_and_places_do() {
    let line = words("until b is active, within 1500us");
    assert_eq!(line, ["until", "b", "is", "active", "within", "1500us"]);
    let values = fit("until NODE is STATE within TIME", &line).unwrap();
    assert_eq!((values.node(0), values.state(1)), (1, PeerState::Active));
    assert_eq!(values.time(2), Duration::from_micros(1500));
    let told = fit("NODE has told TEXT", &words("a has told \"frozen: no, proof\"")).unwrap();
    assert_eq!(told.text(1), "frozen: no, proof");
    for wrong in ["a has told", "a has told frozen", "i has told \"x\"", "a had told \"x\""] {
        assert_eq!(fit("NODE has told TEXT", &words(wrong)), None, "{wrong}");
    }
    for wrong in ["5", "5m", "ms", "-5ms", "99999999999999999999ms", "9999999999999999d"] {
        assert_eq!(fit("run TIME", &words(&format!("run {wrong}"))), None, "{wrong}");
    }
}
