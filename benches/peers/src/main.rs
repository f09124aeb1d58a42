//! samplestore beside SQLite, LMDB, fjall and native_db: the same samples, the same questions, the same durability.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --samples 1000000
//! ```
//!
//! From the bottom up: `samples.rs` (what is stored), `engine.rs` (what each database is asked), one file for each
//! database, `timing.rs`, `record.rs` (a figure), `report.rs`, `workloads.rs` (what is measured, and how it is kept fair),
//! and what is made of the files that `--json` writes: `published.rs` (tables) and `plot.rs`.

mod engine;
mod fjall;
mod indexed;
mod lmdb;
mod native_db;
mod plot;
mod published;
mod record;
mod report;
mod samples;
mod samplestore;
mod sqlite;
mod timing;
mod workloads;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use engine::{Kind, Result};
use samples::TimeOrder;

/// Compares samplestore with the databases that its users would take instead.
///
/// Databases are made in temporary folders (see TMPDIR) and removed afterwards. The more is to be seen of ten million
/// samples, the fewer engines: `--samples 10000000 --engines samplestore,sqlite-blob,lmdb` takes about 25 GB and 25
/// minutes. From two million samples on, a load has one run, an engine that is slow at it is timed in parts of it, and
/// the file is compacted, and the memory measured, once.
#[derive(Clone, Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Samples in each database.
    #[arg(long, default_value_t = 100_000)]
    samples: u64,
    /// Engines to compare; all unless said.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ENGINE")]
    engines: Vec<Kind>,
    /// Measures the workloads of these names alone, or whose names begin so.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Writes what was measured to this file, as it comes.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs of each workload; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Runs of each load; as many as of the others unless said, or 1 from two million samples on.
    #[arg(long, value_name = "RUNS")]
    load_runs: Option<usize>,
    /// Seconds after which an engine has no further run in a row; 120 unless said, or 60 from two million samples on.
    #[arg(long, value_name = "SECONDS")]
    seconds_per_row: Option<f64>,
    /// Times every batch of a load, also of an engine that is slow and of two million samples and more.
    #[arg(long)]
    whole_loads: bool,
    /// Orders in which the samples come in time.
    #[arg(long, value_enum, default_value = "both")]
    order: Orders,
    /// The most that all databases together may take, in GB.
    #[arg(long, default_value_t = 30, value_name = "GB")]
    disk_gb: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// Seconds after which an engine has no further run in a row.
    fn seconds(&self) -> f64 {
        let default = if self.samples >= workloads::LARGE {
            60.0
        } else {
            120.0
        };
        self.seconds_per_row.unwrap_or(default)
    }
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Prints the tables of the documentation, or puts them where it has them.
    ///
    /// Of a row that is in several of the files, the last counts.
    Table {
        /// What `--json` wrote.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Replaces the tables in this file, between their markers.
        #[arg(long, value_name = "MARKDOWN")]
        into: Option<PathBuf>,
        /// The run that they are of, as the markers name it behind each table's name: a file may have those of several.
        #[arg(long, value_name = "WORDS", requires = "into")]
        run: Option<String>,
    },
    /// Draws what each workload takes against the number of samples.
    Plot {
        /// What `--json` wrote, for several numbers of samples.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where the drawing goes.
        #[arg(long, value_name = "FILE")]
        svg: PathBuf,
    },
    #[command(flatten)]
    Child(workloads::Child),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Orders {
    Ordered,
    Shuffled,
    Both,
}

impl Orders {
    fn all(self) -> Vec<TimeOrder> {
        match self {
            Self::Ordered => vec![TimeOrder::Ordered],
            Self::Shuffled => vec![TimeOrder::Shuffled],
            Self::Both => vec![TimeOrder::Ordered, TimeOrder::Shuffled],
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Table { files, into, run }) => {
            let tables = published::Tables::new(&record::read_all(files)?);
            return match into {
                Some(path) => tables.put_into(path, run.as_deref()),
                None => {
                    print!("{tables}");
                    Ok(())
                }
            };
        }
        Some(Command::Plot { files, svg }) => return plot::draw(&record::read_all(files)?, svg),
        Some(Command::Child(child)) => return child.run(),
        None => {}
    }
    if arguments.engines.is_empty() {
        arguments.engines = Kind::ALL.to_vec();
    }
    if arguments.samples < 1_000 || arguments.runs == 0 {
        return Err("at least 1,000 samples and one run".into());
    }
    workloads::check_names(&arguments.only)?;
    let report = workloads::run(&arguments)?;
    println!("{}", report.table(&arguments.engines, arguments.samples));
    let [before, after] = report.fsync_floors().map(record::shown_seconds);
    println!(
        "{} samples of about 300 bytes; medians of {} runs unless a note says less; 4 KiB appended and synced: {before} \
         before, {after} after",
        arguments.samples, arguments.runs,
    );
    println!(
        "In brackets: how many times as long as samplestore (deferred beside deferred), or as large."
    );
    Ok(())
}
