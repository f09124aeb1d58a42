//! Processes that this program starts with itself: one that stores until it is killed, and one whose memory is measured.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Subcommand;

use super::{BATCH_SAMPLES, samples_of};
use crate::engine::{Ask, Engine, Form, Kind, Result};
use crate::samples::{COMMON, PIPELINES, RARE, Samples, TimeOrder};

/// The victim stores for so long, …
const STORES_FOR: Duration = Duration::from_millis(400);
/// … and has said so often at least that a batch is durable.
const BATCHES_MIN: u64 = 5;
/// Batches that it makes beforehand, so that it does nothing but store.
const MADE: u64 = 100;
/// What it says when it begins with a batch.
const STORING: &str = "storing";
/// Batches that are stored into a loaded database whose memory is measured.
const MORE_BATCHES: u64 = 200;

#[derive(Clone, Debug, Subcommand)]
pub enum Child {
    /// Stores batches into the database in a folder, says of each when it begins and how many samples are durable then,
    /// and never ends.
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
    /// Loads a database, or opens a loaded one and stores into it; reads from it, and prints the most memory that it took,
    /// in bytes.
    #[command(hide = true)]
    Memory {
        #[arg(value_enum)]
        kind: Kind,
        count: u64,
        loaded: Option<PathBuf>,
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
                store_until_killed(&*engine, &samples_of(*order, *count), *first)
            }
            Self::Memory {
                kind,
                count,
                loaded,
            } => {
                let samples = samples_of(TimeOrder::Ordered, *count);
                match loaded {
                    Some(folder) => use_memory(*kind, &samples, folder, 5 * count, MORE_BATCHES),
                    None => {
                        let folder = tempfile::Builder::new().prefix("peers-").tempdir()?;
                        let batches = count.div_ceil(BATCH_SAMPLES);
                        use_memory(*kind, &samples, folder.path(), 0, batches)
                    }
                }
            }
        }
    }
}

fn store_until_killed(engine: &dyn Engine, samples: &Samples, first: u64) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut durable = 0;
    loop {
        let batches: Vec<_> = (0..MADE)
            .map(|at| first + durable + at * BATCH_SAMPLES)
            .map(|first| samples.batch(first..first + BATCH_SAMPLES))
            .collect();
        for batch in batches {
            writeln!(out, "{STORING}")?;
            out.flush()?;
            engine.store(&batch)?;
            durable += BATCH_SAMPLES;
            writeln!(out, "{durable}")?;
            out.flush()?;
        }
    }
}

/// How a process that stored came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Killed {
    /// Samples that it had said were durable.
    pub durable: u64,
    /// Whether it had begun with another batch and not said that this was durable.
    pub was_storing: bool,
    /// Time between its last word about a durable batch and its end.
    pub since_last_s: f64,
}

/// Lets a process store into the database in this folder and kills it in the middle of a batch: half the time that a batch
/// takes after it has said that it begins with one.
pub fn killed_while_storing(
    kind: Kind,
    folder: &Path,
    samples: &Samples,
    first: u64,
) -> Result<Killed> {
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
    let mut started: Option<Instant> = None;
    let mut last = Instant::now();
    let mut durable = 0;
    while let Some(line) = lines.next().transpose()? {
        let since = *started.get_or_insert_with(Instant::now);
        if line != STORING {
            durable = line.parse()?;
            last = Instant::now();
        } else if since.elapsed() >= STORES_FOR && durable >= BATCHES_MIN * BATCH_SAMPLES {
            let batches = (durable / BATCH_SAMPLES) as u32;
            std::thread::sleep((last - since) / batches / 2);
            break;
        }
    }
    // SIGKILL.
    child.kill()?;
    let mut since_last_s = last.elapsed().as_secs_f64();
    child.wait()?;
    // What it said before it died counts as well.
    let mut was_storing = true;
    for line in lines {
        let line = line?;
        was_storing = line == STORING;
        if let Ok(said) = line.parse::<u64>() {
            // The last line may be cut short.
            if said > durable {
                durable = said;
                since_last_s = 0.0;
            }
        }
    }
    if durable == 0 {
        return Err(format!("the process that stores into {} said nothing", kind.name()).into());
    }
    Ok(Killed {
        durable,
        was_storing,
        since_last_s,
    })
}

/// The most memory that a process takes which loads a database and reads it.
pub fn memory_of_load(kind: Kind, samples: &Samples) -> Result<u64> {
    memory(kind, samples, None)
}

/// The most memory that a process takes which stores into this database and reads it.
pub fn memory_of_loaded(kind: Kind, samples: &Samples, folder: &Path) -> Result<u64> {
    memory(kind, samples, Some(folder))
}

fn memory(kind: Kind, samples: &Samples, loaded: Option<&Path>) -> Result<u64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["memory", kind.name(), &samples.count.to_string()])
        .args(loaded)
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

/// Stores so many batches from the sample `first` on into the database in this folder, and reads what the first `count`
/// samples are about.
fn use_memory(
    kind: Kind,
    samples: &Samples,
    folder: &Path,
    first: u64,
    batches: u64,
) -> Result<()> {
    let engine = kind.open(folder)?;
    let count = samples.count;
    for at in 0..batches {
        let end = (first + (at + 1) * BATCH_SAMPLES).min(first + batches * BATCH_SAMPLES);
        let end = if first == 0 { end.min(count) } else { end };
        engine.store(&samples.batch(first + at * BATCH_SAMPLES..end))?;
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
