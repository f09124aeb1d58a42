//! [`Rejects`]: records that are no samples, with where they stand and why.
//!
//! In the file, each is one JSON object on a line: `line` or `record` (its number, from 1), `reason`, and
//! what was found: `fields`, `cells` when a row does not fit the header or is too large, or the beginning of the `text`
//! when that is no JSON. What `fields` holds is a record that `import` takes with the same flags about fields: of JSON its own text, to
//! the last digit, of a row what stands in its cells, as `mapping/plain.rs` writes it, or in the maps of the sample where it was exported.
//!
//! The file is made at the first reject, so that an import without any touches none.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use indicatif::HumanCount;
use samplestore::Error;
use serde_json::{Map as JsonMap, Value as Json};

use super::mapping::Columns;
use super::size::{check_size, go_through};
use crate::failure::{Failure, words};
use crate::identity::Identity;
use crate::input::{Place, Record, SAMPLE_BYTES_MAX};
use crate::output::refuse_folder;
use crate::progress::ImportProgress;

/// How many reasons are told on stderr when there is no file for them.
const TOLD_MAX: u64 = 5;
/// How much of a text that is no JSON is kept, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// Where rejected records go.
pub(super) struct Rejects {
    path: Option<PathBuf>,
    overwrite: bool,
    /// Made at the first one. Not buffered: they are few, and whoever waits for more input wants to see them.
    file: Option<File>,
    count: u64,
    hint: Option<&'static str>,
    /// Files that it must not be, under whatever name.
    spared: Vec<Identity>,
}

impl Rejects {
    /// Looks whether the file, if there is to be one, can be made, and makes none.
    ///
    /// # Errors
    /// A usage failure for a file that holds something and must not be overwritten.
    pub(super) fn new(path: Option<&Path>, overwrite: bool) -> Result<Self, Failure> {
        if let Some(path) = path {
            check(path, overwrite)?;
        }
        Ok(Self {
            path: path.map(Path::to_owned),
            overwrite,
            file: None,
            count: 0,
            hint: None,
            spared: Vec::new(),
        })
    }

    /// From here on the file is not made over this one.
    pub(super) fn spare(&mut self, file: Option<Identity>) {
        self.spared.extend(file);
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
        columns: Option<&Columns>,
        progress: &ImportProgress,
    ) -> Result<(), Failure> {
        self.count += 1;
        let Some(path) = &self.path else {
            if self.count <= TOLD_MAX {
                progress.suspend(|| words(&format!("rejected {place}: {reason}")));
            }
            return Ok(());
        };
        if self.file.is_none() {
            self.file = Some(create(path, self.overwrite, &self.spared)?);
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(line(place, reason, record, columns).as_bytes())
            .map_err(|cause| failed(path, cause))
    }

    /// Keeps what to do about one of them; the first such hint is told in the end.
    pub(super) fn hint(&mut self, hint: &'static str) {
        self.hint.get_or_insert(hint);
    }

    /// Says how many reasons were not told, and what to do.
    pub(super) fn finish(&self) {
        if self.path.is_none() && self.count > TOLD_MAX {
            let more = HumanCount(self.count - TOLD_MAX);
            words(&format!(
                "rejected {more} more; --rejects FILE keeps them all"
            ));
        }
        if let Some(hint) = self.hint {
            words(&format!(" hint: {hint}"));
        }
    }
}

/// Refuses a file that holds something, unless it may be overwritten, one that has no folder, and a folder.
fn check(path: &Path, overwrite: bool) -> Result<(), Failure> {
    refuse_folder(path)?;
    match fs::metadata(path) {
        Ok(there) if holds_something(&there) && !overwrite => Err(Failure::usage(format!(
            "--rejects: {} is there already",
            path.display()
        ))
        .with_hint("--overwrite puts the rejects of this import in its place")),
        Ok(_) => Ok(()),
        Err(_) => {
            let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
            let there = fs::metadata(folder.unwrap_or(Path::new(".")));
            there.map(drop).map_err(|cause| not_created(path, cause))
        }
    }
}

fn holds_something(there: &Metadata) -> bool {
    there.is_file() && there.len() > 0
}

/// Makes the file. One that is there is emptied only when it is open and known to be none of those that are spared.
fn create(path: &Path, overwrite: bool, spared: &[Identity]) -> Result<File, Failure> {
    // It may have been made meanwhile.
    check(path, overwrite)?;
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let failed = |cause| not_created(path, cause);
    let file = opened.map_err(failed)?;
    let there = file.metadata().map_err(failed)?;
    if Identity::of(&there).is_some_and(|file| spared.contains(&file)) {
        return Err(would_overwrite(path));
    }
    if holds_something(&there) {
        file.set_len(0).map_err(failed)?;
    }
    Ok(file)
}

/// Why rejects do not go there.
pub(super) fn would_overwrite(rejects: &Path) -> Failure {
    Failure::usage(format!(
        "--rejects names {}, which it would overwrite",
        rejects.display()
    ))
}

/// The line of the file that tells one.
fn line(place: Place, reason: &str, record: Record<'_>, columns: Option<&Columns>) -> String {
    let (name, number) = match place {
        Place::Line(number) => ("line", number),
        Place::Record(number) => ("record", number),
    };
    let found = match record {
        // What is in the cells of one that is too large would be, too.
        Record::Row(row) if check_size(record, SAMPLE_BYTES_MAX).is_err() => {
            let cells = row.iter().map(lossy).collect::<Json>();
            Some(("cells", cells.to_string()))
        }
        Record::Row(row) => Some(match columns.and_then(|columns| fields(columns, row)) {
            Some(fields) => ("fields", Json::from(fields).to_string()),
            None => ("cells", row.iter().map(lossy).collect::<Json>().to_string()),
        }),
        Record::Json(text) => Some(match json_text(text) {
            Some(text) => ("fields", text),
            None => {
                let text = &text[..text.len().min(TEXT_BYTES_MAX)];
                ("text", lossy(text).to_string())
            }
        }),
        Record::TooLong => None,
    };
    let reason = Json::from(reason);
    let found = found.map_or_else(String::new, |(name, text)| format!(",\"{name}\":{text}"));
    format!("{{\"{name}\":{number},\"reason\":{reason}{found}}}\n")
}

/// The same JSON on one line, if it is any: its numbers keep their digits.
fn json_text(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    go_through(text.as_bytes()).ok()?;
    // Within strings there are no line ends.
    Some(text.replace(['\n', '\r'], " "))
}

/// What the cells say, if there is one for each column.
fn fields(columns: &Columns, row: &ByteRecord) -> Option<JsonMap<String, Json>> {
    if columns.len() != row.len() {
        return None;
    }
    Some(match columns {
        Columns::Exported(columns) => columns.rejected(row),
        Columns::Plain(columns) => columns.rejected(row),
    })
}

fn lossy(bytes: &[u8]) -> Json {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn not_created(path: &Path, cause: io::Error) -> Failure {
    Error::io("create the file of rejects", path.display(), cause).into()
}

fn failed(path: &Path, cause: io::Error) -> Failure {
    Error::io("write the file of rejects", path.display(), cause).into()
}
