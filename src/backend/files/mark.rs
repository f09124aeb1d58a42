//! The mark: the object that says that samples are kept here, and in which version of the layout.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::document::SAMPLES;
use super::objects::{Key, Objects};
use super::places::FOLDER as ORDER;
use super::{OPEN, not_there};
use crate::backend::{DELTA_LOG, DOCUMENTS_MARK};
use crate::error::{Error, ErrorKind, Result};

/// Its name.
pub(super) const MARK: &str = DOCUMENTS_MARK;
const VERSION: u32 = 1;

/// What the mark holds.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The version of the layout.
    samplestore_files: u32,
    /// Tells this place's cursors from those of others; 16 digits of hex.
    identity: String,
}

/// The identity of the place; one that is new is marked first, when it may be made. Where a Delta Lake table is it may
/// not: whoever keeps the table in order would meet documents there.
pub(super) async fn identity(objects: &Objects, create: bool) -> Result<u64> {
    let key = Key::new("", MARK);
    let wrong = |kind| Error::new(kind, OPEN).with_subject(objects.shown(&key));
    if create {
        let mark = Mark {
            samplestore_files: VERSION,
            identity: format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().0),
        };
        let text = serde_json::to_vec(&mark)
            .map_err(|cause| wrong(ErrorKind::Backend).with_cause(cause))?;
        let text = Bytes::from(text);
        if objects.get(OPEN, &key).await?.is_none() {
            if !objects.names(OPEN, DELTA_LOG, None).await?.is_empty() {
                return Err(wrong(ErrorKind::InvalidArgument)
                    .with_subject(objects.place())
                    .with_message(
                        "a Delta Lake table is there; documents need a place of their own",
                    ));
            }
            let folders = [SAMPLES, ORDER];
            let mut overlaps = objects.is_within_another(OPEN, folders, MARK).await;
            for folder in folders {
                let found = objects.get(OPEN, &Key::new(folder, MARK)).await?;
                // A sample may have that name.
                overlaps |=
                    found.is_some_and(|found| serde_json::from_slice::<Mark>(&found.bytes).is_ok());
            }
            if overlaps {
                return Err(wrong(ErrorKind::InvalidArgument)
                    .with_subject(objects.place())
                    .with_message(
                        "it is a folder of a place of documents, or one of its own folders is a place",
                    ));
            }
            if objects.is_server() {
                check_conditions(objects).await?;
            }
            objects.create(OPEN, &key, &text).await?;
        }
    }
    let Some(found) = objects.get(OPEN, &key).await? else {
        let error = not_there(objects.shown(&key));
        return Err(match objects.names(OPEN, SAMPLES, None).await?.is_empty() {
            true => error,
            false => error.with_message(
                "the object that marks the place is gone, though samples are there; storing one makes it again",
            ),
        });
    };
    let mark: Mark = serde_json::from_slice(&found.bytes)
        .map_err(|cause| wrong(ErrorKind::Damaged).with_cause(cause))?;
    if mark.samplestore_files != VERSION {
        return Err(wrong(ErrorKind::FormatTooNew));
    }
    u64::from_str_radix(&mark.identity, 16)
        .map_err(|cause| wrong(ErrorKind::Damaged).with_cause(cause))
}

/// Makes sure that the server keeps the conditions of writes, and the metadata by which they are known. It is tried on another object, since a mark that is there
/// says that it does.
async fn check_conditions(objects: &Objects) -> Result<()> {
    let name = uuid::Uuid::new_v4().simple();
    let key = Key::new("", format!("{name}.tmp"));
    let ignored = ignored_condition(objects, &key).await;
    // One that stays does no harm.
    let _ = objects.remove(OPEN, &key).await;
    match ignored? {
        None => Ok(()),
        Some(what) => Err(Error::new(ErrorKind::Unsupported, OPEN)
            .with_subject(objects.place())
            .with_message(format!("the server {what}"))),
    }
}

/// What the server does against a condition, or leaves out of an object. Of writes that should be done the answer may be lost, so only
/// those count that should not be.
async fn ignored_condition(objects: &Objects, key: &Key) -> Result<Option<&'static str>> {
    let [first, second, third] = ["1\n", "2\n", "3\n"].map(Bytes::from);
    let name = uuid::Uuid::new_v4().simple().to_string();
    objects.create_as(OPEN, key, &first, &name).await?;
    if objects.create(OPEN, key, &second).await? {
        return Ok(Some(
            "lets an object be made twice (If-None-Match); conditional writes are needed",
        ));
    }
    let Some(found) = objects.get(OPEN, key).await? else {
        return Ok(None);
    };
    if !found.version.lineage.has(&name) {
        return Ok(Some(
            "does not keep the metadata of an object; it is needed",
        ));
    }
    objects.update(OPEN, key, &second, &found.version).await?;
    let is_replaced = objects.update(OPEN, key, &third, &found.version).await?;
    Ok(is_replaced.then_some(
        "replaces an object that is not what was read (If-Match); conditional writes are needed",
    ))
}
