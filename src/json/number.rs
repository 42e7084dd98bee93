//! Numbers of JSON, compared exactly as Python compares them: integers of any size, with floats too.

use std::cmp::Ordering;

/// 2 to the 63rd: below it, down to its negative, a float's integral part fits an `i64`.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// A number as `json.loads` has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// An integer of at most 64 bits.
    Small(i64),
    /// Any other integer: its decimal digits, the first no zero, after a minus sign where it is negative. They are rare,
    /// and a number is to be small: 16 bytes.
    Large(Box<Box<str>>),
    /// A float.
    Float(f64),
}

impl Number {
    /// The integer of these decimal digits, as JSON or Python write it.
    pub fn integer(digits: &str) -> Self {
        digits.parse().map_or_else(|_| Self::Large(Box::new(digits.into())), Self::Small)
    }

    /// It as JSON.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Small(value) => value.to_string(),
            Self::Large(digits) => digits.to_string(),
            Self::Float(f64::INFINITY) => "Infinity".to_owned(),
            Self::Float(f64::NEG_INFINITY) => "-Infinity".to_owned(),
            Self::Float(value) => format!("{value:?}"),
        }
    }

    /// How this compares with another; `None` for NaN.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Small(a), Self::Small(b)) => Some(a.cmp(b)),
            (Self::Small(_), Self::Large(b)) => Some(sign(b).reverse()),
            (Self::Large(a), Self::Small(_)) => Some(sign(a)),
            (Self::Large(a), Self::Large(b)) => Some(compare_digits(a, b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Float(a), Self::Small(b)) => compare_small(*b, *a).map(Ordering::reverse),
            (Self::Small(a), Self::Float(b)) => compare_small(*a, *b),
            (Self::Float(a), Self::Large(b)) => compare_large(b, *a).map(Ordering::reverse),
            (Self::Large(a), Self::Float(b)) => compare_large(a, *b),
        }
    }
}

/// How an integer beyond 64 bits compares with zero, and with all that are not.
fn sign(digits: &str) -> Ordering {
    if digits.starts_with('-') { Ordering::Less } else { Ordering::Greater }
}

fn compare_digits(a: &str, b: &str) -> Ordering {
    let sizes = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (Some(a), Some(b)) => sizes(b, a),
        (None, None) => sizes(a, b),
        _ => sign(a),
    }
}

fn compare_small(integer: i64, float: f64) -> Option<Ordering> {
    if !(-TWO_TO_63..TWO_TO_63).contains(&float) {
        return 0.0.partial_cmp(&float);
    }
    let whole = float.trunc();
    Some(integer.cmp(&(whole as i64)).then(whole.total_cmp(&float)))
}

fn compare_large(digits: &str, float: f64) -> Option<Ordering> {
    if float.is_infinite() || float.is_nan() {
        return 0.0.partial_cmp(&float);
    }
    if (-TWO_TO_63..TWO_TO_63).contains(&float) {
        return Some(sign(digits));
    }
    // A float of this size is integral, and is printed to its last digit.
    Some(compare_digits(digits, &format!("{float:.0}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let ascending = [
            Number::Float(f64::NEG_INFINITY),
            Number::integer("-100000000000000000000000"),
            Number::Float(-1e23),
            Number::integer("-9223372036854775809"),
            Number::integer("-9223372036854775808"),
            Number::Float(-1.5),
            Number::integer("-1"),
            Number::Float(-0.5),
            Number::integer("0"),
            Number::Float(0.5),
            Number::integer("9007199254740991"),
            Number::Float(9_007_199_254_740_992.0),
            Number::integer("9007199254740993"),
            Number::integer("9223372036854775807"),
            Number::Float(TWO_TO_63),
            Number::integer("9223372036854775809"),
            Number::Float(1e23),
            Number::integer("100000000000000000000000"),
            Number::Float(f64::INFINITY),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.compare(b), Some(i.cmp(&j)), "{a:?} {b:?}");
            }
            assert_eq!(a.compare(&Number::Float(f64::NAN)), None);
            assert_eq!(Number::Float(f64::NAN).compare(a), None);
        }
    }

    #[test]
    fn numbers_of_other_types_can_be_equal() {
        let equal = |integer, float| {
            assert_eq!(Number::integer(integer).compare(&Number::Float(float)), Some(Ordering::Equal));
        };
        equal("0", -0.0);
        equal("-3", -3.0);
        equal("9223372036854775808", TWO_TO_63);
        equal("-9223372036854775808", -TWO_TO_63);
        equal("99999999999999991611392", 1e23);
    }
}
