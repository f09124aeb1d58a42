//! Payloads and reasons as `jsonb`: the JSON text form, and what of it `jsonb` would not give back.
//!
//! | in the text form | what `jsonb` does | so it is written as |
//! |---|---|---|
//! | NUL in a string or key | refuses it | escaped, see `text.rs` |
//! | `-0.0` | drops the sign | `{"$numberDouble": "-0.0"}` |
//! | a whole float of 1e15 and more, up to 2⁶⁴ | drops the exponent, so that it looks like a whole number | `{"$numberDouble": "1e+16"}` |
//!
//! All else survives: `numeric` keeps the `.0` of small floats and every digit of the others; the order of
//! keys means nothing, and no map has a key twice. The readers of the text form know `$numberDouble`.

use std::error::Error as StdError;

use bytes::BytesMut;
use serde_json::{Map as JsonMap, Number, Value as Json, json};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::text::{escape, unescape};
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;
use crate::sample::{self, Reason};
use crate::value;

/// The version of the wire format of `jsonb`, its first byte.
const WIRE_VERSION: u8 = 1;
/// From here on a float may be written without `.0`.
const WHOLE_MIN: f64 = 1e15;
/// Larger whole numbers than this become floats when they are read.
const WHOLE_MAX: f64 = 18_446_744_073_709_551_616.0;

/// The text of a `jsonb`, as it goes over the wire.
#[derive(Debug)]
pub(super) struct JsonText(String);

impl JsonText {
    pub(super) fn of_payload(payload: &Payload) -> Result<Self> {
        if payload.is_empty() {
            return Ok(Self("{}".to_owned()));
        }
        let json = value::map_to_json(&payload.to_map()?);
        Ok(Self(adapt(json).to_string()))
    }

    pub(super) fn of_reason(reason: &Reason) -> Self {
        Self(adapt(sample::reason_to_json(reason)).to_string())
    }

    pub(super) fn to_payload(&self, field: &'static str) -> Result<Payload> {
        if self.0 == "{}" {
            return Ok(Payload::default());
        }
        let map = value::map_from_json(field, self.object()?)?;
        Payload::encode(field, &map)
    }

    pub(super) fn to_reason(&self) -> Result<Reason> {
        sample::reason_from_json(self.object()?)
    }

    /// Bytes of text.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn object(&self) -> Result<JsonMap<String, Json>> {
        match restore(value::parse_json(&self.0)?) {
            Json::Object(object) => Ok(object),
            _ => {
                Err(Error::new(ErrorKind::Decode, "read a row")
                    .with_message("its JSON is no object"))
            }
        }
    }
}

/// Makes what `jsonb` keeps of a text form.
fn adapt(json: Json) -> Json {
    match json {
        Json::Number(number) if is_changed(&number) => {
            json!({ "$numberDouble": number.to_string() })
        }
        Json::String(text) => escape(&text).into(),
        Json::Array(values) => values.into_iter().map(adapt).collect(),
        Json::Object(entries) => {
            let entries = entries.into_iter();
            let adapted = entries.map(|(key, value)| (escape(&key).into_owned(), adapt(value)));
            Json::Object(adapted.collect())
        }
        other => other,
    }
}

/// Undoes the escapes of [`adapt`]; what it did to numbers the text form's own reader undoes.
fn restore(json: Json) -> Json {
    match json {
        Json::String(text) => unescape(&text).into(),
        Json::Array(values) => values.into_iter().map(restore).collect(),
        Json::Object(entries) => {
            let entries = entries.into_iter();
            let restored =
                entries.map(|(key, value)| (unescape(&key).into_owned(), restore(value)));
            Json::Object(restored.collect())
        }
        other => other,
    }
}

/// Whether a float would be another value once `jsonb` had it.
fn is_changed(number: &Number) -> bool {
    let float = match number.as_f64() {
        Some(float) if number.is_f64() => float,
        _ => return false,
    };
    let is_whole = float.fract() == 0.0;
    let is_negative_zero = float == 0.0 && float.is_sign_negative();
    is_negative_zero || (is_whole && (WHOLE_MIN..=WHOLE_MAX).contains(&float.abs()))
}

impl ToSql for JsonText {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&[WIRE_VERSION]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for JsonText {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        match raw.split_first() {
            Some((&WIRE_VERSION, text)) => Ok(Self(std::str::from_utf8(text)?.to_owned())),
            _ => Err("jsonb of an unknown wire format".into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data;
    use crate::value::Value;
    use crate::value::tests::maps;

    proptest! {
        #[test]
        fn every_payload_comes_back(map in maps()) {
            let payload = Payload::from_map(&map).unwrap();
            let text = JsonText::of_payload(&payload).unwrap();
            prop_assert!(!text.0.contains("\\u0000"));
            prop_assert_eq!(text.to_payload("data").unwrap(), payload);
        }
    }

    #[test]
    fn only_what_would_change_is_written_in_another_way() {
        let text = |value: Value| {
            let payload = Payload::from_map(&data! { "v" => value }).unwrap();
            JsonText::of_payload(&payload).unwrap().0
        };
        for (value, written) in [
            (Value::from(1.0), r#"{"v":1.0}"#),
            (Value::from(u64::MAX), r#"{"v":18446744073709551615}"#),
            (Value::from(0.1), r#"{"v":0.1}"#),
            (Value::from(1e-7), r#"{"v":1e-7}"#),
            (Value::from(1e300), r#"{"v":1e+300}"#),
            (Value::from(-0.0), r#"{"v":{"$numberDouble":"-0.0"}}"#),
            (Value::from(-1e16), r#"{"v":{"$numberDouble":"-1e+16"}}"#),
            (Value::from("a\0"), "{\"v\":\"a\\u001a0\"}"),
        ] {
            assert_eq!(text(value), written);
        }
    }
}
