//! W1–W6: batches, as far as one thread can see. Moving and deleting is in `selecting`.

use super::case::{Case, Need, Trial, Verdict, case, ensure, ensure_eq, refused, same_samples};
use super::make::{at, sample, sample_of_bytes, series};
use crate::data;
use crate::error::{ErrorKind, Limit};
use crate::query::{Facets, Query};
use crate::sample::{Reason, Status};
use crate::storage::StoreReport;

use Need::{Atomic, Limit as TestableLimit, Query as Queries, Retrieve};

pub(super) const CASES: &[Case] = &[
    case(
        "W1",
        "a batch refused for its last sample leaves nothing",
        &[Atomic, TestableLimit, Queries],
        refused_whole,
    ),
    case(
        "W1",
        "a batch of three hundred is stored whole",
        &[Queries],
        large_batch,
    ),
    case(
        "W2",
        "a new sample replaces the whole old one",
        &[Retrieve],
        replaced_whole,
    ),
    case(
        "W2",
        "no filter finds the old sample once it is replaced",
        &[Queries],
        indexes_follow,
    ),
    case(
        "W3",
        "of one id twice in a batch the later sample wins",
        &[Queries, Retrieve],
        later_wins,
    ),
    case("W4", "an empty batch touches nothing", &[], empty_batch),
    case("W5", "the report counts the stored", &[], report_adds_up),
    case(
        "W5",
        "the report tells inserted from replaced",
        &[Queries],
        report_tells_apart,
    ),
    case(
        "W6",
        "a sample that is too large is named",
        &[TestableLimit],
        invalid_named,
    ),
    case(
        "W6",
        "the batch of an invalid sample changes nothing",
        &[TestableLimit, Queries],
        invalid_changes_nothing,
    ),
];

fn refused_whole(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    let mut batch = series("a", 10)?;
    batch.push(sample_of_bytes(
        "too large",
        trial.capabilities.sample_bytes_max + 1,
    )?);
    refused(storage.store(&batch), ErrorKind::InvalidSample, "the batch")?;
    ensure_eq!(
        storage.count(&Query::new())?,
        0,
        "samples of the refused batch that are there"
    );
    Ok(())
}

fn large_batch(trial: &Trial<'_>) -> Verdict {
    let batch = series("a", 300)?;
    let storage = trial.open_with(&batch)?;
    same_samples(
        &storage.list(&Query::new())?.samples,
        &batch,
        "the whole batch",
    )
}

fn replaced_whole(trial: &Trial<'_>) -> Verdict {
    let old = sample("a")
        .status(Status::Dlq)
        .measured_at(at(1))
        .data(data! { "old" => true, "both" => 1 })
        .measurement("old", 1)
        .reason(Reason::new("parse", "no digits", 1, at(2)))
        .build()?;
    let new = sample("a")
        .pipeline("LGA")
        .status(Status::Ready)
        .created_at(at(9))
        .data(data! { "both" => 2 })
        .build()?;
    for (first, second) in [(&old, &new), (&new, &old)] {
        let storage = trial.open_with(std::slice::from_ref(first))?;
        storage.store(std::slice::from_ref(second))?;
        ensure_eq!(
            storage.retrieve("a")?.as_ref(),
            Some(second),
            "the sample after it was replaced"
        );
    }
    Ok(())
}

fn indexes_follow(trial: &Trial<'_>) -> Verdict {
    let old = sample("a").status(Status::Pending).build()?;
    let beside = sample("b").created_at(at(5)).build()?;
    let storage = trial.open_with(&[old, beside.clone()])?;
    let new = sample("a")
        .pipeline("LGA")
        .status(Status::Ready)
        .created_at(at(9))
        .build()?;
    storage.store(std::slice::from_ref(&new))?;

    let all = [beside.clone(), new.clone()];
    for (query, expected) in [
        (Query::new(), &all[..]),
        (Query::new().pipeline("JFK"), &all[..1]),
        (Query::new().pipeline("LGA"), &all[1..]),
        (Query::new().status(Status::Pending), &all[..1]),
        (Query::new().status(Status::Ready), &all[1..]),
        (Query::new().before(at(5)), &[]),
        (Query::new().since(at(0)), &all[..]),
        (Query::new().after(at(5)), &all[1..]),
        (Query::new().pipeline("JFK").status(Status::Ready), &[]),
        (Query::new().pipeline("LGA").status(Status::Pending), &[]),
    ] {
        same_samples(
            &storage.list(&query)?.samples,
            expected,
            &format!("list of `{query}`"),
        )?;
        ensure_eq!(
            storage.count(&query)?,
            expected.len() as u64,
            "count of `{query}`"
        );
    }
    let mut facets = Facets::new();
    facets.add("JFK", Status::Pending, 1);
    facets.add("LGA", Status::Ready, 1);
    ensure_eq!(storage.facets(&Query::new())?, facets, "facets");
    Ok(())
}

fn later_wins(trial: &Trial<'_>) -> Verdict {
    let first = sample("a")
        .status(Status::Pending)
        .data(data! { "n" => 1 })
        .build()?;
    let other = sample("b").build()?;
    let last = sample("a")
        .status(Status::Ready)
        .created_at(at(-1))
        .data(data! { "n" => 2 })
        .build()?;
    let storage = trial.open_with(&[first, other.clone(), last.clone()])?;
    ensure_eq!(
        storage.retrieve("a")?.as_ref(),
        Some(&last),
        "the sample of the id given twice"
    );
    let expected = [last, other];
    same_samples(
        &storage.list(&Query::new())?.samples,
        &expected,
        "both ids, once each",
    )?;
    let pending = storage.count(&Query::new().status(Status::Pending))?;
    ensure_eq!(pending, 1, "samples of the status that the earlier one had");
    Ok(())
}

fn empty_batch(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    ensure_eq!(
        storage.store(&[])?,
        StoreReport::new(0, 0),
        "report on an empty batch"
    );
    let batch = series("a", 3)?;
    storage.store(&batch)?;
    ensure_eq!(
        storage.store(&[])?,
        StoreReport::new(0, 0),
        "report on an empty batch"
    );
    storage.flush()?;
    if trial.capabilities.query {
        same_samples(
            &storage.list(&Query::new())?.samples,
            &batch,
            "after an empty batch",
        )?;
    }
    Ok(())
}

fn report_adds_up(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    let batch = series("a", 7)?;
    for size in [1, 7, 3] {
        let report = storage.store(&batch[..size])?;
        ensure_eq!(
            report.stored(),
            size as u64,
            "stored, by the report on a batch of {size}"
        );
    }
    Ok(())
}

fn report_tells_apart(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    let batch = series("a", 5)?;
    ensure_eq!(
        storage.store(&batch[..3])?,
        StoreReport::new(3, 0),
        "three that are new"
    );
    ensure_eq!(
        storage.store(&batch)?,
        StoreReport::new(2, 3),
        "these three and two more"
    );
    ensure_eq!(
        storage.store(&batch)?,
        StoreReport::new(0, 5),
        "nothing new"
    );
    let twice = [sample("b").build()?, sample("b").build()?, batch[0].clone()];
    ensure_eq!(
        storage.store(&twice)?,
        StoreReport::new(1, 2),
        "a new id twice, the second time counted as replaced, and a known one"
    );
    Ok(())
}

fn invalid_named(trial: &Trial<'_>) -> Verdict {
    let max = trial.capabilities.sample_bytes_max;
    let storage = trial.open()?;
    let mut batch = series("a", 3)?;
    batch.insert(2, sample_of_bytes("too large", max + 1)?);
    let error = refused(storage.store(&batch), ErrorKind::InvalidSample, "the batch")?;
    ensure_eq!(error.position(), Some(2), "position that the error names");
    ensure_eq!(
        error.sample_id(),
        Some("too large"),
        "id that the error names"
    );
    let limit = Limit::SampleBytes {
        bytes: max + 1,
        max,
    };
    ensure_eq!(error.limit(), Some(&limit), "limit that the error names");
    ensure_eq!(
        error.stored_ids().len(),
        0,
        "ids that the error says are stored"
    );
    let text = error.to_string();
    ensure!(
        text.contains("too large"),
        "the text does not name the sample: {text}"
    );
    Ok(())
}

fn invalid_changes_nothing(trial: &Trial<'_>) -> Verdict {
    let before = series("a", 4)?;
    let storage = trial.open_with(&before)?;
    let too_large = sample_of_bytes("a-3", trial.capabilities.sample_bytes_max + 1)?;
    let changed = before[0].clone().with_status(Status::Dlq);
    for batch in [
        vec![too_large.clone()],
        vec![changed.clone(), sample("new").build()?, too_large.clone()],
        vec![too_large, changed],
    ] {
        refused(storage.store(&batch), ErrorKind::InvalidSample, "the batch")?;
        same_samples(
            &storage.list(&Query::new())?.samples,
            &before,
            "after a refused batch",
        )?;
        ensure_eq!(
            storage.count(&Query::new())?,
            4,
            "count after a refused batch"
        );
    }
    Ok(())
}
