//! A conflict field by field: three sides, what both did, and since when.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::conflict::ConflictKind;
use sync_core::policy::Policy;
use sync_core::value::ColumnType;
use sync_core::verdict::{Three, Verdict, join_groups, of_json};
use sync_core::write::is_too_large;

use super::diff::{self, Segment};
use super::missing::Missing;
use crate::backend::{Conflict, ConflictDetail};

/// A conflict with all that is needed to decide it, field by field.
#[derive(Debug, Clone, Serialize)]
pub struct Detail {
    /// The conflict, and the rows around it.
    #[serde(flatten)]
    pub detail: ConflictDetail,
    /// Every column of the table as it is now, and those that the conflict still has of former ones.
    pub fields: Vec<Field>,
    /// The rows that it refers to and that the cloud still does not have.
    pub missing: Vec<Missing>,
}

/// One column of the row.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// The column's name, as in `baseData`, `cloudData` and `localData`.
    pub name: String,
    /// Its name in records and in `values`.
    pub field: String,
    /// What it holds (`text`, `int4`, `text[]`, ..); `None` where the table no longer has it.
    #[serde(rename = "type")]
    pub ty: Option<String>,
    /// The labels of an enum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The longest text in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// What the site's edit was made on; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Json>,
    /// What the cloud has now; absent where there is no row, or it is not visible here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Json>,
    /// What the site has; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<Json>,
    /// What both did.
    pub verdict: Verdict,
    /// The column's policy.
    pub policy: Policy,
    /// The columns that clash with it as one, by name; empty where it is alone.
    pub group: Vec<String>,
    /// Whether MANUAL may give it another value.
    pub editable: bool,
    /// The differences inside a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Vec<Segment>>,
    /// When the cloud's value came about, where the history says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_since: Option<DateTime<Utc>>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_by: Option<String>,
}

impl Detail {
    /// The conflict with its fields.
    pub(super) fn new(catalog: &Catalog, detail: ConflictDetail, missing: Vec<Missing>) -> Self {
        let table = table_of(catalog, &detail.conflict);
        let mut fields = table.map_or_else(Vec::new, |table| of_columns(catalog, table, &detail));
        let former = former_columns(&detail, &fields);
        fields.extend(former);
        Self { detail, fields, missing }
    }
}

/// The conflict's table, where the catalog still has it.
pub(super) fn table_of<'a>(catalog: &'a Catalog, conflict: &Conflict) -> Option<&'a Table> {
    let name = &conflict.table_name;
    catalog.tables.iter().find(|table| !table.engine && table.name == *name).or_else(|| catalog.by_name(name))
}

/// Whether the site made the row, so that none of its columns has a base.
fn made(conflict: &Conflict) -> bool {
    conflict.held || conflict.kind == ConflictKind::InsertInsert || conflict.base_data.is_none()
}

fn sides<'a>(detail: &'a ConflictDetail, name: &str) -> Three<&'a Json> {
    let of = |data: &'a Option<Json>| data.as_ref().and_then(|data| data.get(name));
    let conflict = &detail.conflict;
    Three { base: of(&conflict.base_data), cloud: of(&detail.current), local: of(&conflict.local_data) }
}

fn of_columns(catalog: &Catalog, table: &Table, detail: &ConflictDetail) -> Vec<Field> {
    let made = made(&detail.conflict);
    let sides: Vec<_> = table.columns.iter().map(|column| sides(detail, &column.name)).collect();
    let of = |(column, sides): (&Column, &Three<&Json>)| of_json(&column.ty, made, *sides);
    let mut verdicts: Vec<_> = table.columns.iter().zip(&sides).map(of).collect();
    let unlike = |(column, sides): (&Column, &Three<&Json>)| of_json(&column.ty, true, Three { base: None, ..*sides }) == Verdict::Clash;
    let differ: Vec<_> = table.columns.iter().zip(&sides).map(unlike).collect();
    join_groups(table, &mut verdicts, &differ);
    let columns = table.columns.iter().zip(sides).zip(verdicts);
    columns.map(|((column, sides), verdict)| field(catalog, table, column, sides, verdict, detail)).collect()
}

fn field(catalog: &Catalog, table: &Table, column: &Column, sides: Three<&Json>, verdict: Verdict, detail: &ConflictDetail) -> Field {
    let group = table.group_of(column.no);
    let group = group.iter().filter(|_| group.len() > 1).filter_map(|no| table.column(*no)).map(|column| column.name.clone());
    let texts = match (sides.cloud, sides.local) {
        (Some(Json::String(cloud)), Some(Json::String(local))) if matches!(column.ty, ColumnType::Text | ColumnType::Other) => {
            Some((cloud, local))
        }
        _ => None,
    };
    let since = detail.history.iter().find(|entry| sides.cloud.is_some() && entry.changes.get(&column.name).is_some());
    let large = [sides.cloud, sides.local].into_iter().flatten().any(is_too_large);
    Field {
        name: column.name.clone(),
        field: catalog.field(table, column),
        ty: Some(type_name(&column.ty)),
        options: if let ColumnType::Enum(labels) = &column.ty { Some(labels.clone()) } else { None },
        not_null: column.not_null,
        max_length: column.max_length,
        base: sides.base.cloned(),
        cloud: sides.cloud.cloned(),
        local: sides.local.cloned(),
        verdict,
        policy: column.policy,
        group: group.collect(),
        // The key says which row it is; a value that was not kept whole can only be taken from a side.
        editable: !table.key.contains(&column.no) && !large,
        diff: texts.and_then(|(cloud, local)| diff::between(cloud, local)),
        cloud_since: since.map(|entry| entry.at),
        cloud_by: since.map(|entry| entry.author.clone()),
    }
}

/// What the conflict has of columns that the table does not have any more.
fn former_columns(detail: &ConflictDetail, known: &[Field]) -> Vec<Field> {
    let conflict = &detail.conflict;
    let data = [&conflict.base_data, &conflict.local_data, &conflict.cloud_data];
    let mut names: Vec<&String> = Vec::new();
    for name in data.into_iter().flatten().filter_map(Json::as_object).flat_map(|object| object.keys()) {
        if !names.contains(&name) && !known.iter().any(|field| field.name == *name) {
            names.push(name);
        }
    }
    let former = |name: &String| {
        let sides = sides(detail, name);
        Field {
            name: name.clone(),
            field: name.clone(),
            ty: None,
            options: None,
            not_null: false,
            max_length: None,
            base: sides.base.cloned(),
            cloud: sides.cloud.cloned(),
            local: sides.local.cloned(),
            verdict: of_json(&ColumnType::Json, made(conflict), sides),
            policy: Policy::Manual,
            group: Vec::new(),
            editable: false,
            diff: None,
            cloud_since: None,
            cloud_by: None,
        }
    };
    names.into_iter().map(former).collect()
}

/// A type in one word: PostgreSQL's where there is one.
pub(crate) fn type_name(ty: &ColumnType) -> String {
    match ty {
        ColumnType::Bool => "bool",
        ColumnType::Int2 => "int2",
        ColumnType::Int4 => "int4",
        ColumnType::Int8 => "int8",
        ColumnType::Float4 => "float4",
        ColumnType::Float8 => "float8",
        ColumnType::Numeric => "numeric",
        ColumnType::Text => "text",
        ColumnType::Uuid => "uuid",
        ColumnType::Timestamptz => "timestamptz",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Date => "date",
        ColumnType::Time => "time",
        ColumnType::Bytea => "bytea",
        ColumnType::Json => "json",
        ColumnType::Enum(_) => "enum",
        ColumnType::Array(element) => return format!("{}[]", type_name(element)),
        ColumnType::Other => "other",
        ColumnType::JsonText => "json",
        ColumnType::Char => "text",
        ColumnType::Money => "money",
        ColumnType::Timetz => "timetz",
        ColumnType::Interval => "interval",
        ColumnType::Inet => "inet",
        ColumnType::Cidr => "cidr",
        ColumnType::Macaddr => "macaddr",
        ColumnType::Macaddr8 => "macaddr8",
        ColumnType::Bits => "bits",
    }
    .to_owned()
}
