//! How many passes a day, as a picture that needs no script, and as a table for whoever cannot see it.

use crate::pages::words;
use crate::store::DayCount;

/// The most days in the picture.
const DAYS: i64 = 14;
const DAY_MS: i64 = 86_400_000;
/// Height of the bars, in the picture's own units.
const HEIGHT: i64 = 100;
/// Between a bar and the number above it.
const LABEL_GAP: i64 = 4;
/// Width of a day.
const WIDTH: i64 = 40;

/// One day.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) day: String,
    /// Said below the bar; not every day has the room.
    pub(super) is_labelled: bool,
    /// Both together, said above the bar; nothing where there is no bar.
    pub(super) total: String,
    pub(super) total_y: i64,
    pub(super) granted: i64,
    pub(super) refused: i64,
    pub(super) x: i64,
    pub(super) label_x: i64,
    pub(super) granted_y: i64,
    pub(super) granted_height: i64,
    pub(super) refused_y: i64,
    pub(super) refused_height: i64,
}

/// The picture.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    pub(super) summary: String,
    /// Which days these are.
    pub(super) days: String,
    pub(super) is_empty: bool,
}

/// The days in the picture: the last ones of the time that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Days since 1970.
    first: i64,
    last: i64,
}

impl Window {
    /// Of a time from and until, Unix milliseconds, as far as it is restricted; `now` in Unix seconds.
    pub(super) fn of(from_ms: Option<i64>, until_ms: Option<i64>, now: i64) -> Self {
        let today = now.div_euclid(86_400);
        let last = until_ms.map_or(today, |until| until.saturating_sub(1).div_euclid(DAY_MS).min(today));
        let earliest = last.saturating_sub(DAYS - 1);
        let first = from_ms.map_or(earliest, |from| from.div_euclid(DAY_MS).clamp(earliest, last));
        Self { first, last }
    }

    /// Its first moment, Unix milliseconds.
    pub(super) fn begins_at_ms(self) -> i64 {
        self.first.saturating_mul(DAY_MS)
    }

    /// The first moment after it, Unix milliseconds.
    pub(super) fn ends_at_ms(self) -> i64 {
        self.last.saturating_add(1).saturating_mul(DAY_MS)
    }

    fn words(self) -> String {
        let day = |day: i64| words::day(day.saturating_mul(86_400));
        if self.first == self.last { day(self.last) } else { format!("{} to {}", day(self.first), day(self.last)) }
    }
}

impl Chart {
    /// Of the counts of these days.
    pub(super) fn of(counts: &[DayCount], window: Window) -> Self {
        let count = |day: i64, outcome: &str| -> i64 {
            counts.iter().filter(|count| count.day == day && count.outcome == outcome).map(|count| count.count).sum()
        };
        let days: Vec<(i64, i64, i64)> =
            (window.first..=window.last).map(|day| (day, count(day, "granted"), count(day, "refused"))).collect();
        let highest = days.iter().map(|(_, granted, refused)| granted.saturating_add(*refused)).max().unwrap_or(0);
        let scaled = |value: i64| match (value, highest) {
            (0, _) | (_, 0) => 0,
            (value, highest) => value.saturating_mul(HEIGHT).div_euclid(highest).max(2),
        };
        let bars = (0..).zip(&days).map(|(index, (day, granted, refused))| {
            let (granted_height, refused_height) = (scaled(*granted), scaled(*refused));
            let granted_y = HEIGHT.saturating_sub(granted_height);
            let refused_y = granted_y.saturating_sub(refused_height);
            Bar {
                day: words::short_day(day.saturating_mul(86_400)),
                is_labelled: index % 4 == 1,
                total: in_short(granted.saturating_add(*refused)),
                total_y: refused_y.saturating_sub(LABEL_GAP),
                granted: *granted,
                refused: *refused,
                x: index * WIDTH + 8,
                label_x: index * WIDTH + WIDTH / 2,
                granted_y,
                granted_height,
                refused_y,
                refused_height,
            }
        });
        let total = |of: fn(&(i64, i64, i64)) -> i64| days.iter().map(of).sum::<i64>();
        let (granted, refused) = (total(|day| day.1), total(|day| day.2));
        Self {
            bars: bars.collect(),
            summary: format!("{granted} passes and {refused} refusals, {}.", window.words()),
            days: window.words(),
            is_empty: granted == 0 && refused == 0,
        }
    }
}

/// In the width of a bar: `7`, `950`, `12k`; nothing for none.
fn in_short(count: i64) -> String {
    match count {
        ..=0 => String::new(),
        1..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}m", count / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_day_has_the_highest_bar_and_one_event_can_still_be_seen() {
        let now = 1_800_000_000;
        let today = now / 86_400;
        let window = Window::of(None, None, now);
        let count = |day: i64, outcome: &str, count| DayCount { day, outcome: outcome.to_owned(), count };
        let counts = [count(today, "granted", 900), count(today, "refused", 100), count(today - 13, "refused", 1)];
        let chart = Chart::of(&counts, window);
        assert_eq!(chart.bars.len(), 14);
        let (first, last) = (&chart.bars[0], &chart.bars[13]);
        assert_eq!((last.granted_height, last.refused_height, last.refused_y), (90, 10, 0));
        assert_eq!((first.granted_height, first.refused_height, first.refused_y), (0, 2, 98));
        assert_eq!((last.total.as_str(), last.total_y, first.total.as_str()), ("1k", -4, "1"));
        assert_eq!(chart.bars[5].total, "", "a day without events has no number");
        assert_eq!(chart.summary, "900 passes and 101 refusals, 2 Jan 2027 to 15 Jan 2027.");
        assert!(Chart::of(&[], window).is_empty);
        assert_eq!((window.begins_at_ms(), window.ends_at_ms()), ((today - 13) * DAY_MS, (today + 1) * DAY_MS));
    }

    #[test]
    fn the_picture_is_of_the_time_that_is_looked_at() {
        let (now, day) = (1_800_000_000, |day: i64| Some(day * DAY_MS));
        let today = now / 86_400;
        let of = |from, until| Window::of(from, until, now);
        assert_eq!(of(day(today - 3), None), Window { first: today - 3, last: today });
        assert_eq!(of(day(today - 100), day(today - 49)), Window { first: today - 63, last: today - 50 });
        assert_eq!(of(day(today + 5), None), Window { first: today, last: today }, "nothing is in the future");
        assert_eq!(of(day(today), day(today - 9)), Window { first: today - 10, last: today - 10 });
    }
}
