//! [`Statuses`]: what reads a status, and tells shells and help which there are.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};
use samplestore::Status;

use crate::failure::words_of;

/// A parser whose values are statuses, or texts with statuses in them.
#[derive(Clone, Debug)]
pub(crate) struct Statuses<P>(P);

/// Reads one status.
pub(crate) fn one_status() -> Statuses<impl TypedValueParser<Value = Status>> {
    Statuses(StringValueParser::new().try_map(|word| parse_status(&word)))
}

/// Takes any text, which is read as statuses elsewhere.
pub(super) fn text_of_statuses() -> Statuses<StringValueParser> {
    Statuses(StringValueParser::new())
}

/// Reads a status, and names the nearest one for a word that is none.
pub(crate) fn parse_status(word: &str) -> Result<Status, String> {
    let status = word.trim().parse();
    status.map_err(|error: samplestore::Error| words_of(&error))
}

impl<P: TypedValueParser> TypedValueParser for Statuses<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        self.0.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let statuses = Status::ALL.iter();
        Some(Box::new(
            statuses.map(|status| PossibleValue::new(status.as_str())),
        ))
    }
}
