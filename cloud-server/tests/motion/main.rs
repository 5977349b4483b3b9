//! The schema moves at the cloud, by plain DDL on a real PostgreSQL: what is fed again, what follows, what parks.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs, dead_code, reason = "the tests' own modules")]

#[path = "../sync/cloud.rs"]
mod cloud;
#[path = "../sync/site.rs"]
mod site;

mod anew;
mod decisions;
mod feeds;
mod foresee;
mod generated;
mod keys;
mod outgrown;
mod parks;
mod renames;
mod unfed;
mod unseen;

use cloud::Cloud;
use site::Site;

/// A site while the cloud's schema moves.
pub struct Away {
    enrolled: sync_core::wire::message::Enrolled,
    last: i64,
    previous: String,
    answered: Option<sync_core::wire::message::PushName>,
    cursors: Vec<sync_core::wire::message::Cursor>,
    rows: std::collections::BTreeMap<(sync_core::id::TableNo, sync_core::id::Key), (sync_core::change::Row, sync_core::change::At)>,
}

impl Away {
    pub fn of(site: &Site<'_>) -> Self {
        let site = site.copy();
        let (enrolled, last, previous) = (site.enrolled, site.last, site.previous);
        Self { enrolled, last, previous, answered: site.answered, cursors: site.cursors, rows: site.rows }
    }

    /// The same site, with the catalog of now. What it knows of rows is as it was.
    pub fn back(self, cloud: &Cloud) -> Site<'_> {
        Site {
            cloud,
            enrolled: self.enrolled,
            last: self.last,
            previous: self.previous,
            answered: self.answered,
            cursors: self.cursors,
            rows: self.rows,
        }
    }
}

impl Cloud {
    /// How many ticks there are.
    pub async fn ticks(&self) -> i64 {
        self.count("rejoin.ticks").await
    }

    /// As a program leaves a table that knows nothing of our triggers; they come back with the catalog.
    pub async fn without_triggers(&self, table: &str) {
        let sql = "SELECT coalesce(string_agg(format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass), '; '), '') FROM pg_trigger
                   WHERE tgname LIKE '~rejoin%' AND tgrelid = to_regclass($1::text)";
        let drops: String = self.sql.query_one(sql, &[&table]).await.unwrap().get(0);
        self.run(&drops).await;
    }

    /// The keys of a table's tombstones.
    pub async fn gone(&self, table: &str) -> Vec<String> {
        let sql = "SELECT array_to_string(g.key, ',') FROM rejoin.tombstones g WHERE g.table_no = $1 ORDER BY g.key";
        let rows = self.sql.query(sql, &[&self.table(table).no.0.cast_signed()]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}
