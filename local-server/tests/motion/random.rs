//! Random catalogs, one made out of the other, with random rows and edits: whatever changes, no edit is lost and nothing looks like one.

use std::collections::{BTreeMap, BTreeSet};

use local_server::store::hidden::{extended, is_hidden, is_hidden_table, wire};
use local_server::store::install::install;
use local_server::store::rows::{Bound, base_table, column_list, from_sql, live_table, quoted};
use proptest::prelude::*;
use rusqlite::Connection;
use sync_core::catalog::{Catalog, Column, DefaultValue, OnDelete, Table};
use sync_core::change::{Edit, Op, RowChange};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::value::{Cast, ColumnType, Value};

use crate::fixture::{build, catalog, column, engine_stamps, own_stamps, reference, table, unique};
use crate::site::{Pushed, Site};

/// What is drawn depends on the seed alone.
struct Dice(fastrand::Rng, u32);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number that no column had before.
    fn number(&mut self) -> u32 {
        self.1 += 1;
        self.1
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

fn types() -> Vec<ColumnType> {
    use ColumnType::{Bool, Bytea, Date, Enum, Float8, Int4, Int8, Json, Numeric, Text, Timestamp, Timestamptz, Uuid};
    let labels = Enum(vec!["1".into(), "RED".into()]);
    vec![Text, Int4, Int8, Bool, Numeric, Float8, Timestamptz, Timestamp, Date, Json, labels, Uuid, Bytea]
}

/// A value of a type, most of which are values of some other type as well.
fn value(dice: &mut Dice, ty: &ColumnType) -> Value {
    const TEXTS: [&str; 12] = [
        "1",
        "0",
        "7",
        "12.5",
        "true",
        "RED",
        "2026-01-31",
        "2026-01-31T00:00:00.000000Z",
        "\"x\"",
        "3000000000",
        "plain text",
        "0198c0de-0000-7000-8000-000000000001",
    ];
    for _ in 0..40 {
        if let Ok(value) = ty.parse(TEXTS[dice.below(TEXTS.len())]) {
            return value;
        }
    }
    Value::Null
}

/// `a (id, ..)` and `b (id, a -> a, ..)` with some columns each.
fn first(dice: &mut Dice) -> Catalog {
    let mut tables = Vec::new();
    for (no, name) in [(1, "a"), (2, "b")] {
        let mut columns = vec![column(1, "id", ColumnType::Text)];
        if no == 2 {
            columns.push(column(2, "a_id", ColumnType::Text));
        }
        for at in columns.len()..5 {
            let ty = dice.pick(&types()).clone();
            columns.push(column(u32::try_from(at + 1).unwrap(), &format!("c{at}"), ty));
        }
        let mut table = table(no, name, columns);
        if no == 2 {
            table.references = vec![reference("b_a", 2, 1, OnDelete::SetNull)];
        }
        if dice.once_in(2) {
            table.stamps = engine_stamps();
        }
        tables.push(table);
    }
    catalog(tables)
}

/// One change of a schema.
fn change(dice: &mut Dice, catalog: &mut Catalog, left_out: &mut Vec<Table>) {
    match dice.below(13) {
        0 if catalog.tables.len() > 1 => {
            let (left, right) = catalog.tables.split_at_mut(1);
            std::mem::swap(&mut left[0].name, &mut right[0].name);
        }
        1 => {
            let at = dice.below(catalog.tables.len());
            catalog.tables[at].name = format!("t{}", dice.below(1_000_000));
        }
        2 if !left_out.is_empty() => {
            let back = left_out.remove(dice.below(left_out.len()));
            if catalog.tables.iter().all(|table| table.name != back.name) {
                catalog.tables.push(back);
                catalog.tables.sort_by_key(|table| table.no);
            }
        }
        2 if catalog.tables.len() > 1 => {
            let gone = catalog.tables.remove(dice.below(catalog.tables.len()));
            catalog.tables.iter_mut().for_each(|table| table.references.retain(|reference| reference.table != gone.no));
            left_out.push(Table { references: vec![], ..gone });
        }
        what => {
            let at = dice.below(catalog.tables.len());
            let no = dice.number();
            let table = &mut catalog.tables[at];
            let spot = 1 + dice.below(table.columns.len() - 1).min(table.columns.len() - 2);
            let drawn = dice.pick(&types()).clone();
            match what {
                // The key's column too.
                3 => {
                    let spot = dice.below(table.columns.len());
                    table.columns[spot].name = format!("n{no}");
                }
                4 if table.columns.len() > 2 => {
                    let (spot, other) = (dice.below(table.columns.len()), dice.below(table.columns.len()));
                    let name = std::mem::replace(&mut table.columns[spot].name, "aside".into());
                    let name = if other == spot { name } else { std::mem::replace(&mut table.columns[other].name, name) };
                    table.columns[spot].name = name;
                }
                5 | 6 => {
                    let default = match dice.below(5) {
                        0 => Some(DefaultValue::Constant(value(dice, &drawn)))
                            .filter(|default| *default != DefaultValue::Constant(Value::Null)),
                        1 if drawn == ColumnType::Timestamptz => Some(DefaultValue::Now),
                        2 if drawn == ColumnType::Uuid => Some(DefaultValue::Uuid),
                        _ => None,
                    };
                    let not_null = default.is_some() || dice.once_in(4);
                    let added = match &default {
                        Some(DefaultValue::Constant(value)) if !dice.once_in(4) => Some(value.clone()),
                        // The default came after the column, or the column was given another value then.
                        _ if dice.once_in(2) => Some(value(dice, &drawn)).filter(|added| !added.is_null()),
                        _ => None,
                    };
                    table.columns.push(Column { default, not_null, added, ..column(no, &format!("n{no}"), drawn) });
                }
                7 if table.columns.len() > 3 => {
                    let gone = table.columns.remove(spot).no;
                    table.uniques.retain(|unique| !unique.columns.contains(&gone));
                    table.references.retain(|reference| !reference.columns.contains(&gone));
                    if table.key.contains(&gone) {
                        table.key = vec![table.columns[0].no];
                    }
                }
                8 | 9 => {
                    let no = table.columns[spot].no;
                    if !table.references.iter().any(|reference| reference.columns.contains(&no)) {
                        let column = &mut table.columns[spot];
                        let now = Column { ty: drawn, default: None, ..column.clone() };
                        let added = column.added.as_ref().and_then(|added| convert(column, &now, added));
                        *column = Column { added, ..now };
                    }
                }
                10 => table.columns[spot].not_null = !table.columns[spot].not_null,
                11 => {
                    let no = table.columns[spot].no;
                    table.uniques = if table.uniques.is_empty() { vec![unique(&format!("u{no}"), &[no.0])] } else { vec![] };
                }
                _ if dice.once_in(2) => table.stamps = if table.stamps == own_stamps() { engine_stamps() } else { own_stamps() },
                _ => {
                    let (no, key) = (table.no, vec![table.columns[spot].no]);
                    table.key = key;
                    catalog.tables.iter_mut().for_each(|table| table.references.retain(|reference| reference.table != no));
                }
            }
        }
    }
}

/// Rows that the cloud has confirmed, then edits of all kinds by everyday SQL.
fn fill(dice: &mut Dice, site: &Site) {
    let catalog = &site.catalog;
    site.sync(|connection| {
        for table in &catalog.tables {
            for row in 0..8 {
                let values: Vec<Value> = row_of(dice, table, &format!("{row}"));
                insert(connection, table, &values, true);
            }
        }
    });
    for table in &catalog.tables {
        let live = live_table(table);
        for row in 0..8 {
            let key = format!("\"id\" = '{row}'");
            match dice.below(6) {
                0 => site.run(&format!("DELETE FROM {live} WHERE {key}")),
                1 => {
                    let free = if table.name == "a" { " AND id NOT IN (SELECT a_id FROM b WHERE a_id IS NOT NULL)" } else { "" };
                    site.run(&format!("UPDATE {live} SET id = 'r{row}' WHERE {key}{free}"));
                }
                2 | 3 => {
                    let at = 1 + dice.below(table.columns.len() - 1);
                    let column = &table.columns[at];
                    if table.references.iter().all(|reference| !reference.columns.contains(&column.no)) {
                        let new = if dice.once_in(4) { Value::Null } else { value(dice, &column.ty) };
                        let sql = format!("UPDATE {live} SET {} = ?1 WHERE {key}", quoted(&column.name));
                        site.connection.execute(&sql, [Bound(&new)]).unwrap();
                    }
                }
                _ => {}
            }
        }
        for row in 20..22 {
            insert(&site.connection, table, &row_of(dice, table, &format!("{row}")), false);
        }
    }
}

fn row_of(dice: &mut Dice, table: &Table, key: &str) -> Vec<Value> {
    let cell = |(at, column): (usize, &Column)| match (at, column.name.as_str()) {
        (0, _) => Value::Text(key.to_owned()),
        // Rows that are there: those of the first half are confirmed with each other, a new one refers to a new one.
        (_, "a_id") if key.len() == 1 => Value::Text((dice.below(4) * 2).to_string()),
        (_, "a_id") => Value::Text("20".into()),
        _ if dice.once_in(4) => Value::Null,
        _ => value(dice, &column.ty),
    };
    table.columns.iter().enumerate().map(cell).collect()
}

fn insert(connection: &Connection, table: &Table, row: &[Value], confirmed: bool) {
    let marks: Vec<_> = (1..=row.len()).map(|at| format!("?{at}")).collect();
    let (stamps, values) = match confirmed {
        true => {
            (format!(", {}, rejoin_scope, rejoin_tick", quoted(&table.stamps.synced_at)), ", '2026-01-01T00:00:00.000000Z', 'global', 3")
        }
        false => (String::new(), ""),
    };
    let sql = format!("INSERT INTO {} ({}{stamps}) VALUES ({}{values})", live_table(table), column_list(table, ""), marks.join(", "));
    connection.execute(&sql, rusqlite::params_from_iter(row.iter().map(Bound))).unwrap();
}

/// The clean rows of every table, by table and row: each column's value.
fn clean(site: &Site) -> BTreeMap<(TableNo, i64), BTreeMap<ColumnNo, Value>> {
    let mut all = BTreeMap::new();
    for table in &site.catalog.tables {
        let sql = format!(
            "SELECT rejoin_row, {} FROM {} WHERE rejoin_row NOT IN (SELECT rejoin_row FROM {})",
            column_list(table, ""),
            live_table(table),
            base_table(table)
        );
        let mut statement = site.connection.prepare(&sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = table.columns.iter().enumerate();
            let values = values.map(|(at, column)| (column.no, from_sql(&column.ty, row.get_ref(at + 1).unwrap()).unwrap()));
            all.insert((table.no, row.get(0).unwrap()), values.collect());
        }
    }
    all
}

/// A value of a column as one of another.
fn convert(from: &Column, to: &Column, value: &Value) -> Option<Value> {
    Cast::between(from, to).apply(value)
}

/// What an edit is in the new catalog: the same under the same number, converted where it fits. `before`: with what is hidden.
fn edit_after(before: &Table, after: Option<&Table>, edit: &Edit) -> Option<Edit> {
    let Some(now) = after.and_then(|table| table.column(edit.column)) else { return Some(edit.clone()) };
    let reads = |column: &&Column| readable(&column.ty, &edit.new) && readable(&column.ty, &edit.base);
    let here = before.column(edit.column).filter(|column| !is_hidden(column)).filter(reads);
    let hidden = || before.columns.iter().filter(|column| is_hidden(column) && wire(column.no) == edit.column).find(reads);
    let Some(was) = here.or_else(hidden) else { panic!("{edit:?} of {before:?}") };
    let (base, new) = (convert(was, now, &edit.base), convert(was, now, &edit.new));
    let misfit = new.is_none() || base.is_none() && (here.is_none() || edit.new.is_null());
    if misfit {
        return Some(edit.clone());
    }
    let edit = Edit { column: edit.column, base: base.unwrap_or(Value::Null), new: new.unwrap() };
    (edit.base != edit.new).then_some(edit)
}

fn readable(ty: &ColumnType, value: &Value) -> bool {
    ty.accept(value.clone()).is_ok_and(|same| same == *value) || matches!((ty, value), (ColumnType::Enum(_), Value::Text(_)))
}

/// The edits of the columns that were there before, those of the key too.
fn edits(table: &Table, change: &RowChange, known: &BTreeSet<ColumnNo>) -> Vec<Edit> {
    let (old, edits) = match &change.op {
        Op::Update(edits) => (&change.key, edits),
        Op::Rekey(old, edits) => (old, edits),
        _ => panic!("{change:?}"),
    };
    let keys = table.key.iter().zip(old.0.iter().zip(&change.key.0)).filter(|(_, (base, new))| base != new);
    let keys = keys.map(|(column, (base, new))| Edit { column: *column, base: base.clone(), new: new.clone() });
    let mut edits: Vec<Edit> = edits.iter().cloned().chain(keys).filter(|edit| known.contains(&edit.column)).collect();
    edits.sort_by_key(|edit| edit.column);
    edits
}

fn check_pushed(before: &Site, after: &Site, was: &Pushed, now: &Pushed) {
    let rows = |pushed: &Pushed| pushed.keys().copied().collect::<BTreeSet<_>>();
    // A change may come to nothing, where the new type does not tell the values apart; none may appear.
    assert!(rows(now).is_subset(&rows(was)), "{now:#?} of {was:#?}");
    for (row, change) in was {
        let no = TableNo(row.0);
        let (old, new) = (before.catalog.table(no), after.catalog.table(no));
        let anew = now.get(row).is_some_and(|now| now == change);
        let (Some(old), Some(new)) = (old, new.filter(|_| !anew)) else {
            assert!(anew || before.catalog.table(no).is_none(), "the edit of a table that is gone: {change:?} {:?}", now.get(row));
            continue;
        };
        let known: BTreeSet<ColumnNo> = old.columns.iter().map(|column| column.no).chain(change.values().map(|(no, _)| no)).collect();
        match (&change.op, now.get(row).map(|now| &now.op)) {
            (Op::Update(_) | Op::Rekey(..), found) => {
                let wanted: Vec<Edit> = edits(old, change, &known).iter().filter_map(|edit| edit_after(old, Some(new), edit)).collect();
                let found = if found.is_some() { edits(new, &now[row], &known) } else { vec![] };
                assert_eq!(found, wanted, "{change:?}");
                if let Some(now) = now.get(row) {
                    assert!(now.values().all(|(no, _)| known.contains(&no)), "a new column is pushed: {now:?}");
                }
            }
            (Op::Insert(values), Some(Op::Insert(found))) => {
                for (column, value) in values.iter().filter(|(no, value)| known.contains(no) && !value.is_null()) {
                    let edit = Edit { column: *column, base: Value::Null, new: value.clone() };
                    let wanted = edit_after(old, Some(new), &edit).map(|edit| edit.new);
                    let default =
                        old.column(*column).and_then(|column| column.default.clone()) == Some(DefaultValue::Constant(value.clone()));
                    let found = found.iter().find(|(no, _)| no == column).map(|(_, value)| value.clone());
                    assert!(found == wanted || default && found.is_none(), "{column}: {found:?}, not {wanted:?} of {change:?}");
                }
            }
            (Op::Delete(_), Some(Op::Delete(_))) => {}
            (Op::Insert(_) | Op::Delete(_), found) => panic!("{change:?} became {found:?}"),
        }
    }
}

fn check_clean(before: &Site, was: &BTreeMap<(TableNo, i64), BTreeMap<ColumnNo, Value>>, after: &Site) {
    for (row, values) in clean(after) {
        let Some(old) = was.get(&row) else { panic!("{row:?} is clean now") };
        let (from, to) = (before.catalog.table(row.0).unwrap(), after.catalog.table(row.0).unwrap());
        for (no, value) in values {
            let (was, now) = (from.column(no), to.column(no).unwrap());
            let wanted = match was {
                Some(was) => convert(was, now, &old[&no]).unwrap_or(Value::Null),
                None => now.added.clone().unwrap_or(Value::Null),
            };
            let kept =
                matches!((&value, old.get(&no), &now.ty), (Value::Text(label), Some(old), ColumnType::Enum(_)) if *label == old.to_text());
            assert!(value == wanted || kept, "{row:?} {}: {value:?}, not {wanted:?}", now.name);
        }
    }
}

/// What SQLite says of the tables, but for what is hidden or waits.
fn shape(connection: &Connection, waits: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let sql = "SELECT s.name, (SELECT group_concat(c.name || ' ' || c.type || ' ' || (CASE ?1 WHEN 1 THEN '' ELSE c.\"notnull\" END) || ' ' || coalesce(c.dflt_value, '-') || ' ' || c.pk, '; ' ORDER BY c.name)
                 FROM pragma_table_info(s.name) c WHERE c.name NOT LIKE 'rejoin_hidden%') || ' / ' ||
                coalesce((SELECT group_concat(f.\"table\" || f.\"from\" || f.\"to\" || f.on_delete, '; ' ORDER BY f.id, f.seq) FROM pragma_foreign_key_list(s.name) f), '')
               FROM sqlite_schema s WHERE type = 'table' AND name NOT LIKE 'rejoin_hidden%' AND name NOT GLOB 'rejoin_*_10[0-9][0-9][0-9][0-9][0-9]'";
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([waits]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        all.insert(row.get(0).unwrap(), row.get(1).unwrap());
    }
    let mut statement =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        all.insert(row.get(0).unwrap(), row.get(1).unwrap());
    }
    all
}

fn dump(connection: &Connection) -> Vec<String> {
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'rejoin_catalog' ORDER BY name").unwrap();
    let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let mut lines: Vec<String> = shape(connection, false).into_iter().map(|(name, text)| format!("{name}: {text}")).collect();
    for table in tables {
        let mut statement = connection.prepare(&format!("SELECT * FROM {}", quoted(&table))).unwrap();
        let width = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            lines.push((0..width).map(|at| format!("{:?}", row.get_ref(at).unwrap())).collect::<Vec<_>>().join("|"));
        }
    }
    lines
}

fn try_out(seed: u64) {
    let mut dice = Dice(fastrand::Rng::with_seed(seed), 10);
    let mut site = Site::new(first(&mut dice));
    fill(&mut dice, &site);
    let mut left_out = Vec::new();
    for _ in 0..4 {
        let (was, rows) = (site.pushed(), clean(&site));
        let mut known = extended(&site.connection, &site.catalog).unwrap().unwrap_or_else(|| site.catalog.clone());
        known.tables.retain(|table| !is_hidden_table(table));
        let before = Site { connection: Connection::open_in_memory().unwrap(), catalog: known };
        let mut after = site.catalog.clone();
        for _ in 0..=dice.below(4) {
            change(&mut dice, &mut after, &mut left_out);
        }
        site.take(|catalog| *catalog = Catalog { version: catalog.version, ..after });
        check_pushed(&before, &site, &was, &site.pushed());
        check_clean(&before, &rows, &site);
        for table in &site.catalog.tables {
            // SQLite prepares no delete of a row to which a foreign key refers by what is no key.
            site.connection.prepare(&format!("DELETE FROM {}", live_table(table))).unwrap();
        }
        assert_eq!(site.text("SELECT coalesce(group_concat(\"table\"), '') FROM pragma_foreign_key_check"), "");
        let direct = Connection::open_in_memory().unwrap();
        build(&direct, &site.catalog);
        let waits = site.text("SELECT count(*) || '' FROM rejoin_unsettled WHERE column_no > 0") != "0";
        let (mut here, there) = (shape(&site.connection, waits), shape(&direct, waits));
        let hidden = site.text("SELECT coalesce(group_concat(table_no, ' '), '') FROM rejoin_hidden WHERE column_no = 0");
        for no in hidden.split_whitespace().filter(|no| site.catalog.table(TableNo(no.parse().unwrap())).is_none()) {
            here.retain(|name, _| *name != format!("rejoin_base_{no}") && *name != format!("rejoin_theirs_{no}"));
        }
        let differ: Vec<_> = here.keys().chain(there.keys()).filter(|name| here.get(*name) != there.get(*name)).collect();
        let told: Vec<_> = differ.iter().map(|name| (name, here.get(*name), there.get(*name))).collect();
        assert!(told.is_empty(), "{told:#?}");
        let lines = dump(&site.connection);
        site.sync(|connection| install(connection, Some(&site.catalog), &site.catalog, "venue").unwrap());
        assert!(dump(&site.connection) == lines, "installing again changes something");
        site.tidy();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_catalog_follows_any_other(seed in any::<u64>()) {
        try_out(seed);
    }
}
