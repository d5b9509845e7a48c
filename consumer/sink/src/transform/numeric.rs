//! Exact numbers in the binary form of PostgreSQL's `numeric` (`src/backend/utils/adt/numeric.c`,
//! `numeric_recv`): groups of four decimal digits, the weight of the first group, a sign and a
//! display scale.

use super::bad::Bad;
use leafcutter_schemas::number::{Decimal, Number};

const NAN: u16 = 0xc000;
const PLUS_INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
const NEGATIVE: u16 = 0x4000;

/// Appends `number` as a field: its length, then its bytes. With a precision and scale it is
/// rounded half away from zero, as PostgreSQL does, and refused where it does not fit.
pub fn encode(number: &Number, limits: Option<(u16, u16)>, out: &mut Vec<u8>) -> Result<(), Bad> {
    match number {
        Number::NaN => special(NAN, out),
        // `numeric(p,s)` has no infinities (manual, 8.1.2).
        Number::Infinity { .. } if limits.is_some() => return Err(Bad::OutOfRange),
        Number::Infinity { negative: false } => special(PLUS_INFINITY, out),
        Number::Infinity { negative: true } => special(MINUS_INFINITY, out),
        Number::Finite(decimal) => match limits {
            None => finite(decimal, (-decimal.exponent).max(0), out)?,
            Some((precision, scale)) => {
                let rounded = round(decimal, i32::from(scale));
                let whole = whole_digits(&rounded);
                if whole > i32::from(precision) - i32::from(scale) {
                    return Err(Bad::OutOfRange);
                }
                finite(&rounded, i32::from(scale), out)?;
            }
        },
    }
    Ok(())
}

fn special(sign: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&8i32.to_be_bytes());
    for part in [0, 0, sign, 0] {
        out.extend_from_slice(&part.to_be_bytes());
    }
}

fn digits_len(decimal: &Decimal) -> i32 {
    i32::try_from(decimal.digits.len()).unwrap_or(i32::MAX)
}

/// Digits before the decimal point; 0 or less for a fraction.
fn whole_digits(decimal: &Decimal) -> i32 {
    if decimal.digits.is_empty() {
        0
    } else {
        digits_len(decimal).saturating_add(decimal.exponent)
    }
}

/// Rounds half away from zero to `scale` digits after the point.
fn round(decimal: &Decimal, scale: i32) -> Decimal {
    let surplus = (-decimal.exponent).saturating_sub(scale);
    if surplus <= 0 {
        return decimal.clone();
    }
    let keep = usize::try_from(digits_len(decimal).saturating_sub(surplus)).ok();
    let Some(keep) = keep else {
        return Decimal {
            negative: false,
            digits: String::new(),
            exponent: 0,
        };
    };
    let (kept, cut) = decimal.digits.split_at(keep);
    let mut digits: Vec<u8> = kept.bytes().collect();
    if cut.as_bytes().first().is_some_and(|&first| first >= b'5') {
        increment(&mut digits);
    }
    let digits: String = digits.into_iter().map(char::from).collect();
    let significant = digits.trim_start_matches('0');
    let digits = significant.trim_end_matches('0').to_owned();
    let zeros = i32::try_from(significant.len() - digits.len()).unwrap_or(0);
    Decimal {
        negative: decimal.negative && !digits.is_empty(),
        exponent: if digits.is_empty() { 0 } else { zeros - scale },
        digits,
    }
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

fn finite(decimal: &Decimal, display_scale: i32, out: &mut Vec<u8>) -> Result<(), Bad> {
    // Groups of four are counted from the decimal point, so the digits are padded at both ends.
    let low = decimal.exponent.rem_euclid(4);
    let mut digits = decimal.digits.clone();
    for _ in 0..low {
        digits.push('0');
    }
    let groups_below = (decimal.exponent - low) / 4;
    let pad = (4 - digits.len() % 4) % 4;
    digits.insert_str(0, &"000"[..pad]);
    let groups: Vec<i16> = digits
        .as_bytes()
        .chunks(4)
        .map(|group| {
            group
                .iter()
                .fold(0i16, |n, digit| n * 10 + i16::from(digit - b'0'))
        })
        .collect();
    let count = i16::try_from(groups.len()).map_err(|_| Bad::OutOfRange)?;
    let weight = if groups.is_empty() {
        0
    } else {
        i16::try_from(i32::from(count) + groups_below - 1).map_err(|_| Bad::OutOfRange)?
    };
    let scale = u16::try_from(display_scale)
        .ok()
        .filter(|s| *s < 0x4000)
        .ok_or(Bad::OutOfRange)?;
    let sign = if decimal.negative { NEGATIVE } else { 0 };
    out.extend_from_slice(&(8 + 2 * i32::from(count)).to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(number: &Number, limits: Option<(u16, u16)>) -> Result<Vec<i16>, Bad> {
        let mut out = Vec::new();
        encode(number, limits, &mut out)?;
        assert_eq!(
            i32::try_from(out.len() - 4).unwrap(),
            i32::from_be_bytes(out[..4].try_into().unwrap())
        );
        Ok(out[4..]
            .chunks(2)
            .map(|c| i16::from_be_bytes(c.try_into().unwrap()))
            .collect())
    }

    #[test]
    fn groups_stand_around_the_decimal_point() {
        let f = Number::shortest_of_f64;
        // count, weight, sign, scale, groups…
        assert_eq!(groups(&f(0.0), None).unwrap(), [0, 0, 0, 0]);
        assert_eq!(groups(&f(1.0), None).unwrap(), [1, 0, 0, 0, 1]);
        assert_eq!(
            groups(&f(12345.5), None).unwrap(),
            [3, 1, 0, 1, 1, 2345, 5000]
        );
        assert_eq!(groups(&f(-0.01), None).unwrap(), [1, -1, 0x4000, 2, 100]);
        assert_eq!(groups(&f(1e8), None).unwrap(), [1, 2, 0, 0, 1]);
        assert_eq!(groups(&f(0.00001), None).unwrap(), [1, -2, 0, 5, 1000]);
    }

    #[test]
    fn limits_round_away_from_zero_and_refuse_what_is_too_large() {
        let f = Number::shortest_of_f64;
        let limits = Some((4, 2));
        assert_eq!(groups(&f(1.005), limits).unwrap(), [2, 0, 0, 2, 1, 100]);
        assert_eq!(groups(&f(-1.004), limits).unwrap(), [1, 0, 0x4000, 2, 1]);
        assert_eq!(groups(&f(0.004), limits).unwrap(), [0, 0, 0, 2]);
        assert_eq!(groups(&f(0.0004), limits).unwrap(), [0, 0, 0, 2]);
        assert_eq!(groups(&f(99.994), limits).unwrap(), [2, 0, 0, 2, 99, 9900]);
        assert_eq!(groups(&f(99.995), limits), Err(Bad::OutOfRange));
        assert_eq!(groups(&f(100.0), limits), Err(Bad::OutOfRange));
        assert_eq!(
            groups(&Number::NaN, limits).unwrap()[2].cast_unsigned(),
            NAN
        );
        assert_eq!(
            groups(&Number::Infinity { negative: true }, limits),
            Err(Bad::OutOfRange)
        );
    }
}
