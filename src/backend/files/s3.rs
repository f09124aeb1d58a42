//! The client for S3.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};

use crate::backend::Location;
use crate::backend::s3::{Bucket, builder};
use crate::error::{Error, ErrorKind, Result};

/// The options of `s3:`. None of them is a secret.
pub(super) const OPTIONS: &[&str] = &[
    "credentials_file",
    "endpoint",
    "format",
    "profile",
    "region",
    "virtual_hosted_style",
];

/// The client, and the prefix of all objects. Nothing is asked of the server yet.
pub(super) fn client(location: &Location) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let bucket = Bucket::of(location)?;
    let prefix = Path::from_url_path(&bucket.prefix).map_err(|cause| {
        location
            .invalid("the prefix cannot be read")
            .with_cause(cause)
    })?;
    // One way of trying again: ours, in objects.rs.
    let retry = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let client = builder!(&bucket, object_store).with_retry(retry).build();
    let client = client.map_err(|cause| {
        Error::new(ErrorKind::InvalidArgument, super::OPEN)
            .with_subject(location)
            .with_cause(cause)
    })?;
    Ok((Arc::new(client), prefix))
}
