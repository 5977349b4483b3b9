//! What a migration would do, before it is run: it is tried on an empty copy of the schema in a PostgreSQL of its own, and the catalogs before
//! and after are compared. The user's database is only read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use serde::Serialize;
use sync_core::catalog::{Catalog, Table};
use sync_core::id::TableNo;
use sync_core::motion::{Change, What, changes};
use tokio_postgres::Client;

use crate::postgres::{Binaries, Cluster, Durability, PostgresError};
use crate::settings::Settings;
use crate::store::error::StoreError;
use crate::store::pool::{Database, UrlError};
use crate::store::prepare::{self, PrepareError};
use crate::store::row::{quote, table_sql};

/// The database in which the migration is tried.
const COPY: &str = "copy";
/// How many of the things that could not be copied are told.
const TOLD_MAX: usize = 5;

/// Why a migration cannot be foreseen.
#[derive(Debug, thiserror::Error)]
pub enum ForeseeError {
    /// The PostgreSQL for the copy does not run.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The URL is not usable.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema could not be read.
    #[error("the schema cannot be copied: {0}")]
    Copy(String),
    /// The migration fails, in PostgreSQL's words.
    #[error("the migration fails: {0}")]
    Migration(String),
    /// The schema as it is does not fit rejoin.toml.
    #[error("the schema as it is cannot be synced: {0}")]
    Before(#[source] PrepareError),
    /// After the migration it would not.
    #[error("after the migration the catalog could not be made, and the cloud would go on under the one that it has: {0}")]
    After(#[source] PrepareError),
}

impl From<tokio_postgres::Error> for ForeseeError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a migration would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Foresight {
    /// The catalog in force; 0: none yet.
    pub catalog: i64,
    /// What changes, table by table.
    pub changes: Vec<Told>,
    /// How many rows are sent again.
    pub rows_fed: i64,
    /// How many sites have which catalog.
    pub sites: Vec<SitesOn>,
    /// What else to know.
    pub warnings: Vec<String>,
}

/// One change with what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// In a few words.
    pub title: String,
    /// What sites do with it.
    pub says: &'static str,
    /// How many rows are sent again for it.
    pub rows_fed: i64,
    /// `12 sites on catalog 7; NOT NULL on assets.owner will park inserts of table assets from them`.
    pub warning: Option<String>,
}

/// Sites by the catalog that they had when they last spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SitesOn {
    /// The catalog.
    pub catalog: i64,
    /// How many sites.
    pub sites: i64,
}

/// Foresees the migration `file` of the database at `url`. `folder`: for the copy; it holds nothing yet.
///
/// # Errors
/// See [`ForeseeError`].
pub async fn foresee(url: &str, settings: &Settings, file: &Path, folder: &Path) -> Result<Foresight, ForeseeError> {
    let binaries = Binaries::find(None)?;
    let dump = folder.join("schema.sql");
    let mut warnings = Vec::new();
    copy_out(&binaries, url, &dump)?;
    let cluster = Cluster::start(&folder.join("postgres"), Durability::Throwaway).await?;
    let tried = async {
        cluster.create_database(COPY, None).await?;
        let copy = cluster.superuser_url(COPY);
        warnings.extend(copy_in(&binaries, &copy, &dump)?);
        attempt(&binaries, &copy, settings, file).await
    }
    .await;
    let stopped = cluster.stop().await;
    let (before, after, rewritten) = tried?;
    stopped?;
    tell(url, &before, &after, &rewritten, warnings).await
}

type Tried = (Catalog, Catalog, BTreeSet<TableNo>);

/// The catalog before, the migration, and the catalog after.
async fn attempt(binaries: &Binaries, copy: &str, settings: &Settings, file: &Path) -> Result<Tried, ForeseeError> {
    let db = Database::open(copy, 4)?;
    let tried = async {
        let before = prepare::prepare(&db, settings, None).await.map_err(ForeseeError::Before)?;
        let files = filenodes(&*db.client().await?).await?;
        let path = file.to_string_lossy();
        let output = run(binaries, "psql", copy, &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", &path])?;
        if !output.status.success() {
            return Err(ForeseeError::Migration(words(&output)));
        }
        let after = prepare::prepare(&db, settings, None).await.map_err(ForeseeError::After)?;
        let now = filenodes(&*db.client().await?).await?;
        let rewritten = files.iter().filter(|(no, file)| now.get(*no).is_some_and(|now| now != *file)).map(|(no, _)| TableNo(*no));
        Ok((Catalog::clone(&before), Catalog::clone(&after), rewritten.collect()))
    }
    .await;
    db.close();
    tried
}

async fn filenodes(client: &Client) -> Result<BTreeMap<u32, u32>, StoreError> {
    let sql = "SELECT no, filenode FROM rejoin.tables WHERE dropped_at IS NULL AND filenode IS NOT NULL";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get::<_, i32>(0).cast_unsigned(), row.get(1))).collect())
}

/// Writes the schema, without what is ours, into a file.
fn copy_out(binaries: &Binaries, url: &str, dump: &Path) -> Result<(), ForeseeError> {
    let path = dump.to_string_lossy();
    let ours = ["--schema-only", "--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions", "--exclude-schema=rejoin"];
    let options: Vec<&str> = ours.into_iter().chain(["-f", &path]).collect();
    let output = run(binaries, "pg_dump", url, &options)?;
    if output.status.success() { Ok(()) } else { Err(ForeseeError::Copy(words(&output))) }
}

/// Makes the copy. What cannot be made there is told; our own triggers come with the catalog.
fn copy_in(binaries: &Binaries, copy: &str, dump: &Path) -> Result<Vec<String>, ForeseeError> {
    let path = dump.to_string_lossy();
    let output = run(binaries, "psql", copy, &["-X", "-q", "-f", &path])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = said.lines().filter_map(|line| line.split_once("ERROR:")).map(|(_, what)| what.trim());
    let others: Vec<&str> = lines.filter(|what| !what.contains("rejoin")).collect();
    let more = others.len().saturating_sub(TOLD_MAX);
    let mut told: Vec<String> =
        others.iter().take(TOLD_MAX).map(|what| format!("not in the copy on which this was tried: {what}")).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    Ok(told)
}

/// Runs a program of PostgreSQL's. The password travels by the environment, where nobody else sees it.
fn run(binaries: &Binaries, program: &str, url: &str, options: &[&str]) -> Result<Output, ForeseeError> {
    let mut command = Command::new(binaries.client(program));
    if let Some(password) = url.parse::<tokio_postgres::Config>().ok().and_then(|config| config.get_password().map(<[u8]>::to_vec)) {
        command.env("PGPASSWORD", String::from_utf8_lossy(&password).into_owned());
    }
    command.env("PGOPTIONS", "-c client_min_messages=warning").arg("-d").arg(without_password(url)).args(options);
    command.output().map_err(|error| ForeseeError::Copy(format!("{program} does not run: {error}")))
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) => format!("{scheme}://{}@{host}{path}", user.split(':').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

/// What PostgreSQL said, without its program's name and the file's.
fn words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let error = said.lines().find_map(|line| line.split_once("ERROR:").or_else(|| line.split_once("error:"))).map(|(_, what)| what.trim());
    error.unwrap_or_else(|| said.trim()).to_owned()
}

async fn tell(
    url: &str,
    before: &Catalog,
    after: &Catalog,
    rewritten: &BTreeSet<TableNo>,
    mut warnings: Vec<String>,
) -> Result<Foresight, ForeseeError> {
    let db = Database::open(url, 1)?;
    let client = db.client().await?;
    client.batch_execute("SET default_transaction_read_only = on").await?;
    let (catalog, sites) = sites(&client).await?;
    let mut counted: BTreeMap<TableNo, i64> = BTreeMap::new();
    let mut told = Vec::new();
    for change in changes(before, after, rewritten) {
        let table = before.table(change.no);
        let mut rows_fed = 0;
        if let Some(table) = table.filter(|_| change.feeds())
            && !counted.contains_key(&table.no)
        {
            rows_fed = count(&client, table, "true").await?;
            counted.insert(table.no, rows_fed);
        }
        if let (What::NotNull { column }, Some(table)) = (&change.what, table) {
            let known = table.column_named(column).is_some();
            let empty = count(&client, table, &if known { format!("{} IS NULL", quote(column)) } else { "true".to_owned() }).await?;
            if empty > 0 {
                warnings.push(format!("{} will fail: {empty} rows of {} have no value", change.title(), change.table));
            }
        }
        let warning = change.parks().filter(|_| !sites.is_empty()).map(|what| {
            let on: Vec<String> = sites
                .iter()
                .map(|on| format!("{} {} on catalog {}", on.sites, if on.sites == 1 { "site" } else { "sites" }, on.catalog))
                .collect();
            format!("{}; {} will park {what} from them", on.join(", "), change.cause())
        });
        told.push(Told { title: change.title(), says: change.consequence(), rows_fed, warning, change });
    }
    drop(client);
    db.close();
    warnings.push("what the migration does to rows (UPDATE, INSERT, DELETE) was tried on none".to_owned());
    Ok(Foresight { catalog, changes: told, rows_fed: counted.values().sum(), sites, warnings })
}

async fn count(client: &Client, table: &Table, condition: &str) -> Result<i64, StoreError> {
    Ok(client.query_one(&format!("SELECT count(*) FROM {} WHERE {condition}", table_sql(table)), &[]).await?.get(0))
}

/// The catalog in force, and the sites by the newest one that a copy of theirs had.
async fn sites(client: &Client) -> Result<(i64, Vec<SitesOn>), StoreError> {
    let there = "SELECT EXISTS (SELECT FROM information_schema.columns
                     WHERE table_schema = 'rejoin' AND table_name = 'replicas' AND column_name = 'catalog_version')";
    if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
        return Ok((0, Vec::new()));
    }
    let catalog = client.query_one("SELECT coalesce(max(version), 0) FROM rejoin.catalogs", &[]).await?.get(0);
    let sql = "SELECT version, count(*) FROM (
                   SELECT max(r.catalog_version) AS version FROM rejoin.replicas r JOIN rejoin.sites s ON s.id = r.site_id
                   WHERE s.revoked_at IS NULL GROUP BY s.id) x WHERE version > 0 GROUP BY version ORDER BY version DESC";
    let rows = client.query(sql, &[]).await?;
    Ok((catalog, rows.iter().map(|row| SitesOn { catalog: row.get(0), sites: row.get(1) }).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reads_the_password_in_the_list_of_processes() {
        assert_eq!(
            without_password("postgresql://app:s3:cret@db:5432/app?sslmode=require"),
            "postgresql://app@db:5432/app?sslmode=require"
        );
        assert_eq!(without_password("postgres://db/app"), "postgres://db/app");
        assert_eq!(without_password("host=db user=app"), "host=db user=app");
    }
}
