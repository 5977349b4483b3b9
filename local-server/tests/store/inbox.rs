//! A site's conflicts: lists by every filter, sorts with pages, counts, groups, details, decisions of every way, many at once.

use conflict_ui_api::backend::{
    Backend, BulkDecision, Conflict, ConflictFilter, ConflictQuery, ConflictSort, DecisionState, Principal, Role,
};
use conflict_ui_api::error::BackendError;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::id::ConflictId;
use sync_core::wire::message::ResolveCommand;
use uuid::Uuid;

use crate::serving::{Served, served};

pub(crate) fn id(no: u128) -> ConflictId {
    ConflictId(Uuid::from_u128(no))
}

/// One conflict to be; `cols` are its columns with values as SQL, over defaults.
fn insert(no: u128, over: &[(&str, &str)]) -> String {
    let mut columns = vec![
        ("id", format!("'{}'", Uuid::from_u128(no))),
        ("table_name", "'t'".into()),
        ("record_id", format!("'r{no}'")),
        ("table_no", "1".into()),
        ("cloud_version", "1".into()),
        ("local_version", "2".into()),
        ("resolution", "'PENDING'".into()),
        ("created_at", format!("'2026-01-{no:02}T00:00:00.000000Z'")),
        ("kind", "'update_update'".into()),
        ("reason", "'both'".into()),
        ("columns", "'[\"b\"]'".into()),
        ("site_name", "'venue'".into()),
        ("push_no", no.to_string()),
        ("revision", "1".into()),
        ("held", "0".into()),
        ("local_data", r#"'{"b":"mine"}'"#.into()),
    ];
    for (name, value) in over {
        columns.retain(|(known, _)| known != name);
        columns.push((name, (*value).to_owned()));
    }
    let (names, values): (Vec<&str>, Vec<String>) = columns.into_iter().unzip();
    format!("INSERT INTO sync_conflicts ({}) VALUES ({});", names.join(", "), values.join(", "))
}

fn quoted(no: u128) -> String {
    format!("'{}'", Uuid::from_u128(no))
}

async fn listed(site: &Served, filter: ConflictFilter, sort: ConflictSort) -> String {
    // In pages of two: what a page ends with is where the next one begins.
    let mut query = ConflictQuery { filter, sort, after: None, limit: 2 };
    let mut told = Vec::new();
    loop {
        let page = site.backend.conflicts(&query).await.unwrap();
        told.extend(page.iter().map(|conflict| conflict.id.0.as_u128().to_string()));
        match page.last() {
            Some(last) if page.len() == 2 => query.after = Some(last.id),
            _ => return told.join(" "),
        }
    }
}

fn admin() -> Principal {
    Principal { name: "bea".into(), role: Role::Admin }
}

pub(crate) fn decision(conflict: &Conflict, resolution: Resolution, way: Way) -> ResolveCommand {
    ResolveCommand {
        conflict: conflict.id,
        revision: conflict.revision,
        cloud_etag: conflict.cloud_etag.clone(),
        resolution,
        values: vec![],
        by: String::new(),
        way,
        besides: None,
    }
}

#[tokio::test]
async fn every_filter_and_order_is_kept_over_pages() {
    let site = served().await;
    site.sync(
        &[
            insert(1, &[("table_name", "'c'"), ("table_no", "2"), ("record_id", "'b'")]),
            insert(2, &[("site_name", "'attic'"), ("columns", "'[\"a\",\"b\"]'"), ("record_id", "'b'"), ("kind", "'unique'")]),
            insert(3, &[("record_id", "'a'"), ("group_id", &quoted(90)), ("created_at", "'2026-01-02T00:00:00.000000Z'")]),
            insert(4, &[("group_id", &quoted(90)), ("root_id", &quoted(3)), ("columns", "NULL"), ("push_no", "2")]),
            insert(5, &[("resolution", "'CLOUD_WINS'"), ("policy", "'newest'"), ("root_id", &quoted(2)), ("site_name", "'attic'")]),
        ]
        .concat(),
    )
    .await;
    let by = |filter: ConflictFilter| listed(&site, filter, ConflictSort::Newest);
    let all = ConflictFilter::default;
    assert_eq!(by(all()).await, "5 4 2 3 1", "of the same time the smaller id first");
    assert_eq!(listed(&site, all(), ConflictSort::Oldest).await, "1 2 3 4 5");
    assert_eq!(listed(&site, all(), ConflictSort::Record).await, "1 3 2 4 5");
    assert_eq!(listed(&site, all(), ConflictSort::Site).await, "5 2 4 3 1");
    assert_eq!(by(ConflictFilter { resolution: Some(Resolution::CloudWins), ..all() }).await, "5");
    assert_eq!(by(ConflictFilter { table: Some("c".into()), ..all() }).await, "1");
    assert_eq!(by(ConflictFilter { kind: Some(ConflictKind::Unique), ..all() }).await, "2");
    assert_eq!(by(ConflictFilter { site: Some("attic".into()), ..all() }).await, "5 2");
    assert_eq!(by(ConflictFilter { group: Some(Uuid::from_u128(90)), ..all() }).await, "4 3");
    assert_eq!(by(ConflictFilter { group: Some(Uuid::from_u128(2)), ..all() }).await, "2", "a group of its own");
    assert_eq!(by(ConflictFilter { push: Some(2), ..all() }).await, "4 2");
    assert_eq!(by(ConflictFilter { column: Some("a".into()), ..all() }).await, "2");
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!(by(ConflictFilter { since: at("2026-01-02T00:00:00Z"), until: at("2026-01-05T00:00:00Z"), ..all() }).await, "4 2 3");
    assert_eq!(by(ConflictFilter { table: Some("t".into()), record: Some("b".into()), ..all() }).await, "2");
    assert_eq!(
        (by(ConflictFilter { by_policy: Some(true), ..all() }).await, by(ConflictFilter { by_policy: Some(false), ..all() }).await),
        ("5".into(), "4 2 3 1".into())
    );
    assert_eq!(by(ConflictFilter { root: Some(id(3)), ..all() }).await, "4");

    let counts = site.backend.conflict_counts(&ConflictFilter { table: Some("t".into()), ..all() }).await.unwrap();
    assert_eq!(
        serde_json::to_value(counts).unwrap(),
        serde_json::json!({"total": 4, "byKind": {"update_update": 3, "unique": 1}, "byTable": {"t": 4},
                           "bySite": {"attic": 2, "venue": 2}, "byResolution": {"PENDING": 3, "CLOUD_WINS": 1}})
    );
}

#[tokio::test]
async fn a_cause_is_one_line_with_its_first_conflict() {
    let site = served().await;
    let group = |no: u128| quoted(900 + no);
    let mut sql = String::new();
    for no in 1..=4 {
        sql += &insert(no, &[("group_id", &group(1)), ("columns", if no == 2 { "'[\"a\"]'" } else { "'[\"b\"]'" })]);
    }
    sql += &insert(5, &[("group_id", &group(1)), ("root_id", &quoted(2)), ("table_name", "'c'")]);
    sql += &insert(6, &[("kind", "'unique'")]);
    sql += &insert(7, &[("group_id", &group(2)), ("resolution", "'MANUAL'")]);
    sql += &insert(8, &[("group_id", &group(2))]);
    site.sync(&sql).await;
    let query = |after: Option<ConflictId>, resolution| ConflictQuery {
        filter: ConflictFilter { resolution, ..ConflictFilter::default() },
        sort: ConflictSort::Newest,
        after,
        limit: 1,
    };
    let mut told = Vec::new();
    let mut after = None;
    while let Some(group) = site.backend.conflict_groups(&query(after, Some(Resolution::Pending))).await.unwrap().pop() {
        told.push((group.id.as_u128(), group.conflicts, group.dependents, group.columns.join(","), group.example.id.0.as_u128()));
        after = Some(group.example.id);
        assert!(told.len() < 9, "pages end");
    }
    assert_eq!(told, [(902, 1, 0, "b".into(), 8), (6, 1, 0, "b".into(), 6), (901, 4, 1, "a,b".into(), 1)]);
    let resolved = site.backend.conflict_groups(&query(None, Some(Resolution::Manual))).await.unwrap();
    assert_eq!((resolved.len(), resolved[0].first_at.to_rfc3339()), (1, "2026-01-07T00:00:00+00:00".into()));
}

#[tokio::test]
async fn a_catalog_of_before_groups_is_read_as_well() {
    let site = served().await;
    site.sync(&insert(1, &[])).await;
    site.sync(
        "DROP INDEX rejoin_conflicts_group; ALTER TABLE sync_conflicts DROP COLUMN group_id; ALTER TABLE sync_conflicts DROP COLUMN policy;
               ALTER TABLE sync_conflicts DROP COLUMN cloud_modified_by; ALTER TABLE sync_conflicts DROP COLUMN local_modified_by",
    )
    .await;
    assert_eq!(listed(&site, ConflictFilter::default(), ConflictSort::Newest).await, "1");
    assert_eq!(listed(&site, ConflictFilter { by_policy: Some(true), ..ConflictFilter::default() }, ConflictSort::Newest).await, "");
    let groups = site.backend.conflict_groups(&ConflictQuery { limit: 9, ..ConflictQuery::default() }).await.unwrap();
    assert_eq!((groups.len(), groups[0].id), (1, Uuid::from_u128(1)));
    assert_eq!(site.backend.sync_status().await.unwrap().conflicts, 1);
}

#[tokio::test]
async fn a_detail_shows_the_row_that_stands_against_and_the_tree_below() {
    let site = served().await;
    let held = |no: u128, row: &str| {
        insert(
            no,
            &[
                ("table_name", "'c'"),
                ("table_no", "2"),
                ("kind", "'foreign_key'"),
                ("root_id", &quoted(1)),
                ("held", "1"),
                ("local_data", row),
            ],
        )
    };
    let unique = [
        ("kind", "'unique'"),
        ("record_id", "'k7'"),
        ("cloud_record_id", "'k2'"),
        ("held", "1"),
        ("local_data", r#"'{"id":"k7","a":null,"b":"mine","u":"u2"}'"#),
    ];
    site.sync(&[insert(1, &unique), held(2, r#"'{"id":"r2","t":"k7","x":1}'"#), held(3, r#"'{"id":"r3","t":"gone","x":1}'"#)].concat())
        .await;
    let detail = site.backend.conflict_detail(id(1)).await.unwrap().unwrap();
    assert_eq!(detail.current, Some(serde_json::json!({"id": "k2", "a": 2, "b": "two", "u": "u2"})));
    assert_eq!((detail.against.as_deref(), detail.conflict.dependents, detail.undoable), (Some("k2"), 2, None));
    let tree: Vec<_> = detail.dependents_tree.iter().map(|child| (child.record_id.as_str(), child.parent, child.depth)).collect();
    assert_eq!(tree, [("r2", id(1), 1), ("r3", id(1), 1)]);
    assert!(site.backend.conflict_detail(id(99)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_delete_would_take_besides_is_shown_and_must_be_named() {
    let site = served().await;
    let row = r#"'{"id":"k1","a":1,"b":"one","u":"u1"}'"#;
    site.sync(&insert(
        1,
        &[
            ("record_id", "'k1'"),
            ("kind", "'delete_update'"),
            ("columns", "'[]'"),
            ("base_data", row),
            ("local_data", "NULL"),
            ("cloud_data", row),
        ],
    ))
    .await;
    site.sync("UPDATE c SET t = 'k1' WHERE id = 'c2'").await;
    // One child is changed here: to the cloud it is as it was. One is new here: the cloud does not know it.
    site.plain(
        "UPDATE c SET x = 70, t = 'k2' WHERE id = (SELECT min(id) FROM c WHERE t = 'k1'); INSERT INTO c (id, t) VALUES ('new', 'k1')",
    )
    .await;
    let detail = site.backend.conflict_detail(id(1)).await.unwrap().unwrap();
    let shown: Vec<_> = detail.besides.iter().map(|beside| (beside.table_name.as_str(), beside.effect.as_str())).collect();
    assert_eq!((shown, detail.besides_total), (vec![("c", "deleted"); 2], 2), "{:?}", detail.besides);
    let unseen = decision(&detail.conflict, Resolution::LocalWins, Way::Plain);
    assert!(matches!(site.backend.resolve(&admin(), &unseen).await, Err(BackendError::Outdated(_))));
    let all = BulkDecision {
        filter: ConflictFilter::default(),
        resolution: Resolution::LocalWins,
        dry_run: true,
        all_or_nothing: false,
        expected: None,
    };
    let outcome = site.backend.resolve_many(&admin(), &all, &|_, _| {}).await.unwrap();
    assert!(outcome.refused == 1 && outcome.reasons[0].reason.contains("by itself"), "{outcome:?}");
    let seen = ResolveCommand { besides: detail.besides_digest, ..unseen };
    assert!(site.backend.resolve(&admin(), &seen).await.unwrap().decided_not_sent);
    let other = decision(&detail.conflict, Resolution::CloudWins, Way::Plain);
    assert!(site.backend.resolve(&admin(), &other).await.unwrap().decided_not_sent);
}

#[tokio::test]
async fn a_decision_is_shown_as_far_as_it_came_and_taken_back_until_it_is_sent() {
    let site = served().await;
    site.sync(&[insert(1, &[("record_id", "'k1'")]), insert(2, &[("resolution", "'LOCAL_WINS'")])].concat()).await;
    let get = async |no| site.backend.conflict(id(no)).await.unwrap().unwrap();
    let resolve = async |command: ResolveCommand| site.backend.resolve(&admin(), &command).await;
    let state = |conflict: &Conflict| conflict.decision.as_ref().map(|decision| decision.state);

    let nothing = resolve(decision(&get(1).await, Resolution::Pending, Way::Undo)).await;
    assert!(matches!(nothing, Err(BackendError::Undecidable(_))), "{nothing:?}");
    let same = resolve(decision(&get(1).await, Resolution::CloudWins, Way::SameRow)).await;
    assert!(matches!(same, Err(BackendError::Undecidable(_))), "{same:?}");

    let decided = resolve(decision(&get(1).await, Resolution::CloudWins, Way::Plain)).await.unwrap();
    let shown = decided.decision.clone().unwrap();
    assert_eq!((shown.resolution, shown.by.as_str(), shown.state), (Resolution::CloudWins, "bea", DecisionState::Waiting));
    assert_eq!(site.backend.conflict_detail(id(1)).await.unwrap().unwrap().undoable, Some(true));
    let back = resolve(decision(&decided, Resolution::Pending, Way::Undo)).await.unwrap();
    assert_eq!((state(&back), back.decided_not_sent), (None, false));

    resolve(decision(&back, Resolution::LocalWins, Way::Plain)).await.unwrap();
    for (sql, expected) in
        [("UPDATE rejoin_commands SET push_no = 4", DecisionState::Sent), ("UPDATE rejoin_commands SET done = 1", DecisionState::Done)]
    {
        site.sync(sql).await;
        let now = get(1).await;
        assert_eq!((state(&now), now.decided_not_sent), (Some(expected), true));
        for way in [Way::Plain, Way::Undo] {
            let late = resolve(decision(&now, Resolution::LocalWins, way)).await;
            assert!(matches!(late, Err(BackendError::Undecidable(_))), "{late:?}");
        }
    }
    site.sync("UPDATE rejoin_commands SET push_no = NULL, done = 0, refused = 'somebody was first'").await;
    let refused = get(1).await;
    assert_eq!(refused.decision.as_ref().and_then(|decision| decision.refused.as_deref()), Some("somebody was first"));
    assert_eq!((state(&refused), refused.decided_not_sent), (Some(DecisionState::Refused), false));
    let again = resolve(decision(&refused, Resolution::CloudWins, Way::Plain)).await.unwrap();
    assert_eq!(state(&again), Some(DecisionState::Waiting));

    // What the cloud has carried out is taken back by a command of its own.
    let undo = resolve(ResolveCommand { cloud_etag: None, ..decision(&get(2).await, Resolution::Pending, Way::Undo) }).await.unwrap();
    assert_eq!(undo.decision.map(|decision| (decision.way, decision.state)), Some((Way::Undo, DecisionState::Waiting)));
    let outdated = resolve(ResolveCommand { revision: 7, ..decision(&get(2).await, Resolution::Pending, Way::Undo) }).await;
    assert!(matches!(outdated, Err(BackendError::Outdated(_))), "{outdated:?}");
}

#[tokio::test]
async fn many_are_decided_at_once_or_none() {
    let site = served().await;
    let mut sql: String = (1..=9).map(|no| insert(no, &[])).collect();
    sql += &insert(10, &[("root_id", &quoted(1))]);
    sql += &insert(11, &[("resolution", "'MANUAL'")]);
    sql += &insert(12, &[("table_name", "'c'")]);
    site.sync(&sql).await;
    let commands = async || -> i64 {
        site.db
            .read(|c| Ok::<_, local_server::store::DbError>(c.query_row("SELECT count(*) FROM rejoin_commands", [], |row| row.get(0))?))
            .await
            .unwrap()
    };
    let decide = async |decision: BulkDecision| {
        let told = std::sync::Mutex::new(Vec::new());
        let outcome = site.backend.resolve_many(&admin(), &decision, &|done, of| told.lock().unwrap().push((done, of))).await;
        (outcome, told.into_inner().unwrap())
    };
    let all = BulkDecision {
        filter: ConflictFilter { table: Some("t".into()), ..ConflictFilter::default() },
        resolution: Resolution::CloudWins,
        dry_run: true,
        all_or_nothing: false,
        expected: None,
    };
    let (outcome, told) = decide(all.clone()).await;
    let outcome = outcome.unwrap();
    assert_eq!(
        (outcome.matched, outcome.resolved, outcome.refused, commands().await),
        (10, 10, 0, 0),
        "nine, and one that hangs from another"
    );
    assert_eq!(told.last(), Some(&(10, 10)));

    let (wrong, _) = decide(BulkDecision { expected: Some(11), dry_run: false, ..all.clone() }).await;
    assert!(matches!(wrong, Err(BackendError::Miscounted { expected: 11, matched: 10 })), "{wrong:?}");

    // One is on its way.
    site.backend
        .resolve(&admin(), &decision(&site.backend.conflict(id(3)).await.unwrap().unwrap(), Resolution::LocalWins, Way::Plain))
        .await
        .unwrap();
    site.sync("UPDATE rejoin_commands SET push_no = 1").await;
    let real = BulkDecision { dry_run: false, expected: Some(10), ..all };
    let (outcome, _) = decide(BulkDecision { all_or_nothing: true, ..real.clone() }).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.resolved, outcome.refused, outcome.reasons[0].example, commands().await), (0, 1, id(3), 1));
    let (outcome, _) = decide(real).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.resolved, outcome.refused, commands().await), (9, 1, 9), "the root decides for what hangs from it");
}
