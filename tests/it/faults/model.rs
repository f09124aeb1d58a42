//! [`Model`]: what a database has on a disk that fails, and what else it may have.

use std::collections::BTreeSet;

use crate::crash::workload::Operation;
use crate::crash::workload::model::{self, State};

const SEED: u64 = 10_221;

/// What there is, and what else there may be.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) done: Vec<Operation>,
    /// What there is before the first operation that was acknowledged, and after each.
    pub(super) states: Vec<State>,
    /// Up to this state everything survives a loss of power.
    pub(super) durable: usize,
    /// What there is if the operation has taken effect of which nobody knows.
    pub(super) in_doubt: Option<State>,
    /// Fields of which nobody knows whether there is an index: making it or removing it has failed since it was last done.
    pub(super) unsure: BTreeSet<String>,
    /// What failed, and how, in words.
    pub(super) failed: Vec<String>,
}

impl Model {
    /// After these operations on an empty disk, none of which is known to be durable.
    pub(super) fn new(operations: impl Iterator<Item = Operation>) -> Self {
        let mut model = Self {
            done: Vec::new(),
            states: vec![State::default()],
            durable: 0,
            in_doubt: None,
            unsure: BTreeSet::new(),
            failed: Vec::new(),
        };
        operations.for_each(|operation| model.acknowledge(operation));
        model
    }

    pub(super) fn acknowledge(&mut self, operation: Operation) {
        if let Operation::CreateIndex(field) | Operation::DropIndex(field) = &operation {
            self.unsure.remove(field);
        }
        self.done.push(operation);
        self.states.push(after(&self.done));
    }

    /// What there is if this operation takes effect too.
    pub(super) fn with(&self, operation: &Operation) -> State {
        let done: Vec<_> = self.done.iter().chain([operation]).cloned().collect();
        after(&done)
    }

    /// Whether there may be what was found, after a loss of power or without. Every index is whole, one of which nobody knows
    /// too.
    pub(super) fn may_be(&self, found: &State, is_power_lost: bool) -> bool {
        let first = match is_power_lost {
            true => self.durable,
            false => self.states.len() - 1,
        };
        let mut possible = self.states[first..].iter().chain(&self.in_doubt);
        found.indexes.values().all(|is_whole| *is_whole)
            && possible.any(|state| self.is_same(state, found))
    }

    /// Whether two states are the same but for what nobody knows.
    pub(super) fn is_same(&self, one: &State, other: &State) -> bool {
        let known = |state: &State| {
            let mut indexes = state.indexes.clone();
            indexes.retain(|field, _| !self.unsure.contains(field));
            indexes
        };
        one.samples == other.samples && known(one) == known(other)
    }
}

pub(super) fn operation(number: u64) -> Operation {
    Operation::nth(SEED, 0, number)
}

fn after(operations: &[Operation]) -> State {
    let mut model = model::Model::default();
    operations.iter().for_each(|operation| model.run(operation));
    model.state()
}
