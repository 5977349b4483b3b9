//! Who may call what: every route of the list, every role.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use axum::routing;
use conflict_ui_api::backend::Role;
use conflict_ui_api::config::Rate;
use conflict_ui_api::routes::routes;
use conflict_ui_api::{Access, ApiConfig, Route};

use crate::scripted::Scripted;
use crate::{Reply, Server};

/// A path of this pattern.
fn filled(pattern: &str) -> String {
    let fill = |segment: &str| match segment {
        "{table}" => "sources".to_owned(),
        "{children}" => "source_outputs".to_owned(),
        "{id}" => "00000000-0000-0000-0000-000000000001".to_owned(),
        "{name}" => "viewer".to_owned(),
        other => other.to_owned(),
    };
    pattern.split('/').map(fill).collect::<Vec<_>>().join("/")
}

async fn call(server: &Server, method: &Method, path: &str, authorization: Option<&str>) -> Reply {
    let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    server.send(request.body(Body::from("{}")).unwrap()).await
}

#[tokio::test]
async fn only_health_and_sign_in_are_open() {
    let open: Vec<_> = routes().into_iter().filter(|route| route.access == Access::Open).map(|route| (route.method, route.path)).collect();
    let expected = [(Method::GET, "/health"), (Method::GET, "/ready"), (Method::POST, "/api/rejoin/sign-in")];
    assert_eq!(open, expected);
}

#[tokio::test]
async fn every_other_route_takes_a_credential_of_its_role() {
    let often = Rate::new(10_000, Duration::from_millis(1));
    let server = Server::new(ApiConfig { strangers: often, requests: often, ..ApiConfig::default() });
    let roles = [Role::Viewer, Role::Editor, Role::Admin];
    for role in roles {
        server.secret(role);
    }
    let mut denied = 0;
    for route in routes().into_iter().filter(|route| route.access != Access::Open) {
        let path = filled(route.path);
        let stranger = call(&server, &route.method, &path, None).await;
        assert_eq!(stranger.problem(), (401, "unauthenticated".into()), "{} {path}", route.method);
        assert_eq!(stranger.header("www-authenticate"), "Bearer realm=\"rejoin\"");
        for wrong in ["Bearer rjt_wrong", "Basic YWRtaW46YWRtaW4=", "Bearer ", "rjt_Admin"] {
            let reply = call(&server, &route.method, &path, Some(wrong)).await;
            assert_eq!(reply.problem(), (401, "unauthenticated".into()), "{} {path} {wrong}", route.method);
            assert!(reply.header("www-authenticate").contains("invalid_token"), "{} {path} {wrong}", route.method);
        }
        for role in roles {
            let secret = format!("Bearer {}", server.secret(role));
            // What the route does is another test's; a request that removed the test's own users would spoil the next ones.
            if Some(role) >= route.access.role() && route.method == Method::DELETE {
                continue;
            }
            let reply = call(&server, &route.method, &path, Some(&secret)).await;
            let may = Some(role) >= route.access.role();
            let refused = reply.status == 401 || (reply.status == 403 && reply.body.contains("takes the role"));
            assert_eq!(!refused, may, "{} {path} as {role:?}: {} {}", route.method, reply.status, reply.body);
            denied += usize::from(refused);
        }
    }
    assert!(denied > 20, "the matrix has denials: {denied}");
}

#[tokio::test]
async fn a_servers_own_routes_stand_behind_the_same_door() {
    async fn sites() -> &'static str {
        "sites"
    }
    let own = vec![Route::new(Method::GET, "/api/rejoin/sites", Access::Admin, routing::get(sites))];
    let server = Server::with(Scripted::default(), ApiConfig::default(), own);
    assert_eq!(call(&server, &Method::GET, "/api/rejoin/sites", None).await.status, 401);
    let editor = format!("Bearer {}", server.secret(Role::Editor));
    assert_eq!(call(&server, &Method::GET, "/api/rejoin/sites", Some(&editor)).await.problem(), (403, "forbidden".into()));
    assert_eq!(server.get("/api/rejoin/sites").await.body, "sites");
}

#[tokio::test]
async fn the_servers_own_token_opens_everything() {
    let config = ApiConfig { admin_token_hash: Some(conflict_ui_api::secret::hash("rjt_own")), ..ApiConfig::default() };
    let server = Server::new(config);
    let me = call(&server, &Method::GET, "/api/rejoin/me", Some("bearer rjt_own")).await;
    assert_eq!(me.json(), serde_json::json!({ "name": "local-admin", "role": "admin" }));
    assert_eq!(call(&server, &Method::POST, "/api/rejoin/sign-out", Some("Bearer rjt_own")).await.status, 204);
    assert_eq!(call(&server, &Method::GET, "/api/rejoin/me", Some("Bearer rjt_own")).await.status, 200);
}

#[tokio::test]
async fn nobody_takes_his_own_rights_away() {
    let server = Server::new(ApiConfig::default());
    for (method, body) in [(Method::PATCH, r#"{"role":"viewer"}"#), (Method::PATCH, r#"{"disabled":true}"#), (Method::DELETE, "")] {
        let body = (!body.is_empty()).then_some(body);
        assert_eq!(server.ask(method, "/api/rejoin/users/admin", body).await.problem(), (403, "forbidden".into()));
    }
}

#[tokio::test]
async fn a_users_tokens_are_his_own() {
    let server = Server::new(ApiConfig::default());
    server.secret(Role::Admin);
    let viewer = format!("Bearer {}", server.secret(Role::Viewer));
    let list = call(&server, &Method::GET, "/api/rejoin/tokens", Some(&viewer)).await.json();
    let users: Vec<_> = list["data"].as_array().unwrap().iter().map(|token| token["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["viewer"]);
    let all = server.get("/api/rejoin/tokens").await.json();
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    assert!(!all.to_string().contains("ecret"), "a list shows no secret and no hash: {all}");
    let admins = all["data"].as_array().unwrap().iter().find(|token| token["user"] == "admin").unwrap()["id"].as_str().unwrap().to_owned();
    let foreign = call(&server, &Method::DELETE, &format!("/api/rejoin/tokens/{admins}"), Some(&viewer)).await;
    assert_eq!(foreign.problem(), (404, "not_found".into()));
    assert_eq!(server.ask(Method::DELETE, &format!("/api/rejoin/tokens/{admins}"), None).await.status, 204);
    assert_eq!(call(&server, &Method::GET, "/api/rejoin/me", Some("Bearer rjt_Admin")).await.status, 401);
}
