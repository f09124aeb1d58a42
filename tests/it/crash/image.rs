//! Images: what a loss of power may leave on a disk, made from a recording of what was done to it.
//!
//! An image is cut at a place: what was done before is done, the next thing is under way, and of both
//! what was not made durable is there in some part. Which part is a [`Way`]. Everything up to the last sync is
//! there, and so are durable writes; a resize is there or not, and the parts come in the order in which they were written.
//! One thing is assumed of the disk, as the engine does: the two sectors of the head are each written whole or not at all.

use super::bytes::Bytes;
use super::disk::Done;
use super::random::Random;

pub(crate) const SECTOR_BYTES: usize = 512;
/// The first two sectors of a file: see the chapter on its format.
pub(crate) const HEAD_BYTES: u64 = 1_024;

/// Which part of what was not durable is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// All of it, and nothing of what was under way.
    Prefix,
    /// Nothing.
    Durable,
    /// Some of the writes and resizes, each whole.
    Subset,
    /// Some sectors of each write.
    Sectors,
    /// Some of the writes, and of some of them the first bytes alone.
    Torn,
    /// All writes, and some of the resizes.
    Resizes,
}

impl Way {
    pub(crate) const ALL: [Self; 6] = [
        Self::Prefix,
        Self::Durable,
        Self::Subset,
        Self::Sectors,
        Self::Torn,
        Self::Resizes,
    ];
}

#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) bytes: Bytes,
    /// So many things were done before; one more was under way.
    pub(crate) cut: usize,
    pub(crate) way: Way,
}

/// Images of what was `done` to a disk that had the bytes `start`, one for each of `cuts`.
pub(crate) fn images(
    start: &Bytes,
    done: &[Done],
    mut cuts: Vec<(usize, Way)>,
    random: &mut Random,
) -> Vec<Image> {
    cuts.sort_unstable();
    let mut durable = start.clone();
    let mut synced = 0;
    let mut images = Vec::with_capacity(cuts.len());
    for (cut, way) in cuts {
        if let Some(sync) = done[synced..cut]
            .iter()
            .rposition(|done| matches!(done, Done::Sync))
        {
            for done in &done[synced..synced + sync] {
                apply(&mut durable, done);
            }
            synced += sync + 1;
        }
        let mut bytes = durable.clone();
        // Of each image anew, so that there are images with nearly all and with nearly nothing.
        let percent = random.pick(&[10, 50, 90]);
        for done in &done[synced..cut] {
            survive(&mut bytes, done, way, percent, false, random);
        }
        if let Some(under_way) = done.get(cut)
            && way != Way::Prefix
        {
            survive(&mut bytes, under_way, way, percent, true, random);
        }
        images.push(Image { bytes, cut, way });
    }
    images
}

fn apply(bytes: &mut Bytes, done: &Done) {
    match done {
        Done::Write { offset, bytes: new } | Done::WriteDurable { offset, bytes: new } => {
            bytes.write(*offset, new);
        }
        Done::SetLen(len) => bytes.set_len(*len),
        Done::Sync => {}
    }
}

/// Does what is left of a thing that was done since the last sync, or is under way.
fn survive(
    bytes: &mut Bytes,
    done: &Done,
    way: Way,
    percent: u64,
    is_under_way: bool,
    random: &mut Random,
) {
    let (offset, new) = match done {
        Done::Sync => return,
        Done::SetLen(len) => {
            let survives = match way {
                Way::Prefix => true,
                Way::Durable => false,
                _ => random.chance(percent),
            };
            if survives {
                bytes.set_len(*len);
            }
            return;
        }
        Done::WriteDurable { .. } if !is_under_way => return apply(bytes, done),
        Done::Write { offset, bytes } | Done::WriteDurable { offset, bytes } => (*offset, bytes),
    };
    match way {
        Way::Prefix | Way::Resizes => apply(bytes, done),
        Way::Durable => {}
        Way::Subset => {
            if random.chance(percent) {
                apply(bytes, done);
            }
        }
        Way::Sectors => {
            for (number, sector) in new.chunks(SECTOR_BYTES).enumerate() {
                if random.chance(percent) {
                    bytes.write(offset + (number * SECTOR_BYTES) as u64, sector);
                }
            }
        }
        Way::Torn => {
            if random.chance(percent) {
                apply(bytes, done);
            } else if random.chance(50) {
                let mut len = random.below(new.len() as u64 + 1) as usize;
                if offset < HEAD_BYTES {
                    len -= len % SECTOR_BYTES;
                }
                bytes.write(offset, &new[..len]);
            }
        }
    }
}
