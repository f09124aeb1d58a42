//! Pages go on where the last one ended, whoever else walks and whatever is stored in between.

use super::super::filter::Place;
use super::super::merge::{Figures, Hits, Merge, Next};
use super::{Durability, Operation, Pair, Pattern};
use crate::query::{Cursor, Order, Page, Query};
use crate::sample::{Sample, Status};
use crate::storage::Storage;

fn ids(samples: &[Sample]) -> Vec<String> {
    let ids = samples.iter().map(|sample| sample.id().to_owned());
    ids.collect()
}

/// The page behind a cursor.
fn page(pair: &Pair, query: &Query, cursor: Option<&Cursor>) -> Page {
    let mut query = query.clone();
    if let Some(cursor) = cursor {
        query = query.cursor(cursor.clone());
    }
    pair.database.list(&query).unwrap()
}

fn walks(pair: &Pair) -> usize {
    pair.database.snapshot().unwrap().view.walks.len()
}

fn starts(pair: &Pair) -> usize {
    pair.database.snapshot().unwrap().view.starts.len()
}

fn shuffled() -> (Pair, [Query; 6]) {
    let mut pair = Pair::new(64, Durability::Deferred);
    pair.run(&Operation::Load(2_500, Pattern::Shuffled));
    let common = Query::new().status(Status::Ready);
    let queries = [
        Query::new(),
        common.clone(),
        common.clone().pipeline("p1"),
        common.clone().pipeline("p1").pipeline("p2"),
        common.clone().newest_first(),
        common.status(Status::Dlq),
    ];
    (pair, queries)
}

#[test]
fn walks_beside_each_other_meet_every_row_once() {
    let (pair, queries) = shuffled();
    // More of them than are kept.
    let mut found = queries.each_ref().map(|_| Vec::new());
    let mut cursors = queries.each_ref().map(|_| None::<Cursor>);
    let mut is_over = [false; 6];
    let mut limit = 7;
    while is_over.contains(&false) {
        for walk in 0..queries.len() {
            if is_over[walk] {
                continue;
            }
            let query = queries[walk].clone().limit(limit);
            // The page behind a cursor may be of another size than the one before.
            limit = 5 + (limit * 7) % 23;
            let page = page(&pair, &query, cursors[walk].as_ref());
            found[walk].extend(ids(&page.samples));
            is_over[walk] = page.next.is_none();
            cursors[walk] = page.next;
            assert!(walks(&pair) <= 4);
        }
    }
    for (query, found) in queries.iter().zip(found) {
        assert_eq!(found, ids(&pair.memory.list(query).unwrap().samples));
    }
    // Each was taken, or driven out by the others.
    assert_eq!(walks(&pair), 0);
}

/// Of many chunks that lie over each other in time, each open.
#[test]
fn a_walk_that_takes_much_memory_is_not_kept() {
    for (samples, kept) in [(2_500, 1), (4_000, 0)] {
        let mut pair = Pair::new(64, Durability::Deferred);
        pair.run(&Operation::Load(samples, Pattern::Shuffled));
        let query = Query::new().limit(40);
        let first = page(&pair, &query, None);
        assert_eq!(walks(&pair), kept, "{samples}");
        let second = page(&pair, &query, first.next.as_ref());
        let expected = pair.memory.list(&Query::new().limit(80)).unwrap();
        assert_eq!(ids(&second.samples), ids(&expected.samples[40..]));
    }
}

/// A walk takes the memory of all its sorted hits until the last is given out.
#[test]
fn sorted_hits_are_counted_as_they_were_made() {
    let (pair, _) = shuffled();
    let view = pair.database.engine.view("test").unwrap();
    let mut merge = Merge::new(Order::Oldest);
    let mut places = Vec::with_capacity(1_000);
    places.extend((0..3).map(|row| Place { micros: 7, row }));
    let mut figures = Figures::default();
    merge
        .push(&view, Hits::sorted(places), &mut figures)
        .unwrap();
    for row in 0..3 {
        assert!(merge.bytes() >= 1_000 * size_of::<Place>());
        let next = merge.next(&view, &mut figures).unwrap();
        assert!(matches!(next, Next::Hit(place) if place == Place { micros: 7, row }));
    }
    assert!(merge.bytes() < 1_000);
}

#[test]
fn a_page_can_be_asked_for_again() {
    let (pair, queries) = shuffled();
    for query in queries {
        let query = query.limit(20);
        let first = page(&pair, &query, None);
        let kept = walks(&pair);
        let second = page(&pair, &query, first.next.as_ref());
        // One was taken, and one was left.
        assert_eq!(walks(&pair), kept);
        assert_eq!(page(&pair, &query, first.next.as_ref()), second);
        let after = page(&pair, &query, second.next.as_ref());
        assert_ne!(ids(&after.samples), ids(&second.samples));
        // What has another filter is not mistaken for it.
        let other = query.clone().pipeline("p3");
        let refused = pair.database.list(&other.cursor(first.next.unwrap()));
        assert!(refused.is_err());
    }
}

#[test]
fn a_commit_between_two_pages_is_seen_by_the_second() {
    let (mut pair, [_, query, ..]) = shuffled();
    let query = query.limit(20);
    let first = page(&pair, &query, None);
    assert_eq!(walks(&pair), 1);
    let before = pair.database.snapshot().unwrap();
    let next = page(&pair, &query, first.next.as_ref());
    let gone = Query::new().ids(ids(&next.samples)[..10].to_vec());
    pair.run(&Operation::Delete(gone));
    assert_eq!(walks(&pair), 0);
    let now = page(&pair, &query, first.next.as_ref());
    assert_eq!(now.samples[..10], next.samples[10..]);
    // A snapshot has its own.
    let cursor = first.next.unwrap();
    assert_eq!(before.list(&query.clone().cursor(cursor)).unwrap(), next);
    let rest = before.list(&query.clone().cursor(next.next.unwrap()));
    let rest = ids(&rest.unwrap().samples);
    assert_eq!(rest[..10], ids(&now.samples)[10..]);
}

#[test]
fn lists_of_what_was_listed_open_what_they_give() {
    let (mut pair, queries) = shuffled();
    for query in queries {
        for query in [query.clone(), query.newest_first()] {
            let few = query.clone().limit(2);
            let mut opened = Vec::new();
            for _ in 0..3 {
                let explain = pair.database.explain(&few).unwrap();
                opened.push(explain.chunks_scanned + explain.chunks_sorted);
                assert_eq!(explain.samples, 2);
            }
            // The first look may see each chunk, and the others see those whose samples they give, and whether there are more.
            assert!(
                opened[1] <= 3 && opened[1] <= opened[0],
                "{opened:?} by {query}"
            );
            assert_eq!(opened[1], opened[2]);
            // By then it is known where it begins.
            let kept = starts(&pair);
            assert!((1..=4).contains(&kept), "{kept}");
            let found = pair.database.list(&few).unwrap();
            assert_eq!(found.samples, pair.memory.list(&few).unwrap().samples);
        }
    }
    assert_eq!(starts(&pair), 4);
    let newest = Query::new().status(Status::Ready).newest_first().limit(3);
    let first = pair.database.list(&newest).unwrap().samples;
    pair.run(&Operation::SetStatus(
        Query::new().ids([first[0].id()]),
        None,
        Status::Skipped,
    ));
    assert_eq!(starts(&pair), 0);
    let found = pair.database.list(&newest).unwrap().samples;
    assert_eq!(found[..2], first[1..]);
    assert_eq!(found, pair.memory.list(&newest).unwrap().samples);
}
