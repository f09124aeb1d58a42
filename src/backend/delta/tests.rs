//! Commits whose answers are lost: what is known of them, and what is done again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use url::Url;

use super::*;
use crate::backend::hooked::hooked;

hooked!(object_store_0_13);

const SHOWN: &str = "table";

/// A handle of its own, as another process has.
fn open(store: Arc<dyn ObjectStore>) -> Result<DeltaTable> {
    let url = Url::parse("s3://bucket/table").unwrap();
    let place = Place::new(store, Path::from("table"), url);
    let wanted = Wanted {
        create: true,
        partition_by: Some(schema::partition_by(Some("none"))),
    };
    let table = wait(OPEN, SHOWN, async move {
        let opened = Table::open(place, &wanted, SHOWN).await;
        opened.map_err(|failure| failure.into_error(OPEN, SHOWN))
    })?;
    Ok(DeltaTable {
        shared: Arc::new(Shared {
            table: Arc::new(table),
            name: "delta-s3",
            is_closed: RwLock::new(false),
        }),
    })
}

fn samples(count: usize) -> Vec<Sample> {
    let sample = |number| Sample::builder("weather").id(format!("{number}")).build();
    (0..count).map(|number| sample(number).unwrap()).collect()
}

/// A handle, the answer to whose commit of this version has a fate, and of the requests behind it one is lost, if there are so
/// many; and whether it was.
fn failing(
    server: &Arc<InMemory>,
    version: u32,
    fate: Fate,
    lost: usize,
) -> (DeltaTable, Arc<AtomicBool>) {
    let commit = format!("{version:020}.json");
    let (is_made, behind) = (AtomicBool::new(false), AtomicUsize::new(0));
    let has_failed = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&has_failed);
    let hook: Hook = Arc::new(move |kind, moment, path| {
        let is_commit = (kind, moment) == (Kind::Put, Moment::Behind) && path.ends_with(&commit);
        let fate = if is_commit && !is_made.swap(true, SeqCst) {
            fate
        } else if moment == Moment::Before
            && is_made.load(SeqCst)
            && behind.fetch_add(1, SeqCst) == lost
        {
            fails.store(true, SeqCst);
            Fate::Lost
        } else {
            Fate::Goes
        };
        Box::pin(async move { fate })
    });
    let store = Hooked {
        inner: Arc::clone(server),
        hook,
        alters: |_| (),
    };
    (open(Arc::new(store)).unwrap(), has_failed)
}

/// Whichever request fails behind the commit: who does not know that it was made does not make another one.
#[test]
fn a_limited_change_whose_commit_may_have_been_made_is_made_once() {
    for fate in [Fate::Lost, Fate::Repeated] {
        let mut unknown = 0;
        for lost in 0.. {
            let server = Arc::new(InMemory::new());
            let (table, has_failed) = failing(&server, 2, fate, lost);
            table.store(&samples(6)).unwrap();
            let some = Selection::from(Query::new().limit(2));
            match table.set_status(&some, Some(Status::Pending), Status::Ready) {
                Ok(moved) => assert_eq!(moved, 2, "{fate:?} {lost}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
                    unknown += 1;
                }
            }
            let ready = Query::new().status(Status::Ready);
            let moved = open(server).unwrap().count(&ready).unwrap();
            assert_eq!(moved, 2, "{fate:?} {lost}");
            // In the end nothing failed: the commit was found in the log.
            if !has_failed.load(SeqCst) {
                break;
            }
        }
        assert!(unknown > 0, "{fate:?}");
    }
}

#[test]
fn a_store_whose_commit_may_have_been_made_may_be_done_again() {
    for fate in [Fate::Lost, Fate::Repeated] {
        let server = Arc::new(InMemory::new());
        let (table, _) = failing(&server, 1, fate, 0);
        let error = table.store(&samples(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error:?}");
        assert!(error.is_retryable(), "{error:?}");
        let report = table.store(&samples(3)).unwrap();
        assert_eq!(report, StoreReport::new(0, 3));
        assert_eq!(open(server).unwrap().count(&Query::new()).unwrap(), 3);
    }
}

#[test]
fn a_server_without_conditions_is_refused_each_time() {
    let server = Arc::new(InMemory::new());
    for _ in 0..2 {
        let store = Hooked {
            inner: Arc::clone(&server),
            hook: Arc::new(|_, _, _| Box::pin(async { Fate::Goes })),
            alters: |options| {
                if matches!(options.mode, PutMode::Create) {
                    options.mode = PutMode::Overwrite;
                }
            },
        };
        let error = open(Arc::new(store)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
    // Nothing is left there.
    let listed = wait(OPEN, SHOWN, async move {
        Ok(server.list(None).try_collect::<Vec<_>>().await.unwrap())
    });
    assert!(listed.unwrap().is_empty());
}
