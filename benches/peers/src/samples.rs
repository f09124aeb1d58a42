//! The samples that every engine gets: the same for the same number, made when they are needed, so that a
//! load of ten million holds one batch in memory.
//!
//! About 300 bytes each. Eight pipelines; six statuses, of which [`COMMON`] has half of the samples and
//! [`RARE`] one per cent. Every eighth sample shares its instant with the one before it in time.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use samplestore::Status;
use serde::{Deserialize, Serialize};

/// The eight pipelines.
pub const PIPELINES: [&str; 8] = [
    "weather", "flights", "invoices", "reviews", "support", "sensors", "images", "speech",
];
/// Half of all samples.
pub const COMMON: Status = Status::Ready;
/// One per cent of all samples.
pub const RARE: Status = Status::Dlq;

/// 2024-01-01, in microseconds since 1970.
const FIRST_MICROS: i64 = 1_704_067_200_000_000;
/// Time between two samples, on average.
pub const STEP_MICROS: i64 = 1_000;

const WORDS: [&str; 32] = [
    "the", "model", "answered", "with", "a", "short", "summary", "of", "every", "order", "that",
    "customer", "placed", "in", "june", "and", "noted", "which", "parcels", "arrived", "late",
    "because", "storm", "closed", "harbour", "for", "nine", "days", "while", "trucks", "waited",
    "outside",
];

/// What a pipeline makes: about 180 bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// About 150 bytes.
    pub text: String,
    pub number: i64,
    pub label: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    pub length: f64,
    pub quality: f64,
    pub toxicity: f64,
    pub seconds: f64,
}

/// One sample as the caller has it before it is stored.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: String,
    pub pipeline: &'static str,
    pub status: Status,
    /// Microseconds since 1970.
    pub created_at: i64,
    pub data: Data,
    pub measurements: Measurements,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Random.
    Uuid4,
    /// Growing with the number of the sample.
    Uuid7,
}

/// In which order of `created_at` the samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum TimeOrder {
    Ordered,
    Shuffled,
}

impl TimeOrder {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Shuffled => "shuffled",
        }
    }
}

/// The samples `0..count`, and those behind them that are stored one by one later on.
#[derive(Clone, Copy, Debug)]
pub struct Samples {
    pub count: u64,
    pub ids: Ids,
    pub order: TimeOrder,
}

impl Samples {
    /// The sample of this number. Another `version` has other data and measurements and nothing else.
    pub fn row(&self, number: u64, version: u64) -> Row {
        let (pipeline, status, mut of_sample) = filters(number);
        let id = self.id(number, &mut of_sample);
        let seed = number.wrapping_mul(0xD129_0E3D_57A4_4E2B)
            ^ version.wrapping_mul(0x2545_F491_4F6C_DD1D);
        let mut of_version = SmallRng::seed_from_u64(seed);
        Row {
            id,
            pipeline,
            status,
            created_at: self.created_at(number),
            data: data(&mut of_version),
            measurements: Measurements {
                length: f64::from(of_version.random_range(10..4_000)),
                quality: of_version.random(),
                toxicity: of_version.random::<f64>() / 10.0,
                seconds: of_version.random::<f64>() * 3.0,
            },
        }
    }

    /// The samples of these numbers.
    pub fn batch(&self, numbers: std::ops::Range<u64>) -> Vec<Row> {
        numbers.map(|number| self.row(number, 0)).collect()
    }

    fn id(&self, number: u64, random: &mut SmallRng) -> String {
        let mut bytes = [0; 16];
        random.fill_bytes(&mut bytes);
        let builder = match self.ids {
            Ids::Uuid4 => uuid::Builder::from_random_bytes(bytes),
            Ids::Uuid7 => {
                let millis = (FIRST_MICROS / 1_000) as u64 + number;
                let random = bytes[..10].try_into().expect("ten of sixteen bytes");
                uuid::Builder::from_unix_timestamp_millis(millis, random)
            }
        };
        builder.into_uuid().to_string()
    }

    /// The status and the instant of the sample of this number, without the work of making the rest.
    pub fn status_and_instant(&self, number: u64) -> (Status, i64) {
        (filters(number).1, self.created_at(number))
    }

    fn created_at(&self, number: u64) -> i64 {
        let place = match self.order {
            TimeOrder::Ordered => number,
            TimeOrder::Shuffled if number < self.count => permute(number, self.count),
            TimeOrder::Shuffled => number,
        };
        self.instant(place)
    }

    /// The instant of the sample at this place in time.
    pub fn instant(&self, place: u64) -> i64 {
        let place = if place % 8 == 7 { place - 1 } else { place };
        let jitter = (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i64 % STEP_MICROS;
        FIRST_MICROS + place as i64 * STEP_MICROS + jitter
    }
}

/// Pipeline and status of the sample of this number, and the source of what else is random in it.
fn filters(number: u64) -> (&'static str, Status, SmallRng) {
    let mut random = SmallRng::seed_from_u64(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED);
    let pipeline = PIPELINES[random.random_range(0..PIPELINES.len())];
    let status = match random.random_range(0..100) {
        0 => RARE,
        1..=50 => COMMON,
        51..=70 => Status::Pending,
        71..=85 => Status::Measured,
        86..=95 => Status::Labeled,
        _ => Status::Skipped,
    };
    (pipeline, status, random)
}

fn data(random: &mut SmallRng) -> Data {
    let mut text = String::with_capacity(160);
    while text.len() < 146 {
        text.push_str(WORDS[random.random_range(0..WORDS.len())]);
        text.push(' ');
    }
    Data {
        text,
        number: random.random_range(0..1_000_000_000),
        label: format!(
            "{}-{:04}",
            WORDS[random.random_range(0..WORDS.len())],
            random.random_range(0..10_000)
        ),
    }
}

/// A fixed permutation of `0..count`: a Feistel network over the next even power of two, walked until it lands
/// inside.
fn permute(number: u64, count: u64) -> u64 {
    let bits = (64 - count.leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << bits) - 1;
    let mut number = number;
    loop {
        let (mut left, mut right) = (number >> bits, number & mask);
        for round in 1..=4u64 {
            let mixed =
                (right ^ round.wrapping_mul(0x9E37_79B9)).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 29;
            (left, right) = (right, left ^ (mixed & mask));
        }
        number = (left << bits) | right;
        if number < count {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_is_a_permutation() {
        for count in [1, 2, 1_000, 4_097] {
            let mut seen: Vec<u64> = (0..count).map(|number| permute(number, count)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }
}
