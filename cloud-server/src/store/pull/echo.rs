//! A site is not sent back what it has: rows of a push that this very replica names as answered, and that were answered *exact*.
//! Everything else that the push's transaction touched is delivered, and so is every row of which this is not known.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::GenericClient;
use sync_core::id::{Key, ScopeId, TableNo, Tick};
use sync_core::wire::codec::decode;
use sync_core::wire::message::Pull;
use uuid::Uuid;

use crate::store::error::StoreError;

/// How many pushes' exact rows are kept in memory at once.
const KEPT_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Echo {
    replica: Uuid,
    /// The push that made a tick.
    pushes: HashMap<(ScopeId, i64), i64>,
    exact: HashMap<i64, HashSet<(TableNo, Key)>>,
}

impl Echo {
    /// Looks up which ticks answered pushes of this replica made that its cursors have not passed.
    pub(super) async fn load(db: &impl GenericClient, pull: &Pull) -> Result<Self, StoreError> {
        let Some(answered) = &pull.answered else { return Ok(Self::default()) };
        let replica = pull.speaker.replica.0;
        let sql = "SELECT p.no, t.key, t.value::bigint FROM rejoin.pushes p, jsonb_each_text(p.ticks) t
                   WHERE p.replica = $1 AND p.no <= $2 AND p.ticks IS NOT NULL AND p.exact IS NOT NULL";
        let rows = db.query(&db.prepare_cached(sql).await?, &[&replica, &answered.no.0]).await?;
        let pushes = rows.iter().map(|row| Ok(((ScopeId(row.try_get(1)?), row.try_get(2)?), row.try_get(0)?)));
        let pushes: Result<_, tokio_postgres::Error> = pushes.collect();
        Ok(Self { replica, pushes: pushes?, exact: HashMap::new() })
    }

    /// Since which tick the replica has written in scopes whose beginning it has not pulled yet. What is gone from them since then it has to be
    /// told on its first sync too: it may hold such rows by the answers to its pushes.
    pub(super) async fn written_since(db: &impl GenericClient, pull: &Pull) -> Result<HashMap<ScopeId, Tick>, StoreError> {
        let sql = "SELECT t.key, min(t.value::bigint) FROM rejoin.pushes p, jsonb_each_text(p.ticks) t
                   WHERE p.replica = $1 AND p.ticks IS NOT NULL GROUP BY t.key";
        let rows = db.query(&db.prepare_cached(sql).await?, &[&pull.speaker.replica.0]).await?;
        rows.iter().map(|row| Ok((ScopeId(row.try_get(0)?), Tick(row.try_get(1)?)))).collect()
    }

    /// Whether the replica has this row already.
    pub(super) async fn has(
        &mut self,
        db: &impl GenericClient,
        scope: &ScopeId,
        tick: Tick,
        table: TableNo,
        key: &Key,
    ) -> Result<bool, StoreError> {
        if self.pushes.is_empty() {
            return Ok(false);
        }
        let Some(&no) = self.pushes.get(&(scope.clone(), tick.0)) else { return Ok(false) };
        if !self.exact.contains_key(&no) {
            if self.exact.len() >= KEPT_MAX {
                self.exact.clear();
            }
            let statement = db.prepare_cached("SELECT exact FROM rejoin.pushes WHERE replica = $1 AND no = $2").await?;
            let bytes: Option<Vec<u8>> = db.query_one(&statement, &[&self.replica, &no]).await?.try_get(0)?;
            let keys: Vec<(TableNo, Key)> = match bytes {
                Some(bytes) => decode(&bytes).map_err(|error| StoreError::Corrupt(format!("exact rows of push {no}: {error}")))?,
                None => Vec::new(),
            };
            self.exact.insert(no, keys.into_iter().collect());
        }
        Ok(self.exact.get(&no).is_some_and(|keys| keys.contains(&(table, key.clone()))))
    }
}
