//! Exact numbers: one form for equal values of MongoDB's four number types.
//!
//! MongoDB compares int, long, double and Decimal128 by value (manual, "Comparison/Sort Order"),
//! so `1`, `1.0`, `NumberLong(1)` and `NumberDecimal("1.00")` are one `_id`. A double is compared
//! by its exact binary value: the double `0.1` is not the decimal `0.1`. Hence a number is
//! brought to `digits × 10^exponent` exactly, never through a rounding conversion.

use bson::Decimal128;

/// A finite number as `±digits × 10^exponent`, without zeros at either end of `digits`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// Below zero. Zero itself is never negative: MongoDB compares -0.0 and 0.0 as equal.
    pub negative: bool,
    /// ASCII digits, the most significant first; empty for zero.
    pub digits: String,
    /// The power of ten of the last digit.
    pub exponent: i32,
}

/// A number's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Number {
    /// Not a number. All of them are equal as keys.
    NaN,
    /// Infinity; `negative` tells which.
    Infinity {
        /// Minus infinity.
        negative: bool,
    },
    /// Any other number.
    Finite(Decimal),
}

impl Decimal {
    fn new(negative: bool, digits: &str, exponent: i32) -> Self {
        let significant = digits.trim_start_matches('0');
        let trimmed = significant.trim_end_matches('0');
        if trimmed.is_empty() {
            return Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        let zeros = i32::try_from(significant.len() - trimmed.len()).unwrap_or(i32::MAX);
        Self {
            negative,
            digits: trimmed.to_owned(),
            exponent: exponent.saturating_add(zeros),
        }
    }
}

impl Number {
    /// The value of a 64-bit (or 32-bit) integer.
    pub fn from_i64(value: i64) -> Self {
        Self::Finite(Decimal::new(
            value < 0,
            &value.unsigned_abs().to_string(),
            0,
        ))
    }

    /// The exact value of a double: its binary fraction written out, at most 767 digits.
    pub fn from_f64(value: f64) -> Self {
        if value.is_nan() {
            return Self::NaN;
        }
        if value.is_infinite() {
            return Self::Infinity {
                negative: value < 0.0,
            };
        }
        // 767 digits after the first are enough for every double, so nothing is rounded.
        parse_scientific(&format!("{value:.767e}")).map_or(Self::NaN, Self::Finite)
    }

    /// The shortest decimal that reads back as this double: what people mean by `0.1`.
    pub fn shortest_of_f64(value: f64) -> Self {
        if value.is_finite() {
            parse_scientific(&format!("{value:e}")).map_or(Self::NaN, Self::Finite)
        } else {
            Self::from_f64(value)
        }
    }

    /// The value of a Decimal128: 34 digits, exponents to ±6176.
    pub fn from_decimal128(value: &Decimal128) -> Self {
        let text = value.to_string();
        match text.as_str() {
            "NaN" | "-NaN" | "sNaN" => Self::NaN,
            "Infinity" => Self::Infinity { negative: false },
            "-Infinity" => Self::Infinity { negative: true },
            finite => parse_scientific(finite).map_or(Self::NaN, Self::Finite),
        }
    }

    /// The value of a text: digits with at most a sign, a point and an exponent, or one of
    /// PostgreSQL's words `NaN` and `Infinity` in any case. Nothing is rounded.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned.eq_ignore_ascii_case("nan") {
            return Some(Self::NaN);
        }
        if unsigned.eq_ignore_ascii_case("infinity") {
            return Some(Self::Infinity { negative });
        }
        let begins = unsigned.bytes().next()?;
        let mantissa = unsigned.split(['e', 'E']).next().unwrap_or_default();
        let digits = mantissa.bytes().any(|byte| byte.is_ascii_digit());
        if !digits || begins == b'-' {
            return None;
        }
        let decimal = parse_scientific(unsigned)?;
        let negative = negative && !decimal.digits.is_empty();
        Some(Self::Finite(Decimal {
            negative,
            ..decimal
        }))
    }

    /// Whether a Decimal128 can hold this value: only then can a double equal one.
    pub fn fits_decimal128(&self) -> bool {
        match self {
            Self::NaN | Self::Infinity { .. } => true,
            Self::Finite(decimal) => decimal.digits.len() <= 34,
        }
    }
}

/// Reads `[-]d[.d][e[+-]d]`, as `Display` of Decimal128 and `{:e}` of a double write it.
fn parse_scientific(text: &str) -> Option<Decimal> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !whole
        .bytes()
        .chain(fraction.bytes())
        .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let scale = i32::try_from(fraction.len()).ok()?;
    Some(Decimal::new(
        negative,
        &format!("{whole}{fraction}"),
        exponent.checked_sub(scale)?,
    ))
}

impl std::fmt::Display for Decimal {
    /// Whole numbers of up to 20 digits as such, anything else as `digits e exponent`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        let sign = if self.negative { "-" } else { "" };
        let zeros = usize::try_from(self.exponent).unwrap_or(usize::MAX);
        if zeros.saturating_add(self.digits.len()) <= 20 {
            write!(f, "{sign}{}{:0>zeros$}", self.digits, "")
        } else {
            write!(f, "{sign}{}e{}", self.digits, self.exponent)
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NaN => f.write_str("NaN"),
            Self::Infinity { negative: false } => f.write_str("Infinity"),
            Self::Infinity { negative: true } => f.write_str("-Infinity"),
            Self::Finite(decimal) => decimal.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Number {
        Number::from_decimal128(&text.parse::<Decimal128>().unwrap())
    }

    #[test]
    fn equal_values_have_one_form() {
        let one = Number::from_i64(1);
        for same in [
            Number::from_f64(1.0),
            decimal("1"),
            decimal("1.000"),
            decimal("10E-1"),
        ] {
            assert_eq!(same, one);
        }
        assert_eq!(Number::from_f64(-0.0), Number::from_i64(0));
        assert_eq!(decimal("-0E+10"), Number::from_i64(0));
        assert_eq!(Number::from_f64(0.5), decimal("0.5"));
        assert_ne!(Number::from_f64(0.1), decimal("0.1"));
        assert_eq!(
            Number::from_f64(2f64.powi(80)),
            decimal("1208925819614629174706176")
        );
        assert!(!Number::from_f64(0.1).fits_decimal128());
        assert!(Number::from_f64(0.25).fits_decimal128());
    }

    #[test]
    fn texts_are_numbers_or_not() {
        for (text, number) in [
            ("12", Number::from_i64(12)),
            ("+12.50", decimal("12.5")),
            ("-.5", decimal("-0.5")),
            ("-0", Number::from_i64(0)),
            ("1e3", Number::from_i64(1000)),
            ("1.E+03", Number::from_i64(1000)),
            ("nan", Number::NaN),
            ("-INFINITY", Number::Infinity { negative: true }),
        ] {
            assert_eq!(Number::parse(text), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            "--1",
            "+-1",
            ".",
            "e3",
            ".e3",
            "1e",
            "1e1.5",
            "1 2",
            "0x10",
            "1_0",
            "١",
            "1,5",
            "inf",
            "1e99999999999",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn texts_are_plain_for_whole_numbers() {
        let cases = [
            (Number::from_i64(1500), "1500"),
            (Number::from_i64(i64::MIN), "-9223372036854775808"),
            (Number::from_f64(0.5), "5e-1"),
            (decimal("1E+6000"), "1e6000"),
            (
                decimal("9.999999999999999999999999999999999E+6144"),
                "9999999999999999999999999999999999e6111",
            ),
            (Number::from_f64(f64::NEG_INFINITY), "-Infinity"),
            (decimal("NaN"), "NaN"),
        ];
        for (number, text) in cases {
            assert_eq!(number.to_string(), text);
        }
        assert_eq!(Number::from_f64(f64::from_bits(1)).to_string().len(), 757);
    }
}
