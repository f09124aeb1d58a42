//! W8 and W9: moving samples to another status, and deleting them.

use std::collections::BTreeMap;

use super::case::{
    Case, Failure, Need, Trial, Verdict, case, ensure, ensure_eq, refused, same_samples,
};
use super::make::{at, sample, series};
use crate::data;
use crate::error::ErrorKind;
use crate::query::{Facets, Query, Selection};
use crate::sample::{Reason, Sample, Status};

use Need::{Delete, Query as Queries, SetStatus};

pub(super) const CASES: &[Case] = &[
    case(
        "W8",
        "samples are moved by their ids",
        &[SetStatus, Queries],
        move_by_ids,
    ),
    case(
        "W8",
        "only samples in `from` are moved",
        &[SetStatus, Queries],
        move_from,
    ),
    case(
        "W8",
        "samples are moved by a query, as far as its limit",
        &[SetStatus, Queries],
        move_by_query,
    ),
    case(
        "W8",
        "a cursor may go with `from`",
        &[SetStatus, Queries],
        move_from_behind_cursor,
    ),
    case(
        "W8",
        "nothing but the status is changed",
        &[SetStatus, Queries],
        move_changes_nothing_else,
    ),
    case(
        "W9",
        "samples are deleted by their ids",
        &[Delete, Queries],
        delete_by_ids,
    ),
    case(
        "W9",
        "samples are deleted by a query, as far as its limit",
        &[Delete, Queries],
        delete_by_query,
    ),
    case(
        "W9",
        "an id that is stored again is a new sample",
        &[Delete, Queries],
        stored_again,
    ),
    case(
        "W9",
        "a selection with a cursor that does not fit is refused",
        &[Delete, Queries],
        selection_misfit,
    ),
];

/// Nine samples of ascending instants: of each of `pending`, `ready` and `dlq` three, by turns.
fn nine() -> Verdict<Vec<Sample>> {
    let statuses = [Status::Pending, Status::Ready, Status::Dlq];
    let samples = series("a", 9)?.into_iter().enumerate();
    Ok(samples
        .map(|(n, sample)| sample.with_status(statuses[n % 3]))
        .collect())
}

fn statuses(samples: &[Sample]) -> String {
    let initial = |sample: &Sample| sample.status().as_str().chars().next();
    samples.iter().filter_map(initial).collect()
}

fn move_by_ids(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&nine()?)?;
    let some = Selection::ids(["a-0", "a-1", "a-8", "nobody"]);
    ensure_eq!(
        storage.set_status(&some, None, Status::Labeled)?,
        3,
        "moved"
    );
    let listed = storage.list(&Query::new())?.samples;
    ensure_eq!(statuses(&listed), "lldprdprl", "initials of the statuses");
    let labeled = storage.count(&Query::new().status(Status::Labeled))?;
    ensure_eq!(labeled, 3, "count of the status they were moved to");
    ensure_eq!(
        storage.count(&Query::new().status(Status::Ready))?,
        2,
        "count of `ready`"
    );

    let nobody = Selection::ids(["nobody", ""]);
    ensure_eq!(
        storage.set_status(&nobody, None, Status::Dlq)?,
        0,
        "moved of ids that nobody has"
    );
    let none = Selection::ids(Vec::<String>::new());
    ensure_eq!(
        storage.set_status(&none, None, Status::Dlq)?,
        0,
        "moved of no ids"
    );
    Ok(())
}

fn move_from(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&nine()?)?;
    let ids = Selection::ids(["a-0", "a-1", "a-2", "a-3"]);
    let moved = storage.set_status(&ids, Some(Status::Pending), Status::Measured)?;
    ensure_eq!(moved, 2, "moved by ids, of them those that are pending");
    let listed = storage.list(&Query::new())?.samples;
    ensure_eq!(statuses(&listed), "mrdmrdprd", "initials of the statuses");
    let again = storage.set_status(&ids, Some(Status::Pending), Status::Measured)?;
    ensure_eq!(again, 0, "moved when it is done again");

    let all = Selection::from(Query::new());
    let moved = storage.set_status(&all, Some(Status::Dlq), Status::Pending)?;
    ensure_eq!(moved, 3, "moved by the empty query, of all those in dlq");
    let moved = storage.set_status(&all, Some(Status::Dlq), Status::Dlq)?;
    ensure_eq!(moved, 0, "moved out of a status that is empty now");

    let ready = Selection::from(Query::new().status(Status::Ready));
    let moved = storage.set_status(&ready, Some(Status::Pending), Status::Dlq)?;
    ensure_eq!(moved, 0, "moved of the ready ones that are pending");
    ensure_eq!(
        storage.set_status(&ready, None, Status::Ready)?,
        3,
        "those already there are counted"
    );
    let listed = storage.list(&Query::new())?.samples;
    ensure_eq!(statuses(&listed), "mrpmrpprp", "initials of the statuses");
    Ok(())
}

fn move_by_query(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&nine()?)?;
    let oldest = Query::new()
        .status(Status::Pending)
        .status(Status::Ready)
        .limit(3);
    let moved = storage.set_status(&oldest.into(), None, Status::Labeled)?;
    ensure_eq!(moved, 3, "moved by a query of limit 3");
    let listed = storage.list(&Query::new())?.samples;
    ensure_eq!(
        statuses(&listed),
        "lldlrdprd",
        "initials, the three oldest moved"
    );

    let newest = Selection::from(Query::new().newest_first().limit(2));
    let moved = storage.set_status(&newest, Some(Status::Ready), Status::Skipped)?;
    ensure_eq!(
        moved,
        2,
        "moved, where the limit counts those that are in `from`"
    );
    let listed = storage.list(&Query::new())?.samples;
    ensure_eq!(
        statuses(&listed),
        "lldlsdpsd",
        "initials, the two newest that were ready moved"
    );

    let nothing = Selection::from(Query::new().limit(0));
    ensure_eq!(
        storage.set_status(&nothing, None, Status::Dlq)?,
        0,
        "moved by a query of limit 0"
    );

    let page = storage.list(&Query::new().limit(7))?;
    let cursor = page
        .next
        .ok_or_else(|| Failure::new("a page of 7 of 9 has no cursor"))?;
    let rest = Selection::from(Query::new().cursor(cursor));
    ensure_eq!(
        storage.set_status(&rest, None, Status::Ready)?,
        2,
        "moved behind a cursor"
    );
    let listed = storage.list(&Query::new())?.samples;
    ensure_eq!(
        statuses(&listed),
        "lldlsdprr",
        "initials, those behind the cursor moved"
    );
    Ok(())
}

fn move_from_behind_cursor(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&nine()?)?;
    let page = storage.list(&Query::new().limit(4))?;
    let cursor = page.next;
    let cursor = cursor.ok_or_else(|| Failure::new("a page of 4 of 9 has no cursor"))?;
    let rest = Query::new().cursor(cursor);
    let first = Selection::from(rest.clone().limit(1));
    let moved = storage.set_status(&first, Some(Status::Dlq), Status::Ready)?;
    ensure_eq!(
        moved,
        1,
        "moved behind a cursor, of the first that is in `from`"
    );
    let moved = storage.set_status(&rest.into(), Some(Status::Pending), Status::Labeled)?;
    ensure_eq!(moved, 1, "moved behind a cursor, of those in `from`");
    let listed = storage.list(&Query::new())?.samples;
    ensure_eq!(statuses(&listed), "prdprrlrd", "initials of the statuses");
    Ok(())
}

fn move_changes_nothing_else(trial: &Trial<'_>) -> Verdict {
    let full = sample("full")
        .status(Status::Dlq)
        .measured_at(at(1))
        .data(data! { "n" => f64::NAN })
        .measurement("m", 1)
        .reason(Reason::new("parse", "no digits", 3, at(2)))
        .build()?;
    let ties = [full, sample("b").build()?, sample("c").build()?];
    let storage = trial.open_with(&ties)?;
    storage.set_status(&"full".into(), None, Status::Ready)?;
    let [full, b, c] = ties;
    let expected = [full.with_status(Status::Ready), b, c];
    same_samples(
        &storage.list(&Query::new())?.samples,
        &expected,
        "after one was moved",
    )?;
    let mut facets = Facets::new();
    facets.add("JFK", Status::Ready, 1);
    facets.add("JFK", Status::Pending, 2);
    ensure_eq!(storage.facets(&Query::new())?, facets, "facets");
    Ok(())
}

fn delete_by_ids(trial: &Trial<'_>) -> Verdict {
    let mut samples = nine()?;
    let storage = trial.open_with(&samples)?;
    let some = Selection::ids(["a-0", "a-4", "a-8", "nobody"]);
    ensure_eq!(storage.delete(&some)?, 3, "deleted");
    for gone in [8, 4, 0] {
        let gone = samples.remove(gone);
        if trial.capabilities.retrieve {
            ensure_eq!(storage.retrieve(gone.id())?, None, "a deleted sample");
        }
    }
    same_samples(
        &storage.list(&Query::new())?.samples,
        &samples,
        "after deleting",
    )?;
    ensure_eq!(storage.count(&Query::new())?, 6, "count after deleting");
    for (status, left) in [(Status::Pending, 2), (Status::Ready, 2), (Status::Dlq, 2)] {
        let query = Query::new().pipeline("JFK").status(status);
        ensure_eq!(storage.count(&query)?, left, "count of `{query}`");
    }
    let by_status = BTreeMap::from([(Status::Pending, 2), (Status::Ready, 2), (Status::Dlq, 2)]);
    ensure_eq!(
        storage.facets(&Query::new())?.by_status(),
        by_status,
        "facets by status"
    );
    ensure_eq!(storage.delete(&some)?, 0, "deleted when it is done again");
    ensure_eq!(
        storage.delete(&Selection::ids(Vec::<String>::new()))?,
        0,
        "deleted of no ids"
    );
    Ok(())
}

fn delete_by_query(trial: &Trial<'_>) -> Verdict {
    let mut samples = nine()?;
    let storage = trial.open_with(&samples)?;
    let nothing = Selection::from(Query::new().limit(0));
    ensure_eq!(
        storage.delete(&nothing)?,
        0,
        "deleted by a query of limit 0"
    );
    let ready = Query::new().status(Status::Ready).newest_first().limit(2);
    ensure_eq!(
        storage.delete(&ready.into())?,
        2,
        "deleted of the newest two that are ready"
    );
    samples.retain(|sample| !["a-4", "a-7"].contains(&sample.id()));
    same_samples(
        &storage.list(&Query::new())?.samples,
        &samples,
        "after deleting",
    )?;
    ensure_eq!(
        storage.delete(&Query::new().before(at(3)).into())?,
        3,
        "deleted before an instant"
    );
    ensure_eq!(
        storage.delete(&Query::new().into())?,
        4,
        "deleted, being all the rest"
    );
    ensure_eq!(storage.count(&Query::new())?, 0, "count of what is left");
    ensure!(
        storage.facets(&Query::new())? == Facets::new(),
        "facets of an empty storage are not empty"
    );
    Ok(())
}

fn stored_again(trial: &Trial<'_>) -> Verdict {
    let ties = [
        sample("a").build()?,
        sample("b").build()?,
        sample("c").build()?,
    ];
    let storage = trial.open_with(&ties)?;
    storage.delete(&"a".into())?;
    let [a, b, c] = ties;
    let report = storage.store(std::slice::from_ref(&a))?;
    ensure_eq!(
        report.inserted,
        1,
        "inserted, when a deleted id is stored again"
    );
    same_samples(
        &storage.list(&Query::new())?.samples,
        &[b.clone(), c, a.clone()],
        "oldest first",
    )?;

    storage.delete(&Query::new().into())?;
    storage.store(&[b.clone(), a.clone()])?;
    same_samples(
        &storage.list(&Query::new())?.samples,
        &[b, a],
        "when all were deleted before",
    )
}

fn selection_misfit(trial: &Trial<'_>) -> Verdict {
    let storage = trial.open_with(&nine()?)?;
    let page = storage.list(&Query::new().limit(2))?;
    let cursor = page
        .next
        .ok_or_else(|| Failure::new("a page of 2 of 9 has no cursor"))?;
    let misfit = Selection::from(Query::new().newest_first().cursor(cursor));
    refused(storage.delete(&misfit), ErrorKind::InvalidCursor, "delete")?;
    if trial.capabilities.set_status {
        let moved = storage.set_status(&misfit, None, Status::Dlq);
        refused(moved, ErrorKind::InvalidCursor, "set_status")?;
    }
    same_samples(
        &storage.list(&Query::new())?.samples,
        &nine()?,
        "after both were refused",
    )
}
