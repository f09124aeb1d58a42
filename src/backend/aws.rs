//! Credentials and settings of AWS from where its own tools keep them: the files of profiles.
//!
//! `~/.aws/credentials` and `~/.aws/config` are INI files with a section per profile; in `config` it is
//! named `profile NAME`, but for `default`. Only what such files say outright is read: a profile whose keys are
//! had by other means (SSO, roles, processes) is an error that says how to have them. What stands in the environment
//! is read by the clients themselves.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Location;
use super::ini::{self, Section};
use crate::error::{Error, Result};

/// What a profile says, by the names that the files have: `aws_access_key_id` and so on.
pub(super) type Profile = Section;

pub(super) const KEY_ID: &str = "aws_access_key_id";
pub(super) const SECRET: &str = "aws_secret_access_key";

/// Settings by which AWS's tools have keys from elsewhere, before those that the profile has, and where it has none.
const BEFORE_KEYS: [&str; 4] = ["role_arn", "sso_session", "sso_start_url", "sso_account_id"];
const WITHOUT_KEYS: [&str; 3] = [
    "credential_process",
    "login_session",
    "web_identity_token_file",
];

/// The profile that a location's options `profile` and `credentials_file` name. Without them, the one
/// that the environment names, or `default`, if there is one; but none where the environment holds keys.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the profile that an option or the environment names is in
/// neither file, and when its keys are not in them or not whole; those of reading the files.
pub(super) fn profile(location: &Location) -> Result<Profile> {
    let asked = location.option("profile");
    let file = location.option("credentials_file");
    // What is set to nothing is not set.
    let set = |variable| env::var(variable).ok().filter(|value| !value.is_empty());
    if asked.is_none() && file.is_none() && set("AWS_ACCESS_KEY_ID").is_some() {
        return Ok(Profile::new());
    }
    let named = asked.map(str::to_owned);
    let named = named.or_else(|| set("AWS_PROFILE"));
    let is_asked = named.is_some() || file.is_some();
    let name = named.unwrap_or_else(|| "default".to_owned());
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
    let keys = keys.unwrap_or_default();
    // Whoever names a file means the keys in it.
    let is_meant = file.is_some() && keys.contains_key(KEY_ID);
    profile.extend(keys.clone());
    check_keys(if is_meant { &keys } else { &profile }, &name, location)?;
    Ok(profile)
}

/// Whoever has keys by means that are not read here would be refused as nobody, or be let in as somebody else.
fn check_keys(profile: &Profile, name: &str, location: &Location) -> Result<()> {
    let has = |setting: &&&str| profile.contains_key(**setting);
    let keys = [KEY_ID, SECRET].map(|setting| profile.contains_key(setting));
    let elsewhere = BEFORE_KEYS.iter().find(has);
    let elsewhere = elsewhere.or_else(|| match keys {
        [false, false] => WITHOUT_KEYS.iter().find(has),
        _ => None,
    });
    if let Some(setting) = elsewhere {
        return Err(location.invalid(format!(
            "the profile {name:?} has its keys by {setting}, which is not read here; \
             aws configure export-credentials --profile {name} --format env makes them variables"
        )));
    }
    match keys {
        [true, false] => Err(location.invalid(format!("the profile {name:?} has no {SECRET}"))),
        [false, true] => Err(location.invalid(format!("the profile {name:?} has no {KEY_ID}"))),
        _ => Ok(()),
    }
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
    use crate::error::ErrorKind;

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

    #[test]
    fn keys_that_are_elsewhere_are_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let url = format!("s3://b/p?credentials_file={}&profile=one", file.display());
        let location: Location = url.parse().unwrap();
        let keys = "aws_access_key_id = k\naws_secret_access_key = hush\n";
        for (settings, told) in [
            (
                "role_arn = arn:aws:iam::1:role/r\nsource_profile = two",
                Some("its keys by role_arn"),
            ),
            (
                &format!("role_arn = arn\n{keys}"),
                Some("its keys by role_arn"),
            ),
            (
                "sso_session = s\nsso_account_id = 1",
                Some("its keys by sso_session"),
            ),
            (
                "sso_start_url = https://x",
                Some("its keys by sso_start_url"),
            ),
            (
                "credential_process = /bin/keys",
                Some("its keys by credential_process"),
            ),
            ("login_session = arn", Some("its keys by login_session")),
            (
                "web_identity_token_file = /t",
                Some("its keys by web_identity_token_file"),
            ),
            (&format!("credential_process = /bin/keys\n{keys}"), None),
            (
                "aws_access_key_id = k",
                Some("has no aws_secret_access_key"),
            ),
            (
                "aws_secret_access_key = hush",
                Some("has no aws_access_key_id"),
            ),
            ("region = eu-central-1", None),
        ] {
            fs::write(&file, format!("[one]\n{settings}\n")).unwrap();
            let error = profile(&location).err();
            assert_eq!(error.is_some(), told.is_some(), "{settings}");
            if let (Some(error), Some(told)) = (error, told) {
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                let words = format!("{error} {error:?}");
                assert!(words.contains(told) && !words.contains("hush"), "{words}");
            }
        }
    }
}
