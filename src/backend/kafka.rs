//! `kafka`: samples as messages of a topic, by the crate `rdkafka`. Storing alone: what a stream has, its
//! consumers know.
//!
//! `kafka/config.rs` reads the URL and what stands elsewhere; `topic.rs` looks for the topic; `message.rs`
//! makes a message of a sample; `producer.rs` hands messages over and waits for the brokers; `failure.rs`
//! says what an error means.
//!
//! A store returns when the brokers that must have them have all of its messages, so nothing of it waits
//! in this process afterwards. A producer that was lost, as idempotent ones are when brokers forget them,
//! is replaced by the next store.

mod config;
mod failure;
mod message;
mod producer;
mod topic;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::batch::{finished, last_of_each_id};
use super::{Backend, Location};
use crate::error::{Error, Result};
use crate::query::Selection;
use crate::sample::{SAMPLE_BYTES_MAX, Sample};
use crate::storage::{Capabilities, Storage, StoreReport, check_batch};
use config::Settings;
use message::Message;
use producer::Stream;

/// `kafka://HOST:PORT,…/TOPIC`.
pub(super) const KAFKA: Backend = Backend {
    options: config::OPTIONS,
    open: |location| Ok(Box::new(Kafka::open(location)?)),
};

const OPEN: &str = "connect to brokers";
/// What a sample has beside its payload, for the most part.
const ENVELOPE_BYTES: usize = 512;

/// Samples on their way into a topic.
struct Kafka {
    settings: Settings,
    /// `None` once it is closed.
    stream: RwLock<Option<Arc<Stream>>>,
}

impl Kafka {
    fn open(location: &Location) -> Result<Self> {
        let settings = Settings::read(location, |name| std::env::var(name).ok())?;
        let stream = Stream::open(&settings)?;
        topic::find_or_make(&stream, &settings)?;
        Ok(Self {
            settings,
            stream: RwLock::new(Some(Arc::new(stream))),
        })
    }

    /// Keeps the storage open for as long as the guard lives.
    fn enter(&self, operation: &'static str) -> Result<RwLockReadGuard<'_, Option<Arc<Stream>>>> {
        let stream = self.stream.read().unwrap_or_else(PoisonError::into_inner);
        match stream.is_some() {
            true => Ok(stream),
            false => Err(Error::closed(operation)),
        }
    }

    /// Hands messages over, and waits until each is acknowledged or has failed.
    fn send(&self, operation: &'static str, messages: &[Message<'_>]) -> Result<()> {
        let guard = self.enter(operation)?;
        let Some(stream) = guard.as_ref().map(Arc::clone) else {
            return Err(Error::closed(operation));
        };
        let answers = stream.send(messages);
        drop(guard);
        let answers = messages.iter().zip(answers).map(|(message, answer)| {
            let answer = answer.map(|answer| {
                answer.map_err(|failure| {
                    failure::of_message(&failure, operation, &self.settings.shown, &stream)
                })
            });
            (message.position, message.key, answer)
        });
        let sent = finished(operation, answers).map(drop);
        if stream.is_lost() {
            self.replace(&stream);
        }
        sent
    }

    /// Puts a new producer in the place of a lost one, unless somebody else has. One that cannot be made
    /// is tried again by the next store, which the old one fails.
    fn replace(&self, lost: &Arc<Stream>) {
        let mut current = self.stream.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = &mut *current
            && Arc::ptr_eq(stream, lost)
        {
            match Stream::open(&self.settings) {
                Ok(new) => *stream = Arc::new(new),
                Err(error) => {
                    tracing::warn!(name: "producer_lost", %error, "the producer cannot be made anew");
                }
            }
        }
    }
}

/// The largest sample that fits into a message of so many bytes, unless its text is longer than that of bytes,
/// which is a third longer than they are.
fn sample_bytes_max(message_bytes_max: usize) -> usize {
    let bytes = (message_bytes_max / 4 * 3).saturating_sub(ENVELOPE_BYTES);
    bytes.min(SAMPLE_BYTES_MAX)
}

impl Storage for Kafka {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            delete: self.settings.tombstones,
            sample_bytes_max: sample_bytes_max(self.settings.message_bytes_max),
            ..Capabilities::write_only("kafka")
        }
    }

    /// A stream does not say what it has, so every id counts as inserted.
    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        const OPERATION: &str = "store a batch";
        self.enter(OPERATION).map(drop)?;
        check_batch(batch, self.capabilities().sample_bytes_max)?;
        if batch.is_empty() {
            return Ok(StoreReport::default());
        }
        let messages = last_of_each_id(batch)
            .into_iter()
            .map(|(position, sample)| {
                Message::of(position, sample, self.settings.message_bytes_max)
            })
            .collect::<Result<Vec<_>>>()?;
        self.send(OPERATION, &messages)?;
        let inserted = messages.len() as u64;
        Ok(StoreReport::new(inserted, batch.len() as u64 - inserted))
    }

    fn close(&self) -> Result<()> {
        let mut stream = self.stream.write().unwrap_or_else(PoisonError::into_inner);
        match stream.take() {
            Some(stream) => stream.flush(&self.settings),
            None => Ok(()),
        }
    }

    /// Writes a tombstone for each id, if it was opened with the option, and counts the ids: which of them
    /// the topic has is not known here. A query would have to read it.
    fn delete(&self, selection: &Selection) -> Result<u64> {
        const OPERATION: &str = "delete samples";
        let Selection::Ids(ids) = selection else {
            return Err(self.unsupported(OPERATION).with_message(
                "the kafka backend cannot read, so it deletes by ids and not by a query",
            ));
        };
        if !self.settings.tombstones {
            return Err(self.unsupported(OPERATION).with_message(
                "the kafka backend writes tombstones only when it is opened with tombstones=true",
            ));
        }
        let messages: Vec<_> = ids
            .iter()
            .enumerate()
            .map(|(position, id)| Message::tombstone(position, id))
            .collect();
        self.send(OPERATION, &messages)?;
        Ok(messages.len() as u64)
    }
}
