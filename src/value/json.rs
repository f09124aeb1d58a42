//! The JSON text form of values (rule M7): plain JSON, and MongoDB Extended JSON v2 for what JSON has
//! no words for.
//!
//! | value | text form |
//! |---|---|
//! | bytes | `{"$binary": {"base64": "AAEC", "subType": "00"}}` |
//! | NaN, infinities | `{"$numberDouble": "NaN"}`, `"Infinity"`, `"-Infinity"` |
//! | a map whose one key is `$binary` or `$numberDouble`, or one of these behind more `$` | the same with one more `$` before the key |
//!
//! Everything else is itself, so most samples read as the JSON that people expect. A whole number
//! beyond `u64::MAX` or below `i64::MIN` in a text becomes the nearest float, as in most readers of JSON.
//! Source: <https://github.com/mongodb/specifications/blob/master/source/extended-json.md>; the
//! escape is our own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map as JsonMap, Value as Json, json};

use super::{DEPTH_MAX, Map, Value};
use crate::error::{Error, ErrorKind, Limit, Result};

const BINARY: &str = "$binary";
const DOUBLE: &str = "$numberDouble";

/// The text form of a payload.
pub(crate) fn map_to_json(map: &Map) -> Json {
    // The outermost map is a payload and never one value, so its keys need no escape.
    let entries = map.iter().map(|(key, value)| (key.clone(), to_json(value)));
    Json::Object(entries.collect())
}

/// Reads the text form of a payload, the field of this name.
pub(crate) fn map_from_json(field: &'static str, object: JsonMap<String, Json>) -> Result<Map> {
    map_at(field, object, 1)
}

/// Reads JSON text. Nesting deeper than the reader's limit of 128, twice what a sample may have, is an
/// error, so hostile text cannot exhaust the stack.
pub(crate) fn parse_json(text: &str) -> Result<Json> {
    serde_json::from_str(text).map_err(|cause| malformed("it is no JSON").with_cause(cause))
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => match (value.as_u64(), value.as_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => value.to_f64().into(),
        },
        Value::Float(value) if value.is_finite() => (*value).into(),
        Value::Float(value) => {
            let word = match (value.is_nan(), *value > 0.0) {
                (true, _) => "NaN",
                (false, true) => "Infinity",
                (false, false) => "-Infinity",
            };
            json!({ DOUBLE: word })
        }
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) => {
            json!({ BINARY: { "base64": BASE64.encode(value), "subType": "00" } })
        }
        Value::List(values) => values.iter().map(to_json).collect(),
        Value::Map(map) => {
            let is_single = map.len() == 1;
            let entries = map.iter().map(|(key, value)| {
                let escape = if is_single && is_reserved(key) {
                    "$"
                } else {
                    ""
                };
                (format!("{escape}{key}"), to_json(value))
            });
            Json::Object(entries.collect())
        }
    }
}

/// Whether a map of this one key could be taken for an extended value or for an escaped map.
fn is_reserved(key: &str) -> bool {
    let word = key.trim_start_matches('$');
    key.starts_with('$') && (word == &BINARY[1..] || word == &DOUBLE[1..])
}

fn value_at(field: &'static str, json: Json, depth: usize) -> Result<Value> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => value.into(),
        Json::Number(number) => {
            if let Some(number) = number.as_u64() {
                number.into()
            } else if let Some(number) = number.as_i64() {
                number.into()
            } else {
                number.as_f64().into()
            }
        }
        Json::String(value) => value.into(),
        Json::Array(values) => {
            check_depth(field, depth)?;
            let values = values
                .into_iter()
                .map(|value| value_at(field, value, depth + 1));
            Value::List(values.collect::<Result<_>>()?)
        }
        Json::Object(mut object) => {
            let reserved = match object.len() {
                1 => object.keys().next().filter(|key| is_reserved(key)).cloned(),
                _ => None,
            };
            let Some(key) = reserved else {
                return Ok(Value::Map(map_at(field, object, depth)?));
            };
            let inner = object.remove(&key).unwrap_or_default();
            match key.as_str() {
                BINARY => Value::Bytes(read_binary(&inner)?),
                DOUBLE => Value::Float(read_double(&inner)?),
                escaped => {
                    check_depth(field, depth)?;
                    let value = value_at(field, inner, depth + 1)?;
                    Value::Map(Map::from([(escaped[1..].to_owned(), value)]))
                }
            }
        }
    })
}

fn map_at(field: &'static str, object: JsonMap<String, Json>, depth: usize) -> Result<Map> {
    check_depth(field, depth)?;
    object
        .into_iter()
        .map(|(key, value)| Ok((key, value_at(field, value, depth + 1)?)))
        .collect()
}

fn check_depth(field: &'static str, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid_sample(Limit::Depth { field }));
    }
    Ok(())
}

fn read_binary(json: &Json) -> Result<Vec<u8>> {
    let text = match json {
        Json::Object(object) if object.keys().all(|key| key == "base64" || key == "subType") => {
            object.get("base64").and_then(Json::as_str)
        }
        _ => None,
    };
    let text = text.ok_or_else(|| malformed("$binary has no text in its field \"base64\""))?;
    BASE64
        .decode(text)
        .map_err(|cause| malformed("$binary is no base64").with_cause(cause))
}

fn read_double(json: &Json) -> Result<f64> {
    match json.as_str() {
        Some("NaN") => Ok(f64::NAN),
        Some("Infinity") => Ok(f64::INFINITY),
        Some("-Infinity") => Ok(f64::NEG_INFINITY),
        Some(text) => text.parse().map_err(|cause| {
            malformed(format!("$numberDouble {text:?} is no number")).with_cause(cause)
        }),
        None => Err(malformed("$numberDouble is no text")),
    }
}

fn malformed(message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Decode, "read JSON").with_message(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::maps;
    use super::*;

    fn read(text: &str) -> Result<Map> {
        match parse_json(text)? {
            Json::Object(object) => map_from_json("data", object),
            _ => unreachable!("the tests give objects"),
        }
    }

    proptest! {
        #[test]
        fn every_map_comes_back_from_its_text(map in maps()) {
            let text = map_to_json(&map).to_string();
            prop_assert_eq!(read(&text).unwrap(), map);
        }

        #[test]
        fn every_json_text_is_kept_or_refused(text in "[\\[\\]{}\":,$a-z0-9.e+-]{0,40}") {
            if let Ok(Json::Object(object)) = parse_json(&text)
                && let Ok(map) = map_from_json("data", object)
            {
                prop_assert_eq!(read(&map_to_json(&map).to_string()).unwrap(), map);
            }
        }
    }

    #[test]
    fn what_json_has_no_words_for_is_extended_json() {
        let map = Map::from([
            ("bytes".to_owned(), Value::from(vec![0_u8, 1, 2])),
            ("nan".to_owned(), Value::from(f64::NAN)),
            ("low".to_owned(), Value::from(f64::NEG_INFINITY)),
            (
                "odd".to_owned(),
                Value::Map(Map::from([("$binary".to_owned(), Value::Null)])),
            ),
            ("zero".to_owned(), Value::from(-0.0)),
        ]);
        let json = map_to_json(&map);
        assert_eq!(
            json,
            json!({
                "bytes": {"$binary": {"base64": "AAEC", "subType": "00"}},
                "nan": {"$numberDouble": "NaN"},
                "low": {"$numberDouble": "-Infinity"},
                "odd": {"$$binary": null},
                "zero": -0.0,
            })
        );
        assert_eq!(read(&json.to_string()).unwrap(), map);
        for text in [
            r#"{"a": {"$binary": 5}}"#,
            r#"{"a": {"$numberDouble": "x"}}"#,
        ] {
            assert_eq!(read(text).unwrap_err().kind(), ErrorKind::Decode, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |lists: usize| format!("{{\"a\": {}{}}}", "[".repeat(lists), "]".repeat(lists));
        assert!(read(&nested(63)).is_ok());
        let error = read(&nested(64)).unwrap_err();
        assert_eq!(error.limit(), Some(&Limit::Depth { field: "data" }));
        assert_eq!(
            read(&nested(100_000)).unwrap_err().kind(),
            ErrorKind::Decode
        );
    }
}
