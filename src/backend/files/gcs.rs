//! The client for Google Cloud Storage.

use std::fs;
use std::sync::Arc;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use serde::Deserialize;

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
    match location.endpoint()? {
        Some(endpoint) => builder = builder.with_base_url(&endpoint),
        None => check_base_url(location, &builder)?,
    }
    let client = builder.build();
    let client = client.map_err(|cause| server::unusable(location, cause))?;
    Ok((Arc::new(client), prefix))
}

/// The server, where the environment or the file of a service account names one.
fn check_base_url(location: &Location, builder: &GoogleCloudStorageBuilder) -> Result<()> {
    if let Some(url) = builder.get_config_value(&GoogleConfigKey::BaseUrl) {
        let checked = location.as_endpoint("the variable GOOGLE_BASE_URL", url);
        return checked.map(drop);
    }
    let file = builder.get_config_value(&GoogleConfigKey::ServiceAccount);
    // The client says what is wrong with a file that cannot be read.
    let text = file.and_then(|file| fs::read_to_string(file).ok());
    let text = text.or_else(|| builder.get_config_value(&GoogleConfigKey::ServiceAccountKey));
    let account = text.and_then(|text| serde_json::from_str::<ServiceAccount>(&text).ok());
    match account.and_then(|account| account.gcs_base_url) {
        Some(url) => {
            let checked = location.as_endpoint("gcs_base_url of the service account", url);
            checked.map(drop)
        }
        None => Ok(()),
    }
}

/// What is looked at of the file of a service account.
#[derive(Deserialize)]
struct ServiceAccount {
    gcs_base_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_server_that_the_file_of_an_account_names_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("account.json");
        let location: Location = "gs://bucket/prefix".parse().unwrap();
        for (url, is_taken) in [("x", false), ("http://127.0.0.1:1", true)] {
            let text = format!(r#"{{"private_key": "hush", "gcs_base_url": "{url}"}}"#);
            fs::write(&file, &text).unwrap();
            let builder = GoogleCloudStorageBuilder::new;
            for builder in [
                builder().with_service_account_path(file.display().to_string()),
                builder().with_service_account_key(&text),
            ] {
                let checked = check_base_url(&location, &builder);
                assert_eq!(checked.is_ok(), is_taken, "{url}");
                if let Err(error) = checked {
                    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                    let words = format!("{error} {error:?}");
                    assert!(
                        words.contains("gcs_base_url of") && !words.contains("hush"),
                        "{words}"
                    );
                }
            }
        }
        let builder = GoogleCloudStorageBuilder::new().with_base_url("x");
        let error = check_base_url(&location, &builder).unwrap_err();
        assert!(error.to_string().contains("GOOGLE_BASE_URL"), "{error}");
    }
}
