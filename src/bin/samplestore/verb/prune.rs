//! `prune`: removing what need not be kept any longer.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::HumanCount;
use samplestore::{Database, Facets, Prune as Selected, Query, Storage};
use serde_json::json;

use crate::arguments::{Consent, Filters, INSTANTS, parse_when, tell_instant};
use crate::failure::{Code, Failure, Outcome, answered, words};
use crate::fields::tell_unknown;
use crate::identity::Identity;
use crate::interrupt;
use crate::opening::{Db, FILE_ALONE, Reader};
use crate::output::{Output, ReportFormat, counted, facets_json, facets_table, facets_words};
use crate::progress::{FractionProgress, Seeking, is_shown};
use crate::steps::{Changed, OTHERS_WROTE};

const EXAMPLES: &str = "\
Examples:
  samplestore -d weather.db prune --older-than 30d --status skipped --dry-run
  samplestore -d weather.db prune --older-than 30d --status skipped,dlq --yes
  samplestore -d weather.db prune --pipeline JFK --keep-newest 100000 --yes

Samples go in transactions of up to 10,000; when it is interrupted, run it again for the rest. The file \
becomes smaller with samplestore compact.";

/// The filters that say which samples, or how many, and not what they are like. They are known, so that it can be said what takes them.
const OF_RM: [&str; 4] = ["id", "limit", "newest", "cursor"];

/// Remove samples that are old, or too many
#[derive(Debug, Args)]
#[command(
    after_help = format!("{EXAMPLES}\n\n{FILE_ALONE}\n\n{INSTANTS}"),
    mut_args(|flag| match OF_RM.contains(&flag.get_id().as_str()) {
        true => flag.hide(true),
        false => flag,
    })
)]
pub(crate) struct Prune {
    /// Only samples created longer ago than this (30d), or before this instant
    #[arg(long, value_name = "WHEN", value_parser = parse_when, allow_hyphen_values = true)]
    older_than: Option<DateTime<Utc>>,
    /// Keep so many of each pipeline, the newest of the statuses named, however old they are
    #[arg(long, value_name = "N")]
    keep_newest: Option<u64>,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    consent: Consent,
    /// How to write the counts of what is removed [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    format: Option<ReportFormat>,
}

impl Prune {
    pub(crate) fn run(self, db: &Db) -> Outcome {
        if db.location().database()?.is_none() {
            db.path().map_err(|failure| {
                failure
                    .with_hint("samplestore rm --before 30d removes old samples from any storage")
            })?;
        }
        if let Some(flag) = OF_RM.iter().find(|flag| self.filters.has(flag)) {
            let message = format!("prune takes no --{flag}: it goes by pipeline, status and age");
            return Err(Failure::usage(message).with_hint(format!(
                "samplestore rm takes --{flag}, with --before instead of --older-than"
            )));
        }
        let query = self.filters.query()?;
        tell_instant("older-than", self.older_than);
        let selected = self.selected(query.clone());
        self.consent.check("prune removes samples for good")?;
        let Some((facets, database)) = self.agreed(db, &query, &selected)? else {
            return Ok(Code::Fine);
        };
        let Some(database) = database else {
            return self.report(&facets, Changed::default());
        };
        interrupt::watch()?;
        let mut selected = selected.stop_when(interrupt::is_asked);
        if is_shown() {
            let progress = FractionProgress::new("pruning");
            selected = selected.on_progress(move |done| {
                let _ = progress.set(done);
            });
            selected = selected.counted(facets.total());
        }
        let removed = database.prune(&selected);
        drop(selected);
        let closed = database.close();
        let removed = removed?;
        closed?;
        let changed = Changed {
            samples: removed,
            is_interrupted: interrupt::is_asked() && removed < facets.total(),
        };
        let code = self.report(&facets, changed)?;
        if removed != facets.total() && !changed.is_interrupted {
            let removed = counted(removed, "sample");
            words(&format!("others wrote meanwhile: removed {removed}"));
        }
        Ok(code)
    }

    /// What would be removed, and the file to remove it from where there is something and that was agreed to. `None` where it was
    /// not. When others wrote the file while the question waited, it is asked again; where nobody is asked it is counted again, by
    /// whoever alone may write it then.
    fn agreed(
        &self,
        db: &Db,
        query: &Query,
        selected: &Selected,
    ) -> Result<Option<(Facets, Option<Database>)>, Failure> {
        let agree = |facets: &Facets| {
            let (count, parts) = (counted(facets.total(), "sample"), facets_words(facets));
            let question = format!("Remove {count} for good ({parts})?");
            self.consent.ask(&format!("{count} ({parts})"), &question)
        };
        let find = |database: &Database| {
            let has_conditions = !query.conditions().is_empty();
            let _seeking = has_conditions.then(Seeking::new);
            database.prunable(selected)
        };
        loop {
            let file = Identity::of_database(db)?;
            let database = db.read_file()?;
            // Of no later state than what is counted.
            let counted_at = database.snapshot()?.commit_number();
            let facets = find(&database)?;
            if facets.total() == 0 {
                tell_unknown(&Reader::File(database.snapshot()?), query)?;
            }
            drop(database);
            if self.consent.is_dry_run() || facets.total() == 0 {
                return Ok(Some((facets, None)));
            }
            if !agree(&facets)? {
                return Ok(None);
            }
            let database = db.write_existing()?;
            if database.snapshot()?.commit_number() == counted_at
                && Identity::of_database(db)? == file
            {
                return Ok(Some((facets, Some(database))));
            }
            words(OTHERS_WROTE);
            if self.consent.is_given() {
                let facets = find(&database)?;
                if facets.total() > 0 {
                    agree(&facets)?;
                }
                return Ok(Some((facets, Some(database))));
            }
            database.close()?;
        }
    }

    fn selected(&self, query: Query) -> Selected {
        let mut selected = Selected::new().matching(query);
        if let Some(instant) = self.older_than {
            selected = selected.older_than(instant);
        }
        match self.keep_newest {
            Some(samples) => selected.keep_newest(samples),
            None => selected,
        }
    }

    fn report(&self, facets: &Facets, changed: Changed) -> Outcome {
        answered(self.write(facets, changed), || {
            Ok(changed.code(facets.total(), false))
        })
    }

    fn write(&self, facets: &Facets, changed: Changed) -> Result<(), Failure> {
        let mut output = Output::new();
        match output.report_format(self.format) {
            ReportFormat::Table if changed.is_interrupted => {
                let removed = counted(changed.samples, "sample");
                writeln!(
                    output,
                    "removed {removed} of {}",
                    HumanCount(facets.total())
                )?;
            }
            ReportFormat::Table => {
                let words = if self.consent.is_dry_run() {
                    "would be removed"
                } else {
                    "removed"
                };
                writeln!(output, "{words}:")?;
                facets_table(&mut output, facets)?;
            }
            format => {
                let mut report = json!({
                    "dry_run": self.consent.is_dry_run(),
                    "matched": facets.total(),
                    "removed": changed.samples,
                });
                if let (Some(report), Some(facets)) =
                    (report.as_object_mut(), facets_json(facets).as_object_mut())
                {
                    report.append(facets);
                }
                output.json(format, &report)?;
            }
        }
        Ok(output.finish()?)
    }
}
