//! Exactly once: a push is known by replica, number and hash, and recorded before anything else in its transaction.

use sync_core::id::{Key, PushNo, TableNo};
use sync_core::wire::codec::{CodecError, decode, encode};
use sync_core::wire::message::PushAnswer;

use super::Taking;
use crate::store::error::StoreError;
use crate::store::speaker::{self, SyncError};
use crate::store::tx::WriteTx;

/// Where a push stands in its replica's chain.
pub(super) enum Admission {
    /// It is the next one, and recorded.
    Next,
    /// It was taken before.
    Answered(PushAnswer),
    /// Its number holds another push, or an answer no longer kept, or it follows another push than the last one taken.
    Fork,
    /// Its number is not the next one.
    Gap(PushNo),
}

impl Taking<'_> {
    /// Locks the replica, so that a second copy of the same push waits for the first one's answer, and records the push.
    pub(super) async fn admit(&self, tx: &WriteTx<'_>) -> Result<Admission, SyncError> {
        let push = self.push;
        let replica = push.speaker.replica.0;
        let known = speaker::check(&**tx, self.site.site, &push.speaker, true).await?;
        known.check_catalog(self.catalog)?;
        known.note_catalog(&**tx, &push.speaker).await?;
        if push.no.0 <= known.last_push {
            let stored = tx.prepare_cached("SELECT hash, answer FROM rejoin.pushes WHERE replica = $1 AND no = $2").await?;
            let Some(row) = tx.query_opt(&stored, &[&replica, &push.no.0]).await? else { return Ok(Admission::Fork) };
            let (hash, answer): (String, Option<Vec<u8>>) = (row.try_get(0)?, row.try_get(1)?);
            return match answer {
                Some(answer) if hash == self.hash => Ok(Admission::Answered(decode(&answer).map_err(corrupt)?)),
                _ => Ok(Admission::Fork),
            };
        }
        if push.no.0 > known.last_push + 1 {
            return Ok(Admission::Gap(PushNo(known.last_push)));
        }
        if push.previous != known.last_hash {
            return Ok(Admission::Fork);
        }
        // The site names the previous push, so it has that one's answer: it is kept no longer.
        let record = "WITH named AS (UPDATE rejoin.pushes SET answer = NULL WHERE replica = $1 AND no = $2::bigint - 1),
                           moved AS (UPDATE rejoin.replicas SET last_push = $2, last_hash = $3 WHERE id = $1)
                      INSERT INTO rejoin.pushes (replica, no, hash) VALUES ($1, $2, $3)";
        tx.execute(&tx.prepare_cached(record).await?, &[&replica, &push.no.0, &self.hash]).await?;
        Ok(Admission::Next)
    }

    /// Keeps the answer for a retry, and the exact rows for the pulls to come. An answer that no message can carry is [`SyncError::Unreadable`].
    pub(super) async fn store_answer(&self, tx: &WriteTx<'_>, answer: &PushAnswer, exact: &[(TableNo, Key)]) -> Result<(), SyncError> {
        let answer = encode(answer)?;
        let keys = if exact.is_empty() { None } else { Some(encode(&exact).map_err(corrupt)?) };
        let ticks: serde_json::Map<String, serde_json::Value> =
            tx.ticks().iter().map(|(scope, tick)| (scope.0.clone(), tick.0.into())).collect();
        let sql = "UPDATE rejoin.pushes SET answer = $3, exact = $4, ticks = $5 WHERE replica = $1 AND no = $2";
        let params = (&self.push.speaker.replica.0, &self.push.no.0, &answer, &keys, &serde_json::Value::Object(ticks));
        tx.execute(&tx.prepare_cached(sql).await?, &[params.0, params.1, params.2, params.3, params.4]).await?;
        Ok(())
    }
}

fn corrupt(error: CodecError) -> StoreError {
    StoreError::Corrupt(format!("a stored answer: {error}"))
}
