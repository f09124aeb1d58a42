//! [`Condition`]: what fields of `data` and `measurements` must be like, and whether a sample's are.
//!
//! Answers are SQL's: a comparison with a field that is absent or null is neither true nor false but unknown, so is
//! what is made of it, and only what is true matches. The text form is read in `condition/parse.rs` and written
//! here; patterns are `condition/pattern.rs`. Nothing here knows an index: which range of an index a condition implies is said by
//! `condition/bounds.rs`.

mod bounds;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;

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
///   are, a single quote within them written twice. Whole numbers have 64 bits, as those of samples; one with a point or an
///   exponent is a float.
/// - *Comparisons* are `=`, `!=`, `<`, `<=`, `>`, `>=`, `in (…)`, `between … and …`. Numbers compare by value, whole or not;
///   strings by Unicode code points. Values of different types are not equal, and neither of them is less.
/// - *Patterns*: `like` (`%` is any text, `_` any one character, `\` before one of these or before another `\` takes it as it is, and
///   before anything else is itself), `ilike` (the same whatever the case), `~` (a regular expression of the [`regex`] crate that is
///   found anywhere in the string).
///   `contains` finds a value in a list, a text in a string and a name in a map.
/// - *Presence*: `is null` holds for null and for what is absent, `is missing` for what is absent alone.
/// - `and`, `or`, `not` and parentheses join conditions; `not` also goes before `in`, `between`, `like`, `ilike`,
///   `contains`, and behind `is`. Words may be of either case.
///
/// As in SQL, a comparison with a field that is null or absent is unknown, also under `not`, and a sample for which the whole
/// is unknown does not match.
///
/// The text may be 64 KiB long, as it is given and as it is written out, and nest 64 deep. What is written
/// out reads back as the same condition.
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
    /// The field of `data` to which these names lead.
    pub(crate) fn of_data(path: &[String]) -> Self {
        let (part, path) = (Part::Data, path.to_owned());
        Self { part, path }
    }

    /// The same of `measurements`.
    pub(crate) fn of_measurements(path: &[String]) -> Self {
        let (part, path) = (Part::Measurements, path.to_owned());
        Self { part, path }
    }

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
        self.write(f, "")
    }
}

impl Node {
    /// Writes it with `not`, "" or "not ", before its word, if it has one that takes it. Nothing is written deeper than it may
    /// have been read, so that it can be read again.
    fn write(&self, f: &mut fmt::Formatter<'_>, not: &str) -> fmt::Result {
        match self {
            Self::And(nodes) | Self::Or(nodes) => {
                let is_or = matches!(self, Self::Or(_));
                for (index, node) in nodes.iter().enumerate() {
                    let word = if is_or { " or " } else { " and " };
                    f.write_str(if index == 0 { "" } else { word })?;
                    match node {
                        // It binds more strongly.
                        Self::And(_) if is_or => node.write(f, "")?,
                        node => write!(f, "{}", Inner(node))?,
                    }
                }
                Ok(())
            }
            Self::Not(node) if node.takes_not() => node.write(f, "not "),
            Self::Not(node) => write!(f, "not {}", Inner(node)),
            Self::Compare(field, comparison, value) => {
                write!(f, "{field} {} {}", comparison.as_str(), Literal(value))
            }
            Self::OneOf(field, values) => {
                write!(f, "{field} {not}in (")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", Literal(value))?;
                }
                f.write_str(")")
            }
            Self::Between(field, first, last) => {
                let (first, last) = (Literal(first), Literal(last));
                write!(f, "{field} {not}between {first} and {last}")
            }
            Self::Matches(field, pattern) => {
                let not = match pattern.operator() {
                    "~" if !not.is_empty() => "!",
                    _ => not,
                };
                let (operator, text) = (pattern.operator(), Text(pattern.text()));
                write!(f, "{field} {not}{operator} {text}")
            }
            Self::Contains(field, value) => write!(f, "{field} {not}contains {}", Literal(value)),
            Self::Null(field) => write!(f, "{field} is {not}null"),
            Self::Missing(field) => write!(f, "{field} is {not}missing"),
        }
    }

    /// Whether `not` goes before its word, and not only before the whole.
    fn takes_not(&self) -> bool {
        !matches!(
            self,
            Self::And(_) | Self::Or(_) | Self::Not(_) | Self::Compare(..)
        )
    }
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
            Value::String(text) => Text(text).fmt(f),
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

/// A string in double quotes, or in single ones where it is shorter in these, as what has many double quotes or backslashes in it.
/// Control characters are always escaped.
struct Text<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = serde_json::to_string(self.0).map_err(|_| fmt::Error)?;
        f.write_str(&quoted)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let double = Quoted(self.0).to_string();
        let single = 2 + self.0.len() + self.0.matches('\'').count();
        match single < double.len() && !self.0.contains(char::is_control) {
            true => write!(f, "'{}'", self.0.replace('\'', "''")),
            false => f.write_str(&double),
        }
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
