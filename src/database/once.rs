//! Cells that are filled when they are first asked for, by something that may fail.

use std::sync::OnceLock;

use crate::error::Result;

/// What the cell holds, or what is read into it now.
pub(super) fn get_or_read<T>(cell: &OnceLock<T>, read: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = read()?;
    Ok(cell.get_or_init(|| value))
}
