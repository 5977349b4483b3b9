//! The schema changes at the cloud while a site is away with unsent edits.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

mod anew;
mod dropped;
mod renamed;

use rejoin_tests::World;
use serde_json::Value;

const PARTS: &str = "
    CREATE TABLE shows (id text PRIMARY KEY, name text NOT NULL);
    CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, label varchar(20), size text, note text,
        code text NOT NULL UNIQUE, qty bigint);
    INSERT INTO shows VALUES ('s', 'Show');
    INSERT INTO parts SELECT 'p' || n, 's', 'label ' || n, n::text, 'note', 'c' || n, n FROM generate_series(1, 6) n";

/// How many columns or tables of such a name a site's file has.
fn columns(world: &World, site: &str, like: &str) -> i64 {
    let sql = "SELECT count(*) FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.name LIKE ?1 OR c.name LIKE ?1";
    rusqlite::Connection::open(world.site(site).database()).unwrap().query_row(sql, [like], |row| row.get(0)).unwrap()
}

fn conflict<'a>(conflicts: &'a [Value], record: &str) -> &'a Value {
    conflicts.iter().find(|conflict| conflict["recordId"] == record).unwrap_or_else(|| panic!("{record}: {conflicts:#?}"))
}
