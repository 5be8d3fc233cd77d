//! Inputs to lines. A heartbeat that says nothing new, and a tick, allocate nothing.

use std::io::Write as _;

use serde::Serialize;

use super::bases::Bases;
use super::{Header, Opening, Sum, TITLE};
use crate::engine::Input;
use crate::types::Instant;

/// The digits of a 64-bit number and its sign.
const NUMBER_LEN_MAX: usize = 20;

/// Writes one segment.
#[derive(Debug)]
pub struct Encoder {
    bases: Bases,
    /// The time of the last line.
    last: Instant,
    sum: Sum,
}

impl Encoder {
    /// Nothing is written yet.
    pub fn new() -> Self {
        Self { bases: Bases::new(), last: Instant::ZERO, sum: Sum::default() }
    }

    /// Begins a segment in `out`: its first two lines.
    ///
    /// # Errors
    /// If the state cannot be written as JSON.
    pub fn begin(
        &mut self,
        header: &Header,
        opening: Opening<'_>,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        self.bases.clear();
        self.last = header.at;
        self.sum = Sum::default();
        let begun = out.len();
        out.extend_from_slice(TITLE.as_bytes());
        push_json(out, header)?;
        self.end_line(begun, out);
        let begun = out.len();
        match opening {
            Opening::Start(settings) => {
                out.extend_from_slice(b"start ");
                push_json(out, settings)?;
            }
            Opening::Checkpoint(node) => {
                out.extend_from_slice(b"node ");
                push_json(out, node)?;
            }
        }
        self.end_line(begun, out);
        Ok(())
    }

    /// Adds one input, which the engine is given at `now`, to `out`.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn add(
        &mut self,
        now: Instant,
        input: &Input,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let begun = out.len();
        push_number(out, difference(now, self.last));
        self.last = now;
        self.push_input(now, input, out)?;
        self.end_line(begun, out);
        Ok(())
    }

    fn push_input(
        &mut self,
        now: Instant,
        input: &Input,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        if *input == Input::Tick {
            out.extend_from_slice(b" t");
            return Ok(());
        }
        if let Input::Heard { link, at, heartbeat } = input
            && let Some(unusual) = self.bases.note(heartbeat.from, *link, *at, heartbeat)
        {
            out.extend_from_slice(b" h");
            let numbers = [
                i64::from(heartbeat.from.get()),
                i64::from(link.0),
                difference(now, *at),
                unusual.seq,
                unusual.sent,
                unusual.echo_sent,
                unusual.echo_held,
            ];
            // What is said in turns, on serial lines, needs one number more.
            let unsaid = Some(i64::from(unusual.unsaid)).filter(|unsaid| *unsaid != 0);
            for number in numbers.into_iter().chain(unsaid) {
                out.push(b' ');
                push_number(out, number);
            }
            return Ok(());
        }
        out.extend_from_slice(b" i ");
        push_json(out, input)
    }

    fn end_line(&mut self, begun: usize, out: &mut Vec<u8>) {
        let seal = self.sum.seal(out.get(begun..).unwrap_or_default());
        out.extend_from_slice(&seal);
        out.push(b'\n');
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// How many nanoseconds `later` is after `earlier`.
fn difference(later: Instant, earlier: Instant) -> i64 {
    later.as_nanos().wrapping_sub(earlier.as_nanos()).cast_signed()
}

fn push_json(out: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(out.by_ref(), value)
}

/// The number in decimal digits: `write!` takes ten times as long.
fn push_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0u8; NUMBER_LEN_MAX];
    let mut rest = number.unsigned_abs();
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(NUMBER_LEN_MAX - count..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for number in [0, 1, -1, 9, 10, 123_456, -99, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out), Ok(number.to_string()));
        }
    }
}
