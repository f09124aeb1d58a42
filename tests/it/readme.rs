//! The code of the README, run as it stands there. What the README says of the command is run in `command/examples.rs`.

use std::path::Path;
use std::process::Command;

use samplestore::{Database, Query, Storage};

const CODE: &str = include_str!("readme/main_job.rs");
const IS_CHILD: &str = "SAMPLESTORE_TEST_README_CHILD";
/// Lines around what the code prints, which the harness prints before and behind, too.
const BEGIN: &str = "=== the code begins ===";
const END: &str = "=== the code ends ===";

/// Included, and no file of a module: its `main` can be called from here, and it is left as the README has it, in few lines.
mod main_job {
    include!("readme/main_job.rs");

    pub(super) fn run() -> Result<(), Box<dyn std::error::Error>> {
        main()
    }
}

/// The child's part, whose current folder is its own; nothing at all when the tests are run as usual.
#[test]
fn child_does_the_main_job() {
    if std::env::var_os(IS_CHILD).is_none() {
        return;
    }
    println!("\n{BEGIN}");
    main_job::run().unwrap();
    println!("{END}");
}

/// What the code prints in a folder.
fn printed_in(folder: &Path) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["readme::child_does_the_main_job", "--exact", "--nocapture"])
        .env(IS_CHILD, "yes")
        .current_dir(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{errors}");
    let text = String::from_utf8(child.stdout).unwrap();
    let (_, text) = text.split_once(&format!("{BEGIN}\n")).unwrap();
    let (text, _) = text.split_once(&format!("{END}\n")).unwrap();
    text.to_owned()
}

#[test]
fn the_code_that_is_run_is_that_of_the_readme() {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```rust").skip(1);
    let blocks: Vec<_> = blocks
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect();
    let (_, code) = CODE.split_once("\n\n").unwrap();
    assert_eq!(blocks, [format!(",no_run\n{code}")]);
}

#[test]
fn the_main_job_is_done_and_a_second_run_finds_what_the_first_one_stored() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(printed_in(folder.path()), "1 ready since June\n71.6\n");
    assert_eq!(
        printed_in(folder.path()),
        "2 ready since June\n71.6\n71.6\n"
    );
    let options = Database::options().create(false);
    let database = options.open(folder.path().join("samples.redb")).unwrap();
    assert_eq!(database.count(&Query::new()).unwrap(), 2);
}
