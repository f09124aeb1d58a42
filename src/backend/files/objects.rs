//! [`Objects`]: the few things that are done to objects, each with its retries, and their errors as ours.
//!
//! The client's own retries are off, so that there is one way of doing them; see `backend/runtime.rs`.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error as StoreError, GetOptions, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};

use super::lineage::{Lineage, Version};
use crate::backend::answer::{is_away, is_lasting, is_not_found, is_of_role};
use crate::backend::runtime::{Attempts, retrying};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;

/// Under what the names of writes stand in an object's metadata: letters alone, since others are not to be had with every
/// server.
const CHANGE: &str = "samplestorechange";

/// A place that objects are kept in.
#[derive(Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// What stands before every name.
    prefix: Path,
    /// The place as it is told to users.
    shown: Arc<str>,
    policy: RetryPolicy,
    /// Where it is on a disk; `None` for a server.
    folder: Option<Arc<std::path::Path>>,
}

/// An object as it was read.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    pub(super) version: Version,
}

/// What an object is like.
pub(super) struct Head {
    pub(super) bytes: u64,
    pub(super) version: Version,
}

/// What must be there before a write: anything else stays.
pub(super) enum Expected<'a> {
    Nothing,
    /// On a disk nobody comes between, since writers hold the lock.
    Version(&'a Version),
}

/// A folder of objects and a name in it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) folder: &'static str,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(folder: &'static str, name: impl Into<String>) -> Self {
        Self {
            folder,
            name: name.into(),
        }
    }
}

impl Objects {
    /// In a folder, or on a server if it is `None`: one that replaces an object only if it is still as it was read, when asked to.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        shown: impl fmt::Display,
        policy: RetryPolicy,
        folder: Option<&std::path::Path>,
    ) -> Self {
        Self {
            store,
            prefix,
            shown: shown.to_string().into(),
            policy,
            folder: folder.map(Arc::from),
        }
    }

    /// Whether other processes may change objects at any time: there is no lock as in a folder.
    pub(super) fn is_server(&self) -> bool {
        self.folder.is_none()
    }

    /// Whether this is a folder of another place, one of `folders` beside the object of this name.
    pub(super) async fn is_within_another(
        &self,
        operation: &'static str,
        folders: [&str; 2],
        mark: &str,
    ) -> bool {
        if let Some(folder) = &self.folder {
            // It may be a link, or reached by one.
            let paths = folder
                .canonicalize()
                .into_iter()
                .chain([folder.to_path_buf()]);
            let is_of_it = |folder: std::path::PathBuf| {
                let name = folder.file_name().and_then(|name| name.to_str());
                let outer = folder.parent().map(|outer| outer.join(mark));
                name.is_some_and(|name| folders.contains(&name))
                    && outer.is_some_and(|mark| mark.exists())
            };
            return paths.into_iter().any(is_of_it);
        }
        let mut parts: Vec<_> = self.prefix.parts().collect();
        if !parts
            .pop()
            .is_some_and(|name| folders.contains(&name.as_ref()))
        {
            return false;
        }
        let outer = Self {
            prefix: parts.into_iter().collect(),
            ..self.clone()
        };
        // Whoever may not look there does not write there.
        let found = outer.head(operation, &Key::new("", mark)).await;
        found.is_ok_and(|found| found.is_some())
    }

    /// How the place is told to users.
    pub(super) fn place(&self) -> Arc<str> {
        Arc::clone(&self.shown)
    }

    /// How an object is told to users.
    pub(super) fn shown(&self, key: &Key) -> String {
        let Self { shown, .. } = self;
        match key.folder {
            "" => format!("{shown}: {}", key.name),
            folder => format!("{shown}: {folder}/{}", key.name),
        }
    }

    fn path(&self, key: &Key) -> Path {
        match key.folder {
            "" => self.prefix.clone().join(key.name.as_str()),
            folder => self.prefix.clone().join(folder).join(key.name.as_str()),
        }
    }

    /// Reads an object, if it is there.
    pub(super) async fn get(&self, operation: &'static str, key: &Key) -> Result<Option<Found>> {
        let path = self.path(key);
        retrying(self.policy, || async {
            let read = async {
                let found = self.store.get(&path).await?;
                let version = version(&found.meta, &found.attributes);
                let bytes = found.bytes().await?;
                Ok(Found { bytes, version })
            };
            match read.await {
                Ok(found) => Ok(Some(found)),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.failure(operation, key, error)),
            }
        })
        .await
    }

    /// Asks about an object without reading it, if it is there.
    pub(super) async fn head(&self, operation: &'static str, key: &Key) -> Result<Option<Head>> {
        let path = self.path(key);
        retrying(self.policy, || async {
            let options = GetOptions::new().with_head(true);
            match self.store.get_opts(&path, options).await {
                Ok(found) => Ok(Some(Head {
                    bytes: found.meta.size,
                    version: version(&found.meta, &found.attributes),
                })),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.failure(operation, key, error)),
            }
        })
        .await
    }

    /// Makes an object, unless there is one: then the answer is `false`. After a lost answer and a retry
    /// it may also be `false` for the object that was made.
    pub(super) async fn create(
        &self,
        operation: &'static str,
        key: &Key,
        bytes: &Bytes,
    ) -> Result<bool> {
        let put = || self.put(operation, key, bytes, PutMode::Create, None);
        retrying(self.policy, put).await
    }

    /// The same under the name of the write: after a `false` it tells whose object it is.
    pub(super) async fn create_as(
        &self,
        operation: &'static str,
        key: &Key,
        bytes: &Bytes,
        name: &str,
    ) -> Result<bool> {
        let put = || self.put_once(operation, key, bytes, &Expected::Nothing, name);
        retrying(self.policy, put).await
    }

    /// Makes an object or replaces it, whatever it is.
    pub(super) async fn replace(
        &self,
        operation: &'static str,
        key: &Key,
        bytes: &Bytes,
    ) -> Result<()> {
        let put = || self.put(operation, key, bytes, PutMode::Overwrite, None);
        retrying(self.policy, put).await.map(drop)
    }

    /// Replaces an object on a server if it is still as it was read; else the answer is `false`, which it may also be after a
    /// lost answer and a retry.
    pub(super) async fn update(
        &self,
        operation: &'static str,
        key: &Key,
        bytes: &Bytes,
        version: &Version,
    ) -> Result<bool> {
        let mode = || PutMode::Update(version.of_object.clone());
        let put = || self.put(operation, key, bytes, mode(), None);
        retrying(self.policy, put).await
    }

    /// Puts an object by one request, under the name of the write; the answer is `false` if what is there is not what is
    /// expected.
    pub(super) async fn put_once(
        &self,
        operation: &'static str,
        key: &Key,
        bytes: &Bytes,
        expected: &Expected<'_>,
        name: &str,
    ) -> Result<bool> {
        let (mode, lineage) = match expected {
            Expected::Nothing => (PutMode::Create, Lineage::default().text_behind(name)),
            Expected::Version(version) if self.is_server() => (
                PutMode::Update(version.of_object.clone()),
                version.lineage.text_behind(name),
            ),
            Expected::Version(_) => (PutMode::Overwrite, String::new()),
        };
        // Files have no metadata.
        let lineage = self.is_server().then_some(lineage);
        self.put(operation, key, bytes, mode, lineage).await
    }

    /// Attempts at a request, as many as at those that are made here.
    pub(super) const fn attempts(&self) -> Attempts {
        Attempts::new(self.policy)
    }

    async fn put(
        &self,
        operation: &'static str,
        key: &Key,
        bytes: &Bytes,
        mode: PutMode,
        lineage: Option<String>,
    ) -> Result<bool> {
        let is_update = matches!(mode, PutMode::Update(_));
        let mut options = PutOptions::from(mode);
        if let Some(lineage) = lineage {
            let attribute = Attribute::Metadata(CHANGE.into());
            options.attributes.insert(attribute, lineage.into());
        }
        let payload = PutPayload::from(bytes.clone());
        match self.store.put_opts(&self.path(key), payload, options).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            Err(StoreError::NotFound { .. }) if is_update => Ok(false),
            Err(error) => Err(self.failure(operation, key, error)),
        }
    }

    /// Removes an object; one that is not there is fine.
    pub(super) async fn remove(&self, operation: &'static str, key: &Key) -> Result<()> {
        retrying(self.policy, || self.remove_once(operation, key)).await
    }

    /// The same by one request, for an object in whose place others put theirs: where the answer is lost, a second one could
    /// remove that.
    pub(super) async fn remove_once(&self, operation: &'static str, key: &Key) -> Result<()> {
        match self.store.delete(&self.path(key)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failure(operation, key, error)),
        }
    }

    /// Makes durable what was removed from a folder of objects. A server has done so when it answers.
    pub(super) async fn settle(&self, operation: &'static str, folder: &'static str) -> Result<()> {
        let Some(place) = &self.folder else {
            return Ok(());
        };
        let path = place.join(folder);
        let synced = tokio::task::spawn_blocking(move || crate::backend::folder::sync(&path));
        let synced = synced.await.map_err(io::Error::other).flatten();
        synced.map_err(|cause| Error::io(operation, self.shown(&Key::new(folder, "")), cause))
    }

    /// The names of a folder's objects, behind `after` when it is given, in no order.
    pub(super) async fn names(
        &self,
        operation: &'static str,
        folder: &'static str,
        after: Option<&str>,
    ) -> Result<Vec<String>> {
        let prefix = self.prefix.clone().join(folder);
        retrying(self.policy, || async {
            let listed = match after {
                None => self.store.list(Some(&prefix)),
                Some(after) => {
                    let offset = prefix.clone().join(after);
                    self.store.list_with_offset(Some(&prefix), &offset)
                }
            };
            let names = listed.try_filter_map(|meta| {
                // What lies in a folder below is not ours.
                let is_below = meta.location.parts_count() == prefix.parts_count() + 1;
                let name = meta.location.filename().filter(|_| is_below);
                std::future::ready(Ok(name.map(str::to_owned)))
            });
            let key = Key::new(folder, "");
            let names = names.try_collect().await;
            names.map_err(|error| self.failure(operation, &key, error))
        })
        .await
    }

    fn failure(&self, operation: &'static str, key: &Key, error: StoreError) -> Error {
        let subject = self.shown(key);
        let of_kind = |kind| Error::new(kind, operation).with_subject(&subject);
        // A disk says what it is about.
        if let Some(cause) = io_error(&error)
            && !self.is_server()
        {
            return Error::io(operation, subject, io::Error::new(cause.kind(), error));
        }
        let wrapped = match &error {
            StoreError::NotFound { .. } => of_kind(ErrorKind::NotFound)
                .with_message("there is no such bucket, or the object went away"),
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                of_kind(ErrorKind::Backend).with_message("the server does not allow it")
            }
            // When it lists objects, the client has no error of its own for it.
            StoreError::Generic { .. } if is_not_found(&error) => {
                of_kind(ErrorKind::NotFound).with_message("there is no such bucket")
            }
            StoreError::Generic { .. } if is_of_role(&error) => of_kind(ErrorKind::Backend)
                .with_message(
                    "there are no keys for it, neither given nor by a role of the machine",
                )
                .with_retryable(!is_lasting(&error)),
            // A server that cannot be reached, is too busy or has a fault of its own, unless it refused the request.
            StoreError::Generic { .. } => of_kind(ErrorKind::Backend)
                .with_retryable(!is_lasting(&error))
                .with_unreachable(is_away(&error)),
            _ => of_kind(ErrorKind::Backend),
        };
        wrapped.with_cause(error)
    }
}

fn version(meta: &ObjectMeta, attributes: &Attributes) -> Version {
    let lineage = attributes.get(&Attribute::Metadata(CHANGE.into()));
    Version {
        of_object: UpdateVersion {
            e_tag: meta.e_tag.clone(),
            version: meta.version.clone(),
        },
        lineage: Lineage::read(lineage.map(AsRef::as_ref)),
    }
}

/// The I/O error among an error's causes.
fn io_error(error: &StoreError) -> Option<&io::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
