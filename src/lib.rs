//! An embedded database for the samples of data and ML pipelines.
//!
//! A pipeline makes [`Sample`]s: each has an id, a pipeline, a [`Status`], the instant it was created, and
//! two maps, its data and its measurements. A [`Database`] keeps them in one file and finds them again by
//! id, pipeline, status and time, by index and never by scanning.
//!
//! ```
//! use samplestore::{Database, Query, Sample, Status, Storage, data};
//!
//! let folder = tempfile::tempdir()?;
//! let database = Database::open(folder.path().join("samples.redb"))?;
//! let sample = Sample::builder("weather")
//!     .status(Status::Ready)
//!     .data(data! { "station" => "JFK", "temp" => 71.6 })
//!     .build()?;
//! database.store(&[sample])?;
//!
//! let ready = Query::new().pipeline("weather").status(Status::Ready).newest_first().limit(10);
//! for sample in database.iterate(&ready)? {
//!     assert_eq!(sample?.data().get("temp")?.unwrap().as_f64(), Some(71.6));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to go from here
//!
//! - [`Sample`], [`Payload`], [`Value`]: what is stored, from maps or from your own types.
//! - [`Query`]: which samples, in which order. [`Histogram`]: how many over time; [`Fields`]: what they hold.
//! - [`Storage`]: what every backend does, and [`docs::contract`]: the rules that it keeps.
//! - [`Database`], [`Options`], [`Snapshot`], [`Explain`], [`Metrics`]: the embedded file. [`MemoryStorage`]: the
//!   reference, for tests.
//! - [`connect`], [`Location`]: every backend by its URL; [`copy`]: from one into another;
//!   [`docs::backends`]: what each can do.
//! - [`Pipeline`]: from a source through stages and measurements into a storage; [`Failures`]: what failed there, in
//!   groups. [`Writer`]: writing in the background.
//! - `conformance` (feature of that name): the contract as test cases, for a backend of your own.
//! - [`docs::architecture`] and [`docs::file_format`]: how it works, and the file byte by byte.
//! - [`docs::observing`]: figures of an open database, and its spans and events for `tracing`.
//! - [`docs::what_survives_what`]: each fault, what is promised, and which test shows it.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `cli` | yes | the command `samplestore`; the library alone needs none of its crates |
//! | `conformance` | no | the conformance suite |
//! | `simulation` | no | a database on a disk of your own, for tests of crashes and failing disks |
//! | `files` | no | JSON documents in a folder |
//! | `s3` | no | JSON documents in S3 |
//! | `gcs` | no | JSON documents in Google Cloud Storage |
//! | `azure` | no | JSON documents in Azure Blob Storage |
//! | `delta` | no | Parquet, as a Delta Lake table in a folder, and in S3 with `s3` |
//! | `postgres` | no | a table in a PostgreSQL server |
//! | `kafka` | no | messages of a Kafka topic |

// The machinery of crash images, which the library's tests share with those of `tests/it`, calls it by its name.
#[cfg(all(test, feature = "simulation"))]
extern crate self as samplestore;

mod attempts;
mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
mod copy;
mod database;
pub mod docs;
mod error;
mod fields;
mod instant;
mod memory;
mod panicked;
mod payload;
mod pipeline;
mod proceed;
mod query;
mod retry;
mod sample;
mod slice;
mod storage;
mod sync;
mod value;
mod writer;

#[cfg(feature = "delta")]
pub use backend::{DeltaTable, Optimized};
pub use backend::{Location, connect};
pub use copy::{CopyOptions, CopyReport, Verified, copy};
#[cfg(feature = "simulation")]
pub use database::simulation;
pub use database::{
    Backup, CheckReport, Database, Distribution, Durability, Explain, Fault, FaultKind, IndexStats,
    Metrics, Options, Prune, RepairOutcome, RepairReport, SalvageReport, SalvagedRow, Snapshot,
    Stats, TableStats,
};
pub use error::{Error, ErrorKind, Limit, Result};
pub use fields::{FieldSummary, Fields};
pub use memory::MemoryStorage;
pub use payload::Payload;
pub use pipeline::{
    BoxError, FailedSample, FailureGroup, Failures, Flow, Measurement, NoSource, NoStorage,
    Pipeline, PipelineBuilder, Progress, RunOutcome, RunReport, SourceItem, Stage, WithSource,
    WithStorage,
};
pub use proceed::Proceed;
pub use query::{
    Condition, Cursor, FILTERS, Facet, Facets, Field, Filter, Histogram, Interval, Order, Page,
    Query, Selection, TimeRange, parse_instant, parse_span,
};
pub use retry::RetryPolicy;
pub use sample::{
    ID_BYTES_MAX, PIPELINE_BYTES_MAX, Reason, SAMPLE_BYTES_MAX, Sample, SampleBuilder, Status,
};
pub use storage::{Capabilities, Ranked, Samples, Scan, Storage, StoreReport, check_batch};
pub use value::{DEPTH_MAX, Integer, Map, Value};
pub use writer::{Receipt, Refused, Ticket, Writer, WriterBuilder};

/// The README's code, compiled as whoever copies it compiles it; `tests/it/readme.rs` runs it.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
