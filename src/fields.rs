//! [`Fields`]: what samples hold in `data` and `measurements`, field by field.
//!
//! Samples have no schema of their own; this is what one would find by reading some of them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use crate::error::Result;
use crate::query::Field;
use crate::sample::Sample;
use crate::value::{Map, Value, map_to_json};

/// How many different fields are told apart.
const FIELDS_MAX: usize = 10_000;
/// How many examples of a field are kept.
const EXAMPLES_MAX: usize = 3;
/// Longer texts are cut when they are kept, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// The fields of some samples: see [`add`](Self::add).
///
/// ```
/// use samplestore::{Fields, Sample, data};
///
/// let mut fields = Fields::new();
/// fields.add(&Sample::builder("weather").data(data! { "temp" => 71.6, "station" => "JFK" }).build()?)?;
/// fields.add(&Sample::builder("weather").data(data! { "temp" => 68.0 }).build()?)?;
///
/// let temp = fields.get("data.temp").unwrap();
/// assert_eq!((temp.count, temp.min.as_ref().unwrap().as_f64()), (2, Some(68.0)));
/// assert_eq!(fields.get("data.station").unwrap().count, 1);
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fields {
    samples: u64,
    fields: BTreeMap<String, FieldSummary>,
    dropped: u64,
}

/// What one field holds. A field is named as a [`Field`] is written: `data.temp`, `data.place.city` within a map, and
/// `data."wind speed"` where a name is not of letters, digits, `_` and `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldSummary {
    /// How many samples have it.
    pub count: u64,
    /// How often it is of each type: `null`, `bool`, `integer`, `float`, `string`, `bytes`, `list`, `map`.
    pub types: BTreeMap<&'static str, u64>,
    /// The least number or text of it; of a text the first 64 bytes.
    #[serde(serialize_with = "value")]
    pub min: Option<Value>,
    /// The greatest.
    #[serde(serialize_with = "value")]
    pub max: Option<Value>,
    /// Up to three different values, the first that were seen; of a text the first 64 bytes, and no list or map.
    #[serde(serialize_with = "values")]
    pub examples: Vec<Value>,
}

impl Fields {
    /// Of no sample yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at one sample. Memory is bounded by 10,000 different fields; others are only [counted](Self::dropped).
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) when a payload is damaged.
    pub fn add(&mut self, sample: &Sample) -> Result<()> {
        self.samples += 1;
        let mut within = Vec::new();
        self.add_map(Field::of_data, &mut within, &sample.data().to_map()?);
        let map = sample.measurements().to_map()?;
        self.add_map(Field::of_measurements, &mut within, &map);
        Ok(())
    }

    /// How many samples were looked at.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// How many values were left out, since they are of fields beyond the first 10,000.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What is known of a field.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&FieldSummary> {
        self.fields.get(path)
    }

    /// All fields by their paths, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldSummary)> {
        self.fields
            .iter()
            .map(|(path, field)| (path.as_str(), field))
    }

    // Maps nest no deeper than 64.
    fn add_map(&mut self, field: fn(&[String]) -> Field, within: &mut Vec<String>, map: &Map) {
        for (name, value) in map {
            within.push(name.clone());
            let path = field(within).to_string();
            let is_full = self.fields.len() >= FIELDS_MAX;
            match self.fields.get_mut(&path) {
                Some(field) => field.add(value),
                None if !is_full => {
                    let mut field = FieldSummary::default();
                    field.add(value);
                    self.fields.insert(path, field);
                }
                None => self.dropped += 1,
            }
            if let Value::Map(map) = value {
                self.add_map(field, within, map);
            }
            within.pop();
        }
    }
}

impl FieldSummary {
    fn add(&mut self, value: &Value) {
        self.count += 1;
        *self.types.entry(type_of(value)).or_default() += 1;
        let value = match value {
            Value::String(text) => Value::String(cut(text).to_owned()),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => value.clone(),
            _ => return,
        };
        if self.examples.len() < EXAMPLES_MAX && !self.examples.contains(&value) {
            self.examples.push(value.clone());
        }
        if matches!(value, Value::Float(number) if number.is_nan()) {
            return;
        }
        if self.min.as_ref().is_none_or(|min| value < *min) {
            self.min = Some(value.clone());
        }
        if self.max.as_ref().is_none_or(|max| value > *max) {
            self.max = Some(value);
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) => "integer",
        Value::Float(_) => "float",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Map(_) => "map",
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn json(value: &Value) -> Json {
    let map = Map::from([(String::new(), value.clone())]);
    match map_to_json(&map) {
        Json::Object(mut object) => object.remove("").unwrap_or_default(),
        other => other,
    }
}

fn value<S: Serializer>(
    value: &Option<Value>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    value.as_ref().map(json).serialize(serializer)
}

fn values<S: Serializer>(values: &[Value], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;

    #[test]
    fn types_bounds_and_examples_of_each_field_are_told() {
        let mut fields = Fields::new();
        let long = "é".repeat(40);
        for map in [
            data! { "n" => 3, "word" => "b", "of" => data! { "city" => "NYC" } },
            data! { "n" => 1.5, "word" => long.as_str() },
            data! { "n" => f64::NAN, "word" => Value::Null },
            data! { "n" => -7, "word" => "b" },
        ] {
            fields
                .add(
                    &Sample::builder("x")
                        .data(map)
                        .measurement("m", true)
                        .build()
                        .unwrap(),
                )
                .unwrap();
        }
        let n = fields.get("data.n").unwrap();
        assert_eq!(n.count, 4);
        assert_eq!(n.types, BTreeMap::from([("integer", 2), ("float", 2)]));
        assert_eq!(
            (n.min.clone(), n.max.clone()),
            (Some(Value::from(-7)), Some(Value::from(3)))
        );
        assert_eq!(n.examples.len(), 3);
        let word = fields.get("data.word").unwrap();
        assert_eq!(word.types, BTreeMap::from([("null", 1), ("string", 3)]));
        assert_eq!(word.max, Some(Value::from("é".repeat(32).as_str())));
        let paths: Vec<_> = fields.iter().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "data.n",
                "data.of",
                "data.of.city",
                "data.word",
                "measurements.m"
            ]
        );
        let json = serde_json::to_value(n).unwrap();
        assert_eq!(
            json["examples"],
            serde_json::json!([3, 1.5, {"$numberDouble": "NaN"}])
        );
        assert_eq!((fields.samples(), fields.dropped()), (4, 0));
    }

    #[test]
    fn names_are_those_that_conditions_take() {
        let mut fields = Fields::new();
        let map = data! {
            "a.b" => 1, "a" => data! { "b" => 2, "wind speed" => 3 }, "0" => 4, "x\"y" => 5, "" => 6,
        };
        let sample = Sample::builder("x").data(map).build().unwrap();
        fields.add(&sample).unwrap();
        assert_eq!(fields.get("data.a.b").unwrap().count, 1);
        assert_eq!(fields.get("data.\"a.b\"").unwrap().count, 1);
        assert_eq!(fields.iter().count(), 7);
        for (path, summary) in fields.iter() {
            let field: Field = path.parse().unwrap();
            let value = field.of(&sample).unwrap().unwrap();
            assert!(
                value.as_map().is_some() || summary.min == Some(value),
                "{path}"
            );
        }
    }

    #[test]
    fn fields_are_bounded() {
        let mut fields = Fields::new();
        let map: Map = (0..FIELDS_MAX + 5)
            .map(|n| (format!("{n:06}"), Value::Null))
            .collect();
        fields
            .add(&Sample::builder("x").data(map).build().unwrap())
            .unwrap();
        assert_eq!((fields.iter().count(), fields.dropped()), (FIELDS_MAX, 5));
    }
}
