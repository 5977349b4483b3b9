//! Groups of records with figures over each, in one query.

use conflict_ui_api::backend::{Figure, Figured, Group, GroupBy, GroupQuery};
use sync_core::catalog::{Column, Table};
use sync_core::figures::Sum;
use sync_core::value::{ColumnType, Every, Value};
use tokio_postgres::Row;

use super::list::{Order, clause, conditions};
use super::query::Query;
use crate::store::error::StoreError;
use crate::store::row::{quote, table_sql};

/// Builds the query. Its columns: the group's values, the count, then what [`read`] makes the figures of; all values as text.
pub(super) fn build(table: &Table, asked: &GroupQuery) -> Query {
    let mut query = Query::default();
    let conditions = conditions(&mut query, table, &asked.records());
    let by: Vec<String> = asked.by.iter().filter_map(|by| group_by(table, *by)).collect();
    let mut select: Vec<String> = by.iter().map(|by| format!("({by})::text")).collect();
    select.push("count(*)".to_owned());
    for figure in &asked.figures {
        if let Some(column) = table.column(figure.column()) {
            select.extend(figure_sql(column, *figure));
        }
    }
    let by = by.join(", ");
    let by = if by.is_empty() { by } else { format!(" GROUP BY {by} ORDER BY {by}") };
    query.sql = format!("SELECT {} FROM {} t{}{by} LIMIT {}", select.join(", "), table_sql(table), clause(&conditions), asked.limit);
    query
}

/// What a group's column is grouped and ordered by.
fn group_by(table: &Table, by: GroupBy) -> Option<String> {
    let column = table.column(by.column)?;
    match by.every {
        Some(every) => Some(bucket(column, every)),
        None => Some(Order::of_column(column).expression),
    }
}

/// The beginning of the bucket, as [`Every::begin`] has it.
fn bucket(column: &Column, every: Every) -> String {
    let name = format!("t.{}", quote(&column.name));
    let (kind, plain) = match column.ty {
        ColumnType::Timestamptz => ("timestamptz", format!("({name} AT TIME ZONE 'UTC')")),
        ColumnType::Date => ("date", format!("{name}::timestamp")),
        _ => ("timestamp", name.clone()),
    };
    let begin = match every {
        Every::Seconds(seconds) => {
            let monday = "timestamp '2000-01-03'";
            format!("{monday} + make_interval(secs => (floor(extract(epoch FROM ({plain} - {monday})) / {seconds}) * {seconds})::float8)")
        }
        Every::Months(months) => {
            // There is no year 0: the one before 1 is -1.
            let year = format!("(extract(year FROM {plain}) + (extract(year FROM {plain}) < 0)::int - 2000)");
            let since = format!("({year} * 12 + extract(month FROM {plain}) - 1)");
            format!("timestamp '2000-01-01' + make_interval(months => (floor({since} / {months}) * {months})::int)")
        }
    };
    let begin = match column.ty {
        ColumnType::Timestamptz => format!("({begin}) AT TIME ZONE 'UTC'"),
        ColumnType::Date => format!("({begin})::date"),
        _ => begin,
    };
    let [zone, first, last] = match column.ty {
        ColumnType::Timestamptz => ["+00", Every::FIRST_YEAR, Every::LAST_YEAR],
        _ => ["", Every::FIRST_YEAR, Every::LAST_YEAR],
    };
    let (first, era) = first.split_once(' ').unwrap_or((first, ""));
    let midnight = if column.ty == ColumnType::Date { String::new() } else { format!(" 00:00:00{zone}") };
    format!(
        "CASE WHEN {name} < {kind} '{first}-01-01{midnight} {era}' THEN {kind} '-infinity' \
         WHEN {name} >= {kind} '{last}-01-01{midnight}' THEN {kind} 'infinity' ELSE {begin} END"
    )
}

/// What is selected for a figure.
fn figure_sql(column: &Column, figure: Figure) -> Vec<String> {
    let name = format!("t.{}", quote(&column.name));
    let (least, both) = match figure {
        Figure::Total(_) => return total_sql(column, &name),
        Figure::Least(_) => ("min", "bool_and"),
        Figure::Greatest(_) => ("max", "bool_or"),
    };
    vec![match column.ty {
        ColumnType::Bool => format!("{both}({name})::text"),
        // PostgreSQL has no min of these; their texts are ordered as they are.
        ColumnType::Uuid | ColumnType::Macaddr | ColumnType::Macaddr8 | ColumnType::Bits => format!("{least}({name}::text COLLATE \"C\")"),
        _ => format!("{least}({})::text", Order::of_column(column).expression),
    }]
}

/// How many values, and their sum. Floats so large that PostgreSQL's shortest text may be another one than ours (it takes no bound of what
/// would be rounded to a float for that float) come one by one.
fn total_sql(column: &Column, name: &str) -> Vec<String> {
    let count = format!("count({name})");
    let large: u64 = match column.ty {
        ColumnType::Float4 => 1 << 24,
        ColumnType::Float8 => 1 << 53,
        _ => return vec![count, format!("sum({name}::numeric)::text")],
    };
    let small = format!("abs({name}) < {large}");
    vec![
        count,
        format!("(sum({name}::text::numeric) FILTER (WHERE {small}))::text"),
        format!("array_agg({name}::text) FILTER (WHERE NOT {small})"),
    ]
}

/// Reads a group.
pub(super) fn read(table: &Table, asked: &GroupQuery, row: &Row) -> Result<Group, StoreError> {
    let mut columns = Columns { row, at: 0 };
    let by = asked.by.iter().filter_map(|by| table.column(by.column));
    let by = by.map(|column| columns.value(table, column)).collect::<Result<_, _>>()?;
    let count = columns.count()?;
    let figures = asked.figures.iter().filter_map(|figure| Some((figure, table.column(figure.column())?)));
    let figures = figures.map(|(figure, column)| match figure {
        Figure::Total(_) => columns.total(table, column),
        Figure::Least(_) | Figure::Greatest(_) => columns.value(table, column).map(Figured::Value),
    });
    Ok(Group { by, count, figures: figures.collect::<Result<_, _>>()? })
}

/// The columns of an answer, one after the other.
struct Columns<'r> {
    row: &'r Row,
    at: usize,
}

impl<'r> Columns<'r> {
    fn next<T: tokio_postgres::types::FromSql<'r>>(&mut self) -> Result<T, StoreError> {
        self.at += 1;
        Ok(self.row.try_get(self.at - 1)?)
    }

    fn count(&mut self) -> Result<u64, StoreError> {
        Ok(self.next::<i64>()?.unsigned_abs())
    }

    fn value(&mut self, table: &Table, column: &Column) -> Result<Value, StoreError> {
        let text: Option<&str> = self.next()?;
        text.map_or(Ok(Value::Null), |text| column.ty.parse_postgres(text).map_err(|error| unreadable(table, column, error)))
    }

    fn total(&mut self, table: &Table, column: &Column) -> Result<Figured, StoreError> {
        let of = self.count()?;
        let mut sum = Sum::default();
        let mut known = self.next::<Option<&str>>()?.is_none_or(|text| sum.add(text));
        if matches!(column.ty, ColumnType::Float4 | ColumnType::Float8) {
            for text in self.next::<Option<Vec<&str>>>()?.unwrap_or_default() {
                let value = column.ty.parse(text).map_err(|error| unreadable(table, column, error))?;
                known &= sum.add(&value.to_text());
            }
        }
        if !known {
            return Err(unreadable(table, column, "a sum that is no number"));
        }
        Ok(Figured::Total { sum: (of > 0).then(|| sum.text()), of })
    }
}

fn unreadable(table: &Table, column: &Column, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{}.{}: {why}", table.name, column.name))
}

#[cfg(test)]
mod tests {
    use conflict_ui_api::backend::{Comparison, Filter, Test};

    use super::*;
    use crate::store::pool::Database;
    use crate::store::prepare;
    use crate::systems::ENERGY;
    use crate::test_support;

    #[tokio::test]
    async fn an_index_of_the_filters_columns_is_used() {
        let database = test_support::database().await;
        let db = Database::open(database.url(), 2).unwrap();
        let catalog = prepare(&db, &ENERGY.settings().unwrap(), Some(ENERGY)).await.unwrap();
        let table = catalog.by_name("measurements").unwrap();
        let no = |name: &str| table.column_named(name).unwrap().no;
        let text = |text: &str| Value::Text(text.to_owned());
        let from = Test::Compared(Comparison::GreaterOrEqual, text("2026-01-01T00:00:00.000000Z"));
        let asked = GroupQuery {
            table: table.no,
            filters: vec![
                Filter::equals(no("entity_type"), text("meter")),
                Filter::equals(no("entity_id"), Value::Uuid(uuid::Uuid::from_u128(7))),
                Filter::equals(no("metric"), text("power")),
                Filter { column: no("timestamp"), test: from },
            ],
            deleted: false,
            by: vec![GroupBy { column: no("timestamp"), every: Every::parse("15min") }],
            figures: vec![Figure::Total(no("value"))],
            limit: 10,
        };
        let query = build(table, &asked);
        let mut client = db.client().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        // The table is empty: read whole only where nothing else will do.
        transaction.batch_execute("SET LOCAL enable_seqscan = off").await.unwrap();
        let lines = transaction.query(&format!("EXPLAIN {}", query.sql), &query.params()).await.unwrap();
        let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
        let condition = plan.iter().find(|line| line.contains("Index Cond")).unwrap_or_else(|| panic!("{plan:#?}"));
        for column in ["entity_type", "entity_id", "metric", "timestamp"] {
            assert!(condition.contains(column), "{column} is not in {condition}");
        }
    }
}
