//! Exact decimal numbers, read from the text of BSON's numbers and from PostgreSQL's binary `numeric`.
//!
//! It takes a text such as `-12.50e3` and gives one form for equal values, without zeros at either end
//! of its digits. Nothing is rounded but where a column's scale or a unit of time says so, half away
//! from zero.

use std::cmp::Ordering;

/// A number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decimal {
    /// Not a number.
    NaN,
    /// Infinity; `true` below zero.
    Infinity(bool),
    /// `±digits × 10^exponent`.
    Finite(Finite),
}

/// A finite number. Zero has no digits, no sign and the exponent 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Finite {
    /// Below zero.
    pub negative: bool,
    /// Its digits, each 0 to 9; the first and the last are not 0.
    pub digits: Vec<u8>,
    /// The power of ten of the last digit.
    pub exponent: i64,
}

impl Finite {
    fn new(negative: bool, mut digits: Vec<u8>, mut exponent: i64) -> Self {
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        digits.drain(..zeros);
        while digits.last() == Some(&0) {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() {
            return Self::default();
        }
        Self {
            negative,
            digits,
            exponent,
        }
    }

    /// The power of ten of the first digit.
    fn magnitude(&self) -> i64 {
        self.exponent + i64::try_from(self.digits.len()).unwrap_or(i64::MAX) - 1
    }

    /// This number times a power of ten, rounded half away from zero; `None` where it does not fit.
    pub fn scaled(&self, power: i64) -> Option<i128> {
        let rounded = self.rounded(-power);
        let zeros = u32::try_from(rounded.exponent.checked_add(power)?).ok()?;
        let mut value: i128 = 0;
        for digit in &rounded.digits {
            value = value.checked_mul(10)?.checked_add(i128::from(*digit))?;
        }
        if value != 0 {
            value = value.checked_mul(10i128.checked_pow(zeros)?)?;
        }
        Some(if rounded.negative { -value } else { value })
    }

    /// Rounded to a multiple of `10^power`.
    fn rounded(&self, power: i64) -> Self {
        let Some(cut) = power
            .checked_sub(self.exponent)
            .and_then(|cut| usize::try_from(cut).ok())
        else {
            return self.clone();
        };
        if cut == 0 {
            return self.clone();
        }
        let Some(keep) = self.digits.len().checked_sub(cut) else {
            return Self::default();
        };
        let mut digits = self.digits[..keep].to_vec();
        if self.digits[keep] >= 5 {
            let mut carried = true;
            for digit in digits.iter_mut().rev() {
                if *digit < 9 {
                    *digit += 1;
                    carried = false;
                    break;
                }
                *digit = 0;
            }
            if carried {
                digits.insert(0, 1);
            }
        }
        Self::new(self.negative, digits, power)
    }
}

impl Decimal {
    /// A whole number.
    pub fn of_i64(number: i64) -> Self {
        let digits = number.unsigned_abs().to_string();
        let digits = digits.bytes().map(|byte| byte - b'0').collect();
        Self::Finite(Finite::new(number < 0, digits, 0))
    }

    /// The shortest decimal that reads back as this double.
    pub fn of_f64(number: f64) -> Self {
        if number.is_nan() {
            Self::NaN
        } else if number.is_infinite() {
            Self::Infinity(number < 0.0)
        } else {
            Self::read(&format!("{number:e}")).unwrap_or(Self::NaN)
        }
    }

    /// Reads a number: digits with at most a sign, a point and an exponent, or `NaN` or `Infinity` in
    /// any case.
    pub fn read(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        match rest.to_ascii_lowercase().as_str() {
            "nan" => return Some(Self::NaN),
            "infinity" => return Some(Self::Infinity(negative)),
            _ => {}
        }
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = Vec::with_capacity(mantissa.len());
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            digits.push(byte - b'0');
        }
        if digits.is_empty() {
            return None;
        }
        let places = i64::try_from(fraction.len()).ok()?;
        let finite = Finite::new(negative, digits, i64::from(exponent) - places);
        Some(Self::Finite(finite))
    }

    /// Reads PostgreSQL's binary form (`numeric_send`): groups of four digits, the weight of the first,
    /// the sign, and a display scale that changes no value.
    pub fn of_binary(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| -> Option<[u8; 2]> { bytes.get(at..at + 2)?.try_into().ok() };
        let groups = usize::from(u16::from_be_bytes(word(0)?));
        let weight = i64::from(i16::from_be_bytes(word(2)?));
        let sign = u16::from_be_bytes(word(4)?);
        match sign {
            0xc000 => return Some(Self::NaN),
            0xd000 => return Some(Self::Infinity(false)),
            0xf000 => return Some(Self::Infinity(true)),
            _ => {}
        }
        let mut digits = Vec::with_capacity(groups * 4);
        for group in 0..groups {
            let value = u16::from_be_bytes(word(8 + 2 * group)?);
            for unit in [1000, 100, 10, 1] {
                digits.push(u8::try_from(value / unit % 10).ok()?);
            }
        }
        let last = weight - i64::try_from(groups).ok()? + 1;
        Some(Self::Finite(Finite::new(sign == 0x4000, digits, last * 4)))
    }

    /// The whole number that this is; `Ok(None)` where it has a fraction.
    ///
    /// # Errors
    /// Where it is none of 64 bits.
    pub fn whole(&self) -> Result<Option<i64>, OutOfRange> {
        let Self::Finite(finite) = self else {
            return Err(OutOfRange);
        };
        if finite.exponent < 0 {
            return Ok(None);
        }
        let value = finite.scaled(0).ok_or(OutOfRange)?;
        i64::try_from(value).map(Some).map_err(|_| OutOfRange)
    }

    /// What a `numeric(precision, scale)` makes of it.
    ///
    /// # Errors
    /// Where it has more digits before the point than there is room for.
    pub fn limited(&self, precision: u16, scale: u16) -> Result<Self, OutOfRange> {
        match self {
            Self::NaN => Ok(Self::NaN),
            Self::Infinity(_) => Err(OutOfRange),
            Self::Finite(finite) => {
                let rounded = finite.rounded(-i64::from(scale));
                let room = i64::from(precision) - i64::from(scale);
                if !rounded.digits.is_empty() && rounded.magnitude() >= room {
                    return Err(OutOfRange);
                }
                Ok(Self::Finite(rounded))
            }
        }
    }

    /// The nearest double. The text of a finite number is always one.
    pub fn to_f64(&self) -> f64 {
        match self {
            Self::NaN => f64::NAN,
            Self::Infinity(true) => f64::NEG_INFINITY,
            Self::Infinity(false) => f64::INFINITY,
            Self::Finite(_) => self.canonical().parse().unwrap_or(f64::NAN),
        }
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Self::Finite(finite) if finite.digits.is_empty())
    }

    /// One text for equal values: `-125e-1`.
    pub fn canonical(&self) -> String {
        match self {
            Self::NaN => "NaN".to_owned(),
            Self::Infinity(true) => "-Infinity".to_owned(),
            Self::Infinity(false) => "Infinity".to_owned(),
            Self::Finite(finite) if finite.digits.is_empty() => "0".to_owned(),
            Self::Finite(finite) => {
                let sign = if finite.negative { "-" } else { "" };
                let digits: String = finite.digits.iter().map(|d| char::from(b'0' + d)).collect();
                match finite.exponent {
                    0 => format!("{sign}{digits}"),
                    exponent => format!("{sign}{digits}e{exponent}"),
                }
            }
        }
    }

    /// As PostgreSQL writes a `numeric`: all digits, with so many behind the point where its type says.
    pub fn plain(&self, scale: Option<u16>) -> String {
        let Self::Finite(finite) = self else {
            return self.canonical();
        };
        let digits: String = finite.digits.iter().map(|d| char::from(b'0' + d)).collect();
        let sign = if finite.negative { "-" } else { "" };
        let places = usize::try_from(-finite.exponent).unwrap_or(0);
        let (whole, fraction) = match finite.exponent.cmp(&0) {
            Ordering::Less if digits.len() > places => {
                let (whole, fraction) = digits.split_at(digits.len() - places);
                (whole.to_owned(), fraction.to_owned())
            }
            Ordering::Less => ("0".to_owned(), format!("{digits:0>places$}")),
            _ if digits.is_empty() => ("0".to_owned(), String::new()),
            _ => {
                let zeros = usize::try_from(finite.exponent).unwrap_or(0);
                (format!("{digits}{}", "0".repeat(zeros)), String::new())
            }
        };
        let width = usize::from(scale.unwrap_or(0));
        let fraction = format!("{fraction:0<width$}");
        if fraction.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{fraction}")
        }
    }
}

/// A number that its type has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Decimal {
        Decimal::read(text).unwrap()
    }

    #[test]
    fn equal_values_have_one_form() {
        for same in ["12.5", "+12.50", "125e-1", "0012.5", "1.25E1"] {
            assert_eq!(read(same), read("12.5"), "{same}");
        }
        assert_eq!(read("-0.00"), Decimal::of_i64(0));
        assert_eq!(Decimal::of_f64(0.1), read("0.1"));
        assert_eq!(Decimal::of_i64(i64::MIN), read("-9223372036854775808"));
        for none in ["", "-", "e3", "1e", "1x", "--1", ".", "1_0"] {
            assert_eq!(Decimal::read(none), None, "{none}");
        }
    }

    #[test]
    fn rounds_half_away_from_zero() {
        for (text, expected) in [
            ("1.005", "1.01"),
            ("-1.005", "-1.01"),
            ("9.995", "10.00"),
            ("0.004", "0.00"),
        ] {
            assert_eq!(read(text).limited(4, 2).unwrap(), read(expected), "{text}");
        }
        assert_eq!(read("99.995").limited(4, 2), Err(OutOfRange));
        assert_eq!(read("7e1").whole(), Ok(Some(70)));
        assert_eq!(read("0.5").whole(), Ok(None));
        assert_eq!(read("1e30").whole(), Err(OutOfRange));
    }

    #[test]
    fn writes_as_postgresql_does() {
        for (text, plain) in [
            ("1e3", "1000"),
            ("1.50", "1.5"),
            ("5e-4", "0.0005"),
            ("-12.25", "-12.25"),
        ] {
            assert_eq!(read(text).plain(None), plain);
        }
        assert_eq!(read("12.5").plain(Some(2)), "12.50");
        assert_eq!(read("0").plain(Some(2)), "0.00");
    }

    #[test]
    fn reads_the_binary_form() {
        // 12345.678 is the groups 1, 2345, 6780.
        let words: [u16; 7] = [3, 1, 0, 3, 1, 2345, 6780];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(Decimal::of_binary(&bytes), Some(read("12345.678")));
        let zero: Vec<u8> = [0u16; 4]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        assert_eq!(Decimal::of_binary(&zero), Some(read("0")));
        assert_eq!(Decimal::of_binary(&[0, 0, 0]), None);
    }
}
