//! Statuses: what reads them, and tells shells and help which there are.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use samplestore::Status;

use super::Known;
use crate::failure::words_of;

/// Reads one status.
pub(crate) fn one_status() -> Known<impl TypedValueParser<Value = Status>> {
    Known::new(
        StringValueParser::new().try_map(|word| parse_status(&word)),
        words,
    )
}

/// Takes any text, which is read as statuses elsewhere.
pub(super) fn text_of_statuses() -> Known<StringValueParser> {
    Known::new(StringValueParser::new(), words)
}

/// Reads a status, and names the nearest one for a word that is none.
pub(crate) fn parse_status(word: &str) -> Result<Status, String> {
    let status = word.parse();
    status.map_err(|error: samplestore::Error| words_of(&error))
}

fn words() -> Vec<PossibleValue> {
    let statuses = Status::ALL.iter();
    statuses
        .map(|status| PossibleValue::new(status.as_str()))
        .collect()
}
