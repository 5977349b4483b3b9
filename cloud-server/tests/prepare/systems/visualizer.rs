//! The visualizer, after its migration.

use cloud_server::systems::VISUALIZER;

use super::{open, plan_of, whole};

#[tokio::test]
async fn the_visualizer_is_whole_after_its_migration() {
    let (shop, catalog) = open(VISUALIZER).await;
    assert_eq!((catalog.version.0, catalog.system.as_str()), (1, "visualizer"));
    insta::assert_snapshot!(whole(&catalog));
    let secrets = ["store_connection.access_token", "store_connection.refresh_token", "store_connection.token_expires_at"];
    assert_eq!(plan_of(&shop, VISUALIZER).await, secrets);
    let old = "SELECT coalesce(string_agg(name, ' '), '') FROM (SELECT conname::text AS name FROM pg_constraint UNION ALL
               SELECT relname::text FROM pg_class UNION ALL
               SELECT a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r') n WHERE name ~ 'studio|generated_image|r2_key'";
    assert_eq!(shop.one(old).await, "", "no old name is left");
}
