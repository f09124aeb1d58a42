//! Fields that the samples of a lane have, each in several types or not at all, and what is asked of them.
//!
//! Every lane has fields of its own, so that what it declares can be told from what the others do.

use samplestore::{Condition, Field, Map, Value};

use super::Random;

/// Numbers that a field has.
const NUMBERS: u64 = 40;
/// Strings that it has.
const TEXTS: u64 = 8;

/// The fields of a lane of which indexes are declared, one in the data and one in the measurements.
pub(crate) fn fields(lane: u64) -> [String; 2] {
    [
        format!("data.{}", of_data(lane)),
        format!("measurements.{}", of_measurements(lane)),
    ]
}

/// The name of the field that the data of a lane's samples has.
pub(super) fn of_data(lane: u64) -> String {
    format!("n{lane}")
}

/// The same of their measurements.
pub(super) fn of_measurements(lane: u64) -> String {
    format!("m{lane}")
}

pub(crate) fn parse(field: &str) -> Field {
    field.parse().unwrap()
}

/// Gives a map a field: a number mostly, but of another type or null in some samples, and absent in others.
pub(super) fn add(map: &mut Map, name: String, random: &mut Random) {
    let number = random.below(NUMBERS);
    let value = match random.below(20) {
        0..9 => Value::from(number),
        9..12 => Value::from(number as f64 + 0.5),
        12..16 => Value::from(text(number)),
        16 => Value::from(number.is_multiple_of(2)),
        17 => Value::Null,
        _ => return,
    };
    map.insert(name, value);
}

fn text(number: u64) -> String {
    format!("t{}", number % TEXTS)
}

/// Conditions of the fields of a lane: one that an index finds by equality, one by ranges, and one of presence, of other values and
/// in other ways for each `number`.
pub(crate) fn conditions(lane: u64, number: u64) -> Vec<Condition> {
    let [mut one, mut other] = fields(lane);
    if number.is_multiple_of(2) {
        std::mem::swap(&mut one, &mut other);
    }
    let value = number / 2 % NUMBERS;
    let equality = match number % 5 {
        0 => format!("{one} = '{}'", text(value)),
        1 => format!("{one} in ({value}, '{}', true)", text(value)),
        _ => format!("{one} = {value}"),
    };
    let range = match number % 3 {
        0 => format!("{one} between {value} and {}.5", value + 2),
        1 => format!("{other} < {} or {other} > {}", value / 8, value + 2),
        _ => format!("{other} >= {} and {one} is not null", NUMBERS - 3),
    };
    let presence = match number % 4 {
        0 => format!("{one} is missing"),
        1 => format!("{other} is null"),
        2 => format!("{other} is not null"),
        _ => format!("{one} is not missing and not {one} < {value}"),
    };
    let conditions = [equality, range, presence];
    conditions
        .iter()
        .map(|text| text.parse().unwrap())
        .collect()
}
