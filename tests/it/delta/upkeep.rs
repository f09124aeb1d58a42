//! What keeps a table quick: small files are merged, old ones removed, and it goes on behind checkpoints.

use super::*;

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
    fs::write(folder.path().join("pipeline=JFK/left.parquet"), "half").unwrap();
    assert_eq!(table.vacuum(Duration::ZERO).unwrap(), 3);
    assert_eq!(folder.files().len(), 3);
    assert_eq!(folder.open().list(&Query::new()).unwrap(), before);
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
