//! A whole data set in one transaction. Each row is an ordinary write, captured like any other; one that is there as given is left alone.

use std::collections::BTreeMap;

use conflict_ui_api::backend::{Imported, Write};
use sync_core::catalog::Table;
use sync_core::id::{Key, TableNo};
use sync_core::write::{Draft, update_row};

use super::write::Writer;
use super::{BackendError, Result, read, user_table};

/// Writes what differs, parents first.
pub(super) fn run(writer: &Writer<'_>, rows: &[(TableNo, Draft)]) -> Result<Imported> {
    let mut drafts: BTreeMap<TableNo, Vec<&Draft>> = BTreeMap::new();
    for (no, draft) in rows {
        user_table(writer.catalog, *no)?;
        drafts.entry(*no).or_default().push(draft);
    }
    let mut counts = Imported::default();
    for table in writer.catalog.parents_first() {
        for draft in drafts.get(&table.no).into_iter().flatten() {
            one(writer, table, draft, &mut counts)?;
        }
    }
    Ok(counts)
}

fn one(writer: &Writer<'_>, table: &Table, draft: &Draft, counts: &mut Imported) -> Result<()> {
    let key: Option<Vec<_>> = table.key.iter().map(|no| draft.get(no).cloned()).collect();
    let current = match &key {
        Some(values) => read(writer.connection, table, &Key(values.clone()))?,
        // The write gives it a key.
        None => None,
    };
    match (current, key) {
        (Some(current), Some(values)) => {
            let row = current.live.live.row;
            let next = update_row(writer.catalog, table, &row, draft).map_err(BackendError::Invalid)?;
            if next == row {
                counts.unchanged += 1;
                return Ok(());
            }
            writer.run(table, &Write::Update { key: Key(values), draft: (*draft).clone(), if_match: None })?;
            counts.updated += 1;
        }
        _ => {
            writer.run(table, &Write::Create(draft.clone()))?;
            counts.created += 1;
        }
    }
    Ok(())
}
