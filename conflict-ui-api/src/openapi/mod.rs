//! The OpenAPI document, made of the one list of routes and the catalog in force. Why it is built here and not by a macro: docs/DECISIONS.md.

pub mod doc;
mod records;
mod schemas;

use std::sync::Arc;

use axum::extract::State;
use axum::http::Method;
use axum::{Extension, Json};
use serde_json::{Map, Value as Any, json};
use sync_core::catalog::{Catalog, Table};

use self::doc::{Doc, Shape};
use self::records::Part;
use crate::problem::{Answer, Code};
use crate::routes::{Access, Route};
use crate::state::ApiState;

/// The routes of a server, as far as the document tells of them.
#[derive(Clone)]
pub(crate) struct Listed(Arc<Vec<Operation>>);

#[derive(Clone)]
struct Operation {
    method: Method,
    path: &'static str,
    access: Access,
    doc: Doc,
}

impl Listed {
    /// Those of these routes that say something of themselves; the web pages do not.
    pub(crate) fn of<'a>(routes: impl Iterator<Item = &'a Route>) -> Self {
        let told = routes.filter_map(|route| {
            let doc = route.doc?;
            Some(Operation { method: route.method.clone(), path: route.path, access: route.access, doc })
        });
        Self(Arc::new(told.collect()))
    }
}

/// `GET /openapi.json`: it names the system's tables, so it is for users.
pub(crate) async fn openapi(State(state): State<ApiState>, Extension(routes): Extension<Listed>) -> Answer<Json<Any>> {
    Ok(Json(document(&*state.backend.catalog()?, &routes)))
}

fn document(catalog: &Catalog, routes: &Listed) -> Any {
    let mut paths: Map<String, Any> = Map::new();
    for operation in routes.0.iter() {
        for (path, table) in places(catalog, operation.path) {
            let entry = paths.entry(path.clone()).or_insert_with(|| json!({}));
            entry[operation.method.as_str().to_lowercase()] = told(catalog, operation, &path, table);
        }
    }
    let mut schemas = schemas::all();
    schemas.insert("Problem".to_owned(), problem());
    for table in records::tables(catalog) {
        schemas.extend(records::schemas(catalog, table));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": format!("Rejoin: {}", catalog.system), "version": env!("CARGO_PKG_VERSION"), "x-catalog": catalog.version },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "responses": { "Problem": {
                "description": "What went wrong, and what to do.",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            } },
        },
        "security": [{ "bearer": [] }],
    })
}

/// Where an operation stands in the document: at its own path, or at one for each table.
fn places<'a>(catalog: &'a Catalog, path: &'static str) -> Vec<(String, Option<&'a Table>)> {
    let Some(rest) = path.strip_prefix("/api/{table}") else { return vec![(path.to_owned(), None)] };
    let mut places = Vec::new();
    for table in records::plain(catalog) {
        let base = format!("/api/{}", percent_encoding::utf8_percent_encode(&table.path, PATH));
        if let Some(before) = rest.strip_suffix("/{children}") {
            let mut children: Vec<&Table> = catalog.referrers(table.no).map(|(child, _)| child).filter(|child| !child.engine).collect();
            children.dedup_by_key(|child| child.no);
            let place =
                |child: &'a Table| (format!("{base}{before}/{}", percent_encoding::utf8_percent_encode(&child.path, PATH)), Some(child));
            places.extend(children.into_iter().map(place));
        } else {
            places.push((format!("{base}{rest}"), Some(table)));
        }
    }
    places
}

/// What a table's path percent-encodes in the document.
const PATH: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'/').add(b'?').add(b'{').add(b'}');

fn told(catalog: &Catalog, operation: &Operation, path: &str, table: Option<&Table>) -> Any {
    let doc = &operation.doc;
    let mut responses = Map::new();
    let mut good = json!({ "description": "Done." });
    if let Some(content) = content(catalog, doc.answer, table) {
        good["content"] = content;
    }
    responses.insert(doc.status.to_string(), good);
    for status in ["4XX", "5XX"] {
        responses.insert(status.to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    }
    let mut told = json!({
        "operationId": operation_id(&operation.method, path),
        "summary": doc.summary,
        "tags": [table.map_or_else(|| tag(path), |table| table.path.as_str())],
        "parameters": parameters(path, doc),
        "responses": responses,
        "x-role": format!("{:?}", operation.access).to_lowercase(),
    });
    if let Some(content) = content(catalog, doc.body, table) {
        told["requestBody"] = json!({ "required": true, "content": content });
    }
    if operation.access == Access::Open {
        told["security"] = json!([]);
    }
    told
}

fn operation_id(method: &Method, path: &str) -> String {
    let words = path.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty() && *word != "api");
    words.fold(method.as_str().to_lowercase(), |id, word| format!("{id}_{word}"))
}

fn tag(path: &str) -> &str {
    let below = path.strip_prefix("/api/").unwrap_or(path);
    let below = below.strip_prefix("rejoin/").unwrap_or(below);
    below.trim_start_matches('/').split('/').next().unwrap_or(below)
}

fn parameters(path: &str, doc: &Doc) -> Vec<Any> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let asked = doc.parameters.iter().flat_map(|list| list.iter());
    let in_query =
        asked.map(|one| json!({ "name": one.name, "in": "query", "description": one.about, "schema": schemas::of_type(one.ty) }));
    in_path.chain(in_query).collect()
}

fn content(catalog: &Catalog, shape: Shape, table: Option<&Table>) -> Option<Any> {
    let json_of = |schema: Any| Some(json!({ "application/json": { "schema": schema } }));
    let lines =
        |schema: Any, line: Any| Some(json!({ "application/json": { "schema": schema }, "application/x-ndjson": { "schema": line } }));
    let page = |of: &str| schemas::object(&format!("data:[{of}], hasMore:bool, nextCursor:string?"));
    match shape {
        Shape::Nothing => None,
        Shape::Json(ty) => json_of(schemas::of_type(ty)),
        Shape::Page(of) => json_of(page(of)),
        Shape::PageOrLines(of) => lines(page(of), schemas::of_type(of)),
        Shape::Progress(of) => {
            let failed = schemas::object("problem:Problem");
            lines(schemas::of_type(of), json!({ "anyOf": [schemas::of_type("Progress"), schemas::of_type(of), failed] }))
        }
        Shape::Events(of) => Some(json!({ "text/event-stream": { "schema": schemas::of_type(of) } })),
        Shape::Markdown => Some(json!({ "text/markdown": { "schema": { "type": "string" } } })),
        Shape::Records => json_of(any_of(catalog, table, |table| records::list(catalog, table))),
        Shape::Record => json_of(any_of(catalog, table, |table| records::reference(table, Part::Record))),
        Shape::NewRecord => json_of(any_of(catalog, table, |table| records::reference(table, Part::New))),
        Shape::RecordChange => json_of(any_of(catalog, table, |table| records::reference(table, Part::Change))),
    }
}

/// The schema of this table; of any table where the path leaves it open.
fn any_of(catalog: &Catalog, table: Option<&Table>, schema: impl Fn(&Table) -> Any) -> Any {
    match table {
        Some(table) => schema(table),
        None => json!({ "anyOf": records::tables(catalog).map(schema).collect::<Vec<_>>() }),
    }
}

fn problem() -> Any {
    let mut problem = schemas::object(
        "type:string, title:string, status:int, detail:string, code:string, instance?:string, requestId?:string, errors?:[Fault], current?:any",
    );
    problem["description"] = "A problem detail (RFC 9457); GET /docs/errors explains each code.".into();
    problem["properties"]["code"]["enum"] = Code::ALL.iter().map(|code| code.as_str()).collect();
    problem
}
