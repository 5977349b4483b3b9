//! Where a table's versioning stands: in the columns that `rejoin.toml` maps, as far as they are fit, else in the engine's own.

use sync_core::catalog::Stamps;
use sync_core::value::ColumnType;

use crate::settings::{Named, Settings, SettingsError, StampNames, TableSettings};
use crate::store::introspect::{FoundColumn, FoundTable};

pub(super) fn stamps(
    table: &FoundTable,
    settings: &Settings,
    own: Option<&TableSettings>,
    notes: &mut Vec<String>,
) -> Result<Stamps, SettingsError> {
    let mut pick = |name: fn(&StampNames) -> &Option<Named>, fit: fn(&FoundColumn) -> bool, wanted: &str, default: &str| {
        let unfit = |column: &FoundColumn| !fit(column) || is_bound(table, column);
        let missing = |name: &str| format!("{}.{name} is not there", table.label());
        if let Some(name) = own.and_then(|own| name(&own.stamps).as_ref()) {
            let text = name.get_ref();
            return match table.column_named(text) {
                _ if text.is_empty() => Ok(default.to_owned()),
                None => Err(settings.error(name, format!("stamps: {}", missing(text)))),
                Some(column) if unfit(column) => {
                    Err(settings.error(name, format!("stamps: {}.{text} is {}, not {wanted}", table.label(), column.sql_type)))
                }
                Some(_) => Ok(text.clone()),
            };
        }
        let general = name(&settings.stamps).as_ref().filter(|_| !table.is_engine());
        let Some(column) = general.and_then(|name| table.column_named(name.get_ref())) else { return Ok(default.to_owned()) };
        if unfit(column) {
            notes.push(format!(
                "{} is {}, not {wanted}: taken for a column like any other, {default} is added",
                column.name, column.sql_type
            ));
            return Ok(default.to_owned());
        }
        Ok(column.name.clone())
    };
    Ok(Stamps {
        version: pick(|names| &names.version, is_counter, "an integer or bigint of its own", "rejoin_version")?,
        updated_at: pick(|names| &names.updated_at, is_moment, "a timestamp of its own", "rejoin_updated_at")?,
        last_modified_by: pick(|names| &names.last_modified_by, is_name, "text of its own", "rejoin_modified_by")?,
        synced_at: pick(
            |names| &names.synced_at,
            |column| is_moment(column) && !column.not_null,
            "a timestamp of its own that can be NULL",
            "rejoin_synced_at",
        )?,
    })
}

fn is_counter(column: &FoundColumn) -> bool {
    matches!(column.ty, Some(ColumnType::Int4 | ColumnType::Int8))
}

fn is_moment(column: &FoundColumn) -> bool {
    matches!(column.ty, Some(ColumnType::Timestamptz | ColumnType::Timestamp))
}

/// Holds a user's or role's name, `site:` and a site's name.
fn is_name(column: &FoundColumn) -> bool {
    const ROOM: u32 = 128;
    column.ty == Some(ColumnType::Text) && column.max_length.is_none_or(|max| max >= ROOM)
}

/// Whether a key, an index that is unique or a reference holds the column: then it says more than versioning.
fn is_bound(table: &FoundTable, column: &FoundColumn) -> bool {
    let unique = table.indexes.iter().filter(|index| index.unique).flat_map(|index| &index.columns);
    let refers = table.references.iter().flat_map(|reference| &reference.columns);
    table.key.iter().chain(unique).chain(refers).any(|attnum| *attnum == column.attnum)
}

pub(super) fn soft_delete(
    table: &FoundTable,
    settings: &Settings,
    own: Option<&TableSettings>,
    notes: &mut Vec<String>,
) -> Result<Option<String>, SettingsError> {
    let fit = |column: &FoundColumn| column.ty == Some(ColumnType::Bool) && column.not_null;
    if let Some(name) = own.and_then(|own| own.soft_delete.as_ref()) {
        let text = name.get_ref();
        return match table.column_named(text) {
            _ if text.is_empty() => Ok(None),
            Some(column) if fit(column) => Ok(Some(text.clone())),
            Some(column) => {
                Err(settings.error(name, format!("soft_delete: {}.{text} is {}, not boolean NOT NULL", table.label(), column.sql_type)))
            }
            None => Err(settings.error(name, format!("soft_delete: {}.{text} is not there", table.label()))),
        };
    }
    let general = settings.soft_delete.as_ref().filter(|_| !table.is_engine());
    let Some(column) = general.and_then(|name| table.column_named(name.get_ref())) else { return Ok(None) };
    if fit(column) {
        return Ok(Some(column.name.clone()));
    }
    notes.push(format!("{} is no boolean NOT NULL: deletes are real here", column.name));
    Ok(None)
}
