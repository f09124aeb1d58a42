//! Moving rows to another status, or to none: which counters change, and the planes.

use std::collections::BTreeMap;

use redb::ReadableTable;
use roaring::RoaringBitmap;

use super::chunk::CHUNK_LEAVES;
use super::failure::Context;
use super::filter::first_row;
use super::mask::Mask;
use super::pipelines::decode_places;
use super::planes::Planes;
use super::record::status_code;
use super::schema::{COLUMN_ROWS, Kind, STATUS_ROWS, cell_key, cell_keys, missing};
use super::view::live_status;
use super::write::Transaction;
use crate::error::Result;
use crate::sample::Status;

/// How many rows each pipeline has, by status code, which has three bits.
type Counts = BTreeMap<u32, [i64; 8]>;

/// A pipeline's bitmap costs about as much as so many rows, each looked up in its leaf of the columns.
const BITMAP_ROWS: u64 = 16;
/// Fewer rows of a chunk are looked at one by one.
const DENSE_ROWS_MIN: u64 = 4_096;

impl Transaction<'_> {
    /// Moves to the status `to` the rows of a chunk, all of which have a sample.
    pub(super) fn set_status(
        &mut self,
        chunk: u64,
        rows: &RoaringBitmap,
        to: Status,
    ) -> Result<()> {
        self.move_rows(chunk, rows, Some(to))
    }

    /// Removes the samples of these rows of a chunk, all of which have one. Columns, runs, bitmaps and pairs
    /// of ids keep what they say of a row without a sample: it is its status code of 0 that counts.
    pub(super) fn delete(&mut self, chunk: u64, rows: &RoaringBitmap) -> Result<()> {
        for place in rows {
            self.leave_record(first_row(chunk) + u64::from(place))?;
        }
        self.move_rows(chunk, rows, None)?;
        self.count_stale_ids(rows.len());
        Ok(())
    }

    fn move_rows(&mut self, chunk: u64, rows: &RoaringBitmap, to: Option<Status>) -> Result<()> {
        self.journal.r#move(chunk, rows, to.map_or(0, status_code));
        let mask = Mask::of_bitmap(rows);
        let mut leaves = Vec::with_capacity(CHUNK_LEAVES);
        for (index, words) in mask.leaves().iter().enumerate() {
            let leaf = chunk * CHUNK_LEAVES as u64 + index as u64;
            // Leaves behind the last row are not there.
            let is_wanted = words.iter().any(|word| *word != 0);
            let planes = is_wanted.then(|| self.status.get(&self.tables.status, leaf).cloned());
            leaves.push(planes.transpose()?);
        }
        for (pipeline, by_code) in self.count_moves(chunk, rows, &mask, &leaves)? {
            for (code, count) in (0..).zip(by_code).filter(|(_, count)| *count > 0) {
                let from = live_status(first_row(chunk), code)?;
                self.count(chunk, pipeline, from, -count)?;
                if let Some(to) = to {
                    self.count(chunk, pipeline, to, count)?;
                }
            }
        }
        for (index, words) in mask.leaves().iter().enumerate() {
            if leaves[index].is_some() {
                let leaf = chunk * CHUNK_LEAVES as u64 + index as u64;
                let planes = self.status.get_mut(&self.tables.status, leaf)?;
                planes.set_codes(words, to.map_or(0, status_code));
            }
        }
        Ok(())
    }

    /// Counts these rows of a chunk by pipeline and status code: by the bitmaps of its pipelines, when
    /// they are few beside the rows and as they are on disk, and else row by row.
    fn count_moves(
        &mut self,
        chunk: u64,
        rows: &RoaringBitmap,
        mask: &Mask,
        leaves: &[Option<Planes>],
    ) -> Result<Counts> {
        let mut changed = self.pipeline_rows.range((chunk, 0)..=(chunk, u32::MAX));
        let are_on_disk = self.is_full(chunk) && changed.next().is_none();
        let are_few = self.dictionary.len() as u64 * BITMAP_ROWS < rows.len();
        if are_on_disk && are_few {
            self.count_by_bitmaps(chunk, rows, mask, leaves)
        } else {
            self.count_by_columns(chunk, rows, leaves)
        }
    }

    fn count_by_bitmaps(
        &self,
        chunk: u64,
        rows: &RoaringBitmap,
        mask: &Mask,
        leaves: &[Option<Planes>],
    ) -> Result<Counts> {
        const OPERATION: &str = "count by pipeline";
        let mut counts = Counts::new();
        // Many rows are counted word by word, all of a code at once.
        let by_code = match rows.len() < DENSE_ROWS_MIN {
            true => Vec::new(),
            false => split_by_code(mask, leaves),
        };
        let mut counted = 0;
        for cell in self
            .tables
            .pipeline_rows
            .range(cell_keys(chunk))
            .context(OPERATION)?
        {
            let (key, sealed) = cell.context(OPERATION)?;
            let key = key.value();
            let places = decode_places(Kind::PipelineRows, key, sealed.value())?;
            // The low half of a key is the pipeline.
            let counts = counts.entry(key as u32).or_default();
            if by_code.is_empty() {
                let places = &places & rows;
                counted += places.len();
                places
                    .iter()
                    .for_each(|place| counts[code_of(leaves, place)] += 1);
            }
            for (code, rows) in &by_code {
                let moved = rows.intersection_len(&places);
                counts[*code] += moved as i64;
                counted += moved;
            }
        }
        // Every row is in the bitmap of one pipeline.
        if counted != rows.len() {
            return Err(missing(Kind::PipelineRows, cell_key(chunk, 0)));
        }
        Ok(counts)
    }

    fn count_by_columns(
        &mut self,
        chunk: u64,
        rows: &RoaringBitmap,
        leaves: &[Option<Planes>],
    ) -> Result<Counts> {
        let mut counts = Counts::new();
        for place in rows {
            let row = first_row(chunk) + u64::from(place);
            let columns = self.columns.get(&self.tables.columns, row / COLUMN_ROWS)?;
            let pipeline = columns.pipeline(row);
            counts.entry(pipeline).or_default()[code_of(leaves, place)] += 1;
        }
        Ok(counts)
    }
}

/// Which of these rows have each status code that any has.
fn split_by_code(rows: &Mask, leaves: &[Option<Planes>]) -> Vec<(usize, RoaringBitmap)> {
    let of_code = |code| {
        let mut of_code = Mask::empty();
        let words = of_code.leaves_mut().iter_mut().zip(rows.leaves());
        for ((out, rows), planes) in words.zip(leaves) {
            let Some(planes) = planes else { continue };
            let matching = planes.matching(1_u8 << code);
            for ((out, rows), matching) in out.iter_mut().zip(rows).zip(matching) {
                *out = rows & matching;
            }
        }
        (code, of_code.to_bitmap())
    };
    let by_code = (1..=6).map(of_code);
    by_code.filter(|(_, rows)| !rows.is_empty()).collect()
}

/// The status code of a place whose leaf was read; 0, which no sample has, when it was not.
fn code_of(leaves: &[Option<Planes>], place: u32) -> usize {
    let (leaf, row) = (u64::from(place) / STATUS_ROWS, u64::from(place));
    leaves[leaf as usize]
        .as_ref()
        .map_or(0, |planes| usize::from(planes.code(row)))
}
