//! [`Stream`]: the producer, its queue of bounded length, and the wait for what the brokers say.
//!
//! The client's own threads send and receive; one more hands its answers to whoever waits for them. When
//! the queue is full a store waits until some of it has been answered. Every message is answered in the
//! end: acknowledged, refused, or given up after `delivery.timeout.ms`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, error::KafkaResult};

use super::OPEN;
use super::config::Settings;
use super::failure;
use super::message::Message;
use crate::error::Result;
use crate::panicked;

/// How long to wait for room in a full queue before it is tried again, at the most.
const ROOM: Duration = Duration::from_millis(50);

/// A producer of one topic.
pub(super) struct Stream {
    producer: ThreadedProducer<Reports>,
    topic: String,
    /// How long to wait for room in the queue, at the most.
    room_timeout: Duration,
}

impl Stream {
    /// Makes the producer, which connects by and by.
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        // The client panics where it cannot start its thread.
        let made = panicked::catch_error(OPEN, || {
            Ok(settings.client.create_with_context(Reports::default()))
        })?;
        Ok(Self {
            producer: made.map_err(|cause| failure::of_settings(cause, settings))?,
            topic: settings.topic.clone(),
            room_timeout: settings.delivery_timeout,
        })
    }

    /// Sends the messages, and gives the answer to each; none for those that were not begun because one
    /// had failed by then.
    pub(super) fn send(&self, messages: &[Message<'_>]) -> Vec<Option<KafkaResult<()>>> {
        let batch = Arc::new(Batch::new(messages.len()));
        for (at, message) in messages.iter().enumerate() {
            if batch.has_failed() {
                break;
            }
            self.send_one(&batch, at, message);
        }
        batch.wait_for_all()
    }

    /// Puts a message into the queue, once there is room. What is in it is answered within the time that a delivery may take, so
    /// that there is none later either.
    fn send_one(&self, batch: &Arc<Batch>, at: usize, message: &Message<'_>) {
        let ticket = batch.begin(at);
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(ticket))
            .key(message.key)
            .headers(message.headers());
        record.payload = message.value.as_deref();
        let begun = Instant::now();
        loop {
            let was_empty = self.is_empty();
            let (error, back) = match self.producer.send(record) {
                Ok(()) => return,
                Err(refused) => refused,
            };
            let is_full = error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            let will_never_fit = was_empty && self.is_empty();
            if !is_full || will_never_fit || begun.elapsed() > self.room_timeout {
                return back.delivery_opaque.answer(Err(error));
            }
            record = back;
            batch.wait_for_one(ROOM);
        }
    }

    /// Whether nothing is on its way.
    fn is_empty(&self) -> bool {
        self.producer.in_flight_count() == 0
    }

    /// Waits until nothing is on its way any more.
    pub(super) fn flush(&self, settings: &Settings) -> Result<()> {
        let flushed = self.producer.flush(settings.delivery_timeout);
        flushed.map_err(|cause| failure::of_request(cause, "flush", &settings.shown, self))
    }

    /// Whether the producer can never be used again, as an idempotent one when it has lost its place.
    pub(super) fn is_lost(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }

    /// What the client knows of its own accord: why it is lost, or what kept it from the brokers last.
    pub(super) fn heard(&self) -> Option<Heard> {
        let fatal = self.producer.client().fatal_error();
        let fatal = fatal.map(|(code, words)| Heard { code, words });
        let last = || {
            let last = self.producer.context().last.lock();
            last.unwrap_or_else(PoisonError::into_inner).clone()
        };
        fatal.or_else(last)
    }

    /// What the brokers say about the topic.
    pub(super) fn metadata(&self, timeout: Duration) -> KafkaResult<Metadata> {
        let client = self.producer.client();
        client.fetch_metadata(Some(&self.topic), timeout)
    }
}

/// What the client said about itself.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) code: RDKafkaErrorCode,
    pub(super) words: String,
}

/// What the client calls back.
#[derive(Default)]
pub(super) struct Reports {
    last: Mutex<Option<Heard>>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => tracing::error!(name: "broker_log", facility, "{message}"),
            RDKafkaLogLevel::Warning => tracing::warn!(name: "broker_log", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(name: "broker_log", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(name: "broker_log", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(name: "broker_error", %error, reason, "the client of brokers");
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        // That all are down says less than why one of them is.
        if code != RDKafkaErrorCode::AllBrokersDown {
            let code = failure::reason_of(code, reason);
            let words = reason.to_owned();
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { code, words });
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.answer(match result {
            Ok(_) => {
                // What kept it from the brokers before is over.
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(())
            }
            Err((error, _)) => Err(error.clone()),
        });
    }
}

/// The answers to messages that were sent together.
struct Batch {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: usize,
    has_failed: bool,
    answers: Vec<Option<KafkaResult<()>>>,
}

/// What goes along with a message, and comes back with its answer.
pub(super) struct Ticket {
    batch: Arc<Batch>,
    at: usize,
}

impl Ticket {
    fn answer(&self, answer: KafkaResult<()>) {
        let mut state = self.batch.lock();
        state.waiting -= 1;
        state.has_failed |= answer.is_err();
        if let Some(place) = state.answers.get_mut(self.at) {
            *place = Some(answer);
        }
        self.batch.changed.notify_all();
    }
}

impl Batch {
    fn new(messages: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: 0,
                has_failed: false,
                answers: vec![None; messages],
            }),
            changed: Condvar::new(),
        }
    }

    fn begin(self: &Arc<Self>, at: usize) -> Ticket {
        self.lock().waiting += 1;
        Ticket {
            batch: Arc::clone(self),
            at,
        }
    }

    fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Waits until a message has been answered, or for this long.
    fn wait_for_one(&self, timeout: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout(state, timeout));
    }

    fn wait_for_all(&self) -> Vec<Option<KafkaResult<()>>> {
        let waited = self
            .changed
            .wait_while(self.lock(), |state| state.waiting > 0);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.answers)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
