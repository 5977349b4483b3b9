//! Tables that every site would refuse: SQLite cannot hold them under their names.

use std::collections::BTreeMap;

use sync_core::catalog::names::{NameClash, column_clash, table_clash};

use super::plan::{column_line, list_line};
use super::{FoundScope, search, secrets, stamps};
use crate::settings::{Named, Settings, SettingsError, names};
use crate::store::introspect::assemble::{ENGINE_COLUMNS, is_stamp};
use crate::store::introspect::{FoundTable, Schema};

/// What was found besides the scopes.
pub(super) struct Sifted {
    /// The scopes of every table that is synced, by its place in [`Schema::tables`].
    pub(super) scopes: BTreeMap<usize, FoundScope>,
    /// Of tables that their names keep out, the lines of `rejoin.toml` that would include them.
    pub(super) remedies: BTreeMap<usize, String>,
}

/// Finds the scopes; tables that sites cannot hold become obstructed, and so does what hangs from them alone.
///
/// # Errors
/// `rejoin.toml` names what is not there, leads to no root or cannot be held.
pub(super) fn scopes(schema: &mut Schema, settings: &Settings) -> Result<Sifted, SettingsError> {
    let mut remedies = BTreeMap::new();
    loop {
        let scopes = search::scopes(schema, settings).map_err(|error| with_remedy(error, schema, &remedies))?;
        let clashes = clashes(schema, settings, &scopes);
        if clashes.is_empty() {
            return Ok(Sifted { scopes, remedies });
        }
        for (at, clash) in clashes {
            remedies.extend(remedy(schema, settings, at, &clash).map(|lines| (at, lines)));
            schema.tables[at].obstacle = Some(clash.to_string());
        }
    }
}

/// Where `rejoin.toml` names such a table, what it would have to say besides.
fn with_remedy(mut error: SettingsError, schema: &Schema, remedies: &BTreeMap<usize, String>) -> SettingsError {
    let about = |at: &usize| schema.tables[*at].obstacle.as_ref().is_some_and(|obstacle| error.message.ends_with(obstacle.as_str()));
    if let Some((_, lines)) = remedies.iter().find(|(at, _)| about(at)) {
        error.message = format!("{}; leave one out: {}", error.message, lines.replace('\n', "  "));
    }
    error
}

fn clashes(schema: &Schema, settings: &Settings, scopes: &BTreeMap<usize, FoundScope>) -> Vec<(usize, NameClash)> {
    let users = || scopes.keys().map(|at| (*at, &schema.tables[*at])).filter(|(_, table)| !table.is_engine());
    let attached = |table: &FoundTable| table.column_named(ENGINE_COLUMNS[0]).is_some();
    // Of two tables the one that sites have stays. Of two new ones neither is taken: nobody said which is meant.
    let twin = |at: usize, table: &FoundTable| {
        let same = |(other_at, other): &(usize, &FoundTable)| *other_at != at && other.label().eq_ignore_ascii_case(&table.label());
        users().find(|other| same(other) && (attached(other.1) || !attached(table))).map(|(_, other)| NameClash::Tables(other.label()))
    };
    let clash = |at: usize, table: &FoundTable| {
        let own = settings.table(&table.schema, &table.name);
        table_clash(&table.label()).or_else(|| twin(at, table)).or_else(|| {
            // What is wrong with them is told where the table is chosen.
            let stamps = stamps::stamps(table, settings, own, &mut Vec::new()).ok()?;
            let synced = table.columns.iter().filter(|column| column.ty.is_some() && !is_stamp(&stamps, &column.name));
            column_clash(synced.map(|column| column.name.as_str()), &stamps)
        })
    };
    users().filter_map(|(at, table)| Some((at, clash(at, table)?))).collect()
}

/// The lines of `rejoin.toml` that would include the table. None: it must be renamed.
fn remedy(schema: &Schema, settings: &Settings, at: usize, clash: &NameClash) -> Option<String> {
    let table = &schema.tables[at];
    let own = settings.table(&table.schema, &table.name);
    let columns = match clash {
        NameClash::Table => return None,
        NameClash::Tables(twin) => {
            let other = schema.tables.iter().find(|other| other.label() == *twin)?;
            let is = |name: &Named| names(name.get_ref(), &table.schema, &table.name);
            return Some(list_line("left_out", &settings.left_out, |name| !is(name), Some(other)));
        }
        NameClash::Column(name) => vec![name],
        NameClash::Columns(one, other) => vec![other, one],
    };
    let stamps = stamps::stamps(table, settings, own, &mut Vec::new()).ok()?;
    let free = columns.into_iter().filter(|name| !is_stamp(&stamps, name)).filter_map(|name| table.column_named(name));
    let mut free: Vec<_> = free.filter(|column| secrets::can_stay(table, column)).collect();
    free.sort_by_key(|column| secrets::must_be_given(column));
    let without: &[Named] = own.map_or(&[], |own| &own.without);
    free.first().map(|column| column_line(table, "without", without, Some(&column.name), None))
}
