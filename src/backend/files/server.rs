//! What the clients of servers have in common.

use std::sync::Arc;

#[cfg(any(feature = "azure", feature = "gcs"))]
use object_store::ClientOptions;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};

use crate::backend::Location;
#[cfg(any(feature = "azure", feature = "gcs"))]
use crate::backend::{CONNECT, REQUEST};
use crate::error::{Error, ErrorKind, Result};

/// A client, and what stands before all objects.
pub(super) type Client = (Arc<dyn ObjectStore>, Path);

/// How long requests may take; that of S3 has it from its builder.
#[cfg(any(feature = "azure", feature = "gcs"))]
pub(super) fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(REQUEST)
        .with_connect_timeout(CONNECT)
}

/// One way of trying again: ours, in `objects.rs`.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// What stands before all objects.
pub(super) fn prefix(location: &Location, prefix: &str) -> Result<Path> {
    location.check_prefix(prefix)?;
    Path::from_url_path(prefix).map_err(|cause| {
        location
            .invalid("the prefix cannot be read")
            .with_cause(cause)
    })
}

/// The error for settings of which no client can be made.
pub(super) fn unusable(location: &Location, cause: object_store::Error) -> Error {
    Error::new(ErrorKind::InvalidArgument, super::OPEN)
        .with_subject(location)
        .with_cause(cause)
}
