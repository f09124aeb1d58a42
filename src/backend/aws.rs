//! Credentials and settings of AWS from where its own tools keep them: the files of profiles.
//!
//! `~/.aws/credentials` and `~/.aws/config` are INI files with a section per profile; in `config` it is
//! named `profile NAME`, but for `default`. Only what such files say outright is read: keys that expire
//! and are had by other means (SSO, roles, processes) are not. What stands in the environment is read by
//! the clients themselves.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Location;
use super::ini::{self, Section};
use crate::error::{Error, Result};

/// What a profile says, by the names that the files have: `aws_access_key_id` and so on.
pub(super) type Profile = Section;

/// The profile that a location's options `profile` and `credentials_file` name. Without them, the one
/// that the environment names, or `default`, if there is one; but none where the environment holds keys.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the profile that an option names is in
/// neither file, and those of reading the files.
pub(super) fn profile(location: &Location) -> Result<Profile> {
    let asked = location.option("profile");
    let file = location.option("credentials_file");
    let is_asked = asked.is_some() || file.is_some();
    if !is_asked && env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        return Ok(Profile::new());
    }
    let name = asked.map(str::to_owned);
    let name = name.or_else(|| env::var("AWS_PROFILE").ok());
    let name = name.unwrap_or_else(|| "default".to_owned());
    let at = |variable, below: &str| {
        let named = env::var_os(variable).map(PathBuf::from);
        named.or_else(|| env::home_dir().map(|home| home.join(".aws").join(below)))
    };
    let credentials = file.map(PathBuf::from);
    let credentials = credentials.or_else(|| at("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    let config = at("AWS_CONFIG_FILE", "config");

    let in_config = match name.as_str() {
        "default" => name.clone(),
        _ => format!("profile {name}"),
    };
    let settings = read(config.as_deref(), &in_config, location)?;
    let keys = read(credentials.as_deref(), &name, location)?;
    if is_asked && settings.is_none() && keys.is_none() {
        return Err(location.invalid(format!("there is no profile {name:?}")));
    }
    let mut profile = settings.unwrap_or_default();
    profile.extend(keys.unwrap_or_default());
    Ok(profile)
}

/// A section of a file; `None` where either is not there.
fn read(path: Option<&Path>, section: &str, location: &Location) -> Result<Option<Profile>> {
    let Some(path) = path else {
        return Ok(None);
    };
    match fs::read_to_string(path) {
        Ok(text) => Ok(ini::section(&text, section)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io(
            "read credentials of AWS",
            format!("{} (for {location})", path.display()),
            cause,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        fs::write(
            &file,
            "[one]\naws_access_key_id = k\naws_secret_access_key = s\n",
        )
        .unwrap();
        let url = |profile: &str| {
            let url = format!(
                "s3://b/p?credentials_file={}&profile={profile}",
                file.display()
            );
            url.parse::<Location>().unwrap()
        };
        let one = profile(&url("one")).unwrap();
        assert_eq!(
            one.get("aws_secret_access_key").map(String::as_str),
            Some("s")
        );
        let error = profile(&url("two")).unwrap_err();
        assert!(
            error.to_string().contains(r#"there is no profile "two""#),
            "{error}"
        );
    }
}
