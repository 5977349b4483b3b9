//! Numbers that survive RENAME. An oid or attnum is evidence for a rename, believed only while the database is the one that was seen
//! before; otherwise, and for what was made anew, the name decides. Numbers are given once and never reused.

use std::collections::{BTreeMap, HashMap};

use sync_core::id::{ColumnNo, TableNo};
use tokio_postgres::Transaction;

use super::assemble::is_stamp;
use super::choose::{Chosen, FoundScope};
use super::successor;
use super::{FoundColumn, Identity, Schema};
use crate::store::error::StoreError;

/// The numbers of every synced table and column, by oid and attnum of now.
#[derive(Debug, Default)]
pub(crate) struct Numbers(HashMap<u32, TableNumbers>);

#[derive(Debug)]
pub(crate) struct TableNumbers {
    pub(crate) no: TableNo,
    /// What its scopes are called; empty unless it is the root.
    pub(crate) scope_name: String,
    columns: BTreeMap<i16, ColumnNo>,
}

impl Numbers {
    pub(crate) fn table(&self, oid: u32) -> Option<&TableNumbers> {
        self.0.get(&oid)
    }
}

impl TableNumbers {
    pub(crate) fn column(&self, attnum: i16) -> Option<ColumnNo> {
        self.columns.get(&attnum).copied()
    }
}

/// Something that has a number: a table (evidence: its oid) or a column (its attnum).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known<E> {
    pub(super) no: i32,
    pub(super) name: String,
    pub(super) evidence: E,
}

/// Which number each thing found now has; `None`: it is new. What is known and not found is gone.
fn match_up<E: PartialEq + Copy>(known: &[Known<E>], found: &[(E, String)], believed: bool) -> Vec<Option<i32>> {
    let by_evidence = |evidence: E| known.iter().find(|one| believed && one.evidence == evidence);
    let mut matched: Vec<Option<i32>> = found.iter().map(|(evidence, _)| by_evidence(*evidence).map(|one| one.no)).collect();
    for at in 0..found.len() {
        if matched[at].is_none() {
            let free = |one: &&Known<E>| one.name == found[at].1 && !matched.contains(&Some(one.no));
            matched[at] = known.iter().find(free).map(|one| one.no);
        }
    }
    matched
}

/// Gives numbers to what is synced and remembers under which names and oids it stands now.
pub(crate) async fn give(transaction: &Transaction<'_>, schema: &Schema, chosen: &[Chosen]) -> Result<Numbers, StoreError> {
    let believed = is_same_database(transaction, &schema.identity).await?;
    let rows = transaction
        .query("SELECT no, schema_name || '.' || table_name, oid FROM rejoin.tables WHERE dropped_at IS NULL ORDER BY no", &[])
        .await?;
    let known: Vec<Known<u32>> = rows.iter().map(|row| Known { no: row.get(0), name: row.get(1), evidence: row.get(2) }).collect();
    let found: Vec<(u32, String)> = schema.tables.iter().map(|table| (table.oid, format!("{}.{}", table.schema, table.name))).collect();
    let named = if believed { successor::named(transaction, schema, &known).await? } else { known.clone() };
    let matched = match_up(&named, &found, believed);

    let gone: Vec<i32> = known.iter().map(|one| one.no).filter(|no| !matched.contains(&Some(*no))).collect();
    transaction.execute("UPDATE rejoin.tables SET dropped_at = now() WHERE no = ANY($1)", &[&gone]).await?;
    // Names may have been swapped: first out of each other's way.
    let kept: Vec<i32> = matched.iter().flatten().copied().collect();
    transaction.execute("UPDATE rejoin.tables SET schema_name = '', table_name = no::text WHERE no = ANY($1)", &[&kept]).await?;
    for ((table, no), (_, name)) in schema.tables.iter().zip(&matched).zip(&found) {
        let Some(no) = no else { continue };
        let was = known.iter().find(|one| one.no == *no).map(|one| &one.name).filter(|was| *was != name);
        let sql = "UPDATE rejoin.tables SET schema_name = $2, table_name = $3, oid = $4, feed_again = feed_again OR oid <> $4 AND $5,
                       former = CASE WHEN $6::text IS NULL THEN former ELSE array_append(array_remove(former, $6), $6) END
                   WHERE no = $1";
        transaction.execute(sql, &[no, &table.schema, &table.name, &table.oid, &believed, &was]).await?;
    }
    let present: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    transaction.execute(&taken("tables", "true"), &[&present]).await?;
    let mut numbers = Numbers::default();
    for choice in chosen {
        let table = &schema.tables[choice.at];
        let no = match matched[choice.at] {
            Some(no) => no,
            None => {
                let sql = "INSERT INTO rejoin.tables (schema_name, table_name, oid) VALUES ($1, $2, $3) RETURNING no";
                transaction.query_one(sql, &[&table.schema, &table.name, &table.oid]).await?.get(0)
            }
        };
        let same_table = believed && known.iter().any(|one| one.no == no && one.evidence == table.oid);
        let columns = give_columns(transaction, schema, choice, no, same_table).await?;
        let scope_name = if choice.scope == FoundScope::Root { scope_name(transaction, no).await? } else { String::new() };
        numbers.0.insert(table.oid, TableNumbers { no: TableNo(no.cast_unsigned()), scope_name, columns });
    }
    Ok(numbers)
}

/// Forgets who was called as somebody is now: `$1`, the names that are there.
fn taken(of: &str, which: &str) -> String {
    format!(
        "UPDATE rejoin.{of} SET former = ARRAY(SELECT u.name FROM unnest(former) WITH ORDINALITY u(name, place) WHERE u.name <> ALL ($1::text[]) ORDER BY u.place)
         WHERE former && $1::text[] AND {which}"
    )
}

/// What the scopes of the root table are called: as it was when it first was the root. Another root that was called so before keeps its own.
async fn scope_name(transaction: &Transaction<'_>, no: i32) -> Result<String, StoreError> {
    let sql = "UPDATE rejoin.tables t SET scope_name = coalesce(t.scope_name, CASE
                   WHEN EXISTS (SELECT FROM rejoin.tables o WHERE o.scope_name = t.table_name) THEN t.table_name || '~' || t.no
                   ELSE t.table_name END)
               WHERE no = $1 RETURNING scope_name";
    Ok(transaction.query_one(sql, &[&no]).await?.get(0))
}

async fn give_columns(
    transaction: &Transaction<'_>,
    schema: &Schema,
    choice: &Chosen,
    table_no: i32,
    believed: bool,
) -> Result<BTreeMap<i16, ColumnNo>, StoreError> {
    let rows = transaction
        .query("SELECT no, column_name, attnum, dropped_at IS NULL FROM rejoin.columns WHERE table_no = $1", &[&table_no])
        .await?;
    let mut next = rows.iter().map(|row| row.get::<_, i32>(0)).max().unwrap_or(0);
    let living = rows.iter().filter(|row| row.get(3));
    let known: Vec<Known<i16>> = living.map(|row| Known { no: row.get(0), name: row.get(1), evidence: row.get(2) }).collect();
    let numbered = |column: &&FoundColumn| (column.ty.is_some() || column.left_out) && !is_stamp(&choice.stamps, &column.name);
    let columns: Vec<&FoundColumn> = schema.tables[choice.at].columns.iter().filter(numbered).collect();
    let found: Vec<(i16, String)> = columns.iter().map(|column| (column.attnum, column.name.clone())).collect();
    let matched = match_up(&known, &found, believed);

    let gone: Vec<i32> = known.iter().map(|one| one.no).filter(|no| !matched.contains(&Some(*no))).collect();
    let drop = "UPDATE rejoin.columns SET dropped_at = now() WHERE table_no = $1 AND no = ANY($2)";
    transaction.execute(drop, &[&table_no, &gone]).await?;
    let kept: Vec<i32> = matched.iter().flatten().copied().collect();
    if believed && made_again(&known, &found, &matched) {
        transaction.execute("UPDATE rejoin.tables SET feed_again = true WHERE no = $1", &[&table_no]).await?;
    }
    let aside = "UPDATE rejoin.columns SET column_name = no::text || '?' WHERE table_no = $1 AND no = ANY($2)";
    transaction.execute(aside, &[&table_no, &kept]).await?;
    let mut numbers = BTreeMap::new();
    let mut rows: (Vec<i32>, Vec<&str>, Vec<i16>, Vec<bool>) = Default::default();
    let (mut secrets, mut was): (Vec<bool>, Vec<Option<&str>>) = Default::default();
    for (column, no) in columns.iter().zip(&matched) {
        let no = no.unwrap_or_else(|| {
            next += 1;
            next
        });
        rows.0.push(no);
        rows.1.push(&column.name);
        rows.2.push(column.attnum);
        rows.3.push(column.left_out);
        secrets.push(column.left_out && column.secret);
        was.push(known.iter().find(|one| one.no == no).map(|one| one.name.as_str()).filter(|was| *was != column.name));
        if !column.left_out {
            numbers.insert(column.attnum, ColumnNo(no.cast_unsigned()));
        }
    }
    // What stayed at the cloud so far and travels now, sites have no values of.
    let travels = "UPDATE rejoin.tables SET feed_again = true WHERE no = $1 AND EXISTS (SELECT FROM rejoin.columns c
                       JOIN unnest($2::integer[], $3::boolean[]) u(no, left_out) ON c.table_no = $1 AND c.no = u.no
                       WHERE c.left_out AND NOT u.left_out)";
    transaction.execute(travels, &[&table_no, &rows.0, &rows.3]).await?;
    let sql = "INSERT INTO rejoin.columns AS c (table_no, no, column_name, attnum, left_out, secret, former)
               SELECT $1, u.no, u.name, u.attnum, u.left_out, u.secret, array_remove(ARRAY[u.was], NULL)
               FROM unnest($2::integer[], $3::text[], $4::smallint[], $5::boolean[], $6::boolean[], $7::text[]) u(no, name, attnum, left_out, secret, was)
               ON CONFLICT (table_no, no) DO UPDATE SET column_name = excluded.column_name, attnum = excluded.attnum,
                   left_out = excluded.left_out, secret = excluded.secret, former = array_remove(c.former, excluded.former[1]) || excluded.former";
    transaction.execute(sql, &[&table_no, &rows.0, &rows.1, &rows.2, &rows.3, &secrets, &was]).await?;
    let present: Vec<&str> = schema.tables[choice.at].columns.iter().map(|column| column.name.as_str()).collect();
    transaction.execute(&taken("columns", "table_no = $2"), &[&present, &table_no]).await?;
    Ok(numbers)
}

/// Whether a column has another place in the same table than before: it was dropped and made again under its name, so no site knows its values.
fn made_again(known: &[Known<i16>], found: &[(i16, String)], matched: &[Option<i32>]) -> bool {
    found.iter().zip(matched).any(|((attnum, _), no)| known.iter().any(|one| Some(one.no) == *no && one.evidence != *attnum))
}

/// Whether this is the database that was seen before; remembers this one. Elsewhere transaction numbers mean nothing either.
async fn is_same_database(transaction: &Transaction<'_>, identity: &Identity) -> Result<bool, StoreError> {
    let here = identity.here();
    let seen = transaction.query_opt("SELECT value FROM rejoin.state WHERE key = 'database'", &[]).await?;
    let seen: Option<String> = seen.map(|row| row.get(0));
    if seen.as_deref() == Some(here.as_str()) {
        return Ok(identity.system.is_some());
    }
    if seen.is_some() {
        transaction.execute("UPDATE rejoin.ticks SET xid = NULL WHERE xid IS NOT NULL", &[]).await?;
    }
    let sql = "INSERT INTO rejoin.state (key, value) VALUES ('database', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    transaction.execute(sql, &[&here]).await?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(entries: &[(i32, &str, u32)]) -> Vec<Known<u32>> {
        entries.iter().map(|(no, name, evidence)| Known { no: *no, name: (*name).to_owned(), evidence: *evidence }).collect()
    }

    fn found(entries: &[(u32, &str)]) -> Vec<(u32, String)> {
        entries.iter().map(|(evidence, name)| (*evidence, (*name).to_owned())).collect()
    }

    #[test]
    fn h08_oids_are_believed_only_in_the_same_database() {
        let known = known(&[(1, "crew", 16385), (2, "asset", 16390)]);
        // After a dump and restore crew's oid names asset.
        let restored = found(&[(16385, "asset"), (16400, "crew")]);
        assert_eq!(match_up(&known, &restored, false), [Some(2), Some(1)]);
        let renamed = found(&[(16385, "people"), (16390, "asset")]);
        assert_eq!(match_up(&known, &renamed, true), [Some(1), Some(2)]);
    }

    #[test]
    fn h08_a_table_made_anew_under_its_name_keeps_its_number() {
        let known = known(&[(1, "crew", 10)]);
        assert_eq!(match_up(&known, &found(&[(99, "crew")]), true), [Some(1)]);
    }

    #[test]
    fn a_rename_beats_a_newcomer_under_the_old_name() {
        let known = known(&[(1, "crew", 10)]);
        assert_eq!(match_up(&known, &found(&[(99, "crew"), (10, "people")]), true), [None, Some(1)]);
    }

    #[test]
    fn swapped_names_keep_their_numbers() {
        let known = known(&[(1, "a", 10), (2, "b", 20)]);
        assert_eq!(match_up(&known, &found(&[(10, "b"), (20, "a")]), true), [Some(1), Some(2)]);
    }
}
