//! Brings a topic that the backend `kafka` writes into a database file, up to where the topic ends now.
//!
//! ```text
//! cargo run --example weather --features kafka -- kafka://127.0.0.1:9092/weather
//! cargo run --example consume --features kafka -- 127.0.0.1:9092 weather weather.redb
//! ```
//!
//! A message is a sample: its key is the id, its value the JSON text form, and a message without a value, a
//! tombstone, says that the sample was deleted. A batch is stored before the brokers are told how far this
//! consumer is. So when it ends in between, it meets messages again and none is missed, and as storing
//! replaces by id, the file comes out the same. Run it again for what was written meanwhile.
//!
//! Samples of one instant keep the order in which they were first stored, within a partition.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message};
use samplestore::{BoxError, Database, Sample, Selection, Storage};

/// How long the brokers may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(1);
const BATCH_SAMPLES_MAX: usize = 1_000;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consumed {
    pub(crate) stored: u64,
    pub(crate) deleted: u64,
}

/// Reads on from where the last run of this consumer group ended, to where every partition ends. The
/// brokers remember how far a group is, so each database has one of its own.
pub(crate) fn consume(
    servers: &str,
    topic: &str,
    group: &str,
    database: &Database,
) -> Result<Consumed, BoxError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), SILENCE)?;
    let found = metadata
        .topics()
        .iter()
        .find(|found| found.error().is_none());
    let partitions = found.ok_or("there is no such topic")?.partitions().len();
    consumer.subscribe(&[topic])?;

    let mut consumed = Consumed::default();
    let mut batch = Vec::new();
    let mut ended = BTreeSet::new();
    let mut is_new = false;
    let mut heard = Instant::now();
    while ended.len() < partitions {
        // It also gives nothing while the group comes together.
        let Some(message) = consumer.poll(POLL) else {
            if heard.elapsed() > SILENCE {
                return Err("the brokers are silent".into());
            }
            continue;
        };
        heard = Instant::now();
        match message {
            Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
            message => {
                let message = message?;
                ended.remove(&message.partition());
                take(&message, database, &mut batch, &mut consumed)?;
                is_new = true;
                if batch.len() >= BATCH_SAMPLES_MAX {
                    store(database, &mut batch, &mut consumed)?;
                    consumer.commit_consumer_state(CommitMode::Sync)?;
                }
            }
        }
    }
    store(database, &mut batch, &mut consumed)?;
    if is_new {
        consumer.commit_consumer_state(CommitMode::Sync)?;
    }
    Ok(consumed)
}

/// Puts a sample into the batch, or deletes one once those before it are stored.
fn take(
    message: &BorrowedMessage<'_>,
    database: &Database,
    batch: &mut Vec<Sample>,
    consumed: &mut Consumed,
) -> Result<(), BoxError> {
    match message.payload() {
        Some(value) => batch.push(Sample::from_json_text(std::str::from_utf8(value)?)?),
        None => {
            store(database, batch, consumed)?;
            let id = std::str::from_utf8(message.key().ok_or("a tombstone has a key")?)?;
            consumed.deleted += database.delete(&Selection::ids([id]))?;
        }
    }
    Ok(())
}

fn store(
    database: &Database,
    batch: &mut Vec<Sample>,
    consumed: &mut Consumed,
) -> Result<(), BoxError> {
    consumed.stored += database.store(batch)?.stored();
    batch.clear();
    Ok(())
}

/// Does what the words behind the program's name ask for.
#[allow(clippy::print_stdout)]
pub(crate) fn run(words: &[String]) -> Result<Consumed, BoxError> {
    let [servers, topic, file] = words else {
        return Err("usage: consume HOST:PORT,… TOPIC FILE".into());
    };
    let database = Database::open(file)?;
    let group = format!("samplestore {}", std::fs::canonicalize(file)?.display());
    let consumed = consume(servers, topic, &group, &database)?;
    let Consumed { stored, deleted } = consumed;
    println!("{stored} stored, {deleted} deleted, into {file}");
    database.close()?;
    Ok(consumed)
}

#[allow(dead_code)] // the tests include this file
fn main() -> Result<(), BoxError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    run(&words).map(drop)
}
