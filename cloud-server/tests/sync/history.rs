//! What happened to each row: whoever wrote it, however many at once.

use std::time::Duration;

use cloud_server::store::history::{list, prune, prune_records};
use conflict_ui_api::backend::HistoryEntry;
use serde_json::{Value as Json, json};

use crate::cloud::Cloud;
use crate::site::id;

async fn history(cloud: &Cloud, table: &str, record: &str) -> Vec<HistoryEntry> {
    let table = cloud.table(table);
    let key = table.parse_key(record).unwrap().unwrap();
    list(&cloud.db.client().await.unwrap(), table, &key, None, 100).await.unwrap()
}

fn ops(entries: &[HistoryEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.op.as_str()).collect()
}

#[tokio::test]
async fn a_row_has_its_inserts_updates_and_deletes_newest_first_with_who_and_from_where() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.run("SELECT set_config('rejoin.author', 'bob', false)").await;
    cloud.production(&p, &[&s]).await;
    cloud.run("UPDATE sources SET width = 1, price = 12345678.10, tags = '{a,NULL}', extra = '{\"k\": [1.50]}'").await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.update("sources", &s, &json!({"name": "mine", "width": null}));
    site.push_one(change).await;
    let change = site.delete("sources", &s);
    site.push_one(change).await;

    let entries = history(&cloud, "sources", &s).await;
    assert_eq!(ops(&entries), ["delete", "update", "update", "insert"]);
    let [delete, pushed, update, insert] = <[HistoryEntry; 4]>::try_from(entries).unwrap();
    assert!(delete.id > pushed.id && update.id > insert.id && delete.at >= insert.at);
    assert_eq!([insert.version, update.version, pushed.version, delete.version], [1, 2, 3, 4]);
    assert_eq!((insert.author.as_str(), insert.site), ("bob", None));
    assert_eq!(insert.changes["name"], json!([null, "s1"]));
    assert_eq!(insert.changes["width"], json!([null, null]), "every column of an insert");
    assert_eq!(insert.changes.as_object().unwrap().len(), cloud.table("sources").columns.len());
    assert_eq!(
        update.changes,
        json!({"width": [null, 1], "price": [null, "12345678.1"], "tags": [null, ["a", null]], "extra": [null, {"k": [1.5]}]})
    );
    assert_eq!((pushed.author.as_str(), pushed.site.as_deref()), ("ann", Some("a")), "who made it at which site");
    assert_eq!(pushed.changes, json!({"name": ["s1", "mine"], "width": [1, null]}));
    assert_eq!((delete.author.as_str(), delete.site.as_deref()), ("site:a", Some("a")));
    assert_eq!((&delete.changes["name"], &delete.changes["price"]), (&json!(["mine", null]), &json!(["12345678.1", null])));
    let of_push: (Option<i64>, bool) = {
        let row = cloud.sql.query_one("SELECT push_no, replica IS NOT NULL FROM rejoin.history WHERE op = 'delete'", &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(of_push, (Some(2), true));
}

#[tokio::test]
async fn what_changes_nothing_but_stamps_leaves_nothing() {
    let cloud = Cloud::start().await;
    cloud.production(&id('p', 1), &[&id('s', 1)]).await;
    let before = cloud.count("rejoin.history").await;
    cloud.run("UPDATE sources SET name = name, rejoin_version = rejoin_version + 5; UPDATE sources SET rejoin_tick = NULL").await;
    cloud.run("UPDATE sources SET name = 'x' WHERE false; DELETE FROM sources WHERE false").await;
    assert_eq!(cloud.count("rejoin.history").await, before);
    // The engine's own rows are not users' rows.
    cloud.run("INSERT INTO rejoin.users (name, role) VALUES ('eve', 'viewer'); UPDATE rejoin.users SET disabled = true").await;
    assert_eq!(cloud.count("rejoin.history").await, before);
}

#[tokio::test]
async fn a_new_key_is_noted_under_both_even_where_keys_are_swapped() {
    let cloud = Cloud::start().await;
    let (p, a, b) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&a, &b]).await;
    cloud.run(&format!("INSERT INTO outputs (source_id, port, label) VALUES ('{a}', '1', 'out')")).await;
    let new = id('s', 9);
    cloud.run(&format!("UPDATE sources SET id = '{new}' WHERE id = '{a}'")).await;
    for key in [&a, &new] {
        let entries = history(&cloud, "sources", key).await;
        assert_eq!(entries[0].changes, json!({"id": [a, new]}), "{key}");
    }
    // What followed by ON UPDATE CASCADE, key of several columns and all.
    let entries = history(&cloud, "outputs", &format!("{new},1")).await;
    assert_eq!((ops(&entries), &entries[0].changes), (vec!["update"], &json!({"source_id": [a, new]})));

    // A statement that swaps two keys, and changes one row twice by a cascade.
    cloud.run("ALTER TABLE marks DROP CONSTRAINT marks_pkey; ALTER TABLE marks ADD PRIMARY KEY (id) DEFERRABLE").await;
    cloud.run(&format!("INSERT INTO marks (id, production_id, note) VALUES ('x', '{p}', 'first'), ('y', '{p}', 'second')")).await;
    cloud.run("UPDATE marks SET id = CASE id WHEN 'x' THEN 'y' ELSE 'x' END, note = note || '!'").await;
    let x = history(&cloud, "marks", "x").await;
    let swapped: Vec<&Json> = x[..2].iter().map(|entry| &entry.changes).collect();
    let to_x = json!({"id": ["y", "x"], "note": ["second", "second!"]});
    let from_x = json!({"id": ["x", "y"], "note": ["first", "first!"]});
    assert!(swapped.contains(&&to_x) && swapped.contains(&&from_x), "{swapped:?}");
}

#[tokio::test]
async fn many_rows_at_once_cascades_and_upserts_are_all_there() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let many = format!(
        "INSERT INTO sources (id, production_id, name, slot)
         SELECT ('0198c0de-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '{p}'::uuid, 'n' || n, n FROM generate_series(1, 3000) n"
    );
    cloud.run(&many).await;
    assert_eq!(cloud.count("rejoin.history WHERE op = 'insert' AND changes ? 'slot'").await, 3000);
    cloud.run("UPDATE sources SET width = slot WHERE slot > 1000").await;
    let wrong = "rejoin.history h JOIN sources s ON h.key = ARRAY[s.id::text] WHERE h.op = 'update'
                 AND h.changes <> jsonb_build_object('width', jsonb_build_array(NULL, s.slot))";
    assert_eq!((cloud.count("rejoin.history WHERE op = 'update'").await, cloud.count(wrong).await), (2000, 0), "old and new of one row");
    let upsert = format!(
        "{many} UNION ALL SELECT gen_random_uuid(), '{p}'::uuid, 'new', 5000 ON CONFLICT (production_id, slot) DO UPDATE SET height = 2"
    );
    cloud.run(&upsert).await;
    assert_eq!(cloud.count("rejoin.history WHERE op = 'update' AND changes = '{\"height\": [null, 2]}'").await, 3000);
    assert_eq!(cloud.count("rejoin.history WHERE op = 'insert' AND changes ->> 'slot' = '5000'").await, 1);
    cloud.run("DELETE FROM productions").await;
    assert_eq!(cloud.count("rejoin.history WHERE op = 'delete'").await, 3002, "with what the cascade took");
}

#[tokio::test]
async fn a_large_value_is_bounded_and_the_rest_of_its_row_is_kept() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    // Compresses well, and is large all the same.
    cloud.run("UPDATE sources SET extra = to_jsonb(repeat('x', 70000)), width = 3").await;
    let entries = history(&cloud, "sources", &s).await;
    assert_eq!(entries[0].changes, json!({"extra": [null, {"rejoinTooLarge": 70002}], "width": [null, 3]}));
    cloud.run("DELETE FROM sources").await;
    let entries = history(&cloud, "sources", &s).await;
    assert_eq!(
        (&entries[0].changes["extra"], &entries[0].changes["width"]),
        (&json!([{"rejoinTooLarge": 70002}, null]), &json!([3, null]))
    );
}

#[tokio::test]
async fn any_type_of_column_is_kept_and_none_makes_a_write_fail() {
    let cloud = Cloud::start().await;
    cloud
        .run(
            "CREATE TYPE mood AS ENUM ('glad', 'sad');
             CREATE TABLE every_type (id bigint PRIMARY KEY, t text, c char(4), v varchar(9), j json, b jsonb, bin bytea, at timestamptz, ts timestamp,
                 d date, tm time, n numeric, f double precision, r real, m mood, ms mood[], ia integer[], ja json[], p point, iv interval, x xml,
                 \"we\\ird \"\"name'\" text)",
        )
        .await;
    let cloud = cloud.prepared_with("root = \"productions\"\nglobal = [\"kinds\", \"every_type\"]\n").await;
    cloud
        .run(
            "INSERT INTO every_type VALUES (1, E'a\\\\\"\\n', 'ab', 'v', '{\"a\": 1, \"a\": 1e999}', '{\"a\": 1.50}', '\\x00ff', '2026-01-02 03:04:05+01',
                 '2026-01-02', '2026-01-02', '03:04', 'NaN', 'Infinity', 0.1, 'glad', '{sad}', '{{1,2},{3,NULL}}', ARRAY['{}'::json], '(1,2)', '1 day',
                 '<a/>', 'w');
             UPDATE every_type SET t = upper(t), c = 'cd', v = 'w', j = '[]', b = '[1]', bin = '\\x01', at = now(), ts = now(), d = now(), tm = '04:00',
                 n = 1e300, f = '-0', r = 0.2, m = 'sad', ms = '{}', ia = '{}', ja = '{}', p = '(3,4)', iv = '2 days', x = '<b/>',
                 \"we\\ird \"\"name'\" = 'z';
             DELETE FROM every_type",
        )
        .await;
    let entries = history(&cloud, "every_type", "1").await;
    assert_eq!(ops(&entries), ["delete", "update", "insert"]);
    let synced = cloud.table("every_type").columns.len();
    assert_eq!(entries[1].changes.as_object().unwrap().len(), synced - 1, "every column but the key: {}", entries[1].changes);
    assert_eq!(entries[1].changes["bin"], json!(["\\x00ff", "\\x01"]));
    assert_eq!(entries[1].changes["t"], json!(["a\\\"\n", "A\\\"\n"]));
    assert_eq!(entries[2].changes["at"], json!([null, "2026-01-02T02:04:05.000000Z"]));
    assert_eq!(entries[1].changes["we\\ird \"name'"], json!(["w", "z"]));
}

#[tokio::test]
async fn pages_follow_each_other_and_old_entries_go() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    for no in 0..5 {
        cloud.run(&format!("UPDATE sources SET width = {no}")).await;
    }
    let client = cloud.db.client().await.unwrap();
    let (table, key) = (cloud.table("sources"), cloud.table("sources").parse_key(&s).unwrap().unwrap());
    let first = list(&client, table, &key, None, 4).await.unwrap();
    let rest = list(&client, table, &key, Some(first[3].id), 4).await.unwrap();
    assert_eq!((first.len(), ops(&rest)), (4, vec!["update", "insert"]));
    let day = Duration::from_secs(86_400);
    assert_eq!(prune(&client, day).await.unwrap(), 0);
    cloud.run("UPDATE rejoin.history SET at = at - interval '2 days' WHERE op = 'insert'").await;
    assert_eq!(prune(&client, day).await.unwrap(), 2, "the production's insert and the source's");
    assert_eq!(cloud.count("rejoin.history").await, 5);
}

#[tokio::test]
async fn a_table_may_be_left_out_and_come_back() {
    let cloud = Cloud::start().await;
    let settings = "root = \"productions\"\nglobal = [\"kinds\"]\n";
    let cloud = cloud.prepared_with(&format!("{settings}[tables.kinds]\nhistory = false\n")).await;
    cloud.run("INSERT INTO kinds (id, label) VALUES ('k', 'l')").await;
    assert_eq!(history(&cloud, "kinds", "k").await, []);
    let cloud = cloud.prepared_with(settings).await;
    cloud.run("UPDATE kinds SET label = 'm'").await;
    assert_eq!(history(&cloud, "kinds", "k").await[0].changes, json!({"label": ["l", "m"]}));
}

#[tokio::test]
async fn a_column_dropped_by_a_migration_stops_no_program_before_the_schema_was_looked_at_again() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    cloud.run("ALTER TABLE sources DROP COLUMN width; ALTER TABLE sources RENAME COLUMN height TO tall").await;
    cloud.run("UPDATE sources SET name = 'it''s \"new\"', price = 1.50").await;
    cloud.run("UPDATE sources SET tall = 5").await;
    cloud.run(&format!("INSERT INTO sources (id, production_id, name, slot) VALUES ('{}', '{p}', 'x', 9)", id('s', 2))).await;
    cloud.run(&format!("DELETE FROM sources WHERE id = '{s}'")).await;
    let entries = history(&cloud, "sources", &s).await;
    assert_eq!(ops(&entries), ["delete", "update", "insert"]);
    assert_eq!(entries[1].changes, json!({"name": ["s1", "it's \"new\""], "price": [null, "1.5"]}));
    assert_eq!(entries[0].changes["slot"], json!([1, null]));
    assert_eq!(entries[0].changes.get("rejoin_version"), None, "no stamps");
    assert_eq!(history(&cloud, "sources", &id('s', 2)).await[0].changes["name"], json!([null, "x"]));
}

#[tokio::test]
async fn what_nobody_can_ask_for_any_more_is_forgotten() {
    let cloud = Cloud::start().await;
    cloud
        .run(
            "INSERT INTO rejoin.additions (id, at) SELECT gen_random_uuid(), now() - make_interval(days => d) FROM unnest(ARRAY[1, 399, 401, 900]) d;
             INSERT INTO rejoin.merged_rows (table_no, key, into_key, at)
                 SELECT 1, ARRAY[d::text], '{x}', now() - make_interval(days => d) FROM unnest(ARRAY[399, 401]) d;
             INSERT INTO rejoin.resolutions (conflict_id, revision, resolution, by, writes, at)
                 SELECT gen_random_uuid(), 1, 'CLOUD_WINS', 'ann', '[]', now() - make_interval(days => d) FROM unnest(ARRAY[89, 91]) d",
        )
        .await;
    let client = cloud.db.client().await.unwrap();
    assert_eq!(prune_records(&client).await.unwrap(), 4);
    assert_eq!(prune_records(&client).await.unwrap(), 0);
    assert_eq!((cloud.count("rejoin.additions").await, cloud.count("rejoin.merged_rows").await), (2, 1));
    assert_eq!(cloud.count("rejoin.resolutions").await, 1);
}
