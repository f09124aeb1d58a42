//! JSON documents, in folders, in S3 and in Azure Blob Storage: what lies there, who comes between, and what is damaged.

/// What the chapter on backends removes behind killed writers.
#[cfg(unix)]
mod left_over;
/// What is refused where a place is opened.
mod refused;
/// What is removed, and what another process stores meanwhile.
mod removal;
/// Servers that end in the middle of a store, and are started again.
#[cfg(any(feature = "azure", feature = "s3"))]
mod restarted;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use samplestore::{
    Error, ErrorKind, Location, Query, Result, Sample, Selection, Status, Storage, connect, data,
};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(
            tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .unwrap(),
        )
    }

    fn url(&self) -> String {
        format!("file:{}", self.0.path().display())
    }

    fn open(&self) -> Box<dyn Storage> {
        connect(&self.url()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names in a folder, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Samples of one instant, so that only the order of storing tells them apart.
fn at_once(ids: impl IntoIterator<Item = impl Into<String>>) -> Vec<Sample> {
    let ids = ids.into_iter();
    ids.map(|id| {
        let sample = Sample::builder("weather").id(id);
        sample
            .created_at("2013-06-01T12:00:00Z".parse().unwrap())
            .build()
            .unwrap()
    })
    .collect()
}

fn ids(storage: &dyn Storage) -> Vec<String> {
    let samples = storage.list(&Query::new()).unwrap().samples;
    samples
        .iter()
        .map(|sample| sample.id().to_owned())
        .collect()
}

#[test]
fn a_document_is_the_text_form_under_a_name_that_is_safe() {
    let folder = Folder::new();
    let storage = folder.open();
    let sample = Sample::builder("weather")
        .id("JFK/../x")
        .created_at("2013-06-01T12:00:00Z".parse().unwrap())
        .data(data! { "temp" => 71.6, "nan" => f64::NAN })
        .build()
        .unwrap();
    storage.store(std::slice::from_ref(&sample)).unwrap();
    storage.store(&at_once(["jfk", "JFK"])).unwrap();
    let names = ["=4a=46=4b.json", "=4a=46=4b=2f..=2fx.json", "jfk.json"];
    assert_eq!(folder.names("samples"), names);
    let text = fs::read_to_string(folder.path("samples").join(names[1])).unwrap();
    assert_eq!(text, format!("{}\n", sample.to_json_text().unwrap()));
    assert_eq!(storage.retrieve("JFK/../x").unwrap().unwrap(), sample);
    assert_eq!(folder.names(""), ["order", "samples", "samplestore.json"]);
}

#[test]
fn the_order_of_storing_outlives_replacement_and_restart() {
    let folder = Folder::new();
    let storage = folder.open();
    storage.store(&at_once(["c", "a"])).unwrap();
    storage.store(&at_once(["b", "a", "d"])).unwrap();
    assert_eq!(ids(&*storage), ["c", "a", "b", "d"]);
    storage.close().unwrap();
    let storage = folder.open();
    storage.store(&at_once(["a", "e"])).unwrap();
    assert_eq!(ids(&*storage), ["c", "a", "b", "d", "e"]);
    assert_eq!(storage.delete(&"a".into()).unwrap(), 1);
    storage.store(&at_once(["f", "a"])).unwrap();
    let expected = ["c", "b", "d", "e", "f", "a"];
    assert_eq!(ids(&*storage), expected);
    assert_eq!(ids(&*folder.open()), expected);
    // What is only replaced claims no place.
    let entries = folder.names("order").len();
    storage.store(&at_once(["c", "b"])).unwrap();
    assert_eq!(folder.names("order").len(), entries);
}

#[test]
fn a_place_that_is_not_there_is_made_only_when_it_may_be() {
    let folder = Folder::new();
    let url = format!("{}/new", folder.url());
    let location: Location = url.parse().unwrap();
    let error = location.clone().create(false).connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!folder.path("new").exists());
    fs::create_dir(folder.path("new")).unwrap();
    let error = connect(&format!("{url}?create=false")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(names(&folder.path("new")), [""; 0]);
    location.connect().unwrap();
    assert_eq!(names(&folder.path("new")), ["samplestore.json"]);
    connect(&format!("{url}?create=false")).unwrap();
}

#[test]
fn what_is_damaged_is_named() {
    type Damage = fn(&Folder);
    let cases: [(Damage, &str); 6] = [
        (
            |folder| fs::write(folder.path("samples/a.json"), "{\"id\":").unwrap(),
            "samples/a.json",
        ),
        (
            |folder| fs::write(folder.path("samples/a.json"), [0xff]).unwrap(),
            "samples/a.json",
        ),
        (
            |folder| {
                fs::rename(folder.path("samples/a.json"), folder.path("samples/c.json")).unwrap();
            },
            "samples/c.json",
        ),
        (
            |folder| {
                let text = fs::read_to_string(folder.path("samples/a.json")).unwrap();
                let text = text.replace("\"a\"", "\"new\"");
                fs::write(folder.path("samples/new.json"), text).unwrap();
            },
            "samples/new.json",
        ),
        (
            |folder| {
                fs::remove_file(folder.path("order/00000000000000000001.json")).unwrap();
            },
            "order/00000000000000000001.json",
        ),
        (
            |folder| {
                fs::write(folder.path("order/00000000000000000002.json"), "[]").unwrap();
            },
            "order/00000000000000000002.json",
        ),
    ];
    for (damage, named) in cases {
        let folder = Folder::new();
        let storage = folder.open();
        storage.store(&at_once(["a"])).unwrap();
        storage.store(&at_once(["b"])).unwrap();
        storage.close().unwrap();
        damage(&folder);
        let error = folder.open().list(&Query::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
    let folder = Folder::new();
    drop(folder.open());
    fs::write(
        folder.path("samplestore.json"),
        r#"{"samplestore_files":2,"identity":"0"}"#,
    )
    .unwrap();
    assert_eq!(
        connect(&folder.url()).unwrap_err().kind(),
        ErrorKind::FormatTooNew
    );
    fs::write(folder.path("samplestore.json"), "").unwrap();
    assert_eq!(
        connect(&folder.url()).unwrap_err().kind(),
        ErrorKind::Damaged
    );
}

#[test]
fn what_a_killed_writer_left_is_not_seen() {
    let folder = Folder::new();
    let storage = folder.open();
    storage.store(&at_once(["a"])).unwrap();
    // Names as the object store gives its half-written files, and what file managers leave.
    fs::write(folder.path("samples/b.json#1"), "{").unwrap();
    fs::write(folder.path("samples/.DS_Store"), "x").unwrap();
    fs::create_dir(folder.path("samples/below")).unwrap();
    fs::write(folder.path("samples/below/c.json"), "{").unwrap();
    // A claim whose document was not written any more.
    fs::write(
        folder.path("order/00000000000000000002.json"),
        r#"{"stored":["b"]}"#,
    )
    .unwrap();
    let storage = folder.open();
    assert_eq!(ids(&*storage), ["a"]);
    assert_eq!(storage.count(&Query::new()).unwrap(), 1);
    let report = storage.store(&at_once(["c", "b"])).unwrap();
    assert_eq!((report.inserted, report.replaced), (2, 0));
    assert_eq!(ids(&*storage), ["a", "b", "c"]);
}

#[test]
fn what_cannot_be_written_is_told_with_what_was() {
    let folder = Folder::new();
    let storage = folder.open();
    // A folder stands where the document should.
    fs::create_dir_all(folder.path("samples/b.json/x")).unwrap();
    let error = storage.store(&at_once(["a", "b"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Partial, "{error:?}");
    assert_eq!(error.stored_ids(), ["a"]);
    assert_eq!(error.sample_id(), Some("b"));
    let error = storage.store(&at_once(["b"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    assert_eq!(error.stored_ids(), [""; 0]);
}

/// Handles that know nothing of each other, as those of several processes do not.
fn strangers_share_a_place(url: &str) {
    let strangers: Vec<_> = (0..4).map(|_| connect(url).unwrap()).collect();
    let batch = |from: usize| at_once((from..from + 10).map(|number| format!("s-{number}")));
    let inserted: u64 = thread::scope(|scope| {
        let write = |storage: &dyn Storage| {
            let stores = (0..40).step_by(5).map(|from| storage.store(&batch(from)));
            let reports = stores.collect::<Result<Vec<_>>>()?;
            Ok::<_, Error>(reports.iter().map(|report| report.inserted).sum::<u64>())
        };
        let writers: Vec<_> = strangers
            .iter()
            .map(|storage| scope.spawn(move || write(&**storage)))
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap().unwrap())
            .sum()
    });
    assert_eq!(inserted, 45);
    let order = ids(&*strangers[0]);
    assert_eq!(order.len(), 45);
    for storage in &strangers {
        assert_eq!(ids(&**storage), order);
    }
    assert_eq!(ids(&*connect(url).unwrap()), order);

    let claim = Selection::from(Query::new().status(Status::Pending).limit(7));
    let moved: u64 = thread::scope(|scope| {
        let claim = |storage: &dyn Storage| {
            let mut moved = 0;
            while storage.count(&Query::new().status(Status::Pending))? > 0 {
                moved += storage.set_status(&claim, Some(Status::Pending), Status::Ready)?;
            }
            Ok::<_, Error>(moved)
        };
        let claimers: Vec<_> = strangers
            .iter()
            .map(|storage| scope.spawn(move || claim(&**storage)))
            .collect();
        claimers
            .into_iter()
            .map(|claimer| claimer.join().unwrap().unwrap())
            .sum()
    });
    assert_eq!(moved, 45);
    assert_eq!(
        strangers[1]
            .count(&Query::new().status(Status::Ready))
            .unwrap(),
        45
    );
    assert_eq!(ids(&*strangers[2]), order);
}

#[test]
fn strangers_share_a_folder() {
    strangers_share_a_place(&Folder::new().url());
}

#[test]
fn it_works_inside_a_runtime_of_the_callers() {
    let folder = Folder::new();
    let stored = || {
        let storage = folder.open();
        storage.store(&at_once(["a", "b"])).unwrap();
        ids(&*storage)
    };
    let single = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert_eq!(single.block_on(async { stored() }), ["a", "b"]);
    let many = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    assert_eq!(many.block_on(async { stored() }), ["a", "b"]);
}

#[cfg(feature = "s3")]
mod s3 {
    use super::*;
    use crate::servers::s3::{S3, shared};

    #[test]
    fn strangers_share_a_prefix() {
        let Some(server) = shared() else { return };
        strangers_share_a_place(&server.url());
    }

    #[test]
    fn a_server_that_is_gone_is_an_error_that_may_be_tried_again_and_has_no_secret() {
        let Some(mut server) = S3::start() else {
            return;
        };
        let url = server.url();
        let storage = connect(&url).unwrap();
        server.kill();
        for error in [
            storage.store(&at_once(["a"])).unwrap_err(),
            storage.count(&Query::new()).unwrap_err(),
            connect(&url).unwrap_err(),
        ] {
            assert!(error.is_retryable(), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Backend);
            assert!(!format!("{error:?}").contains("of-no-value"), "{error:?}");
        }
    }

    #[test]
    fn a_bucket_that_is_not_there_is_told() {
        let Some(server) = shared() else { return };
        let url = server.url().replace("s3://bucket-", "s3://nowhere-");
        for url in [url.clone(), format!("{url}&create=false")] {
            let error = connect(&url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            assert!(!error.is_retryable());
            assert!(error.to_string().contains("no such bucket"), "{error}");
        }
    }
}

#[cfg(feature = "azure")]
mod azure {
    use super::*;
    use crate::servers::azure::{Azure, shared};

    #[test]
    fn strangers_share_a_prefix() {
        let Some(server) = shared() else { return };
        strangers_share_a_place(&server.url());
    }

    #[test]
    fn an_emulator_that_is_gone_is_an_error_that_may_be_tried_again() {
        let Some(mut server) = Azure::start() else {
            return;
        };
        let url = server.url();
        let storage = connect(&url).unwrap();
        storage.store(&at_once(["a"])).unwrap();
        server.stop();
        for error in [
            storage.store(&at_once(["b"])).unwrap_err(),
            storage.count(&Query::new()).unwrap_err(),
            connect(&url).unwrap_err(),
        ] {
            assert!(error.is_retryable(), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Backend);
        }
    }

    #[test]
    fn a_container_that_is_not_there_is_told() {
        let Some(server) = shared() else { return };
        let url = server.url_in("nowhere");
        for url in [url.clone(), format!("{url}&create=false")] {
            let error = connect(&url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            assert!(!error.is_retryable());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_asked() {
        for (url, told) in [
            ("az:", "az://CONTAINER/PREFIX"),
            (
                "az://user:hush@container/prefix",
                "credentials do not stand",
            ),
            ("az://container/prefix?emulator=perhaps", "true or false"),
            (
                "az://container/prefix?emulator&endpoint=http://a:hush@b",
                "the endpoint has",
            ),
            ("az://container/prefix?acount=a", "did you mean account?"),
            (
                "az://container/prefix?account=a&format=xml",
                "format must be",
            ),
        ] {
            let error = connect(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}");
            assert!(error.to_string().contains(told), "{url}: {error}");
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
    }
}

#[cfg(feature = "gcs")]
mod gcs {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.json");
        fs::write(&file, r#"{"type": "hush"}"#).unwrap();
        let with_file = format!("gs://bucket/prefix?credentials_file={}", file.display());
        for (url, told) in [
            ("gs:", "gs://BUCKET/PREFIX"),
            ("gs://user:hush@bucket/prefix", "credentials do not stand"),
            (
                "gs://bucket/prefix?endpoint=http://a:hush@b",
                "the endpoint has",
            ),
            ("gs://bucket/prefix?endpiont=a", "did you mean endpoint?"),
            (with_file.as_str(), "gs://bucket/prefix"),
        ] {
            let error = connect(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url} {error:?}");
            assert!(error.to_string().contains(told), "{url}: {error}");
        }
    }
}
