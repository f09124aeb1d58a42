//! An embedded database for the samples of data and ML pipelines.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod instant;
mod memory;
mod payload;
mod query;
mod sample;
mod storage;
mod value;

pub use error::{Error, ErrorKind, Limit, Result};
pub use memory::MemoryStorage;
pub use payload::Payload;
pub use query::{
    Cursor, FILTERS, Facet, Facets, Filter, Order, Page, Query, Selection, TimeRange, parse_instant,
};
pub use sample::{
    ID_BYTES_MAX, PIPELINE_BYTES_MAX, Reason, SAMPLE_BYTES_MAX, Sample, SampleBuilder, Status,
};
pub use storage::{Capabilities, Ranked, Samples, Scan, Storage, StoreReport, check_batch};
pub use value::{DEPTH_MAX, Integer, Map, Value};
