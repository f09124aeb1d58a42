//! Programs that are not ours and write the table.

use super::*;

#[test]
fn others_may_merge() {
    let folder = Folder::new();
    let table = folder.open();
    table.store(&weather()).unwrap();
    if !crate::servers::readers::merge(folder.path()) {
        return;
    }
    // The table was made, the batch was stored, and the others merged.
    assert_eq!(folder.actions("commitInfo").len(), 3);

    let by_id = |id: &str| table.retrieve(id).unwrap().unwrap();
    assert_eq!(
        by_id("jfk-1"),
        weather()[0].clone().with_status(Status::Labeled)
    );
    let copied = weather()[1].clone().into_builder().id("merged");
    assert_eq!(by_id("merged"), copied.build().unwrap());
    assert_eq!(
        table.count(&Query::new().status(Status::Labeled)).unwrap(),
        1
    );

    // What is new has the ranks behind, and what the others wrote is replaced, moved and removed as ever.
    let last = sample("last", "JFK", "2013-06-01T18:00:00Z", 0.0);
    assert_eq!(table.store(&[last]).unwrap(), StoreReport::new(1, 0));
    let jfk = Query::new().pipeline("JFK");
    assert_eq!(
        ids(&table, &jfk),
        ["jfk-1", "jfk-2", "merged", "last", "jfk-3"]
    );
    let again = sample("merged", "JFK", "2013-06-01T18:00:00Z", 1.0);
    assert_eq!(table.store(&[again]).unwrap(), StoreReport::new(0, 1));
    assert_eq!(
        ids(&table, &jfk),
        ["jfk-1", "jfk-2", "merged", "last", "jfk-3"]
    );
    let moved = table.set_status(&"jfk-1".into(), Some(Status::Labeled), Status::Ready);
    assert_eq!(moved.unwrap(), 1);
    assert_eq!(table.delete(&jfk.into()).unwrap(), 5);
    assert_eq!(ids(&folder.open(), &Query::new()), ["lga-1"]);
}
