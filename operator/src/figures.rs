//! Numbers, times and bars as a person reads them.

use indicatif::{DecimalBytes, HumanCount};
use leafcutter_schemas::version::Version;
use time::{OffsetDateTime, macros::format_description};

/// `1,203,441`.
#[must_use]
pub fn count(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", HumanCount(number.unsigned_abs()))
}

/// [`count`] in at most `width` characters: in thousands or millions where it is longer.
#[must_use]
pub fn count_within(number: i64, width: usize) -> String {
    let units = [
        (1, ""),
        (1_000, " k"),
        (1_000_000, " M"),
        (1_000_000_000, " G"),
    ];
    let shown = units.map(|(unit, name)| format!("{}{name}", count(number / unit)));
    let fits = shown.iter().find(|text| text.chars().count() <= width);
    fits.or(shown.last()).cloned().unwrap_or_default()
}

/// A number and its noun: `1 record`, `2 records`.
#[must_use]
pub fn counted(number: i64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A length of time in its two largest units: `0 s`, `3 s`, `2 min`, `1 h 10 min`, `4 d 2 h`.
#[must_use]
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let two = |large: i64, name: &str, small: i64, sub: &str| match small {
        0 => format!("{large} {name}"),
        _ => format!("{large} {name} {small} {sub}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 => two(seconds / 60, "min", seconds % 60, "s"),
        600..3600 => format!("{} min", seconds / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// A length of time in one unit, at most seven characters: `119 s`, `119 min`, `47 h`, `9 d`.
#[must_use]
pub fn short_span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A part of a whole in percent. Only the whole is 100, and only nothing is 0.
#[must_use]
pub fn percent(part: i64, whole: i64) -> i64 {
    if whole <= 0 || part >= whole {
        return 100;
    }
    if part <= 0 {
        return 0;
    }
    let exact = i128::from(part) * 100 / i128::from(whole);
    i64::try_from(exact).unwrap_or(99).clamp(1, 99)
}

/// `512 B`, `1.45 kB`, `20.97 MB`.
#[must_use]
pub fn bytes(number: usize) -> String {
    DecimalBytes(u64::try_from(number).unwrap_or(u64::MAX)).to_string()
}

/// Milliseconds since 1970 as `2025-11-21 11:02:25 UTC`.
#[must_use]
pub fn utc(millis: i64) -> String {
    const SHAPE: &[time::format_description::BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .ok()
        .and_then(|time| time.format(SHAPE).ok())
        .unwrap_or_else(|| format!("{millis} ms since 1970"))
}

/// The second of a source version, as [`utc`].
#[must_use]
pub fn version_utc(version: Version) -> String {
    utc(version.seconds().saturating_mul(1000))
}

/// A bar of `width` characters: what is done, what is ready to be done, what is still to come.
#[must_use]
pub fn bar(done: i64, ready: i64, whole: i64, width: usize) -> String {
    let cells = |part: i64| {
        if whole <= 0 {
            return width;
        }
        let part = part.clamp(0, whole);
        let scaled = i128::from(part) * i128::try_from(width).unwrap_or(0) / i128::from(whole);
        usize::try_from(scaled).unwrap_or(0)
    };
    let done_cells = cells(done);
    let ready_cells = cells(ready.max(done)) - done_cells;
    let rest = width - done_cells - ready_cells;
    format!(
        "{}{}{}",
        "█".repeat(done_cells),
        "▒".repeat(ready_cells),
        "·".repeat(rest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-1_203_441, "-1,203,441"),
        ];
        for (number, expected) in cases {
            assert_eq!(count(number), expected);
        }
        assert_eq!(count_within(999_999_999, 11), "999,999,999");
        assert_eq!(count_within(90_000_000_000, 12), "90,000,000 k");
        assert_eq!(count_within(90_000_000_000, 8), "90,000 M");
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(0, "record"), "0 records");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let cases = [
            (-3, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (600, "10 min"),
            (4200, "1 h 10 min"),
            (7200, "2 h"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn only_the_whole_is_a_hundred_percent() {
        let cases = [
            (0, 0, 100),
            (0, 10, 0),
            (1, 1_000_000, 1),
            (999_999, 1_000_000, 99),
            (5, 5, 100),
            (i64::MAX - 1, i64::MAX, 99),
        ];
        for (part, whole, expected) in cases {
            assert_eq!(percent(part, whole), expected, "{part} of {whole}");
        }
    }

    #[test]
    fn bars_are_always_as_wide() {
        assert_eq!(bar(5, 7, 10, 10), "█████▒▒···");
        assert_eq!(bar(0, 0, 0, 3), "███");
        assert_eq!(bar(-1, 20, 10, 4), "▒▒▒▒");
        assert_eq!(bar(20, 5, 10, 4), "████");
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_449), "1.45 kB");
        assert_eq!(bytes(20_971_520), "20.97 MB");
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(i64::MAX), format!("{} ms since 1970", i64::MAX));
    }
}
