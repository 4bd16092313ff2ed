//! Times, numbers and reasons as people read them. Without script a page does not know the reader's time zone, so it says UTC.

use crate::domain::decision::{Gate, ReasonCode};
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

/// Why an app got nothing, as its user understands it.
pub(super) fn why(reason: ReasonCode) -> &'static str {
    match reason.gate() {
        _ if reason == ReasonCode::ConsentDenied => "You said no.",
        _ if [ReasonCode::SignInRequired, ReasonCode::PageRequired].contains(&reason) => {
            "It wanted an answer without asking you, and you had to be asked."
        }
        _ if [ReasonCode::SignInTooWeak, ReasonCode::SignInTooOld, ReasonCode::SignInInsufficient]
            .contains(&reason) =>
        {
            "What it asked for needs a stronger or newer sign-in than yours."
        }
        _ if reason == ReasonCode::SubjectSessionEnded => {
            "What it rested on had ended: you had ended it or signed out, or a pass for it was used twice."
        }
        _ if reason == ReasonCode::UserSuspended => "The administrator had stopped your account here.",
        Gate::Consent if reason == ReasonCode::ConsentExpired => "What you had allowed has ended.",
        Gate::Consent if reason == ReasonCode::ConsentRevoked => "You had taken it back.",
        Gate::Consent if reason == ReasonCode::ConsentPaused => "You had paused it.",
        Gate::Consent => "You had not allowed that.",
        Gate::Request => "What it sent could not be understood.",
        Gate::Client => "It did not prove which app it is, or is stopped.",
        Gate::Grant => "It may not ask in this way.",
        Gate::SubjectToken | Gate::SubjectOwner => "What it showed as a proof of you was not accepted.",
        Gate::Actor | Gate::Chain => "It was not next in line to act for you.",
        Gate::Target | Gate::Scope => "It asked for something that it can never have.",
        Gate::Policy => "The rules there do not permit it to you.",
        Gate::Limits => "It asked too often.",
        Gate::Lifetime => "The time for it was over.",
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
