//! `/api/rejoin/sites`: who may join, what each holds, and who is shut out.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::Duration;
use conflict_ui_api::api::body::{Body, OptionalBody};
use conflict_ui_api::error::BackendError;
use conflict_ui_api::problem::{Answer, Code, Fault, Problem};
use serde::Deserialize;
use sync_core::catalog::{Catalog, ScopeRule, Table};
use sync_core::id::ScopeId;

use crate::core::Core;
use crate::store::records;
use crate::store::sites::{self, ENROL_TTL, Grants, Invited, Site, SiteError};

/// The longest that an enrolment token may count.
const TTL_MAX: Duration = Duration::days(30);

/// A site to add.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewSite {
    name: String,
    /// `TABLE/ID` of root rows, or `*`.
    scopes: Vec<String>,
    /// How many seconds its token counts.
    expires_in: Option<i64>,
}

/// A site's further token.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Again {
    expires_in: Option<i64>,
}

/// A scope to give.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewScope {
    scope: String,
}

/// `GET /api/rejoin/sites`
pub(super) async fn list(Extension(core): Extension<Arc<Core>>) -> Answer<Json<Vec<Site>>> {
    let client = core.db.client().await.map_err(BackendError::from)?;
    Ok(Json(sites::list(&client).await.map_err(BackendError::from)?))
}

/// `GET /api/rejoin/sites/{name}`
pub(super) async fn show(Extension(core): Extension<Arc<Core>>, Path(name): Path<String>) -> Answer<Json<Site>> {
    site(&core, &name).await.map(Json)
}

/// `POST /api/rejoin/sites`: the token in the answer is shown this once.
pub(super) async fn add(Extension(core): Extension<Arc<Core>>, Body(new): Body<NewSite>) -> Answer<(StatusCode, Json<Invited>)> {
    let scopes = grants(&core, "scopes", &new.scopes, true).await?;
    let ttl = ttl(new.expires_in)?;
    let mut client = core.db.client().await.map_err(BackendError::from)?;
    let invited = sites::add(&mut client, &new.name, &scopes, ttl).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(invited)))
}

/// `POST /api/rejoin/sites/{name}/token`: for a site that lost its key, or was revoked and comes back.
pub(super) async fn invite_again(
    Extension(core): Extension<Arc<Core>>,
    Path(name): Path<String>,
    OptionalBody(again): OptionalBody<Again>,
) -> Answer<(StatusCode, Json<Invited>)> {
    let ttl = ttl(again.and_then(|again| again.expires_in))?;
    let client = core.db.client().await.map_err(BackendError::from)?;
    let invited = sites::invite_again(&client, &name, ttl).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(invited)))
}

/// `DELETE /api/rejoin/sites/{name}`: shuts the site out. What it pushed, its log and its conflicts stay.
pub(super) async fn revoke(Extension(core): Extension<Arc<Core>>, Path(name): Path<String>) -> Answer<Json<Site>> {
    let client = core.db.client().await.map_err(BackendError::from)?;
    sites::revoke(&client, &name).await.map_err(problem)?;
    tracing::info!(site = name, "a site is revoked");
    site(&core, &name).await.map(Json)
}

/// `POST /api/rejoin/sites/{name}/scopes`
pub(super) async fn add_scope(
    Extension(core): Extension<Arc<Core>>,
    Path(name): Path<String>,
    Body(new): Body<NewScope>,
) -> Answer<Json<Site>> {
    let scope = grants(&core, "scope", &[new.scope], true).await?;
    let mut client = core.db.client().await.map_err(BackendError::from)?;
    sites::add_scope(&mut client, &name, &scope).await.map_err(problem)?;
    site(&core, &name).await.map(Json)
}

/// `DELETE /api/rejoin/sites/{name}/scopes/{scope}`: its rows leave the site once the site's pending edits of them are in.
pub(super) async fn drop_scope(Extension(core): Extension<Arc<Core>>, Path((name, scope)): Path<(String, String)>) -> Answer<Json<Site>> {
    let scope = grants(&core, "scope", &[scope], false).await?;
    let mut client = core.db.client().await.map_err(BackendError::from)?;
    sites::drop_scope(&mut client, &name, &scope).await.map_err(problem)?;
    site(&core, &name).await.map(Json)
}

/// Reads scopes as a person writes them. `there`: root rows must exist, so that a slip of the hand is noticed.
async fn grants(core: &Core, field: &str, texts: &[String], there: bool) -> Answer<Grants> {
    if texts.iter().any(|text| text == "*") {
        return Ok(Grants::All);
    }
    let catalog = core.catalog();
    let mut scopes = BTreeSet::new();
    let mut faults = Vec::new();
    for text in texts {
        let root = text.split_once('/').and_then(|(name, id)| Some((root_named(&catalog, name)?, id)));
        let key = root.and_then(|(table, id)| Some((table, table.parse_key(id).ok().flatten()?)));
        let Some((table, key)) = key else {
            let root = catalog.root().map_or("TABLE", |root| root.path.as_str());
            faults.push(Fault::field(field, "format", format!("{text:?} is no scope: write {root}/ID, or * for everything")));
            continue;
        };
        if there && records::get(&core.db, &catalog, table.no, &key).await?.is_none() {
            faults.push(Fault::field(field, "reference", format!("there is no {text}")));
            continue;
        }
        scopes.insert(ScopeId::of_root(table.scope_prefix(), &key));
    }
    if faults.is_empty() { Ok(Grants::These(scopes)) } else { Err(Problem::fields(faults)) }
}

/// The root table, by any of its names or by what its scopes are called.
fn root_named<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c Table> {
    let named = catalog.by_name(name).filter(|table| table.scope == ScopeRule::Root);
    named.or_else(|| catalog.root().filter(|root| root.scope_prefix() == name))
}

async fn site(core: &Core, name: &str) -> Answer<Site> {
    let client = core.db.client().await.map_err(BackendError::from)?;
    let sites = sites::list(&client).await.map_err(BackendError::from)?;
    sites.into_iter().find(|site| site.name == name).ok_or_else(|| Problem::not_found(format!("site {name}")))
}

fn ttl(seconds: Option<i64>) -> Answer<Duration> {
    match seconds {
        None => Ok(ENROL_TTL),
        Some(seconds) if seconds > 0 && seconds <= TTL_MAX.num_seconds() => Ok(Duration::seconds(seconds)),
        Some(_) => {
            let detail = format!("a token counts from 1 to {} seconds", TTL_MAX.num_seconds());
            Err(Problem::fields(vec![Fault::field("expiresIn", "range", detail)]))
        }
    }
}

fn problem(error: SiteError) -> Problem {
    let words = error.to_string();
    match error {
        SiteError::Taken(_) => {
            let mut problem = Problem::new(Code::Duplicate, words);
            problem.faults = vec![Fault::field("name", "duplicate", "taken by another site")];
            problem
        }
        SiteError::Name(_) => Problem::fields(vec![Fault::field("name", "format", words)]),
        SiteError::Unknown(name) => Problem::not_found(format!("site {name}")),
        SiteError::Token => Problem::new(Code::Unauthenticated, words),
        SiteError::Store(error) => BackendError::from(error).into(),
    }
}
