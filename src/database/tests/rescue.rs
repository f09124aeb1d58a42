//! Repair, reindex and salvage of files that are damaged, or were not closed.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::check::FaultKind;
use super::super::check::tests::{changes, file, open, tamper, with_counters_too_high};
use super::super::disk::memory::MemoryDisk;
use super::super::disk::{Access, FileDisk};
use super::super::header::{self, Head};
use super::super::{Backup, Database, Prune, RepairOutcome, SalvageReport};
use crate::query::Query;
use crate::sample::{Sample, Status};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Value, data, instant};

const PAGE_BYTES: usize = 4_096;

fn all(database: &Database) -> Vec<Sample> {
    database.list(&Query::new()).unwrap().samples
}

/// A folder, and in it a file of these bytes.
pub(super) fn on_disk(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

pub(super) fn assert_alone(folder: &Path, names: &[&str]) {
    let mut found: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

fn sample(number: usize) -> Sample {
    Sample::builder(["even", "odd"][number % 2])
        .id(format!("s{number}"))
        .status(Status::ALL[number % 6])
        .created_at(instant::from_micros(number as i64 / 3).unwrap())
        .data(data! { "number" => number as u64 })
        .build()
        .unwrap()
}

#[test]
fn an_opening_tells_how_far_it_is_when_the_last_process_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, killed) = (folder.path().join("s.redb"), folder.path().join("killed"));
    let database = Database::open(&path).unwrap();
    for number in 0..10 {
        database.store(&[sample(number)]).unwrap();
    }
    fs::copy(&path, &killed).unwrap();
    database.close().unwrap();
    let told_of = |path: &Path| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let options = Database::options().on_repair(move |share| tell.lock().unwrap().push(share));
        let database = options.open(path).unwrap();
        assert_eq!(database.count(&Query::new()).unwrap(), 10);
        std::mem::take(&mut *told.lock().unwrap())
    };
    assert_eq!(told_of(&path), [0.0; 0]);
    // Of the pages, since there was no checkpoint yet; and then before each commit in the log, and behind the last.
    let told = told_of(&killed);
    let (of_pages, of_log) = told.split_at(told.len() - 11);
    assert!(of_pages[0] == 0.0 && of_pages.is_sorted(), "{told:?}");
    assert!(of_log.is_sorted_by(|a, b| a < b), "{told:?}");
    assert_eq!((of_log[0], of_log[10]), (0.0, 1.0));
}

/// Whoever had opened a file before another one was put in its place writes to that one, and nothing of it is lost.
#[test]
fn a_file_that_was_replaced_before_it_is_locked_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("s.redb"), folder.path().join("o.redb"));
    for (path, number) in [(&path, 1), (&other, 2)] {
        let database = Database::open(path).unwrap();
        database.store(&[sample(number)]).unwrap();
        database.close().unwrap();
    }
    let write = Access::Write { create: true };
    let options = Database::options();
    let disk = || FileDisk::open(&path, write, true).unwrap();
    let (old, gone) = (disk(), disk());
    let opened = options.open_unless_replaced(&path, disk()).unwrap();
    assert_eq!(opened.unwrap().unwrap().count(&Query::new()).unwrap(), 1);
    fs::rename(&other, &path).unwrap();
    assert!(options.open_unless_replaced(&path, old).unwrap().is_none());
    let database = options.clone().open(&path).unwrap();
    assert!(database.retrieve("s2").unwrap().is_some());
    drop(database);
    fs::remove_file(&path).unwrap();
    assert!(options.open_unless_replaced(&path, gone).unwrap().is_none());
}

/// The same by chance: a file is rebuilt again and again while another opens it, stores and closes it.
#[test]
fn what_is_stored_between_two_rebuilds_stays() {
    const STORES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    Database::open(&path).unwrap().close().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rebuilder = scope.spawn(|| {
            let mut rebuilt = 0;
            while !is_over.load(Relaxed) {
                match Database::reindex(&path, |_| ()) {
                    Ok(_) => rebuilt += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error}"),
                }
            }
            rebuilt
        });
        for number in 0..STORES {
            let options = Database::options().lock_timeout(Duration::from_secs(60));
            let database = options.open(&path).unwrap();
            database.store(&[sample(number)]).unwrap();
            assert_eq!(database.count(&Query::new()).unwrap(), number as u64 + 1);
            database.close().unwrap();
            std::thread::yield_now();
        }
        is_over.store(true, Relaxed);
        assert!(rebuilder.join().unwrap() > 0);
    });
    assert_alone(folder.path(), &["s.redb"]);
}

#[test]
fn repair_rebuilds_whatever_costs_no_sample_and_leaves_the_rest_alone() {
    let file = file();
    let expected = all(&open(&file));
    let mut left_alone = 0;
    for (what, kind, change) in changes() {
        let bytes = tamper(&file, change);
        let (folder, path) = on_disk(&bytes);
        let report = Database::repair(&path, |_| ()).unwrap();
        if report.outcome == RepairOutcome::NeedsSalvage {
            assert!(kind.is_primary(), "{what}: {report:?}");
            assert!(report.reason.is_some());
            left_alone += 1;
            assert!(Database::salvage(&path, folder.path().join("to"), |_| ()).is_ok());
            fs::remove_file(folder.path().join("to")).unwrap();
        } else if what != "another status" {
            assert_eq!(report.outcome, RepairOutcome::Rebuilt, "{what}: {report:?}");
            let database = Database::open(&path).unwrap();
            assert_eq!(all(&database), expected, "{what}");
            let report = database.check(|_| ()).unwrap();
            assert!(report.is_sound(), "{what}: {report:?}");
            assert_eq!(report.samples, expected.len() as u64);
            drop(database);
            let again = Database::repair(&path, |_| ()).unwrap();
            assert_eq!(again.outcome, RepairOutcome::Sound);
        }
        assert_alone(folder.path(), &["s.redb"]);
    }
    // All changes of records and planes but the block with one too many.
    assert_eq!(left_alone, 6);
}

/// A sample whose record cannot be read can be given another status, stored again and deleted by its id, also when that is done
/// again from the log; and when none is left nothing is wrong.
#[test]
fn damaged_records_are_marked_replaced_and_deleted_by_their_ids() {
    let file = file();
    let whole = all(&open(&file));
    let changes = changes().into_iter();
    let mut damaging = 0;
    for (what, _, change) in changes.filter(|(_, kind, _)| *kind == FaultKind::Record) {
        let (folder, path) = on_disk(&tamper(&file, change));
        let options = || Database::options().create(false);
        let database = options().open(&path).unwrap();
        let (mut expected, mut damaged) = (Vec::new(), 0);
        for sample in &whole {
            match database.retrieve(sample.id()) {
                Ok(found) => {
                    assert_eq!(found.as_ref(), Some(sample), "{what}");
                    expected.push(sample.clone());
                    continue;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}"),
            }
            damaged += 1;
            let other = match sample.status() {
                Status::Dlq => Status::Skipped,
                _ => Status::Dlq,
            };
            let of_other = Query::new().status(other);
            let before = database.count(&of_other).unwrap();
            let marked = database.set_status(&sample.id().into(), None, other);
            assert_eq!(marked.unwrap(), 1, "{what}");
            assert_eq!(database.count(&of_other).unwrap(), before + 1, "{what}");
            if damaged % 2 == 0 {
                assert_eq!(database.delete(&sample.id().into()).unwrap(), 1, "{what}");
                continue;
            }
            let again = sample.clone().into_builder();
            let again = again.data(data! { "again" => damaged }).build().unwrap();
            let report = database.store(std::slice::from_ref(&again)).unwrap();
            assert_eq!((report.inserted, report.replaced), (0, 1), "{what}");
            expected.push(again);
        }
        if damaged == 0 {
            // One record too many is in nobody's way.
            continue;
        }
        damaging += 1;
        let killed = folder.path().join("killed");
        fs::copy(&path, &killed).unwrap();
        for database in [database, options().open(&killed).unwrap()] {
            assert_eq!(all(&database), expected, "{what}");
            database.store(&[sample(9_999)]).unwrap();
            assert!(database.retrieve("s9999").unwrap().is_some(), "{what}");
            let report = database.check(|_| ()).unwrap();
            assert!(report.is_sound(), "{what}: {report:?}");
        }
    }
    assert_eq!(damaging, 4);
}

/// Counters that are too high are no reason to remove what is to be kept.
#[test]
fn nothing_is_pruned_by_counters_that_are_too_high() {
    // From the newest one on, and from the oldest one on.
    for keep in [5_000, 60_000] {
        let database = open(&with_counters_too_high());
        let before = all(&database);
        let prune = Prune::new().keep_newest(keep);
        for failed in [
            database.prunable(&prune).map(drop),
            database.prune(&prune).map(drop),
        ] {
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Damaged, "{keep}");
        }
        assert_eq!(all(&database), before);
    }
}

/// Whatever is lost of the index of ids, looking one up comes to an end.
#[test]
fn ids_are_looked_up_in_a_damaged_index_or_that_is_an_error() {
    let file = file();
    let whole = all(&open(&file));
    let changes = changes().into_iter();
    let mut errors = 0;
    for (what, _, change) in changes.filter(|(_, kind, _)| *kind == FaultKind::IdIndex) {
        let bytes = tamper(&file, change);
        for sample in whole.iter().step_by(whole.len() / 20) {
            // The first to look something up does not decode what was gathered.
            match open(&bytes).retrieve(sample.id()) {
                Ok(found) => assert_eq!(found.as_ref(), Some(sample), "{what}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{what}");
                    errors += 1;
                }
            }
        }
    }
    // At the least for all ids, when every run is gone.
    assert!(errors >= 20, "{errors}");
}

/// A link to a file is a name of it, for what puts another file in its place too.
#[cfg(unix)]
#[test]
fn a_file_is_rebuilt_where_it_is_and_not_where_a_link_to_it_is() {
    use std::os::unix::fs::{MetadataExt, symlink};

    let counter = |what: &str| what == "a pipeline that counts wrongly";
    let change = changes().into_iter().find(|(what, ..)| counter(what));
    let damaged = tamper(&file(), change.unwrap().2);
    for is_repair in [false, true] {
        let (folder, path) = on_disk(&damaged);
        let places = folder.path().join("links");
        fs::create_dir(&places).unwrap();
        let link = places.join("link.redb");
        symlink("../s.redb", &link).unwrap();
        let before = fs::metadata(&path).unwrap();
        match is_repair {
            true => {
                let report = Database::repair(&link, |_| ()).unwrap();
                assert_eq!(report.outcome, RepairOutcome::Rebuilt);
            }
            false => assert!(Database::reindex(&link, |_| ()).unwrap() > 0),
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let after = fs::metadata(&path).unwrap();
        assert_ne!(after.ino(), before.ino());
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        let database = Database::open(&path).unwrap();
        assert!(database.check(|_| ()).unwrap().is_sound());
        assert_alone(&places, &["link.redb"]);
    }
}

/// Who may hand files to others, as root may, leaves a file to its owner.
#[cfg(unix)]
#[test]
fn a_file_that_is_rebuilt_keeps_its_owner() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    let (_folder, path) = on_disk(&file());
    if chown(&path, Some(4_321), Some(1_234)).is_err() {
        // Nobody but root may, and only then is there anything to keep.
        return;
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    Database::reindex(&path, |_| ()).unwrap();
    let copy = path.with_file_name("copy.redb");
    let database = Database::open(&path).unwrap();
    database.backup(&copy, &Backup::new()).unwrap();
    for path in [path, copy] {
        let rebuilt = fs::metadata(path).unwrap();
        assert_eq!((rebuilt.uid(), rebuilt.gid()), (4_321, 1_234));
        assert_eq!(rebuilt.mode() & 0o777, 0o640);
    }
}

/// Whoever puts a file where another one is to appear keeps it, also an empty one.
#[test]
fn salvage_never_takes_the_place_of_a_file() {
    for content in [&b""[..], b"precious"] {
        let (folder, path) = on_disk(&file());
        let target = path.with_file_name("new.redb");
        let appears = Cell::new(true);
        for while_it_runs in [true, false] {
            let error = Database::salvage(&path, &target, |_| {
                if while_it_runs && appears.take() {
                    fs::write(&target, content).unwrap();
                }
            });
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
            assert_eq!(fs::read(&target).unwrap(), content);
            assert_alone(folder.path(), &["new.redb", "s.redb"]);
        }
    }
}

#[test]
fn salvage_saves_all_but_what_is_lost_and_names_that() {
    let file = file();
    let whole = all(&open(&file));
    for (what, kind, change) in changes() {
        let bytes = tamper(&file, change);
        let (folder, path) = on_disk(&bytes);
        let to = folder.path().join("to.redb");
        let report = Database::salvage(&path, &to, |_| ()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: it was changed");
        let database = Database::open(&to).unwrap();
        assert!(database.check(|_| ()).unwrap().is_sound(), "{what}");
        let saved = all(&database);
        assert_eq!(saved.len() as u64, report.samples, "{what}");
        if !kind.is_primary() {
            assert!(report.is_whole(), "{what}: {report:?}");
            if what != "another status" {
                assert_eq!(saved, whole, "{what}");
            }
        } else if what == "a leaf of the planes that is gone"
            || what == "a byte of a leaf of the planes"
        {
            assert!(
                report.doubtful > 0 && report.notes.len() == 1,
                "{what}: {report:?}"
            );
            assert!(
                whole
                    .iter()
                    .all(|sample| saved.iter().any(|other| other.id() == sample.id()))
            );
        } else {
            assert!(!report.is_whole() || saved == whole, "{what}: {report:?}");
            assert_told(&whole, &saved, &report);
        }
        drop(database);
        let refused = Database::salvage(&path, &to, |_| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        assert_alone(folder.path(), &["s.redb", "to.redb"]);
    }
}

/// Every sample is there as it was, or is said to be doubtful or lost. Says how many are lost.
fn assert_told(whole: &[Sample], saved: &[Sample], report: &SalvageReport) -> u64 {
    let doubtful: HashSet<&str> = report
        .doubtful_rows
        .iter()
        .filter_map(|row| row.id.as_deref())
        .collect();
    let by_id: HashMap<&str, &Sample> = saved.iter().map(|sample| (sample.id(), sample)).collect();
    let mut lost = 0;
    for sample in whole {
        match by_id.get(sample.id()) {
            None => lost += 1,
            Some(other) => assert!(
                *other == sample || doubtful.contains(sample.id()),
                "{}: {report:?}",
                sample.id()
            ),
        }
    }
    let ids: HashSet<&str> = whole.iter().map(Sample::id).collect();
    let more: Vec<&str> = by_id
        .keys()
        .copied()
        .filter(|id| !ids.contains(id))
        .collect();
    assert!(more.iter().all(|id| doubtful.contains(id)), "{report:?}");
    let is_unknown = |note: &String| note.starts_with("how many samples there were");
    assert!(
        lost <= report.lost + more.len() as u64 || report.notes.iter().any(is_unknown),
        "{lost} are lost: {report:?}"
    );
    lost
}

/// A file that was not closed, with what only its log has; and what is in it.
fn killed_file() -> (Vec<u8>, Vec<Sample>) {
    let disk = Arc::new(MemoryDisk::of(file()));
    let database = Database::options()
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    let gone = Query::new().status(Status::Skipped);
    database.delete(&gone.into()).unwrap();
    database.compact().unwrap();
    let late: Vec<Sample> = (5_000..5_060).map(sample).collect();
    database.store(&late).unwrap();
    let again = |id: &str| {
        let again = Sample::builder("again").id(id).status(Status::Dlq);
        again.build().unwrap()
    };
    database
        .store(&[again("s7"), again("s8"), again("new")])
        .unwrap();
    database.delete(&"s10".into()).unwrap();
    (disk.bytes(), all(&database))
}

fn salvaged(bytes: &[u8]) -> Result<(SalvageReport, Vec<Sample>), Error> {
    let (folder, path) = on_disk(bytes);
    let to = folder.path().join("to.redb");
    let last = Cell::new(0.0);
    let report = Database::salvage(&path, &to, |share| {
        assert!((last.replace(share)..=1.0).contains(&share));
    })?;
    assert_eq!(last.get(), 1.0);
    let saved = all(&Database::open(&to).unwrap());
    assert_eq!(saved.len() as u64, report.samples);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    Ok((report, saved))
}

/// Where redb's part of the file begins.
fn base(bytes: &[u8]) -> usize {
    let disk = MemoryDisk::of(bytes.to_vec());
    match header::read(&disk).unwrap() {
        Head::Made(layout) => layout.base as usize,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_no_table_leads_to_is_found_wherever_it_lies() {
    let file = file();
    let whole = all(&open(&file));
    let base = base(&file);
    // redb's header; the same, and ours; all branches.
    let mut without_roots = file.clone();
    without_roots[base..base + PAGE_BYTES].fill(0);
    let mut without_heads = without_roots.clone();
    without_heads[..PAGE_BYTES].fill(0xee);
    let mut without_branches = file.clone();
    for page in without_branches[base..].chunks_mut(PAGE_BYTES).skip(1) {
        if page[0] == 2 {
            page.fill(0);
        }
    }
    for (what, bytes) in [
        ("roots", without_roots),
        ("heads", without_heads),
        ("branches", without_branches),
    ] {
        let salvaged = salvaged(&bytes);
        if what == "heads" {
            // It is nobody's.
            assert_eq!(salvaged.unwrap_err().kind(), ErrorKind::NotADatabase);
            continue;
        }
        let (report, saved) = salvaged.unwrap();
        assert_eq!(
            assert_told(&whole, &saved, &report),
            0,
            "{what}: {report:?}"
        );
        let in_whole: Vec<_> = saved.iter().map(Sample::id).collect();
        let order: HashMap<_, _> = in_whole.iter().zip(0..).collect();
        assert!(
            whole.is_sorted_by_key(|sample| order[&sample.id()]),
            "{what}: the order is another"
        );
        for sample in &whole {
            let other = saved.iter().find(|other| other.id() == sample.id());
            let other = other.unwrap_or_else(|| panic!("{what}: {} is lost", sample.id()));
            assert_eq!(other.pipeline(), sample.pipeline(), "{what}");
        }
        let right = saved.iter().filter(|sample| whole.contains(sample)).count();
        assert!(right * 10 > whole.len() * 9, "{what}: {right} are right");
    }
}

#[test]
fn whatever_page_is_gone_and_wherever_a_file_ends_salvage_tells_what_it_costs() {
    let closed = file();
    let of_closed = all(&open(&closed));
    for (file, whole) in [(closed, of_closed), killed_file()] {
        let base = base(&file);
        let pages = (file.len() - base) / PAGE_BYTES;
        let (mut saved_of_cut, mut refused, mut tried) = (0, 0, 0);
        for page in (0..pages).step_by(5) {
            let at = base + page * PAGE_BYTES;
            let mut zeroed = file.clone();
            zeroed[at..at + PAGE_BYTES].fill(0);
            let (report, saved) = salvaged(&zeroed).unwrap();
            let lost = assert_told(&whole, &saved, &report);
            // A page has a few blocks of this size.
            assert!(lost < 200, "page {page}: {lost} are lost: {report:?}");
            tried += 1;
            match salvaged(&file[..at]) {
                Ok((report, saved)) => {
                    assert_told(&whole, &saved, &report);
                    assert!(!report.is_whole() || saved == whole, "cut at page {page}");
                    saved_of_cut += saved.len();
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "cut at page {page}");
                    refused += 1;
                }
            }
        }
        // In the mean a half.
        let mean = saved_of_cut / tried;
        assert!(
            mean > whole.len() / 3 && refused < tried / 4,
            "{mean} of {}, {refused} of {tried} refused",
            whole.len()
        );
    }
}

#[test]
fn one_good_sector_of_the_head_is_enough() {
    let (file, whole) = killed_file();
    for at in [20, 33, 100, 600] {
        let mut bytes = file.clone();
        bytes[at] ^= 1;
        let (report, saved) = salvaged(&bytes).unwrap();
        assert_eq!(
            (report.lost, report.lost_commits),
            (0, 0),
            "{at}: {report:?}"
        );
        assert_eq!(report.notes.len(), 1, "{at}: {report:?}");
        assert_eq!(saved, whole, "{at}");
    }
}

/// What a sample holds is no page, whatever it looks like.
#[test]
fn pages_within_a_sample_are_not_looked_at() {
    let evil: Vec<Sample> = (0..40)
        .map(|number| {
            let sample = Sample::builder("evil").id(format!("evil{number}"));
            sample.build().unwrap()
        })
        .collect();
    let made = |samples: &[Sample]| {
        let disk = Arc::new(MemoryDisk::default());
        let database = Database::options()
            .cache_bytes(1 << 20)
            .open_disk("memory".into(), Arc::clone(&disk) as _)
            .unwrap();
        database.store(samples).unwrap();
        database.close().unwrap();
        disk.bytes()
    };
    let of_evil = made(&evil);
    let pages = &of_evil[base(&of_evil) + PAGE_BYTES..];
    let holding = |content: Vec<u8>| {
        let held = Sample::builder("held").id("held");
        let held = held.data(data! { "pages" => Value::Bytes(content) });
        let mut samples: Vec<Sample> = (0..50).map(sample).collect();
        samples.push(held.build().unwrap());
        samples
    };
    let mut content = vec![0xa7; pages.len() + 2 * PAGE_BYTES];
    let placed = made(&holding(content.clone()));
    // In the log too, before it.
    let at = placed
        .windows(content.len())
        .rposition(|window| window == content)
        .unwrap();
    let pad = at.next_multiple_of(PAGE_BYTES) - at;
    content[pad..pad + pages.len()].copy_from_slice(pages);
    let samples = holding(content);
    let mut bytes = made(&samples);
    assert_eq!(&bytes[at + pad..at + pad + pages.len()], pages);
    let base = base(&bytes);
    bytes[base..base + PAGE_BYTES].fill(0);
    let (report, saved) = salvaged(&bytes).unwrap();
    assert_eq!(saved.len(), samples.len(), "{report:?}");
    for sample in samples {
        assert!(saved.contains(&sample), "{}", sample.id());
    }
}

/// What only the log has counts too.
#[test]
fn a_file_that_was_not_closed_is_reindexed_and_salvaged_with_its_log() {
    let disk = Arc::new(MemoryDisk::default());
    let database = Database::options()
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    let samples: Vec<Sample> = (0..200).map(sample).collect();
    database.store(&samples).unwrap();
    database.compact().unwrap();
    // From here on only the log has it.
    database
        .store(&(190..260).map(sample).collect::<Vec<_>>())
        .unwrap();
    let other = sample(3).into_builder().id("s8").build().unwrap();
    database.store(&[other]).unwrap();
    database
        .store(&[Sample::builder("new").id("new").build().unwrap()])
        .unwrap();
    let some = Query::new().pipeline("odd").status(Status::Dlq);
    database
        .set_status(&some.into(), None, Status::Skipped)
        .unwrap();
    let gone = Query::new().status(Status::Ready);
    database.delete(&gone.into()).unwrap();
    database
        .set_status(&"s7".into(), None, Status::Ready)
        .unwrap();
    let again = sample(7)
        .into_builder()
        .status(Status::Dlq)
        .build()
        .unwrap();
    database.store(&[again]).unwrap();
    let expected = all(&database);
    let bytes = disk.bytes();
    drop(database);

    let (folder, path) = on_disk(&bytes);
    let to = folder.path().join("to.redb");
    let report = Database::salvage(&path, &to, |_| ()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(all(&Database::open(&to).unwrap()), expected);
    assert_eq!(
        Database::reindex(&path, |_| ()).unwrap(),
        expected.len() as u64
    );
    assert_eq!(all(&Database::open(&path).unwrap()), expected);
}

#[test]
fn commits_that_are_lost_from_the_log_are_told() {
    let disk = Arc::new(MemoryDisk::default());
    let database = Database::options()
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    for number in 0..5 {
        database.store(&[sample(number)]).unwrap();
    }
    let mut bytes = disk.bytes();
    drop(database);
    // In the second of five records.
    bytes[2 * 4_096 + 50] ^= 1;
    let (folder, path) = on_disk(&bytes);
    let to = folder.path().join("to.redb");
    assert_eq!(
        Database::open(&path).unwrap_err().kind(),
        ErrorKind::Damaged
    );
    let report = Database::repair(&path, |_| ()).unwrap();
    assert_eq!(report.outcome, RepairOutcome::NeedsSalvage, "{report:?}");
    let report = Database::salvage(&path, &to, |_| ()).unwrap();
    assert_eq!((report.samples, report.lost_commits), (1, 4), "{report:?}");
    assert_eq!(all(&Database::open(&to).unwrap()), [sample(0)]);
}

#[test]
fn nothing_is_rebuilt_of_a_file_that_is_open() {
    let (_folder, path) = on_disk(&file());
    let database = Database::open(&path).unwrap();
    let locked = |error: crate::Error| assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    locked(Database::reindex(&path, |_| ()).unwrap_err());
    locked(Database::repair(&path, |_| ()).unwrap_err());
    locked(Database::salvage(&path, path.with_extension("to"), |_| ()).unwrap_err());
    drop(database);
    let reader = Database::options().read_only(true).open(&path).unwrap();
    locked(Database::reindex(&path, |_| ()).unwrap_err());
    assert!(Database::salvage(&path, path.with_extension("to"), |_| ()).is_ok());
    drop(reader);
    assert!(Database::reindex(&path, |_| ()).is_ok());
}
