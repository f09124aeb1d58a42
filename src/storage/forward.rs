//! A reference, a box or an `Arc` of a storage is a storage.

use std::sync::Arc;

use super::{Capabilities, Samples, Scan, Storage, StoreReport};
use crate::error::{Error, Result};
use crate::query::{Facets, Page, Query, Selection};
use crate::sample::{Sample, Status};

macro_rules! forward {
    ($($handle:ty),+) => {$(
        impl<S: Storage + ?Sized> Storage for $handle {
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
                (**self).store(batch)
            }
            fn flush(&self) -> Result<()> {
                (**self).flush()
            }
            fn close(&self) -> Result<()> {
                (**self).close()
            }
            fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
                (**self).retrieve(id)
            }
            fn scan(&self) -> Result<Scan<'_>> {
                (**self).scan()
            }
            fn list(&self, query: &Query) -> Result<Page> {
                (**self).list(query)
            }
            fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
                (**self).iterate(query)
            }
            fn count(&self, query: &Query) -> Result<u64> {
                (**self).count(query)
            }
            fn facets(&self, query: &Query) -> Result<Facets> {
                (**self).facets(query)
            }
            fn set_status(
                &self,
                selection: &Selection,
                from: Option<Status>,
                to: Status,
            ) -> Result<u64> {
                (**self).set_status(selection, from, to)
            }
            fn delete(&self, selection: &Selection) -> Result<u64> {
                (**self).delete(selection)
            }
            fn unsupported(&self, operation: &'static str) -> Error {
                (**self).unsupported(operation)
            }
        }
    )+};
}

forward!(&S, Box<S>, Arc<S>);
