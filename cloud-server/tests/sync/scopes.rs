//! Nobody writes or reads outside his scopes, whatever he sends, and rows always stand in the scope that is theirs.

use cloud_server::store::conflicts::{list, resolve};
use conflict_ui_api::backend::ConflictQuery;
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::change::{Confirmed, Op, RowChange};
use sync_core::conflict::Resolution;
use sync_core::value::Value;

use crate::cloud::{Cloud, connect};
use crate::deciding::command;
use crate::site::{Site, id, stamp, verdict, verdicts};

fn source(site: &Site<'_>, id: &str, production: &str, slot: i64) -> RowChange {
    site.insert("sources", &json!({"id": id, "production_id": production, "name": format!("s{slot}"), "slot": slot, "number": slot}))
}

#[tokio::test]
async fn h15a_a_parent_that_moves_meanwhile_takes_the_pushed_child_with_it() {
    let cloud = Cloud::start().await;
    let (p1, p2, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&p1, &[&s]).await;
    cloud.production(&p2, &[]).await;
    let mut site = cloud.site("a", &["*"]).await;
    let mover = connect(cloud.url()).await;
    mover.batch_execute(&format!("BEGIN; UPDATE sources SET production_id = '{p2}', slot = 7")).await.unwrap();
    let push = site.next_push(vec![site.insert("outputs", &json!({"source_id": s, "port": "1", "label": "x"}))]);
    let body = sync_core::wire::codec::encode(&push).unwrap();
    let (answer, ()) = tokio::join!(site.send(&body), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        mover.batch_execute("COMMIT").await.unwrap();
    });
    site.take_answer(&push, &body, &answer.unwrap());
    let scope: String = cloud.one("SELECT rejoin_scope FROM outputs").await;
    assert_eq!(scope, format!("productions/{p2}"));
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn h15b_a_key_that_belongs_to_another_tenant_is_not_taken_over_and_not_shown() {
    let cloud = Cloud::start().await;
    let (mine, theirs, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&mine, &[]).await;
    cloud.production(&theirs, &[&s]).await;
    let mut site = cloud.site("a", &[&mine]).await;
    let answer = site.push_one(source(&site, &s, &mine, 5)).await;
    assert_eq!((verdict(&answer), &answer.confirmed), ("held", &Confirmed::Nothing));
    // An edit of it, and one that would move it here, are refused alike; a row that is moved there too.
    let table = cloud.table("sources");
    let column = table.column_named("production_id").unwrap().no;
    let edit = sync_core::change::Edit {
        column,
        base: Value::Uuid(uuid::Uuid::parse_str(&theirs).unwrap()),
        new: Value::Uuid(uuid::Uuid::parse_str(&mine).unwrap()),
    };
    let steal = RowChange {
        table: table.no,
        key: site.key("sources", &s),
        stamp: stamp(3),
        base: None,
        op: Op::Update(vec![edit]),
        additions: Vec::new(),
        times: Vec::new(),
    };
    let answer = site.push_one(steal).await;
    assert_eq!((verdict(&answer), &answer.confirmed), ("parked", &Confirmed::Nothing));
    let scope: String = cloud.one("SELECT rejoin_scope FROM sources").await;
    assert_eq!(scope, format!("productions/{theirs}"));
    assert_eq!(cloud.count("rejoin.sync_conflicts WHERE cloud_data IS NOT NULL OR kind <> 'rejected'").await, 0);
    let head: i64 = cloud.one(&format!("SELECT head FROM rejoin.scopes WHERE scope = 'productions/{theirs}'")).await;
    assert_eq!(head, 2, "a scope that the site does not hold is not touched");

    site.push_one(source(&site, &id('s', 2), &mine, 1)).await;
    let away = site.update("sources", &id('s', 2), &json!({"production_id": theirs, "slot": 9}));
    assert_eq!(verdict(&site.push_one(away).await), "parked");
    assert_eq!(verdict(&site.push_one(source(&site, &id('s', 3), &theirs, 3)).await), "held");
    assert_eq!(cloud.count(&format!("sources WHERE production_id = '{theirs}'")).await, 1);
}

#[tokio::test]
async fn h15c_pushing_an_existing_root_grants_nothing_and_its_children_stay_out() {
    let cloud = Cloud::start().await;
    let (theirs, gone) = (id('p', 2), id('p', 3));
    cloud.production(&theirs, &[]).await;
    cloud.production(&gone, &[]).await;
    cloud.run(&format!("DELETE FROM productions WHERE id = '{gone}'")).await;
    let mut site = cloud.site("a", &[]).await;
    let rows = vec![
        site.insert("productions", &json!({"id": theirs, "name": "p"})),
        source(&site, &id('s', 1), &theirs, 1),
        site.insert("productions", &json!({"id": gone, "name": "back"})),
        source(&site, &id('s', 2), &gone, 1),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "held", "held"]);
    assert_eq!((cloud.count("rejoin.subscriptions").await, cloud.count("sources").await), (0, 0));
    assert!(site.pull().await.rows.iter().all(|(table, _)| table == "sync_conflicts"));
}

#[tokio::test]
async fn h15d_a_unique_clash_with_another_tenant_does_not_show_the_other_row() {
    let cloud = Cloud::start().await;
    let theirs = id('p', 2);
    cloud.production(&theirs, &[]).await;
    cloud.run("UPDATE productions SET code = 'X', name = 'secret'").await;
    let mut site = cloud.site("a", &[]).await;
    let (p, s) = (id('p', 1), id('s', 1));
    let rows = vec![
        site.insert("productions", &json!({"id": p, "name": "mine", "code": "X"})),
        source(&site, &s, &p, 1),
        site.insert("outputs", &json!({"source_id": s, "port": "1", "label": "x"})),
    ];
    let answers = site.push(rows).await;
    assert_eq!(verdicts(&answers), ["held", "held", "held"]);
    let shown: i64 = cloud.count("rejoin.sync_conflicts WHERE cloud_data IS NOT NULL OR cloud_record_id IS NOT NULL").await;
    assert_eq!(shown, 0);
    assert_eq!(cloud.count("rejoin.subscriptions").await, 0);
    // The dependents hang from the one that was refused.
    let roots: i64 = cloud.count("rejoin.sync_conflicts c JOIN rejoin.sync_conflicts r ON r.id = c.root_id WHERE r.kind = 'unique'").await;
    assert_eq!(roots, 2);
}

#[tokio::test]
async fn the_engines_tables_and_keys_that_are_none_are_parked_and_stop_nobody() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    let users = cloud.table("users");
    let name = users.column_named("name").unwrap().no;
    let admin = RowChange {
        table: users.no,
        key: sync_core::id::Key(vec![Value::Text("root".into())]),
        stamp: stamp(1),
        base: None,
        op: Op::Insert(vec![(name, Value::Text("root".into()))]),
        additions: Vec::new(),
        times: Vec::new(),
    };
    let mut nonsense = source(&site, &id('s', 1), &p, 1);
    nonsense.key = sync_core::id::Key(vec![Value::Text("no uuid".into())]);
    let answers = site.push(vec![admin, nonsense, source(&site, &id('s', 2), &p, 2)]).await;
    assert_eq!(verdicts(&answers), ["held", "held", "exact"]);
    assert_eq!(cloud.count("rejoin.users").await, 0);
    // Nobody can let them in by a decision either, but they can be put away.
    let client = cloud.db.client().await.unwrap();
    let open = list(&client, &cloud.catalog, &ConflictQuery { limit: 10, ..ConflictQuery::default() }).await.unwrap();
    assert_eq!(open.len(), 2);
    for conflict in open {
        let refused = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await;
        assert!(matches!(refused, Err(BackendError::Undecidable(_))), "{refused:?}");
        let closed = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::CloudWins)).await.unwrap();
        assert_eq!(closed.resolution, Resolution::CloudWins);
    }
    assert_eq!(cloud.count("rejoin.users").await, 0);
}

#[tokio::test]
async fn a_row_that_moves_takes_its_subtree_and_leaves_marks() {
    let cloud = Cloud::start().await;
    let (p1, p2, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&p1, &[&s]).await;
    cloud.production(&p2, &[]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{s}', '1', 'x')")).await;
    let mut both = cloud.site("both", &[&p1, &p2]).await;
    let mut first = cloud.site("first", &[&p1]).await;
    both.pull().await;
    first.pull().await;
    let answer = both.push_one(both.update("sources", &s, &json!({"production_id": p2}))).await;
    assert_eq!(verdict(&answer), "exact");
    assert_eq!(cloud.one::<String>("SELECT rejoin_scope FROM outputs").await, format!("productions/{p2}"));
    let pulled = both.pull().await;
    assert!(pulled.gone.iter().all(|gone| gone.left), "{pulled:?}");
    both.assert_same_as_cloud().await;
    assert_eq!(first.pull().await.gone.len(), 2);
    first.assert_same_as_cloud().await;
}

#[tokio::test]
async fn h15d_an_edit_of_another_tenants_deleted_row_does_not_show_what_it_held() {
    let cloud = Cloud::start().await;
    let (mine, theirs, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&mine, &[]).await;
    cloud.production(&theirs, &[&s]).await;
    cloud.run("UPDATE sources SET tags = '{secret}'; DELETE FROM sources").await;
    let mut site = cloud.site("a", &[&mine]).await;
    let table = cloud.table("sources");
    let column = table.column_named("name").unwrap().no;
    let edit = sync_core::change::Edit { column, base: Value::Text("x".into()), new: Value::Text("y".into()) };
    let guess = RowChange {
        table: table.no,
        key: site.key("sources", &s),
        stamp: stamp(3),
        base: None,
        op: Op::Update(vec![edit]),
        additions: Vec::new(),
        times: Vec::new(),
    };
    let answer = site.push_one(guess).await;
    assert_eq!((verdict(&answer), &answer.confirmed), ("parked", &Confirmed::Nothing));
    assert_eq!(cloud.one::<String>("SELECT local_data::text FROM rejoin.sync_conflicts").await, r#"{"name": "y"}"#);
}

#[tokio::test]
async fn a_row_of_another_tenant_that_somebody_holds_keeps_nobody_waiting() {
    let cloud = Cloud::start().await;
    let (mine, theirs, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&mine, &[]).await;
    cloud.production(&theirs, &[&s]).await;
    let mut site = cloud.site("a", &[&mine]).await;
    let other = connect(cloud.url()).await;
    other.batch_execute("BEGIN; UPDATE sources SET name = 'held'").await.unwrap();
    let rows = vec![source(&site, &s, &mine, 5), source(&site, &id('s', 2), &mine, 6)];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "exact"]);
}
