//! What the command does: one module for each verb, with its flags, its help and its work.
//!
//! A verb first reads its arguments whole, then opens, then writes.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod copy;
pub(crate) mod count;
pub(crate) mod explain;
pub(crate) mod facets;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod prune;
pub(crate) mod reindex;
pub(crate) mod repair;
pub(crate) mod salvage;
pub(crate) mod stats;
