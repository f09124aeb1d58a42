//! [`Failure`] and [`Code`]: what went wrong, in one line of words and as the exit code; and [`words`], by which all is told.
//!
//! Every verb ends in an [`Outcome`]. The words go to stderr here and nowhere else; a reader of stdout
//! that went away is no failure and has no words. What the parser of the command line says is `failure/usage.rs`.

#[cfg(test)]
mod tests;
mod usage;

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use console::Style;
use samplestore::{Error, ErrorKind, Location};

use crate::output::{escape, shorten};
pub(crate) use usage::report_usage;

/// How a verb ended.
pub(crate) type Outcome = Result<Code, Failure>;

/// The exit codes, as [`EXIT_CODES`] tells them to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// All is done.
    Fine = 0,
    /// An error, or an id or a group that is not there.
    Error = 1,
    /// The command line cannot be understood, or asks for what is refused.
    Usage = 2,
    /// Some records were rejected, or could not be saved, the others are stored; or a copy is not equal to its source.
    Partly = 3,
    /// Another process holds the database.
    Locked = 4,
    /// The file is damaged, or no database that this version can read.
    Damaged = 5,
    /// The file is damaged, but only in what can be rebuilt.
    Rebuildable = 6,
    /// Stopped by Ctrl-C, as a shell tells it: 128 and the number of the signal.
    Interrupted = 130,
}

/// The part of the help texts that tells the codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; also when a question was answered with no
  1  an error, or an id that get did not find, or a group of failures that is not there
  2  a command line that cannot be understood, or that asks for what is refused
  3  partly done: some records were rejected, or could not be saved, or a copy is not equal
  4  the database is locked by another process
  5  the file is damaged, or no database this version can read
  6  the file is damaged, but only in indexes and counters, which can be rebuilt
  130  interrupted; verbs that write say what was done until then, and that stays";

/// How the library ends its word about a cursor that other filters would make good.
const OF_ANOTHER_QUERY: &str = "other filters or order";
/// What to do about it.
const REPEAT_FILTERS: &str = "repeat the filters and the order that the cursor came with; a time such as 2h is repeated as the \
instant it stood for then, which the words \"next page\" tell";

/// No more of a message, or of a line of the parser, is told.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// How much is told on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Volume {
    /// Errors alone, and no progress.
    Quiet = 0,
    /// What was done, too.
    Normal = 1,
    /// Also how a command line was understood.
    Verbose = 2,
}

static VOLUME: AtomicU8 = AtomicU8::new(Volume::Normal as u8);
/// Whether a line is begun on stderr, as that of a question is until it is answered.
static IS_IN_LINE: AtomicBool = AtomicBool::new(false);

/// Says how much is told from here on.
pub(crate) fn set_volume(volume: Volume) {
    VOLUME.store(volume as u8, Relaxed);
}

/// Whether what is of this volume is told.
pub(crate) fn is_told(volume: Volume) -> bool {
    VOLUME.load(Relaxed) >= volume as u8
}

/// Why a verb stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    /// One line; none when there is nobody to tell.
    message: Option<String>,
    hint: Option<String>,
    /// Whether the same may succeed another time.
    is_passing: bool,
    /// Whether nothing went wrong but that standard output takes no more.
    is_of_output: bool,
}

impl Failure {
    /// A failure of this code and message.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
            hint: None,
            is_passing: false,
            is_of_output: false,
        }
    }

    /// A command line that parses but makes no sense, or asks for what is refused.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// Ctrl-C, which is none: what is done is said at once.
    pub(crate) fn interrupted(what_is_done: &str) -> Self {
        words(&format!("interrupted; {what_is_done}"));
        Self {
            code: Code::Interrupted,
            message: None,
            hint: None,
            is_passing: false,
            is_of_output: false,
        }
    }

    /// The same of a storage that is no database file, which the verbs that help one cannot help.
    pub(crate) fn of_no_file(mut self) -> Self {
        if self.code == Code::Damaged {
            self.hint = None;
        }
        self
    }

    /// The same where it may be of this database file or of another storage.
    pub(crate) fn of_file_or_other(mut self, file: &Location) -> Self {
        if self.code == Code::Damaged {
            self.hint = Some(format!(
                "samplestore -d {file} check says whether it is that file"
            ));
        }
        self
    }

    /// Says what another run does, where one may succeed and nothing else is said.
    pub(crate) fn or_hint_to_retry(self, hint: &str) -> Self {
        match self.is_passing && self.hint.is_none() {
            true => self.with_hint(hint),
            false => self,
        }
    }

    /// Says what to do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn tell(&self) {
        if let Some(message) = &self.message {
            complaint(&format!("error: {}", shorten(message, MESSAGE_CHARS_MAX)));
        }
        if let Some(hint) = &self.hint {
            complaint(&format!(" hint: {hint}"));
        }
    }
}

/// Names the new file where there was no room for it; which of its files it was the library does not tell.
pub(crate) fn full_at(path: &Path, error: Error) -> Error {
    match is_full(&error) {
        true => Error::new(ErrorKind::Full, error.operation()).with_subject(path.display()),
        false => error,
    }
}

/// Whether the disk is full. Of what happened while a file was opened there may be the words alone.
fn is_full(error: &Error) -> bool {
    error.kind() == ErrorKind::Full || chain(error).contains(ErrorKind::Full.as_str())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, hint) = match error.kind() {
            ErrorKind::InvalidQuery | ErrorKind::InvalidArgument => (Code::Usage, None),
            ErrorKind::InvalidCursor => (
                Code::Usage,
                words_of(&error)
                    .ends_with(OF_ANOTHER_QUERY)
                    .then_some(REPEAT_FILTERS),
            ),
            ErrorKind::Locked => (Code::Locked, Some("--wait 30s waits for that to end")),
            ErrorKind::NotADatabase => (Code::Damaged, Some("does --db name the right file?")),
            ErrorKind::FormatTooNew => (Code::Damaged, Some("a newer samplestore can read it")),
            ErrorKind::Damaged => (
                Code::Damaged,
                match error.operation() {
                    "salvage a database" => Some("another copy of it is needed"),
                    "open the database" | "read the log" => {
                        Some("samplestore repair or salvage may help")
                    }
                    _ => Some("samplestore check says where; repair or salvage may help"),
                },
            ),
            ErrorKind::NeedsRepair => (
                Code::Error,
                Some(
                    "its last writer did not close it; make the file writable, and it is repaired",
                ),
            ),
            _ => (Code::Error, None),
        };
        let message = match code {
            Code::Usage
                if error.kind() == ErrorKind::InvalidCursor && error.subject().is_none() =>
            {
                format!("--cursor: {}", words_of(&error))
            }
            Code::Usage => words_of(&error),
            // The hint says by whom, and the cause once more.
            Code::Locked => match error.subject() {
                Some(subject) => format!("{subject} is locked by another process"),
                None => chain(&error),
            },
            // What failed and why is behind it.
            _ => match chain(&error) {
                text if error.kind() == ErrorKind::Io || is_not_permitted(&error) => {
                    let kind = format!("{}: ", error.kind());
                    text.strip_prefix(&kind).unwrap_or(&text).to_owned()
                }
                text => text,
            },
        };
        Self {
            code,
            message: Some(message),
            hint: hint.map(str::to_owned),
            is_passing: error.is_retryable(),
            is_of_output: false,
        }
    }
}

/// Whether the system does not permit it: that need not be about writing.
fn is_not_permitted(error: &Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    let mut io = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    error.kind() == ErrorKind::ReadOnly
        && io.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
}

/// An I/O error that reaches `?` comes from stdout or says itself where from: every other one is wrapped where it happens.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if let Some(cause) = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<InFile>())
        {
            return Self::new(Code::Error, cause.to_string());
        }
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: Code::Fine,
                message: None,
                hint: None,
                is_passing: false,
                is_of_output: true,
            };
        }
        let message = format!("could not write to standard output: {error}");
        Self {
            is_of_output: true,
            ..Self::new(Code::Error, message)
        }
    }
}

/// This build does not have two of the formats.
#[cfg(not(feature = "arrow"))]
pub(crate) fn no_arrow() -> Failure {
    Failure::usage("this build of samplestore has no Parquet and no Arrow")
        .with_hint("cargo install samplestore --features arrow has them")
}

/// An I/O error in writing a file.
#[derive(Debug)]
pub(crate) struct InFile {
    pub(crate) path: PathBuf,
    pub(crate) cause: io::Error,
}

impl InFile {
    /// The same as an I/O error that tells the file.
    pub(crate) fn wrap(path: &Path, cause: io::Error) -> io::Error {
        let path = path.to_owned();
        io::Error::new(cause.kind(), Self { path, cause })
    }
}

impl fmt::Display for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not write {}: {}", self.path.display(), self.cause)
    }
}

impl StdError for InFile {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
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
    without_xml(text)
}

/// The same text, where a server answers with a page of XML, with the code and the message of that alone.
fn without_xml(mut text: String) -> String {
    const END: &str = "</Error>";
    while let Some(end) = text.find(END) {
        let answer = &text[..end];
        let begin = answer.find("<?xml").or_else(|| answer.find("<Error>"));
        let part = |name: &str| {
            let (_, behind) = answer.split_once(&format!("<{name}>"))?;
            let (part, _) = behind.split_once(&format!("</{name}>"))?;
            Some(part)
        };
        let (Some(begin), Some(code)) = (begin, part("Code")) else {
            break;
        };
        let message = part("Message").map_or_else(String::new, |text| format!(": {text}"));
        text = format!(
            "{}{code}{message}{}",
            &text[..begin],
            &text[end + END.len()..]
        );
    }
    text
}

/// The same of an error about what the user wrote, without its kind and operation: that is known where it is told.
pub(crate) fn words_of(error: &Error) -> String {
    let text = chain(error);
    let prefix = format!("{}: could not {}: ", error.kind(), error.operation());
    match text.strip_prefix(&prefix) {
        Some(words) => words.to_owned(),
        None => text,
    }
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

/// How a verb ends that has something of its own to say behind its answer, which was written so. That nobody reads the answer, or that
/// standard output takes no more, hides nothing of that; what else is wrong with the answer goes before it.
pub(crate) fn answered(
    written: Result<(), impl Into<Failure>>,
    end: impl FnOnce() -> Outcome,
) -> Outcome {
    let written: Result<(), Failure> = written.map_err(Into::into);
    let unwritten = match written {
        Ok(()) => return end(),
        Err(failure) if failure.is_of_output => failure,
        Err(failure) => return Err(failure),
    };
    match end() {
        Ok(Code::Fine) => Err(unwritten),
        end => {
            unwritten.tell();
            end
        }
    }
}

/// Tells an outcome on stderr, and as the process's exit code.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    let code = match outcome {
        Ok(code) => code,
        Err(failure) => {
            failure.tell();
            failure.code
        }
    };
    ExitCode::from(code as u8)
}

/// Tells what was done, in one line on stderr, unless it is to be quiet.
pub(crate) fn words(line: &str) {
    if is_told(Volume::Normal) {
        complaint(line);
    }
}

/// Tells how a command line was understood, when that is asked for.
pub(crate) fn detail(line: &str) {
    if is_told(Volume::Verbose) {
        complaint(line);
    }
}

/// Tells what is wrong, in one line on stderr. When nobody can read it, nobody can be told that either.
pub(crate) fn complaint(line: &str) {
    let mut stderr = io::stderr().lock();
    if IS_IN_LINE.swap(false, Relaxed) {
        let _ = writeln!(stderr);
    }
    let _ = writeln!(stderr, "{}", painted(&escape(line)));
}

/// Begins a line with a question. Whatever is told before the answer has a line of its own.
pub(crate) fn question(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{} ", escape(text))?;
    stderr.flush()?;
    IS_IN_LINE.store(true, Relaxed);
    Ok(())
}

/// The answer has ended that line.
pub(crate) fn question_is_answered() {
    IS_IN_LINE.store(false, Relaxed);
}

/// The same line, and what it begins with in the colours that the parser of the command line has for its own.
fn painted(line: &str) -> String {
    for (label, style) in [
        ("error:", Style::new().red().bold()),
        (" hint:", Style::new().green()),
    ] {
        if let Some(rest) = line.strip_prefix(label) {
            return format!("{}{rest}", style.for_stderr().apply_to(label));
        }
    }
    line.to_owned()
}
