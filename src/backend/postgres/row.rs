//! Rows to samples, and samples to columns.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use super::json::JsonText;
use super::text::{escape, unescape};
use crate::backend::batch::last_of_each_id;
use crate::error::{Error, ErrorKind, Result};
use crate::instant;
use crate::sample::{Sample, Status};

/// A batch is written in parts when its JSON is larger than this, or longer than [`PART_ROWS_MAX`]: a
/// message holds 1 GiB at the most.
const PART_BYTES_MAX: usize = 32 << 20;
const PART_ROWS_MAX: usize = 16_384;

/// A sample as it was read.
pub(super) struct Found {
    pub(super) sample: Sample,
    pub(super) created_at_us: i64,
    pub(super) rank: i64,
    /// Bytes of its JSON.
    pub(super) bytes: usize,
}

/// Reads a row of the columns that `sql.rs` selects.
///
/// Rows may have been written by others, so everything is checked.
pub(super) fn read(row: &Row) -> Result<Found> {
    let id = unescape(column(row, 0)?);
    let damaged = |cause: Error| {
        Error::new(ErrorKind::Damaged, "read a row")
            .with_sample_id(&*id)
            .with_cause(cause)
    };
    let pipeline = unescape(column(row, 1)?);
    let status: &str = column(row, 2)?;
    let created_at_us: i64 = column(row, 3)?;
    let measured_at_us: Option<i64> = column(row, 4)?;
    let data: JsonText = column(row, 5)?;
    let measurements: JsonText = column(row, 6)?;
    let reason: Option<JsonText> = column(row, 7)?;
    let rank = column(row, 8)?;

    let instant = |micros: i64| {
        let instant = instant::from_micros(micros);
        instant.ok_or_else(|| {
            damaged(
                Error::new(ErrorKind::Decode, "read an instant")
                    .with_message(format!("{micros} µs from 1970 is no instant")),
            )
        })
    };
    let mut builder = Sample::builder(pipeline)
        .id(&*id)
        .status(status.parse().map_err(damaged)?)
        .created_at(instant(created_at_us)?)
        .data_payload(data.to_payload("data").map_err(damaged)?)
        .measurements_payload(measurements.to_payload("measurements").map_err(damaged)?);
    if let Some(micros) = measured_at_us {
        builder = builder.measured_at(instant(micros)?);
    }
    let mut bytes = data.len() + measurements.len();
    if let Some(reason) = reason {
        bytes += reason.len();
        builder = builder.reason(reason.to_reason().map_err(damaged)?);
    }
    Ok(Found {
        sample: builder.build().map_err(damaged)?,
        created_at_us,
        rank,
        bytes,
    })
}

/// Reads a row of counts: the pipeline, the status and how many.
pub(super) fn read_facet(row: &Row) -> Result<(String, Status, u64)> {
    let pipeline = unescape(column(row, 0)?).into_owned();
    let status: &str = column(row, 1)?;
    let count: i64 = column(row, 2)?;
    let damaged = |cause| Error::new(ErrorKind::Damaged, "read a row").with_cause(cause);
    Ok((pipeline, status.parse().map_err(damaged)?, count as u64))
}

/// A column of a row.
fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|cause| {
        Error::new(ErrorKind::Damaged, "read a row")
            .with_message("a column is of another type")
            .with_cause(cause)
    })
}

/// Samples of different ids, column by column, as the upsert takes them.
#[derive(Default)]
pub(super) struct Columns {
    ids: Vec<String>,
    pipelines: Vec<String>,
    statuses: Vec<&'static str>,
    created_at_us: Vec<i64>,
    measured_at_us: Vec<Option<i64>>,
    data: Vec<JsonText>,
    measurements: Vec<JsonText>,
    reasons: Vec<Option<JsonText>>,
    bytes: usize,
}

impl Columns {
    /// The batch in parts, each id once: at its first place, by which it is ranked, and as it came last.
    pub(super) fn of_batch(batch: &[Sample]) -> Result<Vec<Self>> {
        let mut parts = vec![Self::default()];
        for (_, sample) in last_of_each_id(batch) {
            if parts.last().is_none_or(Self::is_full) {
                parts.push(Self::default());
            }
            if let Some(part) = parts.last_mut() {
                part.push(sample)?;
            }
        }
        Ok(parts)
    }

    fn is_full(&self) -> bool {
        self.bytes >= PART_BYTES_MAX || self.ids.len() >= PART_ROWS_MAX
    }

    fn push(&mut self, sample: &Sample) -> Result<()> {
        let named = |error: Error| error.with_sample_id(sample.id());
        let data = JsonText::of_payload(sample.data()).map_err(named)?;
        let measurements = JsonText::of_payload(sample.measurements()).map_err(named)?;
        let reason = sample.reason().map(JsonText::of_reason);
        self.bytes += data.len() + measurements.len() + reason.as_ref().map_or(0, JsonText::len);
        self.ids.push(escape(sample.id()).into_owned());
        self.pipelines.push(escape(sample.pipeline()).into_owned());
        self.statuses.push(sample.status().as_str());
        self.created_at_us
            .push(instant::floor_micros(sample.created_at()));
        self.measured_at_us
            .push(sample.measured_at().map(instant::floor_micros));
        self.data.push(data);
        self.measurements.push(measurements);
        self.reasons.push(reason);
        Ok(())
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.ids,
            &self.pipelines,
            &self.statuses,
            &self.created_at_us,
            &self.measured_at_us,
            &self.data,
            &self.measurements,
            &self.reasons,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_written_once_at_its_first_place_as_it_came_last() {
        let sample = |id: &str, pipeline: &str| Sample::builder(pipeline).id(id).build().unwrap();
        let batch = [
            sample("a", "1"),
            sample("b\0", "2"),
            sample("a", "3"),
            sample("c", "4"),
        ];
        let parts = Columns::of_batch(&batch).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].ids, ["a", "b\u{1a}0", "c"]);
        assert_eq!(parts[0].pipelines, ["3", "2", "4"]);
    }

    #[test]
    fn a_batch_goes_in_parts_that_one_message_holds() {
        let sample = |at: usize| Sample::builder("p").id(at.to_string()).build().unwrap();
        let batch: Vec<_> = (0..2 * PART_ROWS_MAX + 1).map(sample).collect();
        let parts = Columns::of_batch(&batch).unwrap();
        let lengths: Vec<_> = parts.iter().map(|part| part.ids.len()).collect();
        assert_eq!(lengths, [PART_ROWS_MAX, PART_ROWS_MAX, 1]);

        let large = |at: usize| {
            let filling = "x".repeat(12 << 20);
            let large = Sample::builder("p")
                .id(at.to_string())
                .measurement("filling", filling);
            large.build().unwrap()
        };
        let parts = Columns::of_batch(&(0..4).map(large).collect::<Vec<_>>()).unwrap();
        let lengths: Vec<_> = parts.iter().map(|part| part.ids.len()).collect();
        assert_eq!(lengths, [3, 1]);
    }
}
