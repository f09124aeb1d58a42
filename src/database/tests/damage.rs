//! Damaged files: an error or the right answer, on every read path, whatever byte is another.
//!
//! Leaves and chunks are small here, so a file of some hundred kilobytes has everything that there can be in one.
//! A byte that no read path ever reads cannot matter; so it is found out first which are read, and each of
//! these is flipped in turn: all of a file with few samples, and of that one every so many in an ordinary run, and all with
//! `SAMPLESTORE_DAMAGE=all`, or one in three with `SAMPLESTORE_DAMAGE=3`.

// The sweeps say what they saw.
#![allow(clippy::print_stdout)]

mod image;
mod model;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use super::super::branch;
use super::super::disk::Disk;
use super::super::disk::memory::MemoryDisk;
use super::super::failure::guard;
use super::super::{Database, Options};
use crate::query::Query;
use crate::storage::Storage;
use crate::{Error, ErrorKind, MemoryStorage};
use image::Image;
use model::{LARGE, Model, closed, sample};

/// Samples of a file of which every byte is flipped in an ordinary run, too.
const SMALL: u64 = 40;
/// One in so many bytes is flipped of a large file then.
const STRIDE: usize = 211;
/// One in so many ids is looked up then.
const ID_STRIDE: usize = 9;
const PAGE_BYTES: usize = 4_096;
/// A sweep says how far it is after so many images.
const TOLD_EVERY: usize = 50_000;

fn options() -> Options {
    Database::options().cache_bytes(4 << 20)
}

fn open(disk: Arc<dyn Disk>) -> Result<Database, Error> {
    // As opening a file does.
    guard("open", || {
        options().read_only(true).open_disk("memory".into(), disk)
    })
}

/// How many images ended how.
#[derive(Default)]
struct Counts {
    refused: AtomicUsize,
    errors: AtomicUsize,
    right: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

impl Counts {
    /// Opens an image and asks everything.
    fn examine(&self, what: &str, disk: Arc<dyn Disk>, model: &Model) {
        let asked = catch_unwind(AssertUnwindSafe(|| match open(disk) {
            Ok(database) => Ok(model.ask(&database)),
            Err(error) => Err(error),
        }));
        match asked {
            Ok(Ok(0)) => self.right.fetch_add(1, Ordering::Relaxed),
            Ok(Ok(_)) => self.errors.fetch_add(1, Ordering::Relaxed),
            Ok(Err(error)) => {
                let kind = error.kind();
                let is_known = matches!(
                    kind,
                    ErrorKind::Damaged
                        | ErrorKind::NotADatabase
                        | ErrorKind::FormatTooNew
                        | ErrorKind::NeedsRepair
                );
                if !is_known {
                    self.is_wrong(format!("{what}: {error:?}"));
                }
                self.refused.fetch_add(1, Ordering::Relaxed)
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let text: String = text.chars().take(200).collect();
                self.is_wrong(format!("{what}: {text}"));
                0
            }
        };
    }

    /// Keeps a finding, and says it at once: a long run may be ended before it tells.
    fn is_wrong(&self, finding: String) {
        println!("damage: wrong: {finding}");
        self.wrong.lock().unwrap().push(finding);
    }

    fn tell(&self, what: &str, images: usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let wrong = self.wrong.lock().unwrap();
        println!(
            "damage: {images} {what}: {} refused at open, {} with errors on reads, {} with right \
             answers alone, {} wrong or panicked",
            count(&self.refused),
            count(&self.errors),
            count(&self.right),
            wrong.len()
        );
        let some: Vec<&String> = wrong.iter().take(20).collect();
        assert!(wrong.is_empty(), "{some:#?}");
        assert_no_own_panics();
    }
}

/// One in how many bytes of a large file is flipped, if that was said.
fn told_stride() -> Option<usize> {
    let told = std::env::var("SAMPLESTORE_DAMAGE").ok()?;
    Some(match &*told {
        "all" => 1,
        number => number
            .parse()
            .expect("SAMPLESTORE_DAMAGE is `all` or a number"),
    })
}

fn is_long() -> bool {
    told_stride() == Some(1)
}

/// Panics of our own code since [`watch_panics`], also those that were caught.
static OWN_PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// redb panics on some damaged pages, which is caught, and an error; that need not be told each time. One of our own would become the
/// same error, so these are kept.
pub(super) fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |at| at.file());
            if file.contains("redb-") {
                return;
            }
            // What other tests do meanwhile is theirs: their own code, stages that panic, and one write that does.
            let of_others = [
                "tests",
                "src/pipeline",
                "src/conformance",
                "src/panicked.rs",
            ];
            let is_own = file.starts_with("src/") && !of_others.iter().any(|of| file.contains(of));
            let is_on_purpose = panic.payload().downcast_ref::<&str>() == Some(&"on purpose");
            if is_own && !is_on_purpose {
                let mut own = OWN_PANICS.lock().unwrap_or_else(PoisonError::into_inner);
                own.push(panic.to_string());
            }
            others(panic);
        }));
    });
}

/// None of the panics that were caught was one of our own code.
pub(super) fn assert_no_own_panics() {
    let own = OWN_PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(own.is_empty(), "{own:#?}");
}

/// Does something for each of these, on two threads, and says how far it is now and then.
fn each<T: Sync>(all: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(at) else { break };
                    if at > 0 && at.is_multiple_of(TOLD_EVERY) {
                        println!("damage: {at} of {}", all.len());
                    }
                    work(one);
                }
            });
        }
    });
}

/// All of them, of a file with few samples.
#[test]
fn damage_of_any_byte_of_a_small_file_is_an_error_or_changes_nothing() {
    flip_bytes(SMALL, 1);
}

/// Of a file that has everything in it that there can be.
#[test]
fn damage_of_any_byte_is_an_error_or_changes_nothing() {
    flip_bytes(LARGE, told_stride().unwrap_or(STRIDE));
}

/// Flips one in so many of the bytes that are read of a file of so many samples.
fn flip_bytes(samples: u64, stride: usize) {
    watch_panics();
    let (bytes, memory) = closed(samples);
    let model = Model::of(&memory);
    let seen = bytes_read(&bytes, &model);
    let read: Vec<usize> = (0..bytes.len()).filter(|at| seen[*at]).collect();
    let mask = |at: usize| match at % 9 {
        8 => 0xff,
        bit => 1 << bit,
    };
    let flips = read.iter().step_by(stride).map(|at| (*at, mask(*at)));
    let flips: Vec<(usize, u8)> = flips.collect();
    println!(
        "damage: {} bytes, of which {} are read",
        bytes.len(),
        read.len()
    );
    flip(&bytes, &model, &flips, "flips");
}

/// A page that leads to others may lead to one that is right in itself, but of an earlier commit: its seals hold. So each number of a
/// page in a list of tables is made that of every other page, and each bit of one in a branch is flipped that leads to another.
#[test]
fn damage_of_where_pages_lead_is_an_error_or_changes_nothing() {
    watch_panics();
    let (bytes, memory) = closed(LARGE);
    let model = Model::of(&memory);
    let seen = bytes_read(&bytes, &model);
    let pages = bytes.len() / PAGE_BYTES;
    let mut flips = Vec::new();
    for (page, of_page) in bytes.chunks_exact(PAGE_BYTES).enumerate().skip(1) {
        let start = page * PAGE_BYTES;
        if !seen[start] || !branch::is_leading(of_page) {
            continue;
        }
        for at in places_of_numbers(of_page) {
            let at = start + at;
            if branch::is_branch(of_page) {
                let bits = (0..=pages.ilog2() as usize).chain(59..64);
                flips.extend(bits.map(|bit| (at + bit / 8, 1 << (bit % 8))));
            } else {
                let masks = 1..=u8::MAX;
                let leads = |mask: &u8| usize::from(bytes[at] ^ mask) < pages;
                flips.extend(masks.filter(leads).map(|mask| (at, mask)));
            }
        }
    }
    flip(&bytes, &model, &flips, "flips in numbers of pages");
}

/// Which bytes of a file are read by whoever asks everything.
fn bytes_read(bytes: &Arc<Vec<u8>>, model: &Model) -> Vec<bool> {
    let image = Arc::new(Image {
        seen: Some(Mutex::new(vec![false; bytes.len()])),
        ..Image::of(bytes)
    });
    let database = open(Arc::clone(&image) as _).unwrap();
    assert_eq!(model.ask(&database), 0);
    drop(database);
    let seen = image.seen.as_ref().unwrap().lock().unwrap();
    seen.clone()
}

/// Where in a branch, or in a list of tables, the numbers of pages are.
fn places_of_numbers(page: &[u8]) -> Vec<usize> {
    let below = branch::sums_below(page);
    if branch::is_branch(page) {
        let end = branch::bytes_of_numbers(page);
        return (end - 8 * below.len()..end).step_by(8).collect();
    }
    let root =
        |(number, sum): (u64, u128)| [&number.to_le_bytes()[..], &sum.to_le_bytes()].concat();
    let place = |root: Vec<u8>| page.windows(root.len()).position(|bytes| bytes == root);
    below
        .into_iter()
        .filter_map(|below| place(root(below)))
        .collect()
}

/// Examines images of each of which one byte was changed.
fn flip(bytes: &Arc<Vec<u8>>, model: &Model, flips: &[(usize, u8)], what: &str) {
    let counts = Counts::default();
    each(flips, |(at, mask)| {
        let image = Image {
            flipped: Some((*at as u64, *mask)),
            ..Image::of(bytes)
        };
        counts.examine(&format!("byte {at} xor {mask:#x}"), Arc::new(image), model);
    });
    counts.tell(what, flips.len());
}

#[test]
fn damage_of_whole_pages_is_an_error_or_changes_nothing() {
    watch_panics();
    let (bytes, memory) = closed(LARGE);
    let model = Model::of(&memory);
    let pages = bytes.len() / PAGE_BYTES;
    let page = |number: usize| number * PAGE_BYTES..(number + 1) * PAGE_BYTES;
    let is_empty = |number: &usize| {
        bytes[page(*number)]
            .iter()
            .all(|byte| *byte == bytes[number * PAGE_BYTES])
    };
    let full: Vec<usize> = (0..pages).filter(|number| !is_empty(number)).collect();
    let mut images: Vec<(String, Vec<u8>)> = Vec::new();
    for number in 0..=pages {
        let inside: &[usize] = if is_long() { &[0, 1, 2_000] } else { &[0] };
        for cut in inside {
            let len = (number * PAGE_BYTES + cut).min(bytes.len());
            images.push((format!("cut off at {len}"), bytes[..len].to_vec()));
        }
    }
    for number in &full {
        let mut zeroed = bytes.to_vec();
        zeroed[page(*number)].fill(0);
        images.push((format!("page {number} zeroed"), zeroed));
    }
    let step = if is_long() { 1 } else { 4 };
    for pair in full.windows(2).step_by(step) {
        let mut swapped = bytes.to_vec();
        let first = bytes[page(pair[0])].to_vec();
        swapped.copy_within(page(pair[1]), page(pair[0]).start);
        swapped[page(pair[1])].copy_from_slice(&first);
        images.push((format!("pages {pair:?} swapped"), swapped));
        let mut doubled = bytes.to_vec();
        doubled.copy_within(page(pair[0]), page(pair[1]).start);
        images.push((format!("page {} twice", pair[0]), doubled));
        let mut doubled = bytes.to_vec();
        doubled.copy_within(page(pair[1]), page(pair[0]).start);
        images.push((format!("page {} twice", pair[1]), doubled));
    }
    let counts = Counts::default();
    each(&images, |(what, bytes)| {
        let image = Image::of(&Arc::new(bytes.clone()));
        counts.examine(what, Arc::new(image), &model);
    });
    counts.tell("damaged in pages", images.len());
}

#[test]
fn random_bytes_are_no_database() {
    watch_panics();
    let (bytes, memory) = closed(LARGE);
    let model = Model::of(&memory);
    let mut state = 1_u64;
    let mut random = || {
        // Knuth's MMIX generator.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let counts = Counts::default();
    let images: Vec<Vec<u8>> = (0..120)
        .map(|turn| {
            let len = 1 + turn * 7_001;
            let mut image: Vec<u8> = (0..len).map(|_| random()).collect();
            // In turn nothing, our header, and redb's too is as it should be.
            let kept = [0, 4_096, 260 << 10][turn % 3].min(len);
            image[..kept].copy_from_slice(&bytes[..kept]);
            image
        })
        .collect();
    each(&images, |image| {
        let image = Image::of(&Arc::new(image.clone()));
        counts.examine("random bytes", Arc::new(image), &model);
    });
    counts.tell("files of random bytes", images.len());
}

/// A file that was not closed: what is damaged in its log is told, but for the last record, of which nobody can say
/// whether it was torn when it was written.
#[test]
fn damage_of_a_log_is_told_unless_it_may_be_a_torn_end() {
    watch_panics();
    let disk = Arc::new(MemoryDisk::default());
    let memory = MemoryStorage::new();
    let database = options()
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    for number in 0..4 {
        let batch = [sample(number)];
        database.store(&batch).unwrap();
        memory.store(&batch).unwrap();
    }
    let before = Model::of(&memory);
    let last = [sample(4)];
    database.store(&last).unwrap();
    memory.store(&last).unwrap();
    let model = Model::of(&memory);
    let bytes = disk.bytes();
    drop(database);
    let (mut refused, mut right, mut torn) = (0, 0, 0);
    // Five records of a page each, behind the header.
    for at in (PAGE_BYTES..6 * PAGE_BYTES).filter(|at| at % PAGE_BYTES < 300) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let disk = Arc::new(MemoryDisk::of(damaged));
        match options().open_disk("memory".into(), Arc::clone(&disk) as _) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                // And so the next time.
                let again = options().open_disk("memory".into(), disk).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::Damaged, "byte {at}: {again}");
                refused += 1;
            }
            Ok(database) if database.count(&Query::new()).unwrap() == 5 => {
                assert_eq!(model.ask(&database), 0);
                right += 1;
            }
            Ok(database) => {
                assert_eq!(at / PAGE_BYTES, 5, "byte {at}");
                assert_eq!(before.ask(&database), 0);
                torn += 1;
            }
        }
    }
    println!("damage: log: {refused} refused at open, {right} right, {torn} taken for a torn end");
    // Each record has about a hundred bytes, and what fills its page says nothing.
    assert!(refused > 300 && torn > 50 && right > 0);
    assert_no_own_panics();
}
