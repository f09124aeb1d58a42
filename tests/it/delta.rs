//! Samples in a Delta Lake table: what lies there, what is read of it, who comes between, and who else can read it.

/// The example of the chapter on backends.
#[cfg(feature = "s3")]
mod chapter;
/// Large samples, and more of them than are held in memory.
mod large;
/// Many ids and matches.
mod many;
/// Programs that are not ours.
mod others;
/// Tables in S3.
#[cfg(feature = "s3")]
mod s3;
/// Small files merged, old ones removed, checkpoints.
mod upkeep;
/// Writers that meet.
mod writers;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use samplestore::{
    DeltaTable, ErrorKind, Location, Query, Sample, Selection, Status, Storage, StoreReport,
    connect, data,
};
use serde_json::{Value as Json, json};
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

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn url(&self) -> String {
        format!("delta+file:{}", self.path().display())
    }

    fn open(&self) -> DeltaTable {
        DeltaTable::open(&self.url().parse().unwrap()).unwrap()
    }

    /// The actions in the log of one kind, as they were committed.
    fn actions(&self, kind: &str) -> Vec<Json> {
        let mut commits: Vec<PathBuf> = fs::read_dir(self.path().join("_delta_log"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        commits.sort();
        let texts = commits.iter().map(|path| fs::read_to_string(path).unwrap());
        let lines: Vec<Json> = texts
            .flat_map(|text| {
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                lines.collect::<Vec<Json>>()
            })
            .collect();
        let found = lines.iter().filter_map(|line| line.get(kind)).cloned();
        found.collect()
    }

    /// The files of rows that lie there, used or not.
    fn files(&self) -> Vec<PathBuf> {
        files_below(self.path())
    }

    /// The path of a file in the log.
    fn path_of(&self, add: &Json) -> PathBuf {
        // Partitions are encoded in the names of folders, and paths in the log once more.
        self.path()
            .join(add["path"].as_str().unwrap().replace("%25", "%"))
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    let folders = folders
        .iter()
        .filter(|folder| !folder.ends_with("_delta_log"));
    files.extend(folders.flat_map(|folder| files_below(folder)));
    files
}

fn sample(id: &str, pipeline: &str, instant: &str, temp: f64) -> Sample {
    Sample::builder(pipeline)
        .id(id)
        .status(Status::Ready)
        .created_at(instant.parse().unwrap())
        .data(data! { "raw" => id })
        .measurement("temp", temp)
        .build()
        .unwrap()
}

/// Two days at two airports.
fn weather() -> Vec<Sample> {
    vec![
        sample("jfk-1", "JFK", "2013-06-01T06:00:00Z", 60.5),
        sample("jfk-2", "JFK", "2013-06-01T18:00:00Z", 71.0),
        sample("jfk-3", "JFK", "2013-06-02T06:00:00Z", 62.0),
        sample("lga-1", "LGA/La Guardia", "2013-06-01T06:00:00Z", 63.5),
    ]
}

fn ids(storage: &dyn Storage, query: &Query) -> Vec<String> {
    let samples = storage.list(query).unwrap().samples;
    samples
        .iter()
        .map(|sample| sample.id().to_owned())
        .collect()
}

#[test]
fn a_batch_is_one_commit_of_a_file_for_each_pipeline_and_date() {
    let folder = Folder::new();
    let table = folder.open();
    assert_eq!(table.store(&weather()).unwrap(), StoreReport::new(4, 0));
    let adds = folder.actions("add");
    let mut partitions: Vec<_> = adds
        .iter()
        .map(|add| {
            let text = |name: &str| add["partitionValues"][name].as_str().unwrap().to_owned();
            let statistics: Json = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            let rows = statistics["numRecords"].as_u64().unwrap();
            (text("pipeline"), text("date"), rows)
        })
        .collect();
    partitions.sort();
    let mut folders: Vec<_> = folder
        .files()
        .iter()
        .map(|path| {
            path.parent()
                .unwrap()
                .strip_prefix(folder.path())
                .unwrap()
                .to_owned()
        })
        .collect();
    folders.sort();
    let expected = [
        "pipeline=JFK/date=2013-06-01",
        "pipeline=JFK/date=2013-06-02",
        "pipeline=LGA%2FLa%20Guardia/date=2013-06-01",
    ];
    assert_eq!(folders, expected.map(PathBuf::from));
    let partition = |pipeline: &str, date: &str, rows| (pipeline.to_owned(), date.to_owned(), rows);
    assert_eq!(
        partitions,
        [
            partition("JFK", "2013-06-01", 2),
            partition("JFK", "2013-06-02", 1),
            partition("LGA/La Guardia", "2013-06-01", 1),
        ]
    );
    // One commit made the table, one stored the batch; each says how many samples there have ever been.
    assert_eq!(folder.actions("commitInfo").len(), 2);
    assert_eq!(folder.actions("txn")[0]["version"], 4);
    // An empty batch touches nothing.
    table.store(&[]).unwrap();
    assert_eq!(folder.actions("commitInfo").len(), 2);
}

#[test]
fn a_sample_that_moves_to_another_partition_is_there_once() {
    let folder = Folder::new();
    let table = folder.open();
    table.store(&weather()).unwrap();
    let moved = sample("jfk-1", "EWR", "2014-01-01T00:00:00Z", 1.0);
    let batch = [
        sample("new", "EWR", "2014-01-01T00:00:00Z", 2.0),
        moved.clone(),
    ];
    assert_eq!(table.store(&batch).unwrap(), StoreReport::new(1, 1));
    assert_eq!(table.retrieve("jfk-1").unwrap(), Some(moved));
    let all = ["lga-1", "jfk-2", "jfk-3", "jfk-1", "new"];
    assert_eq!(ids(&table, &Query::new()), all);
    assert_eq!(ids(&table, &Query::new().pipeline("EWR")), ["jfk-1", "new"]);
    // A file without rows is taken out, not written anew.
    assert_eq!(table.delete(&"jfk-3".into()).unwrap(), 1);
    let adds = folder.actions("add").len();
    assert_eq!(table.delete(&"lga-1".into()).unwrap(), 1);
    assert_eq!(folder.actions("add").len(), adds);
    assert_eq!(table.count(&Query::new()).unwrap(), 3);
}

#[test]
fn partitions_and_statistics_leave_out_files() {
    let folder = Folder::new();
    let table = folder.open();
    table.store(&weather()).unwrap();
    table
        .store(&[sample("jfk-4", "JFK", "2013-06-02T18:00:00Z", 80.0)])
        .unwrap();
    // Who reads a file that is gone fails, so what still works does not read it.
    let gone = |leave: &dyn Fn(&Json) -> bool| -> Vec<PathBuf> {
        let adds = folder.actions("add");
        let gone: Vec<_> = adds
            .iter()
            .filter(|add| !leave(add))
            .map(|add| folder.path_of(add))
            .filter(|path| path.exists())
            .collect();
        for path in &gone {
            fs::rename(path, path.with_extension("hidden")).unwrap();
        }
        gone
    };
    let back = |gone: &[PathBuf]| {
        for path in gone {
            fs::rename(path.with_extension("hidden"), path).unwrap();
        }
    };
    let is_of = |name: &'static str, value: &'static str| {
        move |add: &Json| add["partitionValues"][name] == value
    };
    let instant = |text: &str| text.parse().unwrap();

    let hidden = gone(&is_of("pipeline", "JFK"));
    let jfk = Query::new().pipeline("JFK");
    assert_eq!(ids(&table, &jfk), ["jfk-1", "jfk-2", "jfk-3", "jfk-4"]);
    assert_eq!(table.count(&jfk).unwrap(), 4);
    assert_eq!(
        table
            .set_status(&jfk.into(), None, Status::Labeled)
            .unwrap(),
        4
    );
    let error = table.list(&Query::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error:?}");
    assert!(error.is_retryable(), "{error:?}");
    assert!(
        error.to_string().contains("vacuum may have removed it"),
        "{error}"
    );
    back(&hidden);

    let hidden = gone(&is_of("date", "2013-06-02"));
    let second = Query::new().since(instant("2013-06-02T00:00:00Z"));
    assert_eq!(ids(&table, &second), ["jfk-3", "jfk-4"]);
    back(&hidden);

    // Of one partition, by the instants and by the ids that its files have.
    let folder = Folder::new();
    let table = folder.open();
    for (id, hour) in [("a", 1), ("b", 2), ("c", 3)] {
        let instant = format!("2013-06-01T0{hour}:00:00Z");
        table.store(&[sample(id, "JFK", &instant, 0.0)]).unwrap();
    }
    let has = |id: &'static str| {
        move |add: &Json| {
            add["stats"]
                .as_str()
                .unwrap()
                .contains(&format!("\"id\":\"{id}\""))
        }
    };
    for add in folder.actions("add").iter().filter(|add| !has("b")(add)) {
        fs::remove_file(folder.path_of(add)).unwrap();
    }
    let about_two = Query::new()
        .after(instant("2013-06-01T01:00:00Z"))
        .before(instant("2013-06-01T03:00:00Z"));
    assert_eq!(ids(&table, &about_two), ["b"]);
    assert_eq!(table.retrieve("b").unwrap().unwrap().id(), "b");
    assert_eq!(table.retrieve("bb").unwrap(), None);
    table
        .store(&[sample("b", "JFK", "2013-06-01T02:00:00Z", 1.0)])
        .unwrap();
    assert_eq!(table.delete(&"b".into()).unwrap(), 1);
}

#[test]
fn measurements_that_are_numbers_have_columns_of_their_own() {
    let folder = Folder::new();
    let table = folder.open();
    let measured = |id: &str, measurements: Vec<(&str, samplestore::Value)>| {
        let mut sample = Sample::builder("p")
            .id(id)
            .created_at("2013-06-01T00:00:00Z".parse().unwrap());
        for (name, value) in measurements {
            sample = sample.measurement(name, value);
        }
        sample.build().unwrap()
    };
    let first = measured("a", vec![("temp", 1.5.into()), ("sky", "clear".into())]);
    let second = measured(
        "b",
        vec![
            ("temp", "none".into()),
            ("n", u64::MAX.into()),
            ("odd name", 1.into()),
        ],
    );
    table.store(std::slice::from_ref(&first)).unwrap();
    table.store(std::slice::from_ref(&second)).unwrap();
    // Written anew with the column that came later.
    table.set_status(&"a".into(), None, Status::Ready).unwrap();
    let metadata = folder.actions("metaData");
    let columns = |metadata: &Json| {
        let schema: Json =
            serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let fields = schema["fields"].as_array().unwrap().clone();
        let single: Vec<_> = fields
            .iter()
            .filter(|field| field["name"].as_str().unwrap().starts_with("measurement_"))
            .map(|field| (field["name"].clone(), field["type"].clone()))
            .collect();
        single
    };
    let temp = (json!("measurement_temp"), json!("double"));
    let n = (json!("measurement_n"), json!("double"));
    assert_eq!(metadata.len(), 3);
    assert_eq!(columns(&metadata[0]), []);
    assert_eq!(columns(&metadata[1]), std::slice::from_ref(&temp));
    assert_eq!(columns(&metadata[2]), [temp, n]);
    let reopened = folder.open();
    assert_eq!(
        reopened.retrieve("a").unwrap(),
        Some(first.with_status(Status::Ready))
    );
    assert_eq!(reopened.retrieve("b").unwrap(), Some(second));
}

#[test]
fn how_it_is_divided_is_an_option_of_a_new_table() {
    for (word, columns) in [
        ("pipeline,date", json!(["pipeline", "date"])),
        ("pipeline", json!(["pipeline"])),
        ("date", json!(["date"])),
        ("none", json!([])),
    ] {
        let folder = Folder::new();
        let url = format!("{}?partition_by={word}", folder.url());
        let table = connect(&url).unwrap();
        table.store(&weather()).unwrap();
        assert_eq!(folder.actions("metaData")[0]["partitionColumns"], columns);
        assert_eq!(
            ids(
                &*table,
                &Query::new()
                    .pipeline("JFK")
                    .before("2013-06-02T00:00:00Z".parse().unwrap())
            ),
            ["jfk-1", "jfk-2"],
            "{word}"
        );
        connect(&folder.url()).unwrap();
        let other = if word == "date" { "none" } else { "date" };
        let error = connect(&format!("{}?partition_by={other}", folder.url())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let is = format!("its partition_by is {word}");
        assert!(error.to_string().contains(&is), "{error}");
    }
}

#[test]
fn what_is_there_already_is_opened_only_if_it_is_ours() {
    let folder = Folder::new();
    let url = format!("{}/new", folder.url());
    let location: Location = url.parse().unwrap();
    let error = location.clone().create(false).connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(!folder.path().join("new").exists());
    let wrong = format!("{url}?partition_by=pipelin");
    let error = connect(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(!folder.path().join("new").exists());
    location.connect().unwrap();
    location.create(false).connect().unwrap();
    // A folder without a table.
    fs::create_dir(folder.path().join("other")).unwrap();
    let other: Location = format!("{}/other", folder.url()).parse().unwrap();
    let error = other.create(false).connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let first = folder
        .path()
        .join("new/_delta_log/00000000000000000000.json");
    let text = fs::read_to_string(&first).unwrap();
    for (mark, kind) in [
        (r#""samplestore.version":"2""#, ErrorKind::FormatTooNew),
        (r#""another":"1""#, ErrorKind::NotADatabase),
    ] {
        fs::write(&first, text.replace(r#""samplestore.version":"1""#, mark)).unwrap();
        assert_eq!(connect(&url).unwrap_err().kind(), kind);
    }
    let error = DeltaTable::open(&"memory:".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = connect("delta+file:x?partition=date").unwrap_err();
    assert!(
        error.to_string().contains("did you mean partition_by?"),
        "{error}"
    );
}
