//! [`Value`]: what `data` and `measurements` hold (rule M5), its total order and its serde form.
//!
//! Values are made when someone asks for a map or a field; samples keep them encoded (see
//! `payload.rs`). The JSON text form (rule M7) lives in `value/json.rs`.

mod integer;
mod json;
mod serde;

use std::cmp::Ordering;
use std::collections::BTreeMap;

pub use integer::Integer;
pub(crate) use json::{map_from_json, map_to_json, parse_json};
pub(crate) use serde::TOO_DEEP;

/// A map from string to value, ordered by key.
pub type Map = BTreeMap<String, Value>;

/// How deep lists and maps may nest: the map `data` itself is at depth 1.
pub const DEPTH_MAX: usize = 64;

/// One value of a payload.
///
/// Equality and order are total: types come in the order of the variants, except that whole numbers
/// and floats are compared as numbers, exactly; of two that are the same number `-0.0` comes first,
/// then the whole number, then the float. Every NaN equals every other and is the greatest number.
///
/// ```
/// use samplestore::Value;
///
/// assert_eq!(Value::from(1_u64), Value::from(1_i64));
/// assert_ne!(Value::from(1), Value::from(1.0));
/// assert!(Value::from(2.5) < Value::from(3));
/// assert_eq!(Value::from(f64::NAN), Value::from(-f64::NAN));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number from `i64::MIN` to `u64::MAX`.
    Int(Integer),
    /// A floating-point number, infinities and NaN among them.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(Map),
}

impl Value {
    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole number, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => value.as_i64(),
            _ => None,
        }
    }

    /// The whole number, if it is one that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => value.as_u64(),
            _ => None,
        }
    }

    /// The number, if it is one; a whole number is rounded where it is not exact.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(value.to_f64()),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is some.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(value) => Some(value),
            _ => None,
        }
    }

    /// The map, if it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The name of its type, as error texts have it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a float",
            Self::String(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The place of its type in the order; both kinds of number share one.
    fn type_rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 2,
            Self::String(_) => 3,
            Self::Bytes(_) => 4,
            Self::List(_) => 5,
            Self::Map(_) => 6,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => compare_floats(*a, *b),
            (Self::Int(a), Self::Float(b)) => a.compare_to_float(*b),
            (Self::Float(a), Self::Int(b)) => b.compare_to_float(*a).reverse(),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => a.cmp(b),
            (Self::Map(a), Self::Map(b)) => a.cmp(b),
            _ => self.type_rank().cmp(&other.type_rank()),
        }
    }
}

/// As `f64::total_cmp`, but every NaN is one value, greater than infinity.
fn compare_floats(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(&b),
        (a, b) => a.cmp(&b),
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($type:ty => |$value:ident| $make:expr;)+) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $make
            }
        }
    )+};
}

from! {
    () => |_value| Self::Null;
    bool => |value| Self::Bool(value);
    i8 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    i32 => |value| Self::Int(value.into());
    i64 => |value| Self::Int(value.into());
    u8 => |value| Self::Int(value.into());
    u16 => |value| Self::Int(value.into());
    u32 => |value| Self::Int(value.into());
    u64 => |value| Self::Int(value.into());
    Integer => |value| Self::Int(value);
    f32 => |value| Self::Float(value.into());
    f64 => |value| Self::Float(value);
    &str => |value| Self::String(value.to_owned());
    String => |value| Self::String(value);
    &[u8] => |value| Self::Bytes(value.to_vec());
    Vec<u8> => |value| Self::Bytes(value);
    Vec<Value> => |value| Self::List(value);
    Map => |value| Self::Map(value);
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Makes a [`Map`] from names and whatever converts into a [`Value`].
///
/// ```
/// use samplestore::{Value, data};
///
/// let map = data! {
///     "station" => "JFK",
///     "temp" => 71.6,
///     "gust" => None::<f64>,
///     "position" => data! { "lat" => 40.64, "lon" => -73.78 },
/// };
/// assert_eq!(map["gust"], Value::Null);
/// ```
#[macro_export]
macro_rules! data {
    () => { $crate::Map::new() };
    ($($name:expr => $value:expr),+ $(,)?) => {
        $crate::Map::from([$((::std::string::String::from($name), $crate::Value::from($value))),+])
    };
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value, nesting a few levels.
    pub(crate) fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<u64>().prop_map(|bits| Value::from(f64::from_bits(bits))),
            prop::sample::select(vec![
                0.0,
                -0.0,
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                1e300
            ])
            .prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                maps_of(inner).prop_map(Value::Map),
            ]
        })
    }

    fn maps_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map> {
        let keys = prop_oneof![
            any::<String>(),
            prop::sample::select(vec![
                "$binary",
                "$numberDouble",
                "$$binary",
                "$$$numberDouble",
                "$oid",
                "",
                "a.b",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::btree_map(keys, values, 0..5)
    }

    /// Any payload.
    pub(crate) fn maps() -> impl Strategy<Value = Map> {
        maps_of(values())
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in values(), b in values(), c in values()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }

        #[test]
        fn numbers_are_ordered_exactly(int: i64, float: f64) {
            let expected = (int as f64).partial_cmp(&float).filter(|order| order.is_ne());
            let found = Value::from(int).cmp(&Value::from(float));
            // Where rounding the whole number does not decide, only the tie rule is left to hold.
            if let Some(expected) = expected {
                prop_assert_eq!(found, expected);
            } else {
                prop_assert_ne!(found, Ordering::Equal);
            }
        }
    }

    #[test]
    fn numbers_at_the_edges_are_ordered() {
        let ascending = [
            Value::from(f64::NEG_INFINITY),
            Value::from(i64::MIN),
            Value::from(i64::MIN as f64),
            Value::from(-0.0),
            Value::from(0),
            Value::from(0.0),
            Value::from(0.5),
            Value::from(1),
            Value::from((1_u64 << 53) as f64),
            Value::from((1_u64 << 53) + 1),
            Value::from(u64::MAX),
            Value::from(u64::MAX as f64),
            Value::from(f64::INFINITY),
            Value::from(f64::NAN),
        ];
        for pair in ascending.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
    }
}
