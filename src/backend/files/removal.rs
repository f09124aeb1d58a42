//! Removing documents, and the tombstones that stand in their place meanwhile on a server.
//!
//! Object stores replace an object only if it is still as it was read, but the client removes it whatever it is by then. So
//! on a server a document is first replaced, if it is still what was selected, by a tombstone, which readers skip and
//! which is removed a moment later. Whoever stores a sample of this id meanwhile waits until the tombstone is gone: a
//! removal that is on its way would take the new document with it.
//!
//! A tombstone whose process died, was too slow to remove it within [`GRACE`], could not write to the log that the sample is gone,
//! or had no answer when it removed it, stays where it is. Who has met one of the same removal for [`LEASE`] puts a document in its place, and
//! writes to the log first what is missing there. A removal is asked for once, since it may
//! have been carried out without an answer, and never after the grace; none takes longer than what is left of the lease, unless the
//! process stands still just before it sends one. In a folder writers hold the lock, and documents are removed as they are; the folder is synced
//! before the log says that a part of them is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;

use super::batch::all_or_some;
use super::document::{Document, SAMPLES};
use super::name::Name;
use super::objects::{Key, Objects};
use super::{REQUESTS, SharedPlaces};
use crate::backend::runtime::each;
use crate::error::{Error, ErrorKind, Result};
use crate::sample::Sample;

/// How long after the first tombstone of a part its tombstones are removed.
const GRACE: Duration = Duration::from_secs(20);
/// How long a tombstone is waited for: the grace, a request, and something more. Shorter for tests that wait for it.
pub(super) const LEASE: Duration = match cfg!(test) {
    true => Duration::from_millis(300),
    false => Duration::from_secs(60),
};
/// How many documents are removed together, well within the grace. Fewer for tests of several parts.
const PART: usize = if cfg!(test) { 100 } else { 1_000 };

const BEGINNING: &str = r#"{"removed":""#;
/// No document of a sample is so short.
pub(super) const TOMBSTONE_BYTES_MAX: u64 = 64;

/// What stands in the place of a document; no two are the same.
pub(super) fn tombstone() -> Bytes {
    let nonce = uuid::Uuid::new_v4().simple();
    format!("{BEGINNING}{nonce}\"}}\n").into()
}

pub(super) fn is_tombstone(bytes: &[u8]) -> bool {
    bytes.len() as u64 <= TOMBSTONE_BYTES_MAX && bytes.starts_with(BEGINNING.as_bytes())
}

/// Removes those of the documents of which `still` is true when they are, and says how many. An error has the ids of what was removed.
pub(super) async fn remove(
    objects: &Objects,
    places: &SharedPlaces,
    operation: &'static str,
    mut documents: Vec<Document>,
    still: impl Fn(&Sample) -> Result<bool> + Send + Sync + 'static,
) -> Result<u64> {
    let still = Arc::new(still);
    let mut gone = Vec::new();
    while !documents.is_empty() {
        let rest = documents.split_off(documents.len().min(PART));
        let (removed, ended) = remove_part(objects, places, operation, documents, &still).await;
        gone.extend(removed);
        if let Err(error) = ended {
            return Err(error.with_stored_ids(gone));
        }
        documents = rest;
    }
    Ok(gone.len() as u64)
}

/// The same with a part of them; gives the ids of what was removed, and how it ended.
async fn remove_part<S: Fn(&Sample) -> Result<bool> + Send + Sync + 'static>(
    objects: &Objects,
    places: &SharedPlaces,
    operation: &'static str,
    documents: Vec<Document>,
    still: &Arc<S>,
) -> (Vec<String>, Result<()>) {
    let until = Instant::now() + GRACE;
    let ids: Vec<_> = documents
        .iter()
        .map(|found| found.id().to_owned())
        .collect();
    let (remover, still, tombstone) = (objects.clone(), Arc::clone(still), tombstone());
    let done = all_or_some(operation, objects.place(), documents, move |found| {
        let (objects, still, tombstone) = (remover.clone(), Arc::clone(&still), tombstone.clone());
        async move { bury(found, &objects, operation, &tombstone, &*still).await }
    })
    .await;
    // Those that went have given up their places, however it ended.
    let gone = ids.into_iter().zip(&done);
    let gone = gone.filter(|(_, answer)| matches!(answer, Some(Ok(true))));
    let gone: Vec<_> = gone.map(|(id, _)| id).collect();
    let settled = match gone.is_empty() {
        true => Ok(()),
        // A document that came back would have no place in the order.
        false => objects.settle(operation, SAMPLES).await,
    };
    let given_up = match settled {
        Ok(()) => give_up(objects, places, operation, gone.clone()).await,
        unsettled => unsettled,
    };
    // What is not in the log as removed leaves its tombstone there, by which whoever stores such an id sees that it was.
    if objects.is_server() && given_up.is_ok() {
        for error in clear(objects, operation, gone.clone(), until).await {
            tracing::warn!(name: "tombstone_left", %error, "what stands in the place of a removed document is left");
        }
    }
    let failure = done.into_iter().flatten().find_map(Result::err);
    (gone, failure.map_or(given_up, Err))
}

/// Takes the places of what was removed. What is in the log by now was done to earlier documents of these ids; only who has met a
/// tombstone for the whole lease gives its place up before.
async fn give_up(
    objects: &Objects,
    places: &SharedPlaces,
    operation: &'static str,
    gone: Vec<String>,
) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut places = places.lock().await;
    if objects.is_server() {
        places.refresh(objects, operation).await?;
    }
    places.give_up(objects, operation, gone).await
}

/// Takes a document away, unless another process changed it so that it should not be.
async fn bury<S: Fn(&Sample) -> Result<bool>>(
    found: Document,
    objects: &Objects,
    operation: &'static str,
    tombstone: &Bytes,
    still: &S,
) -> Result<bool> {
    if objects.is_server() {
        return found.bury(objects, operation, tombstone, still).await;
    }
    let key = Key::new(SAMPLES, Name::of(found.id()).as_str());
    objects.remove(operation, &key).await.map(|()| true)
}

/// Removes tombstones, and gives why others may be left: the samples are gone all the same, and who stores one of such an id
/// waits for the lease.
async fn clear(
    objects: &Objects,
    operation: &'static str,
    ids: Vec<String>,
    until: Instant,
) -> Vec<Error> {
    let remover = objects.clone();
    let removed = each(
        operation,
        objects.place(),
        REQUESTS,
        ids,
        move |id: String| {
            let objects = remover.clone();
            async move {
                let key = Key::new(SAMPLES, Name::of(&id).as_str());
                if Instant::now() >= until {
                    return Err(Error::new(ErrorKind::Backend, operation)
                        .with_subject(objects.shown(&key))
                        .with_message(
                            "too late to remove what stands in the place of the document",
                        ));
                }
                objects.remove_once(operation, &key).await
            }
        },
    );
    let left = removed.filter_map(|answer| std::future::ready(answer.err()));
    left.collect().await
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::backend::files::document::{Known, Met, Write};
    use crate::backend::runtime::wait;
    use crate::retry::RetryPolicy;
    use crate::sample::Status;

    const TEST: &str = "test";

    fn server() -> Objects {
        let policy = RetryPolicy::none();
        Objects::new(
            Arc::new(InMemory::new()),
            Path::default(),
            "server",
            policy,
            None,
        )
    }

    fn key() -> Key {
        Key::new(SAMPLES, Name::of("a").as_str())
    }

    async fn store(objects: &Objects, places: &SharedPlaces, status: Status) -> Result<bool> {
        store_as("a", objects, places, status).await
    }

    async fn store_as(
        id: &str,
        objects: &Objects,
        places: &SharedPlaces,
        status: Status,
    ) -> Result<bool> {
        let sample = Sample::builder("weather").id(id).status(status).build()?;
        let writes = Write::of(&[sample])?;
        let id = writes[0].id.as_str();
        let known = {
            let mut places = places.lock().await;
            places.claim(objects, TEST, [id]).await?;
            Known {
                stood: true,
                rank: places.rank(id),
            }
        };
        writes[0]
            .put(objects, places, TEST, known, &Met::default())
            .await
    }

    async fn read(objects: &Objects) -> Result<Option<Document>> {
        Document::read(objects, TEST, &Name::of("a")).await
    }

    /// Does it on a server that has the sample, which is pending.
    fn with_a_sample<W: Future<Output = Result<()>> + Send>(
        work: impl FnOnce(Objects, SharedPlaces) -> W + Send + 'static,
    ) {
        let done = wait(TEST, "server", async move {
            let (objects, places) = (server(), SharedPlaces::default());
            assert!(store(&objects, &places, Status::Pending).await?);
            work(objects, places).await
        });
        done.unwrap();
    }

    #[test]
    fn what_is_stored_as_something_else_meanwhile_stays() {
        with_a_sample(|objects, places| async move {
            let selected = vec![read(&objects).await?.unwrap()];
            assert!(!store(&objects, &places, Status::Ready).await?);
            let still = |sample: &Sample| Ok(sample.status() == Status::Pending);
            assert_eq!(remove(&objects, &places, TEST, selected, still).await?, 0);
            let left = read(&objects).await?.unwrap();
            assert_eq!(left.sample.status(), Status::Ready);
            let selected = vec![left];
            assert_eq!(
                remove(&objects, &places, TEST, selected, |_| Ok(true)).await?,
                1
            );
            assert!(objects.head(TEST, &key()).await?.is_none());
            assert!(!places.lock().await.stands("a"));
            Ok(())
        });
    }

    #[test]
    fn what_is_gone_is_told_where_the_rest_cannot_be_removed() {
        with_a_sample(|objects, places| async move {
            let ids: Vec<_> = (0..PART + 5)
                .map(|number| format!("s-{number:02}"))
                .collect();
            let mut selected = Vec::new();
            for id in &ids {
                store_as(id, &objects, &places, Status::Pending).await?;
                selected.extend(Document::read(&objects, TEST, &Name::of(id)).await?);
            }
            // It is asked about again, and nobody knows.
            let changed = format!("s-{PART}");
            store_as(&changed, &objects, &places, Status::Ready).await?;
            let still = |_: &Sample| Err(Error::new(ErrorKind::Backend, TEST));
            let removed = remove(&objects, &places, TEST, selected, still).await;
            let gone = removed.unwrap_err().stored_ids().to_vec();
            assert!(gone.len() >= PART, "{gone:?}");
            for id in &ids {
                assert_eq!(gone.contains(id), !places.lock().await.stands(id), "{id}");
            }
            Ok(())
        });
    }

    #[test]
    fn a_tombstone_is_waited_for_until_it_is_gone_or_left() {
        with_a_sample(|objects, places| async move {
            let tombstone = tombstone();
            let found = read(&objects).await?.unwrap();
            assert!(found.bury(&objects, TEST, &tombstone, |_| Ok(true)).await?);
            assert!(read(&objects).await?.is_none());
            // Whoever put it there removes it a moment later, and the sample is stored then.
            let begun = Instant::now();
            let storing = tokio::spawn({
                let (objects, places) = (objects.clone(), Arc::clone(&places));
                async move { store(&objects, &places, Status::Ready).await }
            });
            tokio::time::sleep(LEASE / 4).await;
            assert_eq!(objects.get(TEST, &key()).await?.unwrap().bytes, tombstone);
            objects.remove(TEST, &key()).await?;
            assert!(storing.await.unwrap()?);
            assert!(begun.elapsed() >= LEASE / 4);
            assert!(read(&objects).await?.is_some());

            // One of a process that died has a document in its place when its lease is over.
            let found = read(&objects).await?.unwrap();
            assert!(found.bury(&objects, TEST, &tombstone, |_| Ok(true)).await?);
            let begun = Instant::now();
            assert!(store(&objects, &places, Status::Ready).await?);
            assert!(begun.elapsed() >= LEASE);
            // And is not removed after the grace, which is told.
            let left = clear(&objects, TEST, vec!["a".to_owned()], begun).await;
            assert_eq!(left.len(), 1);
            assert!(left[0].to_string().contains("too late"), "{}", left[0]);
            assert!(read(&objects).await?.is_some());
            Ok(())
        });
    }

    #[test]
    fn a_tombstone_is_no_document() {
        let sample = Sample::builder("p").id("a").build().unwrap();
        let shortest = sample.to_json_text().unwrap();
        assert!(shortest.len() as u64 > TOMBSTONE_BYTES_MAX, "{shortest}");
        assert!(is_tombstone(&tombstone()));
        assert_ne!(tombstone(), tombstone());
    }
}
