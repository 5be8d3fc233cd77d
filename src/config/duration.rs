//! Durations as people write them: `"100ms"`, `"2s"`, `"1m"`, `"1h"`.

use core::time::Duration;

use super::read::Wrong;

/// The longest duration that is accepted.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The units and their milliseconds, longest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The duration that `text` says.
pub(super) fn parse(text: &str) -> Result<Duration, Wrong> {
    let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits_len);
    let shown = format!("{text:?} is not a duration");
    if digits.is_empty() {
        return Err(Wrong::new(shown, "write a whole number and ms, s, m or h, such as \"500ms\""));
    }
    let too_long = || Wrong::new(format!("{text:?} is too long"), "write at most \"24h\"");
    let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(Wrong::new(shown, remedy(digits, unit)));
    };
    let count: u64 = digits.parse().map_err(|_e| too_long())?;
    let total = count.checked_mul(*millis).map(Duration::from_millis).ok_or_else(too_long)?;
    if total > DURATION_MAX { Err(too_long()) } else { Ok(total) }
}

/// What was probably meant by a number with that unit.
fn remedy(digits: &str, unit: &str) -> String {
    if unit.is_empty() {
        return format!("add the unit: \"{digits}ms\" or \"{digits}s\"");
    }
    if let Some(millis) = fraction_of_seconds(digits, unit) {
        return format!("write a whole number: \"{millis}ms\"");
    }
    let unit = unit.trim().to_ascii_lowercase();
    let meant = match unit.as_str() {
        "ms" | "msec" | "msecs" | "millis" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hour" | "hours" => "h",
        _ => return "the units are ms, s, m and h; write such as \"500ms\"".to_owned(),
    };
    format!("write \"{digits}{meant}\"")
}

/// The milliseconds of `0.5s`, where `rest` is what follows the first digits.
fn fraction_of_seconds(digits: &str, rest: &str) -> Option<u64> {
    let fraction = rest.strip_prefix('.')?.strip_suffix('s')?;
    let is_short = matches!(fraction.len(), 1..=3);
    if !is_short || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
    digits.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(thousandths)
}

/// `duration` in the longest unit that expresses it in whole numbers; less than a millisecond is
/// left out.
pub(super) fn print(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let fits = |(_, unit): &&(&str, u64)| millis.is_multiple_of(*unit);
    let (name, unit) = UNITS.iter().find(fits).copied().unwrap_or(("ms", 1));
    format!("{}{name}", millis / unit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn durations_are_read_and_printed_in_their_longest_whole_unit() {
        let cases = [
            ("100ms", 100, "100ms"),
            ("2s", 2_000, "2s"),
            ("2000ms", 2_000, "2s"),
            ("60s", 60_000, "1m"),
            ("90s", 90_000, "90s"),
            ("24h", 86_400_000, "24h"),
            ("0ms", 0, "0s"),
        ];
        for (text, millis, printed) in cases {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(print(duration), printed);
        }
    }

    #[test]
    fn what_is_no_duration_gets_a_remedy() {
        let cases = [
            ("500", "add the unit: \"500ms\" or \"500s\""),
            ("5sec", "write \"5s\""),
            ("5 S", "write \"5s\""),
            ("0.5s", "write a whole number: \"500ms\""),
            ("1.25s", "write a whole number: \"1250ms\""),
            ("-1s", "write a whole number and ms, s, m or h, such as \"500ms\""),
            ("", "write a whole number and ms, s, m or h, such as \"500ms\""),
            ("3fortnights", "the units are ms, s, m and h; write such as \"500ms\""),
            ("25h", "write at most \"24h\""),
            ("99999999999999999999999s", "write at most \"24h\""),
            ("5é", "the units are ms, s, m and h; write such as \"500ms\""),
        ];
        for (text, remedy) in cases {
            assert_eq!(parse(text).unwrap_err().instead, remedy, "{text}");
        }
    }
}
