//! Changes of what a query selects, one transaction each.
//!
//! What the server knows whole, without a limit, is one statement as `READ COMMITTED`: where somebody else changes a row, the
//! server waits, and asks the filters of its newest version. Rows are taken as the server comes upon them, and stores take
//! them in the order of ids; where they wait for one another in a circle, the next attempt locks all in the order of ids first.
//!
//! With a limit or conditions on fields what is changed depends on other rows than itself, or is asked here. That is one
//! snapshot that no other transaction has overtaken: as `REPEATABLE READ`, the server refuses to change a row that
//! somebody else has changed since the snapshot (SQLSTATE 40001), and all is asked anew. Rows of which conditions are asked are
//! read in the transaction that changes them, piece by piece, and those of which the conditions are true are changed behind
//! each piece. `SELECT … FOR UPDATE` would do the same, but writes a lock into every row that is only asked, and waits
//! for whoever changes one of them.

use std::pin::pin;

use deadpool_postgres::{Object, Transaction};
use futures_util::TryStreamExt;
use tokio_postgres::IsolationLevel::{self, ReadCommitted, RepeatableRead};

use super::failure::Failure;
use super::patience::Bound;
use super::row;
use super::sql::{Change, Selected, Statement};
use super::stream::{FIRST_ROWS, next_rows_max};
use crate::error::Result;
use crate::query::Query;

/// A change, and of what.
pub(super) enum Changing {
    /// Each row by itself.
    Each {
        statement: Statement,
        locking: Statement,
    },
    /// The first of them, which the server knows.
    Limited(Statement),
    /// The server knows the candidates.
    Asked(Asked),
}

pub(super) struct Asked {
    candidates: Statement,
    query: Box<Query>,
    schema: String,
    change: Change,
}

impl Changing {
    pub(super) fn new(
        schema: &str,
        selected: &Selected<'_>,
        query: &Query,
        change: Change,
    ) -> Self {
        match (query.conditions(), query.limit_max()) {
            ([], None) => Self::Each {
                statement: selected.change(change),
                locking: selected.lock_in_order(),
            },
            ([], Some(_)) => Self::Limited(selected.change(change)),
            _ => Self::Asked(Asked {
                candidates: selected.candidates(),
                query: Box::new(query.clone()),
                schema: schema.to_owned(),
                change,
            }),
        }
    }

    fn isolation(&self) -> IsolationLevel {
        match self {
            Self::Each { .. } => ReadCommitted,
            Self::Limited(_) | Self::Asked(_) => RepeatableRead,
        }
    }

    /// Does it after so many attempts that others were in the way of, and says how many rows it met.
    pub(super) async fn run(
        &self,
        client: &mut Object,
        bound: Bound,
        attempts: u32,
    ) -> Result<u64, Failure> {
        let begin = client.build_transaction().isolation_level(self.isolation());
        let transaction = bound.wait(begin.start()).await?;
        let changed = match self {
            Self::Each { statement, locking } => {
                if attempts > 0 {
                    execute(&transaction, bound, locking).await?;
                }
                execute(&transaction, bound, statement).await?
            }
            Self::Limited(statement) => execute(&transaction, bound, statement).await?,
            Self::Asked(asked) => asked.run(&transaction, bound).await?,
        };
        let committed = bound.wait(transaction.commit()).await;
        committed.map_err(Failure::of_commit)?;
        Ok(changed)
    }
}

impl Asked {
    /// Changes those of the candidates of which the conditions are true, up to the limit.
    async fn run(&self, transaction: &Transaction<'_>, bound: Bound) -> Result<u64, Failure> {
        let mut left = self.query.limit_max().unwrap_or(u64::MAX);
        let mut changed = 0;
        let prepared = transaction.prepare_cached(&self.candidates.text);
        let prepared = bound.wait(prepared).await?;
        let parameters = self.candidates.parameters();
        let portal = bound.wait(transaction.bind(&prepared, &parameters)).await?;
        let mut rows_max = FIRST_ROWS;
        while left > 0 {
            let rows = transaction.query_portal_raw(&portal, rows_max);
            let mut rows = pin!(bound.wait(rows).await?);
            let (mut count, mut bytes) = (0, 0);
            // Of each row no more than its id is kept: rows may be larger than those before.
            let mut met = Vec::new();
            while let Some(row) = bound.wait(rows.try_next()).await? {
                let found = row::read(&row)?;
                count += 1;
                bytes += found.bytes;
                if left > 0 && self.query.conditions_match(&found.sample)? {
                    left -= 1;
                    met.push(found.sample.id().to_owned());
                }
            }
            let is_last = count < rows_max as usize;
            if !met.is_empty() {
                let ids = met.iter().map(String::as_str);
                let of_ids = self.change.of_ids(&self.schema, ids);
                changed += execute(transaction, bound, &of_ids).await?;
            }
            if is_last {
                break;
            }
            rows_max = next_rows_max(rows_max, count, bytes);
        }
        Ok(changed)
    }
}

async fn execute(
    transaction: &Transaction<'_>,
    bound: Bound,
    statement: &Statement,
) -> Result<u64, Failure> {
    let answer = async {
        let prepared = transaction.prepare_cached(&statement.text).await?;
        transaction
            .execute(&prepared, &statement.parameters())
            .await
    };
    bound.wait(answer).await
}
