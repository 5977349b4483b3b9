//! DDL feeds what PostgreSQL rewrote, and nothing else.

use sync_core::catalog::Column;
use sync_core::value::{ColumnType, Value};

use crate::cloud::Cloud;
use crate::site::id;

const ROWS: i64 = 3_000;

async fn many() -> Cloud {
    let cloud = Cloud::start().await;
    for production in [id('p', 1), id('p', 2)] {
        cloud.run(&format!("INSERT INTO productions (id, name) VALUES ('{production}', 'p')")).await;
    }
    cloud
        .run(&format!(
            "INSERT INTO marks SELECT n::text, ('{{{}, {}}}'::uuid[])[1 + n % 2], 'n' FROM generate_series(1, {ROWS}) n",
            id('p', 1),
            id('p', 2)
        ))
        .await;
    cloud
}

fn column<'c>(cloud: &'c Cloud, table: &str, name: &str) -> &'c Column {
    cloud.table(table).column_named(name).unwrap()
}

#[tokio::test]
async fn a_column_that_postgresql_only_wrote_into_its_catalog_feeds_nothing() {
    let cloud = many().await;
    let ticks = cloud.ticks().await;
    cloud
        .run(
            "ALTER TABLE marks ADD a text, ADD b integer NOT NULL DEFAULT 5, ADD c text[] DEFAULT '{x,\"y z\"}', ADD d numeric(6,2) DEFAULT 1.50,
                 ADD e jsonb DEFAULT '{\"b\": 1, \"a\": 2}', ADD f timestamptz DEFAULT '2026-01-31 12:00+01', ADD g text DEFAULT 'it''s',
                 ADD h boolean NOT NULL DEFAULT false, ADD i bytea DEFAULT '\\x00ff', ADD j uuid DEFAULT '0198C0DE-0000-7000-8000-000000000001',
                 ADD k char(4) DEFAULT 'ab', ADD l timestamptz DEFAULT now()",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.ticks().await, ticks);
    let text = |name: &str| column(&cloud, "marks", name).added.as_ref().map(|added| added.to_text().into_owned());
    let got: Vec<Option<String>> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].into_iter().map(text).collect();
    let expected = [
        None,
        Some("5"),
        Some("[\"x\",\"y z\"]"),
        Some("1.5"),
        Some("{\"a\":2,\"b\":1}"),
        Some("2026-01-31T11:00:00.000000Z"),
        Some("it's"),
        Some("false"),
        Some("\\x00ff"),
        Some("0198c0de-0000-7000-8000-000000000001"),
    ];
    assert_eq!(got, expected.map(|text| text.map(str::to_owned)));
    // The time of the ALTER, which PostgreSQL keeps too: all rows have the same.
    assert!(column(&cloud, "marks", "l").added.is_some());
    // What a new site gets for it is the same.
    let mut site = cloud.site("a", &[&id('p', 1)]).await;
    site.pull().await;
    for name in ["c", "d", "e", "f", "j", "k", "l"] {
        let column = column(&cloud, "marks", name);
        assert_eq!(site.value("marks", "2", name), column.ty.to_json(column.added.as_ref().unwrap()), "{name}");
    }
}

#[tokio::test]
async fn the_constant_stays_what_it_was_when_the_column_was_added() {
    let cloud = many().await;
    cloud.run("ALTER TABLE marks ADD b integer NOT NULL DEFAULT 5").await;
    let cloud = cloud.prepared_again().await;
    let ticks = cloud.ticks().await;
    cloud.run("ALTER TABLE marks ALTER b SET DEFAULT 7").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!((cloud.ticks().await, column(&cloud, "marks", "b").added.clone()), (ticks, Some(Value::Int(5))));
    // Also when the table was written anew since, and PostgreSQL has forgotten it.
    cloud.run("VACUUM FULL marks").await;
    cloud.run("ALTER TABLE marks ALTER b SET DEFAULT 8").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!((cloud.ticks().await, column(&cloud, "marks", "b").added.clone()), (ticks, Some(Value::Int(5))));
    // And as the value of another type.
    cloud.run("ALTER TABLE marks ALTER b DROP DEFAULT, ALTER b TYPE text").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(column(&cloud, "marks", "b").added, Some(Value::Text("5".into())));
}

#[tokio::test]
async fn both_at_once_are_told_apart_by_the_rows() {
    let cloud = many().await;
    let ticks = cloud.ticks().await;
    // A constant, and then the table written anew before anybody looked: the constant went into the rows.
    cloud.run("ALTER TABLE marks ADD b integer NOT NULL DEFAULT 5").await;
    cloud.run("VACUUM FULL marks").await;
    // A default that came after the column: the rows hold NULL.
    cloud.run("ALTER TABLE productions ADD late text; ALTER TABLE productions ALTER late SET DEFAULT 'x'").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.ticks().await, ticks);
    assert_eq!(
        (column(&cloud, "marks", "b").added.clone(), column(&cloud, "productions", "late").added.clone()),
        (Some(Value::Int(5)), None)
    );
}

#[tokio::test]
async fn rows_that_got_something_else_before_anybody_looked_are_fed() {
    let cloud = many().await;
    let mut site = cloud.site("a", &["*"]).await;
    site.pull().await;
    let away = crate::Away::of(&site);
    cloud.run("ALTER TABLE marks ADD b integer NOT NULL DEFAULT 5; UPDATE marks SET b = 6 WHERE id IN ('2', '4')").await;
    // The site passes these ticks by a server that does not know the column yet.
    let mut site = away.back(&cloud);
    assert_eq!(site.pull().await.rows.len(), 2);
    let away = crate::Away::of(&site);
    let ticks = cloud.ticks().await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.ticks().await, ticks + 1, "one scope");
    let mut site = away.back(&cloud);
    assert_eq!(site.pull().await.rows.len(), 2);
    assert_eq!(site.value("marks", "2", "b"), 6);
}

#[tokio::test]
async fn what_was_rewritten_is_fed_once_with_one_tick_per_scope() {
    let cloud = many().await;
    let ticks = cloud.ticks().await;
    cloud.run("ALTER TABLE marks ADD c uuid NOT NULL DEFAULT gen_random_uuid()").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!((cloud.ticks().await, cloud.count("(SELECT DISTINCT rejoin_scope, rejoin_tick FROM marks) x").await), (ticks + 2, 2));
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.ticks().await, ticks + 2, "once");
    cloud.run("ALTER TABLE marks ADD n integer DEFAULT 3").await;
    let cloud = cloud.prepared_again().await;
    cloud.run("ALTER TABLE marks ALTER n TYPE bigint USING n * 10").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!((cloud.ticks().await, column(&cloud, "marks", "n").ty.clone()), (ticks + 4, ColumnType::Int8));
    assert_eq!(cloud.count("marks WHERE n = 30").await, ROWS);
}

#[tokio::test]
async fn widening_in_place_and_new_labels_feed_nothing_and_a_label_renamed_feeds_its_rows() {
    let cloud = many().await;
    cloud
        .run(&format!(
            "CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE marks ADD short varchar(4) DEFAULT 'ab', ADD mood mood DEFAULT 'good', ADD price numeric(6,2);
             UPDATE marks SET mood = 'bad' WHERE id = '1' AND production_id = '{}'",
            id('p', 2)
        ))
        .await;
    let cloud = cloud.prepared_again().await;
    let ticks = cloud.ticks().await;
    cloud
        .run(
            "ALTER TABLE marks ALTER short TYPE varchar(40), ALTER price TYPE numeric(12,2); ALTER TYPE mood ADD VALUE 'fair';
              ALTER TABLE marks ALTER production_id SET NOT NULL, ALTER mood SET DEFAULT 'bad', ALTER short DROP DEFAULT",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.ticks().await, ticks);
    cloud.run("ALTER TABLE marks ALTER short TYPE text; ALTER TYPE mood RENAME TO temper").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!((cloud.ticks().await, column(&cloud, "marks", "mood").sql_type.as_str()), (ticks, "public.temper"));
    cloud.run("ALTER TYPE temper RENAME VALUE 'bad' TO 'poor'").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.ticks().await, ticks + 1, "the one row that has it");
    cloud.run("ALTER TABLE marks ALTER short TYPE varchar(3) USING left(short, 3)").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.ticks().await, ticks + 3, "narrowing is written anew");
}

#[tokio::test]
async fn no_site_passes_rows_by_a_server_that_has_not_seen_the_new_catalog() {
    let cloud = many().await;
    let mut site = cloud.site("a", &["*"]).await;
    site.pull().await;
    cloud.run("ALTER TABLE marks ADD c uuid NOT NULL DEFAULT gen_random_uuid()").await;
    // Another server of this cloud publishes.
    let settings = cloud_server::settings::Settings::parse("root = 'productions'\nglobal = ['kinds']").unwrap();
    cloud_server::store::prepare(&cloud.db, &settings, None).await.unwrap();
    let refused = site.page(&site.pull_message()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the catalog 2 is in force");
    let body = sync_core::wire::codec::encode(&site.next_push(Vec::new())).unwrap();
    assert_eq!(site.send(&body).await.unwrap_err().to_string(), "the catalog 2 is in force");
}

#[tokio::test]
async fn labels_that_take_each_others_names_feed_the_rows_that_hold_them() {
    let cloud = many().await;
    cloud
        .run(
            "CREATE TYPE rank AS ENUM ('silver', 'gold', 'none'); ALTER TABLE marks ADD rank rank NOT NULL DEFAULT 'none', ADD ranks rank[];
             UPDATE marks SET rank = 'silver' WHERE id = '2'; UPDATE marks SET rank = 'gold', ranks = '{silver}' WHERE id = '4'",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    let mut site = cloud.site("a", &["*"]).await;
    site.pull().await;
    // Along a chain.
    let away = crate::Away::of(&site);
    cloud.run("ALTER TYPE rank RENAME VALUE 'gold' TO 'platinum'; ALTER TYPE rank RENAME VALUE 'silver' TO 'gold'").await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    assert_eq!(site.pull().await.rows.len(), 2, "those that hold a name that was given");
    assert_eq!((site.value("marks", "2", "rank"), site.value("marks", "4", "rank")), ("gold".into(), "platinum".into()));
    assert_eq!(site.value("marks", "4", "ranks"), serde_json::json!(["gold"]));
    // Two that swap theirs.
    let away = crate::Away::of(&site);
    cloud
        .run(
            "ALTER TYPE rank RENAME VALUE 'gold' TO 'x'; ALTER TYPE rank RENAME VALUE 'platinum' TO 'gold'; ALTER TYPE rank RENAME VALUE 'x' TO 'platinum'",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    assert_eq!(site.pull().await.rows.len(), 2);
    assert_eq!((site.value("marks", "2", "rank"), site.value("marks", "4", "rank")), ("platinum".into(), "gold".into()));
    // One renamed away, and its name given to a new one.
    let away = crate::Away::of(&site);
    cloud.run("ALTER TYPE rank RENAME VALUE 'gold' TO 'x'; ALTER TYPE rank ADD VALUE 'gold' BEFORE 'none'").await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    site.pull().await;
    assert_eq!(site.value("marks", "4", "rank"), "x");
}

#[tokio::test]
async fn a_label_that_is_removed_by_another_type_under_its_name_feeds_every_row() {
    let cloud = many().await;
    cloud
        .run(
            "CREATE TYPE phase AS ENUM ('open', 'closed', 'archived'); ALTER TABLE marks ADD phase phase NOT NULL DEFAULT 'open';
             UPDATE marks SET phase = 'archived' WHERE id = '2'",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    let mut site = cloud.site("a", &["*"]).await;
    site.pull().await;
    let away = crate::Away::of(&site);
    cloud
        .run(
            "CREATE TYPE phase_next AS ENUM ('open', 'closed'); ALTER TABLE marks ALTER phase DROP DEFAULT,
                 ALTER phase TYPE phase_next USING CASE phase::text WHEN 'archived' THEN 'closed' ELSE phase::text END::phase_next;
             DROP TYPE phase; ALTER TYPE phase_next RENAME TO phase",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    site.pull().await;
    assert_eq!(site.value("marks", "2", "phase"), "closed");
}
