//! Who may: the first admin, roles on every route, revocation at the next request.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Client, Server, config};

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn the_first_start_makes_one_admin_whose_secret_signs_in_once() {
    let database = cloud_server::test_support::database().await;
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud_server::Cloud::start(config(&folder, database.url())).await.unwrap();
    let secret = cloud.first_admin_secret().unwrap().to_owned();
    let anybody = Client::new(cloud.url(), "");
    let sign_in = json!({ "name": "admin", "oneTimeSecret": secret, "newPassword": PASSWORD });
    let session = anybody.post("/api/rejoin/sign-in", sign_in.clone()).await;
    assert_eq!(session.status, StatusCode::OK, "{}", session.body);
    let admin = anybody.with(session.body["token"].as_str().unwrap());
    assert_eq!(admin.get("/api/rejoin/users").await.status, StatusCode::OK);
    assert_eq!(anybody.post("/api/rejoin/sign-in", sign_in).await.problem(), (401, "sign_in_failed"));
    cloud.stop().await;

    let cloud = cloud_server::Cloud::start(config(&folder, database.url())).await.unwrap();
    assert!(cloud.first_admin_secret().is_none(), "only the first start makes an admin");
    assert_eq!(Client::new(cloud.url(), &admin.token).get("/api/rejoin/me").await.status, StatusCode::OK, "a session outlives a restart");
    assert_eq!(anybody_signs_in(cloud.url()).await, StatusCode::OK);
    cloud.stop().await;
}

async fn anybody_signs_in(url: &str) -> StatusCode {
    Client::new(url, "").post("/api/rejoin/sign-in", json!({ "name": "admin", "password": PASSWORD })).await.status
}

#[tokio::test]
async fn each_role_may_what_it_may_and_no_more() {
    let server = Server::start().await;
    let admin = server.admin();
    let production = admin.production("Gala").await;
    let mut clients = Vec::new();
    for role in ["viewer", "editor"] {
        let made = admin.post("/api/rejoin/users", json!({ "name": role, "role": role })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let secret = made.body["oneTimeSecret"].as_str().unwrap();
        let sign_in = json!({ "name": role, "oneTimeSecret": secret, "newPassword": PASSWORD });
        let session = admin.with("").post("/api/rejoin/sign-in", sign_in).await;
        clients.push(admin.with(session.body["token"].as_str().unwrap()));
    }
    let [viewer, editor] = clients.try_into().ok().unwrap();
    let record = format!("/api/productions/{production}");
    assert_eq!(admin.with("").get(&record).await.problem(), (401, "unauthenticated"));
    assert_eq!(viewer.get(&record).await.status, StatusCode::OK);
    assert_eq!(viewer.patch(&record, json!({ "venue": "x" })).await.problem(), (403, "forbidden"));
    let written = editor.patch(&record, json!({ "venue": "x" })).await;
    assert_eq!((written.status, &written.body["lastModifiedBy"]), (StatusCode::OK, &json!("editor")));
    for path in ["/api/rejoin/sites", "/api/rejoin/users", "/api/rejoin/digests"] {
        assert_eq!(editor.get(path).await.problem(), (403, "forbidden"), "{path}");
    }
    assert_eq!(admin.get("/health").await.status, StatusCode::OK);

    assert_eq!(admin.delete("/api/rejoin/users/editor").await.status, StatusCode::NO_CONTENT);
    assert_eq!(editor.get(&record).await.problem(), (401, "unauthenticated"), "removed with his sessions");
    let disabled = admin.patch("/api/rejoin/users/viewer", json!({ "disabled": true })).await;
    assert_eq!(disabled.status, StatusCode::OK, "{}", disabled.body);
    assert_eq!(viewer.get(&record).await.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn the_last_admin_cannot_be_removed_or_disabled() {
    let server = Server::start().await;
    let admin = server.admin();
    assert_eq!(admin.delete("/api/rejoin/users/admin").await.problem(), (403, "forbidden"));
    assert_eq!(admin.patch("/api/rejoin/users/admin", json!({ "role": "viewer" })).await.problem(), (403, "forbidden"));
    let made = admin.post("/api/rejoin/users", json!({ "name": "second", "role": "admin" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(admin.delete("/api/rejoin/users/admin").await.status, StatusCode::NO_CONTENT);
}
