//! Lines back to inputs. Nothing is believed that its checksum does not vouch for.

use core::fmt;

use super::bases::{Bases, Difference};
use super::{Header, SEAL_LEN, Sum, TITLE};
use crate::engine::{Input, Node, Settings};
use crate::types::heartbeat::{LINKS_MAX, NICS_MAX};
use crate::types::{Instant, LinkId, NodeId};

/// Why a segment cannot be read on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for Damage {}

/// A segment that is being read.
#[derive(Debug)]
pub struct Segment<'t> {
    header: Header,
    node: Option<Node>,
    lines: Lines<'t>,
    bases: Bases,
    last: Instant,
}

impl<'t> Segment<'t> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// If it is no segment, or its beginning is damaged, cut off or of another version.
    pub fn open(bytes: &'t [u8]) -> Result<Self, Damage> {
        let mut lines = Lines { rest: bytes, number: 0, sum: Sum::default() };
        let title = TITLE.as_bytes();
        if !bytes.starts_with(title) && !title.starts_with(bytes) {
            let what = if bytes.starts_with(b"tandem-flight ") {
                "the recording has another format: replay it with the tandem that wrote it"
            } else {
                "this is no recording of tandem"
            };
            return Err(Damage { line: 1, what: what.to_owned() });
        }
        let cut = |lines: &Lines<'_>| lines.damage("the recording ends before its beginning does");
        let title = lines.next().ok_or_else(|| cut(&lines))??;
        let title = title.strip_prefix(TITLE).unwrap_or_default();
        let header: Header = parse_json(&lines, title)?;
        let opening = lines.next().ok_or_else(|| cut(&lines))??;
        let node = match opening.split_once(' ') {
            Some(("start", json)) => {
                let settings: Settings = parse_json(&lines, json)?;
                if !is_sound(&settings) {
                    return Err(lines.damage("no configuration leads to these settings"));
                }
                Node::new(settings, header.at)
            }
            Some(("node", json)) => parse_json(&lines, json)?,
            Some(_) | None => return Err(lines.damage("neither a start nor a state")),
        };
        let last = header.at;
        Ok(Self { header, node: Some(node), lines, bases: Bases::new(), last })
    }

    /// What it is of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The engine as the segment begins; it is given once.
    pub fn take_node(&mut self) -> Option<Node> {
        self.node.take()
    }

    /// The next input and when the engine was given it; nothing at the end.
    ///
    /// # Errors
    /// If the line is damaged: nothing behind it can be read.
    pub fn next_input(&mut self) -> Result<Option<(Instant, Input)>, Damage> {
        let Some(line) = self.lines.next() else { return Ok(None) };
        let line = line?;
        let (passed, rest) = line.split_once(' ').unwrap_or((line, ""));
        let passed: i64 = self.parse_number(passed)?;
        let now = moment(self.last, passed);
        self.last = now;
        let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let input = match kind {
            "t" if rest.is_empty() => Input::Tick,
            "h" => self.parse_heard(now, rest)?,
            "i" => parse_json(&self.lines, rest)?,
            _ => return Err(self.lines.damage("it is of no kind that is known")),
        };
        if let Input::Heard { link, at, heartbeat } = &input
            && kind == "i"
        {
            self.bases.note(heartbeat.from, *link, *at, heartbeat);
        }
        Ok(Some((now, input)))
    }

    /// How many bytes at the end are no whole line: the daemon ended while it wrote them.
    pub fn torn_len(&self) -> usize {
        self.lines.rest.len()
    }

    fn parse_heard(&mut self, now: Instant, text: &str) -> Result<Input, Damage> {
        let mut numbers = [0i64; 7];
        let mut words = text.split(' ');
        for number in &mut numbers {
            *number = self.parse_number(words.next().unwrap_or_default())?;
        }
        let [from, link, age, seq, sent, echo_sent, echo_held] = numbers;
        let unsaid = match words.next() {
            None => 0,
            Some(word) => u16::try_from(self.parse_number(word)?)
                .map_err(|_e| self.lines.damage("a number is out of range"))?,
        };
        let from = u8::try_from(from).ok().and_then(NodeId::new);
        let link = u8::try_from(link).ok().map(LinkId);
        let at = Instant::from_nanos(now.as_nanos().wrapping_sub(age.cast_unsigned()));
        let difference = Difference { seq, sent, echo_sent, echo_held, unsaid };
        let heard = from.zip(link).and_then(|(from, link)| {
            let heartbeat = self.bases.restore(from, link, at, difference)?;
            Some(Input::Heard { link, at, heartbeat })
        });
        heard.ok_or_else(|| self.lines.damage("a heartbeat that none came before"))
    }

    fn parse_number(&self, text: &str) -> Result<i64, Damage> {
        text.parse().map_err(|_e| self.lines.damage("a number is missing"))
    }
}

/// The lines whose checksums are right, without them.
#[derive(Debug)]
struct Lines<'t> {
    rest: &'t [u8],
    /// Of the line that was given last.
    number: usize,
    sum: Sum,
}

impl<'t> Lines<'t> {
    /// The next whole line; nothing when there is none.
    fn next(&mut self) -> Option<Result<&'t str, Damage>> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        self.number += 1;
        Some(self.check(line))
    }

    fn check(&mut self, line: &'t [u8]) -> Result<&'t str, Damage> {
        let parts = line.len().checked_sub(SEAL_LEN).and_then(|len| line.split_at_checked(len));
        let Some((body, seal)) = parts else { return Err(self.damage("it has no checksum")) };
        if self.sum.seal(body) != *seal {
            return Err(self.damage("its checksum is wrong: it is damaged, or not the next one"));
        }
        core::str::from_utf8(body).map_err(|_e| self.damage("it is no text"))
    }

    fn damage(&self, what: impl Into<String>) -> Damage {
        Damage { line: self.number.max(1), what: what.into() }
    }
}

fn parse_json<T: serde::de::DeserializeOwned>(lines: &Lines<'_>, text: &str) -> Result<T, Damage> {
    let failed = |error| lines.damage(format!("not understood, another version wrote it: {error}"));
    serde_json::from_str(text).map_err(failed)
}

fn moment(last: Instant, passed: i64) -> Instant {
    Instant::from_nanos(last.as_nanos().wrapping_add(passed.cast_unsigned()))
}

/// What the configuration promises the engine, as far as it relies on it.
fn is_sound(settings: &Settings) -> bool {
    let levels = settings.peers.iter().flat_map(|peer| &peer.levels);
    usize::from(settings.nics) <= NICS_MAX
        && settings.links.len() <= LINKS_MAX
        && levels.into_iter().all(|level| !level.devices.is_empty())
}
