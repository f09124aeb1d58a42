//! [`Output`]: stdout, and the [`Format`]s in which data goes there.
//!
//! Data is all that is written here; words go to stderr (`failure.rs`). Tables are `output/table.rs`,
//! samples in every format `output/samples.rs`, texts made safe for a terminal `output/text.rs`.

mod facets;
mod samples;
mod table;
mod text;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;

pub(crate) use facets::{facets_json, facets_table};
pub(crate) use samples::{Columns, SampleWriter, csv_record, write_details};
pub(crate) use table::{Align, Cell, Column, Shrinks, Table};
pub(crate) use text::escape;
use text::escape_json;

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

/// Stdout, locked and buffered; [`finish`](Output::finish) must be called, so that a full disk is
/// noticed.
pub(crate) struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
}

impl Output {
    /// Takes stdout.
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        Self {
            is_terminal: stdout.is_terminal(),
            stdout: BufWriter::with_capacity(BUFFER_BYTES, stdout.lock()),
        }
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
    fn width(&self) -> Option<usize> {
        self.is_terminal.then(|| {
            let size = console::Term::stdout().size_checked();
            size.map_or(WIDTH_DEFAULT, |(_, columns)| columns.into())
        })
    }

    /// Whether to use colours: on a terminal that has them, unless `NO_COLOR` is set.
    fn has_colors(&self) -> bool {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
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

    /// Writes out what is gathered.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}
