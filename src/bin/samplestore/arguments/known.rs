//! [`Known`]: what reads a value, and tells shells and help which words there are.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

/// A parser whose values are some words, or texts with such words in them. It says itself what is wrong with another one. Spaces beside
/// them, as beside the commas of a list, are of no value.
#[derive(Clone)]
pub(crate) struct Known<P> {
    parser: P,
    words: fn() -> Vec<PossibleValue>,
}

impl<P: TypedValueParser> Known<P> {
    pub(crate) fn new(parser: P, words: fn() -> Vec<PossibleValue>) -> Self {
        Self { parser, words }
    }
}

impl<P: TypedValueParser> TypedValueParser for Known<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let trimmed = value.to_str().map_or(value, |text| OsStr::new(text.trim()));
        self.parser.parse_ref(command, argument, trimmed)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.words)().into_iter()))
    }
}
