//! Damage in files as they are in the field: an error or the right answer, for whoever reads and for whoever writes, and the full
//! check sees what any of them stumbles over. Every byte in turn, and files that have more in them, are the library's own tests'
//! (`src/database/tests/damage.rs`), since there everything is small.

mod writers;

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};

use chrono::DateTime;
use samplestore::{
    Database, Error, ErrorKind, MemoryStorage, Query, Sample, Status, Storage, data,
};

use crate::files::HEAD_BYTES;

const SAMPLES: usize = 360;
const PAGE_BYTES: usize = 4_096;
/// One in so many bytes is flipped, unless `SAMPLESTORE_DAMAGE` says another number, or `all`.
const STRIDE: usize = 401;
/// Samples that are stored at once.
const BATCH: usize = 60;

fn stride(ordinary: usize) -> usize {
    match std::env::var("SAMPLESTORE_DAMAGE").as_deref() {
        Ok("all") => 1,
        Ok(number) => number
            .parse()
            .expect("SAMPLESTORE_DAMAGE is `all` or a number"),
        Err(_) => ordinary,
    }
}

fn sample(number: usize) -> Sample {
    Sample::builder(["even", "odd"][number % 2])
        .id(format!("s{number}"))
        .status(Status::ALL[number % 6])
        .created_at(DateTime::from_timestamp(1_700_000_000 + number as i64, 0).unwrap())
        .data(data! { "number" => number as u64, "text" => "x".repeat(60) })
        .build()
        .unwrap()
}

/// What is right: the samples, and what is counted.
struct Model {
    memory: MemoryStorage,
    queries: Vec<Query>,
}

impl Model {
    fn new(samples: &[Sample]) -> Self {
        let memory = MemoryStorage::new();
        memory.store(samples).unwrap();
        let mut queries = vec![
            Query::new(),
            Query::new().newest_first().limit(30),
            Query::new().pipeline("odd"),
            Query::new().pipeline("nobody"),
        ];
        queries.extend(Status::ALL.map(|status| Query::new().status(status)));
        Self { memory, queries }
    }

    /// Asks everything, and says whether any answer was an error. Panics at a wrong one.
    fn ask(&self, database: &Database) -> bool {
        let mut has_errors = false;
        let mut failed = |error: Error| {
            let kind = error.kind();
            // redb answers nothing more after a read that failed.
            assert!(
                matches!(kind, ErrorKind::Damaged | ErrorKind::Io),
                "{error}"
            );
            has_errors = true;
        };
        for number in 0..SAMPLES + 20 {
            let id = format!("s{number}");
            let expected = self.memory.retrieve(&id).unwrap();
            match database.retrieve(&id) {
                Ok(found) => assert_eq!(found, expected, "{id}"),
                Err(error) => failed(error),
            }
        }
        for query in &self.queries {
            let expected = self.memory.list(query).unwrap().samples;
            match database.list(query) {
                Ok(page) => assert_eq!(page.samples, expected, "{query}"),
                Err(error) => failed(error),
            }
            match database.count(query) {
                Ok(count) => assert_eq!(count, expected.len() as u64, "{query}"),
                Err(error) => failed(error),
            }
            match database.facets(query) {
                Ok(facets) => assert_eq!(facets, self.memory.facets(query).unwrap(), "{query}"),
                Err(error) => failed(error),
            }
        }
        match database.stats() {
            Ok(stats) => assert_eq!(stats.samples, self.memory.count(&Query::new()).unwrap()),
            Err(error) => failed(error),
        }
        has_errors
    }
}

/// Panics of the library's own code since [`watch_panics`], also those that were caught.
static OWN_PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// redb's panics on damaged pages are caught, and errors. One of our own would become the same error, so these are kept.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |at| at.file());
            if file.starts_with("src/database") {
                let mut own = OWN_PANICS.lock().unwrap_or_else(PoisonError::into_inner);
                own.push(panic.to_string());
            }
            others(panic);
        }));
    });
}

fn assert_no_own_panics() {
    let own = OWN_PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(own.is_empty(), "{own:#?}");
}

#[derive(Debug, Default)]
struct Counts {
    images: usize,
    refused: usize,
    errors: usize,
    right: usize,
    /// Files in which the check found something.
    checked: usize,
}

impl Counts {
    fn read(&mut self, what: &str, path: &Path, model: &Model) {
        self.images += 1;
        let asked = catch_unwind(AssertUnwindSafe(|| {
            let database = Database::options().read_only(true).open(path)?;
            let has_errors = model.ask(&database);
            let is_sound = database.check(|_| ())?.is_sound();
            assert!(!(has_errors && is_sound), "the check missed it");
            Ok::<_, Error>((has_errors, is_sound))
        }));
        match asked.unwrap_or_else(|_| panic!("{what}: a wrong answer, or a panic")) {
            Ok((has_errors, is_sound)) => {
                self.errors += usize::from(has_errors);
                self.right += usize::from(!has_errors);
                self.checked += usize::from(!is_sound);
            }
            Err(error) => {
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::Damaged | ErrorKind::NotADatabase | ErrorKind::NeedsRepair
                    ),
                    "{what}: {error:?}"
                );
                self.refused += 1;
            }
        }
    }

    fn tell(&self, what: &str) {
        assert_no_own_panics();
        println!(
            "damage: {} {what}: {} refused at open, {} with errors on reads, {} with right answers \
             alone, 0 wrong, 0 panics; the check found something in {}",
            self.images, self.refused, self.errors, self.right, self.checked
        );
    }
}

/// A file of samples of all statuses, closed, and what is in it.
fn file(path: &Path) -> (Vec<u8>, Model) {
    watch_panics();
    let samples: Vec<Sample> = (0..SAMPLES).map(sample).collect();
    let database = Database::open(path).unwrap();
    for batch in samples.chunks(BATCH) {
        database.store(batch).unwrap();
    }
    database.close().unwrap();
    (fs::read(path).unwrap(), Model::new(&samples))
}

/// The pages with something in them.
fn pages(bytes: &[u8]) -> Vec<usize> {
    let is_full = |at: &usize| bytes[*at..at + PAGE_BYTES].iter().any(|byte| *byte != 0);
    let behind_log = (HEAD_BYTES..bytes.len()).step_by(PAGE_BYTES);
    [0].into_iter().chain(behind_log).filter(is_full).collect()
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn readers_of_a_damaged_file_get_an_error_or_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let (bytes, model) = file(&path);
    let pages = pages(&bytes);

    let mut counts = Counts::default();
    let all = pages.iter().flat_map(|page| *page..page + PAGE_BYTES);
    for (number, at) in all.step_by(stride(STRIDE)).enumerate() {
        let mask = [1, 0xff, 0x80, 8][number % 4];
        overwrite(&path, at, &[bytes[at] ^ mask]);
        counts.read(&format!("byte {at} xor {mask:#x}"), &path, &model);
        overwrite(&path, at, &bytes[at..=at]);
    }
    counts.tell("flips");

    let mut counts = Counts::default();
    let ends = (HEAD_BYTES..bytes.len()).rev().step_by(PAGE_BYTES * 3);
    for len in ends.chain([HEAD_BYTES, 5_000, 4_096, 600, 1]) {
        fs::write(&path, &bytes[..len]).unwrap();
        counts.read(&format!("cut off at {len}"), &path, &model);
    }
    counts.tell("cut off");
    fs::write(&path, &bytes).unwrap();
    assert!(!model.ask(&Database::open(&path).unwrap()));
}

#[test]
fn readers_of_misplaced_pages_get_an_error_or_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let (bytes, model) = file(&path);
    let pages = pages(&bytes);
    let of_page = |at: usize| &bytes[at..at + PAGE_BYTES];

    let mut counts = Counts::default();
    for pair in pages.windows(2) {
        for [first, second] in [[pair[1], pair[0]], [pair[0], pair[0]], [pair[1], pair[1]]] {
            overwrite(&path, pair[0], of_page(first));
            overwrite(&path, pair[1], of_page(second));
            counts.read(
                &format!("pages {pair:?} as {first}, {second}"),
                &path,
                &model,
            );
        }
        overwrite(&path, pair[0], &[0; PAGE_BYTES]);
        overwrite(&path, pair[1], of_page(pair[1]));
        counts.read(&format!("page {} zeroed", pair[0]), &path, &model);
        overwrite(&path, pair[0], of_page(pair[0]));
    }
    counts.tell("with pages swapped, twice or zeroed");
}

/// A page of redb's in a file, where pages lie in one region: behind the first page and the region's header, whose size redb's
/// header says.
fn place(bytes: &[u8], number: u64) -> usize {
    let header_pages = HEAD_BYTES + 16;
    let header_pages = bytes[header_pages..header_pages + 4].try_into().unwrap();
    let order = number >> 59;
    let index = number & 0xf_ffff;
    HEAD_BYTES
        + PAGE_BYTES * (1 + u32::from_le_bytes(header_pages) as usize)
        + ((index << order) as usize) * PAGE_BYTES
}

/// Where the children of a branch lie; none of any other page.
fn children(bytes: &[u8], at: usize) -> Vec<usize> {
    let page = &bytes[at..];
    if page[0] != 2 {
        return Vec::new();
    }
    let count = usize::from(u16::from_le_bytes([page[2], page[3]])) + 1;
    let numbers = page[8 + 16 * count..].chunks(8).take(count);
    numbers
        .map(|number| place(bytes, u64::from_le_bytes(number.try_into().unwrap())))
        .collect()
}

/// redb inserts and removes by recursion, which a circle of branches would never end.
#[test]
fn branches_that_lead_back_over_others_are_errors() {
    const SAMPLES: usize = 3_000;
    watch_panics();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let sample = |number: usize| {
        Sample::builder(["even", "odd"][number % 2])
            .id(format!("s{number}"))
            .data(data! { "number" => number as u64, "text" => "x".repeat(1_200) })
            .build()
            .unwrap()
    };
    let samples: Vec<Sample> = (0..SAMPLES).map(sample).collect();
    let others: Vec<Sample> = (SAMPLES..SAMPLES + 300).map(sample).collect();
    let database = Database::open(&path).unwrap();
    database.store(&samples).unwrap();
    // Once more, so that each has a page of its own or nearly.
    for batch in samples.chunks(500) {
        database.store(batch).unwrap();
    }
    database.close().unwrap();
    let bytes = fs::read(&path).unwrap();
    // What a branch leads to over another one, which is written over by that branch.
    let circles: Vec<(usize, usize)> = pages(&bytes)
        .into_iter()
        .flat_map(|top| {
            children(&bytes, top)
                .into_iter()
                .map(move |below| (top, below))
        })
        .flat_map(|(top, below)| {
            let leaves = children(&bytes, below);
            let some = leaves
                .first()
                .into_iter()
                .chain(leaves.get(leaves.len() / 2));
            some.chain(leaves.last())
                .map(move |leaf| (top, *leaf))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(circles.len() > 10, "{}", circles.len());

    let (mut errors, mut found) = (0, 0);
    for (top, leaf) in &circles {
        fs::write(&path, &bytes).unwrap();
        overwrite(&path, *leaf, &bytes[*top..top + PAGE_BYTES]);
        // Each on a handle of its own, since redb answers nothing more after a read that failed.
        type Use = fn(&Database, [&[Sample]; 2]) -> Result<(), Error>;
        let uses: [Use; 7] = [
            |database, [_, others]| {
                others
                    .chunks(50)
                    .try_for_each(|batch| database.store(batch).map(|_| ()))
            },
            |database, [samples, _]| {
                samples
                    .chunks(50)
                    .try_for_each(|batch| database.store(batch).map(|_| ()))
            },
            |database, _| database.delete(&Query::new().into()).map(|_| ()),
            |database, _| {
                database
                    .set_status(&Query::new().into(), None, Status::Ready)
                    .map(|_| ())
            },
            |database, _| database.list(&Query::new()).map(|_| ()),
            |database, _| database.stats().map(|_| ()),
            |database, _| database.compact().map(|_| ()),
        ];
        for run in uses {
            let used = catch_unwind(AssertUnwindSafe(|| {
                let database = Database::options().create(false).open(&path)?;
                run(&database, [&samples, &others])
            }));
            match used.expect("no panic") {
                Ok(()) => {}
                Err(error) => {
                    assert!(
                        matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Io),
                        "{error:?}"
                    );
                    errors += 1;
                }
            }
            fs::write(&path, &bytes).unwrap();
            overwrite(&path, *leaf, &bytes[*top..top + PAGE_BYTES]);
        }
        // Measuring follows every branch there is.
        if let Ok(database) = Database::options().read_only(true).open(&path) {
            errors += usize::from(database.stats().is_err());
            found += usize::from(!database.check(|_| ()).unwrap().is_sound());
        }
    }
    println!(
        "damage: {} circles of branches: {errors} errors, seen by {found} checks",
        circles.len()
    );
    assert!(errors > circles.len());
    assert_no_own_panics();
}
