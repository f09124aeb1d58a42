//! The client for Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;

use super::server;
use crate::backend::Location;
use crate::error::Result;

/// The options of `gs:`. None of them is a secret.
pub(super) const OPTIONS: &[&str] = &["credentials_file", "endpoint", "format"];

/// The client, and the prefix of all objects. Nothing is asked of the server yet.
pub(super) fn client(location: &Location) -> Result<server::Client> {
    let (bucket, prefix) = location.bucket("BUCKET")?;
    let prefix = server::prefix(location, prefix)?;
    // As the client has it by itself: only a server that somebody names is asked without TLS.
    let options = server::client_options().with_allow_http(true);
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(options)
        .with_retry(server::no_retries());
    if let Some(file) = location.option("credentials_file") {
        builder = builder.with_application_credentials(file);
    }
    if let Some(endpoint) = location.endpoint()? {
        builder = builder.with_base_url(&endpoint);
    }
    let client = builder.build();
    let client = client.map_err(|cause| server::unusable(location, cause))?;
    Ok((Arc::new(client), prefix))
}
