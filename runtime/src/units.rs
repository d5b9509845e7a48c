//! Times and sizes as a person writes them: `10m`, `48MiB`.
//!
//! One grammar for every flag of every program: a whole number and a unit, nothing else. A number
//! without its unit is refused where it could be meant in several; a unit that is not listed is
//! never guessed at. What does not fit is an error, never a smaller value.

use std::time::Duration;

const TIMES: &str = "expected a whole number and one of ms, s, m, h, d, as in `10m`";
const SIZES: &str = "expected a whole number and one of KiB, MiB, GiB, kB, MB, GB, as in `48MiB`";

/// Reads `500ms`, `2s`, `10m`, `12h`, `7d`.
///
/// # Errors
/// When the text is none of these.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or(TIMES)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(TIMES.to_owned()),
    };
    let millis = number.checked_mul(millis).ok_or("it is too long")?;
    Ok(Duration::from_millis(millis))
}

/// Writes it so that [`duration`] reads it: in the largest unit of which it is a whole number.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let whole = units
        .iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    let (unit, name) = whole.copied().unwrap_or((1, "ms"));
    format!("{}{name}", millis / unit)
}

/// Reads `32MiB`, `1GB`, `512B`; a number alone is bytes.
///
/// # Errors
/// When the text is none of these.
pub fn bytes<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let (number, unit) = split(text).ok_or(SIZES)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(SIZES.to_owned()),
    };
    let bytes = number.checked_mul(factor);
    let bytes = bytes.and_then(|bytes| T::try_from(bytes).ok());
    bytes.ok_or_else(|| "it is too large".to_owned())
}

/// The number and its unit, with or without a blank between them.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("10 m"), Ok(600));
        assert_eq!(seconds("1min"), Ok(60));
        assert_eq!(seconds("7d"), Ok(604_800));
        for text in ["0ms", "1500ms", "90s", "10m", "36h", "7d"] {
            assert_eq!(duration_text(duration(text).unwrap()), text);
        }
        for text in ["5", "m", "", "-1s", "1.5h", "1h 30m", "3 weeks"] {
            assert_eq!(duration(text), Err(TIMES.to_owned()), "{text}");
        }
        let long = format!("{}d", u64::MAX);
        assert_eq!(duration(&long), Err("it is too long".to_owned()));
    }

    #[test]
    fn sizes_need_no_calculator() {
        assert_eq!(bytes("32MiB"), Ok(32_u64 << 20));
        assert_eq!(bytes("1 GB"), Ok(1_000_000_000_usize));
        assert_eq!(bytes("4096"), Ok(4096_u64));
        for text in ["many", "1XB", "48M", "1.5GiB", "MiB"] {
            assert_eq!(bytes::<u64>(text), Err(SIZES.to_owned()), "{text}");
        }
        let large = format!("{}GiB", u64::MAX);
        assert_eq!(bytes::<u64>(&large), Err("it is too large".to_owned()));
        assert_eq!(bytes::<u32>("4GiB"), Err("it is too large".to_owned()));
    }
}
