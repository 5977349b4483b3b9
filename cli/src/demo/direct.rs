//! Writes past Rejoin: plain SQL, as `sqlite3` or `psql` would send it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use uuid::Uuid;

/// Runs one statement on the file of the site of this folder. Foreign keys are off, as in Debian's `sqlite3`.
pub(crate) fn on_site(folder: &Path, sql: &str, id: Uuid) -> anyhow::Result<()> {
    let file = folder.join(local_server::store::db::FILE);
    let connection = rusqlite::Connection::open(&file).with_context(|| format!("cannot open {}", file.display()))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch("PRAGMA foreign_keys = OFF")?;
    let changed = connection.execute(sql, [id.to_string()]).with_context(|| sql.to_owned())?;
    anyhow::ensure!(changed == 1, "{sql}: changed {changed} rows");
    Ok(())
}

/// Changes the schema of the cloud's database, as its owner's migrations do.
pub(crate) async fn migrate(url: &str, sql: &str) -> anyhow::Result<()> {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.context("cannot connect to the cloud's database")?;
    let carried = tokio::spawn(connection);
    client.batch_execute(sql).await.with_context(|| sql.to_owned())?;
    drop(client);
    Ok(carried.await??)
}

/// Runs one statement on the cloud's database.
pub(crate) async fn on_cloud(url: &str, sql: &str, id: Uuid) -> anyhow::Result<()> {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.context("cannot connect to the cloud's database")?;
    let carried = tokio::spawn(connection);
    let changed = client.execute(sql, &[&id]).await.with_context(|| sql.to_owned())?;
    drop(client);
    carried.await??;
    anyhow::ensure!(changed == 1, "{sql}: changed {changed} rows");
    Ok(())
}
