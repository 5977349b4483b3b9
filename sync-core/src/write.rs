//! An API draft made into a row: names to columns, JSON to values, defaults, and what is missing.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, Column, DefaultValue, Table};
use crate::change::Row;
use crate::id::ColumnNo;
use crate::value::Value;

/// One thing wrong with a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The JSON name of the field.
    pub field: String,
    /// A machine's word: `unknown`, `type`, `required`, `too_long`, `read_only`.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// The values that a draft gives, by column.
pub type Draft = BTreeMap<ColumnNo, Value>;

/// Reads a JSON object as an API client sends it. Stamps (`version`, `updatedAt`, ..) are accepted and ignored, since clients send whole rows back.
///
/// # Errors
/// Every field that is unknown, of the wrong type or too long.
pub fn read_draft(catalog: &Catalog, table: &Table, body: &serde_json::Map<String, serde_json::Value>) -> Result<Draft, Vec<FieldError>> {
    let mut draft = Draft::new();
    let mut errors = Vec::new();
    let case = catalog.api.case;
    let stamps = [&table.stamps.version, &table.stamps.updated_at, &table.stamps.last_modified_by, &table.stamps.synced_at];
    for (field, json) in body {
        let named = |name: &str| name == field || case.apply(name) == *field;
        match table.columns.iter().find(|column| named(&column.name)) {
            Some(column) => match column.ty.from_json(json) {
                Ok(value) => match too_long(column, &value) {
                    None => drop(draft.insert(column.no, value)),
                    Some(detail) => errors.push(FieldError { field: field.clone(), code: "too_long", detail }),
                },
                Err(error) => errors.push(FieldError { field: field.clone(), code: "type", detail: error.to_string() }),
            },
            None if stamps.iter().any(|name| named(name)) => {}
            None => {
                let names: Vec<_> = table.columns.iter().map(|column| case.apply(&column.name)).collect();
                let detail = format!("{} has no field {field}; it has {}", table.path, names.join(", "));
                errors.push(FieldError { field: field.clone(), code: "unknown", detail });
            }
        }
    }
    if errors.is_empty() { Ok(draft) } else { Err(errors) }
}

fn too_long(column: &Column, value: &Value) -> Option<String> {
    match (column.max_length, value) {
        (Some(max), Value::Text(text)) if text.chars().count() > max as usize => {
            Some(format!("{} holds at most {max} characters", column.name))
        }
        _ => None,
    }
}

/// A draft made into a new row. `now` is canonical timestamptz text, `id` a new time-ordered uuid for columns that ask for one.
///
/// # Errors
/// Every required field that is missing or NULL.
pub fn insert_row(
    catalog: &Catalog,
    table: &Table,
    draft: &Draft,
    now: &str,
    mut id: impl FnMut() -> uuid::Uuid,
) -> Result<Row, Vec<FieldError>> {
    let mut row = Vec::with_capacity(table.columns.len());
    let mut errors = Vec::new();
    for column in &table.columns {
        let value = match (draft.get(&column.no), &column.default) {
            (Some(value), _) => value.clone(),
            (None, Some(DefaultValue::Constant(value))) => value.clone(),
            // A `timestamp` holds UTC and has no `Z`.
            (None, Some(DefaultValue::Now)) => {
                column.ty.parse(now).or_else(|_| column.ty.parse(now.trim_end_matches('Z'))).unwrap_or(Value::Null)
            }
            (None, Some(DefaultValue::Uuid)) => match column.ty.parse(&id().to_string()) {
                Ok(value) => value,
                Err(_) => Value::Null,
            },
            (None, Some(DefaultValue::Cloud) | None) => Value::Null,
        };
        let later = column.default == Some(DefaultValue::Cloud) && !draft.contains_key(&column.no);
        if value.is_null() && column.not_null && !later {
            errors.push(required(catalog, column));
        }
        row.push(value);
    }
    if errors.is_empty() { Ok(row) } else { Err(errors) }
}

/// A draft laid over an existing row.
///
/// # Errors
/// Every required field that would become NULL.
pub fn update_row(catalog: &Catalog, table: &Table, current: &[Value], draft: &Draft) -> Result<Row, Vec<FieldError>> {
    let mut row = current.to_vec();
    let mut errors = Vec::new();
    for (at, column) in table.columns.iter().enumerate() {
        if let Some(value) = draft.get(&column.no) {
            if value.is_null() && column.not_null {
                errors.push(required(catalog, column));
            }
            row[at] = value.clone();
        }
    }
    if errors.is_empty() { Ok(row) } else { Err(errors) }
}

fn required(catalog: &Catalog, column: &Column) -> FieldError {
    let field = catalog.api.case.apply(&column.name);
    FieldError { detail: format!("required: {}", column.ty.describe()), field, code: "required" }
}

/// A row as a JSON object by column names, as `cloud_data`, `local_data` and `base_data` hold it. NULLs are written.
#[must_use]
pub fn row_to_json(table: &Table, row: &[Value]) -> serde_json::Value {
    table
        .columns
        .iter()
        .zip(row)
        .map(|(column, value)| (column.name.clone(), column.ty.to_json(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Some columns as a JSON object by column names.
#[must_use]
pub fn columns_to_json<'a>(table: &Table, values: impl Iterator<Item = (ColumnNo, &'a Value)>) -> serde_json::Value {
    let named = values.filter_map(|(no, value)| table.column(no).map(|column| (column.name.clone(), column.ty.to_json(value))));
    named.collect::<serde_json::Map<_, _>>().into()
}

/// Reads what [`row_to_json`] or [`columns_to_json`] wrote: one entry for each column, `None` where the object does not name it.
#[must_use]
pub fn row_from_json(table: &Table, json: &serde_json::Value) -> Vec<Option<Value>> {
    table.columns.iter().map(|column| json.get(&column.name).and_then(|json| column.ty.from_json(json).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ColumnType;

    #[test]
    fn a_timestamp_without_zone_takes_the_time_of_the_write_too() {
        let json = serde_json::json!({
            "version": 1, "system": "s", "api": {}, "tables": [{
                "no": 1, "schema": "public", "name": "t", "path": "t", "engine": false, "key": [1], "uniques": [], "indexes": [],
                "references": [], "scope": "global", "soft_delete": null,
                "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"},
                "columns": [{"no": 1, "name": "at", "ty": "timestamp", "sql_type": "timestamp", "not_null": true, "default": "now",
                             "max_length": null}],
            }]
        });
        let catalog: Catalog = serde_json::from_value(json).unwrap();
        let now = "2026-01-31T12:00:00.000000Z";
        let row = insert_row(&catalog, &catalog.tables[0], &Draft::new(), now, uuid::Uuid::nil).unwrap();
        assert_eq!(row, [ColumnType::Timestamp.parse("2026-01-31T12:00:00").unwrap()]);
    }
}
