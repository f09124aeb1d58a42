//! [`Payload`]: the `data` or the `measurements` of a sample, kept encoded until someone looks.
//!
//! A payload is one MessagePack map with string keys. It is checked once, when it is made (only values
//! of the model, no key twice in a map, nesting of at most 64), so that storing and listing copy bytes and reading goes
//! straight into the caller's type. Finding one field without decoding the others is
//! `payload/wire.rs`. MessagePack: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

mod decoder;
mod wire;

use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Limit, Result};
use crate::slice::Slice;
use crate::value::{DEPTH_MAX, Map, TOO_DEEP, Value};
use wire::{Fault, Reader};

/// The MessagePack of a map without entries.
const EMPTY: &[u8] = &[0x80];

/// Room for encoding that a thread keeps, at most.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Where a payload is encoded before its length is known: kept, so that it need not grow again.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A map from string to value, decoded only where it is looked at.
///
/// Cloning shares the bytes. Two payloads are equal when their maps are, however they are encoded.
///
/// ```
/// use samplestore::{Payload, data};
///
/// let payload = Payload::from_map(&data! {
///     "station" => "JFK",
///     "position" => data! { "lat" => 40.64 },
/// })?;
/// assert_eq!(payload.get("station")?.unwrap().as_str(), Some("JFK"));
/// assert_eq!(payload.get_path(["position", "lat"])?.unwrap().as_f64(), Some(40.64));
/// assert_eq!(payload.get("elevation")?, None);
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone)]
pub struct Payload(Slice);

impl Payload {
    /// The payload of a map.
    ///
    /// # Errors
    /// [`InvalidSample`](ErrorKind::InvalidSample) when it nests deeper than 64.
    pub fn from_map(map: &Map) -> Result<Self> {
        Self::encode("data", map)
    }

    /// Encodes anything that serde serialises to a map with string keys, as the field of this name.
    pub(crate) fn encode<T: Serialize + ?Sized>(field: &'static str, value: &T) -> Result<Self> {
        let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
        let payload = Self::encode_in(&mut bytes, field, value);
        if bytes.capacity() <= SCRATCH_BYTES_MAX {
            bytes.clear();
            // Where the thread ends already, the bytes go.
            let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
        }
        payload
    }

    fn encode_in<T: Serialize + ?Sized>(
        bytes: &mut Vec<u8>,
        field: &'static str,
        value: &T,
    ) -> Result<Self> {
        let mut serializer = rmp_serde::Serializer::new(&mut *bytes).with_struct_map();
        value
            .serialize(&mut serializer)
            .map_err(|cause| match cause {
                rmp_serde::encode::Error::Syntax(message) if message == TOO_DEEP => {
                    Error::invalid_sample(Limit::Depth { field })
                }
                cause => {
                    let found = cause.to_string();
                    Error::invalid_sample(Limit::NotAValue { field, found }).with_cause(cause)
                }
            })?;
        check(field, Reader::written(bytes))?;
        Ok(Self(bytes.as_slice().into()))
    }

    /// A payload that is encoded already and was checked when it was made.
    pub(crate) fn from_encoded(bytes: Slice) -> Self {
        Self(bytes)
    }

    /// Takes a payload in its encoded form, one MessagePack map, from elsewhere and checks it.
    ///
    /// # Errors
    /// [`InvalidSample`](ErrorKind::InvalidSample) when it is no map with string keys, holds what is
    /// no value of the model, a key twice in one map, or nests deeper than 64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        check("payload", Reader::new(bytes))?;
        Ok(Self(bytes.into()))
    }

    /// The encoded form, one MessagePack map.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The length of the encoded form, in bytes; 1 for an empty map.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // `is_empty` is about the map, and is there
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the map has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self.0 == *EMPTY
    }

    /// The whole map.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) when the bytes are damaged.
    pub fn to_map(&self) -> Result<Map> {
        self.decode()
    }

    /// The value of one field, the others left encoded.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) when the bytes are damaged.
    pub fn get(&self, name: &str) -> Result<Option<Value>> {
        self.get_path([name])
    }

    /// The value at the end of a path of names and, in lists, of places counted from 0; `None` when
    /// there is none.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) when the bytes are damaged.
    pub fn get_path<P>(&self, path: P) -> Result<Option<Value>>
    where
        P: IntoIterator<Item: AsRef<str>>,
    {
        value_in(&self.0, path)
    }

    /// The value of one field, decoded straight into `T`.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) when the field does not fit `T`.
    pub fn get_as<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>> {
        match self.find([name])? {
            Some(bytes) => decode(bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The whole payload, decoded straight into `T`, which may borrow from it. Fields go by name:
    /// their order does not matter, unknown ones are passed over, and absent ones may have a
    /// default (`#[serde(default)]`).
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) when it does not fit `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        decode(&self.0)
    }

    fn find<P>(&self, path: P) -> Result<Option<&[u8]>>
    where
        P: IntoIterator<Item: AsRef<str>>,
    {
        find(&self.0, path)
    }
}

/// The value at the end of a path in an encoded payload.
pub(crate) fn value_in<P>(encoded: &[u8], path: P) -> Result<Option<Value>>
where
    P: IntoIterator<Item: AsRef<str>>,
{
    match find(encoded, path)? {
        Some(bytes) => decode(bytes).map(Some),
        None => Ok(None),
    }
}

fn find<P>(encoded: &[u8], path: P) -> Result<Option<&[u8]>>
where
    P: IntoIterator<Item: AsRef<str>>,
{
    let mut reader = Reader::new(encoded);
    for step in path {
        if !reader.enter(step.as_ref()).map_err(damaged)? {
            return Ok(None);
        }
    }
    reader.value().map(Some).map_err(damaged)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    // Deeper than a payload may be; less deep than could exhaust a stack when the bytes are damaged.
    decoder::decode(bytes, 2 * DEPTH_MAX)
        .map_err(|cause| Error::new(ErrorKind::Decode, "decode a payload").with_cause(cause))
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn damaged(fault: Fault) -> Error {
    Error::new(ErrorKind::Decode, "look into a payload").with_message(fault.found())
}

fn check(field: &'static str, mut reader: Reader<'_>) -> Result<()> {
    if let Some(found) = reader.not_a_map() {
        return Err(Error::invalid_sample(Limit::NotAMap { field, found }));
    }
    let checked = reader.check(DEPTH_MAX).and_then(|()| reader.end());
    checked.map_err(|fault| {
        Error::invalid_sample(match fault {
            Fault::Depth => Limit::Depth { field },
            other => Limit::NotAValue {
                field,
                found: other.found(),
            },
        })
    })
}

impl Default for Payload {
    fn default() -> Self {
        static SHARED: LazyLock<Slice> = LazyLock::new(|| EMPTY.into());
        Self(SHARED.clone())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        if *self.0 == *other.0 {
            return true;
        }
        match (self.to_map(), other.to_map()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_map() {
            Ok(map) => map.fmt(f),
            Err(_) => write!(f, "Payload(damaged, {} bytes)", self.0.len()),
        }
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let map = self.to_map().map_err(serde::ser::Error::custom)?;
        map.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::data;
    use crate::value::tests::maps;

    proptest! {
        #[test]
        fn every_map_comes_back(map in maps()) {
            let payload = Payload::from_map(&map).unwrap();
            prop_assert_eq!(&payload.to_map().unwrap(), &map);
            prop_assert_eq!(payload.is_empty(), map.is_empty());
            for (name, value) in &map {
                prop_assert_eq!(&payload.get(name).unwrap().unwrap(), value);
            }
            prop_assert_eq!(Payload::from_bytes(payload.as_bytes()).unwrap(), payload);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
            if let Ok(payload) = Payload::from_bytes(&bytes) {
                payload.to_map().unwrap();
            }
        }

        #[test]
        fn damage_is_no_panic(map in maps(), at: usize, to: u8, cut: usize) {
            let mut bytes = Payload::from_map(&map).unwrap().as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let payload = Payload::from_encoded(bytes.as_slice().into());
            let _ = (payload.to_map(), payload.get("a"), payload.get_path(["a", "0"]));
        }
    }

    #[test]
    fn a_changed_struct_reads_old_samples() {
        #[derive(Serialize)]
        struct Old {
            removed: bool,
            temp: f64,
            station: &'static str,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct New<'a> {
            station: &'a str,
            temp: f64,
            #[serde(default)]
            added: u32,
            optional: Option<u32>,
        }
        let old = Old {
            removed: true,
            temp: 71.6,
            station: "JFK",
        };
        let payload = Payload::encode("data", &old).unwrap();
        let new = New {
            station: "JFK",
            temp: 71.6,
            added: 0,
            optional: None,
        };
        assert_eq!(payload.decode::<New<'_>>().unwrap(), new);
        assert_eq!(
            payload.get("removed").unwrap(),
            Some(Value::from(old.removed))
        );
    }

    #[test]
    fn a_payload_may_be_encoded_while_another_is() {
        struct Outer;
        impl Serialize for Outer {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let inner = Payload::from_map(&data! { "inner" => 1 }).unwrap();
                assert!(Payload::encode("data", &HashMap::from([(1, 2)])).is_err());
                serializer.collect_map([("before", &inner), ("after", &inner)])
            }
        }
        let payload = Payload::encode("data", &Outer).unwrap();
        let inner = data! { "inner" => 1 };
        let expected =
            data! { "before" => Value::Map(inner.clone()), "after" => Value::Map(inner) };
        assert_eq!(payload.to_map().unwrap(), expected);
    }

    #[test]
    fn what_does_not_fit_a_type_says_why() {
        use std::error::Error as _;

        let payload = Payload::from_map(&data! { "temp" => "hot" }).unwrap();
        let error = payload.decode::<HashMap<String, f64>>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, "wrong msgpack marker FixStr(3)");
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        let limit = |error: Error| error.limit().cloned().unwrap();
        let error = Payload::encode("data", &[1, 2]).unwrap_err();
        assert_eq!(
            limit(error),
            Limit::NotAMap {
                field: "data",
                found: "a list"
            }
        );
        let numbered = HashMap::from([(1, 2)]);
        let error = Payload::encode("data", &numbered).unwrap_err();
        assert!(matches!(limit(error), Limit::NotAValue { .. }));
        // {"a": 1, "a": 2} and {"a": an extension value}
        for bytes in [
            &b"\x82\xa1a\x01\xa1a\x02"[..],
            b"\x81\xa1a\xd4\x01\x02",
            b"\x80\x00",
            b"\x81",
        ] {
            assert!(matches!(
                limit(Payload::from_bytes(bytes).unwrap_err()),
                Limit::NotAValue { .. }
            ));
        }
    }

    #[test]
    fn nesting_is_allowed_to_64() {
        let nest = |lists: usize| (0..lists).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        assert!(Payload::from_map(&data! { "a" => nest(63) }).is_ok());
        for lists in [64, 2_000] {
            let error = Payload::from_map(&data! { "a" => nest(lists) }).unwrap_err();
            assert_eq!(error.limit(), Some(&Limit::Depth { field: "data" }));
        }
    }

    #[test]
    fn paths_go_through_maps_and_lists() {
        let map = data! { "a" => vec![Value::from(data! { "b" => 1 }), Value::from(2)] };
        let payload = Payload::from_map(&map).unwrap();
        assert_eq!(
            payload.get_path(["a", "0", "b"]).unwrap(),
            Some(Value::from(1))
        );
        assert_eq!(payload.get_path(["a", "1"]).unwrap(), Some(Value::from(2)));
        for path in [&["a", "2"][..], &["a", "x"], &["a", "1", "b"], &["b"]] {
            assert_eq!(payload.get_path(path).unwrap(), None, "{path:?}");
        }
    }
}
