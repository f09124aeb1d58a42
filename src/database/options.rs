//! [`Options`]: how a database file is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Builder, ConcurrencyMode, ReadableDatabase};

use super::Database;
use super::commit::Committer;
use super::disk::{Access, Disk, FileDisk};
use super::engine::{Engine, Handle};
use super::failure::{Context, commit_failure, damaged, file_failure, guard, open_failure};
use super::header::{HALF_BYTES, HALF_BYTES_MAX, Layout, PAGE_BYTES};
use super::log::{Log, Record};
use super::schema::TablesMut;
#[cfg(feature = "simulation")]
use super::simulation::Mutant;
use super::state::{IDENTITY, Identity, State, copy_state, write_state};
use super::view::View;
use super::volume::{Backend, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::sample::SAMPLE_BYTES_MAX;

const OPERATION: &str = "open the database";

const READ_THREADS_MAX: usize = 16;
/// A file that another process has is tried again after this time, and then each time after twice the last, up to the
/// second one.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// How often a file is opened anew because another one was put in its place.
const REPLACED_MAX: usize = 16;

/// When a store is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// When it returns: it survives the loss of the process and of power.
    #[default]
    Immediate,
    /// With the next [`flush`](crate::Storage::flush) or `close`, and now and then by itself. It survives
    /// the loss of the process; with the loss of power, what came after that is lost, and what is left is whole.
    Deferred,
}

/// How a [`Database`] is opened: start with [`Database::options`].
///
/// ```
/// use samplestore::{Database, Durability};
///
/// let folder = tempfile::tempdir()?;
/// let database = Database::options()
///     .cache_bytes(64 << 20)
///     .durability(Durability::Deferred)
///     .open(folder.path().join("samples.redb"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `open` is called"]
pub struct Options {
    create: bool,
    read_only: bool,
    shared_readers: bool,
    lock_timeout: Duration,
    cache_bytes: usize,
    pub(super) read_threads: usize,
    pub(super) durability: Durability,
    verify_on_open: bool,
    pub(super) sample_bytes_max: usize,
    on_repair: Option<Arc<dyn Fn(f64) + Send + Sync>>,
    /// How many bits of an id's hash a new file uses; fewer than 64 in tests of colliding ids.
    pub(super) hash_bits: u8,
    /// Bytes of each half of the log in a new file; fewer in simulations, so that they wrap often.
    pub(super) log_half_bytes: u64,
    #[cfg(feature = "simulation")]
    pub(super) mutant: Option<Mutant>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            shared_readers: false,
            lock_timeout: Duration::ZERO,
            cache_bytes: 256 << 20,
            read_threads: default_read_threads(),
            durability: Durability::Immediate,
            verify_on_open: false,
            sample_bytes_max: SAMPLE_BYTES_MAX,
            on_repair: None,
            hash_bits: 64,
            log_half_bytes: HALF_BYTES,
            #[cfg(feature = "simulation")]
            mutant: None,
        }
    }
}

impl Options {
    /// Whether a file that does not exist is made. On by default.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether the handle only reads: it never makes, repairs or changes a file. Off by default.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether the handle is to read alone; see [`read_only`](Self::read_only).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether other processes may read while one writes. Off by default: a handle that writes then
    /// keeps every other process out, and readers share the file with readers only. The writer and
    /// its readers must agree on it; readers follow the writer's commits. It costs the writer the
    /// log: each commit writes its pages where they belong, and syncs twice. It does not go with [`Durability::Deferred`]. While a reader holds a
    /// [`Snapshot`](super::Snapshot) or an iterator, the writer's file keeps what they see, and grows.
    pub fn shared_readers(mut self, shared_readers: bool) -> Self {
        self.shared_readers = shared_readers;
        self
    }

    /// How long opening waits while others have the file, trying again at most 100 ms apart. Not at all by
    /// default. Whoever tries first when the file is free gets it, not who waits longest.
    pub fn lock_timeout(mut self, lock_timeout: Duration) -> Self {
        self.lock_timeout = lock_timeout;
        self
    }

    /// Memory for pages of the file, in bytes; 256 MiB by default. A handle that writes keeps up to 9 MiB beside it, for what it writes next.
    pub fn cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// How many threads of the file's own help whoever reads many samples at once: lists and iterators of some
    /// hundreds and more. 16 at most; 1 by default, where the machine has a second core, and it starts with the first such
    /// read. With none, such reads take about half as long again.
    ///
    /// An allocator that keeps memory apart for each thread, as glibc's does, may hold as much as
    /// [`cache_bytes`](Self::cache_bytes) once more for each, when the pages that one thread brought into the
    /// cache make room for those of another: 490 MB instead of 315 in a process that stores a million samples and
    /// then iterates over them. Where memory is short, choose 0.
    pub fn read_threads(mut self, read_threads: usize) -> Self {
        self.read_threads = read_threads.min(READ_THREADS_MAX);
        self
    }

    /// When a store is durable; [`Durability::Immediate`] by default.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether the checksum of every page is verified when the file is opened, which reads all of it.
    /// Off by default; without effect on a handle that only reads.
    pub fn verify_on_open(mut self, verify_on_open: bool) -> Self {
        self.verify_on_open = verify_on_open;
        self
    }

    /// The largest sample taken, in bytes of [`Sample::encoded_len`](crate::Sample::encoded_len);
    /// 16 MiB by default, 512 MiB at most.
    pub fn sample_bytes_max(mut self, sample_bytes_max: usize) -> Self {
        self.sample_bytes_max = sample_bytes_max;
        self
    }

    /// Is told how far opening has come where the last process that wrote the file did not end well: from 0 to 1 while
    /// the commits in its log are carried out again, and before that, in the rare cases in which every page must be looked at, from 0 to
    /// 1 while that is done. The chapter on [what survives what](crate::docs::what_survives_what) says how long these take.
    pub fn on_repair(mut self, progress: impl Fn(f64) + Send + Sync + 'static) -> Self {
        self.on_repair = Some(Arc::new(progress));
        self
    }

    /// For tests of colliding ids.
    #[cfg(test)]
    pub(super) fn hash_bits(mut self, hash_bits: u8) -> Self {
        self.hash_bits = hash_bits;
        self
    }

    /// Opens the file at `path`, in time that does not grow with the samples in it unless it must be
    /// repaired or verified.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when it is not there and not to be made;
    /// [`Locked`](ErrorKind::Locked) while another process has it open, after the
    /// [`lock_timeout`](Self::lock_timeout);
    /// [`NotADatabase`](ErrorKind::NotADatabase), [`Damaged`](ErrorKind::Damaged) or
    /// [`FormatTooNew`](ErrorKind::FormatTooNew) for what is in it;
    /// [`NeedsRepair`](ErrorKind::NeedsRepair) when it was not closed and the handle only reads;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for options that do not go together;
    /// [`ReadOnly`](ErrorKind::ReadOnly), [`Full`](ErrorKind::Full) and [`Io`](ErrorKind::Io).
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        self.open_with(path.as_ref().to_path_buf(), |options, path| {
            options.open_when_free(&path)
        })
    }

    /// Opens what has this name in a way that neither panics nor fails without naming it.
    pub(super) fn open_with(
        self,
        path: PathBuf,
        open: impl FnOnce(Self, PathBuf) -> Result<Database>,
    ) -> Result<Database> {
        let named = path.display().to_string();
        let span = tracing::debug_span!("open", path = %named).entered();
        let opened = self
            .check()
            .and_then(|()| guard(OPERATION, || open(self, path)))
            .map_err(|error| match error.subject() {
                Some(_) => error,
                None => error.with_subject(&named),
            });
        drop(span);
        opened
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: &str| {
            Err(Error::new(ErrorKind::InvalidArgument, OPERATION).with_message(message))
        };
        if self.shared_readers && self.durability == Durability::Deferred {
            return wrong("shared readers need immediate durability: they read what is on disk");
        }
        if self.sample_bytes_max > 512 << 20 {
            return wrong("sample_bytes_max is at most 512 MiB");
        }
        let half_bytes = self.log_half_bytes;
        if !half_bytes.is_multiple_of(PAGE_BYTES)
            || !(PAGE_BYTES..=HALF_BYTES_MAX).contains(&half_bytes)
        {
            return wrong("half of the log is a multiple of 4,096 bytes, and 1 GiB at most");
        }
        Ok(())
    }

    /// Opens the file, again and again while others have it and the timeout is not over.
    fn open_when_free(&self, path: &Path) -> Result<Database> {
        let start = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let opened = self.open_file(path);
            let left = self.lock_timeout.saturating_sub(start.elapsed());
            match opened {
                Err(error) if error.kind() == ErrorKind::Locked && !left.is_zero() => {
                    tracing::debug!(name: "waiting", ?pause, ?left, "others have the file, trying again");
                    std::thread::sleep(pause.min(left));
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                opened => return opened,
            }
        }
    }

    fn open_file(&self, path: &Path) -> Result<Database> {
        let exists = path
            .try_exists()
            .map_err(|cause| Error::io(OPERATION, path.display(), cause))?;
        if !exists && (self.read_only || !self.create) {
            return Err(Error::new(ErrorKind::NotFound, OPERATION)
                .with_message("there is no such file, and it was not to be made"));
        }
        let failed = |cause| file_failure(OPERATION, path, cause);
        for _ in 0..REPLACED_MAX {
            let disk = FileDisk::open(path, self.access(), !self.shared_readers);
            if let Some(opened) = self.open_unless_replaced(path, disk.map_err(failed)?)? {
                return opened;
            }
        }
        Err(Error::new(ErrorKind::Locked, OPERATION)
            .with_message("others go on putting another file in its place")
            .with_retryable(true))
    }

    /// Opens the file that was at `path`, and says how that went; `None` when another one is there since it was locked.
    pub(super) fn open_unless_replaced(
        &self,
        path: &Path,
        disk: FileDisk,
    ) -> Result<Option<Result<Database>>> {
        let disk = Arc::new(disk);
        let opened = self.clone().open_disk(path.to_path_buf(), disk.clone());
        let is_there = disk.is_at(path);
        match is_there.map_err(|cause| Error::io(OPERATION, path.display(), cause))? {
            true => Ok(Some(opened)),
            false => Ok(None),
        }
    }

    fn access(&self) -> Access {
        match self.read_only {
            true => Access::Read,
            false => Access::Write {
                create: self.create,
            },
        }
    }

    /// Opens what is on `disk`; `path` is its name.
    pub(super) fn open_disk(self, path: PathBuf, disk: Arc<dyn Disk>) -> Result<Database> {
        let volume = Volume::new(disk, self.access(), self.log_half_bytes);
        let volume = Arc::new(match self.shared_readers {
            true => volume,
            false => volume.alone(),
        });
        let refused = |error| {
            let refusal = volume.take_refusal();
            refusal.unwrap_or_else(|| open_failure(error, &path))
        };
        let backend = Backend(Arc::clone(&volume));
        let mut builder = Builder::new();
        // The rest is for records that are read ahead.
        builder.set_cache_size(self.cache_bytes - self.cache_bytes / 32);
        if self.shared_readers {
            builder.set_concurrency_mode(ConcurrencyMode::SingleWriter);
        }
        if self.read_only {
            let database = builder
                .open_read_only_with_backend(backend)
                .map_err(refused)?;
            let transaction = database.begin_read().context(OPERATION)?;
            let view = View::read(transaction, volume.counters())?;
            view.tables.open_all()?;
            let (_, records) = open_log(&volume, &view)?;
            let base = layout(&volume)?.base;
            if !records.is_empty() {
                return Err(Error::new(ErrorKind::NeedsRepair, OPERATION)
                    .with_message("its last writer did not close it; open it for writing once"));
            }
            tracing::info!(name: "opened", samples = view.state.samples(), is_new = false, is_read_only = true, "opened");
            let view = (!self.shared_readers).then_some(view);
            let handle = Handle::Reads { database };
            let engine = Engine::new(path, volume, &self, base, handle, view, None);
            return Ok(Database::new(engine));
        }
        builder.set_check_integrity_on_open(self.verify_on_open);
        let on_repair = self.on_repair.clone().unwrap_or_else(|| Arc::new(|_| ()));
        builder.set_repair_callback({
            let on_repair = Arc::clone(&on_repair);
            move |session| {
                tracing::info!(name: "page_check", progress = session.progress(), "looking at every page");
                on_repair(session.progress());
            }
        });
        let database = builder.create_with_backend(backend).map_err(refused)?;
        let is_new = volume.is_new();
        let begun = guard(OPERATION, || {
            self.begin(&database, &volume, &path, &*on_repair)
        });
        let (view, committer) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                volume.give_up();
                // Not while it unwinds: redb panics once more where it closes what it panicked about, and that would end the process.
                let _ = guard(OPERATION, || {
                    drop(database);
                    Ok(())
                });
                return Err(error);
            }
        };
        volume.opened();
        let base = layout(&volume)?.base;
        tracing::info!(name: "opened", samples = view.state.samples(), is_new, is_read_only = false, "opened");
        let handle = Handle::Writes { database };
        let engine = Engine::new(
            path,
            volume,
            &self,
            base,
            handle,
            Some(view),
            Some(committer),
        );
        Ok(Database::new(engine))
    }

    /// What a database that is open for writing begins with: the tables of a new one, or what its last writer left in the log.
    fn begin(
        &self,
        database: &redb::Database,
        volume: &Arc<Volume>,
        path: &Path,
        on_repair: &dyn Fn(f64),
    ) -> Result<(View, Committer)> {
        if volume.is_new() {
            make_tables(database, Identity::new(self.hash_bits))?;
            // Before the file counts as made: the next opening of one that does not makes it anew, and does this again.
            sync_folder(OPERATION, path)?;
            volume.finish()?;
        }
        let transaction = database.begin_read().context(OPERATION)?;
        let view = View::read(transaction, volume.counters())?;
        view.tables.open_all()?;
        let (log, records) = open_log(volume, &view)?;
        let is_immediate = self.durability == Durability::Immediate;
        let volume = Arc::clone(volume);
        let mut committer =
            Committer::new(volume, log, !self.shared_readers, is_immediate, &view.state);
        let view = match records.is_empty() {
            true => view,
            false => committer.replay(database, &view, &records, on_repair)?,
        };
        Ok((view, committer))
    }
}
/// One, where there is a core for it.
fn default_read_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores - 1).min(1)
}

/// Makes it durable that a file is in its folder, where the system has a way to.
pub(super) fn sync_folder(operation: &'static str, path: &Path) -> Result<()> {
    if cfg!(unix)
        && let Some(folder) = path.parent()
        && path.exists()
    {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|cause| Error::io(operation, folder.display(), cause))?;
    }
    Ok(())
}

/// The log behind what redb has, and the commits that follow there.
fn open_log(volume: &Volume, view: &View) -> Result<(Log, Vec<Record>)> {
    Log::open(
        Arc::clone(volume.disk()),
        layout(volume)?,
        view.state.mark,
        volume.was_closed(),
    )
}

fn layout(volume: &Volume) -> Result<Layout> {
    volume
        .layout()
        .ok_or_else(|| damaged(OPERATION, "its head was not read"))
}

/// Makes every table of a new file, in one commit.
fn make_tables(database: &redb::Database, identity: Identity) -> Result<()> {
    let transaction = database.begin_write().context(OPERATION)?;
    {
        let mut tables = TablesMut::open_all(&transaction)?;
        write_state(tables.summary.open()?, &State::new())?;
        let identity = identity.encode();
        tables
            .meta
            .open()?
            .insert(IDENTITY, identity.as_slice())
            .context(OPERATION)?;
    }
    copy_state(&transaction)?;
    transaction.commit().map_err(commit_failure)
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("create", &self.create)
            .field("read_only", &self.read_only)
            .field("shared_readers", &self.shared_readers)
            .field("lock_timeout", &self.lock_timeout)
            .field("cache_bytes", &self.cache_bytes)
            .field("read_threads", &self.read_threads)
            .field("durability", &self.durability)
            .field("verify_on_open", &self.verify_on_open)
            .field("sample_bytes_max", &self.sample_bytes_max)
            .finish_non_exhaustive()
    }
}
