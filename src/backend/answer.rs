//! What a server answered, where the client of an object store keeps it in the text of an error alone.
//!
//! An object that is not there is an error of its own; a bucket that is not there, when its objects are listed, is
//! an error like any other, whose cause has the status of HTTP in its text. So is a request that the server refuses.

use std::error::Error;

/// How the text of an error begins that has a status behind it.
const STATUS: &str = "Server returned non-2xx status code: ";
/// What a server in another region answers, in whose place there is no status.
const REDIRECT: &str = "Received redirect without LOCATION";
const NOT_FOUND: u16 = 404;
/// What is in the text of a request for the keys of a machine's role, as Amazon, Google and Azure have it in their clouds.
const METADATA: [&str; 5] = [
    "/latest/api/token",
    "/latest/meta-data/",
    "/computeMetadata/",
    "/metadata/identity/",
    "//169.254.170.",
];
/// What stands in front of a storage that is not there, or is too busy.
const AWAY: [u16; 3] = [502, 503, 504];
/// Refusals that may pass: too slow, in the way of another request, too many requests.
const PASSING: [u16; 4] = [408, 409, 425, 429];
/// What S3 answers, with the status 400, to a request whose body came too slowly.
const TOO_SLOW: &str = "RequestTimeout";

/// Whether the server said that what was asked for is not there. That a machine has no role is another server's word.
pub(super) fn is_not_found(error: &(dyn Error + 'static)) -> bool {
    let is_said = texts(error).any(|text| status(&text) == Some(NOT_FOUND));
    is_said && !is_of_role(error)
}

/// Whether it is about the keys that a machine has by its role in a cloud.
pub(super) fn is_of_role(error: &(dyn Error + 'static)) -> bool {
    let is_asked = |text: String| METADATA.iter().any(|part| text.contains(part));
    texts(error).any(is_asked)
}

/// Whether the server refused what it was asked, as it would the next time: a key that has expired, a region that is not the
/// bucket's.
pub(super) fn is_lasting(error: &(dyn Error + 'static)) -> bool {
    texts(error).any(|text| is_lasting_text(&text))
}

fn is_lasting_text(text: &str) -> bool {
    match status(text) {
        Some(status) => {
            let is_refused = (300..500).contains(&status) && !PASSING.contains(&status);
            is_refused && !text.contains(TOO_SLOW)
        }
        None => text.starts_with(REDIRECT),
    }
}

/// Whether nobody answered, or the answer is that the storage is not to be had, whatever it was asked.
pub(super) fn is_away(error: &(dyn Error + 'static)) -> bool {
    let answered = texts(error).find_map(|text| status(&text));
    answered.is_none_or(|status| AWAY.contains(&status))
}

/// The same as [`is_lasting`] where readers keep no more than a text that has all of it; an object that went away is none.
#[cfg_attr(not(feature = "delta"), allow(dead_code))]
pub(super) fn is_lasting_in(text: &str) -> bool {
    let is_said = |begin: &&str| {
        let behind = text
            .split_once(*begin)
            .map(|(_, behind)| format!("{begin}{behind}"));
        behind.is_some_and(|text| status(&text) != Some(NOT_FOUND) && is_lasting_text(&text))
    };
    [STATUS, REDIRECT].iter().any(is_said)
}

/// The status in the text of an error.
fn status(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(STATUS)?.get(..3)?;
    digits.parse().ok()
}

/// The texts of an error and its causes.
fn texts(error: &(dyn Error + 'static)) -> impl Iterator<Item = String> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// As the client has it.
    #[derive(Debug)]
    struct Request(&'static str, io::Error);

    impl std::fmt::Display for Request {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "Error performing GET {} in 1ms - {}", self.0, self.1)
        }
    }

    impl Error for Request {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn what_the_server_refuses_lasts() {
        let answer = |rest: &str| io::Error::other(io::Error::other(format!("{STATUS}{rest}")));
        for (rest, lasts) in [
            ("400 Bad Request: <Code>ExpiredToken</Code>", true),
            ("400 Bad Request: <Code>RequestTimeout</Code>", false),
            ("404 Not Found: ", true),
            ("301 Moved Permanently: ", true),
            ("429 Too Many Requests: ", false),
            ("409 Conflict: ", false),
            ("503 Slow Down: ", false),
            ("500 Internal Server Error: ", false),
            ("", false),
        ] {
            let error = answer(rest);
            assert_eq!(is_lasting(&error), lasts, "{rest}");
            assert_eq!(is_away(&error), rest.starts_with("503") || rest.is_empty());
            assert_eq!(is_not_found(&error), rest.starts_with("404"), "{rest}");
        }
        assert!(is_lasting(&io::Error::other(REDIRECT)));
        for (rest, lasts) in [
            ("403 Forbidden: ", true),
            ("404 Not Found: ", false),
            ("503 Slow Down: ", false),
        ] {
            let text = format!("External: Generic S3 error: {STATUS}{rest}");
            assert_eq!(is_lasting_in(&text), lasts, "{rest}");
        }
        for uri in [
            "http://169.254.169.254/latest/api/token",
            "http://127.0.0.1:1/latest/meta-data/iam/security-credentials/",
            "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
        ] {
            let request = Request(uri, answer("404 Not Found: "));
            assert!(is_of_role(&request) && !is_not_found(&request), "{uri}");
            assert!(is_lasting(&request), "{uri}");
        }
        let request = Request("http://host/bucket?list-type=2", answer("404 Not Found: "));
        assert!(is_not_found(&request) && !is_of_role(&request));
        assert!(!is_lasting(&io::Error::other("the connection was lost")));
    }
}
