//! `index`: indexes of fields, by which `--where` reads what matches.

use std::io::Write;

use clap::{Args, Subcommand};
use samplestore::{Field, Storage};
use serde_json::json;

use crate::failure::{Code, Failure, Outcome, words, words_of};
use crate::fields::tell_unknown_fields;
use crate::interrupt;
use crate::opening::{Db, FILE_ALONE, Reader};
use crate::output::{Output, ReportFormat, escape, percent};
use crate::progress::FractionProgress;

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db index add measurements.temp
  samplestore -d weather.db explain --where 'measurements.temp > 90'
  samplestore -d weather.db index list";

/// Make and drop indexes of fields, so that --where reads only what matches
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}"))]
pub(crate) struct Index {
    #[command(subcommand)]
    verb: IndexVerb,
}

#[derive(Debug, Subcommand)]
enum IndexVerb {
    Add(Add),
    Drop(Drop),
    List(List),
}

/// Make an index of a field; others may read meanwhile, and where it was interrupted it goes on
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db index add measurements.temp
  samplestore -d weather.db index add 'data.\"wind speed\"'")]
pub(crate) struct Add {
    /// data.NAME or measurements.NAME
    #[arg(value_name = "FIELD", value_parser = parse_field)]
    field: Field,
}

/// Drop the index of a field
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db index drop measurements.temp")]
pub(crate) struct Drop {
    /// data.NAME or measurements.NAME
    #[arg(value_name = "FIELD", value_parser = parse_field)]
    field: Field,
}

/// List the indexes, and how far each is made
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samplestore -d weather.db index list -f json")]
pub(crate) struct List {
    /// How to write them [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Index {
    /// Whether it changes the database.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.verb, IndexVerb::List(_))
    }

    pub(crate) fn run(self, db: &Db) -> Outcome {
        match self.verb {
            IndexVerb::Add(verb) => verb.run(db),
            IndexVerb::Drop(verb) => verb.run(db),
            IndexVerb::List(verb) => verb.run(db),
        }
    }
}

fn parse_field(text: &str) -> Result<Field, String> {
    text.parse()
        .map_err(|error: samplestore::Error| words_of(&error))
}

impl Add {
    fn run(self, db: &Db) -> Outcome {
        let database = db.write_existing()?;
        let reader = Reader::File(database.snapshot()?);
        // It is made all the same: samples may yet come that have it.
        tell_unknown_fields(&reader, [&self.field].into_iter())?;
        drop(reader);
        let progress = FractionProgress::new("indexing");
        interrupt::watch()?;
        let created = database.create_index(&self.field, |fraction| progress.set(fraction));
        drop(progress);
        let indexes = database.indexes();
        let closed = database.close();
        let is_new = created.map_err(|error| {
            let indexes = indexes.unwrap_or_default();
            let index = indexes.iter().find(|index| index.field == self.field);
            let share = percent(index.map_or(0.0, |index| index.progress));
            interrupt::ended(
                error,
                &format!("{share} are indexed; run it again, and it goes on from there"),
            )
        })?;
        closed?;
        words(&match is_new {
            true => format!("made an index of {}", self.field),
            false => format!("there is an index of {} already", self.field),
        });
        Ok(Code::Fine)
    }
}

impl Drop {
    fn run(self, db: &Db) -> Outcome {
        let database = db.write_existing()?;
        interrupt::watch()?;
        let was_there = database.drop_index(&self.field)?;
        let fields = database.indexes()?;
        database.close()?;
        if !was_there {
            let fields: Vec<_> = fields.iter().map(|index| index.field.to_string()).collect();
            let failure = Failure::usage(format!("there is no index of {}", self.field));
            return Err(failure.with_hint(match fields.is_empty() {
                true => "the database has none".to_owned(),
                false => format!("there are {}", fields.join(", ")),
            }));
        }
        words(&format!("dropped the index of {}", self.field));
        Ok(Code::Fine)
    }
}

impl List {
    fn run(self, db: &Db) -> Outcome {
        let indexes = db.read_file()?.indexes()?;
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table => {
                for index in &indexes {
                    let field = index.field.to_string();
                    writeln!(output, "{}  {}", escape(&field), percent(index.progress))?;
                }
            }
            format => output.json(format, &json!({ "indexes": indexes }))?,
        }
        output.finish()?;
        Ok(Code::Fine)
    }
}
