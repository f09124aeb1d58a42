//! Processes that this program starts with itself: one that stores until it is killed, and one whose memory is measured.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Subcommand;

use super::{BATCH_SAMPLES, samples_of};
use crate::engine::{Ask, Form, Kind, Result};
use crate::samples::{COMMON, PIPELINES, RARE, Samples, TimeOrder};

/// The victim stores for so long, …
const STORES_FOR: Duration = Duration::from_millis(400);
/// … and has said so often at least that a batch is durable.
const BATCHES_MIN: u64 = 5;

#[derive(Clone, Debug, Subcommand)]
pub enum Child {
    /// Stores batches into the database in a folder, says each time how many samples are durable, and never ends.
    #[command(hide = true)]
    Store {
        #[arg(value_enum)]
        kind: Kind,
        folder: PathBuf,
        #[arg(value_enum)]
        order: TimeOrder,
        count: u64,
        first: u64,
    },
    /// Loads a database, reads from it, and prints the most memory that it took, in bytes.
    #[command(hide = true)]
    Memory {
        #[arg(value_enum)]
        kind: Kind,
        count: u64,
    },
}

impl Child {
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Store {
                kind,
                folder,
                order,
                count,
                first,
            } => {
                let engine = kind.open(folder)?;
                let samples = samples_of(*order, *count);
                let mut out = std::io::stdout().lock();
                for batch in 0.. {
                    let first = first + batch * BATCH_SAMPLES;
                    engine.store(&samples.batch(first..first + BATCH_SAMPLES))?;
                    writeln!(out, "{}", (batch + 1) * BATCH_SAMPLES)?;
                    out.flush()?;
                }
                Ok(())
            }
            Self::Memory { kind, count } => {
                use_memory(*kind, &samples_of(TimeOrder::Ordered, *count))
            }
        }
    }
}

/// Lets a process store into the database in this folder and kills it while it does. Gives how many samples it had said
/// were durable.
pub fn killed_while_storing(
    kind: Kind,
    folder: &Path,
    samples: &Samples,
    first: u64,
) -> Result<u64> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["store", kind.name()])
        .arg(folder)
        .args([
            samples.order.name(),
            &samples.count.to_string(),
            &first.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
    let mut started = None;
    let mut durable = 0;
    while let Some(line) = lines.next().transpose()? {
        durable = line.parse()?;
        let since = *started.get_or_insert_with(Instant::now);
        if since.elapsed() >= STORES_FOR && durable >= BATCHES_MIN * BATCH_SAMPLES {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    // What it said before it died counts as well.
    for line in lines {
        // The last line may be cut short.
        durable = durable.max(line?.parse().unwrap_or(0));
    }
    if durable == 0 {
        return Err(format!("the process that stores into {} said nothing", kind.name()).into());
    }
    Ok(durable)
}

pub fn peak_memory(kind: Kind, samples: &Samples) -> Result<u64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["memory", kind.name(), &samples.count.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "the process that measures the memory of {} failed",
            kind.name()
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn use_memory(kind: Kind, samples: &Samples) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("peers-").tempdir()?;
    let engine = kind.open(folder.path())?;
    let count = samples.count;
    for first in (0..count).step_by(BATCH_SAMPLES as usize) {
        engine.store(&samples.batch(first..(first + BATCH_SAMPLES).min(count)))?;
    }
    engine.finish_load()?;
    engine.analyze()?;
    for at in 0..1_000 {
        engine.retrieve(&samples.row(at * 7_919 % count, 0).id, Form::Typed)?;
    }
    for status in [COMMON, RARE] {
        let ask = Ask {
            status: Some(status),
            ..Ask::default()
        };
        let range = Some((
            samples.instant(count / 2),
            samples.instant(count / 2 + count / 100),
        ));
        engine.list(&Ask { range, ..ask }, Form::Typed)?;
        engine.list(
            &Ask {
                newest: true,
                limit: Some(50),
                ..ask
            },
            Form::Typed,
        )?;
        engine.count(&Ask {
            pipeline: Some(PIPELINES[0]),
            ..ask
        })?;
        engine.count(&ask)?;
    }
    engine.facets()?;
    engine.scan(&mut |_| ())?;
    println!("{}", peak_of_self()?);
    Ok(())
}

/// The most memory that this process has had, in bytes.
fn peak_of_self() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
