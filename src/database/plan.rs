//! The planner: how the hits of one chunk are brought into order of time, by what each way should cost.
//! Pure.
//!
//! A list merges its chunks (see `stream.rs`), and opens a chunk only when no other can hold the next
//! hit. By then the chunk's hits are known exactly, as a bitmap, and so is the part of its timeline
//! that the time range leaves. Three ways lead from there to hits in order of time:
//!
//! - *in place*: the rows of the chunk are in order of time already, so the bitmap is;
//! - *scan*: along the timeline, testing each entry against the bitmap; its cost grows with the entries
//!   between one hit and the next, so it suits common hits;
//! - *sort*: the instants of all hits are fetched and sorted; its cost grows with the hits, so it
//!   suits rare ones.
//!
//! Whatever is chosen, a chunk costs a bounded amount, so a wrong estimate cannot cost much, and no plan
//! has to be given up half-way.

use super::chunk::Head;
use super::schema::{COLUMN_ROWS, RUN_ENTRIES};
use crate::query::TimeRange;

/// Cost of one entry of a timeline tested, in nanoseconds, as measured on the build machine. Only the
/// ratios matter.
const ENTRY_NS: f64 = 5.0;
/// Cost of reading a leaf of a run or of a column.
const LEAF_NS: f64 = 1_300.0;
/// Cost of fetching and sorting one hit.
const HIT_NS: f64 = 40.0;

/// How the hits of a chunk are brought into order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    InPlace,
    Scan,
    Sort,
}

/// What is known of a chunk when it is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// Whether its rows are in order of time.
    pub(super) is_ordered: bool,
    /// Whether its timeline is in memory.
    pub(super) is_newest: bool,
    /// Rows of the pipelines and statuses asked for, at any time.
    pub(super) hits: u64,
    /// Rows of the chunk.
    pub(super) rows: usize,
    /// Entries of its timeline that the time range and the cursor leave.
    pub(super) entries: usize,
    /// Hits that will be asked of this chunk, about.
    pub(super) wanted: f64,
}

/// The cheapest access.
pub(super) fn choose(question: &Question) -> Access {
    if question.is_ordered {
        return Access::InPlace;
    }
    let (scan_ns, sort_ns) = costs(question);
    if scan_ns <= sort_ns {
        Access::Scan
    } else {
        Access::Sort
    }
}

/// What a scan and a sort should cost.
fn costs(question: &Question) -> (f64, f64) {
    let leaf_ns = if question.is_newest { 0.0 } else { LEAF_NS };
    let entries = question.entries as f64;
    let hits = question.hits as f64;
    let hits_in_range = hits * entries / (question.rows as f64).max(1.0);
    // One hit more than wanted is sought before the merge knows that it is too late.
    let part = ((question.wanted + 1.0) / hits_in_range.max(1.0)).min(1.0);
    let scanned = entries * part;
    let scan_ns = scanned * ENTRY_NS + (scanned / RUN_ENTRIES as f64 + 1.0) * leaf_ns;
    let leaves = hits.min(question.rows as f64 / COLUMN_ROWS as f64);
    let sort_ns = hits * HIT_NS + leaves * leaf_ns;
    (scan_ns, sort_ns)
}

/// How many chunks lie over each other in time, on average: 1 when they follow each other, all of them
/// when each covers all of the time.
pub(super) fn overlap<'a>(heads: impl Iterator<Item = &'a Head>, range: TimeRange) -> f64 {
    let (mut spans, mut first, mut last) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
    for head in heads {
        let from = head.first.max(range.first) as f64;
        let to = head.last.min(range.last) as f64;
        if from <= to {
            spans += to - from;
            first = first.min(from);
            last = last.max(to);
        }
    }
    if last > first {
        (spans / (last - first)).max(1.0)
    } else {
        1.0
    }
}

/// How many samples match, about, from the heads alone: as if time and pipeline were spread evenly
/// over each chunk.
pub(super) fn estimate<'a>(
    heads: impl Iterator<Item = &'a Head>,
    codes: u8,
    pipeline_share: f64,
    range: TimeRange,
) -> f64 {
    heads
        .map(|head| time_share(head, range) * head.in_statuses(codes) as f64 * pipeline_share)
        .sum()
}

/// The part of a chunk's span that lies in the range, 0 to 1.
fn time_share(head: &Head, range: TimeRange) -> f64 {
    let first = head.first.max(range.first);
    let last = head.last.min(range.last);
    if first > last {
        return 0.0;
    }
    let part = last as f64 - first as f64 + 1.0;
    let whole = head.last as f64 - head.first as f64 + 1.0;
    (part / whole).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::schema::CHUNK_ROWS;
    use super::*;

    const FULL: Question = Question {
        is_ordered: false,
        is_newest: false,
        hits: 600,
        rows: CHUNK_ROWS as usize,
        entries: CHUNK_ROWS as usize,
        wanted: 3.0,
    };

    #[test]
    fn common_hits_are_scanned_for_and_rare_ones_sorted() {
        assert_eq!(choose(&FULL), Access::Scan);
        assert_eq!(choose(&Question { hits: 2, ..FULL }), Access::Sort);
        let narrow = Question {
            entries: 600,
            wanted: 1e9,
            ..FULL
        };
        assert_eq!(choose(&narrow), Access::Scan);
        let all = Question {
            hits: 20,
            wanted: 1e9,
            ..FULL
        };
        assert_eq!(choose(&all), Access::Sort);
    }

    #[test]
    fn rows_in_order_need_neither() {
        assert_eq!(
            choose(&Question {
                is_ordered: true,
                ..FULL
            }),
            Access::InPlace
        );
    }

    #[test]
    fn an_empty_chunk_is_no_trouble() {
        let empty = Question {
            hits: 0,
            rows: 0,
            entries: 0,
            wanted: 0.0,
            ..FULL
        };
        let (scan_ns, sort_ns) = costs(&empty);
        assert!(scan_ns.is_finite() && sort_ns.is_finite());
    }

    #[test]
    fn chunks_that_follow_each_other_do_not_overlap() {
        let head = |first, last| Head {
            first,
            last,
            ..Head::EMPTY
        };
        let after = [head(0, 9), head(10, 19), head(20, 29)];
        assert!(overlap(after.iter(), TimeRange::ALL) < 1.01);
        let over = [head(0, 29); 3];
        assert!((overlap(over.iter(), TimeRange::ALL) - 3.0).abs() < 0.01);
        assert!((overlap([].iter(), TimeRange::ALL) - 1.0).abs() < 0.01);
    }
}
