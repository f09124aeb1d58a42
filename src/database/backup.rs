//! [`Backup`]: a copy of the database at one commit, while readers and a writer go on.
//!
//! The copy is made of one view, value by value: every row keeps its number, so that indexes are copied as they are and
//! cursors go on to work, and records are packed on the way (`pack.rs`). A copy of pages would take the holes along;
//! one of samples would make every index again. What is written (`backup/copy.rs`) is hashed, table by table (`backup/hashes.rs`), and
//! the finished file is read back, every value and every record against its seal, and hashed again. That says that the copy is what was
//! read; that nothing was missing where it was read, as where a page is an older version of itself, says the check (`check.rs`) of the copy. Only
//! then it gets its name.

mod copy;
mod hashes;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Builder;

use super::Database;
use super::disk::{Access, Disk, FileDisk};
use super::draft;
use super::failure::{
    Context, commit_failure, damaged, disk_failure, file_failure, guard, of_draft, wrap,
};
use super::fresh::{take_new_name, take_rights};
use super::header::HALF_BYTES;
use super::options::sync_folder;
use super::schema::{FIELDS, TablesMut};
use super::view::View;
use super::volume::{Backend, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::proceed::{Proceed, told};
use copy::Copy;
use hashes::Hashes;

const OPERATION: &str = "back up the database";

/// Memory for pages of the copy.
const CACHE_BYTES: usize = 32 << 20;
/// The caller is told of progress each so many entries.
const TOLD_ENTRIES: u64 = 64;
/// The share of the time that the check of the copy takes: of a million samples, 5 of 23 seconds.
const CHECK_SHARE: f64 = 0.25;

/// Is told how far a copy is, and says whether it goes on.
type OnProgress = dyn Fn(f64) -> bool + Send + Sync;

/// How [`Database::backup`] makes its copy.
#[derive(Clone, Default)]
#[must_use = "nothing is copied until a database is asked to"]
pub struct Backup {
    overwrite: bool,
    on_progress: Option<Arc<OnProgress>>,
}

impl Backup {
    /// Never over a file that is there, and without telling how far it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the copy may take the place of a file that is there. Off by default.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Is told now and then how far it has come, from 0 to 1.
    pub fn on_progress<P: Proceed>(
        mut self,
        progress: impl Fn(f64) -> P + Send + Sync + 'static,
    ) -> Self {
        self.on_progress = Some(Arc::new(move |done| progress(done).proceeds()));
        self
    }
}

impl Database {
    /// Makes a copy of the database, as it is now, at `path`, and says how many samples are in it.
    ///
    /// The copy is compact, durable, and checked after it was written as by [`check`](Self::check). It is this database: ids,
    /// order and cursors are the same in it. To restore it, close the file and make a backup of the copy over it, with
    /// [`overwrite`](Backup::overwrite): as long as somebody writes the file that is [`Locked`](ErrorKind::Locked), where to move the copy into its place
    /// would lose what is stored meanwhile. Others read and write meanwhile, and the file keeps what the copy shows, as with a [`Snapshot`](super::Snapshot). Of memory it
    /// takes 32 MiB for pages, and the status planes, 5 bits for each sample ever stored.
    ///
    /// A file that it takes the place of is one that no other process writes, and stays as it is for those that read it. Where `path` is a link, it is the
    /// file that the link leads to.
    ///
    /// It is written under another name in the same folder, which only its owner may read, and gets its own name, and
    /// the permissions of the database's file, at the end. When it fails that file is removed; what a killed process leaves is
    /// named like the copy, with a dot before and `.tmp` behind it.
    ///
    /// ```
    /// use samplestore::{Backup, Database, Query, Sample, Storage};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let database = Database::open(folder.path().join("samples.redb"))?;
    /// database.store(&[Sample::builder("weather").build()?])?;
    ///
    /// let path = folder.path().join("monday.redb");
    /// assert_eq!(database.backup(&path, &Backup::new())?, 1);
    /// assert_eq!(Database::open(&path)?.count(&Query::new())?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when there is a file at `path` and it may not be overwritten, or it is the
    /// database's own; [`Locked`](ErrorKind::Locked) when another process writes that file; [`Damaged`](ErrorKind::Damaged) when the database is, so
    /// that its copy would be too;
    /// [`Closed`](ErrorKind::Closed), [`NotFound`](ErrorKind::NotFound) for the folder, [`ReadOnly`](ErrorKind::ReadOnly),
    /// [`Full`](ErrorKind::Full), [`Io`](ErrorKind::Io), [`Interrupted`](ErrorKind::Interrupted).
    pub fn backup(&self, path: impl AsRef<Path>, backup: &Backup) -> Result<u64> {
        let path = &target(path.as_ref(), backup.overwrite);
        let view = self.engine.view(OPERATION)?;
        check_target(path, self.path(), backup.overwrite)?;
        if backup.overwrite {
            drop(lock(path)?);
        }
        let draft = Draft::create(path)?;
        guard(OPERATION, || {
            let mut told = Told::new(&view, backup.on_progress.as_deref())?;
            let written = draft.fill(&view, &mut told)?;
            let copy = draft.verify(&written, &mut told)?;
            check_copy(&copy, backup.on_progress.as_ref())?;
            drop(copy);
            draft.finish(path, self.path(), backup.overwrite)?;
            told.end();
            Ok(view.state.samples())
        })
        .map_err(|error| of_draft(error, path))
        .map_err(|error| match error.subject() {
            Some(_) => error,
            None => error.with_subject(path.display()),
        })
    }
}

/// The file that is to become the copy: what a link leads to, where it may be overwritten.
fn target(path: &Path, overwrite: bool) -> PathBuf {
    let is_link = fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink());
    let linked = (overwrite && is_link).then(|| path.canonicalize().ok());
    linked.flatten().unwrap_or_else(|| path.to_owned())
}

/// Keeps other processes from writing the file that is there, if any, as long as what this gives is held.
fn lock(path: &Path) -> Result<Option<FileDisk>> {
    let disk = match FileDisk::open(path, Access::Read, false) {
        Ok(disk) => disk,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // Whether somebody writes it cannot be known.
        Err(error) => return Err(file_failure(OPERATION, path, error)),
    };
    let failed = |error| Error::io(OPERATION, path.display(), error);
    match disk.try_lock_whole(true).map_err(failed)? {
        true => Ok(Some(disk)),
        false => Err(Error::new(ErrorKind::Locked, OPERATION)
            .with_subject(path.display())
            .with_message("another process, or another handle of this one, writes it")
            .with_retryable(true)),
    }
}

/// Refuses a path that must not become a copy.
fn check_target(path: &Path, own: &Path, overwrite: bool) -> Result<()> {
    let refused = |message: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, OPERATION)
            .with_message(message)
            .with_subject(path.display()))
    };
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let is_own = matches!((path.canonicalize(), own.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if is_own {
        return refused("it is the database's own file");
    }
    match overwrite {
        false => refused("there is a file already, and it was not to be overwritten"),
        true if there.is_dir() => refused("it is a folder"),
        true if fs::metadata(path).is_ok_and(|there| !there.is_file()) => {
            refused("it is no file, but a device or the like")
        }
        true => Ok(()),
    }
}

/// Refuses a copy whose tables do not fit together: then those of the database do not.
fn check_copy(copy: &Database, on_progress: Option<&Arc<OnProgress>>) -> Result<()> {
    let on_progress = on_progress.cloned();
    let report = copy.check(move |done| {
        let done = 1.0 - CHECK_SHARE * (1.0 - done);
        match on_progress.as_ref().is_none_or(|progress| progress(done)) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    match report.faults.first() {
        None => Ok(()),
        Some(fault) => Err(damaged(
            OPERATION,
            format!(
                "the copy would have {} faults, the first of them: {}: {}",
                report.total(),
                fault.kind,
                fault.message
            ),
        )),
    }
}

/// A copy that has no name of its own yet. It is removed unless it gets one.
struct Draft {
    path: PathBuf,
    file: File,
    is_finished: std::cell::Cell<bool>,
}

impl Draft {
    /// Makes a file of a name that nobody has, for its owner alone.
    fn create(target: &Path) -> Result<Self> {
        let name = target.file_name().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, OPERATION)
                .with_message("it names no file")
                .with_subject(target.display())
        })?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        let path = target.with_file_name(hidden);
        let mut options = OpenOptions::new();
        // A link that is there is not followed, but refused.
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(&path)
            .map_err(|cause| Error::io(OPERATION, target.display(), cause))?;
        Ok(Self {
            path,
            file,
            is_finished: false.into(),
        })
    }

    fn disk(&self) -> Result<Arc<dyn Disk>> {
        let failed = |cause| Error::io(OPERATION, self.path.display(), cause);
        let file = self.file.try_clone().map_err(failed)?;
        FileDisk::of(file).map(draft::disk).map_err(failed)
    }

    /// Writes all of a view, and gives the hashes of what was written.
    fn fill(&self, view: &View, told: &mut Told<'_>) -> Result<Hashes> {
        let volume = Arc::new(Volume::new(
            self.disk()?,
            Access::Write { create: true },
            HALF_BYTES,
        ));
        let mut database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Backend(Arc::clone(&volume)))
            .context(OPERATION)?;
        let mut transaction = database.begin_write().context(OPERATION)?;
        transaction.set_quick_repair(true);
        let hashes = {
            let mut copy = Copy {
                view,
                tables: TablesMut::open_all(&transaction)?,
                fields: match view.field_table() {
                    Some(_) => Some(transaction.open_table(FIELDS).context(OPERATION)?),
                    None => None,
                },
                hashes: Hashes::default(),
            };
            copy.all(told)?;
            copy.hashes
        };
        transaction.commit().map_err(commit_failure)?;
        // Rows of pages were set aside for more.
        database
            .compact()
            .map_err(|error| wrap(error.into(), OPERATION))?;
        volume.finish()?;
        database.close().context(OPERATION)?;
        Ok(hashes)
    }

    /// Reads the copy back, from the disk as far as the system lets us, and gives it, opened.
    fn verify(&self, written: &Hashes, told: &mut Told<'_>) -> Result<Database> {
        let synced = draft::sync(&self.file);
        synced.map_err(|error| disk_failure(OPERATION, error))?;
        let options = Database::options().read_only(true).cache_bytes(CACHE_BYTES);
        let copy = options.open_disk(self.path.clone(), self.disk()?)?;
        let view = copy.engine.view(OPERATION)?;
        let mut read = Hashes::default();
        read.read(&view, told)?;
        match read == *written {
            true => Ok(copy),
            false => Err(damaged(OPERATION, "the copy is not what was written")),
        }
    }

    /// Gives the copy its name.
    fn finish(&self, path: &Path, own: &Path, overwrite: bool) -> Result<()> {
        let failed = |cause| Error::io(OPERATION, path.display(), cause);
        match take_rights(&self.file, own) {
            // It was removed since it was opened: the copy may be all that is left, and stays its owner's alone.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            taken => taken.map_err(failed)?,
        }
        draft::sync(&self.file).map_err(failed)?;
        let _held = match overwrite {
            true => lock(path)?,
            false => None,
        };
        let is_finished = match overwrite {
            true => fs::rename(&self.path, path).map(|()| true),
            false => take_new_name(&self.path, path),
        };
        if let Err(error) = &is_finished
            && error.kind() == std::io::ErrorKind::AlreadyExists
        {
            check_target(path, own, overwrite)?;
        }
        self.is_finished.set(is_finished.map_err(failed)?);
        sync_folder(OPERATION, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished.get()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(name: "file_left", path = %self.path.display(), %error, "a draft of a copy was left behind");
        }
    }
}

/// Tells the caller how far it is.
struct Told<'a> {
    progress: Option<&'a OnProgress>,
    entries: u64,
    /// How many are written and read back in all, about.
    total: u64,
}

impl<'a> Told<'a> {
    fn new(view: &View, progress: Option<&'a OnProgress>) -> Result<Self> {
        let entries = view.tables.entries()?;
        Ok(Self {
            progress,
            entries: 0,
            total: 2 * entries.max(1),
        })
    }

    fn entry(&mut self) -> Result<()> {
        self.entries += 1;
        match self.progress {
            Some(progress) if self.entries % TOLD_ENTRIES == 1 => {
                let share = (self.entries as f64 / self.total as f64).min(1.0);
                told(OPERATION, progress((1.0 - CHECK_SHARE) * share))
            }
            _ => Ok(()),
        }
    }

    fn end(&self) {
        if let Some(progress) = self.progress {
            let _ = progress(1.0);
        }
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup")
            .field("overwrite", &self.overwrite)
            .finish_non_exhaustive()
    }
}
