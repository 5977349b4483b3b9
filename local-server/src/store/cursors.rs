//! The replica's place in each scope it holds.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};
use sync_core::id::{ChangeId, ScopeId, Tick};
use sync_core::wire::message::Cursor;
use uuid::Uuid;

use super::db::DbError;

/// Every cursor, those of scopes that are being given up too: the cloud forgets such a scope once no cursor of it is named any more.
///
/// # Errors
/// The database failed.
pub fn all(connection: &Connection) -> Result<Vec<Cursor>, DbError> {
    let mut statement = connection.prepare_cached("SELECT scope, tick, change_id, mac FROM rejoin_cursors ORDER BY scope")?;
    let cursors = statement.query_map([], |row| {
        let change: String = row.get(2)?;
        let change = ChangeId(Uuid::try_parse(&change).unwrap_or_default());
        Ok(Cursor { scope: ScopeId(row.get(0)?), tick: Tick(row.get(1)?), change, mac: row.get(3)? })
    })?;
    Ok(cursors.collect::<Result<_, _>>()?)
}

/// Only the ticks, by scope.
///
/// # Errors
/// The database failed.
pub fn ticks(connection: &Connection) -> Result<HashMap<ScopeId, Tick>, DbError> {
    let mut statement = connection.prepare_cached("SELECT scope, tick FROM rejoin_cursors")?;
    let ticks = statement.query_map([], |row| Ok((ScopeId(row.get(0)?), Tick(row.get(1)?))))?;
    Ok(ticks.collect::<Result<_, _>>()?)
}

/// Moves the cursors to where a pull has come. Scopes that it no longer names are marked as being given up. Returns what moved, with the
/// tick before (`None` for a new scope) and after.
///
/// # Errors
/// The database failed.
pub fn advance(connection: &Connection, heads: &[Cursor]) -> Result<Moved, DbError> {
    let before = ticks(connection)?;
    let mut moved = Moved::default();
    let mut put = connection.prepare_cached(
        "INSERT INTO rejoin_cursors (scope, tick, change_id, mac, dropping) VALUES (?1, ?2, ?3, ?4, 0)
         ON CONFLICT (scope) DO UPDATE SET tick = ?2, change_id = ?3, mac = ?4, dropping = 0",
    )?;
    let mut drop_scope = connection.prepare_cached("UPDATE rejoin_cursors SET dropping = 1 WHERE scope = ?1 AND dropping = 0")?;
    for head in heads {
        let had = before.get(&head.scope);
        if had != Some(&head.tick) {
            // A cursor never goes back.
            if had.is_some_and(|had| *had > head.tick) {
                continue;
            }
            moved.0.insert(head.scope.clone(), (had.copied(), head.tick));
        }
        put.execute(params![head.scope.0, head.tick.0, head.change.to_string(), head.mac])?;
    }
    let named: std::collections::HashSet<&ScopeId> = heads.iter().map(|head| &head.scope).collect();
    for scope in before.keys().filter(|scope| !named.contains(scope)) {
        drop_scope.execute([&scope.0])?;
    }
    Ok(moved)
}

/// The scopes that the cloud no longer grants and whose rows are still here.
///
/// # Errors
/// The database failed.
pub fn dropping(connection: &Connection) -> Result<Vec<ScopeId>, DbError> {
    let mut statement = connection.prepare_cached("SELECT scope FROM rejoin_cursors WHERE dropping = 1 ORDER BY scope")?;
    let scopes = statement.query_map([], |row| row.get(0).map(ScopeId))?;
    Ok(scopes.collect::<Result<_, _>>()?)
}

/// Forgets a scope whose rows are gone.
///
/// # Errors
/// The database failed.
pub fn forget(connection: &Connection, scope: &ScopeId) -> Result<(), DbError> {
    connection.prepare_cached("DELETE FROM rejoin_cursors WHERE scope = ?1")?.execute([&scope.0])?;
    Ok(())
}

/// The cursors that a pull moved: the tick before, where there was one, and after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved(pub BTreeMap<ScopeId, (Option<Tick>, Tick)>);

impl Moved {
    /// Scopes written into one row of `sync_log`, so that it stays small.
    const LOGGED_MAX: usize = 200;

    /// The cursors before and after, as JSON objects by scope, for `sync_log`.
    #[must_use]
    pub fn to_log(&self) -> (String, String) {
        let object = |ticks: &mut dyn Iterator<Item = (String, i64)>| {
            serde_json::Value::Object(ticks.map(|(scope, tick)| (scope, tick.into())).collect())
        };
        let some = || self.0.iter().take(Self::LOGGED_MAX);
        let before = object(&mut some().filter_map(|(scope, (before, _))| before.map(|tick| (scope.0.clone(), tick.0))));
        let after = object(&mut some().map(|(scope, (_, after))| (scope.0.clone(), after.0)));
        (before.to_string(), after.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::Database;

    fn head(scope: &str, tick: i64) -> Cursor {
        Cursor { scope: ScopeId(scope.into()), tick: Tick(tick), change: ChangeId(Uuid::from_u128(7)), mac: "m".into() }
    }

    #[tokio::test]
    async fn a_cursor_never_goes_back_and_a_scope_not_named_is_given_up_until_it_is_named_again() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        db.apply(|connection| {
            let moved = advance(connection, &[head("global", 5), head("p/1", 2)])?;
            assert_eq!(moved.to_log(), ("{}".into(), r#"{"global":5,"p/1":2}"#.into()));
            let moved = advance(connection, &[head("global", 4)])?;
            assert_eq!(moved, Moved::default());
            assert_eq!(all(connection)?, [head("global", 5), head("p/1", 2)]);
            assert_eq!(dropping(connection)?, [ScopeId("p/1".into())]);
            let moved = advance(connection, &[head("global", 6), head("p/1", 9)])?;
            assert_eq!(moved.to_log(), (r#"{"global":5,"p/1":2}"#.into(), r#"{"global":6,"p/1":9}"#.into()));
            assert_eq!(dropping(connection)?, []);
            forget(connection, &ScopeId("p/1".into()))?;
            assert_eq!(ticks(connection)?.len(), 1);
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
    }
}
