//! TEMPORARY stand-in for the database.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use samplestore::*;

#[derive(Clone)]
pub(crate) struct Database(Arc<Inner>);
struct Inner {
    path: PathBuf,
    memory: MemoryStorage,
    read_only: bool,
}
#[derive(Default)]
pub(crate) struct Options {
    create: bool,
    read_only: bool,
}
pub(crate) struct Snapshot(MemoryStorage);
#[derive(serde::Serialize)]
pub(crate) struct Explain {
    pub(crate) plan: &'static str,
}
impl std::fmt::Display for Explain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plan: {}", self.plan)
    }
}
pub(crate) struct Stats {
    pub(crate) samples: u64,
    pub(crate) facets: Facets,
    pub(crate) first: Option<DateTime<Utc>>,
    pub(crate) last: Option<DateTime<Utc>>,
    pub(crate) format_version: u32,
    pub(crate) file_bytes: u64,
    pub(crate) tables: Vec<TableStats>,
}
pub(crate) struct TableStats {
    pub(crate) name: &'static str,
    pub(crate) entries: u64,
    pub(crate) used_bytes: u64,
    pub(crate) allocated_bytes: u64,
}
impl Options {
    pub(crate) fn create(mut self, x: bool) -> Self {
        self.create = x;
        self
    }
    pub(crate) fn read_only(mut self, x: bool) -> Self {
        self.read_only = x;
        self
    }
    pub(crate) fn on_repair(self, _: impl Fn(f64) + Send + Sync + 'static) -> Self {
        self
    }
    pub(crate) fn open(self, path: &Path) -> Result<Database> {
        let memory = MemoryStorage::new();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let all: Result<Vec<_>> = text.lines().map(Sample::from_json_text).collect();
                memory.store(&all.map_err(|_| {
                    Error::new(ErrorKind::NotADatabase, "open a database")
                        .with_subject(path.display())
                })?)?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.create => {}
            Err(e) => return Err(Error::io("open a database", path.display(), e)),
        }
        Ok(Database(Arc::new(Inner {
            path: path.into(),
            memory,
            read_only: self.read_only,
        })))
    }
}
impl Drop for Inner {
    fn drop(&mut self) {
        if !self.read_only {
            let mut text = String::new();
            for s in self.memory.iterate(&Query::new()).unwrap() {
                text += &s.unwrap().to_json_text().unwrap();
                text.push('\n');
            }
            std::fs::write(&self.path, text).unwrap();
        }
    }
}
impl Database {
    pub(crate) fn options() -> Options {
        Options::default()
    }
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot(self.0.memory.clone()))
    }
    pub(crate) fn explain(&self, _q: &Query) -> Result<Explain> {
        Ok(Explain { plan: "scan" })
    }
    pub(crate) fn stats(&self) -> Result<Stats> {
        let facets = self.0.memory.facets(&Query::new())?;
        Ok(Stats {
            samples: facets.total(),
            facets,
            first: None,
            last: None,
            format_version: 0,
            file_bytes: 0,
            tables: vec![TableStats {
                name: "x",
                entries: 1,
                used_bytes: 2,
                allocated_bytes: 3,
            }],
        })
    }
}
impl Snapshot {
    pub(crate) fn list(&self, q: &Query) -> Result<Page> {
        self.0.list(q)
    }
    pub(crate) fn iterate(&self, q: &Query) -> Result<Samples<'_>> {
        self.0.iterate(q)
    }
    pub(crate) fn retrieve(&self, id: &str) -> Result<Option<Sample>> {
        self.0.retrieve(id)
    }
    pub(crate) fn count(&self, q: &Query) -> Result<u64> {
        self.0.count(q)
    }
    pub(crate) fn facets(&self, q: &Query) -> Result<Facets> {
        self.0.facets(q)
    }
}
impl Storage for Database {
    fn capabilities(&self) -> Capabilities {
        self.0.memory.capabilities()
    }
    fn store(&self, b: &[Sample]) -> Result<StoreReport> {
        self.0.memory.store(b)
    }
    fn close(&self) -> Result<()> {
        Ok(())
    }
}
