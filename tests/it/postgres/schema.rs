//! How a schema comes to be, and which one is opened.

use std::thread;

use samplestore::{ErrorKind, Query, Storage, connect};

use super::{all, numbered, sample, shared};

#[test]
fn nothing_is_made_when_it_is_not_to_be() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let unmade = format!("{}&create=false", server.url(&schema));
    let error = connect(&unmade).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    // Which server and database it is not in, and its own name.
    let subject = error.subject().unwrap();
    assert!(subject.contains("/postgres: "), "{subject}");
    assert!(subject.contains(&schema.replace('"', "\"\"")), "{subject}");
    let made = server.sql(&format!(
        "SELECT count(*) FROM information_schema.schemata WHERE schema_name = '{schema}'"
    ));
    assert_eq!(made, "0");
    connect(&server.url(&schema))
        .unwrap()
        .store(&numbered(2))
        .unwrap();
    assert_eq!(connect(&unmade).unwrap().count(&Query::new()).unwrap(), 2);
}

#[test]
fn many_may_make_the_same_schema_at_once() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.schema());
    let opened: Vec<_> = thread::scope(|scope| {
        let open = || connect(&url).unwrap();
        let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        opening
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    opened[0].store(&numbered(3)).unwrap();
    // A cursor of one is good for all: they have one identity.
    let cursor = opened[1]
        .list(&Query::new().limit(1))
        .unwrap()
        .next
        .unwrap();
    for storage in &opened {
        let rest = storage.list(&Query::new().cursor(cursor.clone())).unwrap();
        assert_eq!(rest.samples.len(), 2);
    }
}

#[test]
fn a_schema_that_somebody_began_to_make_is_finished() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let url = server.url(&schema);
    connect(&url).unwrap();
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    for left in [
        "DROP TABLE {}.samples; UPDATE {}.meta SET version = 0",
        "DROP INDEX {}.samples_status; UPDATE {}.meta SET version = -1",
    ] {
        server.sql(&left.replace("{}", &quoted));
        let error = connect(&format!("{url}&create=false")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        connect(&url).unwrap().store(&numbered(2)).unwrap();
        connect(&format!("{url}&create=false")).unwrap();
    }
}

#[test]
fn a_schema_of_somebody_else_is_left_as_it_is() {
    let Some(server) = shared() else { return };
    for (name, made) in [
        ("samples", "CREATE TABLE {}.samples (id int)"),
        ("meta", "CREATE TABLE {}.meta (version text)"),
        ("samples_rank", "CREATE SEQUENCE {}.samples_rank"),
        ("samples", "CREATE VIEW {}.samples AS SELECT 1 AS one"),
    ] {
        let schema = server.schema();
        let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
        server.sql(&format!(
            "CREATE SCHEMA {quoted}; {}",
            made.replace("{}", &quoted)
        ));
        let error = connect(&server.url(&schema)).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::NotADatabase, false),
            "{error:?}"
        );
        let words = format!("{name:?} is there and was not made by samplestore");
        assert!(error.to_string().contains(&words), "{error}");
        let there = server.sql(&format!(
            "SELECT string_agg(relname, ',') FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = '{schema}'"
        ));
        assert_eq!(there, name);
    }
}

/// As earlier programs left one in which somebody else has a table of that name.
#[test]
fn a_table_of_somebody_else_that_was_taken_for_ours_is_told() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let url = server.url(&schema);
    connect(&url).unwrap();
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    server.sql(&format!(
        "DROP TABLE {quoted}.samples; CREATE TABLE {quoted}.samples (id int);
        UPDATE {quoted}.meta SET version = -1"
    ));
    let error = connect(&url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotADatabase, "{error:?}");
    assert!(error.to_string().contains("was not made by"), "{error}");
}

#[test]
fn an_older_schema_is_brought_up_to_date_when_asked() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let url = server.url(&schema);
    let samples = numbered(3);
    connect(&url).unwrap().store(&samples).unwrap();
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    let indexes = format!(
        "SELECT count(*) FROM pg_indexes WHERE schemaname = '{schema}' AND indexname LIKE 'samples_%'"
    );
    assert_eq!(server.sql(&indexes), "4");
    server.sql(&format!(
        "DROP INDEX {quoted}.samples_created, {quoted}.samples_pipeline, {quoted}.samples_status;
        UPDATE {quoted}.meta SET version = 1"
    ));
    let error = connect(&url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NeedsRepair, "{error:?}");
    assert!(error.to_string().contains("migrate=true"), "{error}");
    let storage = connect(&format!("{url}&migrate=true")).unwrap();
    assert_eq!(all(&*storage), samples);
    assert_eq!(server.sql(&indexes), "4");
    connect(&url).unwrap();

    server.sql(&format!("UPDATE {quoted}.meta SET version = 99"));
    let error = connect(&format!("{url}&migrate=true")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FormatTooNew, "{error:?}");
}

#[test]
fn a_role_that_may_only_write_rows_is_enough() {
    let Some(server) = shared() else { return };
    let schema = server.schema();
    let url = server.url(&schema);
    connect(&url).unwrap();
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    server.sql(&format!(
        "CREATE ROLE rows LOGIN; GRANT USAGE ON SCHEMA {quoted} TO rows;
        GRANT SELECT ON {quoted}.meta TO rows;
        GRANT SELECT, INSERT, UPDATE, DELETE ON {quoted}.samples TO rows;
        GRANT USAGE ON SEQUENCE {quoted}.samples_rank TO rows;
        CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA {quoted} TO reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO reader"
    ));
    let as_role = |role: &str| url.replace("user=postgres", &format!("user={role}"));
    let storage = connect(&as_role("rows")).unwrap();
    storage.store(&numbered(3)).unwrap();
    storage.delete(&"000001".into()).unwrap();
    let reader = connect(&as_role("reader")).unwrap();
    assert_eq!(reader.count(&Query::new()).unwrap(), 2);
    let error = reader.store(&[sample("a")]).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::ReadOnly, false),
        "{error:?}"
    );
}

/// Samples are of all texts, and others than UTF-8 have not all of them.
#[test]
fn a_database_that_is_not_in_utf8_is_refused() {
    let Some(server) = shared() else { return };
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("of_{}", encoding.to_lowercase());
        server.sql(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        ));
        let url = server.url("samplestore");
        let url = url.replace("postgres:///postgres?", &format!("postgres:///{name}?"));
        let error = connect(&url).map(drop).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unsupported, false),
            "{error:?}"
        );
        let told = error.to_string();
        assert!(told.contains(encoding) && told.contains("UTF8"), "{told}");
        // Nothing was made in it.
        server.sql(&format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}
