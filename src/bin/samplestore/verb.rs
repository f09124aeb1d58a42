//! What the command does: one module for each verb, with its flags, its help and its work.
//!
//! A verb first reads its arguments whole, then opens, then writes.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod count;
pub(crate) mod dlq;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod facets;
pub(crate) mod get;
pub(crate) mod hist;
pub(crate) mod import;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod mark;
pub(crate) mod prune;
pub(crate) mod put;
pub(crate) mod reindex;
pub(crate) mod repair;
pub(crate) mod rm;
pub(crate) mod salvage;
pub(crate) mod schema;
pub(crate) mod stats;
pub(crate) mod tail;
