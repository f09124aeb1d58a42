//! Changes of what a query selects: one transaction each, of one snapshot, that no other one has overtaken.
//!
//! Conditions on fields are asked here, not by the server. So their rows are read in the transaction that changes them, piece
//! by piece, and those of which the conditions are true are changed behind each piece. As `REPEATABLE READ`, the server
//! refuses to change a row that somebody else has changed since the snapshot (SQLSTATE 40001), and all is asked anew:
//! what is changed is what the conditions are true of when it is. `SELECT … FOR UPDATE` would do the same, but writes a
//! lock into every row that is only asked, and waits for whoever changes one of them.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::IsolationLevel;

use super::failure::Failure;
use super::row;
use super::sql::{Change, Selected, Statement};
use super::stream::{FIRST_ROWS, next_rows_max};
use crate::error::Result;
use crate::query::Query;
use crate::sample::Sample;

/// A change, and of what.
pub(super) enum Changing {
    /// The server knows all of it.
    Whole(Statement),
    /// It knows the candidates.
    Asked {
        candidates: Statement,
        query: Box<Query>,
        schema: String,
        change: Change,
    },
}

impl Changing {
    pub(super) fn new(
        schema: &str,
        selected: &Selected<'_>,
        query: &Query,
        change: Change,
    ) -> Self {
        match query.conditions() {
            [] => Self::Whole(selected.change(change)),
            _ => Self::Asked {
                candidates: selected.candidates(),
                query: Box::new(query.clone()),
                schema: schema.to_owned(),
                change,
            },
        }
    }

    /// Does it, and says how many rows it met.
    pub(super) async fn run(&self, client: &mut Object) -> Result<u64, Failure> {
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await?;
        let changed = match self {
            Self::Whole(statement) => execute(&transaction, statement).await?,
            Self::Asked {
                candidates,
                query,
                schema,
                change,
            } => ask(&transaction, candidates, query, schema, *change).await?,
        };
        transaction.commit().await?;
        Ok(changed)
    }
}

/// Changes those of the candidates of which the conditions are true, up to the limit.
async fn ask(
    transaction: &Transaction<'_>,
    candidates: &Statement,
    query: &Query,
    schema: &str,
    change: Change,
) -> Result<u64, Failure> {
    let mut left = query.limit_max().unwrap_or(u64::MAX);
    let mut changed = 0;
    let prepared = transaction.prepare_cached(&candidates.text).await?;
    let portal = transaction
        .bind(&prepared, &candidates.parameters())
        .await?;
    let mut rows_max = FIRST_ROWS;
    while left > 0 {
        let rows = transaction.query_portal(&portal, rows_max).await?;
        let is_last = rows.len() < rows_max as usize;
        let mut bytes = 0;
        let mut met = Vec::new();
        for row in &rows {
            let found = row::read(row)?;
            bytes += found.bytes;
            if left > 0 && query.conditions_match(&found.sample)? {
                left -= 1;
                met.push(found.sample);
            }
        }
        if !met.is_empty() {
            let ids = met.iter().map(Sample::id);
            changed += execute(transaction, &change.of_ids(schema, ids)).await?;
        }
        if is_last {
            break;
        }
        rows_max = next_rows_max(rows_max, rows.len(), bytes);
    }
    Ok(changed)
}

async fn execute(transaction: &Transaction<'_>, statement: &Statement) -> Result<u64, Failure> {
    let prepared = transaction.prepare_cached(&statement.text).await?;
    let parameters = statement.parameters();
    Ok(transaction.execute(&prepared, &parameters).await?)
}
