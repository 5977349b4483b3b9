//! JSON bodies.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::problem::{Answer, Code, Problem};
use crate::state::ApiState;

/// A body that is a JSON object.
pub struct Object(pub Map<String, Json>);

/// A body of a fixed shape.
pub struct Body<T>(pub T);

/// A body of a fixed shape that may be left out.
pub struct OptionalBody<T>(pub Option<T>);

impl FromRequest<ApiState> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Answer<Self> {
        match read(request, state).await?.map(|bytes| parse(&bytes)) {
            Some(Ok(object)) => Ok(Self(object)),
            Some(Err(problem)) => Err(problem),
            None => Err(empty()),
        }
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Answer<Self> {
        let bytes = read(request, state).await?.ok_or_else(empty)?;
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Answer<Self> {
        read(request, state).await?.map(|bytes| parse(&bytes)).transpose().map(Self)
    }
}

/// The body's bytes; `None` where it is empty.
async fn read(request: Request, state: &ApiState) -> Answer<Option<Bytes>> {
    let media_type = is_json(request.headers());
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => too_large(),
        other => Problem::new(Code::BadJson, format!("The body broke off: {other}.")),
    })?;
    match (bytes.is_empty(), media_type) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(bytes)),
        (false, false) => Err(Problem::new(Code::UnsupportedMediaType, "Send the body as `Content-Type: application/json`.")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    serde_json::from_slice(bytes).map_err(|error| Problem::new(Code::BadJson, format!("The body cannot be read: {error}.")))
}

fn empty() -> Problem {
    Problem::new(Code::BadJson, "The body is empty; this needs a JSON object.")
}

/// The problem of a body beyond the limit.
#[must_use]
pub fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, "The body is larger than this server takes.")
}
