//! [`Rejects`]: records that are no samples, with where they stand and why.
//!
//! In the file, each is one JSON object on a line: `line` or `record` (its number, from 1), `reason`, and
//! what was found: `fields`, `cells` when a row does not fit the header, or the beginning of the `text`
//! when that is no JSON.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use samplestore::Error;
use serde_json::{Map as JsonMap, Value as Json};

use crate::failure::{Failure, words};
use crate::input::{Place, Record};
use crate::progress::ImportProgress;

/// How many reasons are told on stderr when there is no file for them.
const TOLD_MAX: u64 = 5;
/// How much of a text that is no JSON is kept, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// Where rejected records go.
pub(super) struct Rejects {
    file: Option<(PathBuf, BufWriter<File>)>,
    count: u64,
}

impl Rejects {
    /// Makes the file, if there is to be one, and empties it.
    pub(super) fn create(path: Option<&Path>) -> Result<Self, Failure> {
        let file = path.map(|path| match File::create(path) {
            Ok(file) => Ok((path.to_owned(), BufWriter::new(file))),
            Err(cause) => Err(Error::io(
                "create the file of rejects",
                path.display(),
                cause,
            )),
        });
        Ok(Self {
            file: file.transpose()?,
            count: 0,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Keeps one, or tells it on stderr.
    pub(super) fn add(
        &mut self,
        place: Place,
        reason: &str,
        record: Record<'_>,
        header: Option<&[String]>,
        progress: &ImportProgress,
    ) -> Result<(), Failure> {
        self.count += 1;
        let Some((path, file)) = &mut self.file else {
            if self.count <= TOLD_MAX {
                progress.suspend(|| words(&format!("rejected {place}: {reason}")));
            }
            return Ok(());
        };
        let mut object = JsonMap::new();
        match place {
            Place::Line(number) => object.insert("line".to_owned(), number.into()),
            Place::Record(number) => object.insert("record".to_owned(), number.into()),
        };
        object.insert("reason".to_owned(), reason.into());
        match record {
            Record::Row(row) => match header.filter(|header| header.len() == row.len()) {
                Some(header) => object.insert("fields".to_owned(), fields(header, row)),
                None => object.insert("cells".to_owned(), row.iter().map(lossy).collect()),
            },
            Record::Json(text) => match serde_json::from_slice(text) {
                Ok(json) => object.insert("fields".to_owned(), json),
                Err(_) => {
                    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
                    object.insert("text".to_owned(), lossy(text))
                }
            },
            Record::TooLong => None,
        };
        writeln!(file, "{}", Json::Object(object)).map_err(|cause| failed(path, cause))
    }

    /// Writes out what is gathered, and says how many reasons were not told.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match &mut self.file {
            Some((path, file)) => file.flush().map_err(|cause| failed(path, cause)),
            None => {
                if self.count > TOLD_MAX {
                    let more = self.count - TOLD_MAX;
                    words(&format!(
                        "rejected {more} more; --rejects FILE keeps them all"
                    ));
                }
                Ok(())
            }
        }
    }
}

fn fields(header: &[String], row: &ByteRecord) -> Json {
    let fields = header
        .iter()
        .zip(row)
        .map(|(name, cell)| (name.clone(), lossy(cell)));
    Json::Object(fields.collect())
}

fn lossy(bytes: &[u8]) -> Json {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn failed(path: &Path, cause: std::io::Error) -> Failure {
    Error::io("write the file of rejects", path.display(), cause).into()
}
