//! Sites: join once, hold scopes, are shut out at the next request.

use cloud_server::Cloud;
use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sync_core::catalog::Catalog;
use sync_core::id::{CatalogVersion, CloudEpoch};
use sync_core::wire::codec::{self, MEDIA_TYPE};
use sync_core::wire::message::{Enrol, Enrolled, Replica, Speaker};

use crate::harness::{Server, config};

/// Sends a message; the status, and the answer where it is one.
pub(crate) async fn call<M: Serialize, A: DeserializeOwned>(url: &str, path: &str, key: &str, message: &M) -> (StatusCode, Option<A>) {
    let request = reqwest::Client::new().post(format!("{url}/sync/v1/{path}")).header("content-type", MEDIA_TYPE).bearer_auth(key);
    let response = request.body(codec::encode(message).unwrap()).send().await.unwrap();
    let (status, body) = (response.status(), response.bytes().await.unwrap());
    if !status.is_success() {
        println!("{path}: {}", String::from_utf8_lossy(&body));
    }
    (status, status.is_success().then(|| codec::decode(&body).unwrap()))
}

async fn enrol(url: &str, token: &str) -> (StatusCode, Option<Enrolled>) {
    call(url, "enrol", "", &Enrol { token: token.to_owned() }).await
}

fn speaker(site: &Enrolled) -> Speaker {
    Speaker { replica: site.replica, epoch: site.epoch, cloud_epoch: site.cloud_epoch, catalog: CatalogVersion(0) }
}

#[tokio::test]
async fn a_token_lets_in_once_and_a_revoked_key_opens_nothing_at_the_next_request() {
    let server = Server::start().await;
    let admin = server.admin();
    let url = server.cloud.url();
    let invited = admin.post("/api/rejoin/sites", json!({ "name": "studio-2", "scopes": ["*"] })).await;
    assert_eq!(invited.status, StatusCode::CREATED, "{}", invited.body);
    let token = invited.body["token"].as_str().unwrap();
    assert_eq!(enrol(url, "rje_wrong").await.0, StatusCode::UNAUTHORIZED);

    // Two at once: one gets in.
    let (first, second) = tokio::join!(enrol(url, token), enrol(url, token));
    let mut statuses = [first.0, second.0];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::UNAUTHORIZED]);
    let site = first.1.or(second.1).unwrap();
    assert_eq!(site.name, "studio-2");

    let (status, catalog) = call::<_, Catalog>(url, "catalog", &site.key, &speaker(&site)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(catalog.unwrap().tables.iter().any(|table| table.name == "productions"));
    let (_, replica) = call::<_, Replica>(url, "replica", &site.key, &speaker(&site)).await;
    assert_ne!(replica.unwrap().replica, site.replica);

    let listed = admin.get("/api/rejoin/sites/studio-2").await.body;
    assert_eq!((&listed["enrolled"], listed["replicas"].as_array().unwrap().len()), (&json!(true), 2));
    assert!(listed["lastSeenAt"].is_string());

    assert_eq!(admin.delete("/api/rejoin/sites/studio-2").await.status, StatusCode::OK);
    assert_eq!(call::<_, Catalog>(url, "catalog", &site.key, &speaker(&site)).await.0, StatusCode::UNAUTHORIZED);

    let again = admin.post("/api/rejoin/sites/studio-2/token", json!({})).await;
    let (status, back) = enrol(url, again.body["token"].as_str().unwrap()).await;
    assert_eq!((status, back.unwrap().site), (StatusCode::OK, site.site), "the same site, with a new key");
}

#[tokio::test]
async fn a_token_that_ran_out_lets_nobody_in() {
    let server = Server::start().await;
    let invited = server.admin().post("/api/rejoin/sites", json!({ "name": "late", "scopes": ["*"], "expiresIn": 3600 })).await;
    server.sql("UPDATE rejoin.sites SET enrol_expires_at = now() - interval '1 second'").await;
    assert_eq!(enrol(server.cloud.url(), invited.body["token"].as_str().unwrap()).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn scopes_are_checked_given_and_taken() {
    let server = Server::start().await;
    let admin = server.admin();
    let production = admin.production("Gala").await;
    let scope = format!("productions/{production}");
    for wrong in ["productions", "sources/1", "productions/x", "site/1", "global", &format!("productions/{}", uuid::Uuid::now_v7())] {
        let answer = admin.post("/api/rejoin/sites", json!({ "name": "a", "scopes": [wrong] })).await;
        assert_eq!(answer.problem(), (422, "invalid_fields"), "{wrong}: {}", answer.body);
    }
    assert_eq!(admin.post("/api/rejoin/sites", json!({ "name": "a", "scopes": [scope] })).await.status, StatusCode::CREATED);
    assert_eq!(admin.post("/api/rejoin/sites", json!({ "name": "a", "scopes": ["*"] })).await.problem(), (409, "duplicate"));
    assert_eq!(admin.post("/api/rejoin/sites", json!({ "name": "A b", "scopes": ["*"] })).await.problem(), (422, "invalid_fields"));

    let given = admin.post("/api/rejoin/sites/a/scopes", json!({ "scope": "*" })).await.body;
    assert_eq!(given["scopes"], json!(["*", scope]));
    let taken = admin.delete("/api/rejoin/sites/a/scopes/*").await.body;
    assert_eq!(taken["scopes"], json!([scope]));
    let taken = admin.delete(&format!("/api/rejoin/sites/a/scopes/productions%2F{production}")).await.body;
    assert_eq!((&taken["scopes"], &taken["dropping"]), (&json!([]), &json!([scope])));
    assert_eq!(admin.post("/api/rejoin/sites/b/scopes", json!({ "scope": "*" })).await.problem(), (404, "not_found"));
}

#[tokio::test]
async fn the_protocol_takes_its_own_messages_only() {
    let server = Server::start().await;
    let url = format!("{}/sync/v1/enrol", server.cloud.url());
    let http = reqwest::Client::new();
    let send = |media: &'static str, body: Vec<u8>| {
        let request = http.post(&url).header("content-type", media).body(body);
        async move { request.send().await.unwrap().status() }
    };
    assert_eq!(send("application/json", b"{}".to_vec()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(send(MEDIA_TYPE, b"<html>".to_vec()).await, StatusCode::BAD_REQUEST);
    assert_eq!(send(MEDIA_TYPE, vec![0; sync_core::limits::WIRE_BYTES_MAX + 1]).await, StatusCode::PAYLOAD_TOO_LARGE);
    let speaker = Speaker {
        replica: sync_core::id::ReplicaId(uuid::Uuid::nil()),
        epoch: sync_core::id::ReplicaEpoch(uuid::Uuid::nil()),
        cloud_epoch: CloudEpoch(uuid::Uuid::nil()),
        catalog: CatalogVersion(0),
    };
    assert_eq!(call::<_, Catalog>(server.cloud.url(), "catalog", "rjk_wrong", &speaker).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        call::<_, Catalog>(server.cloud.url(), "catalog", server.cloud.token(), &speaker).await.0,
        StatusCode::UNAUTHORIZED,
        "a person's token is no site key"
    );
}

#[tokio::test]
async fn a_site_survives_a_restart_of_the_cloud() {
    let server = Server::start().await;
    let invited = server.admin().post("/api/rejoin/sites", json!({ "name": "s", "scopes": ["*"] })).await;
    let site = enrol(server.cloud.url(), invited.body["token"].as_str().unwrap()).await.1.unwrap();
    server.cloud.stop().await;
    let cloud = Cloud::start(config(&server.folder, server.database.url())).await.unwrap();
    let (status, _) = call::<_, Catalog>(cloud.url(), "catalog", &site.key, &speaker(&site)).await;
    assert_eq!(status, StatusCode::OK);
    cloud.stop().await;
}
