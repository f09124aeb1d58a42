//! What killed writers leave in a folder, removed as the chapter on backends says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::{Folder, at_once, ids};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The command of the chapter for a folder.
fn of_chapter(folder: &Path) -> String {
    let chapter = include_str!("../../../src/docs/backends.md");
    let (_, rest) = chapter.split_once("`find FOLDER ").unwrap();
    let (words, _) = rest.split_once('`').unwrap();
    format!("find '{}' {words}", folder.display())
}

/// Has a file last written so long ago.
fn age(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

#[test]
fn the_command_of_the_chapter_removes_what_is_old_and_left_over_and_nothing_else() {
    let folder = Folder::new();
    let storage = folder.open();
    // The second one's document has the name that is nearest to one that is left over.
    storage.store(&at_once(["a", "x.json#12"])).unwrap();
    storage.store(&at_once(["b"])).unwrap();
    storage.close().unwrap();
    let documents = files(folder.0.path());
    assert_eq!(documents.len(), 6, "{documents:?}");
    for document in &documents {
        age(document, 30 * DAY);
    }
    let left = |name: &str, days: u32| {
        let path = folder.path(name);
        fs::write(&path, "{").unwrap();
        age(&path, days * DAY);
        path
    };
    let old = [
        left("samples/x.json#12", 3),
        left("samples/b.json#1", 3),
        left("order/00000000000000000003.json#3", 3),
        left("samplestore.json#7", 3),
    ];
    let young = left("samples/y.json#1", 0);

    let command = of_chapter(folder.0.path());
    let done = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    assert!(done.stderr.is_empty(), "{command}: {done:?}");
    for path in old {
        assert!(!path.exists(), "{}", path.display());
    }
    let mut expected = [documents, vec![young]].concat();
    expected.sort();
    assert_eq!(files(folder.0.path()), expected);
    let storage = folder.open();
    assert_eq!(ids(&*storage), ["a", "x.json#12", "b"]);
    storage.store(&at_once(["x", "y"])).unwrap();
    assert_eq!(ids(&*storage), ["a", "x.json#12", "b", "x", "y"]);
}
