//! What a server answered, where the client of an object store keeps it in the text of an error alone.
//!
//! An object that is not there is an error of its own; a bucket that is not there, when its objects are listed, is
//! an error like any other, whose cause has the status of HTTP in its text.

use std::error::Error;

/// How the text of an error begins that says that something is not there.
const NOT_FOUND: &str = "Server returned non-2xx status code: 404";

/// Whether the server said that what was asked for is not there.
pub(super) fn is_not_found(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string().starts_with(NOT_FOUND) {
            return true;
        }
        next = error.source();
    }
    false
}
