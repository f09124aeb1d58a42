//! Bytes <-> sample: the record that a block keeps. The only file that knows bincode.
//!
//! A record is what bincode 2.0.1's standard configuration makes of [`Envelope`]: little-endian,
//! whole numbers of variable length (below 251 one byte; 251, 252 and 253 announce 2, 4 and 8 bytes),
//! signed ones zigzagged, a byte string as its length and its bytes, an option as 0 or as 1 and the
//! value. `data` and `measurements` are MessagePack maps and stay so. The chapter on the file format
//! says it byte by byte, so that a reader needs no bincode. The status in a record is the one it was
//! last stored with, a fallback: the status planes have the true one.
//!
//! bincode's known traps and what is done about them: a corrupt length cannot allocate, since every
//! field is borrowed and a limit is set; nothing here nests; bytes behind the record are an error;
//! no `serde_json::Value` and no `skip_serializing_if` is involved. The file format's seal (see
//! `schema.rs`) is checked before any of it is read.

use std::sync::Arc;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use chrono::{DateTime, Utc};

use super::failure::damaged;
use crate::error::{Error, ErrorKind, Result};
use crate::instant;
use crate::payload::Payload;
use crate::sample::{ID_BYTES_MAX, Reason, Sample, SampleParts, Status};
use crate::slice::{Slice, Text};

/// No record is larger, whatever `sample_bytes_max` says.
pub(super) const RECORD_BYTES_MAX: usize = 1 << 30;

const CONFIGURATION: Configuration<LittleEndian, Varint, Limit<RECORD_BYTES_MAX>> =
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();

/// The layout of records of format 1.
const LAYOUT: u8 = 1;

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct Envelope<'a> {
    layout: u8,
    id: &'a str,
    pipeline: u32,
    status: u8,
    created_at: i64,
    measured_at: Option<i64>,
    reason: Option<ReasonEnvelope<'a>>,
    data: &'a [u8],
    measurements: &'a [u8],
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct ReasonEnvelope<'a> {
    stage: &'a str,
    message: &'a str,
    attempts: u32,
    at: i64,
}

impl Envelope<'_> {
    fn status(&self) -> Result<Status> {
        let status = status_of(self.status).flatten();
        status.ok_or_else(|| damaged("read a record", "its status is none"))
    }
}

/// What the indexes need of a record.
pub(super) struct Header<'a> {
    pub(super) id: &'a str,
    pub(super) pipeline: u32,
    /// The status it was stored with.
    pub(super) status: Status,
    pub(super) created_at: i64,
}

/// Appends the record of `sample`, whose pipeline has this number, without the seal.
pub(super) fn encode(sample: &Sample, pipeline: u32, bytes: &mut Vec<u8>) -> Result<()> {
    let envelope = Envelope {
        layout: LAYOUT,
        id: sample.id(),
        pipeline,
        status: status_code(sample.status()),
        created_at: instant::floor_micros(sample.created_at()),
        measured_at: sample.measured_at().map(instant::floor_micros),
        reason: sample.reason().map(|reason| ReasonEnvelope {
            stage: reason.stage(),
            message: reason.message(),
            attempts: reason.attempts(),
            at: instant::floor_micros(reason.at()),
        }),
        data: sample.data().as_bytes(),
        measurements: sample.measurements().as_bytes(),
    };
    bincode::encode_into_std_write(envelope, bytes, CONFIGURATION).map_err(|cause| {
        Error::new(ErrorKind::Backend, "encode a sample")
            .with_sample_id(sample.id())
            .with_cause(cause)
    })?;
    Ok(())
}

/// The fields of a record that the indexes are made of.
pub(super) fn header(bytes: &[u8]) -> Result<Header<'_>> {
    let envelope = read(bytes)?;
    Ok(Header {
        id: envelope.id,
        pipeline: envelope.pipeline,
        status: envelope.status()?,
        created_at: envelope.created_at,
    })
}

/// `data` and `measurements` of a record, as they are encoded.
pub(super) fn payloads(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let envelope = read(bytes)?;
    Ok((envelope.data, envelope.measurements))
}

/// The sample of a record, which is a part of `whole`. Its payloads share those bytes and stay encoded.
pub(super) fn decode(
    whole: &Arc<[u8]>,
    record: &[u8],
    status: Status,
    pipeline_name: impl FnOnce(u32) -> Result<Arc<str>>,
) -> Result<Sample> {
    let envelope = read(record)?;
    Ok(Sample::from_parts(SampleParts {
        id: Text::of(whole, envelope.id),
        pipeline: pipeline_name(envelope.pipeline)?,
        status,
        created_at: at(envelope.created_at)?,
        measured_at: envelope.measured_at.map(at).transpose()?,
        data: Payload::from_encoded(Slice::of(whole, envelope.data)),
        measurements: Payload::from_encoded(Slice::of(whole, envelope.measurements)),
        reason: match envelope.reason {
            None => None,
            Some(reason) => Some(Box::new(Reason::new(
                reason.stage,
                reason.message,
                reason.attempts,
                at(reason.at)?,
            ))),
        },
    }))
}

fn read(bytes: &[u8]) -> Result<Envelope<'_>> {
    let (envelope, length) =
        bincode::borrow_decode_from_slice::<Envelope<'_>, _>(bytes, CONFIGURATION)
            .map_err(|cause| damaged("read a record", "it cannot be decoded").with_cause(cause))?;
    if length != bytes.len() {
        return Err(damaged("read a record", "bytes follow its end"));
    }
    if envelope.layout != LAYOUT {
        return Err(damaged("read a record", "its layout is unknown"));
    }
    if !(1..=ID_BYTES_MAX).contains(&envelope.id.len()) {
        return Err(damaged(
            "read a record",
            "its id has a length that none has",
        ));
    }
    envelope.status()?;
    Ok(envelope)
}

fn at(micros: i64) -> Result<DateTime<Utc>> {
    instant::from_micros(micros)
        .ok_or_else(|| damaged("read a record", "an instant is out of range"))
}

/// The code of a status in records and status planes, 1 to 6. 0 is "no sample".
pub(super) fn status_code(status: Status) -> u8 {
    status.index() as u8 + 1
}

/// The status of a code; `Some(None)` for 0, `None` for 7 and above.
pub(super) fn status_of(code: u8) -> Option<Option<Status>> {
    match code {
        0 => Some(None),
        code => Status::ALL
            .get(usize::from(code) - 1)
            .map(|status| Some(*status)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data;

    fn sample() -> Sample {
        Sample::builder("weather")
            .id("JFK")
            .status(Status::Dlq)
            .created_at(instant::from_micros(-5).unwrap())
            .measured_at(instant::from_micros(7).unwrap())
            .data(data! { "temp" => 71.6 })
            .reason(Reason::new(
                "parse",
                "no",
                3,
                instant::from_micros(9).unwrap(),
            ))
            .build()
            .unwrap()
    }

    fn encoded(pipeline: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&sample(), pipeline, &mut bytes).unwrap();
        bytes
    }

    /// The layout that the chapter on the file format describes, byte by byte.
    #[test]
    fn the_layout_is_as_documented() {
        let mut expected = vec![1, 3];
        expected.extend(b"JFK");
        expected.extend([251, 44, 1]); // pipeline 300
        expected.extend([6, 9, 1, 14]); // dlq, -5 and 7 zigzagged
        expected.extend([1, 5]);
        expected.extend(b"parse");
        expected.push(2);
        expected.extend(b"no");
        expected.extend([3, 18, 15, 0x81, 0xa4]);
        expected.extend(b"temp");
        expected.push(0xcb);
        expected.extend(71.6_f64.to_be_bytes());
        expected.extend([1, 0x80]);
        assert_eq!(encoded(300), expected);
    }

    #[test]
    fn a_record_comes_back() {
        let sample = sample();
        let bytes: Arc<[u8]> = Arc::from(encoded(7));
        let header = header(&bytes).unwrap();
        assert_eq!(
            (header.id, header.pipeline, header.created_at),
            ("JFK", 7, -5)
        );
        let back = decode(&bytes, &bytes, Status::Dlq, |number| {
            assert_eq!(number, 7);
            Ok("weather".into())
        });
        assert_eq!(back.unwrap(), sample);
    }

    #[test]
    fn bytes_behind_a_record_are_an_error() {
        let mut bytes = encoded(7);
        bytes.push(0);
        assert!(header(&bytes).is_err());
    }

    #[test]
    fn an_id_of_a_length_that_none_has_is_damage() {
        let with_id = |id: &str| {
            let mut bytes = Vec::new();
            let envelope = Envelope {
                layout: LAYOUT,
                id,
                pipeline: 0,
                status: 1,
                created_at: 0,
                measured_at: None,
                reason: None,
                data: &[0x80],
                measurements: &[0x80],
            };
            bincode::encode_into_std_write(envelope, &mut bytes, CONFIGURATION).unwrap();
            header(&bytes).map(|header| header.id.len())
        };
        assert_eq!(with_id("x").unwrap(), 1);
        assert_eq!(with_id(&"x".repeat(512)).unwrap(), 512);
        for id in ["", &"x".repeat(513)] {
            assert_eq!(with_id(id).unwrap_err().kind(), ErrorKind::Damaged);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let bytes: Arc<[u8]> = Arc::from(bytes);
            if let Ok(sample) = decode(&bytes, &bytes, Status::Ready, |_| Ok("p".into())) {
                let _ = sample.data().to_map();
            }
        }
    }
}
