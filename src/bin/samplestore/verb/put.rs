//! `put`: one sample, from flags or from standard input.

use std::io::{self, IsTerminal, Read, Write};

use chrono::{DateTime, Utc};
use clap::Args;
use samplestore::{Sample, Status, Storage};
use serde::de::IgnoredAny;
use serde_json::{Map as JsonMap, Value as Json, json};

use super::import::{Cell, check_whole_numbers, make_id, parse_once, sample_of_text};
use crate::arguments::{one_status, parse_when, tell_instant};
use crate::failure::{Code, Failure, Outcome, words, words_of};
use crate::input::{RECORD_BYTES_MAX, begins_array};
use crate::interrupt;
use crate::opening::Db;
use crate::output::{Output, escape};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db put --pipeline JFK --status ready \\
      --data temp=71.6 --data wind='[270, 12]'
  samplestore -d weather.db put --pipeline JFK --id JFK-1 \\
      --measurement score=0.93
  echo '{\"id\":\"a\",\"pipeline\":\"JFK\"}' | samplestore -d weather.db put

The id goes to standard output; a sample that comes without one gets a new UUIDv7. A sample of the same id is replaced. \
VALUE is a number, true, false or null, a JSON list, map or text, or else a text as it is.";

/// Store one sample
///
/// With --pipeline it is made of the flags, else it is read from standard input in the form that list writes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Put {
    /// The pipeline that it is of
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Its id [default: a new one]
    #[arg(
        long,
        value_name = "ID",
        requires = "pipeline",
        allow_hyphen_values = true
    )]
    id: Option<String>,
    /// Its status [default: pending]
    #[arg(long, value_name = "STATUS", requires = "pipeline", value_parser = one_status())]
    status: Option<Status>,
    /// When it was created [default: now]
    #[arg(long, value_name = "WHEN", requires = "pipeline", value_parser = parse_when, allow_hyphen_values = true)]
    created_at: Option<DateTime<Utc>>,
    /// When it was measured
    #[arg(long, value_name = "WHEN", requires = "pipeline", value_parser = parse_when, allow_hyphen_values = true)]
    measured_at: Option<DateTime<Utc>>,
    /// A field of its data; several by repeating it
    #[arg(long = "data", value_name = "NAME=VALUE", requires = "pipeline", value_parser = field, allow_hyphen_values = true)]
    data: Vec<(String, Json)>,
    /// A measurement; several by repeating it
    #[arg(long = "measurement", value_name = "NAME=VALUE", requires = "pipeline", value_parser = field, allow_hyphen_values = true)]
    measurements: Vec<(String, Json)>,
}

impl Put {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        tell_instant("created-at", self.created_at);
        tell_instant("measured-at", self.measured_at);
        let sample = match &self.pipeline {
            Some(pipeline) => self.sample(pipeline)?,
            None => from_input()?,
        };
        let db = db.write()?;
        interrupt::watch()?;
        let report = db.store(std::slice::from_ref(&sample))?;
        db.close()?;
        let done = match report.replaced {
            0 => "inserted",
            _ => "replaced",
        };
        words(&format!("{done} {:?}", sample.id()));
        let mut output = Output::new();
        // Into a pipe it goes as it is, for whoever asks for that id again.
        let id = match output.is_terminal() {
            true => escape(sample.id()),
            false => sample.id().into(),
        };
        writeln!(output, "{id}")?;
        output.finish()?;
        Ok(Code::Fine)
    }

    fn sample(&self, pipeline: &str) -> Result<Sample, Failure> {
        let map = |flag: &str, fields: &[(String, Json)]| -> Result<Json, Failure> {
            let mut map = JsonMap::new();
            for (name, value) in fields {
                if map.insert(name.clone(), value.clone()).is_some() {
                    return Err(Failure::usage(format!("--{flag} gives {name:?} twice")));
                }
            }
            Ok(map.into())
        };
        let id = self.id.clone();
        let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let sample = Sample::from_json(json!({
            "id": id,
            "pipeline": pipeline,
            "status": self.status,
            "created_at": self.created_at,
            "measured_at": self.measured_at,
            "data": map("data", &self.data)?,
            "measurements": map("measurement", &self.measurements)?,
        }));
        sample.map_err(|error| Failure::usage(words_of(&error)))
    }
}

fn from_input() -> Result<Sample, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::usage("there is nothing to put").with_hint(
            "give --pipeline and the other flags, or pipe a sample into standard input",
        ));
    }
    let mut text = String::new();
    let bytes_max = RECORD_BYTES_MAX as u64 + 1;
    io::stdin()
        .lock()
        .take(bytes_max)
        .read_to_string(&mut text)
        .map_err(|cause| {
            Failure::new(
                Code::Error,
                format!("could not read standard input: {cause}"),
            )
        })?;
    if text.len() > RECORD_BYTES_MAX {
        let words = format!("the sample is longer than {} MiB", RECORD_BYTES_MAX >> 20);
        return Err(Failure::new(Code::Error, words));
    }
    // A byte order mark is of the text and not of the sample.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.trim();
    sample_of_text(text, make_id).map_err(|error| {
        let failure = Failure::from(error);
        match hint_at_import(text) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    })
}

/// What to do about a text that holds more than one sample.
fn hint_at_import(text: &str) -> Option<&'static str> {
    if begins_array(text.as_bytes()) {
        return Some("samplestore import -f json - stores all samples of an array");
    }
    let values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let is_one_of_several = values.take_while(Result::is_ok).nth(1).is_some();
    is_one_of_several.then_some("samplestore import - stores several samples, one on each line")
}

/// Reads a field and its value.
fn field(text: &str) -> Result<(String, Json), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "a field is written NAME=VALUE".to_owned())?;
    if name.is_empty() {
        return Err("the field has no name; it is written NAME=VALUE".to_owned());
    }
    let value = match value.as_bytes().first() {
        Some(b'{' | b'[' | b'"') => {
            check_whole_numbers(value)?;
            parse_once(value).map_err(|cause| match cause.is_data() {
                true => cause.to_string(),
                false => format!("{value:?} is no JSON: {cause}"),
            })?
        }
        None => Json::String(String::new()),
        _ if value == "null" => Json::Null,
        _ => serde_json::to_value(Cell::read(value)).map_err(|cause| cause.to_string())?,
    };
    Ok((name.to_owned(), value))
}
