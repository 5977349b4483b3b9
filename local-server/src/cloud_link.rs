//! The site's end of the wire: one HTTP client that speaks [`sync_core::wire`] with the cloud. Bounded, timed, and typed in what can fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use sync_core::catalog::Catalog;
use sync_core::limits::{REQUEST_TIMEOUT, WIRE_BYTES_MAX};
use sync_core::wire::codec::{self, CodecError, MEDIA_TYPE};
use sync_core::wire::message::{Enrol, Enrolled, LeaseAnswer, LeaseRequest, LogUpload, Page, Pull, PushAnswer, Replica, Speaker};

use crate::fault;

/// How long reaching the cloud may take; the rest of [`REQUEST_TIMEOUT`] is for the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a refusal that are read.
const PROBLEM_BYTES_MAX: usize = 64 << 10;
/// The problem code of a replica that the cloud takes for a clone or a restored copy.
const UNKNOWN_REPLICA: &str = "unknown_replica";
/// The wait after a "busy" that names none.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How to reach the cloud.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The cloud's base URL.
    pub url: String,
    /// Certificates to trust besides the machine's, in PEM: a cloud with a certificate authority of its own.
    pub extra_ca: Option<Vec<u8>>,
    /// Whether plain http is allowed to a cloud that is not on this machine.
    pub allow_http: bool,
    /// How long one request may take.
    pub timeout: Duration,
}

impl LinkConfig {
    /// Reaches this URL with the defaults: TLS unless it is on this machine, [`REQUEST_TIMEOUT`].
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), extra_ca: None, allow_http: false, timeout: REQUEST_TIMEOUT }
    }
}

/// Why a request to the cloud brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The settings name no usable cloud.
    #[error("{0}")]
    Config(String),
    /// The cloud could not be reached in time.
    #[error("the cloud is out of reach: {0}")]
    Offline(String),
    /// The site's key or token is not, or no longer, accepted.
    #[error("the cloud does not accept this site's credential: {0}")]
    Unauthorized(String),
    /// The cloud knows other pushes of this replica, or not this replica: the database is a clone or was restored.
    #[error("{0}")]
    UnknownReplica(String),
    /// The cloud is there and will not, now.
    #[error("the cloud is busy; it asks to be left alone for {} s", .0.as_secs())]
    Busy(Duration),
    /// The cloud read the request and refuses it.
    #[error("the cloud refused ({status}): {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says, without the request's content.
        detail: String,
    },
    /// What answered does not speak our protocol: a captive portal, a proxy, another program.
    #[error("what answered is not a Rejoin cloud of this protocol: {0}")]
    Protocol(String),
}

impl LinkError {
    /// Whether the network between is the reason, so that the daemon probes instead of complaining.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Offline(_) | Self::Protocol(_))
    }
}

impl From<CodecError> for LinkError {
    fn from(error: CodecError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// A client of one cloud. Cheap to clone; clones share connections and counters.
#[derive(Debug, Clone)]
pub struct CloudLink {
    client: Client,
    base: Url,
    key: Option<HeaderValue>,
    traffic: Arc<Traffic>,
    clock: Arc<Mutex<Option<Heard>>>,
}

/// The newest time that the cloud has said, and when it did by a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
struct Heard {
    time: DateTime<Utc>,
    at: Instant,
}

/// Bytes of bodies, both ways.
#[derive(Debug, Default)]
struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
}

impl CloudLink {
    /// Prepares a client; nothing is sent.
    ///
    /// # Errors
    /// [`LinkError::Config`]: the URL or certificate cannot be used, or it is plain http to another machine and that is not allowed.
    pub fn new(config: &LinkConfig) -> Result<Self, LinkError> {
        let fault = |what: String| LinkError::Config(what);
        let mut base = Url::parse(&config.url).map_err(|error| fault(format!("the cloud's URL {:?}: {error}", config.url)))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        match base.scheme() {
            "https" => {}
            "http" if config.allow_http || is_loopback(&base) => {}
            "http" => {
                return Err(fault(format!(
                    "{base} is plain http to another machine: anybody between could read the site's key. Use https, or allow it explicitly"
                )));
            }
            other => return Err(fault(format!("the cloud's URL must be https or http, not {other}"))),
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else may install one between the question and this; any provider will do.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let mut builder = Client::builder()
            .user_agent(concat!("rejoin-site/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .timeout(config.timeout)
            .pool_max_idle_per_host(2);
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &config.extra_ca {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| fault(format!("the extra CA: {error}")))?;
            if certificates.is_empty() {
                return Err(fault("the extra CA holds no certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| fault(format!("the HTTP client: {}", chain(&error))))?;
        Ok(Self { client, base, key: None, traffic: Arc::default(), clock: Arc::default() })
    }

    /// The same client with the site's key on every request.
    ///
    /// # Errors
    /// The key holds characters that no header can carry.
    pub fn with_key(&self, key: &str) -> Result<Self, LinkError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| LinkError::Config("the site's key is damaged: enrol again".to_owned()))?;
        value.set_sensitive(true);
        Ok(Self { key: Some(value), ..self.clone() })
    }

    /// Body bytes sent and received since this link was made.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        (self.traffic.up.load(Ordering::Relaxed), self.traffic.down.load(Ordering::Relaxed))
    }

    /// What time it is at the cloud, by the last answer; `None` before the first one.
    #[must_use]
    pub fn cloud_time(&self) -> Option<DateTime<Utc>> {
        let heard = (*self.clock.lock().unwrap_or_else(PoisonError::into_inner))?;
        heard.time.checked_add_signed(TimeDelta::from_std(heard.at.elapsed()).ok()?)
    }

    fn hear(&self, response: &Response) {
        let date = response.headers().get(DATE).and_then(|value| DateTime::parse_from_rfc2822(value.to_str().ok()?).ok());
        if let Some(date) = date {
            let heard = Heard { time: date.with_timezone(&Utc), at: Instant::now() };
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
        }
    }

    /// Joins with a single-use token.
    ///
    /// # Errors
    /// See [`LinkError`]; a token that is used up or expired is `Unauthorized`.
    pub async fn enrol(&self, token: &str) -> Result<Enrolled, LinkError> {
        self.exchange("enrol", codec::encode(&Enrol { token: token.to_owned() })?).await
    }

    /// Fetches the catalog in force.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn catalog(&self, speaker: &Speaker) -> Result<Catalog, LinkError> {
        self.exchange("catalog", codec::encode(speaker)?).await
    }

    /// Sends a push: the bytes as they were stored.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn push(&self, body: Vec<u8>) -> Result<PushAnswer, LinkError> {
        self.exchange("push", body).await
    }

    /// Asks for one page; returns its bytes, to be spooled, with what they say.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn pull(&self, pull: &Pull) -> Result<(Vec<u8>, Page), LinkError> {
        let body = self.send("pull", codec::encode(pull)?).await?;
        let page = codec::decode(&body)?;
        Ok((body, page))
    }

    /// Asks for numbers of identity and serial keys.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn lease(&self, request: &LeaseRequest) -> Result<LeaseAnswer, LinkError> {
        self.exchange("lease", codec::encode(request)?).await
    }

    /// Uploads ended runs.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn log(&self, upload: &LogUpload) -> Result<(), LinkError> {
        self.send("log", codec::encode(upload)?).await.map(drop)
    }

    /// Asks for a new replica: this copy of the database is a clone or a restored one.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn new_replica(&self, speaker: &Speaker) -> Result<Replica, LinkError> {
        self.exchange("replica", codec::encode(speaker)?).await
    }

    async fn exchange<T: DeserializeOwned>(&self, endpoint: &str, body: Vec<u8>) -> Result<T, LinkError> {
        Ok(codec::decode(&self.send(endpoint, body).await?)?)
    }

    async fn send(&self, endpoint: &str, body: Vec<u8>) -> Result<Vec<u8>, LinkError> {
        let url = self.base.join(&format!("sync/v1/{endpoint}")).map_err(|error| LinkError::Config(error.to_string()))?;
        self.traffic.up.fetch_add(body.len() as u64, Ordering::Relaxed);
        let mut request = self.client.post(url).header(CONTENT_TYPE, MEDIA_TYPE).body(body);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let response = request.send().await.map_err(|error| transport(&error))?;
        if endpoint == "push" {
            fault::point("push-sent");
        }
        match response.status() {
            status if status.is_success() => {}
            status => return Err(refusal(status, response).await),
        }
        if status_without_body(&response) {
            return Ok(Vec::new());
        }
        let media = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
        if !media.starts_with(MEDIA_TYPE) {
            return Err(LinkError::Protocol(format!("it sent {media} (a captive portal's page?)")));
        }
        self.hear(&response);
        let body = read_bounded(response, WIRE_BYTES_MAX).await?;
        self.traffic.down.fetch_add(body.len() as u64, Ordering::Relaxed);
        Ok(body)
    }
}

fn status_without_body(response: &Response) -> bool {
    response.status() == StatusCode::NO_CONTENT || response.content_length() == Some(0)
}

async fn read_bounded(mut response: Response, limit: usize) -> Result<Vec<u8>, LinkError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(LinkError::Protocol(format!("its answer is over {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn refusal(status: StatusCode, response: Response) -> LinkError {
    #[derive(serde::Deserialize)]
    struct Problem {
        #[serde(default)]
        title: String,
        #[serde(default)]
        detail: String,
        code: String,
    }
    let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let body = read_bounded(response, PROBLEM_BYTES_MAX).await.unwrap_or_default();
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    let unknown_replica = problem.as_ref().is_some_and(|problem| problem.code == UNKNOWN_REPLICA);
    let detail = problem.as_ref().map(|problem| {
        let words = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
        format!("{}: {words}", problem.code)
    });
    match (status, detail) {
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => LinkError::Busy(wait.unwrap_or(BUSY_WAIT)),
        (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => LinkError::Offline(format!("a gateway answered {status}")),
        // Only our own cloud writes problem details; a portal's or proxy's 401 says nothing about the site's key.
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(detail)) => LinkError::Unauthorized(detail),
        (_, Some(detail)) if unknown_replica => LinkError::UnknownReplica(detail),
        (_, Some(detail)) => LinkError::Refused { status: status.as_u16(), detail },
        (_, None) => LinkError::Protocol(format!("it answered {status} without problem details")),
    }
}

fn transport(error: &reqwest::Error) -> LinkError {
    LinkError::Offline(chain(error))
}

/// An error with its causes, without the URL (which is in the settings anyway).
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests;
