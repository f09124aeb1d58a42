//! Where a table lies: a folder, or a prefix in S3.

use std::path::PathBuf;
use std::sync::Arc;

use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store_0_13::ObjectStore;
use object_store_0_13::path::Path;
use object_store_0_13::prefix::PrefixStore;
use url::Url;

use super::OPEN;
use super::disk::Disk;
use crate::backend::Location;
use crate::error::{Error, ErrorKind, Result};

/// What is needed to get at a table.
pub(super) struct Place {
    pub(super) log_store: LogStoreRef,
    /// The whole store, by which queries know it.
    pub(super) root: Arc<dyn ObjectStore>,
    pub(super) url: Url,
    /// Where it is on a disk; `None` for a server.
    pub(super) folder: Option<PathBuf>,
}

impl Place {
    pub(super) fn new(root: Arc<dyn ObjectStore>, prefix: Path, url: Url) -> Self {
        let table = PrefixStore::new(Arc::clone(&root), prefix);
        let config = StorageConfig::default();
        let log_store = default_logstore(Arc::new(table), Arc::clone(&root), &url, &config);
        Self {
            log_store,
            root,
            url,
            folder: None,
        }
    }
}

/// `delta+file:FOLDER`.
pub(super) fn folder(location: &Location) -> Result<Place> {
    let folder = location.path()?;
    let io = |cause| Error::io(OPEN, folder.display(), cause);
    if location.creates() {
        crate::backend::folder::make(folder).map_err(io)?;
    } else if !folder.is_dir() {
        return Err(not_there(location));
    }
    let folder = folder.canonicalize().map_err(io)?;
    let url = Url::from_directory_path(&folder).ok();
    let url = url.ok_or_else(|| location.invalid("the path cannot be read"))?;
    let prefix = Path::from_absolute_path(&folder).map_err(|cause| {
        let error = location.invalid("the path cannot be read");
        error.with_cause(cause)
    })?;
    Ok(Place {
        folder: Some(folder),
        ..Place::new(Arc::new(Disk::default()), prefix, url)
    })
}

/// `delta+s3://BUCKET/PREFIX`.
#[cfg(feature = "s3")]
pub(super) fn s3(location: &Location) -> Result<Place> {
    use crate::backend::s3::{Bucket, builder};
    use object_store_0_13::{BackoffConfig, RetryConfig};
    use std::time::Duration;

    let bucket = Bucket::of(location)?;
    location.check_prefix(&bucket.prefix)?;
    // The paths of a table's files are encoded in its log, and one `%` more is not told from these.
    if bucket.prefix.contains("%25") {
        return Err(location.invalid("the prefix of a table takes no %"));
    }
    let wrong = || location.invalid("the prefix cannot be read");
    let prefix = Path::from_url_path(&bucket.prefix).map_err(|cause| wrong().with_cause(cause))?;
    let url = format!("s3://{}", bucket.name);
    let mut url = Url::parse(&url).map_err(|cause| wrong().with_cause(cause))?;
    // Encoded anew, since what has a meaning in a URL is a part of a name here.
    let names = prefix.parts();
    url.path_segments_mut()
        .map_err(|()| wrong())?
        .extend(names.map(|name| name.as_ref().to_owned()));
    // The table's readers and writers do not try again themselves.
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: Duration::from_secs(30),
    };
    let client = builder!(&bucket, object_store_0_13).with_retry(retry);
    let client = client.build().map_err(|cause| {
        Error::new(ErrorKind::InvalidArgument, OPEN)
            .with_subject(location)
            .with_cause(cause)
    })?;
    Ok(Place::new(Arc::new(client), prefix, url))
}

pub(super) fn not_there(shown: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, OPEN)
        .with_subject(shown)
        .with_message("there is no table, and it was not to be made")
}
