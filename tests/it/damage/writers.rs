//! Whoever writes a damaged file.

use std::fs;
use std::path::Path;

use samplestore::{Database, Error, ErrorKind, Query, Sample, Status, Storage};

use super::{
    BATCH, Model, PAGE_BYTES, SAMPLES, STRIDE, assert_no_own_panics, file, pages, sample, stride,
};

type Change = fn(&dyn Storage) -> Result<(), Error>;

/// What is done to a damaged file.
const CHANGES: [Change; 3] = [
    |storage| {
        let batch = [sample(SAMPLES + 1), sample(5)];
        storage.store(&batch).map(|_| ())
    },
    |storage| {
        let moved = storage.set_status(&"s7".into(), None, Status::Ready);
        moved.map(|_| ())
    },
    |storage| {
        let gone = Query::new().status(Status::Dlq);
        storage.delete(&gone.into()).map(|_| ())
    },
];

/// Whoever writes a damaged file may fail, but what is acknowledged is there, and nothing else has changed. So it is of a file that was closed, and of
/// one that was not, of which the last commit may be gone: damage to it looks like one that was torn.
#[test]
fn writers_of_a_damaged_file_change_what_they_say_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.redb");
    let samples: Vec<Sample> = (0..SAMPLES).map(sample).collect();
    let (closed, _) = file(&path);
    let killed = {
        let killed = folder.path().join("killed.redb");
        let database = Database::open(&killed).unwrap();
        for batch in samples.chunks(BATCH) {
            database.store(batch).unwrap();
        }
        fs::read(&killed).unwrap()
    };
    let of_killed = killed.chunks_exact(PAGE_BYTES).enumerate();
    let of_killed = of_killed.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let of_killed: Vec<usize> = of_killed.map(|(page, _)| page * PAGE_BYTES).collect();
    let before_last = samples[..SAMPLES - BATCH].to_vec();
    for (what, bytes, pages, bases) in [
        ("closed", &closed, pages(&closed), vec![samples.clone()]),
        ("killed", &killed, of_killed, vec![samples, before_last]),
    ] {
        let mut written = Written::default();
        let all = pages.iter().flat_map(|page| *page..page + PAGE_BYTES);
        for at in all.step_by(stride(STRIDE * 23)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= [0xff, 2, 0x40][at % 3];
            fs::write(&path, &damaged).unwrap();
            written.write(&format!("byte {at}"), &path, &bases);
        }
        println!("damage: written: {what}: {written:?}");
        assert!(written.refused + written.failed > 0 && written.made > 0);
    }
    assert_no_own_panics();
}

/// How many files and changes ended how.
#[derive(Debug, Default)]
struct Written {
    refused: usize,
    made: usize,
    failed: usize,
    /// Files with a change of which nobody knew whether it was made.
    in_doubt: usize,
}

impl Written {
    /// Changes a file that has one of these, and opens it again.
    fn write(&mut self, what: &str, path: &Path, bases: &[Vec<Sample>]) {
        let open = || Database::options().create(false).open(path);
        let Ok(database) = open() else {
            self.refused += 1;
            return;
        };
        // What may have been made of which of them.
        let mut may_be: Vec<(usize, Vec<Change>)> =
            (0..bases.len()).map(|base| (base, Vec::new())).collect();
        let mut is_in_doubt = false;
        for change in CHANGES {
            match change(&database) {
                Ok(()) => {
                    may_be.iter_mut().for_each(|(_, made)| made.push(change));
                    self.made += 1;
                }
                Err(error) => {
                    self.failed += 1;
                    if error.kind() == ErrorKind::OutcomeUnknown {
                        is_in_doubt = true;
                        let mut with_it = may_be.clone();
                        with_it.iter_mut().for_each(|(_, made)| made.push(change));
                        may_be.extend(with_it);
                    }
                }
            }
        }
        self.in_doubt += usize::from(is_in_doubt);
        let models = may_be.iter().map(|(base, made)| {
            let model = Model::new(&bases[*base]);
            made.iter()
                .for_each(|change| change(&model.memory).unwrap());
            model
        });
        let models: Vec<Model> = models.collect();
        if !is_in_doubt {
            assert_one_of(what, &models, &database);
        }
        drop(database);
        // What could not be closed may need a repair that fails.
        match open() {
            Ok(database) => assert_one_of(what, &models, &database),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}"),
        }
    }
}

/// Every answer is that of one of these, or an error.
fn assert_one_of(what: &str, models: &[Model], database: &Database) {
    if let [model] = models {
        model.ask(database);
        return;
    }
    match database.list(&Query::new()) {
        Ok(page) => {
            let is_same = |model: &&Model| {
                let expected = model.memory.list(&Query::new()).unwrap();
                expected.samples == page.samples
            };
            let model = models.iter().find(is_same);
            let model = model.unwrap_or_else(|| panic!("{what}: {} samples", page.samples.len()));
            model.ask(database);
        }
        Err(error) => {
            let is_typed = matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Io);
            assert!(is_typed, "{what}: {error}");
            for number in 0..SAMPLES + 20 {
                let id = format!("s{number}");
                if let Ok(found) = database.retrieve(&id) {
                    let is_right = |model: &Model| model.memory.retrieve(&id).unwrap() == found;
                    assert!(models.iter().any(is_right), "{what}: {id}: {found:?}");
                }
            }
        }
    }
}
