//! [`Document`]: a sample in its object, read and moved; [`Write`]: one that is to be written.

use bytes::Bytes;
use object_store::UpdateVersion;

use super::name::Name;
use super::objects::{Key, Objects};
use crate::backend::batch::last_of_each_id;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::sample::{Sample, Status};

/// The folder of documents.
pub(super) const SAMPLES: &str = "samples";
/// How often a sample is moved that other processes change meanwhile.
const MOVES_MAX: u32 = 16;

/// A sample as it stands in its document.
pub(super) struct Document {
    pub(super) sample: Sample,
    pub(super) version: UpdateVersion,
}

/// A document that is to be written.
pub(super) struct Write {
    /// The sample's position in its batch.
    pub(super) position: usize,
    pub(super) id: String,
    bytes: Bytes,
}

impl Document {
    pub(super) fn id(&self) -> &str {
        self.sample.id()
    }

    /// Moves the sample to another status, unless another process changed it so that it should not be.
    pub(super) async fn move_to(
        mut self,
        objects: &Objects,
        operation: &'static str,
        to: Status,
        still: impl Fn(&Sample) -> Result<bool>,
    ) -> Result<bool> {
        let name = Name::of(self.sample.id());
        let key = Key::new(SAMPLES, name.as_str());
        for _ in 0..MOVES_MAX {
            let bytes = text(&self.sample.with_status(to))?;
            if objects
                .update(operation, &key, &bytes, self.version)
                .await?
            {
                return Ok(true);
            }
            match Self::read(objects, operation, &name).await? {
                Some(found) if still(&found.sample)? => self = found,
                _ => return Ok(false),
            }
        }
        Err(Error::new(ErrorKind::Backend, operation)
            .with_subject(objects.shown(&key))
            .with_message("other processes change it all the time")
            .with_retryable(true))
    }

    /// Reads a document, if it is there, and makes sure that it is the one of its name.
    pub(super) async fn read(
        objects: &Objects,
        operation: &'static str,
        name: &Name,
    ) -> Result<Option<Self>> {
        let key = Key::new(SAMPLES, name.as_str());
        let Some(found) = objects.get(operation, &key).await? else {
            return Ok(None);
        };
        let damaged = || {
            let error = Error::new(ErrorKind::Damaged, operation);
            error.with_subject(objects.shown(&key))
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

    /// Writes the document and says whether it is a new one. `is_known` is a guess.
    pub(super) async fn put(
        &self,
        objects: &Objects,
        operation: &'static str,
        is_known: bool,
    ) -> Result<bool> {
        let name = Name::of(&self.id);
        let key = Key::new(SAMPLES, name.as_str());
        let is_there = is_known && objects.exists(operation, &key).await?;
        if !is_there && objects.create(operation, &key, &self.bytes).await? {
            return Ok(true);
        }
        if name.is_hashed()
            && let Some(other) = Document::read(objects, operation, &name).await?
            && other.sample.id() != self.id
        {
            return Err(Error::invalid_sample(Limit::Field {
                field: "id",
                problem: "has the hash of another long id that is stored".to_owned(),
            }));
        }
        objects.replace(operation, &key, &self.bytes).await?;
        Ok(false)
    }
}

/// What a document holds.
fn text(sample: &Sample) -> Result<Bytes> {
    let mut text = sample.to_json_text()?;
    text.push('\n');
    Ok(text.into())
}
