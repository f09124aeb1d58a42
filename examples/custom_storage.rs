//! A storage of your own: one JSON file per sample in a folder, in about fifty lines.
//!
//! It implements the five methods `capabilities`, `store`, `close`, `retrieve` and `scan`, and inherits
//! everything else: queries, pages, counts, facets, moving samples from status to status. Its `main`
//! stores and queries a few samples, and then lets the conformance suite say what it keeps of the
//! contract:
//!
//! ```text
//! cargo run --example custom_storage
//! ```
//!
//! A file is named by the sample's rank, its place in the order of first storing, and not by its id:
//! an id may hold slashes and NULs and be 512 bytes long, which no file name may. Which rank an id has
//! is kept in memory and found again when the folder is opened, by reading every file. That, and one
//! `fsync` per sample, is what the simplicity costs. One process may open a folder at a time; nothing
//! here keeps a second one out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use samplestore::{
    Capabilities, Error, ErrorKind, Ranked, Result, Sample, Scan, Storage, StoreReport, check_batch,
};

/// A folder of samples.
#[derive(Debug)]
pub(crate) struct FolderStorage {
    folder: PathBuf,
    /// Tells this folder's cursors from those of others.
    identity: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The rank of each id: 0, 1, 2 … without a gap, since nothing is ever deleted.
    ranks: BTreeMap<String, u64>,
    closed: bool,
}

impl Storage for FolderStorage {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::full("folder");
        capabilities.atomic_batches = false; // each file is written whole or not at all, a batch not
        capabilities.streaming = false; // `scan` reads every file before it gives the first sample
        capabilities.delete = false; // the one method that is not inherited
        capabilities
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        let mut state = self.lock("store a batch")?;
        check_batch(batch, self.capabilities().sample_bytes_max)?;
        let mut report = StoreReport::default();
        for (position, sample) in batch.iter().enumerate() {
            let known = state.ranks.get(sample.id()).copied();
            let rank = known.unwrap_or(state.ranks.len() as u64);
            self.write(rank, sample).map_err(|cause| {
                partial(&batch[..position], cause).with_sample(position, sample.id())
            })?;
            state.ranks.insert(sample.id().to_owned(), rank);
            report += StoreReport::new(known.is_none().into(), known.is_some().into());
        }
        if !batch.is_empty() {
            self.sync_names()?;
        }
        Ok(report)
    }

    fn close(&self) -> Result<()> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed = true;
        Ok(())
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        let state = self.lock("retrieve a sample")?;
        let rank = state.ranks.get(id);
        rank.map(|rank| self.read(*rank)).transpose()
    }

    fn scan(&self) -> Result<Scan<'_>> {
        let state = self.lock("read samples")?; // held to the last file, so that no writer comes between
        let samples: Vec<_> = (0..state.ranks.len() as u64)
            .map(|rank| self.read(rank).map(|sample| Ranked { rank, sample }))
            .collect();
        Ok(Scan {
            identity: self.identity,
            samples: Box::new(samples.into_iter()),
        })
    }
}

impl FolderStorage {
    /// Opens a folder, which is created if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or holds a file that is no sample.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let folder = folder.to_owned();
        let failed = |cause| Error::io("open a folder of samples", folder.display(), cause);
        fs::create_dir_all(&folder).map_err(failed)?;

        let path = folder.join("identity");
        if !path.exists() {
            let number = uuid::Uuid::new_v4().as_u64_pair().0;
            write_whole(&path, number.to_string().as_bytes()).map_err(failed)?;
        }
        let identity = fs::read_to_string(&path)
            .map_err(failed)?
            .parse()
            .map_err(|cause| {
                Error::new(ErrorKind::Damaged, "open a folder of samples")
                    .with_subject(path.display())
                    .with_cause(cause)
            })?;

        let storage = Self {
            folder,
            identity,
            state: Mutex::default(),
        };
        let mut state = storage.lock("open a folder of samples")?;
        let mut rank = 0;
        while storage.path(rank).exists() {
            state
                .ranks
                .insert(storage.read(rank)?.id().to_owned(), rank);
            rank += 1;
        }
        drop(state);
        Ok(storage)
    }

    fn lock(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.closed {
            true => Err(Error::closed(operation)),
            false => Ok(state),
        }
    }

    fn path(&self, rank: u64) -> PathBuf {
        self.folder.join(format!("{rank:012}.json"))
    }

    fn read(&self, rank: u64) -> Result<Sample> {
        let path = self.path(rank);
        let text = fs::read_to_string(&path)
            .map_err(|cause| Error::io("read a sample", path.display(), cause))?;
        Sample::from_json_text(&text).map_err(|error| error.with_subject(path.display()))
    }

    fn write(&self, rank: u64, sample: &Sample) -> Result<()> {
        let path = self.path(rank);
        write_whole(&path, sample.to_json_text()?.as_bytes())
            .map_err(|cause| Error::io("write a sample", path.display(), cause))
    }

    /// Makes the names of new files durable. Folders can be synced on Unix; elsewhere the file system
    /// sees to it.
    fn sync_names(&self) -> Result<()> {
        if cfg!(unix) {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(|cause| Error::io("sync a folder", self.folder.display(), cause))?;
        }
        Ok(())
    }
}

/// Writes a file so that after a crash it is there whole, or as it was before.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// The error of a batch of which these samples are stored, and the next one is not (rule W1).
fn partial(stored: &[Sample], cause: Error) -> Error {
    let ids = stored.iter().map(|sample| sample.id().to_owned());
    Error::new(ErrorKind::Partial, "store a batch")
        .with_stored_ids(ids.collect())
        .with_retryable(cause.is_retryable())
        .with_cause(cause)
}

#[allow(dead_code, clippy::print_stdout)] // the tests include this file for the storage alone
fn main() -> Result<()> {
    use samplestore::conformance::Suite;
    use samplestore::{Query, Status, data};

    let folder = std::env::temp_dir().join(format!("custom_storage-{}", std::process::id()));
    let storage = FolderStorage::open(&folder)?;
    let make = |id: &str, temp: f64| {
        let sample = Sample::builder("weather").id(id);
        sample
            .data(data! { "temp" => temp, "station" => "JFK" })
            .build()
    };
    storage.store(&[
        make("2013-06-01T12", 71.6)?,
        make("2013-06-01T13", f64::NAN)?,
    ])?;
    storage.set_status(
        &"2013-06-01T12".into(),
        Some(Status::Pending),
        Status::Ready,
    )?;
    for sample in storage.list(&Query::new().status(Status::Ready))?.samples {
        println!("{}", sample.to_json_text()?);
    }
    storage.close()?;

    // A place for each case, numbered, all of them in the same temporary folder.
    let places = std::cell::Cell::new(0);
    let base = folder.clone();
    let place = move || {
        places.set(places.get() + 1);
        base.join(places.get().to_string())
    };
    let report = Suite::reopening(place, |folder| FolderStorage::open(folder)).run();
    println!("\n{report}");
    fs::remove_dir_all(&folder).map_err(|cause| Error::io("clean up", folder.display(), cause))?;
    report.assert_passed();
    Ok(())
}
