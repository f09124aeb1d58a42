//! Making and removing indexes of fields.

use serde::Serialize;

use crate::database::Database;
use crate::database::view::View;
use crate::error::Result;
use crate::proceed::{Proceed, told};
use crate::query::Field;

const CREATE: &str = "create an index";
const DROP: &str = "drop an index";

/// Chunks that are added before what is written so far is made durable, which frees the memory that it takes.
const CHUNKS_PER_CHECKPOINT: u64 = if cfg!(test) { 2 } else { 8 };

/// An index of a field; see [`Database::create_index`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IndexStats {
    /// The field.
    pub field: Field,
    /// The share of samples that it has, 0 to 1. Queries use it from 1 on; making it again goes on from here.
    pub progress: f64,
}

impl Database {
    /// Makes an index of a field, so that conditions by which the field equals a value, or a number is in a range, read the records of
    /// samples that match and of few others, as [`explain`](Self::explain) says. Says whether there was none that is whole.
    ///
    /// `progress` is told how far it has come, from 0 to 1. It goes in steps of 61,440 rows, between which others
    /// write; until the last step queries do without it. When it is interrupted at any moment, calling again goes on where it was.
    /// From then on every commit keeps it: storing a sample takes about a microsecond more for each index, and the file
    /// about 20 bytes for each sample that it has, and for each that it had until it is compacted.
    ///
    /// Numbers are found by ranges and by equality, whole numbers beyond 2^53 with some neighbours; strings and bools by equality.
    /// A key is eight bytes of a row, which for a string are its hash: ranges of strings and `like` read what the other filters leave.
    /// A condition uses an index where it is joined to the others by `and`, and under `or` when each side asks of the same field; under `not` it
    /// does not. Of 61,440 rows that were stored one after the other all are read where more than half of them are in the range: to look at each
    /// costs about as much. A file may have 64.
    ///
    /// ```
    /// use samplestore::{Database, Query, Sample, Storage, data};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let database = Database::open(folder.path().join("samples.redb"))?;
    /// for temp in 0..100 {
    ///     let sample = Sample::builder("weather").measurements(data! { "temp" => temp });
    ///     database.store(&[sample.build()?])?;
    /// }
    /// database.create_index(&"measurements.temp".parse()?, |_| ())?;
    /// let explain = database.explain(&Query::new().condition("measurements.temp > 97".parse()?))?;
    /// assert_eq!((explain.samples, explain.records_read), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for the 65th, [`Interrupted`](crate::ErrorKind::Interrupted), after
    /// which a second call goes on where this one ended, and those of [`Storage::store`](crate::Storage::store).
    pub fn create_index<P: Proceed>(
        &self,
        field: &Field,
        mut progress: impl FnMut(f64) -> P,
    ) -> Result<bool> {
        let mut steps = 0;
        loop {
            let step = self.engine.write(CREATE, |transaction, view| {
                let rows = view.state.next_row;
                let built = transaction.build_index(field, view)?;
                Ok(built.map(|built| (built, rows)))
            })?;
            let Some((built, rows)) = step else { break };
            steps += 1;
            let answer = progress(built as f64 / rows.max(1) as f64);
            if built == rows {
                break;
            }
            if let Err(ended) = told(CREATE, answer.proceeds()) {
                self.engine.checkpoint(CREATE)?;
                return Err(ended);
            }
            if steps % CHUNKS_PER_CHECKPOINT == 0 {
                self.engine.checkpoint(CREATE)?;
            }
        }
        // No journal says anything of it; and where there was one already, another thread may be about to do this.
        self.engine.checkpoint(CREATE)?;
        Ok(steps > 0)
    }

    /// Removes the index of a field, also one that is not whole. Says whether there was one.
    ///
    /// # Errors
    /// Those of [`Storage::store`](crate::Storage::store).
    pub fn drop_index(&self, field: &Field) -> Result<bool> {
        let dropped = self.engine.write(DROP, |transaction, _| {
            Ok(transaction.drop_index(field)?.then_some(()))
        })?;
        self.engine.checkpoint(DROP)?;
        Ok(dropped.is_some())
    }

    /// The indexes of fields, by the order in which they were made.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), [`Damaged`](crate::ErrorKind::Damaged), [`Io`](crate::ErrorKind::Io).
    pub fn indexes(&self) -> Result<Vec<IndexStats>> {
        let view = self.engine.view("list the indexes")?;
        index_stats(&view)
    }
}

/// The indexes that a file has at one commit.
pub(in crate::database) fn index_stats(view: &View) -> Result<Vec<IndexStats>> {
    let indexes = view.indexes()?.iter().map(|index| IndexStats {
        field: index.field.clone(),
        progress: index.progress(view.state.next_row),
    });
    Ok(indexes.collect())
}
