//! Batches that become one.

use redb::{ReadableTable, Table};

use super::{PREFIX_END, Pair, RUN_PAIRS, Run, run_key, write_batch};
use crate::database::failure::Context;
use crate::database::schema::{Kind, missing};
use crate::database::state::State;
use crate::error::{ErrorKind, Result};

const OPERATION: &str = "join the gathered ids";

/// Makes one batch of those from the number `from` on, and of the one before if that has room in its page: a look-up in the table
/// passes each, and whoever stores samples one by one makes one of each. Where one of them is damaged all stay as they are.
pub(in crate::database) fn join_batches(
    table: &mut Table<'_, u64, &'static [u8]>,
    state: &mut State,
    from: u64,
) -> Result<()> {
    let (from, mut pairs) = match read(table, state, from) {
        Err(error) if error.kind() == ErrorKind::Damaged => return Ok(()),
        read => read?,
    };
    if state.next_batch < from + 2 || pairs.is_empty() {
        return Ok(());
    }
    table
        .retain_in(run_key(from, 0).., |_, _| false)
        .context(OPERATION)?;
    state.next_batch = from;
    // Each batch is sorted, of which this kind of sort makes use.
    pairs.sort();
    write_batch(table, state, &pairs)
}

/// Where the batch that is to be made begins, and the pairs of those from there on.
fn read(
    table: &impl ReadableTable<u64, &'static [u8]>,
    state: &State,
    from: u64,
) -> Result<(u64, Vec<Pair>)> {
    let oldest = state.frozen_batch_end;
    let mut from = from.max(oldest);
    if from > oldest && has_room(table, from - 1)? {
        from -= 1;
    }
    let mut pairs = Vec::new();
    let mut next_key = run_key(from, 0);
    if state.next_batch < from + 2 {
        return Ok((from, pairs));
    }
    for entry in table.range(next_key..).context(OPERATION)? {
        let (key, sealed) = entry.context(OPERATION)?;
        let run = Run::new(key.value(), sealed.value())?;
        if run.key != next_key {
            return Err(missing(Kind::IdRun, next_key));
        }
        pairs.extend(run.pairs());
        next_key = run.next_key();
    }
    match next_key == run_key(state.next_batch, 0) {
        true => Ok((from, pairs)),
        false => Err(missing(Kind::IdRun, next_key)),
    }
}

/// Whether a batch is one run, which is not full.
fn has_room(table: &impl ReadableTable<u64, &'static [u8]>, batch: u64) -> Result<bool> {
    let key = run_key(batch, 0);
    let sealed = table.get(key).context(OPERATION)?;
    let sealed = sealed.ok_or_else(|| missing(Kind::IdRun, key))?;
    let run = Run::new(key, sealed.value())?;
    Ok(run.header.last_prefix == PREFIX_END - 1 && run.pairs.len() < RUN_PAIRS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::gathered::{Gathered, append_batch, end_batches, find_in_batches};

    const TABLE: redb::TableDefinition<'static, u64, &[u8]> = redb::TableDefinition::new("runs");

    fn hash(row: u64) -> u64 {
        row.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn append(
        table: &mut Table<'_, u64, &'static [u8]>,
        state: &mut State,
        rows: std::ops::Range<u64>,
    ) {
        let mut batch: Vec<Pair> = rows.map(|row| (hash(row), row)).collect();
        append_batch(table, state, &mut batch).unwrap();
    }

    fn assert_found(
        table: &Table<'_, u64, &'static [u8]>,
        state: &State,
        rows: std::ops::Range<u64>,
    ) {
        for row in rows.clone() {
            let found = find_in_batches(table, state, hash(row), |row| Ok(Some(row)));
            assert_eq!(found.unwrap(), Some(row));
        }
        let absent = find_in_batches(table, state, hash(rows.end), |row| Ok(Some(row)));
        assert_eq!(absent.unwrap(), None);
        let all = Gathered::read(table, state).unwrap();
        assert_eq!(
            all.active_len() + all.frozen().len() as u64,
            rows.count() as u64
        );
    }

    #[test]
    fn batches_that_are_joined_have_the_same_pairs() {
        let file = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(file).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(TABLE).unwrap();
        let mut state = State::new();
        let mut rows = 0;
        let mut append =
            |table: &mut Table<'_, u64, &'static [u8]>, state: &mut State, lens: &[u64]| {
                for len in lens {
                    append(table, state, rows..rows + len);
                    rows += len;
                }
                rows
            };
        let table = &mut table;
        // One alone stays as it is.
        let end = append(table, &mut state, &[3]);
        join_batches(table, &mut state, 0).unwrap();
        assert_eq!(state.next_batch, 1);
        assert_found(table, &state, 0..end);
        // The short one before is taken with them.
        let end = append(table, &mut state, &[1, 1, 40, 300, 7]);
        join_batches(table, &mut state, 1).unwrap();
        assert_eq!(state.next_batch, 1);
        assert_found(table, &state, 0..end);
        // And a long one is not; nor anything of a generation that is being merged.
        let end = append(table, &mut state, &[1, 1]);
        join_batches(table, &mut state, 1).unwrap();
        assert_eq!(state.next_batch, 2);
        assert_found(table, &state, 0..end);
        state.frozen_batch_end = 2;
        let active = state.active_ids;
        let end = append(table, &mut state, &[1, 1, 1]);
        join_batches(table, &mut state, 0).unwrap();
        assert_eq!((state.next_batch, state.active_ids), (3, active + 3));
        assert_found(table, &state, 0..end);
        // The same behind the end of the merge.
        table.retain_in(..run_key(2, 0), |_, _| false).unwrap();
        end_batches(table, 2).unwrap();
        state.id_buckets.merged_hash_end = u64::MAX;
        append(table, &mut state, &[2]);
        join_batches(table, &mut state, 2).unwrap();
        assert_eq!(state.next_batch, 3);
        let found = find_in_batches(table, &state, hash(end), |row| Ok(Some(row)));
        assert_eq!(found.unwrap(), Some(end));
    }

    #[test]
    fn whoever_stores_one_by_one_fills_pages() {
        let file = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(file).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(TABLE).unwrap();
        let mut state = State::new();
        let rows = 20 * RUN_PAIRS as u64;
        for row in 0..rows {
            // As often as it is opened, or committed without the log.
            let joined = state.next_batch;
            append(&mut table, &mut state, row..row + 1);
            join_batches(&mut table, &mut state, joined).unwrap();
        }
        assert_eq!(state.next_batch, 20);
        assert_found(&table, &state, 0..rows);
    }

    #[test]
    fn what_is_damaged_stays_as_it_is() {
        let file = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(file).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(TABLE).unwrap();
        let mut state = State::new();
        for row in 0..6 {
            append(&mut table, &mut state, row..row + 1);
        }
        for damage in [false, true] {
            let key = run_key(3, 0);
            match damage {
                true => drop(table.insert(key, [7].as_slice()).unwrap()),
                false => drop(table.remove(key).unwrap()),
            }
            let before: Vec<u64> = table
                .iter()
                .unwrap()
                .map(|run| run.unwrap().0.value())
                .collect();
            join_batches(&mut table, &mut state, 0).unwrap();
            join_batches(&mut table, &mut state, 4).unwrap();
            let after: Vec<u64> = table
                .iter()
                .unwrap()
                .map(|run| run.unwrap().0.value())
                .collect();
            assert_eq!((before, state.next_batch), (after, 6));
        }
    }
}
