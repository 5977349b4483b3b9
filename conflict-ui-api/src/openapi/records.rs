//! The system's own tables in the document: a schema for each, and the paths of its records.

use serde_json::{Map, Value as Json, json};
use sync_core::catalog::{Catalog, Column, ListForm, Table};
use sync_core::value::ColumnType;

use crate::api::path::RESERVED;
use crate::api::records::include;

/// What a schema is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The whole record, as it is answered.
    Record,
    /// What a new one is made of.
    New,
    /// What is changed of one.
    Change,
}

/// The tables that have paths.
pub(super) fn tables(catalog: &Catalog) -> impl Iterator<Item = &Table> {
    catalog.tables.iter().filter(|table| !table.engine)
}

/// Those that answer at `/api/{table}`.
pub(super) fn plain(catalog: &Catalog) -> impl Iterator<Item = &Table> {
    tables(catalog).filter(|table| !RESERVED.contains(&table.path.as_str()))
}

/// The schema's name: what a name of a schema cannot hold is written as its number.
pub(super) fn name(table: &Table, part: Part) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let path: String =
        table.path.chars().map(|letter| if plain(letter) { letter.to_string() } else { format!("x{:x}", u32::from(letter)) }).collect();
    match part {
        Part::Record => format!("record.{path}"),
        Part::New => format!("new.{path}"),
        Part::Change => format!("change.{path}"),
    }
}

/// A reference to it.
pub(super) fn reference(table: &Table, part: Part) -> Json {
    json!({ "$ref": format!("#/components/schemas/{}", name(table, part)) })
}

/// The schemas of a table.
pub(super) fn schemas(catalog: &Catalog, table: &Table) -> [(String, Json); 3] {
    let case = catalog.api.case;
    let columns: Map<String, Json> = table.columns.iter().map(|column| (catalog.field(table, column), of_column(column))).collect();
    let needed = |column: &&Column| column.not_null && column.default.is_none();
    let required: Vec<_> = table.columns.iter().filter(needed).map(|column| catalog.field(table, column)).collect();
    let stamps = &table.stamps;
    let stamps = [
        (&stamps.version, json!({ "type": "integer", "readOnly": true })),
        (&stamps.updated_at, json!({ "type": "string", "format": "date-time", "readOnly": true })),
        (&stamps.last_modified_by, json!({ "type": ["string", "null"], "readOnly": true })),
        (&stamps.synced_at, json!({ "type": ["string", "null"], "format": "date-time", "readOnly": true })),
    ];
    let mut whole: Map<String, Json> = stamps.into_iter().map(|(name, schema)| (case.apply(name), schema)).collect();
    let all: Vec<_> = columns.keys().chain(whole.keys()).cloned().collect();
    let place = json!({ "type": "string", "enum": ["cloud", "here", "held", "parked"] });
    whole.insert("rejoin".to_owned(), json!({ "type": "object", "readOnly": true, "properties": { "place": place } }));
    let names = include::names_of(catalog, table);
    if !names.is_empty() {
        let about = format!("With include: {}.", names.join(", "));
        whole.insert(include::MEMBER.to_owned(), json!({ "type": "object", "readOnly": true, "description": about }));
    }
    let change = reference(table, Part::Change);
    let about = format!("{}.{}", table.schema, table.name);
    [
        (name(table, Part::Change), json!({ "type": "object", "description": about, "properties": columns })),
        (name(table, Part::New), json!({ "allOf": [change, { "type": "object", "required": required }] })),
        (name(table, Part::Record), json!({ "allOf": [change, { "type": "object", "properties": whole, "required": all }] })),
    ]
}

fn of_column(column: &Column) -> Json {
    let mut schema = of_type(&column.ty);
    if let Some(max) = column.max_length {
        schema["maxLength"] = max.into();
    }
    if !column.not_null {
        if let Some(names) = schema.get_mut("type") {
            *names = match names.take() {
                Json::Array(names) => names.into_iter().chain([json!("null")]).collect(),
                one => json!([one, "null"]),
            };
        }
        if let Some(labels) = schema.get_mut("enum").and_then(Json::as_array_mut) {
            labels.push(Json::Null);
        }
    }
    schema
}

fn of_type(ty: &ColumnType) -> Json {
    match ty {
        ColumnType::Bool => json!({ "type": "boolean" }),
        ColumnType::Int2 => json!({ "type": "integer", "minimum": i16::MIN, "maximum": i16::MAX }),
        ColumnType::Int4 => json!({ "type": "integer", "format": "int32" }),
        // A string where JavaScript would round it.
        ColumnType::Int8 => json!({ "type": ["integer", "string"], "format": "int64" }),
        ColumnType::Float4 | ColumnType::Float8 => json!({ "type": ["number", "string"] }),
        ColumnType::Numeric => json!({ "type": ["string", "number"], "description": ty.describe() }),
        ColumnType::Uuid => json!({ "type": "string", "format": "uuid" }),
        ColumnType::Timestamptz => json!({ "type": "string", "format": "date-time" }),
        ColumnType::Date => json!({ "type": "string", "format": "date" }),
        ColumnType::Json | ColumnType::JsonText => json!({}),
        ColumnType::Enum(labels) => json!({ "type": "string", "enum": labels }),
        // Arrays of several dimensions nest, and one that does not begin at 1 is an object of `items` and `lower`.
        ColumnType::Array(element) => json!({ "type": ["array", "object"], "items": {}, "description": element.describe() }),
        ColumnType::Text | ColumnType::Char => json!({ "type": "string" }),
        ColumnType::Money => json!({ "type": ["string", "number"], "description": ty.describe() }),
        _ => json!({ "type": "string", "description": ty.describe() }),
    }
}

/// A list of a table's records, in the form that the system's lists have.
pub(super) fn list(catalog: &Catalog, table: &Table) -> Json {
    let rows = json!({ "type": "array", "items": reference(table, Part::Record) });
    match catalog.api.list {
        ListForm::Bare => rows,
        ListForm::Named => {
            let name = catalog.list_name(table);
            json!({ "type": "object", "properties": { name.clone(): rows }, "required": [name] })
        }
        ListForm::Page => json!({
            "type": "object",
            "properties": { "data": rows, "has_more": { "type": "boolean" }, "next_cursor": { "type": ["string", "null"] } },
            "required": ["data", "has_more", "next_cursor"],
        }),
    }
}
