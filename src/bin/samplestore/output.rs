//! [`Output`]: stdout or a file, and the [`Format`]s in which data goes there.
//!
//! Data is all that is written here; words go to stderr (`failure.rs`). Tables are `output/table.rs`,
//! samples in every format `output/samples.rs`, charts `output/chart.rs` and `output/svg.rs`, texts made safe for a terminal `output/text.rs`.

mod chart;
#[cfg(feature = "arrow")]
mod columnar;
mod facets;
mod samples;
mod svg;
mod table;
mod text;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use clap::ValueEnum;
use console::Term;
use tempfile::NamedTempFile;

pub(crate) use chart::{Bars, Chart, Series};
#[cfg(feature = "arrow")]
pub(crate) use columnar::{Columnar, ColumnarWriter, number};
pub(crate) use facets::{facets_json, facets_table, facets_words};
pub(crate) use samples::{
    CSV_FIXED, CSV_GROUPS, Columns, SampleWriter, csv_record, field_of, plain, write_details,
};
pub(crate) use svg::write_svg;
pub(crate) use table::{Align, Cell, Column, Shrinks, Table};
use text::escape_json;
pub(crate) use text::{counted, escape, instant, percent, shorten};

use crate::failure::{Failure, InFile};
use crate::{interrupt, progress};

/// How many bytes are gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;
/// The width of a terminal that does not tell it.
const WIDTH_DEFAULT: usize = 80;

/// How found data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people
    Table,
    /// One JSON text on each line
    Jsonl,
    /// One JSON text
    Json,
    /// Comma separated values under a header
    Csv,
}

/// How a report is written, which has no rows that CSV could hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Aligned lines, for people
    Table,
    /// One JSON text on one line
    Jsonl,
    /// One JSON text
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
pub(crate) enum Colors {
    /// On a terminal that has them, unless `NO_COLOR` is set
    #[default]
    Auto = 0,
    /// Also into a pipe or a file
    Always = 1,
    /// Not at all
    Never = 2,
}

static COLORS: AtomicU8 = AtomicU8::new(Colors::Auto as u8);

/// Says when colours are used from here on.
pub(crate) fn set_colors(colors: Colors) {
    COLORS.store(colors as u8, Relaxed);
    // What else on stderr has colours.
    match colors {
        // It is as if it were not set, as the parser of the command line has it, but not `console`.
        Colors::Auto if env::var_os("NO_COLOR").is_some_and(|value| value.is_empty()) => {
            console::set_colors_enabled(are_usual(&Term::stdout()));
            console::set_colors_enabled_stderr(are_usual(&Term::stderr()));
        }
        Colors::Auto => {}
        Colors::Always => console::set_colors_enabled_stderr(true),
        Colors::Never => console::set_colors_enabled_stderr(false),
    }
}

/// Whether `console` would use colours there without `NO_COLOR`.
fn are_usual(terminal: &Term) -> bool {
    let is_off = |name| env::var_os(name).is_some_and(|value| value == "0");
    let is_forced = env::var_os("CLICOLOR_FORCE").is_some() && !is_off("CLICOLOR_FORCE");
    let has_some = env::var_os("TERM").map_or(cfg!(windows), |name| name != "dumb");
    is_forced || terminal.is_term() && has_some && !is_off("CLICOLOR")
}

/// Stdout, locked and buffered, a file, or a pipe or device of its own name; [`finish`](Output::finish) must be called, so that a full disk is
/// noticed.
pub(crate) struct Output {
    sink: BufWriter<Sink>,
    is_terminal: bool,
}

/// Where data goes.
enum Sink {
    Stdout(StdoutLock<'static>),
    /// A file that gets its name when it is whole.
    File {
        file: NamedTempFile,
        path: PathBuf,
        overwrite: bool,
        /// What it is given just before its name; until then it is for its owner's eyes alone.
        permissions: Option<Permissions>,
    },
    /// A pipe or a device, in whose place nothing is put.
    InPlace {
        file: File,
        path: PathBuf,
    },
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => {
                progress::clear();
                stdout.write(bytes)
            }
            Self::File { file, path, .. } => {
                file.write(bytes).map_err(|cause| in_draft(path, cause))
            }
            Self::InPlace { file, path } => {
                file.write(bytes).map_err(|cause| in_place(path, cause))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File { file, path, .. } => file.flush().map_err(|cause| in_draft(path, cause)),
            Self::InPlace { file, path } => file.flush().map_err(|cause| in_place(path, cause)),
        }
    }
}

impl Output {
    /// Takes stdout.
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        Self {
            is_terminal: stdout.is_terminal(),
            sink: BufWriter::with_capacity(BUFFER_BYTES, Sink::Stdout(stdout.lock())),
        }
    }

    /// A file at `path`. Until [`finish`](Self::finish) it has another name in the same folder, and when it is dropped before,
    /// nothing of it stays. What a link leads to is replaced, and not the link; a pipe or a device is written to.
    ///
    /// # Errors
    /// A usage failure for a folder, for a file that is there and must not be overwritten, and for a link that leads nowhere.
    pub(crate) fn file(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|cause| InFile::wrap(path, cause))?;
            let path = path.to_owned();
            let is_terminal = file.is_terminal();
            let sink = Sink::InPlace { file, path };
            return Ok(Self {
                is_terminal,
                sink: BufWriter::with_capacity(BUFFER_BYTES, sink),
            });
        }
        refuse_folder(path)?;
        if !overwrite && path.exists() {
            let words = format!("{} is there already", path.display());
            return Err(
                Failure::usage(words).with_hint("--overwrite puts the new file in its place")
            );
        }
        if let Ok(target) = fs::read_link(path)
            && !path.exists()
        {
            let (path, target) = (path.display(), target.display());
            return Err(Failure::usage(format!(
                "{path} is a link to {target}, which is not there"
            ))
            .with_hint("name that file itself, or remove the link"));
        }
        let resolved = path.canonicalize();
        let path = resolved.as_deref().unwrap_or(path);
        let folder = folder_of(path);
        let there = fs::metadata(path).ok().map(|there| there.permissions());
        if there.as_ref().is_some_and(Permissions::readonly) {
            let words = format!("{} may not be written", path.display());
            return Err(Failure::usage(words).with_hint("chmod u+w allows it"));
        }
        // Its own error would name the file that is written first.
        fs::metadata(folder).map_err(|cause| InFile::wrap(path, cause))?;
        let mut prefix = OsString::from(".");
        prefix.push(path.file_name().unwrap_or_default());
        prefix.push(".");
        let draft = || {
            let mut draft = tempfile::Builder::new();
            draft.prefix(&prefix).suffix(".part");
            draft
        };
        let mut permissions = there;
        let file = interrupt::making(|| {
            // Otherwise whoever may read the old one may read the new one.
            if permissions.is_none() {
                permissions = Some(permissions_of_any(&mut draft(), folder)?);
            }
            draft().tempfile_in(folder)
        });
        let sink = Sink::File {
            file: file.map_err(|cause| in_draft(path, cause))?,
            path: path.to_owned(),
            overwrite,
            permissions,
        };
        Ok(Self {
            is_terminal: false,
            sink: BufWriter::with_capacity(BUFFER_BYTES, sink),
        })
    }

    /// Whether people are looking.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The format asked for, or the one that fits: a table for people, JSON Lines for programs.
    pub(crate) fn format(&self, asked: Option<Format>) -> Format {
        asked.unwrap_or(match self.is_terminal {
            true => Format::Table,
            false => Format::Jsonl,
        })
    }

    /// The same for a report.
    pub(crate) fn report_format(&self, asked: Option<ReportFormat>) -> ReportFormat {
        asked.unwrap_or(match self.is_terminal {
            true => ReportFormat::Table,
            false => ReportFormat::Jsonl,
        })
    }

    /// How many columns there are; no bound unless it is a terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        self.is_terminal.then(|| {
            let size = console::Term::stdout().size_checked();
            size.map_or(WIDTH_DEFAULT, |(_, columns)| columns.into())
        })
    }

    /// Whether to use colours, as [`set_colors`] says; by itself on a terminal that has them, unless `NO_COLOR` is set.
    pub(crate) fn has_colors(&self) -> bool {
        match COLORS.load(Relaxed) {
            always if always == Colors::Always as u8 => return true,
            never if never == Colors::Never as u8 => return false,
            _ => {}
        }
        let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.is_terminal && !forbidden && console::colors_enabled()
    }

    /// Writes one JSON text and a line end.
    pub(crate) fn json(
        &mut self,
        format: ReportFormat,
        json: &serde_json::Value,
    ) -> io::Result<()> {
        let text = match format {
            ReportFormat::Json => format!("{json:#}"),
            ReportFormat::Jsonl | ReportFormat::Table => json.to_string(),
        };
        self.json_text(&text)?;
        self.write_all(b"\n")
    }

    /// Writes JSON that is text already; on a terminal so that it cannot steer it, elsewhere as it is.
    pub(crate) fn json_text(&mut self, text: &str) -> io::Result<()> {
        match self.is_terminal {
            true => self.write_all(escape_json(text).as_bytes()),
            false => self.write_all(text.as_bytes()),
        }
    }

    /// Writes out what is gathered; a file has its name then, and both are durable.
    pub(crate) fn finish(self) -> io::Result<()> {
        let sink = self.sink.into_inner();
        match sink.map_err(io::IntoInnerError::into_error)? {
            Sink::Stdout(mut stdout) => stdout.flush(),
            Sink::InPlace { .. } => interrupt::naming(|| Ok(())),
            Sink::File {
                file,
                path,
                overwrite,
                permissions,
            } => {
                let synced = file.as_file().sync_all();
                let named = synced.and_then(|()| {
                    give(file.as_file(), permissions)?;
                    interrupt::naming(|| match overwrite {
                        true => file.persist(&path).map_err(|error| error.error),
                        false => file.persist_noclobber(&path).map_err(|error| error.error),
                    })
                });
                named.map_err(|cause| in_draft(&path, cause))?;
                sync_folder(folder_of(&path)).map_err(|cause| InFile::wrap(&path, cause))
            }
        }
    }
}

/// Waits, but not for a reader of standard output that is gone by then: that is an error, as writing would be. Ctrl-C ends it, too.
pub(crate) fn wait(time: Duration) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::io::Errno;

        let stdout = io::stdout();
        // What tells that nobody reads is told unasked.
        let mut seen = [PollFd::new(&stdout, PollFlags::empty())];
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        match poll(&mut seen, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(unix))]
    {
        std::thread::sleep(time);
        Ok(())
    }
}

/// Gives a file these permissions, unless it has them.
fn give(file: &File, permissions: Option<Permissions>) -> io::Result<()> {
    match permissions {
        Some(given) if file.metadata()?.permissions() != given => file.set_permissions(given),
        _ => Ok(()),
    }
}

/// The permissions that a file has which is made in this folder as any file is, and not for its owner's eyes alone. It is not there
/// any more by then.
fn permissions_of_any(
    draft: &mut tempfile::Builder<'_, '_>,
    folder: &Path,
) -> io::Result<Permissions> {
    #[cfg(unix)]
    draft.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let any = draft.tempfile_in(folder)?;
    Ok(any.as_file().metadata()?.permissions())
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes it durable which files are in a folder, where the system has a way to. One that may be written and not read has none.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => match File::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            opened => opened?.sync_all(),
        },
        false => Ok(()),
    }
}

/// Refuses a folder, in whose place no file is put.
pub(crate) fn refuse_folder(path: &Path) -> Result<(), Failure> {
    match path.is_dir() {
        true => Err(Failure::usage(format!("{} is a folder", path.display()))
            .with_hint("name a file in it")),
        false => Ok(()),
    }
}

/// Writes a report to standard output as one JSON text.
pub(crate) fn write_json(report: &serde_json::Value) -> io::Result<()> {
    let mut output = Output::new();
    output.json(ReportFormat::Json, report)?;
    output.finish()
}

/// An I/O error in a pipe or a device. Who closed a pipe has seen enough, whatever it is called.
fn in_place(path: &Path, cause: io::Error) -> io::Error {
    match cause.kind() {
        io::ErrorKind::BrokenPipe => cause,
        _ => InFile::wrap(path, cause),
    }
}

/// An I/O error in a file that has its name not yet, told by that name.
fn in_draft(path: &Path, cause: io::Error) -> io::Error {
    InFile::wrap(path, without_path(cause))
}

/// The same I/O error without the name of a temporary file, which `tempfile` puts behind it.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.rsplit_once(" at path \"") {
        Some((cause, _)) => io::Error::new(error.kind(), cause),
        None => error,
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_private_until_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (plain, named) = (folder.path().join("plain"), folder.path().join("named"));
        fs::write(&plain, "").unwrap();
        fs::set_permissions(&plain, Permissions::from_mode(0o640)).unwrap();
        let any = folder.path().join("any");
        fs::write(&any, "").unwrap();
        for (path, overwrite, expected) in [(&named, false, mode(&any)), (&plain, true, 0o640)] {
            let mut output = Output::file(path, overwrite).unwrap();
            output.write_all(b"secret").unwrap();
            let drafts = fs::read_dir(folder.path()).unwrap();
            let drafts = drafts.map(|draft| draft.unwrap().path());
            let drafts: Vec<_> = drafts
                .filter(|draft| draft.extension().is_some_and(|end| end == "part"))
                .map(|draft| mode(&draft))
                .collect();
            assert_eq!(drafts, [0o600]);
            output.finish().unwrap();
            assert_eq!(mode(path), expected);
        }
    }
}
