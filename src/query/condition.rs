//! [`Condition`]: what fields of `data` and `measurements` must be like, and whether a sample's are.
//!
//! Answers are SQL's: a comparison with a field that is absent or null is neither true nor false but unknown, so is
//! what is made of it, and only what is true matches. The text form is read in `condition/parse.rs` and written
//! here; patterns are `condition/pattern.rs`. Nothing here knows an index: which range of an index a condition implies is said by
//! `condition/bounds.rs`.

mod bounds;
mod parse;
mod pattern;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use bounds::{ABSENT, Keys};
use pattern::Pattern;

use crate::error::{Error, Result};
use crate::payload;
use crate::sample::Sample;
use crate::value::Value;

/// Nesting of parentheses and `not`, at most.
pub(crate) const DEPTH_MAX: usize = 64;
/// Bytes of the text form, at most.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;

/// A condition on fields of a sample's `data` and `measurements`, for [`Query::condition`](super::Query::condition) and
/// `--where`.
///
/// It is made from text:
///
/// ```text
/// measurements.temp > 30 and data.origin in ("JFK", "LGA")
/// ```
///
/// - *Fields* are `data.NAME` and `measurements.NAME`, further names of maps within maps behind further dots, places in
///   lists in brackets, counted from 0 (`data.tags[0]`). A name that is not of letters, digits, `_` and `-` is
///   written in double quotes (`data."wind speed"`).
/// - *Values* are numbers, `true`, `false` and strings: in double quotes with JSON's escapes, in single quotes as they
///   are, a single quote within them written twice.
/// - *Comparisons* are `=`, `!=`, `<`, `<=`, `>`, `>=`, `in (…)`, `between … and …`. Numbers compare by value, whole or not;
///   strings by Unicode code points. Values of different types are not equal, and neither of them is less.
/// - *Patterns*: `like` (`%` is any text, `_` any one character, `\` before either takes it as it is), `ilike` (the same
///   whatever the case), `~` (a regular expression of the [`regex`] crate that is found anywhere in the string).
///   `contains` finds a value in a list, a text in a string and a name in a map.
/// - *Presence*: `is null` holds for null and for what is absent, `is missing` for what is absent alone.
/// - `and`, `or`, `not` and parentheses join conditions; `not` also goes before `in`, `between`, `like`, `ilike`,
///   `contains`, and behind `is`. Words may be of either case.
///
/// As in SQL, a comparison with a field that is null or absent is unknown, also under `not`, and a sample for which the whole
/// is unknown does not match.
///
/// The text may be 64 KiB long and nest 64 deep.
///
/// ```
/// use samplestore::{Condition, Sample, data};
///
/// let condition: Condition = "measurements.temp >= 30 and not data.station like 'K%'".parse()?;
/// let sample = Sample::builder("weather")
///     .data(data! { "station" => "JFK" })
///     .measurements(data! { "temp" => 31.5 })
///     .build()?;
/// assert!(condition.matches(&sample)?);
///
/// let error = "measurements.temp >".parse::<Condition>().unwrap_err();
/// assert!(error.to_string().contains("expected a value at character 20"));
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(Arc<Node>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Compare(Field, Comparison, Value),
    OneOf(Field, Vec<Value>),
    Between(Field, Value, Value),
    Matches(Field, Pattern),
    Contains(Field, Value),
    Null(Field),
    Missing(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A field of a sample: the names and places that lead to it.
///
/// ```
/// use samplestore::Field;
///
/// let field: Field = "measurements.wind.speed".parse()?;
/// assert_eq!(field.to_string(), "measurements.wind.speed");
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    part: Part,
    path: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Data,
    Measurements,
}

impl Field {
    /// The value of this field, or `None` where it is absent.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) when the payload is damaged.
    pub fn of(&self, sample: &Sample) -> Result<Option<Value>> {
        self.within(sample.data().as_bytes(), sample.measurements().as_bytes())
    }

    /// The same, of a sample's two payloads as they are encoded.
    pub(crate) fn within(&self, data: &[u8], measurements: &[u8]) -> Result<Option<Value>> {
        let encoded = match self.part {
            Part::Data => data,
            Part::Measurements => measurements,
        };
        payload::value_in(encoded, &self.path)
    }
}

impl Condition {
    /// Whether it is true of this sample.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) when a payload is damaged.
    pub fn matches(&self, sample: &Sample) -> Result<bool> {
        Ok(self.0.of(sample)? == Some(true))
    }

    /// The fields that it asks for, in the order in which they stand there.
    #[must_use]
    pub fn fields(&self) -> Vec<&Field> {
        let mut fields = Vec::new();
        self.0.add_fields(&mut fields);
        fields
    }

    /// Ranges of keys, by field, outside of which no sample matches.
    pub(crate) fn bounds(&self) -> Vec<(&Field, Keys)> {
        bounds::of(&self.0)
    }
}

impl Node {
    fn add_fields<'a>(&'a self, fields: &mut Vec<&'a Field>) {
        match self {
            Self::And(nodes) | Self::Or(nodes) => {
                nodes.iter().for_each(|node| node.add_fields(fields));
            }
            Self::Not(node) => node.add_fields(fields),
            Self::Compare(field, ..)
            | Self::OneOf(field, _)
            | Self::Between(field, ..)
            | Self::Matches(field, _)
            | Self::Contains(field, _)
            | Self::Null(field)
            | Self::Missing(field) => fields.push(field),
        }
    }

    /// Whether it is true of a sample, or `None` when that is unknown.
    fn of(&self, sample: &Sample) -> Result<Option<bool>> {
        Ok(match self {
            Self::And(nodes) => fold(nodes, sample, false)?,
            Self::Or(nodes) => fold(nodes, sample, true)?,
            Self::Not(node) => node.of(sample)?.map(|is_true| !is_true),
            Self::Null(field) => {
                let value = field.of(sample)?;
                Some(value.is_none_or(|value| value.is_null()))
            }
            Self::Missing(field) => Some(field.of(sample)?.is_none()),
            Self::Compare(field, comparison, wanted) => {
                known(field, sample)?.and_then(|found| comparison.of(&found, wanted))
            }
            Self::OneOf(field, values) => known(field, sample)?.map(|found| {
                values
                    .iter()
                    .any(|value| compare(&found, value) == Some(Ordering::Equal))
            }),
            Self::Between(field, first, last) => known(field, sample)?.and_then(|found| {
                let from = Comparison::GreaterOrEqual.of(&found, first);
                both(from, Comparison::LessOrEqual.of(&found, last))
            }),
            Self::Matches(field, pattern) => known(field, sample)?
                .and_then(|found| found.as_str().map(|text| pattern.matches(text))),
            Self::Contains(field, wanted) => {
                known(field, sample)?.and_then(|found| contains(&found, wanted))
            }
        })
    }
}

/// The value of a field, unless it is null or absent.
fn known(field: &Field, sample: &Sample) -> Result<Option<Value>> {
    Ok(field.of(sample)?.filter(|value| !value.is_null()))
}

/// `decided` as soon as one node is, the opposite when all are that, and else unknown.
fn fold(nodes: &[Node], sample: &Sample, decided: bool) -> Result<Option<bool>> {
    let mut all = Some(!decided);
    for node in nodes {
        match node.of(sample)? {
            Some(is_true) if is_true == decided => return Ok(Some(decided)),
            Some(_) => {}
            None => all = None,
        }
    }
    Ok(all)
}

fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

impl Comparison {
    fn of(self, found: &Value, wanted: &Value) -> Option<bool> {
        let ordering = compare(found, wanted);
        match self {
            Self::Equal => Some(ordering == Some(Ordering::Equal)),
            Self::NotEqual => Some(ordering != Some(Ordering::Equal)),
            Self::Less => ordering.map(Ordering::is_lt),
            Self::LessOrEqual => ordering.map(Ordering::is_le),
            Self::Greater => ordering.map(Ordering::is_gt),
            Self::GreaterOrEqual => ordering.map(Ordering::is_ge),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// The order of two values by what they say, if one of them comes first or they are the same. Other than in the
/// total order of [`Value`], 30 is 30.0 and -0.0 is 0.0 here, and NaN is nothing.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => compare_to_float(a.as_i128(), *b),
        (Value::Float(a), Value::Int(b)) => {
            compare_to_float(b.as_i128(), *a).map(Ordering::reverse)
        }
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn compare_to_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    let truncated = float.trunc();
    // Casts saturate, far outside of what a whole number can be.
    let ordering = whole.cmp(&(truncated as i128));
    Some(ordering.then_with(|| truncated.total_cmp(&float)))
}

fn contains(found: &Value, wanted: &Value) -> Option<bool> {
    match (found, wanted) {
        (Value::List(values), wanted) => Some(
            values
                .iter()
                .any(|value| compare(value, wanted) == Some(Ordering::Equal)),
        ),
        (Value::String(text), Value::String(part)) => Some(text.contains(part.as_str())),
        (Value::Map(map), Value::String(name)) => Some(map.contains_key(name)),
        _ => None,
    }
}

impl FromStr for Condition {
    type Err = Error;

    /// # Errors
    /// [`InvalidQuery`](crate::ErrorKind::InvalidQuery), which says what was expected at which character.
    fn from_str(text: &str) -> Result<Self> {
        parse::condition(text).map(|node| Self(Arc::new(node)))
    }
}

impl FromStr for Field {
    type Err = Error;

    /// # Errors
    /// [`InvalidQuery`](crate::ErrorKind::InvalidQuery), which says what was expected at which character.
    fn from_str(text: &str) -> Result<Self> {
        parse::field(text)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(nodes) => joined(f, nodes, " and "),
            Self::Or(nodes) => joined(f, nodes, " or "),
            Self::Not(node) => write!(f, "not {}", Inner(node)),
            Self::Compare(field, comparison, value) => {
                write!(f, "{field} {} {}", comparison.as_str(), Literal(value))
            }
            Self::OneOf(field, values) => {
                write!(f, "{field} in (")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", Literal(value))?;
                }
                f.write_str(")")
            }
            Self::Between(field, first, last) => {
                write!(
                    f,
                    "{field} between {} and {}",
                    Literal(first),
                    Literal(last)
                )
            }
            Self::Matches(field, pattern) => {
                write!(
                    f,
                    "{field} {} {}",
                    pattern.operator(),
                    Quoted(pattern.text())
                )
            }
            Self::Contains(field, value) => write!(f, "{field} contains {}", Literal(value)),
            Self::Null(field) => write!(f, "{field} is null"),
            Self::Missing(field) => write!(f, "{field} is missing"),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, nodes: &[Node], word: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        let word = if index == 0 { "" } else { word };
        write!(f, "{word}{}", Inner(node))?;
    }
    Ok(())
}

/// A node within another, in parentheses where it would be read otherwise without.
struct Inner<'a>(&'a Node);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            node @ (Node::And(_) | Node::Or(_)) => write!(f, "({node})"),
            node => node.fmt(f),
        }
    }
}

/// A value that has a literal.
struct Literal<'a>(&'a Value);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => Quoted(text).fmt(f),
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            // With a point or an exponent, so that it comes back as a float.
            Value::Float(value) => write!(f, "{value:?}"),
            // No literal makes another one.
            _ => Err(fmt::Error),
        }
    }
}

/// A string in double quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = serde_json::to_string(self.0).map_err(|_| fmt::Error)?;
        f.write_str(&quoted)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            Part::Data => "data",
            Part::Measurements => "measurements",
        })?;
        for step in &self.path {
            if parse::is_place(step) {
                write!(f, "[{step}]")?;
            } else if parse::is_plain(step) {
                write!(f, ".{step}")?;
            } else {
                write!(f, ".{}", Quoted(step))?;
            }
        }
        Ok(())
    }
}

macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

serde_as_text!(Condition, Field);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;
    use crate::{Map, data};

    fn sample(data: Map, measurements: Map) -> Sample {
        let builder = Sample::builder("weather").data(data);
        builder.measurements(measurements).build().unwrap()
    }

    fn weather() -> Sample {
        sample(
            data! {
                "origin" => "JFK", "tags" => vec![Value::from("a"), Value::from(7)], "none" => Value::Null,
                "wind speed" => 5, "map" => data! { "x" => 1, "0" => "zero" }, "ok" => true,
                "text" => "50% of_it", "zero" => -0.0, "nan" => f64::NAN, "large" => u64::MAX,
            },
            data! { "temp" => 30.5, "count" => 30 },
        )
    }

    #[test]
    fn what_matches_matches_and_what_is_unknown_does_not() {
        let sample = weather();
        for (text, is_true) in [
            ("measurements.temp > 30", Some(true)),
            ("measurements.temp > 30.5", Some(false)),
            ("measurements.count = 30.0", Some(true)),
            (
                "measurements.count >= 30.0 and measurements.count <= 30",
                Some(true),
            ),
            ("measurements.count < 30.5", Some(true)),
            ("data.zero = 0 and data.zero >= 0.0", Some(true)),
            ("data.large > 1e19", Some(true)),
            ("data.large = 18446744073709551615", Some(true)),
            ("data.large != 18446744073709551614", Some(true)),
            ("data.nan = 1", Some(false)),
            ("data.nan > 1", None),
            ("data.origin in (\"JFK\", \"LGA\")", Some(true)),
            ("data.origin IN ('LGA')", Some(false)),
            ("data.origin not in ('LGA')", Some(true)),
            ("data.origin = 5", Some(false)),
            ("data.origin <> 5", Some(true)),
            ("data.origin < 5", None),
            ("data.absent = 5", None),
            ("data.absent != 5", None),
            ("not data.absent = 5", None),
            ("data.none in (5)", None),
            ("data.absent = 5 or data.origin = 'JFK'", Some(true)),
            ("data.absent = 5 and data.origin = 'LGA'", Some(false)),
            ("data.absent is null and data.none is null", Some(true)),
            (
                "data.absent is missing and data.none is not missing",
                Some(true),
            ),
            ("data.origin is not null", Some(true)),
            ("data.tags[0] = 'a' and data.tags[1] = 7.0", Some(true)),
            ("data.tags[2] is missing", Some(true)),
            (
                "data.map.\"0\" = 'zero' and data.map[0] = 'zero'",
                Some(true),
            ),
            ("data.\"wind speed\" between 4 and 5", Some(true)),
            ("data.\"wind speed\" not between 6 and 9", Some(true)),
            ("data.origin between 4 and 5", None),
            (
                "data.tags contains 'a' and data.tags contains 7",
                Some(true),
            ),
            ("data.tags not contains 'b'", Some(true)),
            (
                "data.origin contains 'F' and data.map contains 'x'",
                Some(true),
            ),
            ("data.ok = true and data.ok > false", Some(true)),
            (
                "data.origin like 'J%' and data.origin like '_F_'",
                Some(true),
            ),
            ("data.origin like 'j%'", Some(false)),
            (
                "data.origin ilike 'j%' and data.origin not like 'F%'",
                Some(true),
            ),
            (r"data.text like '50\% of\_it'", Some(true)),
            (r"data.text like '5\% of\_it'", Some(false)),
            (
                r"data.origin ~ '^[A-Z]{3}$' and data.origin !~ '\d'",
                Some(true),
            ),
            ("measurements.temp like '3%'", None),
            (
                "not (measurements.temp > 40 or data.origin = 'LGA')",
                Some(true),
            ),
            ("not not measurements.temp > 30", Some(true)),
            ("measurements.temp>30and data.ok=true", None),
        ] {
            let Ok(condition) = text.parse::<Condition>() else {
                assert_eq!(text, "measurements.temp>30and data.ok=true");
                continue;
            };
            assert_eq!(condition.0.of(&sample).unwrap(), is_true, "{text}");
            let again: Condition = condition.to_string().parse().unwrap();
            assert_eq!(again, condition, "{condition}");
            assert_eq!(again.0.of(&sample).unwrap(), is_true, "{condition}");
        }
    }

    #[test]
    fn an_error_points_at_the_character() {
        for (text, message) in [
            (
                "",
                "expected data.FIELD or measurements.FIELD at character 1",
            ),
            ("measurements.temp >", "expected a value at character 20"),
            (
                "measurements.temp > hot",
                "expected a value at character 21: measurements.temp > »hot",
            ),
            (
                "measurments.temp > 1",
                "at character 1: »measurments.temp > 1 (did you mean measurements?)",
            ),
            (
                "temp > 1",
                "expected data.FIELD or measurements.FIELD at character 1",
            ),
            (
                "data.a = 1 adn data.b = 2",
                "expected and, or, or the end at character 12: data.a = 1 »adn data.b = 2 (did you mean and?)",
            ),
            ("data.a", "expected a comparison at character 7"),
            ("data = 1", "expected a field behind data at character 5"),
            ("(data.a = 1", "expected ) at character 12"),
            ("data.a in (1, )", "expected a value at character 15"),
            ("data.a in 1", "expected ( at character 11"),
            ("data.a = \"x", "expected a closing quote at character 12"),
            (
                r#"data.a = "\x""#,
                "expected an escape of JSON at character 11",
            ),
            (
                "data.a = null",
                "expected a value (null is asked for by is null) at character 10",
            ),
            ("data.a ~ '('", "regular expression"),
            ("data.a between 1 or 2", "expected and at character 18"),
            (
                "data.é = 1e999",
                "expected a number that can be kept at character 10",
            ),
        ] {
            let error = text.parse::<Condition>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidQuery, "{text}");
            assert!(error.to_string().contains(message), "{text}: {error}");
        }
        let deep = format!("{}data.a = 1{}", "(".repeat(65), ")".repeat(65));
        assert!(
            deep.parse::<Condition>()
                .unwrap_err()
                .to_string()
                .contains("64 deep")
        );
        let deepest = format!("{}data.a = 1{}", "(".repeat(64), ")".repeat(64));
        assert_eq!(
            deepest.parse::<Condition>().unwrap().to_string(),
            "data.a = 1"
        );
        let long = format!("data.a = '{}'", "x".repeat(TEXT_BYTES_MAX));
        assert!(long.parse::<Condition>().is_err());
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop::num::f64::NORMAL.prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ]
    }

    fn fields() -> impl Strategy<Value = Field> {
        let part = prop_oneof![Just(Part::Data), Just(Part::Measurements)];
        let step = prop_oneof!["[a-z0-9_-]{1,6}", any::<String>(), "[0-9]{1,3}"];
        (part, prop::collection::vec(step, 1..4)).prop_map(|(part, path)| Field { part, path })
    }

    fn nodes() -> impl Strategy<Value = Node> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let comparisons = vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual];
        let comparison = prop::sample::select(comparisons);
        let leaf = prop_oneof![
            (fields(), comparison, values()).prop_map(|(a, b, c)| Node::Compare(a, b, c)),
            (fields(), prop::collection::vec(values(), 1..4)).prop_map(|(a, b)| Node::OneOf(a, b)),
            (fields(), values(), values()).prop_map(|(a, b, c)| Node::Between(a, b, c)),
            (fields(), any::<String>(), any::<bool>())
                .prop_map(|(a, b, c)| Node::Matches(a, Pattern::like(&b, c).unwrap())),
            (fields(), values()).prop_map(|(a, b)| Node::Contains(a, b)),
            fields().prop_map(Node::Null),
            fields().prop_map(Node::Missing),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(Node::And),
                prop::collection::vec(inner.clone(), 2..4).prop_map(Node::Or),
                inner.prop_map(|node| Node::Not(Box::new(node))),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_text_form_reads_back(node in nodes()) {
            let condition = Condition(Arc::new(node));
            let text = condition.to_string();
            prop_assert_eq!(text.parse::<Condition>().unwrap(), condition.clone());
            let json = serde_json::to_string(&condition).unwrap();
            prop_assert_eq!(serde_json::from_str::<Condition>(&json).unwrap(), condition);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}|(data\\.a|[<>=~!()'\"., ]|and|not|in|1){0,12}") {
            if let Ok(condition) = text.parse::<Condition>() {
                condition.matches(&weather()).unwrap();
            }
        }
    }
}
