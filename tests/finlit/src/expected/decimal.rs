//! Decimal numbers as text: one spelling for equal values, and rounding.

/// `-123e-4` for -0.0123: no zeros at either end; `0` for zero; `NaN`, `Infinity`, `-Infinity`.
/// Takes what PostgreSQL's `numeric`, Decimal128 and Rust's floats print.
pub fn spelling(text: &str) -> String {
    match text {
        "NaN" | "-NaN" => return "NaN".to_owned(),
        "inf" | "Infinity" => return "Infinity".to_owned(),
        "-inf" | "-Infinity" => return "-Infinity".to_owned(),
        _ => {}
    }
    let (sign, digits, exponent) = parts(text);
    if digits.is_empty() {
        return "0".to_owned();
    }
    format!("{sign}{digits}e{exponent}")
}

/// Sign, significant digits without zeros at either end, and the power of ten of the last one.
fn parts(text: &str) -> (&'static str, String, i32) {
    let (sign, plain) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = plain.split_once(['e', 'E']).unwrap_or((plain, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = format!("{whole}{fraction}");
    let trimmed = joined.trim_end_matches('0');
    let zeros = joined.len() - trimmed.len();
    let places = i32::try_from(zeros).unwrap_or(0) - i32::try_from(fraction.len()).unwrap_or(0);
    (
        sign,
        trimmed.trim_start_matches('0').to_owned(),
        exponent + places,
    )
}

/// The whole number that this is, if it is one and fits.
///
/// # Errors
/// The reason why not.
pub fn whole(text: &str) -> Result<i64, &'static str> {
    let spelt = spelling(text);
    if spelt == "0" {
        return Ok(0);
    }
    let Some((digits, exponent)) = spelt.split_once('e') else {
        return Err("out-of-range");
    };
    match exponent.parse::<usize>() {
        Err(_) => Err("wrong-type"),
        Ok(zeros) if zeros > 19 => Err("out-of-range"),
        Ok(zeros) => format!("{digits}{}", "0".repeat(zeros))
            .parse()
            .map_err(|_| "out-of-range"),
    }
}

/// Rounded half away from zero to `scale` places; nothing where more than `precision` digits
/// would be needed. FinLit's numbers of this kind fit a 128-bit integer.
pub fn rounded(text: &str, precision: u32, scale: u32) -> Option<String> {
    let spelt = spelling(text);
    let Some((digits, exponent)) = spelt.split_once('e') else {
        return Some(spelt);
    };
    let exponent: i32 = exponent.parse().ok()?;
    let shift = exponent + i32::try_from(scale).ok()?;
    let digits: i128 = digits.parse().ok()?;
    let scaled = if shift >= 0 {
        digits.checked_mul(10i128.checked_pow(shift.unsigned_abs())?)?
    } else {
        match 10i128.checked_pow(shift.unsigned_abs()) {
            Some(divisor) => (digits.abs() + divisor / 2) / divisor * digits.signum(),
            None => 0,
        }
    };
    if scaled.abs() >= 10i128.checked_pow(precision)? {
        return None;
    }
    Some(spelling(&format!("{scaled}e-{scale}")))
}

#[cfg(test)]
mod tests {
    use super::{rounded, spelling, whole};

    #[test]
    fn equal_numbers_have_one_spelling() {
        for same in ["150", "150.00", "1.5e2", "1.5E+2", "0150"] {
            assert_eq!(spelling(same), "15e1");
        }
        for zero in ["0", "-0", "0.000", "0E-7"] {
            assert_eq!(spelling(zero), "0");
        }
        assert_eq!(spelling("-0.0123"), "-123e-4");
        assert_eq!(spelling("1e-7"), "1e-7");
    }

    #[test]
    fn whole_numbers_are_told_from_others() {
        assert_eq!(whole("1500.0"), Ok(1500));
        assert_eq!(whole("-1.5e3"), Ok(-1500));
        assert_eq!(whole("10.5"), Err("wrong-type"));
        assert_eq!(whole("1e19"), Err("out-of-range"));
        assert_eq!(whole("NaN"), Err("out-of-range"));
    }

    #[test]
    fn rounds_half_away_from_zero() {
        let at = |text| rounded(text, 8, 4);
        assert_eq!(at("1.00005"), Some("10001e-4".into()));
        assert_eq!(at("-1.00005"), Some("-10001e-4".into()));
        assert_eq!(at("1.00004"), Some("1e0".into()));
        assert_eq!(at("9999.99994"), Some("99999999e-4".into()));
        assert_eq!(at("9999.99995"), None);
        assert_eq!(at("1e-40"), Some("0".into()));
    }
}
