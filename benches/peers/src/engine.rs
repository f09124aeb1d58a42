//! [`Engine`]: what each database in the comparison can be asked, and the form its answers have.

use std::path::Path;

use samplestore::{Cursor, Facets, Sample, Status};

use crate::samples::{Data, Measurements, Row};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// Cache of every engine that has one of its own (LMDB has none). Pages are of 4,096 bytes everywhere: by option in
/// SQLite, and in the others because they are of that size there.
pub const CACHE_BYTES: usize = 256 << 20;

/// The engines by the names they have in tables and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    Samplestore,
    SqliteJson,
    SqliteBlob,
    NativeDb,
    Lmdb,
    Fjall,
    /// `Durability::Deferred`.
    SamplestoreDeferred,
    /// `synchronous=NORMAL`.
    SqliteBlobNormal,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Samplestore,
        Self::SqliteJson,
        Self::SqliteBlob,
        Self::NativeDb,
        Self::Lmdb,
        Self::Fjall,
        Self::SamplestoreDeferred,
        Self::SqliteBlobNormal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Samplestore => "samplestore",
            Self::SqliteJson => "sqlite-json",
            Self::SqliteBlob => "sqlite-blob",
            Self::NativeDb => "native-db",
            Self::Lmdb => "lmdb",
            Self::Fjall => "fjall",
            Self::SamplestoreDeferred => "samplestore-deferred",
            Self::SqliteBlobNormal => "sqlite-blob-normal",
        }
    }

    /// Whether a store may be lost when power fails. Such engines take part in writing alone: they read as
    /// their strict twins do.
    pub fn is_relaxed(self) -> bool {
        matches!(self, Self::SamplestoreDeferred | Self::SqliteBlobNormal)
    }

    /// Whether it is SQLite as users have it who lose nothing: the better of these is what ours is compared with.
    pub fn is_sqlite(self) -> bool {
        matches!(self, Self::SqliteJson | Self::SqliteBlob)
    }

    /// The engine of the same durability that its figures are divided by.
    pub fn ours(self) -> Self {
        if self.is_relaxed() {
            Self::SamplestoreDeferred
        } else {
            Self::Samplestore
        }
    }

    /// Bytes on disk for each sample before compaction, rounded up: for saying beforehand whether a run fits.
    pub fn disk_bytes_per_sample(self) -> u64 {
        match self {
            Self::Samplestore | Self::SamplestoreDeferred => 600,
            Self::SqliteJson => 550,
            Self::SqliteBlob | Self::SqliteBlobNormal => 450,
            Self::NativeDb => 1_200,
            Self::Lmdb | Self::Fjall => 650,
        }
    }

    /// Opens the database in this folder, and makes it unless it is there.
    pub fn open(self, folder: &Path) -> Result<Box<dyn Engine>> {
        use crate::{fjall, lmdb, native_db, samplestore as ours, sqlite};
        use ::samplestore::Durability;
        use sqlite::{Format, Synchronous};
        Ok(match self {
            Self::Samplestore => Box::new(ours::Samplestore::open(folder, Durability::Immediate)?),
            Self::SamplestoreDeferred => {
                Box::new(ours::Samplestore::open(folder, Durability::Deferred)?)
            }
            Self::SqliteJson => Box::new(sqlite::Sqlite::open(
                folder,
                Format::Json,
                Synchronous::Full,
            )?),
            Self::SqliteBlob => Box::new(sqlite::Sqlite::open(
                folder,
                Format::Blob,
                Synchronous::Full,
            )?),
            Self::SqliteBlobNormal => Box::new(sqlite::Sqlite::open(
                folder,
                Format::Blob,
                Synchronous::Normal,
            )?),
            Self::NativeDb => Box::new(native_db::NativeDb::open(folder)?),
            Self::Lmdb => Box::new(lmdb::Lmdb::open(folder)?),
            Self::Fjall => Box::new(fjall::Fjall::open(folder)?),
        })
    }
}

/// A database in the comparison. Dropping it closes it.
pub trait Engine: Send + Sync {
    /// Stores a batch in one transaction, each sample new or in place of the whole sample of its id.
    fn store(&self, batch: &[Row]) -> Result<()>;

    /// What belongs to a load and is done at its end: a checkpoint.
    fn finish_load(&self) -> Result<()> {
        Ok(())
    }

    /// Whether stores from now on are synced, for filling a database whose load is not what is measured; false when the
    /// engine cannot change that while it is open. Turning it on again makes all that was stored durable.
    fn set_synced(&self, _synced: bool) -> Result<bool> {
        Ok(false)
    }

    /// What a user does once after a load, outside its timing: statistics for the planner.
    fn analyze(&self) -> Result<()> {
        Ok(())
    }

    fn retrieve(&self, id: &str, form: Form) -> Result<Option<Found>>;

    fn list(&self, ask: &Ask, form: Form) -> Result<Vec<Found>>;

    /// A page of `ask.limit`, oldest first, behind the place of an earlier one; typed.
    fn page(&self, ask: &Ask, after: Option<&Place>) -> Result<(Vec<Found>, Option<Place>)>;

    /// Every sample in order of time, one by one, typed.
    fn scan(&self, see: &mut dyn FnMut(Found)) -> Result<()>;

    fn count(&self, ask: &Ask) -> Result<u64>;

    fn facets(&self) -> Result<Facets>;

    /// Moves what `ask` gives (without order and limit) in one transaction.
    fn set_status(&self, ask: &Ask, to: Status) -> Result<u64>;

    /// Moves the samples of these ids in one transaction.
    fn set_status_of(&self, ids: &[String], to: Status) -> Result<u64>;

    /// Deletes what `ask` gives (without order and limit) in one transaction.
    fn delete(&self, ask: &Ask) -> Result<u64>;

    /// Writes a copy that is as small as it gets into an empty folder; false when it can only compact its own files.
    fn copy_compacted(&self, _folder: &Path) -> Result<bool> {
        Ok(false)
    }

    /// Makes its own files as small as they get; for engines that have no better way of their own in `copy_compacted`.
    fn compact(&mut self) -> Result<()> {
        Ok(())
    }
}

/// How far a found sample is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// `data` and `measurements` as the caller's own structs.
    Typed,
    /// Both as the bytes that were stored.
    Raw,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Self::Typed => "typed",
            Self::Raw => "raw",
        }
    }
}

/// A query.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    pub pipeline: Option<&'static str>,
    pub status: Option<Status>,
    /// First and last instant, both included.
    pub range: Option<(i64, i64)>,
    pub newest: bool,
    pub limit: Option<u64>,
}

/// Where a page ended.
#[derive(Clone, Debug)]
pub enum Place {
    Cursor(Cursor),
    /// The instant and the number of the last row.
    Key(i64, u64),
}

/// A sample as each library hands it out.
#[derive(Clone, Debug)]
pub enum Head {
    Sample(Sample),
    Row {
        id: String,
        pipeline: String,
        status: Status,
        created_at: i64,
    },
}

/// A found sample in the caller's hands.
#[derive(Clone, Debug)]
pub struct Found {
    pub head: Head,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    Typed(Data, Measurements),
    Raw(Vec<u8>, Vec<u8>),
    /// Raw, in the sample of the head.
    InSample,
}

impl Found {
    pub fn id(&self) -> &str {
        match &self.head {
            Head::Sample(sample) => sample.id(),
            Head::Row { id, .. } => id,
        }
    }

    /// Every field but the payload, for comparing answers.
    pub fn line(&self) -> (String, String, Status, i64) {
        match &self.head {
            Head::Sample(sample) => (
                sample.id().to_owned(),
                sample.pipeline().to_owned(),
                sample.status(),
                sample.created_at().timestamp_micros(),
            ),
            Head::Row {
                id,
                pipeline,
                status,
                created_at,
            } => (id.clone(), pipeline.clone(), *status, *created_at),
        }
    }

    /// Bytes of the payload while it is raw.
    pub fn raw_bytes(&self) -> usize {
        match (&self.body, &self.head) {
            (Body::Raw(data, measurements), _) => data.len() + measurements.len(),
            (Body::InSample, Head::Sample(sample)) => {
                sample.data().len() + sample.measurements().len()
            }
            _ => 0,
        }
    }

    /// A number out of the decoded payload, so that it cannot be left undecoded; 0 when it is raw.
    pub fn sum(&self) -> f64 {
        match &self.body {
            Body::Typed(data, measurements) => data.number as f64 + measurements.quality,
            Body::Raw(..) | Body::InSample => 0.0,
        }
    }
}

/// The status of this number, as the engines keep it.
pub fn status_of(code: u8) -> Result<Status> {
    Status::ALL
        .get(usize::from(code))
        .copied()
        .ok_or_else(|| format!("no status has the code {code}").into())
}
