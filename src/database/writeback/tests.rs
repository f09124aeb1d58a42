//! The order of writes and syncs, reads of what is queued, bounds and errors.

use std::collections::VecDeque;

use super::image::{Cover, Image};
use super::queue::{JOB_BYTES, PIECE_BYTES};
use super::*;
use crate::database::disk::memory::{Done, MemoryDisk};

fn write(offset: u64, byte: u8) -> Done {
    let bytes = vec![byte; 4];
    Done::Write { offset, bytes }
}

/// Waits until so many threads wait for a change of the queue.
fn wait_for_sleepers(writeback: &Writeback, count: usize) {
    while writeback.queue.sleepers() != count {
        std::thread::yield_now();
    }
}

#[test]
fn nothing_overtakes_a_sync_and_reads_see_what_is_queued() {
    let disk = Arc::new(MemoryDisk::default());
    let writeback = Writeback::new(disk.clone());
    writeback.write(0, &[1; 4]).unwrap();
    writeback.set_len(16).unwrap();
    let gate = disk.sync_gate.lock().unwrap();
    writeback.set_lazy(true);
    writeback.sync().unwrap();
    writeback.write(4, &[2; 4]).unwrap();
    writeback.sync().unwrap();
    writeback.write(0, &[3; 4]).unwrap();
    writeback.sync().unwrap();
    writeback.set_lazy(false);
    assert!(!writeback.is_settled().unwrap());
    assert_eq!(disk.take_done(), [write(0, 1), Done::SetLen(16)]);
    // What is not queued is read at once, and so is what is, in one piece or two.
    let mut bytes = [9; 4];
    writeback.read(8, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
    writeback.read(4, &mut bytes).unwrap();
    assert_eq!(bytes, [2; 4]);
    writeback.read(2, &mut bytes).unwrap();
    assert_eq!(bytes, [3, 3, 2, 2]);

    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut bytes = [9; 4];
            writeback.read(6, &mut bytes).unwrap();
            bytes
        });
        let writer = scope.spawn(|| {
            writeback.write(8, &[4; 4]).unwrap();
            writeback.set_len(12).unwrap();
            writeback.sync().unwrap();
        });
        wait_for_sleepers(&writeback, 2);
        assert_eq!(disk.take_done(), []);
        drop(gate);
        let bytes = reader.join().unwrap();
        assert_eq!(bytes[..2], [2, 2]);
        writer.join().unwrap();
    });
    let expected = [
        Done::Sync,
        write(4, 2),
        Done::Sync,
        write(0, 3),
        Done::Sync,
        write(8, 4),
        Done::SetLen(12),
        Done::Sync,
    ];
    assert_eq!(disk.take_done(), expected);
    assert!(writeback.is_settled().unwrap());
    assert_eq!(writeback.syncs(), 3);
}

#[test]
fn reads_among_thousands_of_queued_writes_and_resizes_do_not_wait() {
    let disk = Arc::new(MemoryDisk::of(vec![0; 64]));
    let writeback = Writeback::new(disk.clone());
    let gate = disk.sync_gate.lock().unwrap();
    writeback.set_lazy(true);
    writeback.sync().unwrap();
    writeback.set_len(16 * 2_000).unwrap();
    for round in 0..3 {
        for at in 0..2_000 {
            writeback.write(16 * at, &[(at + round) as u8; 16]).unwrap();
        }
    }
    writeback.set_len(16 * 1_900).unwrap();
    assert_eq!(writeback.len().unwrap(), 16 * 1_900);
    let mut bytes = [0; 24];
    for at in 0..1_898 {
        writeback.read(16 * at, &mut bytes).unwrap();
        assert_eq!(bytes[..16], [(at + 2) as u8; 16]);
        assert_eq!(bytes[16..], [(at + 3) as u8; 8]);
    }
    std::thread::scope(|scope| {
        // The file no longer has this when all is done.
        let beyond = scope.spawn(|| writeback.read(16 * 1_900, &mut [0]));
        wait_for_sleepers(&writeback, 1);
        drop(gate);
        assert!(beyond.join().unwrap().is_err());
    });
    writeback.settle().unwrap();
    assert_eq!(disk.bytes().len(), 16 * 1_900);
    assert_eq!(writeback.queue.queued(), (0, false));
}

#[test]
fn a_sync_follows_every_piece_and_none_is_doubled() {
    let disk = Arc::new(MemoryDisk::default());
    let writeback = Writeback::new(disk.clone());
    let count = PIECE_BYTES / 4_096;
    writeback.set_lazy(true);
    for page in 0..3 * count {
        let offset = 4_096 * (page as u64 * 7 % 100);
        writeback.write(offset, &[page as u8; 4_096]).unwrap();
    }
    writeback.sync().unwrap();
    writeback.settle().unwrap();
    let done = disk.take_done();
    let syncs = done.iter().enumerate();
    let syncs = syncs.filter(|(_, done)| **done == Done::Sync);
    let syncs: Vec<_> = syncs.map(|(place, _)| place).collect();
    assert_eq!(syncs, [count, 2 * count + 1, 3 * count + 2]);
    assert_eq!(writeback.syncs(), 1);
    let writes = done.iter().filter_map(|done| match done {
        Done::Write { offset, bytes } => Some((*offset / 4_096, bytes[0])),
        _ => None,
    });
    assert!(writes.eq((0..3 * count).map(|page| (page as u64 * 7 % 100, page as u8))));
}

#[test]
fn the_queue_has_a_maximum() {
    let disk = Arc::new(MemoryDisk::default());
    let writeback = Writeback::new(disk.clone());
    let gate = disk.sync_gate.lock().unwrap();
    writeback.set_lazy(true);
    writeback.sync().unwrap();
    writeback.set_len(2).unwrap();
    assert_eq!((writeback.len().unwrap(), disk.bytes().len()), (2, 0));
    let large = vec![7; QUEUED_BYTES_MAX / 4];
    for _ in 0..3 {
        writeback.write(0, &large).unwrap();
    }
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| writeback.write(0, &large));
        wait_for_sleepers(&writeback, 1);
        assert!(writeback.queue.queued().0 <= QUEUED_BYTES_MAX);
        assert_eq!(disk.take_done(), []);
        drop(gate);
        writer.join().unwrap().unwrap();
    });
    // What no queue can hold is written when it is empty.
    let large = vec![8; QUEUED_BYTES_MAX + 1];
    writeback.write(0, &large).unwrap();
    assert!(writeback.is_settled().unwrap());
    let done = disk.take_done();
    assert_eq!(done[..2], [Done::Sync, Done::SetLen(2)]);
    assert!(matches!(done.last(), Some(Done::Write { bytes, .. }) if bytes == &large));
    assert_eq!(writeback.queue.queued().0, 0);
    // Of small jobs too.
    let disk = Arc::new(MemoryDisk::default());
    let writeback = Writeback::new(disk.clone());
    writeback.set_lazy(true);
    for _ in 0..2 * QUEUED_BYTES_MAX / JOB_BYTES {
        writeback.sync().unwrap();
    }
    writeback.settle().unwrap();
    assert_eq!(disk.take_done().len(), 2 * QUEUED_BYTES_MAX / JOB_BYTES);
}

#[test]
fn after_an_error_nothing_more_is_done_and_reads_see_what_was_queued() {
    let disk = Arc::new(MemoryDisk::of(vec![0; 16]));
    let writeback = Writeback::new(disk.clone());
    let gate = disk.sync_gate.lock().unwrap();
    writeback.set_lazy(true);
    writeback.sync().unwrap();
    writeback.write(0, &[1; 4]).unwrap();
    writeback.set_lazy(false);
    disk.set_failing(true);
    drop(gate);
    let error = writeback.settle().unwrap_err();
    assert!(error.to_string().contains("made to fail"), "{error}");
    disk.set_failing(false);
    for is_lazy in [false, true] {
        writeback.set_lazy(is_lazy);
        assert!(writeback.write(0, &[2; 4]).is_err());
        assert!(writeback.set_len(4).is_err());
        assert!(writeback.sync().is_err());
        assert!(writeback.is_settled().is_err());
    }
    let mut bytes = [9; 4];
    writeback.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [1; 4]);
    writeback.read(4, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
    assert!(writeback.read(2, &mut bytes).is_err());
    assert_eq!(writeback.len().unwrap(), 16);
    assert!(writeback.close().is_err());
    assert_eq!(disk.take_done(), []);
    assert_eq!(disk.bytes(), [0; 16]);
}

#[test]
fn an_error_of_a_sync_between_pieces_is_not_lost() {
    let disk = Arc::new(MemoryDisk::default());
    let writeback = Writeback::new(disk.clone());
    let gate = disk.sync_gate.lock().unwrap();
    writeback.set_lazy(true);
    writeback.write(0, &vec![1; PIECE_BYTES]).unwrap();
    writeback.write(0, &[2; 4]).unwrap();
    while disk.bytes().is_empty() {
        std::thread::yield_now();
    }
    disk.set_failing(true);
    drop(gate);
    assert!(writeback.settle().is_err());
    disk.set_failing(false);
    assert!(writeback.sync().is_err());
    assert_eq!(writeback.syncs(), 0);
    assert_eq!(disk.bytes(), vec![1; PIECE_BYTES]);
}

#[test]
fn an_image_has_the_last_write_of_each_place() {
    const LEN: u64 = 60;
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let mut image = Image::default();
    let mut writes = VecDeque::<(u64, Arc<[u8]>)>::new();
    // The number of the write that each byte is of, and the byte.
    let mut expected = [None; LEN as usize];
    for number in 0..20_000 {
        match random(8) {
            0..4 => {
                let offset = random(LEN - 20);
                let bytes: Arc<[u8]> = (0..random(20)).map(|_| random(256) as u8).collect();
                image.write(offset, &bytes);
                for (place, byte) in (offset..).zip(bytes.iter()) {
                    expected[place as usize] = Some((number, *byte));
                }
                writes.push_back((number << 8 | offset, bytes));
            }
            4..7 => {
                if let Some((key, bytes)) = writes.pop_front() {
                    image.remove(key & 0xff, &bytes);
                    for byte in &mut expected {
                        *byte = byte.filter(|(number, _)| *number != key >> 8);
                    }
                }
            }
            _ => {
                let start = random(LEN);
                image.cut(start, u64::MAX);
                expected[start as usize..].fill(None);
            }
        }
        let end = expected.iter().rposition(Option::is_some);
        assert_eq!(image.end(), end.map_or(0, |last| last as u64 + 1));
        for _ in 0..4 {
            let (at, mut out) = (random(LEN - 8), [0; 8]);
            let range = &expected[at as usize..][..8];
            let cover = match range.iter().flatten().count() {
                0 => Cover::None,
                8 => Cover::All,
                _ => Cover::Some,
            };
            assert_eq!(image.read(at, &mut out), cover);
            if cover == Cover::All {
                assert!(range.iter().flatten().map(|(_, byte)| byte).eq(&out));
            }
        }
    }
}
