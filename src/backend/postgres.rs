//! `postgres`: samples in a table of a PostgreSQL server, by the crates `tokio-postgres` and
//! `deadpool-postgres`.
//!
//! Here stands what a storage does, as transactions. `postgres/config.rs` reads the URL,
//! `service_file.rs` and `password_file.rs` what libpq has in files, and `tls.rs` certificates; `connect.rs` goes from server to server; `schema.rs` has the tables; `sql.rs`
//! makes statements, `change.rs` does those that change what a query selects; `row.rs`, `json.rs` and `text.rs` put samples into columns; `stream.rs` iterates;
//! `failure.rs` says what an error means.
//!
//! Reads are one statement each, which sees one snapshot. A store is one statement too, in one round trip,
//! unless the batch is larger than a message should be. Moves and deletions are in `change.rs`. Where two transactions
//! are in each other's way the server undoes one, which begins again here; what else may pass is an error that is worth
//! another attempt. `patience.rs` says how long anything is waited for.

mod change;
mod config;
mod connect;
mod failure;
mod json;
mod password_file;
mod patience;
mod row;
mod schema;
mod service_file;
mod sql;
mod stream;
mod text;
mod tls;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::Row;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::runtime::wait;
use super::{Backend, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Cursor, Facets, Page, Query, Selection};
use crate::sample::{SAMPLE_BYTES_MAX, Sample, Status};
use crate::storage::{Capabilities, Samples, Storage, StoreReport, check_batch, encode_position};
use change::Changing;
use config::Settings;
use connect::Connector;
use failure::Failure;
use patience::{Bound, hand_back, undisturbed};
use row::{Columns, Found};
use sql::{Change, Selected, Statement};
use stream::Stream;

/// `postgres://…` and `postgresql://…`.
pub(super) const POSTGRES: Backend = Backend {
    options: config::OPTIONS,
    open: |location| Ok(Box::new(Postgres::open(location)?)),
};

const OPEN: &str = "connect to a server";

/// Samples in a PostgreSQL server.
struct Postgres {
    shared: Arc<Shared>,
}

/// What handles and iterators share.
struct Shared {
    pool: Pool,
    /// For cancellations, which have connections of their own.
    tls: MakeRustlsConnect,
    bound: Bound,
    /// Quoted.
    schema: String,
    identity: u64,
    /// The server and the database, for errors.
    shown: String,
    is_closed: RwLock<bool>,
}

impl Shared {
    fn check_open(&self, operation: &'static str) -> Result<()> {
        self.enter(operation).map(drop)
    }

    /// Keeps the storage open for as long as the guard lives.
    fn enter(&self, operation: &'static str) -> Result<RwLockReadGuard<'_, bool>> {
        let is_closed = self
            .is_closed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match *is_closed {
            true => Err(Error::closed(operation)),
            false => Ok(is_closed),
        }
    }

    /// The rows of a statement.
    async fn query(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let client = self.pool.get().await?;
        let asking = async {
            let prepared = client.prepare_cached(&statement.text).await?;
            client.query(&prepared, &statement.parameters()).await
        };
        let answer = self.bound.wait(asking).await;
        hand_back(client, &self.tls, answer)
    }

    /// Stores samples that have different ids, all or none, and says how many were new.
    async fn upsert(&self, parts: &[Columns]) -> Result<u64, Failure> {
        let mut client = self.pool.get().await?;
        let text = sql::upsert(&self.schema);
        let answer = upsert(&mut client, self.bound, &text, parts).await;
        hand_back(client, &self.tls, answer)
    }

    /// Does a change after so many attempts, and says how many rows it met.
    async fn change(&self, changing: &Changing, attempts: u32) -> Result<u64, Failure> {
        let mut client = self.pool.get().await?;
        let answer = changing.run(&mut client, self.bound, attempts).await;
        hand_back(client, &self.tls, answer)
    }
}

async fn upsert(
    client: &mut Object,
    bound: Bound,
    text: &str,
    parts: &[Columns],
) -> Result<u64, Failure> {
    let statement = bound.wait(client.prepare_cached(text)).await?;
    if let [part] = parts {
        let parameters = part.parameters();
        return count_new(&bound.wait(client.query(&statement, &parameters)).await?);
    }
    let mut inserted = 0;
    let transaction = bound.wait(client.transaction()).await?;
    for part in parts {
        let parameters = part.parameters();
        let stored = transaction.query(&statement, &parameters);
        inserted += count_new(&bound.wait(stored).await?)?;
    }
    bound.wait(transaction.commit()).await?;
    Ok(inserted)
}

/// How many of the rows that an upsert gives are new.
fn count_new(rows: &[Row]) -> Result<u64, Failure> {
    let mut inserted = 0;
    for row in rows {
        inserted += u64::from(row.try_get::<_, i64>(0)? == 0);
    }
    Ok(inserted)
}

fn limit_of(query: &Query) -> usize {
    let limit = query.limit_max();
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

impl Postgres {
    fn open(location: &Location) -> Result<Self> {
        let settings = Settings::read(location, |name| std::env::var(name).ok())?;
        let recycling_method = RecyclingMethod::Fast;
        let (tls, key_passed_over) = settings.tls.connector()?;
        let connector = Connector {
            client: settings.client,
            servers: settings.servers,
            tls: tls.clone(),
            timeout: settings.timeout,
        };
        let manager = Manager::from_connect(
            connector.client.clone(),
            connector,
            ManagerConfig { recycling_method },
        );
        // How long a connection may take to be made is bounded in there.
        let pool = Pool::builder(manager)
            .max_size(settings.connections_max)
            .wait_timeout(Some(settings.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|cause| Error::new(ErrorKind::Backend, OPEN).with_cause(cause))?;
        let allowed = schema::Allowed {
            create: settings.create,
            migrate: settings.migrate,
        };
        let (opened, name, shown) = (pool.clone(), settings.schema.clone(), settings.shown);
        let missing: Vec<_> = [settings.password_missing, key_passed_over]
            .into_iter()
            .flatten()
            .collect();
        let (bound, cancelling) = (settings.bound, tls.clone());
        let (identity, shown) = wait(OPEN, location, async move {
            let opening = async {
                let mut client = opened.get().await?;
                let opening = schema::open(&mut client, &shown, &name, allowed);
                let answer = bound.wait(opening).await;
                hand_back(client, &cancelling, answer)
            };
            match opening.await {
                Ok(identity) => Ok((identity, shown)),
                Err(failure) if failure.is_of_login() && !missing.is_empty() => {
                    let why = missing.join("; ");
                    Err(failure.into_error(OPEN, &shown).with_message(why))
                }
                Err(failure) => Err(failure.into_error(OPEN, &shown)),
            }
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                pool,
                tls,
                bound,
                schema: schema::quoted(&settings.schema),
                identity,
                shown,
                is_closed: RwLock::new(false),
            }),
        })
    }

    fn selected<'a>(&'a self, query: &'a Query) -> Result<Selected<'a>> {
        Selected::new(&self.shared.schema, self.shared.identity, query)
    }

    /// What the filters leave and the conditions are true of, in order, limit left aside: conditions on fields are
    /// asked here, of every row that the server's indexes leave.
    fn matching(
        &self,
        operation: &'static str,
        query: &Query,
        from: Option<Status>,
    ) -> Result<impl Iterator<Item = Result<Found>> + use<>> {
        let statement = self.selected(query)?.in_status(from).rows(None);
        let stream = Stream::open(operation, &self.shared, statement)?;
        let query = query.clone();
        Ok(stream.filter_map(move |found| match found {
            Ok(found) => match query.conditions_match(&found.sample) {
                Ok(is_true) => is_true.then_some(Ok(found)),
                Err(error) => Some(Err(error)),
            },
            Err(error) => Some(Err(error)),
        }))
    }

    /// The rows of a statement, each as `read` has it.
    fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        statement: Statement,
        read: impl Fn(&Row) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Vec<T>> {
        let shared = Arc::clone(&self.shared);
        wait(operation, &self.shared.shown, async move {
            let reading = async {
                let rows = shared.query(&statement).await?;
                rows.iter().map(read).collect::<Result<Vec<_>, Failure>>()
            };
            reading
                .await
                .map_err(|failure| failure.into_error(operation, &shared.shown))
        })
    }

    /// Changes what is selected, in one status if one is given. With a limit it is not done again when there is no answer to its
    /// commit: nobody knows whether it was done, and the second time it would meet others.
    fn change(
        &self,
        operation: &'static str,
        selection: &Selection,
        from: Option<Status>,
        change: Change,
    ) -> Result<u64> {
        let query = selection.to_query();
        let is_repeatable = query.limit_max().is_none();
        let selected = self.selected(&query)?.in_status(from);
        let changing = Changing::new(&self.shared.schema, &selected, &query, change);
        let shared = Arc::clone(&self.shared);
        wait(operation, &self.shared.shown, async move {
            let attempt = async |attempts| match shared.change(&changing, attempts).await {
                Err(failure) if failure.is_unknown() && !is_repeatable => {
                    let lost = failure.into_error(operation, &shared.shown);
                    Err(Error::new(ErrorKind::OutcomeUnknown, operation)
                        .with_subject(&shared.shown)
                        .with_message(
                            "there is no answer to it; doing it again may do it to other samples",
                        )
                        .with_cause(lost)
                        .into())
                }
                other => other,
            };
            undisturbed(operation, &shared, attempt).await
        })
    }
}

impl Storage for Postgres {
    fn capabilities(&self) -> Capabilities {
        Capabilities::full("postgres")
    }

    fn store(&self, batch: &[Sample]) -> Result<StoreReport> {
        const OPERATION: &str = "store a batch";
        let _open = self.shared.enter(OPERATION)?;
        check_batch(batch, SAMPLE_BYTES_MAX)?;
        if batch.is_empty() {
            return Ok(StoreReport::default());
        }
        let parts = Columns::of_batch(batch)?;
        let shared = Arc::clone(&self.shared);
        let inserted = wait(OPERATION, &self.shared.shown, async move {
            undisturbed(OPERATION, &shared, |_| shared.upsert(&parts)).await
        })?;
        Ok(StoreReport::new(inserted, batch.len() as u64 - inserted))
    }

    fn flush(&self) -> Result<()> {
        self.shared.check_open("flush")
    }

    fn close(&self) -> Result<()> {
        let is_closed = self.shared.is_closed.write();
        *is_closed.unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.pool.close();
        Ok(())
    }

    fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        const OPERATION: &str = "retrieve a sample";
        let _open = self.shared.enter(OPERATION)?;
        let query = Query::new().id(id);
        let statement = self.selected(&query)?.rows(None);
        let found = self.read(OPERATION, statement, |row| Ok(row::read(row)?.sample))?;
        Ok(found.into_iter().next())
    }

    fn list(&self, query: &Query) -> Result<Page> {
        const OPERATION: &str = "list samples";
        let open = self.shared.enter(OPERATION)?;
        let selected = self.selected(query)?;
        let limit = query.limit_max();
        if limit == Some(0) {
            return Ok(Page::default());
        }
        // One more than asked for says whether more follow.
        let wanted = limit.map(|limit| limit.saturating_add(1));
        let mut found = match query.conditions() {
            [] => self.read(OPERATION, selected.rows(wanted), |row| Ok(row::read(row)?))?,
            _ => {
                let matching = self.matching(OPERATION, query, None)?;
                // Each piece asks anew; beside a `close` that waits for this guard it would never be answered.
                drop(open);
                let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
                let wanted = matching.take(wanted.unwrap_or(usize::MAX));
                wanted.collect::<Result<Vec<_>>>()?
            }
        };
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let more = limit.is_some_and(|limit| found.len() > limit);
        found.truncate(limit.unwrap_or(usize::MAX));
        let next = found.last().filter(|_| more).map(|last| {
            let position = encode_position((last.created_at_us, last.rank as u64));
            Cursor::new(self.shared.identity, query, &position)
        });
        let samples = found.into_iter().map(|found: Found| found.sample);
        Ok(Page::new(samples.collect(), next))
    }

    fn iterate(&self, query: &Query) -> Result<Samples<'_>> {
        const OPERATION: &str = "read samples";
        let _open = self.shared.enter(OPERATION)?;
        let sample = |found: Result<Found>| found.map(|found| found.sample);
        if query.conditions().is_empty() {
            let statement = self.selected(query)?.rows(query.limit_max());
            let stream = Stream::open(OPERATION, &self.shared, statement)?;
            return Ok(Box::new(stream.map(sample)));
        }
        let matching = self.matching(OPERATION, query, None)?;
        Ok(Box::new(matching.take(limit_of(query)).map(sample)))
    }

    fn count(&self, query: &Query) -> Result<u64> {
        const OPERATION: &str = "count samples";
        if !query.conditions().is_empty() {
            let samples = self.iterate(query)?;
            return samples.map(|sample| sample.map(|_| 1)).sum();
        }
        let _open = self.shared.enter(OPERATION)?;
        let statement = self.selected(query)?.count();
        let counts = self.read(OPERATION, statement, |row| Ok(row.try_get::<_, i64>(0)?))?;
        Ok(counts.into_iter().sum::<i64>() as u64)
    }

    fn facets(&self, query: &Query) -> Result<Facets> {
        const OPERATION: &str = "count samples";
        let mut facets = Facets::new();
        if !query.conditions().is_empty() {
            for sample in self.iterate(query)? {
                let sample = sample?;
                facets.add(sample.pipeline(), sample.status(), 1);
            }
            return Ok(facets);
        }
        let _open = self.shared.enter(OPERATION)?;
        let statement = self.selected(query)?.facets();
        let counts = self.read(OPERATION, statement, |row| Ok(row::read_facet(row)?))?;
        for (pipeline, status, count) in counts {
            facets.add(&pipeline, status, count);
        }
        Ok(facets)
    }

    fn set_status(&self, selection: &Selection, from: Option<Status>, to: Status) -> Result<u64> {
        const OPERATION: &str = "set a status";
        let _open = self.shared.enter(OPERATION)?;
        self.change(OPERATION, selection, from, Change::To(to))
    }

    fn delete(&self, selection: &Selection) -> Result<u64> {
        const OPERATION: &str = "delete samples";
        let _open = self.shared.enter(OPERATION)?;
        self.change(OPERATION, selection, None, Change::Removal)
    }
}
