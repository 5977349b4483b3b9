//! The server itself: restarts, TLS, an orderly stop, a database that goes away and comes back.

use std::time::{Duration, Instant};

use cloud_server::Cloud;
use cloud_server::config::{CloudConfig, TlsFiles};
use cloud_server::postgres::{Cluster, Durability};
use cloud_server::test_support::cluster_dir;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Client, Server, config};

fn private(folder: &tempfile::TempDir) -> CloudConfig {
    let mut config = CloudConfig::new(folder.path());
    config.durability = Durability::Throwaway;
    config
}

#[tokio::test]
async fn a_private_database_is_found_again_and_started_again_when_it_is_killed() {
    let folder = cluster_dir();
    let cloud = Cloud::start(private(&folder)).await.unwrap();
    let client = Client::new(cloud.url(), cloud.token());
    let id = client.production("Gala").await;
    let told: Value = serde_json::from_slice(&std::fs::read(folder.path().join("server.json")).unwrap()).unwrap();
    assert_eq!((told["url"].as_str().unwrap(), told["token"].as_str().unwrap()), (cloud.url(), cloud.token()));
    cloud.stop().await;
    assert!(!folder.path().join("server.json").exists(), "nobody is told of a server that is gone");

    let cloud = Cloud::start(private(&folder)).await.unwrap();
    let client = Client::new(cloud.url(), cloud.token());
    let path = format!("/api/productions/{id}");
    assert_eq!(client.get(&path).await.body["showName"], json!("Gala"));

    let pid = cloud.private_database_pid().unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.patch(&path, json!({ "venue": "back" })).await;
        if answer.status == StatusCode::OK && cloud.private_database_pid() != Some(pid) {
            break;
        }
        let expected = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
        assert!(expected.contains(&answer.status), "{}", answer.body);
        assert!(Instant::now() < deadline, "the database did not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.get("/ready").await.status, StatusCode::OK);
    cloud.stop().await;
}

#[tokio::test]
async fn a_database_that_is_not_there_is_a_clear_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let error = Cloud::start(config(&folder, "postgres://nobody:secret@127.0.0.1:1/none")).await.unwrap_err();
    let words = error.to_string();
    assert!(words.contains("database") && !words.contains("secret"), "{words}");
}

#[tokio::test]
async fn a_database_that_goes_away_is_waited_for_by_clients_and_found_again() {
    let folder = cluster_dir();
    let cluster = Cluster::start(folder.path(), Durability::Throwaway).await.unwrap();
    cluster.create_database("app", None).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(config(&data, &cluster.url("app"))).await.unwrap();
    let client = Client::new(cloud.url(), cloud.token());
    let id = client.production("Gala").await;
    let path = format!("/api/productions/{id}");

    cluster.stop().await.unwrap();
    for _ in 0..6 {
        let answer = client.get(&path).await;
        assert_eq!(answer.problem(), (503, "unavailable"), "{}", answer.body);
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(client.get("/health").await.status, StatusCode::OK, "the process lives");
    assert_eq!(client.get("/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);

    let cluster = Cluster::start(folder.path(), Durability::Throwaway).await.unwrap();
    assert_eq!(client.get(&path).await.body["showName"], json!("Gala"));
    assert_eq!(client.patch(&path, json!({ "venue": "back" })).await.status, StatusCode::OK);
    cloud.stop().await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn tls_serves_with_the_certificate_given() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut config = config(&folder, server.database.url());
    config.tls = Some(TlsFiles { cert: cert.clone(), key });
    let cloud = Cloud::start(config).await.unwrap();
    assert!(cloud.url().starts_with("https://"));
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let health = http.get(format!("{}/health", cloud.url())).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    assert!(health.headers().contains_key("strict-transport-security"));
    assert!(reqwest::Client::new().get(format!("{}/health", cloud.url())).send().await.is_err(), "not trusted by anybody else");
    cloud.stop().await;

    std::fs::write(&cert, "no certificate").unwrap();
    let mut broken = crate::harness::config(&folder, server.database.url());
    broken.tls = Some(TlsFiles { cert: cert.clone(), key: folder.path().join("key.pem") });
    let error = Cloud::start(broken).await.unwrap_err().to_string();
    assert!(error.contains("cert.pem"), "{error}");
}

#[tokio::test]
async fn a_client_that_sends_its_head_drop_by_drop_is_cut_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    let address = server.cloud.url().trim_start_matches("http://").to_owned();
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    let cut = tokio::time::timeout(Duration::from_secs(40), slow.read_to_end(&mut rest)).await;
    assert!(cut.is_ok(), "the server waits for ever");
}
