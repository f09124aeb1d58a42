//! [`Lane`]: what a sequence of operations makes of the samples and of the indexes of their fields, step by step, and what of it
//! must be there when.

use std::ops::RangeInclusive;

use samplestore::{Sample, Selection, Storage};

use super::workload::fields::fields;
use super::workload::model::{Indexes, Model, State};
use super::workload::{self, Operation};

/// The operations of one thread, each with the state behind it.
pub(crate) struct Lane {
    pub(crate) number: u64,
    model: Model,
    /// The number of the first operation.
    pub(crate) first: u64,
    /// What there is before the first operation, and after each.
    states: Vec<State>,
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
        let mut model = Model::default();
        for done in 0..first {
            model.run(&Operation::nth(seed, number, done));
        }
        Self::of_model(number, first, model)
    }

    fn of_model(number: u64, first: u64, model: Model) -> Self {
        Self {
            number,
            states: vec![model.state()],
            model,
            first,
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
        self.model.run(operation);
        self.states.push(self.model.state());
        self.begun.push(place);
        let step = self.begun.len();
        if matches!(operation, Operation::Prune(_))
            && self.states[step - 1].samples.len() - self.states[step].samples.len() > prune_samples
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

    /// Which of these steps the state of a database is that of; in words, what is wrong if it is of none.
    pub(crate) fn find(
        &self,
        found: &State,
        steps: RangeInclusive<usize>,
    ) -> Result<Reached, String> {
        let indexes = self.indexes(found);
        let samples = self.samples(found);
        let is_same = |step: &usize| samples.iter().copied().eq(&self.states[*step].samples);
        let is = |step: &usize| is_same(step) && indexes == self.states[*step].indexes;
        if let Some(step) = steps.clone().find(is) {
            let and_a_part = false;
            return Ok(Reached { step, and_a_part });
        }
        let (first, last) = steps.clone().into_inner();
        let in_part = (first..last).find(|step| {
            let is_pruned = self.partial.contains(&(step + 1))
                && indexes == self.states[*step].indexes
                && self.is_part(&samples, *step);
            is_pruned || is_same(step) && self.is_half_built(&indexes, *step)
        });
        if let Some(step) = in_part {
            let and_a_part = true;
            return Ok(Reached { step, and_a_part });
        }
        let what = match (0..first).rev().find(is) {
            Some(step) => format!("only the first {step} are there"),
            None if steps.clone().any(|step| is_same(&step)) => {
                let expected = &self.states[first].indexes;
                format!("there are the indexes {indexes:?} where there should be {expected:?}")
            }
            None => difference(&samples, &self.states[first].samples),
        };
        Err(format!(
            "lane {}: {first} to {last} of the operations from number {} on must be there: {what}",
            self.number, self.first,
        ))
    }

    /// The lane as a database with this state has it, which has reached so much of it.
    pub(crate) fn at(&self, seed: u64, reached: Reached, found: &State) -> Self {
        let first = self.first + reached.step as u64;
        let lane = Self::new(seed, self.number, first);
        if !reached.and_a_part {
            return lane;
        }
        let found_samples = self.samples(found);
        let is_gone =
            |sample: &&Sample| !found_samples.iter().any(|found| found.id() == sample.id());
        let before = lane.states[0].samples.iter();
        let gone = before.filter(is_gone).map(Sample::id);
        let mut model = lane.model;
        model.samples.delete(&Selection::ids(gone)).unwrap();
        model.indexes = self.indexes(found);
        Self::of_model(self.number, first + 1, model)
    }

    /// This lane's samples of a state.
    fn samples<'a>(&self, found: &'a State) -> Vec<&'a Sample> {
        let prefix = workload::prefix(self.number);
        let samples = found.samples.iter();
        samples
            .filter(|sample| sample.id().starts_with(&prefix))
            .collect()
    }

    /// The indexes of this lane's fields in a state.
    fn indexes(&self, found: &State) -> Indexes {
        let fields = fields(self.number);
        let mut indexes = found.indexes.clone();
        indexes.retain(|field, _| fields.contains(field));
        indexes
    }

    /// Whether these are samples of a step, and among them all that the next step left of them. All are in order of time.
    fn is_part(&self, found: &[&Sample], step: usize) -> bool {
        let (before, after) = (&self.states[step].samples, &self.states[step + 1].samples);
        is_in(found.iter().copied(), before.iter()) && is_in(after.iter(), found.iter().copied())
    }

    /// Whether these indexes are those of a step, and the one that the next step makes, of which some rows are there.
    fn is_half_built(&self, found: &Indexes, step: usize) -> bool {
        let mut between = self.states[step + 1].indexes.clone();
        for (field, is_whole) in &mut between {
            *is_whole &= self.states[step].indexes.get(field) == Some(&true);
        }
        *found == between
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
