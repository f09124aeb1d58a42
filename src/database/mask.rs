//! [`Mask`]: one bit for each row of a chunk, where rows are set and tested one by one.

use roaring::RoaringBitmap;

use super::planes::Words;
use super::schema::CHUNK_ROWS;

/// One bit for each row of a chunk, in words.
#[derive(Clone)]
pub(super) struct Mask {
    words: Box<[u64; MASK_WORDS]>,
}

/// Places of a bitmap that are taken at once, which is faster than one by one.
const PLACES_AT_ONCE: usize = 256;
const MASK_WORDS: usize = CHUNK_ROWS as usize / 64;

impl Mask {
    pub(super) fn empty() -> Self {
        Self {
            words: Box::new([0; MASK_WORDS]),
        }
    }

    /// The places of a bitmap.
    pub(super) fn of_bitmap(places: &RoaringBitmap) -> Self {
        let mut mask = Self::empty();
        let (mut iter, mut some) = (places.iter(), [0; PLACES_AT_ONCE]);
        loop {
            let some = iter.next_many(&mut some);
            if some.is_empty() {
                return mask;
            }
            some.iter().for_each(|place| mask.insert(*place));
        }
    }

    /// Its words, 64 rows each, by status leaf.
    pub(super) fn leaves(&self) -> &[Words] {
        self.words.as_chunks().0
    }

    /// Its words, 64 rows each, by status leaf.
    pub(super) fn leaves_mut(&mut self) -> &mut [Words] {
        self.words.as_chunks_mut().0
    }

    pub(super) fn contains(&self, place: u32) -> bool {
        self.words[place as usize / 64] & (1 << (place % 64)) != 0
    }

    pub(super) fn insert(&mut self, place: u32) {
        self.words[place as usize / 64] |= 1 << (place % 64);
    }

    pub(super) fn to_bitmap(&self) -> RoaringBitmap {
        let mut bytes = [0; CHUNK_ROWS as usize / 8];
        for (bytes, word) in bytes
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .zip(self.words.iter())
        {
            *bytes = word.to_le_bytes();
        }
        RoaringBitmap::from_lsb0_bytes(0, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_and_a_bitmap_say_the_same() {
        let places = [0, 1, 63, 64, 500, CHUNK_ROWS as u32 - 1];
        let bitmap: RoaringBitmap = places.into_iter().collect();
        let mask = Mask::of_bitmap(&bitmap);
        assert_eq!(mask.to_bitmap(), bitmap);
        let many: RoaringBitmap = (0..CHUNK_ROWS as u32).filter(|row| row % 7 != 3).collect();
        assert_eq!(Mask::of_bitmap(&many).to_bitmap(), many);
        let none = RoaringBitmap::new();
        assert_eq!(Mask::of_bitmap(&none).to_bitmap(), none);
        assert!(mask.contains(63) && !mask.contains(62));
    }
}
