//! [`Explain`]: how a query is answered.

use std::fmt;

use serde::Serialize;

use super::fetch::Fetch;
use crate::error::Result;
use crate::query::Query;

/// How a query is answered: the index used, what was expected and what was looked at.
///
/// With a cursor it is what the page takes when it is asked for alone. Behind the page before it, a list goes on where that one ended, and looks
/// at less.
///
/// `Display` writes it in a few lines for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explain {
    /// The query, in the command line's words.
    pub query: String,
    /// Where a list takes its rows from: `ids`, the index of ids; `chunks`, the bitmaps and time runs
    /// of the chunks; `nothing`, when no sample can match.
    pub plan: &'static str,
    /// Fields whose index left fewer rows; conditions are asked of the records of these. An index that leaves more than half of the rows of
    /// a chunk is not used there.
    pub field_indexes: Vec<String>,
    /// Fields that have an index, of which the conditions leave too many rows everywhere for it to be used.
    pub unused_indexes: Vec<String>,
    /// Conditions that are asked of each record.
    pub conditions: usize,
    /// What a count uses.
    pub count_plan: &'static str,
    /// Samples expected to match, limit and conditions left aside.
    pub estimated: u64,
    /// Samples found, limit counted in.
    pub samples: u64,
    /// Records read from the file.
    pub records_read: u64,
    /// Ids looked up.
    pub ids_looked_up: u64,
    /// Chunks (61,440 rows each) whose rows were in order of time as they are.
    pub chunks_in_place: u64,
    /// Chunks whose time run was scanned, each entry tested against the bitmap of hits.
    pub chunks_scanned: u64,
    /// Chunks whose hits were few, and sorted.
    pub chunks_sorted: u64,
    /// Entries of time runs tested.
    pub entries_tested: u64,
    /// Leaves (4 KiB) of the time index read.
    pub leaves_read: u64,
}

impl Explain {
    pub(super) fn new(
        query: &Query,
        fetch: &Fetch,
        count_plan: &'static str,
        estimated: f64,
        samples: u64,
    ) -> Result<Self> {
        let figures = fetch.stream.figures;
        let [field_indexes, unused_indexes] = fetch.stream.narrowing_fields()?;
        Ok(Self {
            query: query.to_string(),
            plan: fetch.stream.name(),
            field_indexes,
            unused_indexes,
            conditions: query.conditions().len(),
            count_plan,
            estimated: estimated.round() as u64,
            samples,
            records_read: fetch.records + figures.id_records,
            ids_looked_up: figures.ids,
            chunks_in_place: figures.chunks_in_place,
            chunks_scanned: figures.chunks_scanned,
            chunks_sorted: figures.chunks_sorted,
            entries_tested: figures.entries,
            leaves_read: figures.leaves,
        })
    }

    /// Whether the rows came from an index, as they always should.
    #[must_use]
    pub fn uses_index(&self) -> bool {
        matches!(self.plan, "ids" | "chunks" | "nothing")
    }
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.query.is_empty() {
            "(every sample)"
        } else {
            &self.query
        };
        writeln!(f, "query     {query}")?;
        match self.plan {
            "ids" => writeln!(
                f,
                "list      index of ids, {} looked up",
                self.ids_looked_up
            )?,
            "nothing" => writeln!(f, "list      nothing can match, nothing is read")?,
            _ => {
                writeln!(
                    f,
                    "list      merge of chunks by time: {} in place, {} scanned, {} sorted",
                    self.chunks_in_place, self.chunks_scanned, self.chunks_sorted
                )?;
                writeln!(
                    f,
                    "          {} entries of the time index tested, {} leaves read",
                    self.entries_tested, self.leaves_read
                )?;
            }
        }
        if self.conditions > 0 {
            let read = "asked of each record";
            match self.field_indexes.is_empty() {
                true => writeln!(f, "where     {read}; no index of a field is used")?,
                false => {
                    let fields = self.field_indexes.join(", ");
                    writeln!(f, "where     {read} that the index of {fields} leaves")?;
                }
            }
            if !self.unused_indexes.is_empty() {
                let fields = self.unused_indexes.join(", ");
                writeln!(
                    f,
                    "          that of {fields} is not used: it leaves more than half"
                )?;
            }
        }
        writeln!(f, "count     {}", self.count_plan)?;
        writeln!(f, "estimated {} samples, before the limit", self.estimated)?;
        write!(
            f,
            "actual    {} samples, {} records read",
            self.samples, self.records_read
        )
    }
}
