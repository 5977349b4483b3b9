//! Energy: a measurement is where the thing is that it measures.

use cloud_server::systems::ENERGY;
use tokio_postgres::error::SqlState;

use super::{enums, open, refused, whole};

#[tokio::test]
async fn the_energy_system_is_whole() {
    let (shop, catalog) = open(ENERGY).await;
    insta::assert_snapshot!(whole(&catalog));
    insta::assert_snapshot!(enums(&catalog));
    let types = "SELECT string_agg(concat_ws(' ', code, rejoin_scope), ', ' ORDER BY id) FROM asset_types";
    assert_eq!(shop.one(types).await, "CONS global, PROD global, C/I global, INJ global");
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
