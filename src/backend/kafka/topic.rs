//! Whether the topic is there, and making it when it is to be.
//!
//! Brokers that make topics on their own are not asked to: what `create` says goes for all of them.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use super::OPEN;
use super::config::Settings;
use super::failure;
use super::producer::{Reports, Stream};
use crate::backend::runtime::wait;
use crate::error::{Error, ErrorKind, Result};

/// Looks for the topic, which waits for a broker, and makes it if it is not there.
pub(super) fn find_or_make(stream: &Stream, settings: &Settings) -> Result<()> {
    match is_there(stream, settings)? {
        true => Ok(()),
        false if settings.create => make(stream, settings),
        false => Err(Error::new(ErrorKind::NotFound, OPEN)
            .with_subject(&settings.shown)
            .with_message("there is no such topic, and it was not to be made")),
    }
}

fn is_there(stream: &Stream, settings: &Settings) -> Result<bool> {
    let failed = |cause| failure::of_request(cause, OPEN, &settings.shown, stream);
    let metadata = stream.metadata(settings.connect_timeout).map_err(failed)?;
    let error = metadata.topics().iter().find_map(MetadataTopic::error);
    match error.map(RDKafkaErrorCode::from) {
        // One that is just being made has no leader yet.
        None | Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(true),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(false),
        Some(code) => Err(failed(KafkaError::MetadataFetch(code))),
    }
}

/// Makes the topic; it does not matter if somebody else does meanwhile. The producer waits until all
/// brokers know it.
fn make(stream: &Stream, settings: &Settings) -> Result<()> {
    let failed = |cause| failure::of_request(cause, OPEN, &settings.shown, stream);
    let admin: AdminClient<Reports> = settings
        .client
        .create_with_context(Reports::default())
        .map_err(|cause| failure::of_settings(cause, settings))?;
    let (topic, timeout) = (settings.topic.clone(), settings.connect_timeout);
    let (partitions, replicas) = (settings.partitions, settings.replication_factor);
    let answers = wait(OPEN, &settings.shown, async move {
        let replication = TopicReplication::Fixed(replicas);
        let topic = NewTopic::new(&topic, partitions, replication);
        let options = AdminOptions::new()
            .request_timeout(Some(timeout))
            .operation_timeout(Some(timeout));
        Ok(admin.create_topics([&topic], &options).await)
    })?;
    for answer in answers.map_err(failed)? {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(KafkaError::AdminOp(code))),
        }
    }
    Ok(())
}
