//! Folders whose entries survive the loss of power.
//!
//! A file or a folder is durable when the folder that it lies in was synced, too. Only Unix has folders that can be opened for that.

use std::fs::{self, File};
use std::io;
use std::path::Path;

const HERE: &str = ".";

/// Makes a folder and those above it that are missing, and syncs each one that has a new entry.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = match fs::create_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => match above(folder) {
            Some(above) if above != Path::new(HERE) => {
                make(above)?;
                fs::create_dir(folder)
            }
            _ => Err(cause),
        },
        other => other,
    };
    match made {
        // Somebody else was quicker.
        Err(_) if folder.is_dir() => {}
        other => other?,
    }
    sync_above(folder)
}

/// Makes durable that a file or a folder is where it is.
pub(super) fn sync_above(path: &Path) -> io::Result<()> {
    above(path).map_or(Ok(()), sync)
}

/// Makes durable which entries a folder has.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    synced::note(folder);
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// The folder that something lies in.
fn above(path: &Path) -> Option<&Path> {
    let above = path.parent()?;
    match above.as_os_str().is_empty() {
        true => Some(Path::new(HERE)),
        false => Some(above),
    }
}

/// Which folders were synced in this process, for tests of what survives the loss of power.
#[cfg(test)]
pub(super) mod synced {
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    static SYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    pub(super) fn note(folder: &Path) {
        let mut synced = SYNCED.lock().unwrap_or_else(PoisonError::into_inner);
        synced.push(folder.to_owned());
    }

    /// Those that are this folder or below it, relative to it, each as often as it was.
    pub(in crate::backend) fn below(root: &Path) -> Vec<PathBuf> {
        let synced = SYNCED.lock().unwrap_or_else(PoisonError::into_inner);
        let below = synced
            .iter()
            .filter_map(|folder| folder.strip_prefix(root).ok());
        below.map(Path::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_with_a_new_entry_is_synced() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(&root.join("a/b/c")).unwrap();
        let expected = ["", "a", "a/b"].map(Path::new);
        assert_eq!(synced::below(root), expected);
        // What is there has been synced by whoever made it.
        make(&root.join("a/b")).unwrap();
        assert_eq!(synced::below(root).len(), 3);
        make(&root.join("a/d")).unwrap();
        assert_eq!(synced::below(root)[3..], [Path::new("a")]);
    }

    #[test]
    fn where_a_file_is_there_is_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = make(&file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        make(&file.join("folder")).unwrap_err();
        make(Path::new("")).unwrap_err();
        make(Path::new(".")).unwrap();
        make(Path::new("/")).unwrap();
    }

    #[test]
    fn a_new_place_is_durable_in_each_folder_that_was_made_for_it() {
        let root = tempfile::tempdir().unwrap();
        for (scheme, is_there) in [
            ("file", cfg!(feature = "files")),
            ("delta+file", cfg!(feature = "delta")),
        ] {
            if !is_there {
                continue;
            }
            let root = root.path().join(scheme);
            fs::create_dir(&root).unwrap();
            let place = root.join("a/b/c");
            crate::connect(&format!("{scheme}:{}", place.display())).unwrap();
            let synced = synced::below(&root);
            for folder in ["", "a", "a/b"] {
                let is_it = |synced: &&std::path::PathBuf| synced.as_path() == Path::new(folder);
                assert_eq!(
                    synced.iter().filter(is_it).count(),
                    1,
                    "{scheme}: {synced:?}"
                );
            }
        }
    }
}
