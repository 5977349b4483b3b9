//! The large table: items of twenty organizations.

use super::session::Session;

pub const SETTINGS: &str = "root = \"orgs\"\n";

pub async fn make(session: &Session, rows: i64) {
    session
        .run(&format!(
            "CREATE TABLE orgs (id uuid PRIMARY KEY, name text NOT NULL);
             CREATE TABLE items (id uuid PRIMARY KEY, org_id uuid NOT NULL REFERENCES orgs, no integer NOT NULL UNIQUE, name text NOT NULL,
                 kind text NOT NULL, width integer, height integer, price numeric(10, 2), active boolean, seen timestamptz, note text);
             INSERT INTO orgs SELECT gen_random_uuid(), 'org ' || n FROM generate_series(1, 20) n;
             INSERT INTO items SELECT gen_random_uuid(), o.id, n, 'item ' || n, 'camera', 1920, 1080, n / 7.0, true, now(), repeat('x', 60)
                 FROM generate_series(1, {rows}) n JOIN (SELECT id, row_number() OVER () AS at FROM orgs) o ON o.at = 1 + n % 20;
             CREATE INDEX ON items (org_id)"
        ))
        .await;
    session.run("VACUUM ANALYZE").await;
}
