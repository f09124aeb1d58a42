//! [`Disk`]: a local disk as a store of objects that are durable before they can be seen.
//!
//! A commit is a file that must not be there yet. It is written beside its place, synced, and linked to its name;
//! then the folder is synced. So a commit that others see, and build on, survives the loss of power. What a writer was writing when
//! it was killed stays beside its place, until [`remove_staged`] takes it away.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store_0_13::local::LocalFileSystem;
use object_store_0_13::path::Path as StorePath;
use object_store_0_13::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use crate::backend::{DELTA_LOG, folder};

const NAME: &str = "disk";

/// The whole disk: objects are named by their paths from its root.
#[derive(Debug, Default)]
pub(super) struct Disk {
    inner: LocalFileSystem,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let path = self.inner.path_to_filesystem(location)?;
        let is_new = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            // Nothing here asks for it, and a disk has no versions of objects.
            PutMode::Update(_) => return self.inner.put_opts(location, payload, options).await,
        };
        let shown = location.to_string();
        blocking(move || put(&path, &payload, is_new))
            .await?
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::AlreadyExists => Error::AlreadyExists {
                    path: shown,
                    source: cause.into(),
                },
                _ => failed(cause),
            })?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        // By itself it makes folders that may be gone after the loss of power.
        let new = path.clone();
        blocking(move || make_folder(&new)).await?.map_err(failed)?;
        Ok(Box::new(Upload {
            inner: self.inner.put_multipart_opts(location, options).await?,
            path,
        }))
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<StorePath>>,
    ) -> BoxStream<'static, Result<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A large object, in parts. Nobody looks for it before it is finished.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await?;
        let path = self.path.clone();
        let synced = blocking(move || {
            File::open(&path)?.sync_all()?;
            folder::sync_above(&path)
        });
        synced.await?.map_err(failed)?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|source| Error::JoinError { source })
}

fn failed(cause: io::Error) -> Error {
    Error::Generic {
        store: NAME,
        source: cause.into(),
    }
}

/// Writes a file whole; one that is new must not be there.
fn put(path: &Path, payload: &PutPayload, is_new: bool) -> io::Result<()> {
    let (staged, mut file) = stage(path)?;
    let written = payload
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| file.sync_all())
        .and_then(|()| match is_new {
            true => fs::hard_link(&staged, path),
            false => fs::rename(&staged, path),
        });
    if is_new || written.is_err() {
        // Lists leave it out by its name; it wastes its space if this fails.
        let _ = fs::remove_file(&staged);
    }
    written?;
    folder::sync_above(path)
}

/// A file beside the one to be, named as `LocalFileSystem` names its own: such names are no objects.
fn stage(path: &Path) -> io::Result<(PathBuf, File)> {
    let number = uuid::Uuid::new_v4().as_u64_pair().0;
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!("#{number}"));
    let staged = PathBuf::from(staged);
    let create = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&staged)
    };
    let file = match create() {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            make_folder(path)?;
            create()?
        }
        other => other?,
    };
    Ok((staged, file))
}

/// The name of the file that one was written for, if it is such a one.
fn staged_for(name: &str) -> Option<&str> {
    let (name, number) = name.split_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then_some(name)
}

/// Removes what writers below `root` were writing when they were killed, and says how many files that were: those that
/// have not been written to since `until`, and of which `is_own` says so by the folder, below `root` and at most so deep, and by the name that the
/// file was to have. What belongs to a table below stays.
pub(super) async fn remove_staged(
    root: PathBuf,
    depth_max: usize,
    until: SystemTime,
    is_own: impl Fn(&str, &str) -> bool + Send + 'static,
) -> Result<u64> {
    let removing = move || -> io::Result<u64> {
        let (mut removed, mut folders) = (0, vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let path = root.join(&folder);
            if !folder.is_empty() && path.join(DELTA_LOG).is_dir() {
                continue;
            }
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                if entry.file_type()?.is_dir() {
                    let below = match folder.is_empty() {
                        true => name,
                        false => format!("{folder}/{name}"),
                    };
                    if below.split('/').count() <= depth_max {
                        folders.push(below);
                    }
                } else if staged_for(&name).is_some_and(|name| is_own(&folder, name)) {
                    removed += u64::from(remove_old(&entry, until)?);
                }
            }
        }
        Ok(removed)
    };
    blocking(removing).await?.map_err(failed)
}

/// Removes a file that has not been written to since then, and says whether it did. One that is gone was its writer's to remove.
fn remove_old(entry: &fs::DirEntry, until: SystemTime) -> io::Result<bool> {
    let removed = entry.metadata().and_then(|metadata| {
        let is_old = metadata.modified()? <= until;
        if is_old {
            fs::remove_file(entry.path())?;
        }
        Ok(is_old)
    });
    match removed {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

/// Makes the folders above a file.
fn make_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), folder::make)
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use object_store_0_13::ObjectStoreExt;

    use super::*;
    use crate::backend::runtime::wait;

    #[test]
    fn what_is_new_is_made_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let root = StorePath::from_absolute_path(folder.path()).unwrap();
        let found = wait("test", "disk", async move {
            let disk = Disk::default();
            let path = root.clone().join("log").join("1.json");
            let put =
                |text: &'static str, mode: PutMode| disk.put_opts(&path, text.into(), mode.into());
            put("one", PutMode::Create).await.unwrap();
            let again = put("two", PutMode::Create).await;
            assert!(
                matches!(again, Err(Error::AlreadyExists { .. })),
                "{again:?}"
            );
            let text = disk.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(text, "one");
            put("three", PutMode::Overwrite).await.unwrap();
            let text = disk.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(text, "three");
            let names: Vec<_> = disk.list(Some(&root)).try_collect().await.unwrap();
            Ok(names.len())
        });
        assert_eq!(found.unwrap(), 1);
        let names = fs::read_dir(folder.path().join("log")).unwrap();
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn a_large_object_is_durable_in_new_folders_too() {
        let folder = tempfile::tempdir().unwrap();
        let root = StorePath::from_absolute_path(folder.path()).unwrap();
        let written = wait("test", "disk", async move {
            let path = root.join("pipeline=p").join("date=d").join("1.parquet");
            let options = PutMultipartOptions::default();
            let disk = Disk::default();
            let mut upload = disk.put_multipart_opts(&path, options).await.unwrap();
            upload.put_part("rows".into()).await.unwrap();
            upload.complete().await.unwrap();
            Ok(disk.get(&path).await.unwrap().bytes().await.unwrap())
        });
        assert_eq!(written.unwrap(), "rows");
        let synced = folder::synced::below(folder.path());
        let expected = ["", "pipeline=p", "pipeline=p/date=d"].map(Path::new);
        assert_eq!(synced, expected);
    }
}
