//! The integration tests, one binary: everything here goes through the public API.

// A test ends where something is not as it should be, and shows its reports when it is asked to.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

/// Copies of a database.
mod backup;
/// The command, from outside.
#[cfg(feature = "cli")]
mod command;
/// Writers, readers and whoever else there is, all at once.
mod concurrency;
/// The conformance suite on each of our own backends, and the suite's own promises.
mod conformance;
/// Copies between storages.
mod copy;
/// Losses of power at any moment, on a disk that records everything.
mod crash;
/// The storage of `examples/custom_storage.rs` keeps all of the contract that it promises.
mod custom_storage;
/// Damaged files, read, written and checked.
mod damage;
/// Samples in a Delta Lake table.
#[cfg(feature = "delta")]
mod delta;
/// JSON documents, in folders and on servers.
#[cfg(feature = "files")]
mod documents;
/// Disks of which any operation may fail.
mod faults;
/// Opening and reopening files, also bad ones.
mod files;
/// Files of every format version.
mod fixtures;
/// What changed between two commits, and counts over time.
mod following;
/// Samples as messages of a Kafka topic.
#[cfg(all(feature = "kafka", unix))]
mod kafka;
/// Processes killed in the middle of a load.
mod kill;
/// Which backend keeps which rule, as the docs have it.
#[cfg(all(
    feature = "azure",
    feature = "delta",
    feature = "kafka",
    feature = "postgres",
    feature = "s3",
    unix
))]
mod matrix;
/// Storages that break one rule each: the suite must fail, and name that rule.
mod mutants;
/// What the library tells of itself: figures, spans and events.
mod observing;
/// Runs of pipelines, rule by rule.
mod pipeline;
/// Every filter combination is answered by an index.
mod plans;
/// Samples in a PostgreSQL server.
#[cfg(all(feature = "postgres", unix))]
mod postgres;
/// Several processes at one file.
mod processes;
/// The code of the README.
mod readme;
/// What is removed to keep a file small, and what it costs.
mod retention;
/// A storage that fails as it is told to, for the tests of the writer and of pipelines.
mod scripted;
/// Passwords and keys, which are in no error and in no log.
#[cfg(any(
    feature = "azure",
    feature = "s3",
    all(any(feature = "kafka", feature = "postgres"), unix)
))]
mod secrets;
/// Servers for the tests of backends that are one.
#[cfg(any(
    feature = "azure",
    feature = "delta",
    feature = "kafka",
    feature = "postgres",
    feature = "s3"
))]
mod servers;
/// How fast each backend is, as the docs have it.
#[cfg(all(
    feature = "azure",
    feature = "delta",
    feature = "kafka",
    feature = "postgres",
    feature = "s3",
    unix
))]
mod times;
/// Names, texts and input that mean harm.
mod untrusted;
/// The weather example on every backend, and its samples through all of them.
mod weather;
/// The background writer.
mod writer;
