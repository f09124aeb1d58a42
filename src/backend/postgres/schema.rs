//! The tables and indexes, how they come about, and what version they are.
//!
//! Each step makes the next version of the schema in one transaction, which ends with the version in the
//! table `meta`. A new schema goes through all of them in one transaction, so that nothing is left where that fails; where
//! somebody else has a table of such a name, none is made. Earlier programs made a schema step by step, with a version
//! of 0 or negative meanwhile: whoever opens one that was left so makes the rest.
//!
//! | column of `samples` | |
//! |---|---|
//! | `id`, `pipeline` | texts in byte order (`COLLATE "C"`), whose indexes no update of the system's locales breaks; NUL escaped, see `text.rs` |
//! | `rank` | from the sequence `samples_rank`: the order of first storing, kept on replacement (rule R4) |
//! | `status` | its word |
//! | `created_at_us`, `measured_at_us` | microseconds since 1970, since `timestamptz` ends where the years of samples go on (rule M4) |
//! | `data`, `measurements`, `reason` | see `json.rs` |
//! | `replacements` | how often it was replaced: 0 tells a new sample without the system columns that other engines lack |

use deadpool_postgres::Object;

use super::failure::Failure;
use crate::error::{Error, ErrorKind, Result};

/// The steps; the version is how many were done.
const STEPS: &[&[&str]] = &[
    &[
        "CREATE SEQUENCE IF NOT EXISTS {schema}.samples_rank",
        r#"CREATE TABLE IF NOT EXISTS {schema}.samples (
            id text COLLATE "C" PRIMARY KEY,
            rank bigint NOT NULL,
            pipeline text COLLATE "C" NOT NULL,
            status text COLLATE "C" NOT NULL,
            created_at_us bigint NOT NULL,
            measured_at_us bigint,
            data jsonb NOT NULL,
            measurements jsonb NOT NULL,
            reason jsonb,
            replacements bigint NOT NULL DEFAULT 0
        )"#,
    ],
    &[
        "CREATE INDEX IF NOT EXISTS samples_created ON {schema}.samples (created_at_us, rank)",
        "CREATE INDEX IF NOT EXISTS samples_pipeline ON {schema}.samples (pipeline, created_at_us, rank)",
        "CREATE INDEX IF NOT EXISTS samples_status ON {schema}.samples (status, created_at_us, rank)",
    ],
];

/// All that is made, by its name.
const NAMES: [&str; 6] = [
    "meta",
    "samples",
    "samples_created",
    "samples_pipeline",
    "samples_rank",
    "samples_status",
];

const META: &str = "CREATE TABLE {schema}.meta (
    one smallint PRIMARY KEY CHECK (one = 1),
    version integer NOT NULL,
    identity bigint NOT NULL
)";

/// How often to look again when others make the same schema at the same moment.
const ATTEMPTS: usize = 10;

const OPERATION: &str = "open the schema";

/// What opening may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Make what is not there.
    pub(super) create: bool,
    /// Bring an older version up to date.
    pub(super) migrate: bool,
}

/// Makes or checks the schema of this name on the server that is shown so, and gives its identity.
pub(super) async fn open(
    client: &mut Object,
    server: &str,
    name: &str,
    allowed: Allowed,
) -> Result<u64, Failure> {
    check_encoding(client, server).await?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match open_once(client, server, name, allowed).await {
            Err(failure)
                if attempts < ATTEMPTS
                    && (failure.is_made_meanwhile() || failure.is_conflict()) => {}
            other => return other,
        }
    }
}

/// Samples are of all texts, which a database holds in UTF-8 alone. One in `SQL_ASCII` takes any bytes, but no `jsonb` with
/// an escape above ASCII, and others may have put bytes into it that are no text.
async fn check_encoding(client: &Object, server: &str) -> Result<(), Failure> {
    let encoding: String = client
        .query_one("SHOW server_encoding", &[])
        .await?
        .try_get(0)?;
    if encoding.eq_ignore_ascii_case("UTF8") {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Unsupported, OPERATION).with_subject(server);
    let message = format!(
        "the database is in {encoding}, and samples need UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    );
    Err(error.with_message(message).into())
}

async fn open_once(
    client: &mut Object,
    server: &str,
    name: &str,
    allowed: Allowed,
) -> Result<u64, Failure> {
    let schema = &quoted(name);
    let newest = STEPS.len() as i32;
    let refused = |kind, message: String| -> Result<u64, Failure> {
        let error = Error::new(kind, OPERATION).with_subject(format!("{server}: {schema}"));
        Err(error.with_message(message).into())
    };
    match read_meta(client, schema).await? {
        Some((version, identity)) if version == newest => Ok(identity),
        Some((version, _)) if version > newest => refused(
            ErrorKind::FormatTooNew,
            format!("it has version {version}, this program knows {newest}"),
        ),
        Some((version, _)) if version > 0 && !allowed.migrate => refused(
            ErrorKind::NeedsRepair,
            format!(
                "it has the older version {version}; open it once with the option migrate=true, which leaves \
                 programs of that version outside"
            ),
        ),
        None | Some((..=0, _)) if !allowed.create => {
            refused(ErrorKind::NotFound, "it has no samples".to_owned())
        }
        Some((version, identity)) => match migrate(client, schema, version).await {
            Ok(()) => Ok(identity),
            // Earlier programs took the table of somebody else for their own.
            Err(failure) if version <= 0 && failure.is_missing_column() => {
                refused(ErrorKind::NotADatabase, not_ours("samples"))
            }
            Err(failure) => Err(failure),
        },
        None => match make(client, name).await? {
            Made::Schema(identity) => Ok(identity),
            Made::Nothing(found) => match read_meta(client, schema).await? {
                // Somebody made the whole of it meanwhile.
                Some(_) => Box::pin(open_once(client, server, name, allowed)).await,
                None => refused(ErrorKind::NotADatabase, not_ours(&found)),
            },
        },
    }
}

fn not_ours(found: &str) -> String {
    format!(
        "{found:?} is there and was not made by samplestore; the option schema names another schema"
    )
}

async fn read_meta(client: &Object, schema: &str) -> Result<Option<(i32, u64)>, Failure> {
    let asked = format!("SELECT version, identity FROM {schema}.meta WHERE one = 1");
    match client.query_opt(&asked, &[]).await.map_err(Failure::from) {
        Ok(Some(row)) => {
            let identity: i64 = row.try_get(1)?;
            Ok(Some((row.try_get(0)?, identity as u64)))
        }
        Ok(None) => Ok(None),
        Err(failure) if failure.is_missing() || failure.is_missing_column() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What makes a whole schema.
fn all_statements(schema: &str) -> Vec<String> {
    let statements = [META]
        .into_iter()
        .chain(STEPS.iter().copied().flatten().copied());
    let statements = statements.map(|statement| statement.replace("{schema}", schema));
    statements.collect()
}

/// What making a schema came to.
enum Made {
    /// It has this identity.
    Schema(u64),
    /// Something of this name is in the way.
    Nothing(String),
}

/// Makes the schema with all that is in it, or nothing.
async fn make(client: &mut Object, name: &str) -> Result<Made, Failure> {
    let schema = &quoted(name);
    let in_the_way = "SELECT relname::text FROM pg_catalog.pg_class AS found
        JOIN pg_catalog.pg_namespace AS place ON place.oid = found.relnamespace
        WHERE nspname = $1::text AND relname = ANY ($2::text[]) ORDER BY relname LIMIT 1";
    // Looked for first: a role that may not create schemas may use one that is there.
    let is_there = "SELECT 1 FROM information_schema.schemata WHERE schema_name = $1";
    let transaction = client.transaction().await?;
    let names = NAMES.to_vec();
    if let Some(found) = transaction.query_opt(in_the_way, &[&name, &names]).await? {
        return Ok(Made::Nothing(found.try_get(0)?));
    }
    if transaction.query_opt(is_there, &[&name]).await?.is_none() {
        transaction
            .batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))
            .await?;
    }
    for statement in all_statements(schema) {
        transaction.batch_execute(&statement).await?;
    }
    let identity = uuid::Uuid::new_v4().as_u64_pair().1 as i64;
    let newest = STEPS.len() as i32;
    let first = format!("INSERT INTO {schema}.meta (one, version, identity) VALUES (1, $1, $2)");
    transaction.execute(&first, &[&newest, &identity]).await?;
    transaction.commit().await?;
    Ok(Made::Schema(identity as u64))
}

/// Does the steps behind `version`, each by whoever comes first.
async fn migrate(client: &mut Object, schema: &str, version: i32) -> Result<(), Failure> {
    let newest = STEPS.len() as i32;
    let sign = if version > 0 { 1 } else { -1 };
    for (done, step) in (0_i32..).zip(STEPS) {
        if done < version.abs() {
            continue;
        }
        let next = match done + 1 {
            last if last == newest => last,
            next => sign * next,
        };
        let transaction = client.transaction().await?;
        // Waits for whoever does this step already, and then finds that it is done.
        let advance =
            format!("UPDATE {schema}.meta SET version = $1 WHERE one = 1 AND version = $2");
        if transaction
            .execute(&advance, &[&next, &(sign * done)])
            .await?
            == 1
        {
            for statement in *step {
                let statement = statement.replace("{schema}", schema);
                transaction.batch_execute(&statement).await?;
            }
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
    }
    Ok(())
}

/// The name as SQL takes it, whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
