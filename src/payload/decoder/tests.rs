//! What the decoder reads, beside what `rmp_serde` reads.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::*;
use crate::value::tests::{maps, values};
use crate::{Map, Value};

const DEPTH: usize = 128;

/// Bytes that serde is told are bytes.
#[derive(Clone, Debug)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct BlobVisitor;
        impl Visitor<'_> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Numbers {
    a: i8,
    bb: i16,
    ccc: i32,
    dddd: i64,
    eight_ee: u8,
    sixteen_letters_: u16,
    more_than_sixteen_letters: u32,
    a_name_of_more_than_thirty_one_letters: u64,
    ç: f32,
    double: f64,
    wide: i128,
    wider: u128,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Newtype(u64);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pair(i32, String);

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(f64),
    Optional(Option<bool>),
    Tuple(u8, String),
    Struct { a: f64, b: Option<u16> },
    Nested(Box<Kind>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Numbers(Vec<f64>),
    Struct { a: String },
    Nothing,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Inner {
    Unit,
    Struct { number: i64, text: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    Newtype(u32),
    Struct { text: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rich {
    numbers: Numbers,
    flag: bool,
    letter: char,
    #[serde(rename = "texts", alias = "text")]
    text: String,
    blob: Blob,
    bytes: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    left_out: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    left_out_as_well: Option<String>,
    #[serde(skip)]
    #[allow(dead_code)] // read through Debug
    skipped: u8,
    option: Option<Option<i64>>,
    list: Vec<Kind>,
    map: BTreeMap<String, Vec<i64>>,
    by_number: BTreeMap<i32, bool>,
    nothing: (),
    unit: Unit,
    newtype: Newtype,
    pair: Pair,
    tuple: (bool, String, [u8; 3]),
    untagged: Vec<Untagged>,
    inner: Inner,
    adjacent: Vec<Adjacent>,
    value: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flat {
    count: u8,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: Map,
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let small = any::<(i8, i16, i32, i64, u8, u16, u32, u64)>();
    (small, any::<(u32, u64, i128, u128)>(), 0_u32..120).prop_map(|(small, large, shift)| {
        let (a, bb, ccc, dddd, eight_ee, sixteen_letters_, long, longer) = small;
        Numbers {
            a,
            bb: bb >> (shift / 8),
            ccc: ccc >> (shift / 4),
            dddd: dddd >> (shift / 2),
            eight_ee,
            sixteen_letters_: sixteen_letters_ >> (shift / 8),
            more_than_sixteen_letters: long >> (shift / 4),
            a_name_of_more_than_thirty_one_letters: longer >> (shift / 2),
            ç: f32::from_bits(large.0),
            double: f64::from_bits(large.1),
            wide: large.2 >> shift,
            wider: large.3 >> shift,
        }
    })
}

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Unit),
        any::<f64>().prop_map(Kind::Newtype),
        any::<Option<bool>>().prop_map(Kind::Optional),
        any::<(u8, String)>().prop_map(|(number, text)| Kind::Tuple(number, text)),
        any::<(f64, Option<u16>)>().prop_map(|(a, b)| Kind::Struct { a, b }),
    ];
    leaf.prop_recursive(3, 4, 1, |inner| {
        inner.prop_map(|kind| Kind::Nested(Box::new(kind)))
    })
}

fn untagged() -> impl Strategy<Value = Untagged> {
    prop_oneof![
        any::<i64>().prop_map(Untagged::Number),
        any::<String>().prop_map(Untagged::Text),
        any::<Vec<f64>>().prop_map(Untagged::Numbers),
        any::<String>().prop_map(|a| Untagged::Struct { a }),
        Just(Untagged::Nothing),
    ]
}

fn inner() -> impl Strategy<Value = Inner> {
    prop_oneof![
        Just(Inner::Unit),
        any::<(i64, String)>().prop_map(|(number, text)| Inner::Struct { number, text }),
    ]
}

fn adjacent() -> impl Strategy<Value = Adjacent> {
    prop_oneof![
        Just(Adjacent::Unit),
        any::<u32>().prop_map(Adjacent::Newtype),
        any::<String>().prop_map(|text| Adjacent::Struct { text }),
    ]
}

fn rich() -> impl Strategy<Value = Rich> {
    let texts = any::<(
        bool,
        char,
        String,
        Vec<u8>,
        Vec<u8>,
        Option<u32>,
        Option<String>,
    )>();
    let lists = (
        prop::collection::vec(kinds(), 0..20),
        any::<BTreeMap<String, Vec<i64>>>(),
        any::<BTreeMap<i32, bool>>(),
        any::<(Option<i64>, u64, i32, String, [u8; 3])>(),
    );
    let tagged = (
        prop::collection::vec(untagged(), 0..4),
        inner(),
        prop::collection::vec(adjacent(), 0..4),
        values(),
    );
    (numbers(), texts, lists, tagged).prop_map(|(numbers, texts, lists, tagged)| Rich {
        numbers,
        flag: texts.0,
        letter: texts.1,
        text: texts.2,
        blob: Blob(texts.3),
        bytes: texts.4,
        left_out: texts.5,
        left_out_as_well: texts.6,
        skipped: 0,
        option: lists.3.0.map(Some),
        list: lists.0,
        map: lists.1,
        by_number: lists.2,
        nothing: (),
        unit: Unit,
        newtype: Newtype(lists.3.1),
        pair: Pair(lists.3.2, lists.3.3.clone()),
        tuple: (texts.0, lists.3.3, lists.3.4),
        untagged: tagged.0,
        inner: tagged.1,
        adjacent: tagged.2,
        value: tagged.3,
    })
}

/// The value that `rmp_serde` reads is read, and nothing that it refuses.
fn agrees<T: DeserializeOwned + Debug>(bytes: &[u8]) {
    match (decode::<T>(bytes, DEPTH), rmp_serde::from_slice::<T>(bytes)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(format!("{ours:?}"), format!("{theirs:?}")),
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{bytes:x?}: {ours:?} and {theirs:?}"),
    }
}

/// As `agrees`, except that what has no use in a payload may be refused: extension values, lists for
/// enums, negative numbers for unsigned ones of 128 bits.
fn is_no_more_than<T: DeserializeOwned + Debug>(bytes: &[u8]) {
    if let Ok(ours) = decode::<T>(bytes, DEPTH) {
        let theirs = rmp_serde::from_slice::<T>(bytes).unwrap();
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}

fn comes_back<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    for bytes in [
        rmp_serde::to_vec_named(value).unwrap(),
        rmp_serde::to_vec(value).unwrap(),
    ] {
        // Some types cannot be read again by position.
        let theirs = rmp_serde::from_slice::<T>(&bytes).map(|theirs| format!("{theirs:?}"));
        let ours = decode::<T>(&bytes, DEPTH).map(|ours| format!("{ours:?}"));
        assert_eq!(ours.ok(), theirs.ok());
    }
    let bytes = rmp_serde::to_vec_named(value).unwrap();
    let ours = decode::<T>(&bytes, DEPTH).unwrap();
    assert_eq!(format!("{ours:?}"), format!("{value:?}"));
}

proptest! {
    #[test]
    fn what_rmp_serde_writes_comes_back(rich in rich()) {
        comes_back(&rich);
    }

    #[test]
    fn flattened_structs_come_back(count: u8, inner in inner(), mut rest in maps()) {
        for name in ["count", "type", "number", "text"] {
            rest.remove(name);
        }
        let bytes = rmp_serde::to_vec_named(&Flat { count, inner, rest }).unwrap();
        agrees::<Flat>(&bytes);
        assert!(decode::<Flat>(&bytes, DEPTH).is_ok());
    }

    #[test]
    fn damage_is_read_as_rmp_serde_reads_it(rich in rich(), at: usize, to: u8, cut: usize) {
        let mut bytes = rmp_serde::to_vec_named(&rich).unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        is_no_more_than::<Rich>(&bytes);
        is_no_more_than::<Value>(&bytes);
        is_no_more_than::<BTreeMap<String, IgnoredAny>>(&bytes);
        bytes.truncate(bytes.len() - cut % bytes.len());
        is_no_more_than::<Rich>(&bytes);
    }

    #[test]
    fn any_bytes_are_read_as_rmp_serde_reads_them(bytes: Vec<u8>) {
        is_no_more_than::<Value>(&bytes);
        is_no_more_than::<Kind>(&bytes);
        is_no_more_than::<Vec<Kind>>(&bytes);
        is_no_more_than::<Numbers>(&bytes);
        is_no_more_than::<Inner>(&bytes);
        is_no_more_than::<Untagged>(&bytes);
        is_no_more_than::<IgnoredAny>(&bytes);
        is_no_more_than::<i128>(&bytes);
        is_no_more_than::<u128>(&bytes);
    }

    #[test]
    fn a_value_becomes_the_types_that_rmp_serde_makes_of_it(value in values()) {
        let bytes = rmp_serde::to_vec_named(&value).unwrap();
        agrees::<Value>(&bytes);
        agrees::<bool>(&bytes);
        agrees::<i8>(&bytes);
        agrees::<i16>(&bytes);
        agrees::<i32>(&bytes);
        agrees::<i64>(&bytes);
        agrees::<i128>(&bytes);
        agrees::<u8>(&bytes);
        agrees::<u32>(&bytes);
        agrees::<u64>(&bytes);
        agrees::<f32>(&bytes);
        agrees::<f64>(&bytes);
        agrees::<char>(&bytes);
        agrees::<String>(&bytes);
        agrees::<Option<String>>(&bytes);
        agrees::<Option<Option<i64>>>(&bytes);
        agrees::<Vec<u8>>(&bytes);
        agrees::<Vec<Value>>(&bytes);
        agrees::<(i64, i64)>(&bytes);
        agrees::<Blob>(&bytes);
        agrees::<Map>(&bytes);
        agrees::<()>(&bytes);
        agrees::<Unit>(&bytes);
        agrees::<Newtype>(&bytes);
        agrees::<Pair>(&bytes);
        agrees::<Untagged>(&bytes);
        agrees::<Inner>(&bytes);
        agrees::<IgnoredAny>(&bytes);
        is_no_more_than::<Kind>(&bytes);
        is_no_more_than::<u128>(&bytes);
    }

    /// Names in any order, some missing, some unknown.
    #[test]
    fn names_are_found_wherever_they_stand(
        names in prop::collection::vec("[a-f]|sixteen_letters_|a_name_of_more_than_thirty_one_letters", 0..9),
    ) {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)] // read through Debug
        struct Few {
            a: u8,
            #[serde(default)]
            b: u8,
            #[serde(default)]
            c: u8,
            #[serde(default)]
            sixteen_letters_: u8,
            #[serde(default)]
            a_name_of_more_than_thirty_one_letters: u8,
            #[serde(default)]
            e: Option<u8>,
        }
        let mut bytes = vec![0x80 | names.len() as u8];
        for (number, name) in names.iter().enumerate() {
            rmp::encode::write_str(&mut bytes, name).unwrap();
            bytes.push(number as u8);
        }
        agrees::<Few>(&bytes);
    }
}

#[test]
fn a_string_may_be_borrowed_and_may_be_no_utf8_where_bytes_are_wanted() {
    assert_eq!(decode::<&str>(b"\xa3abc", DEPTH).unwrap(), "abc");
    assert_eq!(decode::<&[u8]>(b"\xc4\x02\x01\x02", DEPTH).unwrap(), [1, 2]);
    assert_eq!(decode::<&[u8]>(b"\xa1\xff", DEPTH).unwrap(), [0xff]);
    let error = decode::<&str>(b"\xa1\xff", DEPTH).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("string found to be invalid utf8")
    );
}

#[test]
fn nesting_is_bounded() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // never made
    enum Endless {
        More(Box<Endless>),
    }
    let lists = |count| [vec![0x91; count], vec![0xc0]].concat();
    assert!(decode::<Value>(&lists(DEPTH), DEPTH).is_ok());
    assert!(decode::<Value>(&lists(DEPTH + 1), DEPTH).is_err());
    assert!(decode::<IgnoredAny>(&lists(1_000_000), DEPTH).is_ok());
    let enums = b"\x81\xa4More".repeat(1_000_000);
    let error = decode::<Endless>(&enums, DEPTH).unwrap_err();
    assert_eq!(error.to_string(), "depth limit exceeded");
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
    ] {
        assert!(decode::<Vec<u64>>(bytes, DEPTH).is_err());
        assert!(decode::<String>(bytes, DEPTH).is_err());
    }
}
