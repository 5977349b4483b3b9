//! How tests find conflicts and decide them.

use cloud_server::store::conflicts::{list, resolve};
use conflict_ui_api::backend::{Conflict, ConflictFilter, ConflictQuery};
use serde_json::json;
use sync_core::change::RowChange;
use sync_core::conflict::{Resolution, Way};
use sync_core::id::ColumnNo;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::Cloud;
use crate::site::{Site, id, verdict};

pub fn source(site: &Site<'_>, id: &str, production: &str, slot: i64) -> RowChange {
    site.insert("sources", &json!({"id": id, "production_id": production, "name": format!("s{slot}"), "slot": slot, "number": slot}))
}

pub fn command(conflict: &Conflict, resolution: Resolution) -> ResolveCommand {
    ResolveCommand {
        conflict: conflict.id,
        revision: conflict.revision,
        cloud_etag: conflict.cloud_etag.clone(),
        resolution,
        values: Vec::new(),
        by: "eve".to_owned(),
        way: Way::Plain,
        besides: None,
    }
}

/// The conflicts of this resolution.
pub async fn listed(cloud: &Cloud, resolution: Option<Resolution>) -> Vec<Conflict> {
    let filter = ConflictFilter { resolution, ..ConflictFilter::default() };
    let query = ConflictQuery { filter, limit: 100, ..ConflictQuery::default() };
    list(&cloud.db.client().await.unwrap(), &cloud.catalog, &query).await.unwrap()
}

pub async fn open(cloud: &Cloud) -> Vec<Conflict> {
    listed(cloud, Some(Resolution::Pending)).await
}

pub async fn decide(cloud: &Cloud, conflict: &Conflict, resolution: Resolution) -> Conflict {
    resolve(&cloud.db, &cloud.catalog, "eve", &command(conflict, resolution)).await.unwrap()
}

pub fn column(cloud: &Cloud, name: &str) -> ColumnNo {
    cloud.table("sources").column_named(name).unwrap().no
}

/// One production with one source, whose name the site and the cloud both changed.
pub async fn clashed<'c>(cloud: &'c Cloud) -> (Site<'c>, Conflict) {
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.update("sources", &s, &json!({"name": "mine", "width": 1}));
    cloud.run("UPDATE sources SET name = 'theirs'").await;
    let answer = site.push_one(change).await;
    assert_eq!((verdict(&answer), answer.clashed.as_slice()), ("parked", &[column(cloud, "name")][..]));
    let conflict = open(cloud).await.remove(0);
    (site, conflict)
}
