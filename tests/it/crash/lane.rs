//! [`Lane`]: what a sequence of operations makes of the samples, step by step, and what of it must be there when.

use std::ops::RangeInclusive;

use samplestore::{MemoryStorage, Query, Sample, Selection, Storage};

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
    /// Steps that may be there in part.
    partial: Vec<usize>,
}

/// What a database has of a lane's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// All of so many.
    pub(crate) step: usize,
    /// And a part of the next one.
    pub(crate) and_a_part: bool,
}

impl Lane {
    /// A lane of a workload's that goes on with operation `first`, the ones before it being done.
    pub(crate) fn new(seed: u64, number: u64, first: u64) -> Self {
        let model = MemoryStorage::new();
        for done in 0..first {
            Operation::nth(seed, number, done).run_on_model(&model);
        }
        Self::of_model(number, first, model)
    }

    fn of_model(number: u64, first: u64, model: MemoryStorage) -> Self {
        let samples = model.list(&Query::new()).unwrap().samples;
        Self {
            number,
            model,
            first,
            states: vec![samples],
            begun: Vec::new(),
            durable: Vec::new(),
            partial: Vec::new(),
        }
    }

    /// The number of the operation that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.begun.len() as u64
    }

    /// Takes note that the next operation begins at a place of the recording; says which step it is. Retention of more
    /// samples than these may be several commits.
    pub(crate) fn begin(
        &mut self,
        operation: &Operation,
        place: usize,
        prune_samples: usize,
    ) -> usize {
        operation.run_on_model(&self.model);
        self.states
            .push(self.model.list(&Query::new()).unwrap().samples);
        self.begun.push(place);
        let step = self.begun.len();
        if matches!(operation, Operation::Prune(_))
            && self.states[step - 1].len() - self.states[step].len() > prune_samples
        {
            self.partial.push(step);
        }
        step
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
    ) -> Result<Reached, String> {
        let prefix = workload::prefix(self.number);
        let found: Vec<&Sample> = found
            .iter()
            .filter(|sample| sample.id().starts_with(&prefix))
            .collect();
        let is = |step: &usize| found.iter().copied().eq(self.state(*step));
        let and_a_part = false;
        if let Some(step) = steps.clone().find(is) {
            return Ok(Reached { step, and_a_part });
        }
        let mut partial = self.partial.iter().map(|step| step - 1);
        if let Some(step) = partial.find(|step| {
            steps.contains(step) && steps.contains(&(step + 1)) && self.is_part(&found, *step)
        }) {
            let and_a_part = true;
            return Ok(Reached { step, and_a_part });
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

    /// The lane as a database with these samples has it, which has reached so much of it.
    pub(crate) fn at(&self, seed: u64, reached: Reached, found: &[Sample]) -> Self {
        let first = self.first + reached.step as u64;
        let lane = Self::new(seed, self.number, first);
        if !reached.and_a_part {
            return lane;
        }
        let is_gone = |sample: &&Sample| !found.iter().any(|found| found.id() == sample.id());
        let gone = lane.states[0].iter().filter(is_gone).map(Sample::id);
        lane.model.delete(&Selection::ids(gone)).unwrap();
        Self::of_model(self.number, first + 1, lane.model)
    }

    /// Whether these are samples of a step, and among them all that the next step left of them. All are in order of time.
    fn is_part(&self, found: &[&Sample], step: usize) -> bool {
        is_in(found.iter().copied(), self.state(step).iter())
            && is_in(self.state(step + 1).iter(), found.iter().copied())
    }
}

/// Whether these are some of all, in the same order.
fn is_in<'a>(
    mut some: impl Iterator<Item = &'a Sample>,
    mut all: impl Iterator<Item = &'a Sample>,
) -> bool {
    some.all(|sample| all.any(|other| other == sample))
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
