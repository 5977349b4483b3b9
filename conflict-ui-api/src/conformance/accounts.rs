//! Users, sessions and tokens as the store keeps them.

use chrono::{Duration, Utc};
use serde_json::json;

use super::{Client, Fixture, System};
use crate::backend::{Role, Token, User};
use crate::error::BackendError;
use crate::secret;

pub async fn users_sign_in_change_passwords_and_lose_their_rights(fixture: &dyn Fixture) {
    let mut client = Client::open(fixture, System::VideoProduction).await;
    if !client.store.manages_users {
        client.post("/api/rejoin/users", json!({ "name": "ann", "role": "editor" })).await.problem(501, "unsupported");
        return;
    }
    let made = client.post("/api/rejoin/users", json!({ "name": "ann", "role": "editor" })).await.expect(201);
    client.post("/api/rejoin/users", json!({ "name": "ann", "role": "admin" })).await.problem(409, "duplicate");
    let first = json!({ "name": "ann", "oneTimeSecret": made["oneTimeSecret"], "newPassword": "correct horse" });
    let session = client.post("/api/rejoin/sign-in", first.clone()).await.expect(200)["token"].as_str().unwrap().to_owned();
    client.post("/api/rejoin/sign-in", first).await.problem(401, "sign_in_failed");
    let second = json!({ "name": "ann", "password": "correct horse" });
    let second = client.post("/api/rejoin/sign-in", second).await.expect(200)["token"].as_str().unwrap().to_owned();

    client.sign(Some(&session));
    client.post("/api/productions", json!({ "client": "Acme", "showName": "Gala" })).await.expect(201);
    let by = client.get("/api/productions").await.expect(200)[0]["lastModifiedBy"].clone();
    assert_eq!(by, "ann");
    let token = client.post("/api/rejoin/tokens", json!({ "label": "export" })).await.expect(201);
    let change = json!({ "oldPassword": "correct horse", "newPassword": "battery staple" });
    client.post("/api/rejoin/me/password", change).await.expect(204);
    client.get("/api/rejoin/me").await.expect(200);
    client.sign(Some(&second));
    client.get("/api/rejoin/me").await.problem(401, "unauthenticated");
    client.sign(token["secret"].as_str());
    assert_eq!(client.get("/api/rejoin/me").await.expect(200), json!({ "name": "ann", "role": "editor" }));

    client.sign_as_admin();
    assert_eq!(client.get("/api/rejoin/tokens").await.expect(200)["data"][0]["label"], "export");
    client.patch("/api/rejoin/users/ann", json!({ "role": "viewer" })).await.expect(200);
    client.sign(Some(&session));
    client.post("/api/productions", json!({ "client": "Acme", "showName": "Two" })).await.problem(403, "forbidden");
    client.sign_as_admin();
    client.delete(&format!("/api/rejoin/tokens/{}", token["id"].as_str().unwrap())).await.expect(204);
    client.sign(token["secret"].as_str());
    client.get("/api/rejoin/me").await.problem(401, "unauthenticated");
    client.sign_as_admin();
    client.patch("/api/rejoin/users/ann", json!({ "disabled": true })).await.expect(200);
    client.post("/api/rejoin/sign-in", json!({ "name": "ann", "password": "battery staple" })).await.problem(401, "sign_in_failed");
    client.sign(Some(&session));
    client.get("/api/rejoin/me").await.problem(401, "unauthenticated");
}

pub async fn a_session_lives_where_it_was_made(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let accounts = &client.store.accounts;
    let user = User { name: "bob".into(), role: Role::Viewer, password_hash: None, one_time_hash: None, disabled: false };
    match accounts.put_user(&user).await {
        // Users of a site come from the cloud: whole-system tests see them there.
        Err(BackendError::Unsupported(_)) if !client.store.manages_users => return,
        result => result.unwrap(),
    }
    let session = |name: &str, hours: i64| {
        let secret_hash = secret::hash(name);
        let now = Utc::now();
        Token {
            id: Token::id_of(&secret_hash),
            user: "bob".into(),
            label: None,
            secret_hash,
            created_at: now,
            expires_at: Some(now + Duration::hours(hours)),
        }
    };
    let (one, two, over) = (session("one", 1), session("two", 1), session("over", -1));
    for session in [&one, &two, &over] {
        accounts.put_token(session).await.unwrap();
    }
    let holder = async |token: &Token| accounts.holder(&token.secret_hash).await.unwrap().map(|principal| principal.name);
    assert_eq!(holder(&one).await.as_deref(), Some("bob"));
    assert_eq!(holder(&over).await, None, "it ran out");
    assert_eq!(accounts.tokens(None).await.unwrap(), [], "sessions are not listed");
    accounts.revoke_sessions("bob", Some(&two.id)).await.unwrap();
    assert_eq!((holder(&one).await, holder(&two).await.as_deref()), (None, Some("bob")));
    assert!(accounts.revoke_token(&two.id).await.unwrap());
    assert!(!accounts.revoke_token(&two.id).await.unwrap());
    assert_eq!(holder(&two).await, None);
    accounts.put_token(&one).await.unwrap();
    accounts.remove_user("bob").await.unwrap();
    assert_eq!((holder(&one).await, accounts.user("bob").await.unwrap()), (None, None));
}
