//! tests
mod command;
