//! Times and texts as people read them. What an event quotes from a request never reaches a terminal as a command.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time in Unix milliseconds as RFC 3339 in UTC, always as long: `2026-01-31T12:00:00.250Z`.
pub fn moment_ms(at_ms: i64) -> String {
    let seconds = moment(at_ms.div_euclid(1000));
    match seconds.strip_suffix('Z') {
        Some(written) => format!("{written}.{:03}Z", at_ms.rem_euclid(1000)),
        None => seconds,
    }
}

/// A time in Unix seconds as RFC 3339 in UTC: `2026-01-31T12:00:00Z`.
pub fn moment(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{at} seconds after 1970"))
}

/// `1 chain`, `2 chains`.
pub fn count(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// `5 minutes ago`, `in 2 hours`, `now`: how far `at` is from `now`, both in Unix seconds.
pub fn distance(at: i64, now: i64) -> String {
    let seconds = at.saturating_sub(now);
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {}", length(seconds.unsigned_abs())),
        _ => format!("{} ago", length(seconds.unsigned_abs())),
    }
}

/// A length of time in its largest fitting unit, rounded down: `1 second`, `59 minutes`, `3 days`.
pub fn length(seconds: u64) -> String {
    match seconds {
        0..60 => count(seconds, "second"),
        60..3_600 => count(seconds / 60, "minute"),
        3_600..86_400 => count(seconds / 3_600, "hour"),
        _ => count(seconds / 86_400, "day"),
    }
}

/// The text in one line: every control character, and every one that turns the direction of text, breaks a line or is not
/// seen, written out.
pub fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().fold(String::with_capacity(text.len()), |mut printable, c| {
        if c.is_control() || turns(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
        printable
    })
}

/// A time that an operator types: RFC 3339, a date (its first moment in UTC), or how long ago: `90s`, `30m`, `24h`,
/// `7d`, `2w`. Unix milliseconds.
///
/// # Errors
/// What could have been typed instead.
pub fn parse_moment(text: &str, now_ms: i64) -> Result<i64, String> {
    let ago = || {
        let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds: i64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return None,
        };
        let count = count.parse::<u32>().ok()?;
        now_ms.checked_sub(i64::from(count).checked_mul(seconds)?.checked_mul(1000)?)
    };
    let date = || OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339).ok();
    let written = || OffsetDateTime::parse(text, &Rfc3339).ok().or_else(date);
    let millis = |moment: OffsetDateTime| i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok();
    ago().or_else(|| written().and_then(millis)).ok_or_else(|| {
        format!("{text:?} is no time: write 2026-01-31T12:00:00Z, 2026-01-31, or how long ago, as 30m, 24h or 7d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(moment_ms(NOW_MS + 50), "2026-01-01T00:00:00.050Z");
        assert_eq!(moment_ms(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(moment(NOW_MS / 1000), "2026-01-01T00:00:00Z");
        assert_eq!(moment(i64::MAX), "9223372036854775807 seconds after 1970");
        assert!(moment_ms(i64::MIN).ends_with(" seconds after 1970"));
    }

    #[test]
    fn a_distance_names_the_largest_unit_and_the_direction() {
        assert_eq!(distance(100, 100), "now");
        assert_eq!(distance(101, 100), "in 1 second");
        assert_eq!(distance(100, 100 + 59), "59 seconds ago");
        assert_eq!(distance(100, 100 + 7_300), "2 hours ago");
        assert_eq!(distance(0, 86_400), "1 day ago");
    }

    #[test]
    fn a_quoted_text_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
    }

    #[test]
    fn a_time_is_typed_as_a_moment_a_date_or_how_long_ago() {
        for (text, expected) in [
            ("2026-01-01T00:00:00Z", NOW_MS),
            ("2026-01-01T01:00:00.5+01:00", NOW_MS + 500),
            ("2026-01-01", NOW_MS),
            ("24h", NOW_MS - 86_400_000),
            ("90s", NOW_MS - 90_000),
            ("1w", NOW_MS - 604_800_000),
        ] {
            assert_eq!(parse_moment(text, NOW_MS), Ok(expected), "{text}");
        }
        for text in ["", "h", "-1h", "24", "24é", "yesterday", "2026-13-01", "2026-01-01T00:00:00"] {
            assert!(parse_moment(text, NOW_MS).unwrap_err().contains("is no time"), "{text}");
        }
    }
}
