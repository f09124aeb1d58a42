//! [`Cursor`]: an opaque printable token for a place in a list (rule R6).
//!
//! The token is the URL-safe base64 of: version (1 byte, now 1), the storage's identity (8 bytes,
//! little-endian), the query's fingerprint (8), the backend's position (any length), and the low 32
//! bits of the XXH3 of all that. A token that does not fit is refused, never guessed at.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::Query;
use crate::error::{Error, ErrorKind, Result};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 17;
const CHECKSUM_BYTES: usize = 4;
/// Longer tokens are refused before they are decoded.
const TOKEN_BYTES_MAX: usize = 2_048;

/// A place in a list, good for going on behind it, also after a restart and after the sample there
/// is deleted. It belongs to one database, one filter and one order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// For backends: a cursor for `position`, in the backend's own bytes, of `query` on the storage
    /// of this identity.
    #[must_use]
    pub fn new(identity: u64, query: &Query, position: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + position.len() + CHECKSUM_BYTES);
        bytes.push(VERSION);
        bytes.extend(identity.to_le_bytes());
        bytes.extend(query.fingerprint().to_le_bytes());
        bytes.extend(position);
        bytes.extend(checksum(&bytes));
        Self(BASE64.encode(bytes))
    }

    /// For backends: the position this cursor stands for.
    ///
    /// # Errors
    /// [`InvalidCursor`](ErrorKind::InvalidCursor) when it is damaged, or comes from a storage of
    /// another identity or from a query with other filters or another order.
    pub fn position(&self, identity: u64, query: &Query) -> Result<Vec<u8>> {
        let bytes = decode(&self.0)?;
        if bytes[1..9] != identity.to_le_bytes() {
            return Err(invalid("it comes from another database"));
        }
        if bytes[9..HEADER_BYTES] != query.fingerprint().to_le_bytes() {
            return Err(invalid("it belongs to a query with other filters or order"));
        }
        Ok(bytes[HEADER_BYTES..bytes.len() - CHECKSUM_BYTES].to_vec())
    }

    /// The error of a backend that finds the position of a cursor malformed.
    #[must_use]
    pub fn malformed() -> Error {
        invalid("its position is not of this backend")
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn decode(token: &str) -> Result<Vec<u8>> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    let bytes = BASE64
        .decode(token)
        .map_err(|cause| invalid("it is no token of this database").with_cause(cause))?;
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES {
        return Err(invalid("it is cut off"));
    }
    let (body, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if sum != checksum(body) {
        return Err(invalid("it is damaged"));
    }
    if body[0] != VERSION {
        return Err(invalid("it was made by another version"));
    }
    Ok(bytes)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = XxHash3_64::oneshot(bytes).to_le_bytes();
    [a, b, c, d]
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidCursor, "go on from a cursor").with_message(message)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// Reads a token; whether it fits a query and a storage is seen when it is used.
    fn from_str(token: &str) -> Result<Self> {
        decode(token)?;
        Ok(Self(token.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_comes_back_and_any_change_is_refused(
            identity: u64, position in prop::collection::vec(any::<u8>(), 0..40), at: usize, to: u8,
        ) {
            let query = Query::new().pipeline("a");
            let cursor = Cursor::new(identity, &query, &position);
            prop_assert_eq!(cursor.as_str().parse::<Cursor>().unwrap(), cursor.clone());
            prop_assert_eq!(cursor.position(identity, &query).unwrap(), position);
            prop_assert!(cursor.position(identity ^ 1, &query).is_err());
            prop_assert!(cursor.position(identity, &query.clone().newest_first()).is_err());
            prop_assert!(cursor.position(identity, &query.clone().limit(3)).is_ok());

            let mut bytes = cursor.as_str().as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = to & 0x7f;
            let changed = String::from_utf8(bytes).unwrap();
            if changed != cursor.as_str() {
                prop_assert!(changed.parse::<Cursor>().is_err());
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(token: String) {
            if let Err(error) = token.parse::<Cursor>() {
                prop_assert_eq!(error.kind(), ErrorKind::InvalidCursor);
            }
        }
    }
}
