//! What keeps a table quick: small files are merged, old ones removed, and it goes on behind checkpoints.

use std::time::SystemTime;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A name as the writers of a table give them.
fn uuid(number: u64) -> String {
    format!("01970000-0000-7000-8000-{number:012x}")
}

/// All files below a folder, in order.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let below = entries.flat_map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all_below(&path),
            false => vec![path],
        }
    });
    let mut below: Vec<_> = below.collect();
    below.sort();
    below
}

#[test]
fn optimize_merges_small_files_and_vacuum_removes_old_ones() {
    let folder = Folder::new();
    let table = folder.open();
    for sample in weather() {
        table.store(&[sample]).unwrap();
    }
    let before = table.list(&Query::new()).unwrap();
    let mut kept = table.iterate(&Query::new()).unwrap();
    let optimized = table.optimize().unwrap();
    assert_eq!((optimized.files_before, optimized.files_after), (4, 3));
    assert_eq!(table.list(&Query::new()).unwrap(), before);
    let last = folder.actions("add").pop().unwrap();
    assert_eq!(last["dataChange"], false);
    // There is nothing left to merge, and so no commit.
    let commits = folder.actions("commitInfo").len();
    let again = table.optimize().unwrap();
    assert_eq!((again.files_before, again.files_after), (3, 3));
    assert_eq!(folder.actions("commitInfo").len(), commits);
    // Old files stay for those who read older states.
    assert_eq!(table.vacuum(Duration::from_secs(3_600)).unwrap(), 0);
    assert_eq!(kept.next().unwrap().unwrap(), before.samples[0]);
    assert_eq!(folder.files().len(), 5);
    // One that a writer left which was killed before its commit.
    let left = format!("pipeline=JFK/date=2013-06-01/{}.parquet", uuid(1));
    fs::write(folder.path().join(left), "half").unwrap();
    assert_eq!(table.vacuum(Duration::ZERO).unwrap(), 3);
    assert_eq!(folder.files().len(), 3);
    assert_eq!(folder.open().list(&Query::new()).unwrap(), before);
}

/// Whatever lies in the folder of a table, the table's own files of rows alone are removed.
#[test]
fn vacuum_leaves_what_is_not_the_tables_own() {
    let folder = Folder::new();
    let root = folder.path();
    let table = folder.open();
    table.store(&weather()).unwrap();
    let in_order = table.list(&Query::new()).unwrap().samples;
    let used = all_below(root);
    // A table below, one in the folder of a partition, a place of documents, a database, and what looks nearly like ours.
    let below = root.display();
    let others = [
        format!("delta+file:{below}/inner"),
        format!("delta+file:{below}/pipeline=JFK?partition_by=date"),
        format!("file:{below}/documents"),
        format!("redb:{below}/other.redb"),
    ];
    for url in &others {
        connect(url).unwrap().store(&weather()).unwrap();
    }
    for name in [
        "notes.txt",
        "report.parquet",
        "pipeline=LGA%2FLa%20Guardia/notes.parquet",
        "pipeline=LGA%2FLa%20Guardia/date=2013-06-01/part-00000-c000.snappy.parquet",
        "pipeline=LGA%2FLa%20Guardia/date=2013-06-01/01970000-0000-4000-8000-000000000000.parquet",
        &format!("{}.parquet", uuid(1)),
        &format!("pipeline=LGA%2FLa%20Guardia/{}.parquet", uuid(2)),
        &format!(
            "pipeline=LGA%2FLa%20Guardia/date=2013-06-01/{}.csv",
            uuid(3)
        ),
        &format!("copies/pipeline=p/date=2013-06-01/{}.parquet", uuid(4)),
        &format!("pipeline=p/date=today/{}.parquet", uuid(5)),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "of somebody").unwrap();
    }
    let foreign = all_below(root);
    // Of writers that were killed.
    for name in [
        &format!(
            "pipeline=LGA%2FLa%20Guardia/date=2013-06-01/{}.parquet",
            uuid(6)
        ),
        &format!("pipeline=p/date=2013-06-01/{}.parquet", uuid(7)),
        &format!("long/{}.parquet", uuid(8)),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "half").unwrap();
    }
    let old = SystemTime::now() - 20 * DAY;
    for path in all_below(root) {
        if !path.starts_with(root.join("_delta_log")) {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(old).unwrap();
        }
    }
    let young = format!("pipeline=p/date=2013-06-01/{}.parquet", uuid(9));
    fs::write(root.join(&young), "of a writer at work").unwrap();
    // What it replaces was in the table until now, however old it is.
    table.store(&weather()).unwrap();
    assert_eq!(table.vacuum(DAY).unwrap(), 3);
    let is_log = |path: &PathBuf| path.starts_with(root.join("_delta_log"));
    let is_left = |path: &PathBuf| path.exists() || is_log(path);
    assert!(foreign.iter().all(is_left), "{foreign:?}");
    assert!(root.join(&young).exists());
    // The three that were replaced, and the young one.
    assert_eq!(table.vacuum(Duration::ZERO).unwrap(), 4);
    let gone: Vec<_> = foreign.iter().filter(|path| !is_left(path)).collect();
    let replaced: Vec<_> = used.iter().filter(|path| !is_log(path)).collect();
    assert_eq!(gone, replaced);
    let all = |storage: &dyn Storage| storage.list(&Query::new()).unwrap().samples;
    assert_eq!(all(&folder.open()), in_order);
    for url in &others {
        assert_eq!(all(&*connect(url).unwrap()), in_order, "{url}");
    }
}

/// What a writer had not finished when it was killed lies beside its place under a name that no list has.
#[test]
fn vacuum_removes_what_was_written_by_half() {
    let folder = Folder::new();
    let root = folder.path();
    let table = folder.open();
    table.store(&weather()).unwrap();
    let in_order = table.list(&Query::new()).unwrap().samples;
    for url in [
        format!("delta+file:{}/inner", root.display()),
        format!("delta+file:{}/pipeline=p?partition_by=date", root.display()),
    ] {
        connect(&url).unwrap().store(&weather()).unwrap();
    }
    let write = |name: &str, age: Duration| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(&path).unwrap();
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - age);
        file.set_times(times).unwrap();
        path
    };
    let uuid = uuid(1);
    let jfk = "pipeline=JFK/date=2013-06-01";
    let half = [
        format!("{jfk}/{uuid}.parquet#1"),
        format!("{jfk}/{uuid}.parquet#17293822569102704640"),
        format!("long/{uuid}.parquet#1"),
        "_delta_log/00000000000000000009.json#1".to_owned(),
        "_delta_log/00000000000000000100.checkpoint.parquet#1".to_owned(),
        "_delta_log/_last_checkpoint#1".to_owned(),
    ];
    let half: Vec<_> = half.iter().map(|name| write(name, 2 * DAY)).collect();
    let others = [
        format!("{jfk}/notes.parquet#1"),
        format!("{jfk}/{uuid}.parquet#one"),
        format!("{jfk}/{uuid}.parquet#"),
        format!("copies/{uuid}.parquet#1"),
        format!("{uuid}.parquet#1"),
        "notes.json#1".to_owned(),
        "_delta_log/notes.json#1".to_owned(),
        "_delta_log/below/00000000000000000009.json#1".to_owned(),
        "inner/_delta_log/00000000000000000009.json#1".to_owned(),
        format!("pipeline=p/date=2013-06-01/{uuid}.parquet#1"),
    ];
    let others: Vec<_> = others.iter().map(|name| write(name, 2 * DAY)).collect();
    let young = write(&format!("{jfk}/{uuid}.parquet#2"), Duration::ZERO);
    assert_eq!(table.vacuum(30 * DAY).unwrap(), 0);
    assert_eq!(table.vacuum(DAY).unwrap(), half.len() as u64);
    assert!(half.iter().all(|path| !path.exists()), "{half:?}");
    assert!(young.exists());
    assert_eq!(table.vacuum(Duration::ZERO).unwrap(), 1);
    assert!(!young.exists());
    assert!(others.iter().all(|path| path.exists()), "{others:?}");
    assert_eq!(folder.open().list(&Query::new()).unwrap().samples, in_order);
}

#[test]
fn a_table_goes_on_behind_its_checkpoints() {
    let folder = Folder::new();
    let table = folder.open();
    for n in 0..105 {
        let id = format!("{:03}", n % 50);
        table
            .store(&[sample(&id, "p", "2013-06-01T00:00:00Z", f64::from(n))])
            .unwrap();
    }
    let checkpoint = folder.path().join("_delta_log/_last_checkpoint");
    let checkpoint: Json = serde_json::from_str(&fs::read_to_string(checkpoint).unwrap()).unwrap();
    assert_eq!(checkpoint["version"], 99);
    let reopened = folder.open();
    let expected: Vec<_> = (0..50).map(|n| format!("{n:03}")).collect();
    assert_eq!(ids(&reopened, &Query::new()), expected);
    reopened
        .store(&[sample("new", "p", "2013-06-01T00:00:00Z", 0.0)])
        .unwrap();
    assert_eq!(folder.actions("txn").last().unwrap()["version"], 51);
}
