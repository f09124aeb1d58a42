//! [`check_file`] and [`check_stream`]: that an Arrow file, or a stream in a file, holds the messages that it says it holds, and that
//! what is compressed in one does not say that it is too much, before anybody makes room for it. What is compressed and says less than
//! it is takes as much as its format packs, and as the process has (`confined.rs`).
//!
//! The format is <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>: a message is its
//! length, its metadata as a flatbuffer, and its body, in which the metadata says where buffers are. A compressed buffer begins with how
//! long it is when it is not, or -1 where it is as it is. A file has the places of its messages at its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Block, Message, RecordBatch, root_as_footer, root_as_message};

use super::batches::MESSAGE_BEGIN;
use super::unreadable;
use crate::input::malformed;

/// How many bytes the buffers of one message may have when they are not compressed.
const DECODED_BYTES_MAX: u64 = 2 << 30;
/// The length of the footer and what ends a file.
const TRAILER_BYTES: u64 = 10;

/// A file, and how long it is.
struct Messages<'a> {
    file: &'a mut File,
    bytes: u64,
    /// How many rows those have that were looked at.
    rows: u64,
}

/// Looks at each message that the end of a file tells of, and says how many rows they have.
pub(super) fn check_file(file: &mut File) -> io::Result<u64> {
    let mut messages = Messages::of(file)?;
    let trailer = messages.bytes.checked_sub(TRAILER_BYTES);
    let trailer = trailer.ok_or_else(|| malformed("it ends too early"))?;
    let mut end = [0; TRAILER_BYTES as usize];
    messages.read_into(trailer, &mut end)?;
    let length = read_footer_length(end).map_err(unreadable)? as u64;
    let footer = trailer.checked_sub(length);
    let footer = footer.ok_or_else(|| malformed("its footer is longer than itself"))?;
    let footer = messages.read(footer, length)?;
    let footer = root_as_footer(&footer).map_err(unreadable)?;
    let dictionaries = footer.dictionaries().into_iter().flatten();
    let batches = footer.recordBatches().into_iter().flatten();
    for block in dictionaries.chain(batches) {
        messages.check_block(block)?;
    }
    messages.file.rewind()?;
    Ok(messages.rows)
}

/// Looks at each message of a stream, and says how many rows they have.
pub(super) fn check_stream(file: &mut File) -> io::Result<u64> {
    let mut messages = Messages::of(file)?;
    let mut at = 0;
    while let Some(next) = messages.check_next(at)? {
        at = next;
    }
    messages.file.rewind()?;
    Ok(messages.rows)
}

impl<'a> Messages<'a> {
    fn of(file: &'a mut File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self {
            file,
            bytes,
            rows: 0,
        })
    }

    /// Looks at the message of a block of a file.
    fn check_block(&mut self, block: &Block) -> io::Result<()> {
        let unsigned = |number: i64| u64::try_from(number).map_err(unreadable);
        let at = unsigned(block.offset())?;
        let length = unsigned(block.metaDataLength().into())?;
        let metadata = self.read(at, length)?;
        // Before version 0.15 of the format there was nothing before the length.
        let begin = match metadata.starts_with(MESSAGE_BEGIN) {
            true => 8,
            false => 4,
        };
        let message = metadata.get(begin..).unwrap_or_default();
        let message = root_as_message(message).map_err(unreadable)?;
        let (body, bytes) = (at + length, unsigned(block.bodyLength())?);
        self.fits(body, bytes)?;
        self.check(&message, body, bytes)
    }

    /// Looks at the message of a stream that begins here, and says where the next one does, unless it ended.
    fn check_next(&mut self, at: u64) -> io::Result<Option<u64>> {
        // A stream may end with its last message, and what is less than a length is none.
        if at.saturating_add(4) > self.bytes {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.read_into(at, &mut length)?;
        let mut begin = at + 4;
        if length == *MESSAGE_BEGIN {
            self.read_into(begin, &mut length)?;
            begin += 4;
        }
        let length = u32::from_le_bytes(length).into();
        if length == 0 {
            return Ok(None);
        }
        let metadata = self.read(begin, length)?;
        let message = root_as_message(&metadata).map_err(unreadable)?;
        let bytes = u64::try_from(message.bodyLength()).map_err(unreadable)?;
        let body = begin + length;
        self.fits(body, bytes)?;
        self.check(&message, body, bytes)?;
        Ok(Some(body + bytes))
    }

    /// Looks at what a message says of its body, which is so long.
    fn check(&mut self, message: &Message<'_>, body: u64, bytes: u64) -> io::Result<()> {
        if let Some(batch) = message.header_as_record_batch() {
            let rows = u64::try_from(batch.length()).map_err(unreadable)?;
            self.rows = self.rows.saturating_add(rows);
        }
        let dictionary = message.header_as_dictionary_batch();
        let dictionary = dictionary.and_then(|dictionary| dictionary.data());
        let Some(batch) = message.header_as_record_batch().or(dictionary) else {
            return Ok(());
        };
        if batch.compression().is_none() {
            // It is in the file, and so not more than that.
            return Ok(());
        }
        let sum = self.decoded(&batch, body, bytes)?;
        match sum > DECODED_BYTES_MAX {
            true => Err(malformed(format!(
                "a batch of its rows takes {sum} bytes when it is not compressed, and {DECODED_BYTES_MAX} are read at most; write it in \
                 smaller batches"
            ))),
            false => Ok(()),
        }
    }

    /// How long the buffers of a batch say that they are when they are not compressed.
    fn decoded(&mut self, batch: &RecordBatch<'_>, body: u64, bytes: u64) -> io::Result<u64> {
        let mut sum = 0_u64;
        for buffer in batch.buffers().into_iter().flatten() {
            if buffer.length() == 0 {
                continue;
            }
            let offset = u64::try_from(buffer.offset()).map_err(unreadable)?;
            if offset >= bytes {
                return Err(malformed("a buffer is behind the end of its message"));
            }
            let mut decoded = [0; 8];
            self.read_into(body + offset, &mut decoded)?;
            // -1 is a buffer that is as it is, and so in the file.
            let decoded = u64::try_from(i64::from_le_bytes(decoded)).unwrap_or_default();
            sum = sum.saturating_add(decoded);
        }
        Ok(sum)
    }

    /// Reads so many bytes, if there are as many.
    fn read(&mut self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        self.fits(at, length)?;
        let length = usize::try_from(length).map_err(unreadable)?;
        let mut bytes = vec![0; length];
        self.read_into(at, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.fits(at, bytes.len() as u64)?;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(bytes)
    }

    fn fits(&self, at: u64, length: u64) -> io::Result<()> {
        match at.checked_add(length).is_some_and(|end| end <= self.bytes) {
            true => Ok(()),
            false => Err(malformed("a message goes on behind its end")),
        }
    }
}
