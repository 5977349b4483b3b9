//! Data centres: a U of a rack holds one device, and what a delete takes along.

use cloud_server::systems::DIGITAL_TWIN;
use tokio_postgres::error::SqlState;

use super::{enums, open, refused, whole};
use crate::Shop;

#[tokio::test]
async fn the_digital_twin_system_is_whole() {
    let (_shop, catalog) = open(DIGITAL_TWIN).await;
    insta::assert_snapshot!(whole(&catalog));
    insta::assert_snapshot!(enums(&catalog));
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
