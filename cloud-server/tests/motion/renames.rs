//! Names change, numbers stay: nothing is fed, and what is kept under names follows.

use cloud_server::settings::Settings;
use serde_json::{Value as Json, json};
use sync_core::wire::message::{PushResult, Refusal};

use crate::Away;
use crate::cloud::Cloud;
use crate::site::{id, verdict};

const SETTINGS: &str = "root = 'productions'\nglobal = ['kinds']\n";

#[tokio::test]
async fn tables_and_columns_keep_their_numbers_under_any_name() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    cloud.run(&format!("INSERT INTO marks VALUES ('m', '{p}', 'x')")).await;
    let numbers = |cloud: &Cloud, table: &str, column: &str| {
        let table = cloud.table(table);
        (table.no, table.column_named(column).unwrap().no)
    };
    let before = [("marks", "note"), ("sources", "width"), ("sources", "height"), ("outputs", "label")].map(|(t, c)| numbers(&cloud, t, c));
    let ticks = cloud.ticks().await;
    cloud
        .run(
            "ALTER TABLE marks RENAME TO notes; ALTER TABLE notes RENAME note TO body;
             ALTER TABLE sources RENAME width TO w; ALTER TABLE sources RENAME height TO width; ALTER TABLE sources RENAME w TO height;
             CREATE SCHEMA stage; ALTER TABLE outputs SET SCHEMA stage",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    let after = [("notes", "body"), ("sources", "height"), ("sources", "width"), ("outputs", "label")].map(|(t, c)| numbers(&cloud, t, c));
    assert_eq!((after, cloud.table("outputs").schema.as_str()), (before, "stage"));
    assert_eq!(cloud.ticks().await, ticks, "nothing is fed");
    // Two tables that swap names.
    cloud.run("ALTER TABLE notes RENAME TO x; ALTER TABLE kinds RENAME TO notes; ALTER TABLE x RENAME TO kinds").await;
    let cloud = cloud.prepared_with("root = 'productions'\nglobal = ['notes']\n").await;
    assert_eq!((cloud.table("kinds").no, cloud.ticks().await), (before[0].0, ticks));
}

#[tokio::test]
async fn a_table_that_is_put_away_keeps_its_number_though_a_partitioned_one_gets_its_name() {
    for (newcomer, kept) in [
        // Rows of its own, and none of the old one's.
        ("CREATE TABLE marks (LIKE marks_2025 INCLUDING ALL) PARTITION BY HASH (id); CREATE TABLE marks_0 PARTITION OF marks FOR VALUES WITH (MODULUS 1, REMAINDER 0);
          ALTER TABLE marks ADD FOREIGN KEY (production_id) REFERENCES productions; INSERT INTO marks SELECT 'n' || id, production_id, note FROM marks_2025", "marks_2025"),
        // Its rows, but not all that it says of them.
        ("CREATE TABLE marks (id text PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions) PARTITION BY HASH (id); CREATE TABLE marks_0 PARTITION OF marks FOR VALUES WITH (MODULUS 1, REMAINDER 0);
          INSERT INTO marks SELECT id, production_id FROM marks_2025", "marks_2025"),
        ("CREATE TABLE marks (LIKE marks_2025 INCLUDING ALL) PARTITION BY HASH (id); CREATE TABLE marks_0 PARTITION OF marks FOR VALUES WITH (MODULUS 1, REMAINDER 0);
          ALTER TABLE marks ADD FOREIGN KEY (production_id) REFERENCES productions; INSERT INTO marks SELECT id, production_id, note FROM marks_2025", "marks"),
    ] {
        let cloud = Cloud::start().await;
        let p = id('p', 1);
        cloud.production(&p, &[&id('s', 1)]).await;
        cloud.run(&format!("INSERT INTO marks VALUES ('m', '{p}', 'x')")).await;
        let before = cloud.table("marks").no;
        cloud.run(&format!("ALTER TABLE marks RENAME TO marks_2025; {newcomer}")).await;
        let cloud = cloud.prepared_again().await;
        assert_eq!(cloud.table(kept).no, before, "{newcomer}");
    }
}

#[tokio::test]
async fn a_push_cut_before_the_rename_is_refused_and_lands_when_it_is_cut_anew() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let edit = site.update("sources", &s, &json!({"name": "offline"}));
    let old = site.next_push(vec![edit.clone()]);
    let away = Away::of(&site);
    cloud.run("ALTER TABLE sources RENAME name TO title; ALTER TABLE sources RENAME TO inputs").await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    let answer = site.push_whole(&old).await;
    assert_eq!(answer.result, PushResult::Refused(Refusal::Catalog(cloud.catalog.version)));
    // Numbers, not names: the same edit, under the new catalog.
    assert_eq!(verdict(&site.push_one(edit).await), "exact");
    assert_eq!(cloud.one::<String>("SELECT title FROM inputs").await, "offline");
    let known: i64 = cloud.one("SELECT catalog_version FROM rejoin.replicas").await;
    assert_eq!(known, cloud.catalog.version.0);
}

#[tokio::test]
async fn a_root_that_is_renamed_keeps_its_scopes_and_no_site_notices() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    cloud.production(&id('p', 2), &[&id('s', 2)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run(&format!("DELETE FROM sources WHERE id = '{s}'")).await;
    let ticks = cloud.ticks().await;
    let (edit, new) = (
        site.update("productions", &p, &json!({"name": "offline"})),
        site.insert("productions", &json!({"id": id('p', 3), "name": "new here"})),
    );
    let away = Away::of(&site);
    cloud.run("ALTER TABLE productions RENAME TO shows").await;
    let cloud = cloud.prepared_with(&SETTINGS.replace("productions", "shows")).await;
    assert_eq!(cloud.ticks().await, ticks, "no row moves");
    let mut site = away.back(&cloud);
    let pulled = site.pull().await;
    assert_eq!((pulled.rows.len(), pulled.gone.len()), (0, 1), "only what happened");
    let answers = site.push(vec![edit, new]).await;
    assert_eq!([verdict(&answers[0]), verdict(&answers[1])], ["exact", "exact"], "{:?}", site.reasons().await);
    let scopes: String = cloud.one("SELECT string_agg(scope, ' ' ORDER BY scope) FROM rejoin.subscriptions").await;
    assert_eq!(scopes, format!("productions/{p} productions/{}", id('p', 3)));
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn conflicts_that_are_open_follow_and_can_be_decided() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let edit = site.update("sources", &s, &json!({"width": 10, "name": "mine"}));
    cloud.run(&format!("UPDATE sources SET width = 20, name = 'theirs' WHERE id = '{s}'")).await;
    assert_eq!(verdict(&site.push_one(edit).await), "parked");
    site.pull().await;
    let away = Away::of(&site);
    cloud
        .run(
            "ALTER TABLE sources RENAME TO inputs; ALTER TABLE inputs RENAME name TO n; ALTER TABLE inputs RENAME width TO name;
              ALTER TABLE inputs RENAME n TO width",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    let shown: Json = cloud
        .one("SELECT jsonb_build_object('t', table_name, 'c', to_jsonb(columns), 'l', local_data -> 'name', 'w', cloud_data -> 'width', 'b', base_data -> 'name')
              FROM rejoin.sync_conflicts")
        .await;
    assert_eq!(shown["t"], "inputs");
    let mut columns: Vec<&str> = shown["c"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    columns.sort_unstable();
    assert_eq!((columns, &shown["l"], &shown["w"], &shown["b"]), (vec!["name", "width"], &json!(10), &json!("theirs"), &Json::Null));
    // The site sees it.
    let mut site = away.back(&cloud);
    let pulled = site.pull().await;
    assert_eq!(pulled.rows.len(), 1);
    assert_eq!(pulled.rows[0].0, "sync_conflicts");
    let (conflict, etag) = crate::decisions::open(&cloud).await;
    crate::decisions::local_wins(&cloud, conflict, etag).await;
    assert_eq!(cloud.one::<String>("SELECT name || ' ' || width FROM inputs").await, "10 mine");
    // And can be taken back under the next names.
    cloud.run("ALTER TABLE inputs RENAME name TO breadth").await;
    let cloud = cloud.prepared_again().await;
    crate::decisions::undo(&cloud, conflict).await;
    assert_eq!(cloud.one::<String>("SELECT breadth || ' ' || width FROM inputs").await, "20 theirs");
}

#[tokio::test]
async fn a_conflict_of_a_dropped_column_does_not_land_in_another_one_of_its_name() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let edit = site.update("sources", &s, &json!({"width": 10}));
    cloud.run(&format!("UPDATE sources SET width = 20 WHERE id = '{s}'")).await;
    assert_eq!(verdict(&site.push_one(edit).await), "parked");
    cloud.run("ALTER TABLE sources DROP width").await;
    let cloud = cloud.prepared_again().await;
    cloud.run("ALTER TABLE sources ADD width integer").await;
    let cloud = cloud.prepared_again().await;
    let shown: String = cloud.one("SELECT columns[1] || ' ' || (local_data ->> 'width (dropped)') FROM rejoin.sync_conflicts").await;
    assert_eq!(shown, "width (dropped) 10");
    let (conflict, etag) = crate::decisions::open(&cloud).await;
    let refused = crate::decisions::decide(&cloud, conflict, etag, sync_core::conflict::Resolution::LocalWins, Vec::new()).await;
    assert!(refused.unwrap_err().to_string().contains("no longer"), "nothing can be written where it was");
    let (conflict, etag) = crate::decisions::open(&cloud).await;
    let width = cloud.table("sources").column_named("width").unwrap().no;
    let manual = vec![(width, sync_core::value::Value::Int(10))];
    crate::decisions::decide(&cloud, conflict, etag, sync_core::conflict::Resolution::Manual, manual).await.unwrap();
    assert_eq!(cloud.one::<i32>("SELECT width FROM sources").await, 10);
}

#[tokio::test]
async fn a_deleted_row_comes_back_with_its_values_under_the_new_names() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    cloud
        .run(&format!("UPDATE sources SET width = 7 WHERE id = '{s}'; DELETE FROM sources; ALTER TABLE sources RENAME width TO breadth"))
        .await;
    let cloud = cloud.prepared_again().await;
    let image: Json = cloud.one("SELECT image FROM rejoin.tombstones").await;
    assert_eq!((&image["breadth"], image.get("width")), (&json!(7), None));
    // History says what happened, in the words of then.
    let history: Json = cloud.one("SELECT changes FROM rejoin.history WHERE op = 'delete'").await;
    assert_eq!(history["width"], 7);
}

#[tokio::test]
async fn rejoin_toml_is_followed_where_it_names_things_as_they_were() {
    let settings = "root = 'productions'\nglobal = ['kinds']\n[tables.sources]\nwithout = ['price']\npolicies = { name = 'cloud_wins' }\n\
                    groups = [['width', 'height']]\n[tables.outputs]\nlease = 7\n[tables.marks]\nscope_through = 'production_id'\n";
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let cloud = cloud.prepared_with(settings).await;
    let (before, ticks) = (cloud.catalog.clone(), cloud.ticks().await);
    cloud
        .run(
            "ALTER TABLE productions RENAME TO shows; ALTER TABLE kinds RENAME TO sorts; ALTER TABLE sources RENAME TO inputs;
             ALTER TABLE inputs RENAME price TO cost; ALTER TABLE inputs RENAME name TO title; ALTER TABLE inputs RENAME height TO tall;
             ALTER TABLE marks RENAME production_id TO show_id; CREATE SCHEMA stage; ALTER TABLE outputs SET SCHEMA stage",
        )
        .await;
    // Twice: what was followed once is known for good.
    let cloud = cloud.prepared_with(settings).await.prepared_with(settings).await;
    let numbers = |catalog: &sync_core::catalog::Catalog| -> Vec<_> {
        let of =
            |table: &sync_core::catalog::Table| (table.no, table.scope.clone(), table.groups.clone(), table.lease, table.columns.len());
        catalog.tables.iter().map(of).collect()
    };
    assert_eq!(numbers(&cloud.catalog), numbers(&before));
    let inputs = cloud.table("inputs");
    assert!(inputs.column_named("cost").is_none() && inputs.column_named("price").is_none(), "it stays at the cloud under any name");
    assert_eq!(inputs.column_named("title").unwrap().policy, sync_core::policy::Policy::CloudWins);
    assert_eq!(cloud.ticks().await, ticks, "nothing is fed");
    // What is gone is passed over.
    cloud.run("DROP TABLE stage.outputs; ALTER TABLE inputs DROP cost, DROP tall, DROP kind; DROP TABLE sorts").await;
    let cloud = cloud.prepared_with(settings).await;
    assert!(cloud.catalog.by_name("sorts").is_none() && cloud.table("inputs").groups.is_empty());
    // Not so the root.
    cloud.run("ALTER TABLE inputs DROP production_id; ALTER TABLE marks DROP show_id; DROP TABLE shows").await;
    let settings = Settings::parse(settings).unwrap();
    let refused = cloud_server::store::prepare::prepare(&cloud.db, &settings, None).await.unwrap_err().to_string();
    assert!(refused.contains("line 1: root: there is no table productions"), "{refused}");
}

#[tokio::test]
async fn a_secret_stays_at_the_cloud_under_any_name_until_it_is_named() {
    let settings = "root = 'productions'\nglobal = ['kinds']\n";
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    cloud.run("ALTER TABLE sources ADD password_hash text NOT NULL DEFAULT 'x', ADD scan text").await;
    let without = format!("{settings}[tables.sources]\nwithout = ['scan']\n");
    let cloud = cloud.prepared_with(&without).await;
    let ticks = cloud.ticks().await;
    // Another column takes the name that told it apart.
    cloud
        .run(
            "ALTER TABLE sources RENAME password_hash TO credential; ALTER TABLE sources ADD password_hash text;
             ALTER TABLE sources RENAME TO inputs",
        )
        .await;
    let cloud = cloud.prepared_with(&without.replace("sources", "inputs")).await;
    let cloud = cloud.prepared_with(&without.replace("sources", "inputs")).await;
    assert!(cloud.table("inputs").column_named("credential").is_none());
    assert_eq!(cloud.ticks().await, ticks, "nothing is fed");
    let parsed = Settings::parse(settings).unwrap();
    let plan = cloud_server::store::prepare::plan(&cloud.db, &parsed).await.unwrap();
    let entry = plan.tables.iter().find(|entry| entry.table == "inputs").unwrap();
    assert!(entry.notes.iter().any(|note| note.starts_with("credential looked like a secret")), "{:?}", entry.notes);
    let findings = cloud_server::store::doctor::examine(&cloud.db, &parsed).await.unwrap();
    assert!(findings.iter().any(|finding| finding.what.starts_with("credential looked like a secret")), "{findings:?}");
    // What only `without` kept travels once it does not.
    let cloud = cloud.prepared_with(settings).await;
    let inputs = cloud.table("inputs");
    assert!(inputs.column_named("scan").is_some() && inputs.column_named("credential").is_none());
    let cloud = cloud.prepared_with(&format!("{settings}[tables.inputs]\nwith = ['credential']\n")).await;
    assert!(cloud.table("inputs").column_named("credential").is_some());
}

#[tokio::test]
async fn a_name_that_is_written_later_means_nobody_who_was_called_so() {
    let settings = "root = 'productions'\nglobal = ['kinds']\n[tables.marks]\nhistory = false\npolicies = { note = 'text' }\n";
    let cloud = Cloud::start().await.prepared_with(settings).await;
    cloud.run("ALTER TABLE marks RENAME TO labels; ALTER TABLE labels RENAME note TO body").await;
    let now = settings.replace("marks", "labels").replace("note", "body");
    // The file is followed, then brought up to date.
    let cloud = cloud.prepared_with(settings).await.prepared_with(&now).await;
    let before = cloud.catalog.version;
    let left_out = format!("left_out = ['marks']\n{now}");
    for scratch in [None, Some("CREATE TABLE marks (id integer PRIMARY KEY)"), Some("DROP TABLE marks")] {
        if let Some(scratch) = scratch {
            cloud.run(scratch).await;
        }
        let parsed = Settings::parse(&left_out).unwrap();
        // Twice: it does not become true by being said.
        for _ in 0..2 {
            let catalog = cloud_server::store::prepare::prepare(&cloud.db, &parsed, None).await.unwrap();
            assert!(catalog.by_name("labels").is_some(), "{scratch:?}");
            assert_eq!(catalog.version, before, "{scratch:?}");
        }
    }
    for (text, wrong) in
        [(now.replace("['kinds']", "['kinds', 'marks']"), "global: there is no table marks"), (now.replace("body", "note"), "note")]
    {
        let error = cloud_server::store::prepare::prepare(&cloud.db, &Settings::parse(&text).unwrap(), None).await.unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[tokio::test]
async fn who_takes_a_name_takes_it_from_whoever_had_it() {
    let cloud = Cloud::start().await;
    let settings = "root = 'productions'\nglobal = ['kinds']\nleft_out = ['marks']\n";
    let with = "root = 'productions'\nglobal = ['kinds']\n";
    let cloud = cloud.prepared_with(with).await;
    cloud.run("ALTER TABLE marks RENAME TO labels").await;
    let cloud = cloud.prepared_with(with).await;
    // Named while another table is called so, and meant for that one for good.
    cloud.run("CREATE TABLE marks (id integer PRIMARY KEY)").await;
    let cloud = cloud.prepared_with(settings).await;
    cloud.run("DROP TABLE marks").await;
    let cloud = cloud.prepared_with(settings).await;
    assert!(cloud.catalog.by_name("labels").is_some());
}
