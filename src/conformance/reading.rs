//! R1–R5: retrieving, filters, order and limits. Counts and long results are in `counting`, pages in
//! `paging`, snapshots in `threads`.

use chrono::TimeDelta;

use super::case::{Case, Need, Trial, Verdict, case, ensure, ensure_eq, same_samples};
use super::make::{at, grid, sample, series};
use crate::data;
use crate::memory::MemoryStorage;
use crate::query::{Facets, Order, Query};
use crate::sample::{Sample, Status};
use crate::storage::Storage;

use Need::{Query as Queries, Retrieve};

pub(super) const CASES: &[Case] = &[
    case(
        "R1",
        "what is not there is `None`, not an error",
        &[Retrieve],
        not_found,
    ),
    case(
        "R2",
        "kinds of filter are ANDed, several of one kind ORed",
        &[Queries],
        filters_combine,
    ),
    case(
        "R2",
        "all combinations of filters find what they say",
        &[Queries],
        all_combinations,
    ),
    case(
        "R2",
        "conditions on fields hold as in SQL, beside the other filters",
        &[Queries],
        conditions,
    ),
    case(
        "R3",
        "after and before are strict, since and until are not",
        &[Queries],
        bounds,
    ),
    case(
        "R3",
        "bounds finer than a microsecond are kept to",
        &[Queries],
        fine_bounds,
    ),
    case(
        "R3",
        "an empty range gives nothing, and no error",
        &[Queries],
        empty_ranges,
    ),
    case(
        "R4",
        "equal instants come in the order of first storing",
        &[Queries],
        ties,
    ),
    case(
        "R4",
        "replacing a sample keeps its place among equals",
        &[Queries],
        ties_after_replacing,
    ),
    case(
        "R5",
        "the limit bounds what the filters let through",
        &[Queries],
        limits,
    ),
];

fn not_found(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    let long = "x".repeat(10_000);
    for id in ["a", "", "\0", "../a", "é", &long] {
        ensure_eq!(storage.retrieve(id)?, None, "of an empty storage, {id:?}");
    }
    storage.store(&[sample("a").build()?])?;
    for id in ["b", "", "A", "a ", "a\0", "aa", &long] {
        ensure_eq!(storage.retrieve(id)?, None, "beside \"a\", {id:?}");
    }
    Ok(())
}

/// The ids that a query lists, joined.
fn listed(storage: &dyn Storage, query: &Query) -> Verdict<String> {
    let samples = storage.list(query)?.samples;
    let ids: Vec<_> = samples.iter().map(Sample::id).collect();
    Ok(ids.join(" "))
}

fn filters_combine(trial: &Trial<'_>) -> Verdict {
    let make = |id, pipeline, status| sample(id).pipeline(pipeline).status(status).build();
    let storage = trial.open_with(&[
        make("a", "JFK", Status::Ready)?,
        make("b", "JFK", Status::Dlq)?,
        make("c", "LGA", Status::Ready)?,
        make("d", "LGA", Status::Pending)?,
        make("e", "EWR", Status::Dlq)?,
    ])?;
    let (ready, dlq) = (Status::Ready, Status::Dlq);
    for (query, expected) in [
        (Query::new(), "a b c d e"),
        (Query::new().pipeline("JFK"), "a b"),
        (Query::new().pipeline("JFK").pipeline("EWR"), "a b e"),
        (Query::new().status(ready), "a c"),
        (Query::new().status(ready).status(dlq), "a b c e"),
        (Query::new().pipeline("JFK").status(ready), "a"),
        (
            Query::new()
                .pipeline("JFK")
                .pipeline("LGA")
                .status(ready)
                .status(dlq),
            "a b c",
        ),
        (Query::new().pipeline("EWR").status(ready), ""),
        (Query::new().pipeline("JF"), ""),
        (Query::new().pipeline("nobody"), ""),
        (Query::new().pipeline("nobody").pipeline("LGA"), "c d"),
        (Query::new().id("d").id("a").id("nobody"), "a d"),
        (Query::new().id("d").id("a").status(ready), "a"),
        (Query::new().ids(Vec::<String>::new()), ""),
    ] {
        ensure_eq!(listed(&*storage, &query)?, expected, "`{query}`");
    }
    Ok(())
}

fn conditions(trial: &Trial<'_>) -> Verdict {
    let make = |n: i64, origin: Option<&str>| {
        let builder = sample(&format!("s-{n}")).created_at(at(n));
        let builder = builder.measurements(data! { "temp" => n as f64 / 2.0 });
        let origin = origin.map(
            |origin| data! { "origin" => origin, "tags" => vec![crate::value::Value::from(1)] },
        );
        builder.data(origin.unwrap_or_default()).build()
    };
    let origins = [Some("JFK"), None, Some("LGA"), Some("JFK"), Some("")];
    let samples = (0..).zip(origins).map(|(n, origin)| make(n, origin));
    let storage = trial.open_with(&samples.collect::<Result<Vec<_>, _>>()?)?;
    for (text, expected) in [
        ("measurements.temp >= 1", "s-2 s-3 s-4"),
        ("measurements.temp = 1", "s-2"),
        ("data.origin = 'JFK'", "s-0 s-3"),
        ("data.origin != 'JFK'", "s-2 s-4"),
        ("not data.origin = 'JFK'", "s-2 s-4"),
        ("data.origin is missing", "s-1"),
        (
            "data.origin in ('LGA', '') and measurements.temp < 2",
            "s-2",
        ),
        (
            "data.origin like '_F%' or measurements.temp = 0.5",
            "s-0 s-1 s-3",
        ),
        (
            "data.tags[0] = 1.0 and data.tags contains 1",
            "s-0 s-2 s-3 s-4",
        ),
    ] {
        let query = Query::new().condition(text.parse()?);
        let mut walked = Vec::new();
        let mut page = storage.list(&query.clone().limit(1))?;
        loop {
            walked.append(&mut page.samples);
            let Some(cursor) = page.next else { break };
            page = storage.list(&query.clone().limit(1).cursor(cursor))?;
        }
        for (found, what) in [
            (storage.list(&query)?.samples, "a list"),
            (
                storage.iterate(&query)?.collect::<Result<_, _>>()?,
                "an iterator",
            ),
            (walked, "a walk by pages"),
        ] {
            let ids: Vec<_> = found.iter().map(Sample::id).collect();
            ensure_eq!(ids.join(" "), expected, "ids of {what} under `{text}`");
        }
        let count = expected.split(' ').count() as u64;
        ensure_eq!(storage.count(&query)?, count, "count under `{text}`");
        ensure_eq!(
            storage.facets(&query)?.total(),
            count,
            "facets under `{text}`"
        );
        let newest = query.clone().newest_first().limit(1).after(at(0));
        let last = expected.rsplit(' ').next().filter(|id| *id != "s-0");
        let found = storage.list(&newest)?.samples;
        ensure_eq!(found.first().map(Sample::id), last, "newest under `{text}`");
    }
    Ok(())
}

fn all_combinations(trial: &Trial<'_>) -> Verdict {
    let samples = grid()?;
    let storage = trial.open_with(&samples)?;
    let memory = MemoryStorage::new();
    memory.store(&samples)?;

    let pipelines: [&[&str]; 4] = [&[], &["JFK"], &["JFK/2", "LGA"], &["nobody"]];
    let statuses: [&[Status]; 4] = [
        &[],
        &[Status::Ready],
        &[Status::Dlq, Status::Pending, Status::Labeled],
        &Status::ALL,
    ];
    let ids: [Option<Vec<String>>; 3] = [
        None,
        Some((0..20).map(|n| format!("g-{n}")).collect()),
        Some(vec!["nobody".into()]),
    ];
    let ranges: [fn(Query) -> Query; 5] = [
        |query| query,
        |query| query.after(at(1)),
        |query| query.until(at(3)),
        |query| query.since(at(1)).before(at(4)),
        |query| query.after(at(0)).since(at(2)).before(at(9)).until(at(2)),
    ];
    for pipelines in pipelines {
        for statuses in statuses {
            for ids in &ids {
                for range in ranges {
                    for order in [Order::Oldest, Order::Newest] {
                        let mut query = range(Query::new()).order(order);
                        query = pipelines
                            .iter()
                            .fold(query, |query, name| query.pipeline(*name));
                        query = statuses
                            .iter()
                            .fold(query, |query, status| query.status(*status));
                        if let Some(ids) = ids {
                            query = query.ids(ids);
                        }
                        let expected = memory.list(&query)?.samples;
                        let what = format!("list of `{query}`");
                        same_samples(&storage.list(&query)?.samples, &expected, &what)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn bounds(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 4)?)?;
    for (query, expected) in [
        (Query::new().after(at(1)), "a-2 a-3"),
        (Query::new().before(at(2)), "a-0 a-1"),
        (Query::new().since(at(1)), "a-1 a-2 a-3"),
        (Query::new().until(at(2)), "a-0 a-1 a-2"),
        (Query::new().after(at(0)).before(at(3)), "a-1 a-2"),
        (Query::new().since(at(1)).until(at(2)), "a-1 a-2"),
        (
            Query::new()
                .after(at(1))
                .since(at(0))
                .before(at(3))
                .until(at(9)),
            "a-2",
        ),
        (Query::new().after(at(-1)), "a-0 a-1 a-2 a-3"),
        (Query::new().after(at(3)), ""),
        (Query::new().before(at(0)), ""),
        (Query::new().after(at(1)).newest_first(), "a-3 a-2"),
    ] {
        ensure_eq!(listed(&*storage, &query)?, expected, "`{query}`");
        let count = expected.split_whitespace().count() as u64;
        ensure_eq!(storage.count(&query)?, count, "count of `{query}`");
    }
    Ok(())
}

fn fine_bounds(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 3)?)?;
    let fine = at(1) + TimeDelta::nanoseconds(1);
    for (query, expected) in [
        (Query::new().after(fine), "a-2"),
        (Query::new().since(fine), "a-2"),
        (Query::new().before(fine), "a-0 a-1"),
        (Query::new().until(fine), "a-0 a-1"),
    ] {
        ensure_eq!(listed(&*storage, &query)?, expected, "`{query}`");
    }
    Ok(())
}

fn empty_ranges(trial: &Trial<'_>) -> Verdict {
    use chrono::{DateTime, Utc};
    let storage = trial.open_with(&series("a", 4)?)?;
    for query in [
        Query::new().after(at(2)).before(at(1)),
        Query::new().after(at(1)).before(at(2)),
        Query::new().after(at(1)).before(at(1)),
        Query::new().after(at(1)).until(at(1)),
        Query::new().since(at(3)).until(at(0)),
        Query::new()
            .since(at(1))
            .before(at(1))
            .pipeline("JFK")
            .status(Status::Pending),
        Query::new().after(DateTime::<Utc>::MAX_UTC),
        Query::new().before(DateTime::<Utc>::MIN_UTC),
        Query::new()
            .since(DateTime::<Utc>::MAX_UTC)
            .until(DateTime::<Utc>::MIN_UTC),
    ] {
        for query in [query.clone(), query.newest_first()] {
            let page = storage.list(&query)?;
            ensure!(page.samples.is_empty(), "`{query}` gave samples");
            ensure_eq!(page.next, None, "cursor of `{query}`");
            ensure_eq!(storage.count(&query)?, 0, "count of `{query}`");
            ensure_eq!(storage.iterate(&query)?.count(), 0, "iterated by `{query}`");
            ensure!(
                storage.facets(&query)? == Facets::new(),
                "facets of `{query}` are not empty"
            );
        }
    }
    Ok(())
}

fn ties(trial: &Trial<'_>) -> Verdict {
    // Neither the order of the ids nor that of pipelines and statuses is the order of storing.
    let make = |id, pipeline, status| sample(id).pipeline(pipeline).status(status).build();
    let storage = trial.open_with(&[
        make("m", "LGA", Status::Ready)?,
        make("z", "JFK", Status::Pending)?,
        make("a", "LGA", Status::Pending)?,
    ])?;
    storage.store(&[
        sample("early").created_at(at(-1)).build()?,
        make("k", "JFK", Status::Ready)?,
    ])?;
    storage.store(&[
        make("b", "LGA", Status::Dlq)?,
        sample("late").created_at(at(1)).build()?,
    ])?;
    for (query, expected) in [
        (Query::new(), "early m z a k b late"),
        (Query::new().newest_first(), "late b k a z m early"),
        (Query::new().pipeline("LGA"), "m a b"),
        (Query::new().pipeline("LGA").newest_first(), "b a m"),
        (
            Query::new().status(Status::Ready).status(Status::Dlq),
            "m k b",
        ),
        (Query::new().ids(["a", "k", "m", "z"]), "m z a k"),
        (
            Query::new().ids(["a", "k", "m", "z"]).newest_first(),
            "k a z m",
        ),
        (Query::new().limit(3), "early m z"),
        (Query::new().newest_first().limit(3), "late b k"),
    ] {
        ensure_eq!(listed(&*storage, &query)?, expected, "`{query}`");
    }
    Ok(())
}

fn ties_after_replacing(trial: &Trial<'_>) -> Verdict {
    let ids = ["d", "b", "c", "a"];
    let samples: Vec<_> = ids
        .iter()
        .map(|id| Ok(sample(id).build()?))
        .collect::<Verdict<_>>()?;
    let storage = trial.open_with(&samples)?;
    storage.store(&[sample("b").pipeline("LGA").status(Status::Ready).build()?])?;
    ensure_eq!(
        listed(&*storage, &Query::new())?,
        "d b c a",
        "after replacing b"
    );
    storage.store(&[sample("d").created_at(at(5)).build()?])?;
    ensure_eq!(
        listed(&*storage, &Query::new())?,
        "b c a d",
        "after d became later"
    );
    storage.store(&[sample("d").build()?])?;
    ensure_eq!(
        listed(&*storage, &Query::new())?,
        "d b c a",
        "after d came back to its instant"
    );
    let newest = Query::new().newest_first();
    ensure_eq!(listed(&*storage, &newest)?, "a c b d", "newest first");
    Ok(())
}

fn limits(trial: &Trial<'_>) -> Verdict {
    let statuses = [Status::Pending, Status::Ready];
    let samples = series("a", 10)?.into_iter().enumerate();
    let samples: Vec<_> = samples
        .map(|(n, sample)| sample.with_status(statuses[n % 2]))
        .collect();
    let storage = trial.open_with(&samples)?;
    let ready: Vec<_> = samples.iter().skip(1).step_by(2).cloned().collect();
    let reversed: Vec<_> = ready.iter().rev().cloned().collect();
    let query = Query::new().status(Status::Ready);
    for (query, all) in [(query.clone(), ready), (query.newest_first(), reversed)] {
        for limit in [0, 1, 4, 5, 6, 1_000, u64::MAX] {
            let query = query.clone().limit(limit);
            let expected = &all[..all.len().min(limit as usize)];
            let page = storage.list(&query)?;
            same_samples(&page.samples, expected, &format!("list of `{query}`"))?;
            ensure_eq!(
                storage.count(&query)?,
                expected.len() as u64,
                "count of `{query}`"
            );
            let iterated: Vec<_> = storage.iterate(&query)?.collect::<Result<_, _>>()?;
            same_samples(&iterated, expected, &format!("iterate of `{query}`"))?;
        }
    }
    Ok(())
}
