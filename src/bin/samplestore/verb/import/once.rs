//! [`parse_once`]: JSON in which no map has a name twice.
//!
//! Of two values of one name a reader keeps the last, and the other one would be lost without a word. A long text is gone through first,
//! so that none is held of which the end is no JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map as JsonMap, Value as Json};

use super::size::{SHORT_BYTES, go_through};

/// Reads JSON. An error about a name that is given twice is one of data, any other one of syntax.
pub(crate) fn parse_once(text: &str) -> serde_json::Result<Json> {
    if text.len() > SHORT_BYTES {
        go_through(text.as_bytes())?;
    }
    serde_json::from_str(text).map(|Once(json)| json)
}

struct Once(Json);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Once(Json::Null))
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self(Json::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        let mut values = Vec::new();
        while let Some(Self(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Self(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut fields = JsonMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format!("{name:?} is given twice")));
            }
            let Self(value) = map.next_value()?;
            fields.insert(name, value);
        }
        Ok(Self(fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_any_reader_reads() {
        for text in [
            r#"{"a":[null,true,-0.0,-1,18446744073709551615,1e300,"\u00e9\n",{"a":{}}],"b":""}"#,
            "0.1",
            "[]",
        ] {
            let read: Json = serde_json::from_str(text).unwrap();
            assert_eq!(parse_once(text).unwrap(), read);
        }
        for (text, is_data) in [
            (r#"{"a":1,"a":1}"#, true),
            (r#"[{"b":{"a":1,"c":2,"\u0061":1}}]"#, true),
            ("{\"a\":1", false),
            (&"[".repeat(100_000), false),
        ] {
            assert_eq!(parse_once(text).unwrap_err().is_data(), is_data, "{text}");
        }
    }
}
