//! The triggers that write `rejoin.history`: per statement, from its transition tables, so that a push of thousands of rows costs one more
//! INSERT for each of its own.
//!
//! An insert and a delete keep the row's image, an update the columns that changed, each as `[old, new]`; one that changes nothing but stamps
//! writes nothing. An update's two transition tables hold the same rows in the same order, however often a row was changed and whatever became of
//! its key; a row that gets another key leaves an entry under either.
//!
//! The two are joined by their places, by a FULL JOIN though both have all of them: a session keeps the plan that it made for its first statement,
//! and for one row PostgreSQL takes a nested loop, which would take minutes for 20,000. A FULL JOIN it can only hash or merge. Nothing outside of
//! it may name a side strictly, or it would become a plain one: `OFFSET 0`, or IS DISTINCT FROM.

use sync_core::catalog::Column;
use sync_core::limits::HISTORY_VALUE_BYTES_MAX;
use sync_core::value::ColumnType;

use super::source::{HISTORY_SETTINGS, Source};
use super::{key_array, literal};
use crate::store::row::quote;

/// What rows are called: no column's name, which PostgreSQL would take before the row.
const ROW: &str = "rejoin_row";
const BEFORE: &str = "rejoin_before";
const AFTER: &str = "rejoin_after";

/// Arguments that PostgreSQL takes in one call are 100.
const ARGUMENTS: usize = 90;

impl Source<'_> {
    /// `None` where nothing is kept of the table.
    pub(super) fn history(&self) -> Option<String> {
        self.history.then(|| self.safe_function("history", HISTORY_SETTINGS, &self.history_body()))
    }

    /// By the columns that the catalog knows, while they are there. Where one is not, since a migration dropped or renamed it and nobody has looked
    /// at the schema since, from the whole rows: the programs go on, at a little more cost.
    fn history_body(&self) -> String {
        let names = self.table.columns.iter().map(|column| literal(&column.name)).collect::<Vec<_>>().join(", ");
        let image = self.table.columns.iter().map(|column| kept(column, ROW)).collect::<Vec<_>>().join(", ");
        let known = self.written("to_jsonb(rejoin_image)", &format!(", LATERAL (SELECT {image}) rejoin_image"), &self.changes());
        let whole = "(SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(to_jsonb(rejoin_row)) e WHERE e.key = ANY (rejoin_names))";
        let pairs = "(SELECT string_agg(to_json(key)::text || ':[' || coalesce(e.value::text, 'null') || ',' || coalesce(f.value::text, 'null') || ']', ',')
                          FROM jsonb_each(to_jsonb(rejoin_before)) e FULL JOIN jsonb_each(to_jsonb(rejoin_after)) f USING (key)
                          WHERE key = ANY (rejoin_names) AND e.value IS DISTINCT FROM f.value)";
        format!(
            r"DECLARE
    by_replica uuid := nullif(current_setting('rejoin.replica', true), '')::uuid;
    by_push bigint := nullif(current_setting('rejoin.push_no', true), '')::bigint;
    rejoin_names CONSTANT text[] := ARRAY[{names}]::text[];
BEGIN
{later}    IF (SELECT count(*) FROM pg_attribute WHERE attrelid = TG_RELID AND attnum > 0 AND attname = ANY (rejoin_names::name[])) = {count} THEN
{known}    ELSE
{whole}    END IF;
    RETURN NULL;
END
",
            later = self.later(None),
            count = self.table.columns.len(),
            whole = self.written(whole, "", pairs),
        )
    }

    /// The statements that write it. `image`, `from`: a row's image; `changes`: the members of a JSON object.
    fn written(&self, image: &str, from: &str, changes: &str) -> String {
        let insert = "INSERT INTO rejoin.history (table_no, key, op, version, author, replica, push_no, changes)";
        let no = self.table.no;
        let version = quote(&self.table.stamps.version);
        let author = |alias: &str| format!("coalesce({alias}.{}::text, rejoin.author())", quote(&self.table.stamps.last_modified_by));
        let rekeyed = self.table.key_columns().map(|column| differ(column, BEFORE, AFTER)).collect::<Vec<_>>().join(" OR ");
        let bounded = |what: &str, of: &str| {
            format!(
                "CASE WHEN pg_column_size({what}) > {HISTORY_VALUE_BYTES_MAX} THEN rejoin.{of}({what}, {HISTORY_VALUE_BYTES_MAX}) ELSE {what} END"
            )
        };
        format!(
            r"    IF TG_OP = 'INSERT' THEN
        {insert}
            SELECT {no}, x.key, 'insert', x.version, x.author, by_replica, by_push, {image_bounded}
            FROM (SELECT {key_r} AS key, coalesce({ROW}.{version}, 0) AS version, {author_r} AS author, {image} AS changes
                  FROM rows_added {ROW}{from} OFFSET 0) x;
    ELSIF TG_OP = 'DELETE' THEN
        {insert}
            SELECT {no}, x.key, 'delete', x.version, rejoin.author(), by_replica, by_push, {image_bounded}
            FROM (SELECT {key_r} AS key, coalesce({ROW}.{version}, 0) + 1 AS version, {image} AS changes
                  FROM rows_removed {ROW}{from} OFFSET 0) x;
    ELSE
        {insert}
            SELECT {no}, k.key, 'update', x.version, x.author, by_replica, by_push, {pairs_bounded}
            FROM (SELECT {key_n} AS key, CASE WHEN {rekeyed} THEN {key_o} END AS old_key, coalesce({AFTER}.{version}, 0) AS version, {author_n} AS author,
                         nullif({changes}, '') AS changed
                  FROM (SELECT row_number() OVER () AS rejoin_place, b.* FROM rows_before b) {BEFORE}
                  FULL JOIN (SELECT row_number() OVER () AS rejoin_place, a.* FROM rows_after a) {AFTER} ON {AFTER}.rejoin_place = {BEFORE}.rejoin_place OFFSET 0) x
            CROSS JOIN LATERAL (SELECT ('{{' || x.changed || '}}')::jsonb AS changes OFFSET 0) c
            CROSS JOIN LATERAL (SELECT x.key UNION ALL SELECT x.old_key WHERE x.old_key IS NOT NULL) k
            WHERE x.changed IS NOT NULL;
    END IF;
",
            image_bounded = bounded("x.changes", "bounded_image"),
            pairs_bounded = bounded("c.changes", "bounded_pairs"),
            key_r = key_array(self.table, ROW),
            key_o = key_array(self.table, BEFORE),
            key_n = key_array(self.table, AFTER),
            author_r = author(ROW),
            author_n = author(AFTER),
        )
    }

    /// The changed columns as the members of a JSON object; empty where there are none.
    fn changes(&self) -> String {
        let each: Vec<String> = self.table.columns.iter().map(changed).collect();
        let chunks: Vec<String> = each.chunks(ARGUMENTS).map(|chunk| format!("concat_ws(',', {})", chunk.join(", "))).collect();
        match chunks.as_slice() {
            [one] => one.clone(),
            several => {
                let several: Vec<String> = several.iter().map(|chunk| format!("nullif({chunk}, '')")).collect();
                format!("concat_ws(',', {})", several.join(", "))
            }
        }
    }

    pub(super) fn history_triggers(&self, table: &str, function: &str) -> Vec<(&'static str, String)> {
        if !self.history {
            return Vec::new();
        }
        let form = |on: &str, tables: &str| format!("AFTER {on} ON {table} REFERENCING {tables} FOR EACH STATEMENT {function}");
        vec![
            ("history_delete", form("DELETE", "OLD TABLE AS rows_removed")),
            ("history_insert", form("INSERT", "NEW TABLE AS rows_added")),
            ("history_update", form("UPDATE", "OLD TABLE AS rows_before NEW TABLE AS rows_after")),
        ]
    }
}

/// What JSON holds of a column without loss: JSON readers would round decimals, and `json` takes what `jsonb` refuses.
fn value(column: &Column, alias: &str) -> String {
    let name = format!("{alias}.{}", quote(&column.name));
    match column.ty {
        ColumnType::Numeric => format!("{name}::text"),
        ColumnType::JsonText => format!("{name}::text"),
        _ => name,
    }
}

fn kept(column: &Column, alias: &str) -> String {
    format!("{} AS {}", value(column, alias), quote(&column.name))
}

/// Whether a column differs. Compared by its text where PostgreSQL has no equality for it, as bytes where a collation could have a weaker one.
fn differ(column: &Column, one: &str, other: &str) -> String {
    let name = quote(&column.name);
    // What has no equality, or one by which other values are equal too (a month and 30 days), is compared as text.
    let by_text = |ty: &ColumnType| matches!(ty, ColumnType::JsonText | ColumnType::Interval | ColumnType::Other);
    let how = match &column.ty {
        ColumnType::Text => "::text COLLATE \"C\"",
        ColumnType::Array(element) if by_text(element) => "::text",
        ty if by_text(ty) => "::text",
        _ => "",
    };
    format!("{one}.{name}{how} IS DISTINCT FROM {other}.{name}{how}")
}

fn changed(column: &Column) -> String {
    let member = format!("{}:[", serde_json::Value::from(column.name.as_str()));
    let json = |alias: &str| format!("coalesce(to_json({})::text, 'null')", value(column, alias));
    format!(
        "CASE WHEN {} THEN {} || {} || ',' || {} || ']' END",
        differ(column, BEFORE, AFTER),
        literal(&member),
        json(BEFORE),
        json(AFTER)
    )
}
