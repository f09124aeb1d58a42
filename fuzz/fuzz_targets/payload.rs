//! Bytes that are to be a payload: whatever is taken is a map that comes back equal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use samplestore::{Payload, Value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(payload) = Payload::from_bytes(bytes) else {
        return;
    };
    let map = payload.to_map().expect("a payload that was taken is a map");
    for (name, value) in &map {
        let got = payload.get(name).expect("its fields can be read");
        assert_eq!(got.as_ref(), Some(value), "{name:?}");
    }
    let again = Payload::from_map(&map).expect("a map that was a payload is one again");
    assert_eq!(again.to_map().expect("and can be read"), map);
    // Into a type of the caller's, which asks for other things than the map does.
    let _ = payload.decode::<std::collections::BTreeMap<String, Option<f64>>>();
    let _ = payload.decode::<(u8, String)>();
    let _ = payload
        .get_path(["a", "b"])
        .map(|value: Option<Value>| value);
});
