//! Salvage: what it saves of damaged files, and what it says of the rest.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;

use super::super::check::FaultKind;
use super::super::check::tests::{changes, file, open, tamper};
use super::super::disk::Disk;
use super::super::disk::memory::{Done, MemoryDisk};
use super::super::header::{self, Head};
use super::super::{Database, SalvageReport};
use super::damage::{assert_no_own_panics, watch_panics};
use super::rescue::{all, assert_alone, on_disk, sample};
use crate::query::Query;
use crate::sample::{Sample, Status};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Value, data};

pub(super) const PAGE_BYTES: usize = 4_096;

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
        } else if kind == FaultKind::Pipeline {
            // The page that it was in before has it still.
            assert!(report.is_whole() && saved == whole, "{what}: {report:?}");
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

/// Every sample is there as it was, or is said to be doubtful or lost, and none that is there is said to be lost. Says how many are lost.
pub(super) fn assert_told(whole: &[Sample], saved: &[Sample], report: &SalvageReport) -> u64 {
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
    let named = report.lost_rows.iter().filter_map(|row| row.id.as_deref());
    for id in named {
        assert!(!by_id.contains_key(id), "{id} is saved: {report:?}");
    }
    assert!(report.lost >= report.lost_rows.len() as u64, "{report:?}");
    lost
}

/// A file that was not closed, with what only its log has; and what is in it.
pub(super) fn killed_file() -> (Vec<u8>, Vec<Sample>) {
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

pub(super) fn salvaged(bytes: &[u8]) -> Result<(SalvageReport, Vec<Sample>), Error> {
    let (folder, path) = on_disk(bytes);
    let to = folder.path().join("to.redb");
    let last = Cell::new(0.0);
    watch_panics();
    let salvaged = Database::salvage(&path, &to, |share| {
        assert!((last.replace(share)..=1.0).contains(&share));
    });
    assert_no_own_panics();
    let report = salvaged?;
    assert_eq!(last.get(), 1.0);
    let saved = all(&Database::open(&to).unwrap());
    assert_eq!(saved.len() as u64, report.samples);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    Ok((report, saved))
}

/// Where redb's part of the file begins.
pub(super) fn base(bytes: &[u8]) -> usize {
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

/// Nothing that is on it is needed, but for the records of the log.
#[test]
fn a_file_without_its_first_page_is_saved() {
    let closed = file();
    let whole = all(&open(&closed));
    for bytes in [1024, PAGE_BYTES] {
        for filler in [0, 0xa5] {
            let mut spoiled = closed.clone();
            spoiled[..bytes].fill(filler);
            let (report, saved) = salvaged(&spoiled).unwrap();
            assert_eq!((report.lost, report.notes.len()), (0, 1), "{report:?}");
            assert_eq!(saved, whole);
        }
    }
    // One that never was a database is none.
    let other = vec![0xa5; closed.len()];
    let error = salvaged(&other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotADatabase);
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

/// redb closes a file in between when it has to look at every page. Whoever comes behind a process that was killed there must be told,
/// too.
#[test]
fn whoever_is_killed_while_opening_leaves_a_file_that_was_not_closed() {
    let disk = Arc::new(MemoryDisk::default());
    let open = |disk: &Arc<MemoryDisk>| {
        let disk = Arc::clone(disk) as _;
        Database::options()
            .cache_bytes(1 << 20)
            .open_disk("memory".into(), disk)
    };
    let database = open(&disk).unwrap();
    database.store(&[sample(9)]).unwrap();
    database.compact().unwrap();
    for number in 0..5 {
        database.store(&[sample(number)]).unwrap();
    }
    let mut bytes = disk.bytes();
    drop(database);
    let pages = bytes.chunks(PAGE_BYTES).enumerate();
    let records = pages.filter(|(_, page)| page.starts_with(b"slog"));
    let mut records: Vec<_> = records.map(|(at, page)| (page[8], at)).collect();
    records.sort_unstable();
    // The first of those that count.
    let (_, at) = records[records.len() - 5];
    bytes[at * PAGE_BYTES + 50] ^= 1;
    let disk = Arc::new(MemoryDisk::of(bytes.clone()));
    assert_eq!(open(&disk).unwrap_err().kind(), ErrorKind::Damaged);
    let done = disk.take_done();
    let headers = done.iter().filter(|done| match done {
        Done::Write { offset, .. } => *offset == base(&bytes) as u64,
        _ => false,
    });
    assert!(headers.count() >= 2, "redb has not looked at every page");
    for end in 0..=done.len() {
        let killed = Arc::new(MemoryDisk::of(bytes.clone()));
        for done in &done[..end] {
            match done {
                Done::Write { offset, bytes } => killed.write(*offset, bytes).unwrap(),
                Done::WriteDurable { offset, bytes } => {
                    killed.write_durable(*offset, bytes).unwrap();
                }
                Done::SetLen(len) => killed.set_len(*len).unwrap(),
                Done::Sync => killed.sync().unwrap(),
            }
        }
        let opened = open(&killed);
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Damaged, "{end}");
    }
}
