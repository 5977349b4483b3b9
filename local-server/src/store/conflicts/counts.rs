//! How many conflicts there are, by what people ask for.

use conflict_ui_api::backend::{ConflictCounts, ConflictFilter};
use rusqlite::{Connection, params_from_iter};

use super::Source;
use super::filter::Conditions;
use crate::store::error::Result;

/// Counts those of a filter.
///
/// # Errors
/// The database.
pub fn counts(connection: &Connection, filter: &ConflictFilter) -> Result<ConflictCounts> {
    let mut counts = ConflictCounts::default();
    let Some(source) = Source::of(connection)? else { return Ok(counts) };
    let conditions = Conditions::of(filter);
    let sql = format!(
        "SELECT c.kind, c.table_name, c.site_name, c.resolution, count(*) FROM {source} c WHERE {} GROUP BY 1, 2, 3, 4",
        conditions.sql()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(conditions.values))?;
    while let Some(row) = rows.next()? {
        let number = u64::try_from(row.get::<_, i64>(4)?).unwrap_or_default();
        counts.total += number;
        for (at, by) in [&mut counts.by_kind, &mut counts.by_table, &mut counts.by_site, &mut counts.by_resolution].into_iter().enumerate()
        {
            *by.entry(row.get::<_, Option<String>>(at)?.unwrap_or_default()).or_default() += number;
        }
    }
    Ok(counts)
}
