//! Schemas as they really are: partitions, other schemas, names that must be quoted, circles, keys and columns that PostgreSQL fills in.

use cloud_server::settings::Settings;
use cloud_server::store::prepare::{Travels, plan};
use sync_core::catalog::{Catalog, DefaultValue, OnDelete, ScopeRule, Travel};

use crate::{Shop, shape, table};

const SCHEMA: &str = r#"
    CREATE SCHEMA crm;
    CREATE DOMAIN crm.email AS varchar(80) NOT NULL CHECK (VALUE ~ '@');
    CREATE TABLE "Org" ("Id" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "select" text, boss integer);
    CREATE TABLE crm.people (org integer REFERENCES "Org" ("Id"), no smallserial, email crm.email, mentor_org integer, mentor smallint, pass_hash text,
        shout text GENERATED ALWAYS AS (upper(email)) STORED, PRIMARY KEY (org, no),
        FOREIGN KEY (mentor_org, mentor) REFERENCES crm.people ON DELETE SET NULL);
    ALTER TABLE "Org" ADD FOREIGN KEY ("Id", boss) REFERENCES crm.people (org, no) DEFERRABLE INITIALLY DEFERRED;
    CREATE TABLE "select" ("from" integer REFERENCES "Org", "to" integer NOT NULL REFERENCES "Org" ON DELETE CASCADE, "Order" integer,
        PRIMARY KEY ("from", "Order"));
    CREATE TABLE events (at date, id integer, "to" integer NOT NULL REFERENCES "Org", text text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
    CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (id);
    CREATE TABLE events_2026_rest PARTITION OF events_2026 DEFAULT;
    CREATE TABLE crm.seen (event_at date NOT NULL, event integer NOT NULL, who text, PRIMARY KEY (event_at, event), FOREIGN KEY (event_at, event) REFERENCES events);
    CREATE TABLE grown () INHERITS (crm.seen);
    CREATE UNLOGGED TABLE cache (id integer PRIMARY KEY);
    INSERT INTO "Org" DEFAULT VALUES; INSERT INTO "Org" DEFAULT VALUES;
    INSERT INTO events SELECT day::date, 1 + (extract(epoch FROM day) / 86400)::integer % 2, 1 + (extract(epoch FROM day) / 86400)::integer % 2
        FROM generate_series('2025-06-01'::date, '2026-06-01'::date, '1 day') day;
    INSERT INTO crm.people (org, email) VALUES (1, 'a@b'), (2, 'c@d');
    INSERT INTO "select" VALUES (1, 2, 1);"#;

fn scope_of(catalog: &Catalog, name: &str) -> String {
    let table = table(catalog, name);
    let ways: Vec<&str> = table.ways().map(|way| way.name.as_str()).collect();
    match &table.scope {
        ScopeRule::Through(_) => ways.join(", "),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_schema_of_every_shape_is_taken_as_it_is() {
    let shop = Shop::with(SCHEMA).await;
    let settings = Settings::parse("root = 'Org'").unwrap();
    let before = plan(&shop.db, &settings).await.unwrap();
    let entry = |name: &str| before.tables.iter().find(|entry| entry.table == name).unwrap_or_else(|| panic!("{name}: {before:#?}"));
    assert_eq!(entry("events").notes, ["partitioned: events_2025, events_2026_rest travel as one table"]);
    assert!(before.tables.iter().all(|entry| !entry.table.starts_with("events_")), "{before:#?}");
    assert_eq!(entry("crm.people").left_out[0].otherwise, "[tables.\"crm.people\"]\nwith = [\"pass_hash\"]");
    assert_eq!((entry("cache").reason.as_str(), entry("cache").otherwise.as_deref()), ("is unlogged: a crash empties it", None));
    assert_eq!((entry("grown").travels.clone(), entry("crm.seen").travels.clone()), (Travels::LeftOut, Travels::LeftOut));

    let catalog = shop.prepare("root = 'Org'").await;
    let people = table(&catalog, "people");
    assert_eq!(
        shape(people),
        ["org integer!", "no smallint! = Leased", "email crm.email!", "mentor_org integer", "mentor smallint"],
        "neither what PostgreSQL derives nor what looks like a secret"
    );
    assert_eq!(people.columns[2].max_length, Some(80));
    assert_eq!((people.path.as_str(), people.travel), ("crm.people", Travel::Both));
    assert_eq!(people.references.iter().map(|reference| reference.on_delete).collect::<Vec<_>>(), [OnDelete::SetNull, OnDelete::Restrict]);
    let org = table(&catalog, "Org");
    assert_eq!((org.key.len(), org.columns[0].default.clone()), (1, Some(DefaultValue::Leased)));
    assert_eq!(org.references[0].table, people.no, "a circle");
    assert_eq!(scope_of(&catalog, "people"), "people_org_fkey", "a key is never NULL");
    assert_eq!(scope_of(&catalog, "select"), "select_from_fkey", "the first by name of two");
    assert_eq!(scope_of(&catalog, "events"), "events_to_fkey");

    // Every partition's rows have the scopes that are theirs, whichever way they come.
    shop.run("INSERT INTO events VALUES ('2026-03-03', 9, 1), ('2025-03-03', 9, 2); UPDATE \"Org\" SET \"select\" = 'x'").await;
    let wrong = "SELECT count(*)::text FROM events WHERE rejoin_scope <> 'Org/' || \"to\"";
    assert_eq!(shop.one(wrong).await, "0");
    assert_eq!(shop.one("SELECT string_agg(DISTINCT rejoin_scope, ' ') FROM events").await, "Org/1 Org/2");
    assert_eq!(shop.prepare("root = 'Org'").await.version.0, 1);
}

#[tokio::test]
async fn a_column_that_was_a_secret_and_travels_now_is_fed_again() {
    let shop = Shop::with("CREATE TABLE people (id integer PRIMARY KEY, token text); INSERT INTO people VALUES (1, 't')").await;
    let before = shop.prepare("root = 'people'").await;
    assert!(table(&before, "people").column_named("token").is_none());
    let head = shop.head("people/1").await;
    let with = shop.prepare("root = 'people'\n[tables.people]\nwith = ['token']").await;
    let token = table(&with, "people").column_named("token").unwrap().no;
    assert!(shop.head("people/1").await > head, "sites have no values of it");
    let without = shop.prepare("root = 'people'\n[tables.people]\nwithout = ['token']").await;
    assert!(table(&without, "people").column_named("token").is_none());
    let again = shop.prepare("root = 'people'\n[tables.people]\nwith = ['token']").await;
    assert_eq!(table(&again, "people").column_named("token").unwrap().no, token);
}
