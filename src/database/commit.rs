//! [`Committer`]: how a transaction becomes durable, by the log or by redb.
//!
//! Most commits append their journal to the log, which is one contiguous write, and change redb in memory
//! only. When a half of the log is full, the commit that finds no room becomes a *checkpoint*: its journal goes
//! to the other half, and redb makes everything up to it durable, behind the caller's back, since the log has
//! it all. A journal that no half can take, one that finds no half free after a crash, and every commit while other processes read along, is
//! left to redb alone (*direct*). A commit of redb carries the log's mark, so that after a crash what follows it in the log
//! is carried out again (`write.rs`). Nothing here knows what a journal says.

use std::sync::Arc;

use redb::WriteTransaction;

use super::failure::{Context, commit_failure};
use super::gathered::join_batches;
use super::log::{Log, Record};
use super::schema::definition;
use super::state::{State, copy_state, read_state, write_state};
use super::view::View;
use super::volume::Volume;
use super::write::{Outcome, Transaction};
use crate::error::{Error, ErrorKind, Result};

/// The end of the log, and what redb has of it.
pub(super) struct Committer {
    volume: Arc<Volume>,
    log: Log,
    /// Whether commits go to the log at all.
    uses_log: bool,
    /// Whether an appended journal is durable before the commit returns.
    is_immediate: bool,
    /// Whether redb has commits that it has not made durable.
    is_ahead: bool,
    /// Whether the half of the log that is not being written may be: everything in it is in a commit that redb
    /// has made durable or, after [`wait_settled`](Volume::wait_settled), will have.
    is_other_half_free: bool,
    /// The batches of gathered ids from this one on are not joined yet.
    joined: u64,
    /// Whether a commit began to write and did not end well, so that nobody knows what is there.
    is_in_doubt: bool,
}

/// Where a commit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Logged,
    Checkpoint,
    Direct,
}

impl Committer {
    /// Behind what the file had when it was opened, with the state `state`.
    pub(super) fn new(
        volume: Arc<Volume>,
        log: Log,
        uses_log: bool,
        is_immediate: bool,
        state: &State,
    ) -> Self {
        Self {
            joined: state.next_batch,
            volume,
            is_other_half_free: !log.spans_halves(),
            log,
            uses_log,
            is_immediate,
            is_ahead: false,
            is_in_doubt: false,
        }
    }

    /// Carries out again what follows in the log, and gives the view behind it. `progress` is told how far that has come, from
    /// 0 to 1.
    pub(super) fn replay(
        &mut self,
        database: &redb::Database,
        view: &View,
        records: &[Record],
        progress: &dyn Fn(f64),
    ) -> Result<View> {
        const OPERATION: &str = "replay the log";
        let mut transaction = database.begin_write().context(OPERATION)?;
        let mut all = Transaction::begin(&transaction, view)?;
        let whole: usize = records.iter().map(|record| record.payload.len()).sum();
        let mut done = 0;
        for record in records {
            progress(done as f64 / whole.max(1) as f64);
            all.replay(&record.payload)?;
            done += record.payload.len();
        }
        let mut outcome = all.finish()?;
        outcome.state.mark = self.log.mark();
        write_mark(&transaction, &outcome.state)?;
        match self.uses_log {
            true => {
                let _ = transaction.set_durability(redb::Durability::None);
                transaction.commit().map_err(commit_failure)?;
                self.is_ahead = true;
            }
            false => self.commit_durably(transaction, false)?,
        }
        progress(1.0);
        tracing::info!(name: "replayed", commits = records.len(), "replayed the log");
        outcome.publish(database, view.identity)
    }

    /// Commits a transaction whose tables are written, all but the state, with what came of it. The state
    /// gets the mark of the commit. Says where it went.
    ///
    /// # Errors
    /// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when it may or may not be there after the next opening.
    pub(super) fn commit(
        &mut self,
        mut transaction: WriteTransaction,
        outcome: &mut Outcome,
    ) -> Result<Way> {
        self.check()?;
        let (state, journal) = (&mut outcome.state, outcome.journal.as_bytes());
        let way = self.way(journal.len());
        if !matches!(way, Way::Logged) {
            join(&transaction, state, self.joined)?;
            // The half that is written next is free when its checkpoint is durable.
            self.volume.wait_settled()?;
        }
        if matches!(way, Way::Checkpoint) {
            // Until this checkpoint is made, which an append that is refused prevents.
            self.is_other_half_free = false;
            self.log.switch_half();
        }
        let number = state.mark.number + 1;
        match way {
            Way::Direct => self.log.skip(number)?,
            _ => self.log.append(number, &[journal], self.is_immediate)?,
        }
        state.mark = self.log.mark();
        // The log has it now, and redb may never: the next opening decides. So it is too after a panic.
        self.is_in_doubt = true;
        let committed = write_mark(&transaction, state).and_then(|()| match way {
            Way::Logged => {
                let _ = transaction.set_durability(redb::Durability::None);
                transaction.commit().map_err(commit_failure)
            }
            Way::Checkpoint => self.commit_durably(transaction, true),
            Way::Direct => self.commit_durably(transaction, false),
        });
        committed.map_err(outcome_unknown)?;
        self.is_in_doubt = false;
        self.is_ahead = matches!(way, Way::Logged);
        if !self.is_ahead {
            self.joined = state.next_batch;
        }
        self.is_other_half_free |= !self.is_ahead;
        Ok(way)
    }

    fn way(&self, journal_bytes: usize) -> Way {
        if !self.uses_log || journal_bytes > self.log.payload_bytes_max() {
            Way::Direct
        } else if self.log.has_room(journal_bytes) {
            Way::Logged
        } else if self.is_other_half_free {
            Way::Checkpoint
        } else {
            Way::Direct
        }
    }

    /// Whether a commit failed so that nobody knows whether it is there.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Makes redb durable, up to this transaction; behind the caller's back if `is_lazy`.
    fn commit_durably(&self, mut transaction: WriteTransaction, is_lazy: bool) -> Result<()> {
        copy_state(&transaction)?;
        // Else an opening after a crash walks the whole file.
        transaction.set_quick_repair(true);
        let _lazy = is_lazy.then(|| Lazy::begin(&self.volume));
        transaction.commit().map_err(commit_failure)
    }

    /// Commits a transaction that is in no journal, as the commits are durable; for a [mutant](super::simulation).
    #[cfg(feature = "simulation")]
    pub(super) fn commit_apart(&mut self, mut transaction: WriteTransaction) -> Result<()> {
        if !self.uses_log {
            return self.commit_durably(transaction, false);
        }
        let _ = transaction.set_durability(redb::Durability::None);
        transaction.commit().map_err(commit_failure)?;
        self.is_ahead = true;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.is_in_doubt {
            true => Err(Error::new(ErrorKind::Io, "commit")
                .with_message("an earlier commit failed; close the file and open it again")),
            false => Ok(()),
        }
    }

    /// Makes every commit durable that is not.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.check()?;
        self.log.make_durable()
    }

    /// Makes redb durable, so that nothing in the log counts any more.
    pub(super) fn settle(&mut self, database: &redb::Database) -> Result<()> {
        self.check()?;
        self.volume.wait_settled()?;
        if self.is_ahead {
            self.checkpoint(database)?;
        }
        Ok(())
    }

    /// Makes redb durable with what it needs to open quickly after a crash.
    pub(super) fn checkpoint(&mut self, database: &redb::Database) -> Result<()> {
        self.check()?;
        let transaction = database.begin_write().context("flush")?;
        self.commit_durably(transaction, false)?;
        self.is_ahead = false;
        self.is_other_half_free = true;
        Ok(())
    }

    /// Makes redb durable for the last time: nobody goes on from the state that its writer has in memory.
    pub(super) fn close(self, database: &redb::Database) -> Result<()> {
        self.check()?;
        self.volume.wait_settled()?;
        if self.is_ahead {
            let transaction = database.begin_write().context("close")?;
            let mut state = read_state(
                &transaction
                    .open_table(definition::summary)
                    .context("close")?,
            )?;
            join(&transaction, &mut state, self.joined)?;
            write_mark(&transaction, &state)?;
            self.commit_durably(transaction, false)?;
        }
        Ok(())
    }
}

/// A time in which redb's syncs return at once, also when it ends in a panic.
struct Lazy<'a>(&'a Volume);

impl<'a> Lazy<'a> {
    fn begin(volume: &'a Volume) -> Self {
        volume.set_lazy(true);
        Self(volume)
    }
}

impl Drop for Lazy<'_> {
    fn drop(&mut self) {
        self.0.set_lazy(false);
    }
}

/// Joins what the commits of a checkpoint have gathered.
fn join(transaction: &WriteTransaction, state: &mut State, from: u64) -> Result<()> {
    let table = transaction.open_table(definition::ids_gathered);
    join_batches(&mut table.context("join the gathered ids")?, state, from)
}

/// Writes the state, whose mark is known only now.
fn write_mark(transaction: &WriteTransaction, state: &State) -> Result<()> {
    let table = transaction.open_table(definition::summary);
    write_state(&mut table.context("write the state")?, state)
}

fn outcome_unknown(error: Error) -> Error {
    match error.kind() {
        ErrorKind::OutcomeUnknown => error,
        _ => Error::new(ErrorKind::OutcomeUnknown, "commit")
            .with_message("the batch may or may not be stored; open the file again to see")
            .with_cause(error),
    }
}
