//! A push that the cloud took and whose answer was lost, with edits made since; then the schema moves. The push is not taken twice, its
//! answer fits, and what was edited since lands or parks.

use rejoin_tests::World;
use serde_json::{Value, json};

use crate::scene::{at_site, conflicts, lose_the_answer, settings, settle, world};

/// What moves, and what is called how afterwards.
struct Motion {
    what: &'static str,
    sql: &'static str,
    table: &'static str,
    /// What `label` is called; `None` where it is gone.
    label: Option<&'static str>,
    /// How the row `p1` with the code `c1` is addressed.
    key: Named,
    /// `size` is a number.
    narrow: bool,
    /// A column comes.
    comes: bool,
}

/// What a row's key is made of, after the schema moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Id,
    Code,
    ShowAndId,
}

const STILL: Motion = Motion { what: "", sql: "", table: "parts", label: Some("label"), key: Named::Id, narrow: false, comes: false };

/// What became of the push before the schema moved, and how the site comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Taken and answered into nowhere; it is sent again first.
    SentAgain,
    /// So, and a pull brings the new catalog first.
    PulledFirst,
    /// It never arrived: the cloud refuses it for its catalog, and it is cut anew.
    NeverArrived,
}

/// Pushed without an answer, edited again.
async fn begun(way: Way) -> World {
    let world = world().await;
    let site = world.site("a");
    world.psql("INSERT INTO parts VALUES ('p7', 's', 'label 7', '7', 'note', 'c7', 7)").await;
    world.sync("a").await;
    site.link.cut();
    site.sqlite3(
        "UPDATE parts SET label = 'pushed', size = '12', qty = qty + 5 WHERE id = 'p1';
         UPDATE parts SET label = 'mine', qty = qty - 1 WHERE id = 'p2';
         DELETE FROM parts WHERE id = 'p3';
         UPDATE parts SET size = 'big' WHERE id = 'p4';
         UPDATE parts SET size = '66' WHERE id = 'p6';
         UPDATE parts SET id = 'q7', note = 'moved' WHERE id = 'p7';
         INSERT INTO parts (id, show_id, label, size, note, code, qty) VALUES ('p9', 's', 'new', '9', 'n', 'c9', 3), ('p8', 's', 'new', '8', 'n', 'c8', 3)",
    );
    world.psql("UPDATE parts SET label = 'theirs' WHERE id = 'p2'").await;
    if way == Way::NeverArrived {
        site.api.post("/api/sync/run", json!({"direction": "UPLOAD"})).await;
    } else {
        lose_the_answer(&world, "UPLOAD").await;
    }
    assert_eq!(at_site(&world, "SELECT count(*) FROM rejoin_pushes WHERE answered = 0"), "1");
    let taken = world.postgres().await.query("SELECT FROM parts WHERE id = 'p9'", &[]).await.unwrap();
    assert_eq!(taken.is_empty(), way == Way::NeverArrived);
    site.sqlite3(
        "UPDATE parts SET label = 'later', note = 'later', qty = qty + 7 WHERE id = 'p1';
         UPDATE parts SET label = 'mine, later' WHERE id = 'p2';
         UPDATE parts SET label = 'new, later', qty = qty + 1 WHERE id = 'p9';
         UPDATE parts SET label = 'unsent', size = '55' WHERE id = 'p5';
         INSERT OR REPLACE INTO parts (id, show_id, label, size, note, code, qty)
            SELECT id, show_id, label, 'bigger', note, code, qty FROM parts WHERE id = 'p6';
         DELETE FROM parts WHERE id = 'p8'",
    );
    world
}

async fn come_back(world: &World, way: Way) {
    let site = world.site("a");
    site.link.heal();
    if way == Way::PulledFirst {
        site.api.post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await.ok();
        assert_eq!(at_site(world, "SELECT count(*) FROM rejoin_pushes WHERE answered = 0"), "1", "still without an answer");
    }
    settle(world).await;
    assert_eq!(at_site(world, "SELECT count(*) FROM rejoin_hidden"), "0");
    let status = site.api.get("/api/sync").await.ok();
    assert_eq!((&status["pending"], &status["held"]), (&json!(0), &json!(0)), "{status}");
}

impl Motion {
    fn id(&self, no: u32) -> String {
        match self.key {
            Named::Id => format!("p{no}"),
            Named::Code => format!("c{no}"),
            Named::ShowAndId => format!("s,p{no}"),
        }
    }

    /// Whether the insert that was deleted meanwhile got a column at the cloud, before its answer came, that nobody saw who deleted it.
    fn unseen(&self, way: Way) -> bool {
        self.comes && way == Way::PulledFirst
    }

    async fn try_out(&self, way: Way) {
        println!("{}, {way:?}", self.what);
        let mut world = begun(way).await;
        world.migrate(self.sql, Some(&settings(self.table))).await;
        come_back(&world, way).await;
        for api in world.everybody() {
            let get = async |no: u32| api.get(&format!("/api/{}/{}", self.table, self.id(no))).await;
            let row = async |no: u32| get(no).await.ok();
            let number = |row: &Value| row["qty"].to_string().trim_matches('"').parse::<f64>().unwrap();
            let (p1, p2, p9) = (row(1).await, row(2).await, row(9).await);
            assert_eq!((number(&p1), number(&p2), number(&p9)), (13.0, 1.0, 4.0), "each amount once");
            assert_eq!((&p1["note"], p1["size"].to_string().trim_matches('"')), (&json!("later"), "12"), "{p1}");
            assert_eq!(
                [get(3).await.status, get(8).await.status].map(|status| status.as_u16()),
                [404, if self.unseen(way) { 200 } else { 404 }]
            );
            let moved = self.id(7).replace('p', "q");
            let moved = api.get(&format!("/api/{}/{moved}", self.table)).await.ok();
            assert_eq!((&moved["id"], &moved["code"], &moved["note"]), (&json!("q7"), &json!("c7"), &json!("moved")));
            let sizes = [row(4).await["size"].clone(), row(6).await["size"].clone(), row(5).await["size"].clone()];
            let wanted = match (self.narrow, way) {
                (false, _) => [json!("big"), json!("bigger"), json!("55")],
                (true, Way::NeverArrived) => [json!(4), json!(6), json!(55)],
                (true, _) => [json!(null), json!(66), json!(55)],
            };
            assert_eq!(sizes, wanted);
            if let Some(label) = self.label {
                let labels = [&p1[label], &p2[label], &p9[label], &row(5).await[label]];
                assert_eq!(labels, ["later", "theirs", "new, later", "unsent"]);
            }
        }
        let mut found = conflicts(&world).await;
        let deleted = found.extract_if(.., |(_, kind, _)| kind == "delete_update").map(|(id, ..)| id);
        assert_eq!(deleted.collect::<Vec<_>>(), if self.unseen(way) { vec![self.id(8)] } else { vec![] });
        if self.narrow {
            // What the cloud took before, it took; what it never had is too big for it now.
            let (wide, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, kind, _)| kind == "schema");
            found = rest;
            let told: Vec<_> = wide.iter().map(|(id, _, local)| (id.as_str(), local["size"].as_str().unwrap())).collect();
            let all = [("p4", "big"), ("p6", "bigger")];
            assert_eq!(told, if way == Way::NeverArrived { &all[..] } else { &all[1..] }, "{wide:#?}");
        }
        let local = |at: usize| found[at].2[self.label.unwrap_or("label")].as_str();
        let ids: Vec<&str> = found.iter().map(|(id, _, _)| id.as_str()).collect();
        if self.label.is_some() {
            assert_eq!(ids, [self.id(2)], "{found:#?}");
            assert_eq!((found[0].1.as_str(), local(0)), ("update_update", Some("mine, later")));
        } else {
            assert_eq!(ids, ["p1", "p2", "p5", "p9"], "{found:#?}");
            assert_eq!([0, 1, 2, 3].map(local), [Some("later"), Some("mine, later"), Some("unsent"), Some("new, later")], "{found:#?}");
        }
    }

    async fn every_way(&self) {
        for way in [Way::SentAgain, Way::PulledFirst, Way::NeverArrived] {
            self.try_out(way).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_an_answer_over_renames() {
    let renamed = Motion {
        what: "a column is renamed, another takes its name",
        sql: "ALTER TABLE parts RENAME COLUMN label TO title; ALTER TABLE parts ADD COLUMN label text DEFAULT 'x'",
        label: Some("title"),
        comes: true,
        ..STILL
    };
    renamed.every_way().await;
    let table = Motion { what: "the table is renamed", sql: "ALTER TABLE parts RENAME TO items", table: "items", ..STILL };
    table.every_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_an_answer_over_a_dropped_column() {
    let dropped = Motion { what: "a column is dropped", sql: "ALTER TABLE parts DROP COLUMN label", label: None, ..STILL };
    dropped.every_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_an_answer_over_a_new_key() {
    let sql = "ALTER TABLE parts DROP CONSTRAINT parts_pkey, ADD PRIMARY KEY (code)";
    let keyed = Motion { what: "another column is the key", sql, key: Named::Code, ..STILL };
    keyed.every_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_an_answer_over_a_wider_key() {
    let sql = "ALTER TABLE parts DROP CONSTRAINT parts_pkey, ADD PRIMARY KEY (show_id, id)";
    let wider = Motion { what: "another column is in the key as well", sql, key: Named::ShowAndId, ..STILL };
    wider.every_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_an_answer_over_other_types() {
    let narrow = "ALTER TABLE parts ALTER size TYPE integer USING CASE WHEN size ~ '^[0-9]+$' THEN size::integer END";
    for (what, sql) in [
        ("an amount is widened", "ALTER TABLE parts ALTER qty TYPE bigint"),
        ("an amount is a decimal", "ALTER TABLE parts ALTER qty TYPE numeric(12, 2)"),
        ("a text is a number", narrow),
        ("NOT NULL comes", "ALTER TABLE parts ALTER note SET NOT NULL, ADD made timestamptz NOT NULL DEFAULT now()"),
    ] {
        Motion { what, sql, narrow: sql == narrow, comes: sql.contains("ADD made"), ..STILL }.every_way().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_pull_from_before_are_thrown_away_and_pulled_anew() {
    let mut world = world().await;
    let site = world.site("a");
    site.link.cut();
    world
        .psql(
            "INSERT INTO parts (id, show_id, code, note) SELECT 'big' || n, 's', 'big' || n,
                 (SELECT string_agg(md5(random()::text || n || k), '') FROM generate_series(1, 28000) k) FROM generate_series(1, 10) n",
        )
        .await;
    site.sqlite3("UPDATE parts SET label = 'unsent' WHERE id = 'p1'");
    // One page fits through, the second one breaks.
    site.link.cut_after(3_500_000);
    site.api.post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await;
    site.link.cut();
    assert_eq!(at_site(&world, "SELECT count(*) FROM rejoin_spool"), "1");
    let sql = "ALTER TABLE parts RENAME COLUMN label TO title; ALTER TABLE parts RENAME COLUMN note TO label; DELETE FROM parts WHERE id = 'big3'";
    world.migrate(sql, None).await;
    site.link.heal();
    settle(&world).await;
    assert_eq!(at_site(&world, "SELECT count(*) || '/' || min(length(label)) FROM parts WHERE id LIKE 'big%'"), "9/896000");
    assert_eq!(world.cloud.get("/api/parts/p1").await.ok()["title"], "unsent");
    assert_eq!(at_site(&world, "SELECT count(*) FROM rejoin_spool"), "0");
}
