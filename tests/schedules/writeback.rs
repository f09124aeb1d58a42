//! `database/writeback/queue.rs`: the disk sees what was asked for in its order, whoever reads gets what was written last, an
//! error reaches everybody, and nobody waits for ever.

#[path = "../../src/database/writeback/image.rs"]
mod image;
#[path = "../../src/database/writeback/queue.rs"]
mod queue;
#[path = "../../src/database/writeback/room.rs"]
mod room;

use std::io;

use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use queue::{JOB_BYTES, Queue};

use crate::check;
use crate::disk::Disk;

/// Three things may be queued at a time.
const QUEUED_BYTES_MAX: usize = 3 * JOB_BYTES;

/// What was done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// Where, and the first byte.
    Write(u64, u8),
    SetLen(u64),
    Sync,
}

/// A disk in memory, of which everything but the first `good` operations fails.
#[derive(Debug)]
struct Memory {
    good: usize,
    held: Mutex<(Vec<u8>, Vec<Done>)>,
}

impl Memory {
    fn new(good: usize) -> Arc<Self> {
        let held = Mutex::default();
        Arc::new(Self { good, held })
    }

    fn change(&self, done: Done, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        thread::yield_now();
        let (bytes, all) = &mut *self.held.lock().unwrap();
        if all.len() == self.good {
            return Err(io::ErrorKind::StorageFull.into());
        }
        all.push(done);
        change(bytes);
        Ok(())
    }

    fn done(&self) -> Vec<Done> {
        self.held.lock().unwrap().1.clone()
    }
}

impl Disk for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.held.lock().unwrap().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = &self.held.lock().unwrap().0;
        let from = usize::try_from(offset).unwrap();
        let there = bytes.get(from..from + out.len());
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Done::Write(offset, bytes[0]), |held| {
            let from = usize::try_from(offset).unwrap();
            held.resize(held.len().max(from + bytes.len()), 0);
            held[from..from + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Done::SetLen(len), |held| {
            held.resize(usize::try_from(len).unwrap(), 0);
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.change(Done::Sync, |_| ())
    }
}

/// The queue of a disk, and the thread that works it off.
fn start(disk: &Arc<Memory>) -> (Arc<Queue>, thread::JoinHandle<()>) {
    let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
    let queue = Arc::new(Queue::new(disk, QUEUED_BYTES_MAX));
    let worker = thread::spawn({
        let queue = Arc::clone(&queue);
        move || queue.work()
    });
    (queue, worker)
}

fn read(queue: &Queue, offset: u64) -> io::Result<u8> {
    let mut byte = [0];
    queue.read(offset, &mut byte).map(|()| byte[0])
}

#[test]
fn the_disk_sees_each_threads_order_and_reads_see_the_last() {
    check(|| {
        let disk = Memory::new(usize::MAX);
        disk.set_len(16).unwrap();
        let (queue, worker) = start(&disk);
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let offset = 8 * thread;
                    for byte in 1..=2 {
                        queue.write(offset, &[byte; 8]).unwrap();
                        assert_eq!(read(&queue, offset + 7).unwrap(), byte);
                        queue.sync().unwrap();
                        assert_eq!(read(&queue, offset).unwrap(), byte);
                    }
                    if thread == 0 {
                        queue.settle().unwrap();
                    }
                    assert_eq!(read(&queue, offset).unwrap(), 2);
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        queue.settle().unwrap();
        let done = disk.done();
        assert_eq!(done.iter().filter(|done| **done == Done::Sync).count(), 4);
        for thread in 0..2 {
            let at = |byte| {
                let mut done = done.iter();
                done.position(|done| *done == Done::Write(8 * thread, byte))
            };
            let (first, second) = (at(1).unwrap(), at(2).unwrap());
            assert!(done[first..second].contains(&Done::Sync), "{done:?}");
            assert!(done[second..].contains(&Done::Sync), "{done:?}");
        }
        queue.close();
        worker.join().unwrap();
    });
}

#[test]
fn a_file_that_shrinks_and_grows_reads_as_if_it_had_at_once() {
    check(|| {
        let disk = Memory::new(usize::MAX);
        disk.set_len(8).unwrap();
        let (queue, worker) = start(&disk);
        queue.write(0, &[1; 8]).unwrap();
        let reader = thread::spawn({
            let queue = Arc::clone(&queue);
            // Nobody changes this byte any more.
            move || assert_eq!(read(&queue, 0).unwrap(), 1)
        });
        queue.set_len(4).unwrap();
        assert_eq!(queue.len().unwrap(), 4);
        queue.set_len(12).unwrap();
        assert_eq!(queue.len().unwrap(), 12);
        assert_eq!(read(&queue, 6).unwrap(), 0);
        queue.write(4, &[2; 4]).unwrap();
        assert_eq!(read(&queue, 6).unwrap(), 2);
        reader.join().unwrap();
        queue.close();
        worker.join().unwrap();
        queue.settle().unwrap();
        let mut bytes = [9; 12];
        disk.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0]);
    });
}

#[test]
fn who_finds_the_queue_full_goes_on_when_there_is_room() {
    check(|| {
        let disk = Memory::new(usize::MAX);
        let (queue, worker) = start(&disk);
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let half = [7; QUEUED_BYTES_MAX / 2 + 1];
                    queue.write(thread, &half).unwrap();
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        queue.settle().unwrap();
        let done = disk.done();
        let writes = done.iter().filter(|done| matches!(done, Done::Write(..)));
        assert_eq!(writes.count(), 3);
        queue.close();
        worker.join().unwrap();
    });
}

#[test]
fn an_error_reaches_everybody_and_reads_go_on() {
    check(|| {
        // The length, the first write and its sync.
        let disk = Memory::new(3);
        disk.set_len(8).unwrap();
        let (queue, worker) = start(&disk);
        queue.write(0, &[1; 4]).unwrap();
        queue.sync().unwrap();
        queue.settle().unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    // Refused, if the other one's has failed by then.
                    let queued = queue.write(4, &[2; 4]).and_then(|()| queue.sync());
                    let settled = queue.settle().unwrap_err();
                    assert_eq!(settled.kind(), io::ErrorKind::StorageFull);
                    assert!(queued.map_or_else(|error| error.kind() == settled.kind(), |()| true));
                    assert_eq!(read(&queue, 5).unwrap(), 2);
                    assert_eq!(read(&queue, 1).unwrap(), 1);
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(queue.sync().is_err());
        assert_eq!(disk.done().len(), 3);
        queue.close();
        worker.join().unwrap();
    });
}
