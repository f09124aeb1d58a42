//! The integration tests, one binary: everything here goes through the public API.

// A test ends where something is not as it should be, and shows its reports when it is asked to.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

/// The conformance suite on each of our own backends, and the suite's own promises.
mod conformance;
/// The storage of `examples/custom_storage.rs` keeps all of the contract that it promises.
mod custom_storage;
/// Storages that break one rule each: the suite must fail, and name that rule.
mod mutants;
