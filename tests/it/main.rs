//! The integration tests: behaviour through the public API.

mod pipeline;
mod scripted;
mod writer;
