//! The same work on every backend, as a table in `src/docs/backends.md`. No test: a measurement, run when it is asked
//! for. It is not among the benches, since the servers are those of the tests.
//!
//! ```text
//! cargo test --release --all-features --test it write_the_times -- --ignored --nocapture    # writes it anew
//! ```
//!
//! The 26,115 samples of the weather example, stored in batches and asked for.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use samplestore::{MemoryStorage, Query, Sample, Status, Storage, connect};
use tempfile::TempDir;

use crate::servers::azure::Azure;
use crate::servers::kafka::Broker;
use crate::servers::postgres::Server;
use crate::servers::s3::S3;
use crate::weather::example;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/backends.md");
const BEGIN: &str = "<!-- times: written by tests/it/times.rs -->\n";
const END: &str = "<!-- end of the times -->";
const HEADING: &str = "
| backend | store, samples/s | list 50 of a pipeline and status, newest first | count those of a month |
|---|---|---|---|
";
const BATCH: usize = 1_000;
const SYNCS: usize = 100;
const LONG: Duration = Duration::from_secs(5);

#[test]
#[ignore = "measures, and writes the chapter on backends"]
fn write_the_times() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let postgres = Server::start_in(TempDir::new().unwrap()).unwrap();
    let s3 = S3::start().unwrap();
    let azure = Azure::start_kept().unwrap();
    let broker = Broker::start().unwrap();
    let samples = samples();
    let mut table = machine(folder.path()) + HEADING;
    for (name, url) in [
        ("`memory:`", "memory:".to_owned()),
        ("`redb:`", format!("redb:{}", path("weather.redb"))),
        ("`file:`", format!("file:{}", path("documents"))),
        ("`s3:`", s3.url()),
        ("`az:`", azure.url()),
        ("`delta+file:`", format!("delta+file:{}", path("dates"))),
        (
            "`delta+file:`, `partition_by=pipeline`",
            format!("delta+file:{}?partition_by=pipeline", path("pipelines")),
        ),
        ("`delta+s3:`", format!("delta+{}", s3.url())),
        (
            "`delta+s3:`, `partition_by=pipeline`",
            format!("delta+{}&partition_by=pipeline", s3.url()),
        ),
        ("`postgres:`", postgres.url("weather")),
        ("`kafka:`", broker.url("weather")),
    ] {
        let row = measured(name, &url, &samples);
        println!("{row}");
        table.push_str(&row);
        table.push('\n');
    }
    let text = std::fs::read_to_string(DOCS).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    std::fs::write(DOCS, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
}

/// What the pipeline of the example makes of its input.
fn samples() -> Vec<Sample> {
    let storage = Arc::new(MemoryStorage::new());
    let report = example::load(Arc::clone(&storage)).unwrap();
    assert!(report.is_complete(), "{report}");
    storage.list(&Query::new()).unwrap().samples
}

/// The row of a backend.
fn measured(name: &str, url: &str, samples: &[Sample]) -> String {
    let storage = connect(url).unwrap();
    let begun = Instant::now();
    for batch in samples.chunks(BATCH) {
        storage.store(batch).unwrap();
    }
    storage.flush().unwrap();
    let stored = samples.len() as f64 / begun.elapsed().as_secs_f64();
    if !storage.capabilities().query {
        return format!("| {name} | {stored:.0} | – | – |");
    }
    let query = Query::new().pipeline("JFK").status(Status::Ready);
    let newest = query.clone().newest_first().limit(50);
    let listed = median(|| assert_eq!(storage.list(&newest).unwrap().samples.len(), 50));
    let june = query
        .since("2013-06-01T00:00:00Z".parse().unwrap())
        .before("2013-07-01T00:00:00Z".parse().unwrap());
    let counted = median(|| assert_eq!(storage.count(&june).unwrap(), 629));
    format!(
        "| {name} | {stored:.0} | {} | {} |",
        shown(listed),
        shown(counted)
    )
}

/// Of three runs; of one where it takes long.
fn median(mut work: impl FnMut()) -> Duration {
    let mut timed = || {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    let first = timed();
    if first > LONG {
        return first;
    }
    let mut times = [first, timed(), timed()];
    times.sort();
    times[1]
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 1.0 => format!("{:.0} µs", ms * 1e3),
        ms if ms < 1e3 => format!("{ms:.1} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// The machine in words: processor, memory, how long a sync of a page takes; and how all this was built.
fn machine(folder: &Path) -> String {
    let of_file = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == name).then(|| value.trim().to_owned())
        });
        value.unwrap_or_else(|| "unknown".to_owned())
    };
    let cores = std::thread::available_parallelism().unwrap();
    let processor = of_file("/proc/cpuinfo", "model name");
    let memory = of_file("/proc/meminfo", "MemTotal");
    let gib = memory
        .strip_suffix(" kB")
        .and_then(|kib| kib.parse::<f64>().ok());
    let gib = gib.map_or("unknown".to_owned(), |kib| {
        format!("{:.0}", kib / f64::from(1 << 20))
    });
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split('.').next().unwrap_or_default();
    let mut file = File::create(folder.join("synced")).unwrap();
    let mut times: Vec<_> = (0..SYNCS)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 4096]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    let profile = match cfg!(debug_assertions) {
        true => "the profile `dev`",
        false => "the profile `release`",
    };
    format!(
        "On {cores} cores of an {processor} with {gib} GiB of memory, where appending 4 KiB to a file and syncing it takes {}; \
         servers on the same machine, which had a load of {load} from other programs; built with {profile}.\n",
        shown(times[SYNCS / 2])
    )
}
