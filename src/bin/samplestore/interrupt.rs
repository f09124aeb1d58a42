//! Ctrl-C: verbs that work in steps end between two of them, say what is done, and can be run again for the rest.
//!
//! Verbs that only read end at once, as programs do that know nothing of it.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::failure::{Code, Failure};

static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C, or being told to terminate, ends the work after the step that is under way. Asked a second time, the
/// process ends at once, which is as safe as the loss of power.
pub(crate) fn watch() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if IS_ASKED.swap(true, SeqCst) {
            process::exit(i32::from(Code::Interrupted as u8));
        }
    })
    .map_err(|cause| Failure::new(Code::Error, format!("could not watch for Ctrl-C: {cause}")))
}

/// Whether the work is to end.
pub(crate) fn is_asked() -> bool {
    IS_ASKED.load(SeqCst)
}
