//! Sign-in, sessions, passwords.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use conflict_ui_api::ApiConfig;
use conflict_ui_api::config::Rate;
use serde_json::{Value as Json, json};

use crate::{Reply, Server};

async fn sign_in(server: &Server, body: Json) -> Reply {
    let request = Request::builder().method(Method::POST).uri("/api/rejoin/sign-in").header(header::CONTENT_TYPE, "application/json");
    server.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn call(server: &Server, method: Method, path: &str, secret: &str, body: Option<Json>) -> Reply {
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {secret}"));
    let request = request.header(header::CONTENT_TYPE, "application/json");
    server.send(request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap()).await
}

fn token(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["token"].as_str().unwrap().to_owned()
}

/// A user with a password; his first session's token.
async fn user(server: &Server, name: &str, password: &str) -> String {
    let made = server.ask(Method::POST, "/api/rejoin/users", Some(&json!({ "name": name, "role": "editor" }).to_string())).await;
    assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"));
    let secret = made.json()["oneTimeSecret"].clone();
    assert!(secret.as_str().unwrap().starts_with("rjo_"));
    token(&sign_in(server, json!({ "name": name, "oneTimeSecret": secret, "newPassword": password })).await)
}

#[tokio::test]
async fn a_one_time_secret_sets_a_password_once() {
    let server = Server::new(ApiConfig::default());
    let made = server.ask(Method::POST, "/api/rejoin/users", Some(r#"{"name":"ann","role":"viewer"}"#)).await.json();
    let first = |password: &str| json!({ "name": "ann", "oneTimeSecret": made["oneTimeSecret"], "newPassword": password });
    let short = sign_in(&server, first("short")).await;
    assert_eq!((short.problem(), &short.json()["errors"][0]["pointer"]), ((422, "invalid_fields".into()), &json!("/newPassword")));
    let again = first("correct horse");
    let (one, two) = tokio::join!(sign_in(&server, again.clone()), sign_in(&server, again));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "of two at once one gets in");
    let session = if one.status == 200 { token(&one) } else { token(&two) };
    let me = call(&server, Method::GET, "/api/rejoin/me", &session, None).await;
    assert_eq!(me.json(), json!({ "name": "ann", "role": "viewer" }));
}

#[tokio::test]
async fn what_is_wrong_with_a_sign_in_is_not_told() {
    let server = Server::new(ApiConfig::default());
    user(&server, "ann", "correct horse").await;
    server.ask(Method::POST, "/api/rejoin/users", Some(r#"{"name":"bob","role":"viewer"}"#)).await;
    user(&server, "dis", "correct horse").await;
    server.ask(Method::PATCH, "/api/rejoin/users/dis", Some(r#"{"disabled":true}"#)).await;
    let mut answers = std::collections::BTreeSet::new();
    for (name, password) in [("ann", "wrong horse"), ("bob", "correct horse"), ("dis", "correct horse"), ("nobody", "correct horse")] {
        let reply = sign_in(&server, json!({ "name": name, "password": password })).await;
        assert_eq!(reply.problem(), (401, "sign_in_failed".into()));
        let mut body = reply.json();
        body["requestId"] = Json::Null;
        answers.insert(body.to_string());
    }
    let secret = sign_in(&server, json!({ "name": "bob", "oneTimeSecret": "rjo_wrong", "newPassword": "correct horse" })).await;
    assert_eq!(secret.problem(), (401, "sign_in_failed".into()));
    assert_eq!(answers.len(), 1, "{answers:?}");
    for both in [json!({ "name": "ann" }), json!({ "name": "ann", "password": "x", "oneTimeSecret": "y" })] {
        assert_eq!(sign_in(&server, both).await.problem(), (422, "invalid_fields".into()));
    }
}

#[tokio::test]
async fn sessions_end_by_sign_out_password_change_and_reset() {
    let server = Server::new(ApiConfig::default());
    let first = user(&server, "ann", "correct horse").await;
    let second = token(&sign_in(&server, json!({ "name": "ann", "password": "correct horse" })).await);
    let third = token(&sign_in(&server, json!({ "name": "ann", "password": "correct horse" })).await);
    let me = async |secret: &str| call(&server, Method::GET, "/api/rejoin/me", secret, None).await.status.as_u16();
    assert_eq!(call(&server, Method::POST, "/api/rejoin/sign-out", &third, None).await.status, 204);
    assert_eq!((me(&first).await, me(&second).await, me(&third).await), (200, 200, 401));

    let change = |old: &str, new: &str| Some(json!({ "oldPassword": old, "newPassword": new }));
    let path = "/api/rejoin/me/password";
    let wrong = call(&server, Method::POST, path, &second, change("guess", "battery staple")).await;
    assert_eq!((wrong.problem(), &wrong.json()["errors"][0]["pointer"]), ((422, "invalid_fields".into()), &json!("/oldPassword")));
    assert_eq!(call(&server, Method::POST, path, &second, change("correct horse", "battery staple")).await.status, 204);
    assert_eq!((me(&first).await, me(&second).await), (401, 200));
    assert_eq!(sign_in(&server, json!({ "name": "ann", "password": "correct horse" })).await.status, 401);
    let fourth = token(&sign_in(&server, json!({ "name": "ann", "password": "battery staple" })).await);

    let reset = server.ask(Method::POST, "/api/rejoin/users/ann/reset", None).await;
    assert_eq!((me(&second).await, me(&fourth).await), (401, 401));
    assert_eq!(sign_in(&server, json!({ "name": "ann", "password": "battery staple" })).await.status, 401);
    let secret = reset.json()["oneTimeSecret"].clone();
    token(&sign_in(&server, json!({ "name": "ann", "oneTimeSecret": secret, "newPassword": "third password" })).await);
}

#[tokio::test]
async fn a_session_runs_out() {
    let server = Server::new(ApiConfig { session_lifetime: Duration::ZERO, ..ApiConfig::default() });
    let session = user(&server, "ann", "correct horse").await;
    let me = call(&server, Method::GET, "/api/rejoin/me", &session, None).await;
    assert_eq!(me.problem(), (401, "unauthenticated".into()));
}

#[tokio::test]
async fn attempts_are_limited_by_name_and_by_address() {
    let every = Duration::from_secs(60);
    let by_name = ApiConfig { sign_ins_per_name: Rate::new(2, every), ..ApiConfig::default() };
    let by_peer = ApiConfig { sign_ins_per_peer: Rate::new(2, every), ..ApiConfig::default() };
    for (config, third, other) in [(by_name, "ann", 401), (by_peer, "bob", 429)] {
        let server = Server::new(config);
        let attempt = |name: &str| sign_in(&server, json!({ "name": name, "password": "guess again" }));
        assert_eq!((attempt("ann").await.status.as_u16(), attempt("ann").await.status.as_u16()), (401, 401));
        let limited = attempt(third).await;
        assert_eq!(limited.problem(), (429, "rate_limited".into()));
        assert!(limited.header("retry-after").parse::<u64>().unwrap() > 0);
        assert_eq!(attempt("carol").await.status, other);
    }
}

#[tokio::test]
async fn a_tokens_secret_is_shown_once() {
    let server = Server::new(ApiConfig::default());
    let session = user(&server, "ann", "correct horse").await;
    let made = call(&server, Method::POST, "/api/rejoin/tokens", &session, Some(json!({ "label": "export" }))).await;
    assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"));
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("rjt_"));
    let list = call(&server, Method::GET, "/api/rejoin/tokens", &secret, None).await;
    assert!(list.body.contains("export") && !list.body.contains(&secret));
    for (body, status) in [
        (json!({ "label": " " }), 422),
        (json!({ "label": "x", "expiresAt": "2020-01-01T00:00:00Z" }), 422),
        (json!({ "label": "x", "user": "admin" }), 403),
    ] {
        assert_eq!(call(&server, Method::POST, "/api/rejoin/tokens", &session, Some(body)).await.status.as_u16(), status);
    }
    let nobody = server.ask(Method::POST, "/api/rejoin/tokens", Some(r#"{"label":"x","user":"nobody"}"#)).await;
    assert_eq!(nobody.problem(), (422, "invalid_fields".into()));
}

#[tokio::test]
async fn names_are_plain_and_taken_once() {
    let server = Server::new(ApiConfig::default());
    let add = async |name: &str| {
        let body = json!({ "name": name, "role": "viewer" }).to_string();
        server.ask(Method::POST, "/api/rejoin/users", Some(&body)).await.status.as_u16()
    };
    assert_eq!((add("ann@example.org").await, add("ann@example.org").await), (201, 409));
    for bad in ["", "-x", "a b", "a/b", "käthe", "local-admin", &"x".repeat(64)] {
        assert_eq!(add(bad).await, 422, "{bad}");
    }
}
