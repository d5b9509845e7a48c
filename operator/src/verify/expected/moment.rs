//! Points in time: counted from 1970, read from text, and written as PostgreSQL writes them.

/// Microseconds of a day.
pub const DAY_MICROS: i128 = 86_400_000_000;
/// The days that a `date` can be, since 1970: from 4714-11-24 BC on (PostgreSQL manual, 8.5).
pub const DATES: std::ops::RangeInclusive<i64> = -2_440_588..=2_145_042_905;
/// The microseconds since 1970 that a timestamp can be: up to the end of 294276 AD.
pub const MOMENTS: std::ops::Range<i128> = -210_866_803_200_000_000..9_224_318_016_000_000_000;

/// Year, month and day of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970 of a date that there is.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let early = i64::from(month <= 2);
    let (era, of_era) = (
        (year - early).div_euclid(400),
        (year - early).rem_euclid(400),
    );
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// `2026-12-31` as a day since 1970.
fn read_day(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return None;
    };
    day_of(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?)
}

/// `23:59:59.999` as microseconds of a day, and what stands behind it; rounded to microseconds.
fn read_clock(text: &str) -> Option<(i128, &str)> {
    let parts: Vec<&str> = text.get(..8)?.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else {
        return None;
    };
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let rest = text.get(8..)?;
    let seconds = i128::from(hour * 3600 + minute * 60 + second);
    let Some(fraction) = rest.strip_prefix('.') else {
        return Some((seconds * 1_000_000, rest));
    };
    let end = fraction
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(fraction.len());
    let (fraction, rest) = fraction.split_at(end);
    if fraction.is_empty() {
        return None;
    }
    let micros: i128 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let up = fraction
        .as_bytes()
        .get(6)
        .is_some_and(|&digit| digit >= b'5');
    Some((seconds * 1_000_000 + micros + i128::from(up), rest))
}

/// Reads a day or RFC 3339, as microseconds since 1970.
pub fn read(text: &str) -> Option<i128> {
    let day = i128::from(read_day(text.get(..10)?)?) * DAY_MICROS;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(day);
    }
    let (clock, zone) = read_clock(rest.strip_prefix(['T', 't', ' '])?)?;
    let zone = match zone {
        "Z" | "z" => 0,
        other => {
            let sign = if other.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = other.strip_prefix(['+', '-'])?.split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * i128::from(hours * 60 + minutes) * 60_000_000
        }
    };
    Some(day + clock - zone)
}

/// Reads a time of day, `23:59` or `23:59:59.999`, as microseconds since midnight.
pub fn read_time(text: &str) -> Option<i64> {
    let seconds = if text.len() == 5 { ":00" } else { "" };
    let (micros, rest) =
        read_clock(&format!("{text}{seconds}")).map(|(micros, rest)| (micros, rest.to_owned()))?;
    if rest.is_empty() {
        i64::try_from(micros).ok()
    } else {
        None
    }
}

/// A day as PostgreSQL writes it.
pub fn date_text(days: i64) -> String {
    let (year, month, day) = civil(days);
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1 - year)
    }
}

/// A time of day as PostgreSQL writes it.
pub fn time_text(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    match fraction {
        0 => clock,
        fraction => format!("{clock}.{}", format!("{fraction:06}").trim_end_matches('0')),
    }
}

/// A point in time as PostgreSQL writes it, in UTC.
pub fn text(micros: i128, zone: bool) -> String {
    let days = i64::try_from(micros.div_euclid(DAY_MICROS)).unwrap_or(0);
    let clock = i64::try_from(micros.rem_euclid(DAY_MICROS)).unwrap_or(0);
    let date = date_text(days);
    let (date, era) = date
        .strip_suffix(" BC")
        .map_or((date.as_str(), ""), |date| (date, " BC"));
    let zone = if zone { "+00" } else { "" };
    format!("{date} {}{zone}{era}", time_text(clock))
}

/// A BSON date as RFC 3339 with milliseconds, as `convert: text` writes it.
pub fn rfc3339(millis: i64) -> String {
    let (year, month, day) = civil(millis.div_euclid(86_400_000));
    let clock = millis.rem_euclid(86_400_000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        10_000.. => format!("+{year}"),
        _ => format!("-{:04}", year.abs()),
    };
    let (hour, minute, second) = (clock / 3_600_000, clock / 60_000 % 60, clock / 1000 % 60);
    format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        clock % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for written in [
            "2026-12-31 23:59:59.999999+00",
            "1969-12-31 23:59:59.5+00",
            "0001-01-01 00:00:00+00",
        ] {
            let rfc = written.replace("+00", "Z");
            assert_eq!(text(read(&rfc).unwrap(), true), written);
        }
        assert_eq!(text(MOMENTS.start, false), "4714-11-24 00:00:00 BC");
        assert_eq!(text(MOMENTS.end - 1, false), "294276-12-31 23:59:59.999999");
        assert_eq!(date_text(*DATES.start()), "4714-11-24 BC");
        assert_eq!(
            read("2025-01-15T12:00:00+02:00"),
            read("2025-01-15T10:00:00Z")
        );
        assert_eq!(read("2025-01-15"), read("2025-01-15 00:00:00Z"));
        for none in [
            "2023-02-29",
            "2024-13-01",
            "2024-12-31T24:00:00Z",
            "2024-12-31T23:59:59",
            "2024-1-1",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(read_time("09:30"), Some(34_200_000_000));
        assert_eq!(read_time("23:59:59.9x"), None);
        assert_eq!(rfc3339(1_736_937_000_500), "2025-01-15T10:30:00.500Z");
        assert_eq!(rfc3339(253_402_300_800_000), "+10000-01-01T00:00:00.000Z");
    }
}
