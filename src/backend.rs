//! Every backend by its URL: [`connect`] and [`Location`].
//!
//! Here stands which schemes there are, and which feature each needs. How a URL is read is in
//! `backend/location.rs` and, as a text, `backend/address.rs`; what clients of servers share, a runtime, retries and bounded parallelism, in
//! `backend/runtime.rs`, and what they make of a batch in `backend/batch.rs`; how folders are made durable in `backend/folder.rs`; a backend's own file holds
//! only what is special to it. The chapter [`crate::docs::backends`] has the URLs for users.

mod address;
#[cfg(any(feature = "delta", feature = "files"))]
mod answer;
#[cfg(feature = "s3")]
mod aws;
#[cfg(any(
    feature = "delta",
    feature = "files",
    feature = "kafka",
    feature = "postgres"
))]
mod batch;
#[cfg(feature = "delta")]
mod delta;
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
mod endpoint;
#[cfg(feature = "files")]
mod files;
#[cfg(any(feature = "delta", feature = "files"))]
mod folder;
#[cfg(all(test, any(feature = "delta", feature = "files")))]
mod hooked;
#[cfg(any(feature = "postgres", feature = "s3"))]
mod ini;
#[cfg(feature = "kafka")]
mod kafka;
mod location;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(
    feature = "delta",
    feature = "files",
    feature = "kafka",
    feature = "postgres"
))]
mod runtime;
#[cfg(feature = "s3")]
mod s3;

use std::path::Path;
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
use std::time::Duration;

#[cfg(feature = "delta")]
pub use delta::{DeltaTable, Optimized};
pub use location::Location;

use crate::database::{Database, Durability, Options};
use crate::error::Result;
use crate::memory::MemoryStorage;
use crate::storage::Storage;

/// Opens the storage that a URL, or the path of a database file, names; what is missing is created.
///
/// ```
/// use samplestore::{Query, Sample, Storage, connect};
///
/// let folder = tempfile::tempdir()?;
/// for url in ["memory:", &format!("redb:{}/samples.redb", folder.path().display())] {
///     let storage = connect(url)?;
///     storage.store(&[Sample::builder("weather").build()?])?;
///     assert_eq!(storage.count(&Query::new())?, 1);
///     storage.close()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a URL that cannot be understood, an
/// unknown scheme or option among it; [`Unsupported`](crate::ErrorKind::Unsupported) for a scheme whose
/// feature is off; else those of the backend. No error has a password in it.
pub fn connect(url: &str) -> Result<Box<dyn Storage>> {
    url.parse::<Location>()?.connect()
}

/// What stands before the colon of a URL, and what it stands for.
struct Scheme {
    name: &'static str,
    /// The features of this crate that it needs.
    features: &'static [&'static str],
    /// `None` while one of them is off.
    backend: Option<Backend>,
}

/// The object that marks a place of documents.
#[cfg(any(feature = "delta", feature = "files"))]
const DOCUMENTS_MARK: &str = "samplestore.json";
/// The folder of a Delta Lake table's log.
#[cfg(any(feature = "delta", feature = "files"))]
const DELTA_LOG: &str = "_delta_log";

/// The option that every scheme has.
const CREATE: &str = "create";

/// What a backend is to `connect`.
#[derive(Clone, Copy)]
struct Backend {
    /// The names of its options, beside [`CREATE`].
    options: &'static [&'static str],
    open: fn(&Location) -> Result<Box<dyn Storage>>,
}

impl Scheme {
    const fn always(name: &'static str, backend: Backend) -> Self {
        Self {
            name,
            features: &[],
            backend: Some(backend),
        }
    }
}

/// The scheme of a backend that features turn on.
macro_rules! optional {
    ($name:literal, [$($feature:literal),+], $backend:path) => {
        Scheme {
            name: $name,
            features: &[$($feature),+],
            backend: {
                #[cfg(all($(feature = $feature),+))]
                {
                    Some($backend)
                }
                #[cfg(not(all($(feature = $feature),+)))]
                {
                    None
                }
            },
        }
    };
}

/// Every scheme there is.
const SCHEMES: &[Scheme] = &[
    Scheme::always("redb", DATABASE),
    Scheme::always("memory", MEMORY),
    optional!("file", ["files"], files::FOLDER),
    optional!("s3", ["s3"], files::S3),
    optional!("gs", ["gcs"], files::GCS),
    optional!("az", ["azure"], files::AZURE),
    optional!("delta+file", ["delta"], delta::FOLDER),
    optional!("delta+s3", ["delta", "s3"], delta::S3),
    optional!("postgres", ["postgres"], postgres::POSTGRES),
    optional!("postgresql", ["postgres"], postgres::POSTGRES),
    optional!("kafka", ["kafka"], kafka::KAFKA),
];

/// How long a request to an object store may take. The largest sample is 16 MiB.
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
const REQUEST: Duration = Duration::from_secs(30);
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
const CONNECT: Duration = Duration::from_secs(5);

const MEMORY: Backend = Backend {
    options: &[],
    open: |location| match location.place() {
        "" => Ok(Box::new(MemoryStorage::new())),
        _ => Err(location.invalid("memory: has no name; each is a storage of its own")),
    },
};

const DATABASE: Backend = Backend {
    options: &["cache_bytes", "durability", "read_only", "shared_readers"],
    open: |location| {
        let options = location.database_options()?;
        Ok(Box::new(options.open(location.path()?)?))
    },
};

impl Location {
    /// The path of the database file that it names, and how its options say to open it; `None` when it
    /// names another backend.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for an option's value that cannot be
    /// understood.
    pub fn database(&self) -> Result<Option<(&Path, Options)>> {
        match self.scheme() {
            "redb" => Ok(Some((self.path()?, self.database_options()?))),
            _ => Ok(None),
        }
    }

    fn database_options(&self) -> Result<Options> {
        let mut options = Database::options().create(self.creates());
        if let Some(bytes) = self.parsed("cache_bytes", "a whole number of bytes")? {
            options = options.cache_bytes(bytes);
        }
        if let Some(word) = self.word("durability", &["immediate", "deferred"])? {
            options = options.durability(match word {
                "deferred" => Durability::Deferred,
                _ => Durability::Immediate,
            });
        }
        if let Some(read_only) = self.flag("read_only")? {
            options = options.read_only(read_only);
        }
        if let Some(shared) = self.flag("shared_readers")? {
            options = options.shared_readers(shared);
        }
        Ok(options)
    }
}
