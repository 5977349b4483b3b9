//! A column gets another type while a site has unsent edits of it: they are what PostgreSQL makes of the same values in the migrated column.

use rejoin_tests::World;

use crate::scene::{at_site, conflicts, settle};

const SHOWS: &str = "CREATE TABLE shows (id text PRIMARY KEY); INSERT INTO shows VALUES ('s')";

/// A column of the table `parts`: name, type, the value of the row that is there, and what the site makes of it.
type Column = (&'static str, &'static str, &'static str, &'static str);

/// The site edits row `p1` and inserts `p2`, unsent, while the columns get these types; afterwards both are as PostgreSQL casts the site's values.
async fn moves(columns: &[Column], to: &[&str]) {
    let list = |each: &dyn Fn(usize, &Column) -> String| {
        columns.iter().enumerate().map(|(at, column)| each(at, column)).collect::<Vec<_>>().join(", ")
    };
    let (names, types) = (list(&|_, column| column.0.to_owned()), list(&|_, column| format!("{} {}", column.0, column.1)));
    let literals = |new: bool| list(&|_, column| format!("'{}'", if new { column.3 } else { column.2 }));
    let system = format!(
        "{SHOWS}; CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, note text, {types});
         INSERT INTO parts (id, show_id, {names}) VALUES ('p1', 's', {olds}), ('p3', 's', {olds})",
        olds = literals(false)
    );
    let mut world = World::of(&system, "root = \"shows\"\n", &["a"]).await;
    world.cut_all();
    // What plain SQL writes at a site is of the column's type there: bytes are bytes.
    let at_sqlite = |column: &Column| match column.1 {
        "bytea" => format!("x'{}'", column.3.trim_start_matches("\\x")),
        _ => format!("'{}'", column.3),
    };
    let (set, values) = (list(&|_, column| format!("{} = {}", column.0, at_sqlite(column))), list(&|_, column| at_sqlite(column)));
    world
        .site("a")
        .sqlite3(&format!("UPDATE parts SET {set} WHERE id = 'p1'; INSERT INTO parts (id, show_id, {names}) VALUES ('p2', 's', {values})"));
    // The cloud changes the same row elsewhere.
    world.psql("UPDATE parts SET note = 'of the cloud' WHERE id = 'p1'").await;
    let alter = list(&|at, column| format!("ALTER {} TYPE {}", column.0, to[at]));
    world.migrate(&format!("ALTER TABLE parts {alter}"), None).await;
    world.heal_all();
    settle(&world).await;
    assert_eq!(conflicts(&world).await, []);
    assert_eq!(world.site("a").api.get("/api/sync").await.ok()["pending"], 0);
    let postgres = world.postgres().await;
    postgres.batch_execute("SET TIME ZONE 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = postgres").await.unwrap();
    for (at, (name, from, old, new)) in columns.iter().enumerate() {
        let wanted = format!("SELECT ('{new}'::{from})::{to}::text, ('{old}'::{from})::{to}::text", to = to[at]);
        let wanted = postgres.query_one(&wanted, &[]).await.unwrap();
        let [wanted, untouched]: [String; 2] = [wanted.get(0), wanted.get(1)];
        for (id, wanted) in [("p1", &wanted), ("p2", &wanted), ("p3", &untouched)] {
            let found = postgres.query_one(&format!("SELECT {name}::text FROM parts WHERE id = '{id}'"), &[]).await.unwrap();
            assert_eq!(found.get::<_, String>(0), *wanted, "{name} of {id}");
        }
    }
    assert_eq!(at_site(&world, "SELECT note FROM parts WHERE id = 'p1'"), "of the cloud");
    assert_eq!(at_site(&world, "SELECT count(*) FROM rejoin_hidden"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_values_of_columns_that_become_text_are_what_postgresql_writes() {
    let columns = [
        ("yes", "boolean", "false", "1"),
        ("price", "numeric(10,2)", "1.50", "2.5"),
        ("ratio", "double precision", "0.1", "1e20"),
        ("small", "real", "0.1", "1e7"),
        ("at", "timestamptz", "2024-01-01 00:00:00+00", "2024-06-01T12:30:00.5Z"),
        ("local", "timestamp", "2024-01-01 00:00:00", "2024-06-01 12:30:00"),
        ("clock", "time", "12:00", "13:30:00.250000"),
        ("span", "interval", "1 day", "90 minutes"),
        ("raw", "bytea", "\\x00", "\\x00ff"),
        ("doc", "jsonb", "{\"bb\": 1, \"a\": [1, 2]}", "{\"bb\":2,\"a\":[1,{}]}"),
        ("tags", "integer[]", "{1,2}", "{3,NULL}"),
        ("words", "text[]", "{a,\"b c\"}", "{\"d e\",f}"),
        ("days", "int4range", "[1,5)", "[1,7]"),
        ("host", "inet", "10.0.0.1", "10.0.0.2"),
    ];
    moves(&columns, &["text"; 14]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_values_of_columns_that_hold_less_are_rounded_as_postgresql_rounds() {
    let columns = [
        ("price", "numeric(10,2)", "1.25", "-2.35"),
        // Nothing is left of this edit.
        ("weight", "numeric(10,2)", "12.34", "12.31"),
        ("at", "timestamptz", "2024-01-01 00:00:00.5+00", "2024-06-01T12:30:00.5Z"),
        ("until", "timestamp", "2024-01-01 00:00:00.5", "2024-06-01 12:30:00.75"),
        ("code", "varchar(40)", "old", "fits"),
        ("count", "bigint", "9007199254740993", "9007199254740995"),
        ("single", "bigint", "16777217", "16777219"),
        ("whole", "double precision", "0.5", "2.5"),
        ("exact", "double precision", "0.1", "0.30000000000000004"),
        ("day", "timestamptz", "2024-01-01 23:59:59+00", "2024-06-01T12:30:00Z"),
        ("rates", "numeric(10,2)[]", "{1.25}", "{2.25,2.35}"),
        ("narrow", "real", "0.1", "0.2"),
    ];
    let to = [
        "numeric(10,1)",
        "numeric(10,1)",
        "timestamptz(0)",
        "timestamp(1)",
        "varchar(20)",
        "double precision",
        "real",
        "integer",
        "numeric",
        "date",
        "numeric(10,1)[]",
        "double precision",
    ];
    moves(&columns, &to).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_without_a_value_of_the_new_key_parks_and_all_other_edits_land() {
    let system = format!(
        "{SHOWS}; CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, note text);
         INSERT INTO parts SELECT n::text, 's', 'note' FROM generate_series(1, 3) n"
    );
    let mut world = World::of(&system, "root = \"shows\"\n", &["a"]).await;
    world.cut_all();
    world.site("a").sqlite3(
        "UPDATE parts SET note = 'mine' WHERE id = '1'; DELETE FROM parts WHERE id = '3';
         INSERT INTO parts (id, show_id, note) VALUES ('abc', 's', 'no number'), ('5', 's', 'new'), ('02', 's', 'twin')",
    );
    world.migrate("ALTER TABLE parts ALTER id TYPE integer USING id::integer", None).await;
    world.heal_all();
    settle(&world).await;
    let found = conflicts(&world).await;
    let told: Vec<_> = found.iter().map(|(id, kind, data)| (id.as_str(), kind.as_str(), data["note"].as_str().unwrap())).collect();
    assert_eq!(told, [("02", "rejected", "twin"), ("abc", "rejected", "no number")]);
    assert_eq!(at_site(&world, "SELECT group_concat(id || note, ' ' ORDER BY id) FROM parts"), "1mine 2note 5new");
    let there = "SELECT string_agg(id || note, ' ' ORDER BY id) FROM parts";
    assert_eq!(world.postgres().await.query_one(there, &[]).await.unwrap().get::<_, String>(0), "1mine 2note 5new");
}
