//! Compares what of the library is public with `public_api.txt` beside this package's `Cargo.toml`, so that a change of it is seen where it is
//! made: a line that is gone, or is another now, breaks whoever uses what it says.
//!
//! Takes the file that rustdoc writes of the library as JSON, which `.ci/run` makes, and `--update` to write the text anew.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (json, is_update) = match &arguments[..] {
        [json] => (json, false),
        [json, flag] if flag == "--update" => (json, true),
        _ => return Err("usage: public_api JSON [--update]".into()),
    };
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .build()?;
    let now: String = api.items().map(|item| format!("{item}\n")).collect();
    // As `cargo run` says: a binary that was built in another clone with the same build directory knows that one's.
    let package = std::env::var("CARGO_MANIFEST_DIR")?;
    let path = Path::new(&package).join("public_api.txt");
    if is_update {
        fs::write(&path, now)?;
        return Ok(ExitCode::SUCCESS);
    }
    let known = fs::read_to_string(&path)?;
    let (known, now): (BTreeSet<_>, BTreeSet<_>) = (known.lines().collect(), now.lines().collect());
    for line in known.difference(&now) {
        println!("- {line}");
    }
    for line in now.difference(&known) {
        println!("+ {line}");
    }
    Ok(match known == now {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
