//! [`hooked!`]: a store of objects in memory that asks tests about each request, so that others come between and answers are
//! lost where a test wants it.
//!
//! Backends have versions of the crate `object_store` of their own: the macro makes the store for either.

use std::sync::Arc;

use futures_util::future::BoxFuture;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Get,
    List,
    Delete,
}

/// When a test is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    /// It was carried out, and is not answered yet.
    Behind,
}

/// What becomes of a request, or of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // not every set of features has tests of all of them
pub(super) enum Fate {
    Goes,
    Lost,
    /// It is lost, and the client asks for the same again.
    Repeated,
}

/// Asked about a request for the object, or the folder, that has this path.
pub(super) type Hook =
    Arc<dyn Fn(Kind, Moment, String) -> BoxFuture<'static, Fate> + Send + Sync + 'static>;

/// The store `Hooked`, of the version of `object_store` that is named.
macro_rules! hooked {
    ($object_store:ident) => {
        use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
        use $object_store::memory::InMemory;
        use $object_store::path::Path;
        use $object_store::{
            CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
            ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
            PutResult,
        };

        use $crate::backend::hooked::{Fate, Hook, Kind, Moment};

        struct Hooked {
            inner: std::sync::Arc<InMemory>,
            hook: Hook,
            /// What it makes of the conditions and the metadata of a write.
            alters: fn(&mut PutOptions),
        }

        impl std::fmt::Debug for Hooked {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Hooked")
            }
        }

        impl std::fmt::Display for Hooked {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("hooked")
            }
        }

        fn lost() -> $object_store::Error {
            $object_store::Error::Generic {
                store: "hooked",
                source: "the connection was lost".into(),
            }
        }

        async fn ask(
            hook: Hook,
            kind: Kind,
            moment: Moment,
            path: &Path,
        ) -> $object_store::Result<Fate> {
            match hook(kind, moment, path.to_string()).await {
                Fate::Lost => Err(lost()),
                fate => Ok(fate),
            }
        }

        #[async_trait::async_trait]
        impl ObjectStore for Hooked {
            async fn put_opts(
                &self,
                location: &Path,
                payload: PutPayload,
                mut options: PutOptions,
            ) -> $object_store::Result<PutResult> {
                (self.alters)(&mut options);
                let ask = |moment| ask(self.hook.clone(), Kind::Put, moment, location);
                ask(Moment::Before).await?;
                let put = || {
                    let (payload, options) = (payload.clone(), options.clone());
                    self.inner.put_opts(location, payload, options)
                };
                let done = put().await?;
                match ask(Moment::Behind).await? {
                    Fate::Repeated => put().await,
                    _ => Ok(done),
                }
            }

            async fn put_multipart_opts(
                &self,
                location: &Path,
                options: PutMultipartOptions,
            ) -> $object_store::Result<Box<dyn MultipartUpload>> {
                self.inner.put_multipart_opts(location, options).await
            }

            async fn get_opts(
                &self,
                location: &Path,
                options: GetOptions,
            ) -> $object_store::Result<GetResult> {
                ask(self.hook.clone(), Kind::Get, Moment::Before, location).await?;
                self.inner.get_opts(location, options).await
            }

            fn delete_stream(
                &self,
                locations: BoxStream<'static, $object_store::Result<Path>>,
            ) -> BoxStream<'static, $object_store::Result<Path>> {
                let (inner, hook) = (self.inner.clone(), self.hook.clone());
                let removed = locations.then(move |location| {
                    let (inner, hook) = (inner.clone(), hook.clone());
                    async move {
                        let location = location?;
                        ask(hook.clone(), Kind::Delete, Moment::Before, &location).await?;
                        inner.delete(&location).await?;
                        ask(hook, Kind::Delete, Moment::Behind, &location).await?;
                        Ok(location)
                    }
                });
                removed.boxed()
            }

            fn list(
                &self,
                prefix: Option<&Path>,
            ) -> BoxStream<'static, $object_store::Result<ObjectMeta>> {
                let listed = self.inner.list(prefix);
                let (hook, prefix) = (self.hook.clone(), prefix.cloned().unwrap_or_default());
                let asked = async move {
                    let asked = ask(hook, Kind::List, Moment::Before, &prefix).await;
                    asked.map(|_| listed)
                };
                stream::once(asked).try_flatten().boxed()
            }

            async fn list_with_delimiter(
                &self,
                prefix: Option<&Path>,
            ) -> $object_store::Result<ListResult> {
                self.inner.list_with_delimiter(prefix).await
            }

            async fn copy_opts(
                &self,
                from: &Path,
                to: &Path,
                options: CopyOptions,
            ) -> $object_store::Result<()> {
                self.inner.copy_opts(from, to, options).await
            }
        }
    };
}
pub(super) use hooked;
