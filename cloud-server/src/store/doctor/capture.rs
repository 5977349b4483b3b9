//! Columns, triggers and indexes of ours that somebody dropped, disabled or stands in the way of.

use std::collections::BTreeMap;

use sync_core::catalog::{Catalog, Table};
use tokio_postgres::Client;

use super::{Finding, MEND, Severity, there};
use crate::settings::Settings;
use crate::store::capture::apply::{self, Installed};
use crate::store::capture::drift::Places;
use crate::store::capture::partitions::{self, Lack, Partition};
use crate::store::capture::{Capture, stamp_columns};
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, HIDDEN, Schema};

pub(super) async fn look(
    client: &Client,
    catalog: &Catalog,
    schema: &Schema,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let (installed, places, partitions) = (apply::installed(client).await?, Places::read(client).await?, partitions::read(client).await?);
    for (table, found) in there(catalog, schema) {
        let Some(found) = found else {
            let what = format!("{}.{} is in the catalog that is in force, and not there under this name", table.schema, table.name);
            findings.push(Finding::new(
                Severity::Warning,
                what,
                "renamed or dropped: a running cloud publishes it; else rejoin doctor --mend",
            ));
            continue;
        };
        if found.obstacle.as_deref() == Some(HIDDEN) {
            let what = "FORCE ROW LEVEL SECURITY hides rows from Rejoin's own role: nothing of it is synced, and foreign keys to it fail for rows that are there";
            let remedy = "ALTER TABLE .. NO FORCE ROW LEVEL SECURITY, or ALTER ROLE .. BYPASSRLS";
            findings.push(Finding::new(Severity::Error, what, remedy).of(found));
        }
        columns(table, found, findings);
        let capture = apply::capture_of(catalog, table, found, settings, &places);
        triggers(&capture, found, &installed, findings);
        of_partitions(&capture, found, partitions.get(&found.oid).map_or(&[][..], Vec::as_slice), &installed, findings);
    }
    for (table, trigger) in apply::later_triggers(client).await? {
        let what = format!("the trigger {trigger} runs after Rejoin's: what it changes in a row may not travel");
        let remedy = format!("ALTER TRIGGER .. RENAME TO a name that sorts before {}", crate::store::capture::TRIGGER_PREFIX);
        findings.push(Finding { table: Some(table), ..Finding::new(Severity::Warning, what, remedy) });
    }
    indexes(client, catalog, schema, findings).await
}

fn columns(table: &Table, found: &FoundTable, findings: &mut Vec<Finding>) {
    let stamps = &table.stamps;
    let mapped = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(String::as_str);
    let ours = stamp_columns(table).into_iter().map(|(name, _)| name);
    let mut names: Vec<&str> = ours.chain(mapped).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| found.column_named(name).is_none()) {
        findings.push(Finding::new(Severity::Error, "a column that Rejoin needs is gone", MEND).of(found).column(name));
    }
}

fn triggers(capture: &Capture, found: &FoundTable, installed: &Installed, findings: &mut Vec<Finding>) {
    let none = BTreeMap::new();
    let there = installed.get(&found.oid).unwrap_or(&none);
    for name in &capture.triggers {
        let (severity, what) = match there.get(name) {
            None => (Severity::Error, format!("the trigger {name} is gone: writes are not captured")),
            Some(mark) if mark.is_empty() => (Severity::Error, format!("the trigger {name} is disabled: writes are not captured")),
            Some(mark) if *mark != capture.mark => (Severity::Warning, format!("the trigger {name} is of an older schema or program")),
            Some(_) => continue,
        };
        findings.push(Finding::new(severity, what, MEND).of(found));
    }
}

/// Statements that name a partition fire its own triggers. What is the same for several partitions is said once.
fn of_partitions(capture: &Capture, found: &FoundTable, partitions: &[Partition], installed: &Installed, findings: &mut Vec<Finding>) {
    let Some(needs) = &capture.on_partitions else { return };
    let mut lacking: BTreeMap<(&str, Lack), Vec<String>> = BTreeMap::new();
    for partition in partitions {
        for lack in partition.lacks(needs, installed) {
            lacking.entry(lack).or_default().push(partition.label());
        }
    }
    for ((name, lack), labels) in lacking {
        let (on, these) = match labels.as_slice() {
            [_] => (String::new(), "this partition"),
            [first, ..] => (format!(" on {} partitions ({first}, ..)", labels.len()), "them"),
            [] => continue,
        };
        let (severity, what) = match lack {
            Lack::Gone => (Severity::Error, format!("is gone{on}: writes that name {these} are not captured")),
            Lack::Disabled => (Severity::Error, format!("is disabled{on}: writes that name {these} are not captured")),
            Lack::Cloned => (Severity::Error, format!("is disabled{on}: writes to {these} are not captured")),
            Lack::Older => (Severity::Warning, format!("is of an older schema or program{on}")),
        };
        let table = if let [label] = labels.as_slice() { label.clone() } else { found.label() };
        findings.push(Finding { table: Some(table), ..Finding::new(severity, format!("the trigger {name} {what}"), MEND) });
    }
}

async fn indexes(client: &Client, catalog: &Catalog, schema: &Schema, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let sql = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisvalid AND c.relname ~ '^rejoin_[0-9]+_feed$'";
    let names: Vec<String> = client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
    for (table, found) in there(catalog, schema) {
        let (Some(found), name) = (found, format!("rejoin_{}_feed", table.no)) else { continue };
        if !names.contains(&name) {
            findings.push(Finding::new(Severity::Warning, format!("the index {name} is gone: pulls read the whole table"), MEND).of(found));
        }
    }
    let sql = "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname LIKE 'rejoin%' AND evtenabled <> 'D')";
    if !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        let what = "no event trigger tells of changed tables: the cloud notices them by looking every few seconds";
        findings.push(Finding::new(Severity::Info, what, ""));
    }
    Ok(())
}
