//! What is measured, and in which order: first every engine's answers are compared on a small database that sees
//! every operation; then each order of time is loaded, compared again, read, written and opened.
//!
//! Engines take turns run by run, each run beginning with another one. All of them are open at once, each with its own
//! cache of the same size; the page cache of the system is everybody's. A database that no workload needs any more is
//! removed at once.

mod answers;
mod children;
mod disk;
mod loading;
mod opening;
mod reading;
mod writing;

use std::path::Path;

use tempfile::TempDir;

pub use children::Child;

use crate::Arguments;
use crate::engine::{Engine, Form, Kind, Result};
use crate::record::{FSYNC_FLOOR, Record};
use crate::report::Report;
use crate::samples::{Ids, Samples, TimeOrder};
use crate::timing::{self, Timing};

/// Samples in a batch of a load.
const BATCH_SAMPLES: u64 = 1_000;

/// From so many samples on, a load is done once, an engine that is slow at it is timed at parts of it, and what costs as
/// long again and says nothing new is left out: see where this is used.
pub const LARGE: u64 = 2_000_000;

/// The workloads, in the order in which they are measured, and the orders of time that each is measured in.
const WORKLOADS: [(&str, &[TimeOrder]); 26] = {
    const ORDERED: &[TimeOrder] = &[TimeOrder::Ordered];
    const SHUFFLED: &[TimeOrder] = &[TimeOrder::Shuffled];
    const BOTH: &[TimeOrder] = &[TimeOrder::Ordered, TimeOrder::Shuffled];
    [
        ("load_uuid7", ORDERED),
        ("load_uuid7_worst_batch", ORDERED),
        ("load_uuid4", ORDERED),
        ("load_uuid4_worst_batch", ORDERED),
        ("load_shuffled_time", SHUFFLED),
        ("load_shuffled_time_worst_batch", SHUFFLED),
        ("file_bytes", BOTH),
        ("file_bytes_compacted", BOTH),
        ("retrieve", BOTH),
        ("retrieve_missing", BOTH),
        ("list_status_range", BOTH),
        ("list_newest_rare", BOTH),
        ("list_newest_common", BOTH),
        ("list_two_filters_page", BOTH),
        ("count_two_filters", BOTH),
        ("count_status_half_range", BOTH),
        ("facets", BOTH),
        ("scan_all", BOTH),
        ("mark_10k", BOTH),
        ("mark_one", BOTH),
        ("replace_10k", BOTH),
        ("store_one", BOTH),
        ("store_16_writers", BOTH),
        ("delete_10k", BOTH),
        ("open_clean", BOTH),
        ("open_after_kill", BOTH),
    ]
};
const PEAK_MEMORY: &str = "peak_memory";

/// An engine and its database.
struct Opened {
    kind: Kind,
    folder: TempDir,
    /// `None` while it is closed.
    engine: Option<Box<dyn Engine>>,
}

impl Opened {
    fn new(kind: Kind) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("peers-").tempdir()?;
        let engine = Some(kind.open(folder.path())?);
        Ok(Self {
            kind,
            folder,
            engine,
        })
    }

    fn engine(&self) -> Result<&dyn Engine> {
        self.engine
            .as_deref()
            .ok_or_else(|| format!("{} is closed", self.kind.name()).into())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn close(&mut self) {
        self.engine = None;
    }

    fn open(&mut self) -> Result<()> {
        self.engine = Some(self.kind.open(self.folder.path())?);
        Ok(())
    }
}

/// A comparison in progress.
struct Bench<'a> {
    arguments: &'a Arguments,
    report: Report,
    samples: Samples,
    engines: Vec<Opened>,
    /// The most that the databases took at once where that was looked at.
    disk_bytes_max: u64,
}

/// Fails for an `--only` that is the beginning of no workload's name.
pub fn check_names(only: &[String]) -> Result<()> {
    let names = || WORKLOADS.iter().map(|(name, _)| *name).chain([PEAK_MEMORY]);
    match only
        .iter()
        .find(|only| !names().any(|name| name.starts_with(only.as_str())))
    {
        Some(unknown) => {
            let names = names().collect::<Vec<_>>().join(", ");
            Err(format!("no workload begins with {unknown:?}; there are {names}").into())
        }
        None => Ok(()),
    }
}

/// Measures everything that the arguments ask for.
pub fn run(arguments: &Arguments) -> Result<Report> {
    disk::check_room(arguments)?;
    eprintln!("comparing answers");
    answers::check_all(&arguments.engines)?;
    let mut bench = Bench {
        arguments,
        report: Report::new(arguments.json.clone()),
        samples: samples_of(TimeOrder::Ordered, arguments.samples),
        engines: Vec::new(),
        disk_bytes_max: 0,
    };
    bench.fsync_floor("before")?;
    for order in arguments.order.all() {
        bench.samples = samples_of(order, arguments.samples);
        eprintln!("{} samples, {}", arguments.samples, order.name());
        bench.run_order(order)?;
        bench.engines.clear();
    }
    if bench.wants(PEAK_MEMORY) && !bench.is_large() {
        bench.samples = samples_of(TimeOrder::Ordered, arguments.samples);
        bench.peak_memory()?;
    }
    bench.fsync_floor("after")?;
    eprintln!(
        "on disk: {} at most",
        crate::record::shown_bytes(bench.disk_bytes_max as f64)
    );
    Ok(bench.report)
}

/// Samples in order of time have random ids, which is the hard case for a load; shuffled ones have growing ids, so that
/// their load shows what the order of time alone costs.
fn samples_of(order: TimeOrder, count: u64) -> Samples {
    let ids = match order {
        TimeOrder::Ordered => Ids::Uuid4,
        TimeOrder::Shuffled => Ids::Uuid7,
    };
    Samples { count, ids, order }
}

impl Bench<'_> {
    fn run_order(&mut self, order: TimeOrder) -> Result<()> {
        if order == TimeOrder::Ordered && self.wants_load("load_uuid7") {
            let samples = Samples {
                ids: Ids::Uuid7,
                ..self.samples
            };
            self.load("load_uuid7", samples, false)?;
        }
        let load = match order {
            TimeOrder::Ordered => "load_uuid4",
            TimeOrder::Shuffled => "load_shuffled_time",
        };
        let wants_more = WORKLOADS.iter().any(|(name, orders)| {
            !name.starts_with("load_") && orders.contains(&order) && self.wants(name)
        });
        let is_for_memory =
            order == TimeOrder::Ordered && self.is_large() && self.wants(PEAK_MEMORY);
        let is_kept = wants_more || is_for_memory;
        if self.wants_load(load) {
            self.load(load, self.samples, is_kept)?;
        } else if is_kept {
            self.fill()?;
        }
        if !is_kept {
            return Ok(());
        }
        self.note_disk()?;
        self.file_bytes()?;
        for opened in &self.engines {
            opened.engine()?.analyze()?;
        }
        eprintln!("comparing answers");
        answers::compare(&self.engines, &self.samples, !self.is_large())?;
        self.read_all()?;
        self.write_all()?;
        answers::compare(&self.engines, &self.samples, !self.is_large())?;
        self.note_disk()?;
        self.engines.retain(|opened| !opened.kind.is_relaxed());
        self.open_all()?;
        if is_for_memory {
            self.peak_memory_of_loaded()?;
        }
        Ok(())
    }

    fn is_large(&self) -> bool {
        self.arguments.samples >= LARGE
    }

    /// Whether a workload of this name was asked for: `--only` has names or their beginnings.
    fn wants(&self, name: &str) -> bool {
        let only = &self.arguments.only;
        only.is_empty() || only.iter().any(|only| name.starts_with(only.as_str()))
    }

    fn wants_load(&self, name: &str) -> bool {
        self.wants(name) || self.wants(&loading::worst_batch(name))
    }

    /// Places of the engines in the order of their turns in this run.
    fn turns(&self, run: usize) -> Vec<usize> {
        let count = self.engines.len();
        (0..count).map(|at| (at + run) % count).collect()
    }

    fn fsync_floor(&mut self, when: &str) -> Result<()> {
        let floor = timing::fsync_floor(&std::env::temp_dir())?;
        self.report.add(Record {
            workload: FSYNC_FLOOR.to_owned(),
            form: None,
            order: None,
            engine: "disk".to_owned(),
            samples: self.arguments.samples,
            median_s: Some(floor.median()),
            p99_s: Some(floor.p99()),
            bytes: Some(timing::FLOOR_BYTES as u64),
            note: format!("{when}: a page appended to a file and synced"),
        })
    }

    fn add_timing(
        &mut self,
        name: &str,
        form: Option<Form>,
        kind: Kind,
        timing: &Timing,
        note: &str,
    ) -> Result<()> {
        let mut record = self.record(name, form, kind, note);
        record.median_s = Some(timing.median());
        record.p99_s = Some(timing.p99());
        if timing.runs() < self.arguments.runs {
            let runs = format!("runs: {}", timing.runs());
            record.note = if note.is_empty() {
                runs
            } else {
                format!("{note}; {runs}")
            };
        }
        self.report.add(record)
    }

    fn add_bytes(&mut self, name: &str, kind: Kind, bytes: Option<u64>, note: &str) -> Result<()> {
        let mut record = self.record(name, None, kind, note);
        record.bytes = bytes;
        self.report.add(record)
    }

    fn record(&self, name: &str, form: Option<Form>, kind: Kind, note: &str) -> Record {
        Record {
            workload: name.to_owned(),
            form,
            order: Some(self.samples.order),
            engine: kind.name().to_owned(),
            samples: self.samples.count,
            median_s: None,
            p99_s: None,
            bytes: None,
            note: note.to_owned(),
        }
    }
}
