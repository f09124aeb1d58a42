//! [`RowReader`]: CSV under a header, by the crate `csv`.
//!
//! A row that goes on for more than the longest record is the end of the input: most likely a quote is
//! not closed, and where the next row begins cannot be known.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::{Place, Record, malformed};

/// Reads rows.
pub(super) struct RowReader<R> {
    reader: Reader<Bounded<R>>,
    header: Vec<String>,
    row: ByteRecord,
    budget: Rc<Cell<usize>>,
    budget_bytes: usize,
}

/// A reader that gives no more than `budget` bytes until that is set anew.
struct Bounded<R> {
    reader: R,
    budget: Rc<Cell<usize>>,
}

impl<R: BufRead> RowReader<R> {
    pub(super) fn new(reader: R, record_bytes_max: usize) -> io::Result<Self> {
        let budget = Rc::new(Cell::new(record_bytes_max));
        let bounded = Bounded {
            reader,
            budget: Rc::clone(&budget),
        };
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(bounded);
        let mut header = Vec::new();
        for name in reader.byte_headers().map_err(io_error)? {
            let name = std::str::from_utf8(name)
                .map_err(|_| malformed("the name of a column is no UTF-8"))?;
            if header.iter().any(|known| known == name) {
                return Err(malformed(format!("two columns are named {name:?}")));
            }
            header.push(name.to_owned());
        }
        Ok(Self {
            reader,
            header,
            row: ByteRecord::new(),
            budget,
            budget_bytes: record_bytes_max,
        })
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Record<'_>)>> {
        self.budget.set(self.budget_bytes);
        let is_row = self.reader.read_byte_record(&mut self.row);
        if !is_row.map_err(io_error)? {
            return Ok(None);
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        Ok(Some((Place::Line(line), Record::Row(&self.row))))
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.budget.get().checked_sub(1) else {
            return Err(malformed(
                "a row is longer than a record may be; is a quote not closed?",
            ));
        };
        let wanted = bytes.len().min(left + 1);
        let count = self.reader.read(&mut bytes[..wanted])?;
        self.budget.set(left + 1 - count);
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
        let mut rows = RowReader::new(text.as_bytes(), 1_000).unwrap();
        assert_eq!(rows.header(), ["a", "b"]);
        let mut found = Vec::new();
        while let Some((place, Record::Row(row))) = rows.next().unwrap() {
            let cells = row
                .iter()
                .map(|cell| String::from_utf8_lossy(cell).into_owned());
            found.push((place, cells.collect::<Vec<_>>()));
        }
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(
            found,
            [
                (Place::Line(2), cells(&["1", "2"])),
                (Place::Line(4), cells(&["x\ny", "z\""])),
                (Place::Line(6), cells(&["3"])),
            ]
        );
    }

    #[test]
    fn an_open_quote_does_not_read_everything() {
        let endless = b"a\n\"".chain(io::repeat(b'x'));
        let reader = io::BufReader::new(endless);
        let mut rows = RowReader::new(reader, 100_000).unwrap();
        let error = rows.next().unwrap_err();
        assert!(error.to_string().contains("quote"), "{error}");
        let twice = RowReader::new(&b"a,a\n"[..], 100).map(drop).unwrap_err();
        assert!(twice.to_string().contains("two columns"), "{twice}");
    }
}
