//! What a migration does to the names that rejoin.toml may say.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::store::error::StoreError;

/// Tables, by oid, and their columns, by oid and attnum, as people call them.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<(u32, i16), String>);

impl Names {
    pub(super) async fn read(client: &Client) -> Result<Self, StoreError> {
        let sql = "SELECT c.oid, a.attnum, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname
                          || CASE WHEN a.attnum > 0 THEN '.' || a.attname ELSE '' END
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   CROSS JOIN LATERAL (SELECT 0::int2 AS attnum, '' AS attname UNION ALL
                                       SELECT a.attnum, a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) a
                   WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'rejoin')";
        Ok(Self(client.query(sql, &[]).await?.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()))
    }

    /// What became of the names that a complaint has in it.
    pub(super) fn told(&self, now: &Self, complaint: &str) -> Vec<String> {
        let words: Vec<&str> = complaint.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let named = self.0.iter().filter(|(_, name)| words.contains(&bare(name).as_str()));
        named
            .filter_map(|(place, name)| match now.0.get(place) {
                None => Some(format!("{name} is dropped")),
                // A column whose table alone is renamed is still called so.
                Some(other) if bare(other) != bare(name) => Some(format!("{name} is renamed to {other}")),
                Some(_) => None,
            })
            .collect()
    }
}
