//! [`Db`]: the storage that the command is about, and opening it: for reading, which creates nothing, and for
//! writing.
//!
//! A database file gets more care than other storages: it is waited for, repaired where need be, and read
//! through one snapshot. Verbs that are about the file itself ask for a `file`.

use std::path::Path;
use std::time::{Duration, Instant};

use samplestore::{
    Database, Error, ErrorKind, Facets, Histogram, Interval, Location, Options, Page, Query,
    Result, Sample, Samples, Snapshot, Storage,
};

use crate::failure::{Code, Failure, words};
use crate::interrupt;
use crate::progress::{self, Busy, FractionProgress, Seeking};

/// The part of the help texts of verbs that are about the file itself.
pub(crate) const FILE_ALONE: &str =
    "It is for a database file, and takes no URL of another storage.";

/// How long to wait before another look at a file that others have.
const PAUSE: Duration = Duration::from_millis(20);
/// How long at least to wait for another reader that repairs what a writer left that was killed.
const REPAIR_WAIT: Duration = Duration::from_secs(5);

/// A storage that may be there.
pub(crate) struct Db {
    location: Location,
    /// How long to wait while others have the file.
    wait: Duration,
}

/// What the verbs that read have before them.
pub(crate) enum Reader {
    /// A database file at one commit.
    File(Snapshot),
    /// Another storage, as it is at each call.
    Other(Box<dyn Storage>),
}

/// What samples are copied from.
pub(crate) enum Source {
    File(Database),
    Other(Box<dyn Storage>),
}

impl Db {
    pub(crate) fn new(location: Location, wait: Duration) -> Self {
        Self { location, wait }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Opens a storage that must be there, to read it.
    pub(crate) fn read(&self) -> Result<Reader, Failure> {
        Ok(match self.source()? {
            Source::File(database) => Reader::File(database.snapshot()?),
            Source::Other(storage) => Reader::Other(storage),
        })
    }

    /// Opens a storage that must be there, to read it as a storage.
    pub(crate) fn source(&self) -> Result<Source, Failure> {
        match self.location.database()? {
            Some(_) => Ok(Source::File(self.read_file()?)),
            // It would be asked whether it is there, which takes its time where it is not.
            None if self.location.scheme() == "kafka" => Err(Failure::new(
                Code::Error,
                "from kafka: nothing is read here",
            )
            .with_hint("samplestore copy writes into a topic")),
            None => {
                let opened = self.location.clone().create(false).connect();
                Ok(Source::Other(opened.map_err(|error| self.refused(error))?))
            }
        }
    }

    /// Opens a database file that must be there, to read it.
    ///
    /// While another process writes it, that works when the writer shares it with readers, as this command's
    /// own writers do. After its last writer was killed a file must be repaired before it can be read; that is done here,
    /// where the file may be written.
    pub(crate) fn read_file(&self) -> Result<Database, Failure> {
        let (path, options) = self.file()?;
        let reading = || options.clone().create(false).read_only(true);
        let error = match reading().open(path) {
            Ok(database) => return Ok(database),
            Err(error) => error,
        };
        if error.kind() != ErrorKind::NeedsRepair {
            return Err(self.refused(error));
        }
        let began = Instant::now();
        loop {
            match with_progress(options.clone().create(false)).open(path) {
                Ok(repaired) => repaired.close()?,
                // It may only be read, so that it needs repair is all there is to say.
                Err(cause) if cause.kind() == ErrorKind::ReadOnly => return Err(error.into()),
                // Another reader may be at it.
                Err(cause) if cause.kind() == ErrorKind::Locked => {}
                Err(cause) => return Err(cause.into()),
            }
            match reading().open(path) {
                Ok(database) => return Ok(database),
                Err(cause)
                    if matches!(cause.kind(), ErrorKind::NeedsRepair | ErrorKind::Locked)
                        && began.elapsed() < self.wait.max(REPAIR_WAIT) =>
                {
                    std::thread::sleep(PAUSE);
                }
                Err(cause) => return Err(self.refused(cause)),
            }
        }
    }

    /// Does what cannot be done while another process reads along, and waits for that to end.
    pub(crate) fn while_others_read<T>(
        &self,
        work: impl FnMut() -> Result<T>,
    ) -> Result<T, Failure> {
        // This process reads nothing meanwhile.
        let is_held =
            |error: &Error| error.kind() == ErrorKind::InvalidArgument && error.is_retryable();
        match self.waiting(is_held, work) {
            Err(error) if is_held(&error) => {
                let message = format!("{}: another process reads it", self.path()?.display());
                Err(Failure::new(Code::Locked, message).with_hint(
                    "--wait 30s waits for it to end; tail --follow reads until it is ended",
                ))
            }
            done => Ok(done?),
        }
    }

    /// Does what opens the database file by itself, and waits while others have it.
    pub(crate) fn while_locked<T>(&self, work: impl FnMut() -> Result<T>) -> Result<T> {
        self.waiting(|error| error.kind() == ErrorKind::Locked, work)
    }

    /// Tries again while an error says that somebody else is to end first.
    fn waiting<T>(
        &self,
        is_busy: impl Fn(&Error) -> bool,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            match work() {
                Err(error)
                    if is_busy(&error) && began.elapsed() < self.wait && !interrupt::is_asked() =>
                {
                    std::thread::sleep(PAUSE);
                }
                done => return done,
            }
        }
    }

    /// The path of the database file, for a verb that opens it itself.
    pub(crate) fn path(&self) -> Result<&Path, Failure> {
        Ok(self.file()?.0)
    }

    /// The same, for a verb that writes it.
    pub(crate) fn path_to_write(&self) -> Result<&Path, Failure> {
        let (path, options) = self.file()?;
        match options.is_read_only() {
            true => Err(Error::new(ErrorKind::ReadOnly, "open the database")
                .with_subject(path.display())
                .with_message("it was opened for reading only")
                .into()),
            false => Ok(path),
        }
    }

    /// Opens a database file that must be there, to read it and change nothing, alone if possible: beside a writer that
    /// shares it otherwise.
    pub(crate) fn read_alone(&self) -> Result<Database, Failure> {
        let (path, options) = self.file()?;
        let options = options.create(false).read_only(true);
        let error = match options.clone().shared_readers(false).open(path) {
            Ok(database) => return Ok(database),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Locked => Ok(options.open(path)?),
            ErrorKind::NeedsRepair => Err(Failure::from(error).with_hint(
                "its last writer did not close it; samplestore repair finishes what it began, as does any verb that reads or writes",
            )),
            _ => Err(self.refused(error)),
        }
    }

    /// Opens a storage to write it, and creates it when it is not there, unless its URL says not to. Others
    /// may read a file meanwhile.
    pub(crate) fn write(&self) -> Result<Box<dyn Storage>, Failure> {
        match self.location.database()? {
            Some(_) => {
                let (path, options) = self.file()?;
                let opened = with_progress(options).open(path);
                Ok(Box::new(opened.map_err(|error| self.named(error))?))
            }
            None => {
                if self.location.scheme() == "memory" {
                    words("what is stored in memory: is gone when this ends");
                }
                Ok(self.location.connect()?)
            }
        }
    }

    /// Opens a storage that must be there, to change what is in it.
    pub(crate) fn change(&self) -> Result<Source, Failure> {
        match self.location.database()? {
            Some(_) => Ok(Source::File(self.write_existing()?)),
            None => {
                let opened = self.location.clone().create(false).connect();
                Ok(Source::Other(opened.map_err(|error| self.refused(error))?))
            }
        }
    }

    /// Opens a database file that must be there, to change it. Others may read it meanwhile.
    pub(crate) fn write_existing(&self) -> Result<Database, Failure> {
        let (path, options) = self.file()?;
        let options = with_progress(options.create(false));
        options.open(path).map_err(|error| self.refused(error))
    }

    /// Opens a Delta Lake table that must be there, if it is about one.
    #[cfg(feature = "delta")]
    pub(crate) fn write_existing_table(&self) -> Result<Option<samplestore::DeltaTable>, Failure> {
        if !self.location.scheme().starts_with("delta+") {
            return Ok(None);
        }
        let opened = samplestore::DeltaTable::open(&self.location.clone().create(false));
        opened.map(Some).map_err(|error| self.refused(error))
    }

    /// The size of the database file.
    pub(crate) fn file_bytes(&self) -> Result<u64, Failure> {
        let (path, _) = self.file()?;
        let measured = std::fs::metadata(path);
        let measured = measured.map_err(|error| {
            let path = path.display();
            Failure::new(Code::Error, format!("could not measure {path}: {error}"))
        });
        Ok(measured?.len())
    }

    /// Refuses to make a file in the place of the database file.
    pub(crate) fn refuse_as_target(&self, path: &Path) -> Result<(), Failure> {
        let is_file = self.location.database()?.is_some();
        match is_file && self.location.is_same_place(&path.to_owned().into()) {
            true => Err(Failure::usage(format!(
                "{} is the database itself",
                path.display()
            ))),
            false => Ok(()),
        }
    }

    /// The same error with the path of the file in it: not every part of the library knows it.
    fn named(&self, error: Error) -> Error {
        match (error.subject(), self.location.database()) {
            (None | Some("database file"), Ok(Some((path, _)))) => {
                error.with_subject(path.display())
            }
            _ => error,
        }
    }

    /// Why a storage that must be there cannot be opened.
    fn refused(&self, error: Error) -> Failure {
        let error = self.named(error);
        match error.kind() {
            ErrorKind::NotFound => Failure::from(error).with_hint(match self.location.scheme() {
                "redb" => "samplestore import creates a database",
                "s3" | "gs" | "az" | "delta+s3" => {
                    "samplestore import and copy create what is not there, but no bucket or container"
                }
                _ => "samplestore import and copy create what is not there",
            }),
            _ => error.into(),
        }
    }

    /// The database file, and how it is opened, shared with others.
    fn file(&self) -> Result<(&Path, Options), Failure> {
        let Some((path, options)) = self.location.database()? else {
            let scheme = self.location.scheme();
            return Err(Failure::usage(format!(
                "this needs a database file, and {scheme}: is none"
            ))
            .with_hint("samplestore copy makes a file of it"));
        };
        refuse_stream(path)?;
        // A second thread brings pages into memory that the allocator keeps apart, as much as the cache once more.
        let options = options.read_threads(0);
        Ok((path, options.shared_readers(true).lock_timeout(self.wait)))
    }
}

/// Refuses what has no beginning to go back to: opening a pipe would wait for its other end.
fn refuse_stream(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
        if kind.is_ok_and(|kind| kind.is_char_device() || kind.is_fifo() || kind.is_socket()) {
            let message = format!("{} is a device or a pipe, and no database", path.display());
            return Err(
                Failure::new(Code::Damaged, message).with_hint("does --db name the right file?")
            );
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn with_progress(options: Options) -> Options {
    let progress = FractionProgress::new("repairing");
    options.on_repair(move |fraction| {
        // What it has begun it finishes.
        let _ = progress.set(fraction);
    })
}

/// How many samples a query gives, for a bar that somebody sees, where that is told without reading a record.
fn total(query: &Query, count: impl FnOnce() -> Result<u64>) -> Result<Option<u64>> {
    match progress::is_shown() && !reads_records(query) {
        true => count().map(Some),
        false => Ok(None),
    }
}

/// The same of another storage: a server of PostgreSQL counts by its indexes. Documents would be read twice for that, and of a table in
/// Delta Lake each file.
fn other_total(query: &Query, storage: &dyn Storage) -> Result<Option<u64>> {
    match storage.capabilities().name {
        "memory" | "postgres" => total(query, || storage.count(query)),
        _ => Ok(None),
    }
}

/// Whether counting what a query gives reads records, also in a file.
fn reads_records(query: &Query) -> bool {
    !query.conditions().is_empty() || query.id_set().is_some()
}

impl Source {
    /// How many samples a query gives, for a bar that somebody sees, where that is told without reading a record.
    pub(crate) fn total(&self, query: &Query) -> Result<Option<u64>> {
        match self {
            Self::File(database) => total(query, || database.count(query)),
            Self::Other(storage) => other_total(query, &**storage),
        }
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        match self {
            Self::File(database) => database,
            Self::Other(storage) => &**storage,
        }
    }
}

impl Reader {
    pub(crate) fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        match self {
            Self::File(snapshot) => snapshot.retrieve(id),
            Self::Other(storage) => storage.retrieve(id),
        }
    }

    pub(crate) fn list(&self, query: &Query) -> Result<Page> {
        match self {
            Self::File(snapshot) => snapshot.list(query),
            Self::Other(storage) => storage.list(query),
        }
    }

    pub(crate) fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        match self {
            Self::File(snapshot) => snapshot.iterate(query),
            Self::Other(storage) => storage.iterate(query),
        }
    }

    pub(crate) fn count(&self, query: &Query) -> Result<u64> {
        match self {
            Self::File(snapshot) => snapshot.count(query),
            Self::Other(storage) => storage.count(query),
        }
    }

    /// How many samples a query gives, where that is told without reading a record.
    pub(crate) fn known_count(&self, query: &Query) -> Result<Option<u64>> {
        match self {
            Self::File(snapshot) if !reads_records(query) => snapshot.count(query).map(Some),
            _ => Ok(None),
        }
    }

    /// As [`Source::total`].
    pub(crate) fn total(&self, query: &Query) -> Result<Option<u64>> {
        match self {
            Self::File(snapshot) => total(query, || snapshot.count(query)),
            Self::Other(storage) => other_total(query, &**storage),
        }
    }

    pub(crate) fn histogram(&self, query: &Query, interval: Interval) -> Result<Histogram> {
        match self {
            Self::File(snapshot) => snapshot.histogram(query, interval),
            Self::Other(storage) => Histogram::of(storage.iterate(query)?, interval),
        }
    }

    pub(crate) fn facets(&self, query: &Query) -> Result<Facets> {
        match self {
            Self::File(snapshot) => snapshot.facets(query),
            Self::Other(storage) => storage.facets(query),
        }
    }

    /// Whether it may take long until the first sample that a query gives is found.
    fn is_long(&self, query: &Query) -> bool {
        match self {
            Self::File(_) => !query.conditions().is_empty(),
            Self::Other(_) => true,
        }
    }

    /// What is seen while what a query gives is sought, where that may take long and nothing is told of it.
    pub(crate) fn busy(&self, query: &Query) -> Option<Busy> {
        self.is_long(query).then(|| Busy::new("reading samples"))
    }

    /// The same where it is told how many are found.
    pub(crate) fn seeking(&self, query: &Query) -> Option<Seeking> {
        self.is_long(query).then(Seeking::new)
    }
}
