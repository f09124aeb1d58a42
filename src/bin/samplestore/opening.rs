//! Opening the database: for reading, which creates nothing, and for writing.

use std::path::Path;

use samplestore::{ErrorKind, Result};

use crate::failure::Failure;
use crate::progress::RepairProgress;
use crate::standin::{Database, Options};

/// Opens a database that must be there, to read it.
///
/// After its last writer was killed a file must be repaired before it can be read; that is done here,
/// where the file may be written.
pub(crate) fn read(path: &Path) -> Result<Database, Failure> {
    match reading().open(path) {
        Err(error) if error.kind() == ErrorKind::NeedsRepair => {
            let repaired = with_progress(Database::options().create(false)).open(path);
            match repaired {
                Ok(repaired) => drop(repaired),
                Err(cause) if cause.kind() == ErrorKind::ReadOnly => return Err(error.into()),
                Err(cause) => return Err(cause.into()),
            }
            Ok(reading().open(path)?)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Failure::from(error).with_hint("samplestore import creates a database"))
        }
        opened => Ok(opened?),
    }
}

/// Opens a database to write it, and creates it when it is not there.
pub(crate) fn write(path: &Path) -> Result<Database, Failure> {
    Ok(with_progress(Database::options().create(true)).open(path)?)
}

fn reading() -> Options {
    Database::options().create(false).read_only(true)
}

fn with_progress(options: Options) -> Options {
    let progress = RepairProgress::new();
    options.on_repair(move |fraction| progress.set(fraction))
}
