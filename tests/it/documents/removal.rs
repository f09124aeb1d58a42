//! Removals beside other processes: what they stored meanwhile stays, and places in the order are those of the log.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use samplestore::{Query, Result, Sample, Selection, Status, Storage, connect};

use super::{Folder, at_once, ids};

fn ready(samples: &[Sample]) -> Vec<Sample> {
    let samples = samples.iter().cloned();
    samples
        .map(|sample| sample.with_status(Status::Ready))
        .collect()
}

/// A handle that has read the log does not know by itself what others removed since.
fn a_place_is_lost_with_the_sample(url: &str) {
    let (own, other) = (connect(url).unwrap(), connect(url).unwrap());
    own.store(&at_once(["x", "a"])).unwrap();
    assert_eq!(other.delete(&"x".into()).unwrap(), 1);
    other.store(&at_once(["y"])).unwrap();
    let report = own.store(&at_once(["x"])).unwrap();
    assert_eq!((report.inserted, report.replaced), (1, 0));
    let expected = ["a", "y", "x"];
    assert_eq!(ids(&*own), expected);
    // And it stays there when it is replaced, by whomever.
    for storage in [&own, &other, &connect(url).unwrap()] {
        storage.store(&at_once(["x"])).unwrap();
        assert_eq!(ids(&**storage), expected);
    }
}

#[test]
fn a_place_in_a_folder_is_lost_with_the_sample() {
    a_place_is_lost_with_the_sample(&Folder::new().url());
}

/// One process removes what is pending, while another stores the same as ready.
fn what_is_stored_meanwhile_stays(url: &str) {
    const SAMPLES: usize = 150;
    let (importer, remover) = (connect(url).unwrap(), connect(url).unwrap());
    let samples = at_once((0..SAMPLES).map(|number| format!("s-{number:03}")));
    importer.store(&samples).unwrap();
    let pending = Selection::from(Query::new().status(Status::Pending));
    let removed = thread::scope(|scope| {
        let removing = scope.spawn(|| remover.delete(&pending));
        for part in ready(&samples).chunks(10) {
            importer.store(part).unwrap();
        }
        removing.join().unwrap()
    });
    let left = Query::new().status(Status::Ready);
    assert_eq!(importer.count(&left).unwrap(), SAMPLES as u64);
    assert!(removed.unwrap() <= SAMPLES as u64);
    assert_eq!(remover.count(&Query::new()).unwrap(), SAMPLES as u64);
}

/// Several that store and remove the same few: nobody fails, all see one order, and what was stored last is there.
fn storing_and_removing_the_same_ends_well(url: &str) {
    let strangers: Vec<_> = (0..3).map(|_| connect(url).unwrap()).collect();
    let samples = at_once((0..8).map(|number| format!("s-{number}")));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let remove = || -> Result<u64> {
            let mut removed = 0;
            while !is_over.load(SeqCst) {
                removed += strangers[0].delete(&Query::new().limit(5).into())?;
            }
            Ok(removed)
        };
        let store = |storage: &dyn Storage| -> Result<()> {
            (0..12).try_for_each(|_| storage.store(&samples).map(drop))
        };
        let removing = scope.spawn(remove);
        let storing: Vec<_> = strangers[1..]
            .iter()
            .map(|storage| scope.spawn(move || store(&**storage)))
            .collect();
        let stored: Vec<_> = storing.into_iter().map(|it| it.join().unwrap()).collect();
        is_over.store(true, SeqCst);
        assert!(removing.join().unwrap().unwrap() > 0);
        stored.into_iter().for_each(Result::unwrap);
    });
    strangers[1].store(&samples).unwrap();
    let order = ids(&*strangers[0]);
    assert_eq!(order.len(), samples.len());
    for storage in &strangers {
        assert_eq!(ids(&**storage), order);
    }
    assert_eq!(strangers[2].delete(&Query::new().into()).unwrap(), 8);
    assert_eq!(strangers[0].count(&Query::new()).unwrap(), 0);
}

#[test]
fn storing_and_removing_the_same_in_a_folder_ends_well() {
    storing_and_removing_the_same_ends_well(&Folder::new().url());
}

#[cfg(feature = "s3")]
mod s3 {
    use super::*;
    use crate::servers::s3::shared;

    #[test]
    fn a_place_is_lost_with_the_sample_in_a_prefix() {
        let Some(server) = shared() else { return };
        a_place_is_lost_with_the_sample(&server.url());
    }

    #[test]
    fn what_is_stored_in_a_prefix_meanwhile_stays() {
        let Some(server) = shared() else { return };
        what_is_stored_meanwhile_stays(&server.url());
    }

    #[test]
    fn storing_and_removing_the_same_in_a_prefix_ends_well() {
        let Some(server) = shared() else { return };
        storing_and_removing_the_same_ends_well(&server.url());
    }
}

#[cfg(feature = "azure")]
mod azure {
    use super::*;
    use crate::servers::azure::shared;

    #[test]
    fn what_is_stored_in_a_container_meanwhile_stays() {
        let Some(server) = shared() else { return };
        what_is_stored_meanwhile_stays(&server.url());
    }

    #[test]
    fn storing_and_removing_the_same_in_a_container_ends_well() {
        let Some(server) = shared() else { return };
        storing_and_removing_the_same_ends_well(&server.url());
    }
}
