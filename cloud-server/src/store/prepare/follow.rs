//! What is kept under the names of tables and columns follows a RENAME: open conflicts and those that can be taken back (as stamped writes, so
//! that their sites see it), what decisions wrote, and the last images of deleted rows. History keeps the names that things had then.

use std::collections::BTreeMap;

use sync_core::catalog::{Catalog, Table};
use tokio_postgres::Transaction;

use crate::store::error::StoreError;

/// The names of a table's columns that stand for another column now, or for none. What is kept under the name of a new column is of one that
/// was dropped, now or before: it must not be taken for the new one's.
fn renamed(old: &Table, now: &Table) -> BTreeMap<String, String> {
    let new = now.columns.iter().filter(|column| old.column(column.no).is_none());
    let mut names: BTreeMap<String, String> = new.map(|column| (column.name.clone(), format!("{} (dropped)", column.name))).collect();
    let kept = old.columns.iter().filter_map(|column| Some((column, now.column(column.no)?)));
    names.extend(kept.filter(|(old, now)| old.name != now.name).map(|(old, now)| (old.name.clone(), now.name.clone())));
    names
}

/// Lets everything that is kept under names follow.
pub(super) async fn renames(transaction: &Transaction<'_>, before: &Catalog, now: &Catalog) -> Result<(), StoreError> {
    for table in now.tables.iter().filter(|table| !table.engine) {
        let Some(old) = before.table(table.no) else { continue };
        let names = renamed(old, table);
        if names.is_empty() && old.name == table.name {
            continue;
        }
        let (from, to): (Vec<String>, Vec<String>) = names.into_iter().unzip();
        let no = table.no.0.cast_signed();
        let conflicts = transaction.execute(&conflicts(), &[&from, &to, &no, &table.name]).await?;
        if !from.is_empty() {
            let images = format!("UPDATE rejoin.tombstones SET image = {} WHERE table_no = $3 AND image ?| $1", image("image"));
            transaction.execute(&images, &[&from, &to, &no]).await?;
            transaction.execute(&writes(), &[&from, &to, &no]).await?;
        }
        tracing::debug!(from = %old.name, to = %table.name, columns = ?from, conflicts, "what is kept under names follows");
    }
    Ok(())
}

/// An object with its members under their new names; `$1` and `$2`: the old names and the new ones.
fn image(json: &str) -> String {
    format!(
        "CASE WHEN jsonb_typeof({json}) = 'object' THEN (
             SELECT coalesce(jsonb_object_agg(coalesce(m.now, e.key), e.value), '{{}}')
             FROM jsonb_each({json}) e LEFT JOIN unnest($1::text[], $2::text[]) m(was, now) ON m.was = e.key) ELSE {json} END"
    )
}

/// `$3`: the table, `$4`: its name.
fn conflicts() -> String {
    format!(
        "UPDATE rejoin.sync_conflicts c SET table_name = $4,
             columns = ARRAY(SELECT coalesce(m.now, u.name) FROM unnest(c.columns) WITH ORDINALITY u(name, place)
                             LEFT JOIN unnest($1::text[], $2::text[]) m(was, now) ON m.was = u.name ORDER BY u.place),
             base_data = {}, cloud_data = {}, local_data = {}
         WHERE c.table_no = $3 AND (c.table_name <> $4 OR c.columns && $1 OR c.base_data ?| $1 OR c.cloud_data ?| $1 OR c.local_data ?| $1)
           AND (c.resolution = 'PENDING' OR c.policy IS NOT NULL
             OR EXISTS (SELECT FROM rejoin.resolutions r WHERE r.conflict_id = c.id AND r.undone_at IS NULL))",
        image("c.base_data"),
        image("c.cloud_data"),
        image("c.local_data"),
    )
}

fn writes() -> String {
    format!(
        "UPDATE rejoin.resolutions r SET writes = (
             SELECT jsonb_agg(CASE WHEN (w.write ->> 'table')::integer = $3 THEN w.write || jsonb_build_object('before', {}) ELSE w.write END
                              ORDER BY w.place)
             FROM jsonb_array_elements(r.writes) WITH ORDINALITY w(write, place))
         WHERE r.writes @> jsonb_build_array(jsonb_build_object('table', $3::integer))",
        image("(w.write -> 'before')")
    )
}
