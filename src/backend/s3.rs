//! S3 as URLs name it: bucket and prefix, and settings from where AWS's own tools have them.
//!
//! What goes over the wire is the work of the crate `object_store`, of which backends have versions of their own:
//! [`builder`] makes the client of either.

use std::collections::BTreeMap;

use super::{Location, aws};
use crate::error::Result;

/// What a URL and its options, the environment and profiles say of a bucket.
pub(super) struct Bucket {
    pub(super) name: String,
    /// Undecoded.
    pub(super) prefix: String,
    /// From a profile; those of the environment are among the variables.
    pub(super) keys: Option<Keys>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) virtual_hosted_style: Option<bool>,
    /// What else the environment says, for the client to understand; not what stands above.
    pub(super) variables: Vec<(String, String)>,
}

pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// Variables in which the endpoint stands: the first one counts.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// Variables in which keys stand.
const KEYS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
];
/// Variables whose values the client puts into headers.
const HEADERS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
];
/// Variables that are URLs of other servers, from which the client has its keys.
const SERVERS: [&str; 3] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ENDPOINT_URL_STS",
    "AWS_METADATA_ENDPOINT",
];

impl Bucket {
    /// Nothing is asked of the server.
    pub(super) fn of(location: &Location) -> Result<Self> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let pair = (name.into_string().ok()?, value.into_string().ok()?);
            pair.0.starts_with("AWS_").then_some(pair)
        });
        Self::read(location, variables.collect())
    }

    fn read(location: &Location, variables: Vec<(String, String)>) -> Result<Self> {
        let (name, prefix) = location.bucket("BUCKET")?;
        // What is set to nothing is not set.
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty());
        let mut variables: BTreeMap<String, String> = variables.collect();
        let profile = aws::profile(location, &variables)?;
        let from_profile = |name: &str| profile.get(name).cloned();
        let keys = match (from_profile(aws::KEY_ID), from_profile(aws::SECRET)) {
            (Some(id), Some(secret)) => Some(Keys {
                id,
                secret,
                token: from_profile(aws::TOKEN),
            }),
            _ => None,
        };
        if let Some(Keys { id, token, .. }) = &keys {
            location.check_header("aws_access_key_id of the profile", id)?;
            if let Some(token) = token {
                location.check_header("aws_session_token of the profile", token)?;
            }
        }
        // What the URL says goes before what the environment says, and that before the profile.
        let setting = |option: &str, names: &[&str], of_profile: &str| {
            let in_url = location.option(option);
            let in_url = in_url.map(|value| (format!("the option {option}"), value.to_owned()));
            let in_env = || {
                names.iter().find_map(|name| {
                    let value = variables.get(*name)?.clone();
                    Some((format!("the variable {name}"), value))
                })
            };
            let in_profile = || {
                let value = from_profile(of_profile)?;
                Some((format!("{of_profile} of the profile"), value))
            };
            in_url.or_else(in_env).or_else(in_profile)
        };
        let region = setting("region", &REGIONS, "region");
        let endpoint = setting("endpoint", &ENDPOINTS, "endpoint_url");
        let region = region.map(|(from, region)| {
            location.check_label(&from, &region)?;
            Ok(region)
        });
        let endpoint = endpoint.map(|(from, url)| location.as_endpoint(&from, url));
        let (region, endpoint) = (region.transpose()?, endpoint.transpose()?);
        variables.retain(|name, _| {
            let name = name.as_str();
            let is_read = ENDPOINTS.contains(&name) || REGIONS.contains(&name);
            // Those of a profile that was asked for are whole, and others do not go with them.
            !is_read && (keys.is_none() || !KEYS.contains(&name))
        });
        for (name, value) in &variables {
            check_variable(location, name, value)?;
        }
        Ok(Self {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            keys,
            region,
            endpoint,
            virtual_hosted_style: location.flag("virtual_hosted_style")?,
            variables: variables.into_iter().collect(),
        })
    }
}

fn check_variable(location: &Location, name: &str, value: &str) -> Result<()> {
    let from = format!("the variable {name}");
    if HEADERS.contains(&name) {
        return location.check_header(&from, value);
    }
    if SERVERS.contains(&name) {
        return location.as_endpoint(&from, value.to_owned()).map(drop);
    }
    let is_plain = match name {
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" => {
            value.starts_with('/') && value.bytes().all(|byte| byte.is_ascii_graphic())
        }
        "AWS_SECRET_ACCESS_KEY" => !value.contains(char::is_control),
        _ => true,
    };
    match is_plain {
        true => Ok(()),
        false => Err(location.invalid(format!(
            "{from} has characters that cannot be in it, such as an end of a line"
        ))),
    }
}

/// The builder of a client for a [`Bucket`], of the version of `object_store` that is named.
macro_rules! builder {
    ($bucket:expr, $object_store:ident) => {{
        let bucket: &$crate::backend::s3::Bucket = $bucket;
        let options = $object_store::ClientOptions::new()
            .with_timeout($crate::backend::REQUEST)
            .with_connect_timeout($crate::backend::CONNECT);
        let mut builder = $object_store::aws::AmazonS3Builder::new();
        for (name, value) in &bucket.variables {
            // Those that it does not know are others' to know.
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        builder = builder
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn read(url: &str, variables: &[(&str, &str)]) -> Result<Bucket> {
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Bucket::read(&url.parse()?, variables.collect())
    }

    #[test]
    fn the_url_goes_before_the_environment_and_nothing_is_no_value() {
        let variables = [
            ("AWS_ENDPOINT_URL_S3", "http://s3:1"),
            ("AWS_ENDPOINT_URL", "http://all:1"),
            ("AWS_REGION", ""),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SESSION_TOKEN", ""),
        ];
        let bucket = read("s3://b/p", &variables).unwrap();
        assert_eq!(bucket.endpoint.as_deref(), Some("http://s3:1"));
        assert_eq!(bucket.region.as_deref(), Some("eu-central-1"));
        let left = [("AWS_ACCESS_KEY_ID".to_owned(), "id".to_owned())];
        assert_eq!(bucket.variables, left);
        let url = "s3://b/p?endpoint=http://own:1&region=here";
        let bucket = read(url, &variables).unwrap();
        assert_eq!(bucket.endpoint.as_deref(), Some("http://own:1"));
        assert_eq!(bucket.region.as_deref(), Some("here"));
        assert_eq!(bucket.variables, left);
    }

    #[test]
    fn variables_that_fit_into_no_request_are_named_and_not_shown() {
        for (name, value, told) in [
            ("AWS_ENDPOINT_URL", "hush:19099", "must be the URL"),
            (
                "AWS_ENDPOINT_URL_S3",
                "http://hush:99999",
                "must be the URL",
            ),
            ("AWS_ENDPOINT", "http://%5Bhush", "must be the URL"),
            ("AWS_METADATA_ENDPOINT", "hush", "must be the URL"),
            ("AWS_REGION", "hush\n", "must be letters"),
            ("AWS_DEFAULT_REGION", "hu sh", "must be letters"),
            ("AWS_ACCESS_KEY_ID", "hush\n", "must be letters"),
            ("AWS_SESSION_TOKEN", "hush\u{1}", "must be letters"),
            ("AWS_SESSION_TOKEN", "hush é", "must be letters"),
            ("AWS_SECRET_ACCESS_KEY", "hush\r", "characters that cannot"),
        ] {
            let Err(error) = read("s3://b/p", &[(name, value)]) else {
                panic!("{name} is taken");
            };
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
            let words = format!("{error} {error:?}");
            assert!(words.contains(told) && words.contains(name), "{words}");
            assert!(!words.contains("hush"), "{words}");
        }
    }
}
