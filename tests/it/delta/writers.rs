//! Writers that meet: none loses anything, and each claim goes to one.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;

#[test]
fn writers_that_meet_begin_again_and_lose_nothing() {
    const WRITERS: usize = 4;
    const BATCHES: usize = 6;
    let folder = Folder::new();
    folder.open();
    let new: u64 = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                // A handle of its own, as another process has.
                let table = folder.open();
                scope.spawn(move || {
                    let mut new = 0;
                    for batch in 0..BATCHES {
                        let own = format!("{writer}-{batch}");
                        let shared = format!("shared-{batch}");
                        let at = "2013-06-01T00:00:00Z";
                        let batch = [
                            sample(&own, "p", at, 0.0),
                            sample(&shared, "p", at, writer as f64),
                        ];
                        new += table.store(&batch).unwrap().inserted;
                    }
                    new
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    let expected = (WRITERS * BATCHES + BATCHES) as u64;
    assert_eq!(new, expected);
    let table = folder.open();
    let mut found = ids(&table, &Query::new());
    found.sort();
    found.dedup();
    assert_eq!(found.len() as u64, expected);
    assert_eq!(table.count(&Query::new()).unwrap(), expected);
    assert_eq!(folder.actions("commitInfo").len(), 1 + WRITERS * BATCHES);
    // Ranks are given once each.
    let last = folder.actions("txn").last().unwrap()["version"].as_u64();
    assert_eq!(last, Some(expected));
}

#[test]
fn of_concurrent_claims_each_sample_goes_to_one() {
    let folder = Folder::new();
    let table = folder.open();
    let batch: Vec<_> = (0..20)
        .map(|n| sample(&format!("{n:02}"), "p", "2013-06-01T00:00:00Z", 0.0))
        .collect();
    table.store(&batch).unwrap();
    let claimed: u64 = thread::scope(|scope| {
        let claims: Vec<_> = (0..4)
            .map(|_| {
                let table = folder.open();
                scope.spawn(move || {
                    let some = Selection::from(Query::new().limit(3));
                    table
                        .set_status(&some, Some(Status::Ready), Status::Labeled)
                        .unwrap()
                })
            })
            .collect();
        claims.into_iter().map(|claim| claim.join().unwrap()).sum()
    });
    assert_eq!(claimed, 12);
    assert_eq!(
        table.count(&Query::new().status(Status::Labeled)).unwrap(),
        12
    );
}

/// Does `work` while another handle stores sample after sample of the pipeline `new`; how many it stored meanwhile.
fn beside_a_writer<T>(folder: &Folder, work: impl FnOnce() -> T) -> (T, u64) {
    let writer = folder.open();
    thread::scope(|scope| {
        // Gone also when `work` panics.
        let is_wanted = Arc::new(());
        let wanted = Arc::downgrade(&is_wanted);
        let stored = scope.spawn(move || {
            let mut stored = 0;
            while wanted.strong_count() > 0 {
                let id = format!("new-{stored}");
                let sample = sample(&id, "new", "2013-06-02T00:00:00Z", 0.0);
                writer.store(&[sample]).unwrap();
                stored += 1;
            }
            stored
        });
        let done = work();
        drop(is_wanted);
        (done, stored.join().unwrap())
    })
}

/// Many files, so that to write them anew takes longer than others need for a commit.
fn many_files(folder: &Folder) -> DeltaTable {
    let table = folder.open();
    for batch in 0..40 {
        let samples: Vec<_> = (0..50)
            .map(|n| sample(&format!("{batch}-{n}"), "p", "2013-06-01T00:00:00Z", 0.0))
            .collect();
        table.store(&samples).unwrap();
    }
    table
}

/// The files of the table's folder that no commit names.
fn unnamed(folder: &Folder) -> Vec<PathBuf> {
    let named = folder.actions("add").into_iter();
    let named: HashSet<PathBuf> = named.map(|add| folder.path_of(&add)).collect();
    let files = folder.files().into_iter();
    files.filter(|file| !named.contains(file)).collect()
}

#[test]
fn what_others_do_not_concern_is_committed_behind_them() {
    let folder = Folder::new();
    let table = many_files(&folder);
    let (optimized, _) = beside_a_writer(&folder, || table.optimize().unwrap());
    assert!(optimized.files_before >= 40);
    let merges = |folder: &Folder| {
        let infos = folder.actions("commitInfo").into_iter();
        infos.filter(|info| info["operation"] == "OPTIMIZE").count()
    };
    assert_eq!(merges(&folder), 1);
    let some = Selection::from(Query::new().pipeline("p"));
    let (moved, _) = beside_a_writer(&folder, || {
        table
            .set_status(&some, Some(Status::Ready), Status::Labeled)
            .unwrap()
    });
    assert_eq!(moved, 2_000);
    assert_eq!(
        table.count(&Query::new().status(Status::Labeled)).unwrap(),
        2_000
    );
    let (gone, new) = beside_a_writer(&folder, || table.delete(&some).unwrap());
    assert_eq!(gone, 2_000);
    let left = table.count(&Query::new()).unwrap();
    assert!(left >= new && left == table.count(&Query::new().pipeline("new")).unwrap());
    assert!(unnamed(&folder).is_empty());
}

/// What is decided anew is written anew: the files of the commit that was lost go.
#[test]
fn a_commit_that_is_lost_leaves_no_file() {
    let folder = Folder::new();
    let table = many_files(&folder);
    // Each replaces samples of the same files as the other.
    thread::scope(|scope| {
        for writer in 0..3 {
            let table = folder.open();
            scope.spawn(move || {
                for batch in 0..10 {
                    let id = format!("{batch}-{writer}");
                    let sample = sample(&id, "p", "2013-06-01T00:00:00Z", 1.0);
                    assert_eq!(table.store(&[sample]).unwrap().replaced, 1);
                }
            });
        }
    });
    assert_eq!(table.count(&Query::new()).unwrap(), 2_000);
    assert!(unnamed(&folder).is_empty());
}
