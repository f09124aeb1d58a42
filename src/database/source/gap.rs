//! [`Gap`]: what cannot be read of neighbouring rows.

use std::ops::Range;

use crate::database::schema::STATUS_ROWS;
use crate::error::Error;

/// Neighbours that cannot be read for the same reason.
pub(super) struct Gap {
    pub(super) what: &'static str,
    pub(super) rows: Range<u64>,
    pub(super) reason: String,
}

impl Gap {
    /// Adds a leaf to these, behind all others.
    pub(super) fn add(gaps: &mut Vec<Self>, what: &'static str, leaf: u64, error: &Error) {
        let rows = leaf * STATUS_ROWS..(leaf + 1) * STATUS_ROWS;
        let reason = error.to_string();
        let before = gaps.iter_mut().rev().find(|gap| gap.what == what);
        match before {
            Some(gap) if gap.rows.end == rows.start && gap.reason == reason => {
                gap.rows.end = rows.end;
            }
            _ => gaps.push(Self { what, rows, reason }),
        }
    }
}
