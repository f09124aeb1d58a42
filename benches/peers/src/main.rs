//! samplestore beside SQLite, LMDB, fjall and native_db: the same samples, the same questions, the same durability.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --samples 1000000
//! ```
//!
//! From the bottom up: `samples.rs` (what is stored), `engine.rs` (what each database is asked), one file for each
//! database, `timing.rs`, `report.rs`, and `workloads.rs` (what is measured, and how it is kept fair).

mod engine;
mod fjall;
mod indexed;
mod lmdb;
mod native_db;
mod report;
mod samples;
mod samplestore;
mod sqlite;
mod timing;
mod workloads;

use std::path::PathBuf;

use clap::Parser;

use engine::{Kind, Result};
use samples::TimeOrder;

/// Compares samplestore with the databases that its users would take instead.
///
/// Databases are made in temporary folders (see TMPDIR) and removed afterwards.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Samples in each database.
    #[arg(long, default_value_t = 100_000)]
    samples: u64,
    /// Engines to compare; all unless said.
    #[arg(long, value_enum, value_delimiter = ',')]
    engines: Vec<Kind>,
    /// Measures this workload alone.
    #[arg(long)]
    only: Option<String>,
    /// Writes what was measured to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each workload; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Runs of each load; 3 unless said, or 1 from 500,000 samples on.
    #[arg(long)]
    load_runs: Option<usize>,
    /// Orders in which the samples come in time.
    #[arg(long, value_enum, default_value = "both")]
    order: Orders,
    /// For processes that this program starts itself.
    #[command(subcommand)]
    child: Option<workloads::Child>,
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
    if let Some(child) = &arguments.child {
        return child.run();
    }
    if arguments.engines.is_empty() {
        arguments.engines = Kind::ALL.to_vec();
    }
    if arguments.samples < 1_000 || arguments.runs == 0 {
        return Err("at least 1,000 samples and one run".into());
    }
    let folder = std::env::temp_dir();
    let before = timing::fsync_floor(&folder)?;
    let report = workloads::run(&arguments)?;
    let after = timing::fsync_floor(&folder)?;
    println!("{}", report.table(&arguments.engines));
    println!(
        "{} samples of about 300 bytes; medians of {} runs; 4 KiB appended and synced: {} before, {} after",
        arguments.samples,
        arguments.runs,
        report::shown_seconds(before),
        report::shown_seconds(after)
    );
    println!(
        "In brackets: how many times as long as samplestore (deferred beside deferred), or as large."
    );
    if let Some(path) = &arguments.json {
        report.write_json(path)?;
    }
    Ok(())
}
