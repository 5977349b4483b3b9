//! Statements, counted in PostgreSQL's log.

use std::path::PathBuf;
use std::time::Duration;

use super::session::Session;

/// The statements that `work` makes the cloud send.
pub async fn statements(superuser_url: &str, work: impl Future<Output = ()>) -> Vec<String> {
    let superuser = Session::open(superuser_url).await;
    superuser.run("ALTER SYSTEM SET log_statement = 'all'").await;
    superuser.run("ALTER SYSTEM SET log_line_prefix = '@%a '").await;
    superuser.run("SELECT pg_reload_conf()").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = log(&superuser).await;
    let length = std::fs::read_to_string(&log).unwrap().len();
    work.await;
    superuser.run("ALTER SYSTEM RESET log_statement").await;
    superuser.run("SELECT pg_reload_conf()").await;
    let text = std::fs::read_to_string(&log).unwrap();
    let counted = |line: &&str| line.starts_with("@rejoin LOG:") && (line.contains("execute ") || line.contains("statement: "));
    text[length..].lines().filter(counted).map(|line| line.chars().take(150).collect()).collect()
}

/// The server's log, beside its data.
async fn log(superuser: &Session) -> PathBuf {
    let data = PathBuf::from(superuser.one::<String>("SHOW data_directory").await);
    data.ancestors().map(|folder| folder.join("postgres.log")).find(|log| log.exists()).unwrap()
}
