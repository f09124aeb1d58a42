//! [`Confined`]: Parquet and Arrow files, read by a process of its own with a bound to its memory; what that does is `confined/reader.rs`.
//!
//! A file of a few bytes may tell the readers of these formats to make room for more than any machine has, in as many places as the
//! formats have lengths, and a process that gets none ends. So the one that stores does not read them: this command starts itself, gives
//! the file as standard input, and takes records, or the words of an error, from standard output. If the reader ends before it said that
//! all is read, that is an error of the file.
//!
//! The reader greets. Each message behind that is a byte that says what it is; a record and an error have their length behind it, an error
//! the system's number before that.

mod reader;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use clap::ValueEnum;
use clap::builder::PossibleValue;

pub(crate) use reader::served;

use super::{BUFFER_BYTES, InputFormat, Place, RECORD_BYTES_MAX, Record, malformed};

/// The first argument of a process that reads, in front of the format.
const READER: &str = "__read-columnar";
/// What it says first: that it is one, and of this version.
const GREETING: &[u8] = concat!("samplestore ", env!("CARGO_PKG_VERSION"), " reads\n").as_bytes();
/// How much memory it may take besides twice what the file has, in GiB: four times what the texts of a column may have.
const ROOM_GIB: u64 = 8;

const SAMPLES: u8 = b's';
const PLAIN: u8 = b'p';
const TEXT: u8 = b't';
const TOO_LONG: u8 = b'l';
const FAILED: u8 = b'f';
const END: u8 = b'e';

/// Records of a file that another process reads.
pub(super) struct Confined {
    child: Child,
    messages: BufReader<ChildStdout>,
    has_samples: bool,
    number: u64,
    text: Vec<u8>,
}

impl Confined {
    /// Opens a file of one of the two formats.
    pub(super) fn new(file: File, format: InputFormat) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() {
            return Err(malformed(
                "Parquet and Arrow are read from a file, and this is none",
            ));
        }
        let mut child = begun(file, format)?;
        let Some(messages) = child.stdout.take() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut reader = Self {
            child,
            messages: BufReader::with_capacity(BUFFER_BYTES, messages),
            has_samples: false,
            number: 0,
            text: Vec::new(),
        };
        reader.greet()?;
        reader.has_samples = match reader.kind()? {
            SAMPLES => true,
            PLAIN => false,
            other => return Err(misunderstood(other)),
        };
        Ok(reader)
    }

    /// Whether the rows are samples as export writes them.
    pub(super) fn has_samples(&self) -> bool {
        self.has_samples
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Record<'_>)>> {
        let record = match self.kind()? {
            TEXT => {
                self.read_text()?;
                Record::Json(&self.text)
            }
            TOO_LONG => Record::TooLong,
            END => return Ok(None),
            other => return Err(misunderstood(other)),
        };
        self.number += 1;
        Ok(Some((Place::Record(self.number), record)))
    }

    fn greet(&mut self) -> io::Result<()> {
        let mut greeting = [0; GREETING.len()];
        match self.messages.read_exact(&mut greeting) {
            Ok(()) if greeting == GREETING => Ok(()),
            Err(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => Err(cause),
            _ => Err(not_begun("what was started is none")),
        }
    }

    /// What the next message is, unless it is an error.
    fn kind(&mut self) -> io::Result<u8> {
        let kind = self.read::<1>()?[0];
        if kind != FAILED {
            return Ok(kind);
        }
        let number = i32::from_le_bytes(self.read()?);
        self.read_text()?;
        Err(match number {
            0 => malformed(String::from_utf8_lossy(&self.text)),
            number => io::Error::from_raw_os_error(number),
        })
    }

    fn read_text(&mut self) -> io::Result<()> {
        let length = u32::from_le_bytes(self.read()?);
        if length as usize > RECORD_BYTES_MAX {
            return Err(misunderstood(TEXT));
        }
        self.text.clear();
        let mut text = (&mut self.messages).take(length.into());
        let read = text.read_to_end(&mut self.text)?;
        match read == length as usize {
            true => Ok(()),
            false => Err(self.ended()),
        }
    }

    fn read<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.messages.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Err(self.ended()),
            Err(cause) => Err(cause),
        }
    }

    /// The error that its reader is gone.
    fn ended(&mut self) -> io::Error {
        let status = self.child.wait().map(|status| status.to_string());
        let status = status.unwrap_or_else(|cause| cause.to_string());
        malformed(format!(
            "it is damaged, or takes more memory than its reader may have, {ROOM_GIB} GiB and twice its length; the reader ended with {status}"
        ))
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // It may be at a long step, and nobody hears it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the process.
fn begun(file: File, format: InputFormat) -> io::Result<Child> {
    let format = format.to_possible_value();
    let mut command = Command::new(this_program()?);
    command
        .arg(READER)
        .args(format.as_ref().map(PossibleValue::get_name))
        .stdin(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;

        // As who looks at processes knows it; and Ctrl-C is this process's to answer.
        command.arg0("samplestore").process_group(0);
    }
    command.spawn().map_err(not_begun)
}

/// This program's file, also where another one has taken its name, if the system tells.
fn this_program() -> io::Result<OsString> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() {
        return Ok(linux.into());
    }
    match std::env::current_exe() {
        Ok(path) => Ok(path.into()),
        Err(cause) => std::env::args_os().next().ok_or_else(|| not_begun(cause)),
    }
}

/// An error that is not of the file.
fn not_begun(cause: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!(
        "this command does not start again as the process that reads it: {cause}"
    ))
}

fn misunderstood(kind: u8) -> io::Error {
    io::Error::other(format!(
        "the process that reads it says what is not understood, {kind}"
    ))
}
