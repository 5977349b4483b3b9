//! Messages in and out of HTTP: media type, limits, and who speaks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use conflict_ui_api::error::BackendError;
use conflict_ui_api::limiter::peer_key;
use conflict_ui_api::problem::{Answer, Code, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::wire::codec::{self, CodecError, MEDIA_TYPE};

use crate::core::Core;
use crate::store::sites::{self, SiteIdentity};

/// A message's bytes, as sent.
pub(super) struct Raw(pub(super) Bytes);

impl FromRequest<Arc<Core>> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, core: &Arc<Core>) -> Answer<Self> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if media_type != MEDIA_TYPE {
            return Err(Problem::new(Code::UnsupportedMediaType, format!("Send the message as `Content-Type: {MEDIA_TYPE}`.")));
        }
        let bytes = Bytes::from_request(request, core).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Problem::new(Code::BodyTooLarge, "The message is larger than the protocol allows: cut it smaller.")
            }
            other => Problem::new(Code::BadJson, format!("The message broke off: {other}.")),
        })?;
        Ok(Self(bytes))
    }
}

/// A decoded message.
pub(super) struct Message<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Core>> for Message<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, core: &Arc<Core>) -> Answer<Self> {
        let Raw(bytes) = Raw::from_request(request, core).await?;
        Ok(Self(decode(&bytes)?))
    }
}

/// Reads a message.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    codec::decode(bytes).map_err(|error| {
        let code = if matches!(error, CodecError::Limit(_)) { Code::BodyTooLarge } else { Code::BadJson };
        Problem::new(code, format!("The message cannot be read: {error}."))
    })
}

/// An answer as a message.
pub(super) struct Encoded<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Encoded<T> {
    fn into_response(self) -> Response {
        respond(codec::encode(&self.0))
    }
}

/// An answer as a message with its fields' names.
pub(super) struct Named<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Named<T> {
    fn into_response(self) -> Response {
        respond(codec::encode_named(&self.0))
    }
}

fn respond(body: Result<Vec<u8>, CodecError>) -> Response {
    match body {
        Ok(body) => (StatusCode::OK, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response(),
        Err(error) => Problem::from(BackendError::internal(error)).into_response(),
    }
}

/// The site whose key the request carries. The key is looked up at each request, so that a revocation counts at once.
pub(super) struct Speaking(pub(super) SiteIdentity);

impl FromRequestParts<Arc<Core>> for Speaking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Answer<Self> {
        let key = bearer(&parts.headers);
        let site = match key {
            Some(key) => {
                sites::authenticate(&core.db.client().await.map_err(BackendError::from)?, key).await.map_err(BackendError::from)?
            }
            None => None,
        };
        match site {
            Some(site) => {
                core.limit(site.site)?;
                Ok(Self(site))
            }
            None => {
                core.refuse_often(peer(parts))?;
                let mut problem = Problem::unauthenticated(key.is_some());
                problem.detail = "The site's key is unknown or was revoked: run `rejoin sites token NAME` at the cloud, then start the site with `--token`.".to_owned();
                Err(problem)
            }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && key.len() <= 256).then_some(key.trim())
}

/// The address that the request came from.
pub(super) fn peer(parts: &Parts) -> IpAddr {
    let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    peer_key(info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip()))
}

/// The address that the request came from, as an argument of a handler.
pub(super) struct Peer(pub(super) IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(peer(parts)))
    }
}
