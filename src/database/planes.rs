//! [`Planes`]: five bits for each row, in planes: its status code, whether a block of records begins with
//! it, and whether its record was replaced.
//!
//! A code of 0 stands for "no sample", so the planes are also the set of live rows. What a block is and
//! where a replaced record lies is `blocks.rs`; here is where in a leaf a row stands, and what can be
//! said of many rows at once, word by word.

use std::ops::Range;

use super::leaves::Leaf;
use super::schema::{Kind, LEAF_BYTES, STATUS_ROWS};

/// Words of one plane of a status leaf.
pub(super) const PLANE_WORDS: usize = STATUS_ROWS as usize / 64;

/// Every code that stands for a sample.
pub(super) const ANY_STATUS: u8 = 0b0111_1110;

/// One bit for each row of a leaf.
pub(super) type Words = [u64; PLANE_WORDS];

const CODES: usize = 3;
const BEGINS: usize = 3;
const REPLACED: usize = 4;
const PLANES: usize = 5;

/// The planes of 6,144 rows: bit `i` of plane `p` is, for the row at place `i`, bit `p` of its status code
/// (planes 0 to 2), whether a block begins with it (3), and whether its record was replaced (4). On disk
/// one plane after the other, each as 96 little-endian words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    words: [Words; PLANES],
}

impl Leaf for Planes {
    const KIND: Kind = Kind::Status;
    const ROWS: u64 = STATUS_ROWS;
    const EMPTY: Self = Self {
        words: [[0; PLANE_WORDS]; PLANES],
    };

    fn decode(bytes: &[u8; LEAF_BYTES]) -> Self {
        let mut words = [[0; PLANE_WORDS]; PLANES];
        let (chunks, _) = bytes.as_chunks::<8>();
        for (word, bytes) in words.as_flattened_mut().iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self { words }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.resize(start + LEAF_BYTES, 0);
        let (chunks, _) = bytes[start..].as_chunks_mut::<8>();
        for (bytes, word) in chunks.iter_mut().zip(self.words.as_flattened()) {
            *bytes = word.to_le_bytes();
        }
    }
}

impl Planes {
    /// The status code of a row.
    pub(super) fn code(&self, row: u64) -> u8 {
        let (word, bit) = place(row);
        (0..CODES)
            .map(|plane| (((self.words[plane][word] >> bit) & 1) as u8) << plane)
            .sum()
    }

    /// Gives a row a status code.
    pub(super) fn set_code(&mut self, row: u64, code: u8) {
        let (word, bit) = place(row);
        for (plane, words) in self.words[..CODES].iter_mut().enumerate() {
            let is_set = u64::from((code >> plane) & 1);
            words[word] = (words[word] & !(1 << bit)) | (is_set << bit);
        }
    }

    /// Gives every row of `rows` a status code.
    pub(super) fn set_codes(&mut self, rows: &Words, code: u8) {
        for (plane, words) in self.words[..CODES].iter_mut().enumerate() {
            let is_set = code & (1 << plane) != 0;
            for (word, rows) in words.iter_mut().zip(rows) {
                *word = if is_set { *word | rows } else { *word & !rows };
            }
        }
    }

    /// Which rows have one of the codes of `codes` (bit `c` for code `c`).
    pub(super) fn matching(&self, codes: u8) -> Words {
        let [zero, one, two, ..] = &self.words;
        let mut out = [0; PLANE_WORDS];
        if codes == ANY_STATUS {
            for (word, out) in out.iter_mut().enumerate() {
                *out = zero[word] | one[word] | two[word];
            }
            return out;
        }
        for code in (1..=6_u8).filter(|code| codes & (1 << code) != 0) {
            let flip = |plane: u8| {
                if code & (1 << plane) == 0 {
                    u64::MAX
                } else {
                    0
                }
            };
            let (flip_0, flip_1, flip_2) = (flip(0), flip(1), flip(2));
            for (word, out) in out.iter_mut().enumerate() {
                *out |= (zero[word] ^ flip_0) & (one[word] ^ flip_1) & (two[word] ^ flip_2);
            }
        }
        out
    }

    /// Makes a block begin with this row.
    pub(super) fn begin_block(&mut self, row: u64) {
        set(&mut self.words[BEGINS], row, true);
    }

    /// Makes no block begin with any of these rows.
    pub(super) fn end_blocks(&mut self, rows: Range<u64>) {
        rows.for_each(|row| set(&mut self.words[BEGINS], row, false));
    }

    /// The first row of the block that a row is of.
    pub(super) fn block_of(&self, row: u64) -> Option<u64> {
        let (mut word, bit) = place(row);
        let mut bits = self.words[BEGINS][word] & (u64::MAX >> (63 - bit));
        while bits == 0 {
            word = word.checked_sub(1)?;
            bits = self.words[BEGINS][word];
        }
        let place = word as u64 * 64 + u64::from(63 - bits.leading_zeros());
        Some(row - row % STATUS_ROWS + place)
    }

    /// The rows that a block has room for: up to the next one, or to the end of the leaf.
    pub(super) fn block_rows(&self, first: u64) -> Range<u64> {
        let leaf = first - first % STATUS_ROWS;
        let from = first % STATUS_ROWS + 1;
        let mut word = (from / 64) as usize;
        let mut mask = u64::MAX << (from % 64);
        while word < PLANE_WORDS {
            let bits = self.words[BEGINS][word] & mask;
            if bits != 0 {
                let end = word as u64 * 64 + u64::from(bits.trailing_zeros());
                return first..leaf + end;
            }
            (word, mask) = (word + 1, u64::MAX);
        }
        first..leaf + STATUS_ROWS
    }

    /// Whether a row's record lies apart from its block.
    pub(super) fn is_replaced(&self, row: u64) -> bool {
        let (word, bit) = place(row);
        self.words[REPLACED][word] & (1 << bit) != 0
    }

    pub(super) fn set_replaced(&mut self, row: u64, is_replaced: bool) {
        set(&mut self.words[REPLACED], row, is_replaced);
    }

    /// How many of these rows, all of this leaf, have a sample whose record is in its block.
    pub(super) fn in_block(&self, rows: Range<u64>) -> u64 {
        let [zero, one, two, _, replaced] = &self.words;
        let ((first_word, first_bit), (last_word, last_bit)) =
            (place(rows.start), place(rows.end - 1));
        (first_word..=last_word)
            .map(|word| {
                let mut bits = (zero[word] | one[word] | two[word]) & !replaced[word];
                if word == first_word {
                    bits &= u64::MAX << first_bit;
                }
                if word == last_word {
                    bits &= u64::MAX >> (63 - last_bit);
                }
                u64::from(bits.count_ones())
            })
            .sum()
    }
}

fn place(row: u64) -> (usize, u32) {
    let place = row % STATUS_ROWS;
    ((place / 64) as usize, (place % 64) as u32)
}

fn set(words: &mut Words, row: u64, is_set: bool) {
    let (word, bit) = place(row);
    words[word] = (words[word] & !(1 << bit)) | (u64::from(is_set) << bit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_from_every_row() {
        let base = 7 * STATUS_ROWS;
        let starts = [0, 1, 63, 64, 130, STATUS_ROWS - 1];
        let mut planes = Planes::EMPTY;
        assert_eq!(planes.block_of(base + 5), None);
        starts
            .iter()
            .for_each(|start| planes.begin_block(base + start));
        for place in 0..STATUS_ROWS {
            let first = *starts.iter().rfind(|start| **start <= place).unwrap();
            let end = starts.iter().find(|start| **start > place);
            let end = end.copied().unwrap_or(STATUS_ROWS);
            let found = planes.block_of(base + place).unwrap();
            assert_eq!(found, base + first);
            assert_eq!(planes.block_rows(found), found..base + end);
        }
    }

    #[test]
    fn rows_in_a_block_are_live_and_not_replaced() {
        let base = 2 * STATUS_ROWS;
        let mut planes = Planes::EMPTY;
        for row in base..base + 150 {
            planes.set_code(row, (row % 7) as u8);
            planes.set_replaced(row, row % 5 == 0);
        }
        for (start, end) in [(0, 150), (0, 1), (63, 65), (10, 64), (64, 128)] {
            let rows = base + start..base + end;
            let expected = rows.clone().filter(|row| row % 7 != 0 && row % 5 != 0);
            assert_eq!(planes.in_block(rows.clone()), expected.count() as u64);
        }
        let mut bytes = Vec::new();
        planes.encode(&mut bytes);
        let bytes: &[u8; LEAF_BYTES] = bytes.as_slice().try_into().unwrap();
        assert_eq!(Planes::decode(bytes), planes);
    }
}
