//! [`ArrayReader`]: one JSON array, split into the texts of its elements.
//!
//! Only brackets, strings and commas are looked at here; each element is parsed on its own, so that one
//! that is no JSON does not take the others with it, and an endless one is not held. `list -f json`
//! writes its array in an object, `{"samples":[…],"next":…}`: that is understood too.

use std::io::{self, BufRead, Read};

use super::{Place, Record, malformed, peek};

/// What `list -f json` may write behind its array, with room to spare.
const TAIL_BYTES_MAX: u64 = 64 << 10;
/// The words before the array of `list -f json`, white space left out.
const HEAD: &[u8] = b"{\"samples\":[";

/// Splits an array into its elements.
pub(super) struct ArrayReader<R> {
    reader: R,
    record_bytes_max: usize,
    element: Vec<u8>,
    number: u64,
    /// Whether the array stands in an object.
    is_wrapped: bool,
    /// Whether the bracket behind the last element was read.
    is_behind: bool,
    /// Whether the input ended with an element, and no bracket.
    is_cut_off: bool,
    is_done: bool,
}

impl<R: BufRead> ArrayReader<R> {
    pub(super) fn new(mut reader: R, record_bytes_max: usize) -> io::Result<Self> {
        if peek(&mut reader)? == Some(0xef) {
            let mut mark = [0; 3];
            reader.read_exact(&mut mark)?;
        }
        let is_wrapped = match skip_space(&mut reader)? {
            Some(b'[') => {
                reader.consume(1);
                false
            }
            Some(b'{') => {
                for expected in HEAD {
                    if skip_space(&mut reader)? != Some(*expected) {
                        return Err(malformed(
                            "it is an object and no array; JSON Lines need --format jsonl",
                        ));
                    }
                    reader.consume(1);
                }
                true
            }
            _ => return Err(malformed("it is no JSON array")),
        };
        Ok(Self {
            reader,
            record_bytes_max,
            element: Vec::new(),
            number: 0,
            is_wrapped,
            is_behind: false,
            is_cut_off: false,
            is_done: false,
        })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Record<'_>)>> {
        if self.is_done {
            return Ok(None);
        }
        if self.is_behind {
            self.end()?;
            return Ok(None);
        }
        if self.number == 0 && skip_space(&mut self.reader)? == Some(b']') {
            self.reader.consume(1);
            self.end()?;
            return Ok(None);
        }
        if self.is_cut_off {
            let number = self.number;
            return Err(malformed(format!(
                "it ends behind record {number}, within its array"
            )));
        }
        self.number += 1;
        let (fits, end) = self.read_element()?;
        // This record is whole, whatever follows the array.
        self.is_behind = end == Some(b']');
        self.is_cut_off = end.is_none();
        let record = match fits {
            true => Record::Json(self.element.trim_ascii()),
            false => Record::TooLong,
        };
        Ok(Some((Place::Record(self.number), record)))
    }

    /// Reads up to the comma or the bracket that ends the element, or the end of the input behind a whole object, and says whether it fits.
    fn read_element(&mut self) -> io::Result<(bool, Option<u8>)> {
        self.element.clear();
        let mut fits = true;
        let mut depth = 0_u64;
        let mut in_string = false;
        let mut is_escaped = false;
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                let is_whole = depth == 0 && self.element.trim_ascii_end().ends_with(b"}");
                if fits && is_whole && !in_string {
                    return Ok((fits, None));
                }
                let number = self.number;
                return Err(malformed(format!("it ends within record {number}")));
            }
            let end = bytes.iter().position(|byte| {
                if in_string {
                    match byte {
                        _ if is_escaped => is_escaped = false,
                        b'\\' => is_escaped = true,
                        b'"' => in_string = false,
                        _ => {}
                    }
                    return false;
                }
                match byte {
                    b'"' => in_string = true,
                    b'[' | b'{' => depth += 1,
                    b',' | b']' if depth == 0 => return true,
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                false
            });
            let part = &bytes[..end.unwrap_or(bytes.len())];
            fits &= self.element.len() + part.len() <= self.record_bytes_max;
            if fits {
                self.element.extend_from_slice(part);
            }
            match end {
                Some(at) => {
                    let byte = bytes[at];
                    self.reader.consume(at + 1);
                    return Ok((fits, Some(byte)));
                }
                None => {
                    let used = bytes.len();
                    self.reader.consume(used);
                }
            }
        }
    }

    /// Checks that nothing but the rest of the object follows the array.
    fn end(&mut self) -> io::Result<()> {
        self.is_done = true;
        let mut text = match self.is_wrapped {
            true => b"{\"samples\":[]".to_vec(),
            false => b"[]".to_vec(),
        };
        let mut tail = (&mut self.reader).take(TAIL_BYTES_MAX);
        tail.read_to_end(&mut text)?;
        match serde_json::from_slice::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Ok(()),
            Err(_) => Err(malformed("something that is no JSON follows the array")),
        }
    }
}

/// Whether a text begins as a JSON array does, or as what `list -f json` writes.
pub(crate) fn begins_array(text: &[u8]) -> bool {
    let mut found = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let mut begin = found.clone();
    begin.next() == Some(&b'[') || HEAD.iter().all(|byte| found.next() == Some(byte))
}

/// The next byte that is no white space, left where it is.
fn skip_space(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        match peek(reader)? {
            Some(b' ' | b'\t' | b'\n' | b'\r') => reader.consume(1),
            other => return Ok(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> io::Result<Vec<String>> {
        let reader = io::BufReader::with_capacity(3, text.as_bytes());
        let mut array = ArrayReader::new(reader, 20)?;
        let mut found = Vec::new();
        while let Some((_, record)) = array.next()? {
            found.push(match record {
                Record::Json(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => format!("{other:?}"),
            });
        }
        Ok(found)
    }

    #[test]
    fn elements_are_found_whatever_their_strings_hold() {
        for (text, expected) in [
            ("[]", vec![]),
            (" [ ] \n", vec![]),
            ("[1]", vec!["1"]),
            (
                "[{\"a\":[1,2]}, \"]\\\",\"\n, x]",
                vec!["{\"a\":[1,2]}", "\"]\\\",\"", "x"],
            ),
            ("[1,]", vec!["1", ""]),
            ("[\"0123456789012345678901\",2]", vec!["TooLong", "2"]),
            ("{\"samples\":[]}", vec![]),
            (
                "{ \"samples\" : [\n{},{}\n], \"next\": null}",
                vec!["{}", "{}"],
            ),
            ("\u{feff}[1]", vec!["1"]),
        ] {
            assert_eq!(elements(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_follows_the_array_takes_no_element_with_it() {
        for text in [
            "[1,2] x",
            "[1,2]]",
            "{\"samples\":[1,2]",
            "{\"samples\":[1,2]} x",
        ] {
            let mut array = ArrayReader::new(text.as_bytes(), 20).unwrap();
            for _ in 0..2 {
                assert!(array.next().unwrap().is_some(), "{text}");
            }
            assert!(array.next().is_err(), "{text}");
            assert!(array.next().unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn an_array_that_is_cut_off_behind_an_object_has_that_one() {
        for (text, whole) in [
            ("[{\"a\":1},{\"b\":2} ", 2),
            ("[{\"a\":1},{\"b\":[2]", 1),
            ("[{\"a\":1},{\"b\":\"}", 1),
            ("[{\"a\":1},", 1),
            ("[1,2", 1),
        ] {
            let mut array = ArrayReader::new(text.as_bytes(), 20).unwrap();
            for _ in 0..whole {
                assert!(array.next().unwrap().is_some(), "{text}");
            }
            for _ in 0..2 {
                assert!(array.next().is_err(), "{text}");
            }
        }
    }

    #[test]
    fn an_array_is_known_by_how_it_begins() {
        for text in ["[", " [1", "{\"samples\":[", "{ \"samples\" : [\n{}"] {
            assert!(begins_array(text.as_bytes()), "{text}");
        }
        for text in ["", "{", "{\"samples\":{}}", "{\"id\":\"[\"}", "\"[\""] {
            assert!(!begins_array(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_array_is_an_error() {
        for text in [
            "",
            "x",
            "5",
            "{\"id\":1}",
            "[1",
            "[\"a",
            "[1] x",
            "{\"samples\":[]",
            "[]]",
        ] {
            let error = elements(text).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }
}
