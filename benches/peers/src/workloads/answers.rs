//! Comparing what the engines answer. A difference ends the program: nothing is timed that is not right.

use std::hash::{DefaultHasher, Hash, Hasher};

use samplestore::Status;

use super::{BATCH_SAMPLES, Opened};
use crate::engine::{Ask, Body, Engine, Form, Found, Kind, Result};
use crate::samples::{COMMON, Ids, PIPELINES, RARE, Samples, TimeOrder};

/// Samples in the database on which every operation is compared.
const SMALL: u64 = 4_000;

/// Compares all engines on a small database, after each kind of change.
pub fn check_all(kinds: &[Kind]) -> Result<()> {
    for order in [TimeOrder::Ordered, TimeOrder::Shuffled] {
        let samples = Samples {
            count: SMALL,
            ids: Ids::Uuid4,
            order,
        };
        let mut engines = kinds
            .iter()
            .map(|kind| Opened::new(*kind))
            .collect::<Result<Vec<_>>>()?;
        let quarter = (samples.instant(SMALL / 4), samples.instant(SMALL / 2));
        let common = Ask {
            status: Some(COMMON),
            range: Some(quarter),
            ..Ask::default()
        };
        let ids: Vec<String> = (0..50)
            .map(|number| samples.row(number * 7, 0).id)
            .collect();
        type Change<'a> = (&'a str, Box<dyn Fn(&dyn Engine) -> Result<u64> + 'a>);
        let changes: [Change<'_>; 7] = [
            ("load", Box::new(|engine| load(engine, &samples))),
            (
                "replace",
                Box::new(|engine| {
                    let rows: Vec<_> = (0..100).map(|number| samples.row(number * 3, 1)).collect();
                    engine.store(&rows).map(|()| 100)
                }),
            ),
            (
                "mark a range",
                Box::new(|engine| engine.set_status(&common, Status::Skipped)),
            ),
            (
                "mark ids",
                Box::new(|engine| engine.set_status_of(&ids, Status::Labeled)),
            ),
            (
                "delete a range",
                Box::new(|engine| {
                    engine.delete(&Ask {
                        status: Some(Status::Pending),
                        ..common
                    })
                }),
            ),
            (
                "store again",
                Box::new(|engine| {
                    engine
                        .store(&samples.batch(SMALL / 4..SMALL / 4 + 500))
                        .map(|()| 500)
                }),
            ),
            ("analyze", Box::new(|engine| engine.analyze().map(|()| 0))),
        ];
        for (name, change) in changes {
            let mut counts = Vec::new();
            for opened in &engines {
                counts.push((opened.kind, change(opened.engine()?)?));
            }
            same(name, &counts)?;
            compare(&engines, &samples, true).map_err(|error| format!("after {name}: {error}"))?;
        }
        for opened in &mut engines {
            opened.close();
            opened.open()?;
        }
        compare(&engines, &samples, true)
            .map_err(|error| format!("after opening again: {error}"))?;
    }
    Ok(())
}

fn load(engine: &dyn Engine, samples: &Samples) -> Result<u64> {
    for first in (0..samples.count).step_by(BATCH_SAMPLES as usize) {
        engine.store(&samples.batch(first..(first + BATCH_SAMPLES).min(samples.count)))?;
    }
    engine.finish_load()?;
    Ok(samples.count)
}

/// Compares the engines' answers to every kind of question; without going through all samples, unless told to.
pub fn compare(engines: &[Opened], samples: &Samples, scans: bool) -> Result<()> {
    let mut all = Vec::new();
    for opened in engines {
        all.push((opened.kind, answers(opened.engine()?, samples, scans)?));
    }
    let Some(((_, first), others)) = all.split_first() else {
        return Ok(());
    };
    for (kind, answers) in others {
        for (expected, answer) in first.iter().zip(answers) {
            if expected != answer {
                let (of, name) = (all[0].0.name(), kind.name());
                return Err(format!("{of} and {name} differ: {expected:?} and {answer:?}").into());
            }
        }
    }
    Ok(())
}

/// Fails unless all of the values are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(name: &str, values: &[(Kind, T)]) -> Result<()> {
    let Some(((first, expected), others)) = values.split_first() else {
        return Ok(());
    };
    match others.iter().find(|(_, value)| value != expected) {
        Some((kind, value)) => {
            let (of, kind) = (first.name(), kind.name());
            Err(format!("{name}: {of} answers {expected:?}, {kind} {value:?}").into())
        }
        None => Ok(()),
    }
}

/// Each question with a digest of its answer.
fn answers(engine: &dyn Engine, samples: &Samples, scans: bool) -> Result<Vec<(String, String)>> {
    let count = samples.count;
    let range = (
        samples.instant(count / 5),
        samples.instant(count / 5 + count / 50),
    );
    let half = (samples.instant(count / 4), samples.instant(count / 4 * 3));
    let mut answers = Vec::new();
    let mut add = |name: String, answer: String| answers.push((name, answer));
    for status in [COMMON, RARE] {
        let of_status = Ask {
            status: Some(status),
            ..Ask::default()
        };
        let asks = [
            Ask {
                range: Some(range),
                ..of_status
            },
            Ask {
                newest: true,
                limit: Some(50),
                ..of_status
            },
            Ask {
                newest: true,
                limit: Some(30),
                pipeline: Some(PIPELINES[2]),
                ..of_status
            },
        ];
        for ask in asks {
            let found = engine.list(&ask, Form::Typed)?;
            add(format!("list {ask:?}"), digest(&found));
            // Raw forms differ; what is around them does not.
            let raw = engine.list(&ask, Form::Raw)?;
            add(format!("list raw {ask:?}"), digest_heads(&raw));
            if raw
                .iter()
                .any(|found| matches!(found.body, Body::Typed(..)) != (found.raw_bytes() == 0))
            {
                return Err("a raw answer has no payload".into());
            }
        }
        add(
            format!("count {status} of half"),
            engine
                .count(&Ask {
                    range: Some(half),
                    ..of_status
                })?
                .to_string(),
        );
        add(
            format!("count {status}"),
            engine.count(&of_status)?.to_string(),
        );
        for pipeline in PIPELINES {
            let ask = Ask {
                pipeline: Some(pipeline),
                ..of_status
            };
            add(
                format!("count {pipeline} {status}"),
                engine.count(&ask)?.to_string(),
            );
        }
        let ask = Ask {
            pipeline: Some(PIPELINES[1]),
            limit: Some(100),
            ..of_status
        };
        let (mut found, mut after) = engine.page(&ask, None)?;
        for _ in 0..10 {
            let Some(place) = after else { break };
            let (more, next) = engine.page(&ask, Some(&place))?;
            found.extend(more);
            after = next;
        }
        add(
            format!("pages of {} {status}", PIPELINES[1]),
            digest(&found),
        );
    }
    let facets: Vec<_> = engine
        .facets()?
        .iter()
        .map(|facet| (facet.pipeline, facet.status, facet.count))
        .collect();
    add("facets".to_owned(), format!("{facets:?}"));
    for number in (0..40).map(|at| at * count / 40) {
        let id = samples.row(number, 0).id;
        let found = engine.retrieve(&id, Form::Typed)?;
        add(format!("retrieve {id}"), digest(found.as_slice()));
        let raw = engine.retrieve(&id, Form::Raw)?;
        add(format!("retrieve raw {id}"), digest_heads(raw.as_slice()));
    }
    add(
        "retrieve none".to_owned(),
        digest(engine.retrieve("no such id", Form::Typed)?.as_slice()),
    );
    if !scans {
        return Ok(answers);
    }
    let (mut hash, mut total, mut sum) = (DefaultHasher::new(), 0, 0.0);
    engine.scan(&mut |found| {
        found.id().hash(&mut hash);
        total += 1;
        sum += found.sum();
    })?;
    add(
        "scan".to_owned(),
        format!("{total} samples, ids {:x}, sum {sum}", hash.finish()),
    );
    Ok(answers)
}

fn digest(found: &[Found]) -> String {
    let sum: f64 = found.iter().map(Found::sum).sum();
    format!("{}, sum {sum}", digest_heads(found))
}

fn digest_heads(found: &[Found]) -> String {
    let mut hash = DefaultHasher::new();
    found.iter().for_each(|found| found.line().hash(&mut hash));
    format!("{} samples {:x}", found.len(), hash.finish())
}
