//! Maintenance: every table keeps the system's principles, and no row refers to another organization's.

use std::collections::BTreeSet;

use cloud_server::systems::CMMS;
use tokio_postgres::error::SqlState;

use super::{open, plan_of, whole};
use crate::{Shop, table};

#[tokio::test]
async fn the_maintenance_system_is_whole() {
    let (shop, catalog) = open(CMMS).await;
    assert_eq!((catalog.version.0, catalog.system.as_str()), (1, "cmms"));
    insta::assert_snapshot!(whole(&catalog));
    assert_eq!(
        plan_of(&shop, CMMS).await,
        [
            "dashboard_metrics_cache",
            "user_sessions",
            "work_orders: partitioned: work_orders_0, work_orders_1, work_orders_2, work_orders_3, work_orders_4 and 3 more travel as one table"
        ]
    );
    let quantity = table(&catalog, "parts_inventory").column_named("quantity").unwrap();
    assert_eq!(quantity.policy, sync_core::policy::Policy::Add);
}

/// What breaks a principle of the maintenance system, by name; nothing should.
const PRINCIPLES: [(&str, &str); 5] = [
    (
        "a uuid of its own, an organization, and the five columns that say who and when",
        "SELECT c.relname || '.' || w.name FROM pg_class c CROSS JOIN (VALUES
             ('id', 'uuid', true), ('organization_id', 'uuid', true), ('created_at', 'timestamp without time zone', true),
             ('updated_at', 'timestamp without time zone', true), ('deleted_at', 'timestamp without time zone', false),
             ('created_by', 'uuid', false), ('updated_by', 'uuid', false)) w(name, type, always)
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND (c.relname, w.name) <> ('organizations', 'organization_id')
           AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = w.name AND a.attnotnull = w.always
               AND format_type(a.atttypid, a.atttypmod) = w.type)",
    ),
    (
        "references carry the organization along",
        "SELECT k.conrelid::regclass || '.' || k.conname FROM pg_constraint k
         JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attname = 'organization_id'
         WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND NOT t.attnum = ANY (k.confkey)",
    ),
    (
        "references cascade or are cleared, and then only in their own column",
        "SELECT k.conrelid::regclass || '.' || k.conname FROM pg_constraint k
         WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace
           AND NOT (k.confdeltype = 'c' OR k.confdeltype = 'n' AND cardinality(k.confdelsetcols) = 1)",
    ),
    (
        "an index serves every reference",
        "SELECT k.conrelid::regclass || '.' || k.conname FROM pg_constraint k
         WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND k.conparentid = 0 AND NOT EXISTS (
             SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
               AND ((i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey OR i.indisunique AND i.indkey::int2[] <@ k.conkey))",
    ),
    (
        "what is searched has words, and an index of them",
        "SELECT w.name FROM unnest(ARRAY['work_orders', 'assets', 'comments']) w(name) WHERE NOT EXISTS (
             SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'tsv' AND a.attgenerated = 's'
             WHERE i.indrelid = w.name::regclass AND m.amname = 'gin' AND x.relname = 'idx_' || w.name || '_tsv')",
    ),
];

#[tokio::test]
async fn every_table_of_the_maintenance_system_keeps_its_principles() {
    let (shop, catalog) = open(CMMS).await;
    for (principle, breaks) in PRINCIPLES {
        assert_eq!(shop.one(&format!("SELECT string_agg(b, ' ') FROM ({breaks}) x(b)")).await, "", "{principle}");
    }
    // rejoin.toml and the CHECKs list the same kinds.
    for table in catalog.tables.iter().filter(|table| table.column_named("entity_id").is_some()) {
        let kinds = table.references.iter().filter_map(|reference| Some(reference.when.as_ref()?.1.to_text().into_owned()));
        let declared: Vec<String> = kinds.collect::<BTreeSet<_>>().into_iter().collect();
        let checked = format!(
            "SELECT string_agg(DISTINCT m[1], ' ' ORDER BY m[1])
             FROM pg_constraint k, regexp_matches(pg_get_constraintdef(k.oid), '''([a-z_]+)''::text', 'g') m
             WHERE k.conname = '{0}_entity_type_check' AND k.conrelid = '{0}'::regclass",
            table.name
        );
        assert_eq!(declared.join(" "), shop.one(&checked).await, "{}", table.name);
    }
}

/// Two organizations, each with a row of what refers to other rows: `o(kind, n)` is the id of a row of organization n.
const TWO: &str = include_str!("../../../../tests/fixtures/cmms/two_organizations.sql");

async fn two_organizations() -> Shop {
    let (shop, _) = open(CMMS).await;
    shop.run(TWO).await;
    shop
}

#[tokio::test]
async fn no_row_refers_to_another_organizations() {
    let shop = two_organizations().await;
    for statement in [
        "UPDATE work_orders SET assigned_to = o('2', 2) WHERE id = o('4', 1)",
        "UPDATE work_orders SET updated_by = o('2', 2) WHERE id = o('4', 1)",
        "UPDATE work_orders SET organization_id = o('1', 2) WHERE id = o('4', 1)",
        "INSERT INTO work_orders (organization_id, title, status, requested_by) VALUES (o('1', 1), 't', 'open', o('2', 2))",
        "INSERT INTO work_order_assets (organization_id, work_order_id, asset_id) VALUES (o('1', 1), o('4', 1), o('3', 2))",
        "INSERT INTO work_order_assets (organization_id, work_order_id, asset_id) VALUES (o('1', 1), o('4', 2), o('3', 1))",
        "INSERT INTO comments (organization_id, work_order_id, body) VALUES (o('1', 1), o('4', 2), 'b')",
        "INSERT INTO comments (organization_id, work_order_id, parent_id, body) VALUES (o('1', 1), o('4', 1), o('5', 2), 'b')",
        "INSERT INTO entity_tags (organization_id, tag_id, entity_type, entity_id) VALUES (o('1', 1), o('6', 2), 'asset', o('3', 1))",
        "UPDATE assets SET parent_id = o('3', 2) WHERE id = o('3', 1)",
        "UPDATE organizations SET created_by = o('2', 2) WHERE id = o('1', 1)",
    ] {
        let error = shop.sql.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION), "{statement}: {error}");
    }
    let strays = "SELECT count(*)::text FROM work_orders WHERE rejoin_scope <> 'organizations/' || organization_id";
    assert_eq!(shop.one(strays).await, "0");
}

#[tokio::test]
async fn deletes_take_along_or_clear_what_refers_to_them() {
    let shop = two_organizations().await;
    shop.run("DELETE FROM users WHERE id = o('2', 1); DELETE FROM assets WHERE id = o('3', 1)").await;
    let log = "SELECT concat_ws(' ', work_order_id = o('4', 1), asset_id IS NULL) FROM maintenance_logs WHERE organization_id = o('1', 1)";
    assert_eq!(shop.one(log).await, "t t", "only what is gone is cleared");
    assert_eq!(shop.one("SELECT (assigned_to IS NULL)::text FROM work_orders WHERE id = o('4', 1)").await, "true");
    shop.run("DELETE FROM work_orders WHERE id = o('4', 1)").await;
    let left = "SELECT concat_ws(' ', (SELECT count(*) FROM comments), (SELECT count(*) FROM entity_tags), (SELECT count(*) FROM maintenance_logs))";
    assert_eq!(shop.one(left).await, "1 1 2", "comments and tags go with it, what was done stays");
    shop.run("DELETE FROM organizations WHERE id = o('1', 1)").await;
    assert_eq!(shop.one(left).await, "1 1 1");
    let scope = "SELECT (rejoin_scope = 'organizations/' || o('1', 2))::text FROM maintenance_logs";
    assert_eq!(shop.one(scope).await, "true");
}

#[tokio::test]
async fn work_orders_are_divided_by_organization_and_found_by_their_words() {
    let shop = two_organizations().await;
    shop.run(
        "INSERT INTO organizations (id, name) SELECT md5(n::text)::uuid, 'Organization ' || n FROM generate_series(3, 40) n;
         INSERT INTO work_orders (organization_id, title, status) SELECT id, 'Sweep', 'open' FROM organizations",
    )
    .await;
    let parts = "SELECT count(DISTINCT tableoid)::text FROM work_orders";
    assert_eq!(shop.one(parts).await, "8");
    let found = "SELECT concat_ws(' ', (SELECT count(*) FROM work_orders WHERE tsv @@ to_tsquery('simple', 'pump')),
        (SELECT count(*) FROM assets WHERE tsv @@ to_tsquery('simple', 'cellar')),
        (SELECT count(*) FROM comments WHERE tsv @@ to_tsquery('simple', 'done')))";
    assert_eq!(shop.one(found).await, "2 2 2");
}
