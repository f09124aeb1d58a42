//! Credentials and settings of AWS from where its own tools keep them: the files of profiles.
//!
//! `~/.aws/credentials` and `~/.aws/config` are INI files with a section per profile; in `config` it is
//! named `profile NAME`, but for `default`. Only what such files say outright is read: a profile whose keys are
//! had by other means (SSO, roles, processes) is an error that says how to have them. What stands in the environment
//! is read by the clients themselves.

use std::collections::BTreeMap;
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
pub(super) const TOKEN: &str = "aws_session_token";

/// Settings by which AWS's tools have keys from elsewhere, before those that the profile has, and where it has none.
const BEFORE_KEYS: [&str; 4] = ["role_arn", "sso_session", "sso_start_url", "sso_account_id"];
const WITHOUT_KEYS: [&str; 3] = [
    "credential_process",
    "login_session",
    "web_identity_token_file",
];

/// The profile that a location's options `profile` and `credentials_file` name. Without them, the one
/// that the environment names, or `default`, if there is one; and it has no keys where the environment, without what is set to
/// nothing, holds some.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the profile that an option or the environment names is in
/// neither file, and when its keys are not in them or not whole; those of reading the files.
pub(super) fn profile(
    location: &Location,
    variables: &BTreeMap<String, String>,
) -> Result<Profile> {
    let asked = location.option("profile");
    let file = location.option("credentials_file");
    let has_keys = asked.is_none() && file.is_none() && variables.contains_key("AWS_ACCESS_KEY_ID");
    let named = asked.map(str::to_owned);
    let named = named.or_else(|| variables.get("AWS_PROFILE").cloned());
    let is_asked = named.is_some() || file.is_some();
    let name = named.unwrap_or_else(|| "default".to_owned());
    let at = |variable, below: &str| {
        let named = variables.get(variable).map(PathBuf::from);
        named.or_else(|| env::home_dir().map(|home| home.join(".aws").join(below)))
    };
    let credentials = file.map(PathBuf::from);
    let credentials = credentials.or_else(|| at("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    let config = at("AWS_CONFIG_FILE", "config");

    let in_config = match name.as_str() {
        "default" => name.clone(),
        _ => format!("profile {name}"),
    };
    let read = |path: Option<PathBuf>, section| match read(path.as_deref(), section, location) {
        // Who has keys, and names no profile, needs no files.
        Err(_) if has_keys && !is_asked => Ok(None),
        other => other,
    };
    let settings = read(config, &in_config)?;
    let keys = read(credentials, &name)?;
    if is_asked && settings.is_none() && keys.is_none() {
        return Err(location.invalid(format!("there is no profile {name:?}")));
    }
    let mut profile = settings.unwrap_or_default();
    let keys = keys.unwrap_or_default();
    // Whoever names a file means the keys in it.
    let is_meant = file.is_some() && keys.contains_key(KEY_ID);
    profile.extend(keys.clone());
    if has_keys {
        for setting in [KEY_ID, SECRET, TOKEN] {
            profile.remove(setting);
        }
        return Ok(profile);
    }
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
             aws configure export-credentials --profile {name} --format env, of the AWS CLI 2, makes them variables"
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
        let profile = |location: &Location| profile(location, &BTreeMap::new());
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
    fn keys_of_the_environment_leave_a_profile_its_other_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(
            path("config"),
            "[default]\nregion = eu-central-1\nrole_arn = arn\n[profile two]\nregion = here\n",
        )
        .unwrap();
        let keys = "aws_access_key_id = k\naws_secret_access_key = s\naws_session_token = t\n";
        fs::write(path("credentials"), format!("[default]\n{keys}")).unwrap();
        let location: Location = "s3://b/p".parse().unwrap();
        let profile = |changed: &[(&str, String)]| {
            let variables = [
                ("AWS_ACCESS_KEY_ID", "own".to_owned()),
                ("AWS_CONFIG_FILE", path("config")),
                ("AWS_SHARED_CREDENTIALS_FILE", path("credentials")),
            ];
            let variables = variables.iter().chain(changed);
            let variables = variables.map(|(name, value)| ((*name).to_owned(), value.clone()));
            profile(&location, &variables.collect())
        };
        let found = profile(&[]).unwrap();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["region", "role_arn"],
            "{found:?}"
        );
        assert_eq!(found["region"], "eu-central-1");
        let found = profile(&[("AWS_PROFILE", "two".to_owned())]).unwrap();
        assert_eq!(found["region"], "here");
        let error = profile(&[("AWS_PROFILE", "three".to_owned())]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        // A folder cannot be read as a file.
        let unreadable = ("AWS_CONFIG_FILE", folder.path().display().to_string());
        assert!(
            profile(std::slice::from_ref(&unreadable))
                .unwrap()
                .is_empty()
        );
        let named = ("AWS_PROFILE", "default".to_owned());
        assert!(profile(&[unreadable, named]).is_err());
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
            let error = profile(&location, &BTreeMap::new()).err();
            assert_eq!(error.is_some(), told.is_some(), "{settings}");
            if let (Some(error), Some(told)) = (error, told) {
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                let words = format!("{error} {error:?}");
                assert!(words.contains(told) && !words.contains("hush"), "{words}");
            }
        }
    }
}
