//! The integration tests, one binary: everything here goes through the public API.

/// The conformance suite on each of our own backends.
mod conformance;
