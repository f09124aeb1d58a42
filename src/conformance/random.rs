//! Random operations on the storage and on a `MemoryStorage`: every answer must be the same.
//!
//! Each rule has its own questions, asked after the same kind of history, so that a failure names the
//! rule.

use super::case::{
    Case, Failure, Need, Opened, Trial, Verdict, case, ensure, ensure_eq, same_samples,
};
use super::make::Random;
use crate::memory::MemoryStorage;
use crate::query::{Order, Query, Selection};
use crate::sample::Sample;
use crate::storage::Storage;

use Need::Query as Queries;

pub(super) const CASES: &[Case] = &[
    case(
        "W2",
        "a random history leaves what it leaves in memory",
        &[Queries],
        histories_agree,
    ),
    case(
        "R2",
        "random filters find what they find in memory",
        &[Queries],
        filters_agree,
    ),
    case(
        "R4",
        "both orders are those in memory",
        &[Queries],
        orders_agree,
    ),
    case(
        "R5",
        "limits cut where they cut in memory",
        &[Queries],
        limits_agree,
    ),
    case(
        "R6",
        "walks by pages go as in memory",
        &[Queries],
        pages_agree,
    ),
    case(
        "R7",
        "iterators give what lists give in memory",
        &[Queries],
        iterators_agree,
    ),
    case(
        "R8",
        "counts and facets are those in memory",
        &[Queries],
        counts_agree,
    ),
];

const OPERATIONS_BEFORE_QUERIES: usize = 40;

/// The storage, the one in memory that it is compared with, and the source of what they are asked.
struct Pair {
    tested: Opened,
    memory: MemoryStorage,
    random: Random,
    deletes: bool,
    sets_status: bool,
}

impl Pair {
    fn new(trial: &Trial<'_>, theme: u64) -> Verdict<Self> {
        Ok(Self {
            tested: trial.open()?,
            memory: MemoryStorage::with_sample_bytes_max(trial.capabilities.sample_bytes_max),
            random: Random::new(trial.seed ^ theme),
            deletes: trial.capabilities.delete,
            sets_status: trial.capabilities.set_status,
        })
    }

    /// A pair with a history.
    fn with_history(trial: &Trial<'_>, theme: u64) -> Verdict<Self> {
        let mut pair = Self::new(trial, theme)?;
        for number in 0..OPERATIONS_BEFORE_QUERIES {
            pair.operate(number)?;
        }
        Ok(pair)
    }

    /// Does the same to both.
    fn operate(&mut self, number: usize) -> Verdict {
        match self.random.below(10) {
            0 | 1 if self.sets_status => {
                let selection = self.selection();
                let from = self.random.one_in(2).then(|| self.random.status());
                let to = self.random.status();
                let moved = self.tested.set_status(&selection, from, to)?;
                let expected = self.memory.set_status(&selection, from, to)?;
                ensure_eq!(
                    moved,
                    expected,
                    "operation {number}, {selection:?} from {from:?} to {to}"
                );
            }
            2 | 3 if self.deletes => {
                let selection = self.selection();
                let deleted = self.tested.delete(&selection)?;
                let expected = self.memory.delete(&selection)?;
                ensure_eq!(
                    deleted,
                    expected,
                    "operation {number}, delete of {selection:?}"
                );
            }
            _ => {
                // Some ids come twice in a batch, most are known already, some were deleted before.
                let size = self.random.below(20);
                let batch = (0..size)
                    .map(|_| self.random.sample())
                    .collect::<Verdict<Vec<_>>>()?;
                let report = self.tested.store(&batch)?;
                let expected = self.memory.store(&batch)?;
                ensure_eq!(report, expected, "operation {number}, a store of {size}");
            }
        }
        Ok(())
    }

    /// A few ids, or a query of few samples: most of them should live on.
    fn selection(&mut self) -> Selection {
        if self.random.one_in(2) {
            return Selection::ids(
                (0..self.random.below(6))
                    .map(|_| self.random.id())
                    .collect::<Vec<_>>(),
            );
        }
        let limit = self.random.below(5);
        Selection::from(self.random.query().limit(limit))
    }

    /// Compares what both list.
    fn agree(&self, query: &Query, what: &str) -> Verdict {
        let (found, expected) = (self.tested.list(query)?, self.memory.list(query)?);
        same_samples(
            &found.samples,
            &expected.samples,
            &format!("{what}, `{query}`"),
        )
    }
}

fn histories_agree(trial: &Trial<'_>) -> Verdict {
    let mut pair = Pair::new(trial, 0x01)?;
    for number in 0..trial.questions.div_ceil(4) * 5 {
        pair.operate(number)?;
        if number % 4 == 0 {
            pair.agree(&Query::new(), &format!("after operation {number}"))?;
        }
        let query = pair.random.query();
        pair.agree(&query, &format!("after operation {number}"))?;
        if trial.capabilities.retrieve {
            let id = pair.random.id();
            let (found, expected) = (pair.tested.retrieve(&id)?, pair.memory.retrieve(&id)?);
            ensure_eq!(
                found,
                expected,
                "after operation {number}, retrieve of {id:?}"
            );
        }
    }
    Ok(())
}

fn filters_agree(trial: &Trial<'_>) -> Verdict {
    let mut pair = Pair::with_history(trial, 0x02)?;
    for _ in 0..trial.questions {
        let query = pair.random.query();
        pair.agree(&query, "list")?;
    }
    Ok(())
}

fn orders_agree(trial: &Trial<'_>) -> Verdict {
    let mut pair = Pair::with_history(trial, 0x04)?;
    for _ in 0..trial.questions.div_ceil(4) {
        let query = pair.random.query();
        for order in [Order::Oldest, Order::Newest] {
            pair.agree(&query.clone().order(order), "list")?;
        }
        let mut found = pair
            .tested
            .list(&query.clone().order(Order::Oldest))?
            .samples;
        found.reverse();
        let newest = pair.tested.list(&query.order(Order::Newest))?.samples;
        same_samples(&newest, &found, "newest first beside oldest first reversed")?;
    }
    Ok(())
}

fn limits_agree(trial: &Trial<'_>) -> Verdict {
    let mut pair = Pair::with_history(trial, 0x05)?;
    for _ in 0..trial.questions.div_ceil(4) {
        let query = pair.random.query();
        let some = pair.random.below(12);
        for limit in [0, 1, some, 1_000] {
            pair.agree(&query.clone().limit(limit), "list")?;
        }
    }
    Ok(())
}

fn pages_agree(trial: &Trial<'_>) -> Verdict {
    let mut pair = Pair::with_history(trial, 0x06)?;
    for _ in 0..trial.questions.div_ceil(4) {
        let (query, limit) = (pair.random.query(), 1 + pair.random.below(8));
        let mut tested = query.clone().limit(limit);
        let mut memory = tested.clone();
        loop {
            let (found, expected) = (pair.tested.list(&tested)?, pair.memory.list(&memory)?);
            let what = format!("a page of {limit} of `{query}`");
            same_samples(&found.samples, &expected.samples, &what)?;
            match (found.next, expected.next) {
                (Some(found), Some(expected)) => {
                    tested = tested.cursor(found);
                    memory = memory.cursor(expected);
                }
                (None, Some(_)) => {
                    return Err(Failure::new(format!("{what}: no cursor, but more follow")));
                }
                // That more may follow can be wrong after a full page; the next one must be the end.
                (Some(cursor), None) => {
                    let page = pair.tested.list(&tested.cursor(cursor))?;
                    same_samples(&page.samples, &[], &format!("{what}: behind the end"))?;
                    ensure_eq!(page.next, None, "{what}: cursor behind the end");
                    break;
                }
                (None, None) => break,
            }
        }
    }
    Ok(())
}

fn iterators_agree(trial: &Trial<'_>) -> Verdict {
    let mut pair = Pair::with_history(trial, 0x07)?;
    for _ in 0..trial.questions {
        let mut query = pair.random.query();
        if pair.random.one_in(3) {
            query = query.limit(pair.random.below(9));
        }
        let found: Vec<Sample> = pair.tested.iterate(&query)?.collect::<Result<_, _>>()?;
        let expected = pair.memory.list(&query)?.samples;
        same_samples(&found, &expected, &format!("iterate of `{query}`"))?;
    }
    Ok(())
}

fn counts_agree(trial: &Trial<'_>) -> Verdict {
    let mut pair = Pair::with_history(trial, 0x08)?;
    for _ in 0..trial.questions {
        let query = pair.random.query();
        let (mut tested, mut memory) = (query.clone(), query.clone());
        if pair.random.one_in(3) {
            let first = query.limit(1 + pair.random.below(4));
            let cursors = (
                pair.tested.list(&first)?.next,
                pair.memory.list(&first)?.next,
            );
            if let (Some(found), Some(expected)) = cursors {
                tested = tested.cursor(found);
                memory = memory.cursor(expected);
            }
        }
        if pair.random.one_in(2) {
            let limit = pair.random.below(9);
            tested = tested.limit(limit);
            memory = memory.limit(limit);
        }
        ensure_eq!(
            pair.tested.count(&tested)?,
            pair.memory.count(&memory)?,
            "count of `{tested}`"
        );
        ensure_eq!(
            pair.tested.facets(&tested)?,
            pair.memory.facets(&memory)?,
            "facets of `{tested}`"
        );
    }
    Ok(())
}
