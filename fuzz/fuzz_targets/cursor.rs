//! Tokens that are to be cursors: a storage takes them or refuses them, and takes its own.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use samplestore::{Cursor, ErrorKind, MemoryStorage, Query, Sample, Storage};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    token: &'a str,
    identity: u64,
    position: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let query = Query::new().pipeline("p");
    if let Ok(cursor) = input.token.parse::<Cursor>() {
        let storage = MemoryStorage::new();
        let sample = Sample::builder("p").build().expect("a sample");
        storage.store(&[sample]).expect("stored");
        let listed = storage.list(&query.clone().cursor(cursor));
        let error = listed.expect_err("no token of another storage is taken");
        assert_eq!(error.kind(), ErrorKind::InvalidCursor);
    }
    let position = &input.position[..input.position.len().min(1_000)];
    let own = Cursor::new(input.identity, &query, position);
    let parsed: Cursor = own.as_str().parse().expect("its own token is taken");
    let found = parsed.position(input.identity, &query);
    assert_eq!(found.expect("it fits"), position);
    assert!(parsed.position(input.identity ^ 1, &query).is_err());
});
