//! An API draft made into a row: names to columns, JSON to values, defaults, and what is missing.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, Column, DefaultValue, Table};
use crate::change::Row;
use crate::id::ColumnNo;
use crate::json::canonical;
use crate::limits::VALUE_BYTES_MAX;
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
    let stamps = table.stamps.names();
    for (field, json) in body {
        match catalog.column_called(table, field) {
            Some(column) => match column.ty.from_json(json) {
                Ok(value) => match too_long(column, &value) {
                    None => drop(draft.insert(column.no, value)),
                    Some(detail) => errors.push(FieldError { field: field.clone(), code: "too_long", detail }),
                },
                Err(error) => errors.push(FieldError { field: field.clone(), code: "type", detail: error.to_string() }),
            },
            None if stamps.iter().any(|name| name == field || case.apply(name) == *field) => {}
            None => {
                let detail = format!("{} has no field {field}; it has {}", table.path, catalog.fields(table).join(", "));
                errors.push(FieldError { field: field.clone(), code: "unknown", detail });
            }
        }
    }
    if errors.is_empty() { Ok(draft) } else { Err(errors) }
}

pub(crate) fn too_long(column: &Column, value: &Value) -> Option<String> {
    match (column.max_length, value) {
        (Some(max), Value::Text(text)) if text.chars().count() > max as usize => {
            Some(format!("{} holds at most {max} characters", column.name))
        }
        // No message could carry it: refused here and not when a site asks for the row.
        _ if value.is_too_large() => Some(format!("{} holds at most {VALUE_BYTES_MAX} bytes", column.name)),
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
            (None, Some(DefaultValue::Cloud | DefaultValue::Leased) | None) => Value::Null,
        };
        let later = column.default.as_ref().is_some_and(DefaultValue::is_made_later) && !draft.contains_key(&column.no);
        if value.is_null() && column.not_null && !later {
            errors.push(required(catalog, table, column));
        }
        row.push(value);
    }
    if errors.is_empty() { Ok(row) } else { Err(errors) }
}

/// A draft laid over an existing row.
///
/// # Errors
/// Every required field that would become NULL, and every number that only PostgreSQL gives and that would become another one.
pub fn update_row(catalog: &Catalog, table: &Table, current: &[Value], draft: &Draft) -> Result<Row, Vec<FieldError>> {
    let mut row = current.to_vec();
    let mut errors = Vec::new();
    for (at, column) in table.columns.iter().enumerate() {
        if let Some(value) = draft.get(&column.no) {
            if value.is_null() && column.not_null {
                errors.push(required(catalog, table, column));
            } else if column.fixed && !row[at].is_null() && row[at] != *value {
                let field = catalog.field(table, column);
                errors.push(FieldError {
                    detail: format!("{field} is made by PostgreSQL alone and stays as it is: leave it out"),
                    field,
                    code: "read_only",
                });
            }
            row[at] = value.clone();
        }
    }
    if errors.is_empty() { Ok(row) } else { Err(errors) }
}

fn required(catalog: &Catalog, table: &Table, column: &Column) -> FieldError {
    let field = catalog.field(table, column);
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

/// Reads what [`row_to_json`] or [`columns_to_json`] wrote: one entry for each column, `None` where the object does not name it or only
/// says that it was too large. What was written of a column when it had another type is read by its text: `"33"` is 33 by now.
#[must_use]
pub fn row_from_json(table: &Table, json: &serde_json::Value) -> Vec<Option<Value>> {
    let read = |column: &Column| {
        let json = json.get(&column.name).filter(|json| !is_too_large(json))?;
        let text = || match json {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Some(json.to_string()),
            _ => None,
        };
        column.ty.from_json(json).ok().or_else(|| column.ty.parse(&text()?).ok())
    };
    table.columns.iter().map(read).collect()
}

/// The one member of the object that stands for a value which was too large to be kept: its bytes.
const TOO_LARGE: &str = "rejoinTooLarge";

/// Whether this stands for a value that was too large: see [`bounded`].
#[must_use]
pub fn is_too_large(json: &serde_json::Value) -> bool {
    json.as_object().is_some_and(|object| object.len() == 1 && object.get(TOO_LARGE).is_some_and(serde_json::Value::is_u64))
}

/// A row as [`row_to_json`] or [`columns_to_json`] wrote it, as small as a conflict can carry it, since a conflict is itself a row of columns
/// that travels: a column over a quarter of [`VALUE_BYTES_MAX`] is replaced by an object that tells its bytes, and so are the largest ones
/// while the whole is over half of it. Counted is the canonical text, which is what travels; what has none is too deep.
#[must_use]
pub fn bounded(mut row: serde_json::Value) -> serde_json::Value {
    let Some(columns) = row.as_object_mut() else { return row };
    let mut weights: Vec<(usize, String)> = Vec::with_capacity(columns.len());
    for (name, json) in &*columns {
        let text = serde_json::json!({ name: json }).to_string();
        weights.push((canonical(&text).map_or(usize::MAX, |text| text.len()), name.clone()));
    }
    weights.sort_unstable();
    let mut whole: usize = weights.iter().fold(0, |sum, (weight, _)| sum.saturating_add(*weight));
    while let Some((weight, name)) = weights.pop() {
        if weight <= VALUE_BYTES_MAX / 4 && whole <= VALUE_BYTES_MAX / 2 {
            break;
        }
        if let Some(json) = columns.get_mut(&name) {
            *json = serde_json::json!({ TOO_LARGE: json.to_string().len() });
        }
        whole = weights.iter().fold(0, |sum, (weight, _)| sum.saturating_add(*weight));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ColumnType;

    /// A catalog of one table with one column, which is its key and NOT NULL.
    fn one_column(told: serde_json::Value) -> Catalog {
        let mut column = serde_json::json!({"no": 1, "sql_type": "t", "not_null": true, "max_length": null});
        column.as_object_mut().unwrap().extend(told.as_object().unwrap().clone());
        let json = serde_json::json!({
            "version": 1, "system": "s", "api": {}, "tables": [{
                "no": 1, "schema": "public", "name": "t", "path": "t", "engine": false, "key": [1], "uniques": [], "indexes": [],
                "references": [], "scope": "global", "soft_delete": null,
                "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"},
                "columns": [column],
            }]
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_number_that_only_postgresql_gives_stays_as_it_is() {
        let catalog = one_column(serde_json::json!({"name": "no", "ty": "integer", "default": "cloud", "fixed": true}));
        let updated = |before: Value, new: i64| {
            let draft = Draft::from([(ColumnNo(1), Value::Int(new))]);
            update_row(&catalog, &catalog.tables[0], &[before], &draft).map_err(|errors| errors[0].code)
        };
        assert_eq!(updated(Value::Int(7), 8), Err("read_only"));
        // A whole row that is sent back, and one that has no number yet.
        assert_eq!(updated(Value::Int(7), 7), Ok(vec![Value::Int(7)]));
        assert_eq!(updated(Value::Null, 8), Ok(vec![Value::Int(8)]));
    }

    #[test]
    fn a_value_that_no_message_carries_is_a_fault_of_its_field() {
        let catalog = one_column(serde_json::json!({"name": "note", "ty": "text", "default": null}));
        let read = |note: String| {
            let body = serde_json::json!({ "note": note });
            read_draft(&catalog, &catalog.tables[0], body.as_object().unwrap())
        };
        // Bytes count, not characters.
        assert!(read("é".repeat(VALUE_BYTES_MAX / 2)).is_ok());
        let errors = read("é".repeat(VALUE_BYTES_MAX / 2 + 1)).unwrap_err();
        assert_eq!((errors[0].field.as_str(), errors[0].code), ("note", "too_long"));
    }

    #[test]
    fn what_a_conflict_keeps_of_a_row_can_always_travel() {
        let deep = |levels: usize| -> serde_json::Value {
            serde_json::from_str(&format!("{}{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
        };
        let small = serde_json::json!({"a": "x", "b": null, "c": deep(30)});
        assert_eq!(bounded(small.clone()), small);
        // A column alone, its digits written out, and its depth below the row.
        let row = bounded(serde_json::json!({"a": "x".repeat(VALUE_BYTES_MAX / 4), "b": vec![1e300; 1000], "c": deep(33), "d": 1}));
        assert_eq!(
            row,
            serde_json::json!({"a": {TOO_LARGE: VALUE_BYTES_MAX / 4 + 2}, "b": {TOO_LARGE: 7001}, "c": {TOO_LARGE: 66}, "d": 1})
        );
        assert!(is_too_large(&row["a"]) && !is_too_large(&row["d"]));
        // Many columns that are each small enough.
        let many = (0..9).map(|no| (format!("c{no}"), "y".repeat(100_000 + no).into())).collect::<serde_json::Map<_, _>>();
        let row = bounded(many.into());
        assert!(row.to_string().len() <= VALUE_BYTES_MAX / 2);
        let kept: Vec<bool> = row.as_object().unwrap().values().map(|json| !is_too_large(json)).collect();
        assert_eq!(kept, [true, true, true, true, true, false, false, false, false], "the smallest ones stay");
    }

    #[test]
    fn a_timestamp_without_zone_takes_the_time_of_the_write_too() {
        let catalog = one_column(serde_json::json!({"name": "at", "ty": "timestamp", "default": "now"}));
        let now = "2026-01-31T12:00:00.000000Z";
        let row = insert_row(&catalog, &catalog.tables[0], &Draft::new(), now, uuid::Uuid::nil).unwrap();
        assert_eq!(row, [ColumnType::Timestamp.parse("2026-01-31T12:00:00").unwrap()]);
    }
}
