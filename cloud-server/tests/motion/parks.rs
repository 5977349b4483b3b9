//! What a site wrote under an older catalog and the schema of now cannot hold parks as `schema`, with its data; the rest is taken.

use serde_json::{Value as Json, json};
use sync_core::change::{Edit, Op, RowChange};
use sync_core::conflict::Resolution;
use sync_core::value::Value;
use sync_core::wire::message::{PushResult, Refusal};

use crate::Away;
use crate::cloud::Cloud;
use crate::site::{id, verdict, verdicts};

/// Everything that is parked, in words.
async fn parked(cloud: &Cloud) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', kind, record_id, array_to_string(columns, ','), held, local_data -> columns[1]) || ': ' || reason
               FROM rejoin.sync_conflicts WHERE resolution = 'PENDING' ORDER BY record_id";
    cloud.sql.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn values_that_a_narrower_column_cannot_hold_park_and_the_rest_is_taken() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud
        .run(&format!(
            "CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE marks ADD year integer, ADD code text, ADD tag varchar(20), ADD mood mood;
             INSERT INTO marks (id, production_id, note, year, code) SELECT n, '{p}', 'n', 1, '5' FROM unnest(ARRAY['a', 'b', 'c', 'd', 'e']) n"
        ))
        .await;
    let cloud = cloud.prepared_again().await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![
        site.update("marks", "a", &json!({"year": 70_000, "note": "mine"})),
        site.update("marks", "b", &json!({"code": "abc", "note": "mine"})),
        site.update("marks", "c", &json!({"tag": "much too long", "note": "mine"})),
        site.update("marks", "d", &json!({"mood": "bad", "note": "mine"})),
        site.update("marks", "e", &json!({"note": null, "year": 2})),
    ];
    let old = site.next_push(rows.clone());
    let away = Away::of(&site);
    cloud.without_triggers("marks").await;
    cloud
        .run(
            "ALTER TABLE marks ALTER year TYPE smallint, ALTER code TYPE integer USING code::integer, ALTER tag TYPE varchar(4), ALTER note SET NOT NULL;
              CREATE TYPE temper AS ENUM ('good'); ALTER TABLE marks ALTER mood TYPE temper USING mood::text::temper",
        )
        .await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    assert_eq!(site.push_whole(&old).await.result, PushResult::Refused(Refusal::Catalog(cloud.catalog.version)));
    // Cut anew, with the values of then where no others fit.
    let answers = site.push(rows).await;
    assert_eq!(verdicts(&answers), ["parked"; 5]);
    assert_eq!(
        parked(&cloud).await,
        [
            "schema a year f 70000: year takes an integer from -32768 to 32767 now",
            "schema b code f \"abc\": code takes an integer from -2147483648 to 2147483647 now",
            "schema c tag f \"much too long\": tag takes text of at most 4 characters now",
            "schema d mood f \"bad\": mood takes one of good now",
            "schema e note f null: note takes text now and must have a value",
        ]
    );
    let rest: String = cloud.one("SELECT string_agg(id || note || year, ' ' ORDER BY id) FROM marks").await;
    assert_eq!(rest, "amine1 bmine1 cmine1 dmine1 en2");
    // The person who decides gives what fits.
    let (conflict, etag) = crate::decisions::open(&cloud).await;
    let conflicts = crate::decisions::open_all(&cloud).await;
    let of_code = conflicts.iter().find(|conflict| conflict.record_id == "b").unwrap();
    let refused = crate::decisions::decide(&cloud, of_code.id, of_code.cloud_etag.clone(), Resolution::LocalWins, Vec::new()).await;
    assert!(refused.unwrap_err().to_string().contains("give a value with MANUAL"));
    let code = cloud.table("marks").column_named("code").unwrap().no;
    let manual = vec![(code, Value::Int(9))];
    crate::decisions::decide(&cloud, of_code.id, of_code.cloud_etag.clone(), Resolution::Manual, manual).await.unwrap();
    assert_eq!(cloud.one::<i32>("SELECT code FROM marks WHERE id = 'b'").await, 9);
    let _ = (conflict, etag);
}

#[tokio::test]
async fn a_value_that_the_column_never_held_is_rejected_as_before() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let mut edit = site.update("sources", &id('s', 1), &json!({"width": 1}));
    let Op::Update(edits) = &mut edit.op else { panic!() };
    edits[0] = Edit { new: Value::Text("wide".into()), ..edits[0].clone() };
    site.push_one(edit).await;
    assert!(site.reasons().await[0].starts_with("rejected sources"), "{:?}", site.reasons().await);
}

#[tokio::test]
async fn an_insert_without_a_value_that_it_must_have_by_now_is_held_and_can_be_offered_again() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let site = cloud.site("a", &[&p]).await;
    let no = cloud.table("marks").column_named("note").unwrap().no;
    let insert = |site: &crate::site::Site<'_>, id: &str| site.insert("marks", &json!({"id": id, "production_id": p}));
    let (null, none) = (insert(&site, "a"), insert(&site, "b"));
    let none = RowChange {
        op: match none.op {
            Op::Insert(values) => Op::Insert(values.into_iter().filter(|(column, _)| *column != no).collect()),
            other => other,
        },
        ..none
    };
    let away = Away::of(&site);
    cloud.run("ALTER TABLE marks ALTER note SET NOT NULL").await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    let answers = site.push(vec![null, none]).await;
    assert_eq!(verdicts(&answers), ["held", "held"], "{:?}", parked(&cloud).await);
    assert_eq!(parked(&cloud).await, ["schema a note t null: note must have a value now", "schema b note t: note must have a value now"]);
    // The person at the site gives one.
    let again = site.insert("marks", &json!({"id": "a", "production_id": p, "note": "here"}));
    assert_eq!(verdict(&site.push_one(again).await), "exact");
    // Or whoever decides does.
    let conflict = crate::decisions::open_all(&cloud).await.remove(0);
    assert_eq!(conflict.record_id, "b");
    let manual = vec![(no, Value::Text("there".into()))];
    crate::decisions::decide(&cloud, conflict.id, conflict.cloud_etag, Resolution::Manual, manual).await.unwrap();
    assert_eq!(cloud.one::<String>("SELECT string_agg(note, ' ' ORDER BY id) FROM marks").await, "here there");
}

#[tokio::test]
async fn a_column_that_was_required_all_along_parks_as_before() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let insert = site.insert("sources", &json!({"id": s, "production_id": p, "name": null, "slot": 1, "number": 1}));
    site.push_one(insert).await;
    assert!(site.reasons().await[0].starts_with("check sources"), "{:?}", site.reasons().await);
}

#[tokio::test]
async fn a_column_that_the_old_schema_did_not_have_is_never_nulled() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(&format!("INSERT INTO marks VALUES ('a', '{p}', 'x')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let edit = site.update("marks", "a", &json!({"note": "mine"}));
    let insert = site.insert("marks", &json!({"id": "b", "production_id": p, "note": "new"}));
    let away = Away::of(&site);
    cloud.run("ALTER TABLE marks ADD owner text NOT NULL DEFAULT 'nobody'; UPDATE marks SET owner = 'ann'").await;
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    let answers = site.push(vec![edit, insert]).await;
    assert_eq!(answers.len(), 2);
    let rows: Json = cloud.one("SELECT jsonb_agg(jsonb_build_array(note, owner) ORDER BY id) FROM marks").await;
    assert_eq!(rows, json!([["mine", "ann"], ["new", "nobody"]]));
}
