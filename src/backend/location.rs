//! [`Location`]: a URL taken apart and checked. Nothing is opened here; what a URL is as a text is in `backend/address.rs`.
//!
//! `SCHEME:PLACE?NAME=VALUE&NAME=VALUE`, or the plain path of a database file. What the place means is the
//! backend's to say. A scheme has two letters at least, so that the drive in `C:\samples.redb` is none; a
//! file with a colon in its name is written `./a:b` or `redb:a:b`. In a URL `%25` is a percent sign and
//! `%3F` a question mark; a plain path is taken as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::address::{
    decode, is_secret, local, password, password_of_login, redacted, split_scheme,
};
use super::{Backend, CREATE, SCHEMES, Scheme};
use crate::error::{Error, ErrorKind, Result};
use crate::query::nearest;
use crate::storage::Storage;

const OPERATION: &str = "understand where samples are kept";
/// What is said of a path that is none.
const CONNECTION_STRING: &str = "this is no path but a connection string with a password; write \
    postgres://USER:PASSWORD@HOST/DATABASE";
const NO_SCHEME: &str = "this looks like a user and a password without a scheme; write \
    postgres://USER:PASSWORD@HOST/DATABASE (a file of this name is written ./…)";

/// Where samples are kept: a URL, or the path of a database file.
///
/// `Display` and `Debug` hide passwords.
///
/// ```
/// use samplestore::Location;
///
/// let location: Location = "redb:weather.redb?durability=deferred".parse()?;
/// let (path, _options) = location.database()?.ok_or("no database file")?;
/// assert_eq!(path, std::path::Path::new("weather.redb"));
///
/// let error = "redb:weather.redb?durabilty=deferred".parse::<Location>().unwrap_err();
/// assert!(error.to_string().contains("did you mean durability?"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Location {
    scheme: &'static str,
    backend: Backend,
    /// The whole URL, as it was given; not to be shown.
    url: String,
    /// What stands between scheme and options, as it was given.
    place: String,
    /// The place as a path, if it can be one.
    path: Option<PathBuf>,
    options: BTreeMap<String, String>,
    create: bool,
}

impl Location {
    /// Whether what is not there is made. On by default, and then the option `create` of the URL decides.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens the storage.
    ///
    /// # Errors
    /// As [`connect`](super::connect); [`NotFound`](ErrorKind::NotFound) for what is not there and not
    /// to be made.
    pub fn connect(&self) -> Result<Box<dyn Storage>> {
        (self.backend.open)(self)
    }

    /// What stands before the colon, such as `s3`; `redb` for a plain path.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Whether both are the same URL, or lead to the same file or folder, also by links of any kind; where neither is there yet,
    /// whether they would. Nothing is opened, so that what is the same by its server's word alone is not seen.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let mut paths = self.path.iter().zip(&other.path);
        self.url == other.url || paths.any(|(own, theirs)| is_same_path(own, theirs))
    }

    /// The whole URL with its secrets, for clients that read URLs themselves. Not to be shown.
    #[allow(dead_code)] // not every set of features has such a client
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What stands between scheme and options, undecoded.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The place as the path of a file or folder.
    pub(super) fn path(&self) -> Result<&Path> {
        let scheme = self.scheme;
        match &self.path {
            Some(path) if !path.as_os_str().is_empty() => Ok(path),
            Some(_) => Err(self.invalid("there is no path")),
            None => Err(self.invalid(format!(
                "the path cannot be read: write {scheme}:PATH or {scheme}:///PATH, and a percent sign as %25"
            ))),
        }
    }

    /// Whether what is not there is made.
    pub(super) fn creates(&self) -> bool {
        self.create
    }

    /// The value of an option, decoded.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The value of an option that is a number or the like; `what` says what is expected.
    pub(super) fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>> {
        self.option(name)
            .map(|value| {
                let read = value.parse().ok();
                read.ok_or_else(|| self.invalid(format!("the option {name} must be {what}")))
            })
            .transpose()
    }

    /// The value of an option that is true or false; without a value it is true.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.option(name) {
            Some("") => Ok(Some(true)),
            _ => self.parsed(name, "true or false"),
        }
    }

    /// The value of an option that is one of these words.
    pub(super) fn word(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(value) = self.option(name) else {
            return Ok(None);
        };
        let found = words.iter().find(|word| **word == value);
        let known = || {
            let words = words.iter().map(|word| format!("{word:?}"));
            let words = words.collect::<Vec<_>>().join(" or ");
            format!("the option {name} must be {words}")
        };
        found
            .map(|word| Some(*word))
            .ok_or_else(|| self.invalid(known()))
    }

    /// The bucket or container, and the prefix, in `//BUCKET/PREFIX`, undecoded.
    #[allow(dead_code)] // not every set of features has object stores
    pub(super) fn bucket(&self, what: &str) -> Result<(&str, &str)> {
        let place = self.place.strip_prefix("//").unwrap_or("");
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        if name.is_empty() {
            let scheme = self.scheme;
            return Err(self.invalid(format!("it is written {scheme}://{what}/PREFIX")));
        }
        if name.contains(['@', ':']) {
            return Err(self.invalid(
                "credentials do not stand in the URL; the chapter on backends says where they do",
            ));
        }
        // What a server may have as a name, S3's above all; `$root` is one of Azure's.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-$".contains(&byte);
        if !name.bytes().all(is_plain) || name.starts_with('.') {
            return Err(self.invalid(format!(
                "{what} must be a name of letters, digits, dots, _ and -"
            )));
        }
        Ok((name, prefix))
    }

    /// A prefix, undecoded, that is of names between slashes. Object stores have no folders, and clients would make other names of
    /// what is none.
    #[allow(dead_code)] // the same
    pub(super) fn check_prefix(&self, prefix: &str) -> Result<()> {
        let is_none = |part: &&str| {
            let decoded = decode(part).unwrap_or_default();
            [".", ".."].contains(&decoded.as_str()) || decoded.contains('/')
        };
        match prefix.split('/').find(is_none) {
            None => Ok(()),
            Some(part) => Err(self.invalid(format!(
                "the prefix has the part {part:?}; parts are names between slashes, and not \".\", \"..\" or with %2F in them"
            ))),
        }
    }

    /// The error for a URL that does not say what it should; `message` must hold no secret.
    pub(super) fn invalid(&self, message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidArgument, OPERATION)
            .with_subject(self)
            .with_message(message)
    }

    /// Reads the part behind the scheme.
    fn of_url(scheme: &Scheme, backend: Backend, url: &str, rest: &str) -> Result<Self> {
        let wrong = |message: String| invalid(url, message);
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let password = password_of_login(Some(scheme.name), rest);
        // What looks like options may be the rest of a password that was not encoded.
        let mut is_password = password.is_some_and(|password| password.contains(&place.len()));
        let mut location = Self {
            scheme: scheme.name,
            backend,
            url: url.to_owned(),
            place: place.to_owned(),
            path: local(place).and_then(decode).map(PathBuf::from),
            options: BTreeMap::new(),
            create: true,
        };
        for pair in options.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = || [CREATE].into_iter().chain(backend.options.iter().copied());
            if !known().any(|option| option == name) {
                return Err(wrong(match is_password {
                    true => format!(
                        "{}: has no such option; there are {}; in a password a ? is written %3F and an & is written %26",
                        scheme.name,
                        known().collect::<Vec<_>>().join(", ")
                    ),
                    false => unknown_option(scheme.name, name, known()),
                }));
            }
            is_password |= is_secret(name);
            let value = decode(value)
                .ok_or_else(|| wrong(format!("the value of the option {name} cannot be read")))?;
            if location.options.insert(name.to_owned(), value).is_some() {
                return Err(wrong(format!("the option {name} is given twice")));
            }
        }
        location.create = location.flag(CREATE)?.unwrap_or(true);
        Ok(location)
    }
}

impl From<PathBuf> for Location {
    /// The database file at this path, whatever the path looks like.
    fn from(path: PathBuf) -> Self {
        let place = path.to_string_lossy().into_owned();
        Self {
            scheme: "redb",
            backend: super::DATABASE,
            url: place.clone(),
            place,
            path: Some(path),
            options: BTreeMap::new(),
            create: true,
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((name, rest)) = split_scheme(text) else {
            return match password(text) {
                // Every error that names the file would show it, and so would the folder that it is in.
                Some(_) => Err(invalid(text, CONNECTION_STRING.to_owned())),
                None if password_of_login(None, text).is_some() => {
                    Err(invalid(text, NO_SCHEME.to_owned()))
                }
                None if text.is_empty() => Err(invalid(text, "there is nothing".to_owned())),
                None => Ok(PathBuf::from(text).into()),
            };
        };
        let name = name.to_ascii_lowercase();
        let Some(scheme) = SCHEMES.iter().find(|scheme| scheme.name == name) else {
            return Err(invalid(text, unknown_scheme(&name)));
        };
        match scheme.backend {
            Some(backend) => Self::of_url(scheme, backend, text, rest),
            None => Err(Error::new(ErrorKind::Unsupported, OPERATION)
                .with_subject(redacted(text))
                .with_message(format!(
                    "{name}: is off in this build of samplestore; build with --features {}",
                    scheme.features.join(",")
                ))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.url))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

fn is_same_path(a: &Path, b: &Path) -> bool {
    match (identity(a), identity(b)) {
        (None, None) => {
            let (a, b) = (path_to_be(a), path_to_be(b));
            a.is_some() && a == b
        }
        (a, b) => a == b,
    }
}

/// What tells which file or folder is at a path, if there is one.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// Where a file would be that is made at this path, if its folder is there.
fn path_to_be(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

fn invalid(url: &str, message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, OPERATION)
        .with_subject(redacted(url))
        .with_message(message)
}

fn unknown_scheme(name: &str) -> String {
    let names = || SCHEMES.iter().map(|scheme| scheme.name);
    let begins = |known: &&str| known.starts_with(name);
    let near = names().find(begins).or_else(|| nearest(name, names()));
    let known = match near {
        Some(near) => format!("did you mean {near}:?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    format!("there is no scheme {name:?}; {known} (a file of this name is written ./{name}:…)")
}

fn unknown_option<'a>(
    scheme: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    // A part of a password that was not encoded may have come here.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !name.bytes().all(is_name) {
        return format!("{scheme}: has an option whose name is none");
    }
    match nearest(name, known.clone()) {
        Some(near) => format!("{scheme}: has no option {name:?}; did you mean {near}?"),
        None => {
            let known: Vec<_> = known.collect();
            let known = known.join(", ");
            format!("{scheme}: has no option {name:?}; there are {known}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Location {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> String {
        text.parse::<Location>().unwrap_err().to_string()
    }

    #[test]
    fn paths_and_urls_of_the_embedded_file() {
        for (text, path) in [
            ("weather.redb", "weather.redb"),
            ("/data/100%?.redb", "/data/100%?.redb"),
            (r"C:\weather.redb", r"C:\weather.redb"),
            ("./a:b", "./a:b"),
            ("redb:weather.redb", "weather.redb"),
            ("REDB:a%20b%3F.redb", "a b?.redb"),
            ("redb:///data/weather.redb", "/data/weather.redb"),
            (
                "redb://localhost/weather.redb?create=false",
                "/weather.redb",
            ),
        ] {
            let location = parse(text);
            assert_eq!(location.scheme(), "redb", "{text}");
            assert_eq!(location.path().unwrap(), Path::new(path), "{text}");
        }
        assert!(parse("redb:a").creates());
        assert!(!parse("redb:a?create=false").creates());
        assert!(parse("redb:a?create").creates());
        assert!(!parse("redb:a").create(false).creates());
    }

    #[test]
    fn what_is_unknown_names_what_is_nearest() {
        for (text, words) in [
            (
                "memroy:",
                r#"there is no scheme "memroy"; did you mean memory:?"#,
            ),
            ("delta:a", "did you mean delta+file:?"),
            ("redb:a?chache_bytes=1", "did you mean cache_bytes?"),
            ("redb:a?creat=false", "did you mean create?"),
            ("memory:?zzz=1", r#"has no option "zzz"; there are create"#),
            ("redb:a?create=false&create=false", "given twice"),
            ("redb:a?create=maybe", "create must be true or false"),
            ("", "there is nothing"),
        ] {
            let error = refusal(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[cfg(feature = "files")]
    #[test]
    fn one_place_by_several_names_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        std::fs::write(format!("{path}/a"), "").unwrap();
        std::fs::hard_link(format!("{path}/a"), format!("{path}/hard")).unwrap();
        for (a, b, is_same) in [
            (format!("file:{path}"), format!("file:{path}/."), true),
            (
                format!("{path}/a"),
                format!(
                    "redb:{path}/../{}/a",
                    folder.path().file_name().unwrap().display()
                ),
                true,
            ),
            (format!("file:{path}"), format!("file:{path}/b"), false),
            (format!("file:{path}/b"), format!("file:{path}/b"), true),
            (format!("{path}/b"), format!("redb:{path}/./b"), true),
            (format!("{path}/b"), format!("{path}/c"), false),
            (format!("{path}/no/b"), format!("redb:{path}/no/b"), false),
            (format!("{path}/a"), format!("{path}/hard"), cfg!(unix)),
            ("memory:".to_owned(), "redb:".to_owned(), false),
        ] {
            assert_eq!(parse(&a).is_same_place(&parse(&b)), is_same, "{a} {b}");
        }
    }

    #[test]
    fn options_of_the_wrong_value_are_told() {
        for (text, words) in [
            (
                "redb:a?cache_bytes=many",
                "cache_bytes must be a whole number",
            ),
            (
                "redb:a?durability=never",
                r#"must be "immediate" or "deferred""#,
            ),
            ("redb:", "there is no path"),
            ("redb://", "there is no path"),
            ("redb:a%2", "a percent sign as %25"),
            ("redb:a%+1", "a percent sign as %25"),
            ("redb://data/a", "write redb:PATH or redb:///PATH"),
            ("memory:name", "memory: has no name"),
        ] {
            let error = parse(text).connect().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }
}
