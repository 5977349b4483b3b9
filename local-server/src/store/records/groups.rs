//! Groups of records with figures over each, in one query.

use conflict_ui_api::backend::{Figure, Figured, Group, GroupBy, GroupQuery};
use sync_core::catalog::{Column, Table};
use sync_core::value::{ColumnType, Every, Value};

use super::list::{Built, conditions, ordered};
use crate::store::error::StoreError;
use crate::store::figures::{BUCKET, SUM};
use crate::store::rows::{RowError, from_sql, live_table, quoted};

/// Builds the query. Its columns: the group's values, the count, then what [`read`] makes the figures of.
pub(super) fn build(table: &Table, asked: &GroupQuery) -> Built {
    let mut built = Built::default();
    let conditions = conditions(&mut built, table, &asked.records());
    let by: Vec<String> = asked.by.iter().filter_map(|by| group_by(table, *by)).collect();
    let mut select = by.clone();
    select.push("count(*)".to_owned());
    for figure in &asked.figures {
        if let Some(column) = table.column(figure.column()) {
            select.extend(figure_sql(column, *figure));
        }
    }
    let order: Vec<String> = by.iter().map(|by| format!("{by} NULLS LAST")).collect();
    let by = if by.is_empty() { String::new() } else { format!(" GROUP BY {} ORDER BY {}", by.join(", "), order.join(", ")) };
    built.sql =
        format!("SELECT {} FROM {} t WHERE {}{by} LIMIT {}", select.join(", "), live_table(table), conditions.join(" AND "), asked.limit);
    built
}

/// What a group's column is grouped and ordered by.
fn group_by(table: &Table, by: GroupBy) -> Option<String> {
    let column = table.column(by.column)?;
    let (seconds, months) = match by.every {
        None => return Some(ordered(column)),
        Some(Every::Seconds(seconds)) => (seconds, 0),
        Some(Every::Months(months)) => (0, months),
    };
    let kind = match column.ty {
        ColumnType::Timestamptz => "timestamptz",
        ColumnType::Date => "date",
        _ => "timestamp",
    };
    Some(format!("{BUCKET}(t.{}, '{kind}', {seconds}, {months})", quoted(&column.name)))
}

/// What is selected for a figure.
fn figure_sql(column: &Column, figure: Figure) -> Vec<String> {
    let name = format!("t.{}", quoted(&column.name));
    match figure {
        Figure::Total(_) => vec![format!("count({name})"), format!("{SUM}({name})")],
        Figure::Least(_) => vec![format!("min({})", ordered(column))],
        Figure::Greatest(_) => vec![format!("max({})", ordered(column))],
    }
}

/// Reads a group.
pub(super) fn read(table: &Table, asked: &GroupQuery, row: &rusqlite::Row<'_>) -> Result<Group, StoreError> {
    let mut at = 0;
    let mut next = || {
        at += 1;
        at - 1
    };
    let value = |at: usize, column: &Column| -> Result<Value, StoreError> {
        let (table, name) = (table.name.clone(), column.name.clone());
        let read = from_sql(&column.ty, row.get_ref(at)?);
        Ok(read.map_err(|error| RowError { table, record_id: "?".to_owned(), column: name, error })?)
    };
    let mut by = Vec::with_capacity(asked.by.len());
    for column in asked.by.iter().filter_map(|by| table.column(by.column)) {
        by.push(value(next(), column)?);
    }
    let count: i64 = row.get(next())?;
    let mut figures = Vec::with_capacity(asked.figures.len());
    for (figure, column) in asked.figures.iter().filter_map(|figure| Some((figure, table.column(figure.column())?))) {
        figures.push(match figure {
            Figure::Total(_) => Figured::Total { of: row.get::<_, i64>(next())?.unsigned_abs(), sum: row.get(next())? },
            Figure::Least(_) | Figure::Greatest(_) => Figured::Value(value(next(), column)?),
        });
    }
    Ok(Group { by, count: count.unsigned_abs(), figures })
}

#[cfg(test)]
mod tests {
    use conflict_ui_api::backend::{Comparison, Filter, Test};
    use conflict_ui_api::conformance::System;
    use rusqlite::params_from_iter;

    use super::*;
    use crate::store::Database;
    use crate::store::install::install;
    use crate::store::rows::Bound;

    #[tokio::test]
    async fn an_index_of_the_filters_columns_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        let catalog = System::EveryType.catalog();
        let built = catalog.clone();
        db.apply(move |connection| install(connection, None, &built, "venue")).await.map_err(|error: StoreError| error).unwrap();
        let table = catalog.by_name("remarks").unwrap();
        let [kind, entity, body] = ["kind", "entity_id", "body"].map(|name| table.column_named(name).unwrap().no);
        let from = Test::Compared(Comparison::GreaterOrEqual, Value::Text("1".to_owned()));
        let asked = GroupQuery {
            table: table.no,
            filters: vec![Filter::equals(kind, Value::Text("crate".to_owned())), Filter { column: entity, test: from }],
            deleted: false,
            by: vec![GroupBy { column: body, every: None }],
            figures: vec![Figure::Least(entity)],
            limit: 10,
        };
        let built = build(table, &asked);
        let plan: Vec<String> = db
            .read(move |connection| {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", built.sql))?;
                let lines = statement.query_map(params_from_iter(built.params.iter().map(Bound)), |row| row.get(3))?;
                Ok::<_, StoreError>(lines.collect::<rusqlite::Result<_>>()?)
            })
            .await
            .unwrap();
        assert!(plan[0].contains("USING INDEX rejoin_index_5_remarks_kind_entity_id_idx (kind=? AND entity_id>?)"), "{plan:?}");
    }
}
