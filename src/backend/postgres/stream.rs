//! [`Stream`]: samples one by one, from one snapshot of the server.
//!
//! A task of our runtime holds a connection with a transaction (`REPEATABLE READ`, read-only) and a portal
//! on it, from which it takes rows piece by piece. Pieces go through a channel of one: one is being read on
//! while another is handed out, and no more. So a slow reader holds a connection and a snapshot, and no
//! memory. A stream that is dropped ends the transaction.
//!
//! How many rows make a piece of about [`PIECE_BYTES`] is known of the rows before. Where those that follow are larger, the
//! piece is handed out in parts, and the server waits in the middle of it.

use std::pin::pin;
use std::sync::Arc;
use std::vec;

use deadpool_postgres::Object;
use futures_util::TryStreamExt;
use futures_util::future::try_join;
use tokio::sync::mpsc;
use tokio_postgres::IsolationLevel;

use super::Shared;
use super::failure::Failure;
use super::patience::{Bound, hand_back};
use super::row::{self, Found};
use super::sql::Statement;
use crate::backend::runtime::wait;
use crate::error::Result;

/// Rows of the first piece, of which nobody knows how large they are, for a caller that may stop early.
pub(super) const FIRST_ROWS: i32 = 4;
/// No piece has more than so many times the rows of the one before, which may have been small ones.
const GROWTH: i32 = 8;
const ROWS_MAX: i32 = 4_096;
/// About how much JSON a piece holds once the size of rows is known.
const PIECE_BYTES: usize = 1 << 20;
/// A piece is handed out before it holds more than this and one row.
const PART_BYTES: usize = 2 * PIECE_BYTES;
/// Whoever takes the pieces may take any time, whatever the server is set to. It holds until the end of the transaction.
const PATIENT: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";

type Piece = Result<Vec<Found>>;

pub(super) struct Stream {
    operation: &'static str,
    shared: Arc<Shared>,
    samples: vec::IntoIter<Found>,
    /// `None` behind the end.
    pieces: Option<mpsc::Receiver<Piece>>,
}

impl Stream {
    /// Takes the snapshot, and the first samples with it.
    pub(super) fn open(
        operation: &'static str,
        shared: &Arc<Shared>,
        statement: Statement,
    ) -> Result<Self> {
        let (send, pieces) = mpsc::channel(1);
        let feeder = Arc::clone(shared);
        let mut stream = Self {
            operation,
            shared: Arc::clone(shared),
            samples: Vec::new().into_iter(),
            pieces: None,
        };
        let (first, pieces) = wait(operation, &shared.shown, async move {
            tokio::spawn(feed(operation, feeder, statement, send));
            Ok(next_piece(pieces).await)
        })?;
        if let Some(first) = first {
            stream.samples = first?.into_iter();
            stream.pieces = Some(pieces);
        }
        Ok(stream)
    }

    /// The next piece, waited for; `None` at the end.
    fn refill(&mut self) -> Option<Result<()>> {
        let pieces = self.pieces.take()?;
        if let Err(closed) = self.shared.check_open(self.operation) {
            return Some(Err(closed));
        }
        match wait(self.operation, &self.shared.shown, async move {
            Ok(next_piece(pieces).await)
        }) {
            Ok((Some(Ok(samples)), pieces)) => {
                self.samples = samples.into_iter();
                self.pieces = Some(pieces);
                Some(Ok(()))
            }
            Ok((Some(Err(error)), _)) | Err(error) => Some(Err(error)),
            Ok((None, _)) => None,
        }
    }
}

impl Iterator for Stream {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Result<Found>> {
        loop {
            if let Some(sample) = self.samples.next() {
                return Some(Ok(sample));
            }
            if let Err(error) = self.refill()? {
                return Some(Err(error));
            }
        }
    }
}

async fn next_piece(mut pieces: mpsc::Receiver<Piece>) -> (Option<Piece>, mpsc::Receiver<Piece>) {
    (pieces.recv().await, pieces)
}

/// The task: sends pieces until the end, an error, or nobody to take them.
async fn feed(
    operation: &'static str,
    shared: Arc<Shared>,
    statement: Statement,
    pieces: mpsc::Sender<Piece>,
) {
    let reading = async {
        let mut client = shared.pool.get().await?;
        let answer = read_all(&mut client, shared.bound, &statement, &pieces).await;
        if let Ok(End::Amid) = answer {
            // The server may have gigabytes of it to send, for which the next statement would wait.
            drop(Object::take(client));
            return Ok(());
        }
        hand_back(client, &shared.tls, answer.map(drop))
    };
    if let Err(failure) = reading.await {
        let error = failure.into_error(operation, &shared.shown);
        // Nobody reads on when this fails.
        let _ = pieces.send(Err(error)).await;
    }
}

/// Where reading ended.
enum End {
    /// Behind a piece.
    Behind,
    /// Amid one, the rest of which nobody takes.
    Amid,
}

async fn read_all(
    client: &mut Object,
    bound: Bound,
    statement: &Statement,
    pieces: &mpsc::Sender<Piece>,
) -> Result<End, Failure> {
    let begin = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true);
    let transaction = bound.wait(begin.start()).await?;
    let prepared = transaction.prepare_cached(&statement.text);
    let prepared = bound.wait(prepared).await?;
    let parameters = statement.parameters();
    // Both are sent before either is answered.
    let set = transaction.batch_execute(PATIENT);
    let bind = transaction.bind(&prepared, &parameters);
    let ((), portal) = bound.wait(try_join(set, bind)).await?;
    let mut rows_max = FIRST_ROWS;
    loop {
        // The server alone is waited for so.
        let rows = transaction.query_portal_raw(&portal, rows_max);
        let mut rows = pin!(bound.wait(rows).await?);
        let (mut found, mut held) = (Vec::new(), 0);
        let (mut count, mut bytes) = (0, 0);
        while let Some(row) = bound.wait(rows.try_next()).await? {
            let row = row::read(&row)?;
            count += 1;
            bytes += row.bytes;
            held += row.bytes;
            found.push(row);
            if held > PART_BYTES {
                held = 0;
                if pieces.send(Ok(std::mem::take(&mut found))).await.is_err() {
                    return Ok(End::Amid);
                }
            }
        }
        let is_last = count < rows_max as usize;
        rows_max = next_rows_max(rows_max, count, bytes);
        if pieces.send(Ok(found)).await.is_err() || is_last {
            break;
        }
    }
    // There is nothing to keep; the transaction ends when it is dropped.
    Ok(End::Behind)
}

/// How many rows the next piece has at the most, after one of so many rows and so much JSON.
pub(super) fn next_rows_max(rows_max: i32, rows: usize, bytes: usize) -> i32 {
    let Some(bytes_per_row) = bytes.checked_div(rows) else {
        return rows_max;
    };
    let fitting = PIECE_BYTES / bytes_per_row.max(1);
    let fitting = i32::try_from(fitting).unwrap_or(ROWS_MAX);
    fitting.clamp(1, ROWS_MAX.min(rows_max.saturating_mul(GROWTH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_with_small_rows_and_shrink_with_large_ones() {
        let mut rows = FIRST_ROWS;
        let mut pieces = vec![rows];
        for _ in 0..5 {
            rows = next_rows_max(rows, rows as usize, 100 * rows as usize);
            pieces.push(rows);
        }
        assert_eq!(pieces, [4, 32, 256, 2_048, 4_096, 4_096]);
        assert_eq!(next_rows_max(4_096, 4_096, 4_096 << 14), 64);
        assert_eq!(next_rows_max(64, 64, 64 << 24), 1);
        assert_eq!(next_rows_max(4_096, 10, 0), 4_096);
        assert_eq!(next_rows_max(4, 0, 0), 4);
    }
}
