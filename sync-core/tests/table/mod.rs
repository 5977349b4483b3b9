//! A table as small as a conflict can be: a key, two columns and a mark of soft deletion.

use sync_core::catalog::{Column, ScopeRule, Stamps, Table, Travel};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::value::ColumnType;

/// Positions in a row.
pub(crate) const A: usize = 1;
pub(crate) const B: usize = 2;
pub(crate) const MARK: usize = 3;

pub(crate) fn table() -> Table {
    let column = |no, name: &str, ty| Column {
        no: ColumnNo(no),
        name: name.into(),
        ty,
        sql_type: "bigint".into(),
        not_null: true,
        default: None,
        max_length: None,
        policy: sync_core::policy::Policy::Manual,
        added: None,
    };
    Table {
        no: TableNo(1),
        schema: "public".into(),
        name: "rows".into(),
        path: "rows".into(),
        engine: false,
        columns: vec![
            column(1, "id", ColumnType::Int8),
            column(2, "a", ColumnType::Int8),
            column(3, "b", ColumnType::Int8),
            column(4, "is_deleted", ColumnType::Bool),
        ],
        key: vec![ColumnNo(1)],
        uniques: vec![],
        indexes: vec![],
        references: vec![],
        scope: ScopeRule::Global,
        stamps: Stamps {
            version: "version".into(),
            updated_at: "updated_at".into(),
            last_modified_by: "by".into(),
            synced_at: "synced_at".into(),
        },
        soft_delete: Some(ColumnNo(4)),
        policy: sync_core::policy::Policy::Manual,
        groups: vec![],
        travel: Travel::Both,
        keep_hours: None,
        generation: 0,
        scope_name: String::new(),
        lease: None,
    }
}
