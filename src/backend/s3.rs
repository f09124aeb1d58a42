//! S3 as URLs name it: bucket and prefix, and settings from where AWS's own tools have them.
//!
//! What goes over the wire is the work of the crate `object_store`, of which backends have versions of their own:
//! [`builder`] makes the client of either.

use super::{Location, aws};
use crate::error::Result;

/// What a URL and its options, the environment and profiles say of a bucket.
pub(super) struct Bucket {
    pub(super) name: String,
    /// Undecoded.
    pub(super) prefix: String,
    /// From a profile; those of the environment the client reads itself.
    pub(super) keys: Option<Keys>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) virtual_hosted_style: Option<bool>,
}

pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl Bucket {
    /// Nothing is asked of the server.
    pub(super) fn of(location: &Location) -> Result<Self> {
        let (name, prefix) = location.bucket("BUCKET")?;
        let profile = aws::profile(location)?;
        let from_profile = |name: &str| profile.get(name).cloned();
        let keys = match (from_profile(aws::KEY_ID), from_profile(aws::SECRET)) {
            (Some(id), Some(secret)) => Some(Keys {
                id,
                secret,
                token: from_profile("aws_session_token"),
            }),
            _ => None,
        };
        // What the URL says goes before what the environment says, and that before the profile.
        let setting = |option: &str, variables: &[&str], name: &str| {
            let in_env = || {
                let mut variables = variables.iter();
                variables.find_map(|variable| std::env::var(variable).ok())
            };
            let found = location.option(option).map(str::to_owned).or_else(in_env);
            found.or_else(|| from_profile(name))
        };
        let endpoints = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
        let endpoint = setting("endpoint", &endpoints, "endpoint_url");
        let endpoint = endpoint.map(|url| location.as_endpoint(url)).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            keys,
            region: setting("region", &["AWS_REGION", "AWS_DEFAULT_REGION"], "region"),
            endpoint,
            virtual_hosted_style: location.flag("virtual_hosted_style")?,
        })
    }
}

/// The builder of a client for a [`Bucket`], of the version of `object_store` that is named.
macro_rules! builder {
    ($bucket:expr, $object_store:ident) => {{
        let bucket: &$crate::backend::s3::Bucket = $bucket;
        let options = $object_store::ClientOptions::new()
            .with_timeout($crate::backend::REQUEST)
            .with_connect_timeout($crate::backend::CONNECT);
        let mut builder = $object_store::aws::AmazonS3Builder::from_env()
            .with_client_options(options)
            .with_bucket_name(&bucket.name);
        if let Some(keys) = &bucket.keys {
            builder = builder
                .with_access_key_id(&keys.id)
                .with_secret_access_key(&keys.secret);
            if let Some(token) = &keys.token {
                builder = builder.with_token(token);
            }
        }
        if let Some(region) = &bucket.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &bucket.endpoint {
            // Whoever names such an endpoint means it.
            let allow_http = endpoint.starts_with("http://");
            builder = builder.with_endpoint(endpoint).with_allow_http(allow_http);
        }
        if let Some(virtual_hosted) = bucket.virtual_hosted_style {
            builder = builder.with_virtual_hosted_style_request(virtual_hosted);
        }
        builder
    }};
}
pub(super) use builder;
