//! What browsers are told.

use axum::body::Body;
use axum::http::{Method, Request};
use conflict_ui_api::ApiConfig;

use crate::{Reply, Server};

fn server() -> Server {
    Server::new(ApiConfig { origins: vec!["https://app.example".into(), "http://localhost:5173/".into()], ..ApiConfig::default() })
}

async fn from(server: &Server, origin: &str, method: Method, asks: Option<&str>) -> Reply {
    let mut request = Request::builder().method(method).uri("/api/sources").header("origin", origin);
    if let Some(asks) = asks {
        request = request.header("access-control-request-method", asks);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_preflight_of_a_listed_origin_is_answered_without_a_credential() {
    let server = server();
    for origin in ["https://app.example", "http://localhost:5173"] {
        let reply = from(&server, origin, Method::OPTIONS, Some("PATCH")).await;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (204, origin));
        assert!(reply.header("access-control-allow-methods").contains("PATCH"));
        for name in ["Authorization", "Content-Type", "If-Match"] {
            assert!(reply.header("access-control-allow-headers").contains(name), "{name}");
        }
        assert_eq!(reply.header("access-control-allow-credentials"), "", "no cookies are used, so none are allowed along");
    }
}

#[tokio::test]
async fn another_origin_gets_no_word() {
    let server = server();
    for origin in ["https://evil.example", "https://app.example.evil.example", "https://app.example:444", "null"] {
        for (method, asks) in [(Method::OPTIONS, Some("PATCH")), (Method::GET, None)] {
            let reply = from(&server, origin, method, asks).await;
            assert_eq!(reply.header("access-control-allow-origin"), "", "{origin}");
            assert!(reply.header("vary").contains("origin"));
        }
    }
    assert_eq!(
        from(&Server::new(ApiConfig::default()), "https://app.example", Method::GET, None).await.header("access-control-allow-origin"),
        ""
    );
}

#[tokio::test]
async fn a_page_may_read_what_it_needs_of_answers_and_of_problems() {
    let reply = from(&server(), "https://app.example", Method::GET, None).await;
    assert_eq!(reply.problem(), (401, "unauthenticated".into()));
    assert_eq!(reply.header("access-control-allow-origin"), "https://app.example");
    for name in ["ETag", "Link", "Location", "Retry-After", "X-Request-Id"] {
        assert!(reply.header("access-control-expose-headers").contains(name), "{name}");
    }
}

#[tokio::test]
async fn options_without_a_preflight_names_the_methods() {
    let server = server();
    let reply = server.send(Request::builder().method(Method::OPTIONS).uri("/api/sources").body(Body::empty()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (204, "GET,HEAD,POST"));
    let import = server.get("/api/rejoin/import").await;
    assert_eq!((import.problem(), import.header("allow")), ((405, "method_not_allowed".into()), "POST"));
    let nowhere = server.send(Request::builder().method(Method::OPTIONS).uri("/nowhere").body(Body::empty()).unwrap()).await;
    assert_eq!(nowhere.problem(), (404, "unknown_route".into()));
}
