//! Indexes of fields: what they read, and that they are kept.

use super::{Durability, Operation, Pair, Pattern, SPAN, Spec};
use crate::query::Query;
use crate::sample::Status;
use crate::storage::Storage;

#[test]
fn an_index_of_a_field_reads_what_matches_and_nothing_else() {
    let mut pair = Pair::new(64, Durability::Immediate);
    pair.run(&Operation::Load(2_500, Pattern::Shuffled));
    let explain = |pair: &Pair, text: &str| {
        let query = Query::new().condition(text.parse().unwrap());
        pair.compare(&query, 7);
        let explain = pair.database.explain(&query).unwrap();
        (explain.samples, explain.records_read, explain.field_indexes)
    };
    let (range, equal) = ("measurements.half > 1490", "measurements.name = 'n7'");
    let (samples, read, fields) = explain(&pair, range);
    assert!(samples > 5 && read == 2_500 && fields.is_empty());

    for field in ["measurements.half", "measurements.name"] {
        let mut told = Vec::new();
        let field = field.parse().unwrap();
        assert!(
            pair.database
                .create_index(&field, |share| told.push(share))
                .unwrap()
        );
        // Two chunks and a part.
        assert_eq!(told, [960.0 / 2_500.0, 1_920.0 / 2_500.0, 1.0]);
        assert!(!pair.database.create_index(&field, |_| ()).unwrap());
    }
    // Replaced more often than a chunk keeps moved rows, and deleted, and new ones that fill chunks.
    for round in 0..4 {
        let specs = (0..20).map(|step| Spec {
            id: 37 * step + round,
            pipeline: 1,
            status: Status::Ready,
            micros: SPAN - 10 - i64::from(step),
        });
        pair.run(&Operation::Store(specs.collect()));
        pair.run(&Operation::Delete(
            Query::new().ids([format!("s{}", 11 * round)]),
        ));
        for (text, field) in [(range, "measurements.half"), (equal, "measurements.name")] {
            let (samples, read, fields) = explain(&pair, text);
            assert!(samples > 0);
            assert_eq!((read, fields), (samples, vec![field.to_owned()]), "{text}");
        }
        pair.run(&Operation::Load(500, Pattern::Shuffled));
        pair.run(&Operation::Kill(Some(round.into())));
    }
    // Each chunk has more than half of these.
    let most = Query::new().condition("measurements.half >= 0".parse().unwrap());
    let unused = pair.database.explain(&most).unwrap();
    assert!(unused.field_indexes.is_empty());
    assert_eq!(unused.unused_indexes, ["measurements.half"]);
    assert!(unused.to_string().contains("leaves more than half"));
    // Ids are looked up, and no index of a field is asked.
    let by_id = pair.database.explain(&most.ids(["s5"])).unwrap();
    assert_eq!((by_id.samples, by_id.records_read > 0), (1, true));
    assert!(by_id.field_indexes.is_empty() && by_id.unused_indexes.is_empty());
    let both = format!("{range} and {equal}");
    let (samples, read, fields) = explain(&pair, &both);
    assert_eq!((read, fields.len()), (samples, 2));
    let changed = Query::new().condition(equal.parse().unwrap());
    pair.run(&Operation::SetStatus(
        changed.clone(),
        None,
        Status::Labeled,
    ));
    pair.run(&Operation::Delete(changed.clone()));
    assert_eq!(pair.database.count(&changed).unwrap(), 0);
    pair.run(&Operation::Reopen);
    assert_eq!(
        explain(&pair, equal),
        (0, 0, vec!["measurements.name".to_owned()])
    );
    assert!(
        pair.database
            .drop_index(&"measurements.name".parse().unwrap())
            .unwrap()
    );
    assert_eq!(explain(&pair, range).2, ["measurements.half"]);
    assert!(explain(&pair, equal).2.is_empty());
}
