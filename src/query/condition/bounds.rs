//! What a condition implies for the key of a field, as an index orders it.
//!
//! A [`Keys`] is a superset: whatever matches the condition has a key in it, and what has a key in it may still
//! not match, so that the sample is looked at all the same.

use std::ops::RangeInclusive;

use twox_hash::XxHash3_64;

use super::{Comparison, Field, Node};
use crate::value::Value;

/// The key of a value in an index: an `i64` in whose order numbers are in order of value. Strings, and bools, have keys by
/// which equals are found and that have no order of their own; what has none is in no index and has [`Keys::ABSENT`].
///
/// Numbers are the floats nearest to them, by the bits that order them: 2^64 minus the NaNs. Of these NaNs' keys, at either end, the
/// greatest 2^51 are those of strings, by the low 51 bits of their XXH3, and some below those of numbers are those of the
/// rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys(Vec<RangeInclusive<i64>>);

/// No value: the field is absent, null, or a value that no comparison finds.
pub(crate) const ABSENT: i64 = i64::MIN;
const FALSE: i64 = i64::MIN + 1;
const TRUE: i64 = i64::MIN + 2;
/// Of -infinity and infinity.
const FIRST_NUMBER: i64 = !(0x7ff0_0000_0000_0000_i64);
const LAST_NUMBER: i64 = 0x7ff0_0000_0000_0000;
/// The first key of a string: that of the first NaN behind the one that is the default.
const FIRST_STRING: i64 = 0x7ff8_0000_0000_0000;
const STRING_MASK: u64 = 0x0007_ffff_ffff_ffff;

impl Keys {
    /// The key of a value, or of an absent one.
    pub(crate) fn of(value: Option<&Value>) -> i64 {
        match value {
            Some(Value::Bool(false)) => FALSE,
            Some(Value::Bool(true)) => TRUE,
            Some(Value::Int(number)) => of_float(number.to_f64()),
            Some(Value::Float(number)) if !number.is_nan() => of_float(*number),
            Some(Value::String(text)) => of_string(text),
            _ => ABSENT,
        }
    }

    /// The ranges, in order, none touching another.
    pub(crate) fn ranges(&self) -> &[RangeInclusive<i64>] {
        &self.0
    }

    /// The keys that are in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let pairs = self
            .0
            .iter()
            .flat_map(|a| other.0.iter().map(move |b| (a, b)));
        let common = pairs.map(|(a, b)| *a.start().max(b.start())..=*a.end().min(b.end()));
        Self(common.filter(|range| !range.is_empty()).collect())
    }

    /// The keys that are in one of them or in both.
    fn or(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).cloned().collect();
        all.sort_unstable_by_key(|range| *range.start());
        let mut joined: Vec<RangeInclusive<i64>> = Vec::with_capacity(all.len());
        for range in all {
            match joined.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    fn equal(values: &[Value]) -> Self {
        let mut keys: Vec<i64> = values.iter().map(|value| Self::of(Some(value))).collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys.into_iter().map(|key| key..=key).collect())
    }

    /// From one key of a number to the other, both counted in; `None` unless both are there.
    fn numbers(first: impl Into<Option<i64>>, last: impl Into<Option<i64>>) -> Option<Self> {
        let (first, last) = (first.into()?, last.into()?);
        Some(Self(if first <= last {
            vec![first..=last]
        } else {
            Vec::new()
        }))
    }
}

fn of_number(value: &Value) -> Option<i64> {
    value.as_f64().map(of_float)
}

/// 1 when no other number has the key of this one, so that what is strictly less or greater has another; else 0.
fn strictly(value: &Value) -> i64 {
    const EXACT_END: f64 = 9_007_199_254_740_992.0;
    value
        .as_f64()
        .is_some_and(|number| number.abs() < EXACT_END)
        .into()
}

/// Bits whose order as an `i64` is the order of floats; -0.0 has those of 0.0.
fn of_float(number: f64) -> i64 {
    let bits = (number + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn of_string(text: &str) -> i64 {
    FIRST_STRING | (XxHash3_64::oneshot(text.as_bytes()) & STRING_MASK) as i64
}

/// The fields for which a condition implies keys.
pub(super) fn of(node: &Node) -> Vec<(&Field, Keys)> {
    match node {
        Node::And(nodes) => nodes.iter().flat_map(of).collect(),
        Node::Or(nodes) => {
            let mut sides = nodes.iter().map(by_field);
            let mut all = sides.next().unwrap_or_default();
            for side in sides {
                all.retain_mut(|(field, keys)| {
                    let same = side.iter().find(|(other, _)| other == field);
                    same.is_some_and(|(_, others)| {
                        *keys = keys.or(others);
                        true
                    })
                });
            }
            all
        }
        Node::Compare(field, comparison, value) => {
            let keys = match comparison {
                Comparison::Equal => Some(Keys::equal(std::slice::from_ref(value))),
                Comparison::Less => Keys::numbers(
                    FIRST_NUMBER,
                    of_number(value).map(|key| key - strictly(value)),
                ),
                Comparison::LessOrEqual => Keys::numbers(FIRST_NUMBER, of_number(value)),
                Comparison::Greater => Keys::numbers(
                    of_number(value).map(|key| key + strictly(value)),
                    LAST_NUMBER,
                ),
                Comparison::GreaterOrEqual => Keys::numbers(of_number(value), LAST_NUMBER),
                Comparison::NotEqual => None,
            };
            keys.map(|keys| (field, keys)).into_iter().collect()
        }
        Node::OneOf(field, values) => vec![(field, Keys::equal(values))],
        Node::Between(field, first, last) => {
            let keys = Keys::numbers(of_number(first), of_number(last));
            keys.map(|keys| (field, keys)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The same, with each field once.
fn by_field(node: &Node) -> Vec<(&Field, Keys)> {
    let mut fields: Vec<(&Field, Keys)> = Vec::new();
    for (field, keys) in of(node) {
        match fields.iter_mut().find(|(known, _)| *known == field) {
            Some((_, all)) => *all = all.and(&keys),
            None => fields.push((field, keys)),
        }
    }
    fields
}

const _: () = assert!(FIRST_STRING > LAST_NUMBER && TRUE < FIRST_NUMBER);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Condition, compare};
    use super::*;
    use crate::value::tests::values;

    #[test]
    fn keys_are_in_order_and_apart() {
        let numbers = [
            f64::NEG_INFINITY,
            -1e300,
            -2.5,
            -1.0,
            -f64::MIN_POSITIVE,
            0.0,
            1e-300,
            1.0,
            30.5,
            1e300,
            f64::INFINITY,
        ];
        let keys: Vec<i64> = numbers
            .iter()
            .map(|number| Keys::of(Some(&Value::from(*number))))
            .collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert_eq!((keys[0], keys[10]), (FIRST_NUMBER, LAST_NUMBER));
        assert_eq!(Keys::of(Some(&(-0.0).into())), Keys::of(Some(&0.into())));
        assert_eq!(Keys::of(Some(&f64::NAN.into())), Keys::of(None));
        assert!(Keys::of(Some(&"".into())) >= FIRST_STRING);
    }

    proptest! {
        #[test]
        fn what_compares_equal_has_the_same_key_and_what_is_less_no_greater_one(a in values(), b in values()) {
            let (of_a, of_b) = (Keys::of(Some(&a)), Keys::of(Some(&b)));
            let is_number = a.as_f64().is_some() && b.as_f64().is_some();
            match compare(&a, &b) {
                Some(std::cmp::Ordering::Equal) => prop_assert_eq!(of_a, of_b),
                Some(std::cmp::Ordering::Less) if is_number => prop_assert!(of_a <= of_b),
                Some(std::cmp::Ordering::Greater) if is_number => prop_assert!(of_a >= of_b),
                _ => {}
            }
        }
    }

    #[test]
    fn bounds_are_those_of_what_must_hold() {
        let count = |text: &str| text.parse::<Condition>().unwrap().bounds().len();
        assert_eq!(
            count("data.a = 1 and measurements.b > 2 and data.c != 3"),
            2
        );
        assert_eq!(count("data.a = 1 or data.b = 1"), 0);
        assert_eq!(count("data.a = 1 or not data.a = 2"), 0);
        assert_eq!(
            count("(data.a = 1 and data.b = 2) or (data.b > 3 and data.a < 0)"),
            2
        );
        assert_eq!(count("(data.a = 1 or data.b = 2) and data.a < 5"), 1);
        assert_eq!(count("not data.a = 1"), 0);
        assert_eq!(count("data.a < 'x'"), 0);
        assert_eq!(
            count("data.a in ('x', 'y', 3) and data.a between 1 and 2.5"),
            2
        );
        let condition: Condition = "data.a in (3, 'x', 3.0)".parse().unwrap();
        assert_eq!(condition.bounds()[0].1.ranges().len(), 2);
        for (text, keys) in [
            ("data.a > 1", of_float(1.0) + 1..=LAST_NUMBER),
            ("data.a >= 1", of_float(1.0)..=LAST_NUMBER),
            ("data.a < 1.5", FIRST_NUMBER..=of_float(1.5) - 1),
            ("data.a <= 1.5", FIRST_NUMBER..=of_float(1.5)),
            // Whole numbers above it have the same key.
            (
                "data.a > 9007199254740992",
                of_float(9_007_199_254_740_992.0)..=LAST_NUMBER,
            ),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.bounds()[0].1.ranges(), [keys], "{text}");
        }
        let of = |text: &str| text.parse::<Condition>().unwrap().bounds()[0].1.clone();
        let both = of("data.a >= 1").and(&of("data.a < 3"));
        assert_eq!(both.ranges(), [of_float(1.0)..=of_float(3.0) - 1]);
        assert_eq!(
            both.and(&of("data.a in (0, 1, 2.5, 3, 'x')")),
            of("data.a in (1, 2.5)")
        );
        assert!(both.and(&of("data.a > 5")).ranges().is_empty());
        assert_eq!(
            of("data.a > 90 or data.a < 20").ranges(),
            [
                FIRST_NUMBER..=of_float(20.0) - 1,
                of_float(90.0) + 1..=LAST_NUMBER
            ]
        );
        assert_eq!(
            of("data.a between 1 and 5 or data.a between 3 and 9 or data.a = 2"),
            of("data.a between 1 and 9")
        );
        assert_eq!(of("data.a = 'x' or data.a = 1"), of("data.a in (1, 'x')"));
        assert_eq!(
            of("(data.a > 1 and data.a < 3) or data.a >= 7"),
            of("data.a > 1 and (data.a < 3 or data.a >= 7)").and(&of("data.a < 3 or data.a >= 7"))
        );
        let nothing: Condition = "data.a between 2 and 1".parse().unwrap();
        assert!(nothing.bounds()[0].1.ranges().is_empty());
    }
}
