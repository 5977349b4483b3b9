//! The built-in systems: what becomes of each one's tables, and what their constraints refuse. Plain SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use cloud_server::systems::{BuiltIn, DIGITAL_TWIN, ENERGY, VIDEO_PRODUCTION};
use cloud_server::test_support;
use sync_core::catalog::{Catalog, Table, Travel};
use sync_core::policy::Policy;
use sync_core::value::ColumnType;
use tokio_postgres::error::SqlState;

use crate::cloud::connect;
use crate::{Shop, shape};

async fn open(system: BuiltIn) -> (Shop, Arc<Catalog>) {
    let database = test_support::database().await;
    let db = Database::open(database.url(), 4).unwrap();
    let catalog = prepare(&db, &system.settings().unwrap(), Some(system)).await.unwrap();
    assert_eq!((catalog.version.0, catalog.system.as_str()), (1, system.name));
    let engine: Vec<String> =
        catalog.tables.iter().filter(|table| table.engine).map(|table| format!("{} {:?}", table.sqlite_name(), table.scope)).collect();
    assert_eq!(engine, ["sync_conflicts Site", "rejoin_tokens Global", "rejoin_users Global"]);
    let sql = connect(database.url()).await;
    (Shop { database, db, sql }, catalog)
}

/// A table with its columns, keys, indexes, references, and what `rejoin.toml` says of it.
fn drawn(catalog: &Catalog, table: &Table) -> String {
    let column = |no| table.column(no).unwrap().name.as_str();
    let stamps = &table.stamps;
    let mut lines = vec![
        format!("{} /{} {:?} soft delete {:?}", table.name, table.path, table.scope, table.soft_delete.map(column)),
        format!("  stamps {} {} {} {}", stamps.version, stamps.updated_at, stamps.last_modified_by, stamps.synced_at),
    ];
    if (table.travel, table.keep_hours) != (Travel::Both, None) {
        lines.push(format!("  travels {:?}, is kept for {:?} hours", table.travel, table.keep_hours));
    }
    lines.extend(shape(table).into_iter().map(|column| format!("  {column}")));
    let ruled = table.columns.iter().filter(|column| column.policy != Policy::Manual);
    lines.extend(ruled.map(|column| format!("  policy {} {:?}", column.name, column.policy)));
    lines.extend(table.uniques.iter().map(|unique| format!("  unique {}", unique.name)));
    lines.extend(table.indexes.iter().map(|index| format!("  index {}", index.name)));
    lines.extend(table.references.iter().map(|reference| {
        let to = &catalog.table(reference.table).unwrap().name;
        let when = reference.when.as_ref().map(|(kind, value)| format!(" where {} is {}", column(*kind), value.to_text()));
        format!("  {} -> {to} {:?}{}", column(reference.columns[0]), reference.on_delete, when.unwrap_or_default())
    }));
    lines.join("\n")
}

/// Every table, parents first.
fn whole(catalog: &Catalog) -> String {
    let tables = catalog.parents_first().into_iter().filter(|table| !table.engine);
    tables.map(|table| drawn(catalog, table)).collect::<Vec<_>>().join("\n")
}

/// Every enum with its labels.
fn enums(catalog: &Catalog) -> String {
    let columns = catalog.tables.iter().filter(|table| !table.engine).flat_map(|table| &table.columns);
    let found: BTreeMap<&str, String> = columns
        .filter(|column| matches!(column.ty, ColumnType::Enum(_)))
        .map(|column| (column.sql_type.as_str(), format!("{} {:?}", column.sql_type, column.ty)))
        .collect();
    found.into_values().collect::<Vec<_>>().join("\n")
}

/// Runs a statement that is refused; by which constraint.
async fn refused(shop: &Shop, sql: &str, code: SqlState) -> String {
    let error = shop.sql.batch_execute(sql).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(*error.code(), code, "{sql}: {error}");
    error.constraint().unwrap().to_owned()
}

#[tokio::test]
async fn the_video_production_system_is_whole() {
    let (_shop, catalog) = open(VIDEO_PRODUCTION).await;
    insta::assert_snapshot!(whole(&catalog));
    insta::assert_snapshot!(enums(&catalog));
}

#[tokio::test]
async fn the_digital_twin_system_is_whole() {
    let (_shop, catalog) = open(DIGITAL_TWIN).await;
    insta::assert_snapshot!(whole(&catalog));
    insta::assert_snapshot!(enums(&catalog));
}

#[tokio::test]
async fn the_energy_system_is_whole() {
    let (shop, catalog) = open(ENERGY).await;
    insta::assert_snapshot!(whole(&catalog));
    insta::assert_snapshot!(enums(&catalog));
    let types = "SELECT string_agg(concat_ws(' ', code, rejoin_scope), ', ' ORDER BY id) FROM asset_types";
    assert_eq!(shop.one(types).await, "CONS global, PROD global, C/I global, INJ global");
}

/// One data centre down to two racks, and a device type; each row's id is its number.
const TWIN: &str = "
    CREATE FUNCTION id(integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('0198c0de-0000-7000-8000-' || lpad($1::text, 12, '0'))::uuid $$;
    INSERT INTO regions (id, code, name) VALUES (id(1), 'EU', 'Europe');
    INSERT INTO sites (id, code, name, region_id, latitude, longitude) VALUES (id(1), 'ber-01', 'BER-01', id(1), 52.5, 13.4);
    INSERT INTO buildings (id, site_id, name, transform_world) VALUES (id(1), id(1), 'A', '{}');
    INSERT INTO floors (id, building_id, name, level) VALUES (id(1), id(1), 'ground', 0);
    INSERT INTO rooms (id, floor_id, name, transform_in_building) VALUES (id(1), id(1), 'hall', '{}');
    INSERT INTO racks (id, room_id, name, position_in_room) VALUES (id(1), id(1), 'A-01', '{}'), (id(2), id(1), 'A-02', '{}');
    INSERT INTO device_types (id, code, category, u_height) VALUES (id(1), 'server', 'SERVER', 2);
    CREATE PROCEDURE put(name text, rack integer, u_start integer, u_height integer, status status_4d = 'EXISTING_RETAINED') LANGUAGE sql AS $$
        INSERT INTO devices (rack_id, device_type_id, name, u_start, u_height, status_4d) VALUES (id(rack), id(1), name, u_start, u_height, status) $$;
    CALL put('a', 1, 1, 2);
    CALL put('b', 1, 3, 2);";

async fn twin() -> Shop {
    let (shop, _) = open(DIGITAL_TWIN).await;
    shop.run(TWIN).await;
    shop
}

#[tokio::test]
async fn two_devices_that_are_there_never_share_a_u_of_a_rack() {
    let shop = twin().await;
    let taken = |sql| refused(&shop, sql, SqlState::EXCLUSION_VIOLATION);
    for sql in [
        "CALL put('c', 1, 2, 1)",
        "CALL put('c', 1, 4, 10)",
        "CALL put('c', 1, 1, 42, 'PROPOSED')",
        "UPDATE devices SET u_start = 2 WHERE name = 'a'",
        "UPDATE devices SET u_height = 3 WHERE name = 'a'",
    ] {
        assert_eq!(taken(sql).await, "devices_slot", "{sql}");
    }
    shop.run("CALL put('c', 1, 5, 1); CALL put('d', 2, 1, 2)").await;
    assert_eq!(taken("UPDATE devices SET rack_id = id(1) WHERE name = 'd'").await, "devices_slot");
    // What is to be removed, or is switched off, is in nobody's way; until it comes back.
    shop.run("UPDATE devices SET status_4d = 'EXISTING_REMOVED' WHERE name = 'a'; UPDATE devices SET is_active = false WHERE name = 'b'")
        .await;
    shop.run("UPDATE devices SET rack_id = id(1) WHERE name = 'd'; CALL put('e', 1, 3, 2); CALL put('f', 1, 1, 2, 'EXISTING_REMOVED')")
        .await;
    assert_eq!(taken("UPDATE devices SET status_4d = 'MODIFIED' WHERE name = 'a'").await, "devices_slot");
    assert_eq!(taken("UPDATE devices SET is_active = true WHERE name = 'b'").await, "devices_slot");
    // One statement that lets two change places is no overlap.
    shop.run("UPDATE devices SET u_start = 4 - u_start WHERE name IN ('d', 'e')").await;
}

#[tokio::test]
async fn places_and_heights_that_cannot_be_are_refused() {
    let shop = twin().await;
    for (sql, constraint) in [
        ("CALL put('c', 1, 0, 1)", "devices_u_start_check"),
        ("CALL put('c', 1, 9, 0)", "devices_u_height_check"),
        ("UPDATE racks SET u_height = 0", "racks_u_height_check"),
        ("UPDATE sites SET latitude = 90.5", "sites_latitude_check"),
        ("UPDATE sites SET longitude = -180.5", "sites_longitude_check"),
        ("UPDATE sites SET longitude = 'NaN'", "sites_longitude_check"),
    ] {
        assert_eq!(refused(&shop, sql, SqlState::CHECK_VIOLATION).await, constraint, "{sql}");
    }
    shop.run("UPDATE sites SET latitude = -90, longitude = 180").await;
}

#[tokio::test]
async fn a_deleted_data_centre_takes_all_but_its_history_along() {
    let shop = twin().await;
    shop.run(
        "INSERT INTO users (id, email) VALUES (id(1), 'ann@example.org');
         INSERT INTO user_preferences (user_id, preferences) VALUES (id(1), '{}');
         INSERT INTO equipment_history (device_id, device_name, modification_type, user_id) SELECT id, name, 'add', id(1) FROM devices",
    )
    .await;
    for (table, constraint) in [
        ("regions", "sites_region_id_regions_id_fk"),
        ("device_types", "devices_device_type_id_device_types_id_fk"),
        ("users", "equipment_history_user_id_users_id_fk"),
    ] {
        assert_eq!(refused(&shop, &format!("DELETE FROM {table}"), SqlState::FOREIGN_KEY_VIOLATION).await, constraint);
    }
    shop.run("DELETE FROM sites").await;
    let left = "SELECT concat_ws(' ', (SELECT count(*) FROM buildings), (SELECT count(*) FROM racks), (SELECT count(*) FROM devices))";
    assert_eq!(shop.one(left).await, "0 0 0");
    let history =
        "SELECT string_agg(concat_ws(' ', device_name, device_id IS NULL, rejoin_scope), ', ' ORDER BY device_name) FROM equipment_history";
    assert_eq!(shop.one(history).await, "a t global, b t global");
    shop.run("DELETE FROM equipment_history; DELETE FROM users").await;
    assert_eq!(shop.one("SELECT count(*)::text FROM user_preferences").await, "0");
}

/// Two sites with a meter each; behind the first an asset with one below it, and a source; a measurement of each.
const PLANT: &str = "
    CREATE FUNCTION id(integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('0198c0de-0000-7000-8000-' || lpad($1::text, 12, '0'))::uuid $$;
    INSERT INTO portfolios (id, name) VALUES (id(1), 'all');
    INSERT INTO sites (id, portfolio_id, name, industry_type) VALUES (id(1), id(1), 'lab', 'biotech'), (id(2), id(1), 'hub', 'logistics');
    INSERT INTO meters (id, site_id, name, category) VALUES (id(1), id(1), 'main', 'CONS'), (id(2), id(2), 'roof', 'PROD');
    INSERT INTO assets (id, meter_id, parent_id, asset_type_id, name)
        SELECT id(n), id(1), CASE n WHEN 2 THEN id(1) END, t.id, 'chiller' FROM generate_series(1, 2) n, asset_types t WHERE t.code = 'CONS';
    INSERT INTO asset_connections (id, from_asset_id, to_asset_id, direction, relationship) VALUES (id(1), id(1), id(2), 'out', 'energy_flow');
    INSERT INTO energy_sources (id, meter_id, name, source_type) VALUES (id(1), id(1), 'roof', 'solar');
    INSERT INTO measurements (id, entity_type, entity_id, metric, value, unit, \"timestamp\") VALUES
        (id(1), 'meter', id(1), 'power', 1, 'kW', '2026-01-31T12:00:00Z'), (id(2), 'asset', id(2), 'current', 1, 'A', '2026-01-31T12:00:00Z'),
        (id(3), 'energy_source', id(1), 'energy', 1, 'kWh', '2026-01-31T12:00:00Z'), (id(4), 'meter', id(2), 'voltage', 1, 'V', '2026-01-31T12:00:00Z');";

#[tokio::test]
async fn a_measurement_is_where_the_thing_is_that_it_measures_and_goes_with_it() {
    let (shop, _) = open(ENERGY).await;
    shop.run(PLANT).await;
    let scopes = "SELECT string_agg(concat_ws(' ', id = id(4), right(rejoin_scope, 1)), ', ' ORDER BY id) FROM measurements";
    assert_eq!(shop.one(scopes).await, "f 1, f 1, f 1, t 2");
    for (sql, constraint) in [
        ("UPDATE measurements SET entity_type = 'site'", "measurements_entity_type_check"),
        ("UPDATE measurements SET metric = 'mood'", "measurements_metric_check"),
    ] {
        assert_eq!(refused(&shop, sql, SqlState::CHECK_VIOLATION).await, constraint);
    }
    assert_eq!(refused(&shop, "DELETE FROM asset_types", SqlState::FOREIGN_KEY_VIOLATION).await, "assets_asset_type_id_asset_types_id_fk");
    let left = "SELECT concat_ws(' ', (SELECT count(*) FROM assets), (SELECT count(*) FROM asset_connections), (SELECT count(*) FROM energy_sources),
                    (SELECT string_agg(right(id::text, 1), '' ORDER BY id) FROM measurements))";
    shop.run("DELETE FROM assets WHERE id = id(1)").await;
    assert_eq!(shop.one(left).await, "0 0 1 134", "what is below it, its connections, and what was measured of both");
    shop.run("DELETE FROM sites WHERE id = id(1)").await;
    assert_eq!(shop.one(left).await, "0 0 0 4");
    shop.run("DELETE FROM portfolios").await;
    assert_eq!(shop.one("SELECT concat_ws(' ', (SELECT count(*) FROM sites), (SELECT count(*) FROM measurements))").await, "0 0");
}
