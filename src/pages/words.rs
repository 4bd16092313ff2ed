//! Times and numbers as people read them. Without script a page does not know the reader's time zone, so it says UTC.

use time::OffsetDateTime;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A day: `25 Nov 2026`. Unix seconds.
pub(super) fn day(at: i64) -> String {
    let Ok(moment) = OffsetDateTime::from_unix_timestamp(at) else {
        return "a day beyond the calendar".to_owned();
    };
    format!("{} {} {}", moment.day(), month(moment), moment.year())
}

/// A day without its year: `25 Nov`. Unix seconds.
pub(super) fn short_day(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at)
        .map_or_else(|_| String::new(), |moment| format!("{} {}", moment.day(), month(moment)))
}

/// A minute: `25 Nov 2026, 11:20 UTC`. Unix seconds.
pub(super) fn minute(at: i64) -> String {
    let Ok(moment) = OffsetDateTime::from_unix_timestamp(at) else {
        return day(at);
    };
    format!("{}, {:02}:{:02} UTC", day(at), moment.hour(), moment.minute())
}

/// `once`, `3 times`.
pub(super) fn times(count: i64) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

fn month(moment: OffsetDateTime) -> &'static str {
    MONTHS.get(usize::from(u8::from(moment.month())).saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_with_its_zone() {
        assert_eq!(minute(1_767_225_600 + 3_660), "1 Jan 2026, 01:01 UTC");
        assert_eq!(short_day(1_767_225_599), "31 Dec");
        assert_eq!(day(i64::MAX), "a day beyond the calendar");
        assert_eq!([times(0), times(1), times(2)], ["0 times", "once", "2 times"]);
    }
}
