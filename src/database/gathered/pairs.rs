//! [`Pairs`]: pairs in memory, found by their hash; and how one is found among sorted ones.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::Pair;

/// Pairs in memory, found by hash.
#[derive(Debug, Default)]
pub(in crate::database) struct Pairs {
    /// The last row of each hash.
    rows: HashMap<u64, u64, BuildHasherDefault<Unhashed>>,
    /// Earlier rows of a hash that is in `rows`.
    earlier: HashMap<u64, Vec<u64>, BuildHasherDefault<Unhashed>>,
}

/// The hash of a hash: itself.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Pairs {
    /// Makes room for so many more hashes.
    pub(in crate::database) fn reserve(&mut self, hashes: usize) {
        self.rows.reserve(hashes);
    }

    pub(in crate::database) fn add(&mut self, (hash, row): Pair) {
        if let Some(old) = self.rows.insert(hash, row)
            && old != row
        {
            self.earlier.entry(hash).or_default().push(old);
        }
    }

    /// The rows of a hash, the last one first.
    pub(in crate::database) fn find(&self, hash: u64, out: &mut Vec<u64>) {
        if let Some(row) = self.rows.get(&hash) {
            out.push(*row);
            if let Some(rows) = self.earlier.get(&hash) {
                out.extend(rows.iter().rev());
            }
        }
    }

    pub(super) fn len(&self) -> u64 {
        let earlier = self.earlier.values().map(Vec::len).sum::<usize>();
        (self.rows.len() + earlier) as u64
    }

    pub(super) fn to_sorted(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = self.rows.iter().map(|(hash, row)| (*hash, *row)).collect();
        for (hash, rows) in &self.earlier {
            pairs.extend(rows.iter().map(|row| (*hash, *row)));
        }
        pairs.sort_unstable();
        pairs
    }
}

/// The index of the first of these sorted pairs whose hash is not below this one. Hashes are spread evenly, so
/// it is sought from where it is to be expected.
pub(in crate::database) fn first_not_below(pairs: &[Pair], hash: u64) -> usize {
    let expected = (u128::from(hash) * pairs.len() as u128) >> 64;
    let expected = expected as usize;
    let (mut low, mut high) = (expected, expected);
    let mut step = 16;
    while low > 0 && pairs[low - 1].0 >= hash {
        low = low.saturating_sub(step);
        step *= 4;
    }
    step = 16;
    while high < pairs.len() && pairs[high].0 < hash {
        high = (high + step).min(pairs.len());
        step *= 4;
    }
    low + pairs[low..high].partition_point(|pair| pair.0 < hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_wherever_they_are() {
        let even: Vec<Pair> = (0..3_000).map(|at| (at * (u64::MAX / 3_000), at)).collect();
        let skewed: Vec<Pair> = (0..3_000).map(|at| (at / 7, at)).collect();
        for pairs in [even, skewed, vec![(u64::MAX, 1)], vec![]] {
            let near = |hash: u64| [hash.saturating_sub(1), hash, hash.saturating_add(1)];
            let hashes = pairs.iter().flat_map(|pair| near(pair.0));
            for hash in hashes.chain([0, u64::MAX]) {
                let expected = pairs.partition_point(|pair| pair.0 < hash);
                assert_eq!(first_not_below(&pairs, hash), expected);
            }
        }
    }
}
