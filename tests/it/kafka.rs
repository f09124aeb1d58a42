//! Topics: what the conformance suite cannot see. Brokers are real, see `servers/kafka.rs`; those that fail
//! as they are told to are librdkafka's own, see `failing.rs`.

mod failing;
mod read_back;
mod safety;

#[path = "../../examples/consume.rs"]
mod example;

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use samplestore::{
    CopyOptions, Database, ErrorKind, MemoryStorage, Query, Sample, Selection, Status, Storage,
    connect, copy, data,
};

use crate::servers::kafka::shared;
use example::Consumed;
pub(crate) use example::{consume, run};

const PATIENCE: Duration = Duration::from_secs(60);

fn numbered(count: usize) -> Vec<Sample> {
    let sample = |number: usize| {
        let sample = Sample::builder("weather").id(format!("{number:06}"));
        // Of one instant, so that only the order of storing tells them apart.
        let sample = sample.created_at("2013-06-01T12:00:00Z".parse().unwrap());
        sample.data(data! { "n" => number as u64 }).build().unwrap()
    };
    (0..count).map(sample).collect()
}

/// A message as a consumer has it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    partition: i32,
    key: String,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

impl Read {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let headers = headers.map(|header| (header.key.to_owned(), text(header.value.unwrap())));
        Self {
            partition: message.partition(),
            key: text(message.key().unwrap()),
            value: message.payload().map(text),
            headers: headers.collect(),
        }
    }

    fn sample(&self) -> Sample {
        Sample::from_json_text(self.value.as_ref().unwrap()).unwrap()
    }
}

/// Reads a topic, whenever it is asked to, on to where it ends by then.
struct Reader {
    consumer: BaseConsumer,
    topic: String,
    positions: Vec<i64>,
}

impl Reader {
    fn open(servers: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("group.id", "tests")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        assert!(partitions > 0, "there is no topic {topic}");
        Self {
            consumer,
            topic: topic.to_owned(),
            positions: vec![0; partitions],
        }
    }

    fn read(&mut self) -> Vec<Read> {
        // Begun anew, so that each partition says once more where it ends. What it says when it is asked
        // for that is not the end, with this broker.
        let mut list = TopicPartitionList::new();
        for (partition, at) in self.positions.iter().enumerate() {
            list.add_partition_offset(&self.topic, partition as i32, Offset::Offset(*at))
                .unwrap();
        }
        self.consumer.assign(&list).unwrap();
        let mut read = Vec::new();
        let mut open = self.positions.len();
        let begun = Instant::now();
        while open > 0 {
            assert!(begun.elapsed() < PATIENCE, "the broker is silent");
            match self.consumer.poll(PATIENCE) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(message) => {
                    let message = message.unwrap();
                    self.positions[message.partition() as usize] = message.offset() + 1;
                    read.push(Read::of(&message));
                }
            }
        }
        read
    }
}

/// All that a topic has.
fn read(servers: &str, topic: &str) -> Vec<Read> {
    Reader::open(servers, topic).read()
}

#[test]
fn a_sample_is_a_message() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic();
    let storage = connect(&broker.url(&topic)).unwrap();
    let samples = [
        Sample::builder("JFK")
            .id("2013-06-01/JFK é \0")
            .status(Status::Ready)
            .data(data! { "temp" => 71.6, "nan" => f64::NAN, "bytes" => vec![0_u8, 255] })
            .build()
            .unwrap(),
        Sample::builder("p".repeat(255))
            .id("i".repeat(512))
            .build()
            .unwrap(),
    ];
    let report = storage.store(&samples).unwrap();
    assert_eq!((report.inserted, report.replaced), (2, 0));
    let expected: Vec<_> = samples
        .iter()
        .map(|sample| Read {
            partition: 0,
            key: sample.id().to_owned(),
            value: Some(sample.to_json_text().unwrap()),
            headers: [
                ("schema_version", "1"),
                ("pipeline", sample.pipeline()),
                ("status", sample.status().as_str()),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        })
        .collect();
    let read = read(&broker.servers(), &topic);
    assert_eq!(read, expected);
    assert_eq!(read.iter().map(Read::sample).collect::<Vec<_>>(), samples);
}

#[test]
fn of_one_id_twice_the_later_sample_is_sent() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic();
    let storage = connect(&broker.url(&topic)).unwrap();
    let mut batch = numbered(3);
    batch.push(batch[0].clone().with_status(Status::Dlq));
    let report = storage.store(&batch).unwrap();
    assert_eq!((report.inserted, report.replaced), (3, 1));
    let read = read(&broker.servers(), &topic);
    let read: Vec<_> = read.iter().map(Read::sample).collect();
    assert_eq!(read, [&batch[3], &batch[1], &batch[2]].map(Clone::clone));
}

#[test]
fn deletions_are_tombstones_when_asked_for() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic();
    let storage = connect(&broker.url(&topic)).unwrap();
    storage.store(&numbered(2)).unwrap();
    assert!(!storage.capabilities().delete);
    let error = storage.delete(&"000000".into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("tombstones=true"), "{error}");

    let storage = connect(&format!("{}&tombstones=true", broker.url(&topic))).unwrap();
    assert!(storage.capabilities().delete);
    assert_eq!(
        storage
            .delete(&Selection::ids(["000001", "nobody"]))
            .unwrap(),
        2
    );
    let error = storage.delete(&Query::new().into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("by ids"), "{error}");
    let read = read(&broker.servers(), &topic);
    assert_eq!(read.len(), 4);
    for (read, id) in read[2..].iter().zip(["000001", "nobody"]) {
        let headers = vec![("schema_version".to_owned(), "1".to_owned())];
        let (key, value) = (id.to_owned(), None);
        assert_eq!(
            *read,
            Read {
                partition: 0,
                key,
                value,
                headers
            }
        );
    }
}

#[test]
fn more_than_the_queue_holds_goes_through_it() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic();
    let url = format!("{}&queue.buffering.max.messages=7", broker.url(&topic));
    let storage = connect(&url).unwrap();
    let samples = numbered(500);
    std::thread::scope(|scope| {
        for part in samples.chunks(125) {
            scope.spawn(|| storage.store(part).unwrap());
        }
    });
    let mut read: Vec<_> = read(&broker.servers(), &topic)
        .iter()
        .map(Read::sample)
        .collect();
    read.sort_by(|one, other| one.id().cmp(other.id()));
    assert_eq!(read, samples);
}

#[test]
fn a_topic_is_made_when_it_may_be() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic();
    let url = format!("kafka://{}/{topic}", broker.servers());
    let Err(error) = connect(&format!("{url}?create=false")) else {
        panic!("there is a topic");
    };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(!error.is_retryable());
    assert_eq!(error.subject(), Some(url.as_str()));

    let storage = connect(&format!("{url}?partitions=5")).unwrap();
    storage.store(&numbered(200)).unwrap();
    let read = read(&broker.servers(), &topic);
    let used: std::collections::BTreeSet<_> = read.iter().map(|read| read.partition).collect();
    assert_eq!((read.len(), used.len()), (200, 5));
    connect(&format!("{url}?create=false")).unwrap();
}

#[test]
fn the_example_ends_equal_to_the_source() {
    let Some(broker) = shared() else { return };
    let topic = broker.topic();
    let folder = tempfile::tempdir().unwrap();
    let source = Database::open(folder.path().join("source.redb")).unwrap();
    source.store(&numbered(2_500)).unwrap();
    let status = |id: &str, status| source.set_status(&id.into(), None, status).unwrap();
    assert_eq!(status("000007", Status::Ready), 1);
    let target = connect(&format!("{}&tombstones=true", broker.url(&topic))).unwrap();
    let copied = copy(&source, &*target, &Query::new(), &CopyOptions::new()).unwrap();
    assert_eq!((copied.copied, copied.in_target), (2_500, None));

    let database = Database::open(folder.path().join("target.redb")).unwrap();
    let consumed =
        |database: &Database| consume(&broker.servers(), &topic, "example", database).unwrap();
    let all = |storage: &Database| storage.list(&Query::new()).unwrap().samples;
    let of = |stored, deleted| Consumed { stored, deleted };
    assert_eq!(consumed(&database), of(2_500, 0));
    assert_eq!(all(&database), all(&source));

    // It goes on where it ended.
    let changed = numbered(8).split_off(7);
    for storage in [&source as &dyn Storage, &*target] {
        storage.store(&changed).unwrap();
        storage.delete(&Selection::ids(["000001"])).unwrap();
    }
    assert_eq!(consumed(&database), of(1, 1));
    assert_eq!(all(&database), all(&source));
    assert_eq!(consumed(&database), of(0, 0));
}

#[test]
fn it_works_inside_runtimes() {
    let Some(broker) = shared() else { return };
    let work = || {
        let topic = broker.topic();
        let storage = connect(&broker.url(&topic)).unwrap();
        storage.store(&numbered(20)).unwrap();
        storage.close().unwrap();
        assert_eq!(read(&broker.servers(), &topic).len(), 20);
    };
    let single = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    single.block_on(async { work() });
    let many = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    many.block_on(async { work() });
}

#[test]
fn a_topic_cannot_be_copied_from() {
    let Some(broker) = shared() else { return };
    let storage = connect(&broker.url(&broker.topic())).unwrap();
    let target = MemoryStorage::new();
    let error = copy(&*storage, &target, &Query::new(), &CopyOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("kafka"), "{error}");
}
