//! Tables as small as a conflict can be.

use sync_core::catalog::{Column, ScopeRule, Stamps, Table, TableApi, Travel};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::policy::Policy;
use sync_core::value::ColumnType;

/// Positions in a row of [`table`].
pub(crate) const A: usize = 1;
pub(crate) const B: usize = 2;
pub(crate) const MARK: usize = 3;

/// A key, two columns and a mark of soft deletion.
pub(crate) fn table() -> Table {
    let columns = [
        ("id", ColumnType::Int8, Policy::Manual),
        ("a", ColumnType::Int8, Policy::Manual),
        ("b", ColumnType::Int8, Policy::Manual),
        ("is_deleted", ColumnType::Bool, Policy::Manual),
    ];
    Table { soft_delete: Some(ColumnNo(4)), ..table_of(columns) }
}

/// A table of these columns, numbered from 1; the first is the key.
pub(crate) fn table_of<const N: usize>(columns: [(&str, ColumnType, Policy); N]) -> Table {
    let column = |(no, (name, ty, policy)): (u32, (&str, ColumnType, Policy))| Column {
        no: ColumnNo(no),
        name: name.into(),
        ty,
        sql_type: "bigint".into(),
        not_null: true,
        default: None,
        max_length: None,
        policy,
        added: None,
        fixed: false,
    };
    Table {
        no: TableNo(1),
        schema: "public".into(),
        name: "rows".into(),
        path: "rows".into(),
        engine: false,
        columns: (1..).zip(columns).map(column).collect(),
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
        soft_delete: None,
        policy: Policy::Manual,
        groups: vec![],
        travel: Travel::Both,
        keep_hours: None,
        generation: 0,
        scope_name: String::new(),
        api: TableApi::default(),
        lease: None,
    }
}
