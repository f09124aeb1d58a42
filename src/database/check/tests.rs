//! Every kind of fault, made on purpose below the database, is found and named.

use std::sync::Arc;

use redb::{Builder, ReadableTable, Table, TableHandle, WriteTransaction};

use super::{CheckReport, FaultKind};
use crate::database::disk::Access;
use crate::database::disk::memory::MemoryDisk;
use crate::database::header::HALF_BYTES;
use crate::database::schema::{
    FIELDS, Kind, SEAL_BYTES, TablesMut, cell_key, definition, run_key, seal,
};
use crate::database::volume::{Backend, Volume};
use crate::database::{Backup, Database, Options};
use crate::query::{Field, Query};
use crate::sample::{Sample, Status};
use crate::storage::Storage;
use crate::{ErrorKind, data, instant};

type Bytes<'t> = Table<'t, u64, &'static [u8]>;

fn options() -> Options {
    Database::options().cache_bytes(1 << 20)
}

pub(in crate::database) fn open(bytes: &[u8]) -> Database {
    let disk = Arc::new(MemoryDisk::of(bytes.to_vec()));
    options().open_disk("memory".into(), disk).unwrap()
}

fn sample(number: u64) -> Sample {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    Sample::builder(["even", "odd", "third"][number as usize % 3])
        .id(format!("s{number}"))
        .status(Status::ALL[number as usize % 6])
        .created_at(instant::from_micros(mixed as i64).unwrap())
        .data(data! { "number" => number })
        .build()
        .unwrap()
}

fn field() -> Field {
    "data.number".parse().unwrap()
}

/// A closed file with all that there can be: two full chunks and a third, replaced, moved and deleted
/// samples, ids in buckets, being merged and gathered, an index of a field.
pub(in crate::database) fn file() -> Vec<u8> {
    let disk = Arc::new(MemoryDisk::default());
    let database = options()
        .open_disk("memory".into(), Arc::clone(&disk) as _)
        .unwrap();
    let samples: Vec<Sample> = (0..2_100).map(sample).collect();
    for batch in samples.chunks(100) {
        database.store(batch).unwrap();
    }
    database.create_index(&field(), |_| ()).unwrap();
    let again: Vec<Sample> = (0..20)
        .map(|number| {
            let number = number * 40;
            let sample = sample(number + 1).into_builder().id(format!("s{number}"));
            sample.build().unwrap()
        })
        .collect();
    database.store(&again).unwrap();
    let gone = Query::new().status(Status::Dlq).pipeline("odd");
    database.delete(&gone.into()).unwrap();
    let report = database.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    database.close().unwrap();
    disk.bytes()
}

/// Changes the tables of a closed file, as no database would, and gives what is closed again.
pub(in crate::database) fn tamper(
    bytes: &[u8],
    change: impl FnOnce(&mut TablesMut<'_>),
) -> Vec<u8> {
    transact(bytes, |transaction| {
        change(&mut TablesMut::open_all(transaction).unwrap());
    })
}

fn transact(bytes: &[u8], change: impl FnOnce(&WriteTransaction)) -> Vec<u8> {
    let disk = Arc::new(MemoryDisk::of(bytes.to_vec()));
    let access = Access::Write { create: false };
    let volume = Arc::new(Volume::new(Arc::clone(&disk) as _, access, HALF_BYTES));
    let backend = Backend(Arc::clone(&volume));
    let database = Builder::new().create_with_backend(backend).unwrap();
    volume.opened();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    database.close().unwrap();
    disk.bytes()
}

/// Changes the value of a key.
fn edit(table: &mut Bytes<'_>, key: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let mut value = table.get(key).unwrap().unwrap().value().to_vec();
    change(&mut value);
    table.insert(key, value.as_slice()).unwrap();
}

/// The same, with a seal that holds.
fn forge(table: &mut Bytes<'_>, kind: Kind, key: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let entry = match kind {
        Kind::Chunk | Kind::Pipeline | Kind::State => kind.summary_key(key),
        _ => key,
    };
    edit(table, entry, |value| {
        value.truncate(value.len() - SEAL_BYTES);
        change(value);
        seal(kind, key, value);
    });
}

/// The file with 65,536 samples more in a pipeline, as its counters say.
pub(in crate::database) fn with_counters_too_high() -> Vec<u8> {
    tamper(&file(), |tables| {
        forge(&mut tables.summary, Kind::Pipeline, 1, |value| {
            value[10] += 1;
        });
    })
}

fn first_key(table: &Bytes<'_>) -> u64 {
    table.first().unwrap().unwrap().0.value()
}

fn check(bytes: &[u8]) -> CheckReport {
    open(bytes).check(|_| ()).unwrap()
}

/// Something done to the tables of a file, and the kind of fault that it is.
pub(in crate::database) type Change = (&'static str, FaultKind, fn(&mut TablesMut<'_>));

/// One or more for each kind of fault.
pub(in crate::database) fn changes() -> Vec<Change> {
    use FaultKind::{Column, Counter, IdIndex, PipelineIndex, Record, Status, Surplus, TimeIndex};
    vec![
        ("a block that is gone", Record, |tables| {
            drop(tables.blocks.remove(0).unwrap().unwrap());
        }),
        ("a byte of a record", Record, |tables| {
            edit(&mut tables.blocks, 0, |value| {
                *value.last_mut().unwrap() ^= 1;
            });
        }),
        ("a block with too many records", Record, |tables| {
            edit(&mut tables.blocks, 0, |value| {
                let count = u32::from_le_bytes(value[..4].try_into().unwrap());
                value[..4].copy_from_slice(&(count + 1).to_le_bytes());
                let end = value[count as usize * 4..][..4].to_vec();
                let at = 4 + count as usize * 4;
                value.splice(at..at, end);
            });
        }),
        ("a replaced record that is gone", Record, |tables| {
            let key = first_key(&tables.replaced);
            drop(tables.replaced.remove(key).unwrap().unwrap());
        }),
        ("the record of another row", Record, |tables| {
            let value = tables.replaced.get(40).unwrap().unwrap().value().to_vec();
            tables.replaced.insert(80, value.as_slice()).unwrap();
        }),
        ("a block that nobody needs", Surplus, |tables| {
            tables.blocks.insert(5, [0; 4].as_slice()).unwrap();
        }),
        ("a replaced record that nobody needs", Surplus, |tables| {
            tables.replaced.insert(5, [0; 4].as_slice()).unwrap();
        }),
        ("a leaf of the planes that is gone", Status, |tables| {
            drop(tables.status.remove(1).unwrap().unwrap());
        }),
        ("a byte of a leaf of the planes", Status, |tables| {
            edit(&mut tables.status, 0, |value| value[3] ^= 4);
        }),
        ("another status", Counter, |tables| {
            forge(&mut tables.status, Kind::Status, 0, |value| {
                // A row of status 1 that becomes one of 3, or the other way round.
                let ones = value[0] & !value[48];
                assert!(ones != 0);
                value[24] ^= ones & ones.wrapping_neg();
            });
        }),
        ("a leaf behind the last row", Surplus, |tables| {
            tables.status.insert(999, [0; 4].as_slice()).unwrap();
        }),
        ("a leaf of the columns that is gone", Column, |tables| {
            drop(tables.columns.remove(3).unwrap().unwrap());
        }),
        ("another instant", Column, |tables| {
            forge(&mut tables.columns, Kind::Columns, 3, |value| value[8] ^= 1);
        }),
        ("another pipeline", Column, |tables| {
            forge(&mut tables.columns, Kind::Columns, 209, |value| {
                value[80] ^= 1;
            });
        }),
        ("a leaf of a run that is gone", TimeIndex, |tables| {
            drop(tables.created_runs.remove(run_key(1, 3)).unwrap().unwrap());
        }),
        ("a run that has a row twice", TimeIndex, |tables| {
            forge(
                &mut tables.created_runs,
                Kind::CreatedRun,
                run_key(1, 3),
                |value| {
                    let (first, second) = (value[96], value[97]);
                    (value[98], value[99]) = (first, second);
                },
            );
        }),
        (
            "fences that are not those of the leaves",
            TimeIndex,
            |tables| {
                forge(
                    &mut tables.created_runs,
                    Kind::CreatedRun,
                    run_key(0, 255),
                    |value| value[9] ^= 1,
                );
            },
        ),
        ("moved rows that are forgotten", TimeIndex, |tables| {
            drop(tables.created_moved.remove(0).unwrap().unwrap());
        }),
        ("a bitmap that is gone", PipelineIndex, |tables| {
            drop(
                tables
                    .pipeline_rows
                    .remove(cell_key(1, 2))
                    .unwrap()
                    .unwrap(),
            );
        }),
        ("a bitmap of another pipeline", PipelineIndex, |tables| {
            let key = cell_key(1, 2);
            let other = tables.pipeline_rows.get(cell_key(1, 1)).unwrap();
            let mut value = other.unwrap().value().to_vec();
            value.truncate(value.len() - SEAL_BYTES);
            seal(Kind::PipelineRows, key, &mut value);
            tables.pipeline_rows.insert(key, value.as_slice()).unwrap();
        }),
        ("a head that counts wrongly", Counter, |tables| {
            forge(&mut tables.summary, Kind::Chunk, 1, |value| value[16] ^= 1);
        }),
        ("a head that is too narrow", Counter, |tables| {
            forge(&mut tables.summary, Kind::Chunk, 1, |value| value[4] ^= 1);
        }),
        ("a pipeline that counts wrongly", Counter, |tables| {
            forge(&mut tables.summary, Kind::Pipeline, 1, |value| {
                value[8] ^= 1;
            });
        }),
        (
            "a byte of the name of a pipeline",
            FaultKind::Pipeline,
            |tables| {
                edit(
                    &mut tables.summary,
                    Kind::Pipeline.summary_key(1),
                    |value| {
                        let at = value.windows(3).position(|name| name == b"odd").unwrap();
                        value[at] ^= 1;
                    },
                );
            },
        ),
        ("totals that are wrong", Counter, |tables| {
            forge(&mut tables.summary, Kind::State, 0, |value| {
                value[24 + 88] ^= 1;
            });
        }),
        ("a bucket that is gone", IdIndex, |tables| {
            let key = first_key(&tables.ids);
            drop(tables.ids.remove(key).unwrap().unwrap());
        }),
        ("a run of gathered pairs that is gone", IdIndex, |tables| {
            let key = tables.ids_gathered.last().unwrap().unwrap().0.value();
            drop(tables.ids_gathered.remove(key).unwrap().unwrap());
        }),
        ("every run of gathered pairs is gone", IdIndex, |tables| {
            tables.ids_gathered.retain(|_, _| false).unwrap();
        }),
        ("a pair too many", Surplus, |tables| {
            let key = first_key(&tables.ids);
            forge(&mut tables.ids, Kind::Ids, key, |value| {
                let pairs = value.len() / 13;
                let hash = value[..8].to_vec();
                let row = value[pairs * 8..][..5].to_vec();
                // The same hash for the row before or behind that one.
                let other = row[0] ^ 1;
                let is_before = other < row[0];
                let (at, of_row) = match is_before {
                    true => (0, pairs * 8),
                    false => (8, pairs * 8 + 5),
                };
                let mut added = row;
                added[0] = other;
                value.splice(of_row..of_row, added);
                value.splice(at..at, hash);
            });
        }),
    ]
}

#[test]
fn every_fault_is_found_by_its_kind() {
    let file = file();
    for (what, kind, change) in changes() {
        let report = check(&tamper(&file, change));
        assert!(report.counts.contains_key(&kind), "{what}: {report:?}");
        let others = report.counts.keys().filter(|other| **other != kind);
        // What is damaged in one place may be missed in another, but not the other way round.
        if !kind.is_primary() {
            assert!(
                others.clone().all(|other| !other.is_primary()),
                "{what}: {report:?}"
            );
        }
    }
}

/// A copy has none of them: where the database has, there is no copy.
#[test]
fn a_backup_is_sound_or_refused() {
    let file = file();
    let mut refused = 0;
    for (what, kind, change) in changes() {
        let folder = tempfile::tempdir().unwrap();
        let [from, path] = ["s.redb", "copy.redb"].map(|name| folder.path().join(name));
        std::fs::write(&from, tamper(&file, change)).unwrap();
        match Database::open(&from).unwrap().backup(&path, &Backup::new()) {
            Ok(_) => {
                let copy = Database::open(&path).unwrap();
                assert!(copy.check(|_| ()).unwrap().is_sound(), "{what}");
                assert!(!kind.is_primary() || kind == FaultKind::Record, "{what}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
                refused += 1;
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
            }
        }
    }
    assert!(refused > changes().len() / 2, "{refused}");
}

#[test]
fn faults_name_the_row_and_the_id() {
    let bytes = tamper(&file(), |tables| {
        forge(&mut tables.columns, Kind::Columns, 3, |value| value[8] ^= 1);
    });
    let report = check(&bytes);
    let fault = report
        .faults
        .iter()
        .find(|fault| fault.id.is_some())
        .unwrap();
    assert_eq!(fault.kind, FaultKind::Column);
    assert_eq!((fault.row, fault.id.as_deref()), (Some(31), Some("s31")));
}

#[test]
fn a_page_that_only_the_checksum_knows_is_found() {
    let bytes = file();
    let base = 256 << 10;
    let marker = b"\xa6number";
    let at = (base..bytes.len() - marker.len())
        .find(|at| &bytes[*at..at + marker.len()] == marker)
        .unwrap();
    let mut damaged = bytes.clone();
    damaged[at] ^= 1;
    let report = check(&damaged);
    assert!(report.counts.contains_key(&FaultKind::Page), "{report:?}");
    assert!(report.has_primary_faults());
    assert!(report.total() >= 2);
}

#[test]
fn a_closed_database_is_not_checked() {
    let database = open(&file());
    database.close().unwrap();
    assert_eq!(
        database.check(|_| ()).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn faults_of_an_index_of_a_field_are_found_and_never_answers() {
    let whole = file();
    let query = Query::new().condition("data.number between 900 and 1200".parse().unwrap());
    let expected = open(&whole).list(&query).unwrap().samples;
    assert!(expected.len() > 200);
    let (keys, runs, moved) = (3, (1 << 40) + run_key(0, 3), 2 << 40);
    type Change = (&'static str, FaultKind, fn(&mut Bytes<'_>, u64));
    let remove = |table: &mut Bytes<'_>, key: u64| {
        drop(table.remove(key).unwrap().unwrap());
    };
    let changes: [(u64, Change); 6] = [
        (
            keys,
            ("a leaf of keys that is gone", FaultKind::FieldIndex, remove),
        ),
        (
            keys,
            ("another key", FaultKind::FieldIndex, |table, key| {
                forge(table, Kind::Field, key, |value| value[8] ^= 1);
            }),
        ),
        (
            runs,
            (
                "a leaf of a run that is gone",
                FaultKind::FieldIndex,
                remove,
            ),
        ),
        (
            runs,
            (
                "a run with another key",
                FaultKind::FieldIndex,
                |table, key| {
                    forge(table, Kind::Field, key, |value| value[0] ^= 1);
                },
            ),
        ),
        (
            moved,
            ("moved rows that are gone", FaultKind::FieldIndex, remove),
        ),
        (
            7 << 44,
            ("an entry of no index", FaultKind::Surplus, |table, key| {
                table.insert(key, [0; 4].as_slice()).unwrap();
            }),
        ),
    ];
    for (key, (what, kind, change)) in changes {
        let damaged = transact(&whole, |transaction| {
            change(&mut transaction.open_table(FIELDS).unwrap(), key);
        });
        let report = check(&damaged);
        assert!(report.counts.contains_key(&kind), "{what}: {report:?}");
        let found = open(&damaged).list(&query);
        let is_forged = what.contains("another key");
        match found {
            Ok(page) => assert!(is_forged || page.samples == expected, "{what}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}"),
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.redb");
    std::fs::write(&path, &whole).unwrap();
    Database::reindex(&path, |_| ()).unwrap();
    let database = Database::open(&path).unwrap();
    assert_eq!(database.stats().unwrap().indexes[0].field, field());
    assert_eq!(database.list(&query).unwrap().samples, expected);
    let explain = database.explain(&query).unwrap();
    assert_eq!(explain.records_read, expected.len() as u64);
    assert!(check(&std::fs::read(&path).unwrap()).samples > 0);
    assert!(database.check(|_| ()).unwrap().is_sound());
}

#[test]
fn a_table_that_is_missing_is_damage_when_the_file_is_opened() {
    let whole = file();
    for table in [
        definition::blocks,
        definition::replaced,
        definition::status,
        definition::columns,
        definition::created_runs,
        definition::created_moved,
        definition::summary,
        definition::ids,
        definition::ids_gathered,
        definition::pipeline_rows,
    ] {
        let damaged = transact(&whole, |transaction| {
            assert!(transaction.delete_table(table).unwrap());
        });
        let name = table.name();
        for read_only in [false, true] {
            let disk = Arc::new(MemoryDisk::of(damaged.clone()));
            let options = options().read_only(read_only);
            let error = options.open_disk("memory".into(), disk).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{name}: {error:?}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(name), "{name}: {cause}");
        }
    }
}
