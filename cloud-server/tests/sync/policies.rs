//! Policies, through real pushes: what each makes of a clash, what is recorded of the side that lost, and that an addition counts once.

use cloud_server::store::conflicts::resolve;
use serde_json::{Value as Json, json};
use sync_core::change::{RowAnswer, RowChange, Verdict};
use sync_core::conflict::{Resolution, Way};
use sync_core::wire::codec::encode;
use sync_core::wire::message::{Push, ResolveCommand};
use uuid::Uuid;

use crate::additions::{add, stock};
use crate::cloud::Cloud;
use crate::deciding::{column, command, listed};
use crate::site::{Site, id, verdict, verdicts};

pub const GENERAL: &str = "root = \"productions\"\nglobal = [\"kinds\"]\n";

/// A cloud whose sources have a few more columns, with these lines about them in `rejoin.toml`.
pub async fn cloud(lines: &str) -> Cloud {
    let cloud = Cloud::start().await;
    cloud
        .run(
            "ALTER TABLE sources ADD note text, ADD stock integer DEFAULT 0, ADD due date, ADD rate text,
                 ADD CONSTRAINT stock_left CHECK (stock >= 0)",
        )
        .await;
    cloud.prepared_with(&format!("{GENERAL}{lines}")).await
}

pub const ALL: &str = r#"[tables.sources.policies]
name = "cloud_wins"
width = "local_wins"
due = "newest"
stock = "add"
tags = "union"
slot = "max"
price = "min"
note = "text"
extra = "json"
"#;

/// One production with one source, which the site knows.
pub async fn one<'c>(cloud: &'c Cloud, values: &str) -> (Site<'c>, String) {
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    if !values.is_empty() {
        cloud.run(&format!("UPDATE sources SET {values}")).await;
    }
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    (site, s)
}

/// The site's edit of `values`, pushed after the cloud ran `SET theirs`.
pub async fn clash(cloud: &Cloud, site: &mut Site<'_>, s: &str, values: Json, theirs: &str) -> RowAnswer {
    let change = site.update("sources", s, &values);
    cloud.run(&format!("UPDATE sources SET {theirs} WHERE id = '{s}'")).await;
    site.push_one(change).await
}

/// The losses on record, in words, oldest first.
pub async fn losses(cloud: &Cloud) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', kind, nullif(array_to_string(columns, '+'), ''), resolution::text, resolved_by)
               FROM rejoin.sync_conflicts WHERE policy IS NOT NULL ORDER BY id";
    cloud.sql.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

pub async fn pending(cloud: &Cloud) -> i64 {
    cloud.count("rejoin.sync_conflicts WHERE resolution = 'PENDING'").await
}

#[tokio::test]
async fn each_policy_makes_of_a_clash_what_it_says() {
    for (name, base, theirs, mine, result, lost) in [
        ("name", "'a'", "'theirs'", json!("mine"), json!("theirs"), Some("CLOUD_WINS")),
        ("width", "1", "2", json!(3), json!(3), Some("LOCAL_WINS")),
        ("tags", "ARRAY['a', 'b']", "ARRAY['a', 'b', 'c']", json!(["b", "d"]), json!(["b", "c", "d"]), None),
        ("slot", "1", "5", json!(7), json!(7), Some("LOCAL_WINS")),
        ("slot", "1", "7", json!(5), json!(7), Some("CLOUD_WINS")),
        ("price", "3", "2.5", json!("2.1"), json!("2.1"), Some("LOCAL_WINS")),
        ("note", "E'one\\ntwo\\nthree\\n'", "E'ONE\\ntwo\\nthree\\n'", json!("one\ntwo\nTHREE\n"), json!("ONE\ntwo\nTHREE\n"), None),
        (
            "extra",
            "'{\"a\":1,\"b\":{\"c\":1}}'",
            "'{\"a\":2,\"b\":{\"c\":1}}'",
            json!({"a": 1, "b": {"c": 2}}),
            json!({"a": 2, "b": {"c": 2}}),
            None,
        ),
    ] {
        let cloud = cloud(ALL).await;
        let (mut site, s) = one(&cloud, &format!("{name} = {base}")).await;
        let answer = clash(&cloud, &mut site, &s, json!({name: mine}), &format!("{name} = {theirs}")).await;
        assert!(matches!(answer.verdict, Verdict::Accepted | Verdict::NoOp), "{name}: {answer:?} {:?}", site.reasons().await);
        assert_eq!(site.value("sources", &s, name), result, "{name}");
        assert_eq!(answer.merged.contains(&column(&cloud, name)), mine != result, "{name}: {answer:?}");
        let policy = cloud.table("sources").column_named(name).unwrap().policy.as_str();
        let expected = lost.map(|lost| format!("update_update {name} {lost} policy:{policy}"));
        assert_eq!(losses(&cloud).await, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(pending(&cloud).await, 0, "{name}");
        site.pull().await;
        site.assert_same_as_cloud().await;
    }
}

#[tokio::test]
async fn a_clash_inside_a_text_parks() {
    let cloud = cloud(ALL).await;
    let (mut site, s) = one(&cloud, "note = E'one\\ntwo\\n', name = 'n'").await;
    let mine = json!({"note": "one\nmine\n", "name": "mine"});
    let answer = clash(&cloud, &mut site, &s, mine, "note = E'one\\ntheirs\\n', name = 'theirs'").await;
    assert_eq!((verdict(&answer), answer.clashed.as_slice()), ("parked", &[column(&cloud, "note")][..]));
    assert_eq!(answer.merged, [column(&cloud, "name")], "the other column was decided all the same");
    assert_eq!(losses(&cloud).await, ["update_update name CLOUD_WINS policy:cloud_wins"]);
    assert_eq!(pending(&cloud).await, 1);
}

#[tokio::test]
async fn a_loss_keeps_both_sides_whole_and_touches_no_open_conflict() {
    let cloud = cloud("[tables.sources.policies]\nname = 'local_wins'\n").await;
    let (mut site, s) = one(&cloud, "height = 1").await;
    clash(&cloud, &mut site, &s, json!({"height": 2}), "height = 3").await;
    let open = "SELECT id::text || revision FROM rejoin.sync_conflicts WHERE resolution = 'PENDING'";
    let before: String = cloud.one(open).await;

    let change = site.update("sources", &s, &json!({"name": "mine", "width": 8}));
    cloud.run("UPDATE sources SET name = 'theirs', tags = '{x}'").await;
    let push = site.next_push(vec![change]);
    let body = encode(&push).unwrap();
    let answer = site.send(&body).await.unwrap();
    assert_eq!(site.send(&body).await.unwrap(), answer, "sent again, it is not taken again");
    site.take_answer(&push, &body, &answer);
    assert_eq!(losses(&cloud).await, ["update_update name LOCAL_WINS policy:local_wins"]);
    let sql = "SELECT base_data, cloud_data, local_data, reason, cloud_modified_by, local_modified_by, resolved_at IS NOT NULL,
                      rejoin_scope = 'site/' || site_id::text FROM rejoin.sync_conflicts WHERE policy IS NOT NULL";
    let row = cloud.sql.query_one(sql, &[]).await.unwrap();
    let [base, theirs, mine] = [0, 1, 2].map(|at| row.get::<_, Json>(at));
    assert_eq!(base, json!({"name": "s1", "width": null}));
    assert_eq!((&theirs["name"], &theirs["tags"], &theirs["width"]), (&json!("theirs"), &json!(["x"]), &json!(null)));
    assert_eq!((&mine["name"], &mine["tags"], &mine["width"]), (&json!("mine"), &json!(["x"]), &json!(8)));
    let reason: String = row.get(3);
    let words = "the site and the cloud both changed name; by the policy local_wins the site always wins: the site's side stands, \
                 the cloud's is kept here";
    assert_eq!(reason, words);
    assert!(row.get::<_, Option<String>>(4).is_some());
    assert_eq!((row.get::<_, &str>(5), row.get::<_, bool>(6), row.get::<_, bool>(7)), ("ann", true, true));
    let told = site.pull().await.rows.into_iter().filter(|(table, _)| table == "sync_conflicts").count();
    assert_eq!((told, cloud.one::<String>(open).await), (2, before));
    // What takes it back: the row as it is, with what the cloud had.
    let writes: Json = cloud.one("SELECT writes FROM rejoin.resolutions").await;
    assert_eq!((&writes[0]["before"]["name"], &writes[0]["before"]["width"]), (&json!("theirs"), &json!(8)));
    assert!(writes[0]["after"].is_string());
}

#[tokio::test]
async fn a_group_clashes_and_is_decided_as_one() {
    for (policy, expected) in [("manual", (1, "25")), ("cloud_wins", (1, "25")), ("local_wins", (7, "50"))] {
        let columns = format!("policies = {{ width = '{policy}', height = '{policy}', rate = '{policy}' }}");
        let cloud = cloud(&format!("[tables.sources]\ngroups = [['width', 'height', 'rate']]\n{columns}\n")).await;
        let (mut site, s) = one(&cloud, "width = 1, height = 1, rate = '24'").await;
        // The site changes two of the group, the cloud one of them.
        let answer = clash(&cloud, &mut site, &s, json!({"width": 7, "rate": "50", "name": "n"}), "rate = '25'").await;
        assert_eq!(site.value("sources", &s, "name"), json!("n"), "what is not in the group is taken");
        let found = (site.value("sources", &s, "width"), site.value("sources", &s, "rate"));
        assert_eq!(found, (json!(expected.0), json!(expected.1)), "{policy}");
        assert_eq!(losses(&cloud).await.len(), usize::from(policy != "manual"), "{policy}: one for the whole group");
        if policy == "manual" {
            assert_eq!((verdict(&answer), answer.clashed), ("parked", vec![column(&cloud, "width"), column(&cloud, "rate")]));
        }
    }
}

#[tokio::test]
async fn of_two_edits_the_newest_counts_and_a_clock_ahead_gains_nothing() {
    let cloud = cloud(ALL).await;
    let (mut site, s) = one(&cloud, "").await;
    let due = column(&cloud, "due");
    let dated = |site: &Site<'_>, value: &str, time: &str| {
        let change = site.update("sources", &s, &json!({"due": value}));
        RowChange { times: vec![(due, time.to_owned())], ..change }
    };
    // Plain SQL is timed by the trigger: an edit of years ago is older.
    let change = dated(&site, "2026-01-01", "2020-01-01T00:00:00.000000Z");
    cloud.run("UPDATE sources SET due = '2026-02-02'").await;
    site.push_one(change).await;
    assert_eq!(site.value("sources", &s, "due"), json!("2026-02-02"));
    assert_eq!(losses(&cloud).await, ["update_update due CLOUD_WINS policy:newest"]);

    // A clock that is centuries ahead: the edit counts as made when it was received, and the next one at the cloud is newer.
    let (change, later) =
        (dated(&site, "2026-03-03", "2999-01-01T00:00:00.000000Z"), dated(&site, "2026-04-04", "2020-01-01T00:00:00.000000Z"));
    cloud.run("UPDATE sources SET due = '2026-03-04'").await;
    site.push_one(change).await;
    assert_eq!(site.value("sources", &s, "due"), json!("2026-03-03"));
    assert!(cloud.one::<bool>("SELECT at <= now() AND at > now() - interval '1 hour' FROM rejoin.edit_times").await);
    cloud.run("UPDATE sources SET due = '2026-05-05'").await;
    let answer = site.push_one(later).await;
    assert_eq!((answer.merged, site.value("sources", &s, "due")), (vec![due], json!("2026-05-05")));

    // Nothing clashed: the site's own time is kept, but never one before the edit that it was made on.
    let change = dated(&site, "2026-06-06", "2020-01-01T00:00:00.000000Z");
    assert_eq!(verdict(&site.push_one(change).await), "exact");
    assert!(cloud.one::<bool>("SELECT at > now() - interval '1 hour' FROM rejoin.edit_times").await);
    // A deleted row's times are no row's.
    cloud.run("DELETE FROM sources").await;
    assert_eq!(cloud.count("rejoin.edit_times").await, 0);
}

#[tokio::test]
async fn times_follow_a_changed_key_and_go_with_the_policy() {
    let cloud = cloud("[tables.outputs.policies]\nlabel = 'newest'\n").await;
    let (_, s) = one(&cloud, "").await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{s}', 'SDI 1', 'a')")).await;
    cloud.run("UPDATE outputs SET label = label").await;
    assert_eq!(cloud.count("rejoin.edit_times").await, 0, "an insert is no edit, and nor is the same value");
    cloud.run("UPDATE outputs SET label = 'b'; UPDATE outputs SET port = 'SDI 2'").await;
    let key: Vec<String> = cloud.one("SELECT key FROM rejoin.edit_times").await;
    assert_eq!(key, [s.as_str(), "SDI 2"]);
    let version = cloud.catalog.version;
    let cloud = cloud.prepared_with(GENERAL).await;
    assert_eq!(cloud.catalog.version.0, version.0 + 1, "policies are part of the catalog");
    assert_eq!(cloud.count("rejoin.edit_times").await, 0);
    cloud.run("UPDATE outputs SET label = 'c'").await;
    assert_eq!(cloud.count("rejoin.edit_times").await, 0, "it is not timed any more");
}

#[tokio::test]
async fn where_the_cloud_wins_an_edit_of_a_deleted_row_is_a_loss() {
    let cloud = cloud("[tables.sources]\npolicy = 'cloud_wins'\n").await;
    let (mut site, s) = one(&cloud, "stock = 4").await;
    let rows = vec![
        site.update("sources", &s, &json!({"name": "mine"})),
        site.insert("outputs", &json!({"source_id": s, "port": "SDI 1", "label": "out"})),
    ];
    cloud.run("DELETE FROM sources").await;
    let answers = site.push(rows).await;
    assert_eq!((verdicts(&answers), cloud.count("sources").await), (vec!["parked", "held"], 0));
    assert_eq!(losses(&cloud).await, ["update_delete name CLOUD_WINS policy:cloud_wins"]);
    let sql = "SELECT local_data FROM rejoin.sync_conflicts WHERE policy IS NOT NULL";
    let mine: Json = cloud.one(sql).await;
    assert_eq!((&mine["name"], &mine["stock"]), (&json!("mine"), &json!(4)));
    let roots = cloud.count("rejoin.sync_conflicts WHERE resolution = 'PENDING' AND root_id IS NULL AND kind = 'foreign_key'").await;
    assert_eq!(roots, 1, "what hangs from it is a conflict of its own: nobody has decided on it");
}

#[tokio::test]
async fn where_the_site_wins_a_deleted_row_comes_back_and_a_changed_one_goes() {
    let cloud = cloud("[tables.sources]\npolicy = 'local_wins'\n").await;
    let (mut site, s) = one(&cloud, "stock = 4").await;
    let change = site.update("sources", &s, &json!({"name": "mine"}));
    cloud.run("DELETE FROM sources").await;
    let answer = site.push_one(change).await;
    assert_eq!((verdict(&answer), pending(&cloud).await), ("image", 0), "{:?}", site.reasons().await);
    let row: String = cloud.one("SELECT name || ' ' || stock || ' ' || number FROM sources").await;
    assert_eq!(row, "mine 4 1", "it is back with all it had");
    site.pull().await;
    site.assert_same_as_cloud().await;

    let change = site.delete("sources", &s);
    cloud.run("UPDATE sources SET name = 'theirs'").await;
    let answer = site.push_one(change).await;
    assert_eq!((verdict(&answer), cloud.count("sources").await), ("exact", 0));
    assert_eq!(losses(&cloud).await, ["delete_update LOCAL_WINS policy:local_wins"]);
    let writes: Json = cloud.one("SELECT writes FROM rejoin.resolutions").await;
    assert_eq!((&writes[0]["before"]["name"], &writes[0]["after"]), (&json!("theirs"), &json!(null)));

    // The same key on both sides.
    let fields = json!({"id": id('s', 2), "production_id": id('p', 1), "name": "mine", "slot": 2, "number": 2});
    let change = site.insert("sources", &fields);
    cloud
        .run(&format!("INSERT INTO sources (id, production_id, name, slot) VALUES ('{}', '{}', 'theirs', 3)", id('s', 2), id('p', 1)))
        .await;
    site.push_one(change).await;
    assert_eq!(cloud.one::<String>("SELECT name || slot FROM sources").await, "mine2");
    assert_eq!(losses(&cloud).await[1], "insert_insert LOCAL_WINS policy:local_wins");
}

#[tokio::test]
async fn constraints_and_re_offers_park_whatever_the_policy() {
    let cloud = cloud("[policy]\ndefault = 'local_wins'\n").await;
    let (mut site, s) = one(&cloud, "stock = 1, name = 'a'").await;
    let change = site.update("sources", &s, &json!({"stock": -1, "name": "mine"}));
    cloud.run("UPDATE sources SET name = 'theirs'").await;
    let answer = site.push_one(change).await;
    let found = (verdict(&answer), losses(&cloud).await.len(), pending(&cloud).await);
    assert_eq!(found, ("parked", 0, 1), "nothing was written, so nothing lost");
    assert!(answer.merged.is_empty());

    let change = site.update("sources", &s, &json!({"note": "mine"}));
    cloud.run("UPDATE sources SET note = 'theirs'").await;
    let reoffer = Push { reoffer: true, ..site.next_push(vec![change]) };
    site.push_whole(&reoffer).await;
    assert_eq!((losses(&cloud).await.len(), site.value("sources", &s, "note")), (0, json!("theirs")));
}

#[tokio::test]
async fn a_storm_of_losses_is_recorded_by_two_statements() {
    let cloud = cloud("[tables.marks]\npolicy = 'cloud_wins'\n").await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(&format!("INSERT INTO marks SELECT 'm' || n, '{p}', 'base' FROM generate_series(1, 2000) n")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows: Vec<RowChange> = (1..=2000).map(|n| site.update("marks", &format!("m{n}"), &json!({"note": "mine"}))).collect();
    let count = "CREATE TABLE statements (what text);
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.statements VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
        CREATE TRIGGER tell AFTER INSERT ON rejoin.sync_conflicts FOR EACH STATEMENT EXECUTE FUNCTION tell();
        CREATE TRIGGER tell AFTER INSERT ON rejoin.resolutions FOR EACH STATEMENT EXECUTE FUNCTION tell();";
    cloud.run(&format!("UPDATE marks SET note = 'theirs'; {count}")).await;
    let answers = site.push(rows).await;
    assert!(answers.iter().all(|answer| answer.verdict == Verdict::NoOp && answer.merged.len() == 1));
    assert_eq!(cloud.count("rejoin.sync_conflicts WHERE policy = 'cloud_wins'").await, 2000);
    assert_eq!(cloud.count("statements").await, 2);
}

#[tokio::test]
async fn a_loss_is_taken_back_and_an_addition_that_waited_is_added_to_what_there_is() {
    let cloud = cloud(ALL).await;
    let (mut site, s) = one(&cloud, "width = 1, stock = 10").await;
    clash(&cloud, &mut site, &s, json!({"width": 3}), "width = 2").await;
    let loss = listed(&cloud, None).await.remove(0);
    let back = ResolveCommand { way: Way::Undo, ..command(&loss, Resolution::Pending) };
    resolve(&cloud.db, &cloud.catalog, "eve", &back).await.unwrap();
    assert_eq!((cloud.one::<i32>("SELECT width FROM sources").await, pending(&cloud).await), (2, 1));
    let open = listed(&cloud, Some(Resolution::Pending)).await.remove(0);
    resolve(&cloud.db, &cloud.catalog, "eve", &command(&open, Resolution::LocalWins)).await.unwrap();
    assert_eq!((cloud.one::<i32>("SELECT width FROM sources").await, pending(&cloud).await), (3, 0));

    site.pull().await;
    let answer = site.push_one(add(&cloud, &site, &s, &[(&Uuid::new_v4(), -12)])).await;
    assert_eq!(verdict(&answer), "parked");
    cloud.run("UPDATE sources SET stock = 50").await;
    let open = listed(&cloud, Some(Resolution::Pending)).await.remove(0);
    resolve(&cloud.db, &cloud.catalog, "eve", &command(&open, Resolution::LocalWins)).await.unwrap();
    assert_eq!(stock(&cloud).await, 38);
}
