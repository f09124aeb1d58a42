//! Filters as a command line or a URL gives them: taken, or an error that says why; never ignored.

#![no_main]

use arbitrary::Arbitrary;
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use samplestore::{FILTERS, Query, parse_instant};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    filter: usize,
    name: Option<&'a str>,
    value: &'a str,
}

/// The text of a query is that query, but for a NUL, which no word of a command line has.
fn assert_same(query: &Query) {
    let text = query.to_string();
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return;
    }
    assert_eq!(
        &text.parse::<Query>().expect("its own text"),
        query,
        "{text}"
    );
}

fuzz_target!(|inputs: Vec<Input<'_>>| {
    let now = DateTime::from_timestamp(1_700_000_000, 0).expect("an instant");
    let mut query = Query::new();
    for input in &inputs {
        let known = FILTERS[input.filter % FILTERS.len()].name;
        let name = input.name.unwrap_or(known);
        match query.clone().with_filter(name, input.value, now) {
            Ok(filtered) => {
                assert!(FILTERS.iter().any(|filter| filter.name == name), "{name:?}");
                query = filtered;
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Ok(instant) = parse_instant(input.value, now) {
            let again = parse_instant(&instant.to_rfc3339(), now);
            assert_eq!(again.expect("an instant's own text is one"), instant);
        }
        // As one text, which a program keeps.
        match input.value.parse::<Query>() {
            Ok(query) => assert_same(&query),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert_same(&query);
});
