//! What is refused before anything is made: places of others, and settings of which no request can be made.

#[cfg(feature = "s3")]
use std::io::{Read, Write};
#[cfg(feature = "s3")]
use std::sync::Arc;
#[cfg(feature = "s3")]
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use samplestore::{Error, ErrorKind, Location, Query, connect};

use super::{Folder, at_once};

/// The error for what should not open.
fn refused(url: &str) -> Error {
    match connect(url) {
        Ok(_) => panic!("{url} opens"),
        Err(error) => {
            let kind = ErrorKind::InvalidArgument;
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (kind, false),
                "{error:?}"
            );
            error
        }
    }
}

/// Documents and a table do not share a place: whoever keeps one of them in order would meet the other.
#[cfg(feature = "delta")]
fn a_place_is_for_one(documents: &str, table: &str) {
    connect(documents).unwrap().store(&at_once(["a"])).unwrap();
    let error = refused(table);
    assert!(
        error.to_string().contains("kept as documents there"),
        "{error}"
    );
    assert!(error.subject().unwrap().starts_with("delta+"), "{error}");
    // Nothing was left behind that would open.
    refused(table);
    assert_eq!(connect(documents).unwrap().count(&Query::new()).unwrap(), 1);

    let [documents, table] = [documents, table].map(|url| below(url, "other"));
    connect(&table).unwrap().store(&at_once(["a"])).unwrap();
    let error = refused(&documents);
    assert!(
        error.to_string().contains("a Delta Lake table is there"),
        "{error}"
    );
    refused(&documents);
    assert_eq!(connect(&table).unwrap().count(&Query::new()).unwrap(), 1);
}

/// A place in a folder of a place.
fn below(url: &str, folder: &str) -> String {
    match url.split_once('?') {
        Some((place, options)) => format!("{place}/{folder}?{options}"),
        None => format!("{url}/{folder}"),
    }
}

/// What marks the inner one would be taken for a document of the outer one.
fn no_place_is_made_of_a_folder_of_another(url: &str) {
    connect(url).unwrap().store(&at_once(["a"])).unwrap();
    for folder in ["samples", "order"] {
        let error = refused(&below(url, folder)).to_string();
        assert!(
            error.contains("a folder of a place of documents"),
            "{error}"
        );
    }
    // Below it, and where no place is above it, a name is one as any; but then none is made above it.
    for place in ["samples/other", "other/samples"] {
        let place = below(url, place);
        connect(&place)
            .unwrap()
            .store(&at_once(["samplestore"]))
            .unwrap();
        connect(&place).unwrap();
    }
    let error = refused(&below(url, "other")).to_string();
    assert!(
        error.contains("one of its own folders is a place"),
        "{error}"
    );
    assert_eq!(connect(url).unwrap().count(&Query::new()).unwrap(), 1);
}

#[test]
fn no_place_is_made_of_a_folder_of_another_folder() {
    no_place_is_made_of_a_folder_of_another(&Folder::new().url());
}

#[cfg(feature = "s3")]
#[test]
fn no_place_is_made_of_a_folder_of_another_prefix() {
    if let Some(server) = crate::servers::s3::shared() {
        no_place_is_made_of_a_folder_of_another(&server.url());
    }
}

#[cfg(feature = "delta")]
#[test]
fn a_folder_is_for_documents_or_for_a_table() {
    let folder = Folder::new();
    a_place_is_for_one(&folder.url(), &format!("delta+{}", folder.url()));
}

#[cfg(all(feature = "delta", feature = "s3"))]
#[test]
fn a_prefix_is_for_documents_or_for_a_table() {
    let Some(server) = crate::servers::s3::shared() else {
        return;
    };
    let url = server.url();
    a_place_is_for_one(&url, &format!("delta+{url}"));
}

#[cfg(all(feature = "delta", feature = "s3"))]
#[test]
fn a_table_in_a_bucket_that_is_not_there_is_not_found() {
    let Some(server) = crate::servers::s3::shared() else {
        return;
    };
    let url = server.url().replace("s3://bucket-", "delta+s3://nowhere-");
    for url in [url.clone(), format!("{url}&create=false")] {
        let error = connect(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(!error.is_retryable(), "{error:?}");
    }
}

/// The URL of a server that gives each request this answer, and how many it has answered.
#[cfg(feature = "s3")]
fn answering(folder: &std::path::Path, answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            if read > 0 {
                counted.fetch_add(1, SeqCst);
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    let keys = folder.join("credentials");
    let text = "[default]\naws_access_key_id = tests\naws_secret_access_key = of-no-value\n";
    std::fs::write(&keys, text).unwrap();
    let url = format!(
        "s3://bucket/prefix?endpoint=http://127.0.0.1:{port}&credentials_file={}",
        keys.display()
    );
    (url, count)
}

#[cfg(feature = "s3")]
#[test]
fn what_a_server_refuses_is_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    for (answer, requests, is_retryable) in [
        (
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 40\r\n\r\n\
            <Error><Code>ExpiredToken</Code></Error>",
            1,
            false,
        ),
        (
            "HTTP/1.1 301 Moved Permanently\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            1,
            false,
        ),
        (
            "HTTP/1.1 503 Slow Down\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            5,
            true,
        ),
    ] {
        let (url, count) = answering(folder.path(), answer);
        let error = connect(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error:?}");
        assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
        assert_eq!(count.load(SeqCst), requests, "{answer}");
    }
}

/// Nobody has such an endpoint, but it would be in every error of the client.
#[cfg(feature = "s3")]
#[test]
fn an_endpoint_with_a_password_in_it_is_refused_without_it() {
    let error = refused("s3://bucket/prefix?endpoint=http://user:of-no-value@127.0.0.1:1");
    assert!(error.to_string().contains("the endpoint has"), "{error}");
    assert!(!format!("{error:?}").contains("of-no-value"), "{error:?}");
}

/// However much of it is encoded.
#[test]
fn an_endpoint_that_is_encoded_is_shown_without_what_may_be_a_secret() {
    for url in [
        "s3://bucket/prefix?endpoint=http%3A%2F%2Fuser%3Aof-no-value%40127.0.0.1%3A1",
        "s3://bucket/prefix?endpoint=user%3Aof-no-value%40host",
        "s3://bucket/prefix?endpoint=http%253A%252F%252Fuser%253Aof-no-value%2540host",
        "s3://bucket/prefix?endpoint=http%3A%2F%2Fuser%3Aof-no-value%40host%",
        "gs://bucket/prefix?endpoint=user%3Aof-no-value%40host",
        "az://container/prefix?account=a&endpoint=https%3A%2F%2Fa.host%2Fc%3Fsv%3D1%26sig%3Dof-no-value",
    ] {
        let error = match url.parse::<Location>() {
            Ok(location) => {
                assert!(
                    !format!("{location:?}").contains("of-no-value"),
                    "{location}"
                );
                location.connect().err().unwrap()
            }
            Err(error) => error,
        };
        // Where a feature is off the scheme is not known, and nothing of it is shown either.
        let words = format!("{error} {error:?}");
        assert!(!words.contains("of-no-value"), "{words}");
        assert!(words.contains("***"), "{words}");
    }
}

#[cfg(feature = "s3")]
#[test]
fn what_fits_into_no_request_is_named() {
    let schemes: &[&str] = match cfg!(feature = "delta") {
        true => &["s3", "delta+s3"],
        false => &["s3"],
    };
    for scheme in schemes {
        for (rest, told) in [
            (
                "b/p?endpoint=127.0.0.1:19099",
                "the option endpoint must be the URL",
            ),
            ("b/p?endpoint=", "the option endpoint must be the URL"),
            (
                "b/p?endpoint=http://",
                "the option endpoint must be the URL",
            ),
            (
                "b/p?endpoint=http://h:99999",
                "the option endpoint must be the URL",
            ),
            (
                "b/p?endpoint=http://%5B",
                "the option endpoint must be the URL",
            ),
            (
                "b/p?endpoint=http://%255B",
                "the option endpoint must be the URL",
            ),
            ("b/p?region=a%0Ab", "the option region must be"),
            ("b/p?region=", "the option region must be"),
            ("Buck et/p", "BUCKET must be a name"),
            ("a[b/p", "BUCKET must be a name"),
            ("../p", "BUCKET must be a name"),
        ] {
            let error = refused(&format!("{scheme}://{rest}"));
            assert!(error.to_string().contains(told), "{rest}: {error}");
        }
    }
}

#[cfg(feature = "s3")]
#[test]
fn a_prefix_is_of_plain_names() {
    let schemes: &[&str] = match cfg!(feature = "delta") {
        true => &["s3", "delta+s3"],
        false => &["s3"],
    };
    for scheme in schemes {
        for prefix in ["a/../b", "..", "a/%2E%2E/b", "./a", "a%2Fb", "a%2fb"] {
            let error = refused(&format!("{scheme}://bucket/{prefix}?region=r"));
            assert!(
                error.to_string().contains("the prefix has the part"),
                "{error}"
            );
        }
    }
}

#[cfg(feature = "gcs")]
#[test]
fn what_fits_into_no_request_to_google_is_named() {
    for (url, told) in [
        ("gs://b/p?endpoint=x", "the option endpoint must be the URL"),
        ("gs://b[/p", "BUCKET must be a name"),
    ] {
        let error = refused(url);
        assert!(error.to_string().contains(told), "{url}: {error}");
    }
}

#[cfg(feature = "azure")]
#[test]
fn what_fits_into_no_request_to_azure_is_named() {
    for (url, told) in [
        (
            "az://c/p?account=a&endpoint=x",
            "the option endpoint must be the URL",
        ),
        ("az://c/p?account=a%20b", "the storage account must be"),
        ("az://c d/p?account=a", "CONTAINER must be a name"),
    ] {
        let error = refused(url);
        assert!(error.to_string().contains(told), "{url}: {error}");
    }
}
