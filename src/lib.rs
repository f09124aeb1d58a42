//! An embedded database for the samples of data and ML pipelines.

#[cfg(feature = "conformance")]
pub mod conformance;
mod database;
pub mod docs;
mod error;
mod instant;
mod memory;
mod panicked;
mod payload;
mod pipeline;
mod query;
mod sample;
mod storage;
mod value;
mod writer;

pub use database::{Database, Durability, Explain, Options, Snapshot, Stats, TableStats};
pub use error::{Error, ErrorKind, Limit, Result};
pub use memory::MemoryStorage;
pub use payload::Payload;
pub use pipeline::{
    BoxError, FailedSample, Flow, Measurement, NoSource, NoStorage, Pipeline, PipelineBuilder,
    Progress, RetryPolicy, RunOutcome, RunReport, SourceItem, Stage, WithSource, WithStorage,
};
pub use query::{
    Cursor, FILTERS, Facet, Facets, Filter, Order, Page, Query, Selection, TimeRange, parse_instant,
};
pub use sample::{
    ID_BYTES_MAX, PIPELINE_BYTES_MAX, Reason, SAMPLE_BYTES_MAX, Sample, SampleBuilder, Status,
};
pub use storage::{Capabilities, Ranked, Samples, Scan, Storage, StoreReport, check_batch};
pub use value::{DEPTH_MAX, Integer, Map, Value};
pub use writer::{Receipt, Refused, Ticket, Writer, WriterBuilder};
