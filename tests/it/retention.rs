//! Keeping a file small: what `prune` removes, what it leaves, and what it does to the file meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use samplestore::{
    Database, Durability, ErrorKind, Facets, Prune, Query, Sample, Status, Storage, data,
};

const PIPELINES: [&str; 3] = ["a", "b", "c"];

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

/// Samples of three pipelines and all statuses, in no order of time, three at each instant.
fn samples(count: u64) -> Vec<Sample> {
    (0..count)
        .map(|number| {
            let seconds = number.wrapping_mul(7_919) % count / 3;
            Sample::builder(PIPELINES[(number * number % 7 % 3) as usize])
                .id(format!(
                    "{:016x}",
                    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ))
                .status(Status::ALL[(number / 5 % 6) as usize])
                .created_at(instant(seconds as i64))
                .data(data! { "number" => number, "text" => "x".repeat(300) })
                .build()
                .unwrap()
        })
        .collect()
}

fn database(path: &Path, samples: &[Sample]) -> Database {
    let database = Database::open(path).unwrap();
    for batch in samples.chunks(1_000) {
        database.store(batch).unwrap();
    }
    database
}

fn ids(database: &Database) -> Vec<String> {
    let all = database.list(&Query::new()).unwrap().samples;
    all.iter().map(|sample| sample.id().to_owned()).collect()
}

/// What is said of a prune, to be asked of the database and of a list of samples.
#[derive(Clone, Copy, Debug)]
struct Wish {
    pipelines: &'static [&'static str],
    statuses: &'static [Status],
    older_than: Option<i64>,
    keep_newest: Option<u64>,
}

impl Wish {
    fn prune(self) -> Prune {
        let mut prune = Prune::new();
        for name in self.pipelines {
            prune = prune.pipeline(*name);
        }
        for status in self.statuses {
            prune = prune.status(*status);
        }
        if let Some(seconds) = self.older_than {
            prune = prune.older_than(instant(seconds));
        }
        match self.keep_newest {
            Some(samples) => prune.keep_newest(samples),
            None => prune,
        }
    }

    /// Which of these samples, in order, are removed.
    fn removed(self, samples: &[Sample]) -> Vec<bool> {
        let mut kept = BTreeMap::new();
        let newest_first = samples.iter().rev().map(|sample| {
            let is_selected = (self.pipelines.is_empty()
                || self.pipelines.contains(&sample.pipeline()))
                && (self.statuses.is_empty() || self.statuses.contains(&sample.status()));
            if !is_selected {
                return false;
            }
            let kept: &mut u64 = kept.entry(sample.pipeline()).or_default();
            *kept += 1;
            *kept > self.keep_newest.unwrap_or(0)
                && self
                    .older_than
                    .is_none_or(|seconds| sample.created_at() < instant(seconds))
        });
        let mut removed: Vec<bool> = newest_first.collect();
        removed.reverse();
        removed
    }
}

#[test]
fn exactly_what_is_selected_is_removed() {
    const SKIPPED: &[Status] = &[Status::Skipped];
    const DONE: &[Status] = &[Status::Skipped, Status::Dlq, Status::Labeled];
    let folder = tempfile::tempdir().unwrap();
    let database = Database::options()
        .durability(Durability::Deferred)
        .open(folder.path().join("s.redb"))
        .unwrap();
    let mut removed_some = 0;
    for pipelines in [&[][..], &["a"], &["b", "c"], &["none"]] {
        for statuses in [&[][..], SKIPPED, DONE] {
            for older_than in [None, Some(0), Some(150), Some(10_000)] {
                for keep_newest in [None, Some(0), Some(1), Some(40), Some(250), Some(9_999)] {
                    let wish = Wish {
                        pipelines,
                        statuses,
                        older_than,
                        keep_newest,
                    };
                    if pipelines.len() + statuses.len() == 0
                        && (older_than, keep_newest) == (None, None)
                    {
                        continue;
                    }
                    // What the last one removed comes back, behind the others of its instant.
                    database.store(&samples(900)).unwrap();
                    let all = database.list(&Query::new()).unwrap().samples;
                    let removed = wish.removed(&all);
                    let mut facets = Facets::new();
                    let mut left = Vec::new();
                    for (sample, is_removed) in all.iter().zip(&removed) {
                        match is_removed {
                            true => facets.add(sample.pipeline(), sample.status(), 1),
                            false => left.push(sample.id().to_owned()),
                        }
                    }
                    let prune = wish.prune();
                    assert_eq!(database.prunable(&prune).unwrap(), facets, "{wish:?}");
                    assert_eq!(database.prune(&prune).unwrap(), facets.total(), "{wish:?}");
                    assert_eq!(ids(&database), left, "{wish:?}");
                    // Again, there is nothing left to do.
                    assert_eq!(database.prunable(&prune).unwrap().total(), 0, "{wish:?}");
                    assert_eq!(database.prune(&prune).unwrap(), 0, "{wish:?}");
                    removed_some += u64::from(facets.total() > 0);
                }
            }
        }
    }
    assert!(removed_some > 100, "{removed_some}");
}

#[test]
fn filters_of_time_say_what_is_removed_and_not_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder.path().join("s.redb"), &samples(900));
    let filters = Query::new().since(instant(100)).before(instant(200));
    let prune = Prune::new().matching(filters.clone().pipeline("a"));
    let expected = database.facets(&filters.clone().pipeline("a")).unwrap();
    assert!(expected.total() > 20, "{expected:?}");
    assert_eq!(database.prunable(&prune).unwrap(), expected);
    // An age makes the range narrower, never wider.
    let narrower = prune.clone().older_than(instant(150));
    let until = Query::new()
        .pipeline("a")
        .since(instant(100))
        .before(instant(150));
    assert_eq!(
        database.prunable(&narrower).unwrap(),
        database.facets(&until).unwrap()
    );
    assert_eq!(
        database
            .prunable(&prune.clone().older_than(instant(900)))
            .unwrap(),
        expected
    );
    // The newest are those of any time.
    let of_a = Query::new().pipeline("a");
    let newer = database.count(&of_a.clone().since(instant(200))).unwrap();
    let keeping = prune.clone().keep_newest(newer);
    assert_eq!(database.prunable(&keeping).unwrap(), expected);
    let keeping = prune.clone().keep_newest(newer + 5);
    assert_eq!(database.prune(&keeping).unwrap(), expected.total() - 5);
    assert_eq!(database.prune(&prune).unwrap(), 5);
    assert_eq!(database.count(&filters.pipeline("a")).unwrap(), 0);

    for refused in [
        Query::new().pipeline("a").limit(5),
        Query::new().pipeline("a").newest_first(),
        Query::new().id("x"),
    ] {
        let error = database.prune(&Prune::new().matching(refused)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

/// In transactions of which each asks the conditions of some ten thousands of records, with others between them.
#[test]
fn conditions_say_what_is_removed_of_two_chunks_with_an_index_and_without() {
    const SAMPLES: u64 = 70_000;
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder.path().join("s.redb"), &samples(SAMPLES));
    let rare = Query::new().condition("data.number between 100 and 149".parse().unwrap());
    let half = Query::new().condition(
        "data.number >= 35000 and data.text like 'x%'"
            .parse()
            .unwrap(),
    );
    let prune = Prune::new().matching(half.clone()).status(Status::Dlq);
    let expected = database.facets(&half.clone().status(Status::Dlq)).unwrap();
    assert!(expected.total() > 5_000, "{expected:?}");
    assert_eq!(database.prunable(&prune).unwrap(), expected);
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let watched = prune.on_progress(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(database.prune(&watched).unwrap(), expected.total());
    assert!(steps.load(Ordering::SeqCst) > 0);
    assert_eq!(database.count(&half.status(Status::Dlq)).unwrap(), 0);
    let left = SAMPLES - expected.total();
    assert_eq!(database.count(&Query::new()).unwrap(), left);

    database
        .create_index(&"data.number".parse().unwrap(), |_| ())
        .unwrap();
    let newest = rare.clone().pipeline("a").newest_first();
    let of_a = database.list(&newest).unwrap().samples;
    assert!(of_a.len() > 5, "{}", of_a.len());
    let keeping = Prune::new()
        .matching(rare.clone())
        .pipeline("a")
        .keep_newest(2);
    assert_eq!(database.prune(&keeping).unwrap(), of_a.len() as u64 - 2);
    assert_eq!(database.list(&newest).unwrap().samples, of_a[..2]);
    assert_eq!(
        database.prune(&Prune::new().matching(rare)).unwrap(),
        50 - (of_a.len() as u64 - 2)
    );
    assert_eq!(database.count(&Query::new()).unwrap(), left - 50);
    assert!(database.check(|_| ()).unwrap().is_sound());
}

#[test]
fn a_prune_that_is_stopped_leaves_whole_steps_behind() {
    const SAMPLES: u64 = 45_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let writer = database(&path, &samples(SAMPLES));
    let asked = AtomicU64::new(0);
    let asked = Arc::new(asked);
    let counted = Arc::clone(&asked);
    let prune = Prune::new()
        .keep_newest(0)
        .stop_when(move || counted.fetch_add(1, Ordering::SeqCst) == 2);
    let removed = writer.prune(&prune).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert!((1..SAMPLES).contains(&removed), "{removed}");
    writer.close().unwrap();
    let writer = Database::open(&path).unwrap();
    assert_eq!(writer.count(&Query::new()).unwrap(), SAMPLES - removed);
    let rest = writer.prune(&Prune::new().keep_newest(0)).unwrap();
    assert_eq!(rest, SAMPLES - removed);
    assert!(writer.check(|_| ()).unwrap().is_sound());
}

/// Conditions are asked of all records to find the newest that are kept, and to count what is removed where progress is told of it.
#[test]
fn a_prune_is_also_stopped_before_it_is_known_what_is_removed() {
    const SAMPLES: u64 = 30_000;
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder.path().join("s.redb"), &samples(SAMPLES));
    let all = Query::new().condition("data.number >= 0".parse().unwrap());
    let stopped_at = |last: u64| {
        let asked = AtomicU64::new(0);
        move || asked.fetch_add(1, Ordering::SeqCst) == last
    };
    let most = database.facets(&Query::new()).unwrap();
    let most = most.by_pipeline().into_values().max().unwrap();
    for prune in [
        Prune::new().matching(all.clone()).keep_newest(most - 1),
        Prune::new()
            .matching(all.clone())
            .keep_newest(most - 1)
            .on_progress(|_| ()),
        Prune::new().matching(all.clone()).on_progress(|_| ()),
        Prune::new().keep_newest(most / 2),
    ] {
        assert!(database.prunable(&prune).unwrap().total() > 0, "{prune:?}");
        let stopped = prune.stop_when(stopped_at(1));
        assert_eq!(database.prune(&stopped).unwrap(), 0, "{stopped:?}");
        let error = database
            .prunable(&stopped.stop_when(stopped_at(1)))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
    assert_eq!(database.count(&Query::new()).unwrap(), SAMPLES);

    // What is counted already is not counted again, and progress is told of it.
    let prune = Prune::new().matching(all);
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let watched = prune
        .counted(2 * SAMPLES)
        .on_progress(move |share| telling.lock().unwrap().push(share));
    assert_eq!(database.prune(&watched).unwrap(), SAMPLES);
    let told = told.lock().unwrap();
    let [before @ .., 1.0] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(
        !before.is_empty() && before.iter().all(|share| *share <= 0.5),
        "{told:?}"
    );
}

#[test]
fn a_prune_that_names_nothing_and_one_by_a_reader_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let writer = database(&path, &samples(10));
    for refused in [
        writer.prune(&Prune::new()),
        writer.prunable(&Prune::new()).map(|facets| facets.total()),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    writer.close().unwrap();
    let reader = Database::options().read_only(true).open(&path).unwrap();
    let prune = Prune::new().keep_newest(0);
    assert_eq!(reader.prunable(&prune).unwrap().total(), 10);
    assert_eq!(
        reader.prune(&prune).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
}

/// Bytes that a file takes on its disk: redb lengthens files in large steps, of which most is a hole.
fn disk_bytes(path: &Path) -> u64 {
    let metadata = fs::metadata(path).unwrap();
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    return metadata.len();
}

/// What is seen of a prune after each of its steps.
struct Step {
    progress: f64,
    count: u64,
    disk_bytes: u64,
}

#[test]
fn a_large_prune_goes_in_durable_steps_and_the_file_does_not_grow() {
    const SAMPLES: u64 = 90_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let open = |shares: bool| Database::options().shared_readers(shares).open(&path);
    for shares in [false, true] {
        drop(database(&path, &samples(SAMPLES)));
        let database = open(shares).unwrap();
        let before = disk_bytes(&path);
        let prune = Prune::new()
            .status(Status::Pending)
            .status(Status::Measured)
            .status(Status::Ready);
        let expected = database.prunable(&prune).unwrap().total();
        assert_eq!(expected, SAMPLES / 2);

        let steps = Arc::new(Mutex::new(Vec::new()));
        let copy = folder.path().join("copy.redb");
        let watched = prune.clone().on_progress({
            let (steps, database, path, copy) =
                (steps.clone(), database.clone(), path.clone(), copy.clone());
            move |progress| {
                let mut steps = steps.lock().unwrap();
                if steps.len() == 2 {
                    // As it would be found if the process ended here.
                    fs::copy(&path, &copy).unwrap();
                }
                steps.push(Step {
                    progress,
                    count: database.count(&Query::new()).unwrap(),
                    disk_bytes: disk_bytes(&path),
                });
            }
        });
        assert_eq!(database.prune(&watched).unwrap(), expected);
        let steps = steps.lock().unwrap();
        let counts: Vec<u64> = steps.iter().map(|step| step.count).collect();
        assert!(counts.len() >= 5 && counts.is_sorted_by(|a, b| a > b && b + 10_000 >= *a));
        assert_eq!(counts.last(), Some(&(SAMPLES / 2)));
        for step in &*steps {
            let done = SAMPLES - step.count;
            assert_eq!(step.progress, done as f64 / expected as f64);
        }
        let largest = steps.iter().map(|step| step.disk_bytes).max().unwrap();
        println!(
            "shares {shares}: {before} bytes on disk, at most {largest} while half is removed"
        );
        assert!(largest <= before + before / 4, "{largest} of {before}");

        // Where it ended early, the rest goes when it is done again.
        let copied = Database::open(&copy).unwrap();
        assert_eq!(copied.count(&Query::new()).unwrap(), counts[2]);
        assert_eq!(copied.prune(&prune).unwrap(), counts[2] - SAMPLES / 2);
        assert_eq!(ids(&copied), ids(&database));
        drop((copied, database));
        fs::remove_file(&copy).unwrap();
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn progress_is_1_at_once_where_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("s.redb")).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let prune = Prune::new().pipeline("a").on_progress({
        let told = Arc::clone(&told);
        move |share| told.lock().unwrap().push(share)
    });
    assert_eq!(database.prune(&prune).unwrap(), 0);
    assert_eq!(*told.lock().unwrap(), [1.0]);
}

#[test]
fn progress_ends_with_1_also_when_others_removed_some() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder.path().join("s.redb"), &samples(25_000));
    let told = Arc::new(Mutex::new(Vec::new()));
    let (other, telling) = (database.clone(), Arc::clone(&told));
    let watched = Prune::new().pipeline("b").on_progress(move |share| {
        other.delete(&Query::new().pipeline("b").into()).unwrap();
        telling.lock().unwrap().push(share);
    });
    let removed = database.prune(&watched).unwrap();
    assert_eq!(database.count(&Query::new().pipeline("b")).unwrap(), 0);
    let told = told.lock().unwrap();
    assert!(told[0] < 1.0 && told.last() == Some(&1.0), "{told:?}");
    assert!(removed > 0 && removed < 25_000, "{removed}");
}

#[test]
fn what_is_stored_during_a_prune_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let database = database(&path, &samples(25_000));
    let of = |name: &str| database.count(&Query::new().pipeline(name)).unwrap();
    let kept: u64 = PIPELINES.iter().map(|name| of(name).min(100)).sum();
    let stored = Arc::new(Mutex::new(0));
    let prune = Prune::new().keep_newest(100).on_progress({
        let (stored, database) = (stored.clone(), database.clone());
        move |_| {
            let mut stored = stored.lock().unwrap();
            *stored += 1;
            let sample = Sample::builder("a").created_at(instant(1_000_000 + *stored));
            database.store(&[sample.build().unwrap()]).unwrap();
        }
    });
    let removed = database.prune(&prune).unwrap();
    let stored = *stored.lock().unwrap() as u64;
    assert_eq!(removed, 25_000 - kept);
    assert!(stored > 2);
    assert_eq!(database.count(&Query::new()).unwrap(), kept + stored);
}

/// Compacting cuts the file off, and neither what follows it nor closing makes it large again.
#[test]
fn a_compacted_file_is_and_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.redb");
    let database = Database::open(&path).unwrap();
    let sample = |number: u64| {
        let sample = Sample::builder("p").id(format!("{number:06}"));
        let text = format!("{number} ").repeat(30);
        sample.data(data! { "text" => text }).build().unwrap()
    };
    for batch in 0..40 {
        let batch: Vec<Sample> = (batch * 500..(batch + 1) * 500).map(sample).collect();
        database.store(&batch).unwrap();
    }
    let len = || std::fs::metadata(&path).unwrap().len();
    let before = len();
    database.compact().unwrap();
    let compacted = len();
    assert!(compacted < before, "{before} bytes, {compacted} compacted");
    database.close().unwrap();
    assert!(
        len() <= compacted + (256 << 10),
        "{compacted} bytes, {} closed",
        len()
    );
}
