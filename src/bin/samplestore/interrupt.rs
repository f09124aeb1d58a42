//! Ctrl-C: verbs that write end where they can without harm, remove what is not whole, and say what is done; before they have done
//! anything they say that.
//!
//! Verbs that only read end at once, as programs do that know nothing of it; so does one that reads into a file of its own, which is
//! removed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, process};

use samplestore::{Error, ErrorKind};
use tempfile::NamedTempFile;

use crate::failure::{Code, Failure, words};
use crate::progress;

/// What is said of a verb that has changed nothing yet.
pub(crate) const NOTHING_CHANGED: &str = "nothing was changed";
/// What is said of one that stores, and may have made an empty storage by then.
pub(crate) const NOTHING_STORED: &str = "nothing was stored";

/// What is said of work that changes a file as its last step.
pub(crate) const UNCHANGED: &str = "the file is as it was";

/// What is said of work that is ended within a step.
const AT_ONCE: &str = "ended at once, before what was under way was done";

/// Signals that come so soon behind the first are one wish: who ends a process may tell it, and the group that it is in.
const SAME_WISH: Duration = Duration::from_millis(300);

/// What is done then.
type Work = Box<dyn FnMut() + Send>;

static IS_ASKED: AtomicBool = AtomicBool::new(false);
/// What Ctrl-C does from here on; a process can say so to the system only once. Held while it is done, so that a verb does not go on
/// to what is to be ended otherwise.
static WORK: Mutex<Option<Work>> = Mutex::new(None);
/// The file that is made. Held while it comes to be and while it gets its name, so that the process ends at neither moment.
static MADE: Mutex<Made> = Mutex::new(Made::NotYet);

/// How far a file is.
enum Made {
    /// There is none.
    NotYet,
    /// It is not whole and has another name.
    Unfinished(PathBuf),
    /// It is there, so that there is nothing to end any more.
    Whole,
}

/// From here on Ctrl-C, or being told to terminate, ends the work after the step that is under way. Asked a second time, and not
/// within [`SAME_WISH`], the process ends at once, which is as safe as the loss of power.
pub(crate) fn watch() -> Result<(), Failure> {
    watch_with(|| words(AT_ONCE))
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

/// The same for work that may look for long before it has something to do: `leave` ends what can be ended then, and says so. Where a
/// step is under way it gives `false`, and the work ends after that.
pub(crate) fn watch_looking(leave: impl FnMut() -> bool + Send + 'static) -> Result<(), Failure> {
    watch_or_leave(leave, || words(AT_ONCE))
}

/// Watches, and says this when the process ends at once.
fn watch_with(farewell: impl Fn() + Send + 'static) -> Result<(), Failure> {
    watch_or_leave(|| false, farewell)
}

fn watch_or_leave(
    mut leave: impl FnMut() -> bool + Send + 'static,
    farewell: impl Fn() + Send + 'static,
) -> Result<(), Failure> {
    let mut first = None::<Instant>;
    handle(move || {
        let asked = *first.get_or_insert_with(Instant::now);
        if !IS_ASKED.swap(true, SeqCst) {
            if leave() {
                exit(&made());
            }
            return;
        }
        if asked.elapsed() < SAME_WISH {
            return;
        }
        progress::clear();
        farewell();
        exit(&made());
    })
}

/// From here on Ctrl-C, or being told to terminate, ends the process at once, after this farewell, unless the file is whole. For work
/// that reads, and writes nothing but a file that is made by [`making`] and [`naming`].
pub(crate) fn end_unless_made(farewell: impl Fn() + Send + 'static) -> Result<(), Failure> {
    handle(move || {
        let made = made();
        if !matches!(*made, Made::Whole) {
            progress::clear();
            farewell();
            exit(&made);
        }
    })
}

/// Makes a file, which is removed should the process end at once.
pub(crate) fn making(
    make: impl FnOnce() -> io::Result<NamedTempFile>,
) -> io::Result<NamedTempFile> {
    let mut made = made();
    let file = make()?;
    *made = Made::Unfinished(file.path().to_owned());
    Ok(file)
}

/// Gives the file its name, or does whatever else is the last of it.
pub(crate) fn naming<T>(name: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut made = made();
    let named = name()?;
    *made = Made::Whole;
    Ok(named)
}

/// From here on Ctrl-C, or being told to terminate, ends the process at once, with these words. For a verb that has done nothing yet,
/// and for work that cannot be ended otherwise and leaves nothing half-done when it is.
pub(crate) fn end_with(farewell: &'static str) -> Result<(), Failure> {
    handle(move || {
        progress::clear();
        words(&format!("interrupted; {farewell}"));
        exit(&made());
    })
}

fn handle(work: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let before = work_now().replace(Box::new(work));
    if before.is_some() {
        return Ok(());
    }
    let watched = ctrlc::set_handler(|| {
        if let Some(work) = &mut *work_now() {
            work();
        }
    });
    watched
        .map_err(|cause| Failure::new(Code::Error, format!("could not watch for Ctrl-C: {cause}")))
}

fn work_now() -> MutexGuard<'static, Option<Work>> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn made() -> MutexGuard<'static, Made> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process; what holds the file keeps the work from going on with it.
fn exit(made: &Made) -> ! {
    if let Made::Unfinished(path) = made {
        let _ = fs::remove_file(path);
    }
    process::exit(i32::from(Code::Interrupted as u8))
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
