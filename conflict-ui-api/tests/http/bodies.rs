//! Bodies that are too large, of another type, or not there.

use axum::body::Body;
use axum::http::{Method, header};
use conflict_ui_api::ApiConfig;

use crate::Server;

async fn post(server: &Server, media_type: Option<&str>, body: Body) -> (u16, String) {
    let mut request = server.request(Method::POST, "/api/sources");
    if let Some(media_type) = media_type {
        request = request.header(header::CONTENT_TYPE, media_type);
    }
    server.send(request.body(body).unwrap()).await.problem()
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_also_when_its_length_is_not_told() {
    let server = Server::new(ApiConfig { body_bytes_max: 1000, ..ApiConfig::default() });
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1000));
    assert_eq!(post(&server, Some("application/json"), Body::from(large.clone())).await, (413, "body_too_large".into()));
    let chunks = large.into_bytes().chunks(100).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let stream = Body::from_stream(futures_util::stream::iter(chunks));
    assert_eq!(post(&server, Some("application/json"), stream).await, (413, "body_too_large".into()));
}

#[tokio::test]
async fn a_body_is_json_and_says_so() {
    let server = Server::new(ApiConfig::default());
    for other in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")] {
        assert_eq!(post(&server, other, Body::from("{}")).await, (415, "unsupported_media_type".into()), "{other:?}");
    }
    for same in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let request = server.request(Method::POST, "/api/sources").header(header::CONTENT_TYPE, same);
        assert_eq!(server.send(request.body(Body::from("{}")).unwrap()).await.status, 201, "{same}");
    }
}

#[tokio::test]
async fn a_deep_body_is_refused_without_harm() {
    let server = Server::new(ApiConfig::default());
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(post(&server, Some("application/json"), Body::from(deep)).await, (400, "bad_json".into()));
}
