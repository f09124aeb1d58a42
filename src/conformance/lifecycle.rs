//! W7 and L1–L5: opening, closing, what is not offered, and errors.

use std::error::Error as _;

use super::case::{
    Case, Failure, Need, Trial, Verdict, case, ensure, ensure_eq, refused, same_samples,
};
use super::make::{at, every_class, sample, sample_of_bytes, series};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Facets, Query, Selection};
use crate::sample::{Sample, Status};
use crate::storage::Storage;

use Need::{Delete, Limit, Query as Queries, Reopen, SetStatus};

pub(super) const CASES: &[Case] = &[
    case(
        "W7",
        "what was stored is there although nobody closed",
        &[Reopen, Queries],
        survives_drop,
    ),
    case("L1", "a new storage is empty", &[Queries], new_is_empty),
    case(
        "L1",
        "opening again finds all that was stored",
        &[Reopen, Queries],
        reopening_finds_all,
    ),
    case(
        "L1",
        "order and replacing go on after opening again",
        &[Reopen, Queries],
        goes_on_after_reopening,
    ),
    case(
        "L1",
        "moves and deletions are there after opening again",
        &[Reopen, Queries, SetStatus, Delete],
        changes_survive,
    ),
    case("L2", "closing again is fine", &[], closing_again),
    case(
        "L2",
        "every use after close is a `Closed` error",
        &[],
        use_after_close,
    ),
    case(
        "L2",
        "closing deletes nothing",
        &[Reopen, Queries],
        closing_deletes_nothing,
    ),
    case(
        "L3",
        "what is not offered is `Unsupported`, whatever it is asked",
        &[],
        unsupported,
    ),
    case(
        "L3",
        "what the capabilities promise is offered",
        &[],
        supported,
    ),
    case(
        "L5",
        "errors name what failed and keep their cause",
        &[Limit],
        error_parts,
    ),
    case(
        "L5",
        "odd ids, names and bounds are no error and no panic",
        &[],
        odd_input,
    ),
];

fn survives_drop(trial: &Trial<'_>) -> Verdict {
    let samples = series("a", 20)?;
    let storage = trial.open_with(&samples[..10])?;
    storage.store(&samples[10..])?;
    let storage = storage.drop_and_reopen()?;
    same_samples(
        &storage.list(&Query::new())?.samples,
        &samples,
        "after the handle was dropped",
    )
}

fn new_is_empty(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open()?;
    same_samples(&storage.list(&Query::new())?.samples, &[], "list")?;
    ensure_eq!(storage.count(&Query::new())?, 0, "count");
    ensure_eq!(
        storage.iterate(&Query::new().newest_first())?.count(),
        0,
        "iterated"
    );
    ensure!(
        storage.facets(&Query::new())? == Facets::new(),
        "its facets are not empty"
    );
    Ok(())
}

fn reopening_finds_all(trial: &Trial<'_>) -> Verdict {
    let mut samples = series("a", 30)?;
    samples.push(
        sample("all classes")
            .created_at(at(90))
            .data(every_class())
            .build()?,
    );
    let mut storage = trial.open_with(&samples)?;
    for _ in 0..2 {
        storage.close()?;
        storage = storage.drop_and_reopen()?;
        same_samples(&storage.list(&Query::new())?.samples, &samples, "list")?;
        ensure_eq!(storage.count(&Query::new().pipeline("JFK"))?, 31, "count");
        ensure_eq!(
            storage.facets(&Query::new())?.total(),
            31,
            "total of the facets"
        );
        if trial.capabilities.retrieve {
            let found = storage.retrieve("all classes")?;
            ensure!(
                found.as_ref() == samples.last(),
                "the sample with every class of value has changed"
            );
        }
    }
    Ok(())
}

fn goes_on_after_reopening(trial: &Trial<'_>) -> Verdict {
    let tie = |id: &str| sample(id).build();
    let storage = trial.open_with(&[tie("m")?, tie("z")?])?;
    storage.close()?;
    let storage = storage.drop_and_reopen()?;
    let report = storage.store(&[tie("a")?, tie("z")?])?;
    ensure_eq!(
        (report.inserted, report.replaced),
        (1, 1),
        "inserted and replaced"
    );
    let expected = [tie("m")?, tie("z")?, tie("a")?];
    same_samples(
        &storage.list(&Query::new())?.samples,
        &expected,
        "equal instants",
    )
}

fn changes_survive(trial: &Trial<'_>) -> Verdict {
    let samples = series("a", 4)?;
    let storage = trial.open_with(&samples)?;
    storage.set_status(&"a-1".into(), None, Status::Ready)?;
    storage.delete(&"a-2".into())?;
    storage.delete(&"a-3".into())?;
    storage.close()?;
    let storage = storage.drop_and_reopen()?;
    let expected = [
        samples[0].clone(),
        samples[1].clone().with_status(Status::Ready),
    ];
    same_samples(
        &storage.list(&Query::new())?.samples,
        &expected,
        "after opening again",
    )?;
    ensure_eq!(
        storage.count(&Query::new().status(Status::Pending))?,
        1,
        "count of `pending`"
    );
    ensure_eq!(
        storage.facets(&Query::new())?.total(),
        2,
        "total of the facets"
    );

    // The place of a deleted sample is not used again, even that of the last one.
    let late = sample("late").created_at(at(1)).build()?;
    storage.store(std::slice::from_ref(&late))?;
    let newest = storage.list(&Query::new().newest_first().limit(1))?.samples;
    same_samples(&newest, &[late], "stored after the last ones were deleted")
}

fn closing_again(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 3)?)?;
    for _ in 0..3 {
        storage.close()?;
    }
    ensure!(
        storage.capabilities() == trial.capabilities,
        "the capabilities are others after close"
    );
    Ok(())
}

/// Asks for everything that a storage may offer; answers are thrown away.
fn ask_everything(storage: &dyn Storage, query: &Query) -> [(&'static str, bool, Result<()>); 7] {
    let can = storage.capabilities();
    let selection = Selection::from(query.clone());
    // Without queries there is no telling what one selects.
    let deleted = match can.delete && !can.query {
        true => Selection::ids(["a-0"]),
        false => selection.clone(),
    };
    let first = |query| {
        storage
            .iterate(query)
            .and_then(|mut items| items.next().transpose())
    };
    [
        ("retrieve", can.retrieve, storage.retrieve("a-0").map(drop)),
        ("list", can.query, storage.list(query).map(drop)),
        ("iterate", can.query, first(query).map(drop)),
        ("count", can.query, storage.count(query).map(drop)),
        ("facets", can.query, storage.facets(query).map(drop)),
        (
            "set_status",
            can.set_status,
            storage
                .set_status(&selection, None, Status::Ready)
                .map(drop),
        ),
        ("delete", can.delete, storage.delete(&deleted).map(drop)),
    ]
}

fn use_after_close(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 3)?)?;
    storage.close()?;
    for batch in [series("b", 2)?, Vec::new()] {
        let what = format!("store of {}", batch.len());
        refused(storage.store(&batch), ErrorKind::Closed, &what)?;
    }
    refused(storage.flush(), ErrorKind::Closed, "flush")?;
    for (what, offered, answer) in ask_everything(&*storage, &Query::new()) {
        if offered {
            refused(answer, ErrorKind::Closed, what)?;
        }
    }
    if trial.capabilities.query {
        let nothing = storage.list(&Query::new().limit(0));
        refused(nothing, ErrorKind::Closed, "list with a limit of 0")?;
    }
    if trial.capabilities.retrieve {
        refused(
            storage.retrieve("nobody"),
            ErrorKind::Closed,
            "retrieve of what is not there",
        )?;
    }
    Ok(())
}

fn closing_deletes_nothing(trial: &Trial<'_>) -> Verdict {
    let samples = series("a", 3)?;
    let mut storage = trial.open_with(&samples)?;
    for _ in 0..3 {
        storage.close()?;
        storage.close()?;
        storage = storage.drop_and_reopen()?;
        same_samples(
            &storage.list(&Query::new())?.samples,
            &samples,
            "after closing twice",
        )?;
    }
    Ok(())
}

fn unsupported(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 3)?)?;
    // A cursor of another storage, ids that cannot be, an empty range, nothing at all: whether it makes
    // sense is not even looked at.
    let foreign = crate::Cursor::new(1, &Query::new(), b"elsewhere");
    for query in [
        Query::new(),
        Query::new().cursor(foreign),
        Query::new().id("").id("x".repeat(10_000)),
        Query::new().after(at(1)).before(at(0)),
        Query::new().limit(0),
    ] {
        for (what, offered, answer) in ask_everything(&*storage, &query) {
            if !offered {
                let what = format!("{what} with `{query}`");
                refused(answer, ErrorKind::Unsupported, &what)?;
            }
        }
    }
    if !trial.capabilities.set_status {
        let none = Selection::ids(Vec::<String>::new());
        let answer = storage.set_status(&none, Some(Status::Dlq), Status::Dlq);
        refused(answer, ErrorKind::Unsupported, "set_status of no ids")?;
    }
    storage.store(&series("b", 1)?)?;
    Ok(())
}

fn supported(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&series("a", 3)?)?;
    for (what, offered, answer) in ask_everything(&*storage, &Query::new()) {
        if offered {
            answer.map_err(|error| Failure::from(error).within(what))?;
        }
    }
    ensure!(
        storage.capabilities() == trial.capabilities,
        "two handles have unlike capabilities"
    );
    Ok(())
}

/// What every error owes its reader.
fn well_made(error: &Error) -> Verdict {
    let text = error.to_string();
    ensure!(
        !text.is_empty() && !text.ends_with('.'),
        "the text {text:?} is empty or ends in a stop"
    );
    ensure!(
        text.contains(error.kind().as_str()) && text.contains(error.operation()),
        "the text {text:?} does not say the kind {} and the operation {:?}",
        error.kind(),
        error.operation()
    );
    if let Some(cause) = error.source() {
        let cause = cause.to_string();
        ensure!(
            !text.contains(&cause),
            "the text {text:?} repeats its cause {cause:?}"
        );
    }
    Ok(())
}

fn error_parts(trial: &Trial<'_>) -> Verdict {
    let max = trial.capabilities.sample_bytes_max;
    let storage = trial.open()?;
    let too_large: [Sample; 1] = [sample_of_bytes("too large", max + 1)?];
    let error = refused(
        storage.store(&too_large),
        ErrorKind::InvalidSample,
        "a sample too large",
    )?;
    ensure!(
        error.source().is_some(),
        "the error \"{error}\" has lost the limit that is its cause"
    );
    ensure_eq!(
        error.sample_id(),
        Some("too large"),
        "id that the error names"
    );
    well_made(&error)?;

    for (what, offered, answer) in ask_everything(&*storage, &Query::new()) {
        if !offered {
            let error = refused(answer, ErrorKind::Unsupported, what)?;
            well_made(&error)?;
            let name = trial.capabilities.name;
            ensure!(
                error.to_string().contains(name),
                "\"{error}\" does not name the backend {name}"
            );
        }
    }
    storage.close()?;
    well_made(&refused(
        storage.store(&[]),
        ErrorKind::Closed,
        "store after close",
    )?)
}

fn odd_input(trial: &Trial<'_>) -> Verdict {
    use chrono::{DateTime, Utc};
    let samples = series("a", 3)?;
    let storage = trial.open_with(&samples)?;
    let long = "\u{10ffff}".repeat(20_000);
    for odd in [
        "", "\0", "%", "_", "*", "'", "\"", "\\", "..", "a-", "a-0\0", &long,
    ] {
        if trial.capabilities.retrieve {
            ensure_eq!(storage.retrieve(odd)?, None, "retrieve of {odd:.20?}");
        }
        for query in [Query::new().id(odd), Query::new().pipeline(odd)] {
            if trial.capabilities.query {
                ensure_eq!(storage.count(&query)?, 0, "count of {query:.20?}");
                ensure_eq!(
                    storage.list(&query)?.samples.len(),
                    0,
                    "list of {query:.20?}"
                );
            }
            if trial.capabilities.set_status {
                let moved = storage.set_status(&query.clone().into(), None, Status::Dlq)?;
                ensure_eq!(moved, 0, "moved of {query:.20?}");
            }
            if trial.capabilities.delete && trial.capabilities.query {
                ensure_eq!(
                    storage.delete(&query.clone().into())?,
                    0,
                    "deleted of {query:.20?}"
                );
            }
        }
    }
    if trial.capabilities.query {
        let whole = Query::new()
            .since(DateTime::<Utc>::MIN_UTC)
            .until(DateTime::<Utc>::MAX_UTC);
        let found = storage.list(&whole.limit(u64::MAX))?.samples;
        same_samples(
            &found,
            &samples,
            "from the first to the last instant there is",
        )?;
    }
    Ok(())
}
