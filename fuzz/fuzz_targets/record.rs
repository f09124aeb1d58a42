//! Bytes that are to be a record of the file: refused, or a sample that comes back equal from its own record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use samplestore::simulation::{decode_record, encode_record};

fuzz_target!(|bytes: &[u8]| {
    let Ok(sample) = decode_record(bytes) else {
        return;
    };
    // What a record holds of its maps is read when it is asked for.
    let _ = sample.data().to_map();
    let _ = sample.measurements().to_map();
    let record = encode_record(&sample).expect("a sample has a record");
    assert_eq!(decode_record(&record).expect("which is taken back"), sample);
});
