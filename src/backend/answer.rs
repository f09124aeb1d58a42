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
/// Refusals that may pass: too slow, in the way of another request, too many requests.
const PASSING: [u16; 4] = [408, 409, 425, 429];
/// What S3 answers, with the status 400, to a request whose body came too slowly.
const TOO_SLOW: &str = "RequestTimeout";

/// Whether the server said that what was asked for is not there.
pub(super) fn is_not_found(error: &(dyn Error + 'static)) -> bool {
    texts(error).any(|text| status(&text) == Some(NOT_FOUND))
}

/// Whether the server refused what it was asked, as it would the next time: a key that has expired, a region that is not the
/// bucket's.
pub(super) fn is_lasting(error: &(dyn Error + 'static)) -> bool {
    texts(error).any(|text| match status(&text) {
        Some(status) => {
            let is_refused = (300..500).contains(&status) && !PASSING.contains(&status);
            is_refused && !text.contains(TOO_SLOW)
        }
        None => text.starts_with(REDIRECT),
    })
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
            assert_eq!(is_not_found(&error), rest.starts_with("404"), "{rest}");
        }
        assert!(is_lasting(&io::Error::other(REDIRECT)));
        assert!(!is_lasting(&io::Error::other("the connection was lost")));
    }
}
