//! The background writer (rule P7): tickets, group commit, failures, a full queue, closing.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use samplestore::{
    ErrorKind, MemoryStorage, Query, Receipt, Refused, Result, Sample, Status, Storage,
    StoreReport, Ticket, Writer, data,
};

use crate::scripted::{Scripted, error};

fn sample(id: &str) -> Sample {
    Sample::builder("p").id(id).build().unwrap()
}

fn samples<const N: usize>(ids: [&str; N]) -> Vec<Sample> {
    ids.map(sample).into()
}

fn kind(outcome: Result<Receipt>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A writer whose thread is held in a first store, so that what is submitted next gathers.
fn held(storage: &Scripted) -> (Writer, Ticket) {
    let writer = Writer::new(storage.clone()).unwrap();
    storage.hold();
    let first = writer.submit([sample("first")]).unwrap();
    storage.wait_until_held();
    (writer, first)
}

#[test]
fn many_threads_submit_and_every_ticket_resolves() {
    let storage = MemoryStorage::new();
    let writer = Writer::builder(storage.clone())
        .queue_samples_max(16)
        .commit_samples_max(8)
        .start()
        .unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let writer = writer.clone();
            scope.spawn(move || {
                for number in 0..50 {
                    let id = format!("{thread}-{number}");
                    let batch = [sample(&id), sample(&format!("{id}b"))];
                    let ticket = writer.submit(batch).unwrap();
                    let receipt = match number % 2 {
                        0 => ticket.wait().unwrap(),
                        _ => block_on(ticket).unwrap(),
                    };
                    assert_eq!(receipt.samples(), 2);
                    assert_eq!(receipt.report(), Some(StoreReport::new(2, 0)));
                    assert!(writer.retrieve(&id).unwrap().is_some(), "read your writes");
                }
            });
        }
    });
    assert_eq!(storage.count(&Query::new()).unwrap(), 800);
}

#[test]
fn what_gathers_shares_one_commit_in_order() {
    let storage = Scripted::new();
    let (writer, first) = held(&storage);
    let tickets: Vec<_> = (0..3)
        .map(|version| {
            let newest = Sample::builder("p").id("same").data(data! {"v" => version});
            let own = sample(&version.to_string());
            writer.submit([own, newest.build().unwrap()]).unwrap()
        })
        .collect();
    assert!(tickets[0].wait_timeout(Duration::ZERO).is_none());
    storage.release();
    assert_eq!(first.wait().unwrap().report(), Some(StoreReport::new(1, 0)));
    for ticket in tickets {
        let receipt = ticket.wait().unwrap();
        assert_eq!(receipt.samples(), 2);
        assert_eq!(receipt.report(), None, "a mixture cannot be told apart");
    }
    assert_eq!(
        storage.batches(),
        [vec!["first"], vec!["0", "same", "1", "same", "2", "same"]]
    );
    let newest = storage.retrieve("same").unwrap().unwrap();
    assert_eq!(newest.data().get_as("v").unwrap(), Some(2));
}

#[test]
fn a_group_is_bounded() {
    let storage = Scripted::new();
    let writer = Writer::builder(storage.clone())
        .commit_samples_max(3)
        .start()
        .unwrap();
    storage.hold();
    let mut tickets = vec![writer.submit([sample("first")]).unwrap()];
    storage.wait_until_held();
    for ids in [["a", "b"], ["c", "d"]] {
        tickets.push(writer.submit(samples(ids)).unwrap());
    }
    tickets.push(writer.submit([sample("e")]).unwrap());
    tickets.push(writer.submit(samples(["f", "g", "h", "i"])).unwrap());
    storage.release();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let sizes: Vec<_> = storage.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 2, 3, 4]);
}

#[test]
fn a_bad_batch_fails_its_own_ticket_only() {
    let storage = Scripted::new();
    let (writer, first) = held(&storage);
    let good = writer.submit(samples(["a", "b"])).unwrap();
    let bad = writer.submit(samples(["c", "bad", "d"])).unwrap();
    let boom = writer.submit(samples(["boom"])).unwrap();
    let also_good = writer.submit(samples(["e"])).unwrap();
    storage.release();
    first.wait().unwrap();
    assert_eq!(good.wait().unwrap().report(), Some(StoreReport::new(2, 0)));
    let error = bad.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert_eq!(error.position(), Some(1), "its place in its own batch");
    let error = boom.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(
        error.to_string().contains("the storage exploded"),
        "{error}"
    );
    also_good.wait().unwrap();
    assert_eq!(storage.count(), 4);
    // The thread lives on.
    writer.submit([sample("f")]).unwrap().wait().unwrap();
}

#[test]
fn an_unknown_outcome_is_everybodys_and_nothing_is_tried_again() {
    let storage = Scripted::new();
    let (writer, first) = held(&storage);
    let tickets = [writer.submit([sample("a")]), writer.submit([sample("b")])];
    let storage = storage.answer([
        error(ErrorKind::Io, true),
        error(ErrorKind::OutcomeUnknown, false),
    ]);
    storage.release();
    assert_eq!(kind(first.wait()), ErrorKind::Io);
    for ticket in tickets {
        assert_eq!(kind(ticket.unwrap().wait()), ErrorKind::OutcomeUnknown);
    }
    assert_eq!(storage.batches().len(), 2);
    assert_eq!(storage.count(), 0);
}

#[test]
fn a_storage_without_atomic_batches_gets_no_groups() {
    let storage = Scripted::not_atomic();
    let (writer, first) = held(&storage);
    let good = writer.submit([sample("a")]).unwrap();
    let partial = writer.submit(samples(["b", "bad"])).unwrap();
    storage.release();
    first.wait().unwrap();
    good.wait().unwrap();
    let error = partial.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Partial);
    assert_eq!(error.stored_ids(), ["b"]);
    assert_eq!(storage.batches().len(), 3);
}

#[test]
fn a_full_queue_refuses_or_waits() {
    let storage = Scripted::new();
    let writer = Writer::builder(storage.clone())
        .queue_samples_max(2)
        .start()
        .unwrap();
    storage.hold();
    let mut tickets = vec![writer.submit([sample("first")]).unwrap()];
    storage.wait_until_held();
    tickets.push(writer.try_submit(samples(["a", "b"])).unwrap());
    let refused = writer.try_submit(samples(["c"])).unwrap_err();
    assert_eq!(refused, Refused::Full(samples_like(&refused)));
    let blocked = {
        let writer = writer.clone();
        thread::spawn(move || writer.submit(refused.into_batch()).unwrap().wait())
    };
    storage.release();
    assert_eq!(blocked.join().unwrap().unwrap().samples(), 1);
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    // A batch larger than the queue is taken when the queue is empty.
    let large = writer.try_submit(samples(["d", "e", "f"])).unwrap();
    assert_eq!(large.wait().unwrap().samples(), 3);
    assert_eq!(storage.count(), 7);
}

fn samples_like(refused: &Refused) -> Vec<Sample> {
    let batch = refused.clone().into_batch();
    assert_eq!(batch[0].id(), "c");
    batch
}

#[test]
fn close_stores_what_was_accepted_and_refuses_what_waits() {
    let storage = Scripted::new();
    let writer = Writer::builder(storage.clone())
        .queue_samples_max(1)
        .start()
        .unwrap();
    storage.hold();
    let first = writer.submit([sample("first")]).unwrap();
    storage.wait_until_held();
    let accepted = writer.submit([sample("accepted")]).unwrap();
    thread::scope(|scope| {
        let late = scope.spawn(|| writer.submit([sample("late")]));
        let closes: Vec<_> = (0..3).map(|_| scope.spawn(|| writer.close())).collect();
        // Nothing makes room before the release, so the late one can only be refused.
        assert_eq!(late.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        storage.release();
        for close in closes {
            close.join().unwrap().unwrap();
        }
    });
    first.wait().unwrap();
    accepted.wait().unwrap();
    assert_eq!(storage.count(), 2);
    writer.close().unwrap();

    let closed = |outcome: Result<()>| outcome.unwrap_err().kind() == ErrorKind::Closed;
    assert!(closed(writer.submit([sample("x")]).map(drop)));
    assert!(closed(writer.submit([]).map(drop)));
    assert!(closed(writer.store(&[]).map(drop)));
    assert!(closed(writer.flush()));
    assert!(closed(writer.retrieve("first").map(drop)));
    assert!(closed(writer.list(&Query::new()).map(drop)));
    assert!(closed(
        writer
            .set_status(&"first".into(), None, Status::Ready)
            .map(drop)
    ));
    assert!(matches!(
        writer.try_submit([sample("x")]),
        Err(Refused::Closed(batch)) if batch.len() == 1
    ));
}

#[test]
fn dropping_the_last_handle_stores_what_was_accepted_and_closes_nothing() {
    let storage = Scripted::new();
    let (writer, first) = held(&storage);
    let other = writer.clone();
    let accepted = writer.submit(samples(["a", "b"])).unwrap();
    drop(writer);
    storage.release();
    drop(other);
    assert_eq!(storage.count(), 3);
    assert_eq!(storage.closes(), 0);
    first.wait().unwrap();
    accepted.wait().unwrap();
}

#[test]
fn an_error_that_nobody_saw_is_returned_by_the_next_flush() {
    let storage = Scripted::new();
    let (writer, first) = held(&storage);
    drop(writer.submit([sample("bad 1")]).unwrap());
    drop(writer.submit([sample("good")]).unwrap());
    storage.release();
    first.wait().unwrap();
    let error = writer.flush().unwrap_err();
    assert_eq!(error.sample_id(), Some("bad 1"));
    writer.flush().unwrap();
    assert_eq!(storage.flushes(), 2);

    // Dropped only after it has failed.
    let failed = writer.submit([sample("bad 2")]).unwrap();
    assert_eq!(writer.count(&Query::new()).unwrap(), 2);
    writer.flush().unwrap();
    drop(failed);
    assert_eq!(writer.close().unwrap_err().sample_id(), Some("bad 2"));
    writer.close().unwrap();

    // Seen, so not returned again.
    let writer = Writer::new(storage).unwrap();
    let seen = writer.submit([sample("bad 3")]).unwrap();
    assert_eq!(kind(seen.wait()), ErrorKind::Backend);
    writer.close().unwrap();
}

#[test]
fn a_writer_is_a_storage_and_keeps_the_order() {
    let storage = Scripted::new();
    let (writer, first) = held(&storage);
    let ready = sample("x").with_status(Status::Ready);
    let queued = writer.submit([ready]).unwrap();
    storage.release();
    // Waits for what was accepted before it.
    let moved = writer.set_status(&"x".into(), Some(Status::Ready), Status::Labeled);
    assert_eq!(moved.unwrap(), 1);
    queued.wait().unwrap();
    first.wait().unwrap();

    let report = writer.store(&samples(["x", "y", "y"])).unwrap();
    assert_eq!(report, StoreReport::new(1, 2));
    assert_eq!(writer.list(&Query::new()).unwrap().samples.len(), 3);
    assert_eq!(writer.capabilities().name, "scripted");
    let panicked = writer.store(&[sample("boom")]).unwrap_err();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert_eq!(writer.submit([]).unwrap().wait().unwrap().samples(), 0);
}

/// Does something on the writer's own thread.
struct OnWake(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for OnWake {
    fn wake(self: Arc<Self>) {
        let action = self.0.lock().unwrap().take();
        action.unwrap()();
    }
}

fn poll_with(ticket: &mut Ticket, action: impl FnOnce() + Send + 'static) {
    let waker = Waker::from(Arc::new(OnWake(Mutex::new(Some(Box::new(action))))));
    let polled = pin!(ticket).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

#[test]
fn wakers_may_panic_and_drop_the_writer_but_not_wait_for_it() {
    let storage = Scripted::new();
    let (writer, mut first) = held(&storage);
    let mut second = writer.submit([sample("a")]).unwrap();
    poll_with(&mut first, || panic!("a bad waker"));
    let last = writer.submit([sample("b")]).unwrap();
    let seen = Arc::new(Mutex::new(None));
    {
        let seen = Arc::clone(&seen);
        poll_with(&mut second, move || {
            let kinds = [writer.close(), writer.flush()].map(|end| end.unwrap_err().kind());
            *seen.lock().unwrap() = Some(kinds);
            drop(writer);
        });
    }
    storage.release();
    last.wait().unwrap();
    first.wait().unwrap();
    second.wait().unwrap();
    assert_eq!(storage.count(), 3);
    let seen = seen.lock().unwrap().take();
    assert_eq!(seen, Some([ErrorKind::InvalidArgument; 2]));
}
