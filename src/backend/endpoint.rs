//! What requests to a server are made of, checked where it is read: the URL of the server, and what stands in headers.
//!
//! The clients of object stores put these together when they send, and panic where they do not fit. Errors name the option, the
//! variable or the file that a value is from, and never show it: it may hold a secret.

use url::Url;

use super::Location;
use crate::error::Result;

const URL: &str = "must be the URL of a server, http://HOST:PORT or https://HOST";
const HEADER: &str = "must be letters, digits and signs of ASCII, without spaces and ends of lines";

impl Location {
    /// The option `endpoint`, the URL of a server.
    #[allow(dead_code)] // not every set of features has those of Google and Microsoft
    pub(super) fn endpoint(&self) -> Result<Option<String>> {
        let endpoint = self.option("endpoint").map(str::to_owned);
        let endpoint = endpoint.map(|url| self.as_endpoint("the option endpoint", url));
        endpoint.transpose()
    }

    /// The URL of a server, from what is called so.
    pub(super) fn as_endpoint(&self, from: &str, url: String) -> Result<String> {
        // Errors of its client show it.
        if url.contains('@') {
            return Err(self.invalid("the endpoint has a user or a password in it"));
        }
        match is_endpoint(&url) {
            true => Ok(url),
            false => Err(self.invalid(format!("{from} {URL}"))),
        }
    }

    /// A value that stands in a header, from what is called so.
    #[allow(dead_code)] // the same
    pub(super) fn check_header(&self, from: &str, value: &str) -> Result<()> {
        match !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(()),
            false => Err(self.invalid(format!("{from} {HEADER}"))),
        }
    }

    /// A value that is a part of a host's name, from what is called so.
    #[allow(dead_code)] // the same
    pub(super) fn check_label(&self, from: &str, value: &str) -> Result<()> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        match !value.is_empty() && value.bytes().all(is_plain) {
            true => Ok(()),
            false => Err(self.invalid(format!("{from} must be letters, digits, dots, _ and -"))),
        }
    }
}

/// Whether it is a URL by which requests can be made: one that both readers take that clients have, which are not of one
/// mind about what is encoded.
fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://");
    let Some(rest) = rest.or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let in_server = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:[]".contains(&byte);
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~/:%".contains(&byte);
    let is_plain = server.bytes().all(in_server) && path.bytes().all(in_path);
    // One of the readers takes the first name of the path where there is no server.
    let has_server = !server.is_empty() && !server.ends_with(':') && !server.ends_with(":0");
    let read = Url::parse(text).ok();
    let has_host = read.is_some_and(|url| url.host_str().is_some_and(|host| !host.is_empty()));
    is_plain && has_server && has_host
}

#[cfg(test)]
mod tests {
    use super::is_endpoint;

    #[test]
    fn an_endpoint_is_a_url_with_a_host() {
        for text in [
            "http://127.0.0.1:9000",
            "https://s3.example",
            "http://[::1]:1/",
            "http://localhost:10000/devstoreaccount1",
            "https://account.r2.example/a%20b",
        ] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:19099",
            "localhost",
            "ftp://host",
            "http:host",
            "http://",
            "http:///path",
            "http://:9000",
            "http://h:",
            "http://h:0",
            "http://h:99999",
            "http://h:port",
            "http://%5B",
            "http://a%2Eb",
            "http://[::1",
            "http://1.2.3.999",
            "http://xn--/",
            "http://a b",
            "http://a\n",
            "http://h/a b",
            "http://h?x=1",
            "http://h#x",
            "http://é",
        ] {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}
