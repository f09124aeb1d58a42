//! The client for S3: bucket and prefix from the URL, credentials from where AWS's own tools have them.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::backend::{Location, aws};
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

/// How long a request may take. The largest sample is 16 MiB.
const REQUEST: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);

/// The client, and the prefix of all objects. Nothing is asked of the server yet.
pub(super) fn client(location: &Location) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let place = location.place().strip_prefix("//").unwrap_or("");
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(location.invalid("there is no bucket: s3://BUCKET/PREFIX"));
    }
    if bucket.contains(['@', ':']) {
        return Err(location.invalid(
            "credentials do not stand in the URL but in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or a profile",
        ));
    }
    let prefix = Path::from_url_path(prefix).map_err(|cause| {
        location
            .invalid("the prefix cannot be read")
            .with_cause(cause)
    })?;

    // One way of trying again: ours, in objects.rs.
    let retry = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let options = ClientOptions::new()
        .with_timeout(REQUEST)
        .with_connect_timeout(CONNECT);
    let mut builder = AmazonS3Builder::from_env()
        .with_client_options(options)
        .with_bucket_name(bucket)
        .with_retry(retry);
    let profile = aws::profile(location)?;
    let from_profile = |name: &str| profile.get(name).map(String::as_str);
    if let (Some(id), Some(secret)) = (
        from_profile("aws_access_key_id"),
        from_profile("aws_secret_access_key"),
    ) {
        builder = builder
            .with_access_key_id(id)
            .with_secret_access_key(secret);
        builder = match from_profile("aws_session_token") {
            Some(token) => builder.with_token(token),
            None => builder,
        };
    }
    // What the URL says goes before what the environment says, and that before the profile.
    let setting = |option: &str, variables: &[&str], name: &str| {
        let in_env = || {
            variables
                .iter()
                .find_map(|variable| std::env::var(variable).ok())
        };
        let found = location.option(option).map(str::to_owned).or_else(in_env);
        found.or_else(|| from_profile(name).map(str::to_owned))
    };
    if let Some(region) = setting("region", &["AWS_REGION", "AWS_DEFAULT_REGION"], "region") {
        builder = builder.with_region(region);
    }
    let variables = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    if let Some(endpoint) = setting("endpoint", &variables, "endpoint_url") {
        // Whoever names such an endpoint means it.
        let allow_http = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(allow_http);
    }
    if let Some(virtual_hosted) = location.flag("virtual_hosted_style")? {
        builder = builder.with_virtual_hosted_style_request(virtual_hosted);
    }
    let client = builder.build().map_err(|cause| {
        Error::new(ErrorKind::InvalidArgument, super::OPEN)
            .with_subject(location)
            .with_cause(cause)
    })?;
    Ok((Arc::new(client), prefix))
}
