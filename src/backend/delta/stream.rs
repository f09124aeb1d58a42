//! [`Stream`]: samples one by one, from one state of the table.
//!
//! DataFusion sorts what matches, with temporary files for what does not fit in its memory, and hands out batches of
//! rows. No more than one is held here.

use std::sync::Arc;
use std::vec;

use deltalake::datafusion::execution::SendableRecordBatchStream;
use futures_util::TryStreamExt;

use super::Shared;
use super::failure::Failure;
use super::row;
use crate::backend::runtime::wait;
use crate::error::Result;
use crate::query::Query;
use crate::sample::Sample;

pub(super) struct Stream {
    operation: &'static str,
    shared: Arc<Shared>,
    samples: vec::IntoIter<Sample>,
    query: Query,
    /// How many samples the query's limit still allows.
    left: u64,
    /// `None` behind the end.
    batches: Option<SendableRecordBatchStream>,
}

impl Stream {
    pub(super) fn new(
        operation: &'static str,
        shared: &Arc<Shared>,
        batches: SendableRecordBatchStream,
        query: &Query,
    ) -> Self {
        Self {
            operation,
            shared: Arc::clone(shared),
            samples: Vec::new().into_iter(),
            query: query.clone(),
            left: query.limit_max().unwrap_or(u64::MAX),
            batches: Some(batches),
        }
    }

    /// The next batch, waited for; `None` at the end.
    fn refill(&mut self) -> Option<Result<()>> {
        let mut batches = self.batches.take().filter(|_| self.left > 0)?;
        if let Err(closed) = self.shared.check_open(self.operation) {
            return Some(Err(closed));
        }
        let (operation, shared) = (self.operation, Arc::clone(&self.shared));
        let (query, left) = (self.query.clone(), self.left);
        let shown = self.shared.table.shown.clone();
        let answer = wait(operation, shown, async move {
            let reading = async {
                let Some(batch) = batches.try_next().await? else {
                    return Ok(None);
                };
                let mut samples = Vec::new();
                for found in row::read(&batch)? {
                    if (samples.len() as u64) < left && query.conditions_match(&found.sample)? {
                        samples.push(found.sample);
                    }
                }
                Ok(Some((samples, batches)))
            };
            reading
                .await
                .map_err(|failure: Failure| failure.into_error(operation, &shared.table.shown))
        });
        match answer {
            Ok(Some((samples, batches))) => {
                self.left -= samples.len() as u64;
                self.samples = samples.into_iter();
                self.batches = Some(batches);
                Some(Ok(()))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for Stream {
    type Item = Result<Sample>;

    fn next(&mut self) -> Option<Result<Sample>> {
        loop {
            if let Some(sample) = self.samples.next() {
                return Some(Ok(sample));
            }
            if let Err(error) = self.refill()? {
                return Some(Err(error));
            }
        }
    }
}
