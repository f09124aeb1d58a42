//! The client for S3.

use std::sync::Arc;

use super::server;
use crate::backend::Location;
use crate::backend::s3::{Bucket, builder};
use crate::error::Result;

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
pub(super) fn client(location: &Location) -> Result<server::Client> {
    let bucket = Bucket::of(location)?;
    let prefix = server::prefix(location, &bucket.prefix)?;
    let client = builder!(&bucket, object_store).with_retry(server::no_retries());
    let client = client
        .build()
        .map_err(|cause| server::unusable(location, cause))?;
    Ok((Arc::new(client), prefix))
}
