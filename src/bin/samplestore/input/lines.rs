//! [`LineReader`]: JSON Lines, one text on each line. Empty lines are passed over.
//!
//! What begins as one JSON array is refused whole: written over several lines, its last element alone would be a record.

use std::io::{self, BufRead};

use super::array::begins_array;
use super::{Place, Record, malformed, peek};

/// What may stand before any text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Splits input at line ends.
pub(super) struct LineReader<R> {
    reader: R,
    record_bytes_max: usize,
    line: Vec<u8>,
    number: u64,
    /// Whether a line was met that is not empty.
    is_begun: bool,
}

impl<R: BufRead> LineReader<R> {
    pub(super) fn new(reader: R, record_bytes_max: usize) -> Self {
        Self {
            reader,
            record_bytes_max,
            line: Vec::new(),
            number: 0,
            is_begun: false,
        }
    }

    /// The same of a file, which need not be waited for: what it is no JSON Lines by is told now.
    pub(super) fn of_file(mut reader: R, record_bytes_max: usize) -> io::Result<Self> {
        peek(&mut reader)?;
        let begin = reader.fill_buf()?;
        refuse_array(begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin))?;
        Ok(Self::new(reader, record_bytes_max))
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Record<'_>)>> {
        loop {
            let Some(fits) = self.read_line()? else {
                return Ok(None);
            };
            self.number += 1;
            let place = Place::Line(self.number);
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            let is_empty = self.line.trim_ascii().is_empty();
            if !self.is_begun {
                refuse_array(&self.line)?;
                self.is_begun = !is_empty;
            }
            if !fits {
                return Ok(Some((place, Record::TooLong)));
            }
            if !is_empty {
                return Ok(Some((place, Record::Json(self.line.trim_ascii()))));
            }
        }
    }

    /// Reads one line and says whether it fits; none at the end.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut fits = true;
        let mut is_end = true;
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok((!is_end).then_some(fits));
            }
            is_end = false;
            let line_end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..line_end.unwrap_or(bytes.len())];
            fits &= self.line.len() + part.len() <= self.record_bytes_max;
            if fits {
                self.line.extend_from_slice(part);
            }
            let used = line_end.map_or(bytes.len(), |at| at + 1);
            self.reader.consume(used);
            if line_end.is_some() {
                return Ok(Some(fits));
            }
        }
    }
}

/// Refuses input that begins so, if that is no record.
fn refuse_array(begin: &[u8]) -> io::Result<()> {
    match begins_array(begin) {
        true => Err(malformed(
            "it is one JSON array and no JSON Lines; that needs --format json",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_any_way_and_long_ones_are_passed_over() {
        let text = "\u{feff}{\"a\":1}\r\n\n  {}\n0123456789012345678901\n[1]";
        // A small buffer, so that lines lie across its end.
        let reader = io::BufReader::with_capacity(3, text.as_bytes());
        let mut lines = LineReader::new(reader, 20);
        let mut found = Vec::new();
        while let Some((place, record)) = lines.next().unwrap() {
            let text = match record {
                Record::Json(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => format!("{other:?}"),
            };
            found.push(format!("{place} {text}"));
        }
        assert_eq!(
            found,
            [
                "line 1 {\"a\":1}",
                "line 3 {}",
                "line 4 TooLong",
                "line 5 [1]"
            ]
        );
    }

    #[test]
    fn an_array_is_refused_before_its_first_line_is_a_record() {
        for text in ["\u{feff}\n [\n{}\n]", "{\"samples\":[\n{}\n]}", "[1]"] {
            let mut lines = LineReader::new(text.as_bytes(), 20);
            assert!(lines.next().is_err(), "{text}");
            assert!(LineReader::of_file(text.as_bytes(), 20).is_err(), "{text}");
        }
        assert!(LineReader::of_file(&b""[..], 20).is_ok());
    }
}
