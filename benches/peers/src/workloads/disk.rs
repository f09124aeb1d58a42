//! How much room the databases take, said before a run and during it.

use std::path::Path;

use super::Bench;
use crate::Arguments;
use crate::engine::{Kind, Result};
use crate::record::shown_bytes;

/// Fails when the databases of a run would take more than the arguments allow: all of them at once, and one copy.
pub fn check_room(arguments: &Arguments) -> Result<()> {
    let of = |kind: &Kind| kind.disk_bytes_per_sample() * arguments.samples;
    let all: u64 = arguments.engines.iter().map(of).sum();
    let copy = arguments.engines.iter().map(of).max().unwrap_or(0);
    let needed = all + copy;
    let allowed = arguments.disk_gb * 1_000_000_000;
    let shown = shown_bytes(needed as f64);
    eprintln!(
        "these databases take about {shown} in {}",
        std::env::temp_dir().display()
    );
    if needed > allowed {
        return Err(format!(
            "about {shown} on disk are more than --disk-gb {}; ask for fewer --engines at a time, and give all the \
             files of --json to `table` and `plot`",
            arguments.disk_gb
        )
        .into());
    }
    Ok(())
}

impl Bench<'_> {
    /// Says what is on disk now.
    pub(super) fn note_disk(&mut self) -> Result<()> {
        let mut parts = Vec::new();
        let mut total = 0;
        for opened in &self.engines {
            let (_, on_disk) = folder_bytes(opened.path())?;
            total += on_disk;
            parts.push(format!(
                "{} {}",
                opened.kind.name(),
                shown_bytes(on_disk as f64)
            ));
        }
        self.see_disk(total);
        eprintln!(
            "on disk: {}: {}",
            shown_bytes(total as f64),
            parts.join(", ")
        );
        Ok(())
    }

    /// Remembers that so much was on disk.
    pub(super) fn see_disk(&mut self, bytes: u64) {
        self.disk_bytes_max = self.disk_bytes_max.max(bytes);
    }
}

/// The length of all files in a folder, and what they take on disk.
pub fn folder_bytes(folder: &Path) -> Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut on_disk) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // An engine's own threads remove files at any time.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let of_entry = if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            (metadata.len(), metadata.blocks() * 512)
        };
        bytes += of_entry.0;
        on_disk += of_entry.1;
    }
    Ok((bytes, on_disk))
}
