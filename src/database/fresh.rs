//! [`Fresh`]: a new file that is filled under another name and takes its own when it is whole.
//!
//! So whoever looks sees the old state or the new one, and after a crash there is at worst a file of the other name, which nothing needs.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Access, FileDisk};
use super::draft;
use super::failure::of_draft;
use super::options::sync_folder;
use super::{Database, Durability, Snapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::query::Field;
use crate::sample::Sample;
use crate::storage::Storage;

/// Memory for pages. Samples come in order, so that more of it would be of use to the index of ids alone.
pub(super) const CACHE_BYTES: usize = 64 << 20;

/// Samples, and bytes of them, that are stored at once.
const BATCH_SAMPLES: usize = 2_000;
const BATCH_BYTES: usize = 2 << 20;

/// No sample in any file is larger, in bytes.
const SAMPLE_BYTES_MAX: usize = 512 << 20;

/// A file that is being filled. When it is dropped unfinished it is removed.
pub(super) struct Fresh {
    path: PathBuf,
    /// Its name meanwhile.
    temporary: PathBuf,
    /// `None` once it is closed.
    database: Option<Database>,
    batch: Vec<Sample>,
    batch_bytes: usize,
    /// Fields that get an index when all samples are in it.
    pub(super) fields: Vec<Field>,
    /// Samples that are in it.
    pub(super) samples: u64,
    replaces: bool,
    is_finished: bool,
}

impl Fresh {
    /// A new file, which is to be called `path`, in the place of the one that is there or where nothing is, and is in the same
    /// folder meanwhile. Nobody else may read it before it is finished.
    pub(super) fn create(path: &Path, replaces: bool, operation: &'static str) -> Result<Self> {
        if !replaces && fs::symlink_metadata(path).is_ok() {
            return Err(is_there(path, operation));
        }
        let mut temporary = OsString::from(".");
        temporary.push(path.file_name().unwrap_or_default());
        temporary.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        let temporary = path.with_file_name(temporary);
        create_private(&temporary).map_err(|cause| Error::io(operation, path.display(), cause))?;
        let mut fresh = Self {
            path: path.to_owned(),
            temporary,
            database: None,
            batch: Vec::new(),
            batch_bytes: 0,
            fields: Vec::new(),
            samples: 0,
            replaces,
            is_finished: false,
        };
        let options = Database::options()
            .durability(Durability::Deferred)
            .cache_bytes(CACHE_BYTES)
            .sample_bytes_max(SAMPLE_BYTES_MAX);
        let access = Access::Write { create: false };
        let opened = FileDisk::open(&fresh.temporary, access, true)
            .map_err(|cause| Error::io(operation, path.display(), cause))
            .and_then(|disk| {
                options.open_with(fresh.temporary.clone(), |options, temporary| {
                    options.open_disk(temporary, draft::disk(disk))
                })
            });
        fresh.database = Some(opened.map_err(|error| fresh.named(error))?);
        Ok(fresh)
    }

    /// Adds a sample, in place of one of the same id.
    pub(super) fn add(&mut self, sample: Sample) -> Result<()> {
        self.batch_bytes += sample.encoded_len();
        self.batch.push(sample);
        match self.batch.len() >= BATCH_SAMPLES || self.batch_bytes >= BATCH_BYTES {
            true => self.store(),
            false => Ok(()),
        }
    }

    /// The samples that were added so far.
    pub(super) fn snapshot(&mut self) -> Result<Option<Snapshot>> {
        self.store()?;
        self.database.as_ref().map(Database::snapshot).transpose()
    }

    /// How many samples were added, of those with the same id one.
    pub(super) fn stored(&mut self) -> Result<u64> {
        self.store()?;
        Ok(self.samples)
    }

    /// The error by the name that the file is to have.
    fn named(&self, error: Error) -> Error {
        of_draft(error, &self.path).with_subject(self.path.display())
    }

    fn store(&mut self) -> Result<()> {
        if let Some(database) = &self.database {
            let stored = database.store(&self.batch);
            self.samples += stored.map_err(|error| self.named(error))?.inserted;
        }
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }

    /// Makes the file durable, and gives it its name and the permissions of `like`.
    pub(super) fn finish(mut self, like: &Path, operation: &'static str) -> Result<u64> {
        self.store()?;
        if let Some(database) = self.database.take() {
            for field in &self.fields {
                let made = database.create_index(field, |_| ());
                made.map_err(|error| self.named(error))?;
            }
            database.close().map_err(|error| self.named(error))?;
        }
        let failed = |cause| Error::io(operation, self.path.display(), cause);
        File::open(&self.temporary)
            .and_then(|file| take_rights(&file, like))
            .map_err(failed)?;
        self.is_finished = match self.replaces {
            true => fs::rename(&self.temporary, &self.path).map(|()| true),
            false => take_new_name(&self.temporary, &self.path),
        }
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => is_there(&self.path, operation),
            _ => failed(cause),
        })?;
        sync_folder("rebuild the database", &self.path)?;
        Ok(self.samples)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.is_finished {
            drop(self.database.take());
            if let Err(error) = fs::remove_file(&self.temporary) {
                tracing::warn!(name: "file_left", path = %self.temporary.display(), %error, "a temporary file could not be removed");
            }
        }
    }
}

/// Gives a file the permissions of another one, and where that is allowed its owner.
pub(super) fn take_rights(file: &File, like: &Path) -> io::Result<()> {
    let like = fs::metadata(like)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};

        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            // Root may. Others have made a file of their own, as everybody does who makes one.
            let _ = fchown(file, Some(like.uid()), Some(like.gid()));
        }
    }
    file.set_permissions(like.permissions())
}

fn is_there(path: &Path, operation: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, operation)
        .with_subject(path.display())
        .with_message("it is there already")
}

/// Gives a file a second name, where nothing is, and says whether it is the only one: where there are no links it takes the
/// place of the first.
pub(super) fn take_new_name(old: &Path, new: &Path) -> io::Result<bool> {
    // Unlike another name, a link is refused where there is a file by now. Where there are no links, one that appears between the look and the
    // other name is lost: the calls that would refuse it are each system's own.
    match fs::hard_link(old, new) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if fs::symlink_metadata(new).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(old, new).map(|()| true),
    }
}

/// Makes an empty file that only its owner may read.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
