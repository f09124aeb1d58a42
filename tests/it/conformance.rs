//! The conformance suite on each of our own backends, and what it says where it cannot say all.

use std::collections::BTreeSet;
use std::io::Write as _;
#[cfg(any(
    feature = "delta",
    feature = "files",
    feature = "kafka",
    feature = "postgres"
))]
use std::sync::OnceLock;

use samplestore::conformance::{Report, Suite};
#[cfg(any(
    feature = "delta",
    feature = "files",
    feature = "kafka",
    feature = "postgres"
))]
use samplestore::connect;
use samplestore::{
    Capabilities, Database, Durability, Error, MemoryStorage, Result, Sample, Storage, StoreReport,
    Writer,
};
use tempfile::TempDir;

/// Prints which rules were run and passed, and the whole report where `cargo test` is run with `--nocapture`.
fn passes(report: &Report) {
    println!("{report}");
    report.assert_passed();
    let rules: BTreeSet<_> = report.passed().map(|entry| entry.rule).collect();
    let (passed, skipped) = (report.passed().count(), report.skipped().count());
    // Not captured, other than `println!`.
    let _ = writeln!(
        std::io::stderr(),
        "conformance of {}: {passed} cases passed, {skipped} skipped by its capabilities; rules {}",
        report.backend(),
        rules.into_iter().collect::<Vec<_>>().join(" ")
    );
}

// ---- Backends: one test each, in full. A new backend adds its own here and in `BACKENDS`; one that lasts
// is opened by `Suite::reopening`, with a temporary folder as its place. -------------------------------

#[cfg(all(
    feature = "azure",
    feature = "delta",
    feature = "kafka",
    feature = "postgres",
    feature = "s3",
    unix
))]
type Run = fn() -> Option<Report>;

/// Every backend with a URL, by its scheme: the columns of the table in the docs. `None` where its server
/// is not installed.
#[cfg(all(
    feature = "azure",
    feature = "delta",
    feature = "kafka",
    feature = "postgres",
    feature = "s3",
    unix
))] // as matrix.rs, which reads it
pub(crate) const BACKENDS: &[(&str, Run)] = &[
    ("memory", || Some(memory_report())),
    ("redb", || Some(database_report())),
    ("file", || Some(folder_report())),
    ("s3", s3_report),
    ("az", azure_report),
    ("delta+file", || Some(delta_report())),
    ("delta+s3", delta_s3_report),
    ("postgres", postgres_report),
    ("kafka", kafka_report),
];

/// Random questions of a rule where each reads all samples, a request of some milliseconds for each, and where the same code
/// is asked in full in a folder.
#[cfg(any(feature = "azure", feature = "s3"))]
const QUESTIONS_OF_EMULATORS: usize = 24;

fn memory_report() -> Report {
    Suite::new(|| Ok(MemoryStorage::new())).run()
}

fn database_report() -> Report {
    Suite::reopening(place, open_database).run()
}

/// A folder of documents.
#[cfg(feature = "files")]
fn folder_report() -> Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    let open = |folder: &TempDir| connect(&format!("file:{}", folder.path().display()));
    let run = || Suite::reopening(place, open).run();
    REPORT.get_or_init(run).clone()
}

/// Documents in S3; `None` where there is no server.
#[cfg(feature = "s3")]
fn s3_report() -> Option<Report> {
    static REPORT: OnceLock<Option<Report>> = OnceLock::new();
    let run = || {
        let server = crate::servers::s3::shared()?;
        let suite = Suite::reopening(|| server.url(), |url: &String| connect(url));
        Some(suite.questions(QUESTIONS_OF_EMULATORS).run())
    };
    REPORT.get_or_init(run).clone()
}

/// Documents in Azure Blob Storage; `None` where there is no emulator.
#[cfg(feature = "azure")]
fn azure_report() -> Option<Report> {
    static REPORT: OnceLock<Option<Report>> = OnceLock::new();
    let run = || {
        let server = crate::servers::azure::shared()?;
        let suite = Suite::reopening(|| server.url(), |url: &String| connect(url));
        Some(suite.questions(QUESTIONS_OF_EMULATORS).run())
    };
    REPORT.get_or_init(run).clone()
}

/// A Delta Lake table in a folder.
#[cfg(feature = "delta")]
fn delta_report() -> Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    let open = |folder: &TempDir| connect(&format!("delta+file:{}", folder.path().display()));
    let run = || Suite::reopening(place, open).run();
    REPORT.get_or_init(run).clone()
}

/// The same in S3; `None` where there is no server.
#[cfg(all(feature = "delta", feature = "s3"))]
fn delta_s3_report() -> Option<Report> {
    static REPORT: OnceLock<Option<Report>> = OnceLock::new();
    let run = || {
        // One of its own: each commit is a dozen requests.
        let server = crate::servers::s3::S3::start()?;
        let place = move || format!("delta+{}", server.url());
        let suite = Suite::reopening(place, |url: &String| connect(url));
        Some(suite.questions(QUESTIONS_OF_EMULATORS).run())
    };
    REPORT.get_or_init(run).clone()
}

/// A schema in PostgreSQL; `None` where there is no server.
#[cfg(all(feature = "postgres", unix))]
fn postgres_report() -> Option<Report> {
    static REPORT: OnceLock<Option<Report>> = OnceLock::new();
    let run = || {
        let server = crate::servers::postgres::shared()?;
        let open = |schema: &String| connect(&server.url(schema));
        Some(Suite::reopening(|| server.schema(), open).run())
    };
    REPORT.get_or_init(run).clone()
}

/// A topic of a broker; `None` where there is none.
#[cfg(all(feature = "kafka", unix))]
fn kafka_report() -> Option<Report> {
    static REPORT: OnceLock<Option<Report>> = OnceLock::new();
    let run = || {
        let broker = crate::servers::kafka::shared()?;
        let open = |topic: &String| connect(&broker.url(topic));
        Some(Suite::reopening(|| broker.topic(), open).run())
    };
    REPORT.get_or_init(run).clone()
}

#[test]
fn memory() {
    passes(&memory_report());
}

#[test]
fn database() {
    passes(&database_report());
}

#[cfg(feature = "files")]
#[test]
fn folder() {
    passes(&folder_report());
}

#[cfg(feature = "s3")]
#[test]
fn s3() {
    if let Some(report) = s3_report() {
        passes(&report);
    }
}

#[cfg(feature = "azure")]
#[test]
fn azure() {
    if let Some(report) = azure_report() {
        passes(&report);
    }
}

#[cfg(feature = "delta")]
#[test]
fn delta() {
    passes(&delta_report());
}

#[cfg(all(feature = "delta", feature = "s3"))]
#[test]
fn delta_in_s3() {
    if let Some(report) = delta_s3_report() {
        passes(&report);
    }
}

#[cfg(all(feature = "postgres", unix))]
#[test]
fn postgres() {
    if let Some(report) = postgres_report() {
        passes(&report);
    }
}

#[cfg(all(feature = "kafka", unix))]
#[test]
fn kafka() {
    if let Some(report) = kafka_report() {
        passes(&report);
    }
}

#[cfg(all(feature = "kafka", unix))]
#[test]
fn kafka_with_tombstones() {
    let Some(broker) = crate::servers::kafka::shared() else {
        return;
    };
    let open = |topic: &String| connect(&format!("{}&tombstones=true", broker.url(topic)));
    passes(&Suite::reopening(|| broker.topic(), open).run());
}

#[test]
fn database_that_defers() {
    let open = |folder: &TempDir| {
        Database::options()
            .durability(Durability::Deferred)
            .open(folder.path().join("samples.redb"))
    };
    passes(&Suite::reopening(place, open).run());
}

#[test]
fn background_writer_over_memory() {
    passes(&Suite::new(|| Writer::new(MemoryStorage::new())).run());
}

#[test]
fn background_writer_over_the_database() {
    let open = |folder: &TempDir| open_database(folder).and_then(Writer::new);
    passes(&Suite::reopening(place, open).run());
}

fn open_database(folder: &TempDir) -> Result<Database> {
    Database::open(folder.path().join("samples.redb"))
}

/// A folder for a storage that lasts; in memory where the machine has that, so that syncs cost nothing.
fn place() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

#[test]
fn memory_behind_a_box() {
    let open = || Ok(Box::new(MemoryStorage::new()) as Box<dyn Storage>);
    passes(&Suite::new(open).only(["W8", "W9", "R8", "L3"]).run());
}

// ---- The suite itself. -----------------------------------------------------------------------------

#[test]
fn every_rule_of_the_contract_has_a_case() {
    let report = Suite::new(|| Ok(MemoryStorage::new())).run();
    let found: BTreeSet<_> = report
        .entries()
        .iter()
        .map(|entry| entry.rule.to_owned())
        .collect();
    let rules = [('M', 8), ('W', 9), ('R', 10), ('L', 5)];
    let expected: BTreeSet<_> = rules
        .into_iter()
        .flat_map(|(theme, last)| (1..=last).map(move |number| format!("{theme}{number}")))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn other_random_choices_pass_too() {
    for seed in [1, 2013, u64::MAX] {
        let suite = Suite::new(|| Ok(MemoryStorage::new()))
            .seed(seed)
            .questions(500);
        passes(&suite.only(["M5", "W2", "R2", "R6"]).run());
    }
}

/// Takes samples and gives nothing back, as a stream does.
struct WriteOnly(MemoryStorage);

impl Storage for WriteOnly {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::write_only("sink");
        capabilities.durable = false;
        capabilities
    }
    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        self.0.store(batch)
    }
    fn flush(&self) -> Result<()> {
        self.0.flush()
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

#[test]
fn a_write_only_backend_is_tried_as_far_as_it_goes() {
    let report = Suite::new(|| Ok(WriteOnly(MemoryStorage::new()))).run();
    passes(&report);
    let passed: BTreeSet<_> = report.passed().map(|entry| entry.rule).collect();
    assert!(
        passed.is_superset(&["M8", "W4", "W5", "W6", "L2", "L3", "L4", "L5"].into()),
        "{report}"
    );
    // What is asked of the words of a query says nothing of it.
    assert!(!passed.contains("R10"), "{report}");
    let text = report.to_string();
    for reason in ["sink does not offer queries", "sink is not durable"] {
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_storage_that_does_not_open_is_a_failure() {
    let closed = || Err::<MemoryStorage, _>(Error::closed("open"));
    let report = Suite::new(closed).run();
    assert_eq!(report.failed_rules(), ["L1"].into());
    let panicking = Suite::new(|| -> Result<MemoryStorage> { panic!("no disk") }).run();
    assert!(
        panicking.to_string().contains("panicked: no disk"),
        "{panicking}"
    );
}

#[test]
#[should_panic(expected = "FAILED   L1")]
fn a_failure_ends_a_test_with_the_report() {
    let closed = || Err::<MemoryStorage, _>(Error::closed("open"));
    Suite::new(closed).run().assert_passed();
}

#[test]
#[should_panic(expected = "no case of a rule \"r6\"")]
fn a_rule_that_is_not_known_is_refused() {
    let _ = Suite::new(|| Ok(MemoryStorage::new())).only(["R6", "r6"]);
}
