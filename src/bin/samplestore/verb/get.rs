//! `get`: samples by their ids.

use clap::Args;
use samplestore::Sample;

use crate::failure::{Code, Failure, Outcome, answered, complaint};
use crate::opening::Db;
use crate::output::{Columns, Format, Output, SampleWriter, write_details};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db get JFK-2013-06-01T12:00:00Z
  samplestore -d weather.db get a b c -f csv";

/// Show the samples of these ids, in the order given
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Get {
    /// Ids of samples; one that begins with a dash goes behind --
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// How to write the samples [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

impl Get {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        let reader = db.read()?;
        let mut missing = Vec::new();
        let mut found = Vec::new();
        // Bounded by the command line, which the system bounds.
        for id in &self.ids {
            match reader.retrieve(id)? {
                Some(sample) => found.push(sample),
                None => missing.push(id),
            }
        }
        answered(self.write(&found), || {
            for id in &missing {
                complaint(&format!("error: no sample has the id {id:?}"));
            }
            Ok(match missing.is_empty() {
                true => Code::Fine,
                false => Code::Error,
            })
        })
    }

    fn write(&self, found: &[Sample]) -> Result<(), Failure> {
        let mut output = Output::new();
        match output.format(self.format) {
            Format::Table => details(&mut output, found)?,
            format => {
                let columns = || Columns::of(found.iter().cloned().map(Ok));
                let mut writer = SampleWriter::begin(&mut output, format, columns)?;
                for sample in found {
                    writer.write(&mut output, sample)?;
                }
                writer.finish(&mut output, None)?;
            }
        }
        Ok(output.finish()?)
    }
}

fn details(output: &mut Output, samples: &[Sample]) -> Result<(), Failure> {
    use std::io::Write;
    for (index, sample) in samples.iter().enumerate() {
        if index > 0 {
            writeln!(output)?;
        }
        write_details(output, sample)?;
    }
    Ok(())
}
