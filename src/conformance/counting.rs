//! R8–R10: counts and facets, iterators over many samples, and filters in words.

use super::case::{Case, Need, Trial, Verdict, case, ensure, ensure_eq, refused, same_samples};
use super::make::{PIPELINES, at, grid, sample_of_bytes, series};
use crate::error::ErrorKind;
use crate::query::{FILTERS, Facets, Query};
use crate::sample::Status;

use Need::{Query as Queries, Streaming};

pub(super) const CASES: &[Case] = &[
    case(
        "R8",
        "counts and facets are exact under filters and limits",
        &[Queries],
        counts,
    ),
    case(
        "R9",
        "an iterator over many samples gives all, in order",
        &[Queries],
        long_iterator,
    ),
    case(
        "R9",
        "an iterator may be dropped half-way",
        &[Queries],
        dropped_iterator,
    ),
    case(
        "R9",
        "iterators read by turns give small and large samples, in order",
        &[Queries, Streaming],
        mixed_iterators,
    ),
    case(
        "R10",
        "a filter word that is not known is refused",
        &[Queries],
        unknown_words,
    ),
    case(
        "R10",
        "a query read from its text finds the same",
        &[Queries],
        text_form,
    ),
];

fn counts(trial: &Trial<'_>) -> Verdict {
    let mut samples = grid()?;
    samples.extend(series("more", 9)?);
    let storage = trial.open_with(&samples)?;
    for query in [
        Query::new(),
        Query::new().pipeline("JFK"),
        Query::new().status(Status::Pending).status(Status::Dlq),
        Query::new()
            .pipeline("JFK")
            .pipeline("LGA")
            .status(Status::Pending),
        Query::new().after(at(1)).newest_first(),
        Query::new().pipeline("nobody"),
        Query::new().ids(["g-0", "more-3", "nobody"]),
    ] {
        for query in [
            query.clone(),
            query.clone().limit(0),
            query.clone().limit(4),
            query.limit(99),
        ] {
            let found = storage.list(&query)?.samples;
            let mut facets = Facets::new();
            for sample in &found {
                facets.add(sample.pipeline(), sample.status(), 1);
            }
            ensure_eq!(
                storage.count(&query)?,
                found.len() as u64,
                "count of `{query}`"
            );
            ensure_eq!(storage.facets(&query)?, facets, "facets of `{query}`");
        }
    }
    let page = storage.list(&Query::new().limit(30))?;
    if let Some(cursor) = page.next {
        let rest = Query::new().cursor(cursor);
        ensure_eq!(storage.count(&rest)?, 3, "count behind the first 30 of 33");
        ensure_eq!(
            storage.count(&rest.clone().limit(2))?,
            2,
            "the same, with a limit of 2"
        );
        ensure_eq!(
            storage.facets(&rest.limit(2))?.total(),
            2,
            "total of the facets of the same"
        );
    }
    Ok(())
}

fn long_iterator(trial: &Trial<'_>) -> Verdict {
    let mut samples = series("a", 1_200)?;
    let storage = trial.open_with(&samples)?;
    let found: Vec<_> = storage.iterate(&Query::new())?.collect::<Result<_, _>>()?;
    same_samples(&found, &samples, "oldest first")?;
    samples.reverse();
    let newest = Query::new().newest_first().pipeline("JFK");
    let found: Vec<_> = storage.iterate(&newest)?.collect::<Result<_, _>>()?;
    same_samples(&found, &samples, "newest first")
}

fn dropped_iterator(trial: &Trial<'_>) -> Verdict {
    let samples = series("a", 200)?;
    let storage = trial.open_with(&samples)?;
    for taken in [0, 1, 150] {
        let found: Vec<_> = storage
            .iterate(&Query::new())?
            .take(taken)
            .collect::<Result<_, _>>()?;
        same_samples(&found, &samples[..taken], "the samples that were taken")?;
        storage.store(&samples[..1])?;
    }
    Ok(())
}

/// Whoever streams reads on by a measure of its own, a number of samples or their size, from a place of each iterator's own.
fn mixed_iterators(trial: &Trial<'_>) -> Verdict {
    const LARGE_BYTES: usize = 768 << 10;
    let bytes = LARGE_BYTES.min(trial.capabilities.sample_bytes_max / 2);
    let mut samples = series("small", 90)?;
    for n in 0..6 {
        let large = sample_of_bytes(&format!("large-{n}"), bytes)?.into_builder();
        samples.push(large.created_at(at(90 + n)).build()?);
    }
    for (n, small) in series("late", 20)?.into_iter().enumerate() {
        let small = small.into_builder();
        samples.push(small.created_at(at(96 + n as i64)).build()?);
    }
    let storage = trial.open_with(&samples)?;
    let (oldest, newest) = (Query::new(), Query::new().newest_first());
    let mut iterators = [storage.iterate(&oldest)?, storage.iterate(&newest)?];
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..=samples.len() {
        for (iterator, found) in iterators.iter_mut().zip(&mut found) {
            found.extend(iterator.next().transpose()?);
        }
    }
    same_samples(&found[0], &samples, "oldest first")?;
    samples.reverse();
    same_samples(&found[1], &samples, "newest first")
}

fn unknown_words(_: &Trial<'_>) -> Verdict {
    for (text, near) in [
        ("--pipline JFK", "pipeline"),
        ("--stauts ready", "status"),
        ("--newst", "newest"),
    ] {
        let error = refused(text.parse::<Query>(), ErrorKind::InvalidQuery, text)?;
        let said = error.to_string();
        ensure!(
            said.contains(near),
            "the error on `{text}` does not name {near}: {said}"
        );
    }
    let text = "--colour red";
    let said = refused(text.parse::<Query>(), ErrorKind::InvalidQuery, text)?.to_string();
    for filter in FILTERS {
        ensure!(
            said.contains(filter.name),
            "`{text}`, like none: {} is not in: {said}",
            filter.name
        );
    }
    Ok(())
}

fn text_form(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&grid()?)?;
    for query in [
        Query::new().pipeline(PIPELINES[3]).newest_first(),
        Query::new()
            .status(Status::Ready)
            .status(Status::Dlq)
            .since(at(1))
            .before(at(4)),
        Query::new().id("g-3").id("g-17").until(at(3)).limit(1),
        Query::new().after(at(0)).limit(0),
    ] {
        let read: Query = query.to_string().parse()?;
        let expected = storage.list(&query)?;
        ensure!(
            storage.list(&read)? == expected,
            "`{query}` finds other samples once it is read"
        );
    }
    Ok(())
}
