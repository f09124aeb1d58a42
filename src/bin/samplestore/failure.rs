//! [`Failure`] and [`Code`]: what went wrong, in one line of words and as the exit code.
//!
//! Every verb ends in an [`Outcome`]. The words go to stderr here and nowhere else; a reader of stdout
//! that went away is no failure and has no words.

use std::error::Error as StdError;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;

use samplestore::{Error, ErrorKind};

use crate::output::escape;

/// How a verb ended.
pub(crate) type Outcome = Result<Code, Failure>;

/// The exit codes, as [`EXIT_CODES`] tells them to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// All is done.
    Fine = 0,
    /// An error, or an id that was not found.
    Error = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// Some records were rejected, or could not be saved, the others are stored; or a copy is not equal to its source.
    Partly = 3,
    /// Another process holds the database.
    Locked = 4,
    /// The file is damaged, or no database that this version can read.
    Damaged = 5,
    /// The file is damaged, but only in what can be rebuilt.
    Rebuildable = 6,
}

/// The part of the help texts that tells the codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  an error, or an id that was not found
  2  a command line that cannot be understood
  3  partly done: some records were rejected, or could not be saved, or a copy is not equal
  4  the database is locked by another process
  5  the file is damaged, or no database this version can read
  6  the file is damaged, but only in indexes and counters, which can be rebuilt";

/// Why a verb stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    /// One line; none when there is nobody to tell.
    message: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure of this code and message.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
            hint: None,
        }
    }

    /// A command line that parses but makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// Says what to do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, hint) = match error.kind() {
            ErrorKind::InvalidQuery | ErrorKind::InvalidArgument => (Code::Usage, None),
            ErrorKind::InvalidCursor => (
                Code::Usage,
                Some("repeat the filters and the order that the cursor came with"),
            ),
            ErrorKind::Locked => (
                Code::Locked,
                Some("another process has it open; --wait 30s waits for it to end"),
            ),
            ErrorKind::NotADatabase => (Code::Damaged, Some("does --db name the right file?")),
            ErrorKind::FormatTooNew => (Code::Damaged, Some("a newer samplestore can read it")),
            ErrorKind::Damaged => (
                Code::Damaged,
                Some("samplestore check says where; repair or salvage may help"),
            ),
            ErrorKind::NeedsRepair => (
                Code::Error,
                Some("its last writer was killed; make the file writable, and it is repaired"),
            ),
            _ => (Code::Error, None),
        };
        Self {
            code,
            message: Some(chain(&error)),
            hint: hint.map(str::to_owned),
        }
    }
}

/// An I/O error that reaches `?` comes from stdout: every other one is wrapped where it happens.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: Code::Fine,
                message: None,
                hint: None,
            };
        }
        Self::new(
            Code::Error,
            format!("could not write to standard output: {error}"),
        )
    }
}

/// An error and its causes on one line. A cause that the error before it already says is left out:
/// not every library keeps to saying things once.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Runs the command, and makes a failure of a panic: that is a bug, and is told as one.
///
/// A panic that the library catches itself, on a damaged file, is an error like any other, so nothing
/// is written when one happens. With `RUST_BACKTRACE` in the environment it is, with its stack.
pub(crate) fn catching(run: impl FnOnce() -> Outcome) -> Outcome {
    static LAST: Mutex<String> = Mutex::new(String::new());
    let wants_stack = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    if !wants_stack {
        panic::set_hook(Box::new(|panic| {
            if let Ok(mut last) = LAST.lock() {
                *last = panic.to_string().replace('\n', " ");
            }
        }));
    }
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let last = LAST.lock().map(|last| last.clone()).unwrap_or_default();
        let failure = Failure::new(Code::Error, format!("this is a bug in samplestore: {last}"));
        Err(failure.with_hint("RUST_BACKTRACE=1 shows the stack; please report it"))
    })
}

/// Tells an outcome on stderr, and as the process's exit code.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    let code = match outcome {
        Ok(code) => code,
        Err(failure) => {
            if let Some(message) = &failure.message {
                words(&format!("error: {message}"));
            }
            if let Some(hint) = &failure.hint {
                words(&format!(" hint: {hint}"));
            }
            failure.code
        }
    };
    ExitCode::from(code as u8)
}

/// Tells what the parser of the command line has to say, help and version among it.
pub(crate) fn report_usage(answer: &clap::Error) -> ExitCode {
    // Whoever asked for help and closed the pipe has seen enough.
    let _ = answer.print();
    ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(Code::Usage as u8))
}

/// Writes one line of words to stderr. When nobody can read it, nobody can be told that either.
pub(crate) fn words(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(line));
}
