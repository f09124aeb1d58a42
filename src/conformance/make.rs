//! What the cases store: samples by hand and at random, and values of every class.
//!
//! The random ones come from `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number
//! generators, OOPSLA 2014), which is a few lines, and the same everywhere.

use chrono::{DateTime, TimeDelta, Utc};

use super::case::Verdict;
use crate::data;
use crate::query::Query;
use crate::sample::{Reason, Sample, SampleBuilder, Status};
use crate::value::{DEPTH_MAX, Map, Value};

/// The pipelines of random samples: one begins like another, one is not ASCII.
pub(super) const PIPELINES: [&str; 4] = ["JFK", "JFK/2", "LGA", "Köln \u{1f326}"];

/// Conditions on the fields of random samples.
const CONDITIONS: [&str; 9] = [
    "data.value is missing",
    "data.value in ('a', 0, true)",
    "data.value contains 'a' or data.value.a is not null",
    "data.n >= 9223372036854775808",
    "measurements.m = 0",
    "measurements.m > 0 and measurements.m != 5",
    "measurements.m between -1e300 and 5",
    "not measurements.m < 'b'",
    "measurements.m is null",
];

/// How many instants random samples have between them: few, so that many are the same.
const INSTANTS: u64 = 6;

/// The first instant of 2013, and so many microseconds.
pub(super) fn at(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_356_998_400_000_000 + micros).unwrap_or_default()
}

/// A sample of this id, of the pipeline `JFK`, created at `at(0)`.
pub(super) fn sample(id: &str) -> SampleBuilder {
    Sample::builder("JFK").id(id).created_at(at(0))
}

/// Samples `a-0`, `a-1` … of the instants `at(0)`, `at(1)` …
pub(super) fn series(prefix: &str, count: usize) -> Verdict<Vec<Sample>> {
    (0..count)
        .map(|n| {
            let sample = sample(&format!("{prefix}-{n}")).created_at(at(n as i64));
            Ok(sample.data(data! { "n" => n as u64 }).build()?)
        })
        .collect()
}

/// A sample whose [`Sample::encoded_len`] is so many bytes, some hundreds at least.
pub(super) fn sample_of_bytes(id: &str, bytes: usize) -> Verdict<Sample> {
    let with = |filling: usize| {
        let map = data! { "filling" => vec![0x5a_u8; filling] };
        sample(id).data(map).build()
    };
    let guess = bytes.saturating_sub(128);
    let missing = bytes.saturating_sub(with(guess)?.encoded_len());
    Ok(with(guess + missing)?)
}

/// A sample for each pipeline and status, five instants among them.
pub(super) fn grid() -> Verdict<Vec<Sample>> {
    let pairs = PIPELINES
        .iter()
        .flat_map(|pipeline| Status::ALL.map(|status| (*pipeline, status)));
    pairs
        .enumerate()
        .map(|(n, (pipeline, status))| {
            let sample = sample(&format!("g-{n}")).pipeline(pipeline).status(status);
            Ok(sample.created_at(at(n as i64 * 7 % 5)).build()?)
        })
        .collect()
}

/// A payload with every class of value, and keys that are easily got wrong.
pub(super) fn every_class() -> Map {
    let deepest = (0..DEPTH_MAX - 1).fold(Value::from("here"), |inner, level| match level % 2 {
        0 => Value::List(vec![inner]),
        _ => Value::from(data! { "down" => inner }),
    });
    data! {
        "null" => Value::Null,
        "true" => true,
        "false" => false,
        "whole numbers" => vec![
            Value::from(0), Value::from(-1), Value::from(127), Value::from(-32), Value::from(-33),
            Value::from(u32::MAX), Value::from(i64::MIN), Value::from(i64::MAX),
            Value::from(i64::MAX as u64 + 1), Value::from(u64::MAX), Value::from((1_u64 << 53) + 1),
        ],
        "floats" => vec![
            Value::from(0.0), Value::from(-0.0), Value::from(1.0), Value::from(0.1),
            Value::from(f64::NAN), Value::from(f64::INFINITY), Value::from(f64::NEG_INFINITY),
            Value::from(f64::MIN_POSITIVE), Value::from(5e-324), Value::from(f64::MAX),
            Value::from(9_007_199_254_740_993.0), Value::from(1e300),
        ],
        "texts" => vec![
            Value::from(""), Value::from("nul \0 inside"), Value::from("\0"),
            Value::from("e\u{301} \u{e9} \u{1f9ea}\u{200d}\u{1f52c} \u{202e}\u{10ffff}"),
            Value::from("\"quoted\" \\ \r\n\t\u{7f}"), Value::from("null"), Value::from("x".repeat(70_000)),
        ],
        "bytes" => vec![
            Value::from(&b""[..]), Value::from(&b"\0\xff\xfe"[..]), Value::from((0..=255).collect::<Vec<u8>>()),
        ],
        "empty list" => Vec::<Value>::new(),
        "empty map" => Map::new(),
        "deepest" => deepest,
        "" => "the empty key",
        "\0" => "a key of NUL",
        "a.b" => data! { "" => data! { "" => 1 } },
        "$binary" => data! { "$binary" => "not bytes" },
        "mistakable" => vec![
            Value::from(data! { "$binary" => data! { "base64" => "AAEC", "subType" => "00" } }),
            Value::from(data! { "$numberDouble" => "NaN" }),
            Value::from(data! { "$$binary" => Value::Null }),
            Value::from(data! { "$oid" => "x", "$date" => 0 }),
        ],
        "ключ" => "a key that is not ASCII",
    }
}

/// `SplitMix64`.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is small enough for the bias of the remainder not to matter.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `of` times.
    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(super) fn status(&mut self) -> Status {
        self.pick(&Status::ALL)
    }

    /// One of few ids, so that many samples are stored more than once.
    pub(super) fn id(&mut self) -> String {
        match self.below(48) {
            0 => "\0".to_owned(),
            1 => "../é/ %00?".to_owned(),
            2 => "i".repeat(512),
            n => format!("id-{n}"),
        }
    }

    pub(super) fn instant(&mut self) -> DateTime<Utc> {
        at(self.below(INSTANTS) as i64)
    }

    /// A sample that may differ in everything from the one of its id that is stored.
    pub(super) fn sample(&mut self) -> Verdict<Sample> {
        let mut builder = Sample::builder(self.pick(&PIPELINES))
            .id(self.id())
            .status(self.status())
            .created_at(self.instant())
            .data(data! { "value" => self.value(3), "n" => self.next() });
        if self.one_in(2) {
            builder = builder.measurement("m", self.value(1));
        }
        if self.one_in(3) {
            builder = builder.measured_at(self.instant());
        }
        if self.one_in(4) {
            let attempts = self.below(5) as u32;
            builder = builder.reason(Reason::new("parse", "no digits", attempts, self.instant()));
        }
        Ok(builder.build()?)
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth == 0 { 8 } else { 10 }) {
            0 => Value::Null,
            1 => self.one_in(2).into(),
            2 => (self.next() as i64).into(),
            3 => self.next().into(),
            4 => f64::from_bits(self.next()).into(),
            5 => self.pick(&[0.0, -0.0, f64::NAN, f64::INFINITY]).into(),
            6 => self.pick(&["", "a", "\0", "Köln"]).into(),
            7 => self.next().to_le_bytes()[..].into(),
            8 => (0..self.below(4))
                .map(|_| self.value(depth - 1))
                .collect::<Vec<_>>()
                .into(),
            _ => {
                let key = self.pick(&["", "a", "$binary", "$numberDouble"]);
                data! { key => self.value(depth - 1) }.into()
            }
        }
    }

    /// Filters and an order, without limit and cursor. The filters are loose enough that most queries
    /// find something.
    pub(super) fn query(&mut self) -> Query {
        let mut query = Query::new();
        for _ in 0..self.below(3) {
            query = query.pipeline(self.pick(&PIPELINES));
        }
        for _ in 0..self.below(4) {
            query = query.status(self.status());
        }
        if self.one_in(5) {
            query = query.ids((0..self.below(30)).map(|_| self.id()).collect::<Vec<_>>());
        }
        if self.one_in(5) {
            query = query.after(self.bound());
        }
        if self.one_in(5) {
            query = query.before(self.bound());
        }
        if self.one_in(5) {
            query = query.since(self.bound());
        }
        if self.one_in(5) {
            query = query.until(self.bound());
        }
        if self.one_in(4)
            && let Ok(condition) = self.pick(&CONDITIONS).parse()
        {
            query = query.condition(condition);
        }
        match self.one_in(2) {
            true => query.newest_first(),
            false => query,
        }
    }

    /// An instant that is sometimes finer than any stored one.
    fn bound(&mut self) -> DateTime<Utc> {
        let nanos = if self.one_in(3) { 1 } else { 0 };
        self.instant() + TimeDelta::nanoseconds(nanos)
    }
}
