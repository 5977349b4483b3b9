//! `GET /api/rejoin/digests?site=`: what this server holds, or of it what a site should hold, in a form that can be compared with another's.

use axum::Json;
use axum::extract::{Query, State};

use super::params::{Params, no_site, refuse};
use super::records::query::Pairs;
use crate::backend::Digests;
use crate::problem::Answer;
use crate::state::ApiState;

pub(crate) async fn digests(State(state): State<ApiState>, Query(pairs): Query<Pairs>) -> Answer<Json<Digests>> {
    let mut params = Params::new(&pairs);
    let site = params.read("site", "a site's name", |name| Some(name.to_owned()));
    params.finish()?;
    if let Some(name) = &site
        && !state.backend.knows_site(name).await?
    {
        refuse(vec![("site", no_site(name))])?;
    }
    Ok(Json(state.backend.digests(site.as_deref()).await?))
}
