//! Writers that meet: none loses anything, and each claim goes to one.

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
