//! Spans of time and moments, as people read them at a glance: the same in status, log and record.

/// A span of milliseconds in at most two units: `12ms`, `4.2s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub fn span(ms: u64) -> String {
    let s = ms / 1000;
    let (m, h, d) = (s / 60, s / 3600, s / 86400);
    match s {
        0 => format!("{ms}ms"),
        1..10 => format!("{s}.{}s", ms % 1000 / 100),
        10..60 => format!("{s}s"),
        60..3600 => format!("{m}m {}s", s % 60),
        3600..86400 => format!("{h}h {}m", m % 60),
        _ => format!("{d}d {}h", h % 24),
    }
}

/// Milliseconds since 1970 as `2026-11-22 01:27:28Z`.
pub fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, of_day) = (seconds / 86400, seconds % 86400);
    // Eras of 400 years from 0000-03-01, so that a leap day is the last day of its year.
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}Z")
}

/// Milliseconds since 1970 as `2026-11-22 01:27:28.123Z`.
pub fn utc_millis(unix_ms: u64) -> String {
    let seconds = utc(unix_ms);
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), unix_ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        let cases = [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1.0s"),
            (9999, "9.9s"),
            (10_000, "10s"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
            (273_600_000, "3d 4h"),
            (u64::MAX, "213503982334d 14h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(span(ms), expected);
        }
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (1_709_251_199_999, "2024-02-29 23:59:59Z"),
            (1_795_310_848_000, "2026-11-22 01:27:28Z"),
            (4_107_542_400_000, "2100-03-01 00:00:00Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(utc(ms), expected);
        }
        assert!(!utc(u64::MAX).is_empty());
        assert_eq!(utc_millis(1_795_310_848_042), "2026-11-22 01:27:28.042Z");
    }
}
