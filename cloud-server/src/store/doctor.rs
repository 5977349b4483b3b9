//! What `rejoin doctor` says of a database: what of ours is missing, what others did to it, and what to do. Looks; changes nothing.
//! [`mend`] does what can be done.

mod capture;
mod rows;
mod sites;

use serde::{Deserialize, Serialize};
use sync_core::catalog::{Catalog, Table};
use sync_core::id::ColumnNo;
use tokio_postgres::Client;

use super::capture::orphans;
use super::error::StoreError;
use super::introspect::choose::choose;
use super::introspect::{FoundTable, Schema, names, read};
use super::migrate::{self, MigrateError};
use super::pool::Database;
use super::prepare::{self, Misfit, PrepareError, Unmapped, lead};
use super::row::{quote, table_sql};
use crate::settings::Settings;
use crate::settings::moved::Followed;
use crate::systems::BuiltIn;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something does not travel, or will not.
    Warning,
    /// Writes are not captured, or the cloud cannot go on.
    Error,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The table, as `rejoin.toml` names it; `None`: the whole database.
    pub table: Option<String>,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: String,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity, table: None, column: None, what: what.into(), remedy: remedy.into() }
    }

    fn of(self, table: &FoundTable) -> Self {
        Self { table: Some(table.label()), ..self }
    }

    fn column(self, column: &str) -> Self {
        Self { column: Some(column.to_owned()), ..self }
    }
}

/// What heals most of it.
const MEND: &str = "rejoin doctor --mend, or wait: a running cloud mends it within seconds";

/// Looks at a database that was attached, worst first.
///
/// # Errors
/// The store failed. What is wrong with the database is no error but a [`Finding`].
pub async fn examine(db: &Database, settings: &Settings) -> Result<Vec<Finding>, StoreError> {
    let mut client = db.client().await?;
    let lost = migrate::lost(&client).await?;
    if !lost.is_empty() {
        let what = format!("{}: the cloud cannot go on without", migrate::lost_words(&lost));
        return Ok(vec![Finding::new(Severity::Error, what, migrate::LOST)]);
    }
    let attached: bool = client.query_one("SELECT to_regclass('rejoin.catalogs') IS NOT NULL", &[]).await?.get(0);
    if !attached {
        return Ok(vec![Finding::new(Severity::Error, "Rejoin is not attached to this database", "rejoin attach")]);
    }
    let mut schema = read(&mut client).await?;
    orphans::recall(&client, &mut schema).await?;
    let mut findings = Vec::new();
    if let Some((_, digest)) = lead::leader(&client).await?
        && digest != lead::digest(settings)
    {
        let what =
            "the catalog is not published by this rejoin.toml, or by another version of the program: another cloud was started later";
        findings.push(Finding::new(
            Severity::Warning,
            what,
            "start every cloud with the same rejoin.toml; the one that was started last publishes",
        ));
    }
    if let Some(row) = client.query_opt("SELECT value FROM rejoin.state WHERE key = 'follower'", &[]).await? {
        let since: String = row.get(0);
        let what = format!("a cloud that was started earlier goes by another rejoin.toml, and only follows ({since})");
        findings.push(Finding::new(Severity::Warning, what, "start it again with the rejoin.toml of the other"));
    }
    let Followed { settings, moved, .. } = names::follow(&client, &schema, settings).await?;
    findings.extend(moved.iter().map(|moved| Finding::new(Severity::Warning, moved.to_string(), moved.remedy())));
    let settings = &settings;
    let published = prepare::published(&client).await?;
    let fits = chosen(&mut schema, settings, published.as_ref(), &mut findings);
    match published {
        None => findings.push(Finding::new(Severity::Error, "no catalog was published yet: nothing is synced", MEND)),
        Some(catalog) => {
            rights(&client, &mut findings).await?;
            missed(&client, &catalog, &mut findings).await?;
            misfits(&client, &catalog, &schema, fits, &mut findings).await?;
            capture::look(&client, &catalog, &schema, settings, &mut findings).await?;
            rows::look(&client, &catalog, &schema, &mut findings).await?;
            sites::look(&client, &catalog, &mut findings).await?;
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

/// Puts back what is missing of ours, as a running cloud does by itself; and stamps rows that came past the triggers, which it does not look for.
/// Where no new catalog can be made it does so at the tables that still fit the one in force, and returns why.
///
/// # Errors
/// As [`prepare::prepare`], where nothing could be mended.
pub async fn mend(db: &Database, settings: &Settings, system: Option<BuiltIn>) -> Result<Option<PrepareError>, PrepareError> {
    let client = db.client().await?;
    let lost = migrate::lost(&client).await?;
    if !lost.is_empty() {
        return Err(MigrateError::Lost(lost).into());
    }
    rows::note(&client).await?;
    drop(client);
    match prepare::prepare(db, settings, system).await {
        Ok(_) => Ok(None),
        Err(error) if error.is_transient() || matches!(error, PrepareError::Migrate(_)) => Err(error),
        Err(error) => {
            if prepare::keep(db, settings).await? {
                Ok(Some(error))
            } else {
                Err(error)
            }
        }
    }
}

/// The tables that are not served because they are not as the catalog in force says. `fits`: another one can be made.
async fn misfits(client: &Client, catalog: &Catalog, schema: &Schema, fits: bool, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    for (no, misfit) in prepare::misfits(client, catalog, schema).await? {
        let told = matches!(misfit, Misfit::Gone | Misfit::Stamp(_));
        let Some(table) = catalog.table(no).filter(|_| !fits || !told) else { continue };
        let (severity, what, remedy) = if fits {
            (Severity::Warning, format!("is not as the catalog in force says: {misfit}"), MEND)
        } else {
            let remedy = "put right what the other lines say no new catalog can be made for; its rows are then sent again by themselves";
            (Severity::Error, format!("is not served, and edits of it wait at their sites: {misfit}"), remedy)
        };
        let label = if table.schema == "public" { table.name.clone() } else { format!("{}.{}", table.schema, table.name) };
        let known = findings.iter().any(|other| other.severity == Severity::Error && other.table.as_ref() == Some(&label));
        if !known {
            findings.push(Finding { table: Some(label), ..Finding::new(severity, what, remedy) });
        }
    }
    Ok(())
}

/// What the settings make of the tables; whether they make a catalog.
fn chosen(schema: &mut Schema, settings: &Settings, published: Option<&Catalog>, findings: &mut Vec<Finding>) -> bool {
    let (chosen, plan) = match choose(schema, settings) {
        Ok(chosen) => chosen,
        Err(error) => {
            let remedy = "mend rejoin.toml, or the database; until then the cloud serves under the catalog that it has";
            findings.push(Finding::new(Severity::Error, error.to_string(), remedy));
            return false;
        }
    };
    for warning in plan.warnings {
        findings.push(Finding::new(Severity::Warning, warning, "mend that line of rejoin.toml, or take it out"));
    }
    let synced = |table: &Table| {
        chosen.iter().map(|choice| &schema.tables[choice.at]).any(|found| found.schema == table.schema && found.name == table.name)
    };
    let unreached = prepare::unreached(published, synced, schema, settings);
    let fits = unreached.is_empty();
    for whole in unreached {
        let name = whole.strip_prefix("public.").unwrap_or(&whole).to_owned();
        let entry = plan.tables.iter().find(|entry| entry.table == name);
        let why = entry.map(|entry| entry.reason.clone()).unwrap_or_default();
        let what = format!("is synced so far, and cannot be any more: it {why}; the cloud serves on under the catalog that it has");
        let cure = published.and_then(|catalog| cure(catalog, &whole, &why, schema)).unwrap_or_else(|| "put it right".to_owned());
        let keep = entry.and_then(|entry| entry.otherwise.clone()).map(|line| format!(", or write {line}")).unwrap_or_default();
        let remedy = format!("{cure}{keep}; to let its copies at the sites go, add {name:?} to left_out of rejoin.toml");
        findings.push(Finding { table: Some(name), ..Finding::new(Severity::Error, what, remedy) });
    }
    for entry in plan.tables {
        let say = |what: String| Finding { table: Some(entry.table.clone()), ..Finding::new(Severity::Info, what, "") };
        if entry.synced {
            findings.extend(entry.notes.iter().map(|note| say(note.clone())));
        } else {
            findings.push(say(format!("left out: {}", entry.reason)));
        }
    }
    fits
}

/// The statement that makes a table of the catalog fit again, where that is plain. `whole`: its schema and name.
fn cure(catalog: &Catalog, whole: &str, why: &str, schema: &Schema) -> Option<String> {
    let table = catalog.tables.iter().find(|table| format!("{}.{}", table.schema, table.name) == whole)?;
    let found = schema.tables.iter().find(|found| found.schema == table.schema && found.name == table.name)?;
    let names = |table: &Table, columns: &[ColumnNo]| -> Option<String> {
        let names: Option<Vec<String>> = columns.iter().map(|no| Some(quote(&table.column(*no)?.name))).collect();
        Some(names?.join(", "))
    };
    let there =
        |columns: &[ColumnNo]| columns.iter().all(|no| table.column(*no).is_some_and(|own| found.column_named(&own.name).is_some()));
    let alter = format!("ALTER TABLE {}", table_sql(table));
    if why.starts_with("has no primary key") && there(&table.key) {
        return Some(format!("{alter} ADD PRIMARY KEY ({})", names(table, &table.key)?));
    }
    if why.starts_with("is unlogged") {
        return Some(format!("{alter} SET LOGGED"));
    }
    let way = table.ways().find(|way| !way.declared).filter(|_| found.obstacle.is_none())?;
    let (parent, columns) = (catalog.table(way.table)?, names(table, &way.columns)?);
    if there(&way.columns) {
        return Some(format!("{alter} ADD FOREIGN KEY ({columns}) REFERENCES {}", table_sql(parent)));
    }
    Some(format!("give it its column ({columns}) back, with what it referred to in {}", table_sql(parent)))
}

/// Versioning columns that a catalog of before had, and that went under other names.
async fn missed(client: &Client, catalog: &Catalog, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    for row in client.query("SELECT body FROM rejoin.catalogs ORDER BY version DESC", &[]).await? {
        // One of another program's version tells nothing.
        let Ok(before) = serde_json::from_value::<Catalog>(row.get(0)) else { continue };
        for Unmapped { table, what, remedy, renamed } in prepare::unmapped(&before, catalog) {
            let severity = if renamed { Severity::Warning } else { Severity::Info };
            let finding = Finding { table: Some(table), ..Finding::new(severity, what, remedy) };
            if !findings.iter().any(|other| (&other.table, &other.what) == (&finding.table, &finding.what)) {
                findings.push(finding);
            }
        }
    }
    Ok(())
}

/// What the role needs to go on.
async fn rights(client: &Client, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let sql = "SELECT current_user::text, pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'rejoin'";
    let row = client.query_one(sql, &[]).await?;
    if !row.get::<_, bool>(1) {
        let what = format!("the role {} does not own the schema rejoin", row.get::<_, String>(0));
        findings.push(Finding::new(Severity::Error, what, "connect as the role that attached Rejoin, or GRANT it to this one"));
    }
    Ok(())
}

/// The catalog's tables with what is there of them, by number's name; engine's tables too.
fn there<'a>(catalog: &'a Catalog, schema: &'a Schema) -> impl Iterator<Item = (&'a Table, Option<&'a FoundTable>)> {
    let found = |table: &Table| schema.tables.iter().find(|found| found.schema == table.schema && found.name == table.name);
    catalog.tables.iter().map(move |table| (table, found(table)))
}
