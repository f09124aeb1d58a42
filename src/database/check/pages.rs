//! The pages of a file: their checksums, and that the state they hold is the one that is open.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use redb::{Builder, ReadableDatabase};

use super::{CheckReport, FaultKind, OPERATION};
use crate::database::failure::{Context, damaged, open_failure};
use crate::database::overlay::{OnRead, Overlay};
use crate::database::view::View;
use crate::database::volume::Volume;
use crate::error::{Error, ErrorKind, Result};
use crate::proceed::{Proceed, told};

/// Memory for the pages of the second redb, in bytes.
const CACHE_BYTES: usize = 16 << 20;
/// redb reads every page so often: for its checksum, and for what it leads to.
const TIMES_READ: u64 = 2;

/// Verifies redb's part of a file to which nobody writes meanwhile, and whose last state is that of `view`.
pub(super) fn check<P: Proceed>(
    volume: &Volume,
    path: &Path,
    view: &View,
    report: &mut CheckReport,
    progress: impl Fn(f64) -> P + Send + Sync + 'static,
) -> Result<()> {
    let base = volume
        .layout()
        .ok_or_else(|| damaged(OPERATION, "its head was not read"))?
        .base;
    let disk = volume.disk();
    let bytes = disk.len();
    let bytes = bytes.map_err(|cause| Error::io(OPERATION, path.display(), cause))?;
    let whole = (bytes.saturating_sub(base) * TIMES_READ).max(1);
    let is_ended = Arc::new(AtomicBool::new(false));
    let on_read: OnRead = Box::new({
        let is_ended = Arc::clone(&is_ended);
        move |read| {
            let share = (read as f64 / whole as f64).min(1.0);
            told(OPERATION, progress(share).proceeds()).map_err(|error| {
                is_ended.store(true, Relaxed);
                io::Error::other(error)
            })
        }
    });
    let overlay = Overlay::new(Arc::clone(disk), base, on_read);
    let overlay = overlay.map_err(|cause| Error::io(OPERATION, path.display(), cause))?;
    let read = report.read(FaultKind::Page, None, || {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(overlay)
            .map_err(|error| open_failure(error, path))?;
        let transaction = database.begin_read().context(OPERATION)?;
        match View::read(transaction, volume.counters())?.state == view.state {
            true => Ok(()),
            false => Err(damaged(
                OPERATION,
                "the last commit is not the one that is open",
            )),
        }
    });
    if is_ended.load(Relaxed) {
        return Err(Error::new(ErrorKind::Interrupted, OPERATION));
    }
    read?;
    report.pages_verified = true;
    Ok(())
}
