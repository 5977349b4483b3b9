//! The OpenAPI document: complete, sound, and true.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, header};
use axum::routing;
use conflict_ui_api::backend::Role;
use conflict_ui_api::openapi::doc::{Shape, doc};
use conflict_ui_api::problem::Code;
use conflict_ui_api::routes::routes;
use conflict_ui_api::{Access, ApiConfig, Route};
use serde_json::{Map, Value as Json, json};
use sync_core::catalog::ListForm;

use crate::Server;
use crate::scripted::Scripted;

async fn document(server: &Server) -> Json {
    let reply = server.get("/openapi.json").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"));
    reply.json()
}

/// The path of a route in the document: those of records stand there for each table.
fn place(pattern: &str) -> String {
    match pattern.strip_prefix("/api/{table}") {
        Some(rest) => format!("/api/sources{}", rest.replace("{children}", "source_outputs")),
        None => pattern.to_owned(),
    }
}

#[tokio::test]
async fn every_route_is_in_the_document_with_its_parameters() {
    let own = vec![
        Route::new(Method::PUT, "/api/rejoin/own/{name}", Access::Admin, routing::put(|| async {}))
            .says(doc("Own").gives(Shape::Json("[Site]"))),
    ];
    let server = Server::with(Scripted::default(), ApiConfig::default(), own);
    let document = document(&server).await;
    for route in routes() {
        assert!(route.doc.is_some(), "{} {} says nothing of itself", route.method, route.path);
        let path = place(route.path);
        let told = &document["paths"][&path][route.method.as_str().to_lowercase()];
        assert_eq!(told["x-role"], format!("{:?}", route.access).to_lowercase(), "{} {path}", route.method);
        assert_eq!(told["security"] == json!([]), route.access == Access::Open, "{path}");
        let named = |at: &str| {
            let all = told["parameters"].as_array().unwrap().iter();
            all.filter(|one| one["in"] == at).map(|one| one["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let in_path: BTreeSet<_> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(str::to_owned).collect();
        assert_eq!(named("path"), in_path, "{path}");
        if route.path.starts_with("/api/conflicts") && route.method == Method::GET && !route.path.contains('{') {
            assert!(named("query").is_superset(&["byPolicy", "since", "group"].map(str::to_owned).into()), "{path}");
        }
    }
    assert_eq!(document["paths"]["/api/rejoin/own/{name}"]["put"]["summary"], "Own", "a server's own routes too");
    assert!(document["paths"].as_object().unwrap().keys().all(|path| !path.starts_with("/pages")), "the web pages are no part of the API");

    let operations = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let ids: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each operation has an id of its own");
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"], json!(codes));
}

#[tokio::test]
async fn only_users_read_it() {
    let server = Server::new(ApiConfig::default());
    let stranger = server.send(Request::builder().uri("/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(stranger.problem(), (401, "unauthenticated".into()));
    let viewer = format!("Bearer {}", server.secret(Role::Viewer));
    let request = Request::builder().uri("/openapi.json").header(header::AUTHORIZATION, viewer).body(Body::empty()).unwrap();
    assert_eq!(server.send(request).await.status, 200);
}

fn references<'a>(value: &'a Json, found: &mut Vec<&'a str>) {
    match value {
        Json::Object(members) => {
            found.extend(members.get("$ref").and_then(Json::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_all_references_resolve() {
    for form in [ListForm::Bare, ListForm::Named, ListForm::Page] {
        let mut backend = Scripted::default();
        std::sync::Arc::make_mut(&mut backend.catalog).api.list = form;
        let document = document(&Server::with(backend, ApiConfig::default(), Vec::new())).await;
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let names = document["components"]["schemas"].as_object().unwrap();
        let plain = |name: &String| name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
        assert!(names.keys().all(plain), "names of components");
        let spec: oas3::OpenApiV3Spec = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(spec.validate_version().unwrap().to_string(), "3.1.0");
        assert_eq!(spec.paths.unwrap().len(), document["paths"].as_object().unwrap().len());
    }
}

/// The members of an object's schema and those it must have, with those of the schemas that it is made of.
fn members(document: &Json, schema: &Json) -> (Map<String, Json>, BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return members(document, document.pointer(&reference[1..]).unwrap());
    }
    let mut properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let text = |name: &Json| name.as_str().unwrap().to_owned();
    let mut required: BTreeSet<_> = schema["required"].as_array().into_iter().flatten().map(text).collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (more, needed) = members(document, part);
        properties.extend(more);
        required.extend(needed);
    }
    (properties, required)
}

/// Every fault of a value against a schema. Members that the schema does not name are faults: the document is to tell all.
fn faults(document: &Json, schema: &Json, value: &Json, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return faults(document, document.pointer(&reference[1..]).unwrap(), value, at, found);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |one: &Json| {
            let mut inner = Vec::new();
            faults(document, one, value, at, &mut inner);
            inner.is_empty()
        };
        if !any.iter().any(fits) {
            found.push(format!("{at}: {value} is none of {any:?}"));
        }
        return;
    }
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    let fits = match &schema["type"] {
        Json::String(name) => is(name),
        Json::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        _ => true,
    };
    let listed = schema["enum"].as_array().is_none_or(|words| words.contains(value));
    if !fits || !listed {
        found.push(format!("{at}: {value} is not {schema}"));
    }
    for (no, item) in value.as_array().into_iter().flatten().enumerate() {
        faults(document, &schema["items"], item, &format!("{at}/{no}"), found);
    }
    let (properties, required) = members(document, schema);
    let Some(object) = value.as_object() else { return };
    found.extend(required.iter().filter(|name| !object.contains_key(*name)).map(|name| format!("{at}/{name} is missing")));
    for (name, member) in object {
        let inner = format!("{at}/{name}");
        match (properties.get(name), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => faults(document, schema, member, &inner, found),
            (None, None) if properties.is_empty() => {}
            (None, None) => found.push(format!("{inner} is not in the document")),
        }
    }
}

#[tokio::test]
async fn what_the_handlers_answer_is_what_the_document_says() {
    let mut backend = Scripted::default();
    // The script leaves most columns NULL.
    let columns = std::sync::Arc::make_mut(&mut backend.catalog).tables.iter_mut().flat_map(|table| table.columns.iter_mut());
    columns.for_each(|column| column.not_null = false);
    let server = Server::with(backend, ApiConfig::default(), Vec::new());
    server.secret(Role::Viewer);
    let document = document(&server).await;
    let id = "00000000-0000-0000-0000-000000000001";
    let post = |path: &str, body: Json| (Method::POST, path.to_owned(), path.replace(id, "{id}"), Some(body));
    let get = |path: &str, place: &str| (Method::GET, path.to_owned(), place.to_owned(), None);
    let conflict = format!("/api/conflicts/{id}");
    let seen = json!({ "cloudEtag": "\"4-00\"", "revision": 1, "resolution": "MANUAL", "values": { "note": "x" } });
    let calls = [
        get("/health", "/health"),
        get("/ready", "/ready"),
        get("/api/sources?place=true", "/api/sources"),
        get(&format!("/api/sources/{id}"), "/api/sources/{id}"),
        get("/api/tables/public.sources", "/api/tables/{table}"),
        get("/api/conflicts", "/api/conflicts"),
        get("/api/conflicts/groups", "/api/conflicts/groups"),
        get("/api/conflicts/counts", "/api/conflicts/counts"),
        get(&conflict, "/api/conflicts/{id}"),
        post(&format!("{conflict}/resolve"), seen),
        post("/api/conflicts/resolve", json!({ "filter": {}, "resolution": "CLOUD_WINS" })),
        get("/api/rejoin/edits", "/api/rejoin/edits"),
        get("/api/rejoin/edits/counts", "/api/rejoin/edits/counts"),
        get(&format!("/api/rejoin/history/sources/{id}"), "/api/rejoin/history/{table}/{id}"),
        post("/api/rejoin/policies/try", json!({ "since": "1d", "policies": { "sources.note": "text" } })),
        get("/api/sync", "/api/sync"),
        get("/api/sync/log", "/api/sync/log"),
        get("/api/rejoin/me", "/api/rejoin/me"),
        get("/api/rejoin/users", "/api/rejoin/users"),
        post("/api/rejoin/users", json!({ "name": "new", "role": "viewer" })),
        get("/api/rejoin/tokens", "/api/rejoin/tokens"),
        post("/api/rejoin/tokens", json!({ "label": "x", "user": "viewer" })),
    ];
    for (method, path, place, body) in calls {
        let reply = server.ask(method.clone(), &path, body.as_ref().map(Json::to_string).as_deref()).await;
        let told = &document["paths"][&place][method.as_str().to_lowercase()];
        let answer = &told["responses"][reply.status.as_str()]["content"]["application/json"]["schema"];
        assert!(!answer.is_null(), "{method} {path} answers {}, which the document does not tell", reply.status);
        let mut found = Vec::new();
        faults(&document, answer, &reply.json(), "", &mut found);
        assert!(found.is_empty(), "{method} {path}: {found:#?}");
        if let Some(body) = body {
            faults(&document, &told["requestBody"]["content"]["application/json"]["schema"], &body, "", &mut found);
            assert!(found.is_empty(), "the body of {method} {path}: {found:#?}");
        }
    }
    let problem = server.get("/api/sources?wheels=4").await.json();
    let mut found = Vec::new();
    faults(&document, &json!({ "$ref": "#/components/schemas/Problem" }), &problem, "", &mut found);
    assert!(found.is_empty(), "{found:#?}");
}
