//! The JSON text form of a sample (rule M7), as files, streams and the command line have it.
//!
//! One object: `id`, `pipeline`, `status`, `created_at`, then `measured_at`, `data`, `measurements`
//! and `reason` where there is something to say. Instants are RFC 3339 in UTC; payload values are
//! written as `value/json.rs` says.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map as JsonMap, Value as Json};

use super::{Reason, Sample};
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::instant;
use crate::payload::Payload;
use crate::value;

/// The fields, in the order in which they are written.
const FIELDS: [&str; 8] = [
    "id",
    "pipeline",
    "status",
    "created_at",
    "measured_at",
    "data",
    "measurements",
    "reason",
];

impl Sample {
    /// The JSON text form: what [`Sample::from_json`] reads back to an equal sample.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) when a payload is damaged.
    pub fn to_json(&self) -> Result<Json> {
        Ok(Json::Object(self.json_fields()?.collect()))
    }

    /// The fields of the text form that say something, in the order in which they are written.
    fn json_fields(&self) -> Result<impl Iterator<Item = (String, Json)>> {
        let payload = |payload: &Payload| {
            if payload.is_empty() {
                return Ok(None);
            }
            let map = payload
                .to_map()
                .map_err(|error| error.with_sample_id(self.id()))?;
            Ok(Some(value::map_to_json(&map)))
        };
        let fields = [
            Some(self.id().into()),
            Some(self.pipeline().into()),
            Some(self.status().as_str().into()),
            Some(instant::to_text(self.created_at()).into()),
            self.measured_at().map(|at| instant::to_text(at).into()),
            payload(self.data())?,
            payload(self.measurements())?,
            self.reason().map(reason_to_json),
        ];
        let named = FIELDS.into_iter().zip(fields);
        Ok(named.filter_map(|(name, field)| Some((name.to_owned(), field?))))
    }

    /// Reads the JSON text form.
    ///
    /// `id` and `pipeline` must be there; the other fields have the defaults of
    /// [`Sample::builder`]. `null` stands for an absent field.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) for what is not of this form, an unknown field among them, and
    /// [`InvalidSample`](ErrorKind::InvalidSample) for a limit that is broken.
    pub fn from_json(json: Json) -> Result<Self> {
        let Json::Object(mut object) = json else {
            return Err(malformed(format!(
                "expected an object, found {}",
                json_type(&json)
            )));
        };
        object.retain(|_, value| !value.is_null());
        if let Some(unknown) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            let hint = crate::query::nearest(unknown, FIELDS)
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            return Err(malformed(format!("unknown field {unknown:?}{hint}")));
        }
        let id = required_text(&mut object, "id")?;
        let named = |error: Error| error.with_sample_id(id.clone());
        let mut builder =
            Self::builder(required_text(&mut object, "pipeline").map_err(named)?).id(id.clone());
        if let Some(word) = text(&mut object, "status").map_err(named)? {
            builder = builder.status(word.parse().map_err(named)?);
        }
        if let Some(at) = instant_field(&mut object, "created_at").map_err(named)? {
            builder = builder.created_at(at);
        }
        if let Some(at) = instant_field(&mut object, "measured_at").map_err(named)? {
            builder = builder.measured_at(at);
        }
        if let Some(payload) = payload(&mut object, "data").map_err(named)? {
            builder = builder.data_payload(payload);
        }
        if let Some(payload) = payload(&mut object, "measurements").map_err(named)? {
            builder = builder.measurements_payload(payload);
        }
        match object.remove("reason") {
            None => {}
            Some(Json::Object(reason)) => {
                builder = builder.reason(reason_from_json(reason).map_err(named)?);
            }
            Some(other) => {
                let found = json_type(&other);
                return Err(named(malformed(format!(
                    "reason must be an object, not {found}"
                ))));
            }
        }
        builder.build()
    }

    /// The JSON text form on one line, without a line end, its fields in the order that this page has.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) when a payload is damaged.
    pub fn to_json_text(&self) -> Result<String> {
        let mut text = String::with_capacity(2 * self.encoded_len());
        for (name, field) in self.json_fields()? {
            let before = if text.is_empty() { '{' } else { ',' };
            // Both texts are JSON of their own: a name is a plain word.
            write!(text, "{before}\"{name}\":{field}").map_err(malformed)?;
        }
        text.push('}');
        Ok(text)
    }

    /// Reads one sample from its JSON text form. Nesting is bounded, so hostile text is an error.
    ///
    /// # Errors
    /// As [`Sample::from_json`]; text that is no JSON is a [`Decode`](ErrorKind::Decode) error.
    pub fn from_json_text(text: &str) -> Result<Self> {
        Self::from_json(value::parse_json(text)?)
    }
}

impl Serialize for Sample {
    /// As the JSON text form, in any format.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let fields = self.json_fields().map_err(serde::ser::Error::custom)?;
        serializer.collect_map(fields)
    }
}

impl<'de> Deserialize<'de> for Sample {
    /// From the JSON text form, in any format that describes itself.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        Self::from_json(json).map_err(|error| {
            let causes =
                std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
            let chain: Vec<String> = causes.map(ToString::to_string).collect();
            serde::de::Error::custom(chain.join(": "))
        })
    }
}

/// The text form of a reason.
pub(crate) fn reason_to_json(reason: &Reason) -> Json {
    let mut inner = JsonMap::new();
    inner.insert("stage".into(), reason.stage().into());
    inner.insert("message".into(), reason.message().into());
    inner.insert("attempts".into(), reason.attempts().into());
    inner.insert("at".into(), instant::to_text(reason.at()).into());
    inner.into()
}

/// Reads the text form of a reason.
pub(crate) fn reason_from_json(mut object: JsonMap<String, Json>) -> Result<Reason> {
    let stage = required_text(&mut object, "stage")?;
    let message = required_text(&mut object, "message")?;
    let attempts = object
        .remove("attempts")
        .and_then(|attempts| attempts.as_u64())
        .and_then(|attempts| u32::try_from(attempts).ok())
        .ok_or_else(|| malformed("reason.attempts must be a whole number below 2^32"))?;
    let at = instant_field(&mut object, "at")?
        .ok_or_else(|| malformed("reason has no instant in its field \"at\""))?;
    match object.keys().next() {
        Some(unknown) => Err(malformed(format!("unknown field {unknown:?} in reason"))),
        None => Ok(Reason::new(stage, message, attempts, at)),
    }
}

fn payload(object: &mut JsonMap<String, Json>, field: &'static str) -> Result<Option<Payload>> {
    let Some(json) = object.remove(field) else {
        return Ok(None);
    };
    match json {
        Json::Object(map) => {
            let map = value::map_from_json(field, map)?;
            Payload::encode(field, &map).map(Some)
        }
        other => {
            let found = json_type(&other);
            Err(Error::invalid_sample(Limit::NotAMap { field, found }))
        }
    }
}

fn instant_field(
    object: &mut JsonMap<String, Json>,
    field: &'static str,
) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
    text(object, field)?
        .map(|text| {
            instant::from_text(&text).map_err(|cause| {
                malformed(format!("{field} {text:?} is no RFC 3339 instant")).with_cause(cause)
            })
        })
        .transpose()
}

fn required_text(object: &mut JsonMap<String, Json>, field: &'static str) -> Result<String> {
    text(object, field)?.ok_or_else(|| malformed(format!("there is no field {field:?}")))
}

fn text(object: &mut JsonMap<String, Json>, field: &'static str) -> Result<Option<String>> {
    match object.remove(field) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(other) => {
            let found = json_type(&other);
            Err(malformed(format!("{field} must be a string, not {found}")))
        }
    }
}

fn json_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a bool",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

fn malformed(message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Decode, "read a sample from JSON").with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Status, data};

    #[test]
    fn serde_has_the_text_form_with_its_fields_in_order() {
        let sample = Sample::builder("weather")
            .id("JFK")
            .status(Status::Dlq)
            .data(data! { "nan" => f64::NAN })
            .reason(Reason::new("parse", "no", 1, instant::now()))
            .build()
            .unwrap();
        let text = serde_json::to_string(&sample).unwrap();
        assert_eq!(text, sample.to_json_text().unwrap());
        assert!(
            text.starts_with(r#"{"id":"JFK","pipeline":"weather","status":"dlq""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
        let error = serde_json::from_str::<Sample>(r#"{"id":"a","pipeline":""}"#).unwrap_err();
        assert!(error.to_string().contains("1 to 255"), "{error}");
    }
}
