//! Text that is to be a sample: whatever is taken comes back equal from its own text form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use samplestore::Sample;

fuzz_target!(|text: &str| {
    let Ok(sample) = Sample::from_json_text(text) else {
        return;
    };
    let written = sample.to_json_text().expect("a sample has a text form");
    let again = Sample::from_json_text(&written).expect("its own text form is taken");
    assert_eq!(again, sample);
    assert_eq!(again.to_json_text().expect("again"), written);
});
