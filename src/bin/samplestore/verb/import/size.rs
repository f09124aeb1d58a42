//! [`check_size`] and [`go_through`], which hold nothing of what they look at: a record of which no sample can be made, since it would be too large, is rejected before what it says is held.
//!
//! A text of a few MiB may have so many values that they take a hundred times as much when it is read: a map of one name takes seven
//! bytes of text and hundreds in memory. So the text of a long record is gone through first, and counted is what a sample of it
//! takes at least: a value that is none of the rest a byte, a text its bytes and one more, as MessagePack has them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::input::Record;

/// A shorter text takes little memory, whatever it says.
pub(super) const SHORT_BYTES: usize = 1 << 20;
/// What a record may say beside what is encoded: names of fields, and instants as texts.
const BESIDE_BYTES: u64 = 4 << 10;
/// The encoding of a float.
const FLOAT_BYTES: u64 = 9;

/// Refuses a record of which no sample can be made that is no larger than this.
pub(super) fn check_size(record: Record<'_>, sample_bytes_max: usize) -> Result<(), String> {
    let bytes = match record {
        Record::Json(text) if text.len() > SHORT_BYTES => encoded_bytes_min(text),
        // Cells may be lists and maps.
        Record::Row(row) if row.as_slice().len() > SHORT_BYTES => {
            Some(row.iter().map(cell_bytes_min).sum())
        }
        _ => None,
    };
    match bytes {
        Some(bytes) if bytes > sample_bytes_max as u64 + BESIDE_BYTES => Err(format!(
            "the sample is {bytes} bytes or more; at most {sample_bytes_max} are allowed"
        )),
        _ => Ok(()),
    }
}

/// What a cell takes that is read as JSON if it is any.
fn cell_bytes_min(cell: &[u8]) -> u64 {
    let is_nested = cell.starts_with(b"[") || cell.starts_with(b"{");
    let nested = is_nested.then(|| encoded_bytes_min(cell)).flatten();
    nested.unwrap_or(cell.len() as u64)
}

/// Goes through a JSON text and holds nothing of it.
///
/// # Errors
/// Whatever it is that keeps it from being read.
pub(super) fn go_through(text: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice(text).map(|_: Size| ())
}

/// What bytes take of which so many characters are the text: three in four of these, but for two of padding, behind a head of two.
fn binary_bytes_min(chars: u64) -> u64 {
    2 + (chars / 4 * 3).saturating_sub(2)
}

/// How many bytes a JSON text takes at least when it is encoded; none for what is no JSON.
fn encoded_bytes_min(text: &[u8]) -> Option<u64> {
    let size: serde_json::Result<Size> = serde_json::from_slice(text);
    size.ok().map(|size| size.bytes)
}

/// What one value takes.
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: u64,
    /// How long its text is, if it is one.
    text: Option<u64>,
    /// How long the text of its field `base64` is, if it is a map and has one.
    base64: Option<u64>,
}

impl Size {
    fn of(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl<'de> Visitor<'de> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Size, E> {
        Ok(Size::of(1))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Size, E> {
        Ok(Size::of(1))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Size, E> {
        Ok(Size::of(1))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Size, E> {
        Ok(Size::of(1))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Size, E> {
        Ok(Size::of(FLOAT_BYTES))
    }

    fn visit_str<E>(self, text: &str) -> Result<Size, E> {
        let bytes = text.len() as u64;
        Ok(Size {
            text: Some(bytes),
            ..Size::of(1 + bytes)
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Size, A::Error> {
        let mut bytes = 1;
        while let Some(value) = list.next_element::<Size>()? {
            bytes += value.bytes;
        }
        Ok(Size::of(bytes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Size, A::Error> {
        let (mut size, mut count, mut extended) = (Size::of(1), 0, None);
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            let value: Size = map.next_value()?;
            count += 1;
            size.bytes += 1 + name.len() as u64 + value.bytes;
            match &*name {
                "base64" => size.base64 = value.text,
                "$binary" => extended = value.base64.map(binary_bytes_min),
                "$numberDouble" => extended = value.text.map(|_| FLOAT_BYTES),
                // One behind more of these loses one.
                name if name.starts_with('$') => extended = Some(size.bytes - 1),
                _ => {}
            }
        }
        if let (1, Some(bytes)) = (count, extended) {
            size.bytes = bytes;
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use csv::ByteRecord;
    use proptest::prelude::*;
    use samplestore::{Sample, Value, data};

    use super::*;

    #[test]
    fn nothing_is_refused_that_a_sample_has_room_for() {
        let map = |name: &str, value: Value| Value::Map([(name.to_owned(), value)].into());
        for value in [
            Value::Null,
            true.into(),
            7.into(),
            i64::MIN.into(),
            1.5.into(),
            f64::NAN.into(),
            f64::NEG_INFINITY.into(),
            "".into(),
            "\u{1}é\"".repeat(100).into(),
            Value::Bytes(Vec::new()),
            Value::Bytes(vec![1]),
            Value::Bytes(vec![1; 2]),
            Value::Bytes(vec![1; 1_000]),
            Vec::<Value>::new().into(),
            Value::Map([].into()),
            map("", Value::Null),
            map("base64", "".into()),
            map("$binary", Value::Null),
            map("$binary", map("base64", "AAAA".into())),
            map("$$binary", "x".into()),
            map("$numberDouble", "x".into()),
            map("$x", 1.into()),
        ] {
            let sample = Sample::builder("p").id("a");
            let sample = sample.data(data! { "x" => vec![value.clone(); 20_000] });
            let sample = sample.build().unwrap();
            let text = sample.to_json_text().unwrap();
            let counted = encoded_bytes_min(text.as_bytes()).unwrap();
            let encoded = sample.encoded_len() as u64;
            assert!(
                counted <= encoded + BESIDE_BYTES,
                "{value:?}: {counted} {encoded}"
            );
            // And most of it is seen, but for whole numbers.
            if value != Value::from(i64::MIN) {
                assert!(counted > encoded * 7 / 10, "{value:?}: {counted} {encoded}");
            }
            let check = |record| check_size(record, sample.encoded_len());
            assert_eq!(check(Record::Json(text.as_bytes())), Ok(()), "{value:?}");
            let list =
                serde_json::from_str::<serde_json::Value>(&text).unwrap()["data"]["x"].to_string();
            let row = ByteRecord::from(vec!["a", "p", &list]);
            assert_eq!(check(Record::Row(&row)), Ok(()), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn json_of_any_kind_has_a_size_or_is_none(text in "[\\[\\]{}\":,$a-z0-9.e+-]{0,40}") {
            let size = encoded_bytes_min(text.as_bytes());
            let json: Result<serde_json::Value, _> = serde_json::from_str(&text);
            prop_assert_eq!(size.is_some(), json.is_ok());
            prop_assert!(size.unwrap_or(0) <= 9 * text.len() as u64);
        }
    }

    #[test]
    fn what_has_no_room_is_refused_as_soon_as_it_is_long() {
        let list = format!("[{}0]", "{\"\":0},".repeat(1 << 20));
        let text = format!("{{\"id\":\"a\",\"data\":{{\"x\":{list}}}}}");
        let row = ByteRecord::from(vec!["a", &list]);
        for record in [Record::Json(text.as_bytes()), Record::Row(&row)] {
            let refused = check_size(record, 3_000_000).unwrap_err();
            assert!(
                refused.contains("bytes or more; at most 3000000"),
                "{refused}"
            );
            assert_eq!(check_size(record, 4 << 20), Ok(()));
        }
        // What cannot be read is told by whoever reads it.
        let broken = &text[..text.len() - 1];
        assert_eq!(check_size(Record::Json(broken.as_bytes()), 1), Ok(()));
    }
}
