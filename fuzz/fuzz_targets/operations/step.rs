//! [`Step`]: what is done to a database, read of the bytes that a fuzzer makes.

use arbitrary::{Arbitrary, Unstructured};
use chrono::DateTime;
use samplestore::{Condition, Map, Query, Sample, Selection, Status, Value};

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Spec {
    pub id: u8,
    pub pipeline: u8,
    pub status: u8,
    pub micros: i16,
    pub bytes: u16,
}

/// Of the four bytes that choose an operation the uppermost bits say which, as `arbitrary` derives it. Where the lowest is one of
/// the last, it is one of those that came later, so that what older inputs do stays mostly as it was.
#[derive(Debug)]
pub enum Step {
    Operation(Operation),
    CreateIndex(u8),
    DropIndex(u8),
    /// Asks a condition of a field.
    Ask(Asked),
    Prune(Retention),
    Compact,
    /// The process ends, and the next one opens the file in this way.
    OpenAs(u8),
    /// One write or sync fails after so many that succeed, and those behind it too or not.
    FailOnly {
        syncs: bool,
        lasts: bool,
        after: u8,
    },
}

/// Of a pipeline all is removed that is older than this, or all, but for so many of the newest.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Retention {
    pub pipeline: u8,
    pub older_than: Option<i16>,
    pub keep_newest: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Asked {
    pub field: u8,
    pub kind: u8,
    pub value: u8,
}

/// The lowest bytes from this one on choose among what came later, and those before it from the other one on among what came last.
const LATER: u8 = 0xe0;
const LAST: u8 = 0xd0;

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.peek_bytes(1) {
            Some(&[lowest]) if lowest >= LATER => {
                let _tag: u32 = u.arbitrary()?;
                match lowest % 4 {
                    0 | 1 => Self::CreateIndex(u.arbitrary()?),
                    2 => Self::DropIndex(u.arbitrary()?),
                    _ => Self::Ask(u.arbitrary()?),
                }
            }
            Some(&[lowest]) if lowest >= LAST => {
                let _tag: u32 = u.arbitrary()?;
                match lowest % 4 {
                    0 => Self::Prune(u.arbitrary()?),
                    1 => Self::Compact,
                    2 => Self::OpenAs(u.arbitrary()?),
                    _ => Self::FailOnly {
                        syncs: u.arbitrary()?,
                        lasts: u.arbitrary()?,
                        after: u.arbitrary()?,
                    },
                }
            }
            _ => Self::Operation(u.arbitrary()?),
        })
    }
}

#[derive(Arbitrary, Debug)]
pub enum Operation {
    Store(Vec<Spec>),
    /// So many samples with new ids.
    Load(u8, Spec),
    SetStatus {
        which: Which,
        from: Option<u8>,
        to: u8,
    },
    Delete(Which),
    Flush,
    Close,
    Kill,
    /// Everything that changes the disk fails after so many that succeed.
    Fail(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Which {
    Id(u8),
    Pipeline(u8),
    Status(u8),
    Since(i16),
    All,
}

impl Which {
    pub fn selection(self) -> Selection {
        match self {
            Self::Id(id) => Selection::ids([format!("s{id}")]),
            Self::Pipeline(pipeline) => Query::new().pipeline(pipeline_of(pipeline)).into(),
            Self::Status(status) => Query::new().status(status_of(status)).into(),
            Self::Since(micros) => Query::new().since(at(micros)).into(),
            Self::All => Query::new().into(),
        }
    }

    pub fn matches(self, sample: &Sample) -> bool {
        match self {
            Self::Id(id) => sample.id() == format!("s{id}"),
            Self::Pipeline(pipeline) => sample.pipeline() == pipeline_of(pipeline),
            Self::Status(status) => sample.status() == status_of(status),
            Self::Since(micros) => sample.created_at() >= at(micros),
            Self::All => true,
        }
    }
}

pub fn status_of(status: u8) -> Status {
    Status::ALL[usize::from(status) % Status::ALL.len()]
}

pub fn pipeline_of(pipeline: u8) -> String {
    format!("p{}", pipeline % 4)
}

pub fn at(micros: i16) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_micros(micros.into()).expect("an instant")
}

impl Spec {
    pub fn sample(self, id: String) -> Sample {
        let text = "x".repeat(usize::from(self.bytes));
        let mut data = Map::from([("text".to_owned(), Value::from(text))]);
        let value = match self.bytes % 8 {
            0 => None,
            1 => Some(Value::from(format!("t{}", self.micros % 4))),
            2 => Some(Value::from(self.micros % 2 == 0)),
            3 => Some(Value::from(f64::from(self.micros) / 2.0)),
            4 => Some(Value::Null),
            _ => Some(Value::from(i64::from(self.micros))),
        };
        data.extend(value.map(|value| ("value".to_owned(), value)));
        Sample::builder(pipeline_of(self.pipeline))
            .id(id)
            .status(status_of(self.status))
            .created_at(at(self.micros))
            .data(data)
            .measurements(Map::from([("id".to_owned(), Value::from(self.id))]))
            .build()
            .expect("a sample")
    }
}

/// The fields of which there may be indexes; no sample has the last.
pub const FIELDS: [&str; 4] = ["data.value", "measurements.id", "data.text", "data.absent"];

pub fn field_of(field: u8) -> &'static str {
    FIELDS[usize::from(field) % FIELDS.len()]
}

impl Asked {
    pub fn condition(self) -> Condition {
        let (field, value) = (field_of(self.field), self.value);
        let text = match self.kind % 8 {
            0 => format!("{field} = {value}"),
            1 => format!("{field} between -{value} and {value}.5"),
            2 => format!("{field} < -{value} or {field} >= {value}"),
            3 => format!("{field} = 't{}'", value % 4),
            4 => format!("{field} in (true, {value}, 't-{}')", value % 4),
            5 => format!("{field} is null"),
            6 => format!("{field} is missing"),
            _ => format!("{field} is not null and not {field} = {value}"),
        };
        text.parse().expect("a condition")
    }
}
