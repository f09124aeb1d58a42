//! Reads. Each question is asked in several variants (other ids, other windows of time), the same for every engine, and the
//! engines' answers to the first variants are compared before they are timed.

use super::answers::same;
use super::{Bench, Opened};
use crate::engine::{Ask, Engine, Form, Found, Kind, Result};
use crate::samples::{COMMON, PIPELINES, RARE};
use crate::timing::{Timing, timed};

/// A run asks for about so long, …
const RUN_SECONDS: f64 = 0.1;
/// … and so often at most.
const PIECES_MAX: usize = 2_000;
/// Variants whose answers are compared.
const COMPARED: u64 = 3;
/// A piece of work that takes so long is compared once, and this counts as its first run.
const SLOW_SECONDS: f64 = 5.0;
/// Pages of one walk.
const PAGES: usize = 50;

/// How many samples, and the sum of a decoded number of each: the same for every engine.
type Answer = (u64, u64);

impl Bench<'_> {
    pub(super) fn read_all(&mut self) -> Result<()> {
        let samples = self.samples;
        let count = samples.count;
        let ids: Vec<String> = (0..2_000)
            .map(|at| samples.row(at * 7_919 % count, 0).id)
            .collect();
        let missing: Vec<String> = (0..2_000)
            .map(|at| samples.row(2 * count + at, 0).id)
            .collect();
        let place = |variant: u64| count / 20 + variant % 10 * (count / 11);
        let window = move |variant| {
            let first = place(variant);
            (samples.instant(first), samples.instant(first + count / 100))
        };
        let half = (samples.instant(count / 4), samples.instant(count / 4 * 3));

        for form in [Form::Typed, Form::Raw] {
            self.read("retrieve", Some(form), "", |engine, variant| {
                Ok(answer(
                    engine
                        .retrieve(&ids[variant as usize % ids.len()], form)?
                        .as_slice(),
                ))
            })?;
        }
        self.read("retrieve_missing", None, "", |engine, variant| {
            Ok(answer(
                engine
                    .retrieve(&missing[variant as usize % missing.len()], Form::Typed)?
                    .as_slice(),
            ))
        })?;
        let about = format!("about {} samples", count / 200);
        for form in [Form::Typed, Form::Raw] {
            self.read(
                "list_status_range",
                Some(form),
                &about,
                |engine, variant| {
                    let ask = Ask {
                        status: Some(COMMON),
                        range: Some(window(variant)),
                        ..Ask::default()
                    };
                    Ok(answer(&engine.list(&ask, form)?))
                },
            )?;
        }
        for (name, status) in [("list_newest_rare", RARE), ("list_newest_common", COMMON)] {
            self.read(name, None, "newest 50, typed", |engine, _| {
                let ask = Ask {
                    status: Some(status),
                    newest: true,
                    limit: Some(50),
                    ..Ask::default()
                };
                Ok(answer(&engine.list(&ask, Form::Typed)?))
            })?;
        }
        let about = format!("a walk of {PAGES} pages at most, typed");
        self.read("list_two_filters_page", None, &about, |engine, variant| {
            let pipeline = PIPELINES[variant as usize % PIPELINES.len()];
            let ask = Ask {
                pipeline: Some(pipeline),
                status: Some(COMMON),
                limit: Some(100),
                ..Ask::default()
            };
            let (mut total, mut sum, mut after) = (0, 0.0, None);
            for _ in 0..PAGES {
                let (found, next) = engine.page(&ask, after.as_ref())?;
                total += found.len() as u64;
                sum += found.iter().map(Found::sum).sum::<f64>();
                after = next;
                if after.is_none() {
                    break;
                }
            }
            Ok((total, sum.to_bits()))
        })?;
        self.read("count_two_filters", None, "", |engine, variant| {
            let pipeline = PIPELINES[variant as usize % PIPELINES.len()];
            Ok((
                engine.count(&Ask {
                    pipeline: Some(pipeline),
                    status: Some(COMMON),
                    ..Ask::default()
                })?,
                0,
            ))
        })?;
        self.read("count_status_half_range", None, "", |engine, _| {
            Ok((
                engine.count(&Ask {
                    status: Some(COMMON),
                    range: Some(half),
                    ..Ask::default()
                })?,
                0,
            ))
        })?;
        self.read("facets", None, "", |engine, _| {
            Ok((engine.facets()?.total(), 0))
        })?;
        self.read("scan_all", None, "by created_at, typed", |engine, _| {
            let (mut total, mut sum) = (0, 0.0);
            engine.scan(&mut |found| {
                total += 1;
                sum += found.sum();
            })?;
            Ok((total, f64::to_bits(sum)))
        })
    }

    /// Times a question, asked in the variants 0, 1, 2, …
    fn read(
        &mut self,
        name: &str,
        form: Option<Form>,
        note: &str,
        ask: impl Fn(&dyn Engine, u64) -> Result<Answer>,
    ) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let takes_part =
            |kind: Kind| !(kind.is_relaxed() || kind == Kind::NativeDb && form == Some(Form::Raw));
        let mut timings = vec![Timing::default(); self.engines.len()];
        for variant in 0..COMPARED {
            let mut answers = Vec::new();
            let mut slowest = 0f64;
            let mut all_seconds = Vec::new();
            for (at, opened) in self.engines.iter().enumerate() {
                if takes_part(opened.kind) {
                    let (seconds, answer) = timed(|| ask(opened.engine()?, variant))?;
                    answers.push((opened.kind, answer));
                    slowest = slowest.max(seconds);
                    all_seconds.push((at, seconds));
                }
            }
            same(name, &answers)?;
            if slowest > SLOW_SECONDS {
                for (at, seconds) in all_seconds {
                    timings[at].add_run(&[seconds]);
                }
                break;
            }
        }
        // How often each engine is asked in a run, by how long it takes now that it is warm.
        let mut pieces = Vec::new();
        for (opened, timing) in self.engines.iter().zip(&timings) {
            pieces.push(match takes_part(opened.kind) {
                true if timing.runs() > 0 => 1,
                true => {
                    let (seconds, _) = timed(|| ask(opened.engine()?, COMPARED))?;
                    ((RUN_SECONDS / seconds) as usize).clamp(1, PIECES_MAX)
                }
                false => 0,
            });
        }
        for run in 0..self.arguments.runs {
            for at in self.turns(run) {
                let Opened { kind, .. } = self.engines[at];
                let is_done = timings[at].runs() >= self.arguments.runs
                    || timings[at].total_s() > self.arguments.seconds();
                if takes_part(kind) && !is_done {
                    let engine = self.engines[at].engine()?;
                    let mut seconds = Vec::with_capacity(pieces[at]);
                    for variant in 0..pieces[at] as u64 {
                        seconds.push(timed(|| ask(engine, variant))?.0);
                    }
                    timings[at].add_run(&seconds);
                }
            }
        }
        for (at, timing) in timings.iter().enumerate() {
            let kind = self.engines[at].kind;
            if takes_part(kind) {
                self.add_timing(name, form, kind, timing, note)?;
            } else if kind == Kind::NativeDb {
                let record = self.record(name, form, kind, "hands out decoded structs alone");
                self.report.add(record)?;
            }
        }
        Ok(())
    }
}

fn answer(found: &[Found]) -> Answer {
    let sum: f64 = found.iter().map(Found::sum).sum();
    (found.len() as u64, sum.to_bits())
}
