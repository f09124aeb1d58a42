//! What is measured, and in which order: first every engine's answers are compared on a small database that sees
//! every operation; then each order of time is loaded, compared again, read, written and opened.
//!
//! Engines take turns run by run, each run beginning with another one. All of them are open at once, each with its own
//! cache of the same size; the page cache of the system is everybody's.

mod answers;
mod children;
mod loading;
mod opening;
mod reading;
mod writing;

use std::path::Path;

use tempfile::TempDir;

pub use children::Child;

use crate::Arguments;
use crate::engine::{Engine, Form, Kind, Result};
use crate::report::{Record, Report};
use crate::samples::{Ids, Samples, TimeOrder};
use crate::timing::Timing;

/// Samples in a batch of a load.
const BATCH_SAMPLES: u64 = 1_000;

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
}

/// The workloads by the part that measures them, for `--only`.
const LOADS: [&str; 4] = [
    "load_uuid4",
    "load_uuid4_worst_batch",
    "load_uuid7",
    "load_shuffled_time",
];
const PEAK_MEMORY: &str = "peak_memory";

/// Measures everything that the arguments ask for.
pub fn run(arguments: &Arguments) -> Result<Report> {
    eprintln!("comparing answers");
    answers::check_all(&arguments.engines)?;
    let mut bench = Bench {
        arguments,
        report: Report::default(),
        samples: samples_of(TimeOrder::Ordered, arguments.samples),
        engines: Vec::new(),
    };
    for order in arguments.order.all() {
        bench.samples = samples_of(order, arguments.samples);
        eprintln!("{} samples, {}", arguments.samples, order.name());
        bench.run_order(order)?;
        bench.engines.clear();
    }
    if bench.wants(PEAK_MEMORY) {
        bench.samples = samples_of(TimeOrder::Ordered, arguments.samples);
        bench.peak_memory()?;
    }
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
        let only = self.arguments.only.as_deref();
        if only == Some(PEAK_MEMORY) {
            return Ok(());
        }
        if order == TimeOrder::Ordered && self.wants("load_uuid7") {
            self.load(
                "load_uuid7",
                Samples {
                    ids: Ids::Uuid7,
                    ..self.samples
                },
            )?;
            self.engines.clear();
        }
        let name = match order {
            TimeOrder::Ordered => "load_uuid4",
            TimeOrder::Shuffled => "load_shuffled_time",
        };
        self.load(name, self.samples)?;
        if only.is_some_and(|only| LOADS.contains(&only)) {
            return Ok(());
        }
        self.file_bytes()?;
        for opened in self.strict() {
            opened.engine()?.analyze()?;
        }
        eprintln!("comparing answers");
        answers::compare(&self.engines, &self.samples)?;
        self.read_all()?;
        self.write_all()?;
        answers::compare(&self.engines, &self.samples)?;
        self.open_all()
    }

    fn wants(&self, name: &str) -> bool {
        self.arguments
            .only
            .as_deref()
            .is_none_or(|only| only == name)
    }

    /// The engines that sync each write, which is all of them but the relaxed twins.
    fn strict(&self) -> impl Iterator<Item = &Opened> {
        self.engines
            .iter()
            .filter(|opened| !opened.kind.is_relaxed())
    }

    /// Places of the engines in the order of their turns in this run.
    fn turns(&self, run: usize) -> Vec<usize> {
        let count = self.engines.len();
        (0..count).map(|at| (at + run) % count).collect()
    }

    fn add_timing(
        &mut self,
        name: &str,
        form: Option<Form>,
        kind: Kind,
        timing: &Timing,
        note: &str,
    ) {
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
        self.report.add(record);
    }

    fn add_bytes(&mut self, name: &str, kind: Kind, bytes: Option<u64>, note: &str) {
        let mut record = self.record(name, None, kind, note);
        record.bytes = bytes;
        self.report.add(record);
    }

    fn record(&self, name: &str, form: Option<Form>, kind: Kind, note: &str) -> Record {
        Record {
            workload: name.to_owned(),
            form: form.map(|form| form.name().to_owned()),
            order: self.samples.order.name().to_owned(),
            engine: kind.name().to_owned(),
            samples: self.samples.count,
            median_s: None,
            p99_s: None,
            bytes: None,
            note: note.to_owned(),
        }
    }
}
