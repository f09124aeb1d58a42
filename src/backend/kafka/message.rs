//! [`Message`]: a sample as it goes into the topic.
//!
//! | part | |
//! |---|---|
//! | key | the id |
//! | value | the JSON text form; none in a tombstone |
//! | header `schema_version` | the version of all this, `1` |
//! | headers `pipeline`, `status` | those of the sample, so that consumers may choose without reading values; none in a tombstone |
//!
//! The message's instant is left to the client: topics are kept by it, and samples may be old.

use rdkafka::message::{Header, OwnedHeaders};

use crate::error::{Error, Limit, Result};
use crate::sample::Sample;

const SCHEMA_VERSION: &str = "1";
/// More than what the protocol puts around the parts of a message: 36 bytes, and 10 a header.
const OVERHEAD_BYTES: usize = 128;

/// A message that is to be sent.
pub(super) struct Message<'a> {
    /// Where it stands in the batch.
    pub(super) position: usize,
    pub(super) key: &'a str,
    pub(super) value: Option<String>,
    headers: Vec<(&'static str, &'a str)>,
}

impl<'a> Message<'a> {
    /// The message of a sample, unless it takes more bytes than a message may.
    pub(super) fn of(position: usize, sample: &'a Sample, bytes_max: usize) -> Result<Self> {
        let named = |error: Error| error.with_sample(position, sample.id());
        let message = Self {
            position,
            key: sample.id(),
            value: Some(sample.to_json_text().map_err(named)?),
            headers: vec![
                ("schema_version", SCHEMA_VERSION),
                ("pipeline", sample.pipeline()),
                ("status", sample.status().as_str()),
            ],
        };
        let bytes = message.bytes();
        if bytes > bytes_max {
            return Err(named(Error::invalid_sample(Limit::Field {
                field: "sample",
                problem: format!(
                    "takes {bytes} bytes as a message; at most {bytes_max} are allowed, see message.max.bytes"
                ),
            })));
        }
        Ok(message)
    }

    /// The message that says that there is no sample of this id any more.
    pub(super) fn tombstone(position: usize, id: &'a str) -> Self {
        Self {
            position,
            key: id,
            value: None,
            headers: vec![("schema_version", SCHEMA_VERSION)],
        }
    }

    /// The headers as the client has them.
    pub(super) fn headers(&self) -> OwnedHeaders {
        let empty = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers.iter().fold(empty, |headers, (key, value)| {
            let value = Some(*value);
            headers.insert(Header { key, value })
        })
    }

    /// At most as many bytes as this the message takes on its way.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        OVERHEAD_BYTES + self.key.len() + self.value.as_ref().map_or(0, String::len) + headers
    }
}
