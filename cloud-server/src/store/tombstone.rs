//! What is left of rows that are gone: tombstones, and marks of rows that left a scope.

use deadpool_postgres::GenericClient;
use sync_core::catalog::Table;
use sync_core::change::{At, Image, Stamp, State};
use sync_core::id::{Key, ScopeId, Tick};
use sync_core::value::ColumnType;

use super::bulk::unnest;
use super::error::StoreError;
use super::row::{Param, refs};

/// The newest of what is left of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tombstone {
    /// Where it stands.
    pub(crate) at: At,
    /// The version after the delete; the row's next life begins above it.
    pub(crate) version: i64,
    /// When, as canonical timestamptz text.
    pub(crate) when: String,
    /// Who.
    pub(crate) author: String,
    /// A mark: the row lives on in another scope.
    pub(crate) left: bool,
    /// The row's last image by column names, as `to_jsonb` writes it.
    pub(crate) image: Option<serde_json::Value>,
}

impl Tombstone {
    /// As the site is told.
    pub(crate) fn as_image(&self) -> Image {
        Image {
            at: self.at.clone(),
            stamp: Stamp {
                version: self.version,
                updated_at: self.when.clone(),
                modified_by: Some(self.author.clone()),
                synced_at: Some(self.when.clone()),
            },
            state: if self.left { State::Left } else { State::Deleted },
        }
    }
}

/// Reads what is left of the rows of these keys: one entry for each key.
///
/// # Errors
/// The store failed.
pub(crate) async fn load(db: &impl GenericClient, table: &Table, keys: &[&Key]) -> Result<Vec<Option<Tombstone>>, StoreError> {
    let mut found = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let types: Vec<&str> = ["integer"].into_iter().chain(key_text_types(table)).collect();
    let sql = format!(
        "SELECT DISTINCT ON (k.c0) k.c0, x.scope, x.tick, x.version, x.at::text, x.author, x.left_scope, x.image
         FROM {}, rejoin.tombstones x
         WHERE x.table_no = ${} AND x.key = {} ORDER BY k.c0, x.left_scope, x.version DESC",
        unnest("k", &types, 1),
        types.len() + 1,
        key_text_sql(table, "k", 1),
    );
    let numbers: Vec<i32> = (0..keys.len()).filter_map(|no| i32::try_from(no).ok()).collect();
    let mut params: Vec<Param<'_>> = vec![Box::new(numbers)];
    params.extend(key_texts(table, keys));
    params.push(Box::new(i32::try_from(table.no.0).unwrap_or_default()));
    for row in db.query(&db.prepare_cached(&sql).await?, &refs(&params)).await? {
        let no = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default();
        let when = ColumnType::Timestamptz.parse(row.try_get(4)?).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        found[no] = Some(Tombstone {
            at: At { scope: ScopeId(row.try_get(1)?), tick: Tick(row.try_get(2)?) },
            version: row.try_get(3)?,
            when: when.to_text().into_owned(),
            author: row.try_get(5)?,
            left: row.try_get(6)?,
            image: row.try_get(7)?,
        });
    }
    Ok(found)
}

/// Keys as `rejoin.tombstones` holds them: an array of canonical texts each. Bound by columns, since PostgreSQL knows no arrays of arrays.
pub(crate) fn key_texts(table: &Table, keys: &[&Key]) -> Vec<Param<'static>> {
    let column = |no: usize| keys.iter().map(|key| key.0.get(no).map(|value| value.to_text().into_owned())).collect::<Vec<_>>();
    (0..table.key.len()).map(|no| Box::new(column(no)) as Param<'static>).collect()
}

/// The types of [`key_texts`].
pub(crate) fn key_text_types(table: &Table) -> impl Iterator<Item = &'static str> {
    table.key.iter().map(|_| "text")
}

/// The key made of [`key_texts`], unnested as `alias` from its column `first` on.
pub(crate) fn key_text_sql(table: &Table, alias: &str, first: usize) -> String {
    let texts: Vec<String> = (0..table.key.len()).map(|no| format!("{alias}.c{}", first + no)).collect();
    format!("ARRAY[{}]", texts.join(", "))
}

/// Reads a key back.
///
/// # Errors
/// The texts are no key of the table.
pub(crate) fn read_key(table: &Table, texts: &[String]) -> Result<Key, StoreError> {
    if texts.len() != table.key.len() {
        return Err(StoreError::Corrupt(format!("a tombstone of {} has a key of {} values", table.name, texts.len())));
    }
    let values: Result<Vec<_>, _> = table.key_columns().zip(texts).map(|(column, text)| column.ty.parse(text)).collect();
    values.map(Key).map_err(|error| StoreError::Corrupt(format!("a tombstone of {}: {error}", table.name)))
}

/// Removes what is left of rows that are there again.
///
/// # Errors
/// The store failed.
pub(crate) async fn remove(db: &impl GenericClient, table: &Table, keys: &[(&Key, &ScopeId)]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let types: Vec<&str> = ["text"].into_iter().chain(key_text_types(table)).collect();
    let sql = format!(
        "DELETE FROM rejoin.tombstones x USING {} WHERE x.table_no = ${} AND x.scope = k.c0 AND x.key = {}",
        unnest("k", &types, 1),
        types.len() + 1,
        key_text_sql(table, "k", 1),
    );
    let mut params: Vec<Param<'_>> = vec![Box::new(keys.iter().map(|(_, scope)| scope.0.as_str()).collect::<Vec<_>>())];
    params.extend(key_texts(table, &keys.iter().map(|(key, _)| *key).collect::<Vec<_>>()));
    params.push(Box::new(i32::try_from(table.no.0).unwrap_or_default()));
    db.execute(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    Ok(())
}
