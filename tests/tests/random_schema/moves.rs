//! Migrations made up at random: each is SQL for the cloud, and what it does to the model.

use crate::dice::Dice;
use crate::model::{Cell, Column, Kin, Model, Row, Table, Type};
use crate::quoted;

/// Makes one up; `None` where the dice asked for what cannot be now.
pub(crate) fn migration(dice: &mut Dice, model: &mut Model) -> Option<String> {
    let at = dice.roll(model.tables.len());
    let (no, kin) = (model.tables[at].no, model.tables[at].kin);
    let alone = model.tables.iter().filter(|table| table.kin.is_none()).count();
    match dice.roll(13) {
        0..=2 => Some(add(dice, model, at)),
        3 => rename(dice, model, at),
        4 => swap(dice, model, at),
        5 => drop_column(dice, model, at),
        6 | 7 => change_type(dice, model, at),
        8 => not_null(dice, model, at),
        9 => {
            let name = dice.name("t");
            let sql = format!("ALTER TABLE {} RENAME TO {}", quoted(&model.tables[at].name), quoted(&name));
            model.tables[at].name = name;
            Some(sql)
        }
        10 if alone < 4 => Some(create(dice, model)),
        11 if alone > 1 && kin.is_none() => {
            model.rows.retain(|place, _| place.0 != no);
            model.take_away(no, None);
            Some(format!("DROP TABLE {}", quoted(&model.tables.remove(at).name)))
        }
        12 if kin.is_none() => Some(make_anew(model, at)),
        _ => None,
    }
}

fn column(dice: &Dice, name: String, ty: Type) -> Column {
    Column { no: dice.count(), name, ty, not_null: false, default: Cell::Known(None) }
}

/// The statement that makes a table as it is.
fn table_sql(table: &Table) -> String {
    let columns = table.columns.iter().map(|column| {
        let default = match &column.default {
            Cell::Known(None) => String::new(),
            Cell::Known(Some(value)) => format!(" DEFAULT '{value}'"),
            Cell::Any => " DEFAULT md5(random()::text)".to_owned(),
        };
        format!(", {} {}{}{default}", quoted(&column.name), column.ty.sql(), if column.not_null { " NOT NULL" } else { "" })
    });
    format!(
        "CREATE TABLE {} (id text PRIMARY KEY, room_id text NOT NULL REFERENCES room ON DELETE CASCADE{})",
        quoted(&table.name),
        columns.collect::<String>()
    )
}

pub(crate) fn create(dice: &mut Dice, model: &mut Model) -> String {
    let table = table(dice, None);
    let sql = table_sql(&table);
    model.tables.push(table);
    sql
}

fn table(dice: &mut Dice, kin: Option<Kin>) -> Table {
    let no = dice.count();
    let columns = Type::ALL.map(|ty| {
        let name = dice.name("c");
        column(dice, name, ty)
    });
    Table { no, name: dice.name("t"), columns: columns.into(), kin }
}

/// Two tables that everybody writes, one of which refers to the other. `fit` is what a check asks of a row; no site knows the check.
pub(crate) fn create_kin(dice: &mut Dice, model: &mut Model) -> String {
    let parent = table(dice, Some(Kin::Parent));
    let child = table(dice, Some(Kin::Child(parent.no)));
    let fit = "fit integer NOT NULL DEFAULT 1 CHECK (fit > 0)";
    let on_delete = ["NO ACTION", "CASCADE", "SET NULL"][dice.roll(3)];
    let on_update = ["NO ACTION", "CASCADE"][dice.roll(2)];
    let reference = format!("parent_id text REFERENCES {} ON DELETE {on_delete} ON UPDATE {on_update}", quoted(&parent.name));
    let with = |table: &Table, more: &str| {
        let sql = table_sql(table);
        format!("{}, {fit}, {more})", &sql[..sql.len() - 1])
    };
    let sql = format!("{}; {}", with(&parent, "code text UNIQUE"), with(&child, &reference));
    model.tables.extend([parent, child]);
    sql
}

fn each_row(model: &mut Model, table: usize, mut change: impl FnMut(&mut Row)) {
    model.rows.iter_mut().filter(|(place, _)| place.0 == table).for_each(|(_, row)| change(row));
}

fn add(dice: &mut Dice, model: &mut Model, at: usize) -> String {
    let ty = Type::ALL[dice.roll(4)];
    let name = dice.name("c");
    let mut new = column(dice, name, ty);
    match dice.roll(4) {
        0 => new.default = Cell::Known(Some(dice.roll(1000).to_string())),
        1 => (new.default, new.not_null) = (Cell::Known(Some(dice.roll(1000).to_string())), true),
        2 if ty == Type::Text => new.default = Cell::Any,
        _ => {}
    }
    let default = match &new.default {
        Cell::Known(None) => String::new(),
        Cell::Known(Some(value)) => format!(" DEFAULT '{value}'"),
        Cell::Any => " DEFAULT md5(random()::text)".to_owned(),
    };
    let (table, no, cell) = (&mut model.tables[at], new.no, new.default.clone());
    let not_null = if new.not_null { " NOT NULL" } else { "" };
    let sql = format!("ALTER TABLE {} ADD COLUMN {} {}{not_null}{default}", quoted(&table.name), quoted(&new.name), ty.sql());
    table.columns.push(new);
    let table = table.no;
    each_row(model, table, |row| drop(row.insert(no, cell.clone())));
    sql
}

fn rename(dice: &mut Dice, model: &mut Model, at: usize) -> Option<String> {
    let name = dice.name("c");
    let table = &mut model.tables[at];
    let of = dice.roll(table.columns.len().max(1));
    let column = table.columns.get_mut(of)?;
    let sql = format!("ALTER TABLE {} RENAME COLUMN {} TO {}", quoted(&table.name), quoted(&column.name), quoted(&name));
    column.name = name;
    Some(sql)
}

fn swap(dice: &mut Dice, model: &mut Model, at: usize) -> Option<String> {
    let table = &mut model.tables[at];
    let second = dice.roll(table.columns.len().max(1));
    let (a, b) = (table.columns.first()?.name.clone(), table.columns.get(second)?.name.clone());
    if a == b {
        return None;
    }
    let alter = |from: &str, to: &str| format!("ALTER TABLE {} RENAME COLUMN {} TO {}", quoted(&table.name), quoted(from), quoted(to));
    let sql = [alter(&a, "aside"), alter(&b, &a), alter("aside", &b)].join("; ");
    table.columns[0].name = b;
    table.columns[second].name = a;
    Some(sql)
}

fn drop_column(dice: &mut Dice, model: &mut Model, at: usize) -> Option<String> {
    let table = &mut model.tables[at];
    if table.columns.len() < 3 {
        return None;
    }
    let column = table.columns.remove(dice.roll(table.columns.len()));
    let sql = format!("ALTER TABLE {} DROP COLUMN {}", quoted(&table.name), quoted(&column.name));
    let table = table.no;
    each_row(model, table, |row| drop(row.remove(&column.no)));
    model.take_away(table, Some(column.no));
    Some(sql)
}

/// Values that do not fit the new type become NULL at the cloud.
fn change_type(dice: &mut Dice, model: &mut Model, at: usize) -> Option<String> {
    let to = Type::ALL[dice.roll(4)];
    let table = &mut model.tables[at];
    let of = dice.roll(table.columns.len());
    let column = table.columns.get_mut(of)?;
    if column.ty == to || column.not_null || column.default != Cell::Known(None) {
        return None;
    }
    let name = quoted(&column.name);
    let digits = match to {
        Type::Text => None,
        Type::Int2 => Some("'^-?[0-9]{1,4}$'"),
        Type::Int4 => Some("'^-?[0-9]{1,9}$'"),
        Type::Int8 => Some("'^-?[0-9]{1,18}$'"),
    };
    let using = match digits {
        None => format!("{name}::text"),
        Some(digits) => format!("CASE WHEN {name}::text ~ {digits} THEN {name}::text::{} END", to.sql()),
    };
    let sql = format!("ALTER TABLE {} ALTER COLUMN {name} TYPE {} USING {using}", quoted(&table.name), to.sql());
    column.ty = to;
    let (table, no) = (table.no, column.no);
    model.take_away(table, Some(no));
    each_row(model, table, |row| {
        if let Some(Cell::Known(value)) = row.get_mut(&no)
            && !value.as_deref().is_none_or(|value| to.holds(value))
        {
            *value = None;
        }
    });
    Some(sql)
}

/// Fills what is empty and forbids it from now on, or allows it again.
fn not_null(dice: &mut Dice, model: &mut Model, at: usize) -> Option<String> {
    let table = &mut model.tables[at];
    let of = dice.roll(table.columns.len());
    let column = table.columns.get_mut(of)?;
    let (table_name, name) = (quoted(&table.name), quoted(&column.name));
    column.not_null = !column.not_null;
    if !column.not_null {
        return Some(format!("ALTER TABLE {table_name} ALTER COLUMN {name} DROP NOT NULL"));
    }
    let sql =
        format!("UPDATE {table_name} SET {name} = '0' WHERE {name} IS NULL; ALTER TABLE {table_name} ALTER COLUMN {name} SET NOT NULL");
    let (table, no) = (table.no, column.no);
    each_row(model, table, |row| {
        if row.get(&no) == Some(&Cell::Known(None)) {
            row.insert(no, Cell::Known(Some("0".to_owned())));
        }
    });
    Some(sql)
}

/// As a program does it that cannot alter: a new table under the old name, with half of the rows.
fn make_anew(model: &mut Model, at: usize) -> String {
    let table = &model.tables[at];
    let names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let columns = ["id", "room_id"].map(str::to_owned).into_iter().chain(names).collect::<Vec<_>>().join(", ");
    let name = quoted(&table.name);
    let no = table.no;
    let sql = format!(
        "ALTER TABLE {name} RENAME TO old; {}; INSERT INTO {name} ({columns}) SELECT {columns} FROM old WHERE id < 'r4'; DROP TABLE old",
        table_sql(table)
    );
    model.rows.retain(|place, _| place.0 != no || place.1.as_str() < "r4");
    model.take_away(no, None);
    sql
}
