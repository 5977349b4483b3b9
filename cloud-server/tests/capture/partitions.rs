//! A partitioned table is one table, whatever a statement names: the whole, a middle level or a leaf.

use std::collections::BTreeMap;

use futures_util::SinkExt;

use super::shop::Shop;

const SETTINGS: &str = "root = 'org'
[tables.work.policies]
price = 'newest'
[tables.note]
scope_through = ['about']
references = [{ columns = ['about', 'no'], table = 'work', on_delete = 'cascade' }]
";

/// Lists, ranges and hashes, three levels, a default, another schema, names that must be quoted, columns in another order.
const SCHEMA: &str = r#"
    CREATE SCHEMA "Old Times";
    CREATE TABLE org (id integer PRIMARY KEY, name text);
    CREATE TABLE work (org_id integer NOT NULL REFERENCES org ON UPDATE CASCADE, id integer, price integer, "Text" text, PRIMARY KEY (org_id, id))
        PARTITION BY LIST (org_id);
    CREATE TABLE work_1 ("Text" text, gone integer, id integer NOT NULL, price integer, org_id integer NOT NULL);
    ALTER TABLE work_1 DROP gone;
    ALTER TABLE work ATTACH PARTITION work_1 FOR VALUES IN (1);
    CREATE TABLE "Work 2" PARTITION OF work FOR VALUES IN (2) PARTITION BY RANGE (id);
    CREATE TABLE "Old Times"."Low" PARTITION OF "Work 2" FOR VALUES FROM (MINVALUE) TO (100);
    CREATE TABLE work_2_high PARTITION OF "Work 2" FOR VALUES FROM (100) TO (MAXVALUE);
    CREATE TABLE work_rest PARTITION OF work DEFAULT PARTITION BY HASH (id);
    CREATE TABLE work_rest_0 PARTITION OF work_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE work_rest_1 PARTITION OF work_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE label (id integer PRIMARY KEY, org_id integer NOT NULL, work_id integer NOT NULL, text text,
        FOREIGN KEY (org_id, work_id) REFERENCES work ON UPDATE CASCADE ON DELETE CASCADE);
    CREATE TABLE note (id integer PRIMARY KEY, about integer, no integer, text text);
    INSERT INTO org SELECT n, 'o' || n FROM generate_series(1, 4) n;
    INSERT INTO work SELECT org, id, 5, 'w' FROM generate_series(1, 4) org, unnest(ARRAY[1, 2, 101, 102]) id;
    INSERT INTO label SELECT org * 1000 + id, org, id, 'l' FROM generate_series(1, 4) org, unnest(ARRAY[1, 101]) id;"#;

/// The leaves, with the rows that are theirs.
const LEAVES: [(&str, i32, [i32; 2]); 4] =
    [("work_1", 1, [51, 52]), (r#""Old Times"."Low""#, 2, [53, 54]), ("work_2_high", 2, [155, 156]), (r#""Work 2""#, 2, [57, 157])];

/// Each table with its key.
const TABLES: [(&str, &str); 4] =
    [("org", "ARRAY[id::text]"), ("work", "ARRAY[org_id::text, id::text]"), ("label", "ARRAY[id::text]"), ("note", "ARRAY[id::text]")];

/// What a site that holds every scope knows.
#[derive(Default)]
struct Copy {
    cursors: BTreeMap<String, i64>,
    generations: BTreeMap<String, i32>,
    rows: BTreeMap<(String, Vec<String>), Known>,
    versions: BTreeMap<(String, Vec<String>), i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    scope: String,
    tick: i64,
    row: String,
}

impl Copy {
    async fn of(shop: &Shop) -> Self {
        let mut copy = Self::default();
        copy.pull(shop).await;
        copy
    }

    /// Takes what is above the cursors, as a site does.
    async fn pull(&mut self, shop: &Shop) {
        let heads = shop.sql.query("SELECT scope, head FROM rejoin.scopes WHERE scope <> 'nowhere'", &[]).await.unwrap();
        let heads: BTreeMap<String, i64> = heads.iter().map(|row| (row.get(0), row.get(1))).collect();
        let (scopes, cursors): (Vec<&str>, Vec<i64>) =
            heads.keys().map(|scope| (scope.as_str(), self.cursors.get(scope).copied().unwrap_or(0))).unzip();
        let gone = "SELECT t.table_name, g.key, g.scope, g.tick FROM unnest($1::text[], $2::bigint[]) c(scope, tick)
                    JOIN rejoin.tombstones g ON g.scope = c.scope AND g.tick > c.tick JOIN rejoin.tables t ON t.no = g.table_no";
        for row in shop.sql.query(gone, &[&scopes, &cursors]).await.unwrap() {
            let (key, scope, tick): (_, String, i64) = ((row.get(0), row.get(1)), row.get(2), row.get(3));
            if self.rows.get(&key).is_some_and(|known| known.scope == scope && known.tick < tick) {
                self.rows.remove(&key);
            }
        }
        for (table, key) in TABLES {
            let sql = "SELECT generation FROM rejoin.tables WHERE table_name = $1 AND dropped_at IS NULL";
            let generation: i32 = shop.sql.query_one(sql, &[&table]).await.unwrap().get(0);
            let anew = self.generations.insert(table.to_owned(), generation).is_some_and(|before| before != generation);
            let mut came = Vec::new();
            let fed = format!(
                "SELECT {key}, r.rejoin_scope, r.rejoin_tick, (to_jsonb(r) - 'rejoin_synced_at')::text, r.rejoin_version
                 FROM unnest($1::text[], $2::bigint[]) c(scope, tick) JOIN {table} r ON r.rejoin_scope = c.scope AND r.rejoin_tick > c.tick"
            );
            for row in shop.sql.query(&fed, &[&scopes, &cursors]).await.unwrap() {
                let (key, version): ((String, Vec<String>), i64) = ((table.to_owned(), row.get(0)), row.get(4));
                let before = self.versions.insert(key.clone(), version);
                assert!(before.is_none_or(|before| before <= version), "{key:?} goes back from {before:?} to {version}");
                self.rows.insert(key.clone(), Known { scope: row.get(1), tick: row.get(2), row: row.get(3) });
                came.push(key);
            }
            self.rows.retain(|key, _| !anew || key.0 != table || came.contains(key));
        }
        self.cursors = heads;
    }

    /// Pulls, and holds what the cloud holds.
    async fn equals(&mut self, shop: &Shop, after: &str) {
        self.pull(shop).await;
        let mut there = BTreeMap::new();
        for (table, key) in TABLES {
            let sql = format!(
                "SELECT {key}, rejoin_scope, rejoin_tick, (to_jsonb(r) - 'rejoin_synced_at')::text FROM {table} r WHERE rejoin_scope <> 'nowhere'"
            );
            for row in shop.sql.query(&sql, &[]).await.unwrap() {
                there.insert((table.to_owned(), row.get(0)), Known { scope: row.get(1), tick: row.get(2), row: row.get(3) });
            }
        }
        assert_eq!(self.rows, there, "{after}");
        let wrong = "SELECT (SELECT count(*) FROM work WHERE rejoin_scope <> 'org/' || org_id)
                          + (SELECT count(*) FROM label WHERE rejoin_scope <> 'org/' || org_id)
                          + (SELECT count(*) FROM rejoin.tombstones g JOIN rejoin.tables t ON t.no = g.table_no JOIN work w
                             ON g.key = ARRAY[w.org_id::text, w.id::text] AND g.scope = w.rejoin_scope WHERE t.table_name = 'work')";
        assert_eq!(shop.sql.query_one(wrong, &[]).await.unwrap().get::<_, i64>(0), 0, "{after}");
    }
}

/// What history says of `work` since it was asked last.
async fn history(shop: &Shop) -> String {
    let sql = "SELECT string_agg(n || ' ' || op, ', ' ORDER BY op) FROM (
                   SELECT op, count(*) AS n FROM rejoin.history h JOIN rejoin.tables t ON t.no = h.table_no WHERE t.table_name = 'work' GROUP BY op) h";
    let said = shop.one(sql).await;
    shop.run_as_owner("DELETE FROM rejoin.history").await;
    said
}

async fn open() -> Shop {
    Shop::of(SCHEMA, SETTINGS).await
}

#[tokio::test]
async fn statements_that_name_a_partition_are_captured_once() {
    let shop = open().await;
    let mut copy = Copy::of(&shop).await;
    for (leaf, org, [one, two]) in LEAVES {
        let insert = format!("INSERT INTO {leaf} (org_id, id, price) VALUES ({org}, {one}, 1), ({org}, {two}, 1)");
        for (sql, expected) in [
            (insert.clone(), "2 insert"),
            (format!("UPDATE {leaf} SET price = 2 WHERE id IN ({one}, {two})"), "2 update"),
            (format!("UPDATE {leaf} SET price = 3, id = id + 20 WHERE id IN ({one}, {two})"), "4 update"),
            (format!("UPDATE {leaf} SET id = id - 20 WHERE id IN ({one} + 20, {two} + 20)"), "4 update"),
            (format!("DELETE FROM {leaf} WHERE id IN ({one}, {two})"), "2 delete"),
            // A tombstone is there, and must go.
            (insert.clone(), "2 insert"),
            (format!("INSERT INTO {leaf} (org_id, id) VALUES ({org}, {one}) ON CONFLICT (org_id, id) DO UPDATE SET price = 9"), "1 update"),
        ] {
            shop.run(&sql).await;
            copy.equals(&shop, &sql).await;
            assert_eq!(history(&shop).await, expected, "{sql}");
        }
        let timed = format!("SELECT count(*)::text FROM rejoin.edit_times WHERE key = '{{{org},{one}}}'");
        assert_eq!(shop.one(&timed).await, "1", "{leaf}");
    }
    shop.run("BEGIN; SAVEPOINT a; DELETE FROM work_1; ROLLBACK TO a; COMMIT").await;
    copy.equals(&shop, "rolled back").await;
    let sink = shop.sql.copy_in(r#"COPY "Old Times"."Low" (id, org_id) FROM STDIN"#).await.unwrap();
    futures_util::pin_mut!(sink);
    sink.send(b"71\t2\n72\t2\n".as_slice()).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    history(&shop).await;
    copy.equals(&shop, "COPY").await;
    assert_eq!(shop.one("SELECT count(*)::text FROM work WHERE id IN (71, 72) AND rejoin_tick > 0").await, "2");
}

#[tokio::test]
async fn truncate_buries_what_it_takes_and_nothing_else() {
    let shop = open().await;
    shop.run("DELETE FROM label").await;
    shop.run_as_owner("ALTER TABLE label DROP CONSTRAINT label_org_id_work_id_fkey").await;
    shop.prepare(&SETTINGS.replace("root = 'org'", "root = 'org'\nleft_out = ['label']")).await;
    let mut copy = Copy::of(&shop).await;
    for truncated in ["work_1", r#""Old Times"."Low""#, "work_rest_0, work_2_high", r#""Work 2""#, "work", "work"] {
        shop.run("INSERT INTO work SELECT org, id, 5, 'w' FROM generate_series(1, 4) org, unnest(ARRAY[1, 2, 101, 102]) id ON CONFLICT DO NOTHING").await;
        copy.equals(&shop, "filled").await;
        shop.run(&format!("TRUNCATE {truncated}")).await;
        copy.equals(&shop, truncated).await;
        let buried =
            "SELECT (count(*) + (SELECT count(*) FROM work))::text FROM rejoin.tombstones g JOIN rejoin.tables t ON t.no = g.table_no
                      WHERE t.table_name = 'work' AND NOT left_scope";
        assert_eq!(shop.one(buried).await, "16", "{truncated}");
    }
}

#[tokio::test]
async fn a_row_that_moves_to_another_partition_leaves_a_mark_and_takes_what_hangs_along() {
    let shop = open().await;
    let mut copy = Copy::of(&shop).await;
    for sql in [
        "DELETE FROM work WHERE org_id = 2 AND id = 2; UPDATE work SET org_id = 2, price = 8 WHERE org_id = 1 AND id = 2",
        // With what hangs from it.
        "DELETE FROM work WHERE org_id = 3 AND id = 101; UPDATE work SET org_id = 3 WHERE org_id = 1 AND id = 101",
        // Inside of a middle level, by its name, and of a hash.
        r#"UPDATE "Work 2" SET id = id + 500 WHERE id < 100"#,
        "UPDATE work_rest SET id = id + 1000",
        // Back, and forth in one transaction.
        "DELETE FROM work WHERE org_id = 4",
        "BEGIN; UPDATE work SET org_id = 4 WHERE org_id = 2; UPDATE work SET org_id = 2 WHERE org_id = 4; COMMIT",
        "BEGIN; UPDATE work SET org_id = 4 WHERE org_id = 2; SAVEPOINT a; UPDATE work SET org_id = 2 WHERE org_id = 4; ROLLBACK TO a; COMMIT",
    ] {
        shop.run(sql).await;
        copy.equals(&shop, sql).await;
    }
    // Rows that pass each other on their way.
    shop.run("TRUNCATE work CASCADE; INSERT INTO work (org_id, id) VALUES (1, 1), (2, 2)").await;
    copy.equals(&shop, "begun anew").await;
    shop.run("UPDATE work SET org_id = 3 - org_id, price = org_id").await;
    copy.equals(&shop, "passed").await;
    assert_eq!(shop.one("SELECT string_agg(org_id || ' ' || id || ' ' || price, ', ' ORDER BY org_id) FROM work").await, "1 2 2, 2 1 1");
    // A root that gets another key takes its partitions' rows along.
    shop.run("UPDATE org SET id = 9 WHERE id = 1").await;
    copy.equals(&shop, "the root's key").await;
}

#[tokio::test]
async fn declared_references_hold_for_partitions() {
    let shop = open().await;
    let mut copy = Copy::of(&shop).await;
    shop.run("INSERT INTO note VALUES (1, 1, 77, 'x'), (2, 1, 1, 'y')").await;
    assert_eq!(shop.one("SELECT string_agg(rejoin_scope, ' ' ORDER BY id) FROM note").await, "nowhere org/1");
    shop.run("INSERT INTO work_1 (org_id, id) VALUES (1, 77)").await;
    copy.equals(&shop, "claimed").await;
    assert_eq!(shop.one("SELECT string_agg(rejoin_scope, ' ' ORDER BY id) FROM note").await, "org/1 org/1");
    shop.run("UPDATE work_1 SET id = 78 WHERE id = 77").await;
    copy.equals(&shop, "followed in a leaf").await;
    shop.run("UPDATE work SET org_id = 3 WHERE id = 78").await;
    copy.equals(&shop, "followed to another partition").await;
    assert_eq!(
        shop.one("SELECT string_agg(about || '/' || no || ' ' || rejoin_scope, ', ' ORDER BY id) FROM note").await,
        "3/78 org/3, 1/1 org/1"
    );
    shop.run("DELETE FROM work_1 WHERE id = 1").await;
    copy.equals(&shop, "cascaded").await;
    assert_eq!(shop.one("SELECT string_agg(id::text, ' ') FROM note").await, "1");
}

#[tokio::test]
async fn writes_under_names_that_moved_on_are_put_right_in_partitions_too() {
    let shop = open().await;
    let mut copy = Copy::of(&shop).await;
    shop.run("ALTER TABLE work RENAME id TO number; INSERT INTO work_1 (org_id, number) VALUES (1, 60); UPDATE work_1 SET price = 70 WHERE number = 2").await;
    shop.run(r#"DELETE FROM "Old Times"."Low" WHERE number = 2; UPDATE work SET org_id = 4 WHERE number = 60"#).await;
    shop.run("ALTER TABLE work RENAME number TO id").await;
    shop.prepare(SETTINGS).await;
    copy.equals(&shop, "drifted").await;
    assert_eq!(shop.rows("work", "org_id || '/' || id").await.matches("org/4").count(), 5);
}

#[tokio::test]
async fn partitions_come_and_go() {
    let shop = open().await;
    let mut copy = Copy::of(&shop).await;
    shop.run("INSERT INTO note VALUES (1, 5, 1, 'before what it is about')").await;
    // One with rows, made by somebody who knows nothing of us.
    shop.run(
        "CREATE TABLE work_5 (id integer NOT NULL, org_id integer NOT NULL, price integer, \"Text\" text, PRIMARY KEY (org_id, id));
              INSERT INTO org VALUES (5, 'o5'), (6, 'o6'); INSERT INTO work_5 VALUES (1, 5, 1, 'x'), (2, 5, 1, 'x')",
    )
    .await;
    let attach = "ALTER TABLE work ATTACH PARTITION work_5 FOR VALUES IN (5)";
    let refused = shop.sql.batch_execute(attach).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().message(), "child table is missing column \"rejoin_scope\"");
    shop.run("SELECT rejoin.before_attach('work_5', 'work')").await;
    shop.run(attach).await;
    let version = shop.prepare(SETTINGS).await.version.0;
    copy.equals(&shop, "attached").await;
    assert_eq!(shop.one("SELECT string_agg(rejoin_scope || ' ' || rejoin_version, ', ') FROM work_5").await, "org/5 1, org/5 1");
    assert_eq!(shop.one("SELECT rejoin_scope FROM note").await, "org/5");
    // A new one, written to before anybody looked, whatever it was called.
    shop.run("CREATE TABLE work_6 PARTITION OF work FOR VALUES IN (6); INSERT INTO work (org_id, id) VALUES (6, 1); INSERT INTO work_6 (org_id, id) VALUES (6, 2);
              UPDATE work_6 SET price = 7 WHERE id = 1").await;
    shop.prepare(SETTINGS).await;
    copy.equals(&shop, "made").await;
    shop.run("DELETE FROM work_6 WHERE id = 2").await;
    copy.equals(&shop, "a new one has its triggers").await;
    // Rows taken out of the default partition, stamps and all.
    shop.run("DELETE FROM label; CREATE TABLE work_4 (LIKE work INCLUDING ALL); INSERT INTO work_4 SELECT * FROM work WHERE org_id = 4; UPDATE work_4 SET price = 44 WHERE id = 1;
              DELETE FROM work WHERE org_id = 4").await;
    copy.equals(&shop, "taken out").await;
    shop.run("ALTER TABLE work ATTACH PARTITION work_4 FOR VALUES IN (4)").await;
    assert_eq!(shop.prepare(SETTINGS).await.version.0, version, "no row was lost");
    copy.equals(&shop, "split").await;
    let before = shop.one("SELECT string_agg(xmin::text, ' ' ORDER BY org_id, id) FROM work").await;
    assert_eq!(shop.prepare(SETTINGS).await.version.0, version);
    assert_eq!(shop.one("SELECT string_agg(xmin::text, ' ' ORDER BY org_id, id) FROM work").await, before, "stamped once");
    // Gone: a leaf, a whole branch, one for good, one by steps.
    for gone in [
        "ALTER TABLE work DETACH PARTITION work_5",
        "ALTER TABLE work DETACH PARTITION \"Work 2\"",
        "ALTER TABLE work DETACH PARTITION work_6; DROP TABLE work_6",
        "ALTER TABLE work_rest DETACH PARTITION work_rest_1 CONCURRENTLY",
    ] {
        shop.run(gone).await;
        assert!(shop.prepare(SETTINGS).await.version.0 > version);
        copy.equals(&shop, gone).await;
        assert!(!shop.rows("work", "org_id * 1000 + id").await.is_empty());
    }
    let left = "SELECT count(*)::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('work_5'::regclass, '\"Work 2\"'::regclass, 'work_2_high'::regclass, 'work_rest_1'::regclass)";
    assert_eq!(shop.one(left).await, "0");
    // Written to while they were away, and back.
    shop.run("INSERT INTO work_5 (org_id, id) VALUES (5, 3); DELETE FROM work_5 WHERE id = 1; UPDATE work_2_high SET price = 99").await;
    shop.run("ALTER TABLE work ATTACH PARTITION work_5 FOR VALUES IN (5); ALTER TABLE work ATTACH PARTITION \"Work 2\" FOR VALUES IN (2)")
        .await;
    shop.prepare(SETTINGS).await;
    copy.equals(&shop, "back").await;
    shop.run("DELETE FROM work_2_high WHERE id = 101; TRUNCATE work_5 CASCADE").await;
    copy.equals(&shop, "with their triggers").await;
    // Leaving takes it all off what is a partition, and what was one.
    shop.run("ALTER TABLE work DETACH PARTITION work_5").await;
    shop.leave().await;
    let left = "SELECT ((SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~rejoin%') + (SELECT count(*) FROM pg_attribute WHERE attname LIKE 'rejoin%')
                    + (SELECT count(*) FROM pg_class WHERE relname LIKE '%rejoin%'))::text";
    assert_eq!(shop.one(left).await, "0");
}

#[tokio::test]
async fn a_table_that_was_synced_by_itself_becomes_a_partition() {
    let shop = Shop::of(
        "CREATE TABLE org (id integer PRIMARY KEY, name text);
         CREATE TABLE work (org_id integer NOT NULL REFERENCES org, id integer, price integer, PRIMARY KEY (org_id, id));
         CREATE TABLE label (id integer PRIMARY KEY, org_id integer REFERENCES org);
         CREATE TABLE note (id integer PRIMARY KEY, org_id integer REFERENCES org);
         INSERT INTO org VALUES (1, 'a'), (2, 'b'); INSERT INTO work VALUES (1, 1, 1), (1, 2, 1)",
        "root = 'org'",
    )
    .await;
    let mut copy = Copy::of(&shop).await;
    shop.run("ALTER TABLE work RENAME TO work_1; CREATE TABLE work (LIKE work_1 INCLUDING ALL) PARTITION BY LIST (org_id); ALTER TABLE work ADD FOREIGN KEY (org_id) REFERENCES org;
              ALTER TABLE work ATTACH PARTITION work_1 FOR VALUES IN (1); CREATE TABLE work_2 PARTITION OF work FOR VALUES IN (2)").await;
    shop.prepare("root = 'org'").await;
    copy.equals(&shop, "made the first partition").await;
    let feeds =
        "SELECT count(*)::text FROM pg_index WHERE indrelid = 'work'::regclass AND pg_get_indexdef(indexrelid, 1, true) = 'rejoin_scope'";
    assert_eq!(shop.one(feeds).await, "1");
    // And one more, which has triggers of its own by now.
    shop.run("CREATE TABLE work_3 (LIKE work INCLUDING ALL); ALTER TABLE work_3 ADD FOREIGN KEY (org_id) REFERENCES org; INSERT INTO org VALUES (3, 'c'); INSERT INTO work_3 VALUES (3, 1, 1)").await;
    shop.prepare("root = 'org'").await;
    shop.run("SELECT rejoin.before_attach('work_3', 'work'); ALTER TABLE work ATTACH PARTITION work_3 FOR VALUES IN (3)").await;
    shop.prepare("root = 'org'").await;
    shop.run("UPDATE work_3 SET price = 5; UPDATE work_1 SET price = 6; DELETE FROM work_1 WHERE id = 2; UPDATE work SET org_id = 2 WHERE org_id = 3").await;
    copy.equals(&shop, "captured").await;
}

#[tokio::test]
async fn triggers_lost_on_one_partition_are_named_and_put_back() {
    for (harm, named) in [
        (
            "ALTER TABLE work_1 DISABLE TRIGGER USER",
            "work_1: the trigger ~rejoin_v2_update is disabled: writes to this partition are not captured",
        ),
        (
            r#"ALTER TABLE "Old Times"."Low" DISABLE TRIGGER "~rejoin_v2_truncate""#,
            "Old Times.Low: the trigger ~rejoin_v2_truncate is disabled: writes that name this partition are not captured",
        ),
        (
            r#"DROP TRIGGER "~rejoin_v2_gone" ON work_1"#,
            "work_1: the trigger ~rejoin_v2_gone is gone: writes that name this partition are not captured",
        ),
        (
            r#"DROP TRIGGER "~rejoin_v2_gone" ON work_1; DROP TRIGGER "~rejoin_v2_gone" ON "Old Times"."Low""#,
            "work: the trigger ~rejoin_v2_gone is gone on 2 partitions (work_1, ..): writes that name them are not captured",
        ),
    ] {
        let shop = open().await;
        let mut copy = Copy::of(&shop).await;
        assert_eq!(shop.doctor(SETTINGS).await, Vec::<String>::new());
        shop.run("DELETE FROM label").await;
        shop.run(harm).await;
        let found = shop.doctor(SETTINGS).await;
        assert!(found.iter().any(|found| found == named), "{found:#?}");
        shop.run("DELETE FROM work_1 WHERE id = 1; INSERT INTO work_1 (org_id, id) VALUES (1, 99); UPDATE work_1 SET price = 80 WHERE id = 2; DELETE FROM \"Old Times\".\"Low\" WHERE id = 1").await;
        shop.prepare(SETTINGS).await;
        copy.equals(&shop, harm).await;
        assert_eq!(shop.doctor(SETTINGS).await, Vec::<String>::new());
        shop.run("DELETE FROM work_1; TRUNCATE work CASCADE").await;
        copy.equals(&shop, "captured again").await;
    }
}
