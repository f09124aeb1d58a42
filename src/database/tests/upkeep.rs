//! What a database does beside answering, over many commits: it merges ids, makes time runs again, sweeps out what is not needed, packs,
//! and survives the loss of checkpoints.

use super::super::disk::memory::Done;
use super::super::runs::KEPT_BYTES_MAX;
use super::super::schema::{CHUNK_ROWS, LEAF_BYTES, RUN_ENTRIES, RUN_LEAVES};
use super::*;

#[test]
fn every_generation_of_ids_is_found_while_it_is_merged() {
    for hash_bits in [64, 6] {
        let mut pair = Pair::new(hash_bits, Durability::Deferred);
        for _ in 0..40 {
            pair.run(&Operation::Load(100, Pattern::Shuffled));
        }
        let gone = Query::new().status(Status::Dlq);
        pair.check();
        pair.run(&Operation::Delete(gone));
        pair.check();
        pair.run(&Operation::Reopen);
        pair.check();
        for id in 0..IDS {
            let id = format!("s{id}");
            assert_eq!(
                pair.database.retrieve(&id).unwrap(),
                pair.memory.retrieve(&id).unwrap(),
                "{id}"
            );
        }
    }
}

/// Who prunes is told what is gone when the disk fails later.
#[test]
fn prune_says_what_it_removed_before_it_failed() {
    let disk = Arc::new(MemoryDisk::default());
    let database = Database::options()
        .open_disk("prune".into(), disk.clone())
        .unwrap();
    let batch = |first: usize| {
        let samples = (first..first + 1_000).map(|number| {
            Sample::builder("p")
                .id(format!("{number}x"))
                .build()
                .unwrap()
        });
        samples.collect::<Vec<_>>()
    };
    for first in (0..12_000).step_by(1_000) {
        database.store(&batch(first)).unwrap();
    }
    let before = database.count(&Query::new()).unwrap();
    let prune = Prune::new().older_than(Utc::now() + chrono::TimeDelta::days(1));
    let failing = prune.on_progress(move |_| disk.set_failing(true));
    let failed = database.prune(&failing).unwrap_err();
    let removed = before - database.count(&Query::new()).unwrap();
    assert!(removed > 0);
    let words = format!("it removed {removed} samples before");
    assert!(failed.to_string().contains(&words), "{failed}");
}

/// Also of batches so small that one does not pay for a bucket.
#[test]
fn a_generation_of_ids_is_merged_before_the_next_one_is_full() {
    for samples in [1, 7, 100] {
        let folder = tempfile::tempdir().unwrap();
        let options = Database::options().durability(Durability::Deferred);
        let database = options.open(folder.path().join("ids.db")).unwrap();
        let mut buckets = None;
        let (mut commits, mut merges) = (0, 0);
        for first in (0..2_800).step_by(samples) {
            let batch: Vec<Sample> = (first..first + samples)
                .map(|number| {
                    Sample::builder("p")
                        .id(format!("{number}x"))
                        .build()
                        .unwrap()
                })
                .collect();
            database.store(&batch).unwrap();
            let view = database.snapshot().unwrap().view;
            let state = &view.state;
            // A generation is 700, and what one batch more brings.
            assert!(
                state.active_ids <= 700 + 2 * samples as u64,
                "{samples}: {}",
                state.active_ids
            );
            commits += 1;
            merges += usize::from(buckets.replace(state.id_buckets) != Some(state.id_buckets));
        }
        // The first one is none.
        assert!(merges > 3, "{samples}: {merges}");
        // Several buckets at once, and then none for a while.
        assert!(samples > 1 || merges * 8 < commits, "{merges} of {commits}");
    }
}

#[test]
fn many_changed_instants_give_a_chunk_a_new_run() {
    let mut pair = Pair::new(64, Durability::Immediate);
    pair.run(&Operation::Load(2_000, Pattern::Ordered));
    for round in 0..6 {
        let specs: Vec<Spec> = (0..17)
            .map(|step| Spec {
                id: step * 40 + round,
                pipeline: (step % 5) as u8,
                status: Status::Ready,
                micros: i64::from(step * 7 + round) % SPAN,
            })
            .collect();
        pair.store(&specs);
        pair.compare(&Query::new().newest_first(), 33);
        pair.compare(
            &Query::new()
                .status(Status::Ready)
                .after(at(100))
                .before(at(300)),
            7,
        );
    }
}

/// Pairs of deleted samples stay until a merge sweeps them out; blocks go when nothing in them is needed.
#[test]
fn what_was_deleted_leaves_the_file_in_time() {
    let mut pair = Pair::new(64, Durability::Immediate);
    for _ in 0..12 {
        pair.run(&Operation::Load(100, Pattern::Ordered));
    }
    pair.run(&Operation::Delete(Query::new().before(at(380))));
    let blocks = |pair: &Pair| {
        let view = pair.database.engine.view("test").unwrap();
        let sizes = view.tables.sizes().unwrap();
        let entries = |name| sizes.iter().find(|table| table.0 == name).unwrap().1;
        (entries("blocks"), view.state.merged_ids)
    };
    let (left, _) = blocks(&pair);
    assert!(left <= 10, "{left} blocks for 60 samples");
    for _ in 0..28 {
        pair.run(&Operation::Load(100, Pattern::Ordered));
    }
    let (_, pairs) = blocks(&pair);
    assert!(
        pairs < 2_860,
        "{pairs} pairs for 2,860 samples, some gathered"
    );
    pair.check();
    pair.compare(&Query::new(), 50);
}

/// The power goes while a checkpoint is on its way, and again during the first one after that: the log, which then
/// has what counts in both halves, must not be written over before redb has it.
#[test]
fn a_checkpoint_that_is_lost_twice_loses_nothing() {
    let sample = |number: usize| {
        let sample = Sample::builder("p").id(format!("{number:04}"));
        sample.created_at(at(number as i64)).build().unwrap()
    };
    let mut disk = Arc::new(MemoryDisk::default());
    open(&disk, 64, Durability::Immediate).close().unwrap();
    let mut stored = 0;
    for life in 0..3 {
        disk = Arc::new(MemoryDisk::of(disk.bytes()));
        let database = open(&disk, 64, Durability::Immediate);
        for number in 0..stored {
            let found = database.retrieve(&format!("{number:04}")).unwrap();
            assert_eq!(found, Some(sample(number)), "in life {life}");
        }
        assert_eq!(database.count(&Query::new()).unwrap(), stored as u64);
        // The first ones sync before they write, since the file is opened, and grows.
        for _ in 0..if life == 0 { 4 } else { 1 } {
            database.store(&[sample(stored)]).unwrap();
            stored += 1;
        }
        let gate = disk.sync_gate.lock().unwrap();
        let acknowledged = AtomicUsize::new(stored);
        let bytes = std::thread::scope(|scope| {
            // At first some more than a half has room for, 16, so that it goes on in the other one.
            let numbers = stored..stored + if life == 0 { 15 } else { 70 };
            let storing = scope.spawn(|| {
                for number in numbers {
                    database.store(&[sample(number)]).unwrap();
                    acknowledged.store(number + 1, Ordering::SeqCst);
                }
            });
            // Until it waits for a sync, or is done.
            let mut before = usize::MAX;
            while before != acknowledged.load(Ordering::SeqCst) {
                before = acknowledged.load(Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            stored = before;
            let bytes = disk.after_power_loss(|| false);
            drop(gate);
            storing.join().unwrap();
            bytes
        });
        drop(database);
        disk = Arc::new(MemoryDisk::of(bytes));
    }
    assert!(stored > 32, "{stored} samples");
}

/// A process that opens a file and then moves samples one by one decodes the pairs of ids that are not merged yet
/// once, not at each commit.
#[test]
fn single_status_changes_decode_the_gathered_ids_once() {
    let disk = Arc::new(MemoryDisk::default());
    let ids: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    let sample = |id: &String| Sample::builder("p").id(id.as_str()).build().unwrap();
    let samples: Vec<Sample> = ids.iter().map(sample).collect();
    let database = open(&disk, 64, Durability::Immediate);
    database.store(&samples).unwrap();
    database.close().unwrap();

    let database = open(&disk, 64, Durability::Immediate);
    let view = || database.engine.view("test").unwrap();
    let mut decoded = Vec::new();
    for id in &ids {
        let moved = database.set_status(&id.as_str().into(), None, Status::Ready);
        assert_eq!(moved.unwrap(), 1);
        decoded.push(view().gathered().map(|gathered| gathered as *const _));
    }
    assert_eq!(decoded[0], None, "a few look-ups need no decoding");
    let first = decoded.iter().position(Option::is_some).unwrap();
    assert!(decoded[first..].iter().all(|at| *at == decoded[first]));
    assert!(first < 5, "decoded at commit {first}");
}

/// A block that a view keeps stays as it is, whatever is committed and given up meanwhile.
#[test]
fn a_kept_block_stays_as_it_is() {
    let disk = Arc::new(MemoryDisk::default());
    let database = open(&disk, 64, Durability::Immediate);
    let sample = |number: usize| {
        let sample = Sample::builder("p").id(format!("{number:04}"));
        sample
            .data(data! { "number" => number as i64 })
            .build()
            .unwrap()
    };
    let samples: Vec<Sample> = (0..200).map(sample).collect();
    database.store(&samples).unwrap();
    let view = database.engine.view("test").unwrap();
    let kept = || view.with_kept_block(0, |block| Ok(block.to_vec())).unwrap();
    let before = kept();
    database.delete(&Query::new().into()).unwrap();
    for _ in 0..5 {
        database.store(&samples).unwrap();
        database.flush().unwrap();
    }
    assert_eq!(kept(), before);
    let metrics = database.metrics();
    assert_eq!((metrics.kept_block_misses, metrics.kept_block_hits), (1, 1));
}

/// Leaves that were decoded of runs are kept up to a number, and those of runs that were made again count no more.
#[test]
fn leaves_of_runs_that_are_gone_give_back_their_room() {
    let mut pair = Pair::new(64, Durability::Deferred);
    pair.run(&Operation::Load(2_000, Pattern::Shuffled));
    let of_one = |status| Query::new().status(status);
    let leaves_read = |pair: &Pair| {
        pair.database.list(&of_one(Status::Ready)).unwrap();
        pair.database.metrics().leaves_read
    };
    for round in 0..8_u16 {
        let specs: Vec<Spec> = (0..1_900)
            .step_by(9)
            .map(|id| Spec {
                id,
                pipeline: 0,
                status: Status::Ready,
                micros: i64::from(id * 31 + round * 17) % SPAN,
            })
            .collect();
        pair.store(&specs);
        let before = pair.database.metrics().leaves_read;
        let once = leaves_read(&pair);
        assert!(once > before, "round {round}: the runs are new");
        assert_eq!(leaves_read(&pair), once, "round {round}: all are kept");
    }
    // Of the two full chunks, as they are now.
    let kept = pair.database.engine.view("test").unwrap().kept_leaves();
    assert!((1..=2 * RUN_LEAVES * LEAF_BYTES).contains(&kept), "{kept}");
    pair.compare(&Query::new(), 50);
}

/// Whoever counts keeps places alone, of which many more have room; and when no room is left, answers are the same.
#[test]
fn parts_of_leaves_are_kept_up_to_so_many_bytes() {
    let mut pair = Pair::new(64, Durability::Deferred);
    pair.run(&Operation::Load(IDS, Pattern::Shuffled));
    pair.run(&Operation::Reopen);
    let kept = |pair: &Pair| pair.database.engine.view("test").unwrap().kept_leaves();
    let read = |pair: &Pair| pair.database.metrics().leaves_read;
    let half = Query::new().after(at(SPAN / 2));
    let count = pair.database.count(&half).unwrap();
    let (bytes, leaves) = (kept(&pair), read(&pair));
    let chunks = usize::from(IDS) / CHUNK_ROWS as usize;
    // Half of the places, and of each chunk the instants where the range begins.
    let places = chunks * RUN_LEAVES / 2 * RUN_ENTRIES * 2;
    let instants = chunks * RUN_ENTRIES * 8;
    let most = places + instants + chunks * 4 * LEAF_BYTES;
    assert!((places / 2..=most).contains(&bytes), "{bytes} of {most}");
    assert_eq!(pair.database.count(&half).unwrap(), count);
    assert_eq!(read(&pair), leaves, "all are kept");
    assert_eq!(pair.memory.count(&half).unwrap(), count);
    // All of them are more than there is room for.
    assert!(chunks * RUN_LEAVES * LEAF_BYTES > KEPT_BYTES_MAX);
    pair.compare(&Query::new(), 50);
    pair.compare(&half.newest_first(), 50);
    let bytes = kept(&pair);
    let full = KEPT_BYTES_MAX - LEAF_BYTES..=KEPT_BYTES_MAX;
    assert!(full.contains(&bytes), "{bytes} of {KEPT_BYTES_MAX}");
    let view = pair.database.engine.view("test").unwrap();
    let kept_leaves = view.decoded().unwrap().kept_leaves;
    drop(view);
    drop(pair);
    assert_eq!(kept_leaves.bytes(), 0);
}

/// Compacting folds what was replaced into blocks, drops dead records and pairs, and changes nothing that is seen; what it
/// would win, and what a copy leaves out, is known before.
#[test]
fn compacting_leaves_nothing_that_is_not_needed() {
    let mut pair = Pair::new(64, Durability::Immediate);
    for _ in 0..30 {
        pair.run(&Operation::Load(100, Pattern::Shuffled));
    }
    let again: Vec<Spec> = (0..600)
        .map(|step| Spec {
            id: step * 3,
            pipeline: (step % 5) as u8,
            status: Status::Ready,
            micros: i64::from(step) % SPAN,
        })
        .collect();
    again.chunks(50).for_each(|specs| pair.store(specs));
    pair.run(&Operation::Delete(Query::new().status(Status::Skipped)));
    let seen = |pair: &Pair| {
        let view = pair.database.engine.view("test").unwrap();
        let sizes = view.tables.sizes().unwrap();
        let entries = |name| sizes.iter().find(|table| table.0 == name).unwrap().1;
        let dead = pack::dead_bytes(&view).unwrap();
        (
            entries("replaced"),
            entries("blocks"),
            dead,
            view.state.stale_ids,
        )
    };
    let (replaced, blocks, dead, stale) = seen(&pair);
    assert!(replaced > 400 && dead > 1_000 && stale > 100);
    let bytes = pair.disk.bytes().len();
    pair.run(&Operation::Compact);
    let after = seen(&pair);
    assert_eq!((after.0, after.2), (0, 0));
    assert!(after.1 < blocks, "{} of {blocks}", after.1);
    // Those that are not merged yet stay.
    assert!(after.3 < stale / 2, "{} of {stale}", after.3);
    assert!(pair.disk.bytes().len() < bytes);
    pair.compare(&Query::new(), 50);
    pair.run(&Operation::Kill(Some(7)));
    pair.compare(&Query::new().newest_first(), 50);
    // Again, blocks of neighbouring units may be joined, and then there is nothing to do.
    let commit = |pair: &Pair| pair.database.engine.view("test").unwrap().state.mark.number;
    pair.run(&Operation::Compact);
    let number = commit(&pair);
    pair.run(&Operation::Compact);
    assert_eq!(commit(&pair), number);
    // And it goes on to be a database.
    for _ in 0..5 {
        pair.run(&Operation::Load(100, Pattern::Jittered));
    }
    again.chunks(50).for_each(|specs| pair.store(specs));
    pair.run(&Operation::Delete(Query::new().status(Status::Ready)));
    pair.compare(&Query::new(), 50);
}

#[test]
fn what_is_counted_as_logged_is_what_the_log_has() {
    let disk = Arc::new(MemoryDisk::default());
    let database = Database::options()
        .cache_bytes(1 << 20)
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    disk.take_done();
    let sample = |number: usize| {
        let sample = Sample::builder("p").id(number.to_string());
        sample.build().unwrap()
    };
    for size in [1, 30, 400, 2, 1_500] {
        let batch: Vec<Sample> = (0..size)
            .map(|number| sample(size * 1_000 + number))
            .collect();
        database.store(&batch).unwrap();
    }
    database
        .set_status(&Query::new().into(), None, Status::Dlq)
        .unwrap();
    let records = disk.take_done().into_iter().filter_map(|done| match done {
        Done::WriteDurable { bytes, .. } if bytes.starts_with(b"slog") => Some(bytes.len() as u64),
        _ => None,
    });
    let records: Vec<u64> = records.collect();
    let logged = database.metrics().logged_bytes;
    assert_eq!((logged.count(), logged.sum()), (6, records.iter().sum()));
    assert_eq!(logged.max(), records.into_iter().max().unwrap());
}
