//! Trials: what other policies would have made of the conflicts on record.

use chrono::{DateTime, Utc};
use cloud_server::store::conflicts::try_policies;
use conflict_ui_api::backend::PolicyTrial;
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::limits::{TRIAL_EXAMPLES_MAX, TRIAL_PAGE_ROWS};
use sync_core::policy::Policy;

use crate::deciding::column;
use crate::policies::{clash, cloud, one};

#[tokio::test]
async fn a_trial_says_what_other_policies_would_have_made_of_it() {
    let cloud = cloud("[tables.sources.policies]\nname = 'cloud_wins'\n").await;
    let (mut site, s) = one(&cloud, "note = E'a\\nb\\nc\\n', stock = 10, name = 'n'").await;
    let since: DateTime<Utc> = cloud.one("SELECT now()").await;
    // One conflict of two columns, one loss, and one of another column.
    let mine = json!({"note": "a\nb\nC\n", "stock": 8});
    clash(&cloud, &mut site, &s, mine, "note = E'A\\nb\\nc\\n', stock = 15").await;
    clash(&cloud, &mut site, &s, json!({"name": "mine"}), "name = 'theirs'").await;
    cloud.run("UPDATE rejoin.sync_conflicts SET resolution = 'CLOUD_WINS', resolved_at = now() WHERE policy IS NULL").await;
    clash(&cloud, &mut site, &s, json!({"height": 1}), "height = 2").await;

    let tried = async |policies: Vec<(&str, Policy)>| {
        let table = cloud.table("sources").no;
        let policies: Vec<_> = policies.into_iter().map(|(name, policy)| (table, column(&cloud, name), policy)).collect();
        try_policies(&cloud.db.client().await.unwrap(), &cloud.catalog, since, &policies).await
    };
    let trial = tried(vec![("note", Policy::Text)]).await.unwrap();
    let counts = |trial: &PolicyTrial| (trial.looked_at, trial.merged, trial.cloud_wins, trial.local_wins, trial.parked, trial.unknown);
    assert_eq!(counts(&trial), (1, 0, 0, 0, 1, 0), "the stock would still have been parked");
    assert_eq!((trial.examples[0].outcome.as_str(), &trial.examples[0].value), ("merged", &Some(json!("A\nb\nC\n"))));
    let trial = tried(vec![("note", Policy::Text), ("stock", Policy::Add)]).await.unwrap();
    assert_eq!(counts(&trial), (1, 1, 0, 0, 0, 0));
    assert!(trial.examples.iter().any(|example| example.column == "stock" && example.value == Some(json!(13))), "{trial:?}");
    let trial = tried(vec![("name", Policy::Max), ("height", Policy::Min)]).await.unwrap();
    assert_eq!((counts(&trial), trial.by_site.get("a")), ((2, 0, 1, 1, 0, 0), Some(&2)));
    // The site's time is of January; the cloud's is now.
    let trial = tried(vec![("name", Policy::Newest)]).await.unwrap();
    assert_eq!(counts(&trial), (1, 0, 1, 0, 0, 0));
    let error = tried(vec![("name", Policy::Add), ("id", Policy::Newest)]).await.unwrap_err();
    let BackendError::Invalid(faults) = error else { panic!("{error}") };
    assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["sources.name", "sources.id"]);
    let later = try_policies(&cloud.db.client().await.unwrap(), &cloud.catalog, Utc::now(), &[]).await.unwrap();
    assert_eq!(later, PolicyTrial::default());
}

#[tokio::test]
async fn a_trial_goes_through_any_number_of_conflicts() {
    let cloud = cloud("").await;
    let (site, s) = one(&cloud, "").await;
    let many = TRIAL_PAGE_ROWS * 2 + 3;
    cloud
        .run(&format!(
            "INSERT INTO rejoin.sync_conflicts (id, table_name, record_id, kind, reason, columns, base_data, cloud_data, local_data, table_no,
                 site_id, site_name, replica, push_no, resolution)
             SELECT gen_random_uuid(), 'sources', '{s}', 'update_update', 'r', '{{width}}', '{{\"width\":1}}', '{{\"width\":2}}',
                 CASE WHEN n > 1 THEN '{{\"width\":3}}' END::jsonb, {}, s.id, 'a', '{}', n, 'CLOUD_WINS'
             FROM generate_series(1, {many}) n, rejoin.sites s WHERE s.name = 'a'",
            cloud.table("sources").no,
            site.enrolled.replica,
        ))
        .await;
    let policies = [(cloud.table("sources").no, column(&cloud, "width"), Policy::Max)];
    let trial = try_policies(&cloud.db.client().await.unwrap(), &cloud.catalog, DateTime::UNIX_EPOCH, &policies).await.unwrap();
    assert_eq!((trial.looked_at, trial.local_wins, trial.unknown), (many as u64, many as u64 - 1, 1));
    assert_eq!(trial.examples.len(), TRIAL_EXAMPLES_MAX);
}
