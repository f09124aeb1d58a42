//! [`Found`]: what a row turned out to be, and what is known of samples that no table leads to.

use std::sync::Arc;

use super::strays::Strays;
use super::{NAMELESS, OPERATION, STALE, STRAY, Source, gone};
use crate::database::failure::guard;
use crate::database::leaves;
use crate::database::pipelines::Entry;
use crate::database::planes::Planes;
use crate::database::record::{self, status_of};
use crate::database::schema::{Kind, SEAL_BYTES, STATUS_ROWS, unseal};
use crate::error::{Error, Result};
use crate::sample::Sample;

/// What a row turned out to be.
pub(in crate::database) enum Found {
    Sample(Sample),
    /// One that may have another status, be another version or be gone, and why.
    Doubtful(Sample, &'static str),
    /// A sample that cannot be read, with its id if that much can be.
    Lost(Option<String>, Error),
}

impl Source {
    /// How many samples a commit had whose state was found.
    pub(in crate::database) fn samples_once(&self) -> Option<u64> {
        let state = self.strays.as_ref()?.state.as_ref()?;
        Some(state.samples())
    }

    /// Looks everywhere in the file for what the tables do not lead to, so that names that are lost are known from now on. `tell`
    /// is told how far that has come, from 0 to 1, and may end it.
    pub(in crate::database) fn look_everywhere(
        &mut self,
        tell: &dyn Fn(f64) -> Result<()>,
    ) -> Result<()> {
        if self.strays.is_none() {
            let base = self.layout.map_or(0, |layout| layout.base);
            let strays = Strays::find(Arc::clone(&self.disk), base, tell)?;
            if self.state.is_none() {
                self.read_log_without_mark(&strays);
            }
            self.strays = Some(Arc::new(strays));
        }
        Ok(())
    }

    /// Shows `each` the samples that [`look_everywhere`](Self::look_everywhere) has found and that were not shown yet, in order of row. Of
    /// two with the same id the second is the newer one.
    pub(in crate::database) fn strays(
        &mut self,
        each: &mut dyn FnMut(u64, Found) -> Result<()>,
    ) -> Result<()> {
        let Some(strays) = self.strays.clone() else {
            return Ok(());
        };
        let (mut block, mut planes) = (None, None);
        for row in strays.rows() {
            let is_beyond = self.state.is_some() && row >= self.rows;
            if is_beyond || self.seen.contains(row) {
                continue;
            }
            let leaf = row / STATUS_ROWS;
            if planes.as_ref().is_none_or(|(number, _)| *number != leaf) {
                let read = || leaves::read::<Planes>(self.status.as_ref().ok_or_else(gone)?, leaf);
                planes = Some((leaf, guard(OPERATION, read).ok()));
            }
            let planes: Option<&Planes> = planes.as_ref().and_then(|(_, planes)| planes.as_ref());
            let code = match planes {
                // What they have is lost, or was shown; what they do not have was deleted.
                Some(_) if !self.lost.contains(row) => continue,
                Some(planes) => Some(planes.code(row)),
                None => strays.code(row),
            };
            let code = self.late.code(row).or(code);
            let is_in_block = planes.is_some_and(|planes| !planes.is_replaced(row));
            let late = self.late.replaced(row).map(<[u8]>::to_vec);
            let sealed = late
                .or_else(|| strays.replaced(row).filter(|_| !is_in_block))
                .or_else(|| strays.in_block(row, &mut block));
            if let Some(sealed) = sealed
                && code != Some(0)
            {
                let found = self.found(row, code, Ok(sealed), Some(STRAY));
                each(row, found)?;
            }
        }
        Ok(())
    }

    /// The sample of a row with this status code, if it is known, and this sealed record.
    pub(super) fn found(
        &mut self,
        row: u64,
        code: Option<u8>,
        sealed: Result<Vec<u8>>,
        doubt: Option<&'static str>,
    ) -> Found {
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                self.lost.insert(row);
                return Found::Lost(None, error);
            }
        };
        match self.decode(row, code, &sealed) {
            Ok((sample, is_named)) => {
                self.seen.insert(row);
                self.lost.remove(row);
                let is_stale = self.suspects.has(row);
                let doubt = doubt.or(is_stale.then_some(STALE));
                match doubt.or((!is_named).then_some(NAMELESS)) {
                    Some(doubt) => Found::Doubtful(sample, doubt),
                    None => Found::Sample(sample),
                }
            }
            Err(error) => {
                self.lost.insert(row);
                Found::Lost(self.id_of(row, &sealed), error)
            }
        }
    }

    /// The id in a record that cannot be read otherwise. Where its seal does not hold, the index of ids has to say the same.
    fn id_of(&self, row: u64, sealed: &[u8]) -> Option<String> {
        let is_right = unseal(Kind::Row, row, sealed).is_ok();
        let bytes = &sealed[..sealed.len().saturating_sub(SEAL_BYTES)];
        let id = record::header(bytes).ok()?.id;
        let is_known = || Some(self.hints.as_ref()?.has(self.state.as_ref()?, id, row));
        (is_right || is_known() == Some(true)).then(|| id.to_owned())
    }

    /// A sample, and whether the name of its pipeline is known.
    fn decode(&mut self, row: u64, code: Option<u8>, sealed: &[u8]) -> Result<(Sample, bool)> {
        let bytes: Arc<[u8]> = unseal(Kind::Row, row, sealed)?.into();
        let header = record::header(&bytes)?;
        let status = code.and_then(status_of).flatten().unwrap_or(header.status);
        let (name, is_known) = self.name(header.pipeline);
        let sample = record::decode(&bytes, &bytes, status, |_| Ok(name))?;
        Ok((sample, is_known))
    }

    /// Whether a name cannot be read that a sample may need, unless it is found outside the tables.
    pub(in crate::database) fn lacks_names(&self) -> bool {
        let names = self.state.as_ref().map_or(0, |state| state.next_pipeline);
        let is_lost = |number| {
            let read = || Entry::read(self.summary.as_ref().ok_or_else(gone)?, number);
            self.late.name(number).is_none() && guard(OPERATION, read).is_err()
        };
        (0..names).any(|number| u32::try_from(number).is_ok_and(is_lost))
    }

    /// The name of a pipeline, or one that says that it is lost; and which of the two.
    fn name(&mut self, number: u32) -> (Arc<str>, bool) {
        if let Some((name, is_known)) = self.names.get(&number) {
            return (Arc::clone(name), *is_known);
        }
        // Where the tables may have more than the log, what that numbers may be another name.
        let late = self.late.name(number).cloned();
        let (first, last) = match self.late_doubt {
            None => (late, None),
            Some(_) => (None, late),
        };
        let name = match first {
            Some(name) => (name, true),
            None => {
                let read = || Entry::read(self.summary.as_ref().ok_or_else(gone)?, number);
                let stray = self.strays.as_ref();
                let stray = stray.and_then(|strays| strays.names.get(&number));
                // It is the same in every version.
                let stray = stray.cloned().or(last);
                match (guard(OPERATION, read), stray) {
                    (Ok(entry), _) => (entry.name, true),
                    (Err(_), Some(name)) => (name, true),
                    (Err(error), None) => {
                        self.notes
                            .push(format!("the name of pipeline {number}: {error}"));
                        (format!("lost-pipeline-{number}").into(), false)
                    }
                }
            }
        };
        self.names.insert(number, name.clone());
        name
    }
}
