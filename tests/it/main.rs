//! The integration tests: one binary, one module per subject.

#[cfg(feature = "cli")]
mod command;
