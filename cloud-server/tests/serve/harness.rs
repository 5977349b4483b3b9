//! A cloud on a database of the test's own, and a client of it.

use cloud_server::Cloud;
use cloud_server::config::CloudConfig;
use cloud_server::test_support::{Database, database_like};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running cloud.
pub(crate) struct Server {
    pub(crate) cloud: Cloud,
    pub(crate) database: Database,
    pub(crate) folder: TempDir,
}

/// A client with a credential.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    pub(crate) token: String,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) etag: String,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Server {
    /// A cloud with the video-production system.
    pub(crate) async fn start() -> Self {
        // What the server logged is shown with a test that failed.
        drop(tracing_subscriber::fmt().with_env_filter("warn").with_test_writer().try_init());
        let database = database_like("video_production", |url| async move {
            let folder = tempfile::tempdir().unwrap();
            Cloud::start(config(&folder, &url)).await.unwrap().stop().await;
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(config(&folder, database.url())).await.unwrap();
        Self { cloud, database, folder }
    }

    /// A client with the server's own admin token.
    pub(crate) fn admin(&self) -> Client {
        Client::new(self.cloud.url(), self.cloud.token())
    }

    /// Runs plain SQL as the database's owner, as any program may.
    pub(crate) async fn sql(&self, sql: &str) {
        let (client, connection) = tokio_postgres::connect(self.database.url(), tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        drop(client);
        driver.await.unwrap().unwrap();
    }
}

/// The settings of a test's cloud.
pub(crate) fn config(folder: &TempDir, url: &str) -> CloudConfig {
    let mut config = CloudConfig::new(folder.path());
    config.database_url = Some(url.to_owned());
    config.pool_size = 4;
    config
}

impl Client {
    pub(crate) fn new(base: &str, token: &str) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        Self { http: reqwest::Client::new(), base: base.to_owned(), token: token.to_owned() }
    }

    pub(crate) fn with(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>, if_match: Option<&str>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let etag = headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
        let text = response.text().await.unwrap();
        Answer { status, etag, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body), None).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body), None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, None).await
    }

    /// Creates a record; its id.
    pub(crate) async fn create(&self, table: &str, body: Value) -> String {
        let answer = self.post(&format!("/api/{table}"), body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// Creates a production; its id.
    pub(crate) async fn production(&self, name: &str) -> String {
        self.create("productions", json!({ "client": "Acme", "showName": name })).await
    }

    /// The list at this path.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body.as_array().unwrap().clone()
    }
}

impl Answer {
    /// The status and the problem's code.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }
}
