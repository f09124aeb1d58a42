//! The text of a URL: its parts, undoing what is encoded, and [`redacted`], which shows it without what may be a secret.

use std::ops::Range;

use super::{CREATE, SCHEMES};

/// Words in the names of options whose values are shown to nobody.
const SECRETS: [&str; 5] = ["password", "secret", "token", "key", "credential"];
/// What passwords stand behind in the connection strings of clients.
const KEYWORDS: [&str; 3] = ["password=", "passwd=", "pwd="];
/// The schemes whose place is a path, where an @ may stand in a name.
const PATHS: [&str; 3] = ["redb", "file", "delta+file"];
/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// Parts `scheme:rest`, if the text begins with what looks like a scheme of two letters or more.
pub(super) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(':')?;
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    (begins && name.len() > 1 && bytes.all(is_of_scheme)).then_some((name, rest))
}

fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// The path in `PATH`, and in `///PATH` and `//localhost/PATH`, which people write for a file. Another host is
/// none of ours, and `//PATH` would be a mistake for one.
pub(super) fn local(place: &str) -> Option<&str> {
    let Some(rest) = place.strip_prefix("//") else {
        return Some(place);
    };
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Undoes percent-encoding; `None` for what is none.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

/// Where a password may stand in `rest`, which follows the scheme of this name, or none. A password may hold any character if it is
/// not encoded as it should be, so all from a colon to the last @ is taken for one.
pub(super) fn password_of_login(scheme: Option<&str>, rest: &str) -> Option<Range<usize>> {
    let at = rest.rfind('@')?;
    let is_path = |name: &str| PATHS.iter().any(|path| path.eq_ignore_ascii_case(name));
    let begin = match scheme {
        // Who forgets the scheme has a user in its place.
        Some(name) if !rest.starts_with("//") && !is_path(name) => 0,
        Some(_) => rest.find(':')? + 1,
        None => {
            // A domain of Windows may stand before the user, and of the scheme no more than its colon be forgotten.
            let login = without_slashes(rest);
            let (user, behind) = login.split_once(':')?;
            let drive = user.strip_prefix(r"\\?\").unwrap_or(user);
            let is_drive = drive.len() == 1 && behind.starts_with(['/', '\\']);
            if is_drive || user.contains('/') {
                return None;
            }
            rest.len() - behind.len()
        }
    };
    (begin <= at).then_some(begin..at)
}

/// What follows `//` or `NAME//`, if it begins so.
fn without_slashes(text: &str) -> &str {
    let is_name = |name: &str| name.bytes().all(is_of_scheme);
    match text.split_once("//") {
        Some((name, login)) if is_name(name) => login.trim_start_matches('/'),
        _ => text,
    }
}

/// The URL or path without what may be a secret: rather too much of it is hidden than too little.
pub(super) fn redacted(url: &str) -> String {
    let hidden = |scheme, text: &str| match password_of_login(scheme, text) {
        Some(found) => format!("{}{HIDDEN}{}", &text[..found.start], &text[found.end..]),
        None => text.to_owned(),
    };
    let Some((name, rest)) = split_scheme(url) else {
        return without_keyword(&hidden(None, url));
    };
    let rest = hidden(Some(name), rest);
    let (place, options) = match rest.split_once('?') {
        Some((place, options)) => (place, Some(options)),
        None => (rest.as_str(), None),
    };
    let mut shown = format!("{name}:{}", without_keyword(place));
    // Behind the value of one that is hidden, what looks like another option may be a piece of it.
    let mut is_hidden = false;
    for (number, pair) in options
        .into_iter()
        .flat_map(|all| all.split('&'))
        .enumerate()
    {
        shown.push(if number == 0 { '?' } else { '&' });
        let (option, value) = match pair.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (pair, None),
        };
        let is_known = is_known(name, option);
        // A misspelt name says nothing of its value.
        let is_public = is_known && !is_secret(option) && value.is_none_or(is_harmless);
        if is_public || pair.is_empty() {
            shown.push_str(pair);
            continue;
        }
        if value.is_some() && (is_known || !is_hidden) {
            shown.push_str(option);
            shown.push('=');
        }
        shown.push_str(HIDDEN);
        is_hidden = true;
    }
    shown
}

fn is_known(scheme: &str, option: &str) -> bool {
    let mut schemes = SCHEMES.iter();
    let scheme = schemes.find(|known| known.name.eq_ignore_ascii_case(scheme));
    let options = scheme
        .and_then(|scheme| scheme.backend)
        .map(|backend| backend.options);
    option == CREATE || options.is_some_and(|known| known.contains(&option))
}

/// Whether the value of an option has nothing in it that a secret stands beside in a URL, encoded however often.
fn is_harmless(value: &str) -> bool {
    let decoded = decode(value);
    let is_plain = !value.contains(['@', '?']);
    is_plain && decoded.is_some_and(|decoded| decoded == value || is_harmless(&decoded))
}

/// Hides all behind `password=`, as PostgreSQL's connection strings have it, which are no URLs.
fn without_keyword(text: &str) -> String {
    match password(text) {
        Some(begin) => format!("{}{HIDDEN}", &text[..begin]),
        None => text.to_owned(),
    }
}

/// Where the first password of a connection string begins, if it has one.
pub(super) fn password(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let found = KEYWORDS
        .iter()
        .filter_map(|word| Some(lower.find(word)? + word.len()));
    found.min()
}

/// Whether the values of options of this name are shown to nobody.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::redacted;
    use crate::backend::Location;

    #[test]
    fn no_secret_is_shown() {
        for (url, shown) in [
            (
                "postgres://me:secret@host:5432/db",
                "postgres://me:***@host:5432/db",
            ),
            (
                "postgres://me:se/cr?e@t@host/db?x=1",
                "postgres://me:***@host/db?x=***",
            ),
            (
                "postgres://me@host/db?password=secret&x=1",
                "postgres://me@host/db?password=***&***",
            ),
            (
                "s3://b/p?SECRET_ACCESS_KEY=secret",
                "s3://b/p?SECRET_ACCESS_KEY=***",
            ),
            ("redb:a?create=false", "redb:a?create=false"),
            (
                "redb:a?durability=deferred&read_only",
                "redb:a?durability=deferred&read_only",
            ),
            // What is not known may be anything, and be misspelt.
            ("redb:a?x=secret&secret&&y=", "redb:a?x=***&***&&***"),
            ("mysql://host/db?auth=secret", "mysql://host/db?auth=***"),
            ("host=a Password=secret", "host=a Password=***"),
            (
                "postgres:host=a password='se cret'",
                "postgres:host=a password=***",
            ),
            // A scheme was forgotten.
            ("a:b@c", "a:***@c"),
            (
                "app:secret@db.example/weather",
                "app:***@db.example/weather",
            ),
            ("app:secret@host:5432/db?x=1", "app:***@host:5432/db?x=***"),
            ("app:se:cr@et@host/db", "app:***@host/db"),
            ("postgres:secret@host:5432/db", "postgres:***@host:5432/db"),
            ("my_app:se/cr?et@host/db", "my_app:***@host/db"),
            ("//app:se/cr@et@host/db", "//app:***@host/db"),
            ("///app:secret@host/db", "///app:***@host/db"),
            ("postgres//app:secret@host/db", "postgres//app:***@host/db"),
            (r"CORP\app:secret@host", r"CORP\app:***@host"),
            (r"//CORP\app:secret@host", r"//CORP\app:***@host"),
            // What is none.
            ("./a:b@c", "./a:b@c"),
            ("/data/a:b@c", "/data/a:b@c"),
            ("//data/a:b@c", "//data/a:b@c"),
            ("data//b/a:b@c", "data//b/a:b@c"),
            (r"C:\data\a:b@c", r"C:\data\a:b@c"),
            (r"\\?\C:\me@home.redb", r"\\?\C:\me@home.redb"),
            (r"C:\me@home.redb", r"C:\me@home.redb"),
            ("redb:me@home.redb", "redb:me@home.redb"),
            ("file:me@home", "file:me@home"),
            ("mysql://me@host/db", "mysql://me@host/db"),
            // Nor what stands in a value that is known.
            (
                "redb:a?durability=me%3Asecret%40host",
                "redb:a?durability=***",
            ),
            (
                "redb:a?cache_bytes=http%253A%252F%252Fme%253Asecret%2540host",
                "redb:a?cache_bytes=***",
            ),
            (
                "redb:a?durability=h%3Fsig%3Dsecret",
                "redb:a?durability=***",
            ),
            ("redb:a?durability=%zzsecret", "redb:a?durability=***"),
            ("redb:a?durability=a%2Fb", "redb:a?durability=a%2Fb"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }

    #[test]
    fn no_secret_is_in_an_error() {
        let refusal = |text: &str| text.parse::<Location>().unwrap_err().to_string();
        let error = refusal("redb://me:se?xyz@zyx@host/x");
        assert!(!error.contains("xyz") && !error.contains("zyx"), "{error}");
        for (text, words) in [
            ("app:sesame@db.example/weather", "there is no scheme"),
            ("app:sesame@host:5432/db", "there is no scheme"),
            ("my_app:sesame@host/db", "a file of this name is written ./"),
            ("//app:sesame@db/weather", "without a scheme"),
            ("postgres//app:sesame@db/weather", "without a scheme"),
            (r"CORP\app:sesame@db", "without a scheme"),
            ("redb://me:x?sesame=9@h/db", "is written %3F"),
            ("redb://me:x?create&sesame@h/db", "is written %3F"),
        ] {
            let error = refusal(text);
            assert!(
                error.contains(words) && !error.contains("sesame"),
                "{error}"
            );
        }
        for text in [
            "host=127.0.0.1 password=sesame",
            "PWD = x PWD=sesame",
            "user=me PassWd='sesame' host=h",
        ] {
            let error = refusal(text);
            assert!(!error.contains("sesame"), "{error}");
            assert!(error.contains("postgres://USER"), "{error}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_piece_of_a_password_is_no_option() {
        let url = "postgres://h/db?password=se&cret=x&user=me&password=y";
        let shown = "postgres://h/db?password=***&***&user=me&password=***";
        assert_eq!(redacted(url), shown);
        for url in [
            "postgres://h/db?password=ab&sesame9",
            "postgres://h/db?user=a&password=ab&sesame9=1&x",
        ] {
            let error = url.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains("is written %26"), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_password_is_shown(
            text: String,
            scheme in "([a-z]{2,8}|redb|file|s3|postgres|kafka)",
            user in "[a-z]{1,8}(_[a-z]{1,8})?",
            password in "[a-z0-9]{9,12}([/?&=@:#][a-z0-9]{9,12}){0,3}",
        ) {
            let _ = text.parse::<Location>();
            for url in [
                format!("{scheme}://{user}:{password}@host/place?x=1"),
                format!("{user}:{password}@host:5432/place"),
                format!("//{user}:{password}@host/place"),
                format!("{scheme}//{user}:{password}@host/place"),
                format!(r"{scheme}\{user}:{password}@host/place"),
                format!("{scheme}://host/place?password={password}"),
            ] {
                let shown = match url.parse::<Location>() {
                    Ok(location) => format!("{location} {location:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                for piece in password.split(|c: char| !c.is_ascii_alphanumeric()) {
                    prop_assert!(!shown.contains(piece), "{}", shown);
                }
            }
        }
    }
}
