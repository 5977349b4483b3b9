//! A session whose backend's processor time can be read.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

pub struct Session {
    pub sql: Client,
    backend: i32,
}

/// What something took: by the clock, which other programs on the machine slow down, and of the backend's processor, which they hardly do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
}

impl Session {
    pub async fn open(url: &str) -> Self {
        let (sql, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let backend = sql.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        Self { sql, backend }
    }

    pub async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap();
    }

    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.sql.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Of the backend, since it began, in steps of nanoseconds.
    fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.backend)).unwrap();
        Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
    }

    /// Runs a statement once for each set of values, each in a transaction of its own. They are sent without waiting for the answers: what the
    /// way there and back takes is not asked for.
    pub async fn cost(&self, statement: &Statement, values: &[Vec<i64>]) -> Cost {
        let (start, cpu) = (Instant::now(), self.cpu());
        let written = join_all(values.iter().map(|values| self.execute(statement, values))).await;
        assert!(written.iter().all(|rows| *rows > 0), "nothing was written");
        Cost { wall: start.elapsed(), cpu: self.cpu().saturating_sub(cpu) }
    }

    async fn execute(&self, statement: &Statement, values: &[i64]) -> u64 {
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        self.sql.execute(statement, &values).await.unwrap()
    }
}
