//! What a migration would do, before it is run: it is tried on an empty copy of the schema in a PostgreSQL of its own, and the catalogs before
//! and after are compared. The user's database is only read.

mod filling;
mod names;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use serde::Serialize;
use sync_core::catalog::Catalog;
use sync_core::id::TableNo;
use sync_core::motion::{Change, What, changes};
use tokio_postgres::Client;

use self::names::Names;
use self::rules::{Rules, count, demands, fails, too_much, without_parent, without_value};
use crate::postgres::{Binaries, Cluster, Durability, PostgresError};
use crate::settings::{Settings, SettingsError};
use crate::store::error::StoreError;
use crate::store::pool::{Database, UrlError};
use crate::store::prepare::{self, Plan, PlanEntry, PrepareError};

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
    /// The migration cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// After the migration rejoin.toml would name what is not there or not fit.
    #[error(
        "after the migration rejoin.toml would not fit, and the cloud would go on under the catalog that it has: {error}{}. Deploy the file with that \
         line changed; --settings-after FILE says what comes of it", .told.iter().map(|one| format!("; {one}")).collect::<String>()
    )]
    Unfit {
        /// The first line that is wrong.
        error: SettingsError,
        /// What the migration does to the names in it.
        told: Vec<String>,
    },
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

/// The settings under which a migration is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Under<'a> {
    /// Those of now.
    pub settings: &'a Settings,
    /// Those that come with the migration; `None`: the same.
    pub after: Option<&'a Settings>,
}

/// Foresees the migration `file` of the database at `url`. `folder`: for the copy; it holds nothing yet.
///
/// # Errors
/// See [`ForeseeError`].
pub async fn foresee(url: &str, under: Under<'_>, file: &Path, folder: &Path) -> Result<Foresight, ForeseeError> {
    let text = std::fs::read(file).map_err(|error| ForeseeError::Read { path: file.display().to_string(), error })?;
    let text = String::from_utf8_lossy(&text);
    let binaries = Binaries::find(None)?;
    let dump = folder.join("schema.sql");
    let mut warnings = Vec::new();
    let db = Database::open(url, 1)?;
    // The copy does not know what was called otherwise before.
    let followed = prepare::followed(&db, under.settings).await;
    db.close();
    let under = Under { settings: &followed?.0, ..under };
    copy_out(&binaries, url, &dump)?;
    let cluster = Cluster::start(&folder.join("postgres"), Durability::Throwaway).await?;
    let tried = async {
        cluster.create_database(COPY, None).await?;
        let copy = cluster.superuser_url(COPY);
        warnings.extend(copy_in(&binaries, &copy, &dump)?);
        attempt(&binaries, &copy, under, file).await
    }
    .await;
    let stopped = cluster.stop().await;
    let tried = tried?;
    stopped?;
    warnings.extend(tried.moved.iter().chain(&tried.left_out).cloned());
    tell(url, &tried, &text, warnings).await
}

/// What came of the migration in the copy.
struct Tried {
    before: Catalog,
    after: Catalog,
    /// Before and after.
    rules: (Rules, Rules),
    /// The tables that PostgreSQL wrote anew.
    rewritten: BTreeSet<TableNo>,
    /// The lines of `rejoin.toml` that the migration leaves behind.
    moved: Vec<String>,
    /// What is said of new tables that stay at the cloud.
    left_out: Vec<String>,
}

/// The catalog before, the migration, and the catalog after.
async fn attempt(binaries: &Binaries, copy: &str, under: Under<'_>, file: &Path) -> Result<Tried, ForeseeError> {
    let db = Database::open(copy, 4)?;
    let tried = async {
        let before = prepare::prepare(&db, under.settings, None).await.map_err(ForeseeError::Before)?;
        let known = prepare::plan(&db, under.settings).await.map_err(ForeseeError::Before)?;
        let client = db.client().await?;
        let (files, names, rules) = (filenodes(&client).await?, Names::read(&client).await?, Rules::read(&client).await?);
        drop(client);
        let path = file.to_string_lossy();
        let output = run(binaries, "psql", copy, &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", &path])?;
        if !output.status.success() {
            return Err(ForeseeError::Migration(words(&output)));
        }
        let settings = under.after.unwrap_or(under.settings);
        let after = match prepare::prepare(&db, settings, None).await {
            Err(PrepareError::Settings(error)) => {
                let told = names.told(&Names::read(&*db.client().await?).await?, &error.message);
                return Err(ForeseeError::Unfit { error, told });
            }
            done => done.map_err(ForeseeError::After)?,
        };
        let moved = prepare::followed(&db, settings).await?.1;
        let moved = moved.iter().map(|moved| format!("{moved}: {}", moved.remedy())).collect();
        let left_out = left_out(&known, &prepare::plan(&db, settings).await.map_err(ForeseeError::After)?);
        let client = db.client().await?;
        let (now, rules) = (filenodes(&client).await?, (rules, Rules::read(&client).await?));
        let rewritten =
            files.iter().filter(|(no, file)| now.get(*no).is_some_and(|now| now != *file)).map(|(no, _)| TableNo(*no)).collect();
        Ok(Tried { before: Catalog::clone(&before), after: Catalog::clone(&after), rules, rewritten, moved, left_out })
    }
    .await;
    db.close();
    tried
}

/// New tables, and columns under new names, that do not travel, with the line that would include them.
fn left_out(known: &Plan, now: &Plan) -> Vec<String> {
    let new = now.tables.iter().filter(|entry| !entry.synced && !known.tables.iter().any(|before| before.table == entry.table));
    let line = |entry: &PlanEntry| entry.otherwise.as_ref().map(|line| format!("; {} would include it", line.replace('\n', "  ")));
    let tables = new
        .map(|entry| format!("the new table {} stays at the cloud: it {}{}", entry.table, entry.reason, line(entry).unwrap_or_default()));
    let columns = |plan: &Plan| -> BTreeSet<(String, String)> {
        plan.tables.iter().flat_map(|entry| entry.left_out.iter().map(|column| (entry.table.clone(), column.column.clone()))).collect()
    };
    let before = columns(known);
    let kept = now.tables.iter().flat_map(|entry| entry.left_out.iter().map(move |column| (entry, column)));
    let columns = kept.filter(|(entry, column)| !before.contains(&(entry.table.clone(), column.column.clone()))).map(|(entry, column)| {
        let line = column.otherwise.replace('\n', "  ");
        format!("the column {}.{} stays at the cloud: {}; {line} would include it", entry.table, column.column, column.reason)
    });
    tables.chain(columns).collect()
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

async fn tell(url: &str, tried: &Tried, migration: &str, mut warnings: Vec<String>) -> Result<Foresight, ForeseeError> {
    let Tried { before, after, rewritten, rules: (old, new), .. } = tried;
    let db = Database::open(url, 1)?;
    let client = db.client().await?;
    client.batch_execute("SET default_transaction_read_only = on").await?;
    let (catalog, sites) = sites(&client).await?;
    let mut counted: BTreeMap<TableNo, i64> = BTreeMap::new();
    let mut told = Vec::new();
    let mut moves = changes(before, after, rewritten);
    let missed = prepare::unmapped(before, after);
    warnings.extend(missed.into_iter().map(|missed| format!("{}: {}; {}", missed.table, missed.what, missed.remedy)));
    let demands = demands(&client, (old, new), before, &moves, migration).await?;
    moves.extend(demands.changes);
    for change in moves {
        let table = before.table(change.no);
        let mut rows_fed = 0;
        if let Some(table) = table.filter(|_| change.feeds())
            && !counted.contains_key(&table.no)
        {
            rows_fed = count(&client, table, "true").await?;
            counted.insert(table.no, rows_fed);
        }
        warnings.extend(comes_upon(&client, (before, after), &change, migration).await?.map(|what| format!("{} {what}", change.title())));
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
    warnings.extend(demands.warnings);
    warnings.push("what the migration does to rows (UPDATE, INSERT, DELETE) was tried on none".to_owned());
    let mut said = BTreeSet::new();
    warnings.retain(|warning| said.insert(warning.clone()));
    Ok(Foresight { catalog, changes: told, rows_fed: counted.values().sum(), sites, warnings })
}

/// What of the rows that are there now a change comes upon.
async fn comes_upon(
    client: &Client,
    (before, after): (&Catalog, &Catalog),
    change: &Change,
    migration: &str,
) -> Result<Option<String>, StoreError> {
    let Some(table) = before.table(change.no) else { return Ok(None) };
    let found = match &change.what {
        What::NotNull { column } => return without_value(client, table, column, migration).await,
        What::TypeChanged { column, fits: false, .. } => {
            let then = table.column_named(column);
            let now = then.and_then(|then| after.table(change.no)?.column(then.no));
            match then.zip(now) {
                Some(pair) => too_much(client, table, pair).await?,
                None => None,
            }
        }
        // Those that are not validated let rows be.
        What::ReferenceAdded { columns, .. } if !migration.to_lowercase().contains("not valid") => {
            without_parent(client, (before, after), (change.no, columns)).await?
        }
        _ => None,
    };
    Ok(found.map(|found| format!("{}: {found}", fails(migration))))
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
