//! The command `samplestore`: samples of pipelines from the shell, by the library's public API alone.
//!
//! `arguments.rs` says what can be asked, one module in `verb` does each of it, `input` reads what is
//! imported, some of it in a process of its own, `output` writes what is found, `listing.rs` goes through it and knows where a page ends,
//! `steps.rs` asks about many samples and changes these some at a time, by what `ids.rs` holds, and `interrupt.rs` ends that, `identity.rs` keeps one file from being
//! read and written over, `failure.rs` turns what went wrong into words and an exit code. Arguments are checked whole before anything is opened,
//! and files are opened before anything is written.

// To the whole crate, since `fuzz` compiles this file as a module of its own.
pub(crate) mod arguments;
pub(crate) mod failure;
pub(crate) mod fields;
pub(crate) mod identity;
pub(crate) mod ids;
pub(crate) mod input;
pub(crate) mod interrupt;
pub(crate) mod listing;
pub(crate) mod opening;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod steps;
pub(crate) mod verb;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "arrow")]
    if let Some(code) = input::confined::served() {
        return code;
    }
    match arguments::parse() {
        Ok(arguments) => failure::report(failure::catching(|| arguments.run())),
        Err(answer) => failure::report_usage(answer),
    }
}
