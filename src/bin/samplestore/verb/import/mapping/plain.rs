//! [`PlainColumns`]: the rows of a CSV that were not exported, whose columns the flags name.
//!
//! What the sample itself holds, its id, its pipeline, its status and its instant, is the text of a cell as it stands: `1.10`,
//! `0012` and `True` are other ids than `1.1`, `12` and `true`. What goes into its maps is what `cell.rs` takes it for.

use csv::ByteRecord;
use samplestore::Sample;
use serde::{Serialize, Serializer};
use serde_json::{Map as JsonMap, Value as Json};

use super::{ID_JOINT, Mapping, absent, instant};
use crate::arguments::parse_status;
use crate::failure::{Failure, words_of};
use crate::fields::nearest;
use crate::verb::import::Cell;

/// Numbers that are no longer are the same in every reader of JSON, which may hold all of them as floats.
const NUMBER_BYTES_SAME: usize = 15;

/// A mapping of plain rows, its fields found in the header.
pub(crate) struct PlainColumns {
    names: Vec<String>,
    id: Vec<usize>,
    pipeline: Option<usize>,
    created_at: Option<usize>,
    status: Option<usize>,
    data: Vec<usize>,
    measurements: Vec<usize>,
    nulls: Vec<String>,
}

impl PlainColumns {
    /// Finds the fields of a mapping among the columns.
    pub(super) fn of(mapping: &Mapping, header: &[String]) -> Result<Self, Failure> {
        let find = |name: &String| {
            let found = header.iter().position(|column| column == name);
            found.ok_or_else(|| {
                let failure = Failure::usage(format!("the CSV has no column {name:?}"));
                match nearest(name, header.iter().map(String::as_str)) {
                    _ if header.is_empty() => failure.with_hint("it is empty"),
                    Some(near) => failure.with_hint(format!("did you mean {near:?}?")),
                    None => failure.with_hint(format!("it has {}", header.join(", "))),
                }
            })
        };
        let all = |names: &[String]| names.iter().map(find).collect::<Result<Vec<_>, _>>();
        let one = |name: &Option<String>| name.as_ref().map(find).transpose();
        let measurements = all(&mapping.measurements)?;
        let kept =
            |index: &usize| !mapping.is_taken(&header[*index]) && !measurements.contains(index);
        Ok(Self {
            names: header.to_vec(),
            id: all(&mapping.id_fields)?,
            pipeline: one(&mapping.pipeline_field)?,
            created_at: one(&mapping.created_at_field)?,
            status: one(&mapping.status_field)?,
            data: (0..header.len()).filter(kept).collect(),
            measurements,
            nulls: mapping.nulls.clone(),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The sample of a row, or why it is none.
    pub(super) fn sample(&self, row: &ByteRecord, mapping: &Mapping) -> Result<Sample, String> {
        let names = &self.names;
        if row.len() != names.len() {
            let (found, expected) = (row.len(), names.len());
            return Err(format!("it has {found} cells, the header has {expected}"));
        }
        let cell = |index: usize| -> Result<Option<&str>, String> {
            let text = std::str::from_utf8(&row[index])
                .map_err(|_| format!("field {:?} is no UTF-8", names[index]))?;
            Ok((!self.is_null(text)).then_some(text))
        };
        let needed = |index: usize| cell(index)?.ok_or_else(|| absent(&names[index]));
        let fields = |indices: &[usize]| -> Result<Fields<'_>, String> {
            let mut fields = Vec::with_capacity(indices.len());
            for index in indices {
                if let Some(text) = cell(*index)? {
                    fields.push((names[*index].as_str(), Cell::read(text)));
                }
            }
            Ok(Fields(fields))
        };

        let pipeline = match self.pipeline {
            Some(index) => needed(index)?,
            None => mapping.pipeline.as_deref().unwrap_or_default(),
        };
        let mut sample = Sample::builder(pipeline)
            .data(fields(&self.data)?)
            .measurements(fields(&self.measurements)?)
            .status(mapping.status.unwrap_or_default());
        if !self.id.is_empty() {
            let parts = self.id.iter().map(|index| needed(*index));
            sample = sample.id(parts.collect::<Result<Vec<_>, _>>()?.join(ID_JOINT));
        }
        if let Some(index) = self.created_at {
            sample = sample.created_at(instant(&names[index], needed(index)?)?);
        }
        if let Some(index) = self.status {
            let word = needed(index)?;
            sample = sample.status(parse_status(word.trim())?);
        }
        sample.build().map_err(|error| words_of(&error))
    }

    /// What a row that was rejected says, as a JSON record that can be corrected and of which the same mapping makes what it
    /// would have made of the row.
    pub(crate) fn rejected(&self, row: &ByteRecord) -> JsonMap<String, Json> {
        let mut fields = JsonMap::new();
        for (index, (name, bytes)) in self.names.iter().zip(row).enumerate() {
            let text = String::from_utf8_lossy(bytes);
            if !self.is_null(&text) {
                fields.insert(name.clone(), self.json(index, &text));
            }
        }
        fields
    }

    /// What stands in a column, as JSON. What the sample itself holds is a text there, too; of what is also in a map, as the parts of
    /// a joined id are, such a number that both come back, and else a text: a number may be one of a map, but another id is of another sample.
    fn json(&self, index: usize, text: &str) -> Json {
        let value = || serde_json::to_value(Cell::read(text)).unwrap_or_default();
        let fixed = [self.pipeline, self.created_at, self.status];
        if !self.id.contains(&index) && !fixed.contains(&Some(index)) {
            return value();
        }
        let is_in_map = self.data.contains(&index) || self.measurements.contains(&index);
        if is_in_map && text.len() <= NUMBER_BYTES_SAME {
            let value = value();
            let written = value.to_string();
            if written == text {
                return value;
            }
        }
        text.into()
    }

    /// Whether a cell means that there is no value.
    fn is_null(&self, text: &str) -> bool {
        text.is_empty() || self.nulls.iter().any(|null| null == text)
    }
}

/// Cells by name, as a map.
struct Fields<'a>(Vec<(&'a str, Cell<'a>)>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, cell)| (name, cell)))
    }
}
