//! [`Lane`]: what a sequence of operations makes of the samples, step by step, and what of it must be there when.

use std::ops::RangeInclusive;

use samplestore::{MemoryStorage, Query, Sample, Storage};

use super::workload::{self, Operation};

/// The operations of one thread, each with the samples behind it.
pub(crate) struct Lane {
    pub(crate) number: u64,
    model: MemoryStorage,
    /// The number of the first operation.
    pub(crate) first: u64,
    /// The samples before the first operation, and after each.
    states: Vec<Vec<Sample>>,
    /// How many things had been done to the disk when each operation began.
    begun: Vec<usize>,
    /// The same when it was known to be durable, in order.
    durable: Vec<usize>,
}

impl Lane {
    /// A lane of a workload's that goes on with operation `first`, the ones before it being done.
    pub(crate) fn new(seed: u64, number: u64, first: u64) -> Self {
        let model = MemoryStorage::new();
        for done in 0..first {
            Operation::nth(seed, number, done).run_on_model(&model);
        }
        let samples = model.list(&Query::new()).unwrap().samples;
        Self {
            number,
            model,
            first,
            states: vec![samples],
            begun: Vec::new(),
            durable: Vec::new(),
        }
    }

    /// The number of the operation that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.begun.len() as u64
    }

    /// Takes note that the next operation begins at a place of the recording; says which step it is.
    pub(crate) fn begin(&mut self, operation: &Operation, place: usize) -> usize {
        operation.run_on_model(&self.model);
        self.states
            .push(self.model.list(&Query::new()).unwrap().samples);
        self.begun.push(place);
        self.begun.len()
    }

    /// Takes note that this step, and all before it, are known to be durable at a place of the recording.
    pub(crate) fn is_durable(&mut self, step: usize, place: usize) {
        while self.durable.len() < step {
            self.durable.push(place);
        }
    }

    /// The steps of which one must be there when the recording is cut at this place.
    pub(crate) fn steps_at(&self, cut: usize) -> RangeInclusive<usize> {
        let durable = self.durable.partition_point(|place| *place <= cut);
        durable..=self.begun.partition_point(|place| *place <= cut)
    }

    /// All steps from here on.
    pub(crate) fn steps_from(&self, step: usize) -> RangeInclusive<usize> {
        step..=self.begun.len()
    }

    /// The samples behind a step.
    pub(crate) fn state(&self, step: usize) -> &[Sample] {
        &self.states[step]
    }

    /// Which of these steps the samples in a database are those of; in words, what is wrong if they are of none.
    pub(crate) fn find(
        &self,
        found: &[Sample],
        steps: RangeInclusive<usize>,
    ) -> Result<usize, String> {
        let prefix = workload::prefix(self.number);
        let found: Vec<&Sample> = found
            .iter()
            .filter(|sample| sample.id().starts_with(&prefix))
            .collect();
        let is = |step: &usize| found.iter().copied().eq(self.state(*step));
        if let Some(step) = steps.clone().find(is) {
            return Ok(step);
        }
        let is_older = (0..*steps.start()).rev().find(is);
        let (first, last) = (self.first, steps.clone());
        let what = match is_older {
            Some(step) => format!("only the first {step} are there"),
            None => difference(&found, self.state(*steps.start())),
        };
        Err(format!(
            "lane {}: {} to {} of the operations from number {first} on must be there: {what}",
            self.number,
            last.start(),
            last.end(),
        ))
    }
}

/// How these samples differ from those that there should be.
fn difference(found: &[&Sample], expected: &[Sample]) -> String {
    let by_id = |id: &str| found.iter().find(|sample| sample.id() == id);
    let missing: Vec<_> = expected
        .iter()
        .filter(|sample| by_id(sample.id()).is_none())
        .map(Sample::id)
        .collect();
    let differ: Vec<_> = expected
        .iter()
        .filter(|sample| by_id(sample.id()).is_some_and(|found| *found != *sample))
        .map(Sample::id)
        .collect();
    if missing.is_empty() && differ.is_empty() && found.len() == expected.len() {
        return "they are in another order".to_owned();
    }
    let first = |ids: &[&str]| ids.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    format!(
        "{} samples where there should be {}, {} missing ({}), {} other than they should be ({})",
        found.len(),
        expected.len(),
        missing.len(),
        first(&missing),
        differ.len(),
        first(&differ),
    )
}
