//! What the library tells of itself: the figures of a database, and its spans and events, which are those that the docs list.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use samplestore::{
    Database, ErrorKind, Pipeline, Query, RetryPolicy, Sample, Status, Storage, data,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::scripted::{Scripted, error};

#[test]
fn a_database_counts_what_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.redb");
    let database = Database::open(&path).unwrap();
    let batch = |first: u64, count: u64| -> Vec<Sample> {
        let sample = |number: u64| Sample::builder("p").id(number.to_string()).build().unwrap();
        (first..first + count).map(sample).collect()
    };
    let before = database.metrics();
    assert_eq!((before.commit_us.count(), before.commit_us.max()), (0, 0));
    for size in [1, 100, 1_000] {
        database.store(&batch(size * 10_000, size)).unwrap();
    }
    let moved = database.set_status(&Query::new().into(), None, Status::Ready);
    assert_eq!(moved.unwrap(), 1_101);
    // Nothing is committed where nothing changes.
    assert_eq!(database.delete(&"absent".into()).unwrap(), 0);
    database.store(&[]).unwrap();
    let metrics = database.metrics();
    assert_eq!(metrics.commit_us.count(), 4);
    assert!(metrics.commit_us.max() > 0 && metrics.commit_us.sum() >= metrics.commit_us.max());
    let batches = &metrics.batch_samples;
    assert_eq!(
        (batches.count(), batches.sum(), batches.max()),
        (3, 1_101, 1_000)
    );
    assert_eq!(
        (metrics.group_batches.count(), metrics.group_batches.sum()),
        (3, 3)
    );
    assert_eq!(
        (metrics.logged_bytes.count(), metrics.direct_commits),
        (4, 0)
    );
    // The journal has every record, of some 30 bytes, and the move in a few; each in pages of its own.
    let logged = metrics.logged_bytes.sum();
    assert!((20_000..200_000).contains(&logged), "{metrics:?}");
    assert!(logged.is_multiple_of(4_096), "{logged}");

    let newest = Query::new().newest_first().limit(10);
    let list = || database.list(&newest).unwrap();
    list();
    let once = database.metrics();
    assert!(once.kept_block_misses > 0);
    list();
    let twice = database.metrics();
    assert_eq!(twice.kept_block_misses, once.kept_block_misses);
    assert_eq!(
        twice.kept_block_hits,
        once.kept_block_hits + once.kept_block_misses - metrics.kept_block_misses
    );
    database.close().unwrap();

    let shared = Database::options()
        .shared_readers(true)
        .open(&path)
        .unwrap();
    assert_eq!(shared.metrics().commit_us.count(), 0);
    assert!(shared.metrics().pages_read > 0 && shared.metrics().pages_read_bytes > 0);
    shared.store(&batch(0, 5)).unwrap();
    let metrics = shared.metrics();
    assert_eq!(
        (metrics.direct_commits, metrics.logged_bytes.count()),
        (1, 0)
    );
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!(json["batch_samples"]["p99"], 5);
    assert_eq!(json["direct_commits"], 1);
}

/// A row of the table: name, kind, level and fields.
type Told = (String, String, String, BTreeSet<String>);

fn row(name: &str, kind: &str, level: &str, fields: impl IntoIterator<Item = String>) -> Told {
    (
        name.to_owned(),
        kind.to_owned(),
        level.to_owned(),
        fields.into_iter().collect(),
    )
}

/// What is between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// What the chapter lists, a row for each level.
fn documented() -> BTreeSet<Told> {
    let text = fs::read_to_string(root().join("src/docs/observing.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.flat_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = quoted(cells[1]).next().unwrap();
        let levels = cells[3].split(", ");
        levels.map(move |level| row(&name, cells[2], level, quoted(cells[4])))
    });
    rows.collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the code has, found by its text.
fn in_the_code() -> BTreeSet<Told> {
    let mut told = BTreeSet::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for call in text.split("tracing::").skip(1) {
                    told.extend(read_call(call).unwrap_or_else(|| {
                        panic!(
                            "{}: neither use nor a call with a name: {call}",
                            path.display()
                        )
                    }));
                }
            }
        }
    }
    told
}

/// The call of a macro of `tracing` that a text begins with; nothing for what is no call.
fn read_call(text: &str) -> Option<Option<Told>> {
    let (level, rest) = text.split_once(['!', ':', ';', ' ', '\n'])?;
    let (level, kind) = match level.strip_suffix("_span") {
        Some(level) => (level, "span"),
        None => (level, "event"),
    };
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        return Some(None);
    }
    // To the bracket that ends it: no text in it has one alone.
    let mut depth = 0;
    let end = rest.find(|symbol| {
        depth += i32::from(symbol == '(') - i32::from(symbol == ')');
        depth == 0
    })?;
    let mut parts = parts(&rest[1..end]).into_iter();
    let first = parts.next()?;
    let name = first.strip_prefix("name: ").unwrap_or(&first);
    if (name.len() == first.len()) != (kind == "span") {
        return None;
    }
    let name = name.strip_prefix('"')?.strip_suffix('"')?;
    let fields = parts.filter(|part| !part.starts_with('"')).map(|part| {
        let name = part.split('=').next().unwrap_or(&part);
        name.trim().trim_start_matches(['%', '?']).to_owned()
    });
    Some(Some(row(name, kind, level, fields)))
}

/// What commas divide, those within brackets and quotes left aside.
fn parts(text: &str) -> Vec<String> {
    let (mut depth, mut is_quoted, mut parts) = (0, false, vec![String::new()]);
    for symbol in text.chars() {
        match symbol {
            '"' => is_quoted = !is_quoted,
            '(' | '[' | '{' if !is_quoted => depth += 1,
            ')' | ']' | '}' if !is_quoted => depth -= 1,
            ',' if depth == 0 && !is_quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(symbol);
    }
    let parts = parts.iter().map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

#[test]
fn the_docs_list_what_the_code_tells() {
    let (documented, code) = (documented(), in_the_code());
    assert!(code.len() > 20, "{code:?}");
    let missing: Vec<_> = code.difference(&documented).collect();
    let surplus: Vec<_> = documented.difference(&code).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "not in src/docs/observing.md: {missing:#?}\nnot in the code: {surplus:#?}"
    );
}

/// Takes note of what this library tells.
#[derive(Clone, Default)]
struct Listener {
    told: Arc<Mutex<BTreeSet<Told>>>,
    values: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

struct Values<'a>(&'a Mutex<Vec<String>>, &'static str);

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let told = format!("{} {} = {value:?}", self.1, field.name());
        self.0.lock().unwrap().push(told);
    }
}

impl Listener {
    fn note(&self, metadata: &'static Metadata<'static>) {
        let kind = if metadata.is_span() { "span" } else { "event" };
        let level = metadata.level().as_str().to_lowercase();
        let fields = metadata.fields().iter().map(|field| field.name());
        let fields = fields.filter(|name| *name != "message").map(str::to_owned);
        self.told
            .lock()
            .unwrap()
            .insert(row(metadata.name(), kind, &level, fields));
    }

    fn has(&self, value: &str) -> bool {
        self.values.lock().unwrap().iter().any(|told| told == value)
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("samplestore")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(span.metadata());
        span.record(&mut Values(&self.values, span.metadata().name()));
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.note(event.metadata());
        event.record(&mut Values(&self.values, event.metadata().name()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Opens, commits, plans and retries, as a subscriber hears of them.
#[test]
fn a_subscriber_hears_of_opens_commits_plans_and_retries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.redb");
    let listener = Listener::default();
    // Were there one subscriber alone, `tracing` would ask that of the thread which is the first at a place of the code, and tests beside this
    // one have none.
    let _another = tracing::Dispatch::new(Listener::default());
    tracing::subscriber::with_default(listener.clone(), || {
        let database = Database::open(&path).unwrap();
        let wait = Database::options().lock_timeout(Duration::from_millis(5));
        assert_eq!(wait.open(&path).unwrap_err().kind(), ErrorKind::Locked);
        let sample = |id: &str| {
            let sample = Sample::builder("p").id(id).data(data! { "x" => 1 });
            sample.build().unwrap()
        };
        database.store(&[sample("a"), sample("b")]).unwrap();
        let killed = folder.path().join("killed.redb");
        fs::copy(&path, &killed).unwrap();
        drop(Database::open(killed).unwrap());
        let query = Query::new().condition("data.x = 1".parse().unwrap());
        assert_eq!(database.list(&query).unwrap().samples.len(), 2);
        assert_eq!(database.count(&Query::new().pipeline("p")).unwrap(), 2);
        database.close().unwrap();
        drop(Database::options().read_only(true).open(&path).unwrap());

        let failing = Scripted::new().answer([error(ErrorKind::Io, true)]);
        let report = Pipeline::builder("run")
            .source([Ok::<_, samplestore::Error>(sample("c"))])
            .storage(failing)
            .retry(RetryPolicy::fixed(2, Duration::ZERO))
            .build()
            .unwrap()
            .run()
            .unwrap();
        assert_eq!((report.stored(), report.retried()), (1, 1));
    });
    let told = listener.told.lock().unwrap().clone();
    let names: BTreeSet<&str> = told.iter().map(|told| told.0.as_str()).collect();
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        [
            "chunk_opened",
            "commit",
            "committed",
            "counted",
            "open",
            "opened",
            "page_check",
            "planned",
            "replayed",
            "retry",
            "run",
            "run_ended",
            "waiting"
        ]
    );
    let documented = documented();
    for told in &told {
        assert!(documented.contains(told), "{told:?}");
    }
    for value in [
        "commit operation = \"store a batch\"",
        "committed way = Logged",
        "counted plan = \"counters\"",
        "opened is_new = true",
        "opened is_read_only = true",
        "opened samples = 2",
        "planned plan = \"chunks\"",
        "replayed commits = 1",
        "retry attempts = 1",
        "run pipeline = \"run\"",
    ] {
        assert!(
            listener.has(value),
            "{value}: {:#?}",
            listener.values.lock().unwrap()
        );
    }
}
