//! Ctrl-C: verbs that write end where they can without harm, remove what is not whole, and say what is done.
//!
//! Verbs that only read end at once, as programs do that know nothing of it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, process};

use samplestore::{Error, ErrorKind};

use crate::failure::{Code, Failure, words};

/// What is said of work that changes a file as its last step.
pub(crate) const UNCHANGED: &str = "the file is as it was";

/// Signals that come so soon behind the first are one wish: who ends a process may tell it, and the group that it is in.
const SAME_WISH: Duration = Duration::from_millis(300);

static IS_ASKED: AtomicBool = AtomicBool::new(false);
/// A file that is not whole yet.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// From here on Ctrl-C, or being told to terminate, ends the work after the step that is under way. Asked a second time, and not
/// within [`SAME_WISH`], the process ends at once, which is as safe as the loss of power.
pub(crate) fn watch() -> Result<(), Failure> {
    watch_with(|| words("ended at once, before what was under way was done"))
}

/// The same for work of the library that makes a file, hidden beside `target` until it is whole: should the process end at once, that
/// is told.
pub(crate) fn watch_making(target: &Path) -> Result<(), Failure> {
    let target = target.display().to_string();
    watch_with(move || {
        words(&format!(
            "ended at once; what is not whole is left beside {target}, hidden by a dot before its name"
        ));
    })
}

/// Watches, and says this when the process ends at once.
fn watch_with(farewell: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let mut first = None::<Instant>;
    handle(move || {
        let asked = *first.get_or_insert_with(Instant::now);
        if !IS_ASKED.swap(true, SeqCst) || asked.elapsed() < SAME_WISH {
            return;
        }
        farewell();
        exit();
    })
}

/// Has this file removed should the process end at once. Once it has another name nothing is there to remove.
pub(crate) fn remove_at_end(unfinished: &Path) {
    let mut slot = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    *slot = Some(unfinished.to_owned());
}

/// From here on Ctrl-C, or being told to terminate, ends the process at once, with these words. For work that cannot be ended
/// otherwise, and leaves nothing half-done when it is.
pub(crate) fn end_with(farewell: &'static str) -> Result<(), Failure> {
    handle(move || {
        words(&format!("interrupted; {farewell}"));
        exit();
    })
}

fn handle(work: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    ctrlc::set_handler(work)
        .map_err(|cause| Failure::new(Code::Error, format!("could not watch for Ctrl-C: {cause}")))
}

fn exit() {
    let unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = unfinished.as_deref() {
        // It may have its name by now.
        let _ = fs::remove_file(path);
    }
    process::exit(i32::from(Code::Interrupted as u8));
}

/// Whether the work is to end.
pub(crate) fn is_asked() -> bool {
    IS_ASKED.load(SeqCst)
}

/// What work that is told of its progress is answered: whether it goes on.
pub(crate) fn answer() -> ControlFlow<()> {
    match is_asked() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// The failure of work that may have been ended by that answer; if it was, `what_is_done` is said.
pub(crate) fn ended(error: Error, what_is_done: &str) -> Failure {
    match error.kind() {
        ErrorKind::Interrupted => Failure::interrupted(what_is_done),
        _ => error.into(),
    }
}
