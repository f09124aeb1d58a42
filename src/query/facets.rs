//! [`Facets`]: exact counts per pipeline, per status and per both (rule R8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sample::Status;

/// How many samples one pipeline has in one status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facet {
    /// The pipeline.
    pub pipeline: String,
    /// The status.
    pub status: Status,
    /// How many; never 0.
    pub count: u64,
}

/// Exact counts per pipeline and status. Pairs that no sample has are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    counts: BTreeMap<String, [u64; 6]>,
}

impl Facets {
    pub(super) const EMPTY: Self = Self {
        counts: BTreeMap::new(),
    };

    /// Counts nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `count` samples of this pipeline and status.
    pub fn add(&mut self, pipeline: &str, status: Status, count: u64) {
        if count == 0 {
            return;
        }
        match self.counts.get_mut(pipeline) {
            Some(counts) => counts[status.index()] += count,
            None => {
                let mut counts = [0; 6];
                counts[status.index()] = count;
                self.counts.insert(pipeline.to_owned(), counts);
            }
        }
    }

    /// How many samples there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().flatten().sum()
    }

    /// How many this pipeline has in this status.
    #[must_use]
    pub fn get(&self, pipeline: &str, status: Status) -> u64 {
        self.counts
            .get(pipeline)
            .map_or(0, |counts| counts[status.index()])
    }

    /// How many each pipeline has, by name.
    #[must_use]
    pub fn by_pipeline(&self) -> BTreeMap<&str, u64> {
        self.counts
            .iter()
            .map(|(pipeline, counts)| (pipeline.as_str(), counts.iter().sum()))
            .collect()
    }

    /// How many are in each status, statuses without any left out.
    #[must_use]
    pub fn by_status(&self) -> BTreeMap<Status, u64> {
        Status::ALL
            .into_iter()
            .map(|status| {
                let count = self.counts.values().map(|counts| counts[status.index()]);
                (status, count.sum())
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The counts one by one, by pipeline name and then by status.
    pub fn iter(&self) -> impl Iterator<Item = Facet> + '_ {
        self.counts.iter().flat_map(|(pipeline, counts)| {
            Status::ALL
                .into_iter()
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .map(|(status, count)| Facet {
                    pipeline: pipeline.clone(),
                    status,
                    count: *count,
                })
        })
    }
}
