//! R6: walking by cursors, and cursors that must be refused.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::case::{
    Case, Failure, Need, Trial, Verdict, case, ensure, ensure_eq, refused, same_samples,
};
use super::make::{at, sample, series};
use crate::error::ErrorKind;
use crate::query::{Cursor, Order, Query};
use crate::sample::{Sample, Status};
use crate::storage::Storage;

use Need::{Delete, Query as Queries, Reopen};

pub(super) const CASES: &[Case] = &[
    case(
        "R6",
        "pages of any size make up the whole list",
        &[Queries],
        whole_walk,
    ),
    case(
        "R6",
        "a page has a cursor while more follow, and only then",
        &[Queries],
        has_cursor,
    ),
    case(
        "R6",
        "a cursor works after its sample was deleted",
        &[Queries, Delete],
        cursor_of_deleted,
    ),
    case(
        "R6",
        "a walk beside writers meets each sample once",
        &[Queries],
        walk_beside_writes,
    ),
    case(
        "R6",
        "a cursor works after the storage is opened again",
        &[Queries, Reopen],
        cursor_after_reopening,
    ),
    case(
        "R6",
        "a cursor with another filter or order is refused",
        &[Queries],
        other_query,
    ),
    case(
        "R6",
        "a cursor of another storage is refused",
        &[Queries],
        other_storage,
    ),
    case("R6", "a damaged cursor is refused", &[Queries], damaged),
    case(
        "L5",
        "no position in a cursor makes the storage panic",
        &[Queries],
        odd_positions,
    ),
];

/// Samples of few instants: all but the last of each thirteen share one with their neighbours.
fn tied(count: usize) -> Verdict<Vec<Sample>> {
    (0..count)
        .map(|n| {
            let sample = sample(&format!("t-{:02}", (n * 7) % count));
            Ok(sample.created_at(at(n as i64 / 13)).build()?)
        })
        .collect()
}

/// All samples of a query, page by page. A walk that does not end is a failure.
fn walk(storage: &dyn Storage, query: &Query, limit: u64) -> Verdict<Vec<Sample>> {
    let mut found = Vec::new();
    let mut next = query.clone().limit(limit);
    for _ in 0..200 {
        let page = storage.list(&next)?;
        found.extend(page.samples);
        match page.next {
            Some(cursor) => next = next.cursor(cursor),
            None => return Ok(found),
        }
    }
    Err(Failure::new(format!(
        "a walk of `{query}` by pages of {limit} does not end"
    )))
}

/// The cursor behind the first `limit` samples of a query.
fn cursor_behind(storage: &dyn Storage, query: &Query, limit: u64) -> Verdict<Cursor> {
    let page = storage.list(&query.clone().limit(limit))?;
    page.next
        .ok_or_else(|| Failure::new(format!("`{query}` has more than {limit}, but no cursor")))
}

fn whole_walk(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&tied(40)?)?;
    for query in [
        Query::new(),
        Query::new().pipeline("JFK").since(at(1)),
        Query::new().ids(["t-01", "t-07", "t-30"]),
    ] {
        for order in [Order::Oldest, Order::Newest] {
            let query = query.clone().order(order);
            let all = storage.list(&query)?.samples;
            for limit in [1, 2, 7, 13, 39, 40, 41] {
                let what = format!("`{query}` by pages of {limit}");
                same_samples(&walk(&*storage, &query, limit)?, &all, &what)?;
            }
            // The size of a page may change on the way, and the rest may be iterated.
            let cursor = cursor_behind(&*storage, &query, 2)?;
            let rest = query.clone().cursor(cursor);
            same_samples(&storage.list(&rest)?.samples, &all[2..], "the rest, listed")?;
            let iterated: Vec<_> = storage.iterate(&rest)?.collect::<Result<_, _>>()?;
            same_samples(&iterated, &all[2..], "the rest, iterated")?;
        }
    }
    Ok(())
}

fn has_cursor(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&tied(5)?)?;
    for query in [Query::new(), Query::new().newest_first()] {
        for limit in 1..5 {
            let cursor = cursor_behind(&*storage, &query, limit)?;
            let token = cursor.as_str();
            ensure!(
                !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()),
                "the token {token:?} is not printable"
            );
            let read: Cursor = token.parse()?;
            let page = storage.list(&query.clone().cursor(read))?;
            ensure_eq!(
                page.samples.len() as u64,
                5 - limit,
                "samples behind the first {limit}"
            );
        }
        for query in [
            query.clone(),
            query.clone().limit(6),
            query.clone().status(Status::Dlq),
        ] {
            ensure_eq!(
                storage.list(&query)?.next,
                None,
                "cursor of `{query}`, which ends the list"
            );
        }
    }
    Ok(())
}

fn cursor_of_deleted(trial: &Trial<'_>) -> Verdict {
    for order in [Order::Oldest, Order::Newest] {
        let storage = trial.open_with(&tied(10)?)?;
        let query = Query::new().order(order);
        let all = storage.list(&query)?.samples;
        let rest = query.clone().cursor(cursor_behind(&*storage, &query, 4)?);
        storage.delete(&all[3].id().into())?;
        same_samples(
            &storage.list(&rest)?.samples,
            &all[4..],
            "its sample deleted",
        )?;
        storage.delete(&Query::new().ids(all[2..6].iter().map(Sample::id)).into())?;
        same_samples(
            &storage.list(&rest)?.samples,
            &all[6..],
            "its neighbours deleted",
        )?;
        storage.delete(&Query::new().into())?;
        same_samples(&storage.list(&rest)?.samples, &[], "everything deleted")?;
    }
    Ok(())
}

fn walk_beside_writes(trial: &Trial<'_>) -> Verdict {
    for order in [Order::Oldest, Order::Newest] {
        let steady = tied(30)?;
        let storage = trial.open_with(&steady)?;
        let mut met = Vec::new();
        let mut next = Query::new().order(order).limit(3);
        for step in 0..100 {
            let page = storage.list(&next)?;
            met.extend(page.samples);
            let Some(cursor) = page.next else { break };
            next = next.cursor(cursor);
            // New samples on both sides of the walk, and among the ties; old ones replaced.
            let new =
                |at_micros| sample(&format!("new {step} {at_micros}")).created_at(at(at_micros));
            storage.store(&[new(0).build()?, new(1).build()?])?;
            let touched = steady[step % 30].clone().with_status(Status::Ready);
            storage.store(&[touched])?;
            if trial.capabilities.delete {
                storage.delete(&format!("new {step} 0").as_str().into())?;
            }
        }
        let steady: BTreeSet<_> = steady.iter().map(Sample::id).collect();
        let mut times_met = met
            .iter()
            .map(Sample::id)
            .filter(|id| steady.contains(id))
            .collect::<Vec<_>>();
        ensure_eq!(
            times_met.len(),
            30,
            "{order:?} first: meetings with the 30 that were there throughout"
        );
        times_met.sort_unstable();
        times_met.dedup();
        ensure_eq!(
            times_met.len(),
            30,
            "{order:?} first: different samples among these"
        );
    }
    Ok(())
}

fn cursor_after_reopening(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&tied(10)?)?;
    let query = Query::new().newest_first();
    let all = storage.list(&query)?.samples;
    let rest = query.clone().cursor(cursor_behind(&*storage, &query, 4)?);
    storage.close()?;
    let storage = storage.drop_and_reopen()?;
    same_samples(
        &storage.list(&rest)?.samples,
        &all[4..],
        "from a cursor of before",
    )
}

/// Uses a cursor in every way there is, and expects to be refused.
fn refused_everywhere(
    trial: &Trial<'_>,
    storage: &dyn Storage,
    query: &Query,
    what: &str,
) -> Verdict {
    let kind = ErrorKind::InvalidCursor;
    refused(storage.list(query), kind, &format!("{what}: list"))?;
    refused(storage.count(query), kind, &format!("{what}: count"))?;
    refused(storage.facets(query), kind, &format!("{what}: facets"))?;
    // An iterator may refuse at once or with its first item.
    let first = storage
        .iterate(query)
        .and_then(|mut items| items.next().transpose());
    refused(first, kind, &format!("{what}: iterate"))?;
    if trial.capabilities.set_status {
        let moved = storage.set_status(&query.clone().into(), None, Status::Dlq);
        refused(moved, kind, &format!("{what}: set_status"))?;
    }
    if trial.capabilities.delete {
        refused(
            storage.delete(&query.clone().into()),
            kind,
            &format!("{what}: delete"),
        )?;
    }
    Ok(())
}

fn other_query(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&tied(10)?)?;
    let query = Query::new()
        .pipeline("JFK")
        .status(Status::Pending)
        .since(at(0));
    let cursor = cursor_behind(&*storage, &query, 3)?;
    for (other, what) in [
        (query.clone().newest_first(), "another order"),
        (query.clone().pipeline("LGA"), "one more pipeline"),
        (query.clone().status(Status::Ready), "one more status"),
        (query.clone().id("t-01"), "an id"),
        (query.clone().since(at(1)), "another range"),
        (Query::new().pipeline("JFK"), "fewer filters"),
        (Query::new(), "no filter"),
    ] {
        refused_everywhere(trial, &*storage, &other.cursor(cursor.clone()), what)?;
    }
    let fits = storage.count(&query.cursor(cursor))?;
    ensure_eq!(
        fits,
        7,
        "samples behind the cursor, with the query that it belongs to"
    );
    Ok(())
}

fn other_storage(trial: &Trial<'_>) -> Verdict {
    let samples = tied(10)?;
    let (one, other) = (trial.open_with(&samples)?, trial.open_with(&samples)?);
    let cursor = cursor_behind(&*one, &Query::new(), 3)?;
    refused_everywhere(
        trial,
        &*other,
        &Query::new().cursor(cursor),
        "with the same samples",
    )
}

/// A cursor of this token, also of one that `Cursor::from_str` would refuse: a query that comes as JSON
/// may hold it.
fn unchecked(token: &str) -> Verdict<Cursor> {
    serde_json::from_value(token.into()).map_err(|error| Failure::new(error.to_string()))
}

fn damaged(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&tied(10)?)?;
    let token = cursor_behind(&*storage, &Query::new(), 3)?.to_string();
    let middle = token.len() / 2;
    let other = if token[middle..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    let changed = format!("{}{other}{}", &token[..middle], &token[middle + 1..]);
    for (token, what) in [
        ("", "empty"),
        (&changed, "one character changed"),
        (&token[..token.len() - 4], "cut off"),
        (&token[4..], "its beginning cut off"),
        (&format!("{token}{token}"), "twice"),
        ("not a cursor", "not a token at all"),
        ("\0\u{10ffff}", "not ASCII"),
        (&"A".repeat(100_000), "long"),
    ] {
        refused(
            token.parse::<Cursor>(),
            ErrorKind::InvalidCursor,
            &format!("{what}: read"),
        )?;
        refused_everywhere(
            trial,
            &*storage,
            &Query::new().cursor(unchecked(token)?),
            what,
        )?;
    }
    Ok(())
}

fn odd_positions(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 5)?)?;
    let token = cursor_behind(&*storage, &Query::new(), 3)?.to_string();
    let bytes = BASE64
        .decode(&token)
        .map_err(|error| Failure::new(error.to_string()))?;
    let identity = bytes.get(1..9).and_then(|bytes| bytes.first_chunk());
    let identity =
        identity.ok_or_else(|| Failure::new(format!("{token} is too short for a cursor")))?;
    let identity = u64::from_le_bytes(*identity);
    for bytes in [
        &[][..],
        &[0],
        &[0xff; 8],
        &[0xff; 16],
        &[0; 16],
        &[0x80; 24],
        &[0xff; 1_000],
    ] {
        let query = Query::new().cursor(Cursor::new(identity, &Query::new(), bytes));
        // Such a cursor is well-formed: a backend may take it for a place, but not fall over it.
        if let Err(error) = storage.list(&query) {
            ensure_eq!(
                error.kind(),
                ErrorKind::InvalidCursor,
                "error on a position of {bytes:x?}"
            );
        }
    }
    Ok(())
}
