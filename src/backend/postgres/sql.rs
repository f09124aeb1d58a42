//! Queries as SQL. Pure: nothing here knows a connection.
//!
//! A statement names only what a query asks for, so that the server's planner sees which index fits; of
//! values there are parameters alone. Which ones are there makes the text, so that a connection prepares
//! few statements and each of them once.

use std::fmt::Write;

use tokio_postgres::types::ToSql;

use super::text::escape;
use crate::error::Result;
use crate::query::{Order, Query};
use crate::sample::Status;
use crate::storage::{Position, decode_position};

pub(super) type Parameter = Box<dyn ToSql + Send + Sync>;

/// The columns of a sample, as `row.rs` reads them.
const COLUMNS: &str =
    "id, pipeline, status, created_at_us, measured_at_us, data, measurements, reason, rank";

/// A statement and its parameters.
#[derive(Default)]
pub(super) struct Statement {
    pub(super) text: String,
    parameters: Vec<Parameter>,
}

impl Statement {
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let parameters = self.parameters.iter();
        parameters
            .map(|parameter| &**parameter as &(dyn ToSql + Sync))
            .collect()
    }

    fn write(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Writes the place of a parameter.
    fn bind(&mut self, parameter: impl ToSql + Send + Sync + 'static) {
        self.parameters.push(Box::new(parameter));
        // Writing to a string does not fail.
        let _ = write!(self.text, "${}", self.parameters.len());
    }
}

/// What is done to rows.
#[derive(Clone, Copy)]
pub(super) enum Change {
    To(Status),
    Removal,
}

impl Change {
    /// Does it to the rows of these ids.
    pub(super) fn of_ids<'a>(self, schema: &str, ids: impl Iterator<Item = &'a str>) -> Statement {
        let mut statement = self.begin(schema);
        statement.write(" WHERE id = ANY (");
        let ids = ids.map(|id| escape(id).into_owned());
        statement.bind(ids.collect::<Vec<_>>());
        statement.write(")");
        statement
    }

    /// The statement without its condition.
    fn begin(self, schema: &str) -> Statement {
        let mut statement = Statement::default();
        match self {
            Self::To(status) => {
                statement.write("UPDATE ");
                statement.write(schema);
                statement.write(".samples SET status = ");
                statement.bind(status.as_str());
            }
            Self::Removal => {
                statement.write("DELETE FROM ");
                statement.write(schema);
                statement.write(".samples");
            }
        }
        statement
    }
}

/// A query on the samples of one schema.
pub(super) struct Selected<'a> {
    /// Quoted.
    schema: &'a str,
    query: &'a Query,
    /// Behind which place it goes on.
    start: Option<(i64, i64)>,
    /// One more filter, which a cursor's query need not have.
    from: Option<Status>,
}

impl<'a> Selected<'a> {
    /// Reads the query's cursor, which must belong to the schema of this identity.
    pub(super) fn new(schema: &'a str, identity: u64, query: &'a Query) -> Result<Self> {
        let start = query.start().map(|cursor| {
            let (micros, rank): Position = decode_position(&cursor.position(identity, query)?)?;
            Ok((micros, i64::try_from(rank).unwrap_or(i64::MAX)))
        });
        Ok(Self {
            schema,
            query,
            start: start.transpose()?,
            from: None,
        })
    }

    /// Only those in this status.
    pub(super) fn in_status(mut self, from: Option<Status>) -> Self {
        self.from = from;
        self
    }

    /// Samples in order, at most so many.
    pub(super) fn rows(&self, limit: Option<u64>) -> Statement {
        let mut statement = Statement::default();
        self.select(&mut statement, COLUMNS, limit, true);
        statement
    }

    pub(super) fn count(&self) -> Statement {
        let mut statement = Statement::default();
        match self.query.limit_max() {
            None => self.select(&mut statement, "count(*)", None, false),
            limit => {
                statement.write("SELECT count(*) FROM (");
                self.select(&mut statement, "1", limit, false);
                statement.write(") AS selected");
            }
        }
        statement
    }

    pub(super) fn facets(&self) -> Statement {
        let mut statement = Statement::default();
        let limit = self.query.limit_max();
        statement.write("SELECT pipeline, status, count(*) FROM (");
        self.select(&mut statement, "pipeline, status", limit, limit.is_some());
        statement.write(") AS selected GROUP BY pipeline, status");
        statement
    }

    /// Does a change to all that is selected.
    pub(super) fn change(&self, change: Change) -> Statement {
        let mut statement = change.begin(self.schema);
        self.whole_selection(&mut statement);
        statement
    }

    /// Locks all that is selected in the order of ids, in which stores take rows too. Each lock costs a write.
    pub(super) fn lock_in_order(&self) -> Statement {
        let mut statement = Statement::default();
        statement.write("SELECT count(*) FROM (");
        self.select(&mut statement, "id", None, false);
        statement.write(" ORDER BY id FOR UPDATE) AS locked");
        statement
    }

    /// The rows of which conditions are asked before they are changed: in the query's order where a limit counts, and else
    /// in the order of ids, in which stores take rows too.
    pub(super) fn candidates(&self) -> Statement {
        if self.query.limit_max().is_some() {
            return self.rows(None);
        }
        let mut statement = Statement::default();
        self.select(&mut statement, COLUMNS, None, false);
        statement.write(" ORDER BY id");
        statement
    }

    fn table(&self, statement: &mut Statement) {
        statement.write(self.schema);
        statement.write(".samples");
    }

    /// The condition of a change, limit and order counted in.
    fn whole_selection(&self, statement: &mut Statement) {
        match self.query.limit_max() {
            None => self.filter(statement),
            limit => {
                statement.write(" WHERE id IN (");
                self.select(statement, "id", limit, true);
                statement.write(")");
            }
        }
    }

    fn select(&self, statement: &mut Statement, what: &str, limit: Option<u64>, ordered: bool) {
        statement.write("SELECT ");
        statement.write(what);
        statement.write(" FROM ");
        self.table(statement);
        self.filter(statement);
        if ordered {
            statement.write(match self.query.sort_order() {
                Order::Oldest => " ORDER BY created_at_us, rank",
                Order::Newest => " ORDER BY created_at_us DESC, rank DESC",
            });
        }
        if let Some(limit) = limit {
            statement.write(" LIMIT ");
            statement.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        }
    }

    fn filter(&self, statement: &mut Statement) {
        let mut before = " WHERE ";
        let mut next = |statement: &mut Statement| {
            statement.write(before);
            before = " AND ";
        };
        let texts = |texts: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            texts.map(|text| escape(text).into_owned()).collect()
        };
        let query = self.query;
        if let Some(ids) = query.id_set() {
            next(statement);
            one_of(statement, "id", texts(&mut ids.iter().map(String::as_str)));
        }
        if !query.pipelines().is_empty() {
            next(statement);
            let pipelines = &mut query.pipelines().iter().map(String::as_str);
            one_of(statement, "pipeline", texts(pipelines));
        }
        if !query.statuses().is_empty() {
            next(statement);
            let statuses = &mut query.statuses().iter().map(|status| status.as_str());
            one_of(statement, "status", texts(statuses));
        }
        if let Some(from) = self.from {
            next(statement);
            one_of(statement, "status", vec![from.as_str().to_owned()]);
        }
        let range = query.time_range();
        if range.first > i64::MIN {
            next(statement);
            statement.write("created_at_us >= ");
            statement.bind(range.first);
        }
        if range.last < i64::MAX {
            next(statement);
            statement.write("created_at_us <= ");
            statement.bind(range.last);
        }
        if let Some((micros, rank)) = self.start {
            next(statement);
            statement.write(match query.sort_order() {
                Order::Oldest => "(created_at_us, rank) > (",
                Order::Newest => "(created_at_us, rank) < (",
            });
            statement.bind(micros);
            statement.write(", ");
            statement.bind(rank);
            statement.write(")");
        }
    }
}

/// `column = $1` of one value, by which an index gives rows in order; `column = ANY ($1)` of more or none.
fn one_of(statement: &mut Statement, column: &str, mut values: Vec<String>) {
    statement.write(column);
    match (values.pop(), values.is_empty()) {
        (Some(only), true) => {
            statement.write(" = ");
            statement.bind(only);
        }
        (last, _) => {
            values.extend(last);
            statement.write(" = ANY (");
            statement.bind(values);
            statement.write(")");
        }
    }
}

/// The upsert of many samples; parameters are the columns as arrays, in this order: ids, pipelines,
/// statuses, instants of creation and of measurement, data, measurements, reasons. Gives for each sample
/// how often it was replaced.
///
/// Ranks are drawn in the order of the batch, and rows are written in the order of ids, so that
/// transactions that write the same ids wait for one another and never in a circle.
pub(super) fn upsert(schema: &str) -> String {
    format!(
        r#"INSERT INTO {schema}.samples AS stored
            (id, rank, pipeline, status, created_at_us, measured_at_us, data, measurements, reason)
        SELECT id, rank, pipeline, status, created_at_us, measured_at_us, data, measurements, reason
        FROM (
            SELECT nextval('{sequence}') AS rank, batch.*
            FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::jsonb[], $7::jsonb[], $8::jsonb[])
                WITH ORDINALITY
                AS batch (id, pipeline, status, created_at_us, measured_at_us, data, measurements, reason, place)
            ORDER BY place
        ) AS ranked
        ORDER BY id COLLATE "C"
        ON CONFLICT (id) DO UPDATE SET
            pipeline = excluded.pipeline,
            status = excluded.status,
            created_at_us = excluded.created_at_us,
            measured_at_us = excluded.measured_at_us,
            data = excluded.data,
            measurements = excluded.measurements,
            reason = excluded.reason,
            replacements = stored.replacements + 1
        RETURNING replacements"#,
        sequence = format!("{schema}.samples_rank").replace('\'', "''"),
    )
}
