//! The client for Azure Blob Storage.

use std::env;
use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::server;
use crate::backend::Location;
use crate::error::Result;

/// The options of `az:`. None of them is a secret.
pub(super) const OPTIONS: &[&str] = &["account", "emulator", "endpoint", "format"];

/// The account that the emulator Azurite has, and its key, which everybody knows:
/// <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1";

/// Variables whose values the client puts into headers.
const HEADERS: [(AzureConfigKey, &str); 4] = [
    (AzureConfigKey::Token, "AZURE_STORAGE_TOKEN"),
    (
        AzureConfigKey::FabricSessionToken,
        "AZURE_FABRIC_SESSION_TOKEN",
    ),
    (
        AzureConfigKey::FabricClusterIdentifier,
        "AZURE_FABRIC_CLUSTER_IDENTIFIER",
    ),
    (
        AzureConfigKey::FabricWorkloadHost,
        "AZURE_FABRIC_WORKLOAD_HOST",
    ),
];

/// The client, and the prefix of all objects. Nothing is asked of the server yet.
pub(super) fn client(location: &Location) -> Result<server::Client> {
    let (container, prefix) = location.bucket("CONTAINER")?;
    let prefix = server::prefix(location, prefix)?;
    let is_emulator = location.flag("emulator")?.unwrap_or(false);
    let account = location.option("account").map(str::to_owned);
    let account = account.or_else(|| is_emulator.then(|| EMULATOR_ACCOUNT.to_owned()));
    let endpoint = location.endpoint()?;
    let endpoint = endpoint.or_else(|| is_emulator.then(|| EMULATOR_ENDPOINT.to_owned()));

    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_client_options(server::client_options())
        .with_retry(server::no_retries());
    if is_emulator {
        builder = builder.with_access_key(EMULATOR_KEY);
    }
    if let Some(account) = account {
        builder = builder.with_account(account);
    } else if env::var_os("AZURE_STORAGE_ACCOUNT_NAME").is_none() {
        return Err(location.invalid(
            "there is no account: the option account or AZURE_STORAGE_ACCOUNT_NAME names it",
        ));
    }
    if let Some(endpoint) = endpoint {
        // Whoever names such an endpoint means it.
        let allow_http = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(allow_http);
    }
    if let Some(account) = builder.get_config_value(&AzureConfigKey::AccountName) {
        location.check_label("the storage account", &account)?;
    }
    if let Some(endpoint) = builder.get_config_value(&AzureConfigKey::Endpoint) {
        location.as_endpoint("the variable AZURE_STORAGE_ENDPOINT", endpoint)?;
    }
    check_headers(location, &builder)?;
    let client = builder.build();
    let client = client.map_err(|cause| server::unusable(location, cause))?;
    Ok((Arc::new(client), prefix))
}

fn check_headers(location: &Location, builder: &MicrosoftAzureBuilder) -> Result<()> {
    for (key, variable) in HEADERS {
        if let Some(value) = builder.get_config_value(&key) {
            location.check_header(&format!("the variable {variable}"), &value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn variables_that_fit_into_no_header_are_named_and_not_shown() {
        let location: Location = "az://container/prefix?account=a".parse().unwrap();
        for (key, variable) in HEADERS {
            assert_eq!(variable.to_ascii_lowercase().parse().ok(), Some(key));
            for (value, is_taken) in [("hush\n", false), ("hu sh", false), ("hush", true)] {
                let builder = MicrosoftAzureBuilder::new().with_config(key, value);
                let checked = check_headers(&location, &builder);
                assert_eq!(checked.is_ok(), is_taken, "{variable} {value:?}");
                if let Err(error) = checked {
                    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                    let words = format!("{error} {error:?}");
                    assert!(
                        words.contains(variable) && !words.contains("hush"),
                        "{words}"
                    );
                }
            }
        }
    }
}
