//! Brokers that fail as they are told to, are killed and started again, or are gone: nothing is lost,
//! nothing is there twice without need, and errors say whether another attempt helps.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use samplestore::{ErrorKind, Limit, Pipeline, RetryPolicy, RunOutcome, Sample, Storage, connect};

use super::{PATIENCE, Read, numbered, read};
use crate::servers::kafka::Broker;

/// Delivery is given up after a second, and a broker waited for as long at first.
const IMPATIENT: &str = "delivery.timeout.ms=1000&socket.connection.setup.timeout.ms=1000";

type Mock = MockCluster<'static, DefaultProducerContext>;

/// A cluster of librdkafka's own with a topic of so many partitions, and the storage that writes to it.
fn mock(partitions: i32) -> (Mock, Box<dyn Storage>) {
    let cluster = Mock::new(1).unwrap();
    cluster.create_topic("topic", partitions, 1).unwrap();
    let servers = cluster.bootstrap_servers();
    let storage = connect(&format!("kafka://{servers}/topic?{IMPATIENT}")).unwrap();
    (cluster, storage)
}

fn fail_next(cluster: &Mock, errors: &[RDKafkaRespErr]) {
    cluster.request_errors(RDKafkaApiKey::Produce, errors);
}

/// What the topic has, by id.
fn samples_of(cluster: &Mock) -> Vec<Sample> {
    let read = read(&cluster.bootstrap_servers(), "topic");
    let mut samples: Vec<_> = read.iter().map(Read::sample).collect();
    samples.sort_by(|one, other| one.id().cmp(other.id()));
    samples
}

/// Does it again while the error says that this may help.
fn insist<T>(mut work: impl FnMut() -> samplestore::Result<T>) -> T {
    for _ in 0..60 {
        match work() {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it does not come back");
}

#[test]
fn what_passes_is_tried_again_and_nothing_is_there_twice() {
    let (cluster, storage) = mock(1);
    fail_next(
        &cluster,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
    let samples = numbered(100);
    let storage_of_patience = {
        drop(storage);
        connect(&format!("kafka://{}/topic", cluster.bootstrap_servers())).unwrap()
    };
    assert_eq!(storage_of_patience.store(&samples).unwrap().inserted, 100);
    assert_eq!(samples_of(&cluster), samples);
}

#[test]
fn what_lasts_is_told_with_the_sample() {
    let samples = numbered(3);
    for (error, kind) in [
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            ErrorKind::ReadOnly,
        ),
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            ErrorKind::InvalidSample,
        ),
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
            ErrorKind::Backend,
        ),
    ] {
        let (cluster, storage) = mock(1);
        fail_next(&cluster, &[error]);
        let error = storage.store(&samples).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, false),
            "{error:?}"
        );
        assert_eq!(
            (error.position(), error.sample_id()),
            (Some(0), Some("000000"))
        );
        assert_eq!(error.stored_ids().len(), 0);
        let servers = cluster.bootstrap_servers();
        assert_eq!(
            error.subject(),
            Some(format!("kafka://{servers}/topic").as_str())
        );
        assert!(error.source().is_some());
        assert_eq!(samples_of(&cluster), []);
    }
}

#[test]
fn what_was_stored_of_a_batch_is_listed() {
    let (cluster, storage) = mock(2);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let samples = numbered(40);
    // Each partition is written by a request of its own.
    fail_next(&cluster, &[error]);
    let error = storage.store(&samples).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Partial, false)
    );
    let stored = samples_of(&cluster);
    let ids: Vec<_> = stored.iter().map(Sample::id).collect();
    assert!((1..40).contains(&ids.len()), "{ids:?}");
    assert_eq!(error.stored_ids(), ids);
    assert!(!ids.contains(&error.sample_id().unwrap()));
}

#[test]
fn a_producer_that_has_lost_its_place_is_replaced() {
    let (cluster, storage) = mock(1);
    let samples = numbered(5);
    storage.store(&samples[..2]).unwrap();
    fail_next(
        &cluster,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
    );
    let error = storage.store(&samples[2..]).unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("new producer"), "{error}");
    storage.store(&samples[2..]).unwrap();
    assert_eq!(samples_of(&cluster), samples);
    storage.close().unwrap();
}

#[test]
fn brokers_that_are_down_are_an_error_to_try_again() {
    let (cluster, storage) = mock(1);
    let samples = numbered(6);
    storage.store(&samples[..2]).unwrap();
    cluster.broker_down(-1).unwrap();
    let error = storage.store(&samples[2..4]).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Io, true),
        "{error:?}"
    );
    assert_eq!(error.sample_id(), Some("000002"));
    cluster.broker_up(-1).unwrap();
    insist(|| storage.store(&samples[2..]));
    let stored: BTreeSet<_> = samples_of(&cluster)
        .iter()
        .map(|it| it.id().to_owned())
        .collect();
    assert_eq!(stored.len(), 6);
}

/// What the kills of a real broker below cannot show, since that one forgets what it has acknowledged: with brokers that
/// keep what they say they have, nothing is lost, however often they go away.
#[test]
fn brokers_that_come_and_go_in_the_middle_of_stores_lose_nothing() {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;

    const BATCH: usize = 10;
    const WRITERS: usize = 2;
    const TIMES: usize = 5;
    let (cluster, _) = mock(3);
    let url = format!("kafka://{}/topic?{IMPATIENT}", cluster.bootstrap_servers());
    let storage = connect(&url).unwrap();
    let (is_over, again) = (AtomicBool::new(false), AtomicBool::new(false));
    let write = |writer: usize| {
        let mut ids = Vec::new();
        for number in 0.. {
            if is_over.load(SeqCst) && number >= 3 {
                break;
            }
            let of_batch: Vec<_> = (0..BATCH)
                .map(|at| format!("{writer}-{number}-{at}"))
                .collect();
            let sample = |id: &String| Sample::builder("weather").id(id).build().unwrap();
            let batch: Vec<_> = of_batch.iter().map(sample).collect();
            let mut attempts = 0;
            insist(|| {
                attempts += 1;
                storage.store(&batch)
            });
            again.fetch_or(attempts > 1, SeqCst);
            ids.extend(of_batch);
        }
        ids
    };
    let stored: BTreeSet<String> = thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        for time in 0..TIMES {
            thread::sleep(Duration::from_millis(200));
            cluster.broker_down(-1).unwrap();
            // Longer than a delivery is waited for, and shorter.
            thread::sleep(Duration::from_millis([1_500, 300][time % 2]));
            cluster.broker_up(-1).unwrap();
        }
        is_over.store(true, SeqCst);
        let ids = writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap());
        ids.collect()
    });
    assert!(again.load(SeqCst), "no store was in the middle");
    let there = samples_of(&cluster);
    let there: BTreeSet<_> = there.iter().map(|it| it.id().to_owned()).collect();
    assert_eq!(there, stored);
}

/// Properties by which the client says nothing of what it has delivered, or waits for brokers without a limit.
#[test]
fn a_store_returns_whatever_the_file_of_properties_says() {
    let (cluster, _) = mock(1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.properties");
    let url = format!(
        "kafka://{}/topic?config_file={}",
        cluster.bootstrap_servers(),
        file.display()
    );
    std::fs::write(&file, "delivery.report.only.error=true\n").unwrap();
    let samples = numbered(3);
    let (done, is_done) = std::sync::mpsc::channel();
    let (place, batch) = (url.clone(), samples.clone());
    // By a thread that is left behind where it does not return.
    std::thread::spawn(move || done.send(connect(&place).unwrap().store(&batch)));
    let stored = is_done.recv_timeout(PATIENCE / 3).unwrap();
    assert_eq!(stored.unwrap().inserted, 3);
    assert_eq!(samples_of(&cluster), samples);

    std::fs::write(&file, "message.timeout.ms=0\n").unwrap();
    let Err(error) = connect(&url) else {
        panic!("a delivery may take for ever");
    };
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(error.to_string().contains("delivery.timeout.ms"), "{error}");
}

#[test]
fn a_broker_that_is_not_there_is_an_error_to_try_again() {
    let begun = std::time::Instant::now();
    let Err(error) = connect(&format!("kafka://127.0.0.1:1/topic?{IMPATIENT}")) else {
        panic!("there is a broker");
    };
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Io, true),
        "{error:?}"
    );
    assert_eq!(error.subject(), Some("kafka://127.0.0.1:1/topic"));
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_sample_too_large_for_a_message_refuses_the_batch() {
    let (cluster, storage) = mock(1);
    let url = format!(
        "kafka://{}/topic?message.max.bytes=2000",
        cluster.bootstrap_servers()
    );
    let small = connect(&url).unwrap();
    assert_eq!(small.capabilities().sample_bytes_max, 988);
    assert_eq!(storage.capabilities().sample_bytes_max, 749_488);
    // Small as it is encoded, and large as text.
    let sample = |count: usize| {
        let sample = Sample::builder("weather").id("large");
        let data = samplestore::data! { "text" => "\u{1}".repeat(count) };
        sample.data(data).build().unwrap()
    };
    let batch = [numbered(1).remove(0), sample(400)];
    let error = small.store(&batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSample);
    assert_eq!(
        (error.position(), error.sample_id()),
        (Some(1), Some("large"))
    );
    let Some(Limit::Field { field, problem }) = error.limit() else {
        panic!("{error:?}");
    };
    assert_eq!(*field, "sample");
    assert!(problem.contains("at most 2000"), "{problem}");
    assert_eq!(samples_of(&cluster), []);

    // The largest that is taken here is taken by the client.
    let count = (0..400).rev().find(|count| {
        let stored = small.store(&[sample(*count)]);
        stored.is_ok_and(|report| report.inserted == 1)
    });
    let count = count.unwrap();
    assert!(count > 250, "{count}");
    let refused = small.store(&[sample(count + 1)]).unwrap_err();
    assert!(
        refused
            .limit()
            .is_some_and(|limit| limit.to_string().contains("as a message"))
    );
}

/// This broker notes how far a producer is before it keeps what the producer has sent. So when it is killed in
/// between, the client is told that its repetition is known already, and those samples are lost. All others
/// are there, and one more must be behind what is lost, or a consumer would wait for it.
#[cfg(feature = "s3")]
#[test]
fn a_kill_in_the_middle_of_stores_loses_at_most_what_was_on_its_way() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::thread;

    use samplestore::{Database, Query};

    const BATCH: usize = 10;
    const KILLS: usize = 3;
    /// More than [`KILLS`] only while none has met a store.
    const KILLS_MAX: usize = 10;
    const WRITERS: usize = 2;
    // A broker that keeps what it has in an S3 server, which lives on.
    let Some(server) = crate::servers::s3::S3::start() else {
        return;
    };
    let Some(mut broker) = Broker::start_over(&server) else {
        return;
    };
    let url = format!("{}&delivery.timeout.ms=10000", broker.url("killed"));
    let storage = connect(&url).unwrap();
    let is_over = AtomicBool::new(false);
    let kills = AtomicUsize::new(0);
    // Which batch each writer stores just now, from 1 on; 0 for none.
    let under_way = [const { AtomicUsize::new(0) }; WRITERS];
    // Gives the ids that were stored between two kills, and those that were stored during one.
    let write = |writer: usize| {
        let (mut between, mut during) = (Vec::new(), Vec::new());
        for number in 0.. {
            if is_over.load(SeqCst) && number >= 3 {
                break;
            }
            let ids = (0..BATCH).map(|at| format!("{writer}-{number}-{at}"));
            let ids: Vec<_> = ids.collect();
            let sample = |id: &String| Sample::builder("weather").id(id).build().unwrap();
            let batch: Vec<_> = ids.iter().map(sample).collect();
            let before = kills.load(SeqCst);
            under_way[writer].store(number + 1, SeqCst);
            assert_eq!(insist(|| storage.store(&batch)).stored(), BATCH as u64);
            under_way[writer].store(0, SeqCst);
            match kills.load(SeqCst) == before {
                true => between.extend(ids),
                false => during.extend(ids),
            }
        }
        (between, during)
    };
    let stores = || under_way.each_ref().map(|batch| batch.load(SeqCst));
    // Stores that had begun before a kill, and that nobody had acknowledged when the broker was dead.
    let mut met = 0;
    let written: Vec<_> = thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        for kill in 0..KILLS_MAX {
            if kill >= KILLS && met > 0 {
                break;
            }
            thread::sleep(Duration::from_millis(500));
            kills.fetch_add(1, SeqCst);
            let before = stores();
            broker.kill();
            // What began just before it, too, is stored during it.
            kills.fetch_add(1, SeqCst);
            let still = before.iter().zip(stores());
            met += still
                .filter(|(one, other)| **one > 0 && *one == other)
                .count();
            thread::sleep(Duration::from_millis(200));
            broker.restart();
        }
        is_over.store(true, SeqCst);
        let joined = writers.into_iter().map(|writer| writer.join().unwrap());
        joined.collect()
    });
    let end = Sample::builder("weather").id("end").build().unwrap();
    storage.store(&[end]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("samples.redb")).unwrap();
    super::consume(&broker.servers(), "killed", "killed", &database).unwrap();
    let there = database.list(&Query::new()).unwrap().samples;
    let there: BTreeSet<_> = there.iter().map(Sample::id).collect();
    let (mut between, mut during) = (BTreeSet::from(["end"]), BTreeSet::new());
    for (one, other) in &written {
        between.extend(one.iter().map(String::as_str));
        during.extend(other.iter().map(String::as_str));
    }
    assert!(between.len() > KILLS * BATCH, "{}", between.len());
    assert_eq!(between.difference(&there).count(), 0);
    assert!(met > 0, "no store was in the middle");
    assert!(during.len() >= BATCH, "{}", during.len());
    assert!(
        there
            .iter()
            .all(|id| between.contains(id) || during.contains(id))
    );
}

#[test]
fn a_run_without_a_broker_hands_back_what_is_not_stored() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let url = format!("{}&delivery.timeout.ms=100", broker.url("run"));
    let broker = std::sync::Mutex::new(broker);
    let samples = numbered(60);
    let source = samples.iter().cloned().enumerate().map(|(number, sample)| {
        if number == 30 {
            broker.lock().unwrap().kill();
        }
        sample
    });
    let report = Pipeline::builder("weather")
        .source(source)
        .storage_with(|| connect(&url))
        .batch_samples_max(10)
        .retry(RetryPolicy::fixed(2, Duration::from_millis(10)))
        .build()
        .unwrap()
        .run()
        .unwrap();
    assert_ne!(report.outcome(), RunOutcome::Complete);
    assert!(report.check().is_err());
    let failed: Vec<_> = report
        .failed()
        .iter()
        .map(|failed| failed.sample.clone())
        .collect();
    assert!(failed.len() >= 30, "{}", failed.len());
    assert_eq!(report.stored() as usize + failed.len(), 60);
    assert_eq!(failed, samples[60 - failed.len()..]);
    for failed in report.failed() {
        assert_eq!(failed.error.kind(), ErrorKind::Io, "{:?}", failed.error);
        assert!(failed.error.is_retryable());
    }
}
