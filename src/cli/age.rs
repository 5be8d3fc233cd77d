//! Spans of time and moments, as the tool's tables have them.

pub(super) use crate::wire::control::moment::{span, utc, utc_millis};

/// How long ago: the span and `ago`.
pub(super) fn ago(ms: u64) -> String {
    format!("{} ago", span(ms))
}

/// A span of microseconds: `180us`, `1.2ms`, `45ms`.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us}us"),
        1000..10_000 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        _ => span(us / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_spans_have_their_own_units() {
        assert_eq!(micros(180), "180us");
        assert_eq!(micros(1250), "1.2ms");
        assert_eq!(micros(45_999), "45ms");
        assert_eq!(ago(200_000), "3m 20s ago");
    }
}
