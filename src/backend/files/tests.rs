//! What becomes of documents on a server where answers are lost and other processes come between.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::Attributes;

use super::*;
use crate::backend::hooked::hooked;

hooked!(object_store);

/// A handle of its own, as another process has.
fn open(store: Arc<dyn ObjectStore>, create: bool) -> Result<Documents> {
    let policy = RetryPolicy::fixed(3, Duration::from_millis(1));
    let objects = Objects::new(store, StorePath::default(), "server", policy, None);
    Documents::open("s3", objects, Gate::new(None), create)
}

/// All of one instant, so that only the order of storing tells them apart.
fn sample(id: &str, status: Status) -> Sample {
    Sample::builder("weather")
        .id(id)
        .created_at(chrono::DateTime::UNIX_EPOCH)
        .status(status)
        .build()
        .unwrap()
}

/// A server that has the pending sample `a`, and a handle on it of another process.
fn server() -> (Arc<InMemory>, Documents) {
    let server = Arc::new(InMemory::new());
    let other = open(server.clone(), true).unwrap();
    other.store(&[sample("a", Status::Pending)]).unwrap();
    (server, other)
}

/// A handle at whose first such request for a document something happens.
fn at_first(
    server: &Arc<InMemory>,
    kind: Kind,
    moment: Moment,
    then: impl FnOnce() -> Fate + Send + 'static,
) -> Documents {
    at_first_of(SAMPLES, server, kind, moment, then)
}

/// The same for any object of a folder.
fn at_first_of(
    folder: &'static str,
    server: &Arc<InMemory>,
    kind: Kind,
    moment: Moment,
    then: impl FnOnce() -> Fate + Send + 'static,
) -> Documents {
    let then = Mutex::new(Some(then));
    let hook: Hook = Arc::new(move |asked, at, path| {
        let is_it = (asked, at) == (kind, moment) && path.starts_with(folder);
        let then = is_it.then(|| then.lock().unwrap().take()).flatten();
        Box::pin(async move {
            match then {
                Some(then) => tokio::task::spawn_blocking(then).await.unwrap(),
                None => Fate::Goes,
            }
        })
    });
    hooked_by(server, hook)
}

fn hooked_by(server: &Arc<InMemory>, hook: Hook) -> Documents {
    let store = Hooked {
        inner: Arc::clone(server),
        hook,
        alters: |_| (),
    };
    open(Arc::new(store), true).unwrap()
}

fn status_of(storage: &Documents, id: &str) -> Option<Status> {
    let found = storage.retrieve(id).unwrap();
    found.map(|sample| sample.status())
}

#[test]
fn a_removal_without_an_answer_is_not_made_again() {
    let (server, other) = server();
    let own = at_first(&server, Kind::Delete, Moment::Behind, move || {
        other.store(&[sample("a", Status::Ready)]).unwrap();
        Fate::Lost
    });
    assert_eq!(own.delete(&"a".into()).unwrap(), 1);
    assert_eq!(status_of(&own, "a"), Some(Status::Ready));
}

#[test]
fn each_tombstone_is_removed_though_others_are_left() {
    let (server, other) = server();
    let ids: Vec<_> = (0..100).map(|number| format!("s-{number}")).collect();
    let samples: Vec<_> = ids.iter().map(|id| sample(id, Status::Ready)).collect();
    other.store(&samples).unwrap();
    let own = at_first(&server, Kind::Delete, Moment::Before, || Fate::Lost);
    let ready = Query::new().status(Status::Ready);
    assert_eq!(own.delete(&ready.into()).unwrap(), 100);
    let listing = server.list(Some(&Path::from(SAMPLES)));
    let left = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(listing.count());
    // The document of `a`, and one tombstone.
    assert_eq!(left, 2);
}

#[test]
fn a_change_whose_answer_is_lost_is_counted() {
    let lost = || Fate::Lost;
    let (server, _) = server();
    let own = at_first(&server, Kind::Put, Moment::Behind, lost);
    let moved = own.set_status(&"a".into(), Some(Status::Pending), Status::Ready);
    assert_eq!(moved.unwrap(), 1);
    assert_eq!(status_of(&own, "a"), Some(Status::Ready));
    let own = at_first(&server, Kind::Put, Moment::Behind, lost);
    assert_eq!(own.delete(&"a".into()).unwrap(), 1);
    assert_eq!(status_of(&own, "a"), None);
}

#[test]
fn the_same_change_by_another_process_is_not_counted() {
    let (server, other) = server();
    let own = at_first(&server, Kind::Put, Moment::Before, move || {
        let moved = other.set_status(&"a".into(), Some(Status::Pending), Status::Ready);
        assert_eq!(moved.unwrap(), 1);
        Fate::Lost
    });
    let moved = own.set_status(&"a".into(), Some(Status::Pending), Status::Ready);
    assert_eq!(moved.unwrap(), 0);
    assert_eq!(status_of(&own, "a"), Some(Status::Ready));
}

#[test]
fn a_store_whose_answer_is_lost_undoes_nothing() {
    fn claim(other: &Documents) {
        let claimed = other.set_status(&"a".into(), Some(Status::Pending), Status::Ready);
        assert_eq!(claimed.unwrap(), 1);
    }
    fn replace(other: &Documents) {
        let report = other.store(&[sample("a", Status::Labeled)]).unwrap();
        assert_eq!((report.inserted, report.replaced), (0, 1));
    }
    fn remove(other: &Documents) {
        assert_eq!(other.delete(&"a".into()).unwrap(), 1);
    }
    fn remove_and_store(other: &Documents) {
        remove(other);
        other.store(&[sample("a", Status::Labeled)]).unwrap();
    }
    fn claim_often(other: &Documents) {
        claim(other);
        for _ in 0..3 {
            let back = other.set_status(&"a".into(), None, Status::Pending);
            assert_eq!(back.unwrap(), 1);
            claim(other);
        }
    }
    type Meanwhile = fn(&Documents);
    // Whether it is there before, what others do, whether this one counts as new, and what is left.
    let cases: [(bool, Meanwhile, bool, Option<Status>); 12] = [
        (false, |_| (), true, Some(Status::Pending)),
        (false, claim, true, Some(Status::Ready)),
        (false, claim_often, true, Some(Status::Ready)),
        (false, replace, true, Some(Status::Labeled)),
        (false, remove, true, None),
        (false, remove_and_store, true, Some(Status::Labeled)),
        (true, |_| (), false, Some(Status::Pending)),
        (true, claim, false, Some(Status::Ready)),
        (true, claim_often, false, Some(Status::Ready)),
        (true, replace, false, Some(Status::Labeled)),
        // Whether it was this one that was removed is not known, and it is stored again.
        (true, remove, true, Some(Status::Pending)),
        (true, remove_and_store, false, Some(Status::Labeled)),
    ];
    for (number, (is_there, meanwhile, is_new, left)) in cases.into_iter().enumerate() {
        let server = Arc::new(InMemory::new());
        let other = open(server.clone(), true).unwrap();
        if is_there {
            other.store(&[sample("a", Status::Skipped)]).unwrap();
        }
        let own = at_first(&server, Kind::Put, Moment::Behind, move || {
            meanwhile(&other);
            Fate::Lost
        });
        let report = own.store(&[sample("a", Status::Pending)]).unwrap();
        let expected = StoreReport::new(is_new.into(), (!is_new).into());
        assert_eq!(report, expected, "{number}");
        assert_eq!(status_of(&own, "a"), left, "{number}");
    }
}

#[test]
fn a_store_that_is_lost_on_its_way_is_made_again() {
    for is_there in [false, true] {
        let server = Arc::new(InMemory::new());
        let other = open(server.clone(), true).unwrap();
        if is_there {
            other.store(&[sample("a", Status::Skipped)]).unwrap();
        }
        let own = at_first(&server, Kind::Put, Moment::Before, move || {
            other.store(&[sample("a", Status::Labeled)]).unwrap();
            Fate::Lost
        });
        let report = own.store(&[sample("a", Status::Pending)]).unwrap();
        assert_eq!(report, StoreReport::new(0, 1));
        assert_eq!(status_of(&own, "a"), Some(Status::Pending));
    }
}

/// Else it would stand there behind the claim of whoever stored the sample again.
#[test]
fn a_deletion_whose_answer_is_lost_is_in_the_log_once() {
    const TEST: &str = "test";
    let (server, other) = server();
    let own = at_first_of("order", &server, Kind::Put, Moment::Behind, move || {
        let claimed = wait(TEST, "server", async move {
            let mut places = other.places.lock().await;
            places.refresh(&other.objects, TEST).await?;
            places.claim(&other.objects, TEST, ["a"]).await
        });
        claimed.unwrap();
        Fate::Lost
    });
    let stands = wait(TEST, "server", async move {
        let mut places = own.places.lock().await;
        places
            .give_up(&own.objects, TEST, vec!["a".to_owned()])
            .await?;
        places.refresh(&own.objects, TEST).await?;
        Ok(places.stands("a"))
    });
    assert!(stands.unwrap());
}

#[test]
fn a_removal_that_is_not_in_the_log_takes_the_place_nevertheless() {
    let (server, other) = server();
    other.store(&[sample("b", Status::Pending)]).unwrap();
    let (own, is_lost) = losing("order", &server, Kind::Put, Moment::Before, 0);
    let error = own.delete(&"a".into()).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(error.stored_ids(), ["a"]);
    is_lost.store(false, SeqCst);
    assert_eq!(status_of(&other, "a"), None);
    assert_eq!(own.delete(&"a".into()).unwrap(), 0);
    let report = other.store(&[sample("a", Status::Pending)]).unwrap();
    assert_eq!(report, StoreReport::new(1, 0));
    for storage in [own, other] {
        let page = storage.list(&Query::new()).unwrap();
        let ids: Vec<_> = page.samples.iter().map(Sample::id).collect();
        assert_eq!(ids, ["b", "a"]);
    }
}

/// A handle of which each such request for an object of a folder is lost, as long as that is so, but for the first ones.
fn losing(
    folder: &'static str,
    server: &Arc<InMemory>,
    kind: Kind,
    moment: Moment,
    kept: usize,
) -> (Documents, Arc<AtomicBool>) {
    let (is_lost, met) = (Arc::new(AtomicBool::new(true)), AtomicUsize::new(0));
    let loses = Arc::clone(&is_lost);
    let hook: Hook = Arc::new(move |asked, at, path| {
        let is_it = (asked, at) == (kind, moment) && path.starts_with(folder);
        let fate = match is_it && loses.load(SeqCst) && met.fetch_add(1, SeqCst) >= kept {
            true => Fate::Lost,
            false => Fate::Goes,
        };
        Box::pin(async move { fate })
    });
    (hooked_by(server, hook), is_lost)
}

/// Doing it again would be about others of the samples.
#[test]
fn a_limited_change_that_may_have_been_made_is_not_to_be_made_again() {
    type Change = fn(&Documents, &Selection) -> Result<u64>;
    let set: Change = |own, selection| own.set_status(selection, None, Status::Ready);
    let delete: Change = |own, selection| own.delete(selection);
    // What is lost, behind how many that are not, and how many are known to be changed.
    let cases: [(Change, &'static str, usize, usize); 5] = [
        (set, SAMPLES, 0, 0),
        (set, SAMPLES, 2, 2),
        (delete, SAMPLES, 0, 0),
        (delete, SAMPLES, 2, 2),
        (delete, "order", 0, 3),
    ];
    for (number, (change, folder, kept, known)) in cases.into_iter().enumerate() {
        for limit in [Some(3), None] {
            let (server, other) = server();
            let ids = (0..7).map(|number| format!("s-{number}"));
            let samples: Vec<_> = ids.map(|id| sample(&id, Status::Pending)).collect();
            other.store(&samples).unwrap();
            let (own, is_lost) = losing(folder, &server, Kind::Put, Moment::Before, kept);
            let query = Query::new().pipeline("weather");
            let selection = match limit {
                Some(limit) => query.limit(limit).into(),
                None => query.into(),
            };
            let error = change(&own, &selection).unwrap_err();
            let told = format!("{number} {error:?}");
            if limit.is_some() {
                assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{told}");
                assert!(!error.is_retryable(), "{told}");
                assert_eq!(error.stored_ids().len(), known, "{told}");
                continue;
            }
            assert!(error.is_retryable(), "{told}");
            is_lost.store(false, SeqCst);
            change(&own, &selection).unwrap();
            let left = Query::new().status(Status::Pending);
            assert_eq!(own.count(&left).unwrap(), 0, "{told}");
        }
    }
}

/// By a process that was killed before it removed any of them.
#[test]
fn what_a_removal_left_is_waited_for_once() {
    const COUNT: usize = 100;
    let (server, other) = server();
    let ids: Vec<_> = (0..COUNT).map(|number| format!("s-{number}")).collect();
    let samples: Vec<_> = ids.iter().map(|id| sample(id, Status::Ready)).collect();
    other.store(&samples).unwrap();
    let (killed, _) = losing(SAMPLES, &server, Kind::Delete, Moment::Before, 0);
    let ready = Query::new().status(Status::Ready);
    assert_eq!(killed.delete(&ready.into()).unwrap(), COUNT as u64);
    let looks = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let counts = Arc::clone(&looks);
    let hook: Hook = Arc::new(move |kind, _, path| {
        if kind == Kind::Get && path.starts_with(SAMPLES) {
            *counts.lock().unwrap().entry(path).or_default() += 1;
        }
        Box::pin(async { Fate::Goes })
    });
    let own = hooked_by(&server, hook);
    let report = own.store(&samples).unwrap();
    assert_eq!(report, StoreReport::new(COUNT as u64, 0));
    // Whoever comes behind those that waited finds at its first look that there is nothing to wait for.
    let looks = looks.lock().unwrap().clone();
    let waited = looks.values().filter(|&&looks| looks > 2).count();
    assert!((1..=REQUESTS).contains(&waited), "{waited}");
    let found: Vec<_> = own.list(&Query::new()).unwrap().samples;
    let found: Vec<_> = found.iter().map(Sample::id).collect();
    assert_eq!(found[0], "a");
    assert_eq!(found[1..], ids);
}

/// Both wait for it, and one is first: what it stored keeps its place.
#[test]
fn two_that_meet_one_tombstone_give_its_place_up_once() {
    let (server, other) = server();
    other.store(&[sample("b", Status::Pending)]).unwrap();
    let (killed, _) = losing("order", &server, Kind::Put, Moment::Before, 0);
    killed.delete(&"a".into()).unwrap_err();
    // Each has looked at the log before the other one writes there.
    let (is_there, waits) = std::sync::mpsc::channel();
    let first = at_first_of("order", &server, Kind::Put, Moment::Before, move || {
        waits.recv_timeout(Duration::from_secs(60)).unwrap();
        Fate::Goes
    });
    let first = std::thread::spawn(move || {
        let report = first.store(&[sample("a", Status::Ready)]).unwrap();
        assert_eq!(report, StoreReport::new(1, 0));
        first.store(&[sample("c", Status::Pending)]).unwrap();
    });
    let second = at_first_of("order", &server, Kind::Put, Moment::Before, move || {
        is_there.send(()).unwrap();
        first.join().unwrap();
        Fate::Goes
    });
    // It may have lost patience by then.
    let store = || second.store(&[sample("a", Status::Labeled)]).ok();
    let report = (0..3).find_map(|_| store());
    assert_eq!(report, Some(StoreReport::new(0, 1)));
    for storage in [second, open(server, false).unwrap()] {
        let page = storage.list(&Query::new()).unwrap();
        let ids: Vec<_> = page.samples.iter().map(Sample::id).collect();
        assert_eq!(ids, ["b", "a", "c"]);
        assert_eq!(status_of(&storage, "a"), Some(Status::Labeled));
    }
}

#[test]
fn what_is_stored_while_it_is_looked_for_has_its_place() {
    let (server, other) = server();
    let own = at_first(&server, Kind::Get, Moment::Before, move || {
        other.store(&[sample("b", Status::Pending)]).unwrap();
        Fate::Goes
    });
    let page = own.list(&Query::new().id("b")).unwrap();
    assert_eq!(page.samples, [own.retrieve("b").unwrap().unwrap()]);
}

#[test]
fn a_server_without_conditions_or_metadata_is_refused_each_time() {
    type Alters = fn(&mut PutOptions);
    let cases: [(Alters, &str); 3] = [
        (
            |options| {
                if matches!(options.mode, PutMode::Create) {
                    options.mode = PutMode::Overwrite;
                }
            },
            "be made twice",
        ),
        (
            |options| {
                if matches!(options.mode, PutMode::Update(_)) {
                    options.mode = PutMode::Overwrite;
                }
            },
            "not what was read",
        ),
        (
            |options| options.attributes = Attributes::default(),
            "does not keep the metadata",
        ),
    ];
    for (alters, told) in cases {
        let server = Arc::new(InMemory::new());
        for _ in 0..2 {
            let store = Hooked {
                inner: Arc::clone(&server),
                hook: Arc::new(|_, _, _| Box::pin(async { Fate::Goes })),
                alters,
            };
            let error = open(Arc::new(store), true).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(told), "{error}");
        }
        // Nothing is left there that would open.
        let error = open(server, false).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// Parts of a removal have 100 documents here.
#[test]
fn removals_in_a_folder_are_durable_part_by_part() {
    let root = tempfile::tempdir().unwrap();
    let location: Location = format!("file:{}", root.path().display()).parse().unwrap();
    let storage = open_folder(&location).unwrap();
    let ids = (0..150).map(|number| format!("s-{number}"));
    let samples: Vec<_> = ids.map(|id| sample(&id, Status::Ready)).collect();
    storage.store(&samples).unwrap();
    let syncs = || {
        let synced = crate::backend::folder::synced::below(&root.path().join(SAMPLES));
        synced.len()
    };
    assert_eq!(syncs(), 0);
    assert_eq!(storage.delete(&Query::new().into()).unwrap(), 150);
    assert_eq!(syncs(), 2);
    assert_eq!(storage.delete(&Query::new().into()).unwrap(), 0);
    assert_eq!(syncs(), 2);
}
