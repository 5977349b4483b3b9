//! The catalog with what the cloud no longer has and an unsent edit is still of: columns `rejoin_hidden_<no>` and whole tables
//! `rejoin_hidden_table_<no>`, as `rejoin_hidden` describes them.

use rusqlite::Connection;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::TableNo;

use crate::store::error::Result;

const PREFIX: &str = "rejoin_hidden_";

/// Whether the column is one that the schema no longer has.
pub(super) fn is_hidden(column: &Column) -> bool {
    column.name.starts_with(PREFIX)
}

/// The catalog with hidden columns and tables; `None` where there are none.
pub(super) fn extended(connection: &Connection, catalog: &Catalog) -> Result<Option<Catalog>> {
    let mut statement = connection.prepare_cached("SELECT table_no, column_no, body FROM rejoin_hidden ORDER BY column_no")?;
    let mut rows = statement.query([])?;
    let mut extended: Option<Catalog> = None;
    while let Some(row) = rows.next()? {
        let (table, column, body): (u32, u32, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let extended = extended.get_or_insert_with(|| catalog.clone());
        if column == 0 {
            if let Ok(old) = serde_json::from_str::<Table>(&body) {
                let name = format!("{PREFIX}table_{table}");
                extended.tables.push(Table { name, schema: "public".to_owned(), references: Vec::new(), ..old });
            }
        } else if let Some(table) = extended.tables.iter_mut().find(|known| known.no == TableNo(table))
            && let Ok(old) = serde_json::from_str::<Column>(&body)
        {
            table.columns.push(Column { name: format!("{PREFIX}{column}"), ..old });
            table.columns.sort_by_key(|column| column.no);
        }
    }
    Ok(extended)
}
