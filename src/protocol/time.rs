//! Times on the wire: RFC 3339 in UTC with milliseconds.

use chrono::{DateTime, SecondsFormat, Utc};

/// Writes milliseconds since the epoch, `2026-11-22T14:00:00.000Z`. What no calendar holds becomes
/// the epoch.
pub fn to_text(wall_ms: i64) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_millis(wall_ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads the same, in any offset; nothing when it is not a time.
pub fn from_text(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_to_the_millisecond() {
        let text = "2026-11-22T14:00:00.123Z";
        assert_eq!(to_text(from_text(text).unwrap()), text);
        assert_eq!(to_text(i64::MAX), "1970-01-01T00:00:00.000Z");
        assert_eq!(from_text("yesterday"), None);
    }
}
