//! The integration tests: behaviour through the public API.

#![allow(clippy::unwrap_used)] // what the tests share is test code as well

mod pipeline;
mod scripted;
mod writer;
