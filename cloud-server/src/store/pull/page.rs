//! A page under construction, bounded by rows, bytes and elements.

use std::collections::HashMap;

use sync_core::catalog::{Catalog, Table};
use sync_core::id::{CloudEpoch, ScopeId, TableNo};
use sync_core::limits::{MESSAGE_ELEMENTS_MAX, PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use sync_core::value::Value;
use sync_core::wire::message::{Cursor, Gone, Page, PulledRow, TableRows, Window};

use super::Heads;
use crate::store::row::{StoredRow, wire_bytes};
use crate::store::speaker::SyncError;

/// Bytes and elements that a row costs besides its values: stamps and array heads.
const ROW_BYTES: usize = 96;
const ROW_ELEMENTS: usize = 8;

#[derive(Debug)]
pub(super) struct Builder {
    /// Where each scope stands in the page's heads.
    scopes: HashMap<ScopeId, u32>,
    gone: Vec<Gone>,
    tables: Vec<TableRows>,
    place: HashMap<TableNo, usize>,
    /// Rows read, those that are not sent back to their author too: what bounds the work.
    rows: usize,
    bytes: usize,
    elements: usize,
}

impl Builder {
    pub(super) fn new(heads: &Heads) -> Self {
        let scopes: HashMap<ScopeId, u32> = heads.keys().cloned().zip(0..).collect();
        let elements = heads.len() * 5;
        Self { scopes, gone: Vec::new(), tables: Vec::new(), place: HashMap::new(), rows: 0, bytes: 0, elements }
    }

    /// Whether nothing more should be read.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= PAGE_ROWS_MAX || self.bytes >= PAGE_BYTES_MAX || self.elements >= MESSAGE_ELEMENTS_MAX / 2
    }

    /// How many rows may be asked for at once, so that what is read and not used stays small.
    pub(super) fn batch(&self) -> usize {
        let average = self.bytes.checked_div(self.rows).unwrap_or(0).max(256);
        let room = PAGE_BYTES_MAX.saturating_sub(self.bytes) / average + 1;
        room.min(PAGE_ROWS_MAX.saturating_sub(self.rows)).clamp(1, if self.rows == 0 { 64 } else { 1024 })
    }

    /// Counts a row that its author has already.
    pub(super) fn skip(&mut self) {
        self.rows += 1;
    }

    pub(super) fn add_gone(&mut self, gone: Gone) {
        self.rows += 1;
        self.bytes += ROW_BYTES + gone.key.0.iter().map(wire_bytes).sum::<usize>();
        self.elements += ROW_ELEMENTS + 4 + gone.key.0.len();
        self.gone.push(gone);
    }

    pub(super) fn add_row(&mut self, table: &Table, stored: StoredRow) -> Result<(), SyncError> {
        let StoredRow { row, stamp, at } = stored;
        if row.iter().any(Value::is_too_large) {
            return Err(SyncError::TooLarge { table: table.name.clone(), record: table.key_of(&row).to_string() });
        }
        self.rows += 1;
        self.bytes += ROW_BYTES + row.iter().map(wire_bytes).sum::<usize>();
        self.elements += ROW_ELEMENTS + row.len();
        let place = *self.place.entry(table.no).or_insert_with(|| {
            let columns = table.columns.iter().map(|column| column.no).collect();
            self.tables.push(TableRows { table: table.no, columns, rows: Vec::new() });
            self.tables.len() - 1
        });
        let scope = self.scope(&at.scope);
        self.tables[place].rows.push(PulledRow {
            scope,
            tick: at.tick,
            version: stamp.version,
            updated_at: stamp.updated_at,
            modified_by: stamp.modified_by,
            synced_at: stamp.synced_at,
            values: row,
        });
        Ok(())
    }

    /// The scope's place in the page's heads; every scope of the feed has one.
    pub(super) fn scope(&self, scope: &ScopeId) -> u32 {
        self.scopes.get(scope).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn finish(self, cloud_epoch: CloudEpoch, catalog: &Catalog, heads: Vec<Cursor>, next: Option<Window>) -> Page {
        Page { cloud_epoch, catalog: catalog.version, heads, gone: self.gone, tables: self.tables, next, suspended: None }
    }
}
