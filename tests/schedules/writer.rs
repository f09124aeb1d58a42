//! `writer/queue.rs`, `writer/ticket.rs` and `writer/commit.rs`: what was accepted is stored once and in order, every
//! ticket resolves, no error is lost, and nobody waits for ever.

#[path = "../../src/writer/commit.rs"]
mod commit;
#[path = "../../src/writer/queue.rs"]
mod queue;
#[path = "../../src/writer/ticket.rs"]
mod ticket;

use samplestore::{Capabilities, Error, ErrorKind, Result, Sample, Storage, StoreReport};
use shuttle::sync::{Arc, Mutex};
use shuttle::{future, thread};

use queue::{Queue, Submission};
use ticket::{Ticket, Unclaimed};

use crate::{batch, check};

/// The ids that were stored; a batch with the id `bad` is refused.
#[derive(Default)]
struct Stored(Mutex<Vec<String>>);

impl Storage for Stored {
    fn capabilities(&self) -> Capabilities {
        Capabilities::write_only("stored")
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        let mut stored = self.0.lock().unwrap();
        if batch.iter().any(|sample| sample.id() == "bad") {
            return Err(Error::new(ErrorKind::Backend, "store a batch"));
        }
        stored.extend(batch.iter().map(|sample| sample.id().to_owned()));
        Ok(StoreReport::new(batch.len() as u64, 0))
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// A queue of at most three samples, and the thread that stores what is in it.
struct Writer {
    queue: Arc<Queue>,
    stored: Arc<Stored>,
    unclaimed: Arc<Unclaimed>,
    thread: thread::JoinHandle<()>,
}

impl Writer {
    fn start() -> Self {
        let queue = Arc::new(Queue::new(3));
        let stored = Arc::new(Stored::default());
        let thread = thread::spawn({
            let (queue, stored) = (Arc::clone(&queue), Arc::clone(&stored));
            move || commit::run(&queue, &*stored, 2)
        });
        Self {
            queue,
            stored,
            unclaimed: Arc::default(),
            thread,
        }
    }

    /// Closes it, and gives the ids in the order in which they were stored.
    fn stop(self) -> Vec<String> {
        self.queue.close();
        self.thread.join().unwrap();
        std::mem::take(&mut self.stored.0.lock().unwrap())
    }
}

/// Submits a batch; `None` when the queue was closed.
fn submit(queue: &Queue, unclaimed: &Arc<Unclaimed>, batch: Vec<Sample>) -> Option<Ticket> {
    let (promise, ticket) = ticket::pair(unclaimed);
    match queue.push(Submission { batch, promise }) {
        Ok(()) => Some(ticket),
        Err(submission) => {
            submission.withdraw();
            None
        }
    }
}

#[test]
fn what_was_accepted_is_stored_once_and_in_order() {
    check(|| {
        let writer = Writer::start();
        let submitters: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|name| {
                let (queue, unclaimed) = (Arc::clone(&writer.queue), Arc::clone(&writer.unclaimed));
                thread::spawn(move || {
                    // The last one is larger than the queue.
                    for (number, samples) in [1, 2, 4].into_iter().enumerate() {
                        let batch = batch(&format!("{name}{number}"), samples);
                        let ticket = submit(&queue, &unclaimed, batch).unwrap();
                        let receipt = match number {
                            1 => future::block_on(ticket),
                            _ => ticket.wait(),
                        };
                        assert_eq!(receipt.unwrap().samples(), samples as u64);
                    }
                })
            })
            .collect();
        submitters
            .into_iter()
            .for_each(|submitter| submitter.join().unwrap());
        let stored = writer.stop();
        for name in ["a", "b"] {
            let of_name: Vec<_> = stored.iter().filter(|id| id.starts_with(name)).collect();
            let expected = [0, 1, 1, 2, 2, 2, 2].map(|number| format!("{name}{number}"));
            assert_eq!(of_name, expected.iter().collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_drain_waits_for_everything_before_it() {
    check(|| {
        let writer = Writer::start();
        let other = {
            let (queue, unclaimed) = (Arc::clone(&writer.queue), Arc::clone(&writer.unclaimed));
            thread::spawn(move || {
                drop(submit(&queue, &unclaimed, batch("other", 2)));
                queue.drain();
            })
        };
        for number in 0..2 {
            drop(submit(
                &writer.queue,
                &writer.unclaimed,
                batch(&format!("own{number}"), 2),
            ));
        }
        writer.queue.drain();
        let stored = writer.stored.0.lock().unwrap().clone();
        let own = stored.iter().filter(|id| id.starts_with("own"));
        assert_eq!(own.count(), 4);
        other.join().unwrap();
        assert_eq!(writer.stop().len(), 6);
    });
}

#[test]
fn a_close_lets_nobody_wait_and_keeps_what_was_accepted() {
    check(|| {
        let writer = Writer::start();
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let (queue, unclaimed) = (Arc::clone(&writer.queue), Arc::clone(&writer.unclaimed));
                thread::spawn(move || {
                    let ticket = submit(&queue, &unclaimed, batch("a", 2))?;
                    Some(ticket.wait().unwrap().samples())
                })
            })
            .collect();
        let stored = writer.stop();
        let accepted = submitters
            .into_iter()
            .filter_map(|submitter| submitter.join().unwrap());
        assert_eq!(stored.len() as u64, accepted.sum::<u64>());
    });
}

#[test]
fn an_error_reaches_its_ticket_or_whoever_flushes() {
    check(|| {
        let writer = Writer::start();
        let submitter = {
            let (queue, unclaimed) = (Arc::clone(&writer.queue), Arc::clone(&writer.unclaimed));
            thread::spawn(move || {
                let good = submit(&queue, &unclaimed, batch("good", 1)).unwrap();
                assert_eq!(good.wait().unwrap().samples(), 1);
            })
        };
        let bad = submit(&writer.queue, &writer.unclaimed, batch("bad", 1)).unwrap();
        drop(bad);
        submitter.join().unwrap();
        writer.queue.drain();
        assert!(writer.unclaimed.take().is_some());
        assert!(writer.unclaimed.take().is_none());
        assert_eq!(writer.stop(), ["good"]);
    });
}
