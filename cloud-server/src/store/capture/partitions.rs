//! The partitions of the tables that are synced: their triggers, and what became of their rows when they came or went.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::SystemTime;

use sync_core::catalog::{Catalog, Table};
use sync_core::limits::STAMP_PAGES_MAX;
use tokio_postgres::Client;

use super::apply::{CLONED, CLONED_OFF, Installed};
use super::hush::Hush;
use super::mend::{NEEDED, works};
use super::partitioned::OnPartitions;
use super::{key_array, scope_expression};
use crate::store::error::StoreError;
use crate::store::introspect::FoundTable;
use crate::store::pace::{Pace, wait_briefly};
use crate::store::row::quote;

/// A part of a partitioned table, of whatever level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) oid: u32,
    schema: String,
    name: String,
    /// Whether it holds rows itself.
    pub(crate) leaf: bool,
}

impl Partition {
    /// Its full name, quoted.
    pub(super) fn place(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// As people are told it.
    pub(crate) fn label(&self) -> String {
        if self.schema == "public" { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    /// The triggers of ours that are not what they should be. One that is cloned is there as long as the table has it.
    pub(crate) fn lacks<'a>(&self, needs: &'a OnPartitions, installed: &Installed) -> Vec<(&'a str, Lack)> {
        let (none, mark) = (BTreeMap::new(), needs.mark());
        let there = installed.get(&self.oid).unwrap_or(&none);
        let off = needs.cloned.iter().filter(|name| there.get(*name).is_some_and(|mark| mark == CLONED_OFF));
        let made = needs.names().filter_map(|name| match there.get(name) {
            None => Some((name, Lack::Gone)),
            Some(of) if of.is_empty() => Some((name, Lack::Disabled)),
            Some(of) => (*of != mark).then_some((name, Lack::Older)),
        });
        off.map(|name| (name.as_str(), Lack::Cloned)).chain(made).collect()
    }
}

/// What is wrong with a partition's trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// It is cloned from the table's, and disabled.
    Cloned,
    Disabled,
    Gone,
    Older,
}

/// The partitions of each partitioned table, by its oid, upper levels first.
pub(crate) async fn read(client: &Client) -> Result<BTreeMap<u32, Vec<Partition>>, StoreError> {
    let sql = "SELECT r.oid, c.oid, n.nspname::text, c.relname::text, t.isleaf
               FROM pg_class r CROSS JOIN LATERAL pg_partition_tree(r.oid) t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE r.relkind = 'p' AND NOT r.relispartition AND t.level > 0 ORDER BY r.oid, t.level, c.oid";
    let mut partitions: BTreeMap<u32, Vec<Partition>> = BTreeMap::new();
    for row in client.query(sql, &[]).await? {
        let partition = Partition { oid: row.get(1), schema: row.get(2), name: row.get(3), leaf: row.get(4) };
        partitions.entry(row.get(0)).or_default().push(partition);
    }
    Ok(partitions)
}

/// The members of partitioned tables as they were seen last, by the table's number.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<i32, BTreeSet<u32>>);

impl Seen {
    pub(crate) async fn read(client: &Client) -> Result<Self, StoreError> {
        let mut seen = Self::default();
        for row in client.query("SELECT table_no, oid FROM rejoin.partitions WHERE detached_at IS NULL", &[]).await? {
            seen.0.entry(row.get(0)).or_default().insert(row.get(1));
        }
        Ok(seen)
    }

    fn of(&self, table: &Table) -> impl Iterator<Item = u32> {
        self.0.get(&table.no.0.cast_signed()).into_iter().flatten().copied()
    }

    pub(crate) fn has(&self, table: &Table, oid: u32) -> bool {
        self.0.get(&table.no.0.cast_signed()).is_some_and(|seen| seen.contains(&oid))
    }
}

/// Takes triggers off partitions that stand in the way of the table's: those of a table that was synced by itself before it was attached.
pub(crate) async fn clear(
    client: &mut Client,
    partitions: &[Partition],
    needs: &OnPartitions,
    installed: &Installed,
    pace: &Pace<'_>,
) -> Result<(), StoreError> {
    for partition in partitions {
        let own = |(name, mark): &(&String, &String)| needs.cloned.contains(name) && **mark != CLONED && **mark != CLONED_OFF;
        let strays: Vec<&String> = installed.get(&partition.oid).into_iter().flatten().filter(own).map(|(name, _)| name).collect();
        if !strays.is_empty() {
            pace.alter(client, &partition.label(), &drops(partition, strays.into_iter())).await?;
        }
    }
    Ok(())
}

fn drops<'a>(partition: &Partition, names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("DROP TRIGGER IF EXISTS {} ON {};\n", quote(name), partition.place())).collect()
}

/// Makes each partition's triggers what they should be, one partition at a time.
pub(crate) async fn install(
    client: &mut Client,
    partitions: &[Partition],
    needs: &OnPartitions,
    installed: &Installed,
    pace: &Pace<'_>,
) -> Result<(), StoreError> {
    for partition in partitions {
        let lacks = partition.lacks(needs, installed);
        let none = BTreeMap::new();
        let there = installed.get(&partition.oid).unwrap_or(&none);
        let made = || there.keys().filter(|name| !needs.cloned.contains(name));
        let strays = made().any(|name| !needs.names().any(|needed| needed == name));
        let mut sql = String::new();
        for (name, _) in lacks.iter().filter(|(_, lack)| *lack == Lack::Cloned) {
            let _ = writeln!(sql, "ALTER TABLE {} ENABLE TRIGGER {};", partition.place(), quote(name));
        }
        if strays || lacks.iter().any(|(_, lack)| *lack != Lack::Cloned) {
            sql += &drops(partition, made());
            sql += &needs.sql(partition);
        }
        if !sql.is_empty() {
            pace.alter(client, &partition.label(), &sql).await?;
            tracing::debug!(partition = %partition.label(), "capture installed");
        }
    }
    Ok(())
}

/// Notes that writes to a partition that was seen before may have been missed.
pub(crate) async fn note_losses(
    client: &Client,
    table: &Table,
    partitions: &[Partition],
    seen: &Seen,
    installed: &Installed,
) -> Result<(), StoreError> {
    let none = BTreeMap::new();
    for partition in partitions.iter().filter(|partition| seen.has(table, partition.oid)) {
        let there = installed.get(&partition.oid).unwrap_or(&none);
        if NEEDED.iter().any(|of| !works(there, of)) {
            tracing::warn!(partition = %partition.label(), "triggers of Rejoin's were gone or disabled");
            client.execute("SELECT rejoin.drifts($1, true)", &[&table.no.0.cast_signed()]).await?;
        }
    }
    Ok(())
}

/// Takes triggers off what was a partition. Its columns stay as they are, so that it can be attached again.
pub(crate) async fn release(
    client: &mut Client,
    found: &FoundTable,
    triggers: &BTreeMap<String, String>,
    pace: &Pace<'_>,
) -> Result<(), StoreError> {
    let partition = Partition { oid: found.oid, schema: found.schema.clone(), name: found.name.clone(), leaf: true };
    pace.alter(client, &partition.label(), &drops(&partition, triggers.keys())).await?;
    tracing::info!(table = %partition.label(), "was a partition: capture removed");
    Ok(())
}

/// The same for the partitions of a table that is no longer synced.
pub(crate) async fn uninstall(
    client: &mut Client,
    partitions: &[Partition],
    installed: &Installed,
    pace: &Pace<'_>,
) -> Result<(), StoreError> {
    for partition in partitions {
        let own = installed.get(&partition.oid).into_iter().flatten().filter(|(_, mark)| **mark != CLONED && **mark != CLONED_OFF);
        let sql = drops(partition, own.map(|(name, _)| name));
        if !sql.is_empty() {
            pace.alter(client, &partition.label(), &sql).await?;
        }
    }
    Ok(())
}

/// Follows partitions that came and went since the last look. The triggers are those of now.
pub(crate) async fn follow(client: &mut Client, of: &Following<'_>, seen: &Seen) -> Result<(), StoreError> {
    let Following { catalog, table, found, partitions, .. } = of;
    let no = table.no.0.cast_signed();
    let root = of.partitioned.then_some(found.oid);
    let now: Vec<u32> = root.into_iter().chain(partitions.iter().map(|one| one.oid)).collect();
    let gone: Vec<u32> = seen.of(table).filter(|oid| !now.contains(oid)).collect();
    let new: Vec<&Partition> = partitions.iter().filter(|one| !seen.has(table, one.oid)).collect();
    // Seen for the first time itself, its rows are stamped or fed as a whole.
    let known = seen.has(table, found.oid);
    if gone.is_empty() && new.is_empty() && (known || root.is_none()) {
        return Ok(());
    }
    for partition in new.iter().filter(|one| known && one.leaf) {
        adopt(client, of, partition).await?;
    }
    let transaction = client.transaction().await?;
    let remember = "INSERT INTO rejoin.partitions (oid, table_no) SELECT u.oid, $1 FROM unnest($2::oid[]) u(oid)
                    ON CONFLICT (oid) DO UPDATE SET table_no = excluded.table_no, detached_at = NULL";
    transaction.execute(remember, &[&no, &now]).await?;
    transaction.execute("UPDATE rejoin.partitions SET detached_at = now() WHERE oid = ANY($1)", &[&gone]).await?;
    transaction.execute("DELETE FROM rejoin.partitions p WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p.oid)", &[]).await?;
    if !gone.is_empty() {
        transaction.execute("UPDATE rejoin.tables SET feed_again = true WHERE no = $1", &[&no]).await?;
        tracing::warn!(table = %found.label(), partitions = gone.len(), "partitions are gone, and their rows with them");
    }
    // What refers to their rows without a foreign key may have another scope now.
    for child in catalog.tables.iter().filter(|child| child.ways().any(|way| way.declared && way.table == table.no)) {
        transaction.execute("SELECT rejoin.drifts($1, false)", &[&child.no.0.cast_signed()]).await?;
    }
    Ok(transaction.commit().await?)
}

/// A table whose partitions are followed.
pub(crate) struct Following<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) table: &'a Table,
    pub(crate) found: &'a FoundTable,
    pub(crate) partitioned: bool,
    pub(crate) partitions: &'a [Partition],
    pub(crate) pace: &'a Pace<'a>,
}

/// Stamps the rows that a partition brought along, or that were written to it before it was seen. Whatever stamps they carry are of another
/// time: they were another partition's, or copied.
async fn adopt(client: &mut Client, of: &Following<'_>, partition: &Partition) -> Result<(), StoreError> {
    let begun = "SELECT clock_timestamp(), pg_relation_size($1::oid::regclass) / current_setting('block_size')::bigint";
    let row = client.query_one(begun, &[&partition.oid]).await?;
    let (began, pages): (SystemTime, i64) = (row.get(0), row.get(1));
    let (label, mut rows, mut first) = (partition.label(), 0, 0);
    let mut attempts = of.pace.attempts(&label);
    while first < pages {
        match adopt_pages(client, of, partition, first, began).await {
            // Rows of a parent that moved on meanwhile are left for the next time.
            Ok(0) => first += STAMP_PAGES_MAX,
            Ok(adopted) => rows += adopted,
            Err(error) => attempts.again(error).await?,
        }
    }
    let (no, place, key) = (of.table.no, partition.place(), key_array(of.table, "t"));
    let living =
        format!("DELETE FROM rejoin.tombstones g USING {place} t WHERE g.table_no = {no} AND g.scope = t.rejoin_scope AND g.key = {key}");
    client.execute(&living, &[]).await?;
    tracing::info!(partition = %label, rows, "a new partition's rows are stamped");
    Ok(())
}

/// Those of some pages that carry no stamp given since; how many.
async fn adopt_pages(
    client: &mut Client,
    of: &Following<'_>,
    partition: &Partition,
    first: i64,
    began: SystemTime,
) -> Result<u64, StoreError> {
    let (place, no, stamps) = (partition.place(), of.table.no, &of.table.stamps);
    let (scope, key) = (scope_expression(of.catalog, of.table, "t"), key_array(of.table, "t"));
    let [version, updated_at, modified_by, synced_at] =
        [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| quote(name));
    let (first, last) = (format!("({first},0)"), format!("({},0)", first + STAMP_PAGES_MAX));
    let here = "t.ctid >= $1::text::tid AND t.ctid < $2::text::tid AND NOT EXISTS (
                    SELECT FROM rejoin.ticks k WHERE k.scope = t.rejoin_scope AND k.tick = t.rejoin_tick AND k.at >= $3)";
    let transaction = client.transaction().await?;
    transaction.batch_execute(&wait_briefly()).await?;
    let scopes = format!("SELECT array_agg(DISTINCT {scope}) FROM {place} t WHERE {here}");
    let scopes: Option<Vec<Option<String>>> = transaction.query_one(&scopes, &[&first, &last, &began]).await?.get(0);
    let scopes: Vec<String> = scopes.into_iter().flatten().flatten().collect();
    if scopes.is_empty() {
        return Ok(0);
    }
    let hush = Hush::all(&transaction, &place).await?;
    transaction.execute("SELECT rejoin.take(VARIADIC $1)", &[&scopes]).await?;
    let update = format!(
        "UPDATE {place} t SET rejoin_scope = s.scope, rejoin_tick = s.head,
                {version} = greatest(t.{version}, (SELECT max(g.version) FROM rejoin.tombstones g WHERE g.table_no = {no} AND g.key = {key}), 0) + 1,
                {updated_at} = coalesce(t.{updated_at}, now()), {modified_by} = coalesce(t.{modified_by}, rejoin.author()), {synced_at} = now()
         FROM rejoin.scopes s WHERE {here} AND s.scope = {scope} AND s.scope = ANY($4)"
    );
    let rows = transaction.execute(&update, &[&first, &last, &began, &scopes]).await?;
    hush.end(&transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}
