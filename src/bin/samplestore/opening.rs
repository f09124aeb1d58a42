//! [`Db`]: the database that the command is about, and opening it: for reading, which creates nothing, and for writing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use samplestore::{Database, Error, ErrorKind, Options, Storage};

use crate::failure::{Code, Failure};
use crate::progress::FractionProgress;

/// A database file that may be there.
pub(crate) struct Db {
    path: PathBuf,
    /// How long to wait while others have it.
    wait: Duration,
}

impl Db {
    pub(crate) fn new(path: PathBuf, wait: Duration) -> Self {
        Self { path, wait }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a database that must be there, to read it.
    ///
    /// While another process writes it, that works when the writer shares it with readers, as this command's
    /// own writers do. After its last writer was killed a file must be repaired before it can be read; that is done here,
    /// where the file may be written.
    pub(crate) fn read(&self) -> Result<Database, Failure> {
        let path = &self.path;
        let error = match self.reading().open(path) {
            Ok(database) => return Ok(database),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::NeedsRepair => {
                let repairing = Database::options().create(false).shared_readers(true);
                match with_progress(repairing.lock_timeout(self.wait)).open(path) {
                    Ok(repaired) => repaired.close()?,
                    // It may only be read, so that it needs repair is all there is to say.
                    Err(cause) if cause.kind() == ErrorKind::ReadOnly => return Err(error.into()),
                    Err(cause) => return Err(cause.into()),
                }
                Ok(self.reading().open(path)?)
            }
            _ => Err(refused(error)),
        }
    }

    /// Opens a database to write it, and creates it when it is not there. Others may read it meanwhile.
    pub(crate) fn write(&self) -> Result<Database, Failure> {
        let options = Database::options().create(true).shared_readers(true);
        Ok(with_progress(options.lock_timeout(self.wait)).open(&self.path)?)
    }

    /// Opens a database that must be there, to change it. Others may read it meanwhile.
    pub(crate) fn write_existing(&self) -> Result<Database, Failure> {
        let options = Database::options().create(false).shared_readers(true);
        let options = with_progress(options.lock_timeout(self.wait));
        options.open(&self.path).map_err(refused)
    }

    /// The size of the file.
    pub(crate) fn file_bytes(&self) -> Result<u64, Failure> {
        let measured = std::fs::metadata(&self.path);
        let measured = measured.map_err(|error| {
            let path = self.path.display();
            Failure::new(Code::Error, format!("could not measure {path}: {error}"))
        });
        Ok(measured?.len())
    }

    fn reading(&self) -> Options {
        let options = Database::options().create(false).read_only(true);
        options.shared_readers(true).lock_timeout(self.wait)
    }
}

/// Why a database that must be there cannot be opened.
fn refused(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => {
            Failure::from(error).with_hint("samplestore import creates a database")
        }
        _ => error.into(),
    }
}

fn with_progress(options: Options) -> Options {
    let progress = FractionProgress::new("repairing");
    options.on_repair(move |fraction| progress.set(fraction))
}
