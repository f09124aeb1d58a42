//! [`RowReader`]: CSV under a header, by the crate `csv`.
//!
//! A row that goes on for more than the longest record is the end of the input: most likely a quote is
//! not closed, and where the next row begins cannot be known.

use std::io::{self, BufRead, Read};

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::{Place, Record, malformed, peek};

/// As many as spreadsheets have.
pub(crate) const COLUMNS_MAX: usize = 16_384;

/// Reads rows.
pub(super) struct RowReader<R> {
    reader: Reader<Bounded<R>>,
    header: Vec<String>,
    row: ByteRecord,
    record_bytes_max: usize,
}

/// A reader that gives no more than `budget` bytes until that is set anew, and remembers what it gave
/// last.
struct Bounded<R> {
    reader: R,
    budget_bytes: usize,
    given: Vec<u8>,
    /// Where in the input `given` ends.
    given_end: u64,
}

impl<R: BufRead> RowReader<R> {
    pub(super) fn new(reader: R, record_bytes_max: usize, delimiter: u8) -> io::Result<Self> {
        let bounded = Bounded {
            reader,
            budget_bytes: record_bytes_max,
            given: Vec::new(),
            given_end: 0,
        };
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(bounded);
        let mut header = Vec::new();
        for name in reader.byte_headers().map_err(io_error)? {
            let name = std::str::from_utf8(name)
                .map_err(|_| malformed("the name of a column is no UTF-8"))?;
            if header.len() == COLUMNS_MAX {
                return Err(malformed(format!("more than {COLUMNS_MAX} columns")));
            }
            header.push(name.to_owned());
        }
        Ok(Self {
            reader,
            header,
            row: ByteRecord::new(),
            record_bytes_max,
        })
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Record<'_>)>> {
        self.reader.get_mut().budget_bytes = self.record_bytes_max;
        let line = self.line()?;
        let is_row = self.reader.read_byte_record(&mut self.row);
        if !is_row.map_err(io_error)? {
            return Ok(None);
        }
        Ok(Some((Place::Line(line), Record::Row(&self.row))))
    }

    /// The line on which the next row begins. The position that `csv` tells stands before empty lines
    /// and before the second half of `\r\n`, which it passes over with the next row.
    fn line(&mut self) -> io::Result<u64> {
        let (at, line) = (self.reader.position().byte(), self.reader.position().line());
        let bounded = self.reader.get_mut();
        let unread = usize::try_from(bounded.given_end.saturating_sub(at)).unwrap_or(0);
        let begin = bounded.given.len().saturating_sub(unread);
        let (given, mut lines) = line_ends(&bounded.given[begin..]);
        if given == bounded.given.len() - begin {
            peek(&mut bounded.reader)?;
            lines += line_ends(bounded.reader.fill_buf()?).1;
        }
        Ok(line + lines)
    }
}

/// How many bytes at the beginning are line ends, and how many lines they end.
fn line_ends(bytes: &[u8]) -> (usize, u64) {
    let ends = bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'));
    ends.fold((0, 0), |(count, lines), byte| {
        (count + 1, lines + u64::from(*byte == b'\n'))
    })
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.budget_bytes == 0 {
            return Err(malformed(
                "a row is longer than a record may be; is a quote not closed?",
            ));
        }
        let wanted = bytes.len().min(self.budget_bytes);
        let count = self.reader.read(&mut bytes[..wanted])?;
        self.budget_bytes -= count;
        self.given.clear();
        self.given.extend_from_slice(&bytes[..count]);
        self.given_end += count as u64;
        Ok(count)
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => malformed(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_line_and_may_have_any_length() {
        let text = "\u{feff}a,b\n1,2\n\n\"x\ny\",\"z\"\"\"\n3\n";
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let mut expected = vec![
            (Place::Line(2), cells(&["1", "2"])),
            (Place::Line(4), cells(&["x\ny", "z\""])),
            (Place::Line(6), cells(&["3"])),
        ];
        assert_eq!(rows(text), expected);
        expected[1].1[0] = "x\r\ny".to_owned();
        assert_eq!(rows(&text.replace('\n', "\r\n")), expected);
    }

    fn rows(text: &str) -> Vec<(Place, Vec<String>)> {
        // A small buffer, so that line ends lie across its end.
        let reader = io::BufReader::with_capacity(3, text.as_bytes());
        let mut rows = RowReader::new(reader, 1_000, b',').unwrap();
        assert_eq!(rows.header(), ["a", "b"]);
        let mut found = Vec::new();
        while let Some((place, Record::Row(row))) = rows.next().unwrap() {
            let cells = row
                .iter()
                .map(|cell| String::from_utf8_lossy(cell).into_owned());
            found.push((place, cells.collect::<Vec<_>>()));
        }
        found
    }

    #[test]
    fn an_open_quote_does_not_read_everything() {
        let endless = b"a\n\"".chain(io::repeat(b'x'));
        let reader = io::BufReader::new(endless);
        let mut rows = RowReader::new(reader, 100_000, b',').unwrap();
        let error = rows.next().unwrap_err();
        assert!(error.to_string().contains("quote"), "{error}");
    }
}
