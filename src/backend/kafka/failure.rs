//! The client's and the brokers' errors as our own [`Error`]s, and which of them another attempt may help.
//!
//! The one place that reads their codes: <https://kafka.apache.org/protocol.html#protocol_error_codes>.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::OPEN;
use super::config::Settings;
use super::producer::Stream;
use crate::error::{Error, ErrorKind, Limit};

/// What a code means here.
struct Meaning {
    kind: ErrorKind,
    retryable: bool,
    message: &'static str,
}

const fn lasting(kind: ErrorKind, message: &'static str) -> Meaning {
    Meaning {
        kind,
        retryable: false,
        message,
    }
}

const fn passing(kind: ErrorKind, message: &'static str) -> Meaning {
    Meaning {
        kind,
        retryable: true,
        message,
    }
}

/// The error of settings that the client does not take. Its own words may hold a value, and so a password.
pub(super) fn of_settings(error: KafkaError, settings: &Settings) -> Error {
    let message = match error {
        KafkaError::ClientConfig(_, _, property, _) => {
            format!("the client does not take the value of {property}")
        }
        KafkaError::ClientCreation(words) => words,
        other => format!("the client cannot be made ({})", name(&other)),
    };
    Error::new(ErrorKind::InvalidArgument, OPEN)
        .with_subject(&settings.shown)
        .with_message(message)
}

fn name(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => code.to_string(),
        None => "for no reason given".to_owned(),
    }
}

/// The error of a message that was not acknowledged.
pub(super) fn of_message(
    error: &KafkaError,
    operation: &'static str,
    shown: &str,
    stream: &Stream,
) -> Error {
    if let Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) = error.rdkafka_error_code() {
        return Error::invalid_sample(Limit::Field {
            field: "sample",
            problem: "is larger than the brokers take for this topic; see max.message.bytes there"
                .to_owned(),
        })
        .with_subject(shown);
    }
    of_request(error.clone(), operation, shown, stream)
}

/// The error of `operation` on the brokers that are shown so.
pub(super) fn of_request(
    cause: KafkaError,
    operation: &'static str,
    shown: &str,
    stream: &Stream,
) -> Error {
    let code = cause.rdkafka_error_code();
    let code = match &cause {
        KafkaError::AdminOp(code) => Some(*code),
        _ => code,
    };
    let heard = stream.heard().filter(|_| code.is_none_or(is_silence));
    // Why there is no answer decides whether another attempt may help.
    let told = heard.as_ref().map(|heard| heard.code);
    let meaning = match (stream.is_lost(), told.or(code)) {
        (true, _) => passing(
            ErrorKind::Backend,
            "the brokers have lost this producer's place; the next attempt has a new producer",
        ),
        (false, Some(code)) => of_code(code),
        (false, None) => lasting(ErrorKind::Backend, "the client failed"),
    };
    let words: &dyn fmt::Display = match &heard {
        Some(heard) => &format!("{}: {}", meaning.message, heard.words),
        None => &meaning.message,
    };
    Error::new(meaning.kind, operation)
        .with_subject(shown)
        .with_message(words)
        .with_retryable(meaning.retryable)
        // What passes is the brokers' and not a message's.
        .with_unreachable(!stream.is_lost())
        .with_cause(cause)
}

/// What the client's code for a connection that failed stands for. A broker's certificate that is not trusted is found out by the
/// handshake or, where that happens to be the first to go on with it, by an empty write, whose failures librdkafka (2.12) calls broken
/// transport alike; the words are the same.
pub(super) fn reason_of(code: Code, words: &str) -> Code {
    match code {
        Code::BrokerTransportFailure if words.contains("certificate verify failed") => Code::SSL,
        _ => code,
    }
}

/// Codes that say no more than that nothing came back.
fn is_silence(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::Fatal
    )
}

fn of_code(code: Code) -> Meaning {
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::NetworkException
        | Code::RequestTimedOut => passing(ErrorKind::Io, "the brokers did not answer in time"),
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::ISRInsufficient
        | Code::KafkaStorageError
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::ThrottlingQuotaExceeded
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch => {
            passing(ErrorKind::Backend, "the brokers are not ready for it")
        }
        Code::QueueFull => passing(
            ErrorKind::Backend,
            "there was no room in the queue of what is on its way; see queue.buffering.max.kbytes and \
             queue.buffering.max.messages",
        ),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            lasting(ErrorKind::NotFound, "there is no such topic any more")
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => lasting(
            ErrorKind::ReadOnly,
            "the brokers do not allow it to this user",
        ),
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => lasting(
            ErrorKind::Backend,
            "the brokers do not take the credentials",
        ),
        Code::SSL => lasting(ErrorKind::Backend, "there is no TLS with the brokers"),
        Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::PolicyViolation => lasting(
            ErrorKind::InvalidArgument,
            "the brokers do not make such a topic",
        ),
        _ => lasting(ErrorKind::Backend, "the brokers refuse it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_the_brokers_that_is_not_trusted_is_no_matter_of_time() {
        let words = "ssl://host:1/bootstrap: error:0A000086:SSL routines::certificate verify failed (after 3ms in state \
                     SSL_HANDSHAKE)";
        assert_eq!(reason_of(Code::BrokerTransportFailure, words), Code::SSL);
        let words = "ssl://host:1/bootstrap: Disconnected: during SSL connection handshake";
        assert_eq!(
            reason_of(Code::BrokerTransportFailure, words),
            Code::BrokerTransportFailure
        );
        assert_eq!(reason_of(Code::SSL, words), Code::SSL);
    }

    #[test]
    fn what_another_attempt_may_help() {
        for (code, kind, retryable) in [
            (Code::BrokerTransportFailure, ErrorKind::Io, true),
            (Code::MessageTimedOut, ErrorKind::Io, true),
            (Code::Resolve, ErrorKind::Io, true),
            (Code::NotEnoughReplicas, ErrorKind::Backend, true),
            (Code::NotLeaderForPartition, ErrorKind::Backend, true),
            (Code::UnknownTopicOrPartition, ErrorKind::NotFound, false),
            (Code::TopicAuthorizationFailed, ErrorKind::ReadOnly, false),
            (Code::SaslAuthenticationFailed, ErrorKind::Backend, false),
            (Code::Authentication, ErrorKind::Backend, false),
            (Code::SSL, ErrorKind::Backend, false),
            (
                Code::InvalidReplicationFactor,
                ErrorKind::InvalidArgument,
                false,
            ),
            (Code::InvalidRecord, ErrorKind::Backend, false),
        ] {
            let meaning = of_code(code);
            assert_eq!(
                (meaning.kind, meaning.retryable),
                (kind, retryable),
                "{code:?}"
            );
        }
    }
}
