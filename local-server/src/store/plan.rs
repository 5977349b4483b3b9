//! The sync writer's SQL of a catalog, written once when the catalog is taken and not once a row.

use std::collections::HashMap;
use std::sync::Arc;

use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::limits::PUSH_ROWS_MAX;
use sync_core::value::Value;

use super::noted;
use super::references::{names, refers};
use super::rows::{base_table, column_list, key_condition, live_list, live_table, quoted, theirs_table};

/// A catalog with the SQL of its tables.
#[derive(Debug)]
pub struct Plan {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    tables: Vec<TableSql>,
    positions: HashMap<TableNo, usize>,
    /// Positions of the user's tables, parents first.
    parents_first: Vec<usize>,
}

impl Plan {
    /// Writes the SQL of a catalog.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>) -> Self {
        let tables = catalog.tables.iter().map(|table| TableSql::new(&catalog, table)).collect();
        let positions: HashMap<TableNo, usize> = catalog.tables.iter().enumerate().map(|(at, table)| (table.no, at)).collect();
        let users = catalog.parents_first().into_iter().filter(|table| !table.engine);
        let parents_first = users.filter_map(|table| positions.get(&table.no).copied()).collect();
        Self { catalog, tables, positions, parents_first }
    }

    /// A table with its SQL.
    #[must_use]
    pub fn table(&self, no: TableNo) -> Option<(&Table, &TableSql)> {
        let at = *self.positions.get(&no)?;
        Some((self.catalog.tables.get(at)?, self.tables.get(at)?))
    }

    /// The user's tables, each after those it refers to.
    pub fn parents_first(&self) -> impl DoubleEndedIterator<Item = (&Table, &TableSql)> + ExactSizeIterator {
        self.parents_first.iter().map(|at| (&self.catalog.tables[*at], &self.tables[*at]))
    }
}

/// The SQL of one table. The values of a live row are bound in the order: columns, version, updated_at, modified_by, synced_at, scope,
/// tick, held, `rejoin_row`.
#[derive(Debug)]
pub struct TableSql {
    /// The live row of a key.
    pub live_by_key: String,
    /// The live row of a `rejoin_row`.
    pub live_by_row: String,
    /// Inserts a live row; a NULL `rejoin_row` gets a new one.
    pub insert_live: String,
    /// Inserts a live row, or writes over the one of this key: for tables that were empty when the apply began.
    pub upsert_live: String,
    /// Writes over the live row of a `rejoin_row`.
    pub update_live: String,
    /// Removes a live row.
    pub delete_live: String,
    /// Sets `rejoin_held` (?1) of a `rejoin_row` (?2).
    pub set_held: String,
    /// Whether there is any live row.
    pub any_live: String,
    /// Counts dirty rows, held ones, and the time of the oldest change.
    pub pending: String,
    /// For each secondary unique key: the `rejoin_row` of the ordinary rows with these values, but not of the row bound last.
    pub unique_holders: Vec<(Vec<ColumnNo>, String)>,
    /// Whether capture notes more of a dirty row than its base image (see `noted`).
    pub noted: bool,
    /// For the user's tables: its companions.
    pub dirty: Option<DirtySql>,
    /// For each reference to this table: what finds the dirty rows that refer to a row of it.
    pub referrers: Vec<Referrer>,
    /// For each reference of this table: what finds the new row that it refers to.
    pub parents: Vec<Parent>,
}

/// The SQL of a table's base and theirs.
#[derive(Debug)]
pub struct DirtySql {
    /// The dirty row of a `rejoin_row`: [`DirtySql::base_list`].
    pub base_by_row: String,
    /// The dirty row of a key, the changed one before the inserted one.
    pub base_by_key: String,
    /// Writes a dirty row: `rejoin_row`, kind, columns, version, scope, tick, `synced_at`, push, held conflict, held digest.
    pub put_base: String,
    /// Removes a dirty row.
    pub delete_base: String,
    /// Whether there is any dirty row.
    pub any_dirty: String,
    /// Whether the base table has any row, those that only remember a version too.
    pub any_base: String,
    /// Whether an image is kept beside any key.
    pub any_theirs: String,
    /// Marks a row as being in a push (?1).
    pub set_push: String,
    /// Dirty rows that are in no push, behind a `rejoin_row` (?1), at most ?2, for each step of a cut.
    pub scans: Scans,
    /// The version that was remembered of a removed key.
    pub gone_version: String,
    /// Forgets that version.
    pub delete_gone: String,
    /// Remembers a version (the last parameter) of a key.
    pub put_gone: String,
    /// The newest cloud image of a key.
    pub theirs_by_key: String,
    /// Writes it: columns, state, version, updated_at, modified_by, synced_at, scope, tick.
    pub put_theirs: String,
    /// Removes it.
    pub delete_theirs: String,
    /// Every key with such an image.
    pub theirs_keys: String,
    /// Every row held by a conflict, with the conflict.
    pub held: String,
}

/// What finds the candidates of each step of a cut. They find all of a step's rows and may find some more.
#[derive(Debug)]
pub struct Scans {
    /// Rows under another key than their base's.
    pub rekeys: String,
    /// New rows, those deleted again too.
    pub inserts: String,
    /// Changed rows.
    pub updates: String,
    /// Deleted rows.
    pub deletes: String,
}

/// A reference to a table, seen from the table referred to.
#[derive(Debug)]
pub struct Referrer {
    /// The referring table.
    pub table: TableNo,
    /// The reference; what a row holds that refers by it is bound ([`Table::referring`]).
    pub reference: Reference,
    /// Whether a dirty row (other than the `rejoin_row` bound last) refers to these values.
    pub any_dirty: String,
    /// The changed or deleted rows in no push that referred to these values before they were changed.
    pub referred_before: String,
    /// Whether rows of the table refer to rows of the same table, or could in a circle.
    pub circular: bool,
}

/// A reference of a table, seen from the table that refers.
#[derive(Debug)]
pub struct Parent {
    /// The table referred to.
    pub table: TableNo,
    /// The reference; what a row refers to by it is bound ([`Table::referred`]).
    pub reference: Reference,
    /// The new row with these values: its `rejoin_row` and its push.
    pub pending_insert: String,
    /// The scope of the live row with these values, and its `rejoin_row`.
    pub scope: String,
}

fn numbered(first: usize, count: usize) -> String {
    let marks: Vec<_> = (first..first + count).map(|at| format!("?{at}")).collect();
    marks.join(", ")
}

fn conditions(table: &Table, columns: &[ColumnNo], alias: &str) -> String {
    let terms = columns.iter().filter_map(|no| table.column(*no)).enumerate();
    let terms: Vec<_> = terms.map(|(at, column)| format!("{alias}{} = ?{}", quoted(&column.name), at + 1)).collect();
    terms.join(" AND ")
}

impl Referrer {
    /// What a row of the referring table holds that refers to this row of `table`; `None` where none can.
    #[must_use]
    pub fn referring(&self, from: &Table, table: &Table, row: &[Value]) -> Option<Vec<Value>> {
        table.named_by(&self.reference, row).map(|values| from.referring(&self.reference, table, &values))
    }
}

impl TableSql {
    fn new(catalog: &Catalog, table: &Table) -> Self {
        let live = live_table(table);
        let stamps = &table.stamps;
        let mut names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
        names.extend([&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| quoted(name)));
        names.extend(["rejoin_scope", "rejoin_tick", "rejoin_held"].map(str::to_owned));
        let (count, list) = (names.len(), names.join(", "));
        let sets: Vec<_> = names.iter().enumerate().map(|(at, name)| format!("{name} = ?{}", at + 1)).collect();
        let sets = sets.join(", ");
        let row = count + 1;
        let insert = format!("INSERT INTO {live} ({list}, rejoin_row) VALUES ({})", numbered(1, row));
        let key_columns: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
        let select = live_list(table, "");
        let uniques = table.uniques.iter().map(|unique| {
            let wanted = conditions(table, &unique.columns, "");
            let sql =
                format!("SELECT rejoin_row FROM {live} WHERE {wanted} AND rejoin_held = 0 AND rejoin_row <> ?{}", unique.columns.len() + 1);
            (unique.columns.clone(), sql)
        });
        Self {
            live_by_key: format!("SELECT {select} FROM {live} WHERE {}", key_condition(table, "", 1)),
            live_by_row: format!("SELECT {select} FROM {live} WHERE rejoin_row = ?1"),
            upsert_live: format!("{insert} ON CONFLICT ({}) DO UPDATE SET {sets}", key_columns.join(", ")),
            insert_live: insert,
            update_live: format!("UPDATE {live} SET {sets} WHERE rejoin_row = ?{row}"),
            delete_live: format!("DELETE FROM {live} WHERE rejoin_row = ?1"),
            set_held: format!("UPDATE {live} SET rejoin_held = ?1 WHERE rejoin_row = ?2"),
            any_live: format!("SELECT EXISTS (SELECT 1 FROM {live})"),
            pending: format!(
                "SELECT count(*) FILTER (WHERE b.rejoin_held_conflict IS NULL), count(b.rejoin_held_conflict),
                        min(coalesce(l.{updated}, b.rejoin_gone_at)) FILTER (WHERE b.rejoin_held_conflict IS NULL)
                 FROM {} b LEFT JOIN {live} l ON l.rejoin_row = b.rejoin_row WHERE b.rejoin_row > 0",
                base_table(table),
                updated = quoted(&stamps.updated_at)
            ),
            unique_holders: uniques.collect(),
            noted: noted::is_noted(table),
            dirty: (!table.engine).then(|| DirtySql::new(table)),
            referrers: catalog
                .referrers(table.no)
                .filter(|(from, _)| !from.engine)
                .map(|(from, reference)| referrer(catalog, from, reference, table))
                .collect(),
            parents: table.references.iter().filter_map(|reference| parent(catalog, table, reference)).collect(),
        }
    }
}

fn parent(catalog: &Catalog, from: &Table, reference: &Reference) -> Option<Parent> {
    let target = catalog.table(reference.table).filter(|target| !target.engine)?;
    let (live, base) = (live_table(target), base_table(target));
    let wanted = names(from, reference, target, "l.");
    Some(Parent {
        table: target.no,
        reference: reference.clone(),
        pending_insert: format!(
            "SELECT b.rejoin_row, b.rejoin_push_no FROM {live} l JOIN {base} b ON b.rejoin_row = l.rejoin_row
             WHERE {wanted} AND b.rejoin_kind = 'insert' LIMIT 1"
        ),
        scope: format!("SELECT rejoin_scope, rejoin_row FROM {live} l WHERE {wanted} LIMIT 1"),
    })
}

/// Whether a table's rows can, over any number of references, refer to rows of the same table.
fn is_circular(catalog: &Catalog, start: TableNo) -> bool {
    let mut reached: Vec<TableNo> = Vec::new();
    let mut open = vec![start];
    while let Some(no) = open.pop() {
        for reference in catalog.table(no).into_iter().flat_map(|table| &table.references) {
            if reference.table == start {
                return true;
            }
            if !reached.contains(&reference.table) {
                reached.push(reference.table);
                open.push(reference.table);
            }
        }
    }
    false
}

fn referrer(catalog: &Catalog, from: &Table, reference: &Reference, table: &Table) -> Referrer {
    let any_dirty = format!(
        "SELECT EXISTS (SELECT 1 FROM {} l JOIN {} b ON b.rejoin_row = l.rejoin_row WHERE {} AND l.rejoin_row <> ?{})",
        live_table(from),
        base_table(from),
        refers(from, reference, table, "l."),
        reference.columns.len() + 1
    );
    let referred_before = format!(
        "SELECT rejoin_row FROM {} WHERE {} AND rejoin_kind = 'change' AND rejoin_push_no IS NULL LIMIT {PUSH_ROWS_MAX}",
        base_table(from),
        refers(from, reference, table, "")
    );
    let circular = is_circular(catalog, from.no) && is_circular(catalog, reference.table);
    Referrer { table: from.no, reference: reference.clone(), any_dirty, referred_before, circular }
}

impl DirtySql {
    /// The select list of a dirty row: `rejoin_row`, kind, version, scope, tick, `synced_at`, deleted version, when and by whom, push, held
    /// conflict, held digest, then the columns.
    #[must_use]
    pub fn base_list(table: &Table) -> String {
        format!(
            "rejoin_row, rejoin_kind, rejoin_version, rejoin_scope, rejoin_tick, rejoin_synced_at, rejoin_gone_version, rejoin_gone_at, \
             rejoin_gone_by, rejoin_push_no, rejoin_held_conflict, rejoin_held_digest, {}",
            column_list(table, "")
        )
    }

    /// How many columns stand before the table's own in [`DirtySql::base_list`].
    pub const BASE_LEAD: usize = 12;

    fn new(table: &Table) -> Self {
        let (base, theirs) = (base_table(table), theirs_table(table));
        let (columns, width) = (column_list(table, ""), table.columns.len());
        let (key, keys) = (key_condition(table, "", 1), table.key.len());
        let key_list: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
        let key_list = key_list.join(", ");
        let list = Self::base_list(table);
        Self {
            base_by_row: format!("SELECT {list} FROM {base} WHERE rejoin_row = ?1"),
            base_by_key: format!("SELECT {list} FROM {base} WHERE {key} AND rejoin_row > 0 ORDER BY rejoin_kind = 'change' DESC LIMIT 1"),
            put_base: format!(
                "INSERT OR REPLACE INTO {base} (rejoin_row, rejoin_kind, {columns}, rejoin_version, rejoin_scope, rejoin_tick, rejoin_synced_at,
                     rejoin_push_no, rejoin_held_conflict, rejoin_held_digest, rejoin_gone_version, rejoin_gone_at, rejoin_gone_by)
                 VALUES ({})",
                numbered(1, width + 12)
            ),
            delete_base: format!("DELETE FROM {base} WHERE rejoin_row = ?1"),
            any_dirty: format!("SELECT EXISTS (SELECT 1 FROM {base} WHERE rejoin_row > 0)"),
            any_base: format!("SELECT EXISTS (SELECT 1 FROM {base})"),
            any_theirs: format!("SELECT EXISTS (SELECT 1 FROM {theirs})"),
            set_push: format!("UPDATE {base} SET rejoin_push_no = ?1 WHERE rejoin_row = ?2"),
            scans: Scans::new(table),
            gone_version: format!("SELECT rejoin_version FROM {base} WHERE {key} AND rejoin_row < 0"),
            delete_gone: format!("DELETE FROM {base} WHERE {key} AND rejoin_row < 0"),
            put_gone: format!(
                "INSERT INTO {base} (rejoin_row, rejoin_kind, {key_list}, rejoin_version)
                 SELECT min(coalesce(min(rejoin_row), 0), 0) - 1, 'gone', {} FROM {base}",
                numbered(1, keys + 1)
            ),
            theirs_by_key: format!(
                "SELECT rejoin_state, rejoin_version, rejoin_updated_at, rejoin_modified_by, rejoin_synced_at, rejoin_scope, rejoin_tick, {columns}
                 FROM {theirs} WHERE {key}"
            ),
            put_theirs: format!(
                "INSERT OR REPLACE INTO {theirs} ({columns}, rejoin_state, rejoin_version, rejoin_updated_at, rejoin_modified_by,
                     rejoin_synced_at, rejoin_scope, rejoin_tick) VALUES ({})",
                numbered(1, width + 7)
            ),
            delete_theirs: format!("DELETE FROM {theirs} WHERE {key}"),
            theirs_keys: format!("SELECT {key_list} FROM {theirs}"),
            held: format!("SELECT rejoin_row, rejoin_held_conflict FROM {base} WHERE rejoin_held_conflict IS NOT NULL"),
        }
    }
}

impl Scans {
    fn new(table: &Table) -> Self {
        let (base, live) = (base_table(table), live_table(table));
        let moved: Vec<_> =
            table.key_columns().map(|column| quoted(&column.name)).map(|name| format!("l.{name} IS NOT b.{name}")).collect();
        let free = "b.rejoin_push_no IS NULL AND b.rejoin_row > ?1";
        let end = "ORDER BY b.rejoin_row LIMIT ?2";
        let lives = format!("EXISTS (SELECT 1 FROM {live} l WHERE l.rejoin_row = b.rejoin_row)");
        Self {
            rekeys: format!(
                "SELECT b.rejoin_row FROM {base} b JOIN {live} l ON l.rejoin_row = b.rejoin_row
                 WHERE b.rejoin_kind = 'change' AND {free} AND ({}) {end}",
                moved.join(" OR ")
            ),
            inserts: format!("SELECT b.rejoin_row FROM {base} b WHERE b.rejoin_kind = 'insert' AND {free} {end}"),
            updates: format!("SELECT b.rejoin_row FROM {base} b WHERE b.rejoin_kind = 'change' AND {free} AND {lives} {end}"),
            deletes: format!("SELECT b.rejoin_row FROM {base} b WHERE b.rejoin_kind = 'change' AND {free} AND NOT {lives} {end}"),
        }
    }
}
