//! CSV, JSON Lines and JSON arrays: each record becomes a sample or is rejected with a reason, and the end is reached.

#![no_main]

#[path = "../../src/bin/samplestore/main.rs"]
#[allow(dead_code)]
mod command;

use std::io::Write;

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use samplestore::Sample;

use command::input::{InputFormat, Source};
use command::verb::import::mapping::Mapping;
// The command's files name each other from the root of their crate.
use command::{
    arguments, failure, fields, identity, ids, input, interrupt, listing, opening, output,
    progress, steps, verb,
};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    mapping: Mapping,
}

const FLAGS: [&[&str]; 4] = [
    &["import"],
    &["import", "--pipeline", "p"],
    &[
        "import",
        "--pipeline",
        "p",
        "--id-field",
        "a",
        "--null",
        "NA",
        "--measurement",
        "b,c",
    ],
    &[
        "import",
        "--pipeline-field",
        "a",
        "--status-field",
        "b",
        "--created-at-field",
        "c",
    ],
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, content)) = bytes.split_first() else {
        return;
    };
    let format = match choice % 3 {
        0 => InputFormat::Csv,
        1 => InputFormat::Jsonl,
        _ => InputFormat::Json,
    };
    let flags = Flags::parse_from(FLAGS[usize::from(choice / 3) % FLAGS.len()]);
    if format != InputFormat::Csv && flags.mapping.check(false).is_err() {
        return;
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("written");
    let Ok((mut records, _)) = Source::File(file.path().to_owned()).open(format, None) else {
        return;
    };
    let columns = match records.header().map(|header| flags.mapping.columns(header)) {
        None => None,
        Some(Ok(columns)) => Some(columns),
        Some(Err(_)) => return,
    };
    let mut count = 0;
    while let Ok(Some((_, record))) = records.next() {
        match flags.mapping.sample(record, columns.as_ref()) {
            Ok(sample) => {
                let text = sample.to_json_text().expect("a sample has a text form");
                assert_eq!(
                    Sample::from_json_text(&text).expect("and is taken back"),
                    sample
                );
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
        count += 1;
        assert!(count <= content.len() + 1, "more records than bytes");
    }
});
