//! A site's server from start to stop, with the uplink cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use conflict_ui_api::conformance::System;
use local_server::store::install::install;
use local_server::store::{Database, DbError, StoreError};
use local_server::{Site, SiteConfig, SiteError};
use serde_json::{Value, json};
use sync_core::id::{CloudEpoch, ReplicaEpoch, ReplicaId, SiteId};
use sync_core::wire::message::Enrolled;
use uuid::Uuid;

/// A port that nobody listens on.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A folder of a site that has joined its cloud; with its tables, if it has fetched the catalog, too.
async fn joined(folder: &Path, fetched: bool) -> SiteConfig {
    let enrolled = Enrolled {
        site: SiteId(Uuid::from_u128(1)),
        name: "venue".into(),
        replica: ReplicaId(Uuid::from_u128(2)),
        epoch: ReplicaEpoch(Uuid::from_u128(3)),
        key: "rjk_0123".into(),
        cloud_epoch: CloudEpoch(Uuid::from_u128(4)),
    };
    std::fs::write(folder.join("site.key"), serde_json::to_vec(&enrolled).unwrap()).unwrap();
    if fetched {
        let db = Database::open(folder).unwrap();
        let catalog = Arc::new(System::VideoProduction.catalog());
        db.apply(move |connection| install(connection, None, &catalog, "venue")).await.map_err(|error: StoreError| error).unwrap();
        db.close().await;
    }
    let mut config = SiteConfig::new(folder);
    config.cloud = Some(NOWHERE.into());
    config
}

async fn ask(site: &Site, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut builder = reqwest::Client::builder();
    if let Some(own) = site.own_ca() {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(&own.ca).unwrap()).unwrap()]);
    }
    let mut request = builder.build().unwrap().request(method, format!("{}{path}", site.url())).bearer_auth(site.token());
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

async fn get(site: &Site, path: &str) -> (u16, Value) {
    ask(site, reqwest::Method::GET, path, None).await
}

#[tokio::test]
async fn a_site_serves_offline_keeps_what_was_written_and_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = joined(folder.path(), true).await;
    let site = Site::start(config.clone()).await.unwrap();
    assert_eq!(site.name(), "venue");
    let told: Value = serde_json::from_slice(&std::fs::read(folder.path().join("server.json")).unwrap()).unwrap();
    assert_eq!((&told["url"], &told["token"]), (&json!(site.url()), &json!(site.token())));
    let body = json!({ "client": "Acme", "showName": "Gala" });
    let (status, made) = ask(&site, reqwest::Method::POST, "/api/productions", Some(body)).await;
    assert_eq!(status, 201, "{made}");
    let (status, sync) = get(&site, "/api/sync").await;
    assert_eq!((status, &sync["server"], &sync["pending"], &sync["online"]), (200, &json!("venue"), &json!(1), &json!(false)), "{sync}");
    assert!(matches!(Site::start(config.clone()).await, Err(SiteError::Database(DbError::InUse(_)))), "one process serves a folder");
    site.stop().await;
    assert!(!folder.path().join("server.json").exists() && !folder.path().join("site.db-wal").exists());

    // It knows its cloud, and needs neither link nor token to start again.
    config.cloud = None;
    let again = Site::start(config).await.unwrap();
    let (status, read) = get(&again, &format!("/api/productions/{}", made["id"].as_str().unwrap())).await;
    assert_eq!((status, read), (200, made));
    let (status, digests) = get(&again, "/api/rejoin/digests").await;
    assert_eq!(
        (status, &digests["rows"], &digests["held"]),
        (200, &json!(0), &json!(0)),
        "what the cloud has not accepted is in no digest"
    );
    again.stop().await;
}

#[tokio::test]
async fn a_site_without_tables_says_that_it_lives_and_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(joined(folder.path(), false).await).await.unwrap();
    assert_eq!(get(&site, "/health").await.0, 200);
    assert_eq!(get(&site, "/ready").await.0, 503);
    let (status, problem) = get(&site, "/api/productions").await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    assert_eq!(get(&site, "/api/sync").await.0, 200, "how the sync stands can be asked");
    site.stop().await;
}

#[tokio::test]
async fn a_site_serves_tls_by_its_own_authority() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = joined(folder.path(), true).await;
    config.lan_ca = true;
    let site = Site::start(config.clone()).await.unwrap();
    assert!(site.url().starts_with("https://127.0.0.1:"), "{}", site.url());
    assert_eq!(get(&site, "/api/productions").await, (200, json!([])));
    let stranger = reqwest::Client::new().get(format!("{}/health", site.url())).send().await;
    assert!(stranger.is_err(), "who has not been told to trust it does not");
    let fingerprint = site.own_ca().unwrap().fingerprint.clone();
    site.stop().await;
    config.lan_ca = false;
    let again = Site::start(config).await.unwrap();
    assert!(again.url().starts_with("https://"), "TLS is not dropped because a flag was forgotten: {}", again.url());
    assert_eq!(again.own_ca().unwrap().fingerprint, fingerprint);
    again.stop().await;
}

#[tokio::test]
async fn a_site_that_has_not_joined_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = SiteConfig::new(folder.path());
    assert!(matches!(Site::start(config.clone()).await, Err(SiteError::NoCloud)));
    config.cloud = Some(NOWHERE.into());
    let error = Site::start(config.clone()).await.err().unwrap();
    assert!(error.to_string().contains("rejoin sites add"), "{error}");
    config.token = Some("rje_1".into());
    let error = Site::start(config).await.err().unwrap();
    assert!(error.to_string().contains("out of reach"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_reads_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("venue");
    let file = folder.join("site.db");
    Database::open(&folder).unwrap().close().await;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let site = Site::start(joined(&folder, true).await).await.unwrap();
    for name in ["site.db", "site.db-wal", "site.db-shm"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_new_token_that_cannot_be_used_leaves_the_site_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = joined(folder.path(), true).await;
    let key = std::fs::read(folder.path().join("site.key")).unwrap();
    config.token = Some("rje_new".into());
    let site = Site::start(config).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("site.key")).unwrap(), key);
    site.stop().await;
}

#[tokio::test]
async fn a_new_invitation_brings_a_new_key_once_and_another_sites_is_refused() {
    use axum::http::header::CONTENT_TYPE;
    use sync_core::wire::codec::{MEDIA_TYPE, decode, encode};
    use sync_core::wire::message::Enrol;
    let enrol = |body: axum::body::Bytes| async move {
        let token = decode::<Enrol>(&body).unwrap().token;
        let enrolled = Enrolled {
            site: SiteId(Uuid::from_u128(if token == "rje_other" { 9 } else { 1 })),
            name: "invited".into(),
            replica: ReplicaId(Uuid::now_v7()),
            epoch: ReplicaEpoch(Uuid::now_v7()),
            key: format!("rjk_{}", Uuid::now_v7()),
            cloud_epoch: CloudEpoch(Uuid::from_u128(4)),
        };
        ([(CONTENT_TYPE, MEDIA_TYPE)], encode(&enrolled).unwrap())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cloud = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/sync/v1/enrol", axum::routing::post(enrol));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let folder = tempfile::tempdir().unwrap();
    let mut config = joined(folder.path(), true).await;
    config.cloud = Some(cloud);
    let read = || serde_json::from_slice::<Enrolled>(&std::fs::read(folder.path().join("site.key")).unwrap()).unwrap();
    let before = read();
    config.token = Some("rje_new".into());
    Site::start(config.clone()).await.unwrap().stop().await;
    let renewed = read();
    assert_ne!(renewed.key, before.key);
    assert_eq!((renewed.site, renewed.replica, renewed.epoch), (before.site, before.replica, before.epoch));
    Site::start(config.clone()).await.unwrap().stop().await;
    assert_eq!(read().key, renewed.key, "the same token is not used twice");
    config.token = Some("rje_other".into());
    let error = Site::start(config).await.err().unwrap();
    assert!(error.to_string().contains("belongs to the site venue"), "{error}");
    assert_eq!(read().key, renewed.key);
}
