//! [`Shape`]: which fields of samples a JSON record has, and of which kinds. Of a record that is only looked at nothing else is held.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map as JsonMap, Value as Json};

use crate::output::{CSV_FIXED, CSV_GROUPS};

/// The fields of a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    known: BTreeMap<&'static str, Kind>,
    /// Whether there are others than those of samples.
    has_others: bool,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Text,
    Map,
    Other,
}

impl Shape {
    /// Of a record that is read already.
    pub(super) fn of(record: &JsonMap<String, Json>) -> Self {
        let mut shape = Self::default();
        for (name, value) in record {
            let kind = match value {
                Json::Null => Kind::Null,
                Json::String(_) => Kind::Text,
                Json::Object(_) => Kind::Map,
                _ => Kind::Other,
            };
            shape.add(name, kind);
        }
        shape
    }

    fn add(&mut self, name: &str, kind: Kind) {
        let mut known = CSV_FIXED.into_iter().chain(CSV_GROUPS);
        match known.find(|known| *known == name) {
            Some(name) => _ = self.known.insert(name, kind),
            None => self.has_others = true,
        }
    }

    /// Whether it has no such field, of those of samples, or null.
    pub(super) fn is_absent(&self, name: &str) -> bool {
        matches!(self.known.get(name), None | Some(Kind::Null))
    }

    /// Whether it is a sample in its text form: it has the fields of one and no other.
    pub(super) fn is_text_form(&self) -> bool {
        let is_text = |name: &str| self.known.get(name) == Some(&Kind::Text);
        let is_map = |name: &str| self.is_absent(name) || self.known.get(name) == Some(&Kind::Map);
        is_text("id")
            && is_text("pipeline")
            && CSV_GROUPS.into_iter().all(is_map)
            && !self.has_others
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut shape = Shape::default();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            let kind = map.next_value()?;
            shape.add(&name, kind);
        }
        Ok(shape)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Kind::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Kind::Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_at_is_what_is_read() {
        for (text, is_text_form) in [
            (r#"{"id":"a","pipeline":"p"}"#, true),
            (
                r#"{"id":"a","pipeline":"p","data":{"x":[1,{}]},"reason":null}"#,
                true,
            ),
            (r#"{"id":"a","pipeline":"p","data":[]}"#, false),
            (r#"{"id":"a","pipeline":"p","x":1}"#, false),
            (
                r#"{"id":1,"pipeline":"p","status":true,"created_at":1.5}"#,
                false,
            ),
            (r#"{"id":null,"pipeline":"p","measured_at":-1}"#, false),
            ("{}", false),
        ] {
            let shape: Shape = serde_json::from_str(text).unwrap();
            assert_eq!(shape.is_text_form(), is_text_form, "{text}");
            let record: JsonMap<String, Json> = serde_json::from_str(text).unwrap();
            assert_eq!(shape, Shape::of(&record), "{text}");
        }
        assert!(serde_json::from_str::<Shape>("[]").is_err());
    }
}
