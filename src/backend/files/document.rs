//! [`Document`]: a sample in its object, read and changed; [`Write`]: one that is to be written.
//!
//! What replaces an object on a server does so only if it is still what it was when it was looked at, and begins again
//! otherwise. So nobody writes over what another process wrote a moment before without having seen it, nor over the tombstone
//! of what is just being removed (`removal.rs`). A write whose answer is lost is not made again before it is known that it was not
//! carried out (`lineage.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::SharedPlaces;
use super::lineage::{Lineage, Version};
use super::name::Name;
use super::objects::{Expected, Found, Key, Objects};
use super::removal::{LEASE, TOMBSTONE_BYTES_MAX, is_tombstone};
use crate::backend::batch::last_of_each_id;
use crate::backend::runtime::Attempts;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::retry::RetryPolicy;
use crate::sample::{Sample, Status};

/// The folder of documents.
pub(super) const SAMPLES: &str = "samples";
/// How long something is tried that other processes come between.
const PATIENCE: Duration = LEASE.saturating_mul(2);
const PAUSES: RetryPolicy = RetryPolicy::exponential(u32::MAX, Duration::from_millis(5))
    .delay_max(Duration::from_millis(500));

/// A sample as it stands in its document.
pub(super) struct Document {
    pub(super) sample: Sample,
    pub(super) version: Version,
}

/// A document that is to be written.
pub(super) struct Write {
    /// The sample's position in its batch.
    pub(super) position: usize,
    pub(super) id: String,
    bytes: Bytes,
}

/// What the log of places said of an id when its write began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Whether it had a place before this store: a guess that it has a document.
    pub(super) stood: bool,
    /// The place that it has since.
    pub(super) rank: Option<u64>,
}

/// The tombstones that the writes of a batch have met, and since when. Those of one removal are alike, so that what it left is waited
/// for once and not by each write.
#[derive(Clone, Debug, Default)]
pub(super) struct Met(Arc<Mutex<HashMap<Bytes, Instant>>>);

impl Met {
    /// Whether this one was met for so long that nobody will remove it any more.
    fn is_left(&self, tombstone: &Bytes) -> bool {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = met.entry(tombstone.clone()).or_insert_with(Instant::now);
        since.elapsed() >= LEASE
    }
}

impl Document {
    pub(super) fn id(&self) -> &str {
        self.sample.id()
    }

    /// Moves the sample to another status, unless another process changed it so that it should not be.
    pub(super) async fn move_to(
        self,
        objects: &Objects,
        operation: &'static str,
        to: Status,
        still: impl Fn(&Sample) -> Result<bool>,
    ) -> Result<bool> {
        let moved = |sample: Sample| text(&sample.with_status(to));
        self.change(objects, operation, moved, still).await
    }

    /// Puts a tombstone in the place of the document, unless another process changed it so that it should not be.
    pub(super) async fn bury(
        self,
        objects: &Objects,
        operation: &'static str,
        tombstone: &Bytes,
        still: impl Fn(&Sample) -> Result<bool>,
    ) -> Result<bool> {
        let buried = |_| Ok(tombstone.clone());
        self.change(objects, operation, buried, still).await
    }

    /// Puts what is made of the sample in its place, for as long as `still` is true of it, and says whether it did.
    async fn change(
        mut self,
        objects: &Objects,
        operation: &'static str,
        made_of: impl Fn(Sample) -> Result<Bytes>,
        still: impl Fn(&Sample) -> Result<bool>,
    ) -> Result<bool> {
        let name = Name::of(self.sample.id());
        let key = Key::new(SAMPLES, name.as_str());
        let mut requests = Requests::new(objects, operation, &key);
        let mut turns = Turns::new();
        loop {
            let bytes = made_of(self.sample)?;
            let expected = Expected::Version(&self.version);
            if requests.put(&bytes, &expected, false).await? {
                return Ok(true);
            }
            // Where the answer was lost, it may have been this one that others removed since: nothing tells that any more.
            let Some(found) = objects.get(operation, &key).await? else {
                return Ok(false);
            };
            if requests.have_made(&found.version.lineage) {
                return Ok(true);
            }
            match Self::of(found, objects, operation, &name)? {
                Some(found) if still(&found.sample)? => self = found,
                _ => return Ok(false),
            }
            turns.pause(objects, operation, &key).await?;
        }
    }

    /// Reads a document, if it is there, and makes sure that it is the one of its name.
    pub(super) async fn read(
        objects: &Objects,
        operation: &'static str,
        name: &Name,
    ) -> Result<Option<Self>> {
        let key = Key::new(SAMPLES, name.as_str());
        match objects.get(operation, &key).await? {
            Some(found) => Self::of(found, objects, operation, name),
            None => Ok(None),
        }
    }

    /// What an object under a name holds; `None` for a tombstone.
    fn of(
        found: Found,
        objects: &Objects,
        operation: &'static str,
        name: &Name,
    ) -> Result<Option<Self>> {
        if objects.is_server() && is_tombstone(&found.bytes) {
            return Ok(None);
        }
        let damaged = || {
            let error = Error::new(ErrorKind::Damaged, operation);
            error.with_subject(objects.shown(&Key::new(SAMPLES, name.as_str())))
        };
        let text =
            std::str::from_utf8(&found.bytes).map_err(|cause| damaged().with_cause(cause))?;
        let sample = Sample::from_json_text(text).map_err(|cause| damaged().with_cause(cause))?;
        if Name::of(sample.id()) != *name {
            return Err(damaged()
                .with_sample_id(sample.id())
                .with_message("the sample in it belongs under another name"));
        }
        let version = found.version;
        Ok(Some(Self { sample, version }))
    }
}

impl Write {
    /// What a batch comes to: of one id twice, the later sample.
    pub(super) fn of(batch: &[Sample]) -> Result<Vec<Self>> {
        last_of_each_id(batch)
            .into_iter()
            .map(|(position, sample)| {
                let text =
                    text(sample).map_err(|error| error.with_sample(position, sample.id()))?;
                Ok(Self {
                    position,
                    id: sample.id().to_owned(),
                    bytes: text,
                })
            })
            .collect()
    }

    /// Writes the document and says whether it is a new one.
    pub(super) async fn put(
        &self,
        objects: &Objects,
        places: &SharedPlaces,
        operation: &'static str,
        known: Known,
        met: &Met,
    ) -> Result<bool> {
        let name = Name::of(&self.id);
        let key = Key::new(SAMPLES, name.as_str());
        let mut requests = Requests::new(objects, operation, &key);
        let mut turns = Turns::new();
        let mut rank = known.rank;
        if !known.stood && requests.put(&self.bytes, &Expected::Nothing, true).await? {
            return Ok(true);
        }
        loop {
            let standing = Standing::of(objects, operation, &key).await?;
            if let Some(is_new) = requests.unanswered {
                if standing.lineage().is_some_and(|it| requests.have_made(it)) {
                    return Ok(is_new);
                }
                // What others removed since was this one; or it was another one, whose store ended after this one had begun, so
                // that this one counts as the earlier of the two. Of one that replaces another that is known where they have stored
                // a newer one since: where there is none, a removal by a query may have taken the one before.
                let is_answered = is_new || matches!(standing, Standing::Document(_));
                if is_answered && self.is_moved(objects, places, operation, rank).await? {
                    return Ok(is_new);
                }
            }
            match standing {
                Standing::Document(version) => {
                    self.check_name(objects, operation, &name).await?;
                    let expected = Expected::Version(&version);
                    if requests.put(&self.bytes, &expected, false).await? {
                        return Ok(false);
                    }
                }
                Standing::Nothing => {
                    // It was looked at above otherwise.
                    if requests.unanswered != Some(true) {
                        rank = self.claim(objects, places, operation, None).await?;
                    }
                    if requests.put(&self.bytes, &Expected::Nothing, true).await? {
                        return Ok(true);
                    }
                    if !objects.is_server() {
                        // Nobody comes between there: what is in the way is no document, and the disk says what.
                        let bytes = &self.bytes;
                        objects.replace(operation, &key, bytes).await?;
                        return Ok(false);
                    }
                }
                Standing::Removed(found) if met.is_left(&found.bytes) => {
                    let left = known.rank.filter(|_| known.stood);
                    rank = self.claim(objects, places, operation, left).await?;
                    let expected = Expected::Version(&found.version);
                    if requests.put(&self.bytes, &expected, true).await? {
                        return Ok(true);
                    }
                }
                Standing::Removed(_) => {}
            }
            turns.pause(objects, operation, &key).await?;
        }
    }

    /// Two long ids may have one name.
    async fn check_name(
        &self,
        objects: &Objects,
        operation: &'static str,
        name: &Name,
    ) -> Result<()> {
        if name.is_hashed()
            && let Some(other) = Document::read(objects, operation, name).await?
            && other.sample.id() != self.id
        {
            return Err(Error::invalid_sample(Limit::Field {
                field: "id",
                problem: "has the hash of another long id that is stored".to_owned(),
            }));
        }
        Ok(())
    }

    /// Claims a place again, where another process may have removed the sample since its place was looked up, and gives it. If it
    /// is still the one that is `left`, of a sample that was removed without a word of it in the log, it is given up first.
    async fn claim(
        &self,
        objects: &Objects,
        places: &SharedPlaces,
        operation: &'static str,
        left: Option<u64>,
    ) -> Result<Option<u64>> {
        let mut places = places.lock().await;
        if objects.is_server() {
            let id = self.id.as_str();
            places.refresh(objects, operation).await?;
            if left.is_some() && places.rank(id) == left {
                let gone = vec![id.to_owned()];
                places.give_up(objects, operation, gone).await?;
            }
            places.claim(objects, operation, [id]).await?;
        }
        Ok(places.rank(&self.id))
    }

    /// Whether the sample has another place than it had: the one that stood there was removed.
    async fn is_moved(
        &self,
        objects: &Objects,
        places: &SharedPlaces,
        operation: &'static str,
        rank: Option<u64>,
    ) -> Result<bool> {
        let mut places = places.lock().await;
        places.refresh(objects, operation).await?;
        Ok(places.rank(&self.id) != rank)
    }
}

/// The requests of one write. On a server they have its name, and each is sent once: where the answer is lost, who sends it again
/// looks first what became of it, since another process may have seen the object, and changed or removed it.
struct Requests<'a> {
    objects: &'a Objects,
    operation: &'static str,
    key: &'a Key,
    name: String,
    /// Those that failed, one behind the other.
    attempts: Attempts,
    /// Whether the last one that has no answer would make a new object.
    unanswered: Option<bool>,
}

impl<'a> Requests<'a> {
    fn new(objects: &'a Objects, operation: &'static str, key: &'a Key) -> Self {
        Self {
            objects,
            operation,
            key,
            name: uuid::Uuid::new_v4().simple().to_string(),
            attempts: objects.attempts(),
            unanswered: None,
        }
    }

    /// Puts an object; `false` if what is there is not what is expected, and where there is no answer.
    async fn put(&mut self, bytes: &Bytes, expected: &Expected<'_>, is_new: bool) -> Result<bool> {
        let Self { objects, key, .. } = *self;
        loop {
            let put = objects.put_once(self.operation, key, bytes, expected, &self.name);
            match put.await {
                Ok(is_put) => {
                    self.attempts.succeeded();
                    return Ok(is_put);
                }
                Err(error) => self.attempts.pause(error).await?,
            }
            if objects.is_server() {
                self.unanswered = Some(is_new);
                return Ok(false);
            }
        }
    }

    /// Whether one of them was carried out, by what came of the object.
    fn have_made(&self, lineage: &Lineage) -> bool {
        lineage.has(&self.name)
    }
}

/// What stands under the name of a document.
enum Standing {
    Nothing,
    Document(Version),
    /// A tombstone.
    Removed(Found),
}

impl Standing {
    async fn of(objects: &Objects, operation: &'static str, key: &Key) -> Result<Self> {
        let Some(head) = objects.head(operation, key).await? else {
            return Ok(Self::Nothing);
        };
        if head.bytes > TOMBSTONE_BYTES_MAX || !objects.is_server() {
            return Ok(Self::Document(head.version));
        }
        Ok(match objects.get(operation, key).await? {
            None => Self::Nothing,
            Some(found) if is_tombstone(&found.bytes) => Self::Removed(found),
            Some(found) => Self::Document(found.version),
        })
    }

    fn lineage(&self) -> Option<&Lineage> {
        match self {
            Self::Nothing => None,
            Self::Document(version) => Some(&version.lineage),
            Self::Removed(found) => Some(&found.version.lineage),
        }
    }
}

/// Turns with other processes at one object.
struct Turns(Attempts);

impl Turns {
    fn new() -> Self {
        Self(Attempts::within(PAUSES, PATIENCE))
    }

    /// Waits before the next turn, unless there were enough.
    async fn pause(&mut self, objects: &Objects, operation: &'static str, key: &Key) -> Result<()> {
        let error = Error::new(ErrorKind::Backend, operation)
            .with_subject(objects.shown(key))
            .with_message("other processes change it at the same time")
            .with_retryable(true);
        self.0.pause(error).await
    }
}

/// What a document holds.
fn text(sample: &Sample) -> Result<Bytes> {
    let mut text = sample.to_json_text()?;
    text.push('\n');
    Ok(text.into())
}
