//! What a site makes of a column by itself when the schema moves is nobody's value: it stands against no delete and no edit.

use rejoin_tests::World;

use crate::scene::{at_site, conflicts, lose_the_answer, settle};

const SYSTEM: &str = "
    CREATE TABLE shows (id text PRIMARY KEY);
    CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, size text, note text);
    INSERT INTO shows VALUES ('s');
    INSERT INTO parts SELECT 'p' || n, 's', n::text, 'note' FROM generate_series(1, 6) n";
const MIGRATION: &str =
    "ALTER TABLE parts ALTER size TYPE integer USING size::integer * 100, ADD code uuid NOT NULL DEFAULT gen_random_uuid()";

async fn cut_off() -> World {
    let world = World::of(SYSTEM, "root = \"shows\"\n", &["a"]).await;
    world.cut_all();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_edits_of_rows_that_no_person_changed_are_taken() {
    let mut world = cut_off().await;
    let site = world.site("a");
    site.sqlite3("DELETE FROM parts WHERE id IN ('p1', 'p2'); UPDATE parts SET note = 'mine' WHERE id = 'p3'; UPDATE parts SET size = '7' WHERE id = 'p4'");
    world.migrate(MIGRATION, None).await;
    world.psql("UPDATE parts SET size = 5 WHERE id = 'p2'").await;
    world.heal_all();
    settle(&world).await;
    let postgres = world.postgres().await;
    let rows = "SELECT string_agg(concat_ws(' ', id, size, note), ', ' ORDER BY id) FROM parts";
    let rows: String = postgres.query_one(rows, &[]).await.unwrap().get(0);
    assert_eq!(rows, "p2 5 note, p3 300 mine, p4 400 note, p5 500 note, p6 600 note");
    // A person changed the one; what was typed into the other was typed before the sizes had another meaning.
    let parked: Vec<_> = conflicts(&world).await.into_iter().map(|(record, kind, _)| format!("{record} {kind}")).collect();
    assert_eq!(parked, ["p2 delete_update", "p4 update_update"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_deleted_while_its_insert_was_under_way_goes_for_good() {
    let mut world = cut_off().await;
    let site = world.site("a");
    world.heal_all();
    site.sqlite3("INSERT INTO parts (id, show_id, size) VALUES ('p9', 's', '9')");
    lose_the_answer(&world, "UPLOAD").await;
    assert_eq!(world.postgres().await.query("SELECT FROM parts WHERE id = 'p9'", &[]).await.unwrap().len(), 1);
    site.sqlite3("DELETE FROM parts WHERE id = 'p9'");
    world.migrate(MIGRATION, None).await;
    world.heal_all();
    settle(&world).await;
    assert_eq!(conflicts(&world).await, []);
    assert_eq!(world.postgres().await.query("SELECT FROM parts WHERE id = 'p9'", &[]).await.unwrap().len(), 0);
    assert_eq!(at_site(&world, "SELECT count(*) FROM parts"), "6");
}
